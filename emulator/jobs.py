"""Azure's fine-tuning jobs: taking one in, looking at it, and the verbs on it."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from emulator import billing, catalogue, job_requests, lives
from emulator.catalogue import BaseModel
from emulator.door import Body, Call, DataCall
from emulator.files import created
from emulator.job_bodies import checkpoint_body, event_body, job_body, status_of
from emulator.job_requests import NOT_SUPPORTED, invalid
from emulator.ledger import model_blob
from emulator.pages import cut, visible
from emulator.state import ON_MACHINE, TERMINAL, Job
from emulator.wire import Dialect, Refusal, answer, native_id, new_id, whole_number
from emulator.world import World

router = APIRouter(prefix="/fine_tuning/jobs")

ESTIMATE_SECONDS = 93_600
"""`estimated_finish` lies about this far after `created_at`, whatever the job. Source: job objects in Microsoft's
fine-tuning notebooks, 2025-09 and 2025-12 (57,528 to 93,600)."""

# New jobs


def _base(world: World, account: str, name: str) -> tuple[BaseModel, str | None]:
    """The base model of a new job, and the blob of the tuned model it goes on from."""
    base = catalogue.find(name)
    if base:
        return base, None
    found = world.find_model(account, name)
    base = catalogue.find(found[0].base) if found else None
    if found is None or base is None or not base.is_openai:
        raise invalid(NOT_SUPPORTED, "model")
    job, checkpoint = found
    return base, model_blob(job.id, checkpoint.step)


def _check_file(world: World, account: str, file_id: str, param: str) -> None:
    file = world.files.get(file_id)
    if file is None or file.account != account:
        raise invalid(f"The file '{file_id[:80]}' in '{param}' does not exist.", param)
    if file.purpose != "fine-tune":
        raise invalid(f"The file '{file_id}' has the purpose '{file.purpose}'; it must be 'fine-tune'.", param)
    if file.phase != "processed":
        message = (
            f"The file '{file_id}' has the status '{file.phase}'; it must be 'processed' to be used for training."
        )
        raise invalid(message, param)


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
    wanted = job_requests.read(body, call.dialect)
    base, parent = _base(world, account, wanted.model)
    if world.retirements.ended(base, "fine_tune", now_v):
        raise invalid(NOT_SUPPORTED, "model")
    training_type = job_requests.training_type(body, base)
    if wanted.kind not in base.methods:
        raise invalid(f"The model '{base.name}' does not support the method '{wanted.kind}'.", "method")
    _check_file(world, account, wanted.training_file, "training_file")
    if wanted.validation_file:
        _check_file(world, account, wanted.validation_file, "validation_file")
    _check_room(world, account, developer=training_type == "developerTier")

    created_at = world.stamp(now_v)
    job = Job(
        account=account,
        id=native_id("ftjob-", 24) if wanted.kind == "reinforcement" else new_id("ftjob-"),
        model=wanted.model if parent else base.name,
        base=base.name,
        training_file=wanted.training_file,
        validation_file=wanted.validation_file,
        method=wanted.method,
        method_type=wanted.kind,
        asked=wanted.hyperparameters,
        default_multiplier=base.learning_rate_multiplier,
        suffix=wanted.suffix,
        seed=wanted.seed,
        metadata=wanted.metadata,
        integrations=wanted.integrations,
        training_type=training_type,
        parent=parent,
        created_at=created_at,
        created_v=now_v,
        entered_v=now_v,
        order=1 + (next(reversed(world.jobs.values())).order if world.jobs else 0),
        estimated_finish=created_at + ESTIMATE_SECONDS,
        fate=dict(call.fate),
    )
    if any(_is_too_large(world, name) for name in (wanted.training_file, wanted.validation_file)):
        job.fate["import_fails"] = True
    world.add_job(job)
    return job


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
    message = f"The fine-tuning job '{job.id}' is in the state '{status_of(job, dialect)}' and cannot be {verb}."
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
