"""Reads a file as bytes and lines in constant memory, whatever its size and however long its lines.

Must not know what a line means.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from app.datasets.engine.report import LineRange

CHUNK_BYTES = 1024 * 1024
"""Read at a time."""
BATCH_BYTES = 1024 * 1024
"""Of lines looked at together; the larger, the less a call costs a line, and the more memory it takes."""
BATCH_LINES_MAX = 4096
HEAD_BYTES = 64 * 1024
"""Enough of a file to say what kind it is."""

BOM = b"\xef\xbb\xbf"

Source = BinaryIO | Iterable[bytes]
"""An open binary file, or its content in pieces of any size."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """Stands for a line that was counted but not kept."""

    bytes: int


def chunks_of(source: Source) -> Iterator[bytes]:
    """The content in pieces."""
    read = getattr(source, "read", None)
    if read is None:
        yield from source
        return
    while chunk := read(CHUNK_BYTES):
        yield chunk


class CleanContent:
    """The content without its byte-order mark, hashed, counted and copied while it is read once."""

    def __init__(self, source: Source, on_progress: Callable[[int], None] | None, copy_to: BinaryIO | None) -> None:
        self.bytes = 0
        self.had_bom = False
        self._hash = hashlib.sha256()
        self._on_progress = on_progress
        self._copy_to = copy_to
        chunks = chunks_of(source)
        start = _at_least(chunks, len(BOM))
        if start.startswith(BOM):
            self.had_bom = True
            start = start[len(BOM) :]
        self._chunks = map(self._take, chain((start,) if start else (), chunks))
        self.head = _at_least(self._chunks, HEAD_BYTES)
        """The first HEAD_BYTES or more; all of a smaller file."""
        self._pending: list[bytes] = [self.head] if self.head else []

    def chunks(self) -> Iterator[bytes]:
        """Everything, once."""
        while self._pending:
            yield self._pending.pop()
        yield from self._chunks

    def drain(self) -> None:
        """Reads what is left only to count, hash and copy it."""
        for _ in self.chunks():
            pass

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def _take(self, chunk: bytes) -> bytes:
        self.bytes += len(chunk)
        self._hash.update(chunk)
        if self._copy_to is not None:
            self._copy_to.write(chunk)
        if self._on_progress is not None:
            self._on_progress(self.bytes + (len(BOM) if self.had_bom else 0))
        return chunk


def _at_least(chunks: Iterator[bytes], size: int) -> bytes:
    gathered = []
    length = 0
    for chunk in chunks:
        gathered.append(chunk)
        length += len(chunk)
        if length >= size:
            break
    return b"".join(gathered)


def line_batches(chunks: Iterable[bytes], line_bytes_max: int) -> Iterator[list[bytes | TooLong]]:
    """Lines without their line feed, about BATCH_BYTES at a time, however the content is cut into chunks.

    One longer than `line_bytes_max` is passed over and counted. A line feed at the very end opens no further line.
    """
    batch: list[bytes | TooLong] = []
    size = 0
    for lines in _lines_of(chunks, line_bytes_max):
        batch += lines
        size += sum([len(line) for line in lines if type(line) is bytes])
        while len(batch) > BATCH_LINES_MAX:
            yield batch[:BATCH_LINES_MAX]
            del batch[:BATCH_LINES_MAX]
        if size >= BATCH_BYTES:
            yield batch
            batch = []
            size = 0
    if batch:
        yield batch


def _lines_of(chunks: Iterable[bytes], line_bytes_max: int) -> Iterator[list[bytes | TooLong]]:
    """The lines that end in each chunk."""
    held: list[bytes] = []
    held_bytes = 0
    for chunk in chunks:
        lines: list[bytes | TooLong] = list(chunk.split(b"\n"))
        rest = lines.pop()
        if lines:
            if held_bytes:
                first = lines[0]
                held_bytes += len(first)  # type: ignore[arg-type]
                held.append(first)  # type: ignore[arg-type]
                lines[0] = b"".join(held) if held_bytes <= line_bytes_max else TooLong(held_bytes)
                held.clear()
                held_bytes = 0
            if len(chunk) > line_bytes_max:
                lines = [_bounded(line, line_bytes_max) for line in lines]
            yield lines
        if rest:
            held_bytes += len(rest)  # type: ignore[arg-type]
            if held_bytes <= line_bytes_max:
                held.append(rest)  # type: ignore[arg-type]
            else:
                held.clear()
    if held_bytes:
        yield [b"".join(held) if held_bytes <= line_bytes_max else TooLong(held_bytes)]


def _bounded(line: bytes | TooLong, line_bytes_max: int) -> bytes | TooLong:
    return TooLong(len(line)) if type(line) is bytes and len(line) > line_bytes_max else line


def drop_lines(source: Source, target: BinaryIO, lines: Collection[LineRange]) -> int:
    """Writes all lines but these, each byte as it was.

    Args:
        source: the content, already cleaned.
        target: where the kept lines go.
        lines: ranges counted from 1, both ends included, in any order; they may overlap.

    Returns:
        The number of lines kept.
    """
    merged = _merged(lines)
    firsts = [first for first, _ in merged]
    number = 1
    kept = 0
    at_start = True

    def dropped() -> bool:
        at = bisect_right(firsts, number) - 1
        return at >= 0 and number <= merged[at][1]

    for chunk in chunks_of(source):
        for piece in _pieces(chunk):
            if not dropped():
                target.write(piece)
                kept += at_start
            at_start = piece.endswith(b"\n")
            number += at_start
    return kept


def _pieces(chunk: bytes) -> list[bytes]:
    """`chunk` cut after each line feed, and nowhere else (bytes.splitlines also cuts at CR)."""
    pieces = [piece + b"\n" for piece in chunk.split(b"\n")]
    last = pieces.pop()[:-1]
    return [*pieces, last] if last else pieces


def _merged(lines: Collection[LineRange]) -> list[LineRange]:
    merged: list[LineRange] = []
    for first, last in sorted(lines):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
