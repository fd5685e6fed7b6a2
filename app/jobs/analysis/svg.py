"""Draws a training's curve as one self-contained SVG: presentation attributes only, no style sheet, script or id.

So it may stand inside a page with a strict content security policy, in an e-mail, or twice in one document.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from app.jobs.analysis.findings import CheckpointPoint
from app.jobs.analysis.judge import best_step
from app.jobs.analysis.picture import (
    LIGHT,
    Palette,
    Panel,
    Series,
    below,
    panels,
    step_range,
    thinned,
    tick_label,
    ticks,
)
from app.jobs.analysis.results import Results
from app.jobs.analysis.strokes import card, clean, cross, diamond, dot, fitted, line, opening, text, text_width

SMALLEST_WIDTH: Final = 320
SMALLEST_HEIGHT: Final = 240
LARGEST_SIDE: Final = 8000
MOST_DOTS: Final = 1200
"""Single steps drawn; more would only be a band of colour (and a page of half a megabyte)."""
MOST_LINE_POINTS: Final = 500

MARGIN = 24.0
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 60.0, 26.0, 92.0, 46.0, 40.0
_ACCURACY_SHARE = 0.36


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a panel lies, in user units, and how steps and values become x and y."""

    panel: Panel
    left: float
    right: float
    top: float
    bottom: float
    first_step: int
    last_step: int

    def x(self, step: float) -> float:
        span = max(1, self.last_step - self.first_step)
        return self.left + (step - self.first_step) / span * (self.right - self.left)

    def y(self, value: float) -> float:
        held = min(max(value, self.panel.bottom), self.panel.top)
        share = (held - self.panel.bottom) / (self.panel.top - self.panel.bottom)
        return self.bottom - share * (self.bottom - self.top)


def chart_svg(
    results: Results,
    *,
    title: str,
    width: int = 860,
    height: int = 420,
    checkpoints: Sequence[CheckpointPoint] = (),
    palette: Palette = LIGHT,
) -> str:
    """A picture of the loss above the token accuracy over the same steps.

    Args:
        title: any text; it is escaped, cleaned of what XML forbids, and shortened to fit (whole in `<title>`).
        width, height: pixels; kept between 320 x 240 and 8000.
    Returns:
        Well-formed SVG, the same bytes for the same points.
    """
    width = min(max(width, SMALLEST_WIDTH), LARGEST_SIDE)
    height = min(max(height, SMALLEST_HEIGHT), LARGEST_SIDE)
    title = clean(title) or "Training"
    drawn = panels(results, checkpoints)
    best = best_step(results, checkpoints) if drawn else None
    described = _description(results, drawn, best)
    parts = [
        opening(width, height, f"{title}. {described}"),
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described)}</desc>",
        card(width, height, palette),
        text(24, 33, fitted(title, width - 48, 16), palette.ink, size=16, weight=600),
    ]
    if not drawn:
        parts.append(text(width / 2, height / 2, "No points yet", palette.quiet, anchor="middle", size=14))
    else:
        frames = frames_of(drawn, width, height)
        parts.append(_legend(drawn, palette, width, has_best=best is not None))
        parts += [grid(frame, palette, is_last=frame is frames[-1]) for frame in frames]
        if best is not None:
            parts.append(_best_mark(frames, best, palette))
        parts += [_curves(frame, palette) for frame in frames]
        notes = "; ".join(filter(None, (_cut_note(panel) for panel in drawn)))
        room = (width - _LEFT - _RIGHT) / 2 - 50
        parts.append(
            text(width - _RIGHT, height - 12, fitted(notes, room, 10.5), palette.quiet, anchor="end", size=10.5)
        )
    return "\n".join([*(part for part in parts if part), "</svg>", ""])


def frames_of(drawn: Sequence[Panel], width: float, height: float, *, below_top: float = 0.0) -> list[Frame]:
    """The panels under one another. `below_top`: room that a longer legend takes, in user units."""
    first, last = step_range(drawn)
    free = height - _TOP - below_top - _BOTTOM - _GAP * (len(drawn) - 1)
    shares = (
        [1.0] if len(drawn) == 1 else [1 - _ACCURACY_SHARE * (len(drawn) - 1), _ACCURACY_SHARE, _ACCURACY_SHARE]
    )
    frames = []
    top = _TOP + below_top
    for panel, share in zip(drawn, shares, strict=False):
        bottom = top + free * share
        frames.append(Frame(panel, _LEFT, width - _RIGHT, top, bottom, first, last))
        top = bottom + _GAP
    return frames


def grid(frame: Frame, palette: Palette, *, is_last: bool) -> str:
    panel = frame.panel
    parts = [text(MARGIN, frame.top - 13, panel.name, palette.ink, weight=600)]
    for tick in panel.ticks:
        y = frame.y(tick)
        parts.append(line(frame.left, y, frame.right, y, palette.grid))
        parts.append(text(frame.left - 9, y + 4, tick_label(tick), palette.quiet, anchor="end"))
    for step, _ in panel.whole:
        parts.append(line(frame.x(step), frame.top, frame.x(step), frame.bottom, palette.border, dash="2 3"))
    parts.append(line(frame.left, frame.bottom, frame.right, frame.bottom, palette.quiet, opacity=0.6))
    if is_last:
        marks = [tick for tick in ticks(frame.first_step, frame.last_step, 9) if tick == int(tick)]
        for tick in marks or [frame.first_step]:
            x = frame.x(tick)
            parts.append(line(x, frame.bottom, x, frame.bottom + 4, palette.quiet, opacity=0.6))
            parts.append(text(x, frame.bottom + 18, tick_label(tick), palette.quiet, anchor="middle"))
        middle = (frame.left + frame.right) / 2
        parts.append(text(middle, frame.bottom + 34, "training step", palette.quiet, anchor="middle", size=10.5))
    return "\n".join(parts)


def _curves(frame: Frame, palette: Palette) -> str:
    panel = frame.panel
    parts = [
        _dots(
            frame,
            panel.train,
            palette.train,
            size=2.6 if len(panel.train) > 30 else 4.4,
            opacity=_faintness(len(panel.train)),
        ),
        curve(frame, panel.calm_train, palette.train, stroke=2.2),
        _dots(frame, panel.sampled, palette.valid, size=3.6, opacity=0.45 if len(panel.sampled) < 150 else 0.2),
        curve(frame, panel.calm_sampled, palette.valid, stroke=1.8, dash=None if not panel.whole else "1 4"),
        curve(frame, panel.whole, palette.valid, stroke=2.0),
    ]
    for step, value in panel.whole if len(panel.whole) <= 60 else ():
        if value <= panel.top:
            parts.append(diamond(frame.x(step), frame.y(value), palette))
    if panel.broken:
        x, y = frame.x(panel.broken[0]), frame.top + 8
        anchor = "end" if x > (frame.left + frame.right) / 2 else "start"
        shift = -11 if anchor == "end" else 11
        parts.append(cross(x, y, palette.alarm))
        parts.append(text(x + shift, y + 4, f"no number from step {panel.broken[0]}", palette.alarm, anchor=anchor))
    return "\n".join(part for part in parts if part)


def _best_mark(frames: list[Frame], best: int, palette: Palette) -> str:
    frame = frames[0]
    x = min(max(frame.x(best), frame.left), frame.right)
    label = f"best: step {best:,}"
    half = text_width(label, 10.5) / 2 + 8
    name_end = MARGIN + text_width(frame.panel.name, 11.5) + 10
    centre = min(max(x, name_end + half), frame.right - half)
    y = frame.top - 17
    pill = (
        f'<rect x="{centre - half:.1f}" y="{y - 9:.1f}" width="{2 * half:.1f}" height="18" rx="9" '
        f'fill="{palette.best}"/>'
    )
    tops = [y, *(lower.top for lower in frames[1:])]
    return "\n".join(
        [
            *(
                line(x, top, x, each.bottom, palette.best, dash="5 4", stroke=1.4)
                for each, top in zip(frames, tops, strict=True)
            ),
            pill,
            text(centre, y + 4, label, palette.paper, anchor="middle", size=10.5, weight=600),
        ]
    )


def _legend(drawn: list[Panel], palette: Palette, width: int, *, has_best: bool) -> str:
    """One row under the title, of what is really in the picture; entries that do not fit are left out."""
    swatches: list[tuple[str, Callable[[float, float], str]]] = []
    if any(panel.train for panel in drawn):
        swatches.append(("training", lambda x, y: line(x, y, x + 18, y, palette.train, stroke=2.4)))
        swatches.append(("single step", lambda x, y: dot(x + 9, y, 2.2, palette.train, 0.5)))
    if any(panel.sampled for panel in drawn):
        swatches.append(("validation, sampled", lambda x, y: dot(x + 9, y, 2.6, palette.valid, 0.6)))
    if any(panel.whole for panel in drawn):
        swatches.append(("whole validation set (epoch end)", lambda x, y: diamond(x + 9, y, palette)))
    if has_best:
        swatches.append(("best", lambda x, y: line(x, y, x + 18, y, palette.best, dash="5 4", stroke=1.6)))
    parts, x, y = [], 24.0, 52.0
    for label, swatch in swatches:
        end = x + 26 + text_width(label, 11.5)
        if end > width - 24:
            break
        parts.append(swatch(x, y))
        parts.append(text(x + 25, y + 4, label, palette.quiet))
        x = end + 18
    return "\n".join(parts)


def _description(results: Results, drawn: list[Panel], best: int | None) -> str:
    if not drawn:
        return "There are no points yet."
    first, last = step_range(drawn)
    sentences = [f"Steps {first} to {last}, {len(results.points)} points."]
    for panel in drawn:
        if panel.calm_train:
            start, end = panel.calm_train[0][1], panel.calm_train[-1][1]
            sentences.append(f"{panel.name} in training from {start:.3g} to {end:.3g}.")
        validation = panel.whole or panel.calm_sampled
        if validation:
            sentences.append(f"In validation from {validation[0][1]:.3g} to {validation[-1][1]:.3g}.")
        if panel.broken:
            sentences.append(f"No finite number at step {panel.broken[0]}.")
    if best is not None:
        sentences.append(f"Best at step {best}.")
    return " ".join(sentences)


def _cut_note(panel: Panel) -> str:
    if panel.highest > panel.top:
        return f"{panel.name.lower()}: start (up to {panel.highest:.3g}) not shown"
    above = sum(1 for _, value in (*panel.train, *panel.sampled) if value > panel.top)
    return f"{panel.name.lower()}: {above} higher value{'s' if above > 1 else ''} not shown" if above else ""


def curve(frame: Frame, series: Series, colour: str, *, stroke: float, dash: str | None = None) -> str:
    if len(series) < 2:
        return ""
    stretches = below(thinned(series, MOST_LINE_POINTS), frame.panel.top)
    path = "".join(
        "M" + "L".join(f"{frame.x(step):.1f} {frame.y(value):.1f}" for step, value in stretch)
        for stretch in stretches
        if len(stretch) > 1
    )
    if not path:
        return ""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{stroke}" stroke-linejoin="round" '
        f'stroke-linecap="round"{dashed}/>'
    )


def _dots(frame: Frame, series: Series, colour: str, *, size: float, opacity: float) -> str:
    """All dots as one path of strokes without length, round at the ends: a tenth of the size of circles."""
    path = "".join(
        f"M{frame.x(step):.1f} {frame.y(value):.1f}h.01"
        for step, value in thinned(series, MOST_DOTS)
        if value <= frame.panel.top
    )
    if not path:
        return ""
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{size}" stroke-linecap="round" '
        f'stroke-opacity="{opacity}"/>'
    )


def _faintness(count: int) -> float:
    return 0.4 if count < 120 else 0.28 if count < 600 else 0.18
