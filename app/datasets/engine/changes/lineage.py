"""Reads where a row came from, out of the compact file that lies beside a version's content.

Must not know which versions the sources are.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from app.datasets.engine.changes.rows import ORIGIN, Origin


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where one row came from."""

    origins: tuple[Origin, ...]
    operations: tuple[int, ...]
    """Numbers, in the recipe and from 0, of the operations that changed it or brought it in."""


class _Records(Sequence[int]):
    """The row of each record, read where it lies."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = file.seek(0, os.SEEK_END) // ORIGIN.size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, at: int | slice) -> int:  # type: ignore[override]  # only ever asked for one
        return self.record(cast("int", at))[0]

    def record(self, at: int) -> tuple[int, int, int, int, int]:
        self._file.seek(at * ORIGIN.size)
        return cast("tuple[int, int, int, int, int]", ORIGIN.unpack(self._file.read(ORIGIN.size)))


def lineage_of(file: BinaryIO, row: int) -> Lineage | None:
    """Of one row, counted from 1; None when there is no such row. A few reads, whatever the size."""
    records = _Records(file)
    at = bisect_left(records, row - 1)
    origins = []
    touched = 0
    while at < len(records):
        position, first, more, source, bits = records.record(at)
        if position != row - 1:
            break
        origins.append(Origin(source, first, first + more))
        touched |= bits
        at += 1
    if not origins:
        return None
    return Lineage(tuple(origins), tuple(bit for bit in range(touched.bit_length()) if touched >> bit & 1))
