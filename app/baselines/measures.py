"""What the baselines room counts for Prometheus."""

from typing import Final

from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        "kitae_baselines_running",
        "Baselines that ask or grade, or wait to.",
        (),
        "SELECT count(*) FROM baselines WHERE status = 'running'",
    ),
    Measure(
        "kitae_baselines_parked",
        "Baselines that nobody looks after until a person says retry.",
        (),
        "SELECT count(*) FROM baselines WHERE status = 'running' AND parked_reason IS NOT NULL",
    ),
)
"""Gauges of this room."""
