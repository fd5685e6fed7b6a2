"""Large files in parts; on dated URLs only, as on Azure. It knows files, and nothing of jobs."""

import base64
import hashlib
from collections.abc import Iterator
from io import RawIOBase
from typing import Any, BinaryIO, cast

from fastapi import APIRouter, Depends
from starlette.datastructures import UploadFile
from starlette.responses import Response

from emulator.door import Body, Call, DataCall
from emulator.files import UploadForm, check_purpose, file_body, keep_file
from emulator.state import Upload
from emulator.wire import Dialect, Refusal, answer, new_id
from emulator.world import World

LARGEST_BYTES = 9 * 1024**3
LIFETIME_SECONDS = 2 * 3600
"""Source: 2025-04-01-preview, UploadFile_Start: at most 9 GB, expires two hours after it was created."""


def _dated_only(call: DataCall) -> None:
    """Source: Microsoft's fine-tuning notes, 2026-08: the v1 form answers 404 to upload operations."""
    if call.dialect.is_v1:
        raise Refusal(404, "404", "Resource not found")


router = APIRouter(prefix="/uploads", dependencies=[Depends(_dated_only)])


def _find(world: World, account: str, upload_id: str, now_v: float) -> Upload:
    upload = world.uploads.get(upload_id)
    if upload is None or upload.account != account:
        raise Refusal(404, "notFound", f"The upload '{upload_id}' does not exist.")
    if upload.status == "pending" and now_v >= upload.created_v + LIFETIME_SECONDS:
        _close(world, upload, "expired")
    return upload


def _close(world: World, upload: Upload, status: str) -> None:
    for blob in upload.parts.values():
        world.store.drop_blob(blob)
    upload.status = status
    world.touch("upload", upload)


def _pending(world: World, account: str, upload_id: str, now_v: float) -> Upload:
    upload = _find(world, account, upload_id, now_v)
    if upload.status != "pending":
        message = f"The upload '{upload_id}' has the status '{upload.status}'; it must be 'pending'."
        raise Refusal(400, "unexpectedEntityState", message)
    return upload


def upload_body(world: World, upload: Upload, dialect: Dialect) -> dict[str, Any]:
    """An upload as the wire shows it. Source: 2025-04-01-preview, UploadResource."""
    body: dict[str, Any] = {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.size_bytes,
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "created_at": upload.created_at,
        "expires_at": upload.created_at + LIFETIME_SECONDS,
    }
    file = world.files.get(upload.file)
    return body | ({"file": file_body(file, dialect)} if file else {})


class _Joined(RawIOBase):
    """Parts, read one after the other as one stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _size: int = -1) -> bytes:
        return next(self._pieces, b"")


@router.post("")
def start_upload(call: DataCall, body: Body) -> Response:
    filename, mime_type = body.get("filename"), body.get("mime_type")
    size = body.get("bytes")
    if not isinstance(filename, str) or not filename or not isinstance(mime_type, str):
        raise Refusal(400, "invalidPayload", "The fields 'filename' and 'mime_type' must be strings.")
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST_BYTES:
        message = f"The field 'bytes' must be an integer between 1 and {LARGEST_BYTES}."
        raise Refusal(400, "invalidPayload", message, param="bytes")
    purpose = check_purpose(body.get("purpose"))
    with call.world.moment() as now_v:
        upload = Upload(
            call.account, new_id("upload-"), filename, purpose, size, call.world.stamp(now_v), created_v=now_v
        )
        call.world.uploads[upload.id] = upload
        call.world.touch("upload", upload)
        shown = upload_body(call.world, upload, call.dialect)
    location = f"{call.url}/{upload.id}?api-version={call.dialect.version}"
    return answer(shown, headers={"Location": location})


@router.post("/{upload_id}/parts")
def add_part(call: DataCall, upload_id: str, form: UploadForm) -> Response:
    data = form.get("data")
    if not isinstance(data, UploadFile):
        raise Refusal(400, "invalidPayload", "The form field 'data' is missing or is not a file.", param="data")
    world, part_id = call.world, base64.b64encode(bytes.fromhex(new_id(""))).decode()
    blob = new_id("part-")
    with world.moment() as now_v:
        _pending(world, call.account, upload_id, now_v)
    world.store.write_stream(blob, data.file)
    with world.moment() as now_v:
        try:
            upload = _pending(world, call.account, upload_id, now_v)
        except Refusal:
            world.store.drop_blob(blob)
            raise
        upload.parts[part_id] = blob
        world.touch("upload", upload)
        created_at = world.stamp(now_v)
    body = {
        "id": part_id,
        "object": "upload.part",
        "created_at": created_at,
        "upload_id": upload_id,
        "azure_block_id": part_id,
    }
    return answer(body)


def _ordered(upload: Upload, body: dict[str, Any]) -> list[str]:
    """The blobs of the parts in the order asked for."""
    part_ids = body.get("part_ids")
    if not isinstance(part_ids, list) or not part_ids:
        raise Refusal(400, "invalidPayload", "The field 'part_ids' must be a non-empty list.", param="part_ids")
    unknown = [part_id for part_id in part_ids if not isinstance(part_id, str) or part_id not in upload.parts]
    if unknown:
        message = f"The part '{str(unknown[0])[:80]}' does not belong to the upload '{upload.id}'."
        raise Refusal(400, "invalidPayload", message, param="part_ids")
    return [upload.parts[part_id] for part_id in part_ids]


@router.post("/{upload_id}/complete")
def complete_upload(call: DataCall, upload_id: str, body: Body) -> Response:
    """Join the parts to a file; their size must be the one announced, and `md5` that of the whole if given."""
    world = call.world
    with world.moment() as now_v:
        upload = _pending(world, call.account, upload_id, now_v)
        blobs = [world.store.blob(name) for name in _ordered(upload, body)]
        size = sum(blob.stat().st_size for blob in blobs)
        if size != upload.size_bytes:
            message = f"The parts have {size} bytes together; {upload.size_bytes} bytes were announced."
            raise Refusal(400, "invalidPayload", message)
        digest = hashlib.md5(usedforsecurity=False)
        for piece in _all_pieces(blobs):
            digest.update(piece)
        md5 = body.get("md5")
        if md5 is not None and md5 not in {digest.hexdigest(), base64.b64encode(digest.digest()).decode()}:
            raise Refusal(400, "invalidPayload", "The content does not have the MD5 that was given.", param="md5")
        file = _keep(call, upload, blobs)
        upload.file = file
        _close(world, upload, "completed")
        return answer(upload_body(world, upload, call.dialect))


def _keep(call: Call, upload: Upload, blobs: list[Any]) -> str:
    stream = cast("BinaryIO", _Joined(_all_pieces(blobs)))
    return keep_file(call, upload.filename, upload.purpose, stream, in_parts=True).id


def _all_pieces(blobs: list[Any]) -> Iterator[bytes]:
    for blob in blobs:
        with blob.open("rb") as stream:
            while piece := stream.read(1 << 20):
                yield piece


@router.post("/{upload_id}/cancel")
def cancel_upload(call: DataCall, upload_id: str) -> Response:
    with call.world.moment() as now_v:
        upload = _pending(call.world, call.account, upload_id, now_v)
        _close(call.world, upload, "cancelled")
        return answer(upload_body(call.world, upload, call.dialect))
