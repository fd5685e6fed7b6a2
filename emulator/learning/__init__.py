"""A small language model that learns on a CPU."""

from emulator.learning.learner import Learner
from emulator.learning.outcomes import (
    FinishReason,
    Hyperparameters,
    Reply,
    StepRow,
    auto_batch_size,
    auto_epochs,
)
from emulator.learning.tokens import count_tokens

__all__ = [
    "FinishReason",
    "Hyperparameters",
    "Learner",
    "Reply",
    "StepRow",
    "auto_batch_size",
    "auto_epochs",
    "count_tokens",
]
