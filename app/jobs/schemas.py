"""What crosses the wire about jobs."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.costs.schemas import CostEstimate, Usd
from app.jobs.watchdog import WatchPolicy
from app.kit.wire import Count, Flag, Measure, RequestModel

Ref = Annotated[str, Field(min_length=1, max_length=200)]
"""An id or a name."""
Goal = Literal["balanced", "fast", "quality", "low_overfit", "reproducible"]
TrainingType = Literal["Standard", "GlobalStandard", "developerTier", "DataZoneStandard"]


class Hyperparameters(RequestModel):
    """What to choose instead of leaving it to Azure; leave a field out for Azure's own choice."""

    n_epochs: Annotated[Count, Field(ge=1, le=50)] | None = None
    batch_size: Annotated[Count, Field(ge=1, le=256)] | None = None
    learning_rate_multiplier: Annotated[Measure, Field(gt=0, le=10)] | None = None


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
                }
            ]
        }
    )

    connection: Ref = Field(examples=["sweden"])
    model: Ref = Field(description="A base model's id or alias.", examples=["gpt-4.1-mini"])
    training: Ref = Field(
        description="A dataset version: `travel@3`, `dsv_…`, or `travel` for its newest ready one."
    )
    validation: Ref | None = None
    method: Literal["supervised"] = "supervised"
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)
    goal: Goal | None = Field(
        default=None, description="Hyperparameters chosen for a purpose; those given explicitly win."
    )
    training_type: TrainingType = "GlobalStandard"
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
                    "method": "supervised",
                    "training_type": "GlobalStandard",
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
    method: str
    training_type: str
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


class CheckpointRead(BaseModel):
    """A deployable state during training."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.checkpoint",
                    "id": "ckp_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "step": 90,
                    "model_name": "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678:ckpt-step-90",
                    "metrics": {"full_valid_loss": 1.79},
                    "created_at": "2026-11-20T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["job.checkpoint"] = "job.checkpoint"
    id: str
    step: int
    model_name: str
    metrics: dict[str, Any]
    created_at: datetime | None


class CheckpointList(BaseModel):
    """Deployable states, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "object": "job.checkpoint",
                            "id": "ckp_01kz8q7v1efn9s0a2b3c4d5e6f",
                            "step": 90,
                            "model_name": "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba6:ckpt-step-90",
                            "metrics": {"full_valid_loss": 1.79},
                            "created_at": "2026-11-20T09:00:00Z",
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[CheckpointRead]


class Metrics(BaseModel):
    """The series of a training, one list of values per name, aligned with `steps`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.metrics",
                    "job": "job_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "steps": [1, 10],
                    "series": {"train_loss": [2.1, 1.4], "valid_loss": [None, 1.6]},
                }
            ]
        }
    )

    object: Literal["job.metrics"] = "job.metrics"
    job: str
    steps: list[int]
    series: dict[str, list[float | None]]


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
