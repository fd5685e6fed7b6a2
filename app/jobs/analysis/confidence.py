"""Says how far a verdict can be trusted, and why. It does not change the verdict."""

from typing import Final

from app.jobs.analysis.advice import Settings
from app.jobs.analysis.findings import Confidence, Level, Verdict
from app.jobs.analysis.readings import Readings

PLAIN_RISE: Final = 0.2
"""Validation this far above its best is over-fitting to anybody's eye: ten epochs on small sets end 20 to 40 %
above, three end 2 to 4 %."""

LONG_SERIES: Final = 50
"""Points after which a level that did not move is no accident."""

SMALL_VALIDATION: Final = 30
"""Examples below which what a validation says is trusted one degree less; as `ENOUGH_VALIDATION` of the verdict."""


def confidence_in(verdict: Verdict, readings: Readings, settings: Settings) -> Confidence:
    match verdict:
        case Verdict.TOO_SHORT:
            return Confidence(Level.HIGH, "That there are too few points is a count, not a guess.")
        case Verdict.UNSTABLE:
            return _of_unstable(readings)
        case Verdict.NOT_LEARNING:
            return _of_not_learning(readings)
        case Verdict.MEMORISED_DUPLICATES:
            return Confidence(
                Level.HIGH, "The copies were counted in the data, and the training figures leave nothing to learn."
            )
        case Verdict.VALIDATION_TOO_SMALL:
            return _of_small_validation(settings)
        case Verdict.REWARD_HACKING:
            return _of_hacking(readings)
        case Verdict.OVER_FITTING:
            return _as_far_as_validation(_of_over_fitting(readings), settings)
        case Verdict.UNDER_TRAINED:
            return _as_far_as_validation(_of_under_trained(readings), settings)
        case Verdict.CONVERGED:
            return _as_far_as_validation(_of_converged(readings), settings)


def _as_far_as_validation(found: Confidence, settings: Settings) -> Confidence:
    """One degree less where the validation is small, or holds training examples."""
    data = settings.data
    if data.leaked:
        why = f"{found.why} But {data.leaked:,} of the validation examples stand in the training data."
        return Confidence(found.level.lowered(), why)
    if data.validation_examples is not None and data.validation_examples < SMALL_VALIDATION:
        why = f"{found.why} But the validation set has only {data.validation_examples:,} examples."
        return Confidence(found.level.lowered(), why)
    return found


def _of_unstable(readings: Readings) -> Confidence:
    if readings.not_a_number_at is not None:
        return Confidence(Level.HIGH, "A loss that is no number leaves no doubt.")
    training = readings.training
    if training is not None and training.given_back >= 1:
        return Confidence(Level.HIGH, "The loss ended worse than it began, by more than chance explains.")
    return Confidence(Level.MEDIUM, "The loss rose by more than chance explains, but not to where it began.")


def _of_not_learning(readings: Readings) -> Confidence:
    count = readings.training.count if readings.training is not None else 0
    if count >= LONG_SERIES:
        return Confidence(Level.HIGH, f"{count:,} points show the same level.")
    return Confidence(Level.MEDIUM, f"There are only {count:,} points; a slow start would look the same.")


def _of_small_validation(settings: Settings) -> Confidence:
    examples = settings.data.validation_examples
    if examples is not None:
        return Confidence(Level.HIGH, f"The size of the validation set is known: {examples:,} examples.")
    return Confidence(Level.MEDIUM, "The size of the validation set is not known; its figures scatter widely.")


def _of_hacking(readings: Readings) -> Confidence:
    validation = readings.validation
    if validation is None or not validation.judges:
        return Confidence(
            Level.LOW, "There is no validation reward to compare with; only the figures beside it speak."
        )
    falls = validation.rise_is_sure and validation.rise > 0
    if falls and readings.growths:
        return Confidence(Level.HIGH, "The validation reward fell, and other figures say the same.")
    if falls:
        return Confidence(
            Level.MEDIUM, "The validation reward fell by more than chance; plain over-fitting looks the same."
        )
    return Confidence(Level.LOW, "The validation reward did not fall; it only failed to follow.")


def _of_over_fitting(readings: Readings) -> Confidence:
    validation = readings.validation
    if validation is None:
        return Confidence(Level.LOW, "There is no validation.")
    if validation.whole and (validation.rise >= PLAIN_RISE or readings.gap_widened):
        return Confidence(Level.HIGH, "The whole validation set was measured, and it rose plainly.")
    if validation.rise_is_sure and readings.gap_widened:
        return Confidence(
            Level.HIGH, "The rise is more than chance, and validation moved away from the training loss."
        )
    if validation.whole:
        return Confidence(Level.MEDIUM, "The whole validation set was measured, but the rise is small.")
    return Confidence(Level.MEDIUM, "The validation was only sampled; one of two signs speaks for it.")


def _of_under_trained(readings: Readings) -> Confidence:
    validation = readings.validation
    if validation is None or not validation.judges:
        return Confidence(
            Level.MEDIUM,
            "Within the first epoch every example is new, so the training loss counts; there is no validation.",
        )
    if validation.whole:
        return Confidence(Level.HIGH, "The whole validation set was best at the very end.")
    return Confidence(Level.MEDIUM, "The validation was only sampled.")


def _of_converged(readings: Readings) -> Confidence:
    validation = readings.validation
    if validation is None or not validation.judges:
        return Confidence(
            Level.LOW, "Without validation figures nobody can see whether it answers unseen questions better."
        )
    if readings.gap_widened:
        return Confidence(Level.MEDIUM, "The validation did not turn, but it stayed far behind the training loss.")
    if validation.whole:
        return Confidence(Level.HIGH, "The whole validation set was measured and did not turn.")
    return Confidence(Level.MEDIUM, "The validation was only sampled.")
