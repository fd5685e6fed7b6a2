"""Which training type a job takes, of those that were asked for, and which it may fall back on. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.azure.catalogue.catalogue import BaseModel
from app.azure.catalogue.placement import Obstacle
from app.costs.schemas import CostEstimate
from app.jobs.schemas import PlanCheck, TrainingType, TrainingTypeChoice

REFUSED_FOR_ITS_TYPE: Final = frozenset(
    {
        "azure_model_not_trainable",
        "azure_insufficient_quota",
        "azure_quota_exceeded",
        "azure_training_type_refused",
    }
)
"""Definite noes to a create that another training type may not get: capacity, quota, region, offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One training type, as far as is known before anything is sent."""

    training_type: TrainingType
    obstacles: Sequence[Obstacle]
    estimate: CostEstimate | None


def weigh(offers: Sequence[Offer], base: BaseModel | None) -> list[TrainingTypeChoice]:
    """What becomes of each, in the order in which they are wanted; the first that can be had is taken."""
    told: list[TrainingTypeChoice] = []
    for offer in offers:
        reason = _obstacle(offer, base)
        taken = any(choice.verdict == "taken" for choice in told)
        told.append(
            TrainingTypeChoice(
                training_type=offer.training_type,
                verdict="impossible" if reason else "fallback" if taken else "taken",
                reason=reason
                or ("Tried should Azure refuse those before it." if taken else "The first to be had."),
                estimate=offer.estimate,
            )
        )
    return told


def _obstacle(offer: Offer, base: BaseModel | None) -> str | None:
    """Why it cannot be had; None when nothing is known against it."""
    if base is not None and not base.training_types.get(offer.training_type, False):
        return f"{base.id} is not trained as {offer.training_type}."
    return next((item.detail for item in offer.obstacles if item.verdict == "error"), None)


def taken(choices: Sequence[TrainingTypeChoice]) -> str:
    """The one that is taken; the first that was wanted when none can be had."""
    return next((choice.training_type for choice in choices if choice.verdict == "taken"), choices[0].training_type)


def fallbacks(choices: Sequence[TrainingTypeChoice]) -> list[str]:
    return [choice.training_type for choice in choices if choice.verdict == "fallback"]


def reserve_usd(choices: Sequence[TrainingTypeChoice]) -> Decimal:
    """The most that any of those which may be taken may cost; 0 where no price is known."""
    possible = [choice.estimate for choice in choices if choice.verdict != "impossible"]
    return max(
        (one.high_usd for one in possible if one is not None and one.high_usd is not None), default=Decimal(0)
    )


def checks_of(choices: Sequence[TrainingTypeChoice]) -> list[PlanCheck]:
    """What a plan says where more than one was asked for."""
    if len(choices) < 2:
        return []
    verdict = {"taken": "ok", "fallback": "note", "impossible": "note"}
    return [
        PlanCheck.model_validate(
            {
                "code": f"training-type-{choice.verdict}",
                "verdict": verdict[choice.verdict],
                "pointer": f"/training_types/{index}",
                "detail": f"{choice.training_type}: {choice.reason}",
            }
        )
        for index, choice in enumerate(choices)
    ]


def next_attempt(plan: dict[str, Any], current: str, left: Sequence[str], refused: Sequence[str]) -> dict[str, Any]:
    """What changes in a job's row when its attempt is over: the next training type, should this one be refused.

    Args:
        plan: the row's; its estimate becomes the next type's, because it is by this that the job is settled.
        left: types still to be tried.
        refused: types that Azure refused.
    """
    if current not in refused or not left:
        return {}
    wanted = left[0]
    estimate = next(
        (
            choice.get("estimate")
            for choice in plan.get("training_types", [])
            if choice.get("training_type") == wanted
        ),
        plan.get("estimate"),
    )
    return {
        "training_type": wanted,
        "training_types": list(left[1:]),
        "plan": plan | {"training_type": wanted, "estimate": estimate},
    }
