"""Checkpoints copied to another resource, so that they can be deployed there; v1 only, behind a preview header."""

import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from emulator import job_bodies, jobs
from emulator.door import Body, Call, DataCall
from emulator.state import Checkpoint, CheckpointCopy, Job
from emulator.wire import Refusal, answer, new_id

router = APIRouter(prefix="/fine_tuning/jobs/{job_id}/checkpoints/{checkpoint_id}/copy")

HEADER = "aoai-copy-ft-checkpoints"
"""Must be `preview`. Source: v1 specification, 2026-02-02."""

_ACCOUNT = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+/accounts/([^/]+)/?", re.IGNORECASE
)


def _asked(request: Request, call: DataCall, job_id: str, checkpoint_id: str) -> tuple[Job, Checkpoint]:
    if not call.dialect.is_v1 or request.headers.get(HEADER) != "preview":
        raise Refusal(404, "404", "Resource not found")
    job = jobs.find_job(call.world, call.account, job_id)
    for checkpoint in job.checkpoints:
        if checkpoint.id == checkpoint_id:
            return job, checkpoint
    raise Refusal(404, "notFound", f"The checkpoint '{checkpoint_id}' of '{job_id}' does not exist.")


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal(400, "invalidPayload", f"The field '{name}' must be a non-empty string.", param=name)
    return value


def _copies_body(call: Call, job: Job, checkpoint: Checkpoint) -> dict[str, Any]:
    """Source: CopyModelResponse of the v1 specification, 2026-02-02."""
    copies = [
        {
            "destinationResourceId": copy.destination,
            "region": copy.region,
            "status": call.world.copy_status(copy),
        }
        for copy in call.world.copies.values()
        if copy.checkpoint == checkpoint.id
    ]
    return {
        "checkpointedModelName": job_bodies.checkpoint_body(job, checkpoint)["fine_tuned_model_checkpoint"],
        "fineTuningJobId": job.id,
        "copiedAccountDetails": copies,
    }


@router.post("")
def copy_checkpoint(request: Request, call: DataCall, job_id: str, checkpoint_id: str, body: Body) -> Response:
    """Begin to copy; how that went is seen by looking again.

    Source: Microsoft Learn, fine-tuning-rest, 2026-10-05: a copy keeps its name and stands in no list, and the
    destination must have had a fine-tuning job (else the copy fails). How long it takes is not published: here as
    long as a deployment.
    """
    destination, region = _text(body, "destinationResourceId"), _text(body, "region")
    found = _ACCOUNT.fullmatch(destination)
    if found is None:
        message = "The field 'destinationResourceId' must be the ARM id of an account."
        raise Refusal(400, "invalidPayload", message, param="destinationResourceId")
    with call.world.moment() as now_v:
        job, checkpoint = _asked(request, call, job_id, checkpoint_id)
        account = found[1] if found[1] in call.world.accounts else ""
        copy = CheckpointCopy(account, new_id("copy-"), job.id, checkpoint.id, destination, region, now_v)
        copy.fails = not any(other.account == account for other in call.world.jobs.values())
        call.world.copies[copy.id] = copy
        call.world.touch("copy", copy)
        return answer(_copies_body(call, job, checkpoint))


@router.get("")
def get_copies(request: Request, call: DataCall, job_id: str, checkpoint_id: str) -> Response:
    with call.world.moment():
        return answer(_copies_body(call, *_asked(request, call, job_id, checkpoint_id)))
