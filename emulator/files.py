"""Azure's files: upload, list, read, delete. It must not know what jobs do with them."""

import codecs
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response

from emulator.door import Call, DataCall
from emulator.pages import cut, visible
from emulator.results import results_csv
from emulator.state import File
from emulator.wire import PREVIEW, Dialect, Refusal, answer, new_id, whole_number
from emulator.world import World

router = APIRouter()

UPLOAD_PURPOSES = ("fine-tune", "assistants", "batch", "evals")
"""Source: v1 specification, AzureCreateFileRequestMultiPart, 2026-02-02."""

EXPIRY_SECONDS = (1_209_600, 2_592_000)
"""Least and most lifetime of a file. Source: 2025-04-01-preview, Files_Upload."""


def file_body(file: File, dialect: Dialect, *, fresh: bool = False) -> dict[str, Any]:
    """A file as the wire shows it; right after the upload dated answers do not know its size yet.

    Source: example upload_file.json of 2024-10-21 has no `bytes`; the v1 schema requires the member, null allowed.
    """
    body: dict[str, Any] = {
        "status": "pending" if fresh else file.phase,
        "bytes": None if fresh else file.size_bytes,
        "purpose": file.purpose,
        "filename": file.filename,
        "id": file.id,
        "created_at": file.created_at,
        "object": "file",
    }
    if fresh and not dialect.is_v1:
        del body["bytes"]
    if file.expires_at is not None and dialect.version != "2024-10-21":
        body["expires_at"] = file.expires_at
    if file.phase == "error" and not fresh:
        body["status_details"] = file.status_details
    return body


def find_file(world: World, account: str, file_id: str) -> File:
    """A file by id.

    Raises:
        Refusal: 404.
    """
    file = world.files.get(file_id)
    if file is None or file.account != account:
        raise Refusal(404, "notFound", f"The file '{file_id}' does not exist.")
    return file


async def read_form(request: Request) -> AsyncIterator[FormData]:
    limit = request.app.state.world.settings.file_limit_bytes
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > limit + 65_536:
        raise Refusal(413, "invalidPayload", f"The file is larger than {limit} bytes.")
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(400, "invalidPayload", "The request must be multipart/form-data.")
    try:
        form = await request.form(max_files=10, max_fields=100)
    except (MultiPartException, ClientDisconnect, ValueError, KeyError) as error:
        raise Refusal(400, "invalidPayload", f"The multipart body cannot be read: {error}") from error
    try:
        yield form
    finally:
        await form.close()


UploadForm = Annotated[FormData, Depends(read_form)]


def _expiry_seconds(form: FormData) -> int | None:
    seconds = form.get("expires_after.seconds") or form.get("expires_after[seconds]")
    if not isinstance(seconds, str):
        return None
    return whole_number(seconds, "expires_after.seconds", 0, *EXPIRY_SECONDS)


def _text_problem(purpose: str, pieces: Iterator[bytes]) -> str:
    """Why Azure's import would end in `error`; what is wrong with single lines is found by the job.

    Source: ErrorCode `jsonlValidationFailed` of 2024-10-21; which checks are made here, and which by the job, is
    not published.
    """
    if purpose != "fine-tune":
        return ""
    decoder = codecs.getincrementaldecoder("utf-8")()
    beginning, read = "", 0
    try:
        for piece in pieces:
            text = decoder.decode(piece)
            beginning = beginning or text.lstrip("\ufeff \t\r\n")[:1]
            read += len(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return f"The file is not encoded in UTF-8: {error.reason} near byte {read + error.start}."
    if not beginning:
        return "The file is empty."
    if beginning != "{":
        return "jsonlValidationFailed: The file is not JSON Lines: its first line does not begin with '{'."
    return ""


def text_problem(purpose: str, path: Path) -> str:
    """Why the import of these bytes ends in `error`; empty when it does not."""
    return _text_problem(purpose, _pieces(path))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            yield piece


def keep_file(call: Call, filename: str, purpose: str, content: BinaryIO, *, in_parts: bool = False) -> File:
    """Take in the bytes of a new file; they are copied and read before the world stands still.

    Raises:
        Refusal: 400 when the resource holds as many files, or bytes, as it may.
    """
    world = call.world
    file_id = new_id("file-")
    size_bytes = world.store.write_stream(file_id, content)
    problem = str(call.fate.get("file_error", "")) or text_problem(purpose, world.store.blob(file_id))
    try:
        with world.moment() as now_v:
            file = new_file(call, now_v, file_id, filename, purpose, size_bytes)
            file.status_details, file.blob, file.in_parts = problem, file_id, in_parts
    except Refusal:
        world.store.drop_blob(file_id)
        raise
    return file


def new_file(call: Call, now_v: float, file_id: str, filename: str, purpose: str, size_bytes: int) -> File:
    """Enter a file that is pending.

    Raises:
        Refusal: 400 when the resource holds as many files, or bytes, as it may.
    """
    world = call.world
    _check_room(world, call.account, purpose, size_bytes)
    name = re.sub(r"[\x00-\x1f]", "", filename) or "file.jsonl"
    file = File(call.account, file_id, name, purpose, size_bytes, world.stamp(now_v), now_v)
    world.files[file.id] = world.pending_files[file.id] = file
    world.touch("file", file)
    return file


def _check_room(world: World, account: str, purpose: str, size_bytes: int) -> None:
    """Source: Microsoft Learn, openai/quotas-limits, 2026-02-17: 100 files, 1 GB. The words are not published."""
    if purpose != "fine-tune":
        return
    held = [file for file in world.files.values() if file.purpose == purpose and file.account == account]
    if len(held) >= world.limits.files:
        message = f"The maximum number of files ({world.limits.files}) for this resource has been reached."
        raise Refusal(400, "quotaExceeded", message)
    used = sum(file.size_bytes for file in held)
    if used + size_bytes > world.limits.file_bytes:
        message = (
            f"The maximum total size of files ({world.limits.file_bytes} bytes) for this resource would be"
            f" exceeded: {used} bytes are used, {size_bytes} were added."
        )
        raise Refusal(400, "quotaExceeded", message)


def check_purpose(purpose: object) -> str:
    """The purpose of an upload.

    Raises:
        Refusal: 400 when it is none.
    """
    if not isinstance(purpose, str) or purpose not in UPLOAD_PURPOSES:
        message = f"The field 'purpose' must be one of {', '.join(UPLOAD_PURPOSES)}."
        raise Refusal(400, "invalidPayload", message, param="purpose")
    return purpose


@router.post("/files")
def upload_file(call: DataCall, form: UploadForm) -> Response:
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        raise Refusal(400, "invalidPayload", "The form field 'file' is missing or is not a file.", param="file")
    limit = call.world.settings.file_limit_bytes
    if (upload.size or 0) > limit:
        raise Refusal(413, "invalidPayload", f"The file is larger than {limit} bytes.", param="file")
    purpose, lifetime = check_purpose(form.get("purpose")), _expiry_seconds(form)
    file = keep_file(call, upload.filename or "", purpose, upload.file)
    if lifetime is not None:
        with call.world.moment():
            file.expires_at = file.created_at + lifetime
            call.world.touch("file", file)
    return created(call, file_body(file, call.dialect, fresh=True), f"{call.url}/{file.id}")


def created(call: Call, body: dict[str, Any], location: str) -> Response:
    """The answer to a create: 201 with Location on dated URLs, 200 on v1. Source: both specifications."""
    if call.dialect.is_v1:
        return answer(body)
    return answer(body, 201, {"Location": f"{location}?api-version={call.dialect.version}"})


@router.get("/files")
def list_files(
    call: DataCall,
    purpose: str | None = None,
    limit: str | None = None,
    after: str | None = None,
    order: str | None = None,
) -> Response:
    """Only `2025-04-01-preview` lists files in pages; the other forms know no parameter but `purpose`.

    Source: Files_List of 2025-04-01-preview; GET /files of the v1 specification, 2026-02-02.
    """
    if call.dialect.version != PREVIEW:
        limit = after = order = None
    with call.world.moment() as now_v:
        files = [
            file
            for file in call.world.files.values()
            if file.account == call.account and (purpose is None or file.purpose == purpose)
        ]
        if order == "desc":
            files.reverse()
        most = whole_number(limit, "limit", 10_000, 1, 10_000)
        page, has_more = cut(visible(call, files, now_v), after, most, call.page_shift)
        data = [file_body(file, call.dialect) for file in page]
    body: dict[str, Any] = {"data": data, "object": "list"}
    if call.dialect.is_v1:
        first, last = (data[0]["id"], data[-1]["id"]) if data else ("", "")
        body |= {"first_id": first, "last_id": last, "has_more": has_more}
    elif call.dialect.version == PREVIEW and limit is not None:
        body["has_more"] = has_more
    return answer(body)


@router.get("/files/{file_id}")
def get_file(call: DataCall, file_id: str) -> Response:
    with call.world.moment():
        return answer(file_body(find_file(call.world, call.account, file_id), call.dialect))


@router.get("/files/{file_id}/content")
def get_file_content(call: DataCall, file_id: str) -> Response:
    with call.world.moment():
        file = find_file(call.world, call.account, file_id)
        if file.blob:
            return FileResponse(call.world.store.blob(file.blob), media_type="application/octet-stream")
        job = call.world.jobs[file.job]
        content = results_csv(call.world.recordings[job.id].rows[: job.published], job.method_type)
    return Response(content, media_type="application/octet-stream")


def delete_file_now(world: World, file: File) -> None:
    """Forget a file; jobs that use it keep their bytes."""
    del world.files[file.id]
    world.pending_files.pop(file.id, None)
    world.drop("file", file)
    if file.blob:
        world.store.drop_blob(file.blob)


@router.delete("/files/{file_id}")
def delete_file(call: DataCall, file_id: str) -> Response:
    with call.world.moment():
        delete_file_now(call.world, find_file(call.world, call.account, file_id))
    return answer({"id": file_id, "object": "file", "deleted": True})
