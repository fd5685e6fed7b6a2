"""What crosses the wire about jobs."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.costs.schemas import CostEstimate, Usd
from app.kit.wire import RequestModel

Ref = Annotated[str, Field(min_length=1, max_length=200)]
"""An id or a name."""
Goal = Literal["balanced", "fast", "quality", "low_overfit", "reproducible"]
TrainingType = Literal["Standard", "GlobalStandard", "developerTier", "DataZoneStandard"]


class Hyperparameters(RequestModel):
    """What to choose instead of leaving it to Azure; leave a field out for Azure's own choice."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=256)] | None = None
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)] | None = None


class JobCreate(RequestModel):
    """A training to be run."""

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
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=8)
    ] = Field(default_factory=dict)
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Refuse if the expected cost is higher."
    )
    dry_run: bool = Field(default=False, description="Answer the plan and make nothing.")


class PlanCheck(BaseModel):
    """One thing that was checked before any money is spent."""

    code: str
    verdict: Literal["ok", "note", "warning", "error"]
    detail: str
    remedy: str = ""
    pointer: str | None = None


class JobPlan(BaseModel):
    """What would be sent, every check, and the cost."""

    object: Literal["job.plan"] = "job.plan"
    ok: bool
    base_model: str
    method: str
    training_type: str
    training: str
    validation: str | None
    hyperparameters: dict[str, Any]
    examples: int | None
    tokens: int | None
    checks: list[PlanCheck]
    estimate: CostEstimate | None


class JobRead(BaseModel):
    """A job as callers see it. Reading it never calls Azure."""

    object: Literal["job"] = "job"
    id: str
    connection: str
    base_model: str
    method: str
    training_type: str
    training: str
    validation: str | None
    hyperparameters: dict[str, Any]
    suffix: str | None
    seed: int | None
    metadata: dict[str, Any]
    status: str
    status_changed_at: datetime
    cancel_requested_at: datetime | None
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

    object: Literal["job.event"] = "job.event"
    id: str
    created_at: datetime
    level: str
    type: str
    message: str
    data: dict[str, Any]


class CheckpointRead(BaseModel):
    """A deployable state during training."""

    object: Literal["job.checkpoint"] = "job.checkpoint"
    id: str
    step: int
    model_name: str
    metrics: dict[str, Any]
    created_at: datetime | None


class Metrics(BaseModel):
    """The series of a training, one list of values per name, aligned with `steps`."""

    object: Literal["job.metrics"] = "job.metrics"
    job: str
    steps: list[int]
    series: dict[str, list[float | None]]


class AnalysisRead(BaseModel):
    """What the curve says, in words, and what to do."""

    object: Literal["job.analysis"] = "job.analysis"
    job: str
    analysis: dict[str, Any]
