"""`kitae openai export`: the fine-tuning history of an OpenAI account, read once, kept as a bundle."""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from app.cli import words
from app.cli.exits import Exit, Told

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx2

    from app.exports.bundle import Content
    from app.exports.openai_history import HistoryFile
    from app.exports.record import Record

group = typer.Typer(no_args_is_help=True, help="The history of an OpenAI account.")

OPENAI: Final = "https://api.openai.com/v1"
PAGE_ITEMS: Final = 100
"""Most items of a list that OpenAI answers at once."""
ATTEMPTS: Final = 6
PATIENCE_SECONDS: Final = 60.0
FILE_BYTES_MAX: Final = 512 << 20
"""Of one file. Source: OpenAI API reference, files, 2026: up to 512 MB."""
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})
_SAFE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="openai")


@group.callback()
def _group() -> None:
    """Keeps `export` a command of its own."""


@group.command("export")
def export(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write.")],
    work: Annotated[
        Path | None,
        typer.Option(
            "--directory", help="Where what was read is kept, so that a second run goes on. OUTPUT.d otherwise."
        ),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nobody: pack what the directory holds.")] = False,
    key_env: Annotated[
        str, typer.Option("--key-env", help="Environment variable that holds the API key.")
    ] = "OPENAI_API_KEY",
    url: Annotated[str, typer.Option("--url", help="Of the API, with its version.")] = OPENAI,
    most: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Most jobs that are read.")] = 1000,
    content: Annotated[
        bool, typer.Option("--content/--no-content", help="Training and validation files too.")
    ] = True,
) -> None:
    """Read every fine-tuning job with its events, checkpoints, results and files; pack them.

    `kitae bundles import` brings the bundle into a project.
    """
    shelf = Shelf(work or output.with_name(output.name + ".d"))
    if not offline:
        key = os.environ.get(key_env)
        if not key:
            raise Told(f"{key_env} is not set.", hint="Export the API key under this name, or name another.")
        with _client(url, key) as http:
            read_account(http, shelf, most=most, content=content)
    runs, size, refused = write_bundle(shelf, output, content=content)
    for line in refused:
        words.warn(line)
    words.done(f"{output}: {words.counted(runs, 'run')}, {size:,} bytes")


@contextmanager
def _client(url: str, key: str) -> Iterator[httpx2.Client]:
    import httpx2

    headers = {"Authorization": f"Bearer {key}"}
    with httpx2.Client(
        base_url=url.rstrip("/"), headers=headers, timeout=httpx2.Timeout(60.0, connect=10.0)
    ) as http:
        yield http


class Shelf:
    """A directory in which every answer lies in a file of its own. A file is whole or not there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, kind: str, name: str) -> Path:
        """Raises `Told` for a name that leads elsewhere."""
        if not _SAFE.fullmatch(name):
            raise Told(f"OpenAI named something {name[:80]!r}; that is no name for a file.")
        return self.directory / kind / name

    def has(self, kind: str, name: str) -> bool:
        return self.path(kind, name).exists()

    def put(self, kind: str, name: str, content: bytes) -> None:
        path = self.path(kind, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".part")
        partial.write_bytes(content)
        partial.replace(path)

    def put_json(self, kind: str, name: str, value: Any) -> None:
        import orjson

        self.put(kind, f"{name}.json", orjson.dumps(value, option=orjson.OPT_INDENT_2))

    def json(self, kind: str, name: str) -> Any:
        import orjson

        path = self.path(kind, f"{name}.json")
        try:
            return orjson.loads(path.read_bytes()) if path.exists() else None
        except orjson.JSONDecodeError as error:
            raise Told(f"{path} cannot be read: {error}.", hint="Delete it; it is read again.") from None

    def names(self, kind: str) -> list[str]:
        place = self.directory / kind
        return sorted(path.stem for path in place.glob("*.json")) if place.is_dir() else []


# ── reading ─────────────────────────────────────────────────────────────────


def read_account(http: httpx2.Client, shelf: Shelf, *, most: int, content: bool) -> None:
    """Bring what the shelf does not have yet. Jobs that had ended when they were read are not read again."""
    with words.progress("reading jobs") as draw:
        for at, job in enumerate(_listed(http, "/fine_tuning/jobs", most=most)):
            draw(None, f"{at + 1} · {job.get('id')}")
            _read_job(http, shelf, job, content=content)


def _read_job(http: httpx2.Client, shelf: Shelf, job: Mapping[str, Any], *, content: bool) -> None:
    """The job object comes last: while it is not there, everything of the job is read again."""
    job_id = str(job.get("id"))
    known = shelf.json("jobs", job_id)
    if known is not None and known.get("status") in ENDED:
        return
    base = f"/fine_tuning/jobs/{job_id}"
    shelf.put_json("events", job_id, list(_listed(http, f"{base}/events", most=100_000)))
    shelf.put_json("checkpoints", job_id, list(_listed(http, f"{base}/checkpoints", most=10_000, may_lack=True)))
    wanted = [str(name) for name in job.get("result_files") or []]
    if content:
        wanted += [str(job[role]) for role in ("training_file", "validation_file") if job.get(role)]
    for file_id in wanted:
        _read_file(http, shelf, file_id)
    shelf.put_json("jobs", job_id, dict(job))


def _read_file(http: httpx2.Client, shelf: Shelf, file_id: str) -> None:
    """Its object and its content; what OpenAI does not give is noted with its words."""
    if shelf.has("files", f"{file_id}.content") or shelf.has("files", f"{file_id}.refused"):
        return
    about = _ask(http, f"/files/{file_id}")
    if about.is_success:
        shelf.put_json("files", file_id, about.json())
    answer = _ask(http, f"/files/{file_id}/content")
    if answer.is_success and len(answer.content) <= FILE_BYTES_MAX:
        shelf.put("files", f"{file_id}.content", answer.content)
    elif answer.status_code in {400, 403, 404}:
        shelf.put("files", f"{file_id}.refused", answer.content[:4000])
    else:
        raise _refused(answer)


def _listed(http: httpx2.Client, path: str, *, most: int, may_lack: bool = False) -> Iterator[dict[str, Any]]:
    after: str | None = None
    left = most
    while left > 0:
        params: dict[str, str | int] = {"limit": min(PAGE_ITEMS, left)} | ({"after": after} if after else {})
        answer = _ask(http, path, params)
        if may_lack and answer.status_code in {400, 404}:
            return  # jobs of old, and failed ones, have none
        if not answer.is_success:
            raise _refused(answer)
        page = answer.json()
        items = [item for item in page.get("data") or [] if isinstance(item, dict) and item.get("id")]
        yield from items
        left -= len(items)
        if not page.get("has_more") or not items or items[-1]["id"] == after:
            return
        after = str(items[-1]["id"])


def _ask(http: httpx2.Client, path: str, params: Mapping[str, str | int] | None = None) -> httpx2.Response:
    """One GET, again while OpenAI is busy or away. Raises `Told` when it stays so."""
    import httpx2

    said = ""
    for attempt in range(1, ATTEMPTS + 1):
        pause = min(2.0**attempt * 0.25, PATIENCE_SECONDS)
        try:
            answer = http.get(path, params=dict(params or {}))
        except httpx2.TransportError as error:
            said = str(error) or type(error).__name__
        else:
            if answer.status_code != 429 and answer.status_code < 500:
                return answer
            said = f"HTTP {answer.status_code}"
            asked = answer.headers.get("retry-after", "")
            if asked.isdigit():
                pause = min(float(asked), PATIENCE_SECONDS)
        if attempt < ATTEMPTS:
            time.sleep(pause)
    raise Told(f"OpenAI does not answer: {said}.", hint="Run it again later; it goes on where it was.")


def _refused(answer: httpx2.Response) -> Told:
    hint = "Check the API key and its rights." if answer.status_code in {401, 403} else ""
    return Told(f"OpenAI answers {answer.status_code}: {answer.text[:300]}", hint=hint, code=Exit.PROBLEM)


# ── packing ─────────────────────────────────────────────────────────────────


def write_bundle(shelf: Shelf, output: Path, *, content: bool) -> tuple[int, int, list[str]]:
    """The bundle of everything on the shelf that has ended.

    Returns:
        How many runs, the bundle's bytes, and what could not be packed, in words.

    Raises:
        Told: there is nothing to pack.
    """
    from app.exports.bundle import pack

    records: dict[str, Record] = {}
    contents: dict[str, Content] = {}
    told: list[str] = []
    for job_id in shelf.names("jobs"):
        job = shelf.json("jobs", job_id)
        if job.get("status") not in ENDED:
            told.append(f"{job_id} is {job.get('status')}: read it again when it has ended.")
            continue
        records[job_id] = _record(shelf, job, contents, told, content=content)
    if not records:
        raise Told(f"{shelf.directory} holds no job that has ended.", hint="Read the account first.")
    partial = output.with_name(output.name + ".part")
    with partial.open("wb") as target:
        for piece in pack(records, list(contents.values())):
            target.write(piece)
    partial.replace(output)
    return len(records), output.stat().st_size, told


def _record(
    shelf: Shelf, job: Mapping[str, Any], contents: dict[str, Content], told: list[str], *, content: bool
) -> Record:
    from app.exports.openai_history import record_of

    job_id = str(job["id"])
    files: dict[str, HistoryFile] = {}
    for role in ("training_file", "validation_file"):
        file_id = job.get(role)
        if content and isinstance(file_id, str) and file_id:
            _take_file(shelf, file_id, files, contents, told, of=f"{job_id}, {role}")
    results = next((path for name in job.get("result_files") or [] if (path := _content(shelf, str(name)))), None)
    return record_of(
        job,
        events=shelf.json("events", job_id) or [],
        checkpoints=shelf.json("checkpoints", job_id) or [],
        results=results.read_bytes() if results else None,
        files=files,
    )


def _content(shelf: Shelf, file_id: str) -> Path | None:
    path = shelf.path("files", f"{file_id}.content")
    return path if path.exists() else None


def _take_file(
    shelf: Shelf,
    file_id: str,
    files: dict[str, HistoryFile],
    contents: dict[str, Content],
    told: list[str],
    *,
    of: str,
) -> None:
    from app.exports.bundle import Content
    from app.exports.openai_history import file_of

    path = _content(shelf, file_id)
    if path is None:
        told.append(f"{of}: OpenAI did not give {file_id}; its data stays unknown.")
        return
    name = (shelf.json("files", file_id) or {}).get("filename") or file_id
    file = file_of(file_id, str(name), path.read_bytes())
    files[file_id] = file

    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        with path.open("rb") as source:
            yield source

    contents[file.sha256] = Content(file.sha256, file.bytes, opened)
