"""HTTP for strays and sweeps."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.http.access import ReadConnections, ReadJobs, WriteConnections
from app.http.bench import Bench
from app.http.etags import etag_of
from app.http.idempotency import IdempotentRoute
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page
from app.upkeep.retirements import RetirementService
from app.upkeep.schemas import RetirementList, StrayAdopt, StrayRead, SweepRead
from app.upkeep.service import UpkeepService, marker_of
from app.upkeep.states import StrayKind, StrayStatus

router = APIRouter(prefix="/v1", tags=["Upkeep"], route_class=IdempotentRoute)


def _answer(request: Request, shown: StrayRead, *, status: int = 200) -> Response:
    return answer(
        request,
        shown,
        status=status,
        etag=etag_of(marker_of(shown)),
        location=f"/v1/strays/{shown.id}" if status == 202 else None,
    )


@router.get(
    "/strays",
    operation_id="listStrays",
    summary="List what Azure has of ours without a row",
    response_model=ListOf[StrayRead],
    responses=problems(404),
)
def list_strays(
    *,
    request: Request,
    bench: Bench,
    caller: ReadConnections,
    page: Annotated[Page, Depends(page_of("stray"))],
    status: Annotated[StrayStatus | None, Query(description="Only strays in this status.")] = None,
    kind: Annotated[StrayKind | None, Query(description="Only jobs, files or deployments.")] = None,
    connection: Annotated[
        str | None, Query(max_length=200, description="Only those found through this connection, by id or name.")
    ] = None,
) -> Response:
    """Those that are settled too. Found by sweeps; nothing here calls Azure."""
    rows = UpkeepService(bench).page(caller.project_id, page, status=status, kind=kind, connection=connection)
    return answer_page(request, page, rows)


@router.get("/strays/{stray}", operation_id="getStray", summary="Read a stray", response_model=StrayRead)
def get_stray(*, request: Request, bench: Bench, caller: ReadConnections, stray: str) -> Response:
    """As a sweep saw it last."""
    return _answer(request, UpkeepService(bench).get(caller.project_id, stray))


@router.post(
    "/strays/{stray}/adopt",
    operation_id="adoptStray",
    summary="Make a job or deployment of a stray",
    response_model=StrayRead,
    responses=problems(409),
)
def adopt_stray(
    *, request: Request, bench: Bench, caller: WriteConnections, stray: str, wanted: StrayAdopt
) -> Response:
    """It gets the id that its mark names, its money is reserved, and it is cared for like any other.

    The key also needs `jobs:write` for a job, `deployments:write` for a deployment.
    """
    return _answer(request, UpkeepService(bench).adopt(caller, stray, wanted))


@router.post(
    "/strays/{stray}/remove",
    operation_id="removeStray",
    summary="Cancel or delete a stray at Azure",
    status_code=202,
    response_model=StrayRead,
    responses=problems(409),
)
def remove_stray(*, request: Request, bench: Bench, caller: WriteConnections, stray: str) -> Response:
    """A job is cancelled, a file or deployment deleted; it is `removed` when Azure says so. Twice is no mistake."""
    return _answer(request, UpkeepService(bench).remove(caller, stray), status=202)


@router.post(
    "/strays/{stray}/ignore",
    operation_id="ignoreStray",
    summary="Let a stray be",
    response_model=StrayRead,
    responses=problems(409),
)
def ignore_stray(*, request: Request, bench: Bench, caller: WriteConnections, stray: str) -> Response:
    """Nobody touches it, not even at the end that stands in its tags. It can still be adopted or removed."""
    return _answer(request, UpkeepService(bench).ignore(caller, stray))


@router.get(
    "/retirements",
    operation_id="listRetirements",
    summary="What ends when, and what to train instead",
    response_model=RetirementList,
)
def list_retirements(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    within_days: Annotated[
        int, Query(ge=0, le=3660, description="Only what ends within so many days, or has ended.")
    ] = 365,
) -> Response:
    """Models and living deployments whose training or answers end, the soonest first, with who says the day.

    A model's row has what to train instead: the same data and settings on a successor, as a job to be sent.
    """
    return answer(request, RetirementService(bench).plan(caller.project_id, within_days=within_days))


@router.get(
    "/connections/{connection}/sweep",
    operation_id="getSweep",
    summary="How the last sweep of a connection went",
    response_model=SweepRead,
)
def get_sweep(*, request: Request, bench: Bench, caller: ReadConnections, connection: str) -> Response:
    """Everything on the resource is compared with our rows every ten minutes; this is what was found."""
    return answer(request, UpkeepService(bench).sweep(caller.project_id, connection))


@router.post(
    "/connections/{connection}/sweep",
    operation_id="sweepConnection",
    summary="Sweep a connection now",
    status_code=202,
    response_model=SweepRead,
)
def sweep_connection(*, request: Request, bench: Bench, caller: WriteConnections, connection: str) -> Response:
    """A worker lists the whole resource and compares; read the sweep again for its report."""
    shown = UpkeepService(bench).sweep_now(caller.project_id, connection)
    return answer(request, shown, status=202, location=f"/v1/connections/{shown.connection}/sweep")
