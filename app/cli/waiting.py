"""Waits for long work and shows it: checks, trainings with their loss, deployments that warm up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from app.cli import words
from app.cli.exits import Exit, Told

if TYPE_CHECKING:
    from app.adoptions.schemas import AdoptionRead
    from app.baselines.schemas import BaselineRead
    from app.client import Client
    from app.datasets.schemas import TransformRead, VersionRead
    from app.deployments.schemas import ComparisonDetail, DeploymentRead
    from app.generation.schemas import GenerationRead
    from app.jobs.schemas import JobRead
    from app.models.schemas import ModelCopyRead
    from app.studies.schemas import StudyRead
    from app.upkeep.schemas import SweepRead

LOOK_SECONDS: Final = 0.4
"""Between two looks at something that is under way; a look is one row by its key."""
SLOW_LOOK_SECONDS: Final = 2.0
"""After a minute nothing is about to end in the next moment."""
PATIENT_AFTER_SECONDS: Final = 60.0

JOB_ENDS: Final = frozenset({"succeeded", "failed", "cancelled"})
DEPLOYMENT_ENDS: Final = frozenset({"ready", "failed", "deleted", "expired", "removed_by_azure"})


class Pauses:
    """Short at first, longer for what takes long."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def wait(self) -> None:
        patient = time.monotonic() - self._began > PATIENT_AFTER_SECONDS
        time.sleep(SLOW_LOOK_SECONDS if patient else LOOK_SECONDS)


def checked(client: Client, version: VersionRead) -> VersionRead:
    """The version once its check has ended, or is parked."""
    pauses = Pauses()
    ref = f"{version.dataset}@{version.number}"
    with words.progress(
        f"checking {version.dataset_name}@{version.number}", total=version.bytes, unit="bytes"
    ) as draw:
        while version.status == "checking" and version.parked_reason is None:
            draw(version.checked_bytes, "")
            pauses.wait()
            version = client.datasets.version(ref)
    return version


def copied(client: Client, copy: ModelCopyRead) -> ModelCopyRead:
    """The copy of a model once it has ended, or is parked."""
    pauses = Pauses()
    while copy.status in {"requested", "copying"} and copy.parked_reason is None:
        pauses.wait()
        copy = next(item for item in client.models.copies(copy.model) if item.id == copy.id)
    return copy


def changed(client: Client, change: TransformRead, *, subject: str, check: bool = True) -> list[VersionRead]:
    """The versions that a change of a version made; with `check` once they are checked.

    Args:
        subject: the version, as whoever waits named it.

    Raises:
        Told: it failed, or was given up.
    """
    pauses = Pauses()
    with words.progress(f"changing {subject}") as draw:
        while change.status == "running" and change.parked_reason is None:
            running = change.operations[min(change.operation, len(change.operations) - 1)]["type"]
            draw(None, f"{running} · {words.megabytes(change.read_bytes)} read")
            pauses.wait()
            change = client.datasets.transform_of(change.dataset, change.id)
    if change.status != "done":
        error = change.error or change.last_error or {}
        reason = error.get("message") or change.parked_reason or f"The change is {change.status}."
        raise Told(str(reason), hint=str(error.get("hint") or ""), code=Exit.BAD_OUTCOME)
    made = [client.datasets.version(f"{one.dataset_name}@{one.version_number}") for one in change.outputs]
    return [checked(client, version) for version in made] if check else made


def adopted(client: Client, adoption: AdoptionRead) -> AdoptionRead:
    """The adoption once it has ended.

    Raises:
        Told: it failed, or is parked.
    """
    pauses = Pauses()
    with words.progress(f"adopting {adoption.remote_id}") as draw:
        while adoption.status == "reading" and adoption.parked_reason is None:
            draw(None, "reading the job and its files")
            pauses.wait()
            adoption = client.adoptions.get(adoption.id)
    if adoption.job is None:
        error = adoption.error or adoption.last_error or {}
        reason = error.get("message") or adoption.parked_reason or "It was not adopted."
        raise Told(str(reason), hint=str(error.get("hint") or ""), code=Exit.BAD_OUTCOME)
    return adoption


def trained(client: Client, job: JobRead) -> JobRead:
    """The job once it has ended, is paused or is parked; meanwhile its curve, its progress and what it has cost."""
    from app.cli.reports import far
    from app.jobs.analysis import chart_terminal, results_from_events
    from app.jobs.schemas import JobPoints

    if job.status in JOB_ENDS or job.parked_reason is not None:
        return job
    points: dict[int, dict[str, float | None]] = {}

    def picture(columns: int) -> str:
        rows = [{"step": step, **points[step]} for step in sorted(points)]
        return chart_terminal(results_from_events(rows), width=columns, height=12) if rows else ""

    with words.course(f"training {job.id}") as draw:
        for told in client.jobs.follow(job.id):
            if isinstance(told, JobPoints):
                points |= {point.step: point.values for point in told.points}
                continue
            draw(told.share, far(told), picture)
            if told.status == "paused" or told.parked_reason is not None:
                break
    return client.jobs.get(job.id)


def studied(client: Client, study: StudyRead) -> StudyRead:
    """The study once it has ended or is parked; meanwhile how many trials are done and what was spent."""
    pauses = Pauses()
    with words.progress(f"studying {len(study.trials)} variations", total=len(study.trials)) as draw:
        while study.status == "running" and study.parked_reason is None:
            done = sum(trial.status not in {"waiting", "training"} for trial in study.trials)
            draw(done, f"${study.spent_usd:.2f} of ${study.budget_usd:.2f}")
            pauses.wait()
            study = client.studies.get(study.id)
    return study


def deployed(client: Client, deployment: DeploymentRead) -> DeploymentRead:
    """The deployment once it answers, or never will."""
    pauses = Pauses()
    with words.progress(f"deploying {deployment.name}") as draw:
        while deployment.status not in DEPLOYMENT_ENDS and deployment.parked_reason is None:
            draw(None, deployment.status)
            pauses.wait()
            deployment = client.deployments.get(deployment.id)
    return deployment


def deleted(client: Client, deployment: DeploymentRead) -> DeploymentRead:
    """The deployment once Azure no longer has it."""
    pauses = Pauses()
    with words.progress(f"deleting {deployment.name}") as draw:
        while deployment.status not in DEPLOYMENT_ENDS - {"ready"} and deployment.parked_reason is None:
            draw(None, deployment.status)
            pauses.wait()
            deployment = client.deployments.get(deployment.id)
    return deployment


def generated(client: Client, made: GenerationRead) -> GenerationRead:
    """The generation once it has ended, or is parked; meanwhile how far it is and what it has cost."""
    pauses = Pauses()
    with words.progress("asking", total=made.requests) as draw:
        while made.status == "running" and made.parked_reason is None:
            out = sum(made.rows_filtered.values())
            told = f"{made.requests_answered} of {made.requests} requests, {made.rows_kept} kept, {out} left out"
            draw(made.requests_answered, f"{told}, ${made.spent_usd + made.lost_usd:.4f}")
            pauses.wait()
            made = client.generations.get(made.id)
    return made


def judged(client: Client, made: BaselineRead) -> BaselineRead:
    """The baseline once it has ended, or is parked; meanwhile how far it is and what it has cost."""
    pauses = Pauses()
    with words.progress("asking and grading", total=made.requests * 2) as draw:
        while made.status == "running" and made.parked_reason is None:
            told = f"{made.requests_answered} of {made.requests} answers, {made.graded} graded"
            draw(made.requests_answered + made.graded, f"{told}, ${made.spent_usd + made.lost_usd:.4f}")
            pauses.wait()
            made = client.baselines.get(made.id)
    return made


def swept(client: Client, asked: SweepRead) -> SweepRead:
    """The sweep once one has ended that began after it was asked for, or is parked."""
    pauses = Pauses()
    found = asked
    with words.progress(f"sweeping {asked.connection}") as draw:
        while found.parked_reason is None and not _is_later(found, asked):
            draw(None, "")
            pauses.wait()
            found = client.connections.sweep(asked.connection)
    return found


def _is_later(found: SweepRead, asked: SweepRead) -> bool:
    return found.swept_at is not None and asked.asked_at is not None and found.swept_at > asked.asked_at


def compared(client: Client, comparison: ComparisonDetail) -> ComparisonDetail:
    """The comparison once every candidate has answered, or was given up."""
    pauses = Pauses()
    total = comparison.prompts * max(1, len(comparison.candidates))
    with words.progress("asking", total=total) as draw:
        while comparison.status == "running" and comparison.parked_reason is None:
            draw(comparison.answers_recorded, f"{comparison.answers_recorded} of {total} answers")
            pauses.wait()
            comparison = client.comparisons.get(comparison.id)
    return comparison
