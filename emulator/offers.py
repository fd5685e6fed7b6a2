"""What an account is and what it may deploy: models with their ends, quota and what is left of it, keys."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from emulator import catalogue
from emulator.arm import ACCOUNT, LOCATION, SUBSCRIPTION, AccountDoor, SubscriptionDoor
from emulator.catalogue import BASE_MODELS, BaseModel
from emulator.deployments import rate_limits
from emulator.door import ArmCall
from emulator.quota import quota_limit, quota_name, quota_used
from emulator.wire import Refusal, answer
from emulator.world import World

router = APIRouter()


def _day(text: str) -> str:
    return datetime.fromisoformat(text).strftime("%Y-%m-%dT00:00:00Z")


def _arm_model(world: World, base: BaseModel) -> dict[str, Any]:
    """A base model. Source: an item of ARM's list in a public issue, 2023-08; AccountModel of the SDK, 14.1."""
    ends = world.retirements.of(base)
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
                "deprecationDate": _day(ends.inference),
                "rateLimits": rate_limits(1),
            }
            for sku in base.skus
        ],
        "maxCapacity": 3,
        "capabilities": {"chatCompletion": "true", "fineTune": "true", "FineTuneTokensMaxValue": "2000000000"},
        "deprecation": {"fineTune": _day(ends.fine_tune), "inference": _day(ends.inference)},
        "lifecycleStatus": ends.lifecycle,
    }


@router.get(ACCOUNT + "/models")
def list_account_models(call: ArmCall, account: AccountDoor) -> Response:
    """Base models, and the tuned models of the account."""
    with call.world.moment():
        value = [_arm_model(call.world, base) for base in BASE_MODELS]
        for job in call.world.jobs.values():
            base = catalogue.find(job.base)
            if job.account == account.key and job.phase == "succeeded" and base:
                tuned = {
                    "name": job.tuned_name,
                    "version": "1",
                    "capabilities": {"chatCompletion": "true"},
                    "deprecation": {"inference": _day(call.world.retirements.of(base).tuned_inference)},
                    "baseModel": {"format": base.format, "name": base.short, "version": base.version},
                }
                value.append(_arm_model(call.world, base) | tuned)
    return answer({"value": value})


@router.get(LOCATION + "/models")
def list_location_models(call: ArmCall, subscription: SubscriptionDoor, location: str) -> Response:  # noqa: ARG001  parts of the URL
    with call.world.moment():
        models = [_arm_model(call.world, base) for base in BASE_MODELS]
    return answer({"value": [{"kind": "OpenAI", "skuName": "S0", "model": model} for model in models]})


def _usages(world: World, account: str, now_v: float) -> dict[str, Any]:
    value = []
    for base in BASE_MODELS:
        for sku in base.skus:
            name = quota_name(base, sku)
            words = f"Tokens Per Minute (thousands) - {base.short} - {sku}"
            value.append(
                {
                    "name": {"value": name, "localizedValue": words},
                    "currentValue": float(quota_used(world, account, name, now_v)),
                    "limit": float(quota_limit(world, name)),
                    "unit": "Count",
                }
            )
    return {"value": value}


@router.get(ACCOUNT + "/usages")
def list_account_usages(call: ArmCall, account: AccountDoor) -> Response:
    with call.world.moment() as now_v:
        return answer(_usages(call.world, account.key, now_v))


@router.get(LOCATION + "/usages")
def list_location_usages(call: ArmCall, subscription: SubscriptionDoor, location: str) -> Response:  # noqa: ARG001  parts of the URL
    with call.world.moment() as now_v:
        return answer(_usages(call.world, "", now_v))


def _capacities(call: ArmCall, subscription: str, location: str, asked: tuple[str | None, ...]) -> Response:
    """What is left to deploy of one model, in every SKU. Source: ModelCapacityListResultValueItem, SDK 14.1."""
    model_format, name, version = asked
    if not (model_format and name and version):
        message = "The query parameters 'modelFormat', 'modelName' and 'modelVersion' are required."
        raise Refusal(400, "InvalidRequestContent", message)
    base = catalogue.find(name)
    value: list[dict[str, Any]] = []
    path = LOCATION.format(subscription=subscription, location=location)
    with call.world.moment() as now_v:
        if base is None or base.format != model_format or base.version not in {"1", version}:
            return answer({"value": []})
        for sku in base.skus:
            quota = quota_name(base, sku)
            left = max(0, quota_limit(call.world, quota) - quota_used(call.world, "", quota, now_v))
            value.append(
                {
                    "id": f"{path}/models/{model_format}.{name}.{version}/skus/{sku}",
                    "name": sku,
                    "type": "Microsoft.CognitiveServices/locations/models/skus",
                    "location": location,
                    "properties": {
                        "model": {"format": model_format, "name": name, "version": version},
                        "skuName": sku,
                        "availableCapacity": float(left),
                        "availableFinetuneCapacity": float(left),
                    },
                }
            )
    return answer({"value": value})


@router.get(SUBSCRIPTION + "/modelCapacities")
def list_capacities(
    call: ArmCall,
    subscription: SubscriptionDoor,
    modelFormat: str | None = None,  # noqa: N803  as the wire spells it
    modelName: str | None = None,  # noqa: N803  as the wire spells it
    modelVersion: str | None = None,  # noqa: N803  as the wire spells it
) -> Response:
    return _capacities(call, subscription, call.world.settings.location, (modelFormat, modelName, modelVersion))


@router.get(LOCATION + "/modelCapacities")
def list_location_capacities(
    call: ArmCall,
    subscription: SubscriptionDoor,
    location: str,
    modelFormat: str | None = None,  # noqa: N803  as the wire spells it
    modelName: str | None = None,  # noqa: N803  as the wire spells it
    modelVersion: str | None = None,  # noqa: N803  as the wire spells it
) -> Response:
    return _capacities(call, subscription, location, (modelFormat, modelName, modelVersion))


@router.get(ACCOUNT)
def get_account(call: ArmCall, account: AccountDoor) -> Response:
    origin = call.url.split("/subscriptions/")[0]
    endpoint = f"{origin}/{account.key}/" if account.key else f"{origin}/"
    properties = {"provisioningState": "Succeeded", "endpoint": endpoint, "customSubDomainName": account.name}
    body = {
        "id": account.arm_id,
        "name": account.name,
        "type": "Microsoft.CognitiveServices/accounts",
        "kind": "OpenAI",
        "location": call.world.settings.location,
        "sku": {"name": "S0"},
        "properties": properties,
    }
    return answer(body)


@router.post(ACCOUNT + "/listKeys")
def list_keys(call: ArmCall, account: AccountDoor) -> Response:  # noqa: ARG001  the account was checked on the way in
    key = call.world.settings.key or "emulator-key"
    return answer({"key1": key, "key2": key})
