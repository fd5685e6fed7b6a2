"""Decides what a curve's picture shows, for every kind of paper: panels, calm lines, scales, ticks, colours."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from app.jobs.analysis.findings import CheckpointPoint
from app.jobs.analysis.readings import LARGEST_LOSS
from app.jobs.analysis.results import TRAIN_REWARDS, VALID_REWARDS, Results
from app.jobs.analysis.trend import smoothed

SETTLED_AFTER: Final = 0.1
"""Share of the steps after which a curve counts as settled: the scale must serve that part."""

TALL_START: Final = 2.5
"""A beginning so many times higher than everything after it is cut off at the top, and said to be; else the part
that matters, where validation turns, is a flat line at the bottom."""

HEADROOM: Final = 0.06

Series = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours as `#rrggbb`. Training and validation also differ in shape, so nothing hangs on colour alone."""

    paper: str
    border: str
    ink: str
    quiet: str
    grid: str
    train: str
    valid: str
    best: str
    alarm: str


LIGHT: Final = Palette(
    paper="#ffffff",
    border="#dde3ec",
    ink="#0f172a",
    quiet="#64748b",
    grid="#eaeff5",
    train="#2563eb",
    valid="#e0590b",
    best="#047857",
    alarm="#dc2626",
)
DARK: Final = Palette(
    paper="#0f172a",
    border="#26334a",
    ink="#e8edf5",
    quiet="#94a3b8",
    grid="#1e2a40",
    train="#6ea8fe",
    valid="#fb9a4b",
    best="#34d399",
    alarm="#f87171",
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram.

    Args:
        train: every step; `calm_train` the same smoothed.
        sampled: validation batches; `calm_sampled` the same smoothed.
        whole: the whole validation set at epoch ends.
        broken: steps where the value was no finite number.
        bottom, top: range of the axis; `ticks` lie in it.
        highest: the highest value of the calm lines; above `top` when the start was cut off.
    """

    name: str
    train: Series
    calm_train: Series
    sampled: Series
    calm_sampled: Series
    whole: Series
    broken: tuple[int, ...]
    bottom: float
    top: float
    ticks: tuple[float, ...]
    highest: float


def panels(results: Results, checkpoints: Sequence[CheckpointPoint] = ()) -> list[Panel]:
    """The diagrams there is data for: loss and token accuracy, or reward."""
    whole = dict(results.series("full_valid_loss"))
    for checkpoint in checkpoints:
        if checkpoint.full_valid_loss is not None:
            whole.setdefault(checkpoint.step, checkpoint.full_valid_loss)
    candidates = [
        _panel("Loss", results.series("train_loss"), results.series("valid_loss"), sorted(whole.items())),
        _panel(
            "Reward",
            max((results.series(name) for name in TRAIN_REWARDS), key=len),
            max((results.series(name) for name in VALID_REWARDS), key=len),
            [],
        ),
        _panel(
            "Token accuracy",
            results.series("train_mean_token_accuracy"),
            results.series("valid_mean_token_accuracy"),
            results.series("full_valid_mean_token_accuracy"),
        ),
    ]
    return [panel for panel in candidates if panel is not None]


def ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Round numbers (1, 2, 2.5, 5 times a power of ten) from `low` to `high`, at most `most` of them or so."""
    if not high > low:
        return (low,)
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(index * step, 12) for index in range(first, last + 1))


def tick_label(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"


def step_range(drawn: Sequence[Panel]) -> tuple[int, int]:
    steps = [
        step
        for panel in drawn
        for series in (panel.train, panel.sampled, panel.whole)
        for step, _ in (series[:1] + series[-1:])
    ] + [step for panel in drawn for step in panel.broken]
    return (min(steps), max(steps)) if steps else (0, 1)


def thinned(series: Series, most: int) -> Series:
    """At most about `most` points; of each stretch its lowest and highest, so that no spike disappears."""
    if len(series) <= most:
        return series
    stretch = math.ceil(2 * len(series) / most)
    kept: list[tuple[int, float]] = []
    for start in range(0, len(series), stretch):
        part = series[start : start + stretch]
        low, high = min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])
        kept += sorted({low, high})
    return tuple(kept)


def below(series: Series, top: float) -> list[list[tuple[float, float]]]:
    """The stretches of a line under `top`, each beginning and ending exactly where the line crosses it."""
    stretches: list[list[tuple[float, float]]] = []
    current: list[tuple[float, float]] = []
    previous: tuple[int, float] | None = None
    for step, value in series:
        if previous is not None and (previous[1] > top) != (value > top):
            share = (top - previous[1]) / (value - previous[1])
            current.append((previous[0] + share * (step - previous[0]), top))
        if value <= top:
            current.append((float(step), value))
        elif current:
            stretches.append(current)
            current = []
        previous = (step, value)
    return [*stretches, current] if current else stretches


def _panel(
    name: str, train: list[tuple[int, float]], sampled: list[tuple[int, float]], whole: list[tuple[int, float]]
) -> Panel | None:
    broken = tuple(sorted({step for step, value in [*train, *sampled, *whole] if not _drawable(value)}))
    raw, batches, epochs = _drawables(train), _drawables(sampled), _drawables(whole)
    if not (raw or batches or epochs):
        return None
    calm_raw, calm_batches = _calm(raw, 30), _calm(batches, 10)
    lines = [*calm_raw, *calm_batches, *epochs]
    settled = step_settled(lines)
    highest = max(value for _, value in lines)
    calm_top = max(value for step, value in lines if step >= settled)
    lowest = min(value for _, value in [*raw, *batches, *epochs])
    top = calm_top * TALL_START if calm_top > 0 and highest > calm_top * TALL_START and name == "Loss" else highest
    bottom, top = _range(name, lowest, max(top, _usual_top(raw, calm_top)))
    return Panel(
        name=name,
        train=raw,
        calm_train=calm_raw,
        sampled=batches,
        calm_sampled=calm_batches,
        whole=epochs,
        broken=broken,
        bottom=bottom,
        top=top,
        ticks=ticks(bottom, top, 6 if name != "Token accuracy" else 5),
        highest=highest,
    )


def _usual_top(raw: Series, calm_top: float) -> float:
    """Room for nearly all single steps, unless they jump more than twice as high as the calm line."""
    values = sorted(value for _, value in raw)
    return min(values[len(values) * 49 // 50], 2 * calm_top) if values and calm_top > 0 else calm_top


def step_settled(lines: Iterable[tuple[int, float]]) -> float:
    steps = [step for step, _ in lines]
    return min(steps) + SETTLED_AFTER * (max(steps) - min(steps))


def _range(name: str, lowest: float, highest: float) -> tuple[float, float]:
    """Losses stand on zero unless they move high above it; accuracies hang from 1."""
    spread = max(highest - lowest, abs(highest) * 0.05, 1e-6)
    if name == "Token accuracy":
        return max(0.0, math.floor((min(lowest, 0.98) - spread * HEADROOM) * 20) / 20), max(1.0, highest)
    low = 0.0 if 0 <= lowest < 0.6 * highest else lowest - spread * HEADROOM
    return low, highest + (highest - low if highest > low else spread) * HEADROOM


def _calm(series: Series, parts: int) -> Series:
    # Twice a small window is rounder than once a large one: a single spike makes a hill, not a box.
    half_width = max(1, len(series) // (2 * parts))
    values = smoothed(smoothed([value for _, value in series], half_width), half_width)
    return tuple((step, value) for (step, _), value in zip(series, values, strict=True))


def _drawables(series: Iterable[tuple[int, float]]) -> Series:
    return tuple((step, value) for step, value in series if _drawable(value))


def _drawable(value: float) -> bool:
    return math.isfinite(value) and abs(value) <= LARGEST_LOSS
