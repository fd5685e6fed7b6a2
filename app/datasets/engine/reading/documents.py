"""Reads JSON that is not one object a line: an array, objects one after the other, an array inside an object.

Constant memory: one value is held at a time. Must not know what a record means.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from app.datasets.engine.json_rows import NotANumber
from app.datasets.engine.lines import BOM, CHUNK_BYTES
from app.datasets.engine.reading.how import Bounds
from app.datasets.engine.reading.refusals import RefusedError

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_SPACE_AND_COMMAS: Final = re.compile(r"[ \t\r\n,]*")
_UNSURE_CHARACTERS: Final = 16
"""An error this near to the end of what was read may be one of a value cut in two (`-Infinity`)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One value with its number in the source, counted from 1."""

    number: int
    value: Any
    text: str = ""
    """As it was written, where that is known."""


class JsonText:
    """A window over JSON text that moves on value by value."""

    def __init__(self, source: BinaryIO, bounds: Bounds) -> None:
        source.seek(0)
        self._source = source
        self._most = bounds.record_bytes_max
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._json = json.JSONDecoder(parse_constant=NotANumber)
        self._text = ""
        self._at = 0
        self._whole = False
        self._lines = 1
        self._bytes = 0
        self.more()
        if self._text.startswith(BOM.decode()):
            self._at = 1

    def more(self) -> bool:
        """Takes in another piece and forgets what was read; False at the end."""
        if self._whole:
            return False
        chunk = self._source.read(CHUNK_BYTES)
        self._whole = not chunk
        try:
            piece = self._decoder.decode(chunk, final=self._whole)
        except UnicodeDecodeError as error:
            raise RefusedError(
                "invalid-utf-8",
                f"Byte {self._bytes + error.start + 1:,} is not UTF-8; nothing from there on was read.",
                remedy="Save the file as UTF-8, or say which encoding it is in.",
            ) from error
        self._bytes += len(chunk)
        self._lines += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + piece
        self._at = 0
        return not self._whole

    def peek(self, skipped: re.Pattern[str] = _SPACE) -> str:
        """The next character behind what is skipped; empty at the end."""
        while True:
            match = skipped.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self.more():
                return ""

    def take(self, character: str) -> None:
        """Raises `RefusedError` when another one comes."""
        found = self.peek()
        if found != character:
            raise self._broken(f"{character!r} is expected here", self._at)
        self._at += 1

    def value(self, number: int) -> Record:
        """The next value. Raises `RefusedError` when it is none, or a huge one."""
        self.peek()
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                near_end = error.pos >= len(self._text) - _UNSURE_CHARACTERS
                if (near_end or error.msg.startswith("Unterminated")) and self._grown(number):
                    continue
                raise self._broken(error.msg, error.pos, number) from error
            except RecursionError as error:
                raise RefusedError("too-deep", f"Record {number:,} is nested too deeply.") from error
            except ValueError as error:  # a number of thousands of digits
                raise self._broken(str(error), self._at, number) from error
            if end == len(self._text) and not isinstance(value, dict | list) and self._grown(number):
                continue
            text = self._text[self._at : end]
            self._at = end
            return Record(number, value, text)

    def _grown(self, number: int) -> bool:
        if len(self._text) - self._at > self._most:
            raise RefusedError(
                "line-too-long",
                f"Record {number:,} is longer than {self._most:,} characters; nothing from there on was read.",
            )
        return self.more()

    def _broken(self, reason: str, at: int, number: int | None = None) -> RefusedError:
        line = self._lines + self._text.count("\n", 0, at)
        column = at - self._text.rfind("\n", 0, at)
        where = f"line {line:,}, column {column:,}"
        record = f" (record {number:,})" if number else ""
        return RefusedError(
            "json-error", f"The JSON is broken in {where}{record}: {reason}. Nothing from there on was read."
        )


def array(text: JsonText) -> Iterator[Record]:
    """The elements of the array that begins here. Raises `RefusedError`."""
    text.take("[")
    number = 0
    while text.peek() != "]":
        if number:
            text.take(",")
        number += 1
        yield text.value(number)
    text.take("]")


def array_in_file(source: BinaryIO, bounds: Bounds) -> Iterator[Record]:
    """The elements of an array that is the whole file."""
    text = JsonText(source, bounds)
    yield from array(text)
    if text.peek():
        raise text._broken("something follows the array", text._at)  # noqa: SLF001  the same module


def objects(source: BinaryIO, bounds: Bounds) -> Iterator[Record]:
    """Values one after the other, with or without commas between them."""
    text = JsonText(source, bounds)
    number = 0
    while text.peek(_SPACE_AND_COMMAS):
        number += 1
        yield text.value(number)


def array_inside(source: BinaryIO, key: str, bounds: Bounds) -> Iterator[Record]:
    """The elements of the array under `key` of the one object in the file."""
    text = JsonText(source, bounds)
    for found in _keys(text):
        if found == key:
            yield from array(text)
        else:
            text.value(0)


def _keys(text: JsonText) -> Iterator[str]:
    """Each key of the object that begins here; who gets it reads its value."""
    text.take("{")
    first = True
    while text.peek() != "}":
        if not first:
            text.take(",")
        first = False
        if text.peek() != '"':
            text.take('"')
        key = text.value(0).value
        text.take(":")
        yield key
    text.take("}")


def keys_of_arrays(head: str) -> list[str]:
    """Keys of one object whose values are arrays of objects, as far as the head of a file tells."""
    found: list[str] = []
    decoder = json.JSONDecoder()
    at = _skip(head, head.find("{") + 1)
    while head[at : at + 1] == '"':
        try:
            key, at = decoder.raw_decode(head, at)
            at = _skip(head, at)
            if head[at : at + 1] != ":":
                return found
            at = _skip(head, at + 1)
            if head[at : at + 1] == "[" and head[_skip(head, at + 1) :][:1] == "{":
                found.append(key)
            _, at = decoder.raw_decode(head, at)
        except (ValueError, RecursionError):
            return found
        at = _skip(head, at)
        if head[at : at + 1] != ",":
            return found
        at = _skip(head, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
