"""How far a training is: its pace, when it will be done, what it has cost. Pure.

It knows no row and no clock: it is given the steps that were seen, with Azure's times, and what is known of a job.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from math import ceil
from typing import Any, Final, Literal

from app.costs.estimates import CENT_PARTS, MILLION

SECONDS_PER_HOUR: Final = 3600
FEWEST_WAITS: Final = 3
"""So many earlier jobs make a usual waiting time; fewer are chance."""
LONGEST: Final = timedelta(days=365)
"""Beyond it an end by pace is no estimate any more. Azure itself ends a job after 720 hours."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A step that was measured."""

    step: int
    at: datetime
    """Azure's time, in whole seconds."""
    total_steps: int | None = None
    """Of the whole training, where Azure says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a training consists of, as far as it is known."""

    examples: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    epoch_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a training costs: by tokens, or by hours."""

    usd_per_million_tokens: Decimal | None = None
    usd_per_hour: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a training is. None = not known."""

    step: int
    total_steps: int | None
    total_from: Literal["azure", "reckoned"] | None
    """`reckoned`: examples ÷ batch, rounded up, × epochs."""
    epoch: float | None
    """Epochs done, with their part."""
    seconds_per_step: float | None
    last_step_at: datetime | None
    finish_at: datetime | None
    """At the present pace."""
    spent_usd: Decimal | None
    spent_basis: str
    """What it was reckoned from, or why it is not known."""
    further_usd: Decimal | None
    """What the steps that are left may cost."""

    @property
    def share(self) -> float | None:
        """0 to 1."""
        return None if not self.total_steps else min(1.0, self.step / self.total_steps)


def ticks_of(events: Iterable[tuple[datetime, Mapping[str, Any]]]) -> list[Tick]:
    """Metrics events, each as its time and its data, as steps; one without a usable step is left out."""
    found = []
    for at, data in events:
        step, total = _whole(data.get("step")), _whole(data.get("total_steps"))
        if step is not None:
            found.append(Tick(step, at, total))
    return found


def _whole(value: object) -> int | None:
    try:
        return int(float(value)) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError):
        return None


def pace_seconds(ticks: Sequence[Tick]) -> float | None:
    """Seconds a step takes: the median over steps of what each took, so that a pause or a gap counts for nothing.

    Azure tells the time in whole seconds and some steps only: what is told for one second is taken together, and
    the steps between two that were seen are taken to have been equally long.
    """
    newest: dict[datetime, int] = {}
    for tick in ticks:
        newest[tick.at] = max(tick.step, newest.get(tick.at, 0))
    seen: list[tuple[datetime, int]] = []
    for at, step in sorted(newest.items()):
        if not seen or step > seen[-1][1]:
            seen.append((at, step))
    taken = sorted(
        ((later - at).total_seconds() / (last - first), last - first)
        for (at, first), (later, last) in pairwise(seen)
    )
    half = sum(steps for _, steps in taken) / 2
    counted = 0
    for seconds, steps in taken:
        counted += steps
        if counted >= half:
            return seconds
    return None


def total_steps(size: Size) -> int | None:
    """Steps of the whole training; an epoch ends with a smaller batch where examples are left over."""
    if not (size.examples and size.epochs and size.batch_size):
        return None
    return ceil(size.examples / size.batch_size) * size.epochs


def progress(
    ticks: Sequence[Tick], size: Size, rate: Rate, *, step: int = 0, now: datetime, running: bool
) -> Progress:
    """What can be said of a training.

    Args:
        ticks: the newest steps that Azure told of, in any order.
        step: the newest step that anything was measured at; Azure's log leaves most of them out.
        running: whether it goes on; the end of one that stands still is not known.
    """
    newest = max(ticks, key=lambda tick: tick.step, default=None)
    step = max(step, newest.step if newest else 0)
    told = newest.total_steps if newest else None
    total = told or total_steps(size)
    left = None if total is None else max(0, total - step)
    pace = pace_seconds(ticks)
    spent, basis = _spent(step, total, pace, size, rate)
    return Progress(
        step=step,
        total_steps=total,
        total_from=None if total is None else "azure" if told else "reckoned",
        epoch=round(min(1.0, step / total) * size.epochs, 2) if total and size.epochs else None,
        seconds_per_step=pace,
        last_step_at=newest.at if newest else None,
        finish_at=_finish(newest, left, pace, now) if running else None,
        spent_usd=spent,
        spent_basis=basis,
        further_usd=_further(left, total, pace, size, rate),
    )


def _finish(newest: Tick | None, left: int | None, pace: float | None, now: datetime) -> datetime | None:
    if newest is None or left is None or pace is None or left * pace > LONGEST.total_seconds():
        return None
    return max(now, newest.at + timedelta(seconds=left * pace))


def _spent(step: int, total: int | None, pace: float | None, size: Size, rate: Rate) -> tuple[Decimal | None, str]:
    if rate.usd_per_hour is not None:
        if step and pace is None:
            return None, "The pace of its steps is not known yet, and it is billed by the hour."
        hours = Decimal(step * (pace or 0)) / SECONDS_PER_HOUR
        basis = f"{hours:.2f} hours of training × ${rate.usd_per_hour:.2f}, without a grading model's tokens"
        return _cents(hours * rate.usd_per_hour), basis
    if rate.usd_per_million_tokens is None:
        return None, "No price is known for this training."
    if not step:
        return Decimal(0), "Nothing is billed before the first step."
    if total is None or not size.epoch_tokens or not size.epochs:
        return None, "It is not known how much of the training is done."
    tokens = min(step, total) * size.epoch_tokens * size.epochs // total
    basis = f"{tokens:,} tokens trained × ${rate.usd_per_million_tokens:.2f} a million"
    return _cents(tokens * rate.usd_per_million_tokens / MILLION), basis


def _further(left: int | None, total: int | None, pace: float | None, size: Size, rate: Rate) -> Decimal | None:
    if left is None or not total:
        return None
    if rate.usd_per_hour is not None:
        return None if pace is None else _cents(Decimal(left * pace) / SECONDS_PER_HOUR * rate.usd_per_hour)
    if rate.usd_per_million_tokens is None or not size.epoch_tokens or not size.epochs:
        return None
    tokens = Decimal(left * size.epoch_tokens * size.epochs) / total
    return _cents(tokens * rate.usd_per_million_tokens / MILLION)


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT_PARTS, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class UsualWait:
    """How long jobs like this one have waited in Azure's queue."""

    jobs: int
    median_seconds: float
    longest_seconds: float


def usual_wait(seconds: Sequence[float]) -> UsualWait | None:
    """From the waits of earlier jobs; None when they are too few."""
    if len(seconds) < FEWEST_WAITS:
        return None
    ordered = sorted(seconds)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return UsualWait(len(ordered), median, ordered[-1])
