"""What an analysis says: the verdict, what it rests on, what to do next. Values only; nothing here judges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class Verdict(StrEnum):
    CONVERGED = "converged"
    """The loss fell and nothing speaks against the result, as far as the numbers can tell."""

    OVER_FITTING = "over_fitting"
    """The model gets better on the training examples and worse on examples it has not seen."""

    UNDER_TRAINED = "under_trained"
    """It ended while it was still getting better on examples it had not seen."""

    UNSTABLE = "unstable"
    """The training loss is no number any more, lost most of what it had gained, or the training did harm."""

    MEMORISED_DUPLICATES = "memorised_duplicates"
    """The training examples are known by heart, and many of them repeat one another or stand in the validation."""

    VALIDATION_TOO_SMALL = "validation_too_small"
    """The training examples were learned; the validation is too small to say what that is worth."""

    REWARD_HACKING = "reward_hacking"
    """Reinforcement: the reward rises on training while other figures say that the answers get no better."""

    NOT_LEARNING = "not_learning"
    """No loss moved enough to tell it from noise."""

    TOO_SHORT = "too_short"
    """Too few points to say anything."""


class Level(StrEnum):
    """How far a verdict can be trusted."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    def lowered(self) -> "Level":
        return Level.MEDIUM if self is Level.HIGH else Level.LOW


@dataclass(frozen=True, slots=True)
class Confidence:
    """How far a verdict can be trusted, with the reason in a sentence."""

    level: Level
    why: str


@dataclass(frozen=True, slots=True)
class Data:
    """What is known of the examples beside the curve; None = not known.

    Args:
        validation_examples: in the validation set.
        repeated: training examples that say what an earlier one says, word for word or nearly.
        leaked: validation examples that stand in the training data, word for word or nearly.
    """

    validation_examples: int | None = None
    repeated: int | None = None
    leaked: int | None = None


UNKNOWN: Final = Data()

REPEATING_FINDINGS: Final = frozenset({"exact-duplicate", "near-duplicate"})
"""What a check of a dataset calls the examples that count as `Data.repeated`."""


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
        operations: what to do to the training dataset, in the words of `…/transform`.
    """

    action: str
    why: str
    setting: str | None
    suggestion: str | None
    source: str
    operations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """The one change to try next; everything else stays as it was, so that the outcome means something.

    Args:
        setting, was, now: the hyperparameter that changes; None when it is the data, or nothing.
        hyperparameters: of the next job, whole, as `POST /v1/jobs` takes them.
        operations: what to do to the training dataset first, as `…/transform` takes them.
    """

    action: str
    why: str
    setting: str | None
    was: float | None
    now: float | None
    hyperparameters: Mapping[str, int | float]
    operations: tuple[Mapping[str, Any], ...]
    source: str

    def to_json(self) -> dict[str, object]:
        changed = {} if self.setting is None else {self.setting: {"from": self.was, "to": self.now}}
        return {
            "action": self.action,
            "why": self.why,
            "changes": changed,
            "job": {"hyperparameters": dict(self.hyperparameters)},
            "dataset": {"operations": [dict(operation) for operation in self.operations]}
            if self.operations
            else None,
            "source": self.source,
        }


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
        from_step: since when, for what goes wrong from a step on.
        best_step: step of the checkpoint to deploy; None when the numbers cannot tell.
        best_reason: why that one, or why none.
        summary: `steps` (the last step), `points`, `epochs`, `train_loss_first|last`,
            `valid_loss_first|best|last|at_best_step`, `train_accuracy_first|last`,
            `valid_accuracy_first|best|last`, and for reinforcement fine-tuning `train_reward_first|last`,
            `valid_reward_first|best|last|at_best_step`. First and last are means of a few points; `valid` is the
            whole validation set at epoch ends where
            there is one, else the sampled batches. None = not known.
    """

    verdict: Verdict
    headline: str
    confidence: Confidence
    from_step: int | None
    evidence: tuple[Evidence, ...]
    advice: tuple[Advice, ...]
    next_experiment: Experiment
    best_step: int | None
    best_reason: str
    summary: dict[str, float | int | None]

    def to_json(self) -> dict[str, object]:
        """Plain values that any JSON writer takes; a number that is not finite becomes null."""
        return {
            "verdict": self.verdict.value,
            "headline": self.headline,
            "confidence": {"level": self.confidence.level.value, "why": self.confidence.why},
            "from_step": self.from_step,
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
                    "operations": [dict(operation) for operation in item.operations],
                }
                for item in self.advice
            ],
            "next_experiment": self.next_experiment.to_json(),
            "best_step": self.best_step,
            "best_reason": self.best_reason,
            "summary": {name: _finite(number) for name, number in self.summary.items()},
        }


def _finite(number: float | None) -> float | int | None:
    return number if number is not None and math.isfinite(number) else None
