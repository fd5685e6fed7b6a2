"""A job's course as streams of Server-Sent Events: everything so far, then what comes, nothing twice.

Readers go on behind (revision, key): a revision is raised under the lock of the job's row by whoever writes points
or job events, so one that can be read has all before it readable, and a point that gains a value later comes again
under a newer one. No call to Azure.
"""

import math
import re
from collections.abc import Callable
from typing import Final

from fastapi.sse import format_sse_event

from app.http.responses import to_json
from app.http.streams import News
from app.jobs import repository
from app.jobs.repository import LiveState
from app.jobs.schemas import JobEventRead, JobPoints, MetricPoint
from app.jobs.service import JobService
from app.jobs.states import JOB_LAW
from app.jobs.tables import JobEventRow, JobPoint
from app.kit.errors import FieldError, Invalid
from app.kit.ids import is_id
from app.workbench import Workbench

LOOK_SECONDS: Final = 1.0
"""How often a stream of a job looks: Azure tells of steps no more often than once in many seconds."""
BATCH: Final = 500
"""Points or job events read in one go."""

_NUMBERS: Final = re.compile(r"(\d{1,18})-(\d{1,18})")
_EVENT: Final = re.compile(r"(\d{1,18})-(jev_\w{26})")


def points_stream(bench: Workbench, project_id: str, job_id: str, last_event_id: str | None) -> Callable[[], News]:
    """Measured points as `points`, how far the job is as `progress`, and `end` once it has ended.

    Raises:
        Invalid: `last_event_id` is none that this stream has given.
    """
    place = (-1, -1)
    if last_event_id is not None:
        match = _NUMBERS.fullmatch(last_event_id)
        if match is None:
            raise _no_place(last_event_id)
        place = (int(match[1]), int(match[2]))

    def batch() -> tuple[bytes, bool]:
        nonlocal place
        with bench.read() as session:
            found = repository.points_behind(session, job_id, place, limit=BATCH)
        if not found:
            return b"", False
        place = (found[-1].revision, found[-1].step)
        told = JobPoints(job=job_id, points=[_point(row) for row in found])
        return _event("points", to_json(told), f"{place[0]}-{place[1]}"), len(found) == BATCH

    return _look(bench, project_id, job_id, batch, with_progress=True)


def events_stream(bench: Workbench, project_id: str, job_id: str, last_event_id: str | None) -> Callable[[], News]:
    """Azure's job events under their own type, and `end` once the job has ended. Raises as `points_stream`."""
    place = (-1, "")
    if last_event_id is not None:
        match = _EVENT.fullmatch(last_event_id)
        if match is None or not is_id(match[2], "jev"):
            raise _no_place(last_event_id)
        place = (int(match[1]), match[2])

    def batch() -> tuple[bytes, bool]:
        nonlocal place
        with bench.read() as session:
            found = repository.events_behind(session, job_id, place, limit=BATCH)
        if not found:
            return b"", False
        place = (found[-1].revision, found[-1].id)
        return b"".join(_job_event(row) for row in found), len(found) == BATCH

    return _look(bench, project_id, job_id, batch, with_progress=False)


def _look(
    bench: Workbench, project_id: str, job_id: str, batch: Callable[[], tuple[bytes, bool]], *, with_progress: bool
) -> Callable[[], News]:
    """A look at the job's row; only where it has changed, at what was measured, too."""
    service = JobService(bench)
    seen: LiveState | None = None

    def look() -> News:
        nonlocal seen
        with bench.read() as session:
            state = repository.live_state(session, job_id)
        chunk, more = batch() if seen is None or state.revision != seen.revision else (b"", False)
        if more:
            return News(chunk, more=True)
        if with_progress and state != seen:
            chunk += _event("progress", to_json(service.progress(project_id, job_id)), None)
        seen = state
        if state.status in JOB_LAW.terminal:
            end = {"object": "job.end", "job": job_id, "status": state.status}
            return News(chunk + _event("end", to_json(end), None), over=True)
        return News(chunk)

    return look


def _point(row: JobPoint) -> MetricPoint:
    shown = {
        name: value if isinstance(value, int | float) and math.isfinite(value) else None
        for name, value in row.values.items()
    }
    return MetricPoint(step=row.step, values=shown)


def _job_event(row: JobEventRow) -> bytes:
    names = set(JobEventRead.model_fields) - {"object"}
    told = JobEventRead(**{name: getattr(row, name) for name in names})
    kind = row.type if row.type.isidentifier() else "message"
    return _event(kind, to_json(told), f"{row.revision}-{row.id}")


def _event(kind: str, data: bytes, place: str | None) -> bytes:
    return format_sse_event(data_str=data.decode(), event=kind, id=place)


def _no_place(last_event_id: str) -> Invalid:
    detail = f"{last_event_id!r} is no place of this stream; begin without one."
    return Invalid(
        detail,
        code="cursor_invalid",
        errors=[FieldError(header="Last-Event-ID", code="cursor_invalid", detail=detail)],
    )
