"""Files fetched from a URL; on dated URLs only, as on Azure. It knows files, and nothing of jobs."""

import threading
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from emulator import files, outgoing
from emulator.door import Body, DataCall
from emulator.wire import PREVIEW, Refusal, answer, new_id
from emulator.world import World

router = APIRouter()


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(400, "invalidPayload", f"The field '{name}' must be a non-empty string.", param=name)
    return value


def _lifetime(body: dict[str, Any]) -> int | None:
    """Seconds until the file expires. Source: FileExpiresAfter of 2025-04-01-preview."""
    given = body.get("expires_after")
    if given is None:
        return None
    seconds = given.get("seconds") if isinstance(given, dict) else None
    least, most = files.EXPIRY_SECONDS
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not least <= seconds <= most:
        message = f"The field 'expires_after.seconds' must be an integer between {least} and {most}."
        raise Refusal(400, "invalidPayload", message, param="expires_after")
    return seconds


@router.post("/files/import")
def import_file(call: DataCall, body: Body) -> Response:
    """Begin to fetch a file; how that went is seen from its status, as `fileImportFailed` in `status_details`.

    Source: Files_Import of 2025-04-01-preview and example import_file.json of 2024-10-21 (201, Location, `pending`
    without `bytes`); ErrorCode `fileImportFailed`. Absent from the v1 specification.
    """
    if call.dialect.is_v1:
        raise Refusal(404, "404", "Resource not found")
    filename, url, purpose = (
        _text(body, "filename"),
        _text(body, "content_url"),
        files.check_purpose(body.get("purpose")),
    )
    lifetime = _lifetime(body) if call.dialect.version == PREVIEW else None
    try:
        outgoing.check(url, call.world.settings.reach)
    except outgoing.NotReachable as refused:
        raise Refusal(400, "invalidPayload", str(refused), param="content_url") from refused
    with call.world.moment() as now_v:
        file = files.new_file(call, now_v, new_id("file-"), filename, purpose, 0)
        file.url, file.status_details = url, str(call.fate.get("file_error", ""))
        file.expires_at = None if lifetime is None else file.created_at + lifetime
        shown = files.file_body(file, call.dialect, fresh=True)
    _begin(call.world, file.id, url)
    location = call.url.removesuffix("/import") + f"/{file.id}?api-version={call.dialect.version}"
    return answer(shown, 201, {"Location": location})


def take_up(world: World) -> None:
    """Go on with the imports a restart has cut short."""
    with world.moment():
        waiting = [(file.id, file.url) for file in world.pending_files.values() if file.url]
    for file_id, url in waiting:
        _begin(world, file_id, url)


def _begin(world: World, file_id: str, url: str) -> None:
    threading.Thread(target=_fetch, args=(world, file_id, url), name="import", daemon=True).start()


def _fetch(world: World, file_id: str, url: str) -> None:
    problem, content = "", b""
    try:
        content = outgoing.fetch(url, world.settings.file_limit_bytes, world.settings.reach)
    except outgoing.NotReachable as failed:
        problem = f"fileImportFailed: {failed}"
    world.store.write_blob(file_id, content)
    with world.moment() as now_v:
        file = world.pending_files.get(file_id)
        if file is None:  # deleted meanwhile
            world.store.drop_blob(file_id)
            return
        file.status_details = (
            file.status_details or problem or files.text_problem(file.purpose, world.store.blob(file_id))
        )
        file.size_bytes, file.blob, file.url, file.entered_v = len(content), file_id, "", now_v
        file.in_parts = True
        world.touch("file", file)
