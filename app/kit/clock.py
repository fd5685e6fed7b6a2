"""The time, as aware UTC. Deadlines inside a process are monotonic; rows use the database's own clock."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)
