"""Tools from an OpenAPI document, and whether arguments fit them. It follows local references only."""

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

METHODS: Final = ("get", "put", "post", "delete", "patch")
DEPTHS: Final = (12, 6, 4, 3, 2, 1)
"""How deep a schema is followed: the first depth at which it is not too long."""
REFERENCES_MAX: Final = 12
"""References that lead to references."""
SCHEMA_CHARACTERS_MAX: Final = 20_000
"""Of one operation's parameters as JSON. A recursive schema has no end, and a model reads no more."""
NUMBER_MAX: Final = 1e300
NAME_MAX: Final = 64
"""Characters of a function's name. Source: OpenAI API reference, chat completions, tools.function.name, 2026."""


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < NUMBER_MAX


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_type(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))


def _is_anything(_value: object) -> bool:
    return True


KEPT_WORDS: Final[Mapping[str, Callable[[object], bool]]] = {
    "type": _is_type,
    "enum": lambda value: isinstance(value, list),
    "const": _is_anything,
    "default": _is_anything,
    "uniqueItems": lambda value: isinstance(value, bool),
    **dict.fromkeys(("description", "format", "pattern"), _is_text),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        _is_number,
    ),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _is_count),
}
"""Word of a schema → whether its value can be one; others are left out."""


T = TypeVar("T")


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


class _TooLong(Exception):
    """The schema would have more than `SCHEMA_CHARACTERS_MAX`."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an operation stands in a document."""

    path: str
    method: str
    raw: Mapping[str, Any]
    shared: Any

    def __str__(self) -> str:
        return f"paths/{self.path}/{self.method}"


def names_in(document: Mapping[str, Any]) -> list[str]:
    """What its operations are called, in the document's order. Raises `Unusable`."""
    return list(_places(document))


def operations_of(document: Mapping[str, Any], names: Sequence[str] | None = None) -> list[Operation]:
    """The operations of these names, or every one in the document's order.

    Parameters of path and query become properties, and so do the members of a JSON body that is an object, unless a
    name would stand twice: then the body is one property, `body`. Headers and cookies are the caller's affair.

    Raises:
        Unusable: no OpenAPI 3 document, or one that points nowhere.
    """
    there = _places(document)
    return [_operation(document, name, there[name]) for name in (there if names is None else names)]


def _places(document: Mapping[str, Any]) -> dict[str, _Place]:
    if not str(document.get("openapi", "")).startswith("3."):
        raise Unusable("it is no OpenAPI 3 document: its member `openapi` does not begin with 3.")
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise Unusable("it has no `paths`")
    found: dict[str, _Place] = {}
    tried: dict[str, int] = {}
    for path, item in paths.items():
        for method in METHODS if isinstance(item, Mapping) else ():
            raw = item.get(method)
            if isinstance(raw, Mapping):
                name = _name(raw, method, str(path), found, tried)
                found[name] = _Place(str(path), method, raw, item.get("parameters"))
    if not found:
        raise Unusable("it has no operation")
    return found


def _operation(document: Mapping[str, Any], name: str, place: _Place) -> Operation:
    raw = place.raw
    words = raw.get("summary") or raw.get("description") or f"{place.method.upper()} {place.path}"
    for depth in DEPTHS:
        try:
            schema = _Reader(document, str(place), depth).parameters(
                [*_list(place.shared), *_list(raw.get("parameters"))], raw
            )
        except _TooLong:
            continue
        return Operation(name, " ".join(str(words)[:4000].split())[:1000], schema, place.path, place.method)
    raise Unusable(
        f"{place}: its parameters have more than {SCHEMA_CHARACTERS_MAX:,} characters; leave this operation out"
    )


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _name(
    raw: Mapping[str, Any], method: str, path: str, taken: Mapping[str, object], tried: dict[str, int]
) -> str:
    wanted = str(raw.get("operationId") or f"{method}_{path}")
    name = stem = re.sub(r"[^A-Za-z0-9_-]+", "_", wanted).strip("_")[:NAME_MAX] or method
    number = tried.get(stem, 1)
    while name in taken:
        number += 1
        name = f"{stem[: NAME_MAX - 1 - len(str(number))]}_{number}"
    tried[stem] = number
    return name


class _Reader:
    """Reads the parameters of one operation. Raises `Unusable`, and `_TooLong` once they are too long."""

    def __init__(self, document: Mapping[str, Any], place: str, depth: int) -> None:
        self._document = document
        self._place = place
        self._depth = depth
        self._left = SCHEMA_CHARACTERS_MAX

    def parameters(self, parameters: Sequence[Any], raw: Mapping[str, Any]) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required: list[str] = []
        for given in parameters:
            parameter = self._resolved(given)
            name = parameter.get("name")
            if str(parameter.get("in")) not in {"path", "query"} or not isinstance(name, str):
                continue
            schema = self._schema(parameter.get("schema") or {"type": "string"}, 0)
            if parameter.get("description"):
                schema.setdefault("description", self._spent(str(parameter["description"])))
            properties[self._spent(name)] = schema
            if parameter.get("required") and name not in required:
                required.append(name)
        body, needed = self._body(raw)
        if body is not None:
            members = body.get("properties") or {}
            if body.get("type") == "object" and members and not properties.keys() & members.keys():
                properties |= members
                required += body.get("required") or []
            else:
                properties["body"] = body
                required += ["body"] if needed else []
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def _body(self, raw: Mapping[str, Any]) -> tuple[dict[str, Any] | None, bool]:
        if "requestBody" not in raw:
            return None, False
        body = self._resolved(raw["requestBody"])
        contents = body.get("content")
        for media, content in contents.items() if isinstance(contents, Mapping) else ():
            if "json" in str(media) and isinstance(content, Mapping):
                return self._schema(content.get("schema") or {}, 0), bool(body.get("required"))
        return None, False

    def _resolved(self, value: Any) -> Mapping[str, Any]:
        for _ in range(REFERENCES_MAX):
            if not isinstance(value, Mapping):
                raise Unusable(f"{self._place}: an object was expected")
            if "$ref" not in value:
                return value
            value = self._pointed(str(value["$ref"]))
        raise Unusable(f"{self._place}: references lead in a circle")

    def _pointed(self, ref: str) -> Any:
        if not ref.startswith("#/"):
            raise Unusable(f"{self._place}: {ref!r} leads out of the document; put everything into one file")
        found: Any = self._document
        for part in ref[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or name not in found:
                raise Unusable(f"{self._place}: {ref!r} is not in the document")
            found = found[name]
        return found

    def _schema(self, value: Any, depth: int) -> dict[str, Any]:
        """The schema without references; below the deepest level anything goes."""
        self._spent({})
        if depth > self._depth or not isinstance(value, Mapping):
            return {}
        raw = self._resolved(value)
        found: dict[str, Any] = {
            word: self._spent(raw[word]) for word, fits in KEPT_WORDS.items() if word in raw and fits(raw[word])
        }
        if raw.get("nullable") is True and isinstance(found.get("type"), str):
            found["type"] = [found["type"], "null"]
        for word in ("anyOf", "oneOf", "allOf"):
            if isinstance(raw.get(word), list):
                found[word] = [self._schema(one, depth + 1) for one in raw[word]]
        if isinstance(raw.get("properties"), Mapping):
            found["properties"] = {
                self._spent(str(name)): self._schema(one, depth + 1) for name, one in raw["properties"].items()
            }
            found.setdefault("type", "object")
            names = (name for name in _list(raw.get("required")) if isinstance(name, str))
            found["required"] = [name for name in dict.fromkeys(names) if name in found["properties"]]
        if isinstance(raw.get("items"), Mapping):
            found["items"] = self._schema(raw["items"], depth + 1)
        if isinstance(raw.get("additionalProperties"), bool):
            found["additionalProperties"] = raw["additionalProperties"]
        elif isinstance(raw.get("additionalProperties"), Mapping):
            found["additionalProperties"] = self._schema(raw["additionalProperties"], depth + 1)
        return found

    def _spent(self, value: T) -> T:
        """The value, whose characters count."""
        self._left -= len(json.dumps(value, ensure_ascii=False))
        if self._left < 0:
            raise _TooLong
        return value


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
    if isinstance(schema.get("pattern"), str) and len(value) < 1000 and not _matches(schema["pattern"], value):
        yield f"{where}: {value!r} does not match {schema['pattern']!r}"


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> SchemaValidator | None:
    """None: of a dialect that this engine does not know, such as one that looks around."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None


def _matches(pattern: str, text: str) -> bool:
    """Whether it is found in the text, in linear time whatever the pattern: it is a stranger's."""
    validator = _compiled(pattern)
    try:
        return validator is None or validator.validate_python(text) is not None
    except ValidationError:
        return False


def _of_number(value: float, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    for word, breaks in _LIMITS.items():
        if word in schema and breaks(value, schema[word]):
            yield f"{where}: {value} breaks {word} {schema[word]:g}"


_ROUNDING: Final = 1e-9
"""What binary fractions lose."""


def _is_no_multiple(value: float, step: float) -> bool:
    quotient = float(value) / float(step) if step > 0 else 0.0
    return math.isfinite(quotient) and abs(quotient - round(quotient)) > _ROUNDING


_LIMITS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "minimum": operator.lt,
    "maximum": operator.gt,
    "exclusiveMinimum": operator.le,
    "exclusiveMaximum": operator.ge,
    "multipleOf": _is_no_multiple,
}
"""Word → whether a value breaks it."""


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
