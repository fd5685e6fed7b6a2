"""HTTP for baselines."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.baselines.schemas import BaselineAnswerRead, BaselineCreate, BaselineEstimate, BaselineRead
from app.baselines.service import BaselineService
from app.baselines.states import BaselineStatus
from app.http.access import ReadDatasets, ReadDeployments, WriteDeployments
from app.http.bench import Bench
from app.http.idempotency import IdempotentRoute, ReservationId
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page

router = APIRouter(prefix="/v1/baselines", tags=["Baselines"], route_class=IdempotentRoute)


@router.post(
    "",
    operation_id="createBaseline",
    summary="Ask what the base model reaches without training",
    status_code=202,
    response_model=BaselineRead,
    responses={
        200: {"model": BaselineEstimate, "description": "The estimate, when `dry_run` is true."},
        **problems(404, 409),
    },
)
def create_baseline(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDeployments,
    _reader: ReadDatasets,
    new: BaselineCreate,
    reservation: ReservationId,
) -> Response:
    """Every case is asked in every way, and each answer graded by Azure with the grader that a training would get.

    The highest cost is reserved at once and never passed. The key needs the scopes `deployments:write` and
    `datasets:read`. With `dry_run` nothing is made: the answer is the estimate.
    """
    service = BaselineService(bench)
    if new.dry_run:
        return answer(request, service.estimate(caller, new))
    made = service.create(caller, new, reservation_id=reservation)
    return answer(request, made, status=202, location=f"/v1/baselines/{made.id}")


@router.get("", operation_id="listBaselines", summary="List baselines", response_model=ListOf[BaselineRead])
def list_baselines(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDeployments,
    page: Annotated[Page, Depends(page_of("bas"))],
    status: Annotated[BaselineStatus | None, Query(description="Only those in this status.")] = None,
) -> Response:
    """Newest first."""
    return answer_page(request, page, BaselineService(bench).page(caller.project_id, page, status=status))


@router.get("/{baseline}", operation_id="getBaseline", summary="Read a baseline", response_model=BaselineRead)
def get_baseline(*, request: Request, bench: Bench, caller: ReadDeployments, baseline: str) -> Response:
    """How far it is, what it has cost and, once it has ended, what it means."""
    return answer(request, BaselineService(bench).get(caller.project_id, baseline))


@router.get(
    "/{baseline}/answers",
    operation_id="listBaselineAnswers",
    summary="What was answered, and its score",
    response_model=ListOf[BaselineAnswerRead],
)
def list_baseline_answers(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDeployments,
    _reader: ReadDatasets,
    baseline: str,
    page: Annotated[Page, Depends(page_of("ban"))],
    way: Annotated[str | None, Query(max_length=100, description="Only of this way, by its name.")] = None,
) -> Response:
    """Each with what was sent: the examples and passages too. The key needs the scope `datasets:read` as well."""
    return answer_page(request, page, BaselineService(bench).answers(caller.project_id, baseline, page, way=way))


@router.post(
    "/{baseline}/cancel",
    operation_id="cancelBaseline",
    summary="Cancel a baseline",
    status_code=202,
    response_model=BaselineRead,
)
def cancel_baseline(*, request: Request, bench: Bench, caller: WriteDeployments, baseline: str) -> Response:
    """Possible at any moment; requests under way are still paid for. What was answered stays readable."""
    return answer(request, BaselineService(bench).cancel(caller.project_id, baseline), status=202)


@router.post(
    "/{baseline}/retry",
    operation_id="retryBaseline",
    summary="Look again at a parked baseline",
    status_code=202,
    response_model=BaselineRead,
    responses=problems(409),
)
def retry_baseline(*, request: Request, bench: Bench, caller: WriteDeployments, baseline: str) -> Response:
    """After `parked_reason` was dealt with. What is answered already is not asked again."""
    return answer(request, BaselineService(bench).retry(caller.project_id, baseline), status=202)
