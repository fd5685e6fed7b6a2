"""Tells a trend from noise in a short, jumpy series. It knows only numbers, not what they measure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

SURE: Final = 3.0
"""Standard errors between two means before they count as different. A lowest window is picked out of up to
ten, which alone lifts the others about 1.5 errors above it; 3 leaves a false alarm in about one training of
a hundred."""

SURE_BY_RANK: Final = 2.4
"""The same for ranks (Mann-Whitney), lower because less was picked. Few values cannot reach it (3 against 5,
perfectly apart, make 2.24), so values that do not overlap at all count as sure as well."""

WINDOWS: Final = 10
"""A series is looked at in tenths: short enough to see a turn, long enough to average batches."""

FEWEST_IN_A_WINDOW: Final = 3


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive values and their mean; `start` is the index of the first in the series."""

    start: int
    values: tuple[float, ...]
    mean: float

    @property
    def middle(self) -> int:
        return self.start + len(self.values) // 2


def windows(values: Sequence[float], most: int = WINDOWS, fewest: int = FEWEST_IN_A_WINDOW) -> list[Window]:
    """At most `most` windows of nearly equal size, each of at least `fewest` values if there are as many."""
    count = max(1, min(most, len(values) // fewest))
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    return [Window(a, tuple(values[a:b]), mean(values[a:b])) for a, b in pairwise(edges) if b > a]


def lowest_window(values: Sequence[float], size: int) -> Window:
    """The `size` values in a row with the lowest mean, the first such."""
    sums = [0.0, *accumulate(values)]
    starts = range(len(values) - size + 1)
    start = min(starts, key=lambda index: sums[index + size] - sums[index])
    chosen = values[start : start + size]
    return Window(start, tuple(chosen), mean(chosen))


def smoothed(values: Sequence[float], half_width: int) -> list[float]:
    """Centred means. The window grows evenly from the first value on, so that a steep beginning is not flattened;
    at the end it only looks back, so that the line does not end on a single value.
    """
    sums = [0.0, *accumulate(values)]
    last = len(values) - 1
    result = []
    for index in range(len(values)):
        back = min(half_width, index)
        ahead = min(back, last - index)
        result.append((sums[index + ahead + 1] - sums[index - back]) / (ahead + back + 1))
    return result


def jitter(values: Sequence[float]) -> float:
    """Standard deviation of the noise, from the differences of neighbours: a slow trend does not count."""
    if len(values) < 2:
        return 0.0
    return math.sqrt(mean([(b - a) ** 2 for a, b in pairwise(values)]) / 2)


def errors_apart(low: Sequence[float], high: Sequence[float], noise: float) -> float:
    """How many standard errors the mean of `high` lies above that of `low`, given the noise of one value."""
    difference = mean(high) - mean(low)
    error = noise * math.sqrt(1 / len(low) + 1 / len(high))
    if error == 0.0:
        return math.copysign(math.inf, difference) if difference else 0.0
    return difference / error


def surely_ranked(low: Sequence[float], high: Sequence[float]) -> bool:
    """Whether the values of `high` lie above those of `low` by more than chance, whatever their distribution."""
    return min(high) > max(low) or ranks_apart(low, high) >= SURE_BY_RANK


def ranks_apart(low: Sequence[float], high: Sequence[float]) -> float:
    """Mann-Whitney's z: how surely a value of `high` exceeds one of `low`, whatever their distribution."""
    merged = sorted([(value, 0) for value in low] + [(value, 1) for value in high])
    rank_sum = 0.0
    index = 0
    while index < len(merged):
        end = index
        while end < len(merged) and merged[end][0] == merged[index][0]:
            end += 1
        shared_rank = (index + 1 + end) / 2
        rank_sum += shared_rank * sum(group for _, group in merged[index:end])
        index = end
    a, b = len(low), len(high)
    u = rank_sum - b * (b + 1) / 2
    return (u - a * b / 2) / math.sqrt(a * b * (a + b + 1) / 12)


def mean(values: Sequence[float]) -> float:
    """Exact in its sum, so the same on every machine; `values` must not be empty."""
    return math.fsum(values) / len(values)
