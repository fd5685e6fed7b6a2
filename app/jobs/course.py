"""The course of a training: what its rows say of it, and what the watch-dog does about it in the same transaction.

It asks nobody outside the database; wishes to pause or cancel are written as a person's would be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.azure.catalogue.catalogue import Catalogue
from app.costs.estimates import auto_batch
from app.jobs import analysis, repository, watchdog
from app.jobs.progress import Progress, Rate, Size, Tick, progress, ticks_of
from app.jobs.states import IN_FLIGHT, JobStatus
from app.jobs.tables import Job
from app.jobs.watchdog import Alarm, Course
from app.kit.clock import utc_now
from app.kit.failpoints import failpoint
from app.workbench import UnitOfWork

TICKS: Final = 200
"""So many of the newest steps that Azure told of make the pace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a training now."""

    results: analysis.Results
    progress: Progress


def known(session: Session, job: Job, catalogue: Catalogue) -> Known:
    """Read what was measured and reckon how far it is."""
    results = analysis.results_from_events(
        {"step": step, **values} for step, values in repository.points(session, job.id)
    )
    return Known(
        results=results,
        progress=reckoned(session, job, catalogue, step=results.points[-1].step if results.points else 0),
    )


def reckoned(session: Session, job: Job, catalogue: Catalogue, *, step: int) -> Progress:
    """How far the training is, whose newest measured step this is."""
    return progress(
        _ticks(session, job.id, limit=TICKS),
        size_of(job),
        rate_of(job, catalogue),
        step=step,
        now=utc_now(),
        running=job.status == JobStatus.RUNNING,
    )


def _ticks(session: Session, job_id: str, *, limit: int) -> list[Tick]:
    return ticks_of(repository.told_steps(session, job_id, limit=limit))


def size_of(job: Job) -> Size:
    """What the training consists of: as Azure says, else as was chosen, else as was planned."""
    examples = job.plan.get("examples")
    estimate = job.plan.get("estimate") or {}
    batch = _used(job, "batch_size") or (auto_batch(examples) if examples else None)
    return Size(
        examples=examples,
        epochs=_used(job, "n_epochs") or estimate.get("epochs_expected"),
        batch_size=batch,
        epoch_tokens=job.plan.get("tokens"),
    )


def _used(job: Job, name: str) -> int | None:
    """A hyperparameter that is in use. Azure says -1 or "auto" for what it has not told yet."""
    remote = job.remote or {}
    method = (remote.get("method") or {}).get(job.method) or {}
    for source in (remote.get("hyperparameters"), method.get("hyperparameters"), job.hyperparameters):
        value = source.get(name) if isinstance(source, Mapping) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 1:
            return int(value)
    return None


def rate_of(job: Job, catalogue: Catalogue) -> Rate:
    """What the training costs: by the price it was planned with, or reinforcement by the hour."""
    if job.method == "reinforcement":
        day: date = job.created_at.date()
        hourly = catalogue.price(job.base_model, "training_hours", job.training_type, at=day)
        return Rate(usd_per_hour=hourly.usd if hourly else None)
    price = (job.plan.get("estimate") or {}).get("price_usd_per_million_tokens")
    return Rate(usd_per_million_tokens=Decimal(price) if price is not None else None)


# ── the watch-dog ───────────────────────────────────────────────────────────


def mind(work: UnitOfWork, job_id: str, catalogue: Catalogue) -> None:
    """Try the job's rules on what is known of it by now, this transaction's news included.

    What fires is announced, remembered and wished for in this transaction, or nothing of it: once on each evidence,
    also when the process dies. The job's row is held until the end.
    """
    job = repository.hold(work.session, job_id)
    if job.status not in IN_FLIGHT:
        return
    now_known = known(work.session, job, catalogue)
    last_at = now_known.progress.last_step_at
    course = Course.of(
        now_known.results,
        spent_usd=now_known.progress.spent_usd,
        silent_seconds=_silent_seconds(job, [last_at] if last_at else []),
    )
    policy = watchdog.policy_of(job.watch, method=job.method, accepted_usd=job.accepted_usd)
    found = watchdog.alarms(policy, course, job.watch_fired)
    if found:
        _act(work, job, found, now_known.progress)


def is_silent(session: Session, job_id: str) -> bool:
    """Whether a rule about silence may hold: without news, no other rule can begin to hold."""
    job = repository.get_unscoped(session, job_id)
    policy = watchdog.policy_of(job.watch, method=job.method, accepted_usd=job.accepted_usd)
    patience = [rule.minutes * 60 for rule in policy.rules if isinstance(rule, watchdog.Stalled)]
    silent = _silent_seconds(job, (tick.at for tick in _ticks(session, job_id, limit=1)))
    return silent is not None and any(silent >= seconds for seconds in patience)


def _silent_seconds(job: Job, steps_at: Iterable[datetime]) -> float | None:
    """Since the last sign of life of a running training; None while it is not running."""
    if job.status != JobStatus.RUNNING:
        return None
    signs = [job.status_changed_at, *steps_at]
    return (utc_now() - max(signs)).total_seconds()


def _act(work: UnitOfWork, job: Job, found: list[Alarm], progress: Progress) -> None:
    values: dict[str, Any] = {"watch_fired": job.watch_fired | {alarm.name: alarm.to_json() for alarm in found}}
    for alarm in found:
        done = alarm.action
        if alarm.action == "cancel" and job.cancel_requested_at is None:
            values["cancel_requested_at"] = func.clock_timestamp()
        elif alarm.action == "pause" and _may_be_paused(job) and "cancel_requested_at" not in values:
            values |= {"pause_wanted": True, "pause_reason": {"by": "watchdog", **alarm.to_json()}}
        else:
            done = "notify"
        spent = {"spent_usd": str(progress.spent_usd)} if progress.spent_usd is not None else {}
        work.announce(
            "job.watchdog",
            project_id=job.project_id,
            subject_id=job.id,
            **alarm.to_json() | {"action": done, "wanted": alarm.action} | spent,
        )
    if len(values) > 1:
        values["next_check_at"] = func.clock_timestamp()
        work.nudge("jobs.advance", job.id)
    repository.note(work.session, job.id, values)
    failpoint("jobs.watchdog.fired")


def _may_be_paused(job: Job) -> bool:
    return job.status == JobStatus.RUNNING and job.cancel_requested_at is None and job.pause_wanted is None


# ── a pause is a decision ───────────────────────────────────────────────────


def paused_because(session: Session, job: Job, catalogue: Catalogue) -> dict[str, Any]:
    """Who paused a training and why, what it has cost, and what can be decided. As it is shown and kept."""
    at = known(session, job, catalogue).progress
    reason = job.pause_reason or _of_azure(job, catalogue)
    asks = asks_for_acceptance(reason)
    resume = {
        "action": "resume",
        "may_cost_further_usd": str(at.further_usd) if at.further_usd is not None else None,
        "asks_for": "accept_further_cost_usd" if asks else None,
        "detail": "It goes on where it stopped"
        + (", until it has cost as much again as you accept; then the watch-dog pauses it." if asks else "."),
    }
    cancel = {
        "action": "cancel",
        "detail": "It ends here; what was trained is billed, and the checkpoints so far stay deployable.",
    }
    return {
        **reason,
        "step": at.step,
        "total_steps": at.total_steps,
        "spent_usd": str(at.spent_usd) if at.spent_usd is not None else None,
        "spent_basis": at.spent_basis,
        "choices": [resume, cancel],
    }


def asks_for_acceptance(reason: Mapping[str, Any]) -> bool:
    """Whether going on past this pause needs somebody's word for the money."""
    return reason.get("rule") in {"azure_limit", "spend"}


def _of_azure(job: Job, catalogue: Catalogue) -> dict[str, Any]:
    """Nobody of ours asked for the pause. Azure holds a reinforcement job once, at its limit; after that, and any
    other job, only somebody in the portal does.

    Source: Microsoft Learn, fine-tuning cost management, 2026-03-19.
    """
    if job.method != "reinforcement" or job.accepted_usd is not None:
        return {"by": "azure", "rule": None, "message": "It was paused at Azure and not by us: in the portal."}
    limit = catalogue.limits.reinforcement_pause_usd
    return {
        "by": "azure",
        "rule": "azure_limit",
        "message": f"Azure pauses a reinforcement job by itself when training and grading have cost ${limit:,}. "
        "Once it goes on, Azure holds it no more.",
        "numbers": {"limit_usd": limit},
    }
