"""From a check's report and a person's question to the estimator's. Pure."""

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from app.azure.catalogue.catalogue import BaseModel, Catalogue
from app.costs import estimates
from app.costs.estimates import Counts, Grading, Question, Repeated, UnknownGrader
from app.costs.schemas import DatasetEstimate
from app.datasets.schemas import EstimateRequest, Method
from app.kit.errors import FieldError, Invalid

_HINT: Final = "GET /v1/base-models lists what there is; an operator can add to the catalogue file."


def counts_of(report: Mapping[str, Any], *, subject: str, method: Method) -> Counts:
    """What a report says about size.

    Args:
        report: `Report.to_json()`, or what was stored of it.
        subject: what it is a report of, for people.
    """
    tokens = report["tokens"]
    repeated = report["stats"].get("repeated_prompt")
    return Counts(
        subject=subject,
        method=method,
        examples=report["examples"],
        tokens=tokens["total"],
        answer_tokens=tokens["trained"],
        longest_tokens=tokens["per_example_max"],
        tokenizer=tokens["tokenizer"],
        counting_notes=tuple(tokens.get("estimated") or ()),
        repeated=Repeated(**repeated) if repeated else estimates.NOTHING_REPEATED,
    )


def estimate_of(catalogue: Catalogue, counts: Counts, wanted: EstimateRequest, *, today: date) -> DatasetEstimate:
    """The estimate.

    Raises:
        Invalid: a model that the catalogue does not have, that is not trained by the method, or that has no price
            as a grader.
    """
    model = _known(catalogue, wanted.model, "/model")
    if model is not None and counts.method not in model.methods:
        raise _refused(
            "/model",
            f"{model.id} cannot be trained with {counts.method}; it knows {', '.join(model.methods)}.",
            "method_not_supported",
        )
    instead_of = _known(catalogue, wanted.instead_of, "/instead_of")
    question = Question(
        model=model.id if model else None,
        training_type=wanted.training_type,
        n_epochs=wanted.n_epochs,
        training_hours=wanted.training_hours,
        grading=Grading(**wanted.grader.model_dump()) if wanted.grader else None,
        calls_per_month=wanted.calls_per_month,
        prompt_tokens=wanted.prompt_tokens,
        instead_of=instead_of.id if instead_of else None,
        sku=wanted.sku,
    )
    try:
        return estimates.estimate(catalogue, counts, question, today=today)
    except UnknownGrader as error:
        raise _refused("/grader/model", str(error), "unknown_model") from error


def _known(catalogue: Catalogue, name: str | None, pointer: str) -> BaseModel | None:
    if name is None:
        return None
    base = catalogue.find(name)
    if base is None:
        raise _refused(pointer, f"{name!r} is not a base model in the catalogue.", "unknown_model")
    return base


def _refused(pointer: str, detail: str, code: str) -> Invalid:
    return Invalid(detail, code=code, hint=_HINT, errors=[FieldError(pointer=pointer, detail=detail, code=code)])
