"""A study's steps, taken by workers under a claim: take in what has ended, begin what the budget bears, end.

A trial's job is made under the trial's id, so that after a crash between making it and noting it the same job is
found again.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import structlog
from sqlalchemy import func

from app.access.service import AccessService
from app.costs.service import BudgetExceeded
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService, PlanRefused
from app.jobs.states import JOB_LAW, JobStatus
from app.jobs.tables import Job
from app.kit import care
from app.kit.care import Claim
from app.kit.errors import Conflict, Invalid, NotFound
from app.kit.failpoints import failpoint
from app.studies import repository
from app.studies.service import committed, job_of
from app.studies.states import DONE, STUDY_LAW, StudyStatus, TrialStatus
from app.studies.tables import Study, Trial
from app.studies.verdict import measure
from app.workbench import Workbench

log = structlog.get_logger("kitae.studies")

LOOK_SECONDS: Final = 60.0
"""How often a study looks at its jobs by itself; their end is told, and only a lost nudge waits so long."""
PAUSED_LOOK_SECONDS: Final = 15.0
"""How often it looks whether it may go on: the project is paused, or has too many jobs."""


class StudySteps:
    """What workers do for studies."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._access = AccessService(bench)
        self._jobs = JobService(bench)

    def advance(self, study_id: str) -> None:
        """Take the study as far as it goes without waiting."""
        self._bench.tend(Study, study_id, self._step, noun="study")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            study = repository.get_unscoped(session, held.row_id)
            trials = repository.trials(session, [study.id])
        if study.status != StudyStatus.RUNNING:
            self._finish(held, study, check_in_seconds=None)
            return
        ended = [
            trial for trial in trials if trial.status == TrialStatus.TRAINING and self._take_in(held, study, trial)
        ]
        if ended:
            self._finish(held, study, check_in_seconds=0)
        elif study.cancel_requested_at is not None:
            self._call_off(held, study, trials)
        elif all(trial.status in DONE for trial in trials):
            self._end(held, study, trials)
        else:
            self._go_on(held, study, trials)

    def _finish(self, held: Claim, study: Study, *, check_in_seconds: float | None) -> None:
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=check_in_seconds, updated_at=func.clock_timestamp())
            if study.cancel_requested_at is None:
                repository.heed_cancel(work.session, held.row_id)

    # ── trials ──────────────────────────────────────────────────────────────

    def _go_on(self, held: Claim, study: Study, trials: Sequence[Trial]) -> None:
        """Begin the next trial that the budget bears, or wait."""
        training = [trial for trial in trials if trial.status == TrialStatus.TRAINING]
        waiting = [trial for trial in trials if trial.status == TrialStatus.WAITING]
        left = study.budget_usd - committed(trials)
        bearable = [trial for trial in waiting if trial.high_usd is None or trial.high_usd <= left]
        if len(training) >= study.at_once or (training and not bearable):
            self._finish(held, study, check_in_seconds=LOOK_SECONDS)
        elif bearable:
            self._begin(held, study, bearable[0])
        elif waiting:
            self._leave_out(
                held,
                study,
                "budget_spent",
                f"${left:.2f} of the study's budget are left; this trial may cost more.",
            )
        else:
            self._finish(held, study, check_in_seconds=LOOK_SECONDS)

    def _begin(self, held: Claim, study: Study, trial: Trial) -> None:
        caller = self._access.caller(study.project_id, study.key_id)
        if caller is None:
            self._leave_out(held, study, "key_gone", "The key that asked for the study opens nothing any more.")
            return
        try:
            job_id = self._jobs.create(caller, self._wanted(study, trial), reservation_id=trial.id)
        except BudgetExceeded as error:
            self._leave_out(held, study, error.code, error.detail)
            return
        except Conflict as error:  # paused, halted or too many jobs: none of it is the trial's fault
            log.info("study.waits", id=study.id, code=error.code)
            self._finish(held, study, check_in_seconds=PAUSED_LOOK_SECONDS)
            return
        except (PlanRefused, Invalid, NotFound) as error:
            refused = {"code": error.code, "message": error.detail, "errors": _errors(error)}
            with self._bench.begin() as work:
                repository.change_trial(work.session, held, trial.id, status=TrialStatus.LEFT_OUT, error=refused)
            self._finish(held, study, check_in_seconds=0)
            return
        failpoint("studies.trial.begun")
        with self._bench.begin() as work:
            repository.change_trial(work.session, held, trial.id, status=TrialStatus.TRAINING, job_id=job_id)
            work.announce(
                "study.trial_begun",
                project_id=study.project_id,
                subject_id=study.id,
                trial=trial.number,
                settings=trial.settings,
                job=job_id,
            )
        self._finish(held, study, check_in_seconds=0)

    @staticmethod
    def _wanted(study: Study, trial: Trial) -> JobCreate:
        """The trial's job, which says at Azure whose it is."""
        wanted = job_of(study.job, trial.settings)
        return wanted.model_copy(update={"metadata": {**wanted.metadata, "study": f"{study.id}/{trial.number}"}})

    def _take_in(self, held: Claim, study: Study, trial: Trial) -> bool:
        """Whether the trial's job has ended; what came of it is then in its row."""
        job = self._jobs.job(study.project_id, trial.job_id or "")
        status = JobStatus(job.status)
        if status not in JOB_LAW.terminal:
            return False
        values = self._measured(study, job)
        with self._bench.begin() as work:
            repository.change_trial(
                work.session,
                held,
                trial.id,
                status=TrialStatus.MEASURED if "score" in values else TrialStatus.UNMEASURED,
                job_status=status,
                cost_usd=job.cost_usd if job.cost_usd is not None else _reserved(trial, status),
                error=job.error,
                **values,
            )
            work.announce(
                "study.trial_ended",
                project_id=study.project_id,
                subject_id=study.id,
                trial=trial.number,
                job=job.id,
                job_status=str(status),
                score=values.get("score"),
            )
        failpoint("studies.trial.recorded")
        return True

    def _measured(self, study: Study, job: Job) -> dict[str, Any]:
        results = self._jobs.results(study.project_id, job.id)
        judged = self._jobs.analysis(study.project_id, job.id).analysis
        found = measure(results, judged.get("best_step"))
        if found is None:
            return {}
        return {
            "score": found.score,
            "loss": found.loss,
            "step": found.step,
            "verdict": str(judged.get("verdict")),
        }

    # ── ending ──────────────────────────────────────────────────────────────

    def _leave_out(self, held: Claim, study: Study, code: str, message: str) -> None:
        """Begin nothing more; what is being trained is waited for."""
        with self._bench.begin() as work:
            repository.leave_out(work.session, held, {"code": code, "message": message})
        self._finish(held, study, check_in_seconds=0)

    def _call_off(self, held: Claim, study: Study, trials: Sequence[Trial]) -> None:
        """Somebody wished the end: leave out what waits, cancel what trains, and end when all of it has."""
        training = [trial for trial in trials if trial.status == TrialStatus.TRAINING]
        with self._bench.begin() as work:
            why = {"code": "cancelled", "message": "The study was cancelled before it began."}
            repository.leave_out(work.session, held, why)
        for trial in training:
            try:
                self._jobs.cancel(study.project_id, trial.job_id or "")
            except Conflict:
                continue  # it has ended meanwhile, and the next look takes that in
        if training:
            self._finish(held, study, check_in_seconds=LOOK_SECONDS)
        else:
            self._end(held, study, trials, cancelled=True)

    def _end(self, held: Claim, study: Study, trials: Sequence[Trial], *, cancelled: bool = False) -> None:
        measured = [trial for trial in trials if trial.status == TrialStatus.MEASURED]
        wanted = StudyStatus.SUCCEEDED if measured else StudyStatus.FAILED
        wanted = StudyStatus.CANCELLED if cancelled else wanted
        nothing = {
            "code": "nothing_measured",
            "message": "No trial came to anything that can be compared; each says why.",
        }
        with self._bench.begin() as work:
            care.move(
                work.session,
                held,
                STUDY_LAW,
                StudyStatus(study.status),
                wanted,
                check_in_seconds=None,
                finished_at=func.clock_timestamp(),
                error=nothing if wanted is StudyStatus.FAILED else None,
            )
            work.announce(
                f"study.{wanted}",
                project_id=study.project_id,
                subject_id=study.id,
                **{"from": study.status, "to": str(wanted)},
                measured=len(measured),
                spent_usd=f"{committed(trials):.4f}",
            )


def _reserved(trial: Trial, status: JobStatus) -> Decimal | None:
    """Of a job whose cost nobody knows: the most it may have cost, unless it never trained."""
    return None if status is JobStatus.CANCELLED else trial.high_usd


def _errors(error: Invalid | NotFound) -> list[dict[str, Any]]:
    return [{"pointer": one.pointer, "detail": one.detail} for one in getattr(error, "errors", ())]
