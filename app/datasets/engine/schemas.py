"""Looks at the JSON Schemas by which tools declare their parameters, and at arguments that should fit them.

Must not know rows or lines. It checks what people get wrong, not all of JSON Schema.

Source: JSON Schema draft 2020-12, validation vocabulary; OpenAI function calling guide, 2025.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from app.datasets.engine.json_rows import escaped

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_LISTS: Final = ("anyOf", "oneOf", "allOf")
_DEPTH_MAX: Final = 32

Defect = tuple[str, str]
"""What is wrong, and the RFC 6901 pointer to it from the schema."""


def defect_of(schema: Any) -> Defect | None:
    """The first thing that is wrong with a schema."""
    return next(_defects(schema, "", 0), None)


def _defects(schema: Any, at: str, depth: int) -> Iterator[Defect]:
    if isinstance(schema, bool) or depth > _DEPTH_MAX:
        return
    if not isinstance(schema, dict):
        yield "a schema is not an object", at
        return
    yield from _own_defects(schema, at)
    for inner, there in _inner(schema):
        yield from _defects(inner, at + there, depth + 1)


def _own_defects(schema: dict[str, Any], at: str) -> Iterator[Defect]:
    kind = schema.get("type")
    for one in kind if isinstance(kind, list) else [] if kind is None else [kind]:
        if not isinstance(one, str) or one not in _TYPES:
            yield f"there is no type {str(one)[:40]!r}", f"{at}/type"
    if not isinstance(schema.get("properties", {}), dict):
        yield "properties is not an object", f"{at}/properties"
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        yield "enum is not a list of values", f"{at}/enum"
    for key in _LISTS:
        if not isinstance(schema.get(key, []), list):
            yield f"{key} is not a list", f"{at}/{key}"
    required, properties = schema.get("required", []), schema.get("properties")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield "required is not a list of names", f"{at}/required"
    elif isinstance(properties, dict):
        for name in required:
            if name not in properties:
                yield f"{name[:40]!r} is required and not among the properties", f"{at}/required"


def _inner(schema: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """The schemas inside of one, and where."""
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, inner in properties.items():
            yield inner, f"/properties/{escaped(name)}"
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield schema[key], f"/{key}"
    for key in _LISTS:
        several = schema.get(key)
        if isinstance(several, list):
            for number, inner in enumerate(several):
                yield inner, f"/{key}/{number}"


def misfit_of(arguments: Any, schema: Any) -> str | None:
    """Why the arguments of a call do not fit what the tool declares, as far as names tell."""
    if not isinstance(schema, dict) or defect_of(schema) is not None or any(key in schema for key in _LISTS):
        return None
    if not isinstance(arguments, dict):
        return "they are not an object"
    missing = [name for name in schema.get("required", []) if name not in arguments]
    if missing:
        return f"{missing[0][:40]!r} is required and missing"
    properties = schema.get("properties")
    if properties is None or schema.get("additionalProperties", False) is not False:
        return None
    unknown = [name for name in arguments if name not in properties]
    return f"{unknown[0][:40]!r} is not declared" if unknown else None
