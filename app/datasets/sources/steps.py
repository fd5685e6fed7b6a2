"""The steps of a fetch: ask what there is, bring it piece by piece, make a version of it.

A step knows nothing of what the bytes mean. It holds one connection for some seconds at most, so that a slow source
costs other work nothing; where the source can go on from a byte, the next step does.
"""

import base64
import hashlib
import random
import re
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import structlog
from sqlalchemy import func

from app.datasets.service import DatasetService, Upload
from app.datasets.sources import repository
from app.datasets.sources.fetches import ALLOWED_HINT, URL_NOT_ALLOWED, FetchService, pieces_of
from app.datasets.sources.places import Place, SourceFile, SourceRefused, web_page
from app.datasets.sources.shards import JOIN_SECONDS, join_parquet
from app.datasets.states import FETCH_LAW, FetchStatus
from app.datasets.tables import DatasetFetch
from app.kit import care
from app.kit.care import Claim, LeaseLost
from app.kit.clock import utc_now
from app.kit.errors import KitaeError
from app.kit.failpoints import failpoint
from app.kit.web import WebAnswer, WebRefused, WebTrouble
from app.workbench import Workbench

log = structlog.get_logger("kitae.fetches")

PIECE_BYTES: Final = 8 << 20
"""What a crash may cost: the bytes since the last piece was stored."""
PIECE_SECONDS: Final = 10.0
"""A slow source's pieces are smaller: one is stored at least so often, with the lease renewed."""
SLICE_SECONDS: Final = 20.0
"""How long one step reads from a source that can go on later; then others get their turn."""
SLOWEST_BYTES_PER_SECOND: Final = 50_000
"""A source that cannot go on later holds a worker's thread until its end: it must be worth it."""
READ_BYTES: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_NO_DATA: Final = ("text/html", "application/xhtml", "image/", "video/", "audio/", "application/pdf", "font/")
"""Content types of what is surely no dataset."""


@dataclass(slots=True)
class _Course:
    """One step's reading of one file."""

    files: list[dict[str, Any]]
    index: int
    until: float
    """When the whole fetch must be over, on the monotonic clock."""

    @property
    def file(self) -> dict[str, Any]:
        return self.files[self.index]

    @property
    def here_bytes(self) -> int:
        """Of this file."""
        return sum(piece["bytes"] for piece in self.file["pieces"])

    @property
    def received_bytes(self) -> int:
        """Of all files."""
        return sum(piece["bytes"] for file in self.files for piece in file["pieces"])

    @property
    def total_bytes(self) -> int | None:
        sizes = [file["bytes"] for file in self.files]
        return None if None in sizes else sum(sizes)


class FetchSteps:
    """Takes the steps of fetches."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy
        self._fetches = FetchService(bench)

    def advance(self, fetch_id: str) -> None:
        self._bench.tend(DatasetFetch, fetch_id, self._step, noun="dataset.fetch")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            row, age_seconds = repository.get_unscoped(session, held.row_id)
        if row.status != FetchStatus.FETCHING:
            self._clear(held, row)
            return
        try:
            left_seconds = self._policy.fetch_seconds - age_seconds
            self._refuse_late(left_seconds)
            self._go_on(held, row, self._fetches.place_of(row), until=time.monotonic() + left_seconds)
        except WebTrouble as trouble:
            self._wait(held, row, str(trouble), None)
        except _Later as later:
            self._wait(held, row, later.message, later.seconds)
        except WebRefused as refused:
            self._fail(held, row, SourceRefused(str(refused), code=URL_NOT_ALLOWED, hint=ALLOWED_HINT))
        except SourceRefused as refused:
            self._fail(held, row, refused)
        except KitaeError as refused:  # the connection or the dataset is gone, or the whole is too large
            self._fail(held, row, SourceRefused(refused.detail, code=refused.code, hint=refused.hint))

    def _refuse_late(self, left_seconds: float) -> None:
        if left_seconds < 0:
            raise SourceRefused(
                f"It was not here after {self._policy.fetch_seconds:,.0f} seconds.",
                code="source_too_slow",
                hint="Download it yourself and upload it, or have the operator raise KITAE_FETCH_SECONDS.",
            )

    def _go_on(self, held: Claim, row: DatasetFetch, place: Place, *, until: float) -> None:
        if row.plan is None:
            self._ask(held, row, place)
            return
        files = row.plan["files"]
        unfinished = next((index for index, file in enumerate(files) if not file["whole"]), None)
        if unfinished is None:
            self._make_version(held, row)
        else:
            self._bring(held, _Course(files, unfinished, until), place)

    def _ask(self, held: Claim, row: DatasetFetch, place: Place) -> None:
        plan = place.plan()
        files = [
            {
                **asdict(file),
                "listed_bytes": file.bytes,
                "validator": None,
                "pieces": [],
                "whole": False,
                "origin": None,
            }
            for file in plan.files
        ]
        sizes = [file.bytes for file in plan.files]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self._refuse_size(total or 0)
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=0,
                plan={"files": files},
                lineage={**row.lineage, **plan.lineage},
                total_bytes=total,
            )

    # ── bytes ───────────────────────────────────────────────────────────────

    def _bring(self, held: Claim, course: _Course, place: Place) -> None:
        """Read on from the unfinished file, for a while or to its end."""
        file = course.file
        source = SourceFile(name=file["name"], url=file["url"], bytes=file["bytes"], sha256=file["sha256"])
        if course.here_bytes and file["validator"] is None:
            self._start_over(held, course)  # nothing tells that the rest would belong to the beginning
        url, here = place.url(source), course.here_bytes
        headers = dict(place.headers) | {"Accept": "*/*", "User-Agent": "kitae"}
        if here:
            headers |= {"Range": f"bytes={here}-", "If-Range": file["validator"]}
        with self._bench.web.get(url, headers=headers, private=place.private()) as answer:
            self._look_at(held, course, place, url, answer)
            self._read(held, course, answer)

    def _look_at(self, held: Claim, course: _Course, place: Place, url: str, answer: WebAnswer) -> None:
        """What the headers say, before any byte is taken."""
        file, headers = course.file, answer.headers
        if answer.status in {408, 425, 429} or answer.status >= 500:
            seconds = headers.get("retry-after", "")
            raise _Later(f"The source answers {answer.status}.", float(seconds) if seconds.isdigit() else None)
        if answer.status == 416 or (answer.status == 206 and not _goes_on(answer, course)):
            self._start_over(held, course)
            raise _Later("The source has changed meanwhile; it is brought from the beginning.", 0.0)
        if answer.status not in {200, 206}:
            raise place.refusal(answer.status, headers)
        kind = headers.get("content-type", "").lower()
        if kind.startswith(_NO_DATA):
            if "html" in kind:
                raise web_page(url)
            raise SourceRefused(
                f"The address answers with {kind[:80]!r}, which holds no examples.",
                code="source_wrong_type",
                hint="Give the URL of a file with examples: JSON Lines, JSON, CSV, Excel or parquet.",
            )
        if answer.status == 200:
            if course.here_bytes:
                self._start_over(held, course)
            length = headers.get("content-length", "")
            size = int(length) if length.isdigit() else None
            if size is not None and file["bytes"] not in {None, size}:
                raise SourceRefused(
                    f"{file['name']} has {size:,} bytes; its list says {file['bytes']:,}.",
                    code="source_inconsistent",
                    hint="Try again later; if it stays, report it to whoever keeps the source.",
                )
            file["bytes"] = size if size is not None else file["bytes"]
            file["validator"] = _validator(headers)
            file["origin"] = answer.origin
            file["etag"] = headers.get("etag")
            file["last_modified"] = headers.get("last-modified")
            file["md5"] = headers.get("content-md5")
        others = sum(one["bytes"] or 0 for one in course.files if one is not file)
        self._refuse_size(others + (file["bytes"] or 0))

    def _read(self, held: Claim, course: _Course, answer: WebAnswer) -> None:
        file = course.file
        began, before = time.monotonic(), course.here_bytes
        while True:
            ended, trouble = self._piece(held, course, answer.chunks)
            if trouble is not None:
                progress = course.here_bytes > before and file["validator"] is not None
                if not progress:
                    raise WebTrouble(trouble)
                log.info("fetch.cut", id=held.row_id, received_bytes=course.received_bytes, reason=trouble)
                self._pause(held, course, 1.0)
                return
            if ended:
                if file["bytes"] is not None and course.here_bytes != file["bytes"]:
                    raise WebTrouble(f"It ended after {course.here_bytes:,} of {file['bytes']:,} bytes.")
                file["whole"], file["bytes"] = True, course.here_bytes
                self._pause(held, course, 0)
                return
            self._refuse_late(course.until - time.monotonic())
            seconds = time.monotonic() - began
            if seconds > SLICE_SECONDS and file["validator"] is not None:
                self._pause(held, course, 0)
                return
            if seconds > SLICE_SECONDS and (course.here_bytes - before) / seconds < SLOWEST_BYTES_PER_SECOND:
                raise SourceRefused(
                    "The source is slow, and cannot go on from where it was broken off.",
                    code="source_too_slow",
                    hint="Download it yourself and upload it.",
                )

    def _piece(self, held: Claim, course: _Course, chunks: Iterator[bytes]) -> tuple[bool, str | None]:
        """Store the next piece. Whether the file ended with it, and what broke it off."""
        storage, file = self._bench.storage, course.file
        key = f"fetches/{held.row_id}/{held.fence}-{course.index}-{len(file['pieces'])}"
        until = time.monotonic() + min(PIECE_SECONDS, self._policy.lease_seconds / 3)
        room = self._policy.upload_bytes_max - course.received_bytes
        size, ended, trouble = 0, False, None
        with storage.writer(key) as out:
            while size < PIECE_BYTES and time.monotonic() < until:
                try:
                    chunk = next(chunks, None)
                except WebTrouble as error:
                    trouble = str(error)
                    break
                if chunk is None:
                    ended = True
                    break
                size += len(chunk)
                self._refuse_size(self._policy.upload_bytes_max - room + size)
                out.write(chunk)
        if size == 0:
            storage.delete(key)
            return ended, trouble
        file["pieces"].append({"key": key, "bytes": size})
        try:
            with self._bench.begin() as work:
                self._write(work.session, held, course)
                care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)
        except LeaseLost:
            storage.delete(key)  # cancelled, or another worker goes on from the last piece that was written down
            raise
        failpoint("fetches.piece.recorded")
        return ended, trouble

    def _write(self, session: Any, held: Claim, course: _Course) -> None:
        care.write(
            session,
            held,
            plan={"files": course.files},
            received_bytes=course.received_bytes,
            total_bytes=course.total_bytes,
        )

    def _pause(self, held: Claim, course: _Course, seconds: float) -> None:
        with self._bench.begin() as work:
            self._write(work.session, held, course)
            care.finish(work.session, held, check_in_seconds=seconds)

    def _start_over(self, held: Claim, course: _Course) -> None:
        keys = [piece["key"] for piece in course.file["pieces"]]
        course.file["pieces"], course.file["validator"] = [], None
        course.file["bytes"] = course.file["listed_bytes"]
        with self._bench.begin() as work:
            self._write(work.session, held, course)
        for key in keys:
            self._bench.storage.delete(key)

    def _refuse_size(self, size: int) -> None:
        most = self._policy.upload_bytes_max
        if size > most:
            raise SourceRefused(
                f"The source holds more than {most:,} bytes.",
                code="source_too_large",
                hint="Bring a part of it, or raise KITAE_UPLOAD_MAX_BYTES if Azure takes more by now.",
            )

    # ── the end ─────────────────────────────────────────────────────────────

    def _make_version(self, held: Claim, row: DatasetFetch) -> None:
        datasets = DatasetService(self._bench)
        files = (row.plan or {})["files"]
        dataset = datasets.get(row.project_id, row.dataset_id)
        with datasets.receive() as upload:
            digests = self._put_together(held, files, upload)
        try:
            lineage = _lineage(row, files, digests)
            FETCH_LAW.check(FetchStatus(row.status), FetchStatus.FETCHED)
            with self._bench.begin() as work:
                version, fresh = datasets.place(
                    work,
                    dataset,
                    upload,
                    original_name=row.original_name,
                    base_model=row.base_model,
                    lineage=lineage,
                )
                care.finish(
                    work.session,
                    held,
                    check_in_seconds=0,
                    status=FetchStatus.FETCHED,
                    version_id=version.id,
                    lineage=lineage,
                    source_sealed=None,
                    ended_at=func.clock_timestamp(),
                )
                work.announce(
                    "dataset.fetch.fetched",
                    project_id=row.project_id,
                    subject_id=row.id,
                    **{"from": row.status, "to": FetchStatus.FETCHED},
                    version=version.id,
                    bytes=upload.size,
                )
        except LeaseLost:
            datasets.forget(upload)
            raise
        failpoint("fetches.version.recorded")
        if not fresh:
            datasets.forget(upload)

    def _put_together(self, held: Claim, files: list[dict[str, Any]], upload: Upload) -> list[str]:
        """The source as one file; the digests of its own files. Several are parquet, and become one."""
        if len(files) == 1:
            return [self._pour(held, files[0], upload.write)]
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kitae-fetch-")))
            parts, digests = [], []
            for number, file in enumerate(files):
                part = directory / f"{number:04}.parquet"
                with part.open("wb") as out:
                    digests.append(self._pour(held, file, out.write))
                parts.append(part)
            whole = directory / "whole.parquet"
            with self._bench.begin() as work:
                care.extend(work.session, held, lease_seconds=self._policy.lease_seconds + JOIN_SECONDS)
            join_parquet(parts, whole)
            _copy(stack.enter_context(whole.open("rb")), upload)
        return digests

    def _pour(self, held: Claim, file: Mapping[str, Any], write: Any) -> str:
        """Hand the bytes of one file on; its SHA-256. Raises `SourceRefused` if they are not the announced ones."""
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        for piece in file["pieces"]:
            with self._bench.storage.reader(piece["key"]) as stored:
                while chunk := stored.read(READ_BYTES):
                    sha256.update(chunk)
                    md5.update(chunk)
                    write(chunk)
            with self._bench.begin() as work:
                care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)
        found = sha256.hexdigest()
        announced = file.get("md5")
        wrong_md5 = announced is not None and announced != base64.b64encode(md5.digest()).decode()
        if (file["sha256"] not in {None, found}) or wrong_md5:
            raise SourceRefused(
                f"{file['name']} arrived with the SHA-256 {found}, which is not what was announced.",
                code="digest_mismatch",
                hint="The file has changed, or was damaged on its way. Fetch it again.",
            )
        return found

    def _wait(self, held: Claim, row: DatasetFetch, message: str, seconds: float | None) -> None:
        """Try again later; not for ever."""
        if held.fail_count >= self._policy.park_after_failures:
            hint = "Fetch it again later, or download it yourself and upload it."
            self._fail(held, row, SourceRefused(message, code="source_unreachable", hint=hint))
            return
        pause = random.uniform(0.2, 1.0) * min(self._policy.backoff_max_seconds, 2.0**held.fail_count)
        if seconds is not None:
            pause = min(seconds, self._policy.fetch_seconds)
        log.warning("fetch.waits", id=held.row_id, reason=message, wait_seconds=round(pause, 1))
        with self._bench.begin() as work:
            error = {"code": "source_unreachable", "message": message, "hint": "It is tried again."}
            care.give_back(work.session, held, error=error, check_in_seconds=pause)

    def _fail(self, held: Claim, row: DatasetFetch, refused: SourceRefused) -> None:
        FETCH_LAW.check(FetchStatus(row.status), FetchStatus.FAILED)
        log.info("fetch.failed", id=held.row_id, code=refused.code)
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=0,
                status=FetchStatus.FAILED,
                error=refused.describe(),
                source_sealed=None,
                ended_at=func.clock_timestamp(),
            )
            work.announce(
                "dataset.fetch.failed",
                project_id=row.project_id,
                subject_id=row.id,
                **{"from": row.status, "to": FetchStatus.FAILED},
                error=refused.describe(),
            )

    def _clear(self, held: Claim, row: DatasetFetch) -> None:
        """After the end, whichever it was: what was brought is a version's by now, or nobody's."""
        for key in pieces_of(row):
            self._bench.storage.delete(key)
        files = [{**file, "pieces": []} for file in (row.plan or {}).get("files", ())]
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=None, plan={"files": files} if row.plan else None)


class _Later(Exception):
    """The source asks to come back, after so many seconds if it says."""

    def __init__(self, message: str, seconds: float | None) -> None:
        super().__init__(message)
        self.message = message
        self.seconds = seconds


def _goes_on(answer: WebAnswer, course: _Course) -> bool:
    """Whether a 206 holds what follows the bytes that are here, of the same content."""
    found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if found is None or int(found[1]) != course.here_bytes:
        return False
    if found[3] != "*" and course.file["bytes"] not in {None, int(found[3])}:
        return False
    validator = _validator(answer.headers)
    return validator is None or validator == course.file["validator"]


def _validator(headers: Mapping[str, str]) -> str | None:
    """What proves that two answers are of the same bytes, where the server can go on from a byte at all.

    Source: RFC 9110 §8.8 (a weak tag does not), §13.1.5 (If-Range), §14.3 (Accept-Ranges).
    """
    etag = headers.get("etag", "")
    if headers.get("accept-ranges", "").lower() == "none":
        return None
    if etag.startswith('"'):
        return etag
    return headers.get("last-modified") if not etag else None


def _copy(stream: BinaryIO, upload: Upload) -> None:
    while chunk := stream.read(READ_BYTES):
        upload.write(chunk)


def _lineage(row: DatasetFetch, files: list[dict[str, Any]], digests: list[str]) -> dict[str, Any]:
    """Where it came from, when, and which revision; no secret."""
    told = [
        {
            "name": file["name"],
            "bytes": file["bytes"],
            "sha256": digest,
            "etag": file.get("etag"),
            "last_modified": file.get("last_modified"),
            "answered_by": file["origin"],
        }
        for file, digest in zip(files, digests, strict=True)
    ]
    kind = row.source["type"]
    where = {name: value for name, value in row.source.items() if name != "type"}
    return {
        "source": kind,
        "fetch": row.id,
        "from": where,
        **row.lineage,
        "files": told,
        "fetched_at": utc_now().isoformat().replace("+00:00", "Z"),
    }
