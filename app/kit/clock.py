"""The time, as aware UTC. Deadlines inside a process are monotonic; rows use the database's own clock."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def from_unix(seconds: float | None) -> datetime | None:
    """A Unix time as aware UTC; None and anything outside the calendar stay None."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None
