"""What a room lets Prometheus know: a name and a small SQL that is run at every scrape."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """One gauge that belongs to the database, not to a process.

    Attributes:
        name: `kitae_jobs`; a gauge, so without `_total`.
        meaning: one line for the reader of a dashboard.
        labels: names of all columns but the last, which is the value. Never a project's name or a user's text.
        sql: SELECT with an index behind it; it runs every few seconds.
    """

    name: str
    meaning: str
    labels: tuple[str, ...]
    sql: str
