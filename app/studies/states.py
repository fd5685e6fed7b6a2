"""The life of a study, and of each of its trials."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class StudyStatus(StrEnum):
    """Where a study stands."""

    RUNNING = "running"
    """Its trials are trained, a few at a time. After a crash the jobs that were made are found by their trials."""
    SUCCEEDED = "succeeded"
    """Nothing is left to train; the table says which trial to take."""
    FAILED = "failed"
    """No trial came to anything that could be measured."""
    CANCELLED = "cancelled"
    """Somebody ended it; what was measured until then can be read."""


STUDY_LAW: Final = Law(
    "study",
    {
        StudyStatus.RUNNING: frozenset({StudyStatus.SUCCEEDED, StudyStatus.FAILED, StudyStatus.CANCELLED}),
        StudyStatus.SUCCEEDED: frozenset(),
        StudyStatus.FAILED: frozenset(),
        StudyStatus.CANCELLED: frozenset(),
    },
)


class TrialStatus(StrEnum):
    """Where one variation stands."""

    WAITING = "waiting"
    """Not begun. A crash while it is begun leaves a job under the trial's id; it is found, not made again."""
    TRAINING = "training"
    """Its job is under way."""
    EVALUATING = "evaluating"
    """Its model is deployed and put to the cases; a crash repeats nothing, for each deed carries the trial's id."""
    MEASURED = "measured"
    """It has a score: of its curve, also when it was stopped early, or of the cases that its model was put to."""
    UNMEASURED = "unmeasured"
    """Its job has ended, and there is nothing to compare."""
    LEFT_OUT = "left_out"
    """Never begun: it would have passed the budget, was refused, or the study ended before."""


UNDER_WAY: Final = frozenset({TrialStatus.TRAINING, TrialStatus.EVALUATING})
"""Trials that may still cost."""
DONE: Final = frozenset({TrialStatus.MEASURED, TrialStatus.UNMEASURED, TrialStatus.LEFT_OUT})
