"""How jobs, their events and their checkpoints look on the wire; it changes nothing."""

import hashlib
import string
from typing import Any

from emulator.catalogue import Method
from emulator.job_requests import HYPERPARAMETERS
from emulator.state import Checkpoint, Event, Job
from emulator.training import DEFAULT_BETA
from emulator.wire import Dialect
from emulator.world import World


def status_of(job: Job, dialect: Dialect) -> str:
    """The public status. The dated form has no `queued`. Source: FineTuningState of 2025-04-01-preview.

    Reinforcement jobs speak OpenAI's words in every form. Source: Microsoft's Agentic_RFT notebook, 2025-12.
    """
    if job.hold:
        return job.hold
    match job.phase:
        case "enqueued" | "preprocessing" if job.is_native:
            return "validating_files"
        case "queued" if job.is_native:
            return "queued"
        case "enqueued" | "preprocessing":
            return "pending"
        case "queued":
            return "queued" if dialect.is_v1 else "pending"
        case "starting" | "training" | "evaluating":
            return "running"
        case other:
            return other


def _shown_hyperparameters(world: World, job: Job) -> dict[str, Any]:
    """What Azure reports of the three common ones: -1 for automatic values until training has begun."""
    return {
        "batch_size": _chosen(world, job, "batch_size", -1),
        "learning_rate_multiplier": job.asked.get("learning_rate_multiplier", job.default_multiplier),
        "n_epochs": _chosen(world, job, "n_epochs", -1),
    }


def _chosen(world: World, job: Job, name: str, unknown: Any) -> Any:
    """A hyperparameter as asked for, as chosen once that is known, or the mark of one that is left to Azure."""
    if name in job.asked:
        return job.asked[name]
    recording = world.recordings[job.id]
    chosen = {"n_epochs": recording.n_epochs, "batch_size": recording.batch_size, "beta": DEFAULT_BETA}
    return chosen.get(name, unknown) if job.hyperparameters_known else unknown


def _method(world: World, job: Job, shown: dict[str, Any], unknown: Any) -> dict[str, Any] | None:
    """The method as it was given, with the hyperparameters as they are known."""
    if not job.method:
        return None
    kind: Method = job.method_type
    given = {name: value for name, value in (job.method.get(kind) or {}).items() if value is not None}
    mine = dict(shown)
    for name in HYPERPARAMETERS[kind]:
        if name not in mine and (name in job.asked or name == "beta" or job.is_native):
            mine[name] = _chosen(world, job, name, unknown)
    if job.is_native:
        effort = (given.get("hyperparameters") or {}).get("reasoning_effort")
        mine["reasoning_effort"] = effort or "default"
    return {"type": kind, kind: given | {"hyperparameters": mine}}


def _native_body(world: World, job: Job, dialect: Dialect) -> dict[str, Any]:
    """A reinforcement job: another back end, which answers as OpenAI does and shows every member.

    Source: Microsoft's Agentic_RFT_PrivatePreview notebook, 2025-12 (a job just created); that automatic values are
    filled in later is taken from the other back end.
    """
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "status": status_of(job, dialect),
        "model": job.model,
        "fine_tuned_model": job.fine_tuned_model,
        "finished_at": job.finished_at,
        "organization_id": _organization(job.account),
        "result_files": [job.result_file] if job.result_file else [],
        "seed": job.seed,
        "trained_tokens": job.trained_tokens,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "estimated_finish": None,
        "integrations": job.integrations or [],
        "metadata": job.metadata if dialect.is_v1 else None,
        "method": _method(
            world,
            job,
            {name: _chosen(world, job, name, "auto") for name in HYPERPARAMETERS["supervised"]},
            "auto",
        ),
        "user_provided_suffix": job.suffix,
        "usage_metrics": None,
        "shared_with_openai": False,
        "eval_id": None,
        "error": job.error or {},
    }


def _organization(account: str) -> str:
    """`org-` and 24 letters and digits, always the same for a resource."""
    digest = hashlib.sha256(f"organization of {account}".encode()).digest()
    letters = string.ascii_letters + string.digits
    return "org-" + "".join(letters[byte % len(letters)] for byte in digest[:24])


def job_body(world: World, job: Job, dialect: Dialect) -> dict[str, Any]:
    """A job as the wire shows it; members that have no value are absent, as in Azure's answers.

    Source: job objects in Microsoft's fine-tuning notebooks, 2025-05 … 2025-12.
    """
    if job.is_native:
        return _native_body(world, job, dialect)
    hyperparameters = _shown_hyperparameters(world, job)
    method = _method(world, job, hyperparameters, -1)
    body: dict[str, Any] = {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "status": status_of(job, dialect),
        "model": job.model,
        "fine_tuned_model": job.fine_tuned_model,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "hyperparameters": hyperparameters,
        "method": method if dialect.version != "2024-10-21" else None,
        "suffix": job.suffix,
        "seed": job.seed,
        "trainingType": job.training_type,
        "estimated_finish": job.estimated_finish,
        "finished_at": job.finished_at,
        "result_files": [job.result_file] if job.result_file else None,
        "trained_tokens": job.trained_tokens,
        "integrations": job.integrations if dialect.version != "2024-10-21" else None,
        "metadata": job.metadata if dialect.is_v1 else None,
        "error": job.error,
    }
    return {name: value for name, value in body.items() if value is not None}


def event_body(event: Event, dialect: Dialect) -> dict[str, Any]:
    """A line of the log; level `warn` is `warning` on dated URLs. Source: LogLevel of both specifications."""
    level = "warning" if event.level == "warn" and not dialect.is_v1 else event.level
    body: dict[str, Any] = {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": event.created_at,
        "level": level,
        "message": event.message,
        "type": event.type,
    }
    if event.data is not None:
        body["data"] = event.data
    return body


def checkpoint_body(job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint; the last one of a finished job carries the name of the model itself.

    Source: Microsoft Learn, tutorials/fine-tune, 2026 (real page of checkpoints).
    """
    final = job.phase == "succeeded" and checkpoint is job.checkpoints[-1]
    return {
        "id": checkpoint.id,
        "created_at": checkpoint.created_at,
        "fine_tuned_model_checkpoint": job.tuned_name + ("" if final else f":ckpt-step-{checkpoint.step}"),
        "fine_tuning_job_id": job.id,
        "metrics": checkpoint.metrics,
        "object": "fine_tuning.job.checkpoint",
        "step_number": checkpoint.step,
    }
