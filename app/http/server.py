"""The server process: uvicorn, told to end open streams when it is told to stop, and not to wait for ever."""

import asyncio
import threading
from http import HTTPStatus
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI, Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.http.problems import MEDIA_TYPE, problem_body
from app.http.security import HEADERS
from app.kit.ids import new_id

GRACE_SECONDS: Final = 20
"""How long requests under way may take after SIGTERM; orchestrators kill after 30."""
KEEP_ALIVE_SECONDS: Final = 65
"""Longer than the 60 s after which common load balancers drop an idle connection, so that they close first."""
HEAD_MAX_BYTES: Final = 64 * 1024
"""Longest request line with its headers; proxies in front commonly stop at 8 to 32 KiB."""
HEAD_SECONDS: Final = 20.0
"""How long a request's head may take to arrive, so that a client that drips bytes holds nothing for long."""


class Stopping:
    """Whether the process was told to stop. Streams look at it between two looks at the log."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def tell(self) -> None:
        self._told.set()

    def __bool__(self) -> bool:
        return self._told.is_set()


def stopping(request: Request) -> Stopping:
    told: Stopping = request.app.state.stopping
    return told


class Server(uvicorn.Server):
    """uvicorn waits for open streams for ever; here the first signal also ends them."""

    def __init__(self, config: uvicorn.Config, told: Stopping) -> None:
        super().__init__(config)
        self._told = told

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the signal handler."""
        self._told.tell()
        super().handle_exit(sig, frame)


class HeadTooLong(Exception):
    """The head arrived whole and is longer than one may be."""


class BoundedHead(HttpToolsProtocol):
    """uvicorn's quick parser takes heads of any length and waits for them for ever; here both end."""

    _in_head = True
    _got_on = False
    """Whether the bytes of this moment held the end of a head or of a body."""
    _waiting_bytes = 0
    """Bytes of a head that has not ended yet."""
    _head_bytes = 0
    """The parsed part of a head."""
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection that says nothing is closed, too."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._head_timer is None:
            self._start_timer()
        self._got_on = False
        super().data_received(data)
        if self._in_head and not self._got_on and not self.transport.is_closing():
            self._waiting_bytes += len(data)
            if self._waiting_bytes > HEAD_MAX_BYTES:
                self._refuse_head()

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4  # colon, blank and line end
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._got_on, self._waiting_bytes = False, True, 0
        self._stop_timer()
        if self._head_bytes > HEAD_MAX_BYTES:
            raise HeadTooLong  # the parser hands it on as an error, which ends in `send_400_response`
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._got_on = True, True

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn calls it with its own words
        if self._head_bytes > HEAD_MAX_BYTES:
            self._refuse_head()
        else:
            self._refuse(400, "bad_request", "This is no HTTP request that can be read.", "Send HTTP/1.1.")

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_head(self) -> None:
        detail = f"The request's head is longer than {HEAD_MAX_BYTES:,} bytes."
        self._refuse(431, "headers_too_large", detail, "Send fewer or shorter headers.")

    def _refuse(self, status: int, code: str, detail: str, hint: str) -> None:
        """Before there is a request that the app could answer."""
        body = problem_body(status=status, code=code, detail=detail, path="", request_id=new_id("req"), hint=hint)
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            *(f"{name}: {value}" for name, value in HEADERS.items()),
            "Connection: close",
        ]
        self.transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        self.transport.close()


def make_server(app: FastAPI, *, host: str, port: int) -> Server:
    """A server for this app; `run()` blocks until SIGTERM or SIGINT. Logging stays as the process set it up."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedHead,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )
    return Server(config, app.state.stopping)
