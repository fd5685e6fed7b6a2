"""Says why a line is not the JSON we accept, and in which column; slow, so only asked about suspects.

Must not know what a row means.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_CONSTANT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|-?Infinity|NaN', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_PYTHON_WORD = re.compile(r"(None|True|False)\b")


@dataclass(frozen=True, slots=True)
class Defect:
    """Why one line is refused."""

    code: str
    detail: str
    """Begins with the column where one is known, counted from 1: in characters, or bytes for invalid UTF-8."""


class _RefusedError(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.defect = Defect(code, detail)


def diagnose(line: bytes, depth_max: int) -> Defect | None:
    """The first reason to refuse `line`; None when a strict reader has nothing against it."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start]
        return Defect("invalid-utf-8", f"byte column {error.start + 1:,}: 0x{byte:02X} is not UTF-8 here")
    if (column := _too_deep_at(text, depth_max)) is not None:
        return Defect("too-deep", f"column {column:,}: more than {depth_max} levels")
    try:
        json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_float,
        )
    except _RefusedError as refused:
        return _located(refused.defect, text)
    except json.JSONDecodeError as error:
        return Defect("json-error", f"column {error.pos + 1:,}: {_reason(error, text)}")
    if (column := _lone_surrogate_at(text)) is not None:
        return Defect("lone-surrogate", f"column {column:,}: \\u{text[column + 1 : column + 5]} stands alone")
    return None


def depth_of(value: Any) -> int:
    """Levels of objects and arrays inside one another."""
    depth = 0
    level: list[Any] = [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _too_deep_at(text: str, depth_max: int) -> int | None:
    if text.count("[") + text.count("{") <= depth_max:
        return None
    depth = 0
    for token in _TOKEN.finditer(text):
        match text[token.start()]:
            case "[" | "{":
                depth += 1
                if depth > depth_max:
                    return token.start() + 1
            case "]" | "}":
                depth -= 1
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _RefusedError("duplicate-key", f"the key {twice[:80]!r} stands twice")
    return row


def _refuse_constant(word: str) -> Any:
    raise _RefusedError("not-a-number", word)


def _integer(digits: str) -> int:
    if len(digits) > 310:  # beyond the largest double, and int() itself refuses beyond 4,300 digits
        raise _RefusedError("number-out-of-range", f"a number of {len(digits):,} digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _RefusedError("number-out-of-range", digits[:40])
    return number


def _located(defect: Defect, text: str) -> Defect:
    if defect.code != "not-a-number":
        return defect
    at = next(m.start() for m in _CONSTANT.finditer(text) if not m.group().startswith('"'))
    return Defect(defect.code, f"column {at + 1:,}: {defect.detail}")


def _lone_surrogate_at(text: str) -> int | None:
    r"""The column of the first \uD800-\\uDFFF escape without its other half."""
    high: re.Match[str] | None = None
    for escape in _ESCAPE.finditer(text):
        unit = int(escape.group(1) or "0", 16)
        if high is not None:
            if 0xDC00 <= unit <= 0xDFFF and escape.start() == high.end():
                high = None
                continue
            return high.start() + 1
        if 0xD800 <= unit <= 0xDBFF:
            high = escape
        elif 0xDC00 <= unit <= 0xDFFF:
            return escape.start() + 1
    return None if high is None else high.start() + 1


def _reason(error: json.JSONDecodeError, text: str) -> str:  # noqa: C901, PLR0912 - a table of cases
    here = text[error.pos : error.pos + 1]
    before = text[: error.pos].rstrip()[-1:]
    match error.msg:
        case "Unterminated string starting at":
            return "the text that begins here is never closed; a quote is missing"
        case "Expecting ',' delimiter" if not here:
            return "the line ends too early; a bracket or brace is missing"
        case "Expecting ',' delimiter" if before.isalnum() or before in "+-.":
            return "what stands here belongs to no number or word that JSON has; or a comma is missing"
        case "Expecting ',' delimiter":
            return 'a comma is missing, or a quote inside the text is not written as \\"'
        case "Expecting ':' delimiter":
            return "a colon is missing after the key"
        case "Expecting property name enclosed in double quotes" | "Illegal trailing comma before end of object":
            if here == "'":
                return "single quotes; JSON needs double quotes"
            if before == "," or here == ",":
                return "a comma too many before the brace"
            return "a key in double quotes is expected here" if here else "the line ends inside an object"
        case "Extra data":
            if here == "{":
                return "a second object begins here; a line break is missing between the two"
            return "something follows the end of the object" + (" (a comma)" if here == "," else "")
        case "Expecting value" | "Illegal trailing comma before end of array":
            if not here:
                return "the line ends where a value is expected"
            if word := _PYTHON_WORD.match(text, error.pos):
                return f"{word.group()} is Python, not JSON; write null, true or false"
            if here == "'":
                return "single quotes; JSON needs double quotes"
            if before == "," and here in "]}":
                return "a comma too many before the bracket"
            return "a value is expected here"
        case "Invalid control character at":
            return f"a raw control character U+{ord(here):04X} inside a text; write it as \\u{ord(here):04x}"
        case "Unexpected UTF-8 BOM (decode using utf-8-sig)":
            return "a byte-order mark in the middle of the file; were two files joined?"
        case message if message.startswith("Invalid \\"):
            return "an unknown escape; write a backslash itself as \\\\"
        case message:
            return message
