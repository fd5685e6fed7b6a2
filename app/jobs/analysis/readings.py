"""Turns the points of a training into the few figures a verdict rests on. It measures; it does not judge."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from app.jobs.analysis.findings import CheckpointPoint
from app.jobs.analysis.results import ERROR_COUNTS, TOKEN_COUNTS, TRAIN_REWARDS, VALID_REWARDS, Results
from app.jobs.analysis.trend import (
    SURE,
    WINDOWS,
    Window,
    errors_apart,
    jitter,
    lowest_window,
    mean,
    ranks_apart,
    smoothed,
    surely_ranked,
    windows,
)

MEANINGFUL_CHANGE: Final = 0.05
"""5 % of the first loss (0.05 of reward). A large model starts low on ordinary text, so good trainings of it
may win only 10 to 20 % (82 examples of history: validation 1.52 to 1.27); under 5 % no answer changes visibly."""

STILL_FALLING: Final = 0.10
"""Validation that won so much in its last epoch (or last fifth) will win more. Ours: gains shrink from epoch to
epoch and each is paid for, so a last one under a tenth promises little."""

HEAD_SIZES: Final = (3, 10)
"""The first loss is read off the first 3, the first 10 points and the first fifth: easy data is learned within a
few steps, and only a short head still sees the beginning; noisy data needs a longer one."""

SAMPLED_WINDOWS: Final = 5
"""Sampled validation is noisier than training (often one small batch), so it is cut into fifths, not
tenths."""

FEWEST_SAMPLED: Final = 6
"""Fewer sampled validation values than this are shown, but nothing is concluded from them."""

WIDE_GAP: Final = 2.0
"""Validation loss as a multiple of training loss. Source: Microsoft's training-curves.md (2026-08-20) calls
a ratio of 1.2 mild, 1.5 clear and 2.0 severe over-fitting."""

TOKEN_GROWTH: Final = 1.5
"""Answers half as long again as they were. Longer reasoning is what reinforcement may teach, so this alone decides
nothing; a reward that rises with the length while validation does not is bought with tokens."""

ERROR_GROWTH: Final = 2.0
"""Answers that a grader could not read, doubled, and at least one more a step."""

LARGEST_LOSS: Final = 1e6
"""Nats a token; anything above is treated as infinite (picking among 200,000 tokens at random costs 12)."""

Unit = Literal["loss", "reward"]


@dataclass(frozen=True, slots=True)
class Training:
    """The training curve. For a reward all signs are turned inside, so `fall` is always an improvement.

    Args:
        first, lowest, last: level at the beginning, of the best tenth, of the last tenth (natural sign).
        fall: improvement from first to last, as a share of first (for rewards: absolute).
        learned: whether that is meaningful and cannot be noise.
        given_back: share of the improvement up to `lowest` that was lost again, 0 if none; infinite when
            there was none.
        rise: how far the last tenth lies above the best, as a share of the best (for rewards: absolute).
        rise_is_sure: whether that rise is more than noise.
        still_falling: the last fifth is meaningfully better than the fifth before.
    """

    unit: Unit
    count: int
    last_step: int
    first: float
    lowest: float
    lowest_step: int
    last: float
    fall: float
    learned: bool
    given_back: float
    rise: float
    rise_is_sure: bool
    still_falling: bool


@dataclass(frozen=True, slots=True)
class Validation:
    """The validation curve.

    Args:
        whole: True when it is the whole validation set at epoch ends, False for sampled batches.
        best_step: where it was lowest (for sampled batches: the middle of the best fifth of them in a row).
        rise: from the best to the last, as a share of the best (for rewards: absolute).
        rise_is_sure: whether that is more than noise; the whole set is the same at every epoch, so there
            always.
        fell: it fell meaningfully, and by more than noise.
        still_falling: it was best at the end, and clearly better there than just before.
    """

    unit: Unit
    whole: bool
    series: tuple[tuple[int, float], ...]
    first: float
    best: float
    best_step: int
    last: float
    rise: float
    rise_is_sure: bool
    fell: bool
    still_falling: bool

    @property
    def judges(self) -> bool:
        return len(self.series) >= (2 if self.whole else FEWEST_SAMPLED)


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Token accuracies, 0 to 1; None where there are none."""

    train_first: float | None
    train_last: float | None
    valid_first: float | None
    valid_best: float | None
    valid_last: float | None


@dataclass(frozen=True, slots=True)
class Growth:
    """A figure of reinforcement fine-tuning that surely grew and had better not: tokens, or unreadable answers.

    Args:
        first, last: mean of its first and its last tenth.
    """

    name: str
    errors: bool
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Readings:
    """Everything a verdict may look at.

    Args:
        gap_widened: since validation was best, its ratio to the training loss at least doubled, to 2 or more.
        not_a_number_at: the first step where a loss was NaN or infinite; `training` is of what came before.
    """

    training: Training | None
    validation: Validation | None
    accuracies: Accuracies
    gap_widened: bool
    growths: tuple[Growth, ...]
    not_a_number_at: int | None
    points: int
    last_step: int


def read(results: Results, checkpoints: Sequence[CheckpointPoint]) -> Readings:
    train_name, unit = _training_column(results)
    train = results.series(train_name)
    measured = [*train, *results.series("valid_loss"), *results.series("full_valid_loss")]
    broken_at = min((step for step, value in measured if not _usable(value)), default=None)
    finite = [(step, value) for step, value in train if broken_at is None or step < broken_at]
    training = _training(finite, unit) if finite else None
    validation = _validation(results, checkpoints, unit)
    return Readings(
        training=training,
        validation=validation,
        gap_widened=_gap_widened(finite, training, validation),
        growths=tuple(_growths(results)) if unit == "reward" else (),
        accuracies=_accuracies(results),
        not_a_number_at=broken_at,
        points=len(results.points),
        last_step=results.points[-1].step if results.points else 0,
    )


def _training_column(results: Results) -> tuple[str, Unit]:
    """Losses first; the reward only where there is no loss, as in reinforcement fine-tuning."""
    if results.series("train_loss"):
        return "train_loss", "loss"
    for name in TRAIN_REWARDS:
        if results.series(name):
            return name, "reward"
    return "train_loss", "loss"


def _training(series: list[tuple[int, float]], unit: Unit) -> Training:
    sign = 1.0 if unit == "loss" else -1.0
    values = [sign * value for _, value in series]
    parts = windows(values)
    best = min(parts, key=lambda part: part.mean)
    last = parts[-1]
    first, learned = _beginning(values, last, unit)
    fifths = windows(values, most=5)
    noise = max(jitter(values), jitter(values[best.start :]))
    gained = first - best.mean
    lost = last.mean - best.mean
    return Training(
        unit=unit,
        count=len(values),
        last_step=series[-1][0],
        first=sign * first,
        lowest=sign * best.mean,
        lowest_step=series[best.middle][0],
        last=sign * last.mean,
        fall=_share(first - last.mean, first, unit),
        learned=learned,
        given_back=lost / gained if gained > 0 else (math.inf if lost > 0 else 0.0),
        rise=_share(lost, best.mean, unit),
        rise_is_sure=_surely_above(best, last, noise),
        still_falling=len(fifths) > 1 and _fell(fifths[-2], fifths[-1], unit),
    )


def _beginning(values: list[float], last: Window, unit: Unit) -> tuple[float, bool]:
    """The level at the start and whether the end is surely and meaningfully better.

    Several looks, because trainings fall in different ways: within a few steps (short head), within a fifth
    (long head), or so slowly that only first and last fifth show it.
    """
    rest = values[len(values) // 2 :]
    sizes = (*HEAD_SIZES, len(values) // 5)
    heads = [values[:size] for size in sizes if HEAD_SIZES[0] <= size <= len(values) // 2]
    first = mean(heads[0]) if heads else values[0]
    for head in heads:
        if _share(mean(head) - last.mean, mean(head), unit) >= MEANINGFUL_CHANGE and surely_ranked(rest, head):
            return mean(head), True
    fifths = windows(values, most=5)
    return first, len(fifths) > 1 and _fell(fifths[0], fifths[-1], unit)


def _fell(earlier: Window, later: Window, unit: Unit) -> bool:
    return (
        _share(earlier.mean - later.mean, earlier.mean, unit) >= MEANINGFUL_CHANGE
        and errors_apart(later.values, earlier.values, jitter(earlier.values + later.values)) >= SURE
    )


def _surely_above(low: Window, high: Window, noise: float) -> bool:
    """By means, or by ranks where single wild values blow up the means' errors."""
    return high.mean > low.mean and (
        errors_apart(low.values, high.values, noise) >= SURE or ranks_apart(low.values, high.values) >= SURE
    )


def _validation(results: Results, checkpoints: Sequence[CheckpointPoint], unit: Unit) -> Validation | None:
    """The whole validation set where it was measured at least twice, else the sampled batches."""
    if unit == "reward":
        named = {name: _finite(results.series(name)) for name in VALID_REWARDS}
        whole, sampled = [], max(named.values(), key=len)
    else:
        by_step = dict(_finite(results.series("full_valid_loss")))
        for checkpoint in checkpoints:
            if checkpoint.full_valid_loss is not None and _usable(checkpoint.full_valid_loss):
                by_step.setdefault(checkpoint.step, checkpoint.full_valid_loss)
        whole, sampled = sorted(by_step.items()), _finite(results.series("valid_loss"))
    if len(whole) >= 2 or (whole and len(sampled) < FEWEST_SAMPLED):
        return _whole_validation(whole, unit)
    return _sampled_validation(sampled, unit) if sampled else None


def _whole_validation(series: list[tuple[int, float]], unit: Unit) -> Validation:
    best_step, best = min(series, key=lambda point: (point[1], point[0]))
    first, last = series[0][1], series[-1][1]
    return Validation(
        unit=unit,
        whole=True,
        series=tuple(series),
        first=first,
        best=best,
        best_step=best_step,
        last=last,
        rise=_share(last - best, best, unit),
        rise_is_sure=last > best,
        fell=_share(first - best, first, unit) >= MEANINGFUL_CHANGE,
        still_falling=len(series) > 1
        and best_step == series[-1][0]
        and _share(series[-2][1] - last, series[-2][1], unit) >= STILL_FALLING,
    )


def _sampled_validation(series: list[tuple[int, float]], unit: Unit) -> Validation:
    sign = 1.0 if unit == "loss" else -1.0
    values = [sign * value for _, value in series]
    parts = _sampled_windows(values)
    last = parts[-1]
    best = lowest_window(values, len(last.values))
    first = values[0]
    return Validation(
        unit=unit,
        whole=False,
        series=tuple(series),
        first=sign * first,
        best=sign * best.mean,
        best_step=series[best.middle][0],
        last=sign * last.mean,
        rise=_share(last.mean - best.mean, best.mean, unit),
        rise_is_sure=_surely_above(best, last, jitter(values[best.start :])),
        fell=_beginning(values, last, unit)[1],
        still_falling=len(parts) > 1
        and _share(parts[-2].mean - last.mean, parts[-2].mean, unit) >= STILL_FALLING
        and _fell(parts[-2], last, unit),
    )


def _sampled_windows(values: list[float]) -> list[Window]:
    if len(values) < FEWEST_SAMPLED:
        return windows(values, most=len(values), fewest=1)
    return windows(values, most=SAMPLED_WINDOWS, fewest=2)


def _growths(results: Results) -> Iterator[Growth]:
    for name in (*TOKEN_COUNTS, *ERROR_COUNTS):
        errors = name in ERROR_COUNTS
        parts = windows([value for _, value in _finite(results.series(name))])
        if len(parts) < 2:
            continue
        first, last = parts[0], parts[-1]
        grown = last.mean >= (ERROR_GROWTH if errors else TOKEN_GROWTH) * first.mean
        if errors:
            grown = grown and last.mean - first.mean >= 1
        if grown and surely_ranked(first.values, last.values):
            yield Growth(name, errors, first.mean, last.mean)


def _gap_widened(train: list[tuple[int, float]], training: Training | None, validation: Validation | None) -> bool:
    if training is None or validation is None or training.unit == "reward":
        return False
    if min(training.last, validation.best) <= 0:
        return training.last <= 0 < validation.last
    reach = max(1, len(train) // (2 * WINDOWS))
    nearest = min(range(len(train)), key=lambda index: abs(train[index][0] - validation.best_step))
    around = [value for _, value in train[max(0, nearest - reach) : nearest + reach + 1]]
    ratio_at_best = validation.best / mean(around) if mean(around) > 0 else math.inf
    ratio = validation.last / training.last
    return ratio >= WIDE_GAP and ratio >= 2 * ratio_at_best


def smoothed_validation(series: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Sampled validation as a curve calm enough to read off one step of it."""
    values = smoothed([value for _, value in series], max(1, len(series) // 10))
    return [(step, value) for (step, _), value in zip(series, values, strict=True)]


def _accuracies(results: Results) -> Accuracies:
    train = _finite(results.series("train_mean_token_accuracy"))
    whole = _finite(results.series("full_valid_mean_token_accuracy"))
    valid = whole or _finite(results.series("valid_mean_token_accuracy"))
    levels = windows([value for _, value in train]) if train else []
    valid_levels = (
        [value for _, value in whole]
        if whole
        else [part.mean for part in _sampled_windows([value for _, value in valid])]
        if valid
        else []
    )
    return Accuracies(
        train_first=mean([value for _, value in train[:3]]) if train else None,
        train_last=levels[-1].mean if levels else None,
        valid_first=valid[0][1] if valid else None,
        valid_best=max(valid_levels, default=None),
        valid_last=valid_levels[-1] if valid_levels else None,
    )


def _share(difference: float, base: float, unit: Unit) -> float:
    """Losses compare by share, rewards (mostly 0 to 1, possibly 0 or negative) by their difference."""
    if unit == "reward":
        return difference
    if base <= 0:
        return 0.0 if difference <= 0 else math.inf
    return difference / base


def _finite(series: Iterable[tuple[int, float]]) -> list[tuple[int, float]]:
    return [(step, value) for step, value in series if _usable(value)]


def _usable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= LARGEST_LOSS
