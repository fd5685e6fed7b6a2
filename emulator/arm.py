"""What calls of the control plane have in common: addresses, accounts, throttling, and writes that take time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from emulator.door import ArmCall, Call
from emulator.quota import admit_arm
from emulator.state import Deployment, Operation
from emulator.wire import Refusal, answer, new_id
from emulator.world import World

SUBSCRIPTION = "/subscriptions/{subscription}/providers/Microsoft.CognitiveServices"
PROVIDER = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.CognitiveServices"
ACCOUNT = PROVIDER + "/accounts/{account}"
LOCATION = SUBSCRIPTION + "/locations/{location}"

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Account:
    """An account as ARM addresses it, and the resource behind it.

    Every account name means the one default resource unless the settings make it one of its own.
    """

    arm_id: str
    subscription: str
    key: str

    @property
    def name(self) -> str:
        return self.arm_id.rsplit("/", 1)[-1]

    @property
    def group(self) -> str:
        return self.arm_id.split("/")[4]


def _subscription(request: Request, call: ArmCall, subscription: str) -> str:
    """Admit a call to a subscription; the answer carries what is left of its rate.

    Raises:
        Refusal: 400 without an api-version, 429 when too many came in a minute.
    """
    if not call.dialect.version:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise Refusal(400, "MissingApiVersionParameter", message)
    left = admit_arm(call.world, subscription, request.method)
    request.scope["emulator.headers"].update(left)
    return subscription


SubscriptionDoor = Annotated[str, Depends(_subscription)]


def _account(call: ArmCall, subscription: SubscriptionDoor, group: str, account: str) -> Account:
    return account_of(call.world, subscription, group, account)


AccountDoor = Annotated[Account, Depends(_account)]


def account_of(world: World, subscription: str, group: str, account: str) -> Account:
    arm_id = ACCOUNT.format(subscription=subscription, group=group, account=account)
    return Account(arm_id, subscription, account if account in world.accounts else "")


def time_text(stamp: int) -> str:
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# Writes that take time


def begin_operation(call: Call, now_v: float, deployment: Deployment, kind: str) -> Operation:
    """Remember a write; a fate of the call may hide its status after some (virtual) seconds."""
    world = call.world
    hidden = call.fate.get("operation_404_after_seconds")
    operation = Operation(
        deployment.account,
        new_id(""),
        deployment.id,
        world.stamp(now_v),
        started_v=now_v,
        kind=kind,
        hidden_from_v=None if hidden is None else now_v + float(hidden),
    )
    world.operations[operation.id] = operation
    deployment.operation = operation.id
    world.touch("operation", operation)
    return operation


def operation_headers(call: Call, account: Account, operation: Operation, seconds_v: float) -> dict[str, str]:
    """Where to ask for a write that takes about so many virtual seconds; a 202 also says where its result will be.

    Source: ARM Deployments, 2025-06-01: `Azure-AsyncOperation` and `Retry-After` on 201, `Location` on 202 too.
    """
    clock = call.world.clock
    seconds = seconds_v / clock.speed if clock.mode == "real" else 1
    path = LOCATION.format(subscription=account.subscription, location=call.world.settings.location)
    origin = call.url.split("/subscriptions/")[0]
    query = f"?api-version={call.dialect.version}"
    headers = {
        "Azure-AsyncOperation": f"{origin}{path}/operationStatuses/{operation.id}{query}",
        "Retry-After": str(min(10, max(1, round(seconds)))),
    }
    if operation.kind != "put":
        headers["Location"] = f"{origin}{path}/operationResults/{operation.id}{query}"
    return headers


def find_operation(world: World, operation_id: str, now_v: float) -> Operation:
    """A write by the id in its addresses.

    Raises:
        Refusal: 404 when there is none, or it is hidden by now.
    """
    operation = world.operations.get(operation_id)
    if operation is None or (operation.hidden_from_v is not None and now_v >= operation.hidden_from_v):
        raise Refusal(404, "NotFound", f"The operation '{operation_id}' does not exist.")
    return operation


@router.get(LOCATION + "/operationStatuses/{operation_id}")
def get_operation(call: ArmCall, subscription: SubscriptionDoor, location: str, operation_id: str) -> Response:
    """Where a write stands. Source: ARM asynchronous operations (Azure-AsyncOperation)."""
    with call.world.moment() as now_v:
        operation = find_operation(call.world, operation_id, now_v)
        path = LOCATION.format(subscription=subscription, location=location)
        body: dict[str, Any] = {
            "id": f"{path}/operationStatuses/{operation.id}",
            "name": operation.id,
            "status": operation.status,
            "startTime": time_text(operation.started_at),
        }
        if operation.ended_at is not None:
            body["endTime"] = time_text(operation.ended_at)
        if operation.error:
            body["error"] = operation.error
    return answer(body, headers={"Retry-After": "1"} if operation.status == "Running" else None)
