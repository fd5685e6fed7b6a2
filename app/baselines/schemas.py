"""What crosses the wire about baselines."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.baselines.states import BaselineStatus
from app.costs.schemas import Usd
from app.jobs.schemas import Ref
from app.kit.wire import Count, Flag, Measure, RequestModel

CASES_MAX: Final = 200
"""Of one baseline: the interval of a mean of 200 is within 0.07 whatever is measured."""
WAYS_MAX: Final = 8
SHOTS_MAX: Final = 20
GOOD_ENOUGH: Final = 0.9
"""Nine of ten answers as wanted. For what is left a tuned model would have to earn its hosting, every hour."""

System = Annotated[str, Field(min_length=1, max_length=20_000, description="Takes the place of the cases' own.")]


class ZeroShot(RequestModel):
    """The cases as they are, with the system message they have."""

    type: Literal["zero_shot"]


class BetterPrompt(RequestModel):
    """The cases under a system message of yours."""

    type: Literal["prompt"]
    system: System
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")


class FewShot(RequestModel):
    """Some examples of the training data before each case; never the case itself or a near duplicate of it."""

    type: Literal["few_shot"]
    examples: Annotated[Count, Field(ge=1, le=SHOTS_MAX)] = 3
    choose: Literal["nearest", "seeded"] = Field(
        default="nearest", description="`nearest`: those that ask most alike. `seeded`: the same few for all cases."
    )
    system: System | None = None


class Retrieval(RequestModel):
    """Passages that a search finds for each case, put before it."""

    type: Literal["retrieval"]
    search_index: Ref
    passages: Annotated[Count, Field(ge=1, le=20)] = 3
    system: System | None = None


WayWanted = Annotated[ZeroShot | BetterPrompt | FewShot | Retrieval, Field(discriminator="type")]


class InlineCase(RequestModel):
    """A question, with what a good answer is measured by."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"question": "Where is Kyoto?", "reference": "In the Kansai region.", "system": None, "item": {}}
            ]
        }
    )

    question: str = Field(min_length=1, max_length=20_000)
    reference: str | None = Field(default=None, max_length=20_000)
    system: str | None = Field(default=None, max_length=20_000)
    item: dict[str, Any] = Field(default_factory=dict, description="What else the grader looks at, as `item.…`.")


class BaselineCreate(RequestModel):
    """What to ask, in which ways, and how answers are measured."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "deployment": "base-gpt-4-1-mini",
                    "validation": "travel-validation@1",
                    "training": "travel@1",
                    "cases_max": 50,
                    "ways": [{"type": "zero_shot"}, {"type": "few_shot", "examples": 3}],
                    "grader": {
                        "type": "text_similarity",
                        "name": "like the reference",
                        "input": "{{sample.output_text}}",
                        "reference": "{{item.reference}}",
                        "evaluation_metric": "fuzzy_match",
                    },
                    "good_enough": 0.9,
                }
            ]
        }
    )

    deployment: Ref = Field(
        description="A deployment of a base model: of this project by name or id or, with `connection`, one at "
        "Azure by its name there."
    )
    connection: Ref | None = Field(
        default=None, description="Where the deployment is, if it is none of this project's."
    )
    base_model: Ref | None = Field(
        default=None, description="With `connection`: the base model that it runs, by which it is priced."
    )
    validation: Ref | None = Field(
        default=None, description="A dataset version whose rows are the cases; the last answer is the reference."
    )
    cases: Annotated[list[InlineCase], Field(min_length=1, max_length=CASES_MAX)] | None = Field(
        default=None, description="The cases themselves, instead of `validation`."
    )
    cases_max: Annotated[Count, Field(ge=1, le=CASES_MAX)] = Field(
        default=50, description="Of a larger version so many are drawn, by `seed`."
    )
    training: Ref | None = Field(default=None, description="A dataset version from which examples are shown.")
    ways: Annotated[list[WayWanted], Field(min_length=1, max_length=WAYS_MAX)] | None = Field(
        default=None, description="Left out: zero_shot and, with `training`, few_shot."
    )
    grader: dict[str, Any] | None = Field(
        default=None,
        description="In OpenAI's schema; sees `item.question`, `item.reference` and the row's own members. Left "
        "out: how like the reference an answer is (fuzzy match).",
    )
    pass_threshold: Annotated[Measure, Field(ge=-1000, le=1000)] | None = Field(
        default=None, description="From which score on an answer counts as passed. Left out: the grader's own."
    )
    good_enough: Annotated[Measure, Field(ge=-1000, le=1000)] = Field(
        default=GOOD_ENOUGH,
        description="The mean score from which no tuning is needed. 0.9: nine of ten answers as wanted; for the "
        "rest a tuned model would have to earn its hosting.",
    )
    calls_per_month: Annotated[Count, Field(ge=1, le=10_000_000_000)] | None = Field(
        default=None, description="What you expect, to be held against the break-even."
    )
    seed: Annotated[Count, Field(ge=0, le=2_147_483_647)] = 0
    max_tokens: Annotated[Count, Field(ge=1, le=16_000)] = Field(default=500, description="Most of one answer.")
    temperature: Annotated[Measure, Field(ge=0, le=2)] | None = Field(
        default=None, description="Left out: the model's own. Reasoning models take none."
    )
    concurrency: Annotated[Count, Field(ge=1, le=16)] = Field(
        default=4, description="Requests under way at the same time, which is also how many a crash can repeat."
    )
    max_cost_usd: Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=4)] | None = Field(
        default=None, description="Refuse it if it may cost more."
    )
    dry_run: Flag = Field(default=False, description="Answer the estimate and make nothing.")

    @model_validator(mode="after")
    def _agrees(self) -> "BaselineCreate":
        if (self.validation is None) == (self.cases is None):
            raise ValueError("Name a version as validation, or give the cases themselves: one of the two.")
        if self.training is None and any(way.type == "few_shot" for way in self.ways or ()):
            raise ValueError("few_shot shows examples of the training data, so training must be named.")
        return self


class BaselineEstimate(BaseModel):
    """What a baseline may cost, and what it asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "baseline.estimate",
                    "cases": 50,
                    "ways": ["zero-shot", "few-shot 3"],
                    "requests": 100,
                    "gradings": 100,
                    "prompt_tokens": 21000,
                    "expected_usd": "0.0180",
                    "high_usd": "0.0884",
                    "price_source": "Azure OpenAI pricing page",
                    "warnings": [],
                }
            ]
        }
    )

    object: Literal["baseline.estimate"] = "baseline.estimate"
    cases: int
    ways: list[str]
    requests: int
    gradings: int
    prompt_tokens: int = Field(description="Counted; passages are counted at their longest.")
    expected_usd: Usd | None = Field(description="With answers as long as the references. Null: no price is known.")
    high_usd: Usd | None = Field(
        description="Every answer as long as allowed, and room for as many lost ones as are under way at once. So "
        "much is reserved, and never more is spent."
    )
    price_source: str | None
    warnings: list[str]


class IntervalRead(BaseModel):
    """A mean with its interval of 95 %."""

    mean: float
    low: float
    high: float


class WayRead(BaseModel):
    """What one way came to."""

    name: str
    type: Literal["zero_shot", "prompt", "few_shot", "retrieval"]
    cases: int
    scored: int
    score: IntervalRead | None
    pass_rate: float | None
    prompt_tokens_mean: float | None
    completion_tokens_mean: float | None
    latency_seconds_mean: float | None
    cost_usd: Usd | None
    behind_best: IntervalRead | None = Field(
        description="Score of the best way less this one's, case by case; null for the best itself."
    )
    extra_prompt_tokens: float | None = Field(description="More than a tuned model's call would need.")
    break_even_calls_per_month: int | None = Field(
        description="From so many calls on, leaving these tokens out pays a tuned model's hosting."
    )


class BaselineReport(BaseModel):
    """What it means."""

    verdict: Literal["tuning_not_offered", "compare_costs", "tuning_worth_trying", "too_few_cases"]
    headline: str
    advice: list[str]
    best: str | None
    ways: list[WayRead]


_WAY: Final[dict[str, Any]] = {
    "name": "zero-shot",
    "type": "zero_shot",
    "cases": 50,
    "scored": 50,
    "score": {"mean": 0.92, "low": 0.88, "high": 0.96},
    "pass_rate": 0.94,
    "prompt_tokens_mean": 84.0,
    "completion_tokens_mean": 41.0,
    "latency_seconds_mean": 0.71,
    "cost_usd": "0.0048",
    "behind_best": None,
    "extra_prompt_tokens": 0.0,
    "break_even_calls_per_month": None,
}
_BASELINE: Final[dict[str, Any]] = {
    "object": "baseline",
    "id": "bas_01kz8w2q4yf6b0nx5v8d1q3m7s",
    "status": "succeeded",
    "deployment": "base-gpt-4-1-mini",
    "base_model": "gpt-4.1-mini-2025-04-14",
    "validation": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
    "training": None,
    "grader": {"type": "text_similarity", "name": "like the reference"},
    "pass_threshold": 0.5,
    "good_enough": 0.9,
    "seed": 0,
    "cases": 50,
    "ways": ["zero-shot"],
    "requests": 50,
    "requests_answered": 50,
    "requests_failed": 0,
    "graded": 50,
    "prompt_tokens": 4200,
    "completion_tokens": 2050,
    "reserved_usd": "0.0440",
    "spent_usd": "0.0048",
    "lost_usd": "0.0000",
    "cost_usd": "0.0048",
    "report": {
        "verdict": "tuning_not_offered",
        "headline": "zero-shot reaches 0.92 (0.88 to 0.96) by wording alone: tuning is not offered.",
        "advice": ["With 50 cases it may be as low as 0.88, below the 0.9 that are good enough: ask more cases."],
        "best": "zero-shot",
        "ways": [_WAY],
    },
    "cancel_requested_at": None,
    "error": None,
    "parked_reason": None,
    "last_error": None,
    "created_at": "2026-11-22T09:00:00Z",
    "updated_at": "2026-11-22T09:00:20Z",
    "finished_at": "2026-11-22T09:00:20Z",
}


class BaselineRead(BaseModel):
    """A baseline as callers see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_BASELINE]})

    object: Literal["baseline"] = "baseline"
    id: str
    status: BaselineStatus
    deployment: str = Field(description="Its name at Azure.")
    base_model: str
    validation: str | None = Field(description="The version whose rows were asked; null: they came along.")
    training: str | None = Field(description="The version whose examples were shown.")
    grader: dict[str, Any]
    pass_threshold: float
    good_enough: float
    seed: int
    cases: int
    ways: list[str]
    requests: int
    requests_answered: int
    requests_failed: int = Field(description="Of these, how many an error ended.")
    graded: int
    prompt_tokens: int
    completion_tokens: int
    reserved_usd: Usd
    spent_usd: Usd = Field(description="By answers and gradings so far; 0 where no price is known.")
    lost_usd: Usd = Field(description="The most that requests whose answer never came may have cost.")
    cost_usd: Usd | None = Field(description="Once it has ended: both together. Null where no price is known.")
    report: BaselineReport | None = Field(description="Once it has succeeded.")
    cancel_requested_at: datetime | None
    error: dict[str, Any] | None
    parked_reason: str | None
    last_error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class BaselineAnswerRead(BaseModel):
    """What was sent for one case in one way, what came back, and its score."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "baseline.answer",
                    "id": "ban_01kz8w3a4yf6b0nx5v8d1q3m7s",
                    "way": "zero-shot",
                    "case": 0,
                    "line": 1,
                    "messages": [{"role": "user", "content": "Where is Kyoto?"}],
                    "passages": None,
                    "reference": "In the Kansai region.",
                    "text": "Kyoto lies in Kansai.",
                    "score": 0.81,
                    "passed": True,
                    "grade": {},
                    "finish_reason": "stop",
                    "prompt_tokens": 12,
                    "completion_tokens": 7,
                    "latency_seconds": 0.6,
                    "error": None,
                }
            ]
        }
    )

    object: Literal["baseline.answer"] = "baseline.answer"
    id: str
    way: str
    case: int = Field(description="Counted from 0, the same in every way.")
    line: int | None = Field(description="In the version, from 1.")
    messages: list[dict[str, Any]]
    passages: list[dict[str, Any]] | None = Field(description="What a search found; null: none was made.")
    reference: str | None
    text: str | None = Field(description="Null: not asked yet, or an error.")
    score: float | None
    passed: bool | None
    grade: dict[str, Any] | None = Field(description="What the grader said besides.")
    finish_reason: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_seconds: float | None
    error: dict[str, Any] | None = Field(description="Why there is no answer, or no score.")
