"""Text as it may cross the wire: models that refuse what PostgreSQL, logs or terminals would choke on."""

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_LOOKS_LIKE_AN_ID: Final = re.compile(r"[a-z]{2,5}_[0-7][0-9a-hjkmnp-tv-z]{25}")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")
"""Zero-width joiners, which Persian, Indic scripts and emoji need. Every other format character (direction
overrides among them) could make one name look like another."""
MAX_DEPTH: Final = 64
"""Deepest nesting of a request; a person's JSON has a handful of levels."""


class RequestModel(BaseModel):
    """Base of every request body: unknown members are refused, and so is what cannot be stored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        _refuse_unstorable(value, "", 0)
        return value


def _refuse_unstorable(value: Any, pointer: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise PydanticCustomError("too_deep", "The body is nested deeper than 64 levels.", {"pointer": pointer})
    if isinstance(value, str):
        if "\x00" in value or _SURROGATES.search(value):
            raise PydanticCustomError(
                "unstorable_text",
                "The text holds a NUL character or half of a surrogate pair; remove it.",
                {"pointer": pointer},
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise PydanticCustomError("not_finite", "NaN and infinity are not JSON.", {"pointer": pointer})
    elif isinstance(value, dict):
        for name, item in value.items():
            _refuse_unstorable(name, pointer, depth)
            _refuse_unstorable(item, f"{pointer}/{escape_pointer(str(name))}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_unstorable(item, f"{pointer}/{index}", depth + 1)


def strict_json(body: bytes) -> Any:
    """The value of a JSON text that means one thing only, for every reader.

    Stricter than `json.loads`: no member twice in one object, no NaN or Infinity, UTF-8 only.
    Source: RFC 8259 §4 (names should be unique), §6, §8.1.

    Raises:
        ValueError: in words for whoever sent it.
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        seen: set[str] = set()
        for name, _ in members:
            if name in seen:
                raise ValueError(f"the member {name[:60]!r} stands there twice")
            seen.add(name)
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def escape_pointer(part: str) -> str:
    """One part of an RFC 6901 pointer."""
    return part.replace("~", "~0").replace("/", "~1")


def in_words(problem: Mapping[str, Any]) -> str:
    """What a validation found, for a person who knows nothing of the library that found it.

    Args:
        problem: one of `ValidationError.errors()`.
    """
    context = problem.get("ctx") or {}
    match problem["type"]:
        case "value_error":  # one of ours; pydantic puts words of its own before it
            return str(context.get("error", problem["msg"]))
        case "union_tag_invalid":
            known = str(context["expected_tags"]).replace("'", "")
            return f"There is no {str(context['tag'])[:60]!r}; there are {known}."
        case "union_tag_not_found":
            return f"The member {context['discriminator']!s} is missing, which says what it is."
        case "model_attributes_type" | "dataclass_type" | "model_type":
            return "It must be a JSON object."
        case _:
            return str(problem["msg"])


def _not_an_id(name: str) -> str:
    if _LOOKS_LIKE_AN_ID.fullmatch(name):
        raise PydanticCustomError("name_looks_like_an_id", "A name must not have the form of an id.")
    return name


def _visible(text: str) -> str:
    for character in text:
        if unicodedata.category(character) in _INVISIBLE and character not in _JOINERS:
            raise PydanticCustomError(
                "control_character",
                "The text holds the control or invisible character U+{code}; remove it.",
                {"code": f"{ord(character):04X}"},
            )
    return text


def _printable_lines(text: str) -> str:
    _visible(text.replace("\n", "").replace("\t", "").replace("\r", ""))
    return text


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$"),
    AfterValidator(_not_an_id),
    Field(description="Letters, digits, dot, dash and underscore; at most 64. Usable wherever an id is."),
]
"""A name that stands in URLs and beside `@version`."""

Label = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, strip_whitespace=True),
    AfterValidator(_visible),
    Field(description="A line of text for people, at most 100 characters."),
]

ShortText = Annotated[
    str,
    StringConstraints(max_length=2000),
    AfterValidator(_printable_lines),
    Field(description="Text for people, lines allowed, at most 2,000 characters."),
]

_RFC_3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}.*")


def _written_out(value: object) -> object:
    """Refuse numbers, which a lenient reader would take for seconds, or for milliseconds, of the Unix clock."""
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        return value
    raise PydanticCustomError("time_malformed", "A time is written like 2026-11-20T09:00:00Z, with its offset.")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A point in time as RFC 3339 text with its offset."""

Count = Annotated[int, Field(strict=True)]
"""A whole number; neither text, nor `true`, nor 3.0."""

Measure = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A number; neither text nor `true`."""

Flag = Annotated[bool, Field(strict=True)]
"""True or false; neither 1 nor "yes"."""
