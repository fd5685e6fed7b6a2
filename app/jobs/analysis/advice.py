"""What to do next, from a verdict and the settings it was trained with. Every piece names its source."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.jobs.analysis import sources
from app.jobs.analysis.findings import UNKNOWN, Advice, Data, Verdict
from app.jobs.analysis.readings import Readings

FEW_EXAMPLES: Final = 100
"""Below this more examples are advised before any setting. Source: Learn, “hundreds, if not thousands”."""

SMALL_SET: Final = 500
"""Up to here a set is small and wants a small batch. Source: the field report, “数百件”, some hundreds."""

VALIDATION_SHARE: Final = 0.2
"""Source: the field report, “約20%”."""

NEW_SPLIT: Final[Mapping[str, Any]] = {
    "type": "split",
    "parts": [{"name": "train", "share": 1 - VALIDATION_SHARE}, {"name": "validation"}],
    "together": "near",
}
"""Divides a dataset so that nothing of the validation stands in the training."""
WITHOUT_COPIES: Final[Mapping[str, Any]] = {"type": "dedupe", "of": "near"}

DEFAULT_BATCH_SHARE: Final = 0.002
LARGEST_DEFAULT_BATCH: Final = 256
"""Source: field report and microsoft-foundry/fine-tuning, Image_FT_Chart_Analysis (2026-01-23): 0.2 %, at
most 256."""

LOWEST_RATE: Final = 0.02
USUAL_RATES: Final = (0.5, 1.0, 2.0)
"""Begin with 0.5 to 1.0, at most 2.0 (field report). Learn recommends 0.02 to 0.2: older advice, from
models with another base rate; defaults reported by jobs are 1.0 (gpt-4o-mini), 2.0 (gpt-4.1), 0.1
(gpt-4.1-nano). So a rate is moved by one step from where it was, never to an absolute truth."""

MOST_EPOCHS: Final = 5
"""1 to 3 to begin with, 3 to 5 if needed, more risks over-fitting (field report)."""

ALREADY_LEARNED_ACCURACY: Final = 0.95
"""A first token accuracy above this leaves nothing to learn."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the job was set; None = not known or left to Azure.

    Args:
        steps_per_epoch: known or derived.
    """

    examples: int | None
    n_epochs: int | None
    batch_size: int | None
    learning_rate_multiplier: float | None
    has_validation: bool
    steps_per_epoch: float | None
    data: Data = UNKNOWN

    def epoch_of(self, step: int) -> int | None:
        """The epoch, from 1, in which the step lies."""
        if self.steps_per_epoch is None:
            return None
        return max(1, math.ceil(step / self.steps_per_epoch - 1e-9))


@dataclass(frozen=True, slots=True)
class Choice:
    """The best step, as far as known.

    Args:
        checkpoint: a deployable checkpoint lies there.
        is_last: it is the end of the training.
        lost_step: a better one that is not among the checkpoints any more, if there was one.
        value: the validation loss (or reward) there, if it was measured.
    """

    step: int | None
    reason: str
    checkpoint: bool
    is_last: bool
    lost_step: int | None
    value: float | None = None


def advise(verdict: Verdict, readings: Readings, settings: Settings, choice: Choice) -> tuple[Advice, ...]:
    by_verdict = {
        Verdict.CONVERGED: _when_converged,
        Verdict.OVER_FITTING: _when_over_fitting,
        Verdict.UNDER_TRAINED: _when_under_trained,
        Verdict.UNSTABLE: _when_unstable,
        Verdict.MEMORISED_DUPLICATES: _when_memorised,
        Verdict.VALIDATION_TOO_SMALL: _when_validation_is_small,
        Verdict.REWARD_HACKING: _when_hacking,
        Verdict.NOT_LEARNING: _when_not_learning,
        Verdict.TOO_SHORT: _when_too_short,
    }
    advice = by_verdict[verdict](readings, settings, choice)
    if choice.lost_step is not None:
        advice.append(_lost_checkpoint(settings, choice.lost_step))
    if not settings.has_validation:
        advice.append(_validation_file(settings.examples))
    return tuple(advice)


def _when_converged(readings: Readings, settings: Settings, choice: Choice) -> list[Advice]:
    advice = [
        Advice(
            "Try the model on questions it has not seen before you deploy it for users.",
            "Loss and token accuracy say how well it repeats the wording of the examples, not how useful it is.",
            None,
            None,
            sources.LEARN_RESULTS,
        )
    ]
    training, validation = readings.training, readings.validation
    best_epoch = settings.epoch_of(validation.best_step) if validation and validation.judges else None
    if validation and validation.judges and not choice.is_last and best_epoch and settings.n_epochs:
        if best_epoch < settings.n_epochs:
            advice.append(
                Advice(
                    f"Next time train {_epochs(best_epoch)}.",
                    f"Validation did not improve after epoch {best_epoch}; every epoch is paid for.",
                    "n_epochs",
                    str(best_epoch),
                    sources.LEARN_RESULTS,
                )
            )
    elif training and training.still_falling and (settings.n_epochs or 0) < MOST_EPOCHS:
        advice.append(_more_epochs(settings.n_epochs, "The loss was still falling when the training ended."))
    return advice


def _when_over_fitting(readings: Readings, settings: Settings, choice: Choice) -> list[Advice]:
    advice = []
    if choice.checkpoint and not choice.is_last:
        advice.append(
            Advice(
                f"Deploy the checkpoint of step {choice.step} instead of the final model.",
                "It is from before the validation loss rose.",
                None,
                None,
                sources.LEARN_CHECKPOINTS,
            )
        )
    validation = readings.validation
    best_epoch = settings.epoch_of(validation.best_step) if validation else None
    if best_epoch is not None and (settings.n_epochs is None or best_epoch < settings.n_epochs):
        fewer: int | None = best_epoch
    elif settings.n_epochs is not None and settings.n_epochs > 1:
        fewer = max(1, settings.n_epochs // 2)
    else:
        fewer = None
    if fewer is not None:
        advice.append(
            Advice(
                f"Train {_epochs(fewer)}.",
                "From there on the model learned the training examples by heart.",
                "n_epochs",
                str(fewer),
                sources.LEARN_RESULTS,
            )
        )
    advice.append(_slower(settings.learning_rate_multiplier, "A smaller learning rate helps against over-fitting."))
    if settings.examples is None or settings.examples < SMALL_SET:
        advice.append(
            _more_examples(
                settings.examples,
                "A small set is learned by heart quickly; other wordings of the same questions count, too.",
            )
        )
    return advice


def _when_under_trained(_readings: Readings, settings: Settings, _choice: Choice) -> list[Advice]:
    if (settings.n_epochs or 0) < MOST_EPOCHS:
        return [_more_epochs(settings.n_epochs, "It was still getting better on examples it had not seen.")]
    faster = _faster(settings.learning_rate_multiplier)
    more = _more_examples(settings.examples, "More of the same would be the next thing to learn from.")
    return [more] if faster is None else [faster, more]


def _when_memorised(_readings: Readings, settings: Settings, _choice: Choice) -> list[Advice]:
    leaked = bool(settings.data.leaked)
    advice = [
        Advice(
            "Take the repetitions out of the training data"
            + (", and divide training and validation anew." if leaked else "."),
            "Copies are learned by heart and count several times"
            + ("; a validation that holds them measures memory." if leaked else "."),
            "training",
            None,
            sources.LEARN_DATA,
            (WITHOUT_COPIES, NEW_SPLIT) if leaked else (WITHOUT_COPIES,),
        )
    ]
    if settings.n_epochs is not None and settings.n_epochs > 1:
        fewer = max(1, settings.n_epochs // 2)
        advice.append(
            Advice(
                f"Then train {_epochs(fewer)}.",
                "What is said several times in the data needs fewer passes.",
                "n_epochs",
                str(fewer),
                sources.LEARN_RESULTS,
            )
        )
    advice.append(_more_examples(settings.examples, "Other wordings teach, the same ones do not."))
    return advice


def _when_validation_is_small(_readings: Readings, settings: Settings, _choice: Choice) -> list[Advice]:
    if settings.examples is None or settings.data.validation_examples is None:
        share = f"{VALIDATION_SHARE:.0%} of all examples"
    else:
        share = (
            f"{max(1, round((settings.examples + settings.data.validation_examples) * VALIDATION_SHARE))} examples"
        )
    return [
        Advice(
            f"Make the validation larger, {share}, and train again with the same settings.",
            "What so few examples say could be chance.",
            "validation",
            share,
            sources.FIELD_REPORT,
            (NEW_SPLIT,),
        ),
        Advice(
            "Compare the tuned model with the base model by an evaluation before you use it.",
            "The curve cannot tell which of the two answers better.",
            None,
            None,
            sources.LEARN_RESULTS,
        ),
    ]


def _when_hacking(readings: Readings, settings: Settings, choice: Choice) -> list[Advice]:
    advice = [
        Advice(
            "Read the answers with the highest rewards, and make the grader see what is wrong with them.",
            "The model learned to please the grader: the reward rose, the figures beside it did not.",
            None,
            None,
            sources.TRAINING_CURVES,
        )
    ]
    if choice.checkpoint and not choice.is_last:
        advice.append(
            Advice(
                f"Until then use the checkpoint of step {choice.step}.",
                "There the validation reward was highest.",
                None,
                None,
                sources.LEARN_CHECKPOINTS,
            )
        )
    best_epoch = settings.epoch_of(readings.validation.best_step) if readings.validation else None
    if best_epoch is not None and settings.n_epochs is not None and best_epoch < settings.n_epochs:
        advice.append(
            Advice(
                f"Train {_epochs(best_epoch)}.",
                "The reward was honest up to there.",
                "n_epochs",
                str(best_epoch),
                sources.TRAINING_CURVES,
            )
        )
    advice.append(_slower(settings.learning_rate_multiplier, "Smaller steps leave the grader's gaps later."))
    return advice


def _when_unstable(_readings: Readings, settings: Settings, choice: Choice) -> list[Advice]:
    advice = [
        Advice(
            "Do not deploy the final model; stop the job if it is still running.",
            "It is worse than it was before; a job that is cancelled or paused costs no further training.",
            None,
            None,
            sources.LEARN_PAUSE,
        ),
        _slower(settings.learning_rate_multiplier, "Too large a learning rate makes a training diverge."),
    ]
    default = _default_batch(settings.examples)
    if settings.batch_size is not None and default is not None and settings.batch_size > 2 * default:
        advice.append(_smaller_batch(default, "A batch far above the default can make a training unstable."))
    if choice.checkpoint and not choice.is_last:
        advice.append(
            Advice(
                f"If you need a model now, try the checkpoint of step {choice.step}.",
                "It is from before the training went wrong.",
                None,
                None,
                sources.LEARN_CHECKPOINTS,
            )
        )
    advice.append(
        Advice(
            "Look through the training file for broken, empty or contradicting answers.",
            "Bad examples do harm, and a few can be enough in a small set.",
            "training",
            None,
            sources.LEARN_DATA,
        )
    )
    return advice


def _when_not_learning(readings: Readings, settings: Settings, _choice: Choice) -> list[Advice]:
    if (readings.accuracies.train_first or 0.0) >= ALREADY_LEARNED_ACCURACY:
        return [
            Advice(
                "Ask the base model your questions; it may not need fine-tuning for them.",
                "It gave nearly every token of the answers right from the first step on.",
                None,
                None,
                sources.FIELD_REPORT_CURVES,
            )
        ]
    advice = []
    faster = _faster(settings.learning_rate_multiplier)
    if faster is not None:
        advice.append(faster)
    if (settings.n_epochs or 0) < MOST_EPOCHS:
        advice.append(_more_epochs(settings.n_epochs, "It may not have seen the examples often enough."))
    advice.append(
        Advice(
            "Check that like questions have like answers in the training file.",
            "Where the answers contradict each other there is nothing to learn.",
            "training",
            None,
            sources.LEARN_DATA,
        )
    )
    return advice


def _when_too_short(_readings: Readings, settings: Settings, _choice: Choice) -> list[Advice]:
    advice = []
    if settings.examples is None or settings.examples < FEW_EXAMPLES:
        advice.append(
            _more_examples(settings.examples, "Ten examples start a job but do not change the answers noticeably.")
        )
    if settings.batch_size is not None and settings.batch_size > 1:
        default = _default_batch(settings.examples) or 1
        if default < settings.batch_size:
            advice.append(_smaller_batch(default, "A small set wants a small batch: more and finer steps."))
    if (settings.n_epochs or 0) < MOST_EPOCHS:
        advice.append(_more_epochs(settings.n_epochs, "More passes over a small set give more steps."))
    if not advice:
        why = "The settings give enough steps; they have not been measured yet."
        advice.append(
            Advice("Look again when more steps have been measured.", why, None, None, sources.LEARN_RESULTS)
        )
    return advice


def _more_epochs(n_epochs: int | None, why: str) -> Advice:
    more = 3 if n_epochs is None or n_epochs < 3 else MOST_EPOCHS
    return Advice(f"Train {_epochs(more)}.", why, "n_epochs", str(more), sources.FIELD_REPORT)


def _slower(rate: float | None, why: str) -> Advice:
    low, middle, _high = USUAL_RATES
    if rate is None or low < rate <= middle:
        slower = low
    elif rate > middle:
        slower = middle
    else:
        slower = max(LOWEST_RATE, rate / 2) if rate > LOWEST_RATE else rate / 2
    return Advice(
        f"Lower the learning rate multiplier to {slower:.2g}.",
        why,
        "learning_rate_multiplier",
        f"{slower:.2g}",
        f"{sources.FIELD_REPORT}; {sources.LEARN_RESULTS}",
    )


def _faster(rate: float | None) -> Advice | None:
    """One step up the usual rates; None at their end, where a larger one would rather diverge."""
    higher = next((usual for usual in USUAL_RATES if rate is not None and usual > rate), None)
    if rate is None:
        higher = USUAL_RATES[1]
    if higher is None:
        return None
    return Advice(
        f"Raise the learning rate multiplier to {higher:.2g}.",
        "The steps may have been too small to move the model.",
        "learning_rate_multiplier",
        f"{higher:.2g}",
        f"{sources.FIELD_REPORT}; {sources.FIELD_REPORT_LOSS}",
    )


def _smaller_batch(batch_size: int, why: str) -> Advice:
    return Advice(
        f"Set the batch size to {batch_size}, or leave it to Azure.",
        why,
        "batch_size",
        str(batch_size),
        sources.FIELD_REPORT,
    )


def _more_examples(examples: int | None, why: str) -> Advice:
    action = "Add examples: hundreds, better thousands."
    if examples is not None:
        action = f"Add examples: there are {examples}; hundreds are good, thousands better."
    return Advice(action, why, "training", None, sources.LEARN_DATA)


def _validation_file(examples: int | None) -> Advice:
    share = f"about {VALIDATION_SHARE:.0%} of the examples"
    if examples is not None and examples > 1:
        share = f"{max(1, round(examples * VALIDATION_SHARE))} of the {examples} examples"
    return Advice(
        f"Keep {share} out of the training and give them as the validation dataset.",
        "Without one nobody can see whether the model understood the examples or learned them by heart.",
        "validation",
        share,
        sources.FIELD_REPORT,
        (NEW_SPLIT,),
    )


def _lost_checkpoint(settings: Settings, step: int) -> Advice:
    epoch = settings.epoch_of(step)
    return Advice(
        "Train again and stop where it was best"
        + (f", after {_epochs(epoch).removeprefix('for ')}." if epoch else "."),
        f"Step {step} was better than any checkpoint that is left; Azure keeps the last three versions only.",
        "n_epochs" if epoch else None,
        str(epoch) if epoch else None,
        sources.LEARN_CHECKPOINTS,
    )


def _default_batch(examples: int | None) -> int | None:
    if examples is None:
        return None
    return min(LARGEST_DEFAULT_BATCH, max(1, round(examples * DEFAULT_BATCH_SHARE)))


def _epochs(count: int) -> str:
    return f"for {count} epoch" if count == 1 else f"for {count} epochs"
