"""Azure's fine-tuning jobs: what may be asked for, how a job looks on the wire, and the verbs on it."""

import re
import secrets
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from emulator import billing, catalogue, lives
from emulator.catalogue import BaseModel
from emulator.door import Body, Call, DataCall
from emulator.files import created
from emulator.ledger import model_blob
from emulator.pages import cut, visible
from emulator.state import ON_MACHINE, TERMINAL, Checkpoint, Event, Job
from emulator.wire import Dialect, Refusal, answer, new_id, whole_number
from emulator.world import World

router = APIRouter(prefix="/fine_tuning/jobs")

NOT_SUPPORTED = "The specified base model does not support fine-tuning."
"""Source: body of a 400, public issues of 2023-10 and 2026-03."""

ESTIMATE_SECONDS = 93_600
"""`estimated_finish` lies about this far after `created_at`, whatever the job. Source: job objects in Microsoft's
fine-tuning notebooks, 2025-09 and 2025-12 (57,528 to 93,600)."""

_TRAINING_TYPES = {"standard": "standard", "globalstandard": "globalStandard", "developertier": "developerTier"}
_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")
_HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier")
_MOST = {"n_epochs": 100, "batch_size": 256, "learning_rate_multiplier": 100.0}


def _invalid(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, "invalidPayload", message, param=param)


# Reading a request


def _text(body: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = body.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise _invalid(f"The field '{name}' must be a non-empty string.", name)
    return value


def _hyperparameters(given: object, where: str) -> dict[str, float]:
    """The hyperparameters that are not left to Azure."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _invalid(f"The field '{where}' must be an object.", where)
    asked: dict[str, float] = {}
    for name in _HYPERPARAMETERS:
        value = given.get(name)
        if value is None or value in ("auto", -1):
            continue
        kinds = int | float if name == "learning_rate_multiplier" else int
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= _MOST[name]:
            raise _invalid(f"The field '{where}.{name}' must be 'auto' or a number up to {_MOST[name]}.", name)
        asked[name] = value
    return asked


def _method(body: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The method as given, and its type."""
    method = body.get("method")
    if method is None:
        return None, "supervised"
    if not isinstance(method, dict) or method.get("type") not in {"supervised", "dpo", "reinforcement"}:
        raise _invalid("The field 'method.type' must be 'supervised', 'dpo' or 'reinforcement'.", "method")
    kind = str(method["type"])
    inner = method.get(kind)
    if inner is not None and not isinstance(inner, dict):
        raise _invalid(f"The field 'method.{kind}' must be an object.", "method")
    return method, kind


def _metadata(body: dict[str, Any], dialect: Dialect) -> dict[str, str] | None:
    """The metadata; the dated form has none and ignores it. Source: FineTuningJobCreation of both versions."""
    metadata = body.get("metadata")
    if metadata is None or dialect.form == "dated":
        return None
    strings = isinstance(metadata, dict) and all(
        isinstance(key, str) and isinstance(value, str) and len(key) <= 64 and len(value) <= 512
        for key, value in metadata.items()
    )
    if not strings or len(metadata) > 16:
        message = (
            "The field 'metadata' must have at most 16 strings, keys up to 64 and values up to 512 characters."
        )
        raise _invalid(message, "metadata")
    return dict(metadata)


def _training_type(body: dict[str, Any], base: BaseModel) -> str | None:
    """The training type in the spelling of answers. In no official schema; case does not matter in practice.

    Source: Microsoft's fine-tuning notebooks (2025-12) and REST page (2026-10-05); litellm sends the number 1.
    """
    given = body.get("trainingType")
    if given is None:
        if base.is_openai:
            return None
        raise _invalid(NOT_SUPPORTED, "trainingType")
    spelled = "standard" if given == 1 and not isinstance(given, bool) else given
    found = _TRAINING_TYPES.get(spelled.lower()) if isinstance(spelled, str) else None
    if found is None:
        raise _invalid(
            "The field 'trainingType' must be Standard, GlobalStandard or developerTier.", "trainingType"
        )
    if found not in base.training_types:
        raise _invalid(f"The model '{base.name}' does not support the training type '{found}'.", "trainingType")
    return found


def _base(world: World, account: str, name: str) -> tuple[BaseModel, str | None]:
    """The base model of a new job, and the blob of the tuned model it goes on from."""
    base = catalogue.find(name)
    if base:
        return base, None
    found = world.find_model(account, name)
    base = catalogue.find(found[0].base) if found else None
    if found is None or base is None or not base.is_openai:
        raise _invalid(NOT_SUPPORTED, "model")
    job, checkpoint = found
    return base, model_blob(job.id, checkpoint.step)


def _check_file(world: World, account: str, file_id: str, param: str) -> None:
    file = world.files.get(file_id)
    if file is None or file.account != account:
        raise _invalid(f"The file '{file_id[:80]}' in '{param}' does not exist.", param)
    if file.purpose != "fine-tune":
        raise _invalid(f"The file '{file_id}' has the purpose '{file.purpose}'; it must be 'fine-tune'.", param)
    if file.phase != "processed":
        message = (
            f"The file '{file_id}' has the status '{file.phase}'; it must be 'processed' to be used for training."
        )
        raise _invalid(message, param)


def _is_too_large(world: World, file_id: str | None) -> bool:
    """Whether a file is larger than a plain upload should be; Azure takes it, and fails the job later."""
    file = world.files.get(file_id or "")
    return file is not None and not file.in_parts and file.size_bytes > world.settings.plain_upload_bytes


def _check_room(world: World, account: str, *, developer: bool) -> None:
    """Source: Microsoft Learn, openai/quotas-limits, 2026-02-17; the words and the code are not published."""
    held = sum(job.account == account and not job.planted for job in world.jobs.values())
    waiting = [job for job in world.active.values() if job.account == account and job.phase not in ON_MACHINE]
    limits = world.limits
    if held >= limits.jobs:
        message = f"The maximum number of fine-tuning jobs ({limits.jobs}) for this resource has been reached."
        raise Refusal(400, "quotaExceeded", message)
    if sum(job.is_developer == developer for job in waiting) >= limits.queued_jobs:
        message = f"The maximum number of queued fine-tuning jobs ({limits.queued_jobs}) has been reached."
        raise Refusal(400, "quotaExceeded", message)


def create(call: Call, now_v: float, body: dict[str, Any]) -> Job:
    """Take in a new job.

    Raises:
        Refusal: 400 with what is wrong.
    """
    world, account = call.world, call.account
    model = str(_text(body, "model", required=True))
    training_file = str(_text(body, "training_file", required=True))
    validation_file = _text(body, "validation_file")
    suffix = _text(body, "suffix")
    if suffix is not None and not _SUFFIX.fullmatch(suffix):
        raise _invalid("The field 'suffix' may have up to 40 characters (a-z, A-Z, 0-9, - and _).", "suffix")
    seed = body.get("seed")
    if seed is None:
        seed = secrets.randbelow(2**31)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise _invalid("The field 'seed' must be an integer between 0 and 2147483647.", "seed")
    integrations = body.get("integrations")
    if integrations is not None and not isinstance(integrations, list):
        raise _invalid("The field 'integrations' must be a list.", "integrations")
    method, kind = _method(body)
    asked = _hyperparameters(body.get("hyperparameters"), "hyperparameters")
    if method:
        inner = method.get(kind) or {}
        asked |= _hyperparameters(inner.get("hyperparameters"), f"method.{kind}.hyperparameters")
    metadata = _metadata(body, call.dialect)

    base, parent = _base(world, account, model)
    if world.retirements.ended(base, "fine_tune", now_v):
        raise _invalid(NOT_SUPPORTED, "model")
    training_type = _training_type(body, base)
    if kind not in base.methods and (method or kind == "supervised"):
        raise _invalid(f"The model '{base.name}' does not support the method '{kind}'.", "method")
    if kind != "supervised":
        raise _invalid(f"This emulator trains with the method 'supervised' only, not '{kind}'.", "method")
    _check_file(world, account, training_file, "training_file")
    if validation_file:
        _check_file(world, account, validation_file, "validation_file")
    _check_room(world, account, developer=training_type == "developerTier")

    created_at = world.stamp(now_v)
    job = Job(
        account=account,
        id=new_id("ftjob-"),
        model=model if parent else base.name,
        base=base.name,
        training_file=training_file,
        validation_file=validation_file,
        method=method,
        method_type=kind,
        asked=asked,
        default_multiplier=base.learning_rate_multiplier,
        suffix=suffix,
        seed=seed,
        metadata=metadata,
        integrations=integrations,
        training_type=training_type,
        parent=parent,
        created_at=created_at,
        created_v=now_v,
        entered_v=now_v,
        order=1 + (next(reversed(world.jobs.values())).order if world.jobs else 0),
        estimated_finish=created_at + ESTIMATE_SECONDS,
        fate=dict(call.fate),
    )
    if any(_is_too_large(world, name) for name in (training_file, validation_file)):
        job.fate["import_fails"] = True
    world.add_job(job)
    return job


# Writing an answer


def _status(job: Job, dialect: Dialect) -> str:
    """The public status. The dated form has no `queued`. Source: FineTuningState of 2025-04-01-preview."""
    if job.hold:
        return job.hold
    match job.phase:
        case "enqueued" | "preprocessing":
            return "pending"
        case "queued":
            return "queued" if dialect.is_v1 else "pending"
        case "starting" | "training" | "evaluating":
            return "running"
        case other:
            return other


def _shown_hyperparameters(world: World, job: Job) -> dict[str, float]:
    """What Azure reports: -1 for automatic values until training has begun."""
    recording = world.recordings[job.id]
    chosen = {"n_epochs": recording.n_epochs, "batch_size": recording.batch_size}
    shown = {
        name: job.asked.get(name, chosen[name] if job.hyperparameters_known else -1)
        for name in ("batch_size", "n_epochs")
    }
    return {
        "batch_size": shown["batch_size"],
        "learning_rate_multiplier": job.asked.get("learning_rate_multiplier", job.default_multiplier),
        "n_epochs": shown["n_epochs"],
    }


def job_body(world: World, job: Job, dialect: Dialect) -> dict[str, Any]:
    """A job as the wire shows it; members that have no value are absent, as in Azure's answers.

    Source: job objects in Microsoft's fine-tuning notebooks, 2025-05 … 2025-12.
    """
    hyperparameters = _shown_hyperparameters(world, job)
    method = None
    if job.method:
        inner = {**(job.method.get(job.method_type) or {}), "hyperparameters": hyperparameters}
        method = {"type": job.method_type, job.method_type: inner}
    body: dict[str, Any] = {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_at,
        "status": _status(job, dialect),
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


# Verbs


def find_job(world: World, account: str, job_id: str) -> Job:
    """A job by id.

    Raises:
        Refusal: 404.
    """
    job = world.jobs.get(job_id)
    if job is None or job.account != account:
        raise Refusal(404, "notFound", f"The fine-tuning job '{job_id}' does not exist.")
    return job


def _wrong_state(job: Job, verb: str, dialect: Dialect) -> Refusal:
    message = f"The fine-tuning job '{job.id}' is in the state '{_status(job, dialect)}' and cannot be {verb}."
    return Refusal(400, "unexpectedEntityState", message)


def cancel(world: World, job: Job, now_v: float, dialect: Dialect) -> None:
    """End a job; what was trained is charged and its finished checkpoints stay."""
    if job.phase in TERMINAL:
        raise _wrong_state(job, "cancelled", dialect)
    if job.published:
        job.trained_tokens = world.billed_tokens(job)
    world.say(job, now_v, "Job cancelled.")
    lives.end_job(world, job, "cancelled", now_v)


def delete(world: World, job: Job, dialect: Dialect) -> None:
    """Forget a job and its model.

    Raises:
        Refusal: 400 while it is not over, 409 while its model is deployed.
    """
    if job.phase not in TERMINAL:
        raise _wrong_state(job, "deleted", dialect)
    for deployment in world.deployments.values():
        found = world.find_model(job.account, deployment.model["name"])
        if found and found[0] is job:
            message = f"The model of '{job.id}' is deployed as '{deployment.name}'. Delete the deployment first."
            raise Refusal(409, "conflict", message)
    billing.remember(world, job)
    for step in world.recordings[job.id].epochs:
        world.store.drop_blob(model_blob(job.id, step))
    for known in (world.jobs, world.events, world.recordings):
        known.pop(job.id)
    world.drop("job", job)
    world.store.remove("recording", job.id)
    world.store.forget(job.id)


@router.post("")
def create_job(call: DataCall, body: Body) -> Response:
    with call.world.moment() as now_v:
        job = create(call, now_v, body)
        shown = job_body(call.world, job, call.dialect)
    return created(call, shown, f"{call.url}/{job.id}")


@router.get("")
def list_jobs(call: DataCall, after: str | None = None, limit: str | None = None) -> Response:
    with call.world.moment() as now_v:
        newest_first = (job for job in reversed(call.world.jobs.values()) if job.account == call.account)
        most = whole_number(limit, "limit", 20, 1, 1000)
        page, has_more = cut(visible(call, newest_first, now_v), after, most, call.page_shift)
        data = [job_body(call.world, job, call.dialect) for job in page]
    return answer({"data": data, "has_more": has_more, "object": "list"})


@router.get("/{job_id}")
def get_job(call: DataCall, job_id: str) -> Response:
    with call.world.moment():
        return answer(job_body(call.world, find_job(call.world, call.account, job_id), call.dialect))


@router.delete("/{job_id}")
def delete_job(call: DataCall, job_id: str) -> Response:
    if call.dialect.is_v1:
        raise Refusal(404, "404", "Resource not found")
    with call.world.moment():
        delete(call.world, find_job(call.world, call.account, job_id), call.dialect)
    return Response(status_code=204)


@router.post("/{job_id}/cancel")
def cancel_job(call: DataCall, job_id: str) -> Response:
    with call.world.moment() as now_v:
        job = find_job(call.world, call.account, job_id)
        cancel(call.world, job, now_v, call.dialect)
        return answer(job_body(call.world, job, call.dialect))


def hold(call: Call, now_v: float, job_id: str, verb: str) -> dict[str, Any]:
    """Pause (while running, after at least one step) or resume. Source: Microsoft Learn, fine-tuning-rest, 2026."""
    job = find_job(call.world, call.account, job_id)
    if verb == "paused":
        possible = job.phase == "training" and not job.hold and job.published > 0
    else:
        possible = job.hold == "paused"
    if not possible:
        raise _wrong_state(job, verb, call.dialect)
    job.hold, job.entered_v = ("pausing" if verb == "paused" else "resuming"), now_v
    call.world.touch("job", job)
    return job_body(call.world, job, call.dialect)


def _hold(call: Call, job_id: str, verb: str) -> Response:
    if call.dialect.version == "2024-10-21":
        raise Refusal(404, "404", "Resource not found")
    with call.world.moment() as now_v:
        return answer(hold(call, now_v, job_id, verb))


@router.post("/{job_id}/pause")
def pause_job(call: DataCall, job_id: str) -> Response:
    return _hold(call, job_id, "paused")


@router.post("/{job_id}/resume")
def resume_job(call: DataCall, job_id: str) -> Response:
    return _hold(call, job_id, "resumed")


@router.get("/{job_id}/events")
def list_events(call: DataCall, job_id: str, after: str | None = None, limit: str | None = None) -> Response:
    with call.world.moment():
        job = find_job(call.world, call.account, job_id)
        newest_first = call.world.events[job.id][::-1]
        page, has_more = cut(newest_first, after, whole_number(limit, "limit", 20, 1, 1000))
    data = [event_body(event, call.dialect) for event in page]
    return answer({"data": data, "has_more": has_more, "object": "list"})


@router.get("/{job_id}/checkpoints")
def list_checkpoints(call: DataCall, job_id: str, after: str | None = None, limit: str | None = None) -> Response:
    with call.world.moment():
        job = find_job(call.world, call.account, job_id)
        page, has_more = cut(job.checkpoints[::-1], after, whole_number(limit, "limit", 10, 1, 1000))
        data = [checkpoint_body(job, checkpoint) for checkpoint in page]
    body: dict[str, Any] = {"data": data, "has_more": has_more, "object": "list"}
    if call.dialect.is_v1:
        body |= {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return answer(body)
