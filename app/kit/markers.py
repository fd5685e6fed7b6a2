"""A marker of one state of a row, for ETags. It knows no header."""

from collections.abc import Callable
from datetime import datetime

CheckMarker = Callable[[str], None]
"""Gets the current marker inside the transaction that is about to change the row; raises `Stale`."""


def marker(row_id: str, changed_at: datetime) -> str:
    """Differs whenever the row was changed in between.

    Args:
        changed_at: the database's own time of the last change, microseconds included.
    """
    return f"{row_id}-{int(changed_at.timestamp() * 1_000_000):x}"


def any_marker(_current: str) -> None:
    """For callers that did not say which state they had read."""
