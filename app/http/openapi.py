"""The OpenAPI document: what FastAPI derives, plus every error, header and condition that our layers add."""

import copy
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson
from fastapi import FastAPI
from pydantic import BaseModel

from app.http.idempotency import HEADER, IdempotentRoute
from app.http.problems import KINDS, MEDIA_TYPE, Problem, api_routes

_PROBLEM: Final = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_KIND: Final = {kind.status: kind for kind in KINDS}
_METHODS: Final = ("get", "put", "post", "delete", "patch")

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """`responses=problems(409, 502)` for errors of one route that its shape does not show."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    return {"description": f"{_KIND[status].title}. {_KIND[status].meaning}", "content": _PROBLEM}


def stream_responses(what: str, example: str) -> Responses:
    """`responses=` of a route that answers JSON, or with `Accept: text/event-stream` Server-Sent Events."""
    return {
        200: {
            "description": f"{what}, or with `Accept: text/event-stream` a stream of it.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": example}},
        }
    }


STREAM_RESPONSES: Final = stream_responses(
    "A page of the log",
    "event: job.succeeded\n"
    'data: {"object":"event","id":"evt_01kz8q7m2ceap9j4f0x6t3r8wd","type":"job.succeeded"}\n'
    "id: evt_01kz8q7m2ceap9j4f0x6t3r8wd\n\n",
)
"""Of routes that answer the log."""


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """For `openapi_extra` of a route that reads its body itself; `complete` gives it its place in the document."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}") | {"title": model.__name__}


def _lift_bodies(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Schemas made by `schema_of` move to the components."""
    body = operation["requestBody"] = copy.deepcopy(operation["requestBody"])  # the route's own stays as it is
    for media in body["content"].values():
        schema = media["schema"]
        if "$defs" in schema:
            schemas.update(schema.pop("$defs"))
            schemas[schema["title"]] = schema
            media["schema"] = {"$ref": f"#/components/schemas/{schema['title']}"}


def complete(document: dict[str, Any], app: FastAPI) -> dict[str, Any]:
    """Add to FastAPI's document what it cannot see: the problem answers and the headers of our layers."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    idempotent = _idempotent_operations(app)
    for path, method, operation in _operations(document):
        if "requestBody" in operation:
            _lift_bodies(operation, schemas)
        _add_errors(operation, path)
        if operation.get("operationId") in idempotent:
            _add_idempotency(operation)
        if method == "get" and path.startswith("/v1/"):
            _add_conditional_get(operation)
    return _with_speaking_names(document)


def _with_speaking_names(document: dict[str, Any]) -> dict[str, Any]:
    """`ListOf_JobRead_`, which pydantic makes of a generic class, becomes `JobReadList`, as its title says."""
    renamed: dict[str, Any] = orjson.loads(re.sub(rb"ListOf_([A-Za-z0-9]+)_", rb"\1List", orjson.dumps(document)))
    return renamed


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _idempotent_operations(app: FastAPI) -> set[str | None]:
    return {
        route.operation_id
        for route in api_routes(app.router.routes)
        if isinstance(route, IdempotentRoute) and "POST" in (route.methods or ())
    }


def _add_errors(operation: dict[str, Any], path: str) -> None:
    statuses: set[int] = {400, 500}
    answers = operation.setdefault("responses", {})
    if operation.get("security"):
        statuses |= {401, 403, 429, 503}
    if "{" in path:
        statuses.add(404)
    if "requestBody" in operation:
        statuses |= {413, 422}
    if operation.get("parameters"):
        statuses.add(422)
    if any(parameter["name"].lower() == "if-match" for parameter in operation.get("parameters", ())):
        statuses.add(412)
    answers.pop("422", None)
    for status in sorted(statuses):
        answers.setdefault(str(status), _problem(status))
    operation["responses"] = dict(sorted(answers.items()))


def _add_idempotency(operation: dict[str, Any]) -> None:
    operation.setdefault("parameters", []).append(
        {
            "name": HEADER,
            "in": "header",
            "required": False,
            "description": (
                "Any text of your own, such as a UUID. The same request with the same key is done once and answered"
                " the same for 24 hours; with another body it answers 422, while the first is under way 409."
            ),
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
        }
    )
    for status in (409, 422):
        operation["responses"].setdefault(str(status), _problem(status))
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            answer.setdefault("headers", {})["Idempotent-Replayed"] = {
                "description": "`true` when this is the answer to an earlier request with the same key.",
                "schema": {"type": "string", "enum": ["true"]},
            }
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_conditional_get(operation: dict[str, Any]) -> None:
    answer = operation["responses"].get("200")
    if answer is None or "application/json" not in answer.get("content", {}):
        return
    operation.setdefault("parameters", []).append(
        {
            "name": "If-None-Match",
            "in": "header",
            "required": False,
            "description": "ETag of the answer you have; when it still holds, 304 comes without a body.",
            "schema": {"type": "string"},
        }
    )
    answer.setdefault("headers", {})["ETag"] = {
        "description": "Names this state of the answer.",
        "schema": {"type": "string"},
    }
    operation["responses"]["304"] = {"description": "What you have still holds."}
    operation["responses"] = dict(sorted(operation["responses"].items()))
