"""Judges a training: one verdict, how sure it is, the evidence for it, and which checkpoint to take."""

import math
from collections.abc import Sequence
from typing import Final, TypeVar

from app.jobs.analysis.advice import Choice, Settings, advise
from app.jobs.analysis.confidence import confidence_in
from app.jobs.analysis.experiment import next_experiment
from app.jobs.analysis.findings import UNKNOWN, Analysis, CheckpointPoint, Data, Evidence, Verdict
from app.jobs.analysis.readings import (
    MEANINGFUL_CHANGE,
    Growth,
    Readings,
    Training,
    Validation,
    read,
    smoothed_validation,
)
from app.jobs.analysis.results import Results

FEWEST_POINTS: Final = 10
"""With fewer points neither a level nor a trend stands out of the noise: three at the start and three at
the end must be left, with something between them."""

OVER_FITTING_RISE: Final = 0.05
"""Rise of the whole-set validation loss above its minimum. Measured on small sets: three sensible epochs
end 2 to 4 % above it and answer no worse; ten epochs end 20 to 40 % above it, and fewer new questions are
answered rightly."""

OVER_FITTING_RISE_SAMPLED: Final = 0.10
"""The same for sampled validation, which shows other batches at every point and needs a larger step to be
believed.
Source of both: Learn, “if your training and validation data diverge, you might be overfitting”; the field
report, “validation_loss が途中から上がり続けたら過学習の兆候”."""

FEWEST_VALIDATION: Final = 10
"""With fewer examples nothing but a large rise is believed. Of n examples a share is known to about ±1/√n (95 %):
±32 points of 10."""

ENOUGH_VALIDATION: Final = 30
"""From here on a validation set is taken at its word (±18 points). Below it a rise must be larger by √(30/n), as
its error is, to count as over-fitting."""

NEAR_ZERO_LOSS: Final = 0.05
"""Nats a token: each token of the answers is given with a probability of 95 % (e^-0.05)."""

BY_HEART_ACCURACY: Final = 0.98
"""Share of the answers' tokens the model gives itself; the same, for models whose losses stand on another level."""

REPEATED_SHARE: Final = 0.2
"""Of the training examples. A fifth that repeats the rest is one more epoch for it, unseen and unpaid for by the
others."""

LEAKED_SHARE: Final = 0.1
"""Of the validation examples. A tenth known by heart pulls the validation loss down by a tenth, twice what counts
as over-fitting."""

DIVERGING_RISE: Final = 0.2
"""Rise of the training loss above its lowest tenth that is more than an uneven mix of batches (real
trainings that ended well moved by up to 25 %, but gave back under 5 % of what they had gained: both must be
exceeded)."""

DIVERGING_GIVEN_BACK: Final = 0.5
"""Half of everything gained was lost again."""

WORTH_A_WORD: Final = 0.25
"""A training loss that gave back this share of its gain is mentioned, though it does not decide."""

SCATTERED_RISE: Final = 0.4
"""Sampled validation that ends so far above its best and yet within its own noise says nothing in either
direction: over-fitting of four times the size that counts could hide in it."""

_Number = TypeVar("_Number", int, float)


def analyse(
    results: Results,
    *,
    examples: int | None,
    n_epochs: int | None,
    batch_size: int | None,
    learning_rate_multiplier: float | None,
    has_validation: bool,
    checkpoints: Sequence[CheckpointPoint] = (),
    data: Data = UNKNOWN,
) -> Analysis:
    """Judge a training, finished or still running.

    Args:
        examples, n_epochs, batch_size, learning_rate_multiplier: as the job has them; None or a value below 0
            (Azure shows -1 for `auto`) means not known, and the advice then names no figures built on it.
        has_validation: a validation file was given, even if nothing was measured on it yet.
        checkpoints: those that can be deployed now; with any given, the best step is one of theirs.
        data: what is known of the examples.
    """
    readings = read(results, checkpoints)
    settings = Settings(
        examples=_known(examples),
        n_epochs=_known(n_epochs),
        batch_size=_known(batch_size),
        learning_rate_multiplier=_known(learning_rate_multiplier),
        has_validation=has_validation or readings.validation is not None,
        steps_per_epoch=_steps_per_epoch(readings, _known(examples), _known(batch_size), _known(n_epochs)),
        data=data,
    )
    verdict = _verdict(readings, settings)
    choice = _choose(verdict, results, readings, checkpoints)
    advice = advise(verdict, readings, settings, choice)
    return Analysis(
        verdict=verdict,
        headline=_headline(verdict, readings, settings),
        confidence=confidence_in(verdict, readings, settings),
        from_step=_from_step(verdict, readings),
        evidence=tuple(_evidence(readings, settings)),
        advice=advice,
        next_experiment=next_experiment(verdict, settings, advice),
        best_step=choice.step,
        best_reason=choice.reason,
        summary=_summary(readings, settings, choice),
    )


def best_step(results: Results, checkpoints: Sequence[CheckpointPoint] = ()) -> int | None:
    """The `best_step` an analysis of the same points would name, settings and data apart."""
    readings = read(results, checkpoints)
    settings = Settings(None, None, None, None, has_validation=True, steps_per_epoch=None)
    return _choose(_verdict(readings, settings), results, readings, checkpoints).step


def _verdict(readings: Readings, settings: Settings) -> Verdict:
    training, validation = readings.training, readings.validation
    if readings.not_a_number_at is not None:
        return Verdict.UNSTABLE
    if training is None or training.count < FEWEST_POINTS:
        return Verdict.TOO_SHORT
    if training.rise >= DIVERGING_RISE and training.given_back >= DIVERGING_GIVEN_BACK and training.rise_is_sure:
        return Verdict.UNSTABLE
    if training.unit == "reward" and training.learned and _reward_alone_rises(readings):
        return Verdict.REWARD_HACKING
    if training.learned and known_by_heart(readings) and (_much_repeated(settings) or _much_leaked(settings)):
        return Verdict.MEMORISED_DUPLICATES
    if _validation_rises(readings, settings):
        # Nothing gained on the training examples and something lost on the others is damage, not over-fitting.
        return Verdict.OVER_FITTING if training.learned else Verdict.UNSTABLE
    if not training.learned and not (validation is not None and validation.judges and validation.fell):
        return Verdict.NOT_LEARNING
    if _validation_cannot_tell(readings, settings):
        return Verdict.VALIDATION_TOO_SMALL
    if _ended_early(readings, settings):
        return Verdict.UNDER_TRAINED
    return Verdict.CONVERGED


def known_by_heart(readings: Readings) -> bool:
    """Whether the training examples are: near-zero loss, or near-perfect token accuracy."""
    training = readings.training
    if training is None or training.unit == "reward":
        return False
    return training.last <= NEAR_ZERO_LOSS or (readings.accuracies.train_last or 0.0) >= BY_HEART_ACCURACY


def _much_repeated(settings: Settings) -> bool:
    repeated, examples = settings.data.repeated, settings.examples
    return bool(repeated and examples and repeated >= REPEATED_SHARE * examples)


def _much_leaked(settings: Settings) -> bool:
    leaked, examples = settings.data.leaked, settings.data.validation_examples
    return bool(leaked and examples and leaked >= LEAKED_SHARE * examples)


def _reward_alone_rises(readings: Readings) -> bool:
    """The training reward rose: whether anything says that this is not what it should mean."""
    validation = readings.validation
    if validation is not None and validation.judges:
        if validation.rise >= MEANINGFUL_CHANGE and validation.rise_is_sure:
            return True
        return bool(readings.growths) and not validation.fell
    return any(growth.errors for growth in readings.growths)


def _validation_rises(readings: Readings, settings: Settings) -> bool:
    validation = readings.validation
    if validation is None or not validation.judges:
        return False
    doubt = _doubt(settings)
    if validation.whole:
        return validation.rise >= OVER_FITTING_RISE * doubt
    return validation.rise >= OVER_FITTING_RISE_SAMPLED * doubt and (
        validation.rise_is_sure or readings.gap_widened
    )


def _doubt(settings: Settings) -> float:
    """How many times larger a rise must be because the validation set is small; 1 when it is not, or not known."""
    examples = settings.data.validation_examples
    return max(1.0, math.sqrt(ENOUGH_VALIDATION / examples)) if examples else 1.0


def _validation_cannot_tell(readings: Readings, settings: Settings) -> bool:
    """There is a validation, no over-fitting in it, and it would not show any either."""
    validation = readings.validation
    if validation is None:
        return False
    examples = settings.data.validation_examples
    if examples is not None and examples < FEWEST_VALIDATION:
        return True
    if not validation.judges or validation.unit == "reward":
        return False
    if validation.whole:
        return validation.rise >= OVER_FITTING_RISE
    return validation.rise >= SCATTERED_RISE and not validation.rise_is_sure


def _ended_early(readings: Readings, settings: Settings) -> bool:
    """By the validation where there is one; else by a training within its first epoch, whose examples are new."""
    training, validation = readings.training, readings.validation
    if training is None or not training.still_falling or known_by_heart(readings):
        return False
    if validation is not None and validation.judges:
        return validation.still_falling
    return settings.n_epochs == 1


def _from_step(verdict: Verdict, readings: Readings) -> int | None:
    validation, training = readings.validation, readings.training
    if verdict is Verdict.UNSTABLE:
        if readings.not_a_number_at is not None:
            return readings.not_a_number_at
        return training.lowest_step if training is not None and training.rise >= DIVERGING_RISE else None
    worse = verdict in {Verdict.OVER_FITTING, Verdict.MEMORISED_DUPLICATES, Verdict.REWARD_HACKING}
    if worse and validation is not None and validation.judges and validation.rise > 0:
        return validation.best_step
    return None


def _choose(
    verdict: Verdict, results: Results, readings: Readings, checkpoints: Sequence[CheckpointPoint]
) -> Choice:
    """The checkpoint with the best validation; without validation none, except the last sound one of a
    divergence.
    """
    if verdict is Verdict.NOT_LEARNING:
        reason = "Nothing was learned, so no checkpoint is better than another, or than the base model."
        return Choice(step=None, reason=reason, checkpoint=False, is_last=True, lost_step=None)
    broken_at = readings.not_a_number_at
    if broken_at is not None:
        checkpoints = [point for point in checkpoints if point.step < broken_at]
    measured = _validation_by_step(readings)
    better = "highest" if readings.validation and readings.validation.unit == "reward" else "lowest"
    ranked = sorted(
        ((_at(measured, point), point.step) for point in checkpoints if _at(measured, point) is not None),
        key=lambda pair: (pair[0] if better == "lowest" else -(pair[0] or 0.0), pair[1]),
    )
    if ranked:
        loss, step = ranked[0]
        lost = _lost(readings.validation, loss, checkpoints)
        of_all = f"Of the {len(checkpoints)} checkpoints this one has the {better}"
        only = "It is the only checkpoint; this is its"
        reason = f"{only if len(checkpoints) == 1 else of_all} validation {_unit(readings)}"
        return Choice(
            step=step,
            reason=f"{reason} ({_figure(loss)}).",
            checkpoint=True,
            is_last=step >= readings.last_step,
            lost_step=lost,
            value=loss,
        )
    if readings.validation is not None and measured and not checkpoints and broken_at is None:
        step = readings.validation.best_step
        where = (
            "on the whole validation set" if readings.validation.whole else "over the sampled validation batches"
        )
        return Choice(
            step=step,
            reason=f"The {_unit(readings)} {where} was {better} there ({_figure(readings.validation.best)}).",
            checkpoint=False,
            is_last=step >= readings.last_step,
            lost_step=None,
            value=readings.validation.best,
        )
    if verdict is Verdict.UNSTABLE:
        return _last_sound(results, readings, checkpoints)
    return Choice(
        step=None,
        reason="Without validation figures nothing tells which checkpoint answers unseen questions best; "
        "take the final model, or compare checkpoints by an evaluation.",
        checkpoint=False,
        is_last=True,
        lost_step=None,
    )


def _last_sound(results: Results, readings: Readings, checkpoints: Sequence[CheckpointPoint]) -> Choice:
    """Of a divergence without validation: the checkpoint nearest to where the training loss was lowest."""
    lowest = readings.training.lowest_step if readings.training else None
    if lowest is None:
        return Choice(None, "No step from before the training went wrong is known.", False, False, None)
    nearest = min(checkpoints, key=lambda point: (abs(point.step - lowest), point.step), default=None)
    step = nearest.step if nearest is not None else lowest
    return Choice(
        step=step,
        reason="The training was at its best around there, before it went wrong.",
        checkpoint=nearest is not None,
        is_last=bool(results.points) and step >= readings.last_step,
        lost_step=None,
    )


def _validation_by_step(readings: Readings) -> dict[int, float]:
    validation = readings.validation
    if validation is None:
        return {}
    if validation.whole:
        return dict(validation.series)
    return dict(smoothed_validation(validation.series)) if validation.judges else {}


def _at(measured: dict[int, float], checkpoint: CheckpointPoint) -> float | None:
    """The validation loss of a checkpoint: its own, or the one measured at its step, or just before it."""
    if checkpoint.full_valid_loss is not None and math.isfinite(checkpoint.full_valid_loss):
        return checkpoint.full_valid_loss
    before = [step for step in measured if step <= checkpoint.step]
    return measured[max(before)] if before else None


def _lost(validation: Validation | None, loss: float | None, checkpoints: Sequence[CheckpointPoint]) -> int | None:
    """A step where the whole-set loss was meaningfully lower than at any checkpoint there is now."""
    if validation is None or not validation.whole or loss is None or validation.unit == "reward":
        return None
    if any(point.step == validation.best_step for point in checkpoints):
        return None
    return validation.best_step if loss > validation.best * (1 + OVER_FITTING_RISE) else None


def _headline(verdict: Verdict, readings: Readings, settings: Settings) -> str:
    training, validation = readings.training, readings.validation
    unit = _unit(readings)
    if training is None or verdict is Verdict.TOO_SHORT:
        return (
            f"Too short to judge: {_count(readings.points, 'point')} so far, at least {FEWEST_POINTS} are needed."
        )
    if verdict is Verdict.UNSTABLE:
        if readings.not_a_number_at is not None:
            return f"The training broke down: at step {readings.not_a_number_at} the loss was no number any more."
        if training.rise >= DIVERGING_RISE and training.given_back >= DIVERGING_GIVEN_BACK:
            return (
                f"The training diverged: its {unit} went from {_figure(training.lowest)} at step "
                f"{training.lowest_step} back to {_figure(training.last)}."
            )
        return f"The training did harm: its {unit} did not improve, and on the validation set it got worse."
    if verdict is Verdict.OVER_FITTING and validation is not None:
        return (
            f"Over-fitting from step {validation.best_step} on: validation got {_change(validation)} worse "
            "while the model went on learning the training examples."
        )
    if verdict is Verdict.REWARD_HACKING:
        return (
            f"Reward hacking: the training reward rose to {_figure(training.last)}, but {_told_against(readings)}."
        )
    if verdict is Verdict.MEMORISED_DUPLICATES:
        return f"The model knows the training examples by heart, and {_told_of_copies(settings)}."
    if verdict is Verdict.VALIDATION_TOO_SMALL:
        examples = settings.data.validation_examples
        size = f"{_count(examples, 'validation example')}" if examples else "the validation figures"
        return (
            f"The training examples were learned ({unit} {_figure(training.first)} to {_figure(training.last)}); "
            f"{size} cannot say whether unseen questions are answered better."
        )
    if verdict is Verdict.UNDER_TRAINED:
        where = "on examples it had not seen"
        return f"The training ended early: the {unit} was still getting better {where} when it stopped."
    if verdict is Verdict.NOT_LEARNING:
        return f"The model learned nothing to speak of: the training {unit} stayed near {_figure(training.last)}."
    seen = "" if settings.has_validation else "; whether it over-fits cannot be seen without a validation file"
    direction = "rose" if training.unit == "reward" else "fell"
    if readings.gap_widened and validation is not None:
        return (
            f"The training converged on its own examples: its {unit} {direction} from {_figure(training.first)} "
            f"to {_figure(training.last)}; on the validation set it ended at {_figure(validation.last)}, "
            "far from that."
        )
    return (
        f"The training went well: its {unit} {direction} from {_figure(training.first)} to {_figure(training.last)}"
        f"{seen}."
    )


def _told_against(readings: Readings) -> str:
    validation = readings.validation
    if validation is not None and validation.judges and validation.rise >= MEANINGFUL_CHANGE:
        return (
            f"the validation reward fell from {_figure(validation.best)} (step {validation.best_step}) "
            f"to {_figure(validation.last)}"
        )
    grown = readings.growths[0]
    stayed = "" if validation is None else " while the validation reward did not rise"
    return f"{_grown(grown)}{stayed}"


def _grown(growth: Growth) -> str:
    what = "answers the grader could not read" if growth.errors else "tokens an answer"
    return f"{what} went from {_figure(growth.first)} to {_figure(growth.last)}"


def _told_of_copies(settings: Settings) -> str:
    data = settings.data
    told = []
    if _much_repeated(settings):
        told.append(f"{data.repeated:,} of these {settings.examples:,} only repeat others")
    if _much_leaked(settings):
        told.append(
            f"{data.leaked:,} of the {_count(data.validation_examples or 0, 'validation example')} stand among "
            "them, so the validation looks better than it is"
        )
    return ", and ".join(told)


def _evidence(readings: Readings, settings: Settings) -> list[Evidence]:
    found: list[Evidence] = []
    if readings.not_a_number_at is not None:
        found.append(
            Evidence(
                f"The loss is not a finite number at step {readings.not_a_number_at}.",
                {"step": float(readings.not_a_number_at)},
            )
        )
    if readings.training is not None:
        found += _about_training(readings.training)
    if readings.validation is not None:
        found += _about_validation(readings, readings.validation)
    elif settings.has_validation:
        found.append(Evidence("A validation file was given, but no figure has been measured on it yet.", {}))
    else:
        found.append(
            Evidence(
                "There is no validation file: over-fitting, if there is any, cannot be seen in these figures.", {}
            )
        )
    return [*found, *_about_accuracies(readings), *_about_growths(readings), *_about_data(settings)]


def _about_growths(readings: Readings) -> list[Evidence]:
    return [
        Evidence(f"{_grown(growth).capitalize()} (`{growth.name}`).", {"first": growth.first, "last": growth.last})
        for growth in readings.growths
    ]


def _about_data(settings: Settings) -> list[Evidence]:
    data, found = settings.data, []
    if data.repeated and settings.examples:
        share = data.repeated / settings.examples
        found.append(
            Evidence(
                f"{data.repeated:,} of {_count(settings.examples, 'training example')} ({share:.0%}) repeat "
                "another, word for word or nearly.",
                {"repeated": float(data.repeated), "examples": float(settings.examples)},
            )
        )
    if data.leaked and data.validation_examples:
        share = data.leaked / data.validation_examples
        found.append(
            Evidence(
                f"{data.leaked:,} of {_count(data.validation_examples, 'validation example')} ({share:.0%}) stand "
                "in the training data, word for word or nearly: the validation figures are too good.",
                {"leaked": float(data.leaked), "validation_examples": float(data.validation_examples)},
            )
        )
    elif data.validation_examples is not None and data.validation_examples < ENOUGH_VALIDATION:
        margin = 1 / math.sqrt(max(1, data.validation_examples))
        found.append(
            Evidence(
                f"The validation set has {_count(data.validation_examples, 'example')}: a share measured on so "
                f"few is known to ±{margin:.0%} only.",
                {"validation_examples": float(data.validation_examples)},
            )
        )
    return found


def _about_training(training: Training) -> list[Evidence]:
    change = abs(training.fall)
    moved = {True: "rose", False: "fell"}[(training.fall > 0) == (training.unit == "reward")]
    size = f"by {_figure(change)}" if training.unit == "reward" else f"by {_percent(change)}"
    found = [
        Evidence(
            f"Training {training.unit} {moved} {size}, from {_figure(training.first)} to {_figure(training.last)} "
            f"over {_count(training.last_step, 'step')}"
            f"{'' if training.learned else '; that is not more than noise'}.",
            {"first": training.first, "last": training.last, "change": training.fall},
        )
    ]
    if training.given_back >= WORTH_A_WORD and training.rise >= MEANINGFUL_CHANGE and training.rise_is_sure:
        found.append(
            Evidence(
                f"It was at its best around step {training.lowest_step} ({_figure(training.lowest)}) "
                f"and got worse again.",
                {"best": training.lowest, "step": float(training.lowest_step)},
            )
        )
    if training.still_falling:
        found.append(Evidence(f"The training {training.unit} was still improving at the end.", {}))
    return found


def _about_validation(readings: Readings, validation: Validation) -> list[Evidence]:
    numbers = {
        "first": validation.first,
        "best": validation.best,
        "best_step": float(validation.best_step),
        "last": validation.last,
        "rise": validation.rise,
    }
    if validation.whole:
        shown = (
            validation.series if len(validation.series) <= 6 else (*validation.series[:3], *validation.series[-3:])
        )
        figures = [f"{_figure(value)} (step {step})" for step, value in shown]
        if len(validation.series) > 6:
            figures.insert(3, "…")
        text = f"Loss on the whole validation set: {', '.join(figures)}."
    else:
        text = (
            f"Sampled validation {validation.unit} began at {_figure(validation.first)}, was best around step "
            f"{validation.best_step} ({_figure(validation.best)}) and ended at {_figure(validation.last)}."
        )
    found = [Evidence(text, {name: number for name, number in numbers.items() if math.isfinite(number)})]
    if not validation.judges:
        found.append(Evidence("That is too few validation figures to conclude anything from them.", {}))
    elif not validation.whole and not validation.rise_is_sure and validation.rise >= OVER_FITTING_RISE_SAMPLED:
        found.append(Evidence("The sampled batches differ so much that this rise alone could be chance.", {}))
    if readings.gap_widened and readings.training is not None and readings.training.last > 0:
        ratio = validation.last / readings.training.last
        found.append(
            Evidence(
                f"The validation loss is {_figure(ratio)} times the training loss; the distance has grown "
                f"since step {validation.best_step}.",
                {"ratio": ratio},
            )
        )
    return found


def _about_accuracies(readings: Readings) -> list[Evidence]:
    accuracies = readings.accuracies
    found = []
    if accuracies.train_first is not None and accuracies.train_last is not None:
        found.append(
            Evidence(
                f"Token accuracy in training: from {accuracies.train_first:.0%} to {accuracies.train_last:.0%}.",
                {"first": accuracies.train_first, "last": accuracies.train_last},
            )
        )
    if accuracies.valid_best is not None and accuracies.valid_last is not None:
        found.append(
            Evidence(
                f"Token accuracy in validation was at best {accuracies.valid_best:.0%} and ended at "
                f"{accuracies.valid_last:.0%}.",
                {"best": accuracies.valid_best, "last": accuracies.valid_last},
            )
        )
    return found


def _summary(readings: Readings, settings: Settings, choice: Choice) -> dict[str, float | int | None]:
    training, validation, accuracies = readings.training, readings.validation, readings.accuracies
    epochs: float | None = None
    if settings.steps_per_epoch:
        epochs = round(readings.last_step / settings.steps_per_epoch, 2)
    summary: dict[str, float | int | None] = {
        "steps": readings.last_step,
        "points": readings.points,
        "epochs": epochs if epochs is not None else settings.n_epochs,
        "train_loss_first": None,
        "train_loss_last": None,
        "valid_loss_first": None,
        "valid_loss_best": None,
        "valid_loss_last": None,
        "valid_loss_at_best_step": None,
        "train_accuracy_first": accuracies.train_first,
        "train_accuracy_last": accuracies.train_last,
        "valid_accuracy_first": accuracies.valid_first,
        "valid_accuracy_best": accuracies.valid_best,
        "valid_accuracy_last": accuracies.valid_last,
    }
    if training is not None:
        summary[f"train_{training.unit}_first"] = training.first
        summary[f"train_{training.unit}_last"] = training.last
    if validation is not None:
        summary[f"valid_{validation.unit}_first"] = validation.first
        summary[f"valid_{validation.unit}_best"] = validation.best
        summary[f"valid_{validation.unit}_last"] = validation.last
        summary[f"valid_{validation.unit}_at_best_step"] = choice.value
    return summary


def _steps_per_epoch(
    readings: Readings, examples: int | None, batch_size: int | None, n_epochs: int | None
) -> float | None:
    """From the data and its batches; else from the first whole-set validation, which ends an epoch; else by
    dividing the steps so far (right for a finished job only).
    """
    if examples is not None and batch_size is not None:
        return math.ceil(examples / batch_size)
    if readings.validation is not None and readings.validation.whole and readings.validation.unit == "loss":
        return max(1, readings.validation.series[0][0])
    if n_epochs is not None and readings.last_step >= n_epochs:
        return readings.last_step / n_epochs
    return None


def _unit(readings: Readings) -> str:
    return readings.training.unit if readings.training is not None else "loss"


def _change(validation: Validation) -> str:
    return _figure(validation.rise) if validation.unit == "reward" else f"{validation.rise:.0%}"


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"


def _percent(share: float) -> str:
    return "more than 99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _known(value: _Number | None) -> _Number | None:
    return value if value is not None and value > 0 else None
