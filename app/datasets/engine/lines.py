"""Reads a file as bytes and lines in constant memory, whatever its size and however long its lines.

Must not know what a line means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 1024 * 1024
"""Read at a time."""
BATCH_BYTES = 1024 * 1024
"""Of lines looked at together; the larger, the less a call costs a line, and the more memory it takes."""
BATCH_LINES_MAX = 4096
HEAD_BYTES = 64 * 1024
"""Enough of a file to say what kind it is."""

BOM = b"\xef\xbb\xbf"
_LINE_FEED: Final = ord("\n")

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


class Lines:
    """Whole lines that lie together; they are cut apart when one of them is asked for."""

    def __init__(self, raw: bytes, ends: NDArray[np.intp], line_bytes_max: int) -> None:
        """Takes the bytes with their line feeds, and where each line ends: there is a line feed, or nothing."""
        self.raw = raw
        self.ends = ends
        self.line_bytes_max = line_bytes_max
        self._cut: list[bytes | TooLong] | None = None

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[bytes | TooLong]:
        return iter(self._each())

    def __getitem__(self, place: int) -> bytes | TooLong:
        return self._each()[place]

    def _each(self) -> list[bytes | TooLong]:
        if self._cut is None:
            cut: list[bytes | TooLong] = list(self.raw.split(b"\n"))
            del cut[len(self.ends) :]
            if len(self.raw) > self.line_bytes_max:
                cut = [_bounded(line, self.line_bytes_max) for line in cut]
            self._cut = cut
        return self._cut


class _PassedOver(Lines):
    """A single line that was too long to be kept."""

    def __init__(self, size: int) -> None:
        super().__init__(b"", np.zeros(1, dtype=np.intp), 0)
        self._cut = [TooLong(size)]


def _bounded(line: bytes | TooLong, line_bytes_max: int) -> bytes | TooLong:
    return TooLong(len(line)) if type(line) is bytes and len(line) > line_bytes_max else line


def line_batches(chunks: Iterable[bytes], line_bytes_max: int) -> Iterator[Lines]:
    """Lines without their line feed, about BATCH_BYTES at a time, however the content is cut into chunks.

    One longer than `line_bytes_max` is passed over and counted. A line feed at the very end opens no further line.
    """
    held: list[bytes] = []
    size = 0
    tail = 0
    """Of what is held, the bytes after the last line feed."""
    passed = 0
    """Bytes of a line that is being passed over."""
    for coming in chunks:
        chunk = coming
        if passed:
            end = chunk.find(b"\n")
            passed += len(chunk) if end < 0 else end
            if end < 0:
                continue
            yield _PassedOver(passed)
            passed = 0
            chunk = chunk[end + 1 :]
        last = chunk.rfind(b"\n") + 1
        tail = len(chunk) - last if last else tail + len(chunk)
        held.append(chunk)
        size += len(chunk)
        if tail > line_bytes_max:
            yield from _cut(b"".join(held)[: size - tail], line_bytes_max)
            passed, held, size, tail = tail, [], 0, 0
        elif size >= BATCH_BYTES and last:
            yield from _cut(b"".join([*held[:-1], memoryview(chunk)[:last]]), line_bytes_max)
            held, size = [chunk[last:]], tail
    if passed:
        yield _PassedOver(passed)
    yield from _cut(b"".join(held), line_bytes_max)


def _cut(raw: bytes, line_bytes_max: int) -> Iterator[Lines]:
    """Not more than BATCH_LINES_MAX at a time."""
    ends = np.flatnonzero(np.frombuffer(raw, dtype=np.uint8) == _LINE_FEED)
    if raw and not raw.endswith(b"\n"):
        ends = np.append(ends, len(raw))
    if 0 < len(ends) <= BATCH_LINES_MAX:
        yield Lines(raw, ends, line_bytes_max)
        return
    start = 0
    for at in range(0, len(ends), BATCH_LINES_MAX):
        some = ends[at : at + BATCH_LINES_MAX]
        stop = int(some[-1]) + 1
        yield Lines(raw[start:stop], some - start, line_bytes_max)
        start = stop


def plain_lines(source: Source, line_bytes_max: int) -> Iterator[bytes]:
    """One line after the other, without a byte-order mark; in place of one that is too long, an empty one."""
    lines = _plain_lines(chunks_of(source), line_bytes_max)
    for first in lines:
        yield first.removeprefix(BOM)
        yield from lines


def _plain_lines(chunks: Iterable[bytes], line_bytes_max: int) -> Iterator[bytes]:
    held: list[bytes] = []
    size = 0
    """Of the line that goes on in the next chunk; it is held until it is too long."""
    for chunk in chunks:
        first, *whole = chunk.split(b"\n")
        size += len(first)
        held = [*held, first] if size <= line_bytes_max else []
        if whole:
            last = whole.pop()
            yield b"".join(held)
            for line in whole:
                yield line if len(line) <= line_bytes_max else b""
            size = len(last)
            held = [last] if size <= line_bytes_max else []
    if size:
        yield b"".join(held)
