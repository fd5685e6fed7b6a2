"""What crosses the wire about bundles and imported runs."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

_RUN: Final[dict[str, Any]] = {
    "object": "run",
    "id": "run_01kz8w7m9pg8d2qz7x0f3s5t9v",
    "origin": "openai",
    "source_id": "ftjob-AF1WoRqd3aJAHsqc9NY7iL8F",
    "name": "travel",
    "base_model": "gpt-4o-mini-2024-07-18",
    "method": "supervised",
    "status": "succeeded",
    "finished_at": "2025-11-03T10:12:30Z",
    "digest": "5f2b51ca2fdc5baa31ec02e002f69aec5f2b51ca2fdc5baa31ec02e002f69aec",
    "training": "dsv_01kz8w7n1efn9s0a2b3c4d5e6f",
    "validation": None,
    "problems": [],
    "created_at": "2026-11-22T01:40:00Z",
}


class RunRead(BaseModel):
    """A training that happened elsewhere, brought here as history."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    object: Literal["run"] = "run"
    id: str
    origin: Literal["kitae", "openai"]
    source_id: str = Field(
        description="Its name where it was made: a model's id of another installation, or a job's."
    )
    name: str
    base_model: str
    method: str
    status: str = Field(description="As its origin said.")
    finished_at: datetime | None
    digest: str = Field(description="SHA-256 over its documents.")
    training: str | None = Field(description="The dataset version here that holds its training data.")
    validation: str | None
    problems: list[dict[str, Any]] = Field(description="What could not be brought.")
    created_at: datetime


class RunDetail(RunRead):
    """A run with what its documents say."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _RUN
                | {
                    "facts": {"origin": "openai", "id": "ftjob-AF1WoRqd3aJAHsqc9NY7iL8F"},
                    "analysis": {"verdict": "converged"},
                    "checkpoints": [],
                    "documents": {"run.json": 1830, "points.jsonl": 40211},
                }
            ]
        }
    )

    facts: dict[str, Any] = Field(description="`run.json`, verbatim.")
    analysis: dict[str, Any] | None
    checkpoints: list[dict[str, Any]]
    documents: dict[str, int] = Field(description="Every document of the bundle with its bytes.")


class ImportRead(BaseModel):
    """What a bundle brought."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"object": "list", "data": [_RUN], "known": 0}]})

    object: Literal["list"] = "list"
    data: list[RunRead] = Field(description="Every run of the bundle, also those that were here already.")
    known: int = Field(description="How many of them were here already.")


_OPENAI_JOB: Final[dict[str, Any]] = {
    "object": "fine_tuning.job",
    "id": "job_01kz8q2v9re4n9t6e2x5cbd3ya",
    "model": "gpt-4.1-mini-2025-04-14",
    "created_at": 1763640000,
    "finished_at": 1763644350,
    "status": "succeeded",
    "fine_tuned_model": "gpt-4.1-mini-2025-04-14.ft-0a1b2c3d4e5f60718293a4b5c6d7e8f9-travel",
    "training_file": "dsv_01kz8p9a6kf8mt3x7q2c5w0d4h",
    "validation_file": None,
    "result_files": ["file-job_01kz8q2v9re4n9t6e2x5cbd3ya"],
    "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.0},
    "trained_tokens": 66000,
    "error": {"code": None, "message": None, "param": None},
    "seed": 7,
}


class OpenAiJob(BaseModel):
    """A job as OpenAI's own API shows one; members that are not listed may come along."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_OPENAI_JOB]})

    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    id: str
    model: str
    created_at: int = Field(description="Seconds since 1970.")
    finished_at: int | None
    status: str
    fine_tuned_model: str | None
    training_file: str = Field(description="The dataset version; empty = not known.")
    validation_file: str | None
    result_files: list[str]
    hyperparameters: dict[str, Any]
    trained_tokens: int | None
    error: dict[str, Any] = Field(description="Never null; its members are.")
    seed: int


class OpenAiJobList(BaseModel):
    """A page of jobs as OpenAI's own API lists them."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"object": "list", "data": [_OPENAI_JOB], "has_more": False}]}
    )

    object: Literal["list"] = "list"
    data: list[OpenAiJob]
    has_more: bool
