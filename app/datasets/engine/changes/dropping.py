"""Leaves rows out: by line, by what a check found, or by what stands in them.

Must not know what a check looks for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue

from app.datasets.engine.changes.fields import MISSING, FieldName, value_at
from app.datasets.engine.changes.fixing import FindingCode
from app.datasets.engine.changes.rows import Kept, Row
from app.datasets.engine.changes.steps import CLOSED, CannotChange, Step
from app.datasets.engine.checking import check
from app.datasets.engine.json_rows import parse

Line = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Test = Literal[
    "equals",
    "differs",
    "in",
    "contains",
    "starts-with",
    "ends-with",
    "less",
    "greater",
    "shorter",
    "longer",
    "present",
    "missing",
]


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of one field of a row.

    `contains`, `starts-with` and `ends-with` look at texts (`contains` also at lists), `less` and `greater` at
    numbers, `shorter` and `longer` at how many characters, items or members there are.
    """

    field: FieldName
    test: Test
    value: Annotated[JsonValue, Field(description="What it is compared with; not for present and missing.")] = None

    __pydantic_config__: ClassVar = CLOSED

    def holds(self, row: dict[str, Any]) -> bool:
        """Whether the row is so; a test that does not fit the kind of value does not hold."""
        found = value_at(row, self.field)
        match self.test:
            case "present":
                return found is not MISSING
            case "missing":
                return found is MISSING
            case "differs":
                return not _equal(found, self.value)
            case "equals":
                return _equal(found, self.value)
            case "in":
                return isinstance(self.value, list) and any(_equal(found, one) for one in self.value)
            case "less" | "greater" | "shorter" | "longer":
                return self._measures(found)
            case _:
                return self._reads(found)

    def _measures(self, found: Any) -> bool:
        limit = self.value
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            return False
        if self.test in {"shorter", "longer"}:
            if not isinstance(found, str | list | dict):
                return False
            return len(found) < limit if self.test == "shorter" else len(found) > limit
        if isinstance(found, bool) or not isinstance(found, int | float):
            return False
        return found < limit if self.test == "less" else found > limit

    def _reads(self, found: Any) -> bool:
        wanted = self.value
        if self.test == "contains" and isinstance(found, list):
            return any(_equal(item, wanted) for item in found)
        if not isinstance(found, str) or not isinstance(wanted, str):
            return False
        match self.test:
            case "contains":
                return wanted in found
            case "starts-with":
                return found.startswith(wanted)
            case _:
                return found.endswith(wanted)


def _equal(found: Any, wanted: Any) -> bool:
    return bool(found == wanted) and isinstance(found, bool) == isinstance(wanted, bool)


Conditions = Annotated[
    tuple[Condition, ...], Field(max_length=20, description="Rows of which all of these are true.")
]


@dataclass(frozen=True, slots=True)
class Drop:
    """Leave rows out: those on these lines, those with this finding, and those of which all conditions are true."""

    type: Literal["drop"] = "drop"
    lines: Annotated[
        tuple[tuple[Line, Line], ...],
        Field(
            max_length=10_000,
            description="Ranges, first and last line, counted from 1 in the version that is changed.",
        ),
    ] = ()
    code: FindingCode | None = None
    where: Conditions = ()

    __pydantic_config__: ClassVar = CLOSED

    def __post_init__(self) -> None:
        if not self.lines and self.code is None and not self.where:
            raise ValueError("a drop needs lines, a code or conditions")
        if any(first > last for first, last in self.lines):
            raise ValueError("a range of lines ends before it begins")

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """Raises `CannotChange` (`no_such_finding`)."""
        ranges = _Ranges(self.lines)
        found = _Ranges(self._found(rows, step))
        for number, row in enumerate(rows, 1):
            if found.hold(number) or any(ranges.hold_any(o.first, o.last) for o in row.origins if o.source == 0):
                continue
            if self.where:
                value = parse(row.line)
                if value is not None and all(condition.holds(value) for condition in self.where):
                    continue
            yield row

    def _found(self, rows: Kept, step: Step) -> list[tuple[int, int]]:
        """Lines, as they are now, with the finding."""
        if self.code is None:
            return []
        lines = array("Q")

        def heard(code: str, first: int, last: int) -> None:
            if code == self.code:
                lines.extend(range(first, last + 1))

        check(rows.content(), step.profile, heard=heard)
        if not lines and not step.did["too long"]:
            raise CannotChange("no_such_finding", f"Nothing to drop: no line has the finding {self.code!r}.")
        return [(line, line) for line in sorted(set(lines))]


@dataclass(frozen=True, slots=True)
class Keep:
    """Leave out every row but those of which all conditions are true."""

    where: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=20)]
    type: Literal["keep"] = "keep"

    __pydantic_config__: ClassVar = CLOSED

    def apply(self, rows: Kept, _step: Step) -> Iterator[Row]:
        for row in rows:
            value = parse(row.line)
            if value is not None and all(condition.holds(value) for condition in self.where):
                yield row


class _Ranges:
    """Lines, as disjoint ranges."""

    def __init__(self, ranges: Sequence[tuple[int, int]]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in sorted(ranges):
            if self._lasts and first <= self._lasts[-1] + 1:
                self._lasts[-1] = max(self._lasts[-1], last)
            else:
                self._firsts.append(first)
                self._lasts.append(last)

    def hold(self, line: int) -> bool:
        return self.hold_any(line, line)

    def hold_any(self, first: int, last: int) -> bool:
        """Whether any line from `first` to `last` is among them."""
        at = bisect_right(self._firsts, last) - 1
        return at >= 0 and self._lasts[at] >= first
