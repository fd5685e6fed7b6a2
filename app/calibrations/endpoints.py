"""HTTP for graders before they train anything, and for what each method may be told."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.calibrations.schemas import (
    Calibration,
    CalibrationCreate,
    GraderCheck,
    GraderRead,
    HyperparameterList,
)
from app.calibrations.service import CalibrationService
from app.http.access import ReadJobs, WriteJobs
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.openapi import problems
from app.http.responses import answer
from app.jobs.schemas import Method

router = APIRouter(prefix="/v1", tags=["Jobs"], route_class=StrictRoute)


@router.get(
    "/hyperparameters",
    operation_id="listHyperparameters",
    summary="List hyperparameters",
    response_model=HyperparameterList,
)
def list_hyperparameters(
    *,
    request: Request,
    bench: Bench,
    _caller: ReadJobs,
    method: Annotated[Method | None, Query(description="Only those of this method.")] = None,
    model: Annotated[
        str | None, Query(max_length=200, description="A base model, whose own defaults are told where known.")
    ] = None,
) -> Response:
    """Each with its methods, range, default, meaning and why; a plan refuses what lies outside."""
    base = bench.catalogue.find(model) if model else None
    found = CalibrationService(bench).hyperparameters(method=method, model=base.id if base else None)
    return answer(request, HyperparameterList(data=found))


@router.post(
    "/graders/validate",
    operation_id="validateGrader",
    summary="Check a grader",
    response_model=GraderRead,
    responses=problems(404, 409),
)
def validate_grader(*, request: Request, bench: Bench, caller: ReadJobs, wanted: GraderCheck) -> Response:
    """Here, against every row of a dataset version, and at Azure: as far as each is named. Costs nothing."""
    return answer(request, CalibrationService(bench).check(caller.project_id, wanted))


@router.post(
    "/graders/calibrate",
    operation_id="calibrateGrader",
    summary="Try a grader on samples",
    response_model=Calibration,
    responses=problems(404, 409),
)
def calibrate_grader(*, request: Request, bench: Bench, caller: WriteJobs, wanted: CalibrationCreate) -> Response:
    """Up to 50 answers are graded at Azure, the data's own or those of a deployment: how many pass, how the scores
    lie, and whether that is worth training by. What it may cost is reserved before, what it did is settled after.
    """
    return answer(request, CalibrationService(bench).calibrate(caller, wanted))
