"""What the studies room counts for Prometheus."""

from typing import Final

from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        "kitae_studies_running",
        "Studies that train, or wait to.",
        (),
        "SELECT count(*) FROM studies WHERE status = 'running'",
    ),
    Measure(
        "kitae_studies_parked",
        "Studies that nobody looks after until a person says retry.",
        (),
        "SELECT count(*) FROM studies WHERE status = 'running' AND parked_reason IS NOT NULL",
    ),
)
"""Gauges of this room."""
