"""Which training prompts resemble a text: TF-IDF over character 2- and 3-grams; knows nothing of answers."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from emulator.learning.arrays import Flags, Floats, Ints, Keys, Singles, find, hashed

_DIMENSIONS = 1024
_SCALE = 1000  # vectors are whole numbers of this length, so float32 products are exact on every machine
_CHARACTERS = 2_000
_NEVER = 4.0 * _SCALE**2
_BLOCK = 1024
_SPACE = re.compile(r"\s+")


def _grams(text: str) -> Keys:
    """The distinct 2- and 3-grams of the text's end, without regard to case, width and spacing."""
    plain = _SPACE.sub(" ", unicodedata.normalize("NFKC", text[-2 * _CHARACTERS :]).lower()).strip()
    codes = np.frombuffer(f" {plain[-_CHARACTERS:]} ".encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.unique(
        np.concatenate([hashed(2, codes[:-1], codes[1:]), hashed(3, codes[:-2], codes[1:-1], codes[2:])])
    )


class Neighbours:
    """An index of texts. Ties are broken by the lower index, so the result is the same everywhere."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        grams = [_grams(text) for text in texts]
        self._vocabulary, frequency = np.unique(np.concatenate(grams), return_counts=True)
        self._weight: Floats = np.log((len(texts) + 0.5) / frequency) ** 2
        self.vectors = self._embed(grams)

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
        return np.rint(vectors / length * _SCALE).astype(np.float32)

    def nearest(self, texts: Sequence[str], count: int) -> tuple[Ints, Floats]:
        """Indices and cosines (-1..1) of the ``count`` nearest, best first; -1 as cosine where there are fewer."""
        return self._search(self._embed([_grams(text) for text in texts]), np.arange(len(self.vectors)), count, None)

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
