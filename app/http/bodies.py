"""Bodies that are handed on while they arrive, so that their size costs no memory. It knows no room."""

import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from anyio import CancelScope
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from app.http.problems import Unreadable
from app.kit.errors import FieldError, Invalid, TooLarge
from app.kit.wire import escape_pointer, strict_json

WRITE_BYTES: Final = 1 << 20
"""Body bytes gathered before a thread takes them."""
AROUND_BYTES: Final = 1 << 16
"""What a form may hold besides its file: boundaries, headers and short fields."""
IN_THREAD_BYTES: Final = 1 << 16
"""A longer JSON text is read beside the event loop."""
_FIELD_BYTES: Final = 2000
_NAME_LENGTH: Final = 200
_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x1f\x7f]")

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@asynccontextmanager
async def in_threads(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """A context whose beginning and end block, entered and left beside the event loop.

    It is left also when the request is cancelled, unlike with the framework's own.
    """
    entered = await run_in_threadpool(manager.__enter__)
    try:
        yield entered
    except BaseException as error:
        with CancelScope(shield=True):
            await run_in_threadpool(manager.__exit__, type(error), error, error.__traceback__)
        raise
    await run_in_threadpool(manager.__exit__, None, None, None)


@dataclass(frozen=True, slots=True)
class Beginning:
    """What has been read of a body, and whether that is all of it."""

    data: bytes = b""
    is_all: bool = False


async def beginning(request: Request) -> Beginning:
    """As much of the body as an ordinary request holds, or a little more."""
    limit: int = request.app.max_body_size
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return Beginning(bytes(body))
    return Beginning(bytes(body), is_all=True)


async def pour(request: Request, write: Callable[[bytes], None], *, begun: Beginning = Beginning()) -> None:
    """Hand the body on in pieces of about a MiB; `write` may block and may refuse.

    Args:
        begun: what `beginning` has taken already.
    """
    waiting = bytearray(begun.data)
    if not begun.is_all:
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= WRITE_BYTES:
                await run_in_threadpool(write, bytes(waiting))
                waiting.clear()
    await run_in_threadpool(write, bytes(waiting))


def media_type(request: Request) -> str:
    """The Content-Type without its parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_json(request: Request, model: type[M], *, look: Callable[[Any], None]) -> M:
    """An ordinary JSON body on a route that also takes bodies of any size.

    Args:
        look: sees the parsed value first and may refuse it.

    Raises:
        TooLarge: beyond the limit of ordinary bodies.
        RequestValidationError: no JSON, or not of this model.
    """
    limit: int = request.app.max_body_size
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(
                f"A JSON body holds at most {limit:,} bytes.",
                hint="Send larger data as a file, in multipart/form-data.",
            )
    return await run_in_threadpool(_parsed, bytes(body), model, look)


def _parsed(body: bytes, model: type[M], look: Callable[[Any], None]) -> M:
    look(value := parsed_strictly(body))
    return validated(model, value)


def parsed_strictly(body: bytes) -> Any:
    """Raises `RequestValidationError` (400) for what is no JSON, or means different things to different readers."""
    try:
        return strict_json(body)
    except ValueError as error:
        problem = {
            "type": "json_invalid",
            "loc": ("body",),
            "msg": "JSON decode error",
            "ctx": {"error": str(error)[:200]},
        }
        raise RequestValidationError([problem]) from None


class StrictRoute(APIRoute):
    """`APIRouter(route_class=StrictRoute)`: a JSON body is taken only if it means one thing for every reader.

    The framework keeps the last of two equal members, while a proxy that looked may have kept the first.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        if self.body_field is None:
            return inner

        async def handler(request: Request) -> Response:
            if media_type(request).endswith(("/json", "+json")):
                body = await request.body()
                if len(body) > IN_THREAD_BYTES:
                    await run_in_threadpool(parsed_strictly, body)
                elif body:
                    parsed_strictly(body)
            return await inner(request)

        return handler


def validated(model: type[M], value: Any) -> M:
    """The value as a model. Raises `RequestValidationError`, as the framework does for bodies that it reads."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *_place(item, value))} for item in found]) from None


def _place(error: ErrorDetails, value: Any) -> list[int | str]:
    """Where an error is, without the words that tell which variant of a union was looked at."""
    place: list[int | str] = []
    for step in error["loc"]:
        is_member = isinstance(value, dict) and step in value
        if is_member or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            value = value[step]
        elif place and isinstance(value, dict) and (error["type"] != "missing" or step != error["loc"][-1]):
            continue
        place.append(step)
    return place


class OneFileForm:
    """A `multipart/form-data` body with one file, which is handed on while it arrives, and short text fields.

    Source: RFC 7578 (multipart/form-data).

    Attributes:
        fields: the text fields, by name.
        filename: what the caller calls the file, without folders and control characters; None = nameless.
    """

    def __init__(
        self,
        content_type: str,
        *,
        file: str,
        texts: frozenset[str],
        sink: Callable[[bytes], None],
        file_bytes_max: int,
    ) -> None:
        """Raises `Unreadable` without a boundary.

        Args:
            file: name of the field that holds the file.
            texts: names of the text fields there may be.
            sink: takes the file's bytes; may refuse them.
        """
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._file = file
        self._texts = texts
        self._sink = sink
        self._room = file_bytes_max + AROUND_BYTES
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._field = ""
        self._text = bytearray()
        self._has_file = self._ended = False
        _, options = parse_options_header(content_type)
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._headers.clear,
                    "on_part_data": self._on_data,
                    "on_part_end": self._on_part_end,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers,
                    "on_end": self._on_end,
                },
            )
        except (KeyError, FormParserError) as error:
            raise _unreadable("The Content-Type names no usable boundary") from error

    def write(self, chunk: bytes) -> None:
        """Raises `Unreadable`, `Invalid`, `TooLarge`, or what the sink raises."""
        self._room -= len(chunk)
        if self._room < 0:
            raise TooLarge("The form is larger than any file that would be taken.")
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _unreadable(f"The form cannot be read: {error}") from error

    def finish(self) -> None:
        """Raises `Unreadable` when the body ended too early, `Invalid` when it held no file."""
        if not self._ended:
            raise _unreadable("The form ends before its last boundary")
        if not self._has_file:
            raise self._wrong(self._file, "file_missing", f"The form has no field {self._file!r}")

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"name")
        if name is None:
            raise _unreadable("A part of the form has no name in its Content-Disposition")
        self._field = name.decode("utf-8", "replace")
        if self._field == self._file:
            if self._has_file:
                raise self._wrong(self._field, "one_file_only", f"The form has more than one field {self._file!r}")
            self._has_file = True
            self.filename = _plain_name(options.get(b"filename"))
        elif self._field not in self._texts:
            raise self._wrong(self._field[:_NAME_LENGTH], "extra_forbidden", "The form has an unknown field")
        elif self._field in self.fields:
            raise self._wrong(self._field, "field_doubled", f"The form has more than one field {self._field!r}")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._field == self._file:
            self._sink(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _FIELD_BYTES:
            raise self._wrong(self._field, "too_long", f"{self._field!r} is longer than {_FIELD_BYTES} bytes")

    def _on_part_end(self) -> None:
        if self._field != self._file:
            self.fields[self._field] = self._text.decode("utf-8", "replace")
            self._text.clear()

    def _on_end(self) -> None:
        self._ended = True

    def _wrong(self, field: str, code: str, detail: str) -> Invalid:
        known = ", ".join(sorted(self._texts))
        return Invalid(
            f"{detail}.",
            code=code,
            hint=f"Send one field {self._file!r} with the file, and no other fields than: {known}.",
            errors=[FieldError(pointer=f"/{escape_pointer(field)}", code=code, detail=detail)],
        )


def _unreadable(detail: str) -> Unreadable:
    return Unreadable(
        f"{detail}.", code="multipart_invalid", hint="Let your HTTP client make the form and its Content-Type."
    )


def _plain_name(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    name = re.split(r"[/\\]", raw.decode("utf-8", "replace"))[-1]
    return _NOT_IN_NAMES.sub("", name)[:_NAME_LENGTH] or None
