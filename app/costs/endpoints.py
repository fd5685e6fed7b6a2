"""HTTP for costs and budgets."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from app.costs.schemas import BudgetPut, BudgetRead, CostSummary
from app.costs.service import CostService
from app.http.access import ReadCosts, WriteCosts
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.responses import answer
from app.kit.errors import FieldError, Invalid
from app.kit.wire import Moment

router = APIRouter(prefix="/v1", tags=["Costs"], route_class=StrictRoute)

RunningHosting = Callable[[str], Decimal]
"""What hosting has accrued in a project on deployments that still run. The room that knows is above this one, so
the application hands it down as `app.state.running_hosting`."""


def running_hosting(request: Request) -> RunningHosting:
    found: RunningHosting = request.app.state.running_hosting
    return found


@router.get("/costs", operation_id="getCosts", summary="What was spent", response_model=CostSummary)
def get_costs(
    *,
    request: Request,
    bench: Bench,
    caller: ReadCosts,
    running: Annotated[RunningHosting, Depends(running_hosting)],
    group_by: Annotated[
        Literal["category", "subject", "key", "day"],
        Query(description="`subject` = job or deployment, `key` = API key, `day` = calendar day in UTC."),
    ] = "category",
    since: Annotated[Moment | None, Query(description="From here on; default 30 days ago.")] = None,
    until: Annotated[Moment | None, Query(description="Up to here, exclusive; default now.")] = None,
) -> Response:
    """Settled and reserved in a span of time, and what runs up at this moment."""
    if since is not None and until is not None and since >= until:
        detail = "`since` must lie before `until`."
        wrong = FieldError(parameter="since", code="span_empty", detail=detail)
        raise Invalid(detail, code="span_empty", errors=[wrong])
    summary = CostService(bench).summary(
        caller.project_id, group_by=group_by, since=since, until=until, running_usd=running(caller.project_id)
    )
    return answer(request, summary)


@router.get("/budgets", operation_id="getBudget", summary="Read the caps", response_model=BudgetRead)
def get_budget(*, request: Request, bench: Bench, caller: ReadCosts) -> Response:
    """The project's caps, and how much of this month's and this day's is used or reserved."""
    return answer(request, CostService(bench).budget(caller.project_id))


@router.put("/budgets", operation_id="putBudget", summary="Set the caps", response_model=BudgetRead)
def put_budget(*, request: Request, bench: Bench, caller: WriteCosts, wanted: BudgetPut) -> Response:
    """All caps are replaced; null or absent takes a cap away. What is reserved already stays."""
    return answer(request, CostService(bench).set_budget(caller.project_id, wanted))
