"""Makes a long curve short enough to send and to draw, without losing a spike."""

import math
from typing import Final

from app.jobs.analysis.results import Results

FEWEST_POINTS_KEPT: Final = 100
"""With up to 18 known columns each still gets its ends and an extreme."""


def thin(results: Results, most: int) -> Results:
    """At most `most` points: of every known column the ends, and of each stretch its lowest and highest value.

    A value that is no number counts as the highest. Kept points keep all their values.

    Args:
        most: at least FEWEST_POINTS_KEPT.
    """
    if len(results.points) <= most:
        return results
    series = [one for one in (results.series(name) for name in results.columns) if one]
    kept = {results.points[0].step, results.points[-1].step}
    quota = (most - len(kept)) // max(1, len(series))
    for one in series:
        kept.update(_telling_steps(one, quota))
    points = tuple(point for point in results.points if point.step in kept)
    told = f"Of {len(results.points)} points {len(points)} are shown: each stretch's lowest and highest."
    return Results(points, results.columns, results.unknown_columns, (*results.warnings, told))


def _telling_steps(series: list[tuple[int, float]], quota: int) -> set[int]:
    if len(series) <= quota:
        return {step for step, _ in series}
    kept = {series[0][0], series[-1][0]}
    length = math.ceil(len(series) / max(1, (quota - len(kept)) // 2))
    for start in range(0, len(series), length):
        stretch = series[start : start + length]
        kept.add(min(stretch, key=_height)[0])
        kept.add(max(stretch, key=_height)[0])
    return kept


def _height(point: tuple[int, float]) -> float:
    return point[1] if math.isfinite(point[1]) else math.inf
