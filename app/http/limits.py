"""What is refused before any endpoint sees it: bodies that are too large and bytes that no path may hold."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import MEDIA_TYPE, problem_body

UPLOAD_BODY: Final = 1 << 40
"""`max_body_size` of routes that stream their body and count it themselves (1 TiB: never reached)."""


class Limits:
    """ASGI layer around the framework's own body limit, which answers in plain text."""

    def __init__(self, app: ASGIApp, *, body_max_bytes: int) -> None:
        self.app = app
        self._body_max_bytes = body_max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "\x00" in scope["path"] or b"%00" in scope["query_string"] or b"\x00" in scope["query_string"]:
            await refuse(scope, send, 400, "bad_request", "The URL holds a NUL character.", "Remove it.")
            return
        replaced = False

        async def as_problem(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == 413 and _is_plain(message):
                replaced = True
                await refuse(
                    scope,
                    send,
                    413,
                    "content_too_large",
                    f"The body is larger than {self._body_max_bytes:,} bytes.",
                    "Data for training goes to PUT /v1/datasets/{id}/content, which takes much more.",
                )
            elif not replaced:
                await send(message)

        await self.app(scope, receive, as_problem)


def _is_plain(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/plain") for name, value in message["headers"])


async def refuse(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    detail: str,
    hint: str,
    *,
    retry_after_seconds: int | None = None,
) -> None:
    """A problem document as the whole answer, for layers around the app."""
    body = problem_body(
        status=status,
        code=code,
        detail=detail,
        path=scope["path"].replace("\x00", "\ufffd"),
        request_id=scope.get("request_id", ""),
        hint=hint,
    )
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if retry_after_seconds is not None:
        headers.append((b"retry-after", str(retry_after_seconds).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
