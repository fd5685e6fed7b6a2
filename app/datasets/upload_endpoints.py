"""HTTP for the ways into a dataset besides bytes in `PUT …/content`: forms, sources, uploads in parts."""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Body, Depends, Header, HTTPException, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.datasets.schemas import (
    PARTS_MAX,
    FetchRead,
    InlineSource,
    PartRead,
    Sha256,
    UploadComplete,
    UploadCreate,
    UploadRead,
    VersionCreate,
    VersionForm,
    VersionRead,
)
from app.datasets.service import DatasetService, Upload, how_to_read
from app.datasets.sources.fetches import FetchService
from app.datasets.tables import DatasetVersion
from app.datasets.uploads import UploadService
from app.http.access import ReadDatasets, WriteDatasets
from app.http.bench import Bench
from app.http.bodies import (
    OneFileForm,
    in_threads,
    media_type,
    parsed_strictly,
    pour,
    read_json,
    validated,
)
from app.http.idempotency import IdempotentRoute
from app.http.limits import UPLOAD_BODY
from app.http.openapi import problems, schema_of
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.caller import Caller
from app.kit.errors import FieldError, Invalid, NoRoom
from app.kit.pagination import Page
from app.storage.port import StorageFull

router = APIRouter(prefix="/v1/datasets/{dataset}", tags=["Datasets"], route_class=IdempotentRoute)

SOURCES: Final = ("inline", "url", "azure_blob", "huggingface")
"""Types of sources that can be read."""
UPLOAD: Final = "/uploads/{upload}"
FETCH: Final = "/fetches/{fetch}"
_MEMBERS: Final = frozenset(VersionCreate.model_fields)
_SHA_256: Final = re.compile(r"(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):[ \t]*(?:,|$)")
_SAME: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": VersionRead, "description": "The version that holds the same bytes already."}
}


_FETCHED: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "model": VersionRead | FetchRead,
        "description": "A version in `checking`; or, of a source elsewhere, the fetch that makes it.",
    }
}


def _answer_version(request: Request, service: DatasetService, version: DatasetVersion, *, fresh: bool) -> Response:
    shown = service.describe(version)
    location = f"/v1/datasets/{shown.dataset}/versions/{shown.number}" if fresh else None
    return answer(request, shown, status=202 if fresh else 200, location=location)


def _answer_fetch(request: Request, begun: FetchRead) -> Response:
    return answer(request, begun, status=202, location=f"/v1/datasets/{begun.dataset}/fetches/{begun.id}")


@contextmanager
def _room_needed() -> Iterator[None]:
    try:
        yield
    except StorageFull as error:
        raise NoRoom(
            "There is no room left for the bytes.", hint="Nothing of them was kept. Tell the operator."
        ) from error


# ── in one request ──────────────────────────────────────────────────────────


def _version_bodies() -> dict[str, Any]:
    """Both bodies of `createVersion`, as the contract shows them."""
    inline = schema_of(VersionCreate)
    form = {
        "type": "object",
        "required": ["file"],
        "additionalProperties": False,
        "properties": {
            "file": {
                "type": "string",
                "format": "binary",
                "description": "JSON Lines with one example a line, or any file that is read and converted.",
            },
            **{name: said["anyOf"][0] for name, said in schema_of(VersionForm)["properties"].items()},
        },
    }
    return {
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "application/json": {"schema": inline}},
        }
    }


@router.post(
    "/versions",
    operation_id="createVersion",
    summary="Add a version from a form, from rows or from a source elsewhere",
    status_code=202,
    response_model=VersionRead | FetchRead,
    responses={**_SAME, **_FETCHED, **problems(409, 413, 415, 507)},
    max_body_size=UPLOAD_BODY,
    openapi_extra=_version_bodies(),
)
async def create_version(*, request: Request, bench: Bench, caller: WriteDatasets, dataset: str) -> Response:
    """`multipart/form-data` with one `file` is streamed like `PUT …/content`; JSON holds the examples themselves,
    or names a `source` elsewhere: a URL, a blob of Azure Storage, a split of a dataset on the Hugging Face Hub.

    Such a source is brought by a worker: the answer is the fetch, which is `fetched` once there is a `version`.
    Of all else the answer is a version in `checking`. The same bytes again answer 200 with the one that has them.
    A source is brought once for each `Idempotency-Key`.
    """
    service = DatasetService(bench)
    kind = media_type(request)
    if kind not in {"multipart/form-data", "application/json"}:
        raise HTTPException(
            415, f"{kind or 'No Content-Type'} is not read here; send multipart/form-data or application/json."
        )
    with _room_needed():
        if kind == "application/json":
            wanted = await read_json(request, VersionCreate, look=_refuse_other_sources)
            return await run_in_threadpool(add_source, request, bench, caller, dataset, wanted)
        await run_in_threadpool(service.get, caller.project_id, dataset)  # before a file is received for nothing
        version, fresh = await _add_form(request, bench, service, caller, dataset)
    return await run_in_threadpool(_answer_version, request, service, version, fresh=fresh)


def _refuse_other_sources(body: Any) -> None:
    source = body.get("source") if isinstance(body, dict) else None
    kind = source.get("type") if isinstance(source, dict) else None
    if isinstance(kind, str) and kind not in SOURCES:
        supported = ", ".join(SOURCES)
        detail = f"This release reads no source of the type {kind[:40]!r}; it reads: {supported}."
        raise Invalid(
            detail,
            code="source_not_supported",
            hint="Download the data yourself and send it with PUT …/content, as a form or in parts.",
            errors=[FieldError(pointer="/source/type", code="source_not_supported", detail=detail)],
        )


def source_asked_for(body: bytes) -> VersionCreate | None:
    """What a JSON body asks for that names a source; None when it is data itself."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None  # JSON Lines, or what a check will name
    source = value.get("source") if isinstance(value, dict) else None
    if not isinstance(source, dict) or not isinstance(source.get("type"), str) or not value.keys() <= _MEMBERS:
        return None
    _refuse_other_sources(parsed_strictly(body))
    return validated(VersionCreate, value)


def add_source(request: Request, bench: Bench, caller: Caller, dataset: str, wanted: VersionCreate) -> Response:
    """The version of rows in the request, or the fetch of a source elsewhere."""
    source = wanted.source
    if isinstance(source, InlineSource):
        service = DatasetService(bench)
        version, fresh = _add_rows(service, caller, dataset, wanted, source)
        return _answer_version(request, service, version, fresh=fresh)
    begun = FetchService(bench).begin(
        caller.project_id,
        dataset,
        source,
        filename=wanted.filename,
        model=wanted.model,
        how=how_to_read(format=wanted.format, mapping=wanted.mapping, encoding=wanted.encoding, sheet=wanted.sheet),
    )
    return _answer_fetch(request, begun)


def _add_rows(
    service: DatasetService, caller: Caller, dataset: str, wanted: VersionCreate, source: InlineSource
) -> tuple[DatasetVersion, bool]:
    service.get(caller.project_id, dataset)
    service.known_model(wanted.model)
    with service.receive() as upload:
        for row in source.rows:
            upload.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    return service.add_version(
        caller.project_id,
        dataset,
        upload,
        original_name=wanted.filename,
        base_model=wanted.model,
        lineage={"source": "inline"},
    )


async def _add_form(
    request: Request, bench: Bench, service: DatasetService, caller: Caller, dataset: str
) -> tuple[DatasetVersion, bool]:
    async with in_threads(service.receive()) as upload:
        form = OneFileForm(
            request.headers["content-type"],
            file="file",
            texts=frozenset(VersionForm.model_fields),
            sink=upload.write,
            file_bytes_max=bench.policy.upload_bytes_max,
        )
        await pour(request, form.write)
        form.finish()
        said = validated(VersionForm, form.fields)
        how = how_to_read(format=said.format, mapping=said.mapping, encoding=said.encoding, sheet=said.sheet)

    def add(received: Upload) -> tuple[DatasetVersion, bool]:
        return service.add_version(
            caller.project_id, dataset, received, original_name=form.filename, base_model=said.model, how=how
        )

    return await run_in_threadpool(add, upload)


# ── from elsewhere ──────────────────────────────────────────────────────────


@router.get(
    "/fetches",
    operation_id="listFetches",
    summary="List fetches from sources",
    response_model=ListOf[FetchRead],
)
def list_fetches(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDatasets,
    dataset: str,
    page: Annotated[Page, Depends(page_of("fet"))],
) -> Response:
    """Newest first; those that have ended, too."""
    return answer_page(request, page, FetchService(bench).page(caller.project_id, dataset, page))


@router.get(FETCH, operation_id="getFetch", summary="Read a fetch", response_model=FetchRead)
def get_fetch(*, request: Request, bench: Bench, caller: ReadDatasets, dataset: str, fetch: str) -> Response:
    """`received_bytes` of `total_bytes` tells how far it is; `version` what it became."""
    return answer(request, FetchService(bench).get(caller.project_id, dataset, fetch))


@router.delete(
    FETCH,
    operation_id="cancelFetch",
    summary="Give a fetch up",
    status_code=204,
    responses=problems(409),
)
def cancel_fetch(*, bench: Bench, caller: WriteDatasets, dataset: str, fetch: str) -> Response:
    """What has arrived is deleted; the record stays."""
    FetchService(bench).cancel(caller.project_id, dataset, fetch)
    return Response(status_code=204)


@router.post(
    FETCH + "/retry",
    operation_id="retryFetch",
    summary="Look again at a parked fetch",
    status_code=202,
    response_model=FetchRead,
    responses=problems(409),
)
def retry_fetch(*, request: Request, bench: Bench, caller: WriteDatasets, dataset: str, fetch: str) -> Response:
    """After `parked_reason` was dealt with. It goes on from the bytes that are here."""
    return answer(request, FetchService(bench).retry(caller.project_id, dataset, fetch), status=202)


# ── in parts ────────────────────────────────────────────────────────────────


@router.post(
    "/uploads",
    operation_id="beginUpload",
    summary="Begin an upload in parts",
    status_code=201,
    response_model=UploadRead,
    responses=problems(409, 413),
)
def begin_upload(
    *, request: Request, bench: Bench, caller: WriteDatasets, dataset: str, new: UploadCreate
) -> Response:
    """For files that one request may not carry to its end. Cut the file into parts of `part_bytes`."""
    begun = UploadService(bench).begin(caller.project_id, dataset, new)
    return answer(request, begun, status=201, location=f"/v1/datasets/{begun.dataset}/uploads/{begun.id}")


@router.get(UPLOAD, operation_id="getUpload", summary="Read an upload and its parts", response_model=UploadRead)
def get_upload(*, request: Request, bench: Bench, caller: ReadDatasets, dataset: str, upload: str) -> Response:
    """`parts` lists what has arrived: after an interruption, send the others."""
    return answer(request, UploadService(bench).get(caller.project_id, dataset, upload))


@router.put(
    UPLOAD + "/parts/{number}",
    operation_id="putPart",
    summary="Send a part",
    response_model=PartRead,
    responses=problems(409, 413),
    max_body_size=UPLOAD_BODY,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The part's bytes, 64 MiB at most.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_part(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDatasets,
    dataset: str,
    upload: str,
    number: Annotated[int, Path(ge=1, le=PARTS_MAX, description="Its place in the file, counted from 1.")],
    sha256: Annotated[Sha256 | None, Query(description="Of the part, in hexadecimal.")] = None,
    content_digest: Annotated[
        str | None,
        Header(max_length=500, description="Of the part (RFC 9530): `sha-256=:BASE64:`."),
    ] = None,
) -> Response:
    """In any order, several at a time. The same part again takes the place of the first.

    With `sha256` or `Content-Digest` the bytes are checked; nothing is kept of a part damaged on its way.
    """
    service = UploadService(bench)
    announced = _announced(sha256, content_digest)
    receiving = service.receive_part(caller.project_id, dataset, upload, number, announced=announced)
    with _room_needed():
        async with in_threads(receiving) as part:
            await pour(request, part.write)
        kept = await run_in_threadpool(service.keep_part, part)
    return answer(request, kept)


def _announced(sha256: str | None, content_digest: str | None) -> Sequence[str]:
    """The digests a part should have, in hexadecimal.

    Source: RFC 9530 §2 (Content-Digest is a dictionary; other algorithms in it are passed over).
    """
    found = [] if sha256 is None else [sha256]
    if content_digest is not None:
        digest = _SHA_256.search(content_digest)
        if digest is None:
            detail = "Content-Digest holds no SHA-256 of the form sha-256=:BASE64:."
            raise Invalid(
                detail,
                code="digest_malformed",
                errors=[FieldError(header="Content-Digest", code="digest_malformed", detail=detail)],
            )
        found.append(base64.b64decode(digest[1]).hex())
    return found


@router.post(
    UPLOAD + "/complete",
    operation_id="completeUpload",
    summary="Make the parts a version",
    status_code=202,
    response_model=VersionRead,
    responses={**_SAME, **problems(409, 413, 507)},
)
def complete_upload(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDatasets,
    dataset: str,
    upload: str,
    wanted: Annotated[UploadComplete, Body(default_factory=UploadComplete)],
) -> Response:
    """May be repeated after any failure: the upload becomes one version, which later times answer with 200."""
    service = UploadService(bench)
    with _room_needed():
        version, fresh = service.complete(caller.project_id, dataset, upload, wanted)
    return _answer_version(request, DatasetService(bench), version, fresh=fresh)


@router.delete(
    UPLOAD,
    operation_id="cancelUpload",
    summary="Give an upload up",
    status_code=204,
    responses=problems(409),
)
def cancel_upload(*, bench: Bench, caller: WriteDatasets, dataset: str, upload: str) -> Response:
    """Its parts are deleted."""
    UploadService(bench).cancel(caller.project_id, dataset, upload)
    return Response(status_code=204)
