"""A small HTTP server of the test itself: the emulator fetches from it and posts to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Heard:
    """One request: its path, its headers in lower case, its body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Listener:
    """What it has heard, what it serves (path → content), and the statuses of its next answers (then 200)."""

    url: str
    heard: list[Heard] = field(default_factory=list)
    content: dict[str, bytes] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener on a free port; it answers nothing while `held` is cleared."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listener.held.wait(30)
            content = listener.content.get(self.path)
            self._answer(404 if content is None else 200, content or b"")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = listener.statuses.pop(0) if listener.statuses else 200
            listener.heard.append(Heard(self.path, headers, body))
            self._answer(status, b"")

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name the base class gives it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener = Listener(f"http://127.0.0.1:{server.server_address[1]}")
    listener.held.set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield listener
    finally:
        listener.held.set()
        server.shutdown()
        server.server_close()
