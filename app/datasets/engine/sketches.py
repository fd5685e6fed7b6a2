"""Sketches of texts: a dozen hashed pieces of each, by which two that have much in common are soon found.

Must not know what a text is of; similarity itself is measured on the texts, never on sketches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECES: Final = 8
"""Of a long text in its sketch, about; at most twice as many."""
PIECE_BYTES: Final = 16
"""Long enough that two texts seldom share one by chance, short enough to survive between two edits."""
MEMORY_BYTES: Final = 1 << 20
"""Of sketches held in memory; more go to a temporary file."""
SORTED_AT_ONCE: Final = 1 << 19
"""Pieces sorted in one go (8 bytes each); more are sorted a part of all hashes at a time."""
COMMON_SHARE: Final = 0.01
COMMON_MIN: Final = 50
"""A piece that more lines have, and more than this share of all, finds only those that have no rarer piece."""
SHARED_MIN: Final = 0.5
"""Of the pieces of the shorter sketch that a candidate pair has in common."""
RICH: Final = 3 * PIECES
"""A sketch with more pieces is of a text that had too few, and was looked at more closely than others like it."""
SHARED_OF_MORE_MIN: Final = 0.3
"""Of those of the longer sketch; equal texts of which one is just long enough to keep half as many share half."""
REPEATED_HELD: Final = 1 << 20
"""Pieces in memory that more than one line has; of a file that has more, the last lines find nobody."""
PAIRED_AT_ONCE: Final = 1 << 16
"""Of these pieces, so many are paired in one go, in 200 bytes each; of more, a part of all lines at a time."""
BUCKETS_BITS: Final = 18
"""Of a hash by which pairs are told that come once."""
NEIGHBOURS: Final = 6
"""Of the lines that have a piece in common, each is paired with so many before it, and with the first."""
ENTRY_BYTES: Final = 8
SIDE: Final = 1 << 31
"""Added to the line numbers of the second of two files."""

Keys = NDArray[np.uint64]
Places = NDArray[np.int64]
_FOLD: Final = np.uint8(0x20)
"""Set in every byte: letters lose their case, and what else becomes alike is told apart by the texts."""
_SPREAD: Final = (np.uint8(29), np.uint8(229), np.uint8(103), np.uint8(185))
_MIX: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_HIGH: Final = np.uint64(0xFFFFFFFF00000000)
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_CUT_LEVELS: Final = 6
"""Halvings done by looking at four bytes; further ones look at the hash of the piece."""


class Candidates(NamedTuple):
    """Pairs of lines, the likeliest first; one of a pair is in the second file if two are compared."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]


class _Texts(NamedTuple):
    """Where some texts are among bytes, and how many of their pieces are kept."""

    lines: Keys
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    levels: NDArray[np.int64]

    def only(self, some: NDArray[np.bool_]) -> _Texts:
        return _Texts(self.lines[some], self.starts[some], self.ends[some], self.levels[some])


class Sketches:
    """The sketches of one file: for each piece 8 bytes, its hash (32 bits) before the number of its line."""

    def __init__(self) -> None:
        self._file: IO[bytes] = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  lives as long as this

    def add(self, lines: Sequence[int], texts: Sequence[bytes]) -> None:
        """Takes the texts of some lines, in any order."""
        sizes = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        ends = np.cumsum(sizes + 1) - 1
        self.take(sketched(np.array(lines, dtype=np.uint64), b"\x1e".join(texts), ends - sizes, ends))

    def take(self, entries: Keys) -> None:
        """Takes the sketches of further lines."""
        self._file.write(entries.tobytes())

    def copy_to(self, target: IO[bytes]) -> None:
        """Write all of them there."""
        self._file.seek(0)
        while block := self._file.read(MEMORY_BYTES):
            target.write(block)

    def candidates(self, without: NDArray[np.int64], *, pairs_max: int) -> Candidates:
        """Pairs of lines that may be alike; none of `without` is in any."""
        return candidates([(self._file, without)], pairs_max=pairs_max)


def sketched(lines: Keys, joined: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Keys:
    """The sketches of the texts of some lines.

    Args:
        joined: all of them, one byte between two, and perhaps more that is none of them.
        starts, ends: where in it each text begins and ends.
    """
    in_all = np.maximum(ends - starts - PIECE_BYTES + 1, 1)
    levels = np.maximum(np.frexp(in_all // PIECES)[1] - 1, 0)
    return np.concatenate(list(_sketched(joined, _Texts(lines, starts, ends, levels))))


def numbered(sketches: Keys, first_line: int, last_line: int) -> Keys:
    """Sketches of lines that were counted from 0, with their numbers in a file; of none after `last_line`."""
    entries = sketches + np.uint64(first_line)
    return (
        entries
        if not len(entries) or int((entries & _LOW).max()) <= last_line
        else entries[_lines(entries) <= last_line]
    )


def _sketched(joined: bytes, texts: _Texts) -> Iterator[Keys]:
    yield np.zeros(0, dtype=np.uint64)
    short = texts.ends - texts.starts < PIECE_BYTES
    if short.any():
        yield from _sketched_apart(joined, texts.only(short))
        texts = texts.only(~short)
    if not len(texts.lines):
        return
    entries, counts = _entries(joined, texts)
    yield entries
    poor = (counts < PIECES // 2) & (texts.levels > 0)
    if poor.any():
        poorer = texts.only(poor)
        yield from _sketched_apart(joined, poorer._replace(levels=np.maximum(poorer.levels - 2, 0)))


def _sketched_apart(joined: bytes, texts: _Texts) -> Iterator[Keys]:
    """The same for a few of the texts: those that are filled up, or looked at again."""
    places = zip(texts.starts.tolist(), texts.ends.tolist(), strict=True)
    padded = [joined[start:end].ljust(PIECE_BYTES, b"\0") for start, end in places]
    sizes = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
    ends = np.cumsum(sizes + 1) - 1
    yield from _sketched(b"\x1e".join(padded), texts._replace(starts=ends - sizes, ends=ends))


def _entries(joined: bytes, texts: _Texts) -> tuple[Keys, NDArray[np.int64]]:
    """The sketches of texts of PIECE_BYTES and more, in their order, and how many pieces of each are in them.

    A text of level n keeps one in 2^n of its pieces. Which, depends on nothing but the piece: what two texts share,
    both keep, or the longer one drops.
    """
    folded = np.bitwise_or(np.frombuffer(joined, dtype=np.uint8), _FOLD)
    at, row = _chosen(folded, texts)
    words = np.ndarray((len(folded) - 7,), dtype="<u8", buffer=folded, strides=(1,))
    mixed = words[at] * _MIX[0]
    mixed ^= mixed >> np.uint64(29)
    mixed += words[at + 8]
    mixed *= _MIX[1]
    mixed ^= mixed >> _HALF
    further = (np.uint64(1) << np.maximum(texts.levels - _CUT_LEVELS, 0).astype(np.uint64)) - np.uint64(1)
    chosen = (mixed & further[row]) == 0
    row = row[chosen]
    return (mixed[chosen] & _HIGH) | texts.lines[row], np.bincount(row, minlength=len(texts.lines))


def _chosen(folded: NDArray[np.uint8], texts: _Texts) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where the pieces begin that four bytes choose, and the text that each is of.

    Every byte of all is looked at in a few passes; what lies between the texts is left out afterwards.
    """
    spread = np.multiply(folded[3:], _SPREAD[0])
    for back, factor in enumerate(_SPREAD[1:], 1):
        spread += folded[3 - back : len(folded) - back]
        spread *= factor
    np.invert(spread, out=spread)
    below = np.right_shift(np.uint16(256), np.minimum(texts.levels, _CUT_LEVELS).astype(np.uint16)) - np.uint16(1)
    reach = np.diff(texts.ends[:-1], prepend=0, append=len(spread))
    at = _places(spread <= np.repeat(below.astype(np.uint8), reach))
    first, last = np.searchsorted(at, texts.starts), np.searchsorted(at, texts.ends - (PIECE_BYTES - 1))
    counts = np.maximum(last - first, 0)
    row = np.repeat(np.arange(len(counts)), counts)
    return at[np.arange(len(row)) + np.repeat(first - (np.cumsum(counts) - counts), counts)], row


def _places(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where they are set, which is seldom: thrice as fast as looking at each."""
    whole = len(flags) & ~7
    eights = flags[:whole].view(np.uint64)
    at = np.flatnonzero(eights != 0)
    among = np.flatnonzero(eights[at].view(np.bool_))
    return np.concatenate(((at[among >> 3] << 3) + (among & 7), np.flatnonzero(flags[whole:]) + whole))


def candidates(files: Sequence[tuple[IO[bytes], NDArray[np.int64]]], *, pairs_max: int) -> Candidates:
    """Pairs of lines that may be alike, within one file or from the first to the second.

    Args:
        files: one or two files of sketches, each with the lines that no pair shall have.
        pairs_max: of more, the least likely are left out.
    """
    entries_in_all = sum(file.seek(0, 2) // ENTRY_BYTES for file, _ in files)
    parts = max(1, -(-entries_in_all // SORTED_AT_ONCE))
    counts, rare = _Tally(), _Tally()
    repeated = []
    for part in range(parts):
        entries = _read(files, parts, part)
        counts.add(entries)
        repeated.append(_repeated(entries)[: REPEATED_HELD // parts])
        del entries
    common = max(COMMON_MIN, counts.lines * COMMON_SHARE)
    for entries in repeated:
        rare.add(entries[_run_sizes(entries) <= common])
    for at, entries in enumerate(repeated):
        repeated[at] = entries[(_run_sizes(entries) <= common) | (rare.of(_lines(entries)) == 0)]
    slices = max(1, -(-sum(map(len, repeated)) // PAIRED_AT_ONCE))
    heads = [np.flatnonzero(np.diff(_runs(entries), prepend=-1)) for entries in repeated]
    kept = [np.zeros(0, dtype=np.uint64)]
    shares = [np.zeros(0)]
    for part in range(slices):
        pairs = [
            _pairs(entries, first, across=len(files) > 1, slices=slices, part=part)
            for entries, first in zip(repeated, heads, strict=True)
        ]
        found, share = _likely(np.concatenate(pairs), counts)
        kept, shares = [np.concatenate((*kept, found))], [np.concatenate((*shares, share))]
        likeliest = np.lexsort((kept[0], -shares[0]))[:pairs_max]
        kept, shares = [kept[0][likeliest]], [shares[0][likeliest]]
    return Candidates((kept[0] >> _HALF).astype(np.int64), _lines(kept[0]))


def _likely(pairs: Keys, counts: _Tally) -> tuple[Keys, NDArray[np.float64]]:
    """Those that have so much in common that their texts should be compared, and what share of their pieces."""
    found, shared = np.unique(_not_alone(pairs, counts), return_counts=True)
    fewer, more = np.sort([counts.of((found >> _HALF).astype(np.int64)), counts.of(_lines(found))], axis=0)
    share = shared / np.maximum(1, fewer)
    in_common = (shared >= SHARED_OF_MORE_MIN * more) | (more > RICH)
    likely = np.flatnonzero((share >= SHARED_MIN) & in_common)
    return found[likely], share[likely]


def _not_alone(pairs: Keys, counts: _Tally) -> Keys:
    """Without most of those that share a single piece, where that is too little: sorting them takes long."""
    buckets = ((pairs * _MIX[0]) >> np.uint64(64 - BUCKETS_BITS)).astype(np.intp)
    often = np.bincount(buckets, minlength=1 << BUCKETS_BITS)[buckets] > 1
    alone = pairs[~often]
    fewer = np.minimum(counts.of((alone >> _HALF).astype(np.int64)), counts.of(_lines(alone)))
    return np.concatenate((pairs[often], alone[fewer * SHARED_MIN <= 1]))


def _pairs(entries: Keys, heads: NDArray[np.int64], *, across: bool, slices: int, part: int) -> Keys:
    """(line << 32 | line) of neighbours that share a piece, and of each with the first that has it.

    Of all pairs those whose second line is in one part of all lines.

    Args:
        heads: where each run of entries with the same piece begins.
    """
    lines = _lines(entries)
    at = np.flatnonzero(lines % slices == part)
    if not len(at):
        return entries[:0]
    run = np.searchsorted(heads, at, side="right") - 1
    head = heads[run]
    ways = list(_neighbours(at, head))
    if across:
        of_first = np.add.reduceat(lines < SIDE, heads, dtype=np.int64)[run]
        several = of_first > 1
        ways = [(at, head), (at[several], (head + of_first - 1)[several])]
    found = []
    for here, other in ways:
        mates = lines[other] != lines[here]
        if across:
            mates &= (lines[here] >= SIDE) & (lines[other] < SIDE)
        found.append((entries[other[mates]] << _HALF) | (entries[here[mates]] & _LOW))
    return np.concatenate(found)


def _neighbours(at: Places, head: Places) -> Iterator[tuple[Places, Places]]:
    """Each entry with the first of its run, and with the few before it that are not."""
    yield at, head
    for back in range(1, NEIGHBOURS + 1):
        later = at - back > head
        at, head = at[later], head[later]
        yield at, at - back


def _read(files: Sequence[tuple[IO[bytes], NDArray[np.int64]]], parts: int, part: int) -> Keys:
    """The entries of one part of all hashes."""
    blocks = []
    for side, (file, without) in enumerate(files):
        dropped = np.zeros(int(without.max()) + 2 if len(without) else 1, dtype=bool)
        dropped[without] = True
        file.seek(0)
        while block := file.read(MEMORY_BYTES):
            entries = np.frombuffer(block, dtype="<u8")
            if parts > 1:
                entries = entries[(entries >> _HALF) % np.uint64(parts) == np.uint64(part)]
            if len(without):
                entries = entries[~dropped[np.minimum(_lines(entries), len(dropped) - 1)]]
            blocks.append(entries | np.uint64(SIDE) if side else entries)
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.uint64)


def _repeated(entries: Keys) -> Keys:
    """In ascending order and each once, those whose piece more than one line has."""
    entries.sort()
    equal = (entries[1:] ^ entries[:-1]) <= _LOW
    among = np.zeros(len(entries), dtype=bool)
    among[1:] = equal
    among[:-1] |= equal
    entries = entries[among]
    once: Keys = entries[np.diff(entries, prepend=~entries[:1]) != 0]
    return once


class _Tally:
    """How many entries each line has."""

    def __init__(self) -> None:
        self._sides = [np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)]

    def add(self, entries: Keys) -> None:
        lines = _lines(entries)
        for side, chosen in enumerate((lines[lines < SIDE], lines[lines >= SIDE] - SIDE)):
            more = np.bincount(chosen, minlength=len(self._sides[side]))
            more[: len(self._sides[side])] += self._sides[side]
            self._sides[side] = more

    @property
    def lines(self) -> int:
        return sum(int(np.count_nonzero(side)) for side in self._sides)

    def of(self, lines: NDArray[np.int64]) -> NDArray[np.int64]:
        ours, theirs = (side[np.minimum(lines % SIDE, len(side) - 1)] for side in self._sides)
        return np.where(lines < SIDE, ours, theirs)


def _lines(entries: Keys) -> NDArray[np.int64]:
    return (entries & _LOW).astype(np.int64)


def _runs(entries: Keys) -> NDArray[np.int64]:
    """For sorted entries, the number of the run of equal hashes that each is in."""
    hashes = entries >> _HALF
    return np.cumsum(np.concatenate(([False], hashes[1:] != hashes[:-1]))) if len(entries) else _lines(entries)


def _run_sizes(entries: Keys) -> NDArray[np.int64]:
    run = _runs(entries)
    return np.bincount(run)[run] if len(run) else run
