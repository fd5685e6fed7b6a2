"""What crosses the wire about studies."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.baselines.schemas import CASES_MAX
from app.costs.schemas import Usd
from app.deployments.schemas import Sku, TtlSeconds
from app.jobs.schemas import JobCreate, Ref
from app.kit.wire import Count, Flag, RequestModel
from app.studies.states import StudyStatus, TrialStatus
from app.studies.variations import TRIALS_MAX, Settings

Value = Annotated[int | float | str, Field(union_mode="left_to_right")]
Axis = Annotated[list[Value], Field(min_length=1, max_length=TRIALS_MAX)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Evaluation(RequestModel):
    """Cases that every trial's model is put to: it is deployed, asked, graded, and taken down again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "cases_max": 50,
                    "grader": {
                        "type": "text_similarity",
                        "name": "like the reference",
                        "input": "{{sample.output_text}}",
                        "reference": "{{item.reference}}",
                        "evaluation_metric": "fuzzy_match",
                    },
                    "max_cost_usd": "0.5",
                }
            ]
        }
    )

    validation: Ref | None = Field(
        default=None, description="A dataset version whose rows are the cases; left out: the job's validation set."
    )
    cases_max: Annotated[Count, Field(ge=1, le=CASES_MAX)] = Field(
        default=50, description="Of a larger version so many are drawn, by `seed`: the same for every trial."
    )
    seed: Annotated[Count, Field(ge=0, le=2_147_483_647)] = 0
    grader: dict[str, Any] | None = Field(
        default=None, description="In OpenAI's schema, from 0 to 1. Left out: how like the reference an answer is."
    )
    max_tokens: Annotated[Count, Field(ge=1, le=16_000)] = Field(default=500, description="Most of one answer.")
    sku: Sku = Field(default="DeveloperTier", description="How each model is deployed while it is asked.")
    ttl_seconds: TtlSeconds = 3600
    max_cost_usd: Annotated[Decimal, Field(gt=0, le=10_000, decimal_places=4)] = Field(
        default=Decimal(1), description="The most that asking and grading one trial may cost."
    )


class StudyCreate(RequestModel):
    """Variations of one training."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "travel-epochs",
                    "job": {
                        "connection": "sweden",
                        "model": "gpt-4.1-mini",
                        "training": "travel@3",
                        "validation": "travel-validation@1",
                    },
                    "vary": {"n_epochs": [1, 3, 5], "learning_rate_multiplier": [0.5, 1.0]},
                    "budget_usd": "20",
                }
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    job: JobCreate = Field(
        description="What all have in common. Without a training type it is the cheapest that the model offers."
    )
    vary: Annotated[dict[Name, Axis], Field(max_length=6)] = Field(
        default_factory=dict,
        description="A grid, each with each: hyperparameters, or model, training, training_type, goal, seed.",
    )
    variations: Annotated[list[dict[Name, Value]], Field(max_length=TRIALS_MAX)] = Field(
        default_factory=list, description="Instead of a grid: the settings of each trial."
    )
    evaluation: Evaluation | None = Field(
        default=None,
        description="Compare answers instead of curves: put the same cases to every trial's model.",
    )
    budget_usd: Annotated[Decimal, Field(gt=0, le=10_000_000)] = Field(
        description="Nothing is begun that could take the whole study beyond this."
    )
    at_once: Annotated[Count, Field(ge=1, le=5)] = Field(
        default=2, description="Trainings under way at the same time. Azure runs 3 to 5 of a resource."
    )
    dry_run: Flag = Field(default=False, description="Answer what would be trained, and make nothing.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.vary) == bool(self.variations):
            raise PydanticCustomError(
                "vary_or_variations", "Say what is varied: either `vary` (a grid) or `variations` (a list)."
            )
        return self


class TrialPlan(BaseModel):
    """What a trial would be."""

    number: int
    settings: Settings
    expected_usd: Usd | None
    high_usd: Usd | None
    fits: bool
    """Whether it could be begun within the budget if all before it cost the most they may."""


class StudyPlan(BaseModel):
    """What a study would train, and what it may cost."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "study.plan",
                    "training_type": "developerTier",
                    "trials": [
                        {
                            "number": 1,
                            "settings": {"n_epochs": 1},
                            "expected_usd": "0.1100",
                            "high_usd": "0.1100",
                            "fits": True,
                        }
                    ],
                    "expected_usd": "0.1100",
                    "high_usd": "0.1100",
                    "budget_usd": "20.0000",
                    "warnings": [],
                }
            ]
        }
    )

    object: Literal["study.plan"] = "study.plan"
    training_type: str | None
    """What was chosen because the job names none; null where it does, or where it is varied."""
    trials: list[TrialPlan]
    expected_usd: Usd | None
    high_usd: Usd | None
    budget_usd: Usd
    warnings: list[str]


class TrialRead(BaseModel):
    """One variation, and what came of it."""

    number: int
    settings: Settings
    status: TrialStatus
    job: str | None
    job_status: str | None
    score: float | None = Field(
        description="Percent: of the validation set's tokens, the mean reward, or the mean score of the cases."
    )
    loss: float | None
    step: int | None = Field(description="Of the checkpoint that the score belongs to.")
    verdict: str | None = Field(description="What the analysis says of its curve.")
    deployment: str | None = Field(description="On which its model was put to the cases.")
    baseline: str | None = Field(description="Where every answer to the cases can be read.")
    cost_usd: Usd | None
    expected_usd: Usd | None
    points_gained: float | None = Field(description="Over the cheapest trial that was measured.")
    usd_per_point_gained: Usd | None
    error: dict[str, Any] | None


class RecommendationRead(BaseModel):
    """Which trial to take."""

    trial: int
    job: str | None
    headline: str
    reasons: list[str]
    next_experiment: str | None


class StudyRead(BaseModel):
    """A study as callers see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "study",
                    "id": "std_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "name": "travel-epochs",
                    "status": "succeeded",
                    "status_changed_at": "2026-11-20T10:00:00Z",
                    "job": {
                        "connection": "con_01kz8q7v1efn9s0a2b3c4d5e6f",
                        "model": "gpt-4.1-mini",
                        "training": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                        "validation": "dsv_01kz8q7v1efn9s0a2b3c4d5e70",
                        "training_type": "developerTier",
                    },
                    "evaluation": None,
                    "budget_usd": "20.0000",
                    "spent_usd": "0.3300",
                    "committed_usd": "0.3300",
                    "at_once": 2,
                    "trials": [
                        {
                            "number": 1,
                            "settings": {"n_epochs": 3},
                            "status": "measured",
                            "job": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                            "job_status": "succeeded",
                            "score": 61.2,
                            "loss": 1.43,
                            "step": 90,
                            "verdict": "converged",
                            "deployment": None,
                            "baseline": None,
                            "cost_usd": "0.3300",
                            "expected_usd": "0.3300",
                            "points_gained": 0.0,
                            "usd_per_point_gained": None,
                            "error": None,
                        }
                    ],
                    "recommendation": {
                        "trial": 1,
                        "job": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                        "headline": "Take trial 1: n_epochs 3.",
                        "reasons": ["61.20 points, loss 1.430 on the validation set, at step 90"],
                        "next_experiment": None,
                    },
                    "error": None,
                    "parked_reason": None,
                    "created_at": "2026-11-20T09:00:00Z",
                    "finished_at": "2026-11-20T10:00:00Z",
                }
            ]
        }
    )

    object: Literal["study"] = "study"
    id: str
    name: str | None
    status: StudyStatus
    status_changed_at: datetime
    job: dict[str, Any]
    evaluation: dict[str, Any] | None
    budget_usd: Usd
    spent_usd: Usd
    committed_usd: Usd = Field(description="Spent, and the most that trainings under way may still cost.")
    at_once: int
    trials: list[TrialRead]
    recommendation: RecommendationRead | None = Field(description="Of what was measured so far.")
    error: dict[str, Any] | None
    parked_reason: str | None
    created_at: datetime
    finished_at: datetime | None
