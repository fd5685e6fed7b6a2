"""The outermost layer of the server: tells accounts apart, makes faults happen, writes the request log.

It works on raw ASGI; `breakage.py` does what the rules say.
"""

import itertools
import re
import time
import uuid
from collections import deque
from functools import partial
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emulator import breakage
from emulator.faults import Faults, operation_of
from emulator.wire import form_of

BODY_KEPT_BYTES = 2048
"""So much of a JSON request body the log keeps."""

_ARM_WORDS = {"resourcegroups": "resourceGroups", "microsoft.cognitiveservices": "Microsoft.CognitiveServices"}


class CuttableProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also hands the application the connection itself so that it can cut it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["emulator.transport"] = self.transport  # type: ignore[typeddict-unknown-key]


class RequestLog:
    """The last requests, oldest first; numbers go on counting when old entries fall out."""

    def __init__(self, size: int) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=size)
        self._numbers = itertools.count(1)

    def begin(self, entry: dict[str, Any]) -> dict[str, Any]:
        entry = {"number": next(self._numbers), **entry}
        self._entries.append(entry)
        return entry

    def shown(self) -> list[dict[str, Any]]:
        return [dict(entry) for entry in list(self._entries)]

    def clear(self) -> None:
        self._entries.clear()


class Gate:
    """ASGI middleware around everything but the levers' own path."""

    def __init__(self, app: ASGIApp, faults: Faults, log: RequestLog, accounts: tuple[str, ...]) -> None:
        self._app, self._faults, self._log, self._accounts = app, faults, log, accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _address(scope, self._accounts)
        scope["emulator.headers"] = {}
        path: str = scope["path"]
        if form_of(path) == "lever":
            await self._app(scope, receive, _marked(send, scope, {}))
            return
        method: str = scope["method"]
        operation = operation_of(method, path)
        plan = self._faults.plan(method, path, operation)
        scope["emulator.plan"] = plan
        entry = self._log.begin(
            {
                "at": time.time(),
                "method": method,
                "path": path,
                "query": scope["query_string"].decode("latin-1"),
                "operation": operation,
                "account": scope["emulator.account"],
                "status": None,
                "fault": plan or None,
            }
        )
        started = time.perf_counter()
        try:
            await breakage.serve(
                self._app,
                scope,
                _kept(scope, receive, entry),
                send,
                partial(_marked, scope=scope, entry=entry),
                plan,
            )
        finally:
            entry["milliseconds"] = round((time.perf_counter() - started) * 1000, 1)


def _address(scope: Scope, accounts: tuple[str, ...]) -> None:
    """Take the account out of a data-plane path, and give ARM's words their usual case."""
    path: str = scope["path"]
    first, _, rest = path.lstrip("/").partition("/")
    scope["emulator.account"] = ""
    if first in accounts:
        scope["emulator.account"], path = first, f"/{rest}"
    if path[:15].lower() == "/subscriptions/":
        path = "/subscriptions/" + path[15:]
        path = re.sub(r"[^/]+", lambda word: _ARM_WORDS.get(word[0].lower(), word[0]), path)
    scope["path"] = path
    scope["emulator.prefix"] = f"/{scope['emulator.account']}" if scope["emulator.account"] else ""


def _kept(scope: Scope, receive: Receive, entry: dict[str, Any]) -> Receive:
    """Remember the beginning of a JSON body for the log."""
    headers = dict(scope["headers"])
    if not headers.get(b"content-type", b"").startswith(b"application/json"):
        return receive
    entry["body"] = ""

    async def keeping() -> Message:
        message = await receive()
        missing = BODY_KEPT_BYTES - len(entry["body"])
        if message["type"] == "http.request" and missing > 0:
            entry["body"] += bytes(message.get("body", b""))[:missing].decode("utf-8", "replace")
        return message

    return keeping


def _marked(send: Send, scope: Scope, entry: dict[str, Any]) -> Send:
    """Put the emulator's mark, Azure's request ids and what the door left on answers; the status into the log."""

    async def marking(message: Message) -> None:
        if message["type"] == "http.response.start":
            entry["status"] = message["status"]
            request_id = str(uuid.uuid4()).encode()
            own = [(b"x-emulator", b"1"), (b"apim-request-id", request_id), (b"x-ms-request-id", request_id)]
            left = [(name.encode(), value.encode()) for name, value in scope["emulator.headers"].items()]
            message = {**message, "headers": [*message.get("headers", []), *own, *left]}
        await send(message)

    return marking
