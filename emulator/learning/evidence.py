"""Counts of what followed each context; knows nothing of where the contexts come from."""

from dataclasses import dataclass

import numpy as np

from emulator.learning.arrays import Flags, Floats, Ints, Keys, Rows, Singles, find, gather, ranges
from emulator.learning.contexts import CAN_COPY, COPY, READ_ONLY, SHIFT, TOKEN_MASK, Positions

_FORGOTTEN = 1e-6


@dataclass(frozen=True, slots=True)
class Located:
    """Where positions stand in the evidence, each (tokens, columns), -1 where nothing is known.

    ``row``: the context; ``pair``: the context with the target; ``copy``: the context with COPY.
    """

    row: Rows
    pair: Rows
    copy: Rows

    def __getitem__(self, at: Ints) -> "Located":
        return Located(self.row[at], self.pair[at], self.copy[at])


class Evidence:
    """A table of (context, token) counts with the totals of every context.

    ``context`` (rows,) sorted keys; ``pair`` (pairs,) sorted codes (row, token); ``count`` (pairs,);
    ``total``, ``distinct``, ``square`` (rows,): sum, number and sum of squares of a context's counts.
    """

    def __init__(self, context: Keys, pair: Ints, count: Singles) -> None:
        self.context, self.pair, self.count = context, pair, count
        row = pair >> SHIFT
        self.first: Ints = np.searchsorted(row, np.arange(len(context) + 1))
        self.total = np.bincount(row, weights=count, minlength=len(context))
        self.distinct = np.bincount(row, weights=count > _FORGOTTEN, minlength=len(context))
        self.square = np.bincount(row, weights=count.astype(np.float64) ** 2, minlength=len(context))
        self.rank_by(count)

    @classmethod
    def room_for(cls, positions: Positions) -> tuple["Evidence", Located]:
        """An empty table with a place for everything these positions may write, and where they stand in it."""
        own = np.where(READ_ONLY, np.uint64(0), positions.keys).ravel()
        written = np.flatnonzero(own)
        copied = np.flatnonzero((own.reshape(-1, len(CAN_COPY)) != 0) & (positions.source >= 0)[:, None] & CAN_COPY)
        token = np.repeat(positions.target, len(CAN_COPY))
        context, row = np.unique(np.concatenate([own[written], own[copied]]), return_inverse=True)
        symbol = np.concatenate([token[written], np.full(len(copied), COPY)])
        code, inverse, times = np.unique(
            (row.astype(np.int64) << SHIFT) | symbol, return_inverse=True, return_counts=True
        )
        evidence = cls(context, code, np.zeros(len(code), np.float32))
        evidence.rank_by(times)
        places = np.full((3, own.size), -1, np.int32)
        places[0, written] = row[: len(written)]
        places[1, written] = inverse[: len(written)]
        places[2, copied] = inverse[len(written) :]
        located = Located(*places.reshape(3, -1, len(CAN_COPY)))
        others = evidence.locate(positions.keys[:, READ_ONLY], positions.target)
        for mine, theirs in ((located.row, others.row), (located.pair, others.pair), (located.copy, others.copy)):
            mine[:, READ_ONLY] = theirs
        return evidence, located

    def locate(self, keys: Keys, target: Ints) -> Located:
        """Where contexts (tokens, columns) and their targets (tokens,) stand."""
        row = np.where(keys != 0, find(self.context, keys), -1)
        code = row << SHIFT
        pair = np.where(row >= 0, find(self.pair, code | target[:, None]), -1)
        copy = np.where(row >= 0, find(self.pair, code | COPY), -1)
        return Located(row.astype(np.int32), pair.astype(np.int32), copy.astype(np.int32))

    def widened(self, positions: Positions) -> "Evidence":
        """The same evidence with room for what these positions may write, besides."""
        room, _ = Evidence.room_for(positions)
        context = np.union1d(self.context, room.context)
        mine = (find(context, self.context)[self.pair >> SHIFT] << SHIFT) | (self.pair & TOKEN_MASK)
        theirs = (find(context, room.context)[room.pair >> SHIFT] << SHIFT) | (room.pair & TOKEN_MASK)
        pair = np.union1d(mine, theirs)
        count = np.zeros(len(pair), np.float32)
        count[find(pair, mine)] = self.count
        return Evidence(context, pair, count)

    def rank_by(self, times: Ints | Singles) -> None:
        """Sets the order in which a context's tokens are listed: the highest ``times`` first."""
        self.ranked: Ints = np.lexsort((-times, self.pair >> SHIFT))

    def listed(self, row: Ints, at_most: int) -> tuple[Ints, Floats, Ints]:
        """The commonest tokens of each row: tokens, counts, and the place in ``row`` each belongs to."""
        length = np.minimum(self.first[row + 1] - self.first[row], at_most)
        at, owner = ranges(self.first[row], length)
        pair = self.ranked[at]
        return self.pair[pair] & TOKEN_MASK, self.count[pair].astype(np.float64), owner

    def purity(self, row: Rows) -> Floats:
        """0..1: how much a context says always the same, little for one that has hardly been seen."""
        return np.asarray(gather(self.square, row) / (gather(self.total, row) + 1) ** 2)

    def add(self, pair: Rows, amount: Floats) -> None:
        """Adds to counts (pairs may repeat, -1 is skipped); a negative amount takes evidence away, down to 0."""
        real = (pair >= 0) & (amount != 0)
        changed, inverse = np.unique(pair[real], return_inverse=True)
        old = self.count[changed].astype(np.float64)
        self.count[changed] = np.maximum(old + np.bincount(inverse, weights=amount[real], minlength=len(old)), 0)
        new = self.count[changed].astype(np.float64)
        row = self.pair[changed] >> SHIFT
        born: Flags = new > _FORGOTTEN
        np.add.at(self.total, row, new - old)
        np.add.at(self.distinct, row, born.astype(np.float64) - (old > _FORGOTTEN))
        np.add.at(self.square, row, new**2 - old**2)

    def kept(self) -> tuple[Keys, Ints, Singles]:
        """Context keys, pair codes and counts without what has never been seen (or has been taken away)."""
        seen = np.flatnonzero(self.count > _FORGOTTEN)
        row, compact = np.unique(self.pair[seen] >> SHIFT, return_inverse=True)
        return self.context[row], (compact << SHIFT) | (self.pair[seen] & TOKEN_MASK), self.count[seen]
