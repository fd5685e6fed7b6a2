"""What crosses the wire about models and the catalogue of base models."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.costs.schemas import Usd
from app.kit.wire import RequestModel
from app.models.states import CopyStatus

_MODEL: dict[str, Any] = {
    "object": "model",
    "id": "mdl_01kz8s1d3xe5atm9w4c7g0n2rk",
    "name": "travel",
    "remote_name": "gpt-4.1-mini-2025-04-14.ft-0a1b2c3d4e5f60718293a4b5c6d7e8f9-travel",
    "base_model": "gpt-4.1-mini-2025-04-14",
    "kind": "final",
    "step": None,
    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
    "job": "job_01kz8q2v9re4n9t6e2x5cbd3ya",
    "created_at": "2026-11-20T10:12:33.123456Z",
}
_SAID: dict[str, Any] = {
    "value": "2027-04-14",
    "origin": "catalogue",
    "source": "Microsoft Learn, model retirement schedule, 2026-07-07",
    "as_of": "2026-07-07",
}
_FACT: dict[str, Any] = {
    "name": "training ends",
    "value": "2027-03-31",
    "origin": "arm",
    "source": "ARM, the account's list of models",
    "as_of": "2026-11-22T09:30:00+00:00",
    "contradicted_by": [_SAID],
}
_LIVE: dict[str, Any] = {
    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
    "read_at": "2026-11-22T09:30:00Z",
    "asked_at": "2026-11-22T09:30:00Z",
    "error": None,
    "not_in_catalogue": [],
}
_COPY: dict[str, Any] = {
    "object": "model_copy",
    "id": "mcp_01kz8v3k9q2w7e5r1t4y6u8i0p",
    "model": "mdl_01kz8s1d3xe5atm9w4c7g0n2rk",
    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
    "status": "copying",
    "remote_status": "InProgress",
    "error": None,
    "parked_reason": None,
    "last_error": None,
    "created_at": "2026-11-22T09:30:00Z",
    "finished_at": None,
}
_SOURCE: dict[str, Any] = {
    "version": "dsv_01kz8p9a6kf8mt3x7q2c5w0d4h",
    "ref": "travel@3",
    "sha256": "5f2b51ca2fdc5baa31ec02e002f69aec5f2b51ca2fdc5baa31ec02e002f69aec",
    "content_sha256": "c86fb2f7ef0b6b2b8a0b50fd19c1d5d0c86fb2f7ef0b6b2b8a0b50fd19c1d5d0",
    "examples": 60,
    "tokens": 22000,
    "lineage": {"source": "upload"},
    "parents": [],
}


class ModelRead(BaseModel):
    """A fine-tuned model as callers see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MODEL]})

    object: Literal["model"] = "model"
    id: str
    name: str = Field(description="Ours, unique in the project; usable wherever the id is.")
    remote_name: str = Field(description="Azure's name of it.")
    base_model: str
    kind: Literal["final", "checkpoint"]
    step: int | None = Field(description="Training step of a checkpoint.")
    connection: str = Field(description="The resource that holds it.")
    job: str
    created_at: datetime


class DataSource(BaseModel):
    """One dataset version that a model was trained or validated on."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SOURCE]})

    version: str
    ref: str = Field(description="`name@number`.")
    sha256: str = Field(description="Of the bytes as they were sent.")
    content_sha256: str | None = Field(description="Of the content that went to Azure.")
    examples: int | None
    tokens: int | None
    lineage: dict[str, Any] = Field(description="How the version came to be.")
    parents: list["DataSource"] = Field(description="Versions it was made from.")


class ModelCopyCreate(RequestModel):
    """Where a model is to be copied to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"connection": "west"}]})

    connection: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="Id or name of the destination's connection."
    )


class ModelCopyRead(BaseModel):
    """A model on its way to another resource, under the same name."""

    model_config = ConfigDict(json_schema_extra={"examples": [_COPY]})

    object: Literal["model_copy"] = "model_copy"
    id: str
    model: str
    connection: str = Field(description="The destination.")
    status: CopyStatus
    remote_status: str | None = Field(description="Azure's word.")
    error: dict[str, Any] | None
    parked_reason: str | None
    last_error: dict[str, Any] | None
    created_at: datetime
    finished_at: datetime | None


class ModelCopyList(BaseModel):
    """Where a model was copied to, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"object": "list", "data": [_COPY]}]})

    object: Literal["list"] = "list"
    data: list[ModelCopyRead]


class ModelLineage(BaseModel):
    """Where a model comes from: the job that made it and the data it saw."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job": "job_01kz8q2v9re4n9t6e2x5cbd3ya",
                    "method": "supervised",
                    "training_type": "GlobalStandard",
                    "hyperparameters": {"n_epochs": 3},
                    "seed": 7,
                    "trained_tokens": 66000,
                    "cost_usd": "0.3300",
                    "finished_at": "2026-11-20T10:12:30Z",
                    "metrics": {"full_valid_loss": 1.21},
                    "training": _SOURCE,
                    "validation": None,
                }
            ]
        }
    )

    job: str
    method: str
    training_type: str
    hyperparameters: dict[str, Any]
    seed: int | None
    trained_tokens: int | None
    cost_usd: Usd | None
    finished_at: datetime | None
    metrics: dict[str, Any] = Field(description="Measured at this model's step, where Azure told.")
    training: DataSource | None = Field(description="null: the job was adopted, and Azure would not give its data.")
    validation: DataSource | None


class ModelDetail(ModelRead):
    """A model with where it comes from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _MODEL
                | {
                    "lineage": {
                        "job": "job_01kz8q2v9re4n9t6e2x5cbd3ya",
                        "method": "supervised",
                        "training_type": "GlobalStandard",
                        "hyperparameters": {"n_epochs": 3},
                        "seed": 7,
                        "trained_tokens": 66000,
                        "cost_usd": "0.3300",
                        "finished_at": "2026-11-20T10:12:30Z",
                        "metrics": {},
                        "training": _SOURCE,
                        "validation": None,
                    }
                }
            ]
        }
    )

    lineage: ModelLineage


class RetirementRead(BaseModel):
    """The day something ends, by one source."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "base_inference", "on": "2026-10-14", "source": "Microsoft Learn, 2026-07-07"}]
        }
    )

    kind: Literal["training", "base_inference", "tuned_inference"]
    on: date
    source: str


class PriceRead(BaseModel):
    """What something costs, and how sure that is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "hosting",
                    "tier": "Standard",
                    "usd": "1.7000",
                    "unit": "hour",
                    "source": "Microsoft Learn, fine-tuning cost management, 2026-03-19",
                    "valid_from": "2026-03-19",
                    "confidence": "verified",
                }
            ]
        }
    )

    kind: str = Field(description="`training`, `training_hours`, `input`, `cached_input`, `output` or `hosting`.")
    tier: str = Field(description="A training type for training, a deployment SKU for the rest.")
    usd: Usd
    unit: str
    source: str
    valid_from: date
    confidence: Literal["verified", "unverified", "estimate"]


class SaidRead(BaseModel):
    """One value and who says it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SAID]})

    value: Any
    origin: Literal["catalogue", "arm"] = Field(
        description="`catalogue`: dated data of this service; `arm`: Azure Resource Manager, of this very account."
    )
    source: str
    as_of: str = Field(description="When it was said: a day, or the time of the reading.")


class FactRead(SaidRead):
    """What holds of a model, and what others say of the same thing. ARM's own word wins."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FACT]})

    name: str
    contradicted_by: list[SaidRead]


class LiveRead(BaseModel):
    """When ARM was asked about a resource, and how that went. A worker asks; reading this calls nobody."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LIVE]})

    connection: str
    read_at: datetime | None = Field(description="When ARM last answered; null = never yet.")
    asked_at: datetime | None
    error: dict[str, Any] | None = Field(description="Why the last asking was in vain.")
    not_in_catalogue: list[str] = Field(description="Models that ARM says can be trained and the catalogue lacks.")


class BaseModelRead(BaseModel):
    """A base model of the catalogue, as dated facts, merged with what ARM says where a connection is named."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "base_model",
                    "id": "gpt-4.1-mini-2025-04-14",
                    "aliases": ["gpt-4.1-mini"],
                    "family": "gpt-4.1",
                    "methods": ["supervised", "dpo"],
                    "training_types": {"Standard": True, "GlobalStandard": True, "developerTier": True},
                    "deployment_skus": ["Standard", "GlobalStandard", "DeveloperTier"],
                    "regions": {"Standard": ["northcentralus", "swedencentral"]},
                    "tokens_per_example": 65536,
                    "context_input_tokens": 128000,
                    "context_output_tokens": 32768,
                    "tokenizer": "o200k_base",
                    "modality": ["text"],
                    "preview": False,
                    "note": "",
                    "retirements": [],
                    "prices": [],
                    "source": "Microsoft Learn, fine-tune-supported-models, 2026-10-06",
                    "as_of": "2026-10-06",
                    "facts": [_FACT],
                    "tuned_capacity": {"Standard": 240.0},
                }
            ]
        }
    )

    object: Literal["base_model"] = "base_model"
    id: str
    aliases: list[str]
    family: str
    methods: list[str] = Field(description="How it can be trained.")
    training_types: dict[str, bool]
    deployment_skus: list[str] = Field(description="How it can be deployed; empty = not by this service.")
    regions: dict[str, list[str]] = Field(description="Regions that train it; an absent training type = not known.")
    tokens_per_example: int | None = Field(description="The longest training example; null = not published.")
    context_input_tokens: int | None
    context_output_tokens: int | None
    tokenizer: str | None = Field(description="tiktoken's name of it; null = tiktoken does not have it.")
    modality: list[str]
    preview: bool
    note: str
    retirements: list[RetirementRead]
    prices: list[PriceRead]
    source: str
    as_of: date
    facts: list[FactRead] = Field(description="What holds, each with who says it and who says otherwise.")
    tuned_capacity: dict[str, float] | None = Field(
        description="Thousands of tokens per minute that ARM says are left for tuned models of it, by SKU."
    )


class BaseModelList(BaseModel):
    """The whole catalogue."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"object": "list", "data": [], "live": _LIVE}]})

    object: Literal["list"] = "list"
    data: list[BaseModelRead]
    live: LiveRead | None = Field(description="Of the connection that was asked for.")
