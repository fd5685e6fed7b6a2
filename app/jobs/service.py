"""What one can do with jobs: plan, create, cancel, pause, resume, retry, and read what is known of them."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import func

from app.access.service import refuse_if_paused
from app.azure.catalogue.catalogue import BaseModel
from app.connections.service import ConnectionService
from app.costs.service import CostService
from app.datasets.estimates import counts_of
from app.datasets.files import FileService
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.jobs import analysis, repository
from app.jobs.goals import Training, choose, hyperparameters_of, seed_of
from app.jobs.plan import Material, checks
from app.jobs.schemas import AnalysisRead, DataCounts, JobCreate, JobPlan, Metrics, PlanChoice
from app.jobs.states import JobOrigin, JobStatus
from app.jobs.tables import Checkpoint, Job, JobEventRow
from app.kit.caller import Caller
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.storage.port import MissingObject
from app.workbench import UnitOfWork, Workbench


class PlanRefused(Invalid):
    """The plan has errors; nothing was made."""

    code = "plan_refused"


class JobService:
    """The jobs of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._datasets = DatasetService(bench)
        self._costs = CostService(bench)

    # ── before ──────────────────────────────────────────────────────────────

    def plan(self, caller: Caller, wanted: JobCreate) -> JobPlan:
        """What would be sent, every check with its verdict, and the cost range. Makes nothing."""
        return self._plan(caller, wanted)[0]

    def _plan(
        self, caller: Caller, wanted: JobCreate
    ) -> tuple[JobPlan, DatasetVersion, DatasetVersion | None, str]:
        connection = self._connections.get(caller.project_id, wanted.connection)
        training = self._datasets.version(caller.project_id, wanted.training)
        validation = (
            self._datasets.version(caller.project_id, wanted.validation) if wanted.validation is not None else None
        )
        base = self._bench.catalogue.find(wanted.model)
        choices = self._choices(wanted, base, training, validation)
        chosen = hyperparameters_of(choices)
        estimate = None
        if base is not None and training.report is not None:
            estimate = self._costs.estimate_training(
                counts_of(training.report, subject=wanted.training, method=wanted.method),
                base_model=base.id,
                training_type=wanted.training_type,
                n_epochs=int(chosen["n_epochs"]) if "n_epochs" in chosen else None,
            )
        leaks: list[dict[str, Any]] = []
        if validation is not None and training.content_sha256 and validation.content_sha256:
            found_leaks = (
                self._datasets.leakage(training, validation),
                self._datasets.near_leakage(training, validation),
            )
            leaks = [leak for leak in found_leaks if leak is not None]
        found = checks(
            wanted,
            base=base,
            limits=self._bench.catalogue.limits,
            region=connection.region,
            training=self._material(training, "/training"),
            validation=self._material(validation, "/validation") if validation else None,
            leaks=leaks,
            hyperparameters=chosen,
            estimate=estimate,
            today=utc_now().date(),
        )
        plan = JobPlan(
            ok=all(check.verdict != "error" for check in found),
            base_model=base.id if base else wanted.model,
            method=wanted.method,
            training_type=wanted.training_type,
            training=training.id,
            validation=validation.id if validation else None,
            hyperparameters=chosen,
            choices=choices,
            examples=training.examples,
            tokens=training.tokens,
            data=_counted(training, validation, leaks),
            checks=found,
            estimate=estimate,
        )
        return plan, training, validation, connection.id

    def _choices(
        self,
        wanted: JobCreate,
        base: BaseModel | None,
        training: DatasetVersion,
        validation: DatasetVersion | None,
    ) -> list[PlanChoice]:
        return choose(
            wanted.goal,
            Training(
                method=wanted.method,
                model=base.id if base else wanted.model,
                examples=training.examples,
                tokens=training.tokens,
                validation_examples=validation.examples if validation else None,
                tokens_times_epochs_max=self._bench.catalogue.limits.tokens_times_epochs,
            ),
            wanted.hyperparameters.model_dump(exclude_none=True),
            seed=wanted.seed,
        )

    def _material(self, version: DatasetVersion, pointer: str) -> Material:
        tokens = (version.report or {}).get("tokens", {})
        described = self._datasets.describe(version)
        return Material(
            ref=f"{described.dataset_name}@{version.number}",
            pointer=pointer,
            method=described.method,
            status=version.status,
            examples=version.examples,
            tokens=version.tokens,
            content_bytes=version.content_bytes,
            tokens_per_example_max=tokens.get("per_example_max"),
            checked_for=version.base_model,
            errors=frozenset(
                finding["code"]
                for finding in (version.report or {}).get("findings", [])
                if finding["severity"] == "error"
            ),
        )

    def create(self, caller: Caller, wanted: JobCreate, *, reservation_id: str | None = None) -> str:
        """Accept a job: its plan holds, its budget is reserved, a worker will take it to Azure.

        Args:
            reservation_id: of an idempotent request; the same one again answers the job it made.

        Returns:
            The new job's id.

        Raises:
            PlanRefused: a check says error; the answer lists them all.
            BudgetExceeded: a cap does not allow it.
            Conflict: the project is paused or has too many unfinished jobs.
        """
        if reservation_id is not None:
            with self._bench.read() as session:
                made = repository.find_reserved(session, reservation_id)
            if made is not None:
                return made
        plan, training, validation, connection_id = self._plan(caller, wanted)
        if not plan.ok:
            errors = [
                FieldError(pointer=check.pointer, detail=f"{check.detail} {check.remedy}".strip(), code=check.code)
                for check in plan.checks
                if check.verdict == "error"
            ]
            raise PlanRefused(f"The plan has {len(errors)} error(s); nothing was made.", errors=errors)
        job_id = new_id("job")
        job = Job(
            id=job_id,
            project_id=caller.project_id,
            connection_id=connection_id,
            key_id=caller.key_id,
            reservation_id=reservation_id,
            training_version_id=training.id,
            validation_version_id=validation.id if validation else None,
            base_model=plan.base_model,
            model=plan.base_model,
            method=wanted.method,
            training_type=wanted.training_type,
            hyperparameters=plan.hyperparameters,
            suffix=wanted.suffix,
            seed=seed_of(plan.choices),
            user_metadata=wanted.metadata,
            plan=plan.model_dump(mode="json"),
            watch=wanted.watch.model_dump(mode="json") if wanted.watch is not None else None,
            status=JobStatus.DRAFT,
            next_check_at=func.clock_timestamp(),
        )
        reserve = plan.estimate.high_usd if plan.estimate and plan.estimate.high_usd is not None else Decimal(0)
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            self._refuse_too_many(work, caller.project_id)
            self._costs.reserve(
                work,
                caller,
                subject_id=job_id,
                category="training",
                amount_usd=reserve,
                note=f"{plan.base_model}, {plan.training_type}, up to {plan.estimate.epochs_high} epochs"
                if plan.estimate
                else plan.base_model,
            )
            repository.add(work.session, job)
            work.announce(
                "job.draft",
                project_id=caller.project_id,
                subject_id=job_id,
                base_model=plan.base_model,
                training=training.id,
                reserved_usd=f"{reserve:.4f}",
            )
            work.nudge("jobs.advance", job_id)
        return job_id

    def _refuse_too_many(self, work: UnitOfWork, project_id: str) -> None:
        """Under the budget's lock, so that requests at once are counted one after the other."""
        own = self._costs.lock(work, project_id).unfinished_jobs_max
        most = self._bench.policy.jobs_per_project_max
        if own is not None:
            most = min(own, most)
        unfinished = repository.count_unfinished(work.session, project_id)
        if unfinished >= most:
            raise Conflict(
                f"The project has {unfinished} unfinished jobs, as many as it may have.",
                code="too_many_jobs",
                hint="Wait until one has ended, or cancel one.",
                retry_after_seconds=60,
            )

    # ── wishes ──────────────────────────────────────────────────────────────

    def cancel(self, project_id: str, job_id: str) -> None:
        """Wish the job to end; possible at any moment, also while nobody knows whether Azure has it yet.

        What Azure then says is what counts: a job that had finished first is `succeeded`.

        Raises:
            Conflict: it has ended already (`job_finished`).
        """
        self._ask(project_id, job_id, "cancelled", {"cancel_requested_at": func.clock_timestamp()})

    def pause(self, project_id: str, job_id: str) -> None:
        """Wish the training to pause. Azure allows it only while running and after the first step."""
        self._ask(project_id, job_id, "paused", {"pause_wanted": True}, only=frozenset({JobStatus.RUNNING}))

    def resume(self, project_id: str, job_id: str) -> None:
        """Wish a paused training to go on, which costs money. Raises `Conflict` or `Unready` as `create` does."""
        with self._bench.read() as session:
            refuse_if_paused(session, project_id, policy=self._bench.policy)
        self._ask(project_id, job_id, "resumed", {"pause_wanted": False}, only=frozenset({JobStatus.PAUSED}))

    def _ask(
        self,
        project_id: str,
        job_id: str,
        verb: str,
        values: dict[str, Any],
        *,
        only: frozenset[JobStatus] | None = None,
    ) -> None:
        with self._bench.begin() as work:
            job = repository.find(work.session, project_id, job_id)
            if job is None:
                raise _no_such_job(job_id)
            allowed = only is None or job.status in only
            if not allowed or not repository.ask(work.session, job_id, values):
                raise Conflict(
                    f"The job is {job.status}, so it cannot be {verb}.",
                    code="job_finished" if only is None else "illegal_state",
                )
            work.announce(f"job.{verb}_requested", project_id=project_id, subject_id=job_id)
            work.nudge("jobs.advance", job_id)

    def retry(self, project_id: str, job_id: str) -> None:
        """Look again at a parked job. Raises `Conflict` (`not_parked`)."""
        with self._bench.begin() as work:
            if repository.find(work.session, project_id, job_id) is None:
                raise _no_such_job(job_id)
            if not repository.unpark(work.session, project_id, job_id):
                raise Conflict("The job is not parked; it is being looked after.", code="not_parked")
            FileService.try_again(work, job_id)
            work.announce("job.retry_requested", project_id=project_id, subject_id=job_id)
            work.nudge("jobs.advance", job_id)

    @staticmethod
    def hasten(work: UnitOfWork, connection_id: str, remote_id: str) -> None:
        """Have the job that Azure calls so looked at now; nothing happens where we follow no such job."""
        job_id = repository.hasten(work.session, connection_id, remote_id)
        if job_id is not None:
            work.nudge("jobs.advance", job_id)

    def wake_costly(self) -> int:
        """For a periodic task: take up parked jobs that somebody wants cancelled. Returns how many.

        Parking ends the care of a row, but a training that nobody wants must not go on until somebody notices.
        """
        with self._bench.begin() as work:
            woken = repository.wake_costly(work.session)
            for job_id in woken:
                work.nudge("jobs.advance", job_id)
        return len(woken)

    # ── reading ─────────────────────────────────────────────────────────────

    def read(self, project_id: str, job_id: str) -> dict[str, Any]:
        """One statement; never a call to Azure. Raises `NotFound`."""
        with self._bench.read() as session:
            row = repository.read(session, project_id, job_id)
        if row is None:
            raise _no_such_job(job_id)
        return row

    def page(
        self, project_id: str, wanted: Page, *, status: str | None = None, connection: str | None = None
    ) -> Slice[dict[str, Any]]:
        connection_id = self._connections.get(project_id, connection).id if connection else None
        with self._bench.read() as session:
            return repository.read_page(session, project_id, wanted, status=status, connection_id=connection_id)

    def job(self, project_id: str, job_id: str) -> Job:
        """The whole row, for rooms above. Raises `NotFound`."""
        with self._bench.read() as session:
            job = repository.find(session, project_id, job_id)
        if job is None:
            raise _no_such_job(job_id)
        return job

    def event_page(self, project_id: str, job_id: str, wanted: Page) -> Slice[JobEventRow]:
        self.read(project_id, job_id)
        with self._bench.read() as session:
            return repository.event_page(session, job_id, wanted)

    def checkpoints(self, project_id: str, job_id: str) -> Sequence[Checkpoint]:
        self.read(project_id, job_id)
        with self._bench.read() as session:
            return repository.checkpoints(session, job_id)

    def results(self, project_id: str, job_id: str) -> analysis.Results:
        """The training's curve so far."""
        self.read(project_id, job_id)
        with self._bench.read() as session:
            return as_results(repository.points(session, job_id))

    def metrics(self, project_id: str, job_id: str) -> Metrics:
        results = self.results(project_id, job_id)
        return Metrics(
            job=job_id,
            steps=[point.step for point in results.points],
            series={name: [point.values.get(name) for point in results.points] for name in results.columns},
        )

    def results_csv(self, project_id: str, job_id: str) -> bytes:
        """Azure's results file, byte by byte. Raises `NotFound` (`no_results`) until there is one."""
        job = self.job(project_id, job_id)
        try:
            with self._bench.storage.reader(job.results_key) as file:
                return file.read()
        except MissingObject as error:
            raise NotFound(
                "The job has no results file yet.",
                code="no_results",
                hint="It is read when the training has ended; /metrics shows the curve so far.",
            ) from error

    def analysis(self, project_id: str, job_id: str) -> AnalysisRead:
        """The verdict on the training, kept once it has ended and made afresh while it runs."""
        job = self.job(project_id, job_id)
        if job.analysis is not None and "confidence" in job.analysis:  # else it was made by older rules
            return AnalysisRead(job=job_id, analysis=job.analysis)
        with self._bench.read() as session:
            points = repository.points(session, job_id)
            checkpoints = repository.checkpoints(session, job_id)
        return AnalysisRead(job=job_id, analysis=judge(job, as_results(points), checkpoints).to_json())

    def chart_svg(self, project_id: str, job_id: str) -> str:
        job = self.job(project_id, job_id)
        with self._bench.read() as session:
            results = as_results(repository.points(session, job_id))
            checkpoints = repository.checkpoints(session, job_id)
        title = f"{job.base_model} · {job.suffix or job.id}"
        return analysis.chart_svg(results, title=title, checkpoints=as_points(checkpoints))


def as_results(points: Iterable[tuple[int, dict[str, Any]]]) -> analysis.Results:
    """Stored points in the analysis' own shape."""
    return analysis.results_from_events({"step": step, **values} for step, values in points)


def as_points(checkpoints: Iterable[Checkpoint]) -> list[analysis.CheckpointPoint]:
    return [
        analysis.CheckpointPoint(
            step=item.step, full_valid_loss=item.metrics.get("full_valid_loss"), id=item.remote_id
        )
        for item in checkpoints
    ]


def judge(job: Job, results: analysis.Results, checkpoints: Sequence[Checkpoint]) -> analysis.Analysis:
    """The analysis of a job's curve, with what is known of how it was trained."""
    remote = (job.remote or {}).get("hyperparameters") or {}

    def used(name: str) -> Any:
        value = remote.get(name, job.hyperparameters.get(name))
        return value if isinstance(value, int | float) and value > 0 else job.hyperparameters.get(name)

    return analysis.analyse(
        results,
        examples=job.plan.get("examples"),
        n_epochs=used("n_epochs"),
        batch_size=used("batch_size"),
        learning_rate_multiplier=used("learning_rate_multiplier"),
        has_validation=job.validation_version_id is not None,
        checkpoints=as_points(checkpoints),
        data=analysis.Data(**job.plan.get("data", {})),
    )


def _counted(
    training: DatasetVersion, validation: DatasetVersion | None, leaks: Sequence[dict[str, Any]]
) -> DataCounts:
    """What the curve of this training will be read with."""
    findings = training.report["findings"] if training.report is not None else None
    return DataCounts(
        validation_examples=validation.examples if validation is not None else None,
        repeated=None
        if findings is None
        else sum(finding["count"] for finding in findings if finding["code"] in analysis.REPEATING_FINDINGS),
        leaked=sum(leak["count"] for leak in leaks) if validation is not None else None,
    )


def _no_such_job(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r} in this project.", code="job_not_found")
