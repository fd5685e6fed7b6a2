"""Tools from an OpenAPI document, and whether arguments fit them. It follows local references only."""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

METHODS: Final = ("get", "put", "post", "delete", "patch")
DEPTH_MAX: Final = 12
NAME_MAX: Final = 64
"""Characters of a function's name. Source: OpenAI API reference, chat completions, tools.function.name, 2026."""
KEPT_WORDS: Final = (
    *("type", "description", "enum", "const", "format", "pattern", "minimum", "maximum", "exclusiveMinimum"),
    *("exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "default"),
)


class Unusable(ValueError):
    """The document cannot be made into tools; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as a function that a model may call."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON Schema of an object."""
    path: str
    method: str

    @property
    def tool(self) -> dict[str, Any]:
        """As it stands in a chat example's `tools`."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.parameters),
            },
        }


def operations_of(document: Mapping[str, Any]) -> list[Operation]:
    """Every operation, in the document's order.

    Parameters of path and query become properties, and so do the members of a JSON body that is an object, unless a
    name would stand twice: then the body is one property, `body`. Headers and cookies are the caller's affair.

    Raises:
        Unusable: no OpenAPI 3 document, or one that points nowhere.
    """
    if not str(document.get("openapi", "")).startswith("3."):
        raise Unusable("it is no OpenAPI 3 document: its member `openapi` does not begin with 3.")
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise Unusable("it has no `paths`")
    found: list[Operation] = []
    taken: set[str] = set()
    for path, item in paths.items():
        if not isinstance(item, Mapping):
            continue
        shared = item.get("parameters") or []
        for method in METHODS:
            raw = item.get(method)
            if not isinstance(raw, Mapping):
                continue
            place = f"paths/{path}/{method}"
            name = _name(raw, method, str(path), taken)
            taken.add(name)
            words = " ".join(
                str(raw.get("summary") or raw.get("description") or f"{method.upper()} {path}").split()
            )
            schema = _parameters(document, [*_list(shared), *_list(raw.get("parameters"))], raw, place)
            found.append(Operation(name, words[:1000], schema, str(path), method))
    if not found:
        raise Unusable("it has no operation")
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _name(raw: Mapping[str, Any], method: str, path: str, taken: set[str]) -> str:
    wanted = str(raw.get("operationId") or f"{method}_{path}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", wanted).strip("_")[:NAME_MAX] or method
    number = 2
    while name in taken:
        name = f"{name[: NAME_MAX - 4]}_{number}"
        number += 1
    return name


def _parameters(
    document: Mapping[str, Any], parameters: Sequence[Any], raw: Mapping[str, Any], place: str
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for given in parameters:
        parameter = _resolved(document, given, place)
        if parameter.get("in") not in {"path", "query"} or not isinstance(parameter.get("name"), str):
            continue
        name = parameter["name"]
        schema = _schema(document, parameter.get("schema") or {"type": "string"}, place)
        if parameter.get("description"):
            schema.setdefault("description", str(parameter["description"]))
        properties[name] = schema
        if parameter.get("required") and name not in required:
            required.append(name)
    body, needed = _body(document, raw, place)
    if body is not None:
        members = body.get("properties") or {}
        if body.get("type") == "object" and members and not properties.keys() & members.keys():
            properties |= members
            required += body.get("required") or []
        else:
            properties["body"] = body
            required += ["body"] if needed else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _body(document: Mapping[str, Any], raw: Mapping[str, Any], place: str) -> tuple[dict[str, Any] | None, bool]:
    if "requestBody" not in raw:
        return None, False
    body = _resolved(document, raw["requestBody"], place)
    for media, content in (body.get("content") or {}).items():
        if "json" in str(media) and isinstance(content, Mapping):
            return _schema(document, content.get("schema") or {}, place), bool(body.get("required"))
    return None, False


def _resolved(document: Mapping[str, Any], value: Any, place: str) -> Mapping[str, Any]:
    for _ in range(DEPTH_MAX):
        if not isinstance(value, Mapping):
            raise Unusable(f"{place}: an object was expected")
        if "$ref" not in value:
            return value
        value = _pointed(document, str(value["$ref"]), place)
    raise Unusable(f"{place}: references lead in a circle")


def _pointed(document: Mapping[str, Any], ref: str, place: str) -> Any:
    if not ref.startswith("#/"):
        raise Unusable(f"{place}: {ref!r} leads out of the document; put everything into one file")
    found: Any = document
    for part in ref[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or name not in found:
            raise Unusable(f"{place}: {ref!r} is not in the document")
        found = found[name]
    return found


def _schema(document: Mapping[str, Any], value: Any, place: str, depth: int = 0) -> dict[str, Any]:
    """The schema without references; below the deepest level anything goes."""
    if depth > DEPTH_MAX or not isinstance(value, Mapping):
        return {}
    raw = _resolved(document, value, place)
    found: dict[str, Any] = {word: raw[word] for word in KEPT_WORDS if word in raw}
    if raw.get("nullable") is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    for word in ("anyOf", "oneOf", "allOf"):
        if isinstance(raw.get(word), list):
            found[word] = [_schema(document, one, place, depth + 1) for one in raw[word]]
    if isinstance(raw.get("properties"), Mapping):
        found["properties"] = {
            str(name): _schema(document, one, place, depth + 1) for name, one in raw["properties"].items()
        }
        found.setdefault("type", "object")
        found["required"] = [name for name in _list(raw.get("required")) if name in found["properties"]]
    if isinstance(raw.get("items"), Mapping):
        found["items"] = _schema(document, raw["items"], place, depth + 1)
    if isinstance(raw.get("additionalProperties"), bool):
        found["additionalProperties"] = raw["additionalProperties"]
    elif isinstance(raw.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _schema(document, raw["additionalProperties"], place, depth + 1)
    return found


# ── arguments ───────────────────────────────────────────────────────────────

_FORMATS: Final[Mapping[str, re.Pattern[str]]] = {
    "date": re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"),
    "date-time": re.compile(
        r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt ](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?"
        r"(?:[Zz]|[+-][01]\d:[0-5]\d)"
    ),
    "time": re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:[Zz]|[+-]\d\d:\d\d)?"),
    "email": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "uri": re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+"),
}


def violations(value: Any, schema: Mapping[str, Any], pointer: str = "") -> Iterator[str]:
    """Where a value does not fit a schema that `operations_of` made, in words.

    Source: JSON Schema 2020-12, validation vocabulary §6, as far as `_schema` keeps its words.
    """
    where = pointer or "the whole"
    if "type" in schema and not _has_type(value, schema["type"]):
        yield f"{where}: it should be {_words(schema['type'])}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not one of {schema['enum']!r}"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: it should be {schema['const']!r}"
    if isinstance(value, str):
        yield from _of_text(value, schema, where)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _of_number(value, schema, where)
    elif isinstance(value, list):
        yield from _of_list(value, schema, where, pointer)
    elif isinstance(value, Mapping):
        yield from _of_object(value, schema, where, pointer)
    yield from _combined(value, schema, where, pointer)


def _combined(value: Any, schema: Mapping[str, Any], where: str, pointer: str) -> Iterator[str]:
    for part in schema.get("allOf", ()):
        yield from violations(value, part, pointer)
    if "anyOf" in schema and all(any(violations(value, one, pointer)) for one in schema["anyOf"]):
        yield f"{where}: it fits none of the alternatives"
    if "oneOf" in schema and sum(not any(violations(value, one, pointer)) for one in schema["oneOf"]) != 1:
        yield f"{where}: it does not fit exactly one of the alternatives"


def _has_type(value: Any, wanted: Any) -> bool:
    return any(_is(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))


def _is(value: Any, wanted: Any) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "integer":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, Mapping)
        case "null":
            return value is None
    return True


def _words(wanted: Any) -> str:
    return " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)


def _of_text(value: str, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"{where}: it is shorter than {schema['minLength']}"
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield f"{where}: it is longer than {schema['maxLength']}"
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None and not known.fullmatch(value):
        yield f"{where}: {value!r} is no {schema['format']}"
    if isinstance(schema.get("pattern"), str) and len(value) < 1000:
        try:
            fits = re.search(schema["pattern"], value) is not None
        except re.error:
            fits = True  # of another dialect of regular expressions
        if not fits:
            yield f"{where}: {value!r} does not match {schema['pattern']!r}"


def _of_number(value: float, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    limits = {word: limit for word in _LIMITS if (limit := _number(schema.get(word))) is not None}
    for word, limit in limits.items():
        if _LIMITS[word](value, limit):
            yield f"{where}: {value} breaks {word} {limit:g}"


_ROUNDING: Final = 1e-9
"""What binary fractions lose."""
_LIMITS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "minimum": operator.lt,
    "maximum": operator.gt,
    "exclusiveMinimum": operator.le,
    "exclusiveMaximum": operator.ge,
    "multipleOf": lambda value, step: step > 0 and abs(value / step - round(value / step)) > _ROUNDING,
}
"""Word → whether a value breaks it."""


def _number(limit: Any) -> float | None:
    return limit if isinstance(limit, int | float) and not isinstance(limit, bool) else None


def _of_list(value: list[Any], schema: Mapping[str, Any], where: str, pointer: str) -> Iterator[str]:
    if len(value) < schema.get("minItems", 0):
        yield f"{where}: it has fewer than {schema['minItems']} items"
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        yield f"{where}: it has more than {schema['maxItems']} items"
    if schema.get("uniqueItems") is True and any(item in value[:at] for at, item in enumerate(value)):
        yield f"{where}: an item stands there twice"
    if isinstance(schema.get("items"), Mapping):
        for at, item in enumerate(value):
            yield from violations(item, schema["items"], f"{pointer}/{at}")


def _of_object(value: Mapping[str, Any], schema: Mapping[str, Any], where: str, pointer: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{where}: {name!r} is missing"
    more = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], f"{pointer}/{name}")
        elif more is False:
            yield f"{where}: {name!r} is not known"
        elif isinstance(more, Mapping):
            yield from violations(item, more, f"{pointer}/{name}")
