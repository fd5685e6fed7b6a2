"""What the upkeep room counts for Prometheus."""

from typing import Final

from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        "kitae_invariant_violations",
        "Places where an invariant does not hold, some dozens at most; anything but 0 needs a person.",
        ("invariant",),
        "SELECT name, violations FROM invariant_checks",
    ),
    Measure(
        "kitae_invariants_checked_timestamp_seconds",
        "When the invariants were last looked for, as Unix time; 0 = never.",
        (),
        "SELECT coalesce(extract(epoch FROM max(checked_at)), 0) FROM invariant_checks",
    ),
    Measure(
        "kitae_strays",
        "Things at Azure with our mark and without a row that wait for a person, or are being taken away.",
        ("kind", "status"),
        "SELECT kind, status, count(*) FROM strays WHERE status IN ('open', 'removing') GROUP BY kind, status",
    ),
    Measure(
        "kitae_strays_usd_per_hour",
        "What open stray deployments cost an hour, as far as their price is known.",
        (),
        "SELECT coalesce(sum(hourly_usd), 0) FROM strays WHERE status = 'open'",
    ),
    Measure(
        "kitae_strays_parked",
        "Strays whose removal does not go well and waits for a person.",
        (),
        "SELECT count(*) FROM strays WHERE parked_reason IS NOT NULL",
    ),
    Measure(
        "kitae_deployments_drifted",
        "Ready deployments that somebody changed at Azure.",
        (),
        "SELECT count(*) FROM deployments WHERE status = 'ready' AND drift IS NOT NULL",
    ),
    Measure(
        "kitae_retiring",
        "Models and living deployments for which something ends within 90 days or has ended, by how near it is.",
        ("subject", "level"),
        "SELECT kind, level, count(*) FROM ("
        "SELECT DISTINCT ON (n.subject_id, n.kind) "
        "CASE WHEN m.id IS NULL THEN 'deployment' ELSE 'model' END AS kind, n.level "
        "FROM retirement_notices n LEFT JOIN models m ON m.id = n.subject_id "
        "LEFT JOIN deployments d ON d.id = n.subject_id "
        "AND d.status IN ('creating', 'warming', 'ready', 'deleting') "
        "WHERE m.id IS NOT NULL OR d.id IS NOT NULL "
        "ORDER BY n.subject_id, n.kind, n.told_at DESC) AS near GROUP BY kind, level",
    ),
    Measure(
        "kitae_sweeps_overdue",
        "Connections whose sweep is parked, or should have begun ten minutes ago.",
        (),
        "SELECT count(*) FROM sweeps WHERE parked_reason IS NOT NULL "
        "OR next_check_at < now() - interval '10 minutes'",
    ),
    Measure(
        "kitae_sweep_age_seconds",
        "Seconds since the connection that waited longest was last swept.",
        (),
        "SELECT coalesce(max(extract(epoch FROM now() - swept_at)), 0) FROM sweeps",
    ),
    Measure(
        "kitae_leftovers_removed",
        "Objects in our own storage that no row named and that were deleted, since the installation began.",
        (),
        "SELECT coalesce(sum(removed_objects), 0) FROM janitors",
    ),
)
"""Gauges of this room."""
