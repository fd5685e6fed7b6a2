"""HTTP for models and the catalogue of base models."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.http.access import ReadJobs, WriteJobs
from app.http.bench import Bench
from app.http.idempotency import IdempotentRoute
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page
from app.models.copies import CopyService
from app.models.schemas import (
    BaseModelList,
    BaseModelRead,
    ModelCopyCreate,
    ModelCopyList,
    ModelCopyRead,
    ModelDetail,
    ModelRead,
)
from app.models.service import ModelService

AskedConnection = Annotated[
    str | None, Query(max_length=200, description="Merge with what ARM last said of this resource; id or name.")
]

router = APIRouter(prefix="/v1", tags=["Models"], route_class=IdempotentRoute)


@router.get("/models", operation_id="listModels", summary="List models", response_model=ListOf[ModelRead])
def list_models(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    page: Annotated[Page, Depends(page_of("mdl"))],
    job: Annotated[str | None, Query(max_length=40, description="Only models of the job with this id.")] = None,
) -> Response:
    """Final models and deployable checkpoints of the project's jobs."""
    return answer_page(request, page, ModelService(bench).page(caller.project_id, page, job=job))


@router.get("/models/{model}", operation_id="getModel", summary="Read a model", response_model=ModelDetail)
def get_model(*, request: Request, bench: Bench, caller: ReadJobs, model: str) -> Response:
    """By id or name, with its lineage: the job that made it and the data it saw."""
    return answer(request, ModelService(bench).read(caller.project_id, model))


@router.post(
    "/models/{model}/copy",
    operation_id="copyModel",
    summary="Copy a model to another resource",
    status_code=202,
    response_model=ModelCopyRead,
    responses=problems(409),
)
def copy_model(
    *, request: Request, bench: Bench, caller: WriteJobs, model: str, wanted: ModelCopyCreate
) -> Response:
    """A model, or a checkpoint `ckp_…`, under the same name. A worker follows it to its end.

    Then it can be deployed there: name the model and that connection. Asking twice is one copy; a failed one begins
    anew.
    """
    shown = CopyService(bench).begin(caller.project_id, model, wanted.connection)
    return answer(request, shown, status=202, location=f"/v1/models/{shown.model}/copies")


@router.get(
    "/models/{model}/copies",
    operation_id="listModelCopies",
    summary="Where a model was copied to",
    response_model=ModelCopyList,
)
def list_copies(*, request: Request, bench: Bench, caller: ReadJobs, model: str) -> Response:
    """Oldest first, with how each goes. Nothing is called here."""
    return answer(request, CopyService(bench).of(caller.project_id, model))


@router.get(
    "/base-models",
    operation_id="listBaseModels",
    summary="The catalogue",
    response_model=BaseModelList,
    responses=problems(404),
)
def list_base_models(
    *, request: Request, bench: Bench, caller: ReadJobs, connection: AskedConnection = None
) -> Response:
    """Every base model with what is known of it: methods, regions, limits, prices, retirement dates, sources.

    With `connection`, merged with what Azure Resource Manager last said of that resource, which wins. A worker asks
    ARM every few hours; nothing is called here.
    """
    return answer(request, ModelService(bench).base_models(caller.project_id, connection))


@router.get(
    "/base-models/{base_model}",
    operation_id="getBaseModel",
    summary="Read a base model",
    response_model=BaseModelRead,
)
def get_base_model(
    *, request: Request, bench: Bench, caller: ReadJobs, base_model: str, connection: AskedConnection = None
) -> Response:
    """By id, alias or the name of a model tuned from it."""
    return answer(request, ModelService(bench).base_model(caller.project_id, base_model, connection))
