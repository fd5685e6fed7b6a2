"""A web server that plays the places datasets come from: a file server, a blob store, the Hugging Face Hub.

What goes wrong is said file by file: cut in the middle, redirected, slow, of another type, changed meanwhile.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Served:
    """What is at one path."""

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: bool = True
    ranges: bool = True
    cut_after: list[int] = field(default_factory=list)
    """After how many bytes of an answer the line is cut, answer by answer; then no more."""
    pause_seconds: float = 0.0
    """Between pieces of 64 KiB."""
    announced: bool = True
    """Whether there is a Content-Length."""
    needs: dict[str, str] = field(default_factory=dict)
    """Headers without which the answer is 401."""

    def tag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    query: str
    headers: dict[str, str]


@dataclass
class SourceServer:
    """A running server."""

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def put(self, path: str, content: bytes = b"", **how: Any) -> str:
        """Serve this; its URL."""
        self.files[path] = Served(content, **how)
        return self.url + path

    def ranges_of(self, path: str) -> list[str | None]:
        """The Range of every request for it."""
        return [request.headers.get("range") for request in self.asked if request.path == path]

    def hub(self, dataset: str, shards: dict[str, bytes], *, revision: str = "refs/convert/parquet") -> str:
        """Play the Hub for one dataset: path → parquet file. Its commit."""
        commit = hashlib.sha1(repr(sorted(shards)).encode(), usedforsecurity=False).hexdigest()
        tree = [
            {
                "type": "file",
                "path": path,
                "size": len(content),
                "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)},
            }
            for path, content in shards.items()
        ]
        tree.append({"type": "file", "path": "README.md", "size": 10})
        quoted = revision.replace("/", "%2F")
        self.put(f"/api/datasets/{dataset}/revision/{quoted}", json.dumps({"sha": commit}).encode())
        self.put(f"/api/datasets/{dataset}/tree/{commit}", json.dumps(tree).encode())
        for path, content in shards.items():
            store = self.put(f"/store/{commit}/{path}", content)
            self.put(f"/datasets/{dataset}/resolve/{commit}/{path}", status=302, headers={"Location": store})
        return commit


@contextmanager
def source_server() -> Iterator[SourceServer]:
    """The server, in threads of this process."""
    made: SourceServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_arguments: Any) -> None:
            pass

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            made.asked.append(Asked(parts.path, parts.query, headers))
            served = made.files.get(parts.path) or made.files.get(unquote(parts.path))
            if served is None:
                self._answer(404, b"", {"x-ms-error-code": "BlobNotFound"})
            elif any(headers.get(name.lower()) != value for name, value in served.needs.items()):
                self._answer(401, b"", {})
            else:
                self._serve(served, headers)

        def _serve(self, served: Served, headers: dict[str, str]) -> None:
            answer = dict(served.headers)
            if served.etag:
                answer["ETag"] = served.tag()
            status, body = served.status, served.content
            wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
            same = headers.get("if-range") in {None, served.tag()}
            if served.ranges and wanted and same and status == 200:
                first = int(wanted[1])
                answer["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
                status, body = 206, body[first:]
            self._answer(status, body, answer, served)

        def _answer(self, status: int, body: bytes, headers: dict[str, str], served: Served | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if served is None or served.announced:
                self.send_header("Content-Length", str(len(body)))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            self.end_headers()
            cut = served.cut_after.pop(0) if served and served.cut_after else len(body)
            for start in range(0, cut, 1 << 16):
                self.wfile.write(body[start : min(start + (1 << 16), cut)])
                if served and served.pause_seconds:
                    self.wfile.flush()
                    time.sleep(served.pause_seconds)
            if cut < len(body):
                self.wfile.flush()
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made = SourceServer(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
