"""A real HTTP server on the loopback that answers what a test tells it, and remembers what it was asked."""

import json
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Says:
    """One answer."""

    status: int = 200
    body: Any = b""
    """bytes as they are; anything else as JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    reset_before_answer: bool = False
    """The connection is cut after the request was read."""
    hang: bool = False
    """No answer comes until the server closes."""
    drip: bool = False
    """One byte of the body at a time, slowly."""
    declared_length: int | None = None
    """A Content-Length that is not the body's own."""
    echo_request: bool = False
    """The request's headers are repeated in the body, as a careless proxy does."""

    def payload(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """Answers come in the order given; the last one is repeated."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.says: list[Says] = []
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def will(self, *answers: Says) -> "Wire":
        self.says = list(answers)
        return self

    def take(self, asked: Asked) -> Says:
        with self._lock:
            self.asked.append(asked)
            return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    @property
    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire
    """Set by `scripted_wire`, in a subclass of its own."""

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle_one(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        says = self.wire.take(Asked(self.command, self.path, headers, self._body()))
        if says.hang:
            self.wire.closing.wait()
        if says.reset_before_answer or says.hang:
            self._cut()
            return
        payload = says.payload()
        if says.echo_request:
            payload = json.dumps({"error": {"code": "x", "message": f"You sent {dict(self.headers)}"}}).encode()
        self.send_response(says.status)
        for name, value in says.headers.items():
            self.send_header(name, value)
        length = len(payload) if says.declared_length is None else says.declared_length
        if says.status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self._send_body(payload, slowly=says.drip)
        if length != len(payload):
            self._cut()

    def _send_body(self, payload: bytes, *, slowly: bool) -> None:
        pieces = [bytes([byte]) for byte in payload] if slowly else [payload]
        try:
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()
                if slowly and self.wire.closing.wait(0.02):
                    break
        except OSError:
            self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        held = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            held += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return held

    def _cut(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815  # names of http.server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of these tests."""


@contextmanager
def scripted_wire() -> Iterator[Wire]:
    """A wire that listens until the block ends."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    wire = handler.wire = Wire(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        wire.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
