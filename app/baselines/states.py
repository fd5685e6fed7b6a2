"""The life of a baseline."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class BaselineStatus(StrEnum):
    """Where a baseline stands."""

    RUNNING = "running"
    """The base model is being asked and its answers are graded; what is recorded is never asked for again. After a
    crash only the requests that were under way at that moment are made once more."""
    SUCCEEDED = "succeeded"
    """Every case was asked in every way; the report says what that means."""
    FAILED = "failed"
    """Not one answer could be scored."""
    CANCELLED = "cancelled"
    """Somebody ended it; what was answered can still be read."""


BASELINE_LAW: Final = Law(
    "baseline",
    {
        BaselineStatus.RUNNING: frozenset(
            {BaselineStatus.SUCCEEDED, BaselineStatus.FAILED, BaselineStatus.CANCELLED}
        ),
        BaselineStatus.SUCCEEDED: frozenset(),
        BaselineStatus.FAILED: frozenset(),
        BaselineStatus.CANCELLED: frozenset(),
    },
)
