"""The checkpoints of a training as a person chooses among them: which is best, which can be deployed, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs import repository
from app.jobs.schemas import CheckpointList, CheckpointRead
from app.jobs.service import JobService, as_results, judge
from app.jobs.states import JobStatus
from app.jobs.tables import Checkpoint, Job
from app.kit.errors import NotFound
from app.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Deployability:
    """Whether a checkpoint can be deployed now; None = Azure publishes no rule, so it may be tried."""

    now: bool | None
    why: str


def deployability(checkpoint: Checkpoint, *, status: JobStatus, newer: int, kept: int) -> Deployability:
    """Whether Azure would deploy it now.

    Args:
        status: of its job.
        newer: how many listed checkpoints of the job have a higher step.
        kept: how many Azure keeps deployable, the final model included.

    Source: Microsoft Learn, fine-tuning REST page, 2026-10-05 (the last three; while a training is paused, after
    the safety evaluation).
    """
    if checkpoint.gone_at is not None:
        return Deployability(False, f"Azure no longer lists it since {checkpoint.gone_at:%Y-%m-%d %H:%M} UTC.")
    if newer >= kept:
        return Deployability(False, f"Azure keeps only the last {kept} deployable.")
    match status:
        case JobStatus.SUCCEEDED:
            return Deployability(True, "The training has ended well and it is one of the last.")
        case JobStatus.PAUSED:
            return Deployability(True, "The training is paused and Azure lists it.")
        case JobStatus.FAILED | JobStatus.CANCELLED:
            return Deployability(
                None, f"The training was {status}; Azure lists it and does not say whether it deploys it."
            )
        case _:
            return Deployability(False, "The training goes on: pause it (POST …/pause), or wait for its end.")


class CheckpointService:
    """The checkpoints of a project's jobs. It never calls Azure: workers keep what Azure lists."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._kept = bench.catalogue.limits.checkpoints_kept

    def board(self, project_id: str, job_id: str) -> CheckpointList:
        """All there ever were, oldest first, with the best one by the analysis' rule."""
        job = JobService(self._bench).job(project_id, job_id)
        with self._bench.read() as session:
            rows = repository.checkpoints(session, job.id, gone=True)
            judged = None
            if rows and (job.analysis is None or any(row.gone_at for row in rows)):
                judged = judge(job, as_results(repository.points(session, job.id)), rows).to_json()
        said = judged or job.analysis or {}
        best = said.get("best_step") if any(row.step == said.get("best_step") for row in rows) else None
        return CheckpointList(
            data=[self._read(row, job, rows, best=row.step == best) for row in rows],
            best_reason=str(said.get("best_reason") or "There is no checkpoint yet."),
        )

    def find(self, project_id: str, checkpoint_id: str) -> tuple[Checkpoint, Job, Deployability]:
        """One by its id, with its job and whether it can be deployed now. Raises `NotFound`."""
        with self._bench.read() as session:
            found = repository.checkpoint(session, project_id, checkpoint_id)
            if found is None:
                raise NotFound(
                    f"There is no checkpoint {checkpoint_id!r} in this project.",
                    code="checkpoint_not_found",
                    hint="GET /v1/jobs/{job}/checkpoints lists those of a job.",
                )
            row, job = found
            rows = repository.checkpoints(session, job.id)
        return row, job, self._deployability(row, job, rows)

    def _deployability(self, row: Checkpoint, job: Job, rows: Sequence[Checkpoint]) -> Deployability:
        return deployability(row, status=JobStatus(job.status), newer=newer_than(row, rows), kept=self._kept)

    def _read(self, row: Checkpoint, job: Job, rows: Sequence[Checkpoint], *, best: bool) -> CheckpointRead:
        judged = self._deployability(row, job, rows)
        return CheckpointRead(
            id=row.id,
            step=row.step,
            model_name=row.model_name,
            metrics=row.metrics,
            created_at=row.created_at,
            gone_at=row.gone_at,
            best=best,
            deployable=judged.now,
            deployable_reason=judged.why,
        )


def newer_than(checkpoint: Checkpoint, listed: Sequence[Checkpoint]) -> int:
    """How many of those that Azure lists have a higher step."""
    return sum(other.step > checkpoint.step for other in listed if other.gone_at is None)
