"""The life of a stray, as law."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class StrayKind(StrEnum):
    """What Azure has that no row of ours names."""

    JOB = "job"
    FILE = "file"
    DEPLOYMENT = "deployment"


class StrayStatus(StrEnum):
    """Where something stands that carries our mark and that no row names."""

    OPEN = "open"
    """Found, and told. Nobody touches it until a person decides, or until the end that stands in its tags."""
    REMOVING = "removing"
    """It is being cancelled or deleted. A crash here only means that it is asked for again."""
    ADOPTED = "adopted"
    """It has a row now, which is cared for like any other."""
    REMOVED = "removed"
    """Cancelled, or no longer there, because we asked for it. What is seen alive again is open again."""
    IGNORED = "ignored"
    """A person said that it may stay as it is; its end is not acted upon either."""
    GONE = "gone"
    """Azure no longer shows it, and we did not ask for that."""


STRAY_LAW: Final = Law(
    "stray",
    {
        StrayStatus.OPEN: frozenset(
            {
                StrayStatus.REMOVING,
                StrayStatus.ADOPTED,
                StrayStatus.IGNORED,
                StrayStatus.GONE,
            }
        ),
        StrayStatus.REMOVING: frozenset({StrayStatus.REMOVED, StrayStatus.GONE}),
        StrayStatus.ADOPTED: frozenset(),
        StrayStatus.REMOVED: frozenset({StrayStatus.OPEN}),
        StrayStatus.IGNORED: frozenset({StrayStatus.REMOVING, StrayStatus.ADOPTED, StrayStatus.GONE}),
        StrayStatus.GONE: frozenset({StrayStatus.OPEN}),
    },
)

DECIDABLE: Final = frozenset({StrayStatus.OPEN, StrayStatus.IGNORED})
"""Where a person may still decide."""
