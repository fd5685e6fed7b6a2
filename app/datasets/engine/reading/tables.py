"""Reads tables of text (CSV, TSV) row by row, in constant memory.

Must not know what a column means.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import StringIO
from typing import Any, BinaryIO, Final

from app.datasets.engine.lines import BOM
from app.datasets.engine.reading.how import Bounds
from app.datasets.engine.reading.refusals import RefusedError

DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SAMPLE_ROWS: Final = 50
_NAME: Final = re.compile(r"\S[^\r\n]{0,79}\Z")
"""What the name of a column looks like."""
_SEPARATOR_SAID: Final = re.compile(r"sep=([,;\t|])\r?\n")
"""What Excel writes and reads before a table."""
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")
"""With its end, which on the first Macintoshes was a carriage return alone."""
_NUMBER: Final = re.compile(r"[-+]?[\d.,]+%?\Z")
_CELL_CHARACTERS_MAX: Final = 16 * 1024 * 1024

csv.field_size_limit(_CELL_CHARACTERS_MAX)  # of the whole process; rows have a bound of their own


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written."""

    delimiter: str
    columns: tuple[str, ...]
    has_header: bool
    rows_before: int = 0
    """Rows before the header that say how the table is written."""

    @property
    def in_words(self) -> str:
        head = "header in row 1" if self.has_header else "no header"
        return f"separated by {DELIMITERS[self.delimiter]}, {head}"


def dialect_of(head: str, *, whole: bool, delimiter: str | None = None, has_header: bool = True) -> Dialect | None:
    """How the table that begins so is written; None when it is none.

    Args:
        head: the beginning, or all of the file when `whole`.
        delimiter: the one that is used, when it is known; a single column is a table then, too.
        has_header: False when it is known that the first row is data: columns have numbers then.
    """
    head = head.removeprefix(BOM.decode())
    if said := _SEPARATOR_SAID.match(head):
        head, delimiter = head[said.end() :], said[1]
    best: tuple[float, int, Dialect] | None = None
    for separator in [delimiter] if delimiter else DELIMITERS:
        rows = _rows(head, separator, whole=whole)
        if not rows:
            continue
        width = len(rows[0])
        if width < 2 and delimiter is None:
            continue
        alike = sum([len(row) == width for row in rows]) / len(rows)
        dialect = _named(separator, rows[0])
        if best is None or (alike, width) > best[:2]:
            best = (alike, width, dialect)
    if best is None:
        return None
    alike, _, dialect = best
    if not has_header:
        dialect = _numbered(dialect.delimiter, len(dialect.columns))
    if said:
        dialect = replace(dialect, rows_before=1)
    plausible = (dialect.has_header or not has_header) and all(_NAME.match(name) for name in dialect.columns)
    return dialect if delimiter or (plausible and alike >= 0.5) else None


def _rows(head: str, separator: str, *, whole: bool) -> list[list[str]]:
    found: list[list[str]] = []
    try:
        for row in csv.reader(StringIO(head, newline=""), delimiter=separator):
            if any(map(str.strip, row)):
                found.append(row)
            if len(found) > _SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    if not whole and 1 < len(found) <= _SAMPLE_ROWS:
        found.pop()  # it may be cut in two
    return found


def _named(separator: str, first: list[str]) -> Dialect:
    names = [cell.strip() for cell in first]
    while len(names) > 1 and not names[-1]:
        names.pop()
    looks_like_names = all(_NAME.match(name) and not _NUMBER.match(name) for name in names if name)
    twice = max(Counter(name for name in names if name).values(), default=0) > 1
    if not any(names) or not looks_like_names or twice:
        return _numbered(separator, len(first))
    return Dialect(separator, tuple(name or str(at) for at, name in enumerate(names, 1)), has_header=True)


def _numbered(separator: str, width: int) -> Dialect:
    """Columns by their place, counted from 1, where no row names them."""
    return Dialect(separator, tuple(str(at) for at in range(1, width + 1)), has_header=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table with its number as a spreadsheet shows it, counted from 1, the header included."""

    number: int
    value: dict[str, Any]
    cells: int
    """How many it has; a sound one has as many as there are columns."""


def rows_of(source: BinaryIO, dialect: Dialect, bounds: Bounds) -> Iterator[Row]:
    """Its rows but the header; wholly empty ones are passed over. Raises `RefusedError`."""
    lines = _Lines(source, bounds.record_bytes_max)
    reader = csv.reader(lines, delimiter=dialect.delimiter)
    number = 0
    header_comes = dialect.has_header
    try:
        for cells in reader:
            number += 1
            lines.held_bytes = 0
            if not any(map(str.strip, cells)) or number <= dialect.rows_before:
                continue
            if header_comes:
                header_comes = False
                continue
            if len(cells) > bounds.columns_max:
                raise RefusedError(
                    "table-error", f"Row {number:,} has {len(cells):,} cells; {bounds.columns_max:,} are read."
                )
            value = dict(zip(dialect.columns, cells, strict=False))
            yield Row(number, value, len(cells))
    except csv.Error as error:
        raise RefusedError(
            "table-error",
            f"Row {number + 1:,} cannot be read: {error}.",
            remedy="Check the quotes from there on: a text that holds a quote needs it doubled.",
        ) from error


class _Lines:
    """Lines of text, each with its end; what one row may hold is bounded."""

    def __init__(self, source: BinaryIO, most: int) -> None:
        source.seek(0)
        self._source = source
        self._most = most
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._done = 0
        self._cut: list[str] = []
        """Lines that were read and not yet handed on, the last one first."""
        self.held_bytes = 0
        """Since the last whole row."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._cut:
            text = self._read()
            self._cut = _LINE.findall(text)[::-1] if "\r" in text.rstrip("\r\n") else [text]
        return self._cut.pop()

    def _read(self) -> str:
        """What goes up to the next line feed."""
        line = self._source.readline(self._most + 1)
        self.held_bytes += len(line)
        if self.held_bytes > self._most:
            raise RefusedError(
                "table-error",
                f"A row is longer than {self._most:,} bytes; nothing from there on was read.",
                remedy="Look for a quote that is never closed.",
            )
        try:
            text = self._decoder.decode(line, final=not line)
        except UnicodeDecodeError as error:
            raise RefusedError(
                "invalid-utf-8",
                f"Byte {self._done + error.start + 1:,} is not UTF-8; nothing from there on was read.",
                remedy="Say which encoding the file is in, or save it as UTF-8.",
            ) from error
        if self._done == 0:
            text = text.removeprefix(BOM.decode())
        self._done += len(line)
        if not line:
            raise StopIteration
        return text
