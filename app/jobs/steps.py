"""A job's steps, taken by workers under a claim: files, the one POST that costs money, the watch, the end.

Each step does at most one remote mutation, never inside a transaction, and may die at any line: the row then says
what was about to happen, and the next claim finds out whether it did.
"""

import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import structlog
from sqlalchemy import func

from app.access.service import AccessService
from app.azure.port import (
    ApiStyle,
    AzureError,
    AzureTarget,
    DataPlane,
    NewRemoteJob,
    NotThere,
    OutcomeUnknown,
    Refused,
    RemoteJob,
    RemoteJobEvent,
    Throttled,
    Unauthorised,
    Unavailable,
    is_of_credential,
)
from app.connections.service import ConnectionService, Traffic
from app.costs.estimates import MILLION, by_hours
from app.costs.service import CostService
from app.datasets.files import FileService, FileStep
from app.datasets.service import DatasetService
from app.jobs import analysis, course, repository
from app.jobs.hours import hours_of
from app.jobs.marks import derived_seed, derived_suffix
from app.jobs.service import as_results, judge
from app.jobs.states import BY_REMOTE_WORD, IN_FLIGHT, JOB_LAW, JobOrigin, JobStatus, SendState
from app.jobs.tables import Job
from app.jobs.training_types import REFUSED_FOR_ITS_TYPE, next_attempt
from app.kit import care
from app.kit.care import Claim
from app.kit.clock import utc_now
from app.kit.failpoints import failpoint
from app.workbench import Policy, UnitOfWork, Workbench, describe

log = structlog.get_logger("kitae.jobs")

FIRST_LOOK_SECONDS: Final = 2.0
"""After a lost answer, when to look into Azure's list for the first time."""
FALLBACK_FACTOR: Final = 6.0
"""A job in flight is looked at by itself only when the watch has missed it so many times."""
MISSING_SECONDS: Final = 60.0
"""Azure must answer 404 twice, so far apart, before a confirmed job counts as gone."""
RESULTS_BYTES_MAX: Final = 64 * 1024 * 1024
SPEAKING: Final = frozenset({JobStatus.RUNNING, JobStatus.PAUSED, JobStatus.FAILED, JobStatus.CANCELLED})
"""Whose job events are read with a look of its own; when a job succeeded they are collected with all else."""
ENDED_AT_AZURE: Final = frozenset({"succeeded", "failed", "cancelled"})
PAUSED_LOOK_SECONDS: Final = 15.0
"""How often a job of a paused project looks whether it may go on."""


class JobSteps:
    """What workers do for jobs."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy
        self._access = AccessService(bench)
        self._connections = ConnectionService(bench)
        self._datasets = DatasetService(bench)
        self._files = FileService(bench)
        self._costs = CostService(bench)

    def advance(self, job_id: str) -> None:
        """Take the job as far as it goes without waiting."""
        self._bench.tend(Job, job_id, self._step, noun="job")

    def look(self, job_id: str, remote: RemoteJob) -> None:
        """Take in what Azure's list said of the job, without a call to Azure; what follows is its own task's."""
        self._bench.tend(
            Job, job_id, lambda held: self._take_in(held, self._load(held), remote), noun="job", once=True
        )

    def _load(self, held: Claim) -> Job:
        with self._bench.read() as session:
            return repository.get_unscoped(session, held.row_id)

    def _step(self, held: Claim) -> None:
        job = self._load(held)
        match JobStatus(job.status):
            case JobStatus.DRAFT:
                self._begin(held, job)
            case JobStatus.PREPARING:
                self._prepare(held, job)
            case JobStatus.SUBMITTING:
                self._submit(held, job)
            case JobStatus.QUEUED | JobStatus.RUNNING | JobStatus.PAUSED:
                self._follow(held, job)
            case JobStatus.COLLECTING:
                self._collect(held, job)
            case JobStatus.SUCCEEDED | JobStatus.FAILED | JobStatus.CANCELLED:
                self._tidy(held, job)

    def _move(
        self,
        work: UnitOfWork,
        held: Claim,
        job: Job,
        wanted: JobStatus,
        *,
        check_in_seconds: float | None,
        **values: Any,
    ) -> None:
        """The one way a job changes its status: by law, under the fence, with its event."""
        current = JobStatus(job.status)
        because = None
        if wanted is JobStatus.PAUSED:
            because = values["paused_because"] = self._paused_because(work, held)
        elif current is JobStatus.PAUSED:
            values |= {"paused_because": None, "pause_reason": None}
        care.move(work.session, held, JOB_LAW, current, wanted, check_in_seconds=check_in_seconds, **values)
        repository.heed_wishes(work.session, held.row_id)
        work.announce(
            f"job.{wanted}",
            project_id=job.project_id,
            subject_id=job.id,
            **{"from": job.status, "to": str(wanted)},
            remote_id=values.get("remote_id", job.remote_id),
            error=(values.get("error") or {}).get("code"),
        )
        if because is not None and because["by"] != "user":
            work.announce(
                "job.decision_needed", project_id=job.project_id, subject_id=job.id, paused_because=because
            )

    def _paused_because(self, work: UnitOfWork, held: Claim) -> dict[str, Any]:
        row = repository.hold(work.session, held.row_id)
        return course.paused_because(work.session, row, self._bench.catalogue)

    def _finish(self, held: Claim, *, check_in_seconds: float | None, **values: Any) -> None:
        """The step went well and the status stays."""
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=check_in_seconds, **values)
            repository.heed_wishes(work.session, held.row_id)

    # ── draft, preparing ────────────────────────────────────────────────────

    def _begin(self, held: Claim, job: Job) -> None:
        if job.cancel_requested_at:
            self._end_unborn(held, job, JobStatus.CANCELLED)
            return
        with self._bench.begin() as work:
            self._move(work, held, job, JobStatus.PREPARING, check_in_seconds=0)

    def _prepare(self, held: Claim, job: Job) -> None:
        if job.cancel_requested_at:
            self._end_unborn(held, job, JobStatus.CANCELLED)
            return
        target = self._connections.target_of(job.connection_id)
        for role, version_id in (("training", job.training_version_id), ("validation", job.validation_version_id)):
            if version_id is None:
                continue
            try:
                step = self._advance_file(held, target, job, role, version_id)
            except Refused as error:
                if is_of_credential(error):
                    raise  # no fault of the job's: it waits for a person
                self._end_unborn(held, job, JobStatus.FAILED, error=describe(error))
                return
            if step.error is not None:
                self._end_unborn(held, job, JobStatus.FAILED, error=step.error)
                return
            if step.remote_id is None:
                self._finish(held, check_in_seconds=step.wait_seconds)
                return
        with self._bench.begin() as work:
            self._move(
                work,
                held,
                job,
                JobStatus.SUBMITTING,
                check_in_seconds=0,
                send_state=SendState.IDLE,
                sent_at=None,
                fenced_at=None,
            )

    def _advance_file(self, held: Claim, target: AzureTarget, job: Job, role: str, version_id: str) -> FileStep:
        version = self._datasets.version(job.project_id, version_id)
        attempt = job.attempt if role == "training" else 1
        return self._files.advance(held, target, version, owner_id=job.id, role=role, attempt=attempt)

    def _end_unborn(self, held: Claim, job: Job, wanted: JobStatus, *, error: dict[str, Any] | None = None) -> None:
        """End a job that never trained: everything reserved is given back."""
        with self._bench.begin() as work:
            self._settle(work, job, Decimal(0), "never trained")
            self._move(
                work,
                held,
                job,
                wanted,
                check_in_seconds=0,
                finished_at=func.clock_timestamp(),
                error=error,
                cost_usd=Decimal(0),
            )

    # ── the POST that costs money ───────────────────────────────────────────

    def _submit(self, held: Claim, job: Job) -> None:
        if job.send_state in {SendState.SENT, SendState.THROTTLED}:
            self._resolve(held, job)
        elif job.cancel_requested_at:
            self._end_unborn(held, job, JobStatus.CANCELLED)
        else:
            self._send(held, job)

    def _send(self, held: Claim, job: Job) -> None:
        failpoint("jobs.create.claimed")
        if self._access.is_paused(job.project_id):
            self._finish(held, check_in_seconds=PAUSED_LOOK_SECONDS)
            return
        target = self._connections.target_of(job.connection_id)
        if self._is_old(job) and self._find_ours(target, job):
            # a POST that this row knows nothing of: the database was restored to a time before it
            self._finish(held, check_in_seconds=0, send_state=SendState.SENT, sent_at=func.clock_timestamp())
            return
        new = self._request(target, job)
        try:
            with self._connections.data(target, Traffic.WRITE) as azure:
                self._write_intent(held)
                failpoint("jobs.create.intent")
                remote = self._post(held, azure, new)
        except OutcomeUnknown as error:
            log.warning("job.outcome_unknown", id=job.id, error=error.message)
            self._finish(held, check_in_seconds=FIRST_LOOK_SECONDS)
            return
        except Refused as error:
            if is_of_credential(error):
                raise
            self._refused(held, job, error)
            return
        failpoint("jobs.create.sent")
        self._adopt(held, job, remote)
        failpoint("jobs.create.recorded")

    def _refused(self, held: Claim, job: Job, error: Refused) -> None:
        """Azure's definite no to the create: the end, unless another training type may be tried.

        Before it is, the protocol of a lost answer proves that nothing was made: the list is read, the training
        file deleted, the list read again. So no two trainings can come of it, whatever stood between us and Azure.
        """
        if not job.training_types or error.code not in REFUSED_FOR_ITS_TYPE:
            self._end_unborn(held, job, JobStatus.FAILED, error=describe(error))
            return
        refusal = {"training_type": job.training_type, "at": utc_now().isoformat(), **describe(error)}
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=FIRST_LOOK_SECONDS, refusals=[*job.refusals, refusal])
            repository.heed_wishes(work.session, held.row_id)
            work.announce(
                "job.training_type_refused",
                project_id=job.project_id,
                subject_id=job.id,
                training_type=job.training_type,
                next=job.training_types[0],
                error=describe(error),
            )
        failpoint("jobs.create.refused")

    def _is_old(self, job: Job) -> bool:
        """Whether it has waited so long to be sent that it may stem from a backup of the database."""
        return (utc_now() - job.created_at).total_seconds() > self._policy.sweep_seconds

    def _post(self, held: Claim, azure: DataPlane, new: NewRemoteJob) -> RemoteJob:
        """The POST; what is known of it when it made nothing is kept with it, not read from a later error."""
        try:
            return azure.create_job(new)
        except (Throttled, Unavailable, Unauthorised) as error:
            made = SendState.THROTTLED if isinstance(error, Throttled) else SendState.IDLE
            with self._bench.begin() as work:  # Unavailable: no connection was made, see the port
                repository.change(work.session, held, send_state=made)
            raise

    def _write_intent(self, held: Claim) -> None:
        """From this commit on the POST may have happened. The lease now outlasts the longest request."""
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)
            repository.change(
                work.session, held, send_state=SendState.SENT, sent_at=func.clock_timestamp(), fenced_at=None
            )

    def _request(self, target: AzureTarget, job: Job) -> NewRemoteJob:
        training, validation = self._file_ids(job)
        metadata = {str(key): str(value) for key, value in job.user_metadata.items()} | {
            "svc": "kitae",
            "env": self._policy.environment,
            "op_key": job.op_key,
            "project": job.project_id,
            "training": str(job.training_version_id),
        }
        if job.validation_version_id is not None:
            metadata["validation"] = job.validation_version_id
        suffix, seed = job.suffix, job.seed
        if target.api_style is ApiStyle.DATED:
            suffix, seed = marks(job)
        return NewRemoteJob(
            model=job.model,
            training_file=training,
            validation_file=validation,
            method=job.method,
            hyperparameters=job.hyperparameters,
            training_type=job.training_type,
            suffix=suffix,
            seed=seed,
            metadata=metadata,
            method_settings=job.method_settings,
        )

    def _file_ids(self, job: Job) -> tuple[str, str | None]:
        training = self._files.remote_id_of(job.id, "training", job.attempt)
        validation = self._files.remote_id_of(job.id, "validation", 1) if job.validation_version_id else None
        if training is None or (job.validation_version_id and validation is None):
            raise RuntimeError("a job came to be submitted without its files at Azure")
        return training, validation

    def _adopt(self, held: Claim, job: Job, remote: RemoteJob) -> None:
        """Azure has the job: keep its id and follow it."""
        wanted = BY_REMOTE_WORD.get(remote.status, JobStatus.QUEUED)
        over = wanted not in IN_FLIGHT
        if over:
            wanted = JobStatus.QUEUED  # the next look, at once, reads its end in order
        with self._bench.begin() as work:
            self._move(
                work,
                held,
                job,
                wanted,
                check_in_seconds=0 if over or job.cancel_requested_at else self._fallback(wanted),
                send_state=SendState.CONFIRMED,
                remote_id=remote.remote_id,
                **repository.sighting(remote) | ({"remote_mark": None} if over else {}),
            )
            self._connections.watch_in(work, job.connection_id, watch_interval(self._policy, wanted))

    def _resolve(self, held: Claim, job: Job) -> None:
        """The POST may have happened: look for our marks in Azure's whole list before doing anything else."""
        target = self._connections.target_of(job.connection_id)
        matches = self._find_ours(target, job)
        failpoint("jobs.resolve.listed")
        if len(matches) > 1:
            self._cancel_extra(held, job, target, matches)
            return
        if matches:
            log.info("job.adopted", id=job.id, remote_id=matches[0].remote_id)
            self._adopt(held, job, matches[0])
            return
        if job.send_state == SendState.THROTTLED:
            # Azure had said that it made nothing, and its list agrees
            self._finish(held, check_in_seconds=0, send_state=SendState.IDLE)
            return
        self._settle_or_fence(held, job, target)

    def _settle_or_fence(self, held: Claim, job: Job, target: AzureTarget) -> None:
        """Nothing found: wait until it would have shown, delete the file the lost POST names, wait, try anew."""
        with self._bench.read() as session:
            age = repository.seconds_since(session, job.id)
            fence_age = repository.seconds_since(session, job.id, fenced=True) if job.fenced_at else 0.0
        settle = self._policy.settle_seconds
        if job.fenced_at is None and age < settle:
            wait = min(max(FIRST_LOOK_SECONDS, settle / 10), settle - age)
            self._finish(held, check_in_seconds=wait)
        elif job.fenced_at is None:
            self._files.fence(held, target, owner_id=job.id, attempt=job.attempt)
            failpoint("jobs.fence.deleted")
            self._finish(held, check_in_seconds=settle, fenced_at=func.clock_timestamp())
        elif fence_age < settle:
            self._finish(held, check_in_seconds=settle - fence_age)
        elif job.cancel_requested_at:
            self._end_unborn(held, job, JobStatus.CANCELLED)
        else:
            with self._bench.begin() as work:
                self._move(
                    work,
                    held,
                    job,
                    JobStatus.PREPARING,
                    check_in_seconds=0,
                    attempt=job.attempt + 1,
                    send_state=SendState.IDLE,
                    sent_at=None,
                    fenced_at=None,
                    **next_attempt(job.plan, job.training_type, job.training_types, _refused_types(job)),
                )
                if job.attempt % self._policy.park_after_failures == 0:
                    self._park_unanswered(work, held, job)

    @staticmethod
    def _park_unanswered(work: UnitOfWork, held: Claim, job: Job) -> None:
        """Azure answered none of so many creates: each costs an upload, so a person decides whether to go on."""
        reason = f"Azure gave no clear answer to {job.attempt} creates, and made no job"
        error = job.last_error or {"code": "azure_no_answer", "message": reason}
        care.park(work.session, held, reason=reason, error=error)
        work.announce("job.parked", project_id=job.project_id, subject_id=job.id, reason=reason, error=error)

    def _find_ours(self, target: AzureTarget, job: Job) -> list[RemoteJob]:
        """Live remote jobs that carry our marks, oldest first."""
        files = self._files.remote_ids(job.id)
        suffix, seed = marks(job)

        def is_ours(remote: RemoteJob) -> bool:
            if remote.metadata.get("op_key"):
                return remote.metadata["op_key"] == job.op_key
            signs = (
                remote.training_file in files,
                remote.suffix == suffix,
                remote.seed == seed,
            )
            return sum(signs) >= 2

        with self._connections.data(target, Traffic.READ) as azure:
            found = [remote for page in azure.list_jobs() for remote in page if is_ours(remote)]
        found.sort(key=lambda remote: (remote.created_at is None, remote.created_at, remote.remote_id))
        alive = [remote for remote in found if remote.status not in ENDED_AT_AZURE - {"succeeded"}]
        return alive or found[-1:]

    def _cancel_extra(self, held: Claim, job: Job, target: AzureTarget, matches: Sequence[RemoteJob]) -> None:
        """More than one remote job carries our op_key: keep the oldest, cancel the youngest, look again."""
        kept = matches[0]
        running = [remote for remote in matches[1:] if remote.status not in ENDED_AT_AZURE]
        if not running:
            log.error("job.duplicate_trained", id=job.id, remote_ids=[remote.remote_id for remote in matches])
            with self._bench.begin() as work:
                self._tell_duplicate(work, job, "job.duplicate_trained", kept, matches[1:])
            self._adopt(held, job, kept)
            return
        extra = running[-1]
        log.error("job.duplicate_at_azure", id=job.id, kept=kept.remote_id, cancelled=extra.remote_id)
        try:
            with self._connections.data(target, Traffic.STOP_MONEY) as azure:
                azure.cancel_job(extra.remote_id)
        except Refused as error:
            log.warning("job.duplicate_not_cancelled", id=job.id, error=error.message)
        with self._bench.begin() as work:
            self._tell_duplicate(work, job, "job.duplicate_cancelled", kept, [extra])
            care.finish(work.session, held, check_in_seconds=1.0)

    @staticmethod
    def _tell_duplicate(
        work: UnitOfWork, job: Job, event_type: str, kept: RemoteJob, others: Sequence[RemoteJob]
    ) -> None:
        work.announce(
            event_type,
            project_id=job.project_id,
            subject_id=job.id,
            kept=kept.remote_id,
            others=[remote.remote_id for remote in others],
        )

    # ── following ───────────────────────────────────────────────────────────

    def _fallback(self, status: JobStatus) -> float:
        """When the job looks for itself if the watch does not see it; spread, so that not all are due at once."""
        return watch_interval(self._policy, status) * FALLBACK_FACTOR * random.uniform(0.9, 1.1)

    def _follow(self, held: Claim, job: Job) -> None:
        target = self._connections.target_of(job.connection_id)
        assert job.remote_id is not None  # noqa: S101  the law: only a confirmed job gets here
        wished = job.cancel_requested_at is not None or job.pause_wanted is not None
        try:
            if job.cancel_requested_at and not job.cancel_sent_at:
                with self._connections.data(target, Traffic.STOP_MONEY) as azure:
                    remote = azure.cancel_job(job.remote_id)
                with self._bench.begin() as work:
                    repository.change(work.session, held, cancel_sent_at=func.clock_timestamp())
            elif job.pause_wanted or (job.pause_wanted is not None and not self._access.is_paused(job.project_id)):
                remote = self._pause_or_resume(held, job, target)
            else:
                with self._connections.data(target, Traffic.READ) as azure:
                    remote = azure.get_job(job.remote_id)
        except NotThere:
            self._missing(held, job)
            return
        except (Throttled, Unavailable, Unauthorised) as error:
            if wished:
                raise
            self._leave_to_the_watch(held, job, error)
            return
        except Refused as error:
            if wished:
                self._wish_refused(held, job, error)
                return
            raise
        if meaning(remote) in SPEAKING:
            self.read_events(held, target, job_id=job.id, project_id=job.project_id, remote_id=job.remote_id)
        self._take_in(held, job, remote)

    def _leave_to_the_watch(self, held: Claim, job: Job, error: AzureError) -> None:
        """Azure cannot be asked: that is not the job's fault and parks nothing. The watch sees it when it can."""
        with self._bench.begin() as work:
            wait = self._fallback(JobStatus(job.status))
            care.give_back(work.session, held, error=describe(error), check_in_seconds=wait, forgive=True)
            repository.heed_wishes(work.session, held.row_id)

    def _pause_or_resume(self, held: Claim, job: Job, target: AzureTarget) -> RemoteJob:
        assert job.remote_id is not None  # noqa: S101  see _follow
        traffic = Traffic.STOP_MONEY if job.pause_wanted else Traffic.WRITE
        with self._connections.data(target, traffic) as azure:
            remote = azure.pause_job(job.remote_id) if job.pause_wanted else azure.resume_job(job.remote_id)
        with self._bench.begin() as work:
            repository.change(work.session, held, pause_wanted=None)
        return remote

    def _wish_refused(self, held: Claim, job: Job, error: Refused) -> None:
        """Azure would not cancel or pause, usually because the job has just ended: look what it is instead."""
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=0,
                cancel_sent_at=func.clock_timestamp() if job.cancel_requested_at else None,
                pause_wanted=None,
                pause_reason=None,
            )
            work.announce("job.wish_refused", project_id=job.project_id, subject_id=job.id, error=describe(error))

    def _missing(self, held: Claim, job: Job) -> None:
        """Somebody deleted the job at Azure. It is never made again by itself: that would cost money."""
        with self._bench.read() as session:
            missing_seconds = repository.missing_seconds(session, job.id)
        if missing_seconds is None:
            self._finish(held, check_in_seconds=MISSING_SECONDS, missing_since=func.clock_timestamp())
            return
        if missing_seconds < MISSING_SECONDS:
            self._finish(held, check_in_seconds=MISSING_SECONDS - missing_seconds)
            return
        error = {
            "code": "removed_at_azure",
            "message": "Azure no longer knows this job; somebody deleted it there.",
            "hint": "Create a new job if it is still wanted; nothing that costs money is re-created by itself.",
        }
        with self._bench.begin() as work:
            self._costs.spend_reservation(
                work, subject_id=job.id, note="deleted at Azure, so its bill is not known"
            )
            self._move(
                work,
                held,
                job,
                JobStatus.FAILED,
                check_in_seconds=0,
                finished_at=func.clock_timestamp(),
                error=error,
            )

    def _take_in(self, held: Claim, job: Job, remote: RemoteJob) -> None:
        """Keep what Azure says and, when its word means something to us, move."""
        wanted = meaning(remote)
        tell_unknown(job.id, job.remote_status, remote)
        if JobStatus(job.status) not in IN_FLIGHT:
            self._finish(held, check_in_seconds=0)
            return
        values = repository.sighting(remote)
        if wanted is JobStatus.RUNNING and job.started_at is None:
            values["started_at"] = func.clock_timestamp()
        if wanted is None or wanted == job.status:
            status = JobStatus(job.status)
            self._finish(
                held,
                check_in_seconds=2.0 if job.cancel_requested_at else self._fallback(status),
                updated_at=func.clock_timestamp(),
                **values,
            )
        elif wanted in IN_FLIGHT:
            with self._bench.begin() as work:
                self._move(work, held, job, wanted, check_in_seconds=self._fallback(wanted), **values)
        elif wanted is JobStatus.COLLECTING:
            with self._bench.begin() as work:
                work.nudge("jobs.advance", job.id)
                self._move(
                    work,
                    held,
                    job,
                    wanted,
                    check_in_seconds=0,
                    finished_at=remote.finished_at or func.clock_timestamp(),
                    **values,
                )
        else:
            self._end(held, job, wanted, remote, values)

    def _end(self, held: Claim, job: Job, wanted: JobStatus, remote: RemoteJob, values: dict[str, Any]) -> None:
        """Failed or cancelled at Azure. A failed job is not billed; a cancelled one is, as far as it trained.

        Source: Microsoft Learn, fine-tuning cost management, 2026-03-19.
        """
        error = None
        if wanted is JobStatus.FAILED:
            said = dict(remote.error or {})
            error = {
                "code": f"azure_{said.get('code') or 'job_failed'}",
                "message": said.get("message") or "Azure failed the job without a reason.",
                "hint": "The job events may tell more; nothing was billed.",
                "remote": said,
            }
        with self._bench.begin() as work:
            cost = self._settle_end(work, job, wanted, remote)
            self._move(
                work,
                held,
                job,
                wanted,
                check_in_seconds=0,
                finished_at=remote.finished_at or func.clock_timestamp(),
                error=error,
                cost_usd=cost,
                **values,
            )

    def _settle_end(self, work: UnitOfWork, job: Job, wanted: JobStatus, remote: RemoteJob) -> Decimal | None:
        if job.method == "reinforcement" and wanted is JobStatus.CANCELLED and job.started_at is not None:
            hours = self._price_of_hours(work, job)
            if hours is not None or job.origin == JobOrigin.ELSEWHERE:
                amount, note = hours or (None, "")
                self._settle(work, job, amount, f"cancelled; {note}")
                return amount
        if wanted is JobStatus.CANCELLED and remote.trained_tokens is None and job.started_at is not None:
            if job.origin == JobOrigin.ELSEWHERE:
                return None
            return self._costs.spend_reservation(
                work, subject_id=job.id, note="cancelled while training; Azure did not say how much it trained"
            )
        cost = Decimal(0) if wanted is JobStatus.FAILED else self._price(job, trained=remote.trained_tokens)
        self._settle(work, job, cost, str(wanted))
        return cost

    def read_events(
        self,
        held: Claim,
        target: AzureTarget,
        *,
        job_id: str,
        project_id: str,
        remote_id: str,
        checkpoints: bool = True,
    ) -> None:
        """Keep the job's new events and the measured values in them. Twice at once is harmless: each is kept once.

        Args:
            held: of the job, or of the connection whose watch reads for it; its lease begins anew with any news.
            checkpoints: read those, too, if the events tell of one.
        """
        with self._bench.begin() as work:  # before the call, so that one that always fails waits its turn, too
            known = repository.known_events(work.session, job_id)
            repository.events_asked(work.session, job_id)
        with self._connections.data(target, Traffic.READ) as azure:
            events = azure.job_events(remote_id, known=known)
        failpoint("jobs.watch.read")
        if not events:
            self._mind_silence(job_id)
            return
        measured = as_results(
            (int(event.data["step"]), {k: v for k, v in event.data.items() if k != "step"})
            for event in events
            if event.type == "metrics" and str(event.data.get("step", "")).replace(".0", "").isdigit()
        )
        with self._bench.begin() as work:
            revision = repository.next_revision(work.session, job_id)
            new = repository.add_events(work.session, job_id, events, revision=revision)
            repository.put_points(
                work.session, job_id, ((point.step, point.values) for point in measured.points), revision=revision
            )
            if new and measured.points:
                last = measured.points[-1]
                work.announce(
                    "job.progress",
                    project_id=project_id,
                    subject_id=job_id,
                    step=last.step,
                    values=dict(last.values),
                )
                course.mind(work, job_id, self._bench.catalogue)
            care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)
        if checkpoints:
            self._read_checkpoints(target, job_id, remote_id, events)

    def _read_checkpoints(
        self, target: AzureTarget, job_id: str, remote_id: str, events: Sequence[RemoteJobEvent]
    ) -> None:
        """Of a training that goes on: when its events tell of an epoch's end, or of something else than a measured
        step, such as a pause. What Azure does not answer now is read at the next news, at the latest with the end.
        """
        if not any(tells_of_checkpoint(event) for event in events):
            return
        with self._bench.read() as session:
            if not repository.has_points(session, job_id):
                return  # nothing was trained yet
        try:
            with self._connections.data(target, Traffic.READ) as azure:
                found = azure.checkpoints(remote_id)
        except AzureError as error:
            log.info("job.checkpoints_unread", id=job_id, error=error.message[:300])
            return
        with self._bench.begin() as work:
            repository.keep_checkpoints(work.session, job_id, found)

    def _mind_silence(self, job_id: str) -> None:
        with self._bench.read() as session:
            silent = course.is_silent(session, job_id)
        if silent:
            with self._bench.begin() as work:
                course.mind(work, job_id, self._bench.catalogue)

    # ── the end ─────────────────────────────────────────────────────────────

    def _collect(self, held: Claim, job: Job) -> None:
        """Read everything Azure will ever say of the job, judge the training, settle the cost."""
        assert job.remote_id is not None  # noqa: S101  see _follow
        target = self._connections.target_of(job.connection_id)
        self.read_events(
            held,
            target,
            job_id=job.id,
            project_id=job.project_id,
            remote_id=job.remote_id,
            checkpoints=False,  # all of them are read below
        )
        with self._connections.data(target, Traffic.READ) as azure:
            remote = azure.get_job(job.remote_id)
            checkpoints = azure.checkpoints(job.remote_id)
            content = (
                azure.file_content(remote.result_files[0], max_bytes=RESULTS_BYTES_MAX)
                if remote.result_files
                else None
            )
        failpoint("jobs.collect.read")
        parsed, problem = self._parse(content)
        if content is not None:
            with self._bench.storage.writer(job.results_key) as file:
                file.write(content)
        job.remote = dict(remote.raw)
        trained = remote.trained_tokens or job.trained_tokens
        cost, billed = self._price(job, trained=trained), f"{trained or 0:,} tokens trained"
        with self._bench.begin() as work:
            if job.method == "reinforcement":
                cost, billed = self._price_of_hours(work, job) or (None, "Azure told no hours")
            care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)
            if parsed is not None:
                repository.put_points(
                    work.session,
                    job.id,
                    ((point.step, point.values) for point in parsed.points),
                    revision=repository.next_revision(work.session, job.id),
                )
            repository.keep_checkpoints(work.session, job.id, checkpoints)
            results = as_results(repository.points(work.session, job.id))
            judged = judge(job, results, repository.checkpoints(work.session, job.id))
            self._settle(work, job, cost, billed)
            self._move(
                work,
                held,
                job,
                JobStatus.SUCCEEDED,
                check_in_seconds=0,
                trained_tokens=trained,
                fine_tuned_model=remote.fine_tuned_model or job.fine_tuned_model,
                analysis=judged.to_json() | ({"results_problem": problem} if problem else {}),
                cost_usd=cost,
                remote=dict(remote.raw),
                remote_mark=repository.mark(remote.raw),
                remote_status=remote.status,
            )

    @staticmethod
    def _parse(content: bytes | None) -> tuple[analysis.Results | None, str | None]:
        if content is None:
            return None, "Azure gave no results file; the curve comes from the job events."
        try:
            return analysis.parse_results(content), None
        except analysis.ResultsError as error:
            return None, f"The results file could not be read ({error}); the curve comes from the job events."

    def _price(self, job: Job, *, trained: int | None = None) -> Decimal | None:
        """Trained tokens × the price that was planned with; None when either is not known."""
        price = (job.plan.get("estimate") or {}).get("price_usd_per_million_tokens")
        if price is None:
            return None
        return Decimal(price) * Decimal(trained or job.trained_tokens or 0) / MILLION

    @staticmethod
    def _price_of_hours(work: UnitOfWork, job: Job) -> tuple[Decimal, str] | None:
        """What a reinforcement training cost by its hours, and what that rests on; None when nothing tells.

        Tokens of a model that grades are billed beside it; no answer of Azure's names them.
        """
        price = (job.plan.get("estimate") or {}).get("price_usd_per_hour")
        hours = hours_of(repository.told_of_hours(work.session, job.id))
        if price is None or hours is None:
            return None
        return by_hours(hours[0], Decimal(price)), hours[1]

    def _settle(self, work: UnitOfWork, job: Job, amount: Decimal | None, note: str) -> None:
        if job.origin == JobOrigin.ELSEWHERE:
            return  # its bill is whoever made it's
        self._costs.settle(
            work,
            project_id=job.project_id,
            key_id=job.key_id,
            subject_id=job.id,
            category="training",
            amount_usd=amount,
            note=note,
        )

    def _tidy(self, held: Claim, job: Job) -> None:
        """Give Azure's copies of the data back, one a step; a resource holds only 100 files."""
        done = self._policy.keep_files
        if not done:
            target = self._connections.target_of(job.connection_id)
            done = self._files.tidy_one(held, target, owner_id=job.id)
        self._finish(held, check_in_seconds=None if done else 0)


def tells_of_checkpoint(event: RemoteJobEvent) -> bool:
    """Whether there may be a checkpoint that was not there before this event.

    Source: Microsoft Learn, fine-tuning tutorial, 2026: a checkpoint stands at the end of each epoch, where the
    whole validation set is measured; REST page, 2026-10-05: after a pause there is one once it was evaluated.
    """
    return event.type != "metrics" or any(name.startswith("full_valid") for name in event.data)


def _refused_types(job: Job) -> list[str]:
    return [str(refusal["training_type"]) for refusal in job.refusals]


def marks(job: Job) -> tuple[str, int]:
    """Suffix and seed by which a job is known where Azure keeps no metadata (the dated api-versions)."""
    tail = derived_suffix(job.op_key)
    suffix = f"{job.suffix[:28]}-{tail}" if job.suffix else tail
    return suffix, job.seed if job.seed is not None else derived_seed(job.op_key)


def meaning(remote: RemoteJob) -> JobStatus | None:
    """What Azure's word means to us; None when it changes nothing, as does one never seen before."""
    wanted = BY_REMOTE_WORD.get(remote.status)
    if wanted is JobStatus.COLLECTING and remote.fine_tuned_model is None:
        return None  # Azure says succeeded before its safety evaluation has named the model
    return wanted


def tell_unknown(job_id: str, known_status: str | None, remote: RemoteJob) -> None:
    """Once for each job and word that means nothing to us: from then on it stands in the row."""
    if remote.status not in BY_REMOTE_WORD and remote.status != known_status:
        log.warning("job.unknown_remote_status", id=job_id, remote_status=remote.status)


def watch_interval(policy: Policy, status: JobStatus, *, age_seconds: float = 0.0) -> float:
    """How long a job in this state may go unseen, in seconds."""
    if age_seconds > policy.watch_old_after_seconds:
        return policy.watch_old_seconds
    if status is JobStatus.RUNNING:
        return policy.watch_running_seconds
    return policy.watch_starting_seconds
