"""Draws several trainings over one another: the same panels as of one, a colour and a dash for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from app.jobs.analysis.picture import DARK, LIGHT, TALL_START, Palette, Panel, Series, panels, ticks
from app.jobs.analysis.results import Results
from app.jobs.analysis.strokes import card, clean, fitted, line, opening, text, text_width
from app.jobs.analysis.svg import MARGIN, Frame, curve, frames_of, grid

MOST_RUNS: Final = 10
"""More lines than these nobody tells apart."""

_ON_LIGHT: Final = "#2563eb #c2410c #047857 #7f1d1d #7c3aed #0e7490 #a16207 #be185d #475569 #4d7c0f"
_ON_DARK: Final = "#6ea8fe #fb9a4b #34d399 #f87171 #b79cfb #4cc9e0 #e3b341 #f472b6 #a9b6c9 #a3d65c"
COLOURS: Final = {LIGHT: _ON_LIGHT.split(), DARK: _ON_DARK.split()}
"""One a run, each at least 4.5 : 1 on its paper."""

ROW: Final = 20
"""User units that a line of the legend takes."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training among those that are compared."""

    name: str
    results: Results


def overlay_svg(
    runs: Sequence[Run], *, title: str, width: int = 900, height: int = 460, palette: Palette = LIGHT
) -> str:
    """The calm training line of each run dashed, its validation whole: the one that counts stands out.

    Returns:
        Well-formed SVG, the same bytes for the same runs.
    """
    title = clean(title) or "Trainings"
    drawn = [(run, panels(run.results)) for run in runs[:MOST_RUNS]]
    names = list(dict.fromkeys(panel.name for _, of_run in drawn for panel in of_run))
    colours = COLOURS[palette]
    legend, legend_height = _legend([clean(run.name) for run, _ in drawn], palette, width)
    described = f"{len(drawn)} trainings: {', '.join(clean(run.name) for run, _ in drawn)}."
    whole = round(height + legend_height)
    parts = [
        opening(width, whole, f"{title}. {described}"),
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(described)}</desc>",
        card(width, whole, palette),
        text(MARGIN, 33, fitted(title, width - 2 * MARGIN, 16), palette.ink, size=16, weight=600),
        legend,
    ]
    if not names:
        parts.append(text(width / 2, whole / 2, "No points yet", palette.quiet, anchor="middle", size=14))
    together = [
        _together(name, [panel for _, of_run in drawn for panel in of_run if panel.name == name]) for name in names
    ]
    for frame in frames_of(together, width, whole, below_top=legend_height):
        parts.append(grid(frame, palette, is_last=frame.panel is together[-1]))
        for (_, of_run), colour in zip(drawn, colours, strict=False):
            parts += [_of_run(frame, panel, colour) for panel in of_run if panel.name == frame.panel.name]
    return "\n".join([*(part for part in parts if part), "</svg>", ""])


def _of_run(frame: Frame, panel: Panel, colour: str) -> str:
    unseen: Series = panel.whole if len(panel.whole) > 1 else panel.calm_sampled
    return "\n".join(
        part
        for part in (
            curve(frame, panel.calm_train, colour, stroke=1.3, dash="4 3" if unseen else None),
            curve(frame, unseen, colour, stroke=2.4),
        )
        if part
    )


def _together(name: str, of_runs: Sequence[Panel]) -> Panel:
    """One scale for all; what is drawn comes from each run's own panel."""
    bottom, top = min(panel.bottom for panel in of_runs), max(panel.top for panel in of_runs)
    if name == "Loss":
        settled = max(value for panel in of_runs for value in _where_it_ended(panel))
        top = min(top, max(TALL_START * settled, bottom + (top - bottom) / 100))
    ends = [
        (step, top)
        for panel in of_runs
        for series in (panel.train, panel.sampled, panel.whole)
        for step, _ in (series[:1] + series[-1:])
    ]
    return Panel(
        name=name,
        train=tuple(sorted({min(ends), max(ends)})) if ends else (),
        calm_train=(),
        sampled=(),
        calm_sampled=(),
        whole=(),
        broken=(),
        bottom=bottom,
        top=top,
        ticks=ticks(bottom, top, 5),
        highest=top,
    )


def _where_it_ended(panel: Panel) -> Iterator[float]:
    """The heights that the scale must serve; a tall beginning is cut off where a line leaves the picture."""
    yield from (series[-1][1] for series in (panel.calm_train, panel.calm_sampled, panel.whole) if series)


def _legend(names: Sequence[str], palette: Palette, width: int) -> tuple[str, float]:
    """Every run, in rows as there is room, and what the two kinds of line mean. Returns it and its height."""
    parts, x, y = [], MARGIN, 54.0
    entries: list[tuple[str, str, str]] = [
        (fitted(name, 260, 11.5), colour, "") for name, colour in zip(names, COLOURS[palette], strict=False)
    ]
    entries += [("validation", palette.quiet, ""), ("training", palette.quiet, "4 3")]
    for name, colour, dash in entries:
        needed = 26 + text_width(name, 11.5) + 18
        if x > MARGIN and x + needed > width - MARGIN:
            x, y = MARGIN, y + ROW
        parts.append(line(x, y, x + 18, y, colour, dash=dash, stroke=2.4))
        parts.append(text(x + 25, y + 4, name, palette.quiet))
        x += needed
    return "\n".join(parts), y - 54.0
