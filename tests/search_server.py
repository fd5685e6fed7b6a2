"""A server that plays one index of Azure AI Search: keyword search over passages, as its REST reference describes it.

A stranger: it shares no line with the service. Source: Documents - Search Post, 2024-07-01.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PATH = re.compile(r"/indexes\('(?P<index>[a-z0-9_-]+)'\)/docs/search\.post\.search")


@dataclass
class SearchServer:
    """A running service with one index."""

    url: str
    index: str
    key: str
    documents: list[dict[str, Any]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies that came."""
    troubles: list[int] = field(default_factory=list)
    """Statuses of the next answers, until there are no more."""

    def found(self, text: str, top: int) -> list[dict[str, Any]]:
        words = set(re.findall(r"\w+", text.lower()))
        scored = []
        for document in self.documents:
            own = set(re.findall(r"\w+", json.dumps(document, ensure_ascii=False).lower()))
            score = len(words & own)
            if score or text == "*":
                scored.append({"@search.score": float(score), **document})
        return sorted(scored, key=lambda one: -one["@search.score"])[:top]


@contextmanager
def search_server(
    documents: list[dict[str, Any]], *, index: str = "handbook", key: str = "query-key"
) -> Iterator[SearchServer]:
    """Serves until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: dict[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; odata.metadata=minimal")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            parts = urlsplit(self.path)
            match = PATH.fullmatch(unquote(parts.path))
            if self.headers.get("api-key") != server.key:
                self.answer(403, {"error": {"code": "", "message": "Access denied."}})
            elif parse_qs(parts.query).get("api-version") != ["2024-07-01"]:
                self.answer(400, {"error": {"code": "", "message": "An 'api-version' query parameter is needed."}})
            elif match is None or match["index"] != server.index:
                self.answer(
                    404, {"error": {"code": "", "message": f"No index with the name '{self.path}' was found."}}
                )
            elif server.troubles:
                self.answer(server.troubles.pop(0), {"error": {"code": "", "message": "The service is busy."}})
            else:
                server.asked.append(body)
                names = body["select"].split(",")
                rows = [
                    {key: value for key, value in row.items() if key in names or key.startswith("@")}
                    for row in server.found(body["search"], body["top"])
                ]
                self.answer(
                    200,
                    {"@odata.context": f"{server.url}/indexes('{server.index}')/$metadata#docs(*)", "value": rows},
                )

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = SearchServer(f"http://127.0.0.1:{http.server_port}", index, key, documents)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
