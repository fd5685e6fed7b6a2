"""A marker of one state of a row, for ETags. It knows no header."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

CheckMarker = Callable[[str], None]
"""Gets the current marker inside the transaction that is about to change the row; raises `Stale`."""


def marker(row_id: str, changed_at: datetime) -> str:
    """Differs whenever the row was changed in between.

    Args:
        changed_at: the database's own time of the last change, microseconds included.
    """
    return f"{row_id}-{(changed_at - _EPOCH) // _MICROSECOND:x}"


def any_marker(_current: str) -> None:
    """For callers that did not say which state they had read."""
