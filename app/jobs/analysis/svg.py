"""Draws a training's curve as one self-contained SVG: presentation attributes only, no style sheet, script or id.

So it may stand inside a page with a strict content security policy, in an e-mail, or twice in one document.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape, quoteattr

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

FONTS: Final = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Hiragino Sans', 'Noto Sans JP', "
    "'Noto Sans CJK JP', 'Yu Gothic UI', Meiryo, sans-serif"
)
SMALLEST_WIDTH: Final = 320
SMALLEST_HEIGHT: Final = 240
LARGEST_SIDE: Final = 8000
MOST_DOTS: Final = 1200
"""Single steps drawn; more would only be a band of colour (and a page of half a megabyte)."""
MOST_LINE_POINTS: Final = 500

_MARGIN = 24.0
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 60.0, 26.0, 92.0, 46.0, 40.0
_ACCURACY_SHARE = 0.36


@dataclass(frozen=True, slots=True)
class _Frame:
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
    title = _clean(title) or "Training"
    drawn = panels(results, checkpoints)
    best = best_step(results, checkpoints) if drawn else None
    described = _description(results, drawn, best)
    parts = [
        _opening(width, height, f"{title}. {described}"),
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described)}</desc>",
        _card(width, height, palette),
        _text(24, 33, _fitted(title, width - 48, 16), palette.ink, size=16, weight=600),
    ]
    if not drawn:
        parts.append(_text(width / 2, height / 2, "No points yet", palette.quiet, anchor="middle", size=14))
    else:
        frames = _frames(drawn, width, height)
        parts.append(_legend(drawn, palette, width, has_best=best is not None))
        parts += [_grid(frame, palette, is_last=frame is frames[-1]) for frame in frames]
        if best is not None:
            parts.append(_best_mark(frames, best, palette))
        parts += [_curves(frame, palette) for frame in frames]
        notes = "; ".join(filter(None, (_cut_note(panel) for panel in drawn)))
        room = (width - _LEFT - _RIGHT) / 2 - 50
        parts.append(
            _text(width - _RIGHT, height - 12, _fitted(notes, room, 10.5), palette.quiet, anchor="end", size=10.5)
        )
    return "\n".join([*(part for part in parts if part), "</svg>", ""])


def _opening(width: int, height: int, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(label)} '
        f'font-family="{FONTS}" font-size="11.5">'
    )


def _card(width: int, height: int, palette: Palette) -> str:
    return (
        f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="{palette.paper}" '
        f'stroke="{palette.border}"/>'
    )


def _frames(drawn: list[Panel], width: int, height: int) -> list[_Frame]:
    first, last = step_range(drawn)
    free = height - _TOP - _BOTTOM - _GAP * (len(drawn) - 1)
    shares = (
        [1.0] if len(drawn) == 1 else [1 - _ACCURACY_SHARE * (len(drawn) - 1), _ACCURACY_SHARE, _ACCURACY_SHARE]
    )
    frames = []
    top = _TOP
    for panel, share in zip(drawn, shares, strict=False):
        bottom = top + free * share
        frames.append(_Frame(panel, _LEFT, width - _RIGHT, top, bottom, first, last))
        top = bottom + _GAP
    return frames


def _grid(frame: _Frame, palette: Palette, *, is_last: bool) -> str:
    panel = frame.panel
    parts = [_text(_MARGIN, frame.top - 13, panel.name, palette.ink, weight=600)]
    for tick in panel.ticks:
        y = frame.y(tick)
        parts.append(_line(frame.left, y, frame.right, y, palette.grid))
        parts.append(_text(frame.left - 9, y + 4, tick_label(tick), palette.quiet, anchor="end"))
    for step, _ in panel.whole:
        parts.append(_line(frame.x(step), frame.top, frame.x(step), frame.bottom, palette.border, dash="2 3"))
    parts.append(_line(frame.left, frame.bottom, frame.right, frame.bottom, palette.quiet, opacity=0.6))
    if is_last:
        marks = [tick for tick in ticks(frame.first_step, frame.last_step, 9) if tick == int(tick)]
        for tick in marks or [frame.first_step]:
            x = frame.x(tick)
            parts.append(_line(x, frame.bottom, x, frame.bottom + 4, palette.quiet, opacity=0.6))
            parts.append(_text(x, frame.bottom + 18, tick_label(tick), palette.quiet, anchor="middle"))
        middle = (frame.left + frame.right) / 2
        parts.append(_text(middle, frame.bottom + 34, "training step", palette.quiet, anchor="middle", size=10.5))
    return "\n".join(parts)


def _curves(frame: _Frame, palette: Palette) -> str:
    panel = frame.panel
    parts = [
        _dots(
            frame,
            panel.train,
            palette.train,
            size=2.6 if len(panel.train) > 30 else 4.4,
            opacity=_faintness(len(panel.train)),
        ),
        _curve(frame, panel.calm_train, palette.train, stroke=2.2),
        _dots(frame, panel.sampled, palette.valid, size=3.6, opacity=0.45 if len(panel.sampled) < 150 else 0.2),
        _curve(frame, panel.calm_sampled, palette.valid, stroke=1.8, dash=None if not panel.whole else "1 4"),
        _curve(frame, panel.whole, palette.valid, stroke=2.0),
    ]
    for step, value in panel.whole if len(panel.whole) <= 60 else ():
        if value <= panel.top:
            parts.append(_diamond(frame.x(step), frame.y(value), palette))
    if panel.broken:
        x, y = frame.x(panel.broken[0]), frame.top + 8
        anchor = "end" if x > (frame.left + frame.right) / 2 else "start"
        shift = -11 if anchor == "end" else 11
        parts.append(_cross(x, y, palette.alarm))
        parts.append(
            _text(x + shift, y + 4, f"no number from step {panel.broken[0]}", palette.alarm, anchor=anchor)
        )
    return "\n".join(part for part in parts if part)


def _best_mark(frames: list[_Frame], best: int, palette: Palette) -> str:
    frame = frames[0]
    x = min(max(frame.x(best), frame.left), frame.right)
    label = f"best: step {best:,}"
    half = _text_width(label, 10.5) / 2 + 8
    name_end = _MARGIN + _text_width(frame.panel.name, 11.5) + 10
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
                _line(x, top, x, each.bottom, palette.best, dash="5 4", stroke=1.4)
                for each, top in zip(frames, tops, strict=True)
            ),
            pill,
            _text(centre, y + 4, label, palette.paper, anchor="middle", size=10.5, weight=600),
        ]
    )


def _legend(drawn: list[Panel], palette: Palette, width: int, *, has_best: bool) -> str:
    """One row under the title, of what is really in the picture; entries that do not fit are left out."""
    swatches: list[tuple[str, Callable[[float, float], str]]] = []
    if any(panel.train for panel in drawn):
        swatches.append(("training", lambda x, y: _line(x, y, x + 18, y, palette.train, stroke=2.4)))
        swatches.append(("single step", lambda x, y: _dot(x + 9, y, 2.2, palette.train, 0.5)))
    if any(panel.sampled for panel in drawn):
        swatches.append(("validation, sampled", lambda x, y: _dot(x + 9, y, 2.6, palette.valid, 0.6)))
    if any(panel.whole for panel in drawn):
        swatches.append(("whole validation set (epoch end)", lambda x, y: _diamond(x + 9, y, palette)))
    if has_best:
        swatches.append(("best", lambda x, y: _line(x, y, x + 18, y, palette.best, dash="5 4", stroke=1.6)))
    parts, x, y = [], 24.0, 52.0
    for label, swatch in swatches:
        end = x + 26 + _text_width(label, 11.5)
        if end > width - 24:
            break
        parts.append(swatch(x, y))
        parts.append(_text(x + 25, y + 4, label, palette.quiet))
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


def _curve(frame: _Frame, series: Series, colour: str, *, stroke: float, dash: str | None = None) -> str:
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


def _dots(frame: _Frame, series: Series, colour: str, *, size: float, opacity: float) -> str:
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


def _cross(x: float, y: float, colour: str) -> str:
    return (
        f'<path d="M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10" stroke="{colour}" stroke-width="2.4" '
        'stroke-linecap="round" fill="none"/>'
    )


def _dot(x: float, y: float, radius: float, colour: str, opacity: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="{opacity}"/>'


def _diamond(x: float, y: float, palette: Palette) -> str:
    return (
        f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" fill="{palette.valid}" stroke="{palette.paper}" '
        'stroke-width="1.5"/>'
    )


def _line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    colour: str,
    *,
    dash: str = "",
    stroke: float = 1,
    opacity: float = 1,
) -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    seen = f' stroke-opacity="{opacity}"' if opacity < 1 else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{stroke}"{dashed}{seen}/>'
    )


def _text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: float = 11.5, weight: int = 400
) -> str:
    placed = "" if anchor == "start" else f' text-anchor="{anchor}"'
    sized = "" if size == 11.5 else f' font-size="{size}"'
    heavy = "" if weight == 400 else f' font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{placed}{sized}{heavy}>{escape(text)}</text>'


def _clean(text: str) -> str:
    """Without the characters XML 1.0 has no place for, and in one line."""
    kept = (
        character if character.isprintable() and unicodedata.category(character) not in {"Cs", "Cn"} else " "
        for character in text
    )
    return " ".join("".join(kept).split())


def _fitted(text: str, width: float, size: float) -> str:
    if _text_width(text, size) <= width:
        return text
    while text and _text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _text_width(text: str, size: float) -> float:
    """An estimate in user units, no font is read: wide characters take an em, the others a little over half."""
    return size * sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.56 for character in text)
