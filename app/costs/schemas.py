"""What crosses the wire about money. Amounts are decimal strings in US dollars."""

from datetime import date, datetime
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
    price_usd_per_hour: Usd | None = Field(
        default=None, description="Of reinforcement, which is billed by the hour."
    )
    price_source: str | None
    price_valid_from: str | None
    warnings: list[str] = Field(default_factory=list)


class WholeRange(BaseModel):
    """A count with its uncertainty."""

    low: int
    expected: int
    high: int


class UsdRange(BaseModel):
    """An amount with its uncertainty."""

    low_usd: Usd
    expected_usd: Usd
    high_usd: Usd


class QuotedPrice(BaseModel):
    """One price with where it comes from."""

    usd: Usd
    unit: str = Field(description="`million tokens` or `hour`.")
    source: str
    valid_from: date
    confidence: Literal["verified", "unverified", "estimate"]


class EpochsChoice(BaseModel):
    """How often the file is read."""

    low: int
    expected: int
    high: int
    reason: str


class HyperparameterAdvice(BaseModel):
    """A hyperparameter left out: what Azure will most likely take, and why."""

    name: str
    value: str = Field(description="`auto` where nobody knows.")
    chosen: bool = Field(description="True where the request set it.")
    reason: str
    confidence: Literal["verified", "unverified", "estimate"]


class TrainingOffer(BaseModel):
    """What one way of training may cost."""

    model: str
    training_type: Literal["Standard", "GlobalStandard", "developerTier", "DataZoneStandard"]
    cost: UsdRange | None = Field(description="Null where no price is known.")
    price: QuotedPrice | None
    obstacles: list[str] = Field(description="Why Azure would refuse it; empty when nothing is known against it.")
    note: str = ""


class HostingOffer(BaseModel):
    """What a deployment of a tuned model costs."""

    sku: str
    hour_usd: Usd | None
    month_usd: Usd | None = Field(description="Of 30 days of 24 hours, called or not.")
    note: str


class TuningWorth(BaseModel):
    """One model, tuned without the repeated prompt, against prompting with it. Tokens of an average row."""

    model: str
    instead_of: str = Field(description="The base model that is prompted with the whole prompt.")
    sku: str
    base_prompt_tokens: int
    tuned_prompt_tokens: int
    answer_tokens: int
    base_usd_per_1000_calls: Usd
    tuned_usd_per_1000_calls: Usd = Field(description="Tokens only; hosting comes on top.")
    saved_usd_per_1000_calls_low: Usd = Field(description="Where the repeated prompt is read from the cache.")
    saved_usd_per_1000_calls_high: Usd = Field(description="Where nothing is read from the cache.")
    hosting_month_usd: Usd
    break_even_calls_per_hour_low: int | None = Field(description="Nothing cached; null: at no number of calls.")
    break_even_calls_per_hour_high: int | None = Field(description="Everything repeated is cached.")
    break_even_calls_per_month_low: int | None
    break_even_calls_per_month_high: int | None
    base_month_usd: Usd | None = Field(default=None, description="At `calls_per_month`, nothing cached.")
    tuned_month_usd: Usd | None = Field(default=None, description="At `calls_per_month`, with hosting.")
    training_paid_back_months: Decimal | None = Field(
        default=None, description="At `calls_per_month`; null where it is never paid back."
    )
    verdict: str


class RepeatedPrompt(BaseModel):
    """The text that rows begin with, which tuning could make unnecessary."""

    tokens: int = Field(description="Of the longest beginning that these rows share; 0: they share none.")
    rows: int = Field(description="That begin with it, among the measured.")
    rows_measured: int
    beginning: str = Field(description="Its first characters.")
    saved_training_tokens: int = Field(description="Of one epoch, were it taken out of the rows.")


class GraderBill(BaseModel):
    """What a grader that is a model costs in a reinforcement training."""

    model: str
    calls: WholeRange
    cost: UsdRange
    reason: str


class TrainingTime(BaseModel):
    """Seconds from creation to the end, without waiting for a place."""

    low_seconds: int
    expected_seconds: int
    high_seconds: int
    reason: str


class DatasetEstimate(BaseModel):
    """What training on a version may cost, take and be worth."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.estimate",
                    "subject": "travel@3",
                    "method": "supervised",
                    "examples": 140,
                    "tokens": 22500,
                    "epochs": {"low": 1, "expected": 3, "high": 4, "reason": "…"},
                    "billed_tokens": {"low": 22500, "expected": 67500, "high": 90000},
                    "hyperparameters": [
                        {
                            "name": "n_epochs",
                            "value": "3",
                            "chosen": False,
                            "reason": "…",
                            "confidence": "unverified",
                        }
                    ],
                    "offers": [
                        {
                            "model": "gpt-4.1-nano-2025-04-14",
                            "training_type": "developerTier",
                            "cost": {"low_usd": "0.0169", "expected_usd": "0.0507", "high_usd": "0.0675"},
                            "price": {
                                "usd": "0.7500",
                                "unit": "million tokens",
                                "source": "…",
                                "valid_from": "2025-06-01",
                                "confidence": "estimate",
                            },
                            "obstacles": [],
                            "note": "",
                        }
                    ],
                    "hosting": [
                        {"sku": "GlobalStandard", "hour_usd": "1.7000", "month_usd": "1224.0000", "note": ""}
                    ],
                    "repeated_prompt": {
                        "tokens": 60,
                        "rows": 140,
                        "rows_measured": 140,
                        "beginning": "You are a travel assistant…",
                        "saved_training_tokens": 8400,
                    },
                    "worth": [],
                    "time": {
                        "low_seconds": 1806,
                        "expected_seconds": 3961,
                        "high_seconds": 14724,
                        "reason": "…",
                    },
                    "validation": "…",
                    "grader": None,
                    "warnings": [],
                }
            ]
        }
    )

    object: Literal["dataset.estimate"] = "dataset.estimate"
    subject: str
    method: Literal["supervised", "dpo", "reinforcement"]
    examples: int
    tokens: int = Field(description="Of one epoch.")
    epochs: EpochsChoice
    billed_tokens: WholeRange | None = Field(
        description="Tokens of one epoch × epochs; null for reinforcement, which is billed by the hour."
    )
    hyperparameters: list[HyperparameterAdvice]
    offers: list[TrainingOffer] = Field(description="Every model and training type, the cheapest first.")
    hosting: list[HostingOffer]
    repeated_prompt: RepeatedPrompt
    worth: list[TuningWorth]
    time: TrainingTime
    validation: str = Field(description="What a validation set adds.")
    grader: GraderBill | None
    warnings: list[str]


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
