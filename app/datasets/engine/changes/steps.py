"""What an operation is given: rows that it may read as often as it likes, and what it works with.

Must not know any operation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Protocol

import xxhash
from pydantic import ConfigDict

from app.datasets.engine.changes.rows import Kept, Row, Scratch, source_rows
from app.datasets.engine.report import Profile

CLOSED: Final = ConfigDict(extra="forbid")
"""How every operation is read at the door: what it does not know is refused."""
SEED_MAX: Final = 2**53 - 1
"""The largest whole number that every reader of JSON keeps."""


class CannotChange(Exception):
    """An operation has no meaning for these rows; says why, for a person."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


Open = Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(slots=True)
class Step:
    """One operation's turn."""

    number: int
    """Of the operation in its recipe, from 0."""
    profile: Profile
    """Model and method of the rows as they come in."""
    others: Mapping[str, tuple[int, Open]]
    """Name of another version, as the operation has it -> its number among the sources, and its content."""
    scratch: Scratch
    on_read: Callable[[int], None] | None = None
    """Told how many bytes were read, piece by piece."""
    did: Counter[str] = field(default_factory=Counter)
    """What was done, counted in rows."""
    told: dict[str, object] = field(default_factory=dict)
    """Further facts for the record; JSON values only."""

    @property
    def bit(self) -> int:
        return 1 << self.number

    def keep(self) -> Kept:
        """A place for rows; whoever asks closes it."""
        return Kept(self.scratch, self.on_read)

    def change(self, row: Row, line: bytes) -> Row:
        """The row with this line; touched only if that is another."""
        if line == row.line:
            return row
        return row.changed(line, self.bit)

    def other(self, name: str) -> Iterator[Row]:
        """The rows of another version, touched by being brought in."""
        index, opened = self.others[name]
        too_long = self.too_long
        with opened() as file:
            for row in source_rows(file, index, self.profile.limits.line_bytes_max, too_long):
                yield Row(row.line, row.origins, self.bit)

    def too_long(self, _line: int) -> None:
        self.did["too long"] += 1


class Operation(Protocol):
    """A frozen value that says what is to be done; `type` is its name in JSON."""

    type: str

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """The rows as they are afterwards, in order.

        Raises:
            CannotChange: it has no meaning for these rows.
        """
        ...


def chance(seed: int, key: bytes) -> int:
    """A number that only the seed and the key decide, here and on any machine: rows are put in order by it."""
    return xxhash.xxh3_64_intdigest(seed.to_bytes(8, "big") + key)
