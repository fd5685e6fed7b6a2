"""Reads a row out of a line of JSON and writes it as one, without changing what its numbers say.

Must not know what a row means.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from app.datasets.engine.syntax import depth_of

DEPTH_MAX: Final = 250
"""Objects and arrays inside one another; orjson writes four more."""
_LONG_NUMBER: Final = re.compile(rb"\d{16}")
"""Beyond what a double holds exactly."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class NotANumber(float):
    """NaN or an infinity that somebody wrote: `write` writes it again, so that a check finds it."""


def parse(line: bytes) -> dict[str, Any] | None:
    """The row of a line; None where it is no JSON object, or a very deep one. Numbers keep all their digits."""
    try:
        row = json.loads(line, parse_constant=_refuse) if _LONG_NUMBER.search(line) else orjson.loads(line)
    except (ValueError, RecursionError):
        return None
    if type(row) is not dict:
        return None
    if line.count(b"[") + line.count(b"{") > DEPTH_MAX and depth_of(row) > DEPTH_MAX:
        return None
    return row


def _refuse(word: str) -> Any:
    raise ValueError(word)


def write(row: Any) -> bytes:
    """A row, or any other value, as one line without its line feed. Raises RecursionError for a very deep one."""
    try:
        return orjson.dumps(row)
    except TypeError:  # numbers beyond 64 bits, half a surrogate pair, or what is no number
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        return text.encode() if not _SURROGATE.search(text) else json.dumps(row, separators=(",", ":")).encode()


def escaped(key: str) -> str:
    """A key as one step of a JSON pointer. Source: RFC 6901 §3."""
    return key.replace("~", "~0").replace("/", "~1")
