"""A study's steps, taken by workers under a claim: take in what has ended, begin what the budget bears, end.

A trial's job is made under the trial's id, so that after a crash between making it and noting it the same job is
found again.
"""

import contextlib
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import structlog
from sqlalchemy import func

from app.access.service import AccessService
from app.costs.service import BudgetExceeded
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService
from app.jobs.states import JOB_LAW, JobStatus
from app.jobs.tables import Job
from app.kit import care
from app.kit.care import Claim
from app.kit.errors import Conflict, Invalid, NotFound
from app.kit.failpoints import failpoint
from app.studies import repository
from app.studies.evaluating import Progress, TrialEvaluation, unmeasured
from app.studies.service import committed, job_of
from app.studies.states import DONE, STUDY_LAW, UNDER_WAY, StudyStatus, TrialStatus
from app.studies.tables import Study, Trial
from app.studies.verdict import measure
from app.workbench import Workbench

log = structlog.get_logger("kitae.studies")

LOOK_SECONDS: Final = 60.0
"""How often a study looks at its jobs by itself; their end is told, and only a lost nudge waits so long."""
KEY_GONE: Final = ("key_gone", "The key that asked for the study opens nothing any more.")
PAUSED_LOOK_SECONDS: Final = 15.0
"""How often it looks whether it may go on: the project is paused, or has too many jobs."""


class StudySteps:
    """What workers do for studies."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._access = AccessService(bench)
        self._jobs = JobService(bench)
        self._evaluation = TrialEvaluation(bench)

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
        moved = [trial for trial in trials if self._follow(held, study, trial)]
        if moved:
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
        under_way = [trial for trial in trials if trial.status in UNDER_WAY]
        waiting = [trial for trial in trials if trial.status == TrialStatus.WAITING]
        left = study.budget_usd - committed(trials)
        bearable = [trial for trial in waiting if trial.high_usd is None or trial.high_usd <= left]
        if bearable and len(under_way) < study.at_once:
            self._begin(held, study, bearable[0])
        elif waiting and not under_way:
            money = f"${left:.2f} of the study's budget are left; this trial may cost more."
            self._leave_out(held, study, waiting, "budget_spent", money)
        else:
            self._finish(held, study, check_in_seconds=self._pause(trials))

    def _pause(self, trials: Sequence[Trial]) -> float:
        evaluating = any(trial.status == TrialStatus.EVALUATING for trial in trials)
        return self._bench.policy.deployment_poll_seconds if evaluating else LOOK_SECONDS

    def _follow(self, held: Claim, study: Study, trial: Trial) -> bool:
        """Whether something has changed with a trial that is under way."""
        if trial.status == TrialStatus.TRAINING:
            return self._take_in(held, study, trial)
        return trial.status == TrialStatus.EVALUATING and self._evaluate(held, study, trial)

    def _begin(self, held: Claim, study: Study, trial: Trial) -> None:
        caller = self._access.caller(study.project_id, study.key_id)
        if caller is None:
            self._leave_out(held, study, [trial], *KEY_GONE)
            return
        try:
            job_id = self._jobs.create(caller, self._wanted(study, trial), reservation_id=trial.id)
        except BudgetExceeded as error:
            self._leave_out(held, study, [trial], error.code, error.detail)
            return
        except Conflict as error:  # paused, halted or too many jobs: none of it is the trial's fault
            log.info("study.waits", id=study.id, code=error.code)
            self._finish(held, study, check_in_seconds=PAUSED_LOOK_SECONDS)
            return
        except (Invalid, NotFound) as error:
            self._leave_out(held, study, [trial], error.code, f"{error.detail} {_first(error)}".strip())
            return
        failpoint("studies.trial.begun")
        self._note_job(held, study, trial, job_id)
        self._finish(held, study, check_in_seconds=0)

    def _note_job(self, held: Claim, study: Study, trial: Trial, job_id: str) -> None:
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
        if study.evaluation is not None:
            values |= {"score": None}  # of the curve, which is not compared with scores of cases
        if study.evaluation is not None and status is JobStatus.SUCCEEDED:
            wanted = TrialStatus.EVALUATING
        else:
            wanted = TrialStatus.UNMEASURED if values.get("score") is None else TrialStatus.MEASURED
        values |= {
            "status": wanted,
            "job_status": status,
            "cost_usd": job.cost_usd if job.cost_usd is not None else _reserved(trial, status),
            "error": job.error,
        }
        self._note(held, study, trial, values)
        return True

    def _evaluate(self, held: Claim, study: Study, trial: Trial) -> bool:
        """Whether the trial's evaluation came a step further."""
        try:
            progress = self._progress(study, trial)
        except Conflict as error:  # not at this moment: paused, full, or a cap that may be raised
            log.info("study.waits", id=study.id, trial=trial.number, code=error.code)
            return False
        except (Invalid, NotFound) as error:
            detail = f"{error.detail} {_first(error)}".strip()
            progress = unmeasured(error.code, detail, trial.cost_usd)
        if not progress.values:
            return False
        if "status" in progress.values:
            self._note(held, study, trial, progress.values)
        else:
            failpoint("studies.trial.evaluating")
            with self._bench.begin() as work:
                repository.change_trial(work.session, held, trial.id, **progress.values)
        return True

    def _progress(self, study: Study, trial: Trial) -> Progress:
        caller = self._access.caller(study.project_id, study.key_id)
        if study.cancel_requested_at is not None or caller is None:
            return self._evaluation.stop(study.project_id, trial)
        return self._evaluation.advance(caller, study, trial)

    def _note(self, held: Claim, study: Study, trial: Trial, values: dict[str, Any]) -> None:
        """What came of a trial, once it is known."""
        with self._bench.begin() as work:
            repository.change_trial(work.session, held, trial.id, **values)
            if values["status"] in DONE:
                work.announce(
                    "study.trial_ended",
                    project_id=study.project_id,
                    subject_id=study.id,
                    trial=trial.number,
                    job=trial.job_id,
                    status=str(values["status"]),
                    score=values.get("score"),
                )
        failpoint("studies.trial.recorded")

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

    def _leave_out(self, held: Claim, study: Study, trials: Sequence[Trial], code: str, message: str) -> None:
        """These are not begun; one whose job was made before a crash is under way after all."""
        for trial in trials:
            job_id = self._jobs.made_for(study.project_id, trial.id)
            if job_id is not None:
                self._note_job(held, study, trial, job_id)
                continue
            left_out = {"status": TrialStatus.LEFT_OUT, "error": {"code": code, "message": message}}
            self._note(held, study, trial, left_out)
        self._finish(held, study, check_in_seconds=0)

    def _call_off(self, held: Claim, study: Study, trials: Sequence[Trial]) -> None:
        """Somebody wished the end: leave out what waits, cancel what trains, and end when all of it has."""
        waiting = [trial for trial in trials if trial.status == TrialStatus.WAITING]
        if waiting:
            self._leave_out(held, study, waiting, "cancelled", "The study was cancelled before it began.")
            return
        for trial in trials:
            if trial.status == TrialStatus.TRAINING:
                with contextlib.suppress(Conflict):  # it has ended meanwhile, and the next look takes that in
                    self._jobs.cancel(study.project_id, trial.job_id or "")
        if any(trial.status in UNDER_WAY for trial in trials):
            self._finish(held, study, check_in_seconds=self._pause(trials))
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


def _first(error: Invalid | NotFound) -> str:
    return error.errors[0].detail if error.errors else ""
