"""RFC 9457 problem documents for everything that can go wrong at the HTTP door. It knows no room."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from psycopg.errors import ReadOnlySqlTransaction
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DataError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from app.azure.port import AzureError, Busy, Throttled, Unavailable
from app.kit.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    KitaeError,
    NoRoom,
    NotFound,
    Stale,
    TooLarge,
    Unready,
)
from app.kit.wire import escape_pointer, in_words

log = structlog.get_logger("kitae.http")

MEDIA_TYPE: Final = "application/problem+json"
ERRORS_PAGE: Final = "/docs/errors"
DATABASE_RETRY_SECONDS: Final = 2
"""A restarted PostgreSQL answers again after about this long."""
BUSY_RETRY_SECONDS: Final = 5
"""Where Azure did not say how long to wait."""
DATABASE_OUTAGES: Final = (OperationalError, InterfaceError, PoolTimeout)
"""What SQLAlchemy raises when PostgreSQL, or a free connection to it, cannot be had."""
MAX_FIELD_ERRORS: Final = 50
"""More than a person reads; a hostile body of a million wrong members must not become a huge answer."""


class FieldProblem(BaseModel):
    """One thing that is wrong, and where."""

    pointer: str | None = Field(default=None, description="JSON Pointer (RFC 6901) into the request's body.")
    parameter: str | None = Field(default=None, description="Name of a query or path parameter.")
    header: str | None = Field(default=None, description="Name of a request header.")
    code: str = Field(description="Stable word for programs.")
    detail: str = Field(description="What is wrong, for people.")


class Problem(BaseModel):
    """What every error looks like (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "/docs/errors#not-found",
                    "title": "Not found",
                    "status": 404,
                    "detail": "There is no job job_01kz8q2v9re4n9t6e2x5cbd3ya in this project.",
                    "instance": "/v1/jobs/job_01kz8q2v9re4n9t6e2x5cbd3ya",
                    "code": "job_not_found",
                    "request_id": "req_01kz8q3d0qf5ga8aj7k1r6m2wt",
                }
            ]
        }
    )

    type: str = Field(description="Where this kind of problem is described; relative to this API.")
    title: str = Field(description="The kind of problem; always the same for one type.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened this time, for people.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Stable word for programs; match on this.")
    request_id: str = Field(description="Name of this request in the service's logs.")
    hint: str | None = Field(default=None, description="What to do about it.")
    errors: list[FieldProblem] | None = Field(default=None, description="Field by field, where that makes sense.")
    remote: dict[str, Any] | None = Field(default=None, description="Azure's answer, verbatim.")


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of problem, as the page of errors lists it."""

    status: int
    title: str
    meaning: str

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


_BY_STATUS: Final = {
    kind.status: kind
    for kind in (
        Kind(400, "Bad request", "The request could not be read at all. Send valid JSON and headers."),
        Kind(401, "Unauthorized", "No API key, or one that is unknown, revoked or expired. Send a valid one."),
        Kind(403, "Forbidden", "The API key is valid but lacks the scope. Ask for a key that has it."),
        Kind(404, "Not found", "There is no such thing in this key's project."),
        Kind(405, "Method not allowed", "The path exists, but not with this method; see the Allow header."),
        Kind(406, "Not acceptable", "The answer cannot be given in a form that the Accept header names."),
        Kind(409, "Conflict", "A right request at the wrong moment: the thing is in another state."),
        Kind(412, "Precondition failed", "The thing has changed since you read it. Read it again, then decide."),
        Kind(413, "Content too large", "The body, or what it asks for, is above a limit that the detail names."),
        Kind(415, "Unsupported media type", "The Content-Type is not one that this path reads."),
        Kind(422, "Invalid request", "The request was read, but something in it is wrong; see errors."),
        Kind(428, "Precondition required", "This needs an If-Match header, so that nothing is overwritten unseen."),
        Kind(429, "Too many requests", "Slow down, or Azure asks to; come back after Retry-After seconds."),
        Kind(431, "Headers too large", "The request's headers are above the limit."),
        Kind(500, "Internal error", "A fault of this service. Quote the request id when you report it."),
        Kind(502, "Azure refused", "Azure answered with an error that asking again does not cure; see remote."),
        Kind(503, "Unavailable", "Something this needs is away for the moment; come back after Retry-After."),
        Kind(507, "Storage full", "There is no room left for what was sent; tell the operator."),
    )
}
KINDS: Final = tuple(_BY_STATUS.values())

_STATUS: Final[tuple[tuple[type[KitaeError], int], ...]] = (
    (Invalid, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Forbidden, 403),
    (TooLarge, 413),
    (Stale, 412),
    (Unready, 503),
    (NoRoom, 507),
)


class Unauthenticated(KitaeError):
    """No key, or none that opens anything. Only doors say this."""

    code = "unauthenticated"


class TooMany(KitaeError):
    """More than one caller may ask at once or in a while (429). Only doors say this."""

    code = "rate_limited"


class Unreadable(KitaeError):
    """The request cannot even be parsed (400). Only doors say this."""

    code = "bad_request"


def problem_body(
    *,
    status: int,
    code: str,
    detail: str,
    path: str,
    request_id: str,
    hint: str = "",
    errors: Sequence[FieldProblem] = (),
    remote: Mapping[str, Any] | None = None,
) -> bytes:
    kind = _BY_STATUS.get(status) or _BY_STATUS[500 if status >= 500 else 400]
    problem = Problem(
        type=f"{ERRORS_PAGE}#{kind.anchor}",
        title=kind.title,
        status=status,
        detail=detail,
        instance=path,
        code=code,
        request_id=request_id,
        hint=hint or None,
        errors=list(errors) or None,
        remote=dict(remote) if remote else None,
    )
    return orjson.dumps(problem.model_dump(exclude_none=True), default=str, option=orjson.OPT_NON_STR_KEYS)


def _answer(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    hint: str = "",
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    remote: Mapping[str, Any] | None = None,
) -> Response:
    body = problem_body(
        status=status,
        code=code,
        detail=detail,
        path=request.url.path,
        request_id=request.scope.get("request_id", ""),
        hint=hint,
        errors=errors,
        remote=remote,
    )
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def _retry_after(seconds: float | None, default: int) -> dict[str, str]:
    return {"Retry-After": str(max(1, round(default if seconds is None else seconds)))}


def _of_kitae_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, KitaeError)  # noqa: S101  for the type checker; registered for this class
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        status = 401
        headers["WWW-Authenticate"] = 'Bearer realm="kitae"'
    elif isinstance(error, Unreadable):
        status = 400
    elif isinstance(error, TooMany):
        status = 429
    else:
        status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
    if status == 503 or error.retry_after_seconds is not None:
        headers |= _retry_after(error.retry_after_seconds, BUSY_RETRY_SECONDS)
    return _answer(
        request,
        status,
        error.code,
        error.detail,
        hint=error.hint,
        errors=[_field(item) for item in error.errors[:MAX_FIELD_ERRORS]],
        headers=headers,
    )


def _field(item: FieldError) -> FieldProblem:
    return FieldProblem(
        pointer=item.pointer, parameter=item.parameter, header=item.header, code=item.code, detail=item.detail
    )


def _of_azure_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AzureError)  # noqa: S101  for the type checker; registered for this class
    headers: dict[str, str] = {}
    if isinstance(error, Throttled):
        status = 429
    elif isinstance(error, Busy | Unavailable):
        status = 503
    else:
        status = 502
    if status != 502:
        headers = _retry_after(error.retry_after_seconds, BUSY_RETRY_SECONDS)
    return _answer(
        request, status, error.code, error.message, hint=error.hint, headers=headers, remote=error.remote
    )


def _of_database_outage(request: Request, error: Exception) -> Response:
    log.error("http.database_unavailable", error=str(error)[:300])
    return _answer(
        request,
        503,
        "database_unavailable",
        "The database does not answer at the moment.",
        hint="Nothing was changed. Send the same request again.",
        headers=_retry_after(None, DATABASE_RETRY_SECONDS),
    )


def _of_database_refusal(request: Request, error: Exception) -> Response:
    """A database that takes no writes has become a replica, or its disk is full: an outage, not a fault of ours."""
    if isinstance(getattr(error, "orig", None), ReadOnlySqlTransaction):
        return _of_database_outage(request, error)
    return _of_anything_else(request, error)


def _of_no_descriptor(request: Request, error: Exception) -> Response:
    """The process has used up what the system gives it; requests that end give it back."""
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        log.error("http.no_descriptor_left", error=str(error))
        return _answer(
            request,
            503,
            "overloaded",
            "The service has too much open at the moment.",
            hint="Nothing was changed. Send the same request again.",
            headers=_retry_after(None, BUSY_RETRY_SECONDS),
        )
    return _of_anything_else(request, error)


def _of_data_error(request: Request, error: Exception) -> Response:
    log.warning("http.data_error", error=str(error)[:300])
    return _answer(
        request, 422, "value_out_of_range", "A value in the request is outside what can be stored or compared."
    )


_HTTP_CODES: Final = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "content_too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
}


def _of_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  for the type checker; registered for this class
    detail, hint = str(error.detail), ""
    headers = dict(error.headers or {})
    if error.status_code == 404:
        detail, hint = f"There is nothing at {request.url.path}.", "Every path is listed in /docs."
    elif error.status_code == 405:
        allowed = ", ".join(sorted(methods_at(request)))
        detail, hint = f"{request.url.path} does not take {request.method}.", f"It takes: {allowed}."
        headers["Allow"] = allowed
    return _answer(
        request,
        error.status_code,
        _HTTP_CODES.get(error.status_code, "http_error"),
        detail,
        hint=hint,
        headers=headers,
    )


def methods_at(request: Request) -> set[str]:
    """Every method that some route at the request's path takes; the router itself names the first route's only."""
    return {
        method
        for route in api_routes(request.app.router.routes)
        if route.path_regex.match(request.scope["path"])
        for method in route.methods or ()
    }


def api_routes(routes: Any) -> Iterator[APIRoute]:
    """Every API route, those of included routers too."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from api_routes(inner.routes)


def _of_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101  for the type checker; registered for it
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        reason = str((found[0].get("ctx") or {}).get("error", found[0]["msg"]))
        return _answer(
            request,
            400,
            "json_invalid",
            f"The body is not valid JSON: {reason}.",
            errors=[FieldProblem(pointer="", code="json_invalid", detail=reason)],
        )
    errors = [_located(item, error.body) for item in found[:MAX_FIELD_ERRORS]]
    first = errors[0]
    place = first.pointer or first.parameter or first.header
    return _answer(
        request,
        422,
        "invalid_request",
        f"{place}: {first.detail}" if place else first.detail,
        hint="Correct what `errors` lists and send the request again.",
        errors=errors,
    )


def _located(item: Mapping[str, Any], body: Any) -> FieldProblem:
    where, *rest = item["loc"]
    parts = [str(part) for part in rest]
    context = item.get("ctx") or {}
    code, detail = str(item["type"]), in_words(item)
    if where == "body":
        pointer = "".join("/" + escape_pointer(part) for part in _members(rest, body))
        if code == "union_tag_invalid":  # pydantic names the object, not the member that is wrong
            pointer += "/type"
        return FieldProblem(pointer=pointer + str(context.get("pointer", "")), code=code, detail=detail)
    name = ".".join(parts)
    return (
        FieldProblem(header=name, code=code, detail=detail)
        if where in {"header", "cookie"}
        else FieldProblem(parameter=name, code=code, detail=detail)
    )


def _members(location: Sequence[str | int], body: Any) -> Iterator[str]:
    """The parts of a location that stand in the body: in a union pydantic adds the value of `type`."""
    value = body
    for part, after in zip_longest(location, location[1:]):
        if isinstance(value, dict) and part == value.get("type"):
            inner = value.get(part)
            if part not in value or (after is not None and not isinstance(inner, dict | list)):
                continue
        yield str(part)
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = None


def _of_anything_else(request: Request, error: Exception) -> Response:
    log.error("http.unexpected_error", path=request.url.path, exc_info=error)
    return _answer(
        request,
        500,
        "internal_error",
        "Something went wrong inside the service.",
        hint="Quote the request id when you report it; the log has the details.",
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Give every exception that can reach the door its problem document."""
    app.add_exception_handler(KitaeError, _of_kitae_error)
    app.add_exception_handler(AzureError, _of_azure_error)
    app.add_exception_handler(RequestValidationError, _of_validation_error)
    app.add_exception_handler(HTTPException, _of_http_exception)
    for outage in DATABASE_OUTAGES:
        app.add_exception_handler(outage, _of_database_outage)
    app.add_exception_handler(InternalError, _of_database_refusal)
    app.add_exception_handler(OSError, _of_no_descriptor)
    app.add_exception_handler(DataError, _of_data_error)
    app.add_exception_handler(Exception, _of_anything_else)
