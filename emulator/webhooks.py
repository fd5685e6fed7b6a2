"""Endpoints that are told when jobs end, and the thread that tells them; v1 only."""

import threading
import time
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import Response

from emulator import deliveries, outgoing, signing
from emulator.door import AnyWorld, Body, DataCall
from emulator.state import Delivery, WebhookEndpoint
from emulator.wire import Refusal, answer, new_id
from emulator.world import World

router = APIRouter(prefix="/dashboard/webhook_endpoints")
"""Source: Microsoft Learn, how to use webhooks, 2026-05-13 (path); openai 3.52, types/webhooks (bodies)."""

levers = APIRouter(prefix="/_emulator")

MOST_ENDPOINTS: Final = 50
_ROUND_SECONDS: Final = 0.1
_MEMBERS: Final = ("name", "url", "event_types")


def _invalid(message: str, param: str) -> Refusal:
    return Refusal(400, "invalidPayload", message, param=param)


def endpoint_body(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "created_at": endpoint.created_at,
        "updated_at": endpoint.created_at,
        "name": endpoint.name,
        "url": endpoint.url,
        "event_types": endpoint.event_types,
        "signing_secret_hint": f"whsec_...{endpoint.secret[-4:]}",
    }


def _v1_only(call: DataCall) -> None:
    if not call.dialect.is_v1:
        raise Refusal(404, "404", "Resource not found")


@router.post("")
def create_endpoint(call: DataCall, body: Body) -> Response:
    """The only answer that shows the secret."""
    _v1_only(call)
    name, url, event_types = (body.get(member) for member in _MEMBERS)
    if not isinstance(name, str) or not name:
        raise _invalid("The field 'name' must be a non-empty string.", "name")
    known = isinstance(event_types, list) and all(kind in deliveries.EVENT_TYPES for kind in event_types)
    if not isinstance(event_types, list) or not event_types or not known:
        message = f"The field 'event_types' must be a list of {', '.join(deliveries.EVENT_TYPES)}."
        raise _invalid(message, "event_types")
    if not isinstance(url, str):
        raise _invalid("The field 'url' must be a string.", "url")
    try:
        outgoing.check(url, call.world.settings.reach)
    except outgoing.NotReachable as refused:
        raise _invalid(str(refused), "url") from refused
    with call.world.moment() as now_v:
        if len(call.world.endpoints) >= MOST_ENDPOINTS:
            raise Refusal(400, "quotaExceeded", f"There are {MOST_ENDPOINTS} webhook endpoints already.")
        endpoint = WebhookEndpoint(
            call.account,
            new_id("we_"),
            name,
            url,
            list(dict.fromkeys(event_types)),
            signing.new_secret(),
            call.world.stamp(now_v),
        )
        call.world.endpoints[endpoint.id] = endpoint
        call.world.touch("endpoint", endpoint)
    return answer(endpoint_body(endpoint) | {"signing_secret": endpoint.secret})


def _find(call: DataCall, endpoint_id: str) -> WebhookEndpoint:
    endpoint = call.world.endpoints.get(endpoint_id)
    if endpoint is None or endpoint.account != call.account:
        raise Refusal(404, "notFound", f"The webhook endpoint '{endpoint_id}' does not exist.")
    return endpoint


@router.get("")
def list_endpoints(call: DataCall) -> Response:
    _v1_only(call)
    with call.world.moment():
        mine = [endpoint for endpoint in call.world.endpoints.values() if endpoint.account == call.account]
        data = [endpoint_body(endpoint) for endpoint in mine]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return answer({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": False})


@router.get("/{endpoint_id}")
def get_endpoint(call: DataCall, endpoint_id: str) -> Response:
    _v1_only(call)
    with call.world.moment():
        return answer(endpoint_body(_find(call, endpoint_id)))


@router.delete("/{endpoint_id}")
def delete_endpoint(call: DataCall, endpoint_id: str) -> Response:
    _v1_only(call)
    with call.world.moment():
        endpoint = _find(call, endpoint_id)
        del call.world.endpoints[endpoint_id]
        call.world.drop("endpoint", endpoint)
    return answer({"id": endpoint_id, "object": "webhook_endpoint.deleted", "deleted": True})


@levers.get("/webhooks")
def get_deliveries(world: AnyWorld) -> Response:
    """Every piece of news, oldest first: what it says, how its attempts ended, and when the next one is due."""
    with world.moment():
        return answer([_delivery_line(delivery) for delivery in world.deliveries.values()])


def _delivery_line(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "endpoint": delivery.endpoint,
        "type": delivery.kind,
        "job": delivery.job,
        "attempts": delivery.attempts,
        "due_v": delivery.due_v,
    }


class Postman:
    """Carries what is due, one piece after the other. While there are endpoints, it also lets time pass."""

    def __init__(self, world: World) -> None:
        self._world, self._closing = world, threading.Event()
        self._thread = threading.Thread(target=self._walk, name="postman", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; news that is on its way may take a few seconds, and is not waited for longer."""
        self._closing.set()
        self._thread.join(1)

    def _walk(self) -> None:
        while not self._closing.wait(_ROUND_SECONDS):
            if not self._world.endpoints:
                continue
            with self._world.moment() as now_v:
                ready = deliveries.due(self._world, now_v)
            for delivery, endpoint in ready:
                outcome = self._carry(delivery, endpoint)
                with self._world.moment() as now_v:
                    if delivery.id in self._world.deliveries:  # else everything was reset meanwhile
                        deliveries.done(self._world, delivery, outcome, now_v)

    def _carry(self, delivery: Delivery, endpoint: WebhookEndpoint) -> str:
        """The status of the answer, or why there was none. The time is real: receivers compare it with theirs."""
        timestamp, body = int(time.time()), delivery.body.encode()
        headers = {
            "content-type": "application/json",
            "user-agent": "azure-openai-emulator",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signing.signature(endpoint.secret, delivery.id, timestamp, body),
        }
        try:
            return str(outgoing.post(endpoint.url, body, headers, self._world.settings.reach))
        except outgoing.NotReachable as failed:
            return str(failed)
