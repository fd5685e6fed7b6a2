"""The life of a generation."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class GenerationStatus(StrEnum):
    """Where a generation stands."""

    RUNNING = "running"
    """The generator is being asked; what it has answered is recorded and never asked for again. After a crash only
    the requests that were under way at that moment are made once more."""
    SUCCEEDED = "succeeded"
    """What was kept is a version of the dataset."""
    FAILED = "failed"
    """Nothing was kept, so there is no version."""
    CANCELLED = "cancelled"
    """Somebody ended it; what was made can still be read, there is no version."""


GENERATION_LAW: Final = Law(
    "generation",
    {
        GenerationStatus.RUNNING: frozenset(
            {GenerationStatus.SUCCEEDED, GenerationStatus.FAILED, GenerationStatus.CANCELLED}
        ),
        GenerationStatus.SUCCEEDED: frozenset(),
        GenerationStatus.FAILED: frozenset(),
        GenerationStatus.CANCELLED: frozenset(),
    },
)
