"""What a method needs beyond data: hyperparameters in range, a grader that fits every row, a connection that can.

Pure: values in, checks of a plan out. What it is told of Azure and of the rows was looked up by others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.azure.catalogue.catalogue import BaseModel
from app.azure.port import ApiStyle, GraderVerdict
from app.graders import (
    Grader,
    GraderFault,
    as_sent,
    grader_facts,
    models,
    parse,
    remarks,
    response_format_fault,
)
from app.jobs.hyperparameters import refusals
from app.jobs.schemas import JobCreate, PlanCheck

LINES_SHOWN: Final = 10
DATED_METHODS_SINCE: Final = "2025-04-01"
"""The first dated api-version with `method`. Source: authoring specs 2024-10-21 and 2025-04-01-preview."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsLacking:
    """Rows of one dataset version that lack what the grader reads."""

    ref: str
    pointer: str
    rows: int
    lacking: int
    """Rows that lack anything."""
    fields: Mapping[str, int]
    """Path → rows without it."""
    lines: Sequence[int]
    """The first of them, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """What `continue_from` named."""

    remote_name: str
    job_id: str | None
    """None: a model that no job of this project trained."""
    connection_id: str | None
    base: BaseModel | None
    method: str | None
    """With which it was trained; None = not known."""


# ── the grader ──────────────────────────────────────────────────────────────


def grader_of(wanted: JobCreate) -> tuple[Grader | None, list[PlanCheck]]:
    """The grader that was asked for, and what is wrong or unwise about it."""
    if wanted.method != "reinforcement":
        return None, list(_needless(wanted))
    if wanted.grader is None:
        missing = PlanCheck(
            code="grader-missing",
            verdict="error",
            pointer="/grader",
            detail="Reinforcement training needs a grader: it learns what the grader rewards.",
            remedy="Begin with a string_check; docs/guides/methods.md has one of each kind.",
        )
        return None, [missing, *_format(wanted)]
    try:
        grader = parse(wanted.grader)
    except GraderFault as error:
        faults = [
            PlanCheck(code=fault.code, verdict="error", pointer=fault.pointer, detail=fault.detail)
            for fault in error.faults
        ]
        return None, [*faults, *_format(wanted)]
    return grader, [*_format(wanted), *_remarks(grader, wanted)]


def _needless(wanted: JobCreate) -> Iterator[PlanCheck]:
    for name in ("grader", "response_format"):
        if getattr(wanted, name) is not None:
            yield PlanCheck(
                code=f"{name.replace('_', '-')}-not-used",
                verdict="error",
                pointer=f"/{name}",
                detail=f"A {name} belongs to reinforcement; this job trains {wanted.method}.",
                remedy="Leave it out, or set the method to reinforcement.",
            )


def _format(wanted: JobCreate) -> Iterator[PlanCheck]:
    if wanted.response_format is not None:
        fault = response_format_fault(wanted.response_format)
        if fault is not None:
            yield PlanCheck(code=fault.code, verdict="error", pointer=fault.pointer, detail=fault.detail)


def _remarks(grader: Grader, wanted: JobCreate) -> Iterator[PlanCheck]:
    for code, words in remarks(grader, has_response_format=wanted.response_format is not None):
        yield PlanCheck(code=code, verdict="warning", pointer="/grader", detail=words)
    for name in sorted(models(grader)):
        judge = grader_facts().judge(name)
        if judge is not None:
            yield PlanCheck(
                code="grader-model",
                verdict="note",
                pointer="/grader",
                detail=f"{judge.id} grades; its tokens are billed beside the hours. {judge.note} ({judge.source})",
                remedy="POST /v1/graders/calibrate measures the tokens of one answer.",
            )


def grading_checks(
    grader: Grader | None,
    lacking: Sequence[RowsLacking],
    verdict: GraderVerdict | None,
    silence: str | None,
) -> Iterator[PlanCheck]:
    """Whether the grader fits the rows, and what Azure says of it.

    Args:
        verdict: Azure's; None when it was not asked or did not answer.
        silence: why it did not answer, in words.
    """
    if grader is None:
        return
    for rows in lacking:
        if rows.lacking:
            named = ", ".join(f"{path} ({count:,})" for path, count in rows.fields.items())
            more = ", …" if rows.lacking > len(rows.lines) else ""
            yield PlanCheck(
                code="grader-field-missing",
                verdict="error",
                pointer=rows.pointer,
                detail=f"{rows.lacking:,} of {rows.rows:,} rows of {rows.ref} lack what the grader reads: {named}; "
                f"lines {', '.join(map(str, rows.lines))}{more}.",
                remedy="Add the field to every row, or let the grader read one that is there.",
            )
        else:
            yield PlanCheck(
                code="grader-fields",
                verdict="ok",
                pointer=rows.pointer,
                detail=f"every row of {rows.ref} has what the grader reads",
            )
    if verdict is not None and not verdict.accepted:
        yield PlanCheck(
            code="grader-refused", verdict="error", pointer="/grader", detail=f"Azure refuses it: {verdict.message}"
        )
    elif verdict is not None:
        yield PlanCheck(code="grader", verdict="ok", pointer="/grader", detail="Azure takes the grader")
    elif silence is not None:
        yield PlanCheck(
            code="grader-unasked",
            verdict="note",
            pointer="/grader",
            detail=f"Azure could not be asked about the grader: {silence}",
            remedy="It was checked here; Azure checks it again when the job is sent.",
        )


# ── the rest ────────────────────────────────────────────────────────────────


def method_checks(
    wanted: JobCreate,
    *,
    base: BaseModel | None,
    hyperparameters: Mapping[str, Any],
    api_style: str,
    api_version: str | None,
    with_images: int,
) -> Iterator[PlanCheck]:
    """Everything a method asks for that neither the data's own check nor the grader's tells.

    Args:
        with_images: training examples that hold images.
    """
    if wanted.method == "reinforcement" and wanted.validation is None:
        yield PlanCheck(
            code="validation-missing",
            verdict="error",
            pointer="/validation",
            detail="Reinforcement training needs a validation set; Azure refuses it without.",
            remedy="Keep about 20 % of the rows apart and name them as validation.",
        )
    for item in refusals(wanted.method, hyperparameters):
        yield PlanCheck(
            code="hyperparameter-unwise" if item.is_unwise else "hyperparameter-refused",
            verdict="warning" if item.is_unwise else "error",
            pointer=f"/hyperparameters/{item.name}",
            detail=item.detail,
            remedy=item.remedy,
        )
    yield from _form(wanted.method, api_style, api_version)
    if with_images and base is not None and "image" not in base.modality:
        yield PlanCheck(
            code="model-without-images",
            verdict="error",
            pointer="/model",
            detail=f"{with_images:,} examples hold images; {base.id} takes {' and '.join(base.modality)} only.",
            remedy="Choose a model whose modality has image (GET /v1/base-models), or data without images.",
        )
    elif with_images and wanted.method != "supervised":
        yield PlanCheck(
            code="images-unproven",
            verdict="warning",
            pointer="/training",
            detail=f"{with_images:,} examples hold images; Microsoft describes them for supervised training only.",
            remedy="Try it on few examples first.",
        )


def _form(method: str, api_style: str, api_version: str | None) -> Iterator[PlanCheck]:
    """The dated URL form knows no reinforcement, and preference pairs from 2025-04-01-preview on."""
    if api_style != ApiStyle.DATED or method == "supervised":
        return
    if method == "dpo" and (api_version or "") >= DATED_METHODS_SINCE:
        return
    either = " or its api-version to 2025-04-01-preview" if method == "dpo" else ""
    yield PlanCheck(
        code="method-needs-v1",
        verdict="error",
        pointer="/connection",
        detail=f"api-version {api_version} cannot train with {method}.",
        remedy=f"Set the connection's api style to v1{either}.",
    )


def parent_checks(wanted: JobCreate, parent: Parent, connection_id: str) -> Iterator[PlanCheck]:
    """Whether a tuned model can be continued from: OpenAI models only, on the resource that holds it.

    Source: Microsoft Learn, fine-tuning REST page, 2026-10-05 (`model` = a fine-tuned model's id; OpenAI models
    only); how-to direct preference optimization, 2026-03-20 (on base and supervised-tuned models).
    """
    at = "/continue_from"
    if parent.connection_id is not None and parent.connection_id != connection_id:
        yield PlanCheck(
            code="continues-elsewhere",
            verdict="error",
            pointer=at,
            detail=f"{parent.remote_name} is a model of another connection; a training goes on where its model is.",
            remedy="Name that connection, or copy the checkpoint to this resource first.",
        )
    if parent.base is not None and parent.base.format != "OpenAI":
        yield PlanCheck(
            code="continues-unsupported",
            verdict="error",
            pointer=at,
            detail=f"Azure continues OpenAI's models only; {parent.base.id} is none.",
            remedy="Train the base model on both data sets together.",
        )
    if parent.job_id is None:
        yield PlanCheck(
            code="continues-unknown",
            verdict="note",
            pointer=at,
            detail=f"No job of this project trained {parent.remote_name}; Azure will say whether it has it.",
        )
    if parent.method == "dpo" and wanted.method == "supervised":
        yield PlanCheck(
            code="continues-backwards",
            verdict="warning",
            pointer=at,
            detail="It was trained on preferences; supervised training after that may undo them.",
            remedy="Train supervised first, then on preferences.",
        )


def method_settings(wanted: JobCreate) -> dict[str, Any]:
    """What the method is sent beside hyperparameters; the grader's models by their ids. The plan has held."""
    if wanted.method != "reinforcement" or wanted.grader is None:
        return {}
    settings: dict[str, Any] = {"grader": as_sent(wanted.grader, parse(wanted.grader))}
    if wanted.response_format is not None:
        settings["response_format"] = wanted.response_format
    return settings
