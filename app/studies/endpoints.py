"""HTTP for studies."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.http.access import ReadJobs, WriteJobs
from app.http.bench import Bench
from app.http.idempotency import IdempotentRoute, ReservationId
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page
from app.studies.schemas import StudyCreate, StudyPlan, StudyRead
from app.studies.service import StudyService
from app.studies.states import StudyStatus

router = APIRouter(prefix="/v1", tags=["Studies"], route_class=IdempotentRoute)


@router.post(
    "/studies",
    operation_id="createStudy",
    summary="Train variations within one budget",
    status_code=202,
    response_model=StudyRead,
    responses={
        200: {"model": StudyPlan, "description": "The plan, when `dry_run` is true."},
        **problems(404, 409),
    },
)
def create_study(
    *, request: Request, bench: Bench, caller: WriteJobs, new: StudyCreate, reservation: ReservationId
) -> Response:
    """A grid or a list of settings, each a job on the same data, measured on the same validation set.

    A few are trained at a time. None is begun that could take the study beyond `budget_usd`; each job reserves its
    own money under the project's caps when it begins. With `dry_run` nothing is made: the answer is the plan.
    """
    service = StudyService(bench)
    if new.dry_run:
        return answer(request, service.plan(caller, new))
    made = service.create(caller, new, reservation_id=reservation)
    return answer(request, made, status=202, location=f"/v1/studies/{made.id}")


@router.get("/studies", operation_id="listStudies", summary="List studies", response_model=ListOf[StudyRead])
def list_studies(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    page: Annotated[Page, Depends(page_of("std"))],
    status: Annotated[StudyStatus | None, Query(description="Only those in this status.")] = None,
) -> Response:
    """Newest first."""
    return answer_page(request, page, StudyService(bench).page(caller.project_id, page, status=status))


@router.get("/studies/{study}", operation_id="getStudy", summary="Read a study", response_model=StudyRead)
def get_study(*, request: Request, bench: Bench, caller: ReadJobs, study: str) -> Response:
    """The table: settings, score, loss, cost, what each trial gained cost; and which one to take."""
    return answer(request, StudyService(bench).get(caller.project_id, study))


@router.post(
    "/studies/{study}/cancel",
    operation_id="cancelStudy",
    summary="Cancel a study",
    status_code=202,
    response_model=StudyRead,
    responses=problems(409),
)
def cancel_study(*, request: Request, bench: Bench, caller: WriteJobs, study: str) -> Response:
    """Nothing more is begun, and what is being trained is cancelled. What was measured stays readable."""
    return answer(request, StudyService(bench).cancel(caller.project_id, study), status=202)


@router.post(
    "/studies/{study}/retry",
    operation_id="retryStudy",
    summary="Look again at a parked study",
    status_code=202,
    response_model=StudyRead,
    responses=problems(409),
)
def retry_study(*, request: Request, bench: Bench, caller: WriteJobs, study: str) -> Response:
    """After `parked_reason` was dealt with. No job is made a second time."""
    return answer(request, StudyService(bench).retry(caller.project_id, study), status=202)
