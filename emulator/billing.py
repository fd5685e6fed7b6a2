"""What everything has cost so far, line by line, as a bill would show it; it changes nothing."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from emulator.ledger import Ledger
from emulator.state import Deployment, Job

_MILLION, _HOUR, _CENT_PARTS = Decimal(1_000_000), Decimal(3600), Decimal("0.000001")


def _usd(quantity: Decimal, price: str | None) -> str | None:
    """An amount in USD with six decimals; None where no price is known."""
    return None if price is None else str((quantity * Decimal(price)).quantize(_CENT_PARTS))


def job_line(ledger: Ledger, job: Job) -> dict[str, Any]:
    """What a job has cost: trained tokens once it succeeded or was cancelled; failed and unfinished ones nothing.

    Reinforcement jobs cost hours and grader tokens instead, by the same rule.

    Source: Microsoft Learn, fine-tuning cost management, 2026-03-19.
    """
    tokens = ledger.billed_tokens(job) if job.phase in {"succeeded", "cancelled"} else 0
    base = ledger.prices["training"].get(job.base)
    factor = ledger.prices["training_factor"].get(job.training_type or "standard", "1")
    price = None if base is None else str(Decimal(base) * Decimal(factor))
    usd = _usd(tokens / _MILLION, price)
    if job.is_native:
        over = job.phase in {"succeeded", "cancelled"}
        usd = str(Decimal(str(job.spent_usd if over else 0.0)).quantize(_CENT_PARTS))
    return {
        "id": job.id,
        "account": job.account,
        "model": job.base,
        "training_type": job.training_type,
        "phase": job.phase,
        "suffix": job.suffix,
        "seed": job.seed,
        "training_file": job.training_file,
        "metadata": job.metadata,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "deleted": False,
        "trained_tokens": tokens,
        "usd_per_million_tokens": price,
        "usd": usd,
    }


def remember(ledger: Ledger, job: Job) -> None:
    """Keep the line of a job that is about to be deleted."""
    line = ledger.charges[job.id] = {**job_line(ledger, job), "deleted": True}
    ledger.store.put("charge", job.id, line)


def deployment_line(ledger: Ledger, deployment: Deployment, now_v: float) -> dict[str, Any]:
    """What a deployment has cost: its hosting, which base models have none of, and what was asked and answered."""
    prices = ledger.prices
    hosted = deployment.hosted_seconds(now_v) if deployment.is_tuned else {}
    hosting = sum(
        (
            Decimal(str(seconds)) / _HOUR * Decimal(prices["hosting"].get(sku, "0"))
            for sku, seconds in hosted.items()
        ),
        Decimal(0),
    )
    charged = sum(seconds for sku, seconds in hosted.items() if Decimal(prices["hosting"].get(sku, "0")))
    given = _usd(deployment.prompt_tokens / _MILLION, prices["input"].get(deployment.base))
    taken = _usd(deployment.completion_tokens / _MILLION, prices["output"].get(deployment.base))
    answers = Decimal(given or 0) + Decimal(taken or 0)
    return {
        "id": f"{deployment.arm_account}/deployments/{deployment.name}",
        "account": deployment.account,
        "name": deployment.name,
        "model": deployment.model["name"],
        "base": deployment.base,
        "sku": deployment.sku_name,
        "capacity": deployment.capacity,
        "tags": deployment.tags,
        "phase": deployment.phase,
        "created_at": deployment.created_at,
        "removed_because": deployment.removed_because or None,
        "hosting_hours": round(charged / 3600, 6),
        "hosting_usd": str(hosting.quantize(_CENT_PARTS)),
        "prompt_tokens": deployment.prompt_tokens,
        "completion_tokens": deployment.completion_tokens,
        "inference_usd": str(answers.quantize(_CENT_PARTS)),
        "usd": str((hosting + answers).quantize(_CENT_PARTS)),
    }


def bill(ledger: Ledger, now_v: float) -> dict[str, Any]:
    """Everything ever charged, what was deleted or removed included."""
    jobs = [*ledger.charges.values(), *(job_line(ledger, job) for job in ledger.jobs.values())]
    hosted = [*ledger.removed.values(), *ledger.deployments.values()]
    deployments = [deployment_line(ledger, deployment, now_v) for deployment in hosted]
    total = {
        "trained_tokens": sum(line["trained_tokens"] for line in jobs),
        "hosting_hours": round(sum(line["hosting_hours"] for line in deployments), 6),
        "training_usd": str(sum(_amounts(jobs, "usd"), Decimal(0))),
        "hosting_usd": str(sum(_amounts(deployments, "hosting_usd"), Decimal(0))),
        "inference_usd": str(sum(_amounts(deployments, "inference_usd"), Decimal(0))),
    }
    total["usd"] = str(
        Decimal(total["training_usd"]) + Decimal(total["hosting_usd"]) + Decimal(total["inference_usd"])
    )
    return {"jobs": jobs, "deployments": deployments, "total": total}


def _amounts(lines: list[dict[str, Any]], name: str) -> Iterator[Decimal]:
    return (Decimal(line[name]) for line in lines if line[name] is not None)
