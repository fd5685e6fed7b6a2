"""What crosses the wire about generations and coverage."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.costs.schemas import Usd
from app.generation.craft.ways import WAYS
from app.generation.states import GenerationStatus
from app.jobs.schemas import Ref
from app.kit.wire import Count, Flag, Measure, RequestModel

PAIRS_MAX: Final = 500
DOCUMENTS_MAX: Final = 50
PHRASINGS_MAX: Final = 100
QUESTION_MAX: Final = 4000
ANSWER_MAX: Final = 20_000
"""Characters."""

Sentence = Annotated[str, Field(min_length=1, max_length=QUESTION_MAX)]
Passage = Annotated[str, Field(min_length=1, max_length=1_000_000)]
System = Annotated[str, Field(min_length=1, max_length=20_000, description="System message of every row.")]
StyleName = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]


def _known_way(way: str) -> str:
    if way not in WAYS:
        raise PydanticCustomError(
            "unknown_way", "There is no such way; there are: {ways}.", {"ways": ", ".join(WAYS)}
        )
    return way


class NamedThing(RequestModel):
    """A thing that questions name, and every spelling of it that is right."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "香坂 義孝", "also": ["こうさか よしたか", "Kosaka Yoshitaka"]}]}
    )

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(
        description="In full. Its parts, split at spaces and `・`, count as short names."
    )
    also: Annotated[list[Annotated[str, Field(min_length=1, max_length=60)]], Field(max_length=8)] = Field(
        default_factory=list, description="Other spellings in full, such as a reading. None is ever guessed."
    )


class QuestionAnswer(RequestModel):
    """A question and the answer that every phrasing of it gets, word for word."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "question": "香坂 義孝の性格について説明してください。",
                    "answer": "香坂 義孝は正義感が強く、素直で明るい性格です。",
                }
            ]
        }
    )

    question: Sentence
    answer: Annotated[str, Field(min_length=1, max_length=ANSWER_MAX)]


class OwnStyle(RequestModel):
    """A style of your own."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "dialect", "description": "関西弁で尋ねる。", "needs": []}]}
    )

    name: StyleName
    description: Annotated[str, Field(min_length=1, max_length=1000)] = Field(
        description="What the generator is told, in the language of the questions."
    )
    needs: Annotated[list[Annotated[str, AfterValidator(_known_way)]], Field(max_length=4)] = Field(
        default_factory=list, description="A phrasing must show at least one of these ways of asking to be kept."
    )


class Paraphrase(RequestModel):
    """Other ways of asking what a pair asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "paraphrases",
                    "pairs": [{"question": "Where is Kyoto?", "answer": "In the Kansai region of Japan."}],
                    "phrasings": 10,
                }
            ]
        }
    )

    type: Literal["paraphrases"]
    pairs: Annotated[list[QuestionAnswer], Field(min_length=1, max_length=PAIRS_MAX)] | None = None
    version: Ref | None = Field(
        default=None,
        description="Instead of pairs: a version whose rows are taken as pairs, each by its last question.",
    )
    names: Annotated[list[NamedThing], Field(max_length=PAIRS_MAX)] = Field(
        default_factory=list,
        description="Things the questions name. What is not declared is recognised by its writing alone.",
    )
    styles: Annotated[list[StyleName | OwnStyle], Field(min_length=1, max_length=20)] | None = Field(
        default=None, description="Names of shipped styles, or styles of your own; left out: all that are shipped."
    )
    phrasings: Annotated[Count, Field(ge=1, le=PHRASINGS_MAX)] = Field(
        default=10, description="To be kept for each pair; what is filtered out is asked for again, in 3 rounds."
    )
    include_pairs: Flag = Field(default=True, description="Let each pair itself be a row, too.")
    system: System | None = None

    @model_validator(mode="after")
    def _one_source(self) -> "Paraphrase":
        if (self.pairs is None) == (self.version is None):
            raise PydanticCustomError("one_source", "Give `pairs` or `version`.")
        return self


class ToolUse(RequestModel):
    """Conversations that call the operations of an API."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "tool_use",
                    "openapi": {
                        "openapi": "3.1.0",
                        "info": {"title": "Weather", "version": "1"},
                        "paths": {
                            "/weather": {
                                "get": {
                                    "operationId": "getWeather",
                                    "summary": "Weather of a city",
                                    "parameters": [
                                        {
                                            "name": "city",
                                            "in": "query",
                                            "required": True,
                                            "schema": {"type": "string"},
                                        }
                                    ],
                                }
                            }
                        },
                    },
                    "conversations": 10,
                }
            ]
        }
    )

    type: Literal["tool_use"]
    openapi: dict[str, Any] = Field(description="An OpenAPI 3 document.")
    operations: (
        Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=1, max_length=128)] | None
    ) = Field(default=None, description="Names of the operations to be called; left out: all, 128 at most.")
    conversations: Annotated[Count, Field(ge=1, le=PHRASINGS_MAX)] = Field(
        default=10, description="To be kept for each operation."
    )
    language: Annotated[str, Field(min_length=2, max_length=40)] = Field(
        default="English", description="In which people ask, by its English name."
    )
    system: System | None = None


class Document(RequestModel):
    """A text to ask about."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "returns.md", "text": "# Returns\nGoods are taken back for 30 days."}]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
    text: Passage


class FromDocuments(RequestModel):
    """Questions and answers from documents."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "documents",
                    "documents": [{"name": "returns.md", "text": "# Returns\nGoods are taken back for 30 days."}],
                    "questions": 5,
                }
            ]
        }
    )

    type: Literal["documents"]
    documents: Annotated[list[Document], Field(min_length=1, max_length=DOCUMENTS_MAX)] = Field(
        description="Plain text or Markdown; headings begin chunks."
    )
    chunk_tokens: Annotated[Count, Field(ge=50, le=8000)] = Field(
        default=600, description="Most tokens of a chunk."
    )
    overlap_tokens: Annotated[Count, Field(ge=0, le=1000)] = Field(
        default=60, description="Tokens at the end of a chunk that the next one of the same heading repeats."
    )
    questions: Annotated[Count, Field(ge=1, le=PHRASINGS_MAX)] = Field(
        default=5, description="To be kept for each chunk."
    )
    system: System | None = None

    @model_validator(mode="after")
    def _overlap_fits(self) -> "FromDocuments":
        if self.overlap_tokens * 2 > self.chunk_tokens:
            raise PydanticCustomError(
                "overlap_too_large", "`overlap_tokens` may be half of `chunk_tokens` at most."
            )
        return self


class GenerationCreate(RequestModel):
    """What to make, and who makes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "deployment": "base-gpt-4-1-mini",
                    "source": {
                        "type": "paraphrases",
                        "pairs": [{"question": "Where is Kyoto?", "answer": "In the Kansai region of Japan."}],
                    },
                    "max_cost_usd": "0.50",
                }
            ]
        }
    )

    deployment: Ref = Field(
        description="The generator: a deployment of this project by name or id or, with `connection`, "
        "one at Azure by its name there."
    )
    connection: Ref | None = Field(
        default=None, description="Where the deployment is, if it is none of this project's."
    )
    generator: Ref | None = Field(
        default=None, description="With `connection`: the base model that it runs, by which it is priced."
    )
    source: Annotated[Paraphrase | ToolUse | FromDocuments, Field(discriminator="type")]
    model: Ref | None = Field(
        default=None, description="Base model whose limits the finished version is checked against."
    )
    max_tokens: Annotated[Count, Field(ge=50, le=16_000)] = Field(
        default=1500, description="Most tokens of one answer."
    )
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


class GenerationEstimate(BaseModel):
    """What a generation may cost, and what it asks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "generation.estimate",
                    "subjects": 1,
                    "requests": 8,
                    "requests_most": 24,
                    "prompt_tokens": 2900,
                    "completion_tokens": 480,
                    "expected_usd": "0.0020",
                    "high_usd": "0.0640",
                    "price_source": "Azure OpenAI pricing page",
                    "warnings": [],
                    "styles": {"formal": 2},
                }
            ]
        }
    )

    object: Literal["generation.estimate"] = "generation.estimate"
    subjects: int = Field(description="Pairs, operations or chunks.")
    requests: int = Field(description="To the generator, if nothing is filtered out and nothing is lost.")
    requests_most: int = Field(description="With every further round.")
    prompt_tokens: int = Field(description="Counted, of these requests.")
    completion_tokens: int = Field(description="Estimated from the length of the material.")
    expected_usd: Usd | None = Field(description="Null where no price is known.")
    high_usd: Usd | None = Field(
        description="Every round with the longest answers. So much is reserved, and never more is spent."
    )
    price_source: str | None
    warnings: list[str]
    styles: dict[str, int] = Field(description="Phrasings asked for in each style; empty for kinds without styles.")


_GENERATION: Final[dict[str, Any]] = {
    "object": "generation",
    "id": "gen_01kz8w2q4yf6b0nx5v8d1q3m7s",
    "dataset": "ds_01kz8q7v1efn9s0a2b3c4d5e6f",
    "kind": "paraphrases",
    "status": "succeeded",
    "deployment": "base-gpt-4-1-mini",
    "base_model": "gpt-4.1-mini-2025-04-14",
    "prompt_version": "paraphrases-1",
    "subjects": 1,
    "requests": 8,
    "requests_answered": 8,
    "requests_failed": 0,
    "rows_kept": 12,
    "rows_filtered": {"duplicate": 2, "number-changed": 1},
    "short_of": [],
    "prompt_tokens": 2900,
    "completion_tokens": 510,
    "concurrency": 4,
    "reserved_usd": "0.0640",
    "spent_usd": "0.0020",
    "lost_usd": "0.0000",
    "cost_usd": "0.0020",
    "version": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
    "cancel_requested_at": None,
    "error": None,
    "parked_reason": None,
    "last_error": None,
    "created_at": "2026-11-20T09:00:00Z",
    "updated_at": "2026-11-20T09:00:20Z",
    "finished_at": "2026-11-20T09:00:20Z",
}


class TooFew(BaseModel):
    """A subject with fewer rows than were wanted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"subject": "Where is Kyoto?", "kept": 7, "wanted": 10}]}
    )

    subject: str
    kept: int
    wanted: int


class GenerationRead(BaseModel):
    """A generation as callers see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_GENERATION]})

    object: Literal["generation"] = "generation"
    id: str
    dataset: str
    kind: Literal["paraphrases", "tool_use", "documents"]
    status: GenerationStatus
    deployment: str = Field(description="The generator's name at Azure.")
    base_model: str
    prompt_version: str = Field(description="Which wording the generator was asked in.")
    subjects: int
    requests: int = Field(description="So far planned; further rounds add to it.")
    requests_answered: int
    requests_failed: int = Field(description="Of these, how many an error ended.")
    rows_kept: int = Field(description="Generated; pairs that stand in the version themselves are not counted.")
    rows_filtered: dict[str, int] = Field(description="Reason → items that were left out.")
    short_of: list[TooFew] = Field(
        description="What has fewer rows than were wanted; 100 at most, once it has ended."
    )
    prompt_tokens: int
    completion_tokens: int
    concurrency: int
    reserved_usd: Usd
    spent_usd: Usd = Field(description="By answers so far; 0 where no price is known.")
    lost_usd: Usd = Field(description="The most that requests whose answer never came may have cost.")
    cost_usd: Usd | None = Field(description="Once it has ended: both together. Null where no price is known.")
    version: str | None = Field(description="What was made.")
    cancel_requested_at: datetime | None
    error: dict[str, Any] | None
    parked_reason: str | None
    last_error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class GenerationRowRead(BaseModel):
    """One item that was made, where it came from, and why it was left out if it was."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "generation.row",
                    "id": "gnr_01kz8w3a4yf6b0nx5v8d1q3m7s",
                    "text": "Where is Nara?",
                    "kept": False,
                    "reason": "name-changed",
                    "meaning": "It names something that neither the question nor its answer names.",
                    "detail": "'Nara' is nowhere in the seed",
                    "subject": 0,
                    "subject_label": "Where is Kyoto?",
                    "style": "casual",
                    "generator": "base-gpt-4-1-mini",
                    "prompt_version": "paraphrases-1",
                    "line": None,
                    "content": None,
                }
            ]
        }
    )

    object: Literal["generation.row"] = "generation.row"
    id: str
    text: str
    kept: bool
    reason: str | None
    meaning: str | None = Field(description="Of the reason.")
    detail: str | None
    subject: int = Field(description="Index of the pair, operation or chunk.")
    subject_label: str
    style: str | None = Field(description="Null for a pair itself, and for kinds without styles.")
    generator: str | None = Field(description="The deployment; null for a pair itself.")
    prompt_version: str | None
    line: int | None = Field(description="In the version, from 1.")
    content: dict[str, Any] | None = Field(description="The chat example, when it was kept.")


# ── coverage ────────────────────────────────────────────────────────────────


class FactCoverage(BaseModel):
    """One fact, and the ways in which it is asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "fact": "香坂 義孝",
                    "answer": "香坂 義孝は正義感が強く…",
                    "questions": 24,
                    "ways": {"full-name": 24, "formal": 3},
                    "missing": ["short-name", "name-only"],
                    "lines": [[1, 24]],
                }
            ]
        }
    )

    fact: str = Field(description="The things it names, else the beginning of its first question.")
    answer: str = Field(description="Beginning of the first answer.")
    questions: int
    ways: dict[str, int] = Field(description="Way of asking → questions that are asked like that.")
    missing: list[str] = Field(description="Ways in which nobody asks.")
    lines: list[tuple[int, int]] = Field(description="Ranges of lines, 100 at most.")


class WayCoverage(BaseModel):
    """One way of asking over all facts."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"way": "short-name", "meaning": "names only a part", "facts_with": 0, "facts_without": 1}]
        }
    )

    way: str
    meaning: str
    facts_with: int
    facts_without: int


class Coverage(BaseModel):
    """Which ways of asking a dataset has and which it lacks, told from its texts alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.coverage",
                    "rows": 24,
                    "rows_read": 24,
                    "is_whole": True,
                    "ways": [],
                    "facts": [],
                    "facts_more": 0,
                    "advice": ["Every question has the full name. Add questions with the short name."],
                }
            ]
        }
    )

    object: Literal["dataset.coverage"] = "dataset.coverage"
    rows: int = Field(description="Rows with a question and an answer.")
    rows_read: int = Field(description="The last row that was looked at; large sets are looked at from the top.")
    is_whole: bool = Field(description="Whether all rows were looked at.")
    ways: list[WayCoverage]
    facts: list[FactCoverage] = Field(description="Those that lack most first; 200 at most.")
    facts_more: int = Field(description="Facts that are not shown.")
    advice: list[str]
