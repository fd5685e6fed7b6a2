"""Which words of a prompt an answer repeats; knows nothing of the words that answers do not repeat."""

from dataclasses import dataclass

import numpy as np

from emulator.learning.arrays import Floats, Ints, Keys, find, gather, ranges

_HIT, _TRY = 0.25, 1.0  # what an untried feature counts as: one try, a quarter of it successful


@dataclass(frozen=True, slots=True)
class Sources:
    """Prompt tokens that may be copied, grouped by example.

    ``token`` (sources,); ``feature`` (sources, 3): hashes of the token, its left and its right neighbour;
    ``first`` (examples + 1,): where each example's sources begin.
    """

    token: Ints
    feature: Keys
    first: Ints


class Pointer:
    """Success rates of the features of prompt tokens, seen when the tokens were or were not copied."""

    def __init__(self, keys: Keys, hits: Floats | None = None, tries: Floats | None = None) -> None:
        self.keys = keys
        self.hits = np.zeros(len(keys)) if hits is None else hits
        self.tries = np.zeros(len(keys)) if tries is None else tries

    def locate(self, sources: Sources) -> Ints:
        """(sources, 3): where each feature stands in this pointer, or -1."""
        return find(self.keys, sources.feature)

    def probabilities(self, sources: Sources, located: Ints, examples: Ints) -> tuple[Floats, Ints, Ints]:
        """For the sources of these examples: probability (1 in sum per example), source, place in ``examples``."""
        source, owner = ranges(sources.first[examples], np.diff(sources.first)[examples])
        at = located[source]
        score = ((gather(self.hits, at) + _HIT) / (gather(self.tries, at) + _TRY)).prod(1)
        total = np.bincount(owner, weights=score, minlength=len(examples))
        return score / np.maximum(total, 1e-300)[owner], source, owner

    def learn(self, located: Ints, sources: Sources, hit: Ints, share: Floats) -> None:
        """Sources ``hit`` were copied with these shares (0..1); all sources of the same examples were tried."""
        examples = np.unique(np.searchsorted(sources.first, hit, side="right") - 1)
        tried, _ = ranges(sources.first[examples], np.diff(sources.first)[examples])
        copied = np.zeros(len(tried))
        np.maximum.at(copied, np.searchsorted(tried, hit), share)
        np.add.at(self.hits, located[tried].ravel(), np.repeat(copied, 3))
        np.add.at(self.tries, located[tried].ravel(), 1.0)
