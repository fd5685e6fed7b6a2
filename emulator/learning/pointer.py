"""Which words of a prompt an answer repeats; knows nothing of the words that answers do not repeat."""

from dataclasses import dataclass

import numpy as np

from emulator.learning.arrays import Flags, Floats, Ints, Keys, find, gather, ranges

_HIT, _TRY = 0.25, 1.0  # what an untried feature counts as: one try, a quarter of it successful


@dataclass(frozen=True, slots=True)
class Sources:
    """Prompt words that may be copied, grouped by example; a copy begins with a word's first token.

    ``token`` (sources,): that first token; ``feature`` (sources, 4): hashes of the word, of its left neighbour, of
    its right one, and of whether it and the word before have capital letters; ``goes_on`` (sources,): it has no
    space, so that after a letter it would only lengthen a word; ``first`` (examples + 1,): where each example's
    sources begin.
    """

    token: Ints
    feature: Keys
    goes_on: Flags
    first: Ints


class Pointer:
    """Success rates of the features of prompt words, seen when the words were or were not copied."""

    def __init__(self, keys: Keys, hits: Floats | None = None, tries: Floats | None = None) -> None:
        self.keys = keys
        self.hits = np.zeros(len(keys)) if hits is None else hits
        self.tries = np.zeros(len(keys)) if tries is None else tries

    def locate(self, sources: Sources) -> Ints:
        """(sources, 4): where each feature stands in this pointer, or -1."""
        return find(self.keys, sources.feature)

    def probabilities(
        self, sources: Sources, located: Ints, examples: Ints, unfinished: Flags
    ) -> tuple[Floats, Ints, Ints]:
        """For the sources of these examples: probability, source, place in ``examples``.

        After an ``unfinished`` word only those that begin a new one are possible. The sum per example is 1, or 0
        when there is none.
        """
        source, owner = ranges(sources.first[examples], np.diff(sources.first)[examples])
        at = located[source]
        score = ((gather(self.hits, at) + _HIT) / (gather(self.tries, at) + _TRY)).prod(1)
        score = np.where(sources.goes_on[source] & unfinished[owner], 0.0, score)
        total = np.bincount(owner, weights=score, minlength=len(examples))
        return score / np.maximum(total, 1e-300)[owner], source, owner

    def learn(self, located: Ints, sources: Sources, hit: Ints, share: Floats) -> None:
        """Sources ``hit`` were copied with these shares (0..1); all sources of the same examples were tried."""
        examples = np.unique(np.searchsorted(sources.first, hit, side="right") - 1)
        tried, _ = ranges(sources.first[examples], np.diff(sources.first)[examples])
        copied = np.zeros(len(tried))
        np.maximum.at(copied, np.searchsorted(tried, hit), share)
        np.add.at(self.hits, located[tried].ravel(), np.repeat(copied, located.shape[1]))
        np.add.at(self.tries, located[tried].ravel(), 1.0)
