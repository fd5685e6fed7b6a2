"""What crosses the wire about money. Amounts are decimal strings in US dollars."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.kit.wire import RequestModel

Usd = Annotated[
    Decimal,
    PlainSerializer(lambda amount: f"{amount:.4f}", return_type=str),
    Field(examples=["12.5000"]),
]
"""US dollars with four decimals."""


class CostEstimate(BaseModel):
    """What a training may cost. `None` where no price is known; `warnings` say why."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
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
                }
            ]
        }
    )

    low_usd: Usd | None
    expected_usd: Usd | None
    high_usd: Usd | None
    tokens: int
    """Tokens of one epoch."""
    epochs_low: int
    epochs_expected: int
    epochs_high: int
    price_usd_per_million_tokens: Usd | None
    price_source: str | None
    price_valid_from: str | None
    warnings: list[str] = Field(default_factory=list)


class CostGroup(BaseModel):
    """One line of the summary."""

    group: str | None
    settled_usd: Usd
    reserved_usd: Usd


class CostSummary(BaseModel):
    """What was spent and what is still reserved in a span of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "cost.summary",
                    "group_by": "category",
                    "since": "2026-10-21T00:00:00Z",
                    "until": "2026-11-20T09:00:00Z",
                    "settled_usd": "12.4000",
                    "reserved_usd": "3.0000",
                    "running_usd": "1.7000",
                    "data": [{"group": "training", "settled_usd": "12.4000", "reserved_usd": "0.0000"}],
                }
            ]
        }
    )

    object: Literal["cost.summary"] = "cost.summary"
    group_by: str
    since: datetime
    until: datetime
    settled_usd: Usd
    reserved_usd: Usd
    running_usd: Usd = Field(description="Hosting that has accrued on deployments that still run; not yet settled.")
    data: list[CostGroup]


class BudgetRead(BaseModel):
    """A project's caps and how much of this month's is used."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "budget",
                    "month_cap_usd": "500.0000",
                    "day_cap_usd": "100.0000",
                    "job_cap_usd": "50.0000",
                    "deployments_max": 5,
                    "unfinished_jobs_max": 10,
                    "month_used_usd": "15.4000",
                    "day_used_usd": "3.0000",
                    "updated_at": "2026-11-20T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["budget"] = "budget"
    month_cap_usd: Usd | None = Field(description="Settled in this calendar month (UTC) plus everything reserved.")
    day_cap_usd: Usd | None = Field(
        description="What is begun today (UTC): as reserved, or as settled once it has ended."
    )
    job_cap_usd: Usd | None = Field(description="One job or deployment.")
    deployments_max: int | None = Field(description="Living deployments; null = only Azure's own limit.")
    unfinished_jobs_max: int | None = Field(
        description="Unfinished jobs; null = the installation's KITAE_JOBS_PER_PROJECT_MAX."
    )
    month_used_usd: Usd
    day_used_usd: Usd
    updated_at: datetime | None


class BudgetPut(RequestModel):
    """Caps to set; null or absent takes a cap away."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "month_cap_usd": "500",
                    "day_cap_usd": "100",
                    "job_cap_usd": "50",
                    "deployments_max": 5,
                    "unfinished_jobs_max": 10,
                }
            ]
        }
    )

    month_cap_usd: Decimal | None = Field(default=None, ge=0, le=10_000_000, examples=["500"])
    day_cap_usd: Decimal | None = Field(default=None, ge=0, le=10_000_000, examples=["100"])
    job_cap_usd: Decimal | None = Field(default=None, ge=0, le=10_000_000, examples=["50"])
    deployments_max: int | None = Field(default=None, ge=0, le=10_000, examples=[5])
    unfinished_jobs_max: int | None = Field(
        default=None, ge=0, le=10_000, examples=[10], description="The installation's own limit holds beside it."
    )
