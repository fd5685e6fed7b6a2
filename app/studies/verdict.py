"""Which trial to take, and what each trial gained cost. Pure.

A trial's score is a percentage, so that a trial gained is one hundredth of all answers' tokens (or of the reward).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.jobs.analysis import Results
from app.studies.variations import Settings, at_an_edge, label

ACCURACIES: Final = ("full_valid_mean_token_accuracy", "valid_mean_token_accuracy")
REWARDS: Final = ("full_valid_mean_reward", "valid_reward_mean", "valid_mean_reward")
LOSSES: Final = ("full_valid_loss", "valid_loss")
"""Of the whole validation set before sampled batches."""
SURE: Final = 2.0
"""Standard errors by which two scores must differ to be told apart: about 95 of 100 times it is no accident."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a job reached on the validation set, at the step whose checkpoint one would take."""

    score: float
    """Percent: token accuracy, or mean reward for reinforcement."""
    loss: float | None
    """Nats a token."""
    step: int


def measure(results: Results, best_step: int | None) -> Measure | None:
    """The score at the best step, or at the last one that has any; None when nothing was measured on validation.

    Args:
        best_step: what the analysis advises to take.
    """
    for name in (*REWARDS, *ACCURACIES):
        scores = results.series(name)
        if not scores:
            continue
        until = [pair for pair in scores if best_step is None or pair[0] <= best_step] or scores[:1]
        step, value = until[-1]
        if math.isnan(value):
            continue
        return Measure(score=round(value * 100, 3), loss=_loss_at(results, step), step=step)
    return None


def _loss_at(results: Results, step: int) -> float | None:
    for name in LOSSES:
        until = [value for at, value in results.series(name) if at <= step and not math.isnan(value)]
        if until:
            return round(until[-1], 6)
    return None


@dataclass(frozen=True, slots=True)
class Row:
    """A trial that was measured."""

    number: int
    settings: Settings
    measure: Measure
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Gain:
    """What a trial has over the cheapest one."""

    points: float
    usd_per_point: Decimal | None
    """None when nothing was gained, or a price is not known."""


def gains(rows: Sequence[Row]) -> dict[int, Gain]:
    """For each row by its number, against the cheapest measured trial."""
    if not rows:
        return {}
    cheapest = min(rows, key=lambda row: (row.cost_usd is None, row.cost_usd or 0, row.number))
    return {row.number: _gain(row, cheapest) for row in rows}


def _gain(row: Row, cheapest: Row) -> Gain:
    points = round(row.measure.score - cheapest.measure.score, 3)
    if points <= 0 or row.cost_usd is None or cheapest.cost_usd is None:
        return Gain(points, None)
    more = row.cost_usd - cheapest.cost_usd
    return Gain(points, (more / Decimal(str(points))).quantize(Decimal("0.0001")))


def standard_error(score: float, sample_size: int | None) -> float:
    """Of a score in points, were all that it is a share of independent; that of tokens is larger."""
    if not sample_size:
        return 0.0
    share = min(max(score / 100, 0.0), 1.0)
    return 100 * math.sqrt(share * (1 - share) / sample_size)


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Which trial to take and what to try next."""

    number: int
    headline: str
    reasons: tuple[str, ...]
    next_experiment: str | None


def recommend(rows: Sequence[Row], *, sample_size: int | None) -> Recommendation | None:
    """The cheapest of the trials that are as good as the best; of equally dear ones the one of the lowest loss.

    Args:
        sample_size: of what a score is a share (tokens, cases), for its noise; None = not known: only the best
            counts.
    """
    if not rows:
        return None
    best = max(rows, key=lambda row: (row.measure.score, -(row.measure.loss or 0.0)))
    margin = SURE * math.sqrt(2) * standard_error(best.measure.score, sample_size)
    equal = [row for row in rows if best.measure.score - row.measure.score <= margin]
    taken = min(equal, key=lambda row: (row.cost_usd is None, row.cost_usd or 0, row.measure.loss or 0.0))
    reasons = [f"{_figure(taken)} on the validation set, at step {taken.measure.step}"]
    if taken is not best:
        reasons.append(
            f"trial {best.number} has {best.measure.score - taken.measure.score:.2f} points more, less than the "
            f"{margin:.2f} by which scores on so few differ by accident" + _dearer(best, taken)
        )
    elif len(rows) > 1:
        second = max((row for row in rows if row is not best), key=lambda row: row.measure.score)
        behind = best.measure.score - second.measure.score
        reasons.append(f"the next best, trial {second.number}, is {behind:.2f} points behind")
    settings = [row.settings for row in rows]
    edges = [
        f"{name} {value:g} is the {edge} that was tried: try {'less' if edge == 'lowest' else 'more'}"
        for name, value in taken.settings.items()
        if isinstance(value, int | float) and (edge := at_an_edge(name, value, settings)) is not None
    ]
    return Recommendation(
        number=taken.number,
        headline=f"Take trial {taken.number}: {label(taken.settings)}.",
        reasons=tuple(reasons),
        next_experiment="; ".join(edges) or None,
    )


def _figure(row: Row) -> str:
    loss = "" if row.measure.loss is None else f", loss {row.measure.loss:.3f}"
    return f"{row.measure.score:.2f} points{loss}"


def _dearer(one: Row, other: Row) -> str:
    if one.cost_usd is None or other.cost_usd is None or one.cost_usd <= other.cost_usd:
        return ""
    return f", and costs ${one.cost_usd - other.cost_usd:.2f} more"
