"""The same cases put to each trial's model: deployed, asked, graded, and taken down again.

Every step is idempotent under the trial's id, so that a crash between a deed and its note repeats nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from app.baselines.schemas import BaselineCreate, BaselineRead, ZeroShot
from app.baselines.service import BaselineService
from app.baselines.states import BaselineStatus
from app.deployments.schemas import DeploymentCreate, DeploymentRead
from app.deployments.service import DeploymentService
from app.deployments.states import DEPLOYMENT_LAW, DeploymentStatus
from app.kit.caller import Caller
from app.kit.pagination import Page
from app.models.schemas import ModelRead
from app.models.service import ModelService
from app.studies.schemas import Evaluation
from app.studies.states import TrialStatus
from app.studies.tables import Study, Trial
from app.workbench import Workbench

MODELS_OF_A_JOB: Final = 50
"""The final one and its checkpoints; Azure keeps three. Source: Microsoft Learn, fine-tuning, checkpoints, 2026."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one look at a trial came to.

    Attributes:
        values: to be noted in the trial's row; empty = nothing has changed, look again later.
    """

    values: dict[str, Any]


WAIT: Final = Progress({})


class TrialEvaluation:
    """Takes one trial's evaluation a step further."""

    def __init__(self, bench: Workbench) -> None:
        self._models = ModelService(bench)
        self._deployments = DeploymentService(bench)
        self._baselines = BaselineService(bench)

    def advance(self, caller: Caller, study: Study, trial: Trial) -> Progress:
        """The next deed, or what came of the last.

        Raises:
            Invalid, NotFound: what was asked cannot be done; the trial has no score then.
            Conflict: not at this moment.
        """
        wanted = Evaluation.model_validate(study.evaluation)
        if trial.deployment_id is None:
            return self._deploy(caller, wanted, trial)
        deployment = self._deployments.get(caller.project_id, trial.deployment_id)
        if trial.baseline_id is None:
            if deployment.status == DeploymentStatus.READY:
                return self._ask(caller, study, wanted, trial)
            if _is_coming(deployment):
                return WAIT
            return self._take_down(caller.project_id, trial, deployment, None)
        baseline = self._baselines.get(caller.project_id, trial.baseline_id)
        if baseline.status == BaselineStatus.RUNNING and baseline.parked_reason is None:
            return WAIT
        return self._take_down(caller.project_id, trial, deployment, baseline)

    def stop(self, project_id: str, trial: Trial) -> Progress:
        """The same towards an end that somebody wished: nothing more is asked, and the deployment is taken down."""
        if trial.deployment_id is None:
            return unmeasured("cancelled", "The study ended before this model was evaluated.", trial.cost_usd)
        deployment = self._deployments.get(project_id, trial.deployment_id)
        baseline = None if trial.baseline_id is None else self._baselines.get(project_id, trial.baseline_id)
        if baseline is not None and baseline.status == BaselineStatus.RUNNING:
            self._baselines.cancel(project_id, baseline.id)
            return WAIT
        return self._take_down(project_id, trial, deployment, baseline)

    def _deploy(self, caller: Caller, wanted: Evaluation, trial: Trial) -> Progress:
        """Of the checkpoint that the analysis would take, once it is registered."""
        found = self._models.page(caller.project_id, Page(limit=MODELS_OF_A_JOB), job=trial.job_id).rows
        if not found:
            return WAIT
        new = DeploymentCreate(model=_best(found, trial.step).id, sku=wanted.sku, ttl_seconds=wanted.ttl_seconds)
        return Progress({"deployment_id": self._deployments.create(caller, new, reservation_id=trial.id).id})

    def _ask(self, caller: Caller, study: Study, wanted: Evaluation, trial: Trial) -> Progress:
        new = BaselineCreate(
            deployment=trial.deployment_id,
            validation=wanted.validation or study.job["validation"],
            cases_max=wanted.cases_max,
            grader=wanted.grader,
            ways=[ZeroShot(type="zero_shot")],
            seed=wanted.seed,
            max_tokens=wanted.max_tokens,
            max_cost_usd=wanted.max_cost_usd,
        )
        return Progress({"baseline_id": self._baselines.create(caller, new, reservation_id=trial.id).id})

    def _take_down(
        self, project_id: str, trial: Trial, deployment: DeploymentRead, baseline: BaselineRead | None
    ) -> Progress:
        """Have the deployment deleted; once it is gone, what all of it came to."""
        status = DeploymentStatus(deployment.status)
        if status not in DEPLOYMENT_LAW.terminal:
            if status is not DeploymentStatus.DELETING:
                self._deployments.delete(project_id, deployment.id)
            return WAIT
        parts = [trial.cost_usd, deployment.cost_usd, baseline.cost_usd if baseline is not None else None]
        cost = sum((part for part in parts if part is not None), Decimal(0))
        score = None if baseline is None or baseline.report is None else baseline.report.ways[0].score
        if score is not None:
            return Progress(
                {
                    "status": TrialStatus.MEASURED,
                    "score": round(score.mean * 100, 3),
                    "cost_usd": cost,
                    "error": None,
                }
            )
        why = (baseline.error or baseline.last_error if baseline is not None else deployment.error) or {}
        return unmeasured("not_evaluated", str(why.get("message") or "The model could not be evaluated."), cost)


def _is_coming(deployment: DeploymentRead) -> bool:
    starting = deployment.status in {DeploymentStatus.CREATING, DeploymentStatus.WARMING}
    return starting and deployment.parked_reason is None


def _best(models: Sequence[ModelRead], step: int | None) -> ModelRead:
    """The checkpoint of that step, else the final model."""
    at_step = [model for model in models if model.kind == "checkpoint" and model.step == step]
    final = [model for model in models if model.kind == "final"]
    return (at_step or final or list(models))[0]


def unmeasured(code: str, message: str, cost: Decimal | None) -> Progress:
    """A trial without a score, and why."""
    error = {"code": code, "message": message}
    return Progress({"status": TrialStatus.UNMEASURED, "score": None, "cost_usd": cost, "error": error})
