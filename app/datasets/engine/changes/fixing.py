"""Fixes whatever a check finds that can be fixed without inventing content: it repairs a row, or leaves it out.

The check itself says which lines, round after round, until it finds nothing more. Must not know how a defect is
recognised.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from app.datasets.engine.changes import repairs
from app.datasets.engine.changes.rows import Kept, Origin, Row
from app.datasets.engine.changes.steps import CLOSED, Step
from app.datasets.engine.checking import check
from app.datasets.engine.codes import CODES
from app.datasets.engine.json_rows import parse, write
from app.datasets.engine.lines import BOM
from app.datasets.engine.torn import TornObject

ROUNDS_MAX: Final = 12
"""Of check and repair; rows that are still found then are left out. We have seen five."""
DUPLICATES: Final = "exact-duplicate"
UNTOUCHABLE: Final = frozenset({"duplicate-key", "too-deep", "number-out-of-range", "lone-surrogate"})
"""Errors of a line's own writing: to repair anything else in it would decide silently what it means."""

FindingCode = Annotated[str, Field(max_length=64, examples=["unknown-key"])]


def fixable() -> frozenset[str]:
    """Every code of lines that `Fix` cures."""
    return frozenset({code.name for code in CODES.values() if code.fix} - repairs.OF_FILES)


@dataclass(frozen=True, slots=True)
class Fix:
    """Repair, or leave out, whatever the check finds that can be fixed without inventing content."""

    type: Literal["fix"] = "fix"
    codes: Annotated[
        tuple[FindingCode, ...],
        Field(
            max_length=100,
            description="Only these findings; empty for all that are fixable. `mojibake` is mended only when it "
            "stands here, as far as that can be proved.",
        ),
    ] = ()
    leave: Annotated[
        tuple[FindingCode, ...],
        Field(max_length=100, description="Not these, such as exact-duplicate where the weight is meant."),
    ] = ()

    __pydantic_config__: ClassVar = CLOSED

    def __post_init__(self) -> None:
        known = (
            fixable() | repairs.ON_REQUEST | repairs.OF_FILES
        )  # what reading has mended already is no mistake to name
        strange = sorted(set(self.codes) - known) + sorted(set(self.leave) - CODES.keys())
        if strange:
            raise ValueError(f"{strange[0]!r} is nothing that can be fixed; there are {', '.join(sorted(known))}")

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """Constant memory but for 24 bytes a row."""
        wanted = (fixable() | repairs.ON_REQUEST) & set(self.codes) if self.codes else fixable()
        wanted -= set(self.leave)
        kept = rows
        try:
            for number in range(1, ROUNDS_MAX + 1):
                flags = _flags(kept, wanted, step)
                todo = flags.found - {DUPLICATES} if flags.found != {DUPLICATES} else flags.found
                if not todo and not _has_mark(kept):
                    break
                mend = _Round(todo, flags, step, last=number == ROUNDS_MAX)
                fresh = step.keep().fill(mend.rows(kept))
                stuck = not mend.changed
                if kept is not rows:
                    kept.close()
                kept = fresh
                if stuck:
                    break
            yield from kept
        finally:
            if kept is not rows:
                kept.close()


def _has_mark(rows: Kept) -> bool:
    return len(rows) > 0 and rows.at(0).line.startswith(BOM)


@dataclass(slots=True)
class _Flags:
    """Which codes stand on which line."""

    bits: dict[str, int] = field(default_factory=dict)
    of_lines: array[int] = field(default_factory=lambda: array("Q"))
    torn: dict[int, int] = field(default_factory=dict)
    """First line -> last line of a row over several."""
    found: set[str] = field(default_factory=set)
    """Codes that are to be cured."""

    def on(self, line: int) -> set[str]:
        mask = self.of_lines[line]
        return {code for code, bit in self.bits.items() if mask & bit} if mask else set()


def _flags(rows: Kept, wanted: frozenset[str], step: Step) -> _Flags:
    flags = _Flags(of_lines=array("Q", bytes(8 * (len(rows) + 2))))

    def heard(code: str, first: int, last: int) -> None:
        if code in wanted:
            flags.found.add(code)
        elif code not in UNTOUCHABLE:
            return
        if code in repairs.OF_TORN:
            flags.torn[first] = last
            return
        bit = flags.bits.setdefault(code, 1 << len(flags.bits))
        for line in range(first, last + 1):
            flags.of_lines[line] |= bit

    check(rows.content(), step.profile, heard=heard)
    return flags


class _Round:
    """One pass over the rows: each is freed of what was found on its line."""

    def __init__(self, todo: set[str], flags: _Flags, step: Step, *, last: bool) -> None:
        self._flags = flags
        self._todo = todo
        self._step = step
        self._last = last
        self.changed = False
        """Whether it did anything; if not, a further round would do nothing either."""
        self._drops = {code for code in todo if CODES[code].fix == "drop"}

    def rows(self, rows: Kept) -> Iterator[Row]:
        torn: list[Row] = []
        until = 0
        for number, row in enumerate(rows, 1):
            if number == 1 and row.line.startswith(BOM):
                row = self._with(row, row.line.removeprefix(BOM))  # noqa: PLW2901  the same row
            if number in self._flags.torn:
                until = self._flags.torn[number]
            if number <= until:
                torn.append(row)
                if number == until:
                    yield self._joined(torn)
                    torn = []
                continue
            mended = self._mended(number, row)
            if mended is not None:
                yield mended
        yield from torn

    def _joined(self, torn: list[Row]) -> Row:
        whole = TornObject(1, self._step.profile.limits.line_bytes_max)
        for row in torn:
            whole.feed(row.line)
        self.changed = True
        self._step.did["joined"] += 1
        touched = self._step.bit
        for row in torn:
            touched |= row.touched
        return Row(whole.joined.strip(), _merged(origin for row in torn for origin in row.origins), touched)

    def _mended(self, number: int, row: Row) -> Row | None:
        found = self._flags.on(number)
        codes = found & self._todo
        if codes & {"blank-line", "trailing-blank-line"}:
            return self._left_out(min(codes))
        if "crlf" in codes:
            row = self._with(row, row.line.rstrip(b"\r"))
        mendable = codes & repairs.OF_ROWS.keys() if not found & UNTOUCHABLE else set()
        if self._last:
            mendable -= repairs.ON_REQUEST
        elif mendable:
            return self._repaired(row, sorted(mendable))
        if mendable or codes & self._drops:
            return self._left_out(min(mendable or codes & self._drops))
        return row

    def _repaired(self, row: Row, codes: list[str]) -> Row | None:
        value = parse(row.line)
        if value is None:
            return row
        before = written = write(value)
        for code in codes:
            if not repairs.OF_ROWS[code](value):
                return self._left_out(code)
            after = write(value)
            self._step.did[f"repaired {code}"] += after != written
            written = after
        return self._with(row, written) if written != before else row

    def _with(self, row: Row, line: bytes) -> Row:
        self.changed = self.changed or line != row.line
        return self._step.change(row, line)

    def _left_out(self, code: str) -> Row | None:
        self.changed = True
        self._step.did[f"left out {code}"] += 1
        return None


def _merged(origins: Iterable[Origin]) -> tuple[Origin, ...]:
    """Neighbouring lines as one range."""
    merged: list[Origin] = []
    for origin in origins:
        if merged and merged[-1].source == origin.source and origin.first <= merged[-1].last + 1:
            merged[-1] = merged[-1]._replace(last=max(merged[-1].last, origin.last))
        else:
            merged.append(origin)
    return tuple(merged)
