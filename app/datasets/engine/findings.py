"""Gathers findings while lines go by: line ranges are merged at once, so a million bad lines cost no memory.

Must not know any rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter

from app.datasets.engine.codes import CODES
from app.datasets.engine.report import Finding, LineRange, Severity

Heard = Callable[[str, int, int], None]
"""Told of each finding on lines, as it comes: code, first and last line. Some may be told more than once."""
RANGES_MAX = 10_000
"""Line ranges stored per code; further ones are only counted (about 1 MB per code at the worst)."""
EXAMPLES_MAX = 3
"""Occurrences told in words."""

ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


class Ranges:
    """Line numbers in ascending order, kept as merged ranges."""

    __slots__ = ("_pairs", "count", "last", "more")

    def __init__(self) -> None:
        self._pairs: list[list[int]] = []
        self.count = 0
        self.last = 0
        self.more = 0

    def add(self, first: int, last: int | None = None) -> None:
        """Takes one line, or all from `first` to `last`; lines already taken are ignored."""
        last = first if last is None else last
        first = max(first, self.last + 1)
        if last < first:
            return
        self.count += last - first + 1
        if first == self.last + 1 and self.last and not self.more:
            self._pairs[-1][1] = last
        elif len(self._pairs) < RANGES_MAX:
            self._pairs.append([first, last])
        elif first > self.last + 1 or not self.more:
            self.more += 1
        self.last = last

    def as_tuples(self) -> tuple[LineRange, ...]:
        return tuple((first, last) for first, last in self._pairs)


@dataclass(slots=True)
class _Gathered:
    is_error: bool
    message: str = ""
    remedy: str = ""
    pointer: str | None = None
    ranges: Ranges = field(default_factory=Ranges)
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Held:
    """Findings put aside, in any order of lines."""

    findings: list[tuple[int, int, str, str, str | None]] = field(default_factory=list)
    """First and last line, code, detail, pointer."""
    errors: set[tuple[str, int]] = field(default_factory=set)


class Findings:
    """All findings of one check, by code."""

    def __init__(self, heard: Heard | None = None, where: Callable[[int, int], str] | None = None) -> None:
        """`where` names a range of lines, from its first to its last."""
        self._heard = heard
        self._where = where or _lines_in_words
        self._gathered: dict[str, _Gathered] = {}
        self._into: Held | None = None
        self._held_errors = 0
        self._errors = 0

    def __bool__(self) -> bool:
        return bool(self._gathered)

    def lines_of(self, code: str) -> tuple[LineRange, ...]:
        """Where the finding stands, so far."""
        gathered = self._gathered.get(code)
        return gathered.ranges.as_tuples() if gathered is not None else ()

    def __contains__(self, code: str) -> bool:
        return code in self._gathered

    @property
    def errors(self) -> int:
        """Lines with an error, counted once for each kind of error they have."""
        return self._errors + self._held_errors

    @property
    def with_errors(self) -> bool:
        return any(gathered.is_error for gathered in self._gathered.values())

    @contextmanager
    def holding(self, held: Held) -> Iterator[None]:
        """What is added meanwhile is put aside for `take_in`."""
        self._into = held
        try:
            yield
        finally:
            self._into = None

    def take_in(self, held: Held) -> None:
        """Add what was put aside, by line; its lines follow those of all that was taken in before."""
        self._held_errors -= len(held.errors)
        for first, last, code, detail, pointer in sorted(held.findings, key=itemgetter(0)):
            self.add_range(code, first, last, detail, pointer=pointer)

    def add(self, code: str, line: int, detail: str = "", *, pointer: str | None = None) -> None:
        """Notes `code` on one line; `detail` says what exactly, for the first few."""
        self.add_range(code, line, line, detail, pointer=pointer)

    def add_range(self, code: str, first: int, last: int, detail: str = "", *, pointer: str | None = None) -> None:
        if self._into is not None:
            self._hold(self._into, code, first, last, detail, pointer)
            return
        if self._heard is not None:
            self._heard(code, first, last)
        gathered = self._gathered.get(code)
        if gathered is None:
            gathered = self._gathered[code] = _Gathered(CODES[code].severity is Severity.ERROR, pointer=pointer)
        if detail and len(gathered.examples) < EXAMPLES_MAX and first > gathered.ranges.last:
            gathered.examples.append(f"{self._where(first, last)}: {detail}")
        before = gathered.ranges.count
        gathered.ranges.add(first, last)
        if gathered.is_error:
            self._errors += gathered.ranges.count - before

    def _hold(self, held: Held, code: str, first: int, last: int, detail: str, pointer: str | None) -> None:
        held.findings.append((first, last, code, detail, pointer))
        if CODES[code].severity is Severity.ERROR:
            before = len(held.errors)
            held.errors.update((code, line) for line in range(first, last + 1))
            self._held_errors += len(held.errors) - before

    def add_file(self, code: str, message: str, *examples: str, remedy: str = "") -> None:
        """Notes a finding about the whole file, or gives the words for one already gathered by line."""
        gathered = self._gathered.setdefault(code, _Gathered(CODES[code].severity is Severity.ERROR))
        gathered.message = message
        gathered.remedy = remedy
        gathered.examples.extend(examples[: EXAMPLES_MAX - len(gathered.examples)])

    def as_list(self) -> list[Finding]:
        found = [_finding(code, gathered) for code, gathered in self._gathered.items()]
        return sorted(found, key=lambda f: (ORDER[f.severity], f.lines[0] if f.lines else (0, 0), f.code))


def _lines_in_words(first: int, last: int) -> str:
    return f"line {first:,}" if first == last else f"lines {first:,}-{last:,}"


def _finding(name: str, gathered: _Gathered) -> Finding:
    code = CODES[name]
    return Finding(
        code=name,
        severity=code.severity,
        message=gathered.message or code.meaning,
        remedy=gathered.remedy or code.remedy,
        lines=gathered.ranges.as_tuples(),
        count=gathered.ranges.count or 1,
        pointer=gathered.pointer,
        examples=tuple(gathered.examples),
        fixable=code.fixable,
        more_ranges=gathered.ranges.more,
    )
