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
