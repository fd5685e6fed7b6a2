"""Judges a training by its numbers and draws its curve. Pure: nothing of ours, no file, no network."""

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
from app.jobs.analysis.picture import DARK, LIGHT, Palette
from app.jobs.analysis.results import MAX_BYTES, Point, Results, ResultsError, parse_results, results_from_events
from app.jobs.analysis.svg import chart_svg
from app.jobs.analysis.terminal import chart_terminal

__all__ = [
    "DARK",
    "LIGHT",
    "MAX_BYTES",
    "REPEATING_FINDINGS",
    "UNKNOWN",
    "Advice",
    "Analysis",
    "CheckpointPoint",
    "Confidence",
    "Data",
    "Evidence",
    "Experiment",
    "Level",
    "Palette",
    "Point",
    "Results",
    "ResultsError",
    "Verdict",
    "analyse",
    "best_step",
    "chart_svg",
    "chart_terminal",
    "parse_results",
    "results_from_events",
]
