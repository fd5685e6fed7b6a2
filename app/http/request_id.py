"""A name for every request, in its answer and in every log line, and one access line when it is done."""

import re
import time
from typing import Final

import structlog
from prometheus_client import Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kit.ids import new_id

log = structlog.get_logger("kitae.access")

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
"""W3C Trace Context, level 1: version, trace id, parent id, flags."""
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines; their access lines would drown the rest."""


class RequestIds:
    """Outermost ASGI layer. Takes a caller's X-Request-Id when it is harmless, else makes one."""

    def __init__(self, app: ASGIApp, *, seconds: Histogram) -> None:
        self.app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else new_id("req")
        scope["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        trace = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
        if trace is not None:
            structlog.contextvars.bind_contextvars(trace_id=trace[1], parent_span_id=trace[2])
        began = time.perf_counter()
        status = 499  # the caller left before an answer began

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, named)
        finally:
            took = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", None) or "unmatched"
            self._seconds.labels(scope["method"] if route != "unmatched" else "-", route, str(status)).observe(took)
            if scope["path"] not in _QUIET:
                log.info(
                    "http.request",
                    method=scope["method"],
                    route=route,
                    path=scope["path"][:500],
                    status=status,
                    seconds=round(took, 4),
                )
