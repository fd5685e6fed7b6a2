"""When each thing happens next: pure functions of a record, its recording and the pace.

It changes nothing and reads no clock; `world.py` applies what is due, in the order of virtual time.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any

from emulator.state import Deployment, File, Job, Recording

IDLE_REMOVAL_SECONDS = 15 * 86_400
"""A fine-tuned deployment without a call for this long is deleted (the model stays).

Source: Microsoft Learn, openai/includes/fine-tune, 2026."""

DEVELOPER_REMOVAL_SECONDS = 24 * 3600
"""A Developer deployment is removed after this long, used or not. Source: Microsoft Learn, fine-tuning/overview,
2026-10-06."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long Azure takes for each stage, in virtual seconds.

    With the defaults a job takes some 24 virtual minutes, which the default clock (60 times as fast) shows in 24
    seconds. `step` None means: all steps together 1200 s, each at least half a second.
    """

    file_processing: float = 5.0
    validate: float = 25.0
    queue: float = 90.0
    start: float = 40.0
    step: float | None = None
    evaluate: float = 60.0
    provision: float = 120.0
    warm_up: float = 300.0
    update: float = 20.0
    delete: float = 15.0
    quota_release: float = 15.0

    def step_of(self, total_steps: int) -> float:
        return max(0.5, 1200.0 / max(1, total_steps)) if self.step is None else self.step

    def document(self) -> dict[str, float | None]:
        return asdict(self)

    def changed(self, seconds: dict[str, Any]) -> "Pace":
        """This pace with some stages changed.

        Raises:
            ValueError: an unknown stage, or seconds outside 0 … 10 million.
        """
        known = {field.name for field in fields(self)}
        for name, value in seconds.items():
            if name not in known:
                raise ValueError(f"unknown stage '{name}'; the stages are {', '.join(sorted(known))}")
            if value is None and name == "step":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e7:
                raise ValueError(f"'{name}' must be seconds between 0 and 10,000,000")
        return Pace(**{**asdict(self), **seconds})


INSTANT = Pace(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
"""Every stage is over as soon as what it waits for is known."""


def file_due(file: File, pace: Pace) -> float | None:
    if file.phase != "pending" or file.url:
        return None
    return file.entered_v + pace.file_processing


def job_due(job: Job, recording: Recording, pace: Pace) -> float | None:
    """When the job leaves its phase, or publishes its next step; None while that depends on something unknown.

    A job waits for the learner: what has not been measured is not due. Whether a queued job finds a free place is
    for the caller to say.
    """
    if job.hold:
        return _hold_due(job, recording, pace)
    match job.phase:
        case "enqueued":
            return job.entered_v + 0.3 * pace.validate
        case "preprocessing":
            return _not_before(job.entered_v + 0.7 * pace.validate, recording.checked_v)
        case "queued":
            return job.entered_v + pace.queue + float(job.fate.get("extra_queue_seconds", 0))
        case "starting":
            return _not_before(job.entered_v + pace.start, recording.prepared_v or recording.finished_v)
        case "training":
            return _training_due(job, recording, pace)
        case "evaluating":
            return job.entered_v + pace.evaluate
        case _:
            return None


def _not_before(planned_v: float, known_v: float | None) -> float | None:
    return None if known_v is None else max(planned_v, known_v)


def _hold_due(job: Job, recording: Recording, pace: Pace) -> float | None:
    return None if job.hold == "paused" else job.entered_v + pace.step_of(recording.total_steps)


def _training_due(job: Job, recording: Recording, pace: Pace) -> float | None:
    if job.published < len(recording.rows):
        stall = job.fate.get("stall_at_step")
        if stall is not None and job.published >= stall:
            return None
        arrival_v = recording.rows[job.published].arrival_v
        return max(job.last_step_v + pace.step_of(recording.total_steps), arrival_v)
    return _not_before(job.last_step_v, recording.finished_v)


def deployment_due(deployment: Deployment, pace: Pace) -> float | None:
    """When a deployment moves next: an update is through, it leaves its phase, or Azure cleans it up."""
    due = [_phase_due(deployment, pace), _removal_v(deployment)]
    if deployment.change:
        due.append(_update_v(deployment, pace))
    first_v = min(due)
    return None if first_v == float("inf") else first_v


def _extra(deployment: Deployment, name: str) -> float:
    return float(deployment.fate.get(name, 0))


def _update_v(deployment: Deployment, pace: Pace) -> float:
    return deployment.changing_v + pace.update + _extra(deployment, "extra_update_seconds")


def is_update_due(deployment: Deployment, now_v: float, pace: Pace) -> bool:
    return _update_v(deployment, pace) <= now_v


def _phase_due(deployment: Deployment, pace: Pace) -> float:
    match deployment.phase:
        case "creating":
            return deployment.entered_v + pace.provision + _extra(deployment, "extra_provision_seconds")
        case "deleting":
            return deployment.entered_v + pace.delete + _extra(deployment, "extra_delete_seconds")
        case "warming" if not deployment.fate.get("never_warms"):
            return deployment.entered_v + pace.warm_up + _extra(deployment, "extra_warm_up_seconds")
        case _:
            return float("inf")


def _removal_v(deployment: Deployment) -> float:
    """When Azure's clean-up takes the deployment away; infinity for base models and for one on its way out."""
    if deployment.hosted_from_v is None or not deployment.is_tuned or deployment.phase == "deleting":
        return float("inf")
    idle_v = (deployment.last_used_v or deployment.hosted_from_v) + IDLE_REMOVAL_SECONDS
    if deployment.sku_name == "DeveloperTier":
        return min(idle_v, deployment.hosted_from_v + DEVELOPER_REMOVAL_SECONDS)
    return idle_v


def is_removal_due(deployment: Deployment, now_v: float) -> bool:
    return _removal_v(deployment) <= now_v
