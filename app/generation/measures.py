"""What the generation room counts for Prometheus."""

from typing import Final

from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        "kitae_generations_running",
        "Generations that ask, or wait to.",
        (),
        "SELECT count(*) FROM generations WHERE status = 'running'",
    ),
    Measure(
        "kitae_generations_parked",
        "Generations that nobody looks after until a person says retry.",
        (),
        "SELECT count(*) FROM generations WHERE status = 'running' AND parked_reason IS NOT NULL",
    ),
)
"""Gauges of this room."""
