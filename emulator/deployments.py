"""The ARM control plane: deployments of an account, their operations, what may be deployed, what quota is left."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from emulator import catalogue
from emulator.catalogue import BASE_MODELS, BaseModel
from emulator.door import ArmCall, Body, Call
from emulator.state import Deployment, Operation
from emulator.wire import Refusal, answer, new_id
from emulator.world import World

PROVIDER = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices"
ACCOUNT = PROVIDER + "/accounts/{account}"
LOCATION = "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices/locations/{location}"

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


@dataclass(frozen=True, slots=True)
class Account:
    """An account as ARM addresses it, and the resource behind it.

    Every account name means the one default resource unless the settings make it one of its own.
    """

    arm_id: str
    subscription: str
    key: str


def _account(call: ArmCall, subscription: str, group: str, account: str) -> Account:
    if not call.dialect.version:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise Refusal(400, "MissingApiVersionParameter", message)
    arm_id = ACCOUNT.format(subscription=subscription, group=group, account=account)
    return Account(arm_id, subscription, account if account in call.world.accounts else "")


AccountDoor = Annotated[Account, Depends(_account)]
router = APIRouter()


def _time(stamp: int) -> str:
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Reading


def key_of(account: str, name: str) -> str:
    """The id of a deployment in the store; names of ARM resources do not tell upper case from lower case."""
    return f"{account}/{name.lower()}"


def of_account(world: World, account: str) -> list[Deployment]:
    return [deployment for deployment in world.deployments.values() if deployment.account == account]


def _find(world: World, account: Account, name: str) -> Deployment:
    deployment = world.deployments.get(key_of(account.key, name))
    if deployment is None:
        group = account.arm_id.split("/")[4]
        path = f"Microsoft.CognitiveServices/accounts/{account.arm_id.split('/')[-1]}/deployments/{name}"
        message = (
            f"The Resource '{path}' under resource group '{group}' was not found."
            " For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        )
        raise Refusal(404, "ResourceNotFound", message)
    return deployment


def deployment_body(deployment: Deployment) -> dict[str, Any]:
    """A deployment as ARM shows it. Source: azure-cli recorded against ARM, 2025-10-28; GetDeployment example."""
    capacity = deployment.capacity
    created_at = _time(deployment.created_at)
    properties: dict[str, Any] = {
        "model": deployment.model,
        "versionUpgradeOption": "OnceNewDefaultVersionAvailable",
        **deployment.properties,
        "currentCapacity": capacity,
        "capabilities": {"chatCompletion": "true"},
        "rateLimits": [
            {"key": "request", "renewalPeriod": 10, "count": capacity},
            {"key": "token", "renewalPeriod": 60, "count": capacity * 1000},
        ],
        "provisioningState": _STATES[deployment.phase],
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
            "lastModifiedAt": created_at,
        },
    }
    if deployment.tags is not None:
        body["tags"] = deployment.tags
    return body


# Asking


@dataclass(frozen=True, slots=True)
class Wanted:
    """A deployment somebody asks for; `quota` names the allowance it draws on."""

    model: dict[str, str]
    base: BaseModel
    sku_name: str
    capacity: int
    properties: dict[str, Any]
    tags: dict[str, str] | None
    quota: str


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
        raise _not_supported(f"{texts['format']}, {name}")
    return texts, base


def _wanted(world: World, account: str, body: dict[str, Any]) -> Wanted:
    """Read the body of a PUT.

    Raises:
        Refusal: 400 with what is wrong.
    """
    properties = _member(body, "properties")
    sku_name, capacity = _sku(body)
    model, base = _model(world, account, _member(properties, "model"))
    sku = next((known for known in base.skus if known.lower() == str(sku_name).lower()), None)
    if sku is None:
        message = (
            f"The specified SKU '{sku_name}' of account deployment is not supported by the model '{model['name']}'."
        )
        raise Refusal(400, "InvalidResourceProperties", message, param="sku.name")
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
    return Wanted(model, base, sku, capacity or 1, kept, _tags(body), quota_name(base, sku))


def quota_name(base: BaseModel, sku: str) -> str:
    return f"OpenAI.{sku}.{base.short}"


def quota_limit(world: World, name: str) -> int:
    """Thousands of tokens per minute one region allows for a SKU and base model."""
    return world.quota.get(name, world.limits.capacity)


def quota_used(world: World, account: str, name: str) -> int:
    return sum(deployment.capacity for deployment in of_account(world, account) if deployment.quota == name)


def _check_quota(world: World, account: str, wanted: Wanted, old: Deployment | None) -> None:
    """Refuse what the quota cannot bear. Source: ARM error quoted in a public issue, 2024 (words and grammar)."""
    used = quota_used(world, account, wanted.quota)
    freed = old.capacity if old and old.quota == wanted.quota else 0
    limit = quota_limit(world, wanted.quota)
    needed = wanted.capacity - freed
    if used + needed > limit:
        name = f"Tokens Per Minute (thousands) - {wanted.base.short} - {wanted.sku_name}"
        message = (
            f"This operation require {needed} new capacity in quota {name}, which is bigger than the current"
            f" available capacity {max(0, limit - used)}. The current quota usage is {used} and the quota limit is"
            f" {limit} for quota {name}."
        )
        raise Refusal(400, "InsufficientQuota", message)


def _check_free(world: World, account: Account) -> None:
    """One write at a time for each account. Source: ARM error quoted in public issues, 2023 and 2026-08."""
    if any(deployment.phase in _BUSY for deployment in of_account(world, account.key)):
        busy = f"Another operation is being performed on the parent resource '{account.arm_id}'."
        message = f"{busy} Please try again later."
        raise Refusal(409, "RequestConflict", message)


# Writing


def _begin_operation(world: World, now_v: float, deployment: Deployment) -> Operation:
    operation = Operation(deployment.account, new_id(""), deployment.id, world.stamp(now_v))
    world.operations[operation.id] = operation
    deployment.operation = operation.id
    world.touch("operation", operation)
    return operation


def _operation_headers(call: Call, account: Account, operation: Operation) -> dict[str, str]:
    pace, clock = call.world.stage_pace(), call.world.clock
    seconds = pace.provision / clock.speed if clock.mode == "real" else 1
    path = LOCATION.format(subscription=account.subscription, location=call.world.settings.location)
    origin = call.url.split("/subscriptions/")[0]
    status = f"{origin}{path}/operationStatuses/{operation.id}"
    return {
        "Azure-AsyncOperation": f"{status}?api-version={call.dialect.version}",
        "Retry-After": str(min(10, max(1, round(seconds)))),
    }


def put(call: Call, now_v: float, account: Account, name: str, body: dict[str, Any]) -> tuple[Deployment, bool]:
    """Create or replace a deployment.

    Returns: the deployment, and whether it is new.

    Raises:
        Refusal: 400 for what is wrong or too much, 409 while the account is busy.
    """
    world = call.world
    if not _NAME.fullmatch(name):
        message = f"The deployment name '{name[:80]}' is invalid: up to 64 letters, digits, '-', '_' and '.'."
        raise Refusal(400, "InvalidResourceName", message)
    wanted = _wanted(world, account.key, body)
    _check_free(world, account)
    old = world.deployments.get(key_of(account.key, name))
    _check_quota(world, account.key, wanted, old)
    if old is None and len(of_account(world, account.key)) >= world.limits.deployments:
        message = (
            f"The maximum number of deployments ({world.limits.deployments}) for this account has been reached."
        )
        raise Refusal(400, "QuotaExceeded", message)
    if old and old.model == wanted.model and old.phase != "failed":
        old.change_sku(wanted.sku_name, wanted.capacity, wanted.quota, now_v)
        old.properties, old.tags = wanted.properties, wanted.tags
        world.touch("deployment", old)
        return old, False
    if old:
        world.remove_deployment(old, now_v, "replaced")
    deployment = Deployment(
        account=account.key,
        id=key_of(account.key, name),
        arm_account=account.arm_id,
        name=name,
        model=wanted.model,
        sku_name=wanted.sku_name,
        capacity=wanted.capacity,
        properties=wanted.properties,
        tags=wanted.tags,
        created_at=world.stamp(now_v),
        entered_v=now_v,
        base=wanted.base.name,
        quota=wanted.quota,
        fate=dict(call.fate),
    )
    world.deployments[deployment.id] = deployment
    world.touch("deployment", deployment)
    return deployment, True


@router.put(ACCOUNT + "/deployments/{name}")
def put_deployment(call: ArmCall, account: AccountDoor, name: str, body: Body) -> Response:
    with call.world.moment() as now_v:
        deployment, is_new = put(call, now_v, account, name, body)
        if not is_new:
            return answer(deployment_body(deployment))
        operation = _begin_operation(call.world, now_v, deployment)
        return answer(deployment_body(deployment), 201, _operation_headers(call, account, operation))


@router.get(ACCOUNT + "/deployments/{name}")
def get_deployment(call: ArmCall, account: AccountDoor, name: str) -> Response:
    with call.world.moment():
        return answer(deployment_body(_find(call.world, account, name)))


@router.get(ACCOUNT + "/deployments")
def list_deployments(call: ArmCall, account: AccountDoor) -> Response:
    with call.world.moment() as now_v:
        shown = [
            deployment_body(deployment)
            for deployment in of_account(call.world, account.key)
            if call.list_lag_seconds == 0 or deployment.entered_v <= now_v - call.list_lag_seconds
        ]
    return answer({"value": shown})


@router.patch(ACCOUNT + "/deployments/{name}")
def patch_deployment(call: ArmCall, account: AccountDoor, name: str, body: Body) -> Response:
    """Change sku and tags. Source: ARM Deployments_Update takes PatchResourceTagsAndSku."""
    with call.world.moment() as now_v:
        deployment = _find(call.world, account, name)
        _check_free(call.world, account)
        sku_name, capacity = _sku(body) if "sku" in body else (None, None)
        tags = _tags(body)
        base = catalogue.find(deployment.base) or BASE_MODELS[0]
        sku = next((known for known in base.skus if known.lower() == str(sku_name).lower()), None)
        if sku_name is not None and sku is None:
            message = f"The specified SKU '{sku_name}' of account deployment is not supported by its model."
            raise Refusal(400, "InvalidResourceProperties", message, param="sku.name")
        sku = sku or deployment.sku_name
        wanted = Wanted(
            deployment.model, base, sku, capacity or deployment.capacity, {}, tags, quota_name(base, sku)
        )
        _check_quota(call.world, account.key, wanted, deployment)
        deployment.change_sku(sku, wanted.capacity, wanted.quota, now_v)
        if tags is not None:
            deployment.tags = tags
        call.world.touch("deployment", deployment)
        return answer(deployment_body(deployment))


@router.delete(ACCOUNT + "/deployments/{name}")
def delete_deployment(call: ArmCall, account: AccountDoor, name: str) -> Response:
    with call.world.moment() as now_v:
        deployment = call.world.deployments.get(key_of(account.key, name))
        if deployment is None:
            return Response(status_code=204)
        _check_free(call.world, account)
        deployment.phase, deployment.entered_v = "deleting", now_v
        operation = _begin_operation(call.world, now_v, deployment)
        call.world.touch("deployment", deployment)
        return Response(status_code=202, headers=_operation_headers(call, account, operation))


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
        return answer(deployment_body(deployment))


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


@router.get(LOCATION + "/operationStatuses/{operation_id}")
def get_operation(call: ArmCall, subscription: str, location: str, operation_id: str) -> Response:
    """Where a write stands. Source: ARM asynchronous operations (Azure-AsyncOperation)."""
    with call.world.moment():
        operation = call.world.operations.get(operation_id)
        if operation is None:
            raise Refusal(404, "NotFound", f"The operation '{operation_id}' does not exist.")
        path = LOCATION.format(subscription=subscription, location=location)
        body: dict[str, Any] = {
            "id": f"{path}/operationStatuses/{operation.id}",
            "name": operation.id,
            "status": operation.status,
            "startTime": _time(operation.started_at),
        }
        if operation.ended_at is not None:
            body["endTime"] = _time(operation.ended_at)
        if operation.error:
            body["error"] = operation.error
    return answer(body, headers={"Retry-After": "1"} if operation.status == "Running" else None)


# What may be deployed, and what is left


def _arm_model(world: World, base: BaseModel) -> dict[str, Any]:
    return {
        "format": base.format,
        "name": base.short if base.is_openai else base.name,
        "version": base.version,
        "isDefaultVersion": True,
        "skus": [
            {
                "name": sku,
                "usageName": quota_name(base, sku),
                "capacity": {"maximum": quota_limit(world, quota_name(base, sku)), "default": 10},
            }
            for sku in base.skus
        ],
        "maxCapacity": 3,
        "capabilities": {"chatCompletion": "true", "fineTune": "true"},
        "lifecycleStatus": "GenerallyAvailable",
    }


@router.get(ACCOUNT + "/models")
def list_account_models(call: ArmCall, account: AccountDoor) -> Response:
    """Base models, and the tuned models of the account."""
    with call.world.moment():
        value = [_arm_model(call.world, base) for base in BASE_MODELS]
        for job in call.world.jobs.values():
            base = catalogue.find(job.base)
            if job.account == account.key and job.phase == "succeeded" and base:
                tuned = {"name": job.tuned_name, "version": "1", "capabilities": {"chatCompletion": "true"}}
                value.append(_arm_model(call.world, base) | tuned)
    return answer({"value": value})


def _usages(world: World, account: str) -> dict[str, Any]:
    value = []
    for base in BASE_MODELS:
        for sku in base.skus:
            name = quota_name(base, sku)
            value.append(
                {
                    "name": {
                        "value": name,
                        "localizedValue": f"Tokens Per Minute (thousands) - {base.short} - {sku}",
                    },
                    "currentValue": float(quota_used(world, account, name)),
                    "limit": float(quota_limit(world, name)),
                    "unit": "Count",
                }
            )
    return {"value": value}


@router.get(ACCOUNT + "/usages")
def list_account_usages(call: ArmCall, account: AccountDoor) -> Response:
    with call.world.moment():
        return answer(_usages(call.world, account.key))


@router.get(LOCATION + "/usages")
def list_location_usages(call: ArmCall, subscription: str, location: str) -> Response:  # noqa: ARG001  parts of the URL
    with call.world.moment():
        return answer(_usages(call.world, ""))


@router.get(LOCATION + "/models")
def list_location_models(call: ArmCall, subscription: str, location: str) -> Response:  # noqa: ARG001  parts of the URL
    with call.world.moment():
        models = [_arm_model(call.world, base) for base in BASE_MODELS]
    return answer({"value": [{"kind": "OpenAI", "skuName": "S0", "model": model} for model in models]})


@router.get(ACCOUNT)
def get_account(call: ArmCall, account: AccountDoor) -> Response:
    name = account.arm_id.rsplit("/", 1)[-1]
    origin = call.url.split("/subscriptions/")[0]
    endpoint = f"{origin}/{account.key}/" if account.key else f"{origin}/"
    body = {
        "id": account.arm_id,
        "name": name,
        "type": "Microsoft.CognitiveServices/accounts",
        "kind": "OpenAI",
        "location": call.world.settings.location,
        "sku": {"name": "S0"},
        "properties": {"provisioningState": "Succeeded", "endpoint": endpoint, "customSubDomainName": name},
    }
    return answer(body)


@router.post(ACCOUNT + "/listKeys")
def list_keys(call: ArmCall, account: AccountDoor) -> Response:  # noqa: ARG001  the account was checked on the way in
    key = call.world.settings.key or "emulator-key"
    return answer({"key1": key, "key2": key})
