"""Draws a training's loss for a terminal: braille dots for training, letters for validation, colour only on top."""

import unicodedata
from typing import Final

from app.jobs.analysis.judge import best_step
from app.jobs.analysis.picture import Panel, panels, step_range, tick_label, ticks
from app.jobs.analysis.results import Results

SMALLEST_WIDTH: Final = 30
SMALLEST_HEIGHT: Final = 5

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_TRAIN, _VALID, _QUIET, _BEST, _PLAIN = "\x1b[34m", "\x1b[33m", "\x1b[2m", "\x1b[32m", "\x1b[0m"


def chart_terminal(results: Results, *, width: int = 72, height: int = 14, colour: bool = True) -> str:
    """The first panel (loss, or reward) as text.

    Training is a line of braille dots, sampled validation `o` (their calm course where there are many), the whole
    validation set `#`, so it reads the same without colour. No line is wider than `width` columns.

    Args:
        width, height: columns and rows of the whole, at least 30 x 5.
        colour: adds ANSI colours; nothing else changes.
    """
    width, height = max(width, SMALLEST_WIDTH), max(height, SMALLEST_HEIGHT)
    drawn = panels(results)
    if not drawn:
        return "No points yet."
    panel = drawn[0]
    labels = [tick_label(tick) for tick in panel.ticks]
    margin = max(len(label) for label in labels)
    columns, rows = width - margin - 2, height - 3
    first, last = step_range([panel])
    best = best_step(results)
    paint = _Paint(on=colour)
    grid = _plot(panel, columns, rows, first, last)
    lines = [_legend(panel, best, width, paint)]
    by_row = {_row(panel, tick, rows): label for tick, label in zip(panel.ticks, labels, strict=True)}
    for row in range(rows):
        label = by_row.get(row, "")
        axis = paint(f"{label:>{margin}} {'┤' if label else '│'}", _QUIET)
        lines.append(axis + "".join(paint.cell(cell) for cell in grid[row]).rstrip())
    best_column = _column(best, first, last, columns) if best is not None else None
    lines.append(_axis(margin, columns, best_column, paint))
    lines.append(" " * (margin + 2) + paint(_step_labels(first, last, columns), _QUIET))
    return "\n".join(line.rstrip() for line in lines)


class _Paint:
    def __init__(self, *, on: bool) -> None:
        self._on = on

    def __call__(self, text: str, code: str) -> str:
        return f"{code}{text}{_PLAIN}" if self._on and text.strip() else text

    def cell(self, character: str) -> str:
        if character in "o#x":
            return self(character, _VALID)
        return character if character == " " else self(character, _TRAIN)


def _plot(panel: Panel, columns: int, rows: int, first: int, last: int) -> list[list[str]]:
    dots = [[0] * columns for _ in range(rows)]
    for x, y in _fine_line(panel, columns * 2, rows * 4, first, last):
        dots[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
    grid = [[chr(_BRAILLE + cell) if cell else " " for cell in row] for row in dots]
    spacing = max(1, 3 * len(panel.sampled) // columns)
    batches = panel.sampled if spacing == 1 else panel.calm_sampled[::spacing]
    for series, mark in ((batches, "o"), (panel.whole, "#")):
        for step, value in series:
            if value <= panel.top:
                grid[_row(panel, value, rows)][_column(step, first, last, columns)] = mark
    for step in panel.broken:
        grid[0][_column(step, first, last, columns)] = "x"
    return grid


def _fine_line(panel: Panel, columns: int, rows: int, first: int, last: int) -> list[tuple[int, int]]:
    """The calm training line in braille dots, gaps between neighbouring columns filled."""
    points: list[tuple[int, int]] = []
    previous: tuple[int, int] | None = None
    for step, value in panel.calm_train:
        if value > panel.top:
            previous = None
            continue
        here = (_column(step, first, last, columns), _row(panel, value, rows))
        points.append(here)
        if previous is not None:
            points += _between(previous, here)
        previous = here
    return points


def _between(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    length = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    return [
        (round(a[0] + (b[0] - a[0]) * part / length), round(a[1] + (b[1] - a[1]) * part / length))
        for part in range(1, length)
    ]


def _row(panel: Panel, value: float, rows: int) -> int:
    share = (panel.top - value) / (panel.top - panel.bottom)
    return min(rows - 1, max(0, int(share * rows)))


def _column(step: float, first: int, last: int, columns: int) -> int:
    return min(columns - 1, max(0, int((step - first) / max(1, last - first) * columns)))


def _axis(margin: int, columns: int, best_column: int | None, paint: _Paint) -> str:
    line = " " * (margin + 1) + "└" + "─" * columns
    if best_column is None:
        return paint(line, _QUIET)
    at = margin + 2 + best_column
    return paint(line[:at], _QUIET) + paint("▲", _BEST) + paint(line[at + 1 :], _QUIET)


def _step_labels(first: int, last: int, columns: int) -> str:
    room = [" "] * columns
    free_from = 0
    for tick in ticks(first, last, max(2, columns // 12)):
        label = tick_label(tick)
        start = max(0, min(_column(tick, first, last, columns) - len(label) // 2, columns - len(label)))
        if start >= free_from and tick == int(tick):
            room[start : start + len(label)] = label
            free_from = start + len(label) + 1
    return "".join(room)


def _legend(panel: Panel, best: int | None, width: int, paint: _Paint) -> str:
    entries = [(panel.name.lower(), "")]
    if panel.train:
        entries.append(("⠤⠤ training", _TRAIN))
    if panel.sampled:
        entries.append(("o validation batches", _VALID))
    if panel.whole:
        entries.append(("# whole set", _VALID))
    if panel.broken:
        entries.append(("x no number", _VALID))
    if best is not None:
        entries.append((f"▲ best: step {best}", _BEST))
    shown: list[str] = []
    used = 0
    for text, code in entries:
        used += _columns_of(text) + (2 if shown else 0)
        if used > width:
            break
        shown.append(paint(text, code) if code else text)
    return "  ".join(shown)


def _columns_of(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
