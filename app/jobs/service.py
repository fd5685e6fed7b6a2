"""What one can do with jobs: plan, create, cancel, pause, resume, retry, and read what is known of them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import func

from app.access.service import refuse_if_paused
from app.azure.catalogue import placement
from app.azure.catalogue.catalogue import BaseModel
from app.azure.catalogue.placement import Obstacle
from app.connections.resources import ResourceService
from app.connections.service import ConnectionService
from app.connections.tables import Connection
from app.costs.service import CostService
from app.datasets.estimates import counts_of
from app.datasets.files import FileService
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.graders import as_sent
from app.jobs import analysis, course, repository, training_types, untrained
from app.jobs.goals import Training, choose, hyperparameters_of, seed_of
from app.jobs.grading import azure_says, rows_lacking
from app.jobs.methods import Parent, grader_of, grading_checks, method_checks, method_settings, parent_checks
from app.jobs.plan import Material, checks
from app.jobs.progress import Progress, usual_wait
from app.jobs.schemas import (
    AnalysisRead,
    DataCounts,
    JobCreate,
    JobPlan,
    JobProgress,
    JobResume,
    Metrics,
    PlanCheck,
    PlanChoice,
    TrainingType,
    UsualQueue,
)
from app.jobs.states import IN_FLIGHT, JOB_LAW, JobOrigin, JobStatus
from app.jobs.tables import Checkpoint, Job, JobEventRow
from app.jobs.training_types import Offer
from app.jobs.watchdog import WatchPolicy
from app.kit.caller import Caller
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.storage.port import MissingObject
from app.workbench import UnitOfWork, Workbench

WAITS: Final = 50
"""So many of the newest jobs like this one tell how long the queue usually is."""


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
        parent = self._parent(caller.project_id, wanted)
        training = self._datasets.version(caller.project_id, wanted.training)
        validation = (
            self._datasets.version(caller.project_id, wanted.validation) if wanted.validation is not None else None
        )
        base = parent.base if parent is not None else self._bench.catalogue.find(wanted.model or "")
        choices = self._choices(wanted, base, training, validation)
        chosen = hyperparameters_of(choices)
        versions = [training, validation]
        offers = [self._offer(caller, connection.id, wanted, name, base, chosen, versions) for name in wanted.order]
        types = training_types.weigh(offers, base)
        offer = next(one for one in offers if one.training_type == training_types.taken(types))
        wanted = wanted.model_copy(update={"training_type": offer.training_type, "training_types": None})
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
            place=offer.obstacles,
            training=self._material(training, "/training"),
            validation=self._material(validation, "/validation") if validation else None,
            leaks=leaks,
            hyperparameters=chosen,
            estimate=offer.estimate,
            of_method=[
                *training_types.checks_of(types),
                *(parent_checks(wanted, parent, connection.id) if parent is not None else ()),
                *self._of_method(caller, wanted, base, chosen, connection, training, validation),
            ],
        )
        with self._bench.read() as session:
            tried = untrained.newest(
                session,
                caller.project_id,
                training_id=training.id,
                validation_id=validation.id if validation else None,
            )
        found.append(untrained.last_resort(tried))
        plan = JobPlan(
            ok=all(check.verdict != "error" for check in found),
            base_model=base.id if base else wanted.model or "",
            model=parent.remote_name if parent is not None else base.id if base else None,
            continues=parent.job_id if parent is not None else None,
            training_types=types,
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
            estimate=offer.estimate,
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
                model=base.id if base else wanted.model or "",
                examples=training.examples,
                tokens=training.tokens,
                validation_examples=validation.examples if validation else None,
                tokens_times_epochs_max=self._bench.catalogue.limits.tokens_times_epochs,
            ),
            wanted.hyperparameters.model_dump(exclude_none=True),
            seed=wanted.seed,
        )

    def _offer(  # noqa: PLR0917  everything that an offer depends on
        self,
        caller: Caller,
        connection_id: str,
        wanted: JobCreate,
        training_type: TrainingType,
        base: BaseModel | None,
        chosen: Mapping[str, Any],
        versions: Sequence[DatasetVersion | None],
    ) -> Offer:
        """One of the training types that are wanted: what stands in its way, and what it may cost."""
        wanted = wanted.model_copy(update={"training_type": training_type})
        training = versions[0]
        estimate = None
        if base is not None and training is not None and training.report is not None:
            estimate = self._costs.estimate_training(
                counts_of(training.report, subject=wanted.training, method=wanted.method),
                base_model=base.id,
                training_type=training_type,
                n_epochs=int(chosen["n_epochs"]) if "n_epochs" in chosen else None,
            )
        found = self._obstacles(caller.project_id, connection_id, wanted, base, versions)
        return Offer(training_type=training_type, obstacles=found, estimate=estimate)

    def _parent(self, project_id: str, wanted: JobCreate) -> Parent | None:
        """The tuned model to continue from. Raises `NotFound`, and `Invalid` where `model` says another base."""
        if wanted.continue_from is None:
            return None
        with self._bench.read() as session:
            found = repository.find_parent(session, project_id, wanted.continue_from)
            foreign = found is None and repository.is_of_another_project(session, project_id, wanted.continue_from)
        remote_name = found.remote_name if found is not None else wanted.continue_from
        base = self._bench.catalogue.find(found.base_model if found is not None else remote_name)
        if foreign or (found is None and (base is None or base.id == remote_name or remote_name in base.aliases)):
            raise NotFound(
                f"There is no tuned model {wanted.continue_from!r} in this project.",
                code="model_not_found",
                hint="GET /v1/models lists them; a base model is named as `model`.",
            )
        named = self._bench.catalogue.find(wanted.model) if wanted.model is not None else base
        if named != base:
            detail = f"{remote_name} was made of {base.id if base else 'an unknown model'}, not of {wanted.model}."
            error = FieldError(pointer="/model", detail=detail, code="continues_another_model")
            raise Invalid(detail, code="continues_another_model", hint="Leave `model` out.", errors=[error])
        return Parent(
            remote_name=remote_name,
            job_id=found.job_id if found is not None else None,
            connection_id=found.connection_id if found is not None else None,
            base=base,
            method=found.method if found is not None else None,
        )

    def _of_method(  # noqa: PLR0917  everything that a method may need
        self,
        caller: Caller,
        wanted: JobCreate,
        base: BaseModel | None,
        chosen: Mapping[str, Any],
        connection: Connection,
        training: DatasetVersion,
        validation: DatasetVersion | None,
    ) -> Iterator[PlanCheck]:
        stats = (training.report or {}).get("stats") or {}
        yield from method_checks(
            wanted,
            base=base,
            hyperparameters=chosen,
            api_style=connection.api_style,
            api_version=connection.api_version,
            with_images=stats.get("with_images") or 0,
        )
        grader, found = grader_of(wanted)
        yield from found
        if grader is None or wanted.grader is None:
            return
        named = [(training, "/training"), (validation, "/validation")]
        lacking = [
            rows_lacking(self._datasets, caller.project_id, version, pointer=pointer, grader=grader)
            for version, pointer in named
            if version is not None
        ]
        verdict, silence = azure_says(self._connections, connection.id, as_sent(wanted.grader, grader))
        yield from grading_checks(grader, [rows for rows in lacking if rows is not None], verdict, silence)

    def _obstacles(
        self,
        project_id: str,
        connection_id: str,
        wanted: JobCreate,
        base: BaseModel | None,
        versions: Sequence[DatasetVersion | None],
    ) -> list[Obstacle]:
        """What stands in the way on this resource, as far as Azure's last word on it is known here."""
        if base is None:
            return []
        places = ResourceService(self._bench).places(project_id)
        here = places.pop(connection_id, None)
        if here is None:  # archived a moment ago
            return []
        files = [version for version in versions if version is not None]
        training = placement.Training(
            base=base,
            method=wanted.method,
            training_type=wanted.training_type,
            files=len(files),
            file_bytes=sum(version.content_bytes or version.bytes for version in files),
        )
        limits = self._bench.catalogue.limits
        return placement.obstacles(training, here, list(places.values()), limits=limits, now=utc_now())

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
            model=plan.model or plan.base_model,
            parent_job_id=plan.continues,
            method=wanted.method,
            method_settings=method_settings(wanted),
            training_type=plan.training_type,
            training_types=training_types.fallbacks(plan.training_types),
            hyperparameters=plan.hyperparameters,
            suffix=wanted.suffix,
            seed=seed_of(plan.choices),
            user_metadata=wanted.metadata,
            plan=plan.model_dump(mode="json"),
            watch=wanted.watch.model_dump(mode="json") if wanted.watch is not None else None,
            status=JobStatus.DRAFT,
            next_check_at=func.clock_timestamp(),
        )
        reserve = training_types.reserve_usd(plan.training_types)
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

    def made_for(self, project_id: str, reservation_id: str) -> str | None:
        """The job that was made under this reservation; None if none was."""
        with self._bench.read() as session:
            job_id = repository.find_reserved(session, reservation_id)
            return job_id if job_id is not None and repository.find(session, project_id, job_id) else None

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
        wish = {
            "pause_wanted": True,
            "pause_reason": {"by": "user", "rule": None, "message": "Somebody asked for it."},
        }
        self._ask(project_id, job_id, "paused", wish, only=frozenset({JobStatus.RUNNING}))

    def resume(self, caller: Caller, job_id: str, wanted: JobResume) -> None:
        """Wish a paused training to go on, which costs money.

        Raises:
            Conflict: it is not paused; or it was paused for what it costs and nobody accepts more
                (`cost_not_accepted`); or as `create` says.
            BudgetExceeded: a cap does not allow what is accepted.
        """
        accepted = wanted.accept_further_cost_usd
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            job = repository.find(work.session, caller.project_id, job_id)
            if job is None:
                raise _no_such_job(job_id)
            if job.origin == JobOrigin.ELSEWHERE:
                raise Conflict(
                    "The job was made elsewhere: no budget here bears what it spends from now on.",
                    code="made_elsewhere",
                    hint="Resume it where it was made; it is followed all the same.",
                )
            because = job.paused_because or {}
            if accepted is None and course.asks_for_acceptance(because):
                raise _not_accepted(because)
            values: dict[str, Any] = {}
            if accepted is not None:
                spent = Decimal(because.get("spent_usd") or 0)
                values["accepted_usd"] = spent + accepted
            if accepted is not None and job.origin != JobOrigin.ELSEWHERE:  # the bill of those is not in our ledger
                self._costs.reserve(
                    work,
                    caller,
                    subject_id=job_id,
                    category="training",
                    amount_usd=accepted,
                    note="accepted to let a paused training go on",
                    already_usd=self._costs.reserved(work, job_id),
                )
            if not repository.ask_to_resume(work.session, job_id, values):
                raise Conflict(
                    "The job is going on already."
                    if job.status == JobStatus.PAUSED
                    else f"The job is {job.status}, so it cannot be resumed.",
                    code="illegal_state",
                )
            said = {"accepted_usd": f"{accepted:.4f}"} if accepted is not None else {}
            work.announce("job.resumed_requested", project_id=caller.project_id, subject_id=job_id, **said)
            work.nudge("jobs.advance", job_id)

    def set_watch(self, project_id: str, job_id: str, policy: WatchPolicy) -> None:
        """Give the job other rules for its watch-dog. Raises `Conflict` (`job_finished`)."""
        with self._bench.begin() as work:
            if repository.find(work.session, project_id, job_id) is None:
                raise _no_such_job(job_id)
            stored = policy.model_dump(mode="json")
            if not repository.set_watch(work.session, project_id, job_id, stored):
                raise Conflict("The job has ended; there is nothing left to watch.", code="job_finished")
            work.announce("job.watch_changed", project_id=project_id, subject_id=job_id, watch=stored)

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

    # ── how far it is ───────────────────────────────────────────────────────

    def progress(self, project_id: str, job_id: str) -> JobProgress:
        """How far the job is, when it will be done and what it has cost; from the database alone."""
        job = self.job(project_id, job_id)
        with self._bench.read() as session:
            step = repository.newest_step(session, job_id)
            at = course.reckoned(session, job, self._bench.catalogue, step=step)
            queued = job.status in {JobStatus.QUEUED, JobStatus.SUBMITTING}
            usual = usual_wait(repository.waits(session, job, limit=WAITS)) if queued else None
        since = job.sent_at or job.created_at
        now = utc_now()
        return JobProgress(
            job=job_id,
            status=job.status,
            remote_status=job.remote_status,
            step=at.step,
            total_steps=at.total_steps,
            total_from=at.total_from,
            share=1.0 if job.status == JobStatus.SUCCEEDED else at.share,
            epoch=at.epoch,
            seconds_per_step=at.seconds_per_step,
            last_step_at=at.last_step_at,
            **_finish_of(job, at, now),
            queued_seconds=max(0.0, (now - since).total_seconds()) if queued else None,
            usual_queue=UsualQueue(**asdict(usual)) if usual else None,
            spent_usd=job.cost_usd if job.cost_usd is not None else at.spent_usd,
            spent_basis="as it was settled" if job.cost_usd is not None else at.spent_basis,
            further_usd=None if job.status in JOB_LAW.terminal else at.further_usd,
            paused_because=job.paused_because,
            parked_reason=job.parked_reason,
            alarms=list(job.watch_fired.values()),
            as_of=now,
        )

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

    def metrics(self, project_id: str, job_id: str, *, points: int | None = None) -> Metrics:
        """The series; with `points` at most so many of them, every spike kept."""
        whole = self.results(project_id, job_id)
        results = whole if points is None else analysis.thin(whole, points)
        return Metrics(
            job=job_id,
            points=len(whole.points),
            steps=[point.step for point in results.points],
            series={name: [_shown(point.values.get(name)) for point in results.points] for name in results.columns},
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


def _finish_of(job: Job, at: Progress, now: datetime) -> dict[str, Any]:
    """When it will be done: Azure's own word if it gives one that is not past, else by the pace of its steps."""
    by_steps = None if job.status in JOB_LAW.terminal else at.finish_at
    azure = job.estimated_finish_at if job.status in IN_FLIGHT - {JobStatus.PAUSED} else None
    if azure is not None and azure > now:
        return {"finish_at": azure, "finish_from": "azure", "finish_by_steps_at": by_steps}
    return {"finish_at": by_steps, "finish_from": "steps" if by_steps else None, "finish_by_steps_at": by_steps}


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


def _not_accepted(because: Mapping[str, Any]) -> Conflict:
    spent, choices = because.get("spent_usd"), because.get("choices") or [{}]
    further = choices[0].get("may_cost_further_usd")
    return Conflict(
        f"{because.get('message')} "
        + (f"It has cost about ${Decimal(spent):,.2f} so far. " if spent else "")
        + (f"What is left may cost about ${Decimal(further):,.2f}. " if further else "")
        + "Say how much more it may cost.",
        code="cost_not_accepted",
        hint='Send {"accept_further_cost_usd": "…"}; the budget is asked for it, and the watch-dog pauses the job '
        "there. Or cancel it: its checkpoints stay.",
    )


def _shown(value: float | None) -> float | None:
    """JSON has no NaN: what is no number is shown as nothing."""
    return value if value is not None and math.isfinite(value) else None


def _no_such_job(job_id: str) -> NotFound:
    return NotFound(f"There is no job {job_id!r} in this project.", code="job_not_found")
