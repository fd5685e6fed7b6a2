"""What changed from one version to another, row by row: added, removed, changed (with what), moved.

Must not know where versions are kept, nor why they differ.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO, Final, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from app.datasets.engine.changes.fields import MISSING, print_of, prompt_of
from app.datasets.engine.changes.rows import ORIGIN
from app.datasets.engine.changes.steps import Open
from app.datasets.engine.fingerprints import first_of_equal
from app.datasets.engine.json_rows import escaped, parse
from app.datasets.engine.lines import TooLong, chunks_of, line_batches

FIELDS_MAX: Final = 20
"""Differences told of one row."""
TEXT_MAX: Final = 300
"""Characters told of a value."""
_BEFORE_MAX: Final = 40
"""Characters told of what stands before the difference of two long texts."""

Kind = Literal["added", "removed", "changed", "moved"]
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One place in a row that is another now; None where nothing was, or is."""

    pointer: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One row that is not as and where it was. Lines are counted from 1."""

    kind: Kind
    line: int | None
    was_line: int | None
    fields: tuple[FieldChange, ...] = ()
    row: Any = None
    """Of an added or removed one, long texts cut."""


@dataclass(frozen=True, slots=True)
class Differences:
    """How many rows of each kind there are, and some of them in order."""

    same: int
    added: int
    removed: int
    changed: int
    moved: int
    page: tuple[Change, ...]
    has_more: bool


def differences(
    old: Open, new: Open, *, lineage: Open | None, line_bytes_max: int, skip: int, limit: int
) -> Differences:
    """Hold two contents against each other; 60 bytes of memory a row.

    Rows belong together by `lineage`; without it when they are the same, or else have the same prompt.

    Args:
        lineage: of the new one, if it was made from the old one.
        skip, limit: which of the changes, in the order of the new version, are told row by row.
    """
    with old() as before, new() as after:
        ours, theirs = _Lines(before, line_bytes_max), _Lines(after, line_bytes_max)
        if lineage is None:
            was, taken = _by_content(ours, theirs)
        else:
            with lineage() as file:
                was, taken = _by_lineage(file, len(ours), len(theirs))
        return _told(ours, theirs, was, taken, skip, limit)


class _Lines:
    """Where the lines of a content begin, and a print of each."""

    def __init__(self, file: BinaryIO, line_bytes_max: int) -> None:
        self._file = file
        self._starts = array("Q", [0])
        self._max = line_bytes_max
        packed = bytearray()
        for line in chain.from_iterable(line_batches(chunks_of(file), line_bytes_max)):
            if isinstance(line, TooLong):
                packed += line.bytes.to_bytes(16, "big")
                self._starts.append(self._starts[-1] + line.bytes + 1)
            else:
                packed += xxhash.xxh3_128_digest(line.rstrip(b"\r"))
                self._starts.append(self._starts[-1] + len(line) + 1)
        self.prints = bytes(packed)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, position: int) -> bytes:
        start, end = self._starts[position], self._starts[position + 1]
        if end - start > self._max:
            return b""
        self._file.seek(start)
        return self._file.read(end - start - 1).rstrip(b"\n")

    def print(self, position: int) -> bytes:
        return self.prints[16 * position : 16 * position + 16]


def _by_content(ours: _Lines, theirs: _Lines) -> tuple[Positions, NDArray[np.bool_]]:
    """For each new row the old one, -1 where there is none; and which old ones are among them."""
    was = np.full(len(theirs), -1, dtype=np.int64)
    taken = np.zeros(len(ours), dtype=bool)
    one, other = _pairs(ours.prints, theirs.prints)
    was[other], taken[one] = one, True
    left, fresh = np.flatnonzero(~taken), np.flatnonzero(was < 0)
    one, other = _pairs(_prompts(ours, left), _prompts(theirs, fresh, apart=1))
    was[fresh[other]], taken[left[one]] = left[one], True
    return was, taken


def _prompts(lines: _Lines, positions: Positions, apart: int = 0) -> bytes:
    """Of what is asked there; a row that asks nothing has a print like no other."""
    packed = bytearray()
    for position in positions.tolist():
        row = parse(lines[position])
        asked = prompt_of(row) if row is not None else None
        packed += print_of(asked) if asked else (2 * position + apart).to_bytes(16, "big")
    return bytes(packed)


def _pairs(old: bytes, new: bytes) -> tuple[Positions, Positions]:
    """Positions of equal prints: the first with the first, the second with the second, …"""
    count = len(old) // 16
    if not count or not new:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    groups = first_of_equal(old + new).astype(np.int64)
    _, one, other = np.intersect1d(
        _numbered(groups[:count]), _numbered(groups[count:]), assume_unique=True, return_indices=True
    )
    return one.astype(np.int64), other.astype(np.int64)


def _numbered(groups: Positions) -> Positions:
    """Each with its rank among those of its group, as one number."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.ones(len(ordered), dtype=bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    at = np.arange(len(ordered))
    rank = np.empty(len(ordered), dtype=np.int64)
    rank[order] = at - np.maximum.accumulate(np.where(starts, at, 0))
    numbered: Positions = (groups << 32) | rank
    return numbered


def _by_lineage(file: BinaryIO, old: int, new: int) -> tuple[Positions, NDArray[np.bool_]]:
    was = np.full(new, -1, dtype=np.int64)
    taken = np.zeros(old, dtype=bool)
    for packed in iter(lambda: file.read(ORIGIN.size * 4096), b""):
        for position, first, more, source, _ in ORIGIN.iter_unpack(packed):
            if source or first > old:
                continue
            if was[position] < 0 and not taken[first - 1]:
                was[position] = first - 1
            taken[first - 1 : first + more] = True
    return was, taken


def _told(
    ours: _Lines, theirs: _Lines, was: Positions, taken: NDArray[np.bool_], skip: int, limit: int
) -> Differences:
    known = np.flatnonzero(was >= 0)
    in_place = _longest_rise(was[known])
    is_same = np.array([ours.print(int(was[at])) == theirs.print(at) for at in known.tolist()], dtype=bool)
    added, removed = np.flatnonzero(was < 0), np.flatnonzero(~taken)
    changed, moved = known[~is_same], known[is_same & ~in_place]
    steady = known[in_place]
    before = np.append(steady, len(theirs))[np.searchsorted(was[steady], removed)]
    rows = np.concatenate((added, changed, moved, removed))
    kinds = np.repeat(np.arange(4), [len(added), len(changed), len(moved), len(removed)])
    places = np.concatenate((added, changed, moved, before))
    order = np.lexsort((rows, kinds != _REMOVED, places))
    page = tuple(
        _change(ours, theirs, was, int(rows[at]), int(kinds[at])) for at in islice(order, skip, skip + limit)
    )
    return Differences(
        same=int((is_same & in_place).sum()),
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        moved=len(moved),
        page=page,
        has_more=len(order) > skip + limit,
    )


_ADDED, _CHANGED, _MOVED, _REMOVED = range(4)


def _longest_rise(values: Positions) -> NDArray[np.bool_]:
    """Which values make the longest rising sequence: those rows stayed in place, the others moved."""
    if len(values) < 2 or bool((np.diff(values) > 0).all()):
        return np.ones(len(values), dtype=bool)
    tails: list[int] = []
    ends: list[int] = []
    previous = np.full(len(values), -1, dtype=np.int64)
    for at, value in enumerate(values.tolist()):
        place = bisect_left(tails, value)
        previous[at] = ends[place - 1] if place else -1
        if place == len(tails):
            tails.append(value)
            ends.append(at)
        else:
            tails[place], ends[place] = value, at
    rising = np.zeros(len(values), dtype=bool)
    at = ends[-1]
    while at >= 0:
        rising[at] = True
        at = int(previous[at])
    return rising


def _change(ours: _Lines, theirs: _Lines, was: Positions, at: int, kind: int) -> Change:
    match kind:
        case 0:
            return Change("added", at + 1, None, row=shown(theirs[at]))
        case 3:
            return Change("removed", None, at + 1, row=shown(ours[at]))
        case 2:
            return Change("moved", at + 1, int(was[at]) + 1)
        case _:
            position = int(was[at])
            fields = tuple(islice(_fields(parse(ours[position]), parse(theirs[at]), ""), FIELDS_MAX))
            return Change("changed", at + 1, position + 1, fields)


def _fields(before: Any, after: Any, pointer: str) -> Iterator[FieldChange]:
    """Each place where two values differ."""
    if before is MISSING or after is MISSING or type(before) is not type(after):
        yield FieldChange(pointer, _value(before), _value(after))
    elif isinstance(before, dict):
        for key in dict.fromkeys((*before, *after)):
            inner = f"{pointer}/{escaped(key)}"
            yield from _fields(before.get(key, MISSING), after.get(key, MISSING), inner)
    elif isinstance(before, list):
        yield from _items(before, after, pointer)
    elif isinstance(before, str) and before != after:
        yield FieldChange(pointer, *_cut(before, after))
    elif before != after:
        yield FieldChange(pointer, before, after)


def _items(before: Sequence[Any], after: Sequence[Any], pointer: str) -> Iterator[FieldChange]:
    """Items from the front, then from the back, so that one that was put in or taken out is told as that."""
    ahead = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
    shorter = min(len(before), len(after))
    ahead = shorter if ahead is None else ahead
    behind = 0
    if len(before) != len(after):
        while behind < shorter - ahead and before[-1 - behind] == after[-1 - behind]:
            behind += 1
    one, other = before[ahead : len(before) - behind], after[ahead : len(after) - behind]
    for at in range(max(len(one), len(other))):
        inner = f"{pointer}/{ahead + at}"
        yield from _fields(one[at] if at < len(one) else MISSING, other[at] if at < len(other) else MISSING, inner)


def _cut(before: str, after: str) -> tuple[str, str]:
    """Two texts from shortly before where they differ, cut."""
    if len(before) <= TEXT_MAX and len(after) <= TEXT_MAX:
        return before, after
    same = next((at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
    start = max(0, (min(len(before), len(after)) if same is None else same) - _BEFORE_MAX)
    return _part(before, start), _part(after, start)


def _part(text: str, start: int) -> str:
    part = text[start : start + TEXT_MAX]
    return ("…" if start else "") + part + ("…" if start + TEXT_MAX < len(text) else "")


def _value(value: Any) -> Any:
    if value is MISSING:
        return None
    if isinstance(value, str):
        return _part(value, 0)
    if isinstance(value, dict):
        return {key[:TEXT_MAX]: _value(item) for key, item in islice(value.items(), FIELDS_MAX)}
    if isinstance(value, list):
        return [_value(item) for item in value[:FIELDS_MAX]]
    return value


def shown(line: bytes) -> Any:
    """The row of a line, long texts cut; of a line that is no JSON object its beginning."""
    row = parse(line)
    return _part(line.decode("utf-8", "replace"), 0) if row is None else _value(row)
