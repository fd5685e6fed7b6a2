"""The levers under `/_emulator`: everything Azure has no button for; they serve tests and people, not Azure."""

from dataclasses import asdict, fields, replace
from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from emulator import deployments, files, jobs, planting
from emulator.door import AnyWorld, Body, Call, OptionalBody, world_of
from emulator.faults import BadRule, Faults
from emulator.ledger import Limits
from emulator.state import Deployment, Job
from emulator.wire import Dialect, Refusal, answer, read_json
from emulator.world import World

router = APIRouter(prefix="/_emulator")


def _bad(message: str) -> Refusal:
    return Refusal(400, "invalidPayload", message)


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise _bad(f"'{name}' must be a number between 0 and 1,000,000,000.")
    return float(value)


def _only(body: dict[str, Any], *known: str) -> None:
    for name in body:
        if name not in known:
            raise _bad(f"unknown member '{name[:80]}'; known are {', '.join(known)}.")


def _clock_body(world: World) -> dict[str, Any]:
    clock = world.clock
    return {
        "mode": clock.mode,
        "speed": clock.speed,
        "virtual_now": clock.now(),
        "timestamps": world.settings.timestamps,
    }


@router.get("/clock")
def get_clock(world: AnyWorld) -> Response:
    with world.moment():
        return answer(_clock_body(world))


@router.put("/clock")
def put_clock(world: AnyWorld, body: Body) -> Response:
    _only(body, "mode", "speed")
    mode, speed = body.get("mode", world.clock.mode), body.get("speed", world.clock.speed)
    if mode not in {"instant", "real", "manual"}:
        raise _bad("'mode' must be instant, real or manual.")
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= 1e6:
        raise _bad("'speed' must be a number above 0, up to 1,000,000.")
    world.set_clock(mode, float(speed))
    return get_clock(world)


@router.post("/clock/advance")
def advance_clock(world: AnyWorld, body: Body) -> Response:
    _only(body, "seconds")
    learned = world.advance(_seconds(body.get("seconds"), "seconds"))
    return answer({**_clock_body(world), "learned": learned})


@router.get("/pace")
def get_pace(world: AnyWorld) -> Response:
    return answer(world.pace.document())


@router.put("/pace")
def put_pace(world: AnyWorld, body: Body) -> Response:
    with world.moment():
        try:
            world.pace = world.pace.changed(body)
        except ValueError as error:
            raise _bad(str(error)) from error
        world.save_levers()
    return answer(world.pace.document())


@router.get("/faults")
def get_faults(request: Request) -> Response:
    faults: Faults = request.app.state.faults
    return answer(faults.shown())


@router.put("/faults")
def put_faults(request: Request, rules: Annotated[Any, Depends(read_json)]) -> Response:
    faults: Faults = request.app.state.faults
    try:
        faults.set(rules)
    except BadRule as error:
        raise _bad(str(error)) from error
    return answer(faults.shown())


@router.delete("/faults")
def delete_faults(request: Request) -> Response:
    request.app.state.faults.set([])
    return answer([])


def _quota_body(world: World) -> dict[str, Any]:
    return {**asdict(world.limits), "skus": world.quota}


@router.get("/quota")
def get_quota(world: AnyWorld) -> Response:
    return answer(_quota_body(world))


@router.put("/quota")
def put_quota(world: AnyWorld, body: Body) -> Response:
    """Change limits by name, and capacities of single SKUs under `skus` (`{"OpenAI.Standard.gpt-4.1": 240}`)."""
    known = {field.name for field in fields(Limits)}
    skus = body.pop("skus", {})
    if not isinstance(skus, dict):
        raise _bad("'skus' must be an object.")
    for name, value in [*body.items(), *skus.items()]:
        if name not in known and name not in skus:
            raise _bad(f"unknown limit '{name}'; the limits are {', '.join(sorted(known))} and skus.")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10**9:
            raise _bad(f"'{name}' must be an integer between 0 and 1,000,000,000.")
    with world.moment():
        world.limits = replace(world.limits, **body)
        world.quota = {**world.quota, **skus}
        world.save_levers()
    return answer(_quota_body(world))


@router.get("/safety")
def get_safety(world: AnyWorld) -> Response:
    return answer(world.safety)


@router.put("/safety")
def put_safety(world: AnyWorld, body: Body) -> Response:
    """Words for which training data, or a model, is refused: `{"data": {"violence": ["stab"]}, "model": {…}}`."""
    _only(body, "data", "model")
    for harms in body.values():
        listed = harms.values() if isinstance(harms, dict) else [None]
        if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in listed):
            raise _bad("'data' and 'model' must map harm types to lists of words.")
    with world.moment():
        world.safety = {**world.safety, **body}
        world.save_levers()
    return answer(world.safety)


@router.post("/reset")
def reset(request: Request, world: AnyWorld) -> Response:
    world.reset()
    request.app.state.faults.set([])
    request.app.state.log.clear()
    return answer({"reset": True})


@router.get("/requests")
def get_requests(request: Request) -> Response:
    return answer(request.app.state.log.shown())


def _job_line(world: World, job: Job) -> dict[str, Any]:
    recording = world.recordings[job.id]
    return {
        "id": job.id,
        "phase": job.phase,
        "hold": job.hold,
        "model": job.model,
        "fine_tuned_model": job.fine_tuned_model,
        "metadata": job.metadata,
        "suffix": job.suffix,
        "training_file": job.training_file,
        "published_steps": job.published,
        "learned_steps": len(recording.rows),
        "total_steps": recording.total_steps,
        "learned": recording.finished_v is not None,
        "account": job.account,
    }


@router.get("/state")
def get_state(world: AnyWorld) -> Response:
    """How much there is of everything, and what it is called."""
    with world.moment():
        shown_jobs = [_job_line(world, job) for job in world.jobs.values()]
        shown_files = [
            {
                "id": file.id,
                "filename": file.filename,
                "purpose": file.purpose,
                "phase": file.phase,
                "bytes": file.size_bytes,
                "account": file.account,
            }
            for file in world.files.values()
        ]
        shown_deployments = [
            {
                "name": deployment.name,
                "phase": deployment.phase,
                "model": deployment.model["name"],
                "sku": deployment.sku_name,
                "capacity": deployment.capacity,
                "tags": deployment.tags,
                "account": deployment.account,
            }
            for deployment in world.deployments.values()
        ]
        removed = [
            {"name": deployment.name, "model": deployment.model["name"], "because": deployment.removed_because}
            for deployment in world.removed.values()
        ]
    body = {
        "counts": {"jobs": len(shown_jobs), "files": len(shown_files), "deployments": len(shown_deployments)},
        "jobs": shown_jobs,
        "files": shown_files,
        "deployments": shown_deployments,
        "removed_deployments": removed,
        "clock": _clock_body(world),
    }
    return answer(body)


@router.get("/billing")
def get_billing(world: AnyWorld) -> Response:
    """What has been charged, in quantities: trained tokens of jobs, hosting hours of deployments (virtual time)."""
    with world.moment() as now_v:
        charged: list[dict[str, Any]] = [
            {
                "id": job.id,
                "model": job.base,
                "training_type": job.training_type,
                "phase": job.phase,
                "trained_tokens": world.billed_tokens(job) if job.phase in {"succeeded", "cancelled"} else 0,
            }
            for job in world.jobs.values()
        ]
        hosted = [*world.removed.values(), *world.deployments.values()]
        hosting = [_hosting(deployment, now_v) for deployment in hosted]
    total = {
        "trained_tokens": sum(line["trained_tokens"] for line in charged),
        "hosting_hours": round(sum(line["hosting_hours"] for line in hosting), 6),
    }
    return answer({"jobs": charged, "deployments": hosting, "total": total})


def _hosting(deployment: Deployment, now_v: float) -> dict[str, Any]:
    return {
        "name": deployment.name,
        "model": deployment.model["name"],
        "sku": deployment.sku_name,
        "phase": deployment.phase,
        "hosting_hours": round(deployment.charged_seconds(now_v) / 3600, 6),
    }


# The portal: somebody else acts


def _portal_call(request: Request, body: OptionalBody) -> tuple[Call, dict[str, Any]]:
    account = body.get("account", "")
    if not isinstance(account, str):
        raise _bad("'account' must be a string.")
    return Call(Dialect("v1", "v1"), account, str(request.url), world_of(request), {}, 0.0), body


def _required(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise _bad(f"'{name}' must be a non-empty string.")
    return value


@router.post("/portal")
def act_in_portal(asked: Annotated[tuple[Call, dict[str, Any]], Depends(_portal_call)]) -> Response:
    """Act as somebody else in Azure's portal; deployments come and go at once, without operations or conflicts."""
    call, body = asked
    action = _required(body, "action")
    act = _ACTIONS.get(action)
    if act is None:
        raise _bad(f"'action' must be one of {', '.join(_ACTIONS)}.")
    with call.world.moment() as now_v:
        return answer(act(call, now_v, body))


def _create_file(call: Call, _now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    content = BytesIO(_required(body, "content").encode("utf-8", "replace"))
    purpose = files.check_purpose(body.get("purpose", "fine-tune"))
    file = files.keep_file(call, str(body.get("filename", "portal.jsonl")), purpose, content)
    return files.file_body(file, call.dialect, fresh=True)


def _delete_file(call: Call, _now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    file = files.find_file(call.world, call.account, _required(body, "id"))
    files.delete_file_now(call.world, file)
    return {"id": file.id, "deleted": True}


def _create_job(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    return jobs.job_body(call.world, jobs.create(call, now_v, body), call.dialect)


def _cancel_job(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    job = jobs.find_job(call.world, call.account, _required(body, "id"))
    jobs.cancel(call.world, job, now_v, call.dialect)
    return jobs.job_body(call.world, job, call.dialect)


def _delete_job(call: Call, _now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    job = jobs.find_job(call.world, call.account, _required(body, "id"))
    jobs.delete(call.world, job, call.dialect)
    return {"id": job.id, "deleted": True}


def _create_deployment(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    account = deployments.Account(
        deployments.ACCOUNT.format(subscription="portal", group="portal", account=call.account or "portal"),
        "portal",
        call.account,
    )
    deployment, _ = deployments.put(call, now_v, account, _required(body, "name"), body)
    deployment.phase, deployment.hosted_from_v = "ready", now_v
    return deployments.deployment_body(deployment)


def _delete_deployment(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    name = _required(body, "name")
    deployment = call.world.deployments.get(deployments.key_of(call.account, name))
    if deployment is None:
        raise Refusal(404, "ResourceNotFound", f"The deployment '{name}' does not exist.")
    call.world.remove_deployment(deployment, now_v, "deleted in the portal")
    return {"name": name, "deleted": True}


_ACTIONS = {
    "create_file": _create_file,
    "delete_file": _delete_file,
    "create_job": _create_job,
    "create_jobs": planting.create_jobs,
    "cancel_job": _cancel_job,
    "delete_job": _delete_job,
    "create_deployment": _create_deployment,
    "delete_deployment": _delete_deployment,
}


@router.get("/health")
def get_health() -> Response:
    return answer({"status": "ok"})
