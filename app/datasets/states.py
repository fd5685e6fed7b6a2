"""The life of a dataset version."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class VersionStatus(StrEnum):
    """Where a version stands; its bytes never change, only what we know of them."""

    CHECKING = "checking"
    """Stored whole; a worker reads it. A crash here only means that it is read again."""
    READY = "ready"
    """Azure would take it."""
    REJECTED = "rejected"
    """Azure would refuse it; the findings say where and what to do."""


VERSION_LAW: Final = Law(
    "dataset.version",
    {
        VersionStatus.CHECKING: frozenset({VersionStatus.READY, VersionStatus.REJECTED}),
        VersionStatus.READY: frozenset(),
        VersionStatus.REJECTED: frozenset(),
    },
)
