"""What crosses the wire about jobs."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.costs.schemas import CostEstimate, Usd
from app.jobs.watchdog import WatchPolicy
from app.kit.wire import Count, Flag, Measure, RequestModel

Ref = Annotated[str, Field(min_length=1, max_length=200)]
"""An id or a name."""
Goal = Literal["balanced", "fast", "quality", "low_overfit", "reproducible"]
TrainingType = Literal["Standard", "GlobalStandard", "developerTier", "DataZoneStandard"]
Method = Literal["supervised", "dpo", "reinforcement"]
_Whole = Annotated[Count, Field(ge=0, le=1_000_000)]
_Number = Annotated[Measure, Field(ge=0, le=1_000_000)]
"""What can be reckoned with; which values make sense stands in `hyperparameters.json`, and a plan says why."""


class Hyperparameters(RequestModel):
    """What to choose instead of leaving it to Azure; leave a field out for Azure's own choice.

    `GET /v1/hyperparameters` tells each one's methods, range, default and reason.
    """

    n_epochs: _Whole | None = None
    batch_size: _Whole | None = None
    learning_rate_multiplier: _Number | None = None
    beta: _Number | None = Field(default=None, description="dpo only.")
    l2_multiplier: _Number | None = Field(default=None, description="dpo only.")
    reasoning_effort: Literal["default", "low", "medium", "high"] | None = Field(
        default=None, description="reinforcement only."
    )
    compute_multiplier: _Number | None = Field(default=None, description="reinforcement only.")
    eval_interval: _Whole | None = Field(default=None, description="reinforcement only.")
    eval_samples: _Whole | None = Field(default=None, description="reinforcement only.")


class JobCreate(RequestModel):
    """A training to be run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "connection": "sweden",
                    "model": "gpt-4.1-mini",
                    "training": "travel@3",
                    "validation": "travel-validation",
                    "goal": "balanced",
                    "suffix": "travel",
                },
                {
                    "connection": "sweden",
                    "model": "o4-mini",
                    "training": "sums@1",
                    "validation": "sums-validation@1",
                    "method": "reinforcement",
                    "grader": {
                        "type": "string_check",
                        "name": "right",
                        "input": "{{sample.output_text}}",
                        "reference": "{{item.answer}}",
                        "operation": "eq",
                    },
                    "training_types": ["developerTier", "GlobalStandard"],
                },
            ]
        }
    )

    connection: Ref = Field(examples=["sweden"])
    model: Ref | None = Field(
        default=None,
        description="A base model's id or alias; may be left out with `continue_from`.",
        examples=["gpt-4.1-mini"],
    )
    continue_from: Ref | None = Field(
        default=None,
        description="A tuned model to train on: `mdl_…` or its name, a checkpoint `ckp_…`, a job `job_…`, or "
        "Azure's name of it.",
    )
    training: Ref = Field(
        description="A dataset version: `travel@3`, `dsv_…`, or `travel` for its newest ready one."
    )
    validation: Ref | None = None
    method: Method = "supervised"
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)
    grader: dict[str, Any] | None = Field(
        default=None,
        description="reinforcement only, and needed there: string_check, text_similarity, score_model, python or "
        "multi, as OpenAI writes them.",
    )
    response_format: dict[str, Any] | None = Field(
        default=None, description="reinforcement only: a json_schema that every sampled answer keeps to."
    )
    goal: Goal | None = Field(
        default=None, description="Hyperparameters chosen for a purpose; those given explicitly win."
    )
    training_type: TrainingType = "GlobalStandard"
    training_types: Annotated[list[TrainingType], Field(min_length=1, max_length=4)] | None = Field(
        default=None,
        description="Instead of `training_type`: the first of these that can be had. What is left is tried, one "
        "after the other, should Azure refuse it when the job is sent.",
    )
    suffix: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]{1,40}$", description="Becomes part of the model's name at Azure."
    )
    seed: Annotated[Count, Field(ge=0, le=2_147_483_647)] | None = None
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=8)
    ] = Field(default_factory=dict)
    max_cost_usd: Annotated[Decimal, Field(ge=0, le=10_000_000)] | None = Field(
        default=None, description="Refuse if the expected cost is higher."
    )
    watch: WatchPolicy | None = Field(
        default=None,
        description="What the watch-dog looks out for; left out, it tells of trouble and does nothing.",
    )
    dry_run: Flag = Field(default=False, description="Answer the plan and make nothing.")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.model is None and self.continue_from is None:
            raise ValueError("Name a base model as `model`, or a tuned one as `continue_from`.")
        if self.training_types is not None:
            if "training_type" in self.model_fields_set and self.training_type != self.training_types[0]:
                raise ValueError("Give `training_type` or `training_types`, not both.")
            if len(set(self.training_types)) != len(self.training_types):
                raise ValueError("A training type stands twice in `training_types`.")
        return self

    @property
    def order(self) -> tuple[TrainingType, ...]:
        """Training types in the order in which they are wanted."""
        return tuple(self.training_types) if self.training_types is not None else (self.training_type,)


class PlanCheck(BaseModel):
    """One thing that was checked before any money is spent."""

    code: str
    verdict: Literal["ok", "note", "warning", "error"]
    detail: str
    remedy: str = ""
    pointer: str | None = None


class PlanChoice(BaseModel):
    """One setting of the training: what it will be, who chose it, and why. Give it explicitly to change it."""

    setting: str = Field(examples=["n_epochs"])
    value: int | float | str | None = Field(description="null: left to Azure.")
    by: Literal["caller", "goal", "azure"]
    reason: str
    source: str = Field(description="Where the rule was read; empty for what the caller gave.")


class DataCounts(BaseModel):
    """What the checks counted in the data, for whoever reads the curve later; null where it is not known."""

    validation_examples: int | None = None
    repeated: int | None = Field(
        default=None, description="Training examples that repeat another one, word for word or nearly."
    )
    leaked: int | None = Field(
        default=None, description="Validation examples that stand in the training data, word for word or nearly."
    )


class TrainingTypeChoice(BaseModel):
    """One of the training types that were asked for, and what becomes of it."""

    training_type: str
    verdict: Literal["taken", "fallback", "impossible"] = Field(
        description="`fallback`: tried if Azure refuses those before it."
    )
    reason: str
    estimate: CostEstimate | None


class JobPlan(BaseModel):
    """What would be sent, every check, and the cost."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.plan",
                    "ok": True,
                    "base_model": "gpt-4.1-mini-2025-04-14",
                    "method": "supervised",
                    "training_type": "GlobalStandard",
                    "training": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "validation": None,
                    "hyperparameters": {"n_epochs": 3},
                    "choices": [
                        {
                            "setting": "n_epochs",
                            "value": 3,
                            "by": "goal",
                            "reason": "As many as Azure itself would take. Azure usually takes 3 for 140 examples.",
                            "source": "field report on fine-tuning GPT-4.1 on Azure, 2025-05",
                        }
                    ],
                    "examples": 140,
                    "tokens": 22000,
                    "checks": [
                        {
                            "code": "model",
                            "verdict": "ok",
                            "detail": "gpt-4.1-mini-2025-04-14, GlobalStandard",
                            "remedy": "",
                            "pointer": "/model",
                        }
                    ],
                    "estimate": {
                        "low_usd": "0.1100",
                        "expected_usd": "0.3300",
                        "high_usd": "0.4400",
                        "tokens": 22000,
                        "epochs_low": 1,
                        "epochs_expected": 3,
                        "epochs_high": 4,
                        "price_usd_per_million_tokens": "5.0000",
                        "price_source": "operator",
                        "price_valid_from": "2026-11-01",
                        "warnings": [],
                    },
                }
            ]
        }
    )

    object: Literal["job.plan"] = "job.plan"
    ok: bool
    base_model: str
    method: str
    training_type: str
    training: str | None
    validation: str | None
    hyperparameters: dict[str, Any]
    model: str | None = Field(
        default=None, description="What is sent as the model: the base model, or a tuned one."
    )
    continues: str | None = Field(default=None, description="The job of ours that trained `model`.")
    training_types: list[TrainingTypeChoice] = Field(default_factory=list)
    choices: list[PlanChoice] = Field(
        default_factory=list,
        description="Every setting, who chose it and why; empty in plans made before this was told.",
    )
    examples: int | None
    tokens: int | None
    data: DataCounts = Field(default_factory=DataCounts)
    checks: list[PlanCheck]
    estimate: CostEstimate | None


class JobRead(BaseModel):
    """A job as callers see it. Reading it never calls Azure."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job",
                    "id": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "connection": "con_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "base_model": "gpt-4.1-mini-2025-04-14",
                    "model": "gpt-4.1-mini-2025-04-14",
                    "continues": None,
                    "method": "supervised",
                    "method_settings": {},
                    "training_type": "GlobalStandard",
                    "training_types": [],
                    "refusals": [],
                    "training": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "validation": None,
                    "hyperparameters": {"n_epochs": 3},
                    "suffix": "travel",
                    "seed": None,
                    "metadata": {},
                    "status": "running",
                    "status_changed_at": "2026-11-20T09:00:00Z",
                    "cancel_requested_at": None,
                    "paused_because": None,
                    "watch": None,
                    "attempt": 1,
                    "remote_id": "ftjob-372c72db22c34e6f9ccb62c26ee0fbd9",
                    "remote_status": "running",
                    "remote_seen_at": "2026-11-20T09:00:00Z",
                    "fine_tuned_model": None,
                    "trained_tokens": None,
                    "estimated_finish_at": None,
                    "started_at": "2026-11-20T09:00:00Z",
                    "finished_at": None,
                    "error": None,
                    "parked_reason": None,
                    "last_error": None,
                    "expected_cost_usd": "0.3300",
                    "cost_usd": None,
                    "created_at": "2026-11-20T09:00:00Z",
                    "updated_at": "2026-11-20T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["job"] = "job"
    id: str
    connection: str
    origin: Literal["kitae", "elsewhere"] = Field(
        default="kitae", description="`elsewhere`: made in the portal or by another client, and adopted."
    )
    base_model: str
    model: str = Field(description="What Azure is told to train: the base model, or a tuned one that is continued.")
    continues: str | None = Field(description="The job of ours that trained `model`.")
    method: str
    method_settings: dict[str, Any] = Field(description="Of reinforcement: `grader`, `response_format`.")
    training_type: str
    training_types: list[str] = Field(description="Tried in this order should Azure refuse `training_type`.")
    refusals: list[dict[str, Any]] = Field(description="Training types that Azure refused, with its words.")
    training: str | None = Field(description="null: adopted, and Azure would not give its data.")
    validation: str | None
    hyperparameters: dict[str, Any]
    suffix: str | None
    seed: int | None
    metadata: dict[str, Any]
    status: str
    status_changed_at: datetime
    cancel_requested_at: datetime | None
    paused_because: dict[str, Any] | None = Field(
        description="While paused: who paused it and why, what it has cost, and what can be decided."
    )
    watch: dict[str, Any] | None = Field(description="The watch-dog's rules; null: the default ones.")
    attempt: int
    remote_id: str | None
    remote_status: str | None
    remote_seen_at: datetime | None
    fine_tuned_model: str | None
    trained_tokens: int | None
    estimated_finish_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    error: dict[str, Any] | None
    parked_reason: str | None
    last_error: dict[str, Any] | None
    expected_cost_usd: Usd | None
    cost_usd: Usd | None
    created_at: datetime
    updated_at: datetime


class JobResume(RequestModel):
    """What has to be said to let a paused training go on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"accept_further_cost_usd": "1500"}]})

    accept_further_cost_usd: Annotated[Decimal, Field(gt=0, le=10_000_000)] | None = Field(
        default=None,
        description="How much more it may cost; needed where it was paused for its cost. The watch-dog pauses it "
        "there.",
    )


class UsualQueue(BaseModel):
    """How long earlier jobs of this connection, model and training type have waited."""

    jobs: int
    median_seconds: float
    longest_seconds: float


class JobProgress(BaseModel):
    """How far a job is, when it will be done and what it has cost. null = not known."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.progress",
                    "job": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "status": "running",
                    "remote_status": "running",
                    "step": 90,
                    "total_steps": 420,
                    "total_from": "reckoned",
                    "share": 0.2143,
                    "epoch": 0.64,
                    "seconds_per_step": 2.5,
                    "last_step_at": "2026-11-20T09:00:00Z",
                    "finish_at": "2026-11-20T09:13:45Z",
                    "finish_from": "steps",
                    "finish_by_steps_at": "2026-11-20T09:13:45Z",
                    "queued_seconds": None,
                    "usual_queue": None,
                    "spent_usd": "0.0700",
                    "spent_basis": "14,142 tokens trained × $5.00 a million",
                    "further_usd": "0.2600",
                    "paused_because": None,
                    "parked_reason": None,
                    "alarms": [],
                    "as_of": "2026-11-20T09:00:10Z",
                }
            ]
        }
    )

    object: Literal["job.progress"] = "job.progress"
    job: str
    status: str
    remote_status: str | None
    step: int
    total_steps: int | None
    total_from: Literal["azure", "reckoned"] | None = Field(
        description="`reckoned`: examples ÷ batch size, rounded up, × epochs."
    )
    share: float | None = Field(description="Of its steps, 0 to 1.")
    epoch: float | None
    seconds_per_step: float | None = Field(description="A median, so that pauses and gaps count for nothing.")
    last_step_at: datetime | None
    finish_at: datetime | None
    finish_from: Literal["azure", "steps"] | None = Field(description="Whose estimate it is; Azure's own wins.")
    finish_by_steps_at: datetime | None = Field(description="At the present pace, whatever Azure says.")
    queued_seconds: float | None = Field(description="While it waits: since it was sent.")
    usual_queue: UsualQueue | None = Field(description="While it waits, from three jobs like it on.")
    spent_usd: Usd | None
    spent_basis: str = Field(description="What the cost so far was reckoned from.")
    further_usd: Usd | None = Field(description="What the steps that are left may cost.")
    paused_because: dict[str, Any] | None
    parked_reason: str | None
    alarms: list[dict[str, Any]] = Field(description="What the watch-dog has told, by rule the last.")
    as_of: datetime


class MetricPoint(BaseModel):
    """What was measured at one step; null where it was no number."""

    step: int
    values: dict[str, float | None]


class JobPoints(BaseModel):
    """Measured points as a stream brings them: new ones, and those that gained a value."""

    object: Literal["job.points"] = "job.points"
    job: str
    points: list[MetricPoint]


class JobEventRead(BaseModel):
    """One of Azure's job events."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.event",
                    "id": "jev_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "created_at": "2026-11-20T09:00:00Z",
                    "level": "info",
                    "type": "metrics",
                    "message": "Step 90: training loss=0.0097",
                    "data": {"step": 90, "train_loss": 0.0097},
                }
            ]
        }
    )

    object: Literal["job.event"] = "job.event"
    id: str
    created_at: datetime
    level: str
    type: str
    message: str
    data: dict[str, Any]


_CHECKPOINT: dict[str, Any] = {
    "object": "job.checkpoint",
    "id": "ckp_01kz8q7v1efn9s0a2b3c4d5e6f",
    "step": 90,
    "model_name": "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678:ckpt-step-90",
    "metrics": {"full_valid_loss": 1.79},
    "created_at": "2026-11-20T09:00:00Z",
    "gone_at": None,
    "best": True,
    "deployable": True,
    "deployable_reason": "The training has ended well and it is one of the last.",
}


class CheckpointRead(BaseModel):
    """A state of the model during training."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CHECKPOINT]})

    object: Literal["job.checkpoint"] = "job.checkpoint"
    id: str = Field(description="Can be named as the model of a deployment, a copy or a further training.")
    step: int
    model_name: str = Field(description="Azure's name of it.")
    metrics: dict[str, Any]
    created_at: datetime | None
    gone_at: datetime | None = Field(description="Since when Azure no longer lists it; null = it does.")
    best: bool = Field(description="Of all checkpoints, by the rule in `best_reason`.")
    deployable: bool | None = Field(description="Now; null = Azure publishes no rule for this case.")
    deployable_reason: str


class CheckpointList(BaseModel):
    """All checkpoints there ever were, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [_CHECKPOINT],
                    "best_reason": "Of the 3 checkpoints this one has the lowest validation loss (1.79).",
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[CheckpointRead]
    best_reason: str = Field(description="Why that one is best, or why none is.")


class Metrics(BaseModel):
    """The series of a training, one list of values per name, aligned with `steps`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.metrics",
                    "job": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "points": 2,
                    "steps": [1, 10],
                    "series": {"train_loss": [2.1, 1.4], "valid_loss": [None, 1.6]},
                }
            ]
        }
    )

    object: Literal["job.metrics"] = "job.metrics"
    job: str
    points: int = Field(description="So many were measured; more than there are `steps` when they were thinned.")
    steps: list[int]
    series: dict[str, list[float | None]]


Told = str | int | float | None


class ComparedJob(BaseModel):
    """One of the jobs that are compared."""

    id: str
    name: str
    verdict: str
    headline: str


class ComparedRow(BaseModel):
    """One fact of each job, in their order."""

    group: Literal["data", "parameters", "outcome", "cost"]
    name: str
    values: list[Told]
    differs: bool


class JobComparison(BaseModel):
    """Jobs side by side."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.comparison",
                    "jobs": [
                        {
                            "id": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                            "name": "three · 4d5e6f",
                            "verdict": "converged",
                            "headline": "The training went well: its loss fell from 6.2 to 0.41.",
                        },
                        {
                            "id": "job_01kz8q7v1efn9s0a2b3c4d5e70",
                            "name": "ten · 4d5e70",
                            "verdict": "over_fitting",
                            "headline": "Over-fitting from step 474 on: validation got 21% worse.",
                        },
                    ],
                    "table": [
                        {"group": "data", "name": "training", "values": ["novel@1", "novel@1"], "differs": False},
                        {"group": "parameters", "name": "n_epochs", "values": [3, 10], "differs": True},
                        {
                            "group": "outcome",
                            "name": "valid_loss_at_best_step",
                            "values": [1.9, 1.9],
                            "differs": False,
                        },
                    ],
                    "best": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "why": "three · 4d5e6f offers the lowest validation loss (1.9) on the same validation set.",
                    "cautions": [],
                    "steps": [1, 10],
                    "series": {"train_loss": [[6.2, 4.1], [6.2, 4.0]]},
                }
            ]
        }
    )

    object: Literal["job.comparison"] = "job.comparison"
    jobs: list[ComparedJob]
    table: list[ComparedRow]
    best: str | None = Field(description="The job with the best validation; null where that cannot be said.")
    why: str
    cautions: list[str] = Field(description="What in the table must not be compared.")
    steps: list[int]
    series: dict[str, list[list[float | None]]] = Field(
        description="Name → for each job its values at `steps`; null where nothing was measured."
    )


class AnalysisRead(BaseModel):
    """What the curve says, in words, and what to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.analysis",
                    "job": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "analysis": {
                        "verdict": "over_fitting",
                        "headline": "Over-fitting from step 48 on: validation got 36% worse while the model went "
                        "on learning the training examples.",
                        "confidence": {
                            "level": "high",
                            "why": "The whole validation set was measured, and it rose plainly.",
                        },
                        "from_step": 48,
                        "evidence": [{"text": "Training loss fell by 95%.", "numbers": {"change": 0.95}}],
                        "advice": [
                            {
                                "action": "Train for 2 epochs.",
                                "why": "From there on the model learned the training examples by heart.",
                                "setting": "n_epochs",
                                "suggestion": "2",
                                "source": "Microsoft Learn, section “Analyze your customized model”",
                                "operations": [],
                            }
                        ],
                        "next_experiment": {
                            "action": "Train for 2 epochs.",
                            "why": "From there on the model learned the training examples by heart.",
                            "changes": {"n_epochs": {"from": 5, "to": 2}},
                            "job": {"hyperparameters": {"n_epochs": 2, "learning_rate_multiplier": 1.0}},
                            "dataset": None,
                            "source": "Microsoft Learn, section “Analyze your customized model”",
                        },
                        "best_step": 48,
                        "best_reason": "Of the 4 checkpoints this one has the lowest validation loss (0.66).",
                        "summary": {"steps": 120, "train_loss_last": 0.05},
                    },
                }
            ]
        }
    )

    object: Literal["job.analysis"] = "job.analysis"
    job: str
    analysis: dict[str, Any]
