"""What the deployments room counts for Prometheus."""

from typing import Final

from app.deployments.tables import LIVING_DEPLOYMENT
from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        "kitae_deployments",
        "Living deployments by status.",
        ("status",),
        f"SELECT status, count(*) FROM deployments WHERE {LIVING_DEPLOYMENT} GROUP BY status",  # noqa: S608  only our own words
    ),
    Measure(
        "kitae_deployments_parked",
        "Living deployments that nobody looks after until a person says retry.",
        (),
        f"SELECT count(*) FROM deployments WHERE {LIVING_DEPLOYMENT} AND parked_reason IS NOT NULL",  # noqa: S608  see above
    ),
    Measure(
        "kitae_deployments_past_expiry",
        "Living deployments whose end is more than 15 minutes ago; should be 0.",
        (),
        f"SELECT count(*) FROM deployments WHERE {LIVING_DEPLOYMENT} "  # noqa: S608  see above
        "AND expires_at < now() - interval '15 minutes'",
    ),
    Measure(
        "kitae_comparisons_parked",
        "Comparisons that nobody looks after until a person says retry.",
        (),
        "SELECT count(*) FROM comparisons WHERE next_check_at IS NOT NULL AND parked_reason IS NOT NULL",
    ),
)
"""Gauges of this room."""
