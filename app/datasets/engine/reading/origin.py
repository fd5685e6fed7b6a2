"""Where lines that were written came from.

Must not know what a record is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from app.datasets.engine.report import LineRange

GAPS_MAX: Final = 1_000
"""Gaps between records that are kept of a file; lines behind more of them are not followed back."""

Unit = Literal["line", "record", "row"]
"""What is counted in the source: lines of text, elements of an array or stream of objects, or rows of a table (the
header is one, as a spreadsheet shows them)."""


@dataclass(slots=True)
class Origin:
    """Line written -> record read. Memory grows with the gaps between records, not with their number."""

    unit: Unit = "line"
    _lines: list[int] = field(default_factory=list)
    _records: list[int] = field(default_factory=list)
    _last: tuple[int, int] = (0, 0)

    def note(self, line: int, record: int) -> None:
        """`line`, the next one, was written from `record`; both ascend."""
        if (line - 1, record - 1) != self._last:
            self._lines.append(line)
            self._records.append(record)
        self._last = (line, record)

    def to_json(self) -> dict[str, Any]:
        """What `origin_of` reads back; the first gaps, if there are very many."""
        pairs = list(zip(self._lines, self._records, strict=True))
        whole = len(pairs) <= GAPS_MAX
        until = self._last[0] if whole else pairs[GAPS_MAX][0] - 1
        return {"unit": self.unit, "gaps": pairs[:GAPS_MAX], "until": until}

    def of(self, line: int) -> int:
        """The number of the record."""
        at = bisect_right(self._lines, line) - 1
        return self._records[at] + line - self._lines[at] if at >= 0 else line

    def ranges(self, lines: tuple[LineRange, ...]) -> tuple[LineRange, ...]:
        """The records of ranges of lines; a gap between records cuts a range in two."""
        found: list[LineRange] = []
        for first, last in lines:
            at = bisect_right(self._lines, first)
            begin = first
            while at < len(self._lines) and self._lines[at] <= last:
                found.append((self.of(begin), self.of(self._lines[at] - 1)))
                begin = self._lines[at]
                at += 1
            found.append((self.of(begin), self.of(last)))
        return tuple(found)

    def in_words(self, first: int, last: int) -> str:
        """`line 7`, or `line 7 (row 9)` where the two differ in kind."""
        lines = f"line {first:,}" if first == last else f"lines {first:,}-{last:,}"
        if self.unit == "line":
            return lines
        records = f"{self.of(first):,}" if first == last else f"{self.of(first):,}-{self.of(last):,}"
        return f"{lines} ({self.unit}{'' if first == last else 's'} {records})"


def origin_of(kept: Mapping[str, Any], line: int) -> int | None:
    """The number of the record that a line was written from, out of what `to_json` made; None behind its end."""
    if line > kept["until"]:
        return None
    lines, records = zip(*kept["gaps"], strict=True)
    return Origin(kept["unit"], list(lines), list(records)).of(line)
