"""The values a caller of the learner gives and gets; knows nothing of tokens, experts or files."""

import math
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How to train.

    ``n_epochs`` >= 1, ``batch_size`` in examples >= 1, ``learning_rate_multiplier`` > 0 (1.0 is the usual one),
    ``seed`` decides the order of the examples and every other draw.
    """

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    seed: int

    def __post_init__(self) -> None:
        if self.n_epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"n_epochs and batch_size must be at least 1, not {self.n_epochs} and {self.batch_size}"
            )
        if not 0 < self.learning_rate_multiplier < math.inf:
            raise ValueError(f"learning_rate_multiplier must be above 0, not {self.learning_rate_multiplier}")


@dataclass(frozen=True, slots=True)
class StepRow:
    """One line of the results file, all measured: losses in nats per token, accuracies in 0..1.

    The ``valid_`` pair stands on sampled steps only, the ``full_valid_`` pair at the end of an epoch only.
    """

    step: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None
    full_valid_loss: float | None
    full_valid_accuracy: float | None


@dataclass(frozen=True, slots=True)
class RewardRow:
    """One line of the results file of a training by rewards, all measured.

    ``mean_reward`` and ``completion_tokens`` are means over the model's own samples of the step;
    ``valid_mean_reward`` stands on evaluated steps only and is that of the greedy answers.
    """

    step: int
    mean_reward: float
    valid_mean_reward: float | None
    completion_tokens: float


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and what it would be billed as."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: FinishReason


def auto_epochs(examples: int) -> int:
    """3, and for fewer than 50 examples up to 10, so that a small file is still seen about a hundred times."""
    if examples >= 50:
        return 3
    return max(3, min(10, 100 // max(examples, 1)))


def auto_batch_size(examples: int) -> int:
    """0.2 % of the examples, 1 to 256."""
    return max(1, min(256, round(0.002 * examples)))
