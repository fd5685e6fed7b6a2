"""What trainings mean, told: a page of one job, several jobs side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from app.datasets.service import DatasetService
from app.jobs import analysis
from app.jobs.schemas import ComparedJob, ComparedRow, JobComparison
from app.jobs.service import JobService, as_points, judge
from app.jobs.tables import Checkpoint, Job
from app.kit.errors import FieldError, Invalid, NotFound
from app.workbench import Workbench

FEWEST_COMPARED: Final = 2


@dataclass(frozen=True, slots=True)
class Training:
    """A job with its curve and its judgement."""

    job: Job
    results: analysis.Results
    checkpoints: Sequence[Checkpoint]
    judged: analysis.Analysis
    facts: analysis.Facts


class Understanding:
    """Reads jobs through their service; makes and changes nothing, and calls nobody."""

    def __init__(self, bench: Workbench) -> None:
        self._jobs = JobService(bench)
        self._datasets = DatasetService(bench)

    def report_html(self, project_id: str, job_id: str) -> str:
        """A page of the job that stands alone."""
        training = self._training(project_id, job_id)
        job = training.job
        told = analysis.Told(
            title=f"{job.base_model} · {job.suffix or job.id}",
            subtitle=f"{job.id}, {job.status} since {job.status_changed_at:%Y-%m-%d %H:%M} UTC",
            facts=training.facts.groups,
        )
        return analysis.page_html(told, training.judged, training.results, as_points(training.checkpoints))

    def compare(self, project_id: str, job_ids: Sequence[str], *, points: int) -> JobComparison:
        """In what jobs differ, with their curves over the same steps.

        Raises:
            Invalid: fewer than two different jobs, or more than can be told apart.
            NotFound: one of them is not there.
        """
        trainings = self._trainings(project_id, job_ids)
        compared = analysis.compare([training.facts for training in trainings])
        thinned = [analysis.thin(training.results, points) for training in trainings]
        steps = sorted({point.step for results in thinned for point in results.points})
        measured = [{point.step: point.values for point in results.points} for results in thinned]
        names = dict.fromkeys(name for results in thinned for name in results.columns)
        return JobComparison(
            jobs=[
                ComparedJob(
                    id=training.job.id,
                    name=training.facts.name,
                    verdict=training.judged.verdict.value,
                    headline=training.judged.headline,
                )
                for training in trainings
            ],
            table=[
                ComparedRow(group=row.group, name=row.name, values=list(row.values), differs=row.differs)
                for row in compared.rows
            ],
            best=None if compared.best is None else trainings[compared.best].job.id,
            why=compared.why,
            cautions=list(compared.cautions),
            steps=steps,
            series={
                name: [[_finite(values.get(step, {}).get(name)) for step in steps] for values in measured]
                for name in names
            },
        )

    def overlay_svg(self, project_id: str, job_ids: Sequence[str]) -> str:
        """The curves of jobs over one another. Raises as `compare` does."""
        trainings = self._trainings(project_id, job_ids)
        runs = [analysis.Run(training.facts.name, training.results) for training in trainings]
        return analysis.overlay_svg(runs, title=f"{len(runs)} trainings")

    def _trainings(self, project_id: str, job_ids: Sequence[str]) -> list[Training]:
        wanted = list(dict.fromkeys(job_ids))
        if not FEWEST_COMPARED <= len(wanted) <= analysis.MOST_RUNS:
            detail = (
                f"{len(wanted)} different job(s) were named; "
                f"{FEWEST_COMPARED} to {analysis.MOST_RUNS} can be compared."
            )
            raise Invalid(detail, errors=[FieldError(pointer="/job", detail=detail, code="job_count")])
        return [self._training(project_id, job_id) for job_id in wanted]

    def _training(self, project_id: str, job_id: str) -> Training:
        job = self._jobs.job(project_id, job_id)
        results = self._jobs.results(project_id, job_id)
        checkpoints = self._jobs.checkpoints(project_id, job_id)
        judged = judge(job, results, checkpoints)
        return Training(job, results, checkpoints, judged, self._facts(project_id, job, judged))

    def _facts(self, project_id: str, job: Job, judged: analysis.Analysis) -> analysis.Facts:
        counted = job.plan.get("data") or {}
        remote = (job.remote or {}).get("hyperparameters") or {}
        used = {
            name: value
            for name, value in (job.hyperparameters | remote).items()
            if isinstance(value, str | int | float)
        }
        took = (job.finished_at - job.started_at).total_seconds() if job.finished_at and job.started_at else None
        name = f"{job.suffix} · {job.id[-6:]}" if job.suffix else job.id
        return analysis.Facts(
            name,
            {
                "data": {
                    **self._version(project_id, "training", job.training_version_id),
                    **self._version(project_id, "validation", job.validation_version_id),
                    "repeated": counted.get("repeated"),
                    "leaked": counted.get("leaked"),
                },
                "parameters": {
                    "base_model": job.base_model,
                    "continued_from": job.model if job.model != job.base_model else None,
                    "method": job.method,
                    "training_type": job.training_type,
                    "seed": job.seed,
                    **used,
                },
                "outcome": {
                    "status": str(job.status),
                    "verdict": judged.verdict.value,
                    "confidence": judged.confidence.level.value,
                    "from_step": judged.from_step,
                    "best_step": judged.best_step,
                    **judged.summary,
                },
                "cost": {
                    "trained_tokens": job.trained_tokens,
                    "cost_usd": None if job.cost_usd is None else f"{job.cost_usd:.4f}",
                    "training_seconds": took,
                },
            },
        )

    def _version(self, project_id: str, role: str, version_id: str | None) -> dict[str, analysis.Value]:
        """What is known of the data; its id alone where the version was deleted since."""
        if version_id is None:
            return {role: None}
        try:
            version = self._datasets.describe(self._datasets.version(project_id, version_id))
        except NotFound:
            return {role: version_id}
        return {
            role: f"{version.dataset_name}@{version.number}",
            f"{role}_sha256": version.content_sha256,
            f"{role}_examples": version.examples,
            f"{role}_tokens": version.tokens,
        }


def _finite(value: float | None) -> float | None:
    """JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None
