"""HTTP for generations and coverage."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.datasets.service import DatasetService
from app.generation.schemas import Coverage, GenerationCreate, GenerationEstimate, GenerationRead, GenerationRowRead
from app.generation.service import GenerationService
from app.generation.states import GenerationStatus
from app.http.access import ReadDatasets, WriteDatasets, WriteDeployments
from app.http.bench import Bench
from app.http.idempotency import IdempotentRoute, ReservationId
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page

router = APIRouter(prefix="/v1", tags=["Generation"], route_class=IdempotentRoute)


@router.post(
    "/datasets/{dataset}/generate",
    operation_id="generate",
    summary="Let a deployed model make training rows",
    status_code=202,
    response_model=GenerationRead,
    responses={
        200: {"model": GenerationEstimate, "description": "The estimate, when `dry_run` is true."},
        **problems(404, 409),
    },
)
def generate(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDatasets,
    _spender: WriteDeployments,
    dataset: str,
    new: GenerationCreate,
    reservation: ReservationId,
) -> Response:
    """Paraphrases of questions, conversations that call an API's operations, or questions about documents.

    Every item is checked before it is kept; what is left out can be read with its reason. What is kept becomes a
    new version of the dataset. The highest cost is reserved at once and never passed. The key needs the scopes
    `datasets:write` and `deployments:write`. With `dry_run` nothing is made: the answer is the estimate.
    """
    service = GenerationService(bench)
    if new.dry_run:
        return answer(request, service.estimate(caller, dataset, new))
    made = service.create(caller, dataset, new, reservation_id=reservation)
    return answer(request, made, status=202, location=f"/v1/generations/{made.id}")


@router.get(
    "/generations",
    operation_id="listGenerations",
    summary="List generations",
    response_model=ListOf[GenerationRead],
    responses=problems(404),
)
def list_generations(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDatasets,
    page: Annotated[Page, Depends(page_of("gen"))],
    dataset: Annotated[str | None, Query(max_length=200, description="Only those into this dataset.")] = None,
    status: Annotated[GenerationStatus | None, Query(description="Only those in this status.")] = None,
) -> Response:
    """Newest first."""
    rows = GenerationService(bench).page(caller.project_id, page, dataset=dataset, status=status)
    return answer_page(request, page, rows)


@router.get(
    "/generations/{generation}",
    operation_id="getGeneration",
    summary="Read a generation",
    response_model=GenerationRead,
)
def get_generation(*, request: Request, bench: Bench, caller: ReadDatasets, generation: str) -> Response:
    """How far it is, what was kept and left out, and what it has cost so far."""
    return answer(request, GenerationService(bench).get(caller.project_id, generation))


@router.get(
    "/generations/{generation}/rows",
    operation_id="listGenerationRows",
    summary="What was made, kept or left out",
    response_model=ListOf[GenerationRowRead],
)
def list_generation_rows(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDatasets,
    generation: str,
    page: Annotated[Page, Depends(page_of("gnr"))],
    kept: Annotated[bool | None, Query(description="`false`: only what was left out.")] = None,
    reason: Annotated[str | None, Query(max_length=64, description="Only what was left out for this.")] = None,
) -> Response:
    """Each with its origin: subject, style, generator, prompt version, and its line in the version."""
    rows = GenerationService(bench).rows(caller.project_id, generation, page, kept=kept, reason=reason)
    return answer_page(request, page, rows)


@router.post(
    "/generations/{generation}/cancel",
    operation_id="cancelGeneration",
    summary="Cancel a generation",
    status_code=202,
    response_model=GenerationRead,
)
def cancel_generation(*, request: Request, bench: Bench, caller: WriteDatasets, generation: str) -> Response:
    """Possible at any moment; requests under way are still paid for. What was made stays readable."""
    return answer(request, GenerationService(bench).cancel(caller.project_id, generation), status=202)


@router.post(
    "/generations/{generation}/retry",
    operation_id="retryGeneration",
    summary="Look again at a parked generation",
    status_code=202,
    response_model=GenerationRead,
    responses=problems(409),
)
def retry_generation(*, request: Request, bench: Bench, caller: WriteDatasets, generation: str) -> Response:
    """After `parked_reason` was dealt with. What is answered already is not asked again."""
    return answer(request, GenerationService(bench).retry(caller.project_id, generation), status=202)


@router.get(
    "/datasets/{dataset}/versions/{number}/coverage",
    operation_id="getCoverage",
    summary="Which ways of asking a version lacks",
    response_model=Coverage,
    responses=problems(409),
)
def get_coverage(*, request: Request, bench: Bench, caller: ReadDatasets, dataset: str, number: str) -> Response:
    """Fact by fact: full and short names, scripts, order, politeness, typos, keywords. From the texts alone.

    Of a large version the beginning is looked at, some 2,000,000 characters; `kitae datasets coverage FILE` looks
    at 20,000 rows of a file.
    """
    version = DatasetService(bench).version(caller.project_id, f"{dataset}@{number}")
    return answer(request, Coverage(**GenerationService(bench).coverage(caller.project_id, version).to_json()))
