"""What crosses the wire about jobs that others made at Azure, and their adoption."""

from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.adoptions.states import AdoptionStatus
from app.jobs.schemas import Ref
from app.kit.wire import Name, RequestModel

_REMOTE_JOB: Final[dict[str, Any]] = {
    "object": "remote_job",
    "remote_id": "ftjob-372c72db22c34e6f9ccb62c26ee0fbd9",
    "state": "adoptable",
    "job": None,
    "adoption": None,
    "status": "succeeded",
    "model": "gpt-4.1-mini-2025-04-14",
    "fine_tuned_model": "gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678-travel",
    "suffix": "travel",
    "training_file": "file-2f1d5e5b0c3a4a6f",
    "validation_file": None,
    "trained_tokens": 66000,
    "metadata": {"team": "web"},
    "created_at": "2026-11-19T08:00:00Z",
    "finished_at": "2026-11-19T09:10:00Z",
}
_ADOPTION: Final[dict[str, Any]] = {
    "object": "job.adoption",
    "id": "adp_01kz8w7m9pg8d2qz7x0f3s5t9v",
    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
    "remote_id": "ftjob-372c72db22c34e6f9ccb62c26ee0fbd9",
    "status": "adopted",
    "job": "job_01kz8w7p2qf1s9t6e2x5cbd3ya",
    "training": {"version": "dsv_01kz8w7n1efn9s0a2b3c4d5e6f", "file": "file-2f1d5e5b0c3a4a6f", "problem": None},
    "validation": None,
    "error": None,
    "last_error": None,
    "parked_reason": None,
    "created_at": "2026-11-20T10:40:00Z",
    "ended_at": "2026-11-20T10:40:09Z",
}


class RemoteJobRead(BaseModel):
    """One job on the resource, as Azure shows it now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REMOTE_JOB]})

    object: Literal["remote_job"] = "remote_job"
    remote_id: str = Field(description="Azure's id of it.")
    state: Literal["adoptable", "followed", "marked"] = Field(
        description="`followed`: it is a job of this project. `marked`: it carries our mark and no row names it;"
        " see `/v1/strays`. Any other is `adoptable`."
    )
    job: str | None = Field(description="Our id, where it is followed.")
    adoption: str | None = Field(description="The last adoption that was asked for.")
    status: str = Field(description="Azure's word.")
    model: str | None
    fine_tuned_model: str | None
    suffix: str | None
    training_file: str | None
    validation_file: str | None
    trained_tokens: int | None
    metadata: dict[str, str]
    created_at: datetime | None
    finished_at: datetime | None


class RemoteJobList(BaseModel):
    """One page of Azure's own list, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [_REMOTE_JOB],
                    "left_out": 0,
                    "next_after": None,
                    "read_at": "2026-11-20T10:40:00Z",
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[RemoteJobRead]
    left_out: int = Field(description="Jobs of this page that other projects here made or follow; not shown.")
    next_after: str | None = Field(description="Pass it as `after` for the next page; null = this was the last.")
    read_at: datetime = Field(description="When Azure was asked.")


class AdoptRemoteJob(RequestModel):
    """What only a person knows; everything may be left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dataset": "travel-portal"}]})

    training: Ref | None = Field(
        default=None, description="A dataset version that it was trained on; then nothing is downloaded for it."
    )
    validation: Ref | None = Field(default=None, description="The same for its validation data.")
    dataset: Name | None = Field(
        default=None,
        description="Dataset that gets the training file as a version; made where there is none. Left out: named"
        " after the file.",
    )
    validation_dataset: Name | None = Field(default=None, description="The same for the validation file.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "AdoptRemoteJob":
        for version, dataset in (("training", "dataset"), ("validation", "validation_dataset")):
            if getattr(self, version) is not None and getattr(self, dataset) is not None:
                raise ValueError(f"Give {version} or {dataset}, not both.")
        return self


class AdoptedData(BaseModel):
    """What became of one file of the job."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ADOPTION["training"]]})

    version: str | None = Field(description="The dataset version; null = not known, `problem` says why.")
    file: str | None = Field(description="Azure's id of the file.")
    problem: dict[str, Any] | None = Field(description="Why there is no version.")


class AdoptionRead(BaseModel):
    """The adoption of one job."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ADOPTION]})

    object: Literal["job.adoption"] = "job.adoption"
    id: str
    connection: str
    remote_id: str
    status: AdoptionStatus
    job: str | None = Field(description="The job it became.")
    training: AdoptedData | None = Field(description="null = not read yet.")
    validation: AdoptedData | None = Field(description="null = not read yet, or there is none.")
    error: dict[str, Any] | None
    last_error: dict[str, Any] | None = Field(description="Why the last look did not go well; it is tried again.")
    parked_reason: str | None = Field(description="Why it waits; ask for it again when that is mended.")
    created_at: datetime
    ended_at: datetime | None
