"""Rows on their way through operations, kept on disk with where each came from.

Must not know any operation.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import BinaryIO, Final, NamedTuple, Protocol

from app.datasets.engine.lines import CHUNK_BYTES, Source, chunks_of, line_batches

ORIGIN: Final = struct.Struct("<QQIII")
"""One origin of one row: the row (from 0), its first line there (from 1), how many lines more, which source, and a
bit for each operation that touched the row. A row of several origins has several, one after the other."""
Scratch = Callable[[], BinaryIO]
"""Makes an empty file that is gone once it is closed."""


class Origin(NamedTuple):
    """Lines of a source, counted from 1, both included."""

    source: int
    """0 = the version that is changed; others in the order in which the recipe names them."""
    first: int
    last: int


class Row(NamedTuple):
    """One line of JSON, or what stands in a line's place."""

    line: bytes
    """Without its line feed."""
    origins: tuple[Origin, ...]
    touched: int = 0
    """A bit for each operation that changed it or brought it in."""

    def changed(self, line: bytes, bit: int, *more: Origin) -> Row:
        return Row(line, (*self.origins, *more), self.touched | bit)


class Writable(Protocol):
    """What takes bytes."""

    def write(self, data: bytes, /) -> object: ...


class Target:
    """Where rows are written: their lines, and their origins."""

    def __init__(self, content: Writable, lineage: Writable) -> None:
        self._content = content
        self._lineage = lineage
        self.rows = 0
        self.bytes = 0

    def add(self, row: Row) -> int:
        """Returns how many bytes its origins take."""
        self._content.write(row.line + b"\n")
        packed = b"".join(
            [
                ORIGIN.pack(self.rows, first, last - first, source, row.touched)
                for source, first, last in row.origins
            ]
        )
        self._lineage.write(packed)
        self.rows += 1
        self.bytes += len(row.line) + 1
        return len(packed)


class Kept:
    """Rows on disk, to be read again and again, in order or one by one; 16 bytes of memory for each."""

    def __init__(self, scratch: Scratch, on_read: Callable[[int], None] | None = None) -> None:
        """Args:
        on_read: told how many bytes were read, piece by piece.
        """
        self._on_read = on_read
        self._content = scratch()
        self._lineage = scratch()
        self._target = Target(self._content, self._lineage)
        self._starts = array("Q", [0])
        self._origins = array("Q", [0])

    def close(self) -> None:
        self._content.close()
        self._lineage.close()

    def __len__(self) -> int:
        return self._target.rows

    def add(self, row: Row) -> None:
        packed = self._target.add(row)
        self._starts.append(self._target.bytes)
        self._origins.append(self._origins[-1] + packed)

    def fill(self, rows: Iterator[Row]) -> Kept:
        for row in rows:
            self.add(row)
        return self

    def content(self) -> Iterator[bytes]:
        """All lines, in pieces of any size."""
        at, end = 0, self._target.bytes
        while at < end:
            self._content.seek(at)
            piece = self._content.read(CHUNK_BYTES)
            at += len(piece)
            if self._on_read is not None:
                self._on_read(len(piece))
            yield piece

    def lines(self) -> Iterator[bytes]:
        rest = b""
        for piece in self.content():
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            yield from lines

    def __iter__(self) -> Iterator[Row]:
        every = zip(self.lines(), groupby(self._records(), itemgetter(0)), strict=True)
        for line, (_, records) in every:
            yield _row(line, list(records))

    def _records(self) -> Iterator[tuple[int, ...]]:
        at, end = 0, self._origins[-1]
        while at < end:
            self._lineage.seek(at)
            packed = self._lineage.read(min(end - at, ORIGIN.size * 4096))
            at += len(packed)
            yield from ORIGIN.iter_unpack(packed)

    def at(self, position: int) -> Row:
        """One row, by its position counted from 0."""
        start, end = self._starts[position], self._starts[position + 1]
        self._content.seek(start)
        line = self._content.read(end - start - 1)
        first, last = self._origins[position], self._origins[position + 1]
        self._lineage.seek(first)
        return _row(line, list(ORIGIN.iter_unpack(self._lineage.read(last - first))))


def _row(line: bytes, records: Sequence[tuple[int, ...]]) -> Row:
    origins = tuple([Origin(source, first, first + more) for _, first, more, source, _ in records])
    return Row(line, origins, records[0][4])


def source_rows(source: Source, index: int, line_bytes_max: int, too_long: Callable[[int], None]) -> Iterator[Row]:
    """The lines of a version; one longer than `line_bytes_max` is left out and told by its number."""
    lines = chain.from_iterable(line_batches(chunks_of(source), line_bytes_max))
    for number, line in enumerate(lines, 1):
        if isinstance(line, bytes):
            yield Row(line, (Origin(index, number, number),))
        else:
            too_long(number)
