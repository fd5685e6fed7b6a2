"""Judges a training by its numbers and draws its curve. Pure: nothing of ours, no file, no network."""

from app.jobs.analysis.findings import Advice, Analysis, CheckpointPoint, Evidence, Verdict
from app.jobs.analysis.judge import analyse
from app.jobs.analysis.results import Point, Results, ResultsError, parse_results, results_from_events

__all__ = [
    "Advice",
    "Analysis",
    "CheckpointPoint",
    "Evidence",
    "Point",
    "Results",
    "ResultsError",
    "Verdict",
    "analyse",
    "parse_results",
    "results_from_events",
]
