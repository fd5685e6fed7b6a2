"""Chooses rows by chance: parts that share nothing, a sample, another order. The seed decides, on any machine.

Must not know how likeness of texts is measured.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from pydantic import Field

from app.datasets.engine import near
from app.datasets.engine.changes.alike import Groups
from app.datasets.engine.changes.fields import MISSING, FieldName, print_of, value_at
from app.datasets.engine.changes.rows import Kept, Row
from app.datasets.engine.changes.steps import CLOSED, SEED_MAX, CannotChange, Step, chance
from app.datasets.engine.fingerprints import first_of_equal
from app.datasets.engine.json_rows import parse

Seed = Annotated[int, Field(strict=True, ge=0, le=SEED_MAX, description="The same seed chooses the same rows.")]
Share = Annotated[float, Field(gt=0, le=1)]
Rows = Annotated[int, Field(strict=True, ge=1, le=10**12)]
PartName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=40)]
ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Part:
    """One outcome of a split. One part may say neither share nor rows: it takes what the others leave."""

    name: PartName
    share: Share | None = None
    rows: Rows | None = None

    __pydantic_config__: ClassVar = CLOSED


@dataclass(frozen=True, slots=True)
class Split:
    """Divide the rows into parts that have nothing in common; each keeps their order.

    Rows that belong together stay together: near duplicates, the same prompt, pieces of one conversation, and rows
    of which the field `group` is the same.
    """

    parts: Annotated[tuple[Part, ...], Field(min_length=2, max_length=10)]
    seed: Seed = 0
    by: Literal["chance", "time"] = "chance"
    time: Annotated[
        FieldName | None, Field(description="For `time`: where each row says when; the first part gets the oldest.")
    ] = None
    stratify: Annotated[
        FieldName | None, Field(description="Each part gets its share of each value of this field.")
    ] = None
    group: Annotated[FieldName | None, Field(description="Rows with the same value here stay together.")] = None
    together: Annotated[
        Literal["near", "nothing"],
        Field(description="`nothing` parts near duplicates, prompts and conversations, too: the parts then leak."),
    ] = "near"
    type: Literal["split"] = "split"

    __pydantic_config__: ClassVar = CLOSED

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError("two parts have the same name")
        if any(part.share is not None and part.rows is not None for part in self.parts):
            raise ValueError("a part has a share or a number of rows, not both")
        open_ended = [part for part in self.parts if part.share is None and part.rows is None]
        shares = sum(part.share or 0.0 for part in self.parts)
        if len(open_ended) > 1:
            raise ValueError("only one part can take what the others leave")
        if shares > 1 + ROUNDING or (open_ended and shares >= 1):
            raise ValueError("the shares are more than there is")
        if not open_ended and (abs(shares - 1) > ROUNDING or any(part.rows for part in self.parts)):
            raise ValueError("the shares must make 1, or one part must be without share and rows to take the rest")
        if (self.by == "time") != (self.time is not None):
            raise ValueError("a split by time, and only that, names the field `time`")
        if self.by == "time" and self.stratify is not None:
            raise ValueError("a split by time cannot be stratified")

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """All rows; which part each belongs to says `assign`."""
        del step
        return iter(rows)

    def assign(self, rows: Kept, step: Step) -> bytes:
        """For each row the number of its part.

        Raises:
            CannotChange: a part would be empty, or rows do not say when they are from.
        """
        groups = self._groups(rows)
        targets = self._targets(len(rows))
        if self.by == "time":
            parts = _by_time(_times(rows, str(self.time)), groups, targets)
        else:
            parts = _by_chance(rows, groups, targets, self.seed, _values(rows, self.stratify))
        counts = Counter(parts)
        step.told["parts"] = {part.name: counts[at] for at, part in enumerate(self.parts)}
        for at, part in enumerate(self.parts):
            if not counts[at]:
                raise CannotChange(
                    "empty_part",
                    f"The part {part.name!r} would be empty: {len(rows):,} rows are {len(np.unique(groups)):,} "
                    "groups of rows that belong together.",
                    hint="Use fewer parts, or other shares.",
                )
        return parts

    def _targets(self, total: int) -> list[float]:
        wanted = [part.share * total if part.share is not None else float(part.rows or 0) for part in self.parts]
        if sum(wanted) > total + ROUNDING * max(total, 1):
            raise CannotChange("too_few_rows", f"The parts ask for {sum(wanted):,.0f} rows; there are {total:,}.")
        rest = [at for at, part in enumerate(self.parts) if part.share is None and part.rows is None]
        for at in rest:
            wanted[at] = total - sum(wanted)
        return wanted

    def _groups(self, rows: Kept) -> Groups:
        groups = near.groups(rows.lines) if self.together == "near" else np.arange(len(rows), dtype=np.int64)
        if self.group is None:
            return groups
        return _joined(groups, equal_values(rows, self.group, without_are_alike=False))


@dataclass(frozen=True, slots=True)
class Sample:
    """Keep so many rows, chosen by chance, in their order."""

    rows: Rows | None = None
    share: Share | None = None
    seed: Seed = 0
    stratify: Annotated[
        FieldName | None, Field(description="Each value of this field keeps its share of the sample.")
    ] = None
    type: Literal["sample"] = "sample"

    __pydantic_config__: ClassVar = CLOSED

    def __post_init__(self) -> None:
        if (self.rows is None) == (self.share is None):
            raise ValueError("a sample has rows or a share, one of the two")

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """All rows where there are no more than are asked for."""
        del step
        total = len(rows)
        wanted = min(total, self.rows if self.rows is not None else max(1, round((self.share or 0) * total)))
        alone = np.arange(total, dtype=np.int64)
        targets = [float(wanted), float(total - wanted)]
        parts = _by_chance(rows, alone, targets, self.seed, _values(rows, self.stratify))
        for row, part in zip(rows, parts, strict=True):
            if part == 0:
                yield row


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Put the rows in another order."""

    seed: Seed = 0
    type: Literal["shuffle"] = "shuffle"

    __pydantic_config__: ClassVar = CLOSED

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        del step
        keys = _chances(rows, self.seed)
        for position in np.argsort(np.frombuffer(keys, dtype=np.uint64), kind="stable").tolist():
            yield rows.at(position)


# -- by chance ---------------------------------------------------------------------------------------------


def _chances(rows: Kept, seed: int) -> array[int]:
    """One number a row, by its position: equal rows must not all go the same way."""
    return array("Q", [chance(seed, at.to_bytes(8, "big") + line) for at, line in enumerate(rows.lines())])


def _by_chance(rows: Kept, groups: Groups, targets: Sequence[float], seed: int, strata: Groups | None) -> bytes:
    """The part of each row: whole groups go where most is missing, in an order that the seed decides.

    What one stratum could not give a part, because its groups do not divide so, the next strata make good.
    """
    total = len(groups)
    parts = bytearray(total)
    if not total:
        return bytes(parts)
    sizes = np.bincount(groups, minlength=total)
    heads = np.flatnonzero(groups == np.arange(total))
    keys = np.frombuffer(_chances(rows, seed), dtype=np.uint64)[heads]
    of = strata[heads] if strata is not None else np.zeros(len(heads), dtype=np.int64)
    order = np.lexsort((keys, -sizes[heads], of))  # large groups first: small ones even out what they leave
    part_of = np.zeros(total, dtype=np.uint8)
    missing = [0.0] * len(targets)
    stratum = -1
    shares = [target / total for target in targets]
    rows_in = np.bincount(of, weights=sizes[heads], minlength=1)
    for at in order.tolist():
        head, size = int(heads[at]), int(sizes[heads[at]])
        if int(of[at]) != stratum:
            stratum = int(of[at])
            more = float(rows_in[stratum])
            missing = [lacks + share * more for lacks, share in zip(missing, shares, strict=True)]
        chosen = max(range(len(targets)), key=missing.__getitem__)
        missing[chosen] -= size
        part_of[head] = chosen
    return part_of[groups].tobytes()


# -- by time -----------------------------------------------------------------------------------------------


def _times(rows: Kept, field: str) -> array[float]:
    times = array("d")
    for number, line in enumerate(rows.lines(), 1):
        value = parse(line)
        when = _moment(value_at(value, field)) if value is not None else None
        if when is None:
            raise CannotChange("no_time", f"Row {number:,} does not say when it is from: {field} holds no time.")
        times.append(when)
    return times


def _moment(value: Any) -> float | None:
    """Seconds since 1970 (or whatever numbers count); a text without a time zone is taken for UTC."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if isfinite(value) else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _by_time(times: array[float], groups: Groups, targets: Sequence[float]) -> bytes:
    """Oldest first; a group is as old as its newest row, so that no part holds what is newer than the next."""
    total = len(groups)
    newest = np.full(total, -np.inf)
    np.maximum.at(newest, groups, np.frombuffer(times, dtype=np.float64))
    sizes = np.bincount(groups, minlength=total)
    heads = np.flatnonzero(groups == np.arange(total))
    part_of = np.zeros(total, dtype=np.uint8)
    part, filled = 0, 0.0
    ends = np.cumsum(targets)
    for head in heads[np.argsort(newest[heads], kind="stable")].tolist():
        size = float(sizes[head])
        while part < len(targets) - 1 and filled + size / 2 > ends[part]:
            part += 1
        part_of[head] = part
        filled += size
    return part_of[groups].tobytes()


# -- groups by a field -------------------------------------------------------------------------------------


def _values(rows: Kept, field: str | None) -> Groups | None:
    """Rows with the same value; those without one are alike."""
    return None if field is None else equal_values(rows, field, without_are_alike=True)


def equal_values(rows: Kept, field: str, *, without_are_alike: bool) -> Groups:
    """Rows with the same value in a field."""
    packed = bytearray()
    for position, line in enumerate(rows.lines(), 1):
        row = parse(line)
        value = value_at(row, field) if row is not None else MISSING
        is_alone = value is MISSING and not without_are_alike
        packed += position.to_bytes(16, "big") if is_alone else print_of(value)
    return first_of_equal(bytes(packed)).astype(np.int64)


def _joined(groups: Groups, values: Groups) -> Groups:
    """What is together in either is together."""
    parents = groups.tolist()

    def root(of: int) -> int:
        while parents[of] != of:
            parents[of] = parents[parents[of]]
            of = parents[of]
        return of

    for at in np.flatnonzero(values != np.arange(len(values))).tolist():
        one, other = sorted((root(at), root(int(values[at]))))
        parents[other] = one
    return np.array([root(at) for at in range(len(parents))], dtype=np.int64)
