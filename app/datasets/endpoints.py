"""HTTP for datasets and their versions."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from app.costs.schemas import DatasetEstimate
from app.datasets.engine.reading import How
from app.datasets.schemas import (
    CompareRequest,
    Comparison,
    DatasetCreate,
    DatasetPatch,
    DatasetRead,
    EncodingName,
    EstimateRequest,
    FetchRead,
    FindingList,
    FindingRead,
    FormatName,
    MappingText,
    Preview,
    SheetName,
    Stats,
    VersionRead,
)
from app.datasets.service import DatasetService, Upload, how_to_read
from app.datasets.tables import Dataset, DatasetVersion
from app.datasets.upload_endpoints import add_source, source_asked_for
from app.http.access import ReadDatasets, WriteDatasets
from app.http.bench import Bench
from app.http.bodies import Beginning, StrictRoute, beginning, in_threads, media_type, pour
from app.http.etags import Precondition, etag_of
from app.http.limits import UPLOAD_BODY
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer, as_attachment
from app.kit.errors import NoRoom
from app.kit.markers import marker
from app.kit.pagination import Page, Slice
from app.storage.port import StorageFull

router = APIRouter(prefix="/v1/datasets", tags=["Datasets"], route_class=StrictRoute)

READ_BYTES: Final = 1 << 18


def how_of_query(
    *,
    format: Annotated[FormatName | None, Query()] = None,  # noqa: A002  as it is called in requests
    mapping: Annotated[MappingText | None, Query()] = None,
    encoding: Annotated[EncodingName | None, Query()] = None,
    sheet: Annotated[SheetName | None, Query()] = None,
) -> How:
    """What the caller says of the file that is sent."""
    return how_to_read(format=format, mapping=mapping, encoding=encoding, sheet=sheet)


def _read(row: Dataset) -> DatasetRead:
    names = set(DatasetRead.model_fields) - {"object"}
    return DatasetRead(**{name: getattr(row, name) for name in names})


def _answer(request: Request, row: Dataset, **more: Any) -> Response:
    return answer(request, _read(row), etag=etag_of(marker(row.id, row.updated_at)), **more)


def _answer_version(
    request: Request, service: DatasetService, version: DatasetVersion, *, status: int = 200
) -> Response:
    shown = service.describe(version)
    location = f"/v1/datasets/{shown.dataset}/versions/{shown.number}" if status != 200 else None
    return answer(request, shown, status=status, location=location)


@router.post(
    "",
    operation_id="createDataset",
    summary="Name a dataset",
    status_code=201,
    response_model=DatasetRead,
    responses=problems(409),
)
def create_dataset(*, request: Request, bench: Bench, caller: WriteDatasets, new: DatasetCreate) -> Response:
    """Its content comes with `PUT …/content`."""
    row = DatasetService(bench).create(caller.project_id, new)
    return _answer(request, row, status=201, location=f"/v1/datasets/{row.id}")


@router.get("", operation_id="listDatasets", summary="List datasets", response_model=ListOf[DatasetRead])
def list_datasets(
    *, request: Request, bench: Bench, caller: ReadDatasets, page: Annotated[Page, Depends(page_of("ds"))]
) -> Response:
    """Archived ones are left out."""
    found = DatasetService(bench).page(caller.project_id, page)
    return answer_page(request, page, Slice([_read(row) for row in found.rows], found.has_more))


@router.post(
    "/compare",
    operation_id="compareDatasets",
    summary="Find examples that stand in both versions",
    response_model=Comparison,
    responses=problems(404, 409),
)
def compare_datasets(*, request: Request, bench: Bench, caller: ReadDatasets, wanted: CompareRequest) -> Response:
    """By exact content, whatever the order of keys, and by almost the same words, system prompts left out.

    Validation examples that were trained on measure nothing.
    """
    service = DatasetService(bench)
    training = service.version(caller.project_id, wanted.training)
    validation = service.version(caller.project_id, wanted.validation)
    exact, near = [
        FindingRead(**finding) if finding else None
        for finding in (service.leakage(training, validation), service.near_leakage(training, validation))
    ]
    return answer(request, Comparison(training=training.id, validation=validation.id, finding=exact, near=near))


@router.get("/{dataset}", operation_id="getDataset", summary="Read a dataset", response_model=DatasetRead)
def get_dataset(*, request: Request, bench: Bench, caller: ReadDatasets, dataset: str) -> Response:
    """By id or by name."""
    return _answer(request, DatasetService(bench).get(caller.project_id, dataset))


@router.patch("/{dataset}", operation_id="updateDataset", summary="Describe a dataset", response_model=DatasetRead)
def update_dataset(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDatasets,
    dataset: str,
    change: DatasetPatch,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """What is absent stays."""
    return _answer(request, DatasetService(bench).change(caller.project_id, dataset, change, check=condition.check))


@router.delete("/{dataset}", operation_id="archiveDataset", summary="Archive a dataset", status_code=204)
def archive_dataset(
    *,
    bench: Bench,
    caller: WriteDatasets,
    dataset: str,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """Its versions stay readable by id, because jobs and models point at them."""
    DatasetService(bench).archive(caller.project_id, dataset, check=condition.check)
    return Response(status_code=204)


@router.put(
    "/{dataset}/content",
    operation_id="putContent",
    summary="Upload a version",
    status_code=202,
    response_model=VersionRead | FetchRead,
    responses={
        200: {"model": VersionRead, "description": "The version that holds the same bytes already."},
        202: {"model": VersionRead | FetchRead, "description": "A version in `checking`; of a source, the fetch."},
        **problems(409, 413, 507),
    },
    max_body_size=UPLOAD_BODY,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A file: JSON Lines with one example a line, or anything that is read and converted "
            "(JSON, CSV, XLSX, Parquet, packed or not). Streamed: size does not matter to the service.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_content(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDatasets,
    dataset: str,
    model: Annotated[
        str | None,
        Query(max_length=200, description="Base model whose limits and tokenizer the check uses."),
    ] = None,
    filename: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\]*$")] = None,
    how: Annotated[How, Depends(how_of_query)],
) -> Response:
    """The answer is a version in `checking`; it becomes `ready`, or `rejected` with findings that name the lines.

    The same bytes again answer 200 with the version that holds them already. A JSON body that names a `source`, as
    `POST …/versions` takes it, has that brought: the answer is the fetch.
    """
    service = DatasetService(bench)
    await run_in_threadpool(service.get, caller.project_id, dataset)
    begun = Beginning()
    if media_type(request) == "application/json":
        begun = await beginning(request)
        asked = await run_in_threadpool(source_asked_for, begun.data) if begun.is_all else None
        if asked is not None:
            return await run_in_threadpool(add_source, request, bench, caller, dataset, asked)
    await run_in_threadpool(service.known_model, model)

    def add(upload: Upload) -> tuple[DatasetVersion, bool]:
        return service.add_version(
            caller.project_id, dataset, upload, original_name=filename, base_model=model, how=how
        )

    try:
        version, fresh = await _receive(request, begun, service, add)
    except StorageFull as error:
        raise NoRoom(
            "There is no room left for the file.", hint="Nothing of it was kept. Tell the operator."
        ) from error
    return await run_in_threadpool(_answer_version, request, service, version, status=202 if fresh else 200)


async def _receive(
    request: Request,
    begun: Beginning,
    service: DatasetService,
    add: Callable[[Upload], tuple[DatasetVersion, bool]],
) -> tuple[DatasetVersion, bool]:
    async with in_threads(service.receive()) as upload:
        await pour(request, upload.write, begun=begun)
    return await run_in_threadpool(add, upload)


@router.get(
    "/{dataset}/versions",
    operation_id="listVersions",
    summary="List a dataset's versions",
    response_model=ListOf[VersionRead],
)
def list_versions(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDatasets,
    dataset: str,
    page: Annotated[Page, Depends(page_of("dsv"))],
) -> Response:
    """Newest first."""
    service = DatasetService(bench)
    found = service.version_page(caller.project_id, dataset, page)
    return answer_page(request, page, Slice([service.describe(row) for row in found.rows], found.has_more))


VERSION: Final = "/{dataset}/versions/{number}"


def _version(bench: Bench, caller: ReadDatasets, dataset: str, number: str) -> DatasetVersion:
    return DatasetService(bench).version(caller.project_id, f"{dataset}@{number}")


def _changing_version(bench: Bench, caller: WriteDatasets, dataset: str, number: str) -> DatasetVersion:
    return DatasetService(bench).version(caller.project_id, f"{dataset}@{number}")


Version = Annotated[DatasetVersion, Depends(_version)]
ChangingVersion = Annotated[DatasetVersion, Depends(_changing_version)]


@router.get(VERSION, operation_id="getVersion", summary="Read a version", response_model=VersionRead)
def get_version(*, request: Request, bench: Bench, version: Version) -> Response:
    """`checked_bytes` tells how far a running check is."""
    return _answer_version(request, DatasetService(bench), version)


@router.get(
    VERSION + "/findings",
    operation_id="listFindings",
    summary="What the check found",
    response_model=FindingList,
    responses=problems(409),
)
def list_findings(
    *,
    request: Request,
    bench: Bench,
    version: Version,
    severity: Annotated[str | None, Query(pattern="^(error|warning|note)$")] = None,
    code: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Errors first; each names its lines and what to do."""
    report = DatasetService(bench).report(version.project_id, version.id)
    shown = [
        FindingRead(**finding)
        for finding in report["findings"]
        if severity in {None, finding["severity"]} and code in {None, finding["code"]}
    ]
    return answer(request, FindingList(data=shown))


@router.get(
    VERSION + "/preview",
    operation_id="previewVersion",
    summary="The first rows",
    response_model=Preview,
    responses=problems(409),
)
def preview_version(
    *, request: Request, bench: Bench, version: Version, rows: Annotated[int, Query(ge=1, le=3)] = 3
) -> Response:
    """As Azure's portal shows them: three at most, long texts cut."""
    report = DatasetService(bench).report(version.project_id, version.id)
    return answer(request, Preview(rows=report["preview"][:rows]))


@router.get(
    VERSION + "/stats",
    operation_id="getStats",
    summary="Tokens, roles and lengths",
    response_model=Stats,
    responses=problems(409),
)
def get_stats(*, request: Request, bench: Bench, version: Version) -> Response:
    """Counted with the model's own tokenizer; what had to be estimated says so."""
    report = DatasetService(bench).report(version.project_id, version.id)
    return answer(request, Stats(tokens=report["tokens"], stats=report["stats"]))


@router.get(
    VERSION + "/content",
    operation_id="getContent",
    summary="Download a version",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}, **problems(409)},
)
def get_content(
    *,
    bench: Bench,
    version: Version,
    original: Annotated[
        bool, Query(description="The bytes as they were sent, of a version converted from them.")
    ] = False,
) -> Response:
    """The cleaned content, byte by byte what goes to Azure."""
    service = DatasetService(bench)
    service.report(version.project_id, version.id)
    opened = service.original if original else service.content
    if original:
        with opened(version.project_id, version.id):  # refused before the answer begins
            pass

    def chunks() -> Iterator[bytes]:
        with opened(version.project_id, version.id) as (_, file):
            while chunk := file.read(READ_BYTES):
                yield chunk

    if original:
        name = version.original_name or f"{version.id}.original"
        headers = {"Content-Disposition": as_attachment(name), "Content-Length": str(version.bytes)}
        return StreamingResponse(chunks(), media_type="application/octet-stream", headers=headers)

    headers = {
        "Content-Disposition": as_attachment(f"{version.id}.jsonl"),
        "Content-Length": str(version.content_bytes),
    }
    return StreamingResponse(chunks(), media_type="application/jsonl", headers=headers)


@router.post(
    VERSION + "/estimate",
    operation_id="estimateVersion",
    summary="What training on this may cost, take and be worth",
    response_model=DatasetEstimate,
    responses=problems(404, 409),
)
def estimate_version(*, request: Request, bench: Bench, version: Version, wanted: EstimateRequest) -> Response:
    """Every model and way of training by cost, with each price's source and date; the hyperparameters Azure would
    choose, and why; hosting; time; and from how many calls on tuning pays. It makes nothing and asks Azure nothing.
    """
    return answer(request, DatasetService(bench).estimate(version.project_id, version.id, wanted))
