"""What crosses the wire about deployments, chat and comparisons."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.costs.schemas import Usd
from app.deployments.states import ComparisonStatus, DeploymentStatus, OnRemoval
from app.jobs.schemas import Ref
from app.kit.wire import Count, Flag, Measure, Moment, RequestModel

LIFE_SECONDS_MAX: Final = 30 * 86_400
"""Longest life of a deployment; it can be extended again and again, so this only bounds what is forgotten."""

Sku = Literal["Standard", "GlobalStandard", "DataZoneStandard", "DeveloperTier"]
DeploymentName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?$"),
    Field(
        description="The deployment's name at Azure: letters, digits and dashes, at most 64.", examples=["travel"]
    ),
]
Capacity = Annotated[Count, Field(ge=1, le=1_000_000, description="Thousands of tokens per minute.")]
TtlSeconds = Annotated[Count, Field(ge=60, le=LIFE_SECONDS_MAX, description="Life from now on, instead of an end.")]
RemovalPolicy = Annotated[
    OnRemoval,
    Field(
        description="What follows when Azure, or somebody there, removes it before its end: `park` leaves it "
        "removed, `recreate` makes it again for the rest of its time, a few times at most, if the budget bears it."
    ),
]
Ends = Annotated[Moment, Field(description="When it is deleted; at most 30 days ahead.")]

_DEPLOYMENT: Final[dict[str, Any]] = {
    "object": "deployment",
    "id": "dep_01kz8t4h6yf6b0nx5v8d1q3m7s",
    "name": "ft-travel-8d1q3m7s",
    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
    "model": "mdl_01kz8s1d3xe5atm9w4c7g0n2rk",
    "base_model": "gpt-4.1-mini-2025-04-14",
    "remote_model": "gpt-4.1-mini-2025-04-14.ft-0a1b2c3d4e5f60718293a4b5c6d7e8f9-travel",
    "sku": "DeveloperTier",
    "capacity": 100,
    "capacity_wanted": None,
    "hourly_usd": "0.0000",
    "status": "ready",
    "status_changed_at": "2026-11-20T10:20:01.456789Z",
    "provisioning_state": "Succeeded",
    "recreated": False,
    "on_removal": "park",
    "removals": 0,
    "drift": None,
    "expires_at": "2026-11-21T10:15:00Z",
    "delete_requested_at": None,
    "delete_reason": None,
    "hosting_started_at": "2026-11-20T10:15:02Z",
    "hosting_ended_at": None,
    "reserved_usd": "0.0000",
    "cost_usd": None,
    "last_used_at": None,
    "error": None,
    "parked_reason": None,
    "last_error": None,
    "created_at": "2026-11-20T10:15:00Z",
    "updated_at": "2026-11-20T10:20:01.456789Z",
}


class DeploymentCreate(RequestModel):
    """A model to be made callable for a time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"model": "travel", "ttl_seconds": 7200},
                {"connection": "sweden", "model": "gpt-4.1-mini", "sku": "GlobalStandard", "capacity": 50},
            ]
        }
    )

    model: Ref = Field(description="A model's id or name, or a base model's id or alias.", examples=["travel"])
    connection: Ref | None = Field(
        default=None, description="Needed for a base model; a tuned model is deployed where it was trained."
    )
    name: DeploymentName | None = Field(default=None, description="Left out: made from the model's name.")
    sku: Sku | None = Field(
        default=None,
        description="Left out: DeveloperTier for a tuned model where Azure offers it (no hosting fee, a day at "
        "most), else GlobalStandard, else what the model has.",
    )
    capacity: Capacity | None = Field(default=None, description="Thousands of tokens per minute; left out: 100.")
    expires_at: Ends | None = None
    ttl_seconds: TtlSeconds | None = None
    on_removal: RemovalPolicy = OnRemoval.PARK


class DeploymentPatch(RequestModel):
    """What to change; what is absent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ttl_seconds": 86400}, {"capacity": 50}]})

    expires_at: Ends | None = None
    ttl_seconds: TtlSeconds | None = None
    capacity: Capacity | None = None
    on_removal: RemovalPolicy | None = None


class DeploymentRead(BaseModel):
    """A deployment as callers see it. Reading it never calls Azure."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEPLOYMENT]})

    object: Literal["deployment"] = "deployment"
    id: str
    name: str = Field(description="Its name at Azure; usable wherever the id is.")
    connection: str
    model: str | None = Field(description="Null when a base model is deployed.")
    base_model: str
    remote_model: str = Field(description="Azure's name of the model.")
    sku: str
    capacity: int = Field(description="Thousands of tokens per minute.")
    capacity_wanted: int | None = Field(description="A change that Azure has not taken yet.")
    hourly_usd: Usd | None = Field(description="Hosting price when it was made; null = not known.")
    status: DeploymentStatus = Field(description="`ready` means that it has answered a probe.")
    status_changed_at: datetime
    provisioning_state: str | None = Field(description="Azure's word, verbatim.")
    recreated: bool = Field(description="It never answered and was deleted and made once more.")
    on_removal: OnRemoval = Field(description="What follows when Azure, or somebody there, removes it.")
    removals: int = Field(description="How often that happened and it was made again.")
    drift: dict[str, Any] | None = Field(
        description="What somebody changed at Azure: for each member `ours` and `azure`; null = nothing."
    )
    expires_at: datetime = Field(description="At this time it is deleted.")
    delete_requested_at: datetime | None
    delete_reason: str | None
    hosting_started_at: datetime | None
    hosting_ended_at: datetime | None
    reserved_usd: Usd = Field(description="Set aside for its hosting until it expires.")
    cost_usd: Usd | None = Field(description="Of the hosting, once it has ended.")
    last_used_at: datetime | None = Field(description="Of chats through this service; exact to a minute.")
    error: dict[str, Any] | None = Field(description="Why it failed, with Azure's words.")
    parked_reason: str | None = Field(description="Why nobody looks after it until `retry` is asked for.")
    last_error: dict[str, Any] | None = Field(description="What went wrong with the newest look at Azure.")
    created_at: datetime
    updated_at: datetime


# ── chat ────────────────────────────────────────────────────────────────────


class ChatPart(RequestModel):
    """One part of a message: a text, or an image by URL where the model sees."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"type": "text", "text": "Where is Kyoto?"}]})

    type: Literal["text", "image_url"]
    text: Annotated[str, Field(max_length=400_000)] | None = None
    image_url: dict[str, str] | None = None


class ChatMessage(RequestModel):
    """One message of the conversation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"role": "user", "content": "Where is Kyoto?"}]})

    role: Literal["system", "developer", "user", "assistant"]
    content: (
        Annotated[str, Field(max_length=400_000)] | Annotated[list[ChatPart], Field(min_length=1, max_length=64)]
    )
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None


MaxTokens = Annotated[Count, Field(ge=1, le=128_000, description="Most tokens of the answer.")]
Temperature = Annotated[Measure, Field(ge=0, le=2)]


class ChatRequest(RequestModel):
    """A question to a deployment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"messages": [{"role": "user", "content": "Where is Kyoto?"}], "max_tokens": 100}]
        }
    )

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=500)]
    max_tokens: MaxTokens | None = None
    temperature: Temperature | None = None
    seed: Annotated[Count, Field(ge=0, le=2_147_483_647)] | None = None
    stream: Flag = Field(
        default=False, description="Answer as Server-Sent Events: Azure's chunks verbatim, then `[DONE]`."
    )


class ChatRead(BaseModel):
    """One answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "chat.answer",
                    "deployment": "dep_01kz8t4h6yf6b0nx5v8d1q3m7s",
                    "text": "Kyoto lies in the Kansai region of Japan.",
                    "finish_reason": "stop",
                    "prompt_tokens": 12,
                    "completion_tokens": 11,
                    "latency_seconds": 0.41,
                    "cost_usd": "0.0000",
                    "remote": {"object": "chat.completion"},
                }
            ]
        }
    )

    object: Literal["chat.answer"] = "chat.answer"
    deployment: str
    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    latency_seconds: float
    cost_usd: Usd | None = Field(description="By the catalogue's prices; null where one is missing.")
    remote: dict[str, Any] = Field(description="Azure's answer, verbatim.")


# ── comparisons ─────────────────────────────────────────────────────────────

Prompt = Annotated[str, Field(min_length=1, max_length=100_000)]


class Candidate(RequestModel):
    """Who is asked, and under which system message."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"deployment": "ft-travel-8d1q3m7s", "system": None}]}
    )

    deployment: Ref
    system: Annotated[str, Field(min_length=1, max_length=100_000)] | None = None


class ComparisonCreate(RequestModel):
    """The same prompts to be put to several deployments."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "candidates": [{"deployment": "ft-travel-8d1q3m7s"}, {"deployment": "base-gpt-4-1-mini"}],
                    "prompts": ["Where is Kyoto?", "What should I pack for Iceland?"],
                    "max_tokens": 200,
                    "temperature": 0,
                }
            ]
        }
    )

    candidates: Annotated[list[Candidate], Field(min_length=1, max_length=5)]
    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=100)]
    max_tokens: MaxTokens | None = None
    temperature: Temperature | None = None


class CandidateRead(BaseModel):
    """A candidate, and what its answers come to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "deployment": "dep_01kz8t4h6yf6b0nx5v8d1q3m7s",
                    "name": "ft-travel-8d1q3m7s",
                    "system": None,
                    "answered": 2,
                    "refused": 0,
                    "prompt_tokens": 30,
                    "completion_tokens": 88,
                    "latency_seconds_mean": 0.52,
                    "cost_usd": "0.0001",
                }
            ]
        }
    )

    deployment: str
    name: str
    system: str | None
    answered: int
    refused: int = Field(description="Prompts to which an error came instead of a text.")
    prompt_tokens: int
    completion_tokens: int
    latency_seconds_mean: float | None
    cost_usd: Usd | None = Field(description="Null where a price is missing.")


class AnswerRead(BaseModel):
    """One candidate's answer to one prompt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "In Japan.",
                    "finish_reason": "stop",
                    "error": None,
                    "prompt_tokens": 12,
                    "completion_tokens": 4,
                    "latency_seconds": 0.38,
                    "cost_usd": "0.0000",
                }
            ]
        }
    )

    text: str | None
    finish_reason: str | None
    error: dict[str, Any] | None = Field(description="Why there is no text, e.g. the content filter's refusal.")
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_seconds: float | None
    cost_usd: Usd | None


class ComparisonRow(BaseModel):
    """One prompt and its answers, side by side."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"prompt": "Where is Kyoto?", "answers": [None, None]}]}
    )

    prompt: str
    answers: list[AnswerRead | None] = Field(description="In the order of the candidates; null = not asked yet.")


class ComparisonRead(BaseModel):
    """A comparison without its answers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "comparison",
                    "id": "cmp_01kz8v6k8zg7c1py6w9e2r4n8t",
                    "status": "running",
                    "prompts": 2,
                    "answers_recorded": 1,
                    "candidates": [],
                    "max_tokens": 200,
                    "temperature": 0.0,
                    "cost_usd": None,
                    "parked_reason": None,
                    "last_error": None,
                    "created_at": "2026-11-20T10:30:00Z",
                    "updated_at": "2026-11-20T10:30:02Z",
                    "finished_at": None,
                }
            ]
        }
    )

    object: Literal["comparison"] = "comparison"
    id: str
    status: ComparisonStatus
    prompts: int
    answers_recorded: int
    candidates: list[CandidateRead]
    max_tokens: int | None
    temperature: float | None
    cost_usd: Usd | None
    parked_reason: str | None
    last_error: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None


class ComparisonDetail(ComparisonRead):
    """A comparison with every answer."""

    rows: list[ComparisonRow]
