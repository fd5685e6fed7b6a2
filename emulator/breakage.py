"""What a fault does to a call: answers refused, spoilt, cut, slowed or kept back; it must not know why.

It works on raw ASGI and on the connection itself, because most of this is what a framework would not let happen.
"""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.wire import Form, Refusal, encode, error_body, form_of

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>\xff\xfe upstream"

_BEFORE = ("drop_before", "reset_before", "hang_before")
_AFTER = ("drop_after", "reset_after", "hang_after")
_ALTERING = ("garbage", "change", "leave_out")
_BY_HAND = ("truncate_bytes", "length_off_by", "bytes_per_second")
_PIECES_PER_SECOND = 20
"""How often a slow answer goes on, where its speed allows."""


async def serve(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, mark: Callable[[Send], Send], plan: dict[str, Any]
) -> None:
    """Let the application answer as the plan wants it; an empty plan changes nothing.

    `mark` puts the emulator's own headers on whatever is answered.
    """
    if plan.get("delay_seconds"):
        await asyncio.sleep(plan["delay_seconds"])
    if leaving := next((name for name in _BEFORE if plan.get(name)), None):
        await _leave(scope, receive, leaving)
        return
    if leaving := next((name for name in _AFTER if plan.get(name)), None):
        await app(scope, receive, _nowhere)
        await _leave(scope, receive, leaving)
        return
    answering: ASGIApp = _Altered(app, plan) if any(name in plan for name in _ALTERING) else app
    if "status" in plan and "garbage" not in plan:
        if plan.get("after_acting"):
            await app(scope, receive, _nowhere)
        answering = _Refusing(plan)
    if any(name in plan for name in _BY_HAND):
        by_hand = _ByHand(scope["emulator.transport"], plan)
        await answering(scope, receive, mark(by_hand))
        by_hand.end()
        await _gone(receive)
    else:
        await answering(scope, receive, mark(send))


# Ending a call without an answer


async def _nowhere(message: Message) -> None:
    """An answer nobody gets."""


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _leave(scope: Scope, receive: Receive, how: str) -> None:
    """Close the connection, reset it, or keep it open and never say anything."""
    transport = scope["emulator.transport"]
    if how.startswith("reset"):
        # closing with a linger time of zero makes the kernel send RST instead of FIN
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if not how.startswith("hang"):
        transport.abort()
    await _gone(receive)


# Answers that are not the application's


class _Refusing:
    """Answers as the rule says; without a body of its own in Azure's form."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        plan, status = self._plan, int(self._plan["status"])
        body = plan.get("body")
        given = {name.lower(): _dated(value) for name, value in plan.get("headers", {}).items()}
        if body is None:
            form = form_of(scope["path"])
            code, message = _usual(status, form)
            refusal = Refusal(status, str(plan.get("code", code)), str(plan.get("message", message)))
            body = error_body(form, refusal)
        content = body.encode() if isinstance(body, str) else encode(body)
        await _send_whole(send, status, content, {"content-type": "application/json"} | given)


def _dated(value: str) -> str:
    """A header's value; `{now+30}` in it becomes the HTTP date in 30 seconds."""

    def date(found: re.Match[str]) -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=int(found[1])), usegmt=True)

    return re.sub(r"\{now([+-]\d{1,7})\}", date, value)


_USUAL = {
    401: ("401", "Unauthorized. Access token is missing, invalid, or has expired."),
    403: ("AuthorizationFailed", "The client does not have authorization to perform this action."),
    408: ("Timeout", "The operation was timeout."),
    409: ("conflict", "The resource is being changed by another request. Please try again later."),
    429: ("429", "Requests have exceeded call rate limit of your current OpenAI S0 pricing tier."),
    503: (
        "serviceUnavailable",
        "The service is temporarily unable to process your request. Please try again later.",
    ),
}
_USUAL_ARM = {
    401: ("ExpiredAuthenticationToken", "The access token expiry is earlier than the current time."),
    404: ("ResourceNotFound", "The Resource was not found."),
    409: (
        "RequestConflict",
        "Another operation is being performed on the parent resource. Please try again later.",
    ),
    429: ("TooManyRequests", "The number of requests has exceeded the limit. Please try again later."),
    503: ("ServerTimeout", "The request timed out. Diagnostic information is in the correlation id."),
}
_OTHERWISE = ("internalFailure", "The server had an error while processing your request. Sorry about that!")
_OTHERWISE_ARM = ("InternalServerError", "An error occurred while processing your request.")


def _usual(status: int, form: Form) -> tuple[str, str]:
    """Code and words of an injected refusal. Source: bodies quoted in public issues, 2023-2026."""
    if form == "arm":
        return _USUAL_ARM.get(status, _USUAL.get(status, _OTHERWISE_ARM))
    return _USUAL.get(status, _OTHERWISE)


async def _send_whole(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class _Altered:
    """Lets the application act and answer, and hands on something else; the answer must fit into memory."""

    def __init__(self, app: ASGIApp, plan: dict[str, Any]) -> None:
        self._app, self._plan = app, plan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = bytearray()

        async def keeping(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, keeping)
        content = spoilt(bytes(body), self._plan)
        headers = [pair for pair in start.get("headers", []) if pair[0].lower() != b"content-length"]
        headers.append((b"content-length", str(len(content)).encode()))
        status = int(self._plan["status"] if "status" in self._plan else start["status"])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def spoilt(body: bytes, plan: dict[str, Any]) -> bytes:
    """A body with what the plan says done to it; one that is no JSON stays as it is, but for `garbage`."""
    kind = plan.get("garbage")
    match "html" if kind is True else kind:
        case "html":
            return HTML
        case "half_json":
            return body[: len(body) // 2]
        case "empty":
            return b""
    try:
        content = json.loads(body)
    except ValueError:
        return body
    if kind == "wrong_types":
        content = _mistyped(content)
    for path, value in plan.get("change", {}).items():
        for holder, key in _places(content, path.split(".")):
            holder[key] = value
    for path in plan.get("leave_out", []):
        for holder, key in _places(content, path.split(".")):
            holder.pop(key, None)
    return encode(content)


def _mistyped(value: Any) -> Any:
    """The same members with values of other types; objects and lists keep their shape."""
    if isinstance(value, dict):
        return {name: _mistyped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_mistyped(inner) for inner in value]
    if isinstance(value, str):
        return len(value)
    return [] if value is None else str(value)


def _places(content: Any, path: list[str]) -> list[tuple[dict[str, Any], str]]:
    """Where a dotted name points to: objects with a key in each; `*` stands for every item of a list."""
    name, rest = path[0], path[1:]
    if name == "*":
        items = content if isinstance(content, list) else []
        return [place for item in items for place in _places(item, rest)] if rest else []
    if not isinstance(content, dict):
        return []
    return _places(content.get(name), rest) if rest else [(content, name)]


# Answers written past the server


_PHRASES = {known.value: known.phrase for known in HTTPStatus}


class _ByHand:
    """Writes an answer onto the connection itself, with a wrong length, slowly, or not to its end."""

    def __init__(self, transport: asyncio.Transport, plan: dict[str, Any]) -> None:
        self._transport = transport
        self._left = plan.get("truncate_bytes", float("inf"))
        self._off_by = int(plan.get("length_off_by", 0))
        self._speed = plan.get("bytes_per_second")

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._write(self._head(message))
        elif body := bytes(message.get("body", b"")):
            part = body if self._left >= len(body) else body[: int(self._left)]
            self._left -= len(part)
            await self._write(part)

    def end(self) -> None:
        self._transport.close()

    def _head(self, message: Message) -> bytes:
        status = int(message["status"])
        phrase = _PHRASES.get(status, "")
        lines = [f"HTTP/1.1 {status} {phrase}".encode()]
        for name, value in [*message.get("headers", []), (b"connection", b"close")]:
            shown = str(max(0, int(value) + self._off_by)).encode() if name == b"content-length" else value
            lines.append(bytes(name) + b": " + bytes(shown))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    async def _write(self, content: bytes) -> None:
        size = max(1, round(self._speed / _PIECES_PER_SECOND)) if self._speed else max(1, len(content))
        for start in range(0, len(content), size):
            if self._transport.is_closing():
                return
            self._transport.write(content[start : start + size])
            if self._speed:
                await asyncio.sleep(size / self._speed)
