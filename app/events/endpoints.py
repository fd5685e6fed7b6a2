"""HTTP for the event log: pages of JSON, or a live stream that loses nothing (Server-Sent Events)."""

import time
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool

from app.events.log import START, Event, newest_place, place_of, read_after, read_page
from app.events.schemas import EventRead
from app.http.access import ReadEvents
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.openapi import STREAM_RESPONSES, problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import to_json
from app.http.streams import LOOK_SECONDS, PING_SECONDS, News, answer_stream, wants_stream
from app.kit.errors import FieldError, Invalid
from app.kit.ids import is_id
from app.kit.pagination import Page, slice_of
from app.workbench import Workbench

router = APIRouter(prefix="/v1/events", tags=["Events"], route_class=StrictRoute)

BATCH: Final = 200
"""Events read in one go while a stream catches up."""

Place = tuple[int, int]


@dataclass(slots=True)
class _Tail:
    """The newest place of the log, looked up at most every `LOOK_SECONDS` for all streams of the process.

    A thousand idle streams then cost two small queries a second, not two thousand.
    """

    place: Place = START
    looked_at: float = float("-inf")

    def newest(self, bench: Workbench) -> Place:
        if time.monotonic() - self.looked_at >= LOOK_SECONDS * 0.9:
            with bench.read() as session:
                place = newest_place(session)
            self.place, self.looked_at = place, time.monotonic()
        return self.place


@router.get(
    "",
    operation_id="listEvents",
    summary="Read or follow the event log",
    response_model=ListOf[EventRead],
    responses={**STREAM_RESPONSES, **problems(404)},
)
async def list_events(
    *,
    request: Request,
    bench: Bench,
    caller: ReadEvents,
    page: Annotated[Page, Depends(page_of("evt"))],
    event_type: Annotated[
        str | None,
        Query(alias="type", max_length=100, description="Only events of this type, e.g. `job.succeeded`."),
    ] = None,
    subject: Annotated[
        str | None, Query(max_length=40, description="Only events of the thing with this id.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="For streams: go on behind this event.")
    ] = None,
) -> Response:
    """With `Accept: text/event-stream` the answer stays open and brings events as they happen.

    A stream begins with what comes next, or behind `Last-Event-ID` (or `after`) with everything since.
    """
    if wants_stream(request):
        return await stream(
            request,
            bench,
            project_id=caller.project_id,
            subject_id=subject,
            event_type=event_type,
            last_event_id=last_event_id or page.after,
        )
    return await run_in_threadpool(
        page_response, request, bench, page, project_id=caller.project_id, subject_id=subject, event_type=event_type
    )


def page_response(
    request: Request,
    bench: Workbench,
    page: Page,
    *,
    project_id: str,
    subject_id: str | None = None,
    event_type: str | None = None,
) -> Response:
    """One page of the log as JSON."""
    with bench.read() as session:
        rows = read_page(
            session,
            project_id=project_id,
            subject_id=subject_id,
            event_type=event_type,
            after=page.after,
            before=page.before,
            descending=page.descending,
            limit=page.limit,
        )
    found = slice_of([_read(event) for event in rows], page)
    return answer_page(request, page, found)


async def stream(
    request: Request,
    bench: Workbench,
    *,
    project_id: str,
    subject_id: str | None = None,
    event_type: str | None = None,
    last_event_id: str | None = None,
    from_start: bool = False,
    ping_seconds: float = PING_SECONDS,
) -> Response:
    """An open answer that brings events as they happen, none twice and none left out.

    Args:
        subject_id: only this thing's events; whether the caller may see the thing is checked before.
        last_event_id: go on behind this event.
        ping_seconds: after so long without an event a comment is sent, and the key is checked again.
        from_start: without `last_event_id`, begin with the oldest event instead of with what comes next.

    Raises:
        Invalid: `last_event_id` is no event's id.
        NotFound: it is none of this project.
        TooMany: the key has as many streams open as it may.
    """
    if last_event_id is not None and not is_id(last_event_id, "evt"):
        detail = f"{last_event_id!r} is not the id of an event."
        raise Invalid(
            detail,
            code="cursor_invalid",
            errors=[FieldError(header="Last-Event-ID", code="cursor_invalid", detail=detail)],
        )

    def first_place() -> Place:
        with bench.read() as session:
            if last_event_id is not None:
                return place_of(session, last_event_id, project_id=project_id)
            return START if from_start else newest_place(session)

    place = await run_in_threadpool(first_place)
    wanted = _Wanted(project_id, subject_id, event_type)
    tail = _tail_of(request)

    def look() -> News:
        nonlocal place
        events, place, more = _look(bench, tail, place, wanted)
        chunk = b"".join(_as_sse(event) for event in events if wanted.event_type in {None, event.type})
        return News(chunk, more)

    return answer_stream(request, look, ping_seconds=ping_seconds)


@dataclass(frozen=True, slots=True)
class _Wanted:
    project_id: str
    subject_id: str | None
    event_type: str | None


def _look(bench: Workbench, tail: _Tail, place: Place, wanted: _Wanted) -> tuple[list[Event], Place, bool]:
    """Events behind `place`, the place to go on from, and whether more are waiting already."""
    newest = tail.newest(bench)
    if newest <= place:
        return [], place, False
    with bench.read() as session:
        events = read_after(session, place, project_id=wanted.project_id, subject_id=wanted.subject_id, limit=BATCH)
    if len(events) == BATCH:
        return events, events[-1].place, True
    # Everything up to `newest` was readable before we read, so nothing of ours can appear in front of it later.
    return events, max(newest, events[-1].place if events else newest), False


def _tail_of(request: Request) -> _Tail:
    state: Any = request.app.state
    if not hasattr(state, "events_tail"):
        state.events_tail = _Tail()
    tail: _Tail = state.events_tail
    return tail


def _as_sse(event: Event) -> bytes:
    data = to_json(_read(event)).decode()
    return format_sse_event(data_str=data, event=event.type.replace("\n", " "), id=event.id)


def _read(event: Event) -> EventRead:
    return EventRead(
        id=event.id, type=event.type, subject_id=event.subject_id, data=event.data, created_at=event.created_at
    )
