"""Jobs that stand there without being trained, for whoever watches a great many; they are marked as planted."""

from typing import Any, Final

from emulator import catalogue
from emulator.door import Call
from emulator.jobs import ESTIMATE_SECONDS
from emulator.state import Job, JobPhase, Recording
from emulator.wire import Refusal, new_id

MOST: Final = 100_000

_PHASES: Final[dict[str, JobPhase]] = {
    "pending": "enqueued",
    "queued": "queued",
    "running": "training",
    "failed": "failed",
    "cancelled": "cancelled",
}


def _bad(message: str) -> Refusal:
    return Refusal(400, "invalidPayload", message)


def create_jobs(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    """Plant `count` jobs in a `status`; they count against no limit and stay until they are cancelled or deleted.

    In values of `metadata`, `{n}` becomes the number of the job, from 0. A planted job never succeeds: nothing was
    learned.

    Returns: the ids, oldest first.

    Raises:
        Refusal: 400 with what is wrong.
    """
    count, status = body.get("count", 1), body.get("status", "running")
    metadata, base = body.get("metadata"), catalogue.find(str(body.get("model", "gpt-4.1-mini")))
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise _bad(f"'count' must be an integer between 1 and {MOST:,}.")
    if not isinstance(status, str) or status not in _PHASES:
        raise _bad(f"'status' must be one of {', '.join(_PHASES)}.")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise _bad("'metadata' must map names to strings.")
    if base is None:
        raise _bad("'model' must be the name of a base model.")
    first = 1 + (next(reversed(call.world.jobs.values())).order if call.world.jobs else 0)
    training_file = str(body.get("training_file", new_id("file-")))
    planted = []
    for number in range(count):
        job = _job(call, base, training_file, first + number, now_v)
        job.metadata = metadata and {name: value.replace("{n}", str(number)) for name, value in metadata.items()}
        _place(call, job, _PHASES[status], now_v)
        planted.append(job.id)
    return {"ids": planted}


def _job(call: Call, base: catalogue.BaseModel, training_file: str, order: int, now_v: float) -> Job:
    created_at = call.world.stamp(now_v)
    return Job(
        account=call.account,
        id=new_id("ftjob-"),
        model=base.name,
        base=base.name,
        training_file=training_file,
        validation_file=None,
        method=None,
        method_type=base.methods[0],
        asked={},
        default_multiplier=base.learning_rate_multiplier,
        suffix=None,
        seed=order % 2**31,
        metadata=None,
        integrations=None,
        training_type=None,
        parent=None,
        created_at=created_at,
        created_v=now_v,
        entered_v=now_v,
        order=order,
        estimated_finish=created_at + ESTIMATE_SECONDS,
        planted=True,
    )


def _place(call: Call, job: Job, phase: JobPhase, now_v: float) -> None:
    world = call.world
    world.jobs[job.id], world.events[job.id], world.recordings[job.id] = job, [], Recording()
    world.say(job, now_v, "Job enqueued. Waiting for jobs ahead to complete.")
    job.phase = phase
    if phase == "training":
        world.say(job, now_v, "Job started.")
    elif phase == "failed":
        job.finished_at = job.created_at
        job.error = {"code": "internalFailure", "message": "The job failed due to an internal error."}
        world.say(job, now_v, job.error["message"], level="error")
    elif phase == "cancelled":
        job.finished_at = job.created_at
        world.say(job, now_v, "Job cancelled.")
    world.touch("job", job)
    world.save_recording(job.id)
