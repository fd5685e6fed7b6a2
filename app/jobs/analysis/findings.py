"""What an analysis says: the verdict, what it rests on, what to do next. Values only; nothing here judges."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    CONVERGING = "converging"
    """The loss fell and nothing speaks against the result, as far as the numbers can tell."""

    OVER_FITTING = "over_fitting"
    """The model gets better on the training examples and worse on examples it has not seen."""

    DIVERGING = "diverging"
    """The training loss is no number any more, or lost most of what it had gained."""

    NOT_LEARNING = "not_learning"
    """No loss moved enough to tell it from noise."""

    TOO_SHORT = "too_short"
    """Too few points to say anything."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation.

    Args:
        text: a sentence for a person.
        numbers: the figures in it, for a program; finite.
    """

    text: str
    numbers: dict[str, float]


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do next.

    Args:
        setting: the field of a new job it is about (`n_epochs`, `learning_rate_multiplier`, `batch_size`,
            `validation`, `training`), None when it is not a setting.
        suggestion: the value to try for `setting`, as text.
        source: where the advice comes from.
    """

    action: str
    why: str
    setting: str | None
    suggestion: str | None
    source: str


@dataclass(frozen=True, slots=True)
class CheckpointPoint:
    """A checkpoint that can still be deployed.

    Args:
        id: our or Azure's name of it, only handed through.
    """

    step: int
    full_valid_loss: float | None
    id: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """The judgement of one training.

    Args:
        headline: one sentence for a person.
        best_step: step of the checkpoint to deploy; None when the numbers cannot tell.
        best_reason: why that one, or why none.
        summary: `steps` (the last step), `points`, `epochs`, `train_loss_first|last`,
            `valid_loss_first|best|last`, `train_accuracy_first|last`, `valid_accuracy_first|best|last`, and
            for reinforcement fine-tuning `train_reward_first|last`, `valid_reward_first|best|last`. First
            and last are means of a few points; `valid` is the whole validation set at epoch ends where
            there is one, else the sampled batches. None = not known.
    """

    verdict: Verdict
    headline: str
    evidence: tuple[Evidence, ...]
    advice: tuple[Advice, ...]
    best_step: int | None
    best_reason: str
    summary: dict[str, float | int | None]

    def to_json(self) -> dict[str, object]:
        """Plain values that any JSON writer takes; a number that is not finite becomes null."""
        return {
            "verdict": self.verdict.value,
            "headline": self.headline,
            "evidence": [
                {
                    "text": item.text,
                    "numbers": {name: _finite(number) for name, number in item.numbers.items()},
                }
                for item in self.evidence
            ],
            "advice": [
                {
                    "action": item.action,
                    "why": item.why,
                    "setting": item.setting,
                    "suggestion": item.suggestion,
                    "source": item.source,
                }
                for item in self.advice
            ],
            "best_step": self.best_step,
            "best_reason": self.best_reason,
            "summary": {name: _finite(number) for name, number in self.summary.items()},
        }


def _finite(number: float | None) -> float | int | None:
    return number if number is not None and math.isfinite(number) else None
