"""Idempotency-Key on POST: the same request twice is one deed and one answer.

Only a successful answer is kept. A request that was refused (4xx) leaves no trace, so the corrected one may use
the same key. One that failed inside (5xx), or whose process died, keeps its reservation id: rooms that store that
id in a unique column do the deed once even when its first answer was lost.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, cast

import structlog
from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy import ColumnElement, case, delete, func, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from app.http.access import authenticate
from app.http.bodies import StrictRoute, beginning, media_type
from app.http.problems import Unreadable
from app.http.tables import IdempotencyRow
from app.kit.errors import Conflict, FieldError, Invalid, KitaeError, TooLarge, Unready
from app.kit.ids import new_id
from app.workbench import Workbench

log = structlog.get_logger("kitae.http")

HEADER: Final = "Idempotency-Key"
FORM: Final = "multipart/form-data"
_KEY: Final = re.compile(r'([\x21\x23-\x7e]{1,255})|"([\x21\x23-\x7e]{1,255})"')
"""A bare token as most clients send it, or the draft's quoted string."""
_EXPIRY: Final[ColumnElement[Any]] = literal_column("interval '24 hours'")
_TAKEOVER: Final[ColumnElement[Any]] = literal_column("interval '10 minutes'")
"""Longer than any request may take (time-outs end every call to Azure after a minute or so), so that whoever
holds an older lock is dead."""
PURGED_AT_ONCE: Final = 20
SETTLE_AGAIN_SECONDS: Final = 1.0
"""After a database that went away in the middle of a request, how often its end is tried to be noted."""
SETTLE_TRIES: Final = 600
_unsettled: Final[set["asyncio.Task[None]"]] = set()
"""The event loop alone would let a task be collected that nobody holds."""
_KEPT_HEADERS: Final = ("content-type", "location", "etag", "cache-control", "retry-after")


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to do the deed, until somebody takes it over."""

    principal: str
    key: str
    id: str
    locked_at: datetime


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that was given the first time."""

    status: int
    headers: dict[str, str]
    body: bytes


def reserve(session: Session, *, principal: str, key: str, fingerprint: str) -> Reservation | Replay:
    """Take the key for this request, or find what it stands for already.

    Raises:
        Invalid: it came with another request (`idempotency_key_reused`).
        Conflict: the first request is still under way (`idempotency_in_progress`).
    """
    row = IdempotencyRow
    fresh = insert(row).values(
        principal=principal,
        key=key,
        reservation_id=new_id("idk"),
        fingerprint=fingerprint,
        locked_at=func.clock_timestamp(),
    )
    expired = row.created_at < func.clock_timestamp() - _EXPIRY
    abandoned = or_(row.locked_at.is_(None), row.locked_at < func.clock_timestamp() - _TAKEOVER)
    taken = session.execute(
        fresh.on_conflict_do_update(
            index_elements=[row.principal, row.key],
            set_={
                "reservation_id": case((expired, fresh.excluded.reservation_id), else_=row.reservation_id),
                "fingerprint": fresh.excluded.fingerprint,
                "locked_at": fresh.excluded.locked_at,
                "created_at": case((expired, fresh.excluded.locked_at), else_=row.created_at),
                "status": None,
                "headers": None,
                "body": None,
            },
            where=or_(
                expired,
                row.status.is_(None) & (row.fingerprint == fresh.excluded.fingerprint) & abandoned,
            ),
        ).returning(row.reservation_id, row.locked_at)
    ).one_or_none()
    if taken is not None:
        purge_expired(session)
        return Reservation(principal, key, taken[0], cast("datetime", taken[1]))
    return _known(session, principal, key, fingerprint)


def _known(session: Session, principal: str, key: str, fingerprint: str) -> Replay:
    row = session.execute(
        select(IdempotencyRow).where(IdempotencyRow.principal == principal, IdempotencyRow.key == key)
    ).scalar_one_or_none()
    if row is not None and row.fingerprint != fingerprint:
        detail = f"This {HEADER} came with another request before."
        raise Invalid(
            detail,
            code="idempotency_key_reused",
            hint="Use a new key for a new request.",
            errors=[FieldError(header=HEADER, code="idempotency_key_reused", detail=detail)],
        )
    if row is None or row.status is None:
        raise Conflict(
            f"The first request with this {HEADER} is still under way.",
            code="idempotency_in_progress",
            hint="Send the same request again in a moment; you will get its answer.",
            retry_after_seconds=1,
        )
    return Replay(row.status, dict(row.headers or {}), row.body or b"")


def record(session: Session, held: Reservation, *, status: int, headers: dict[str, str], body: bytes) -> None:
    """Keep the answer, unless the reservation was taken over meanwhile."""
    session.execute(
        update(IdempotencyRow).where(*_is(held)).values(status=status, headers=headers, body=body, locked_at=None)
    )


def release(session: Session, held: Reservation) -> None:
    """Nothing was done: the key is free for another request."""
    session.execute(delete(IdempotencyRow).where(*_is(held)))


def unlock(session: Session, held: Reservation) -> None:
    """Whether anything was done is not known: only the same request may come again, under the same id."""
    session.execute(update(IdempotencyRow).where(*_is(held)).values(locked_at=None))


def _is(held: Reservation) -> tuple[Any, ...]:
    row = IdempotencyRow
    return (row.principal == held.principal, row.key == held.key, row.locked_at == held.locked_at)


def purge_expired(session: Session, *, limit: int = PURGED_AT_ONCE) -> int:
    """Forget some keys older than a day. Returns how many.

    Every new key takes a few old ones along, so the table stays as small as a day's keys without a clock.
    """
    old = (
        select(IdempotencyRow.principal, IdempotencyRow.key)
        .where(IdempotencyRow.created_at < func.clock_timestamp() - _EXPIRY)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .subquery()
    )
    gone = session.execute(
        delete(IdempotencyRow)
        .where(IdempotencyRow.principal == old.c.principal, IdempotencyRow.key == old.c.key)
        .returning(IdempotencyRow.key)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())


class IdempotentRoute(StrictRoute):
    """`APIRouter(route_class=IdempotentRoute)`: every POST of the router honours Idempotency-Key.

    A form is streamed past it: its file may be larger than memory, and the same bytes again are no second version.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            text = request.headers.get(HEADER)
            if text is None or request.method != "POST" or media_type(request) == FORM:
                return await inner(request)
            return await _once(request, _parsed(text), inner)

        return handler


def _parsed(text: str) -> str:
    found = _KEY.fullmatch(text)
    if found is None:
        detail = f"{HEADER} must be 1 to 255 visible ASCII characters."
        raise Unreadable(
            detail,
            code="idempotency_key_invalid",
            hint="A UUID is a good key.",
            errors=[FieldError(header=HEADER, code="idempotency_key_invalid", detail=detail)],
        )
    return found[1] or found[2]


async def _once(request: Request, key: str, inner: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    holder = await authenticate(request)
    bench: Workbench = request.app.state.bench
    fingerprint = hashlib.sha256(
        b"\0".join(
            (
                request.method.encode(),
                request.url.path.encode(),
                request.url.query.encode(),
                hashlib.sha256(await _whole(request)).digest(),
            )
        )
    ).hexdigest()

    def take() -> Reservation | Replay:
        with bench.begin() as work:
            return reserve(work.session, principal=holder.key_id, key=key, fingerprint=fingerprint)

    held = await run_in_threadpool(take)
    if isinstance(held, Replay):
        return Response(held.body, held.status, {**held.headers, "Idempotent-Replayed": "true"})
    request.state.reservation_id = held.id
    try:
        response = await inner(request)
    except Exception as error:  # a door: whatever the endpoint raised, the key must not stay locked
        await _settle(bench, held, release if _is_refusal(error) else unlock)
        raise
    if response.status_code >= 500:
        await _settle(bench, held, unlock)
    elif response.status_code >= 400:
        await _settle(bench, held, release)
    else:
        kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        status, body = response.status_code, bytes(response.body)
        await _settle(
            bench, held, lambda session, mine: record(session, mine, status=status, headers=kept, body=body)
        )
    return response


async def _whole(request: Request) -> bytes:
    """The body, kept for whoever reads it next. Raises `TooLarge`, also on routes that take larger files."""
    begun = await beginning(request)
    if not begun.is_all:
        raise TooLarge(
            f"A request with an {HEADER} holds at most {len(begun.data) - 1:,} bytes.",
            hint="Send larger data as a file, in multipart/form-data.",
        )
    request._body = begun.data  # noqa: SLF001  where the framework's own body() keeps what it has read
    return begun.data


def _is_refusal(error: Exception) -> bool:
    """Whether the endpoint said no before it did anything."""
    if isinstance(error, HTTPException):
        return error.status_code < 500
    return isinstance(error, RequestValidationError) or (
        isinstance(error, KitaeError) and not isinstance(error, Unready)
    )


async def _settle(bench: Workbench, held: Reservation, how: Callable[[Session, Reservation], None]) -> None:
    """Note what became of the request. While the database is away it is tried again, without holding up anybody;
    the lock of a process that dies meanwhile ends by itself.
    """

    def note() -> None:
        with bench.begin() as work:
            how(work.session, held)

    async def note_later() -> None:
        for _ in range(SETTLE_TRIES):
            await asyncio.sleep(SETTLE_AGAIN_SECONDS)
            with contextlib.suppress(SQLAlchemyError):
                await run_in_threadpool(note)
                return

    try:
        await run_in_threadpool(note)
    except SQLAlchemyError as error:
        log.warning("http.idempotency_not_settled", reservation_id=held.id, error=str(error)[:300])
        task = asyncio.create_task(note_later())
        _unsettled.add(task)
        task.add_done_callback(_unsettled.discard)


async def reservation_id(request: Request) -> str | None:
    """The id under which this request's key is reserved; None when it came without one."""
    found: str | None = getattr(request.state, "reservation_id", None)
    return found


ReservationId = Annotated[str | None, Depends(reservation_id)]
"""Pass it to the service, which stores it in a unique column of what it makes and, when that exists already,
answers with what it made before."""
