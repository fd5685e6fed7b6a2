"""HTTP for changes of versions: have them made, see what they did, and what became of each row."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from app.datasets.endpoints import VERSION, ChangingVersion, Version
from app.datasets.schemas import Changes, RowLineage, TransformRead
from app.datasets.service import DatasetService
from app.datasets.transforms import Transform, TransformService
from app.http.access import ReadDatasets, WriteDatasets
from app.http.bench import Bench
from app.http.idempotency import IdempotentRoute
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page

router = APIRouter(prefix="/v1/datasets", tags=["Datasets"], route_class=IdempotentRoute)

TRANSFORM = "/{dataset}/transforms/{transform}"


@router.post(
    VERSION + "/transform",
    operation_id="transformVersion",
    summary="Make new versions from this one",
    status_code=202,
    response_model=TransformRead,
    responses=problems(409),
)
def transform_version(*, request: Request, bench: Bench, version: ChangingVersion, wanted: Transform) -> Response:
    """A worker applies the operations; once the change is `done`, its outputs are versions with their lineage.

    Lines that an operation names are those of this version, wherever in the list it stands.
    """
    begun = TransformService(bench).begin(version.project_id, version.id, wanted)
    location = f"/v1/datasets/{begun.dataset}/transforms/{begun.id}"
    return answer(request, begun, status=202, location=location)


@router.get(
    "/{dataset}/transforms",
    operation_id="listTransforms",
    summary="List changes of a dataset's versions",
    response_model=ListOf[TransformRead],
)
def list_transforms(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDatasets,
    dataset: str,
    page: Annotated[Page, Depends(page_of("trf"))],
) -> Response:
    """Newest first."""
    return answer_page(request, page, TransformService(bench).page(caller.project_id, dataset, page))


@router.get(TRANSFORM, operation_id="getTransform", summary="Read a change", response_model=TransformRead)
def get_transform(
    *, request: Request, bench: Bench, caller: ReadDatasets, dataset: str, transform: str
) -> Response:
    """`operation` and `read_bytes` tell how far it is."""
    return answer(request, TransformService(bench).get(caller.project_id, dataset, transform))


@router.delete(
    TRANSFORM,
    operation_id="cancelTransform",
    summary="Give a change up",
    status_code=204,
    responses=problems(409),
)
def cancel_transform(*, bench: Bench, caller: WriteDatasets, dataset: str, transform: str) -> Response:
    """It makes no version then. One that has ended cannot be given up."""
    TransformService(bench).cancel(caller.project_id, dataset, transform)
    return Response(status_code=204)


@router.get(
    VERSION + "/lineage",
    operation_id="getRowLineage",
    summary="Where a row came from",
    response_model=RowLineage,
    responses=problems(409),
)
def get_row_lineage(
    *, request: Request, bench: Bench, version: Version, row: Annotated[int, Query(ge=1, le=10**12)]
) -> Response:
    """From version to version, back to what was uploaded, with the operations that changed it on the way."""
    return answer(request, TransformService(bench).lineage(version, row))


@router.get(
    VERSION + "/changes",
    operation_id="listChanges",
    summary="What changed since another version",
    response_model=Changes,
    responses=problems(409),
)
def list_changes(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDatasets,
    version: Version,
    since: Annotated[
        str, Query(max_length=200, description="A number of the same dataset, or any version: `travel@3`, `dsv_…`.")
    ],
    skip: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=0, le=200)] = 50,
) -> Response:
    """Row by row: added, removed, changed (with what), moved; by lineage where this one was made from that."""
    named = f"{version.dataset_id}@{since}" if since.isascii() and since.isdigit() else since
    before = DatasetService(bench).version(caller.project_id, named)
    return answer(request, TransformService(bench).changes(version, before, skip=skip, limit=limit))
