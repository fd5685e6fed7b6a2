"""What an account may still take: quota of deployments, calls of the control plane, requests of a deployment.

Quota counts by the virtual clock, and so do the windows of the rate limits.
"""

import math
from dataclasses import dataclass

from emulator.catalogue import BaseModel
from emulator.ledger import Ledger
from emulator.state import Deployment
from emulator.wire import Refusal

# Quota: thousands of tokens per minute for each SKU and base model of a region


def quota_name(base: BaseModel, sku: str) -> str:
    return f"OpenAI.{sku}.{base.short}"


def quota_limit(ledger: Ledger, name: str) -> int:
    return ledger.quota.get(name, ledger.limits.capacity)


def quota_used(ledger: Ledger, account: str, name: str, now_v: float) -> int:
    """What deployments hold; of updates under way the larger side, and of removed ones all until it is released.

    Source: Microsoft's fine-tuning notes, 2026-08: after a delete wait 15 to 20 seconds before creating anew.
    """
    used = 0
    for deployment in ledger.deployments.values():
        if deployment.account != account:
            continue
        change = deployment.change
        if change and change.quota == name:
            used += max(change.capacity, deployment.capacity if deployment.quota == name else 0)
        elif deployment.quota == name:
            used += deployment.capacity
    release = ledger.stage_pace().quota_release
    for gone in ledger.removed.values():
        if gone.account == account and gone.quota == name and now_v < gone.removed_v + release:
            used += gone.capacity
    return used


@dataclass(frozen=True, slots=True)
class Claim:
    """Capacity somebody asks for."""

    base: BaseModel
    sku_name: str
    capacity: int

    @property
    def quota(self) -> str:
        return quota_name(self.base, self.sku_name)


def check_quota(ledger: Ledger, account: str, claim: Claim, old: Deployment | None, now_v: float) -> None:
    """Refuse what the quota cannot bear; `old` is what the claim takes the place of.

    Source: ARM error quoted in a public issue, 2024 (words and grammar).
    """
    used = quota_used(ledger, account, claim.quota, now_v)
    freed = old.capacity if old and old.quota == claim.quota else 0
    limit = quota_limit(ledger, claim.quota)
    needed = claim.capacity - freed
    if used + needed > limit:
        name = f"Tokens Per Minute (thousands) - {claim.base.short} - {claim.sku_name}"
        message = (
            f"This operation require {needed} new capacity in quota {name}, which is bigger than the current"
            f" available capacity {max(0, limit - used)}. The current quota usage is {used} and the quota limit is"
            f" {limit} for quota {name}."
        )
        raise Refusal(400, "InsufficientQuota", message)


# Rates: how many calls fit into a window of time


def _retry_after(ledger: Ledger, wait_v: float) -> dict[str, str]:
    seconds = wait_v / ledger.clock.speed if ledger.clock.mode == "real" else wait_v
    return {
        "Retry-After": str(max(1, math.ceil(seconds))),
        "retry-after-ms": str(max(1, math.ceil(seconds * 1000))),
    }


ARM_REMAINING = {"reads": 16499, "writes": 11999, "deletes": 11999}
"""What is left of a subscription's calls after one. Source: azure-cli recorded against ARM, 2025-10-28."""

_ARM_KINDS = {"GET": "reads", "DELETE": "deletes"}


def admit_arm(ledger: Ledger, subscription: str, method: str) -> dict[str, str]:
    """Count a call of the control plane; limits of 0 count nothing.

    Returns: ARM's header with what is left.

    Raises:
        Refusal: 429 when the calls of this minute are used up.

    Source: Microsoft Learn, Azure Resource Manager, request limits and throttling, 2024; its limits refill by the
    second, ours by the (virtual) minute.
    """
    kind = _ARM_KINDS.get(method, "writes")
    header = f"x-ms-ratelimit-remaining-subscription-global-{kind}"
    limit = ledger.limits.arm_reads if kind == "reads" else ledger.limits.arm_writes
    if not limit:
        return {header: str(ARM_REMAINING[kind])}
    wait_v, left = ledger.windows.take(f"arm/{subscription}/{kind == 'reads'}", ledger.clock.now(), 60.0, limit)
    if wait_v:
        message = (
            f"The number of {kind} for subscription '{subscription}' has exceeded its limit of {limit} a minute."
            " Please try again later."
        )
        headers = {header: "0", "Retry-After": _retry_after(ledger, wait_v)["Retry-After"]}
        raise Refusal(429, "TooManyRequests", message, headers=headers)
    return {header: str(int(left))}


REQUEST_SECONDS, TOKEN_SECONDS = 10, 60
"""Renewal periods of a deployment's rate limits. Source: azure-cli recorded against ARM, 2025-10-28."""


def admit_chat(ledger: Ledger, deployment: Deployment, now_v: float, version: str) -> None:
    """Count a request of a deployment, when its rate limits are enforced.

    Raises:
        Refusal: 429 with Azure's words and the wait.

    Source: body and headers of a 429, public issues, 2025; Microsoft Learn, openai/includes/quota-2, 2026-05-06.
    """
    percent = ledger.limits.chat_rate_percent
    if not percent:
        return
    requests, tokens = deployment.capacity * percent / 100, deployment.capacity * 10 * percent
    wait_v, _ = ledger.windows.take(f"requests/{deployment.id}", now_v, REQUEST_SECONDS, requests)
    spent_v, _ = ledger.windows.take(f"tokens/{deployment.id}", now_v, TOKEN_SECONDS, tokens, 0)
    if wait := max(wait_v, spent_v):
        headers, what = _retry_after(ledger, wait), "call" if wait_v else "token"
        message = (
            f"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version {version} have"
            f" exceeded {what} rate limit of your current OpenAI S0 pricing tier. Please retry after"
            f" {headers['Retry-After']} seconds."
        )
        raise Refusal(429, "429", message, headers=headers)


def spend_chat(ledger: Ledger, deployment: Deployment, now_v: float, tokens: int) -> None:
    """Count the tokens of an answer; the next request feels them."""
    ledger.windows.take(f"tokens/{deployment.id}", now_v, TOKEN_SECONDS, float("inf"), tokens)
