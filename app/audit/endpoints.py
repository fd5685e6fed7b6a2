"""HTTP for the record of deeds: it can be read and nothing else."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from app.audit.schemas import AuditEventRead
from app.audit.service import AuditService
from app.http.access import Auditor
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.kit.pagination import Page

router = APIRouter(prefix="/v1", tags=["Access"], route_class=StrictRoute)


@router.get(
    "/audit-events",
    operation_id="listAuditEvents",
    summary="Read who did what",
    response_model=ListOf[AuditEventRead],
    responses=problems(404),
)
def list_audit_events(
    *,
    request: Request,
    bench: Bench,
    holder: Auditor,
    page: Annotated[Page, Depends(page_of("aud"))],
    subject: Annotated[str | None, Query(max_length=100, description="Only what was done to this.")] = None,
    actor: Annotated[str | None, Query(max_length=100, description="Only what this key or process did.")] = None,
    operation: Annotated[str | None, Query(max_length=100, description="Only this operation's calls.")] = None,
    outcome: Annotated[
        Literal["done", "unchanged", "refused", "failed"] | None, Query(description="Only what ended like this.")
    ] = None,
) -> Response:
    """A project's key reads its project's chain, an operator's key the installation's.

    No verb changes a record. `kitae audit verify` recomputes the chain.
    """
    only = {"subject_id": subject, "actor_id": actor, "operation": operation, "outcome": outcome}
    return answer_page(request, page, AuditService(bench).page(holder, page, only=only))
