"""Our jobs in OpenAI's shape, for tools that read a training through OpenAI's client. Pure.

Weights & Biases' `WandbLogger.sync` retrieves a job, reads its first results file as CSV whose every column is a
number and one of which is `step`, turns `hyperparameters` and `error` into dictionaries (so neither may be null),
and asks for the content of training and validation files.
Source: wandb, integration/openai/fine_tuning.py, read 2026-11-22.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from app.jobs import analysis
from app.jobs.states import JobStatus
from app.jobs.tables import Job

RESULTS: Final = "file-"
"""In front of a job's id: its results file."""
_STATUS: Final[Mapping[str, str]] = {
    JobStatus.DRAFT: "queued",
    JobStatus.PREPARING: "queued",
    JobStatus.SUBMITTING: "queued",
    JobStatus.COLLECTING: "running",
}
_COMMON: Final = ("n_epochs", "batch_size", "learning_rate_multiplier")


def job_of(job: Job) -> dict[str, Any]:
    """As OpenAI shows a job. Ids are ours: of the job, and of the dataset versions as its files."""
    used = (job.remote or {}).get("hyperparameters") or {}
    hyperparameters = {name: used.get(name, job.hyperparameters.get(name, "auto")) for name in _COMMON}
    error = job.error or {}
    return {
        "object": "fine_tuning.job",
        "id": job.id,
        "model": job.base_model,
        "created_at": _seconds(job.created_at),
        "finished_at": _seconds(job.finished_at),
        "estimated_finish": _seconds(job.estimated_finish_at),
        "status": _STATUS.get(job.status, job.status),
        "fine_tuned_model": job.fine_tuned_model,
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_version_id or "",
        "validation_file": job.validation_version_id,
        "result_files": [f"{RESULTS}{job.id}"] if job.status == JobStatus.SUCCEEDED else [],
        "hyperparameters": hyperparameters,
        "method": {"type": job.method, job.method: {"hyperparameters": job.hyperparameters}},
        "error": {"code": error.get("code"), "message": error.get("message"), "param": None},
        "seed": job.seed or 0,
        "organization_id": job.project_id,
        "integrations": [],
        "metadata": {str(name): str(value) for name, value in job.user_metadata.items()},
        "user_provided_suffix": job.suffix,
    }


def results_csv(results: analysis.Results) -> bytes:
    """The curve as OpenAI writes it: `step`, then a column for each series; what was not measured is empty."""
    head = ("step", *results.columns)
    rows = [(str(at.step), *(_cell(at.values.get(name)) for name in results.columns)) for at in results.points]
    return "".join(f"{','.join(row)}\n" for row in (head, *rows)).encode()


def _cell(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
