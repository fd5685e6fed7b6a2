"""The life of an adoption, as law."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class AdoptionStatus(StrEnum):
    """Where the adoption of one job stands."""

    READING = "reading"
    """A worker reads the job and its files. Nothing is changed at Azure; a crash only means reading again."""
    ADOPTED = "adopted"
    """The job has a row, which is cared for like any other."""
    FAILED = "failed"
    """It cannot be adopted; the error says why. Asking again begins anew."""


ADOPTION_LAW: Final = Law(
    "job.adoption",
    {
        AdoptionStatus.READING: frozenset({AdoptionStatus.ADOPTED, AdoptionStatus.FAILED}),
        AdoptionStatus.ADOPTED: frozenset(),
        AdoptionStatus.FAILED: frozenset({AdoptionStatus.READING}),
    },
)
