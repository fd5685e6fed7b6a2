"""Which training prompts resemble a text: TF-IDF over character 2- and 3-grams; knows nothing of answers."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from emulator.learning.arrays import Flags, Floats, Ints, Keys, Singles, find, hashed

_DIMENSIONS = 1024
_SCALE = 1000  # vectors are whole numbers of this length, so float32 products are exact on every machine
_CHARACTERS = 2_000
_EXPONENTS = (2.0, 1.0, 0.5, 3.0)  # the first wins a tie
_TRIAL = 400
_NEVER = 4.0 * _SCALE**2
_BLOCK = 1024
_SPACE = re.compile(r"\s+")


@lru_cache(maxsize=1024)
def _grams(text: str) -> Keys:
    """The distinct 2- and 3-grams of the text's end, without regard to case, width and spacing."""
    plain = _SPACE.sub(" ", unicodedata.normalize("NFKC", text[-2 * _CHARACTERS :]).lower()).strip()
    codes = np.frombuffer(f" {plain[-_CHARACTERS:]} ".encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.unique(
        np.concatenate([hashed(2, codes[:-1], codes[1:]), hashed(3, codes[:-2], codes[1:-1], codes[2:])])
    )


class Neighbours:
    """An index of texts; ``exponent`` says how much a rare gram outweighs a common one.

    Ties are broken by the lower index, so the result is the same everywhere.
    """

    def __init__(self, texts: Sequence[str], exponent: float = 2.0) -> None:
        self.texts, self.exponent = tuple(texts), exponent
        grams = [_grams(text) for text in texts]
        self._vocabulary, frequency = np.unique(np.concatenate(grams), return_counts=True)
        self._weight: Floats = np.log((len(texts) + 0.5) / frequency) ** exponent
        self.vectors = self._embed(grams)

    @classmethod
    def suited_to(cls, texts: Sequence[str], answers: Sequence[str]) -> "Neighbours":
        """The index whose exponent finds, for each text, the neighbour with the most similar answer.

        Some files turn on rare words (names), others on the common ones (the form of the question).
        """
        few = slice(0, _TRIAL)
        target = cls(answers[few], 1.0).vectors
        best, best_score = _EXPONENTS[0], -np.inf
        for exponent in _EXPONENTS if len(target) > 1 else ():
            found, _ = cls(texts[few], exponent).nearest_other(1, _TRIAL)
            score = float((target * target[found[:, 0]]).sum())
            if score > best_score:
                best, best_score = exponent, score
        return cls(texts, best)

    def _embed(self, grams: Sequence[Keys]) -> Singles:
        """(texts, dimensions): signed feature hashing of the weighted grams, rounded to whole numbers."""
        text = np.repeat(np.arange(len(grams)), [len(g) for g in grams])
        gram = np.concatenate(grams)
        known = find(self._vocabulary, gram)
        weight = np.where(known >= 0, self._weight[known], 0.0)
        weight = np.where((gram >> np.uint64(40)) & np.uint64(1), weight, -weight)
        cell = text * _DIMENSIONS + (gram % np.uint64(_DIMENSIONS)).astype(np.int64)
        sums = np.bincount(cell, weights=weight, minlength=len(grams) * _DIMENSIONS)
        vectors = sums.reshape(len(grams), _DIMENSIONS)
        length = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        embedded: Singles = np.rint(vectors / length * _SCALE).astype(np.float32)
        return embedded

    def nearest(self, texts: Sequence[str], count: int) -> tuple[Ints, Floats]:
        """Indices and cosines (-1..1) of the ``count`` nearest, best first; -1 as cosine where there are fewer."""
        return self._search(
            self._embed([_grams(text) for text in texts]), np.arange(len(self.vectors)), count, None
        )

    def nearest_other(self, count: int, pool: int) -> tuple[Ints, Floats]:
        """The same for every indexed text, never finding itself; a large index is searched in a fixed sample."""
        candidates = np.arange(len(self.vectors))
        if len(candidates) > pool:
            candidates = np.sort(np.random.default_rng(0).choice(candidates, pool, replace=False))
        return self._search(self.vectors, candidates, count, np.arange(len(self.vectors)))

    def _search(self, vectors: Singles, pool: Ints, count: int, skip: Ints | None) -> tuple[Ints, Floats]:
        kept = min(count, len(pool))
        index = np.zeros((len(vectors), count), np.int64)
        cosine = np.full((len(vectors), count), -1.0)
        for start in range(0, len(vectors), _BLOCK):
            block = slice(start, start + _BLOCK)
            product = (vectors[block] @ self.vectors[pool].T).astype(np.float64)
            if skip is not None:
                itself = find(pool, skip[block])
                hit: Flags = itself >= 0
                product[np.flatnonzero(hit), itself[hit]] = -_NEVER
            # whole numbers leave room for the index: no two entries tie, so every partition is the same
            product = product * 2.0**24 - np.arange(len(pool))
            best = np.argpartition(-product, kept - 1, axis=1)[:, :kept]
            order = np.take_along_axis(best, np.argsort(-np.take_along_axis(product, best, 1), axis=1), 1)
            index[block, :kept] = pool[order]
            exact = np.rint(np.take_along_axis(product, order, 1) / 2.0**24)
            cosine[block, :kept] = np.maximum(exact / _SCALE**2, -1)
        return index, cosine
