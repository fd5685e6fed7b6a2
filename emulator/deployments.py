"""Deployments in the control plane: how one looks, what may be asked for, and the writes, which take time."""

import re
import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from emulator import catalogue
from emulator.arm import (
    ACCOUNT,
    LOCATION,
    Account,
    AccountDoor,
    SubscriptionDoor,
    begin_operation,
    find_operation,
    operation_headers,
    time_text,
)
from emulator.catalogue import BASE_MODELS, BaseModel
from emulator.door import ArmCall, Body, Call
from emulator.quota import Claim, check_quota, quota_limit, quota_name, spend_chat
from emulator.state import Change, Deployment
from emulator.wire import Refusal, answer, encode
from emulator.world import World

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_UPGRADES = ("OnceNewDefaultVersionAvailable", "OnceCurrentVersionExpired", "NoAutoUpgrade")
_STATES = {
    "creating": "Creating",
    "warming": "Succeeded",
    "ready": "Succeeded",
    "failed": "Failed",
    "deleting": "Deleting",
}
_BUSY = ("creating", "deleting")
_MOST_CAPACITY = 1_000_000

router = APIRouter()


# Reading


def key_of(account: str, name: str) -> str:
    """The id of a deployment in the store; names of ARM resources do not tell upper case from lower case."""
    return f"{account}/{name.lower()}"


def of_account(world: World, account: str) -> list[Deployment]:
    return [deployment for deployment in world.deployments.values() if deployment.account == account]


def _find(world: World, account: Account, name: str) -> Deployment:
    deployment = world.deployments.get(key_of(account.key, name))
    if deployment is None:
        raise not_found(account, name)
    return deployment


def not_found(account: Account, name: str) -> Refusal:
    path = f"Microsoft.CognitiveServices/accounts/{account.name}/deployments/{name}"
    message = (
        f"The Resource '{path}' under resource group '{account.group}' was not found."
        " For more details please go to https://aka.ms/ARMResourceNotFoundFix"
    )
    return Refusal(404, "ResourceNotFound", message)


def deployment_body(deployment: Deployment) -> dict[str, Any]:
    """A deployment as ARM shows it. Source: azure-cli recorded against ARM, 2025-10-28; GetDeployment example."""
    capacity = deployment.capacity
    created_at = time_text(deployment.created_at)
    properties: dict[str, Any] = {
        "model": deployment.model,
        "versionUpgradeOption": "OnceNewDefaultVersionAvailable",
        **deployment.properties,
        "currentCapacity": capacity,
        "capabilities": {"chatCompletion": "true"},
        "rateLimits": rate_limits(capacity),
        "provisioningState": "Accepted" if deployment.change else _STATES[deployment.phase],
        "deploymentState": "Paused" if deployment.paused else "Running",
    }
    body: dict[str, Any] = {
        "id": f"{deployment.arm_account}/deployments/{deployment.name}",
        "type": "Microsoft.CognitiveServices/accounts/deployments",
        "name": deployment.name,
        "sku": {"name": deployment.sku_name, "capacity": capacity},
        "properties": properties,
        "systemData": {
            "createdBy": "emulator",
            "createdByType": "Application",
            "createdAt": created_at,
            "lastModifiedBy": "emulator",
            "lastModifiedByType": "Application",
            "lastModifiedAt": time_text(deployment.modified_at or deployment.created_at),
        },
    }
    if deployment.tags is not None:
        body["tags"] = deployment.tags
    body["etag"] = f'"{uuid.uuid5(uuid.NAMESPACE_URL, encode(body).decode())}"'
    return body


def rate_limits(capacity: int) -> list[dict[str, Any]]:
    return [
        {"key": "request", "renewalPeriod": 10, "count": capacity},
        {"key": "token", "renewalPeriod": 60, "count": capacity * 1000},
    ]


def _shown(deployment: Deployment, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = deployment_body(deployment)
    return answer(body, status, {"etag": body["etag"], **(headers or {})})


# Answering


def check_answers(world: World, deployment: Deployment, now_v: float) -> None:
    """Refuse a call of a model that ended.

    Source: ARM ModelLifecycleStatus, 2026-09-15-preview: inference of a deprecated model answers 410; code and
    words are not published.
    """
    base = catalogue.find(deployment.base)
    since = base and world.retirements.ended(base, "tuned_inference" if deployment.is_tuned else "inference", now_v)
    if since:
        message = f"The model '{deployment.model['name']}' has been deprecated since {since} and answers no more."
        raise Refusal(410, "ModelDeprecated", message)


def spend(call: Call, deployment: Deployment, prompt_tokens: int, completion_tokens: int) -> None:
    """Count what was asked and answered, for the bill and the rate limits."""
    with call.world.moment() as now_v:
        deployment.prompt_tokens += prompt_tokens
        deployment.completion_tokens += completion_tokens
        if call.world.deployments.get(deployment.id) is deployment:
            call.world.touch("deployment", deployment)
        spend_chat(call.world, deployment, now_v, prompt_tokens + completion_tokens)


# Asking


@dataclass(frozen=True, slots=True)
class Wanted:
    """A deployment somebody asks for."""

    model: dict[str, str]
    claim: Claim
    properties: dict[str, Any]
    tags: dict[str, str] | None


def _member(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise Refusal(400, "InvalidRequestContent", f"The request content is invalid: '{name}' must be an object.")
    return value


def _sku(body: dict[str, Any]) -> tuple[str | None, int | None]:
    sku = _member(body, "sku")
    name, capacity = sku.get("name"), sku.get("capacity")
    if name is not None and not isinstance(name, str):
        raise Refusal(400, "InvalidRequestContent", "The request content is invalid: 'sku.name' must be a string.")
    if capacity is not None and (
        isinstance(capacity, bool) or not isinstance(capacity, int) or not 1 <= capacity <= _MOST_CAPACITY
    ):
        message = f"The capacity of the SKU must be an integer between 1 and {_MOST_CAPACITY}."
        raise Refusal(400, "InvalidCapacity", message, param="sku.capacity")
    return name, capacity


def _tags(body: dict[str, Any]) -> dict[str, str] | None:
    tags = body.get("tags")
    if tags is None:
        return None
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise Refusal(400, "InvalidRequestContent", "The request content is invalid: 'tags' must map to strings.")
    return dict(tags)


def _not_supported(name: str) -> Refusal:
    """Source: ARM error quoted in public issues, 2023."""
    message = (
        f"Creating account deployment is not supported by the model '{name}'."
        " This is usually because there are better models available for the similar functionality."
    )
    return Refusal(400, "DeploymentModelNotSupported", message)


def _model(world: World, account: str, given: dict[str, Any]) -> tuple[dict[str, str], BaseModel]:
    """The model to deploy, and its base."""
    model = {part: given.get(part) for part in ("format", "name", "version")}
    if model["version"] is None and isinstance(model["name"], str):
        known = catalogue.find(model["name"])
        model["version"] = known.version if known else "1"
    for part, value in model.items():
        if not isinstance(value, str) or not value:
            message = f"The request content is invalid: 'properties.model.{part}' must be a string."
            raise Refusal(400, "InvalidRequestContent", message, param=f"properties.model.{part}")
    texts = {part: str(value) for part, value in model.items()}
    name = texts["name"]
    base = catalogue.find(name)
    if base is None:
        found = world.find_model(account, name)
        usable = found is not None and (found[0].phase in {"succeeded", "cancelled"} or found[0].hold == "paused")
        base = catalogue.find(found[0].base) if found and usable else None
        if base is None or texts["version"] != "1":
            raise _not_supported(name)
    elif base.version not in {"1", texts["version"]}:
        raise _not_supported(f"{name}, version {texts['version']}")
    if base.format != texts["format"]:
        raise Refusal(500, "", "")  # as it is. Source: Microsoft's fine-tuning notes, deployment, 2026-08
    return texts, base


def _check_alive(world: World, account: str, model: dict[str, str], base: BaseModel, now_v: float) -> None:
    """Refuse models that ended. Source: ARM errors quoted in public issues, 2023 and 2025."""
    tuned = ".ft-" in model["name"]
    since = world.retirements.ended(base, "tuned_inference" if tuned else "inference", now_v)
    if since:
        what = f"Format:{model['format']},Name:{model['name']},Version:{model['version']}"
        message = f"The model '{what}' has been deprecated since {since:%m/%d/%Y} 00:00:00."
        raise Refusal(400, "ServiceModelDeprecated", message)
    has_it = any(known.base == base.name for known in of_account(world, account))
    if not tuned and world.retirements.takes_no_new(base) and not has_it:
        raise _not_supported(model["name"])


def _wanted(world: World, account: str, body: dict[str, Any], now_v: float) -> Wanted:
    """Read the body of a PUT.

    Raises:
        Refusal: 400 with what is wrong.
    """
    properties = _member(body, "properties")
    sku_name, capacity = _sku(body)
    model, base = _model(world, account, _member(properties, "model"))
    _check_alive(world, account, model, base, now_v)
    sku = _known_sku(base, sku_name, model["name"])
    kept: dict[str, Any] = {}
    upgrade = properties.get("versionUpgradeOption")
    if upgrade is not None:
        if upgrade not in _UPGRADES:
            message = f"The value of 'versionUpgradeOption' must be one of {', '.join(_UPGRADES)}."
            raise Refusal(400, "InvalidResourceProperties", message)
        kept["versionUpgradeOption"] = upgrade
    policy = properties.get("raiPolicyName")
    if isinstance(policy, str):
        kept["raiPolicyName"] = policy
    return Wanted(model, Claim(base, sku, capacity or 1), kept, _tags(body))


def _known_sku(base: BaseModel, name: str | None, model: str) -> str:
    """The SKU in Azure's spelling."""
    for known in base.skus:
        if known.lower() == str(name).lower():
            return known
    message = f"The specified SKU '{name}' of account deployment is not supported by the model '{model}'."
    raise Refusal(400, "InvalidResourceProperties", message, param="sku.name")


def _check_free(world: World, account: Account) -> None:
    """One write at a time for each account. Source: ARM error quoted in public issues, 2023 and 2026-08."""
    if any(deployment.phase in _BUSY or deployment.change for deployment in of_account(world, account.key)):
        busy = f"Another operation is being performed on the parent resource '{account.arm_id}'."
        message = f"{busy} Please try again later."
        raise Refusal(409, "RequestConflict", message)


# Writing


def put(call: Call, now_v: float, account: Account, name: str, body: dict[str, Any]) -> tuple[Deployment, bool]:
    """Create a deployment, replace it by one of another model, or begin to update it.

    Returns: the deployment, and whether it is new.

    Raises:
        Refusal: 400 for what is wrong or too much, 409 while the account is busy.
    """
    world = call.world
    if not _NAME.fullmatch(name):
        message = f"The deployment name '{name[:80]}' is invalid: up to 64 letters, digits, '-', '_' and '.'."
        raise Refusal(400, "InvalidResourceName", message)
    wanted = _wanted(world, account.key, body, now_v)
    _check_free(world, account)
    old = world.deployments.get(key_of(account.key, name))
    check_quota(world, account.key, wanted.claim, old, now_v)
    if old is None and len(of_account(world, account.key)) >= world.limits.deployments:
        message = (
            f"The maximum number of deployments ({world.limits.deployments}) for this account has been reached."
        )
        raise Refusal(400, "QuotaExceeded", message)
    if old and old.model == wanted.model and old.phase != "failed":
        _begin_update(call, old, wanted, now_v)
        return old, False
    if old:
        world.remove_deployment(old, now_v, "replaced")
    deployment = Deployment(
        account=account.key,
        id=key_of(account.key, name),
        arm_account=account.arm_id,
        name=name,
        model=wanted.model,
        sku_name=wanted.claim.sku_name,
        capacity=wanted.claim.capacity,
        properties=wanted.properties,
        tags=wanted.tags,
        created_at=world.stamp(now_v),
        entered_v=now_v,
        born_v=now_v,
        base=wanted.claim.base.name,
        quota=wanted.claim.quota,
        fate=dict(call.fate),
    )
    world.deployments[deployment.id] = deployment
    world.touch("deployment", deployment)
    return deployment, True


def _begin_update(call: Call, deployment: Deployment, wanted: Wanted, now_v: float) -> None:
    claim = wanted.claim
    deployment.change = Change(claim.sku_name, claim.capacity, claim.quota, wanted.properties, wanted.tags)
    deployment.changing_v = now_v
    deployment.fate = {**deployment.fate, **call.fate}
    call.world.touch("deployment", deployment)


@router.put(ACCOUNT + "/deployments/{name}")
def put_deployment(call: ArmCall, account: AccountDoor, name: str, body: Body) -> Response:
    """201 for a new deployment, 200 for one that is changed; both go on behind the answer."""
    with call.world.moment() as now_v:
        deployment, is_new = put(call, now_v, account, name, body)
        operation = begin_operation(call, now_v, deployment, "put")
        pace = call.world.stage_pace()
        headers = operation_headers(call, account, operation, pace.provision if is_new else pace.update)
        return _shown(_as_wanted(deployment), 201 if is_new else 200, headers)


def _as_wanted(deployment: Deployment) -> Deployment:
    """A deployment as it will be after its change: what the answer to the write echoes."""
    return replace(deployment, **asdict(deployment.change)) if deployment.change else deployment


@router.get(ACCOUNT + "/deployments/{name}")
def get_deployment(call: ArmCall, account: AccountDoor, name: str) -> Response:
    """A fate may hide a new deployment here while the list shows it.

    Source: changelog of azure-mgmt-cognitiveservices 15.0.0b4: a GET answers 404 for a long time after the accept.
    """
    with call.world.moment() as now_v:
        deployment = _find(call.world, account, name)
        if now_v < deployment.born_v + float(deployment.fate.get("get_404_seconds", 0)):
            raise not_found(account, name)
        return _shown(deployment)


@router.get(ACCOUNT + "/deployments")
def list_deployments(call: ArmCall, account: AccountDoor) -> Response:
    with call.world.moment() as now_v:
        shown = [
            deployment_body(deployment)
            for deployment in of_account(call.world, account.key)
            if call.list_lag_seconds == 0 or deployment.born_v <= now_v - call.list_lag_seconds
        ]
    return answer({"value": shown})


@router.patch(ACCOUNT + "/deployments/{name}")
def patch_deployment(call: ArmCall, account: AccountDoor, name: str, body: Body) -> Response:
    """Change sku and tags. Source: ARM Deployments_Update takes PatchResourceTagsAndSku and answers 202."""
    with call.world.moment() as now_v:
        deployment = _find(call.world, account, name)
        begin_patch(call, now_v, account, deployment, body)
        operation = begin_operation(call, now_v, deployment, "patch")
        headers = operation_headers(call, account, operation, call.world.stage_pace().update)
        return Response(status_code=202, headers=headers)


def begin_patch(call: Call, now_v: float, account: Account, deployment: Deployment, body: dict[str, Any]) -> None:
    """Begin to change sku and tags; a member that is absent stays.

    Raises:
        Refusal: 400 for what is wrong or too much, 409 while the account is busy.
    """
    base = catalogue.find(deployment.base) or BASE_MODELS[0]
    sku_name, capacity = _sku(body) if "sku" in body else (None, None)
    sku = _known_sku(base, sku_name, deployment.model["name"]) if sku_name is not None else deployment.sku_name
    claim, tags = Claim(base, sku, capacity or deployment.capacity), _tags(body)
    _check_free(call.world, account)
    check_quota(call.world, account.key, claim, deployment, now_v)
    kept_tags = deployment.tags if tags is None else tags
    _begin_update(call, deployment, Wanted(deployment.model, claim, deployment.properties, kept_tags), now_v)


@router.delete(ACCOUNT + "/deployments/{name}")
def delete_deployment(call: ArmCall, account: AccountDoor, name: str) -> Response:
    with call.world.moment() as now_v:
        deployment = call.world.deployments.get(key_of(account.key, name))
        if deployment is None:
            return Response(status_code=204)
        _check_free(call.world, account)
        deployment.phase_before_delete, deployment.phase = deployment.phase, "deleting"
        deployment.entered_v, deployment.fate = now_v, {**deployment.fate, **call.fate, "get_404_seconds": 0}
        operation = begin_operation(call, now_v, deployment, "delete")
        call.world.touch("deployment", deployment)
        headers = operation_headers(call, account, operation, call.world.stage_pace().delete)
        return Response(status_code=202, headers=headers)


@router.get(LOCATION + "/operationResults/{operation_id}")
def get_result(call: ArmCall, subscription: SubscriptionDoor, location: str, operation_id: str) -> Response:  # noqa: ARG001  parts of the URL
    """What a write has led to: 202 while it runs, then the deployment, or 204 once it is gone."""
    with call.world.moment() as now_v:
        operation = find_operation(call.world, operation_id, now_v)
        if operation.error:
            raise Refusal(400, operation.error["code"], operation.error["message"])
        if operation.status == "Running":
            headers = {"Location": f"{call.url}?api-version={call.dialect.version}", "Retry-After": "1"}
            return Response(status_code=202, headers=headers)
        deployment = call.world.deployments.get(operation.deployment)
        return _shown(deployment) if deployment else Response(status_code=204)


def _switch(call: Call, account: Account, name: str, *, paused: bool) -> Response:
    """Pause or resume at once; twice is as good as once. Source: ARM Deployment.tsp, since 2025-10-01-preview."""
    with call.world.moment():
        deployment = _find(call.world, account, name)
        _check_free(call.world, account)
        if deployment.sku_name == "DeveloperTier":
            message = f"A deployment with the SKU '{deployment.sku_name}' cannot be paused."
            raise Refusal(400, "InvalidResourceProperties", message)
        deployment.paused = paused
        call.world.touch("deployment", deployment)
        return _shown(deployment)


@router.post(ACCOUNT + "/deployments/{name}/pause")
def pause_deployment(call: ArmCall, account: AccountDoor, name: str) -> Response:
    return _switch(call, account, name, paused=True)


@router.post(ACCOUNT + "/deployments/{name}/resume")
def resume_deployment(call: ArmCall, account: AccountDoor, name: str) -> Response:
    return _switch(call, account, name, paused=False)


@router.get(ACCOUNT + "/deployments/{name}/skus")
def list_deployment_skus(call: ArmCall, account: AccountDoor, name: str) -> Response:
    with call.world.moment():
        base = catalogue.find(_find(call.world, account, name).base) or BASE_MODELS[0]
        value = [
            {
                "resourceType": "Microsoft.CognitiveServices/accounts/deployments",
                "sku": {"name": sku},
                "capacity": {"minimum": 1, "maximum": quota_limit(call.world, quota_name(base, sku)), "step": 1},
            }
            for sku in base.skus
        ]
    return answer({"value": value})
