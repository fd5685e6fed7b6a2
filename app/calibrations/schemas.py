"""What crosses the wire about graders, before a job is trained by one."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.costs.schemas import Usd
from app.jobs.schemas import Ref
from app.kit.wire import Count, Flag, Measure, RequestModel

SAMPLES_MAX: Final = 50
"""Enough to tell 0 %, some and 95 % apart, few enough to be answered at once."""

_GRADER: Final[dict[str, Any]] = {
    "type": "string_check",
    "name": "right",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


class GraderCheck(RequestModel):
    """A grader to be looked at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"grader": _GRADER, "connection": "sweden", "version": "sums@1"}]}
    )

    grader: dict[str, Any]
    response_format: dict[str, Any] | None = None
    connection: Ref | None = Field(default=None, description="Azure is asked there, too; it costs nothing.")
    version: Ref | None = Field(default=None, description="A dataset version whose every row is held against it.")


class GraderFinding(BaseModel):
    """One thing found about a grader."""

    code: str
    verdict: Literal["ok", "note", "warning", "error"]
    detail: str
    remedy: str = ""
    pointer: str | None = None


class GraderRead(BaseModel):
    """What was found about a grader. Nothing was made and nothing was paid."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "grader.check",
                    "ok": True,
                    "reads": ["item.answer", "sample.output_text"],
                    "models": [],
                    "findings": [
                        {
                            "code": "grader",
                            "verdict": "ok",
                            "detail": "Azure takes the grader",
                            "remedy": "",
                            "pointer": "/grader",
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["grader.check"] = "grader.check"
    ok: bool
    reads: list[str] = Field(description="What it looks at, of the row and of the answer.")
    models: list[str] = Field(description="Models that grade; their tokens are billed.")
    findings: list[GraderFinding]


class FromField(RequestModel):
    """The data's own answers, which ought to pass."""

    source: Literal["field"]
    field: str = Field(min_length=1, max_length=200, description="Of the row, as `answer` or `solution.value`.")


class FromDeployment(RequestModel):
    """What a model answers now."""

    source: Literal["deployment"]
    deployment: Ref
    connection: Ref | None = Field(
        default=None, description="For a deployment that is not one of ours: where it is."
    )
    base_model: Ref | None = Field(default=None, description="With `connection`: what it runs, to be priced.")
    max_tokens: Annotated[Count, Field(ge=1, le=16_384)] = 1024


class CalibrationCreate(RequestModel):
    """Samples to be graded before anything is trained."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "connection": "sweden",
                    "grader": _GRADER,
                    "version": "sums@1",
                    "samples": 20,
                    "answers": {"source": "deployment", "deployment": "o4-mini"},
                }
            ]
        }
    )

    connection: Ref
    grader: dict[str, Any]
    version: Ref
    samples: Annotated[Count, Field(ge=1, le=SAMPLES_MAX)] = 20
    answers: Annotated[FromField | FromDeployment, Field(discriminator="source")]
    pass_threshold: Measure | None = Field(
        default=None,
        description="From which score on an answer passes; the grader's own, or the middle, if left out.",
    )
    max_cost_usd: Annotated[Decimal, Field(ge=0, le=10_000)] | None = Field(
        default=None, description="Refuse if it may cost more."
    )
    dry_run: Flag = Field(default=False, description="Answer what it may cost and grade nothing.")


class ScoreBin(BaseModel):
    low: float
    high: float
    count: int


class GradedSample(BaseModel):
    """One of the answers."""

    line: int
    answer: str
    reward: float | None
    errors: dict[str, str]


class Calibration(BaseModel):
    """How a grader scores samples, and what that says."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "grader.calibration",
                    "id": "cal_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "verdict": "ok",
                    "words": "45% of the answers pass: some succeed and some fail; training learns from that.",
                    "advice": "",
                    "source": "",
                    "samples": 20,
                    "graded": 20,
                    "passed": 9,
                    "pass_rate": 0.45,
                    "pass_threshold": 1.0,
                    "mean": 0.45,
                    "lowest": 0.0,
                    "highest": 1.0,
                    "distribution": [{"low": 0.0, "high": 0.1, "count": 11}, {"low": 0.9, "high": 1.0, "count": 9}],
                    "errors": {},
                    "lacking": {},
                    "tokens": {},
                    "highest_cost_usd": "0.0200",
                    "cost_usd": "0.0100",
                    "notes": [],
                    "shown": [{"line": 1, "answer": "42", "reward": 1.0, "errors": {}}],
                }
            ]
        }
    )

    object: Literal["grader.calibration"] = "grader.calibration"
    id: str
    verdict: Literal["ok", "too_easy", "too_hard", "flat", "broken", "too_few", "planned"] = Field(
        description="`planned`: a dry run, in which nothing was graded."
    )
    words: str
    advice: str
    source: str = Field(description="Where the threshold that decided was read.")
    samples: int
    graded: int
    passed: int
    pass_rate: float | None
    pass_threshold: float
    mean: float | None
    lowest: float | None
    highest: float | None
    distribution: list[ScoreBin]
    errors: dict[str, int] = Field(description="Azure's names of what went wrong → answers.")
    lacking: dict[str, int] = Field(description="What the grader reads → sampled rows that have it not.")
    tokens: dict[str, int] = Field(description="Model → tokens it used, to grade or to answer.")
    highest_cost_usd: Usd | None = Field(description="What was set aside; null: a price is not known.")
    cost_usd: Usd | None
    notes: list[str]
    shown: list[GradedSample] = Field(description="Some of the answers, the worst first.")


class HyperparameterRead(BaseModel):
    """One thing that may be chosen instead of leaving it to Azure."""

    name: str
    methods: list[str]
    kind: Literal["integer", "number", "choice"]
    lowest: float | None
    highest: float | None
    choices: list[str]
    advised: list[float] | None
    default: str
    meaning: str
    reason: str
    source: str
    as_of: date
    confidence: str


class HyperparameterList(BaseModel):
    """What each method takes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "name": "beta",
                            "methods": ["dpo"],
                            "kind": "number",
                            "lowest": 0.001,
                            "highest": 10.0,
                            "choices": [],
                            "advised": [0.05, 3.0],
                            "default": "0.1",
                            "meaning": "How firmly the model is held near where it began.",
                            "reason": "0.1 is usual; a sample of Microsoft's uses 3.",
                            "source": "v1 OpenAPI, 2026-02-02",
                            "as_of": "2026-08-20",
                            "confidence": "unverified",
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[HyperparameterRead]
