"""Array types, 64-bit hashing and sorted look-ups; knows nothing of language."""

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def hashed(tag: int, *parts: Any) -> Keys:
    """One 64-bit key per element of the broadcast integer arrays (the finaliser of splitmix64, chained)."""
    with np.errstate(over="ignore"):
        key: Keys = np.asarray(tag, np.uint64) * _GOLDEN
        for part in parts:
            key = key + np.asarray(part).astype(np.uint64) * _GOLDEN + np.uint64(77)
            key = (key ^ (key >> np.uint64(30))) * _FIRST
            key = (key ^ (key >> np.uint64(27))) * _SECOND
            key = key ^ (key >> np.uint64(31))
    return key


def ranges(start: Ints, length: Ints) -> tuple[Ints, Ints]:
    """Indices of the ranges ``[start, start + length)`` one after the other, and which range each belongs to."""
    total = int(length.sum())
    owner = np.repeat(np.arange(len(length)), length)
    return np.arange(total) - (np.cumsum(length) - length)[owner] + start[owner], owner


def find(ordered: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> Ints:
    """Position of each wanted value in a sorted array without repeats, or -1."""
    if not len(ordered):
        return np.full(np.shape(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return np.where(ordered[at] == wanted, at, -1)


def gather(values: npt.NDArray[Any], at: npt.NDArray[Any]) -> Floats:
    """``values[at]``, and 0 where ``at`` is -1."""
    if not len(values):
        return np.zeros(np.shape(at))
    picked: Floats = np.where(at >= 0, values[np.maximum(at, 0)], 0.0)
    return picked
