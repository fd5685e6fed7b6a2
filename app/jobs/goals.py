"""What a goal makes of a training: each setting with its value, who chose it, why, and where the rule was read.

Pure; it must not know a request or a row. Whatever the caller gave wins; whatever no rule speaks of is left to
Azure, with what Azure usually takes.

Source of the goals: "to train fast: a larger batch, a slightly higher learning rate; quality: more epochs at a
lower learning rate; against over-fitting: fewer epochs and a validation file; reproducible: a fixed seed" (field
report on fine-tuning GPT-4.1 on Azure, 2025-05).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from app.azure.catalogue.trainings import trainings
from app.costs.estimates import auto_batch, auto_epochs
from app.jobs.schemas import PlanChoice

REPRODUCIBLE_SEED: Final = 42
EPOCHS_MOST: Final = 9
"""No goal repeats an example more often: from 10 passes on a plan warns that it is learned by heart."""
EXAMPLES_FEW: Final = 50
VALIDATION_SHARE: Final = 0.2
VALIDATION_SHARE_LOW: Final = 0.1
"""Below half of the advised share a validation set is called small."""
FIELD_REPORT: Final = "field report on fine-tuning GPT-4.1 on Azure, 2025-05"
LEARN: Final = (
    "Microsoft Learn, customise a model with fine-tuning, 2025: hundreds of examples and more, at least 10"
)
BATCH_MAX: Final = 256
"""Azure's own limit."""

_EPOCHS: Final[Mapping[str, tuple[int, int, str]]] = {
    "fast": (1, 2, "half of the usual passes, because each one takes its time"),
    "quality": (5, 3, "more passes than usual, at a lower learning rate"),
    "low_overfit": (1, 2, "half of the usual passes, because each one more is a chance to learn by heart"),
    "balanced": (1, 1, "as many as Azure itself would take"),
    "reproducible": (1, 1, "as many as Azure itself would take, but fixed: its own choice may change"),
}
"""Goal → passes as a share of the usual ones, and why. With the usual 3 these are 2, 5, 2, 3 and 3."""

_RATE: Final[Mapping[str, tuple[float, str]]] = {
    "fast": (1.5, "slightly higher than the beginning, so that fewer steps do"),
    "quality": (0.5, "half of the beginning, since more passes follow"),
    "low_overfit": (0.8, "a little lower than the beginning, so that single examples weigh less"),
    "balanced": (1.0, "where published advice begins: 0.5 to 1.0"),
    "reproducible": (1.0, "where published advice begins, fixed: Azure's own choice differs from model to model"),
}
"""Goal → learning rate as a share of the beginning one, and why."""
RATE_BEGINNING: Final = 1.0
"""Source: "begin with a learning rate of 0.5 to 1.0" (field report, 2025-05). A model for which Azure takes less,
such as 0.1 for gpt-4.1-nano, begins there."""

_ONLY_REINFORCEMENT: Final = ("reasoning_effort", "compute_multiplier", "eval_interval", "eval_samples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the rules look at."""

    method: str
    model: str
    """Base model's id."""
    examples: int | None
    tokens: int | None
    """Of one epoch."""
    validation_examples: int | None
    """None: there is no validation set, or it was not counted yet."""
    tokens_times_epochs_max: int
    """What Azure takes in one job."""


def choose(
    goal: str | None, training: Training, given: Mapping[str, int | float | str], *, seed: int | None
) -> list[PlanChoice]:
    """Every setting, in the order in which a person decides them.

    Args:
        given: hyperparameters that the caller chose; they win, whatever the goal says.
    """
    chosen = [_size(training), _validation(goal, training)]
    for name, choice in _hyperparameters(goal, training):
        if name in given:
            would = "" if choice.value is None else f" The goal {goal} would take {choice.value}."
            choice = PlanChoice(setting=name, value=given[name], by="caller", reason=f"Yours.{would}", source="")  # noqa: PLW2901  it takes the rule's place
        chosen.append(choice)
    known = {choice.setting for choice in chosen}
    chosen += [
        PlanChoice(setting=name, value=value, by="caller", reason="Yours.", source="")
        for name, value in given.items()
        if name not in known
    ]
    return [*chosen, _seed(goal, seed)]


def hyperparameters_of(choices: Sequence[PlanChoice]) -> dict[str, int | float | str]:
    """What is sent to Azure: all that was chosen, by the caller or by the goal."""
    beside = {"training", "validation", "seed"}
    return {
        choice.setting: choice.value
        for choice in choices
        if choice.setting not in beside and choice.value is not None and choice.by != "azure"
    }


def seed_of(choices: Sequence[PlanChoice]) -> int | None:
    """The seed that is sent to Azure."""
    return next(
        (choice.value for choice in choices if choice.setting == "seed" and isinstance(choice.value, int)), None
    )


# ── the data ────────────────────────────────────────────────────────────────


def _size(training: Training) -> PlanChoice:
    count = training.examples
    if count is None:
        reason = "Not counted yet."
    elif training.method == "reinforcement":
        reason = (
            "Reinforcement samples many answers to each example, so their variety counts more than their number."
        )
    elif count < EXAMPLES_FEW:
        reason = (
            f"{count:,} are few: a style is learned from {EXAMPLES_FEW} on, knowledge of a field from hundreds."
        )
    else:
        reason = "Enough to begin with; what helps further is variety, in who asks and how, not repetition."
    return PlanChoice(setting="training", value=count, by="caller", reason=reason, source=LEARN)


def _validation(goal: str | None, training: Training) -> PlanChoice:
    seen, trained = training.validation_examples, training.examples or 0
    advised = max(1, round(trained * VALIDATION_SHARE / (1 - VALIDATION_SHARE)))
    if seen is not None:
        share = seen / (seen + trained) if seen + trained else 0.0
        reason = f"{share:.0%} of all examples; about {VALIDATION_SHARE:.0%} are advised."
        if share < VALIDATION_SHARE_LOW:
            reason += " So few measure little."
    elif goal == "low_overfit":
        reason = "The goal is not to over-fit, and without validation nobody can see whether it does: "
        reason += f"keep about {VALIDATION_SHARE:.0%} of the examples apart."
    else:
        reason = (
            f"Keep about {VALIDATION_SHARE:.0%} apart, such as {advised:,} beside {trained:,} that are trained on,"
        )
        reason += " and ask there in other words than in the training."
    return PlanChoice(setting="validation", value=seen, by="caller", reason=reason, source=FIELD_REPORT)


# ── hyperparameters ─────────────────────────────────────────────────────────


def _hyperparameters(goal: str | None, training: Training) -> Iterator[tuple[str, PlanChoice]]:
    by_rule = goal if training.examples and training.method != "reinforcement" else None
    yield "n_epochs", _epochs(by_rule, training)
    yield "batch_size", _batch(by_rule, training)
    yield "learning_rate_multiplier", _rate(by_rule, training)
    if training.method == "dpo":
        yield (
            "beta",
            _left("beta", training, "How far the model may move from what it was; higher holds it closer."),
        )
    if training.method == "reinforcement":
        for name in _ONLY_REINFORCEMENT:
            yield name, _left(name, training, _OF_REINFORCEMENT[name])


_OF_REINFORCEMENT: Final = {
    "reasoning_effort": "How long the model thinks before it answers; thinking is training time, which is billed.",
    "compute_multiplier": "How much is tried for each example; more costs more hours.",
    "eval_interval": "After how many steps the validation set is asked; each time is training time.",
    "eval_samples": "How many answers to each validation example are graded.",
}


def _left(name: str, training: Training, words: str) -> PlanChoice:
    """What no published rule speaks of, with what Azure takes for it."""
    fact = trainings().default(training.model, training.method, name)  # type: ignore[arg-type]  # checked at the door
    if fact is None:
        return PlanChoice(setting=name, value=None, by="azure", reason=f"{words} Left to Azure.", source="")
    taken = "" if fact.value == "auto" else f" Azure usually takes {fact.value}."
    return PlanChoice(
        setting=name, value=None, by="azure", reason=f"{words}{taken or ' Left to Azure.'}", source=fact.source
    )


def _epochs(goal: str | None, training: Training) -> PlanChoice:
    facts = trainings().auto_epochs
    if not training.examples or training.method == "reinforcement":
        reason = "Left to Azure, which publishes no rule for it." if training.examples else "Not counted yet."
        return PlanChoice(setting="n_epochs", value=None, by="azure", reason=reason, source="")
    usual = auto_epochs(training.examples, facts)
    size = f"Azure usually takes {usual} for {training.examples:,} examples"
    if goal is None:
        return PlanChoice(setting="n_epochs", value=None, by="azure", reason=f"{size}.", source=facts.source)
    part, of, why = _EPOCHS[goal]
    value, reason = -(-usual * part // of), f"{why[0].upper()}{why[1:]}. {size}."
    if value > EPOCHS_MOST:
        value, reason = EPOCHS_MOST, f"{reason} Not more than {EPOCHS_MOST}: beyond, examples are learned by heart."
    most = training.tokens_times_epochs_max // training.tokens if training.tokens else value
    if value > most >= 1:
        value, reason = (
            most,
            f"{reason} {training.tokens:,} tokens allow {most}: more is beyond Azure's limit of a job.",
        )
    return PlanChoice(
        setting="n_epochs", value=value, by="goal", reason=reason, source=f"{FIELD_REPORT}; {facts.source}"
    )


def _batch(goal: str | None, training: Training) -> PlanChoice:
    fact = trainings().auto_batch
    if not training.examples or training.method == "reinforcement":
        reason = "Left to Azure." if training.examples else "Not counted yet."
        return PlanChoice(setting="batch_size", value=None, by="azure", reason=reason, source="")
    usual = auto_batch(training.examples)
    rule = f"{fact.share * 100:.1f} % of {training.examples:,} examples, 1 to {fact.max}, is {usual}"
    if goal is None:
        return PlanChoice(
            setting="batch_size",
            value=None,
            by="azure",
            reason=f"Azure usually takes {usual}: {rule}.",
            source=fact.source,
        )
    if goal != "fast":
        small = " Small sets want small batches." if usual == 1 else ""
        return PlanChoice(
            setting="batch_size",
            value=usual,
            by="goal",
            reason=f"Azure's own rule: {rule}.{small}",
            source=fact.source,
        )
    value = min(BATCH_MAX, usual * 2, training.examples)
    reason = f"Twice Azure's own rule, so half as many steps: {rule}."
    return PlanChoice(
        setting="batch_size", value=value, by="goal", reason=reason, source=f"{FIELD_REPORT}; {fact.source}"
    )


def _rate(goal: str | None, training: Training) -> PlanChoice:
    name: Final = "learning_rate_multiplier"
    fact = trainings().default(training.model, training.method, name)  # type: ignore[arg-type]  # checked at the door
    seen = f"Azure usually takes {fact.value} for {training.model}" if fact else "What Azure takes was never seen"
    if goal is None:
        source = fact.source if fact else ""
        return PlanChoice(setting=name, value=None, by="azure", reason=f"Left to Azure. {seen}.", source=source)
    begin = Decimal(str(RATE_BEGINNING))
    if fact is not None and Decimal(fact.value) < begin:
        begin, seen = Decimal(fact.value), f"{seen}, which is lower than the usual beginning"
    share, why = _RATE[goal]
    return PlanChoice(
        setting=name,
        value=float(begin * Decimal(str(share))),
        by="goal",
        reason=f"{why[0].upper()}{why[1:]}. {seen}.",
        source=FIELD_REPORT,
    )


def _seed(goal: str | None, seed: int | None) -> PlanChoice:
    if seed is not None:
        return PlanChoice(setting="seed", value=seed, by="caller", reason="Yours.", source="")
    if goal == "reproducible":
        reason = "The same data, settings and seed come as close to the same model as Azure allows."
        return PlanChoice(setting="seed", value=REPRODUCIBLE_SEED, by="goal", reason=reason, source=FIELD_REPORT)
    reason = "Azure draws one; the job tells it afterwards. Models trained alike still differ a little."
    return PlanChoice(setting="seed", value=None, by="azure", reason=reason, source="")
