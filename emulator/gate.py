"""The outermost layer of the server: tells accounts apart, makes faults happen, writes the request log.

It works on raw ASGI, because a fault may have to cut a connection that a framework would close politely.
"""

import asyncio
import itertools
import re
import time
import uuid
from collections import deque
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emulator.faults import Faults, operation_of
from emulator.wire import Refusal, encode, error_body, form_of

GARBAGE = b"<html><head><title>502 Bad Gateway</title></head><body>\xff\xfe upstream"

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
        path: str = scope["path"]
        if form_of(path) == "lever":
            await self._app(scope, receive, _marked(send, {}))
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
            await self._serve(scope, _kept(scope, receive, entry), _marked(send, entry), plan)
        finally:
            entry["milliseconds"] = round((time.perf_counter() - started) * 1000, 1)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, plan: dict[str, Any]) -> None:
        if plan.get("delay_seconds"):
            await asyncio.sleep(plan["delay_seconds"])
        if plan.get("drop_before"):
            await _cut(scope, receive)
        elif plan.get("drop_after"):
            await self._app(scope, receive, _nowhere)
            await _cut(scope, receive)
        elif plan.get("garbage"):
            await self._app(scope, receive, _nowhere)
            await _send_whole(send, int(plan.get("status", 200)), GARBAGE, {"content-type": "application/json"})
        elif "truncate_bytes" in plan:
            await self._truncate(scope, receive, send, int(plan["truncate_bytes"]))
        elif "status" in plan:
            await _refuse(scope, send, plan)
        else:
            await self._app(scope, receive, send)

    async def _truncate(self, scope: Scope, receive: Receive, send: Send, size: int) -> None:
        """Promise the whole body, send its first `size` bytes, close the connection."""
        left = size

        async def shortened(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.body":
                body = bytes(message.get("body", b""))[:left]
                left -= len(body)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            else:
                await send(message)

        await self._app(scope, receive, shortened)
        scope["emulator.transport"].close()
        await _gone(receive)


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


def _marked(send: Send, entry: dict[str, Any]) -> Send:
    """Put the emulator's mark and Azure's request ids on every answer, and its status into the log."""

    async def marking(message: Message) -> None:
        if message["type"] == "http.response.start":
            entry["status"] = message["status"]
            request_id = str(uuid.uuid4()).encode()
            own = [(b"x-emulator", b"1"), (b"apim-request-id", request_id), (b"x-ms-request-id", request_id)]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await send(message)

    return marking


async def _nowhere(message: Message) -> None:
    """An answer nobody gets."""


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cut(scope: Scope, receive: Receive) -> None:
    """Close the connection without an answer."""
    scope["emulator.transport"].abort()
    await _gone(receive)


async def _send_whole(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _refuse(scope: Scope, send: Send, plan: dict[str, Any]) -> None:
    """Answer as the rule says; without a body of its own in Azure's form."""
    status = int(plan["status"])
    body = plan.get("body")
    headers = {"content-type": "application/json"} | {
        name.lower(): value for name, value in plan.get("headers", {}).items()
    }
    if body is None:
        code, message = _usual(status)
        refusal = Refusal(status, str(plan.get("code", code)), str(plan.get("message", message)))
        body = error_body(form_of(scope["path"]), refusal)
    await _send_whole(send, status, body.encode() if isinstance(body, str) else encode(body), headers)


def _usual(status: int) -> tuple[str, str]:
    """Code and words of an injected refusal. Source: bodies quoted in public issues, 2023-2026."""
    known = {
        401: ("401", "Unauthorized. Access token is missing, invalid, or has expired."),
        403: ("AuthorizationFailed", "The client does not have authorization to perform this action."),
        429: ("429", "Requests have exceeded call rate limit of your current OpenAI S0 pricing tier."),
        503: (
            "serviceUnavailable",
            "The service is temporarily unable to process your request. Please try again later.",
        ),
    }
    return known.get(
        status, ("internalFailure", "The server had an error while processing your request. Sorry about that!")
    )
