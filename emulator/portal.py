"""The portal: somebody else acts on the same resource, behind the back of whoever is tested.

Deployments come, change and go at once here, without operations or conflicts.
"""

from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from emulator import deployments, files, job_bodies, jobs, lives, planting
from emulator.arm import ACCOUNT, Account
from emulator.door import Call, OptionalBody, world_of
from emulator.levers import bad
from emulator.state import Deployment
from emulator.wire import Dialect, Refusal, answer

router = APIRouter(prefix="/_emulator")


def _portal_call(request: Request, body: OptionalBody) -> tuple[Call, dict[str, Any]]:
    account = body.get("account", "")
    if not isinstance(account, str):
        raise bad("'account' must be a string.")
    return Call(Dialect("v1", "v1"), account, str(request.url), world_of(request), {}), body


def _required(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise bad(f"'{name}' must be a non-empty string.")
    return value


@router.post("/portal")
def act_in_portal(asked: Annotated[tuple[Call, dict[str, Any]], Depends(_portal_call)]) -> Response:
    call, body = asked
    action = _required(body, "action")
    act = ACTIONS.get(action)
    if act is None:
        raise bad(f"'action' must be one of {', '.join(ACTIONS)}.")
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
    return job_bodies.job_body(call.world, jobs.create(call, now_v, body), call.dialect)


def _cancel_job(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    job = jobs.find_job(call.world, call.account, _required(body, "id"))
    jobs.cancel(call.world, job, now_v, call.dialect)
    return job_bodies.job_body(call.world, job, call.dialect)


def _delete_job(call: Call, _now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    job = jobs.find_job(call.world, call.account, _required(body, "id"))
    jobs.delete(call.world, job, call.dialect)
    return {"id": job.id, "deleted": True}


def _pause_job(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    return jobs.hold(call, now_v, _required(body, "id"), "paused")


def _resume_job(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    return jobs.hold(call, now_v, _required(body, "id"), "resumed")


def _account(call: Call) -> Account:
    name = call.account or "portal"
    return Account(ACCOUNT.format(subscription="portal", group="portal", account=name), "portal", call.account)


def _create_deployment(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    """New, or in the place of one of that name; ready at once."""
    deployment, is_new = deployments.put(call, now_v, _account(call), _required(body, "name"), body)
    if is_new:
        deployment.phase, deployment.hosted_from_v = "ready", now_v
    _apply(call, deployment, now_v)
    return deployments.deployment_body(deployment)


def _apply(call: Call, deployment: Deployment, now_v: float) -> None:
    if deployment.change:
        lives.finish_update(call.world, deployment, deployment.change, now_v)
    call.world.touch("deployment", deployment)


def _change_deployment(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    """Another sku, capacity or tags, or `paused`; a member that is absent stays."""
    deployment = _find_deployment(call, body)
    if not isinstance(body.get("paused", False), bool):
        raise bad("'paused' must be true or false.")
    deployments.begin_patch(call, now_v, _account(call), deployment, body)
    _apply(call, deployment, now_v)
    deployment.paused = body.get("paused", deployment.paused)
    return deployments.deployment_body(deployment)


def _find_deployment(call: Call, body: dict[str, Any]) -> Deployment:
    name = _required(body, "name")
    deployment = call.world.deployments.get(deployments.key_of(call.account, name))
    if deployment is None:
        raise Refusal(404, "ResourceNotFound", f"The deployment '{name}' does not exist.")
    return deployment


def _delete_deployment(call: Call, now_v: float, body: dict[str, Any]) -> dict[str, Any]:
    deployment = _find_deployment(call, body)
    call.world.remove_deployment(deployment, now_v, "deleted in the portal")
    return {"name": deployment.name, "deleted": True}


ACTIONS = {
    "create_file": _create_file,
    "delete_file": _delete_file,
    "create_job": _create_job,
    "create_jobs": planting.create_jobs,
    "cancel_job": _cancel_job,
    "pause_job": _pause_job,
    "resume_job": _resume_job,
    "delete_job": _delete_job,
    "create_deployment": _create_deployment,
    "change_deployment": _change_deployment,
    "delete_deployment": _delete_deployment,
}
