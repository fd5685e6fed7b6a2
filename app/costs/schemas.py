"""What crosses the wire about money. Amounts are decimal strings in US dollars."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PlainSerializer

from app.kit.wire import RequestModel

Usd = Annotated[
    Decimal,
    PlainSerializer(lambda amount: f"{amount:.4f}", return_type=str),
    Field(examples=["12.5000"]),
]
"""US dollars with four decimals."""


class CostEstimate(BaseModel):
    """What a training may cost. `None` where no price is known; `warnings` say why."""

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

    object: Literal["budget"] = "budget"
    month_cap_usd: Usd | None
    job_cap_usd: Usd | None
    month_used_usd: Usd
    updated_at: datetime | None


class BudgetPut(RequestModel):
    """Caps to set; null takes a cap away."""

    month_cap_usd: Decimal | None = Field(default=None, ge=0, le=10_000_000, examples=["500"])
    job_cap_usd: Decimal | None = Field(default=None, ge=0, le=10_000_000, examples=["50"])
