"""Server-Sent Events: an open answer, filled by looking again and again. It knows nothing of what it brings."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import anyio
import structlog
from fastapi import Request
from fastapi.sse import format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from app.http.access import authenticate
from app.http.problems import DATABASE_OUTAGES, Unauthenticated
from app.http.rates import hold_stream
from app.http.server import stopping

log = structlog.get_logger("kitae.streams")

LOOK_SECONDS: Final = 0.5
"""How often an open stream looks for news. It is seen this late at most, and a stop ends streams as soon."""
PING_SECONDS: Final = 15.0
"""Proxies drop connections that are silent for 30 to 60 seconds. The key is checked anew as often."""
RETRY_MILLISECONDS: Final = 2_000
"""When a browser connects again after a stream has ended."""
_PING: Final = b": ping\n\n"


@dataclass(frozen=True, slots=True)
class News:
    """What one look found."""

    chunk: bytes = b""
    """Events in the form of the wire."""
    more: bool = False
    """More is waiting already."""
    over: bool = False
    """Nothing will ever follow: the stream ends."""


def wants_stream(request: Request) -> bool:
    """Whether the caller asked for Server-Sent Events instead of JSON."""
    return "text/event-stream" in request.headers.get("accept", "").lower()


def answer_stream(
    request: Request,
    look: Callable[[], News],
    *,
    ping_seconds: float = PING_SECONDS,
    look_seconds: float = LOOK_SECONDS,
) -> StreamingResponse:
    """An open answer that brings what `look` finds.

    Ends when there is nothing to follow, when the process is told to stop, when the key stops working, when the
    database is away, or when the caller leaves. No database connection is held while it waits.

    Args:
        look: called in a thread, one call after the other; it remembers by itself how far it has read.
        ping_seconds: after so long without news a comment is sent, and the key is checked again.

    Raises:
        TooMany: the key has as many streams open as it may.
    """
    hold_stream(request)
    return StreamingResponse(
        _follow(request, look, ping_seconds, look_seconds),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _follow(
    request: Request, look: Callable[[], News], ping_seconds: float, look_seconds: float
) -> AsyncIterator[bytes]:
    told_to_stop = stopping(request)
    yield format_sse_event(retry=RETRY_MILLISECONDS, comment="connected")
    silent_since = checked_at = time.monotonic()
    while not told_to_stop:
        try:
            news = await run_in_threadpool(look)
            now = time.monotonic()
            if now - checked_at >= ping_seconds:
                checked_at = now
                await authenticate(request)
        except Unauthenticated:
            break
        except DATABASE_OUTAGES as error:
            log.warning("streams.lost_the_database", error=str(error)[:300])
            break
        if news.chunk or now - silent_since >= ping_seconds:
            silent_since = now
            yield news.chunk or _PING
        if news.over:
            return
        if not news.more:
            await anyio.sleep(look_seconds)
    yield format_sse_event(comment="the stream has ended; connect again with Last-Event-ID", retry=1_000)
