"""The plan of a job: everything that can be known before money is spent, as checks with remedies. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.azure.catalogue.catalogue import BaseModel, Limits
from app.azure.catalogue.placement import Obstacle
from app.costs.schemas import CostEstimate
from app.jobs.schemas import JobCreate, PlanCheck

LEARNING_RATE_HIGH: Final = 2.0
"""Above this, published experience with Azure's multiplier is of trainings that diverge (samples use 0.5 to 2)."""
EPOCHS_MANY: Final = 10
TOO_FEW: Final = "fewer-than-10-examples"
"""Azure's minimum is for what is trained on: a training with 9 validation examples went through (field report on
fine-tuning gpt-4o on Azure, 2024-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One dataset version, as far as a plan looks at it."""

    ref: str
    """`name@number` for people."""
    pointer: str
    method: str
    """Of its dataset: by whose rules it was checked."""
    status: str
    examples: int | None
    tokens: int | None
    content_bytes: int | None
    tokens_per_example_max: int | None
    checked_for: str
    errors: frozenset[str] = frozenset()
    """Codes of the findings for which it was rejected."""

    @property
    def is_small_validation(self) -> bool:
        """Nothing is wrong with it but that it is too small to be trained on, which it will not be."""
        return self.pointer == "/validation" and self.errors == {TOO_FEW}


def checks(  # noqa: PLR0913  everything that a plan is about
    wanted: JobCreate,
    *,
    base: BaseModel | None,
    limits: Limits,
    place: Sequence[Obstacle],
    training: Material,
    validation: Material | None,
    leaks: Sequence[dict[str, Any]],
    hyperparameters: dict[str, Any],
    estimate: CostEstimate | None,
    of_method: Sequence[PlanCheck] = (),
) -> list[PlanCheck]:
    """Every check, in the order in which a person would want to read them.

    Args:
        place: what stands in the way on the resource that was asked for.
        of_method: what the method needs beside data.
    """
    found = list(_model(wanted, base, place))
    for material in (training, validation):
        if material is not None:
            found += _method(wanted, material)
            found += _material(material, base, limits)
    if validation is None and wanted.method != "reinforcement":
        found.append(
            PlanCheck(
                code="no-validation",
                verdict="note",
                pointer="/validation",
                detail="There is no validation set, so over-fitting cannot be seen.",
                remedy="Keep about 20 % of the examples apart and name them as validation.",
            )
        )
    found += [
        PlanCheck(
            code=leak["code"],
            verdict="warning",
            pointer="/validation",
            detail=leak["message"],
            remedy=leak["remedy"],
        )
        for leak in leaks
    ]
    found += of_method
    found += _size(training, limits, hyperparameters)
    found += _hyperparameters(hyperparameters, training)
    found += _money(wanted, estimate)
    return found


def _model(wanted: JobCreate, base: BaseModel | None, place: Sequence[Obstacle]) -> Iterator[PlanCheck]:
    if base is None:
        yield PlanCheck(
            code="unknown-model",
            verdict="error",
            pointer="/model",
            detail=f"{wanted.model or wanted.continue_from!r} is not a base model in the catalogue.",
            remedy="GET /v1/base-models lists what there is; an operator can add to the catalogue file.",
        )
        return
    if wanted.method not in base.methods:
        yield PlanCheck(
            code="method-not-supported",
            verdict="error",
            pointer="/method",
            detail=f"{base.id} cannot be trained with {wanted.method}; it knows {', '.join(base.methods)}.",
            remedy="Choose another model or method.",
        )
    if not base.training_types.get(wanted.training_type, False):
        offered = ", ".join(name for name, yes in base.training_types.items() if yes)
        yield PlanCheck(
            code="training-type-not-supported",
            verdict="error",
            pointer="/training_type",
            detail=f"{base.id} is not trained as {wanted.training_type}; it is as {offered or 'nothing'}.",
            remedy="Choose one of these training types.",
        )
    for item in place:
        yield PlanCheck(
            code=item.code, verdict=item.verdict, pointer=item.pointer, detail=item.detail, remedy=item.remedy
        )
    yield PlanCheck(code="model", verdict="ok", pointer="/model", detail=f"{base.id}, {wanted.training_type}")


def _method(wanted: JobCreate, material: Material) -> Iterator[PlanCheck]:
    if material.method != wanted.method:
        yield PlanCheck(
            code="data-of-another-method",
            verdict="error",
            pointer=material.pointer,
            detail=f"{material.ref} holds data for {material.method} training; the job trains {wanted.method}.",
            remedy=f"Name a version of a dataset whose method is {wanted.method}.",
        )


def _material(material: Material, base: BaseModel | None, limits: Limits) -> Iterator[PlanCheck]:
    if material.status == "checking":
        yield PlanCheck(
            code="still-checking",
            verdict="error",
            pointer=material.pointer,
            detail=f"{material.ref} is still being checked.",
            remedy="Wait until its status is ready.",
        )
        return
    if material.is_small_validation:
        yield PlanCheck(
            code="validation-small",
            verdict="warning",
            pointer=material.pointer,
            detail=f"{material.ref} has {material.examples} examples; so few measure little.",
            remedy="Keep about 20 % of the examples apart for validation.",
        )
    elif material.status == "rejected":
        yield PlanCheck(
            code="rejected",
            verdict="error",
            pointer=material.pointer,
            detail=f"{material.ref} was rejected: Azure would refuse it.",
            remedy="Its findings say where and what to do.",
        )
        return
    longest, limit = material.tokens_per_example_max, base.tokens_per_example if base else None
    if longest is not None and limit is not None and longest > limit:
        yield PlanCheck(
            code="over-long-example",
            verdict="error",
            pointer=material.pointer,
            detail=f"The longest example of {material.ref} has {longest:,} tokens; {base.id if base else ''} takes "
            f"{limit:,}.",
            remedy=f"The version was checked for {material.checked_for}: upload it again with "
            f"?model={base.id if base else ''} to have the lines named, then drop them.",
        )
    if material.content_bytes is not None and material.content_bytes > limits.file_bytes:
        yield PlanCheck(
            code="file-too-large",
            verdict="error",
            pointer=material.pointer,
            detail=f"{material.ref} has {material.content_bytes:,} bytes; Azure takes {limits.file_bytes:,}.",
            remedy="Sample or split it.",
        )
    yield PlanCheck(
        code="data",
        verdict="ok",
        pointer=material.pointer,
        detail=f"{material.ref}: {material.examples:,} examples, {material.tokens:,} tokens",
    )


def _size(training: Material, limits: Limits, hyperparameters: dict[str, Any]) -> Iterator[PlanCheck]:
    epochs = hyperparameters.get("n_epochs")
    if (
        epochs
        and training.tokens
        and training.method != "reinforcement"
        and training.tokens * epochs > limits.tokens_times_epochs
    ):
        yield PlanCheck(
            code="job-too-large",
            verdict="error",
            pointer="/hyperparameters/n_epochs",
            detail=f"{training.tokens:,} tokens × {epochs} epochs is more than Azure's "
            f"{limits.tokens_times_epochs:,} for one job.",
            remedy="Fewer epochs or less data.",
        )


def _hyperparameters(hyperparameters: dict[str, Any], training: Material) -> Iterator[PlanCheck]:
    rate = hyperparameters.get("learning_rate_multiplier")
    if rate is not None and rate > LEARNING_RATE_HIGH:
        yield PlanCheck(
            code="learning-rate-high",
            verdict="warning",
            pointer="/hyperparameters/learning_rate_multiplier",
            detail=f"A learning rate multiplier of {rate:g} is high; training may diverge.",
            remedy="Begin with 0.5 to 1.0.",
        )
    epochs = hyperparameters.get("n_epochs")
    if epochs is not None and epochs >= EPOCHS_MANY:
        yield PlanCheck(
            code="epochs-many",
            verdict="warning",
            pointer="/hyperparameters/n_epochs",
            detail=f"{epochs} epochs repeat every example {epochs} times; that usually over-fits.",
            remedy="Begin with 1 to 3, then 3 to 5.",
        )
    batch = hyperparameters.get("batch_size")
    if batch is not None and training.examples and batch > training.examples:
        yield PlanCheck(
            code="batch-larger-than-data",
            verdict="error",
            pointer="/hyperparameters/batch_size",
            detail=f"A batch of {batch} is larger than the {training.examples} examples.",
            remedy="Small sets want small batches; leave it out for Azure's own choice.",
        )


def _money(wanted: JobCreate, estimate: CostEstimate | None) -> Iterator[PlanCheck]:
    if estimate is None:
        return
    for warning in estimate.warnings:
        yield PlanCheck(code="price", verdict="note", detail=warning)
    if estimate.expected_usd is None:
        if wanted.max_cost_usd is not None:
            yield PlanCheck(
                code="cost-unknown",
                verdict="error",
                pointer="/max_cost_usd",
                detail="There is a cost limit, but no price is known for this training.",
                remedy="Add the price to the catalogue file, or leave max_cost_usd out.",
            )
        return
    if wanted.max_cost_usd is not None and estimate.expected_usd > wanted.max_cost_usd:
        yield PlanCheck(
            code="cost-limit",
            verdict="error",
            pointer="/max_cost_usd",
            detail=f"The expected cost is ${estimate.expected_usd:.2f}; the limit is ${wanted.max_cost_usd:.2f}.",
            remedy="Fewer epochs, less data, the developer tier, or a higher limit.",
        )
    yield PlanCheck(
        code="cost",
        verdict="ok",
        detail=f"${estimate.low_usd:.2f} to ${estimate.high_usd:.2f}, expected ${estimate.expected_usd:.2f}",
    )
