"""Judges a training by its numbers and draws its curve. Pure: nothing of ours, no file, no network."""

from app.jobs.analysis.comparison import Compared, Facts, Row, Value, compare
from app.jobs.analysis.findings import (
    REPEATING_FINDINGS,
    UNKNOWN,
    Advice,
    Analysis,
    CheckpointPoint,
    Confidence,
    Data,
    Evidence,
    Experiment,
    Level,
    Verdict,
)
from app.jobs.analysis.judge import analyse, best_step
from app.jobs.analysis.overlay import MOST_RUNS, Run, overlay_svg
from app.jobs.analysis.page import POLICY, Told, page_html
from app.jobs.analysis.picture import DARK, LIGHT, Palette
from app.jobs.analysis.results import (
    MAX_BYTES,
    MAX_POINTS,
    Point,
    Results,
    ResultsError,
    parse_results,
    results_from_events,
)
from app.jobs.analysis.svg import chart_svg
from app.jobs.analysis.terminal import chart_terminal
from app.jobs.analysis.thinning import FEWEST_POINTS_KEPT, thin

__all__ = [
    "DARK",
    "FEWEST_POINTS_KEPT",
    "LIGHT",
    "MAX_BYTES",
    "MAX_POINTS",
    "MOST_RUNS",
    "POLICY",
    "REPEATING_FINDINGS",
    "UNKNOWN",
    "Advice",
    "Analysis",
    "CheckpointPoint",
    "Compared",
    "Confidence",
    "Data",
    "Evidence",
    "Experiment",
    "Facts",
    "Level",
    "Palette",
    "Point",
    "Results",
    "ResultsError",
    "Row",
    "Run",
    "Told",
    "Value",
    "Verdict",
    "analyse",
    "best_step",
    "chart_svg",
    "chart_terminal",
    "compare",
    "overlay_svg",
    "page_html",
    "parse_results",
    "results_from_events",
    "thin",
]
