"""News of jobs that have ended, on their way to the endpoints that want it; what is due, and how attempts end.

It knows neither the routes of endpoints nor who carries the news.
"""

import json
from typing import Final

from emulator.ledger import Ledger
from emulator.state import TERMINAL, Delivery, Job, WebhookEndpoint
from emulator.wire import new_id

EVENT_TYPES: Final = tuple(f"fine_tuning.job.{end}" for end in TERMINAL)
"""What the emulator tells. Azure also tells of batches and responses, which the emulator has none of.

Source: Microsoft Learn, how to use webhooks, 2026-05-13."""

DELAYS_SECONDS: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000)
"""Virtual seconds before each attempt. Source: Standard Webhooks 1.0.0, "Deliverability and reliability"; how often
Azure tries is not published."""


def announce(ledger: Ledger, job: Job, at_v: float) -> None:
    """Put the end of a job on its way to every endpoint of its resource that wants to hear of it.

    Source of the body: openai 3.52, FineTuningJobSucceededWebhookEvent and its siblings (`data` holds the id only).
    """
    kind = f"fine_tuning.job.{job.phase}"
    for endpoint in ledger.endpoints.values():
        if kind not in endpoint.event_types or (endpoint.account != job.account and not endpoint.everywhere):
            continue
        event_id = new_id("evt_")
        body = {
            "object": "event",
            "id": event_id,
            "type": kind,
            "created_at": ledger.stamp(at_v),
            "data": {"id": job.id},
        }
        delivery = Delivery(job.account, event_id, endpoint.id, kind, job.id, json.dumps(body), due_v=at_v)
        ledger.deliveries[delivery.id] = delivery
        ledger.touch("delivery", delivery)


def due(ledger: Ledger, now_v: float) -> list[tuple[Delivery, WebhookEndpoint]]:
    """What is to be carried now; deliveries whose endpoint is gone are dropped."""
    found = []
    for delivery in list(ledger.deliveries.values()):
        endpoint = ledger.endpoints.get(delivery.endpoint)
        if endpoint is None and delivery.due_v is not None:
            delivery.due_v = None
            ledger.touch("delivery", delivery)
        elif endpoint is not None and delivery.due_v is not None and delivery.due_v <= now_v:
            found.append((delivery, endpoint))
    return found


def done(ledger: Ledger, delivery: Delivery, outcome: str, now_v: float) -> None:
    """Note how an attempt ended: a status of 2xx ends it, anything else is tried again later, up to eight times."""
    delivery.attempts.append(outcome)
    tried = len(delivery.attempts)
    delivered = outcome.isdigit() and outcome.startswith("2")
    more = not delivered and tried < len(DELAYS_SECONDS)
    delivery.due_v = now_v + DELAYS_SECONDS[tried] if more else None
    ledger.touch("delivery", delivery)
