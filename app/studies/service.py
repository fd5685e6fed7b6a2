"""What one can do with studies: plan, create, cancel, retry, and read the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import func

from app.access.service import refuse_if_paused
from app.connections.service import ConnectionService
from app.costs.service import CostService
from app.datasets.service import DatasetService
from app.deployments.service import DEVELOPER, hosting_usd
from app.graders import GraderFault, parse
from app.jobs.schemas import JobCreate, JobPlan
from app.jobs.service import JobService, PlanRefused
from app.jobs.watchdog import Diverging, NotANumber, ValidationRising, WatchPolicy
from app.kit.caller import Caller
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.studies import repository
from app.studies.schemas import (
    Evaluation,
    RecommendationRead,
    StudyCreate,
    StudyPlan,
    StudyRead,
    TrialPlan,
    TrialRead,
)
from app.studies.states import UNDER_WAY, StudyStatus, TrialStatus
from app.studies.tables import Study, Trial
from app.studies.variations import TRIALS_MAX, Settings, grid, label, varied
from app.studies.verdict import Measure, Row, gains, recommend
from app.workbench import Workbench

RUNNING_MAX: Final = 5
"""Studies that a project may have under way: each may hold several of its unfinished jobs."""
EARLY_STOP: Final = WatchPolicy(
    rules=[ValidationRising(action="cancel"), NotANumber(action="cancel"), Diverging(action="cancel")]
)
"""The watch-dog of a trial whose job names none: a curve that only gets worse is not paid to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """A study that could be begun: its job with ids in place of names, and what each trial would be."""

    job: dict[str, Any]
    evaluation: dict[str, Any] | None
    sample_size: int | None
    plan: StudyPlan


class StudyService:
    """The studies of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._datasets = DatasetService(bench)
        self._jobs = JobService(bench)
        self._costs = CostService(bench)

    # ── before ──────────────────────────────────────────────────────────────

    def plan(self, caller: Caller, new: StudyCreate) -> StudyPlan:
        """Every trial with its cost; nothing is made. Raises as `create` does."""
        return self._draft(caller, new).plan

    def _draft(self, caller: Caller, new: StudyCreate) -> _Draft:
        all_settings = list(grid(new.vary)) if new.vary else new.variations
        _refuse_unusable(new, all_settings)
        job = self._pinned(caller.project_id, new.job)
        chosen = None
        if _leaves_training_type(new.job) and not any("training_type" in settings for settings in all_settings):
            job["training_type"] = chosen = self._cheapest(caller, job, all_settings[0])
        plans = []
        faults = []
        for index, settings in enumerate(all_settings):
            pointer = f"/variations/{index}" if new.variations else "/vary"
            plan = self._jobs.plan(caller, job_of(job, settings, pointer=pointer))
            plans.append(plan)
            faults += [
                FieldError(
                    pointer=pointer,
                    detail=f"{label(settings)}: {check.detail} {check.remedy}".strip(),
                    code=check.code,
                )
                for check in plan.checks
                if check.verdict == "error"
            ]
        if faults:
            raise PlanRefused(
                f"{len(faults)} error(s) in the plans of the trials; nothing was made.", errors=faults[:50]
            )
        return _Draft(
            job=job,
            evaluation=self._evaluation(caller.project_id, new),
            sample_size=self._sample_size(caller.project_id, new),
            plan=self._plan(new, chosen, list(zip(all_settings, plans, strict=True))),
        )

    def _plan(
        self, new: StudyCreate, training_type: str | None, drafted: Sequence[tuple[Settings, JobPlan]]
    ) -> StudyPlan:
        left = new.budget_usd
        trials = []
        for number, (settings, plan) in enumerate(drafted, start=1):
            estimate = plan.estimate
            evaluating = self._evaluation_usd(new.evaluation, plan.base_model)
            expected = _total([estimate.expected_usd if estimate else None, evaluating])
            high = _total([estimate.high_usd if estimate else None, evaluating])
            fits = high is None or high <= left
            left -= high if high is not None and fits else Decimal(0)
            trials.append(
                TrialPlan(number=number, settings=settings, expected_usd=expected, high_usd=high, fits=fits)
            )
        warnings = []
        if any(one.high_usd is None for one in trials):
            warnings.append("No price is known for some trials: the budget cannot hold them back.")
        fitting = sum(one.fits for one in trials)
        if fitting < len(trials):
            warnings.append(
                f"The budget does not bear the most that all trials may cost: {fitting} of {len(trials)} can "
                "surely be begun, the others if those before them cost less than that."
            )
        return StudyPlan(
            training_type=training_type,
            trials=trials,
            expected_usd=_total([one.expected_usd for one in trials]),
            high_usd=_total([one.high_usd for one in trials]),
            budget_usd=new.budget_usd,
            warnings=warnings,
        )

    def _pinned(self, project_id: str, job: JobCreate) -> dict[str, Any]:
        """The job by ids, so that all trials are trained and measured on the same bytes, whenever they begin."""
        pinned = job.model_dump(mode="json", exclude_unset=True, exclude={"dry_run"})
        pinned["connection"] = self._connections.get(project_id, job.connection).id
        pinned["training"] = self._datasets.version(project_id, job.training).id
        if job.validation is not None:
            pinned["validation"] = self._datasets.version(project_id, job.validation).id
        if job.watch is None:
            pinned["watch"] = EARLY_STOP.model_dump(mode="json")
        return pinned

    def _sample_size(self, project_id: str, new: StudyCreate) -> int | None:
        """Of what a score is a share: the answers' tokens of the validation set, or the cases."""
        if new.evaluation is not None:
            ref = new.evaluation.validation or new.job.validation or ""
            return min(new.evaluation.cases_max, self._datasets.version(project_id, ref).examples or 1)
        if new.job.validation is None:
            return None
        report = self._datasets.version(project_id, new.job.validation).report or {}
        tokens = (report.get("tokens") or {}).get("by_role", {}).get("assistant")
        return int(tokens) if tokens else None

    def _evaluation(self, project_id: str, new: StudyCreate) -> dict[str, Any] | None:
        """By ids, like the job."""
        if new.evaluation is None:
            return None
        if new.evaluation.grader is not None:
            _refuse_unusable_grader(new.evaluation.grader)
        pinned = new.evaluation.model_dump(mode="json")
        if new.evaluation.validation is not None:
            pinned["validation"] = self._datasets.version(project_id, new.evaluation.validation).id
        return pinned

    def _evaluation_usd(self, wanted: Evaluation | None, base_model: str) -> Decimal | None:
        """The most that evaluating one trial may cost, its hosting included; None where no price is known."""
        if wanted is None:
            return Decimal(0)
        if wanted.sku == DEVELOPER:
            return wanted.max_cost_usd
        hourly = self._costs.hourly_hosting(base_model=base_model, sku=wanted.sku)
        return _total([wanted.max_cost_usd, hosting_usd(hourly, wanted.ttl_seconds)])

    def _cheapest(self, caller: Caller, job: dict[str, Any], settings: Settings) -> str:
        """The training type with the lowest expected cost of those for which the first trial's plan holds."""
        base = self._bench.catalogue.find(self._jobs.plan(caller, job_of(job, settings)).base_model)
        offered = [name for name, yes in base.training_types.items() if yes] if base else []
        costs: dict[str, Decimal] = {}
        for name in offered:
            plan = self._jobs.plan(caller, job_of({**job, "training_type": name}, settings))
            if plan.ok and plan.estimate is not None and plan.estimate.expected_usd is not None:
                costs[name] = plan.estimate.expected_usd
        if not costs:
            return str(JobCreate.model_fields["training_type"].default)
        return min(costs, key=lambda name: (costs[name], name))

    # ── making ──────────────────────────────────────────────────────────────

    def create(self, caller: Caller, new: StudyCreate, *, reservation_id: str | None = None) -> StudyRead:
        """Accept a study; workers begin its trials. Money is reserved job by job, when each begins.

        Args:
            reservation_id: of an idempotent request; the same one again answers the study it made.

        Raises:
            Invalid: what is varied is no job's setting, or not a single trial fits the budget.
            PlanRefused: a trial's plan has an error.
            Conflict: the project is paused, or has too many studies under way.
        """
        if reservation_id is not None:
            with self._bench.read() as session:
                made = repository.find_reserved(session, reservation_id)
            if made is not None:
                return self.get(caller.project_id, made)
        draft = self._draft(caller, new)
        plan = draft.plan
        if not any(trial.fits for trial in plan.trials):
            detail = f"Not a single trial fits: each may cost more than ${new.budget_usd:.2f}."
            raise Invalid(
                detail,
                code="budget_too_small",
                errors=[FieldError(pointer="/budget_usd", detail=detail, code="budget_too_small")],
            )
        study_id = new_id("std")
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            running = repository.count_running(work.session, caller.project_id)
            if running >= RUNNING_MAX:
                raise Conflict(
                    f"The project has {running} studies under way, as many as it may have.",
                    code="too_many_studies",
                    hint="Wait until one has ended, or cancel one.",
                    retry_after_seconds=60,
                )
            repository.add(
                work.session,
                Study(
                    id=study_id,
                    project_id=caller.project_id,
                    key_id=caller.key_id,
                    reservation_id=reservation_id,
                    name=new.name,
                    status=StudyStatus.RUNNING,
                    job=draft.job,
                    evaluation=draft.evaluation,
                    budget_usd=new.budget_usd,
                    at_once=new.at_once,
                    sample_size=draft.sample_size,
                    next_check_at=func.clock_timestamp(),
                ),
                [
                    Trial(
                        id=new_id("trl"),
                        study_id=study_id,
                        number=trial.number,
                        settings=trial.settings,
                        status=TrialStatus.WAITING,
                        expected_usd=trial.expected_usd,
                        high_usd=trial.high_usd,
                    )
                    for trial in plan.trials
                ],
            )
            work.announce(
                "study.running",
                project_id=caller.project_id,
                subject_id=study_id,
                name=new.name,
                trials=len(plan.trials),
                budget_usd=f"{new.budget_usd:.4f}",
            )
            work.nudge("studies.advance", study_id)
        return self.get(caller.project_id, study_id)

    # ── wishes ──────────────────────────────────────────────────────────────

    def cancel(self, project_id: str, study_id: str) -> StudyRead:
        """Begin nothing more and cancel what is being trained; twice is as good as once.

        Raises:
            Conflict: it has ended already (`study_finished`).
        """
        with self._bench.begin() as work:
            study = self._known(repository.find(work.session, project_id, study_id), study_id)
            if not repository.ask(work.session, study_id):
                raise Conflict(f"The study has {study.status}, so it cannot be cancelled.", code="study_finished")
            if study.cancel_requested_at is None:
                work.announce("study.cancel_requested", project_id=project_id, subject_id=study_id)
            work.nudge("studies.advance", study_id)
        return self.get(project_id, study_id)

    def retry(self, project_id: str, study_id: str) -> StudyRead:
        """Look again at a parked study. Raises `Conflict` (`not_parked`)."""
        with self._bench.begin() as work:
            self._known(repository.find(work.session, project_id, study_id), study_id)
            if not repository.unpark(work.session, study_id):
                raise Conflict("The study is not parked; it is being looked after.", code="not_parked")
            work.announce("study.retry_requested", project_id=project_id, subject_id=study_id)
            work.nudge("studies.advance", study_id)
        return self.get(project_id, study_id)

    def job_ended(self, job_id: str) -> None:
        """News from below: the study that waits for this job looks now. Doing it twice changes nothing."""
        with self._bench.begin() as work:
            study_id = repository.of_job(work.session, job_id)
            if study_id is not None:
                work.nudge("studies.advance", study_id)

    # ── reading ─────────────────────────────────────────────────────────────

    def get(self, project_id: str, study_id: str) -> StudyRead:
        """Raises `NotFound`."""
        with self._bench.read() as session:
            study = self._known(repository.find(session, project_id, study_id), study_id)
            trials = repository.trials(session, [study_id])
        return _read(study, trials)

    def page(self, project_id: str, wanted: Page, *, status: StudyStatus | None) -> Slice[StudyRead]:
        with self._bench.read() as session:
            found = repository.page(session, project_id, wanted, status=status)
            trials = repository.trials(session, [study.id for study in found.rows])
        shown = [_read(study, [trial for trial in trials if trial.study_id == study.id]) for study in found.rows]
        return Slice(shown, found.has_more)

    @staticmethod
    def _known(study: Study | None, study_id: str) -> Study:
        if study is None:
            raise NotFound(f"There is no study {study_id!r} in this project.", code="study_not_found")
        return study


def job_of(job: dict[str, Any], settings: Settings, *, pointer: str = "/vary") -> JobCreate:
    """The job of a trial. Raises `Invalid` where the settings are none of a job's."""
    try:
        return JobCreate.model_validate(varied(job, settings))
    except ValidationError as error:
        errors = [
            FieldError(
                pointer=pointer,
                detail=f"{label(settings)}: {'.'.join(map(str, one['loc']))}: {one['msg']}",
                code=one["type"],
            )
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise Invalid("A trial is no job that could be made.", code="trial_invalid", errors=errors) from error


def committed(trials: Sequence[Trial]) -> Decimal:
    """What was spent, and the most that trials under way may still cost."""
    return sum(
        ((trial.high_usd if trial.status in UNDER_WAY else trial.cost_usd) or Decimal(0) for trial in trials),
        Decimal(0),
    )


def _refuse_unusable(new: StudyCreate, all_settings: Sequence[Settings]) -> None:
    errors = []
    if len(all_settings) > TRIALS_MAX:
        detail = f"These are {len(all_settings)} trials; a study has at most {TRIALS_MAX}."
        errors.append(FieldError(pointer="/vary", detail=detail, code="too_many_trials"))
    seen: list[Settings] = []
    for index, settings in enumerate(all_settings):
        if settings in seen:
            pointer = f"/variations/{index}" if new.variations else "/vary"
            detail = f"{label(settings)} stands there twice; a training is paid each time."
            errors.append(FieldError(pointer=pointer, detail=detail, code="trial_repeated"))
        seen.append(settings)
    if new.job.validation is None:
        detail = "A study compares its trials on one validation set; name it."
        errors.append(FieldError(pointer="/job/validation", detail=detail, code="validation_missing"))
    if new.job.dry_run:
        detail = "Ask for the plan of the study instead: `dry_run` beside `job`."
        errors.append(FieldError(pointer="/job/dry_run", detail=detail, code="dry_run_misplaced"))
    if errors:
        raise Invalid("The study cannot be begun like this.", code="study_invalid", errors=errors)


def _refuse_unusable_grader(config: dict[str, Any]) -> None:
    try:
        parse(config, at="/evaluation/grader")
    except GraderFault as fault:
        errors = [FieldError(pointer=one.pointer, detail=one.detail, code=one.code) for one in fault.faults]
        raise Invalid("The grader cannot be used.", code="grader_unusable", errors=errors) from fault


def _leaves_training_type(job: JobCreate) -> bool:
    return not job.model_fields_set & {"training_type", "training_types"}


def _total(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


def _read(study: Study, trials: Sequence[Trial]) -> StudyRead:
    rows = [
        Row(
            number=trial.number,
            settings=trial.settings,
            measure=Measure(score=trial.score, loss=trial.loss, step=trial.step or 0),
            cost_usd=trial.cost_usd,
        )
        for trial in trials
        if trial.score is not None
    ]
    gained = gains(rows)
    taken = recommend(rows, sample_size=study.sample_size)
    return StudyRead(
        id=study.id,
        name=study.name,
        status=StudyStatus(study.status),
        status_changed_at=study.status_changed_at,
        job=study.job,
        evaluation=study.evaluation,
        budget_usd=study.budget_usd,
        spent_usd=sum((trial.cost_usd or Decimal(0) for trial in trials), Decimal(0)),
        committed_usd=committed(trials),
        at_once=study.at_once,
        trials=[
            TrialRead(
                number=trial.number,
                settings=trial.settings,
                status=TrialStatus(trial.status),
                job=trial.job_id,
                job_status=trial.job_status,
                score=trial.score,
                loss=trial.loss,
                step=trial.step,
                verdict=trial.verdict,
                deployment=trial.deployment_id,
                baseline=trial.baseline_id,
                cost_usd=trial.cost_usd,
                expected_usd=trial.expected_usd,
                points_gained=gained[trial.number].points if trial.number in gained else None,
                usd_per_point_gained=gained[trial.number].usd_per_point if trial.number in gained else None,
                error=trial.error,
            )
            for trial in trials
        ],
        recommendation=None
        if taken is None
        else RecommendationRead(
            trial=taken.number,
            job=next(trial.job_id for trial in trials if trial.number == taken.number),
            headline=taken.headline,
            reasons=list(taken.reasons),
            next_experiment=taken.next_experiment,
        ),
        error=study.error,
        parked_reason=study.parked_reason,
        created_at=study.created_at,
        finished_at=study.finished_at,
    )
