"""What crosses the wire about datasets."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.kit.wire import Count, Name, RequestModel, ShortText

Method = Literal["supervised", "dpo", "reinforcement"]
"""How models are trained on a dataset; it decides which rules its rows are checked by."""
Labels = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]
"""Up to 16 pairs of 64 and 512 characters, like Azure's own metadata."""


class DatasetCreate(RequestModel):
    """A name for versions to come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "travel",
                    "description": "A travel assistant that names no hotels.",
                    "labels": {"team": "web"},
                }
            ]
        }
    )

    name: Name = Field(examples=["travel"])
    method: Method = Field(
        default="supervised",
        description="How models will be trained on it; it decides by which rules every version is checked.",
    )
    description: ShortText = ""
    labels: Labels = Field(default_factory=dict)


class DatasetPatch(RequestModel):
    """Fields to change; what is absent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "Spring edition"}]})

    description: ShortText | None = None
    labels: Labels | None = None


class DatasetRead(BaseModel):
    """A dataset as callers see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset",
                    "id": "ds_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "name": "travel",
                    "method": "supervised",
                    "description": "",
                    "labels": {},
                    "version_count": 3,
                    "created_at": "2026-11-20T09:00:00Z",
                    "updated_at": "2026-11-20T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["dataset"] = "dataset"
    id: str
    name: str
    method: Method
    description: str
    labels: dict[str, Any]
    version_count: int
    created_at: datetime
    updated_at: datetime


class VersionRead(BaseModel):
    """One immutable content of a dataset."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.version",
                    "id": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "dataset": "ds_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "dataset_name": "travel",
                    "method": "supervised",
                    "number": 3,
                    "status": "ready",
                    "original_name": "train.jsonl",
                    "base_model": "gpt-4.1-mini-2025-04-14",
                    "bytes": 91000,
                    "sha256": "9f2c…",
                    "content_bytes": 91000,
                    "content_sha256": "9f2c…",
                    "examples": 140,
                    "tokens": 22500,
                    "checked_bytes": 91000,
                    "verdict": "ready",
                    "format": "chat",
                    "findings": {"error": 0, "warning": 0, "note": 1},
                    "lineage": {"source": "upload"},
                    "parked_reason": None,
                    "last_error": None,
                    "created_at": "2026-11-20T09:00:00Z",
                    "checked_at": "2026-11-20T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["dataset.version"] = "dataset.version"
    id: str
    dataset: str
    dataset_name: str
    method: Method = Field(description="Of the dataset: by whose rules the version is checked.")
    number: int
    status: Literal["checking", "ready", "rejected"]
    original_name: str | None
    base_model: str = Field(description="Whose limits and tokenizer the check uses.")
    bytes: int
    sha256: str
    content_bytes: int | None
    content_sha256: str | None
    examples: int | None
    tokens: int | None
    checked_bytes: int
    verdict: Literal["ready", "fixable", "rejected"] | None = Field(
        description="What Azure would do with it as it is: take it, or refuse it. `fixable`: refuse it, but every "
        "error in it can be mended without inventing content; its status is `rejected` then, too."
    )
    format: str | None
    findings: dict[str, int] = Field(description="How many findings of each severity.")
    lineage: dict[str, Any]
    parked_reason: str | None
    last_error: dict[str, Any] | None
    created_at: datetime
    checked_at: datetime | None


class FindingRead(BaseModel):
    """One kind of defect, with every line it stands on."""

    code: str = Field(examples=["over-long-example"])
    severity: Literal["error", "warning", "note"]
    message: str
    remedy: str
    lines: list[tuple[int, int]] = Field(description="Ranges, first and last line, counted from 1.")
    count: int
    pointer: str | None
    examples: list[str]
    fixable: bool
    more_ranges: int = 0


class FindingList(BaseModel):
    """All findings of one version."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "code": "over-long-example",
                            "severity": "error",
                            "message": "2 examples are longer than the model takes.",
                            "remedy": "Drop them into a new version.",
                            "lines": [[412, 413]],
                            "count": 2,
                            "pointer": None,
                            "examples": ["line 412: 70,211 tokens"],
                            "fixable": True,
                            "more_ranges": 0,
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[FindingRead]


class Preview(BaseModel):
    """The first rows, long texts cut."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.preview",
                    "rows": [
                        {
                            "messages": [
                                {"role": "user", "content": "Hello"},
                                {"role": "assistant", "content": "Good morning."},
                            ]
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["dataset.preview"] = "dataset.preview"
    rows: list[dict[str, Any]]


class Stats(BaseModel):
    """What a version holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "dataset.stats", "tokens": {"tokenizer": "o200k_base", "total": 22500}, "stats": {}}
            ]
        }
    )

    object: Literal["dataset.stats"] = "dataset.stats"
    tokens: dict[str, Any]
    stats: dict[str, Any]


class DropOperation(RequestModel):
    """Leave lines out: by number, or all lines of a finding."""

    type: Literal["drop"]
    lines: list[tuple[Annotated[Count, Field(ge=1)], Annotated[Count, Field(ge=1)]]] = Field(
        default_factory=list, max_length=10_000, description="Ranges, first and last line, counted from 1."
    )
    code: str | None = Field(default=None, max_length=64, examples=["over-long-example"])


class Transform(RequestModel):
    """Operations that make a new version."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"operations": [{"type": "drop", "code": "over-long-example"}]}]}
    )

    operations: list[DropOperation] = Field(min_length=1, max_length=20)


class EstimateRequest(RequestModel):
    """For which training an estimate is wanted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "gpt-4.1-mini", "training_type": "GlobalStandard", "n_epochs": 3}]
        }
    )

    model: Annotated[str, Field(max_length=200)] | None = None
    training_type: Literal["Standard", "GlobalStandard", "developerTier", "DataZoneStandard"] = "GlobalStandard"
    n_epochs: Annotated[Count, Field(ge=1, le=50)] | None = None


class CompareRequest(RequestModel):
    """Two versions to be held against each other."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"training": "travel@3", "validation": "travel-validation"}]}
    )

    training: Annotated[str, Field(max_length=200)] = Field(examples=["travel@3"])
    validation: Annotated[str, Field(max_length=200)] = Field(examples=["travel-validation"])


class Comparison(BaseModel):
    """What two versions share."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.comparison",
                    "training": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "validation": "dsv_01kz8q7v1efn9s0a2b3c4d5e6g",
                    "finding": None,
                }
            ]
        }
    )

    object: Literal["dataset.comparison"] = "dataset.comparison"
    training: str
    validation: str
    finding: FindingRead | None


# ── ways in ─────────────────────────────────────────────────────────────────

PART_BYTES: Final = 8 << 20
"""Size of parts that we propose: small enough to be sent again, large enough to be few."""
PART_BYTES_MAX: Final = 64 << 20
PARTS_MAX: Final = 1000
"""Highest number of a part; 1,000 of the proposed size hold 8 GB."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]
"""64 hexadecimal digits."""
FileName = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\]*$")]
"""A name without folders and control characters."""
ModelName = Annotated[
    str, Field(max_length=200, description="Base model whose limits and tokenizer the check uses.")
]
PartNumber = Annotated[Count, Field(ge=1, le=PARTS_MAX)]


class InlineSource(RequestModel):
    """Examples in the request itself."""

    type: Literal["inline"]
    rows: list[dict[str, Any]] = Field(min_length=1, description="Chat examples, one becomes one line.")


class VersionCreate(RequestModel):
    """A version made of what a source holds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": {
                        "type": "inline",
                        "rows": [
                            {
                                "messages": [
                                    {"role": "user", "content": "Hello"},
                                    {"role": "assistant", "content": "Good morning."},
                                ]
                            }
                        ],
                    },
                    "filename": "greetings.jsonl",
                    "model": "gpt-4.1-mini",
                }
            ]
        }
    )

    source: InlineSource
    filename: FileName | None = None
    model: ModelName | None = None


class VersionForm(RequestModel):
    """The text fields beside a form's file."""

    model: ModelName | None = None


class UploadCreate(RequestModel):
    """An upload in parts to come."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"bytes": 125_000_000, "sha256": "9f" * 32, "filename": "train.jsonl", "model": "gpt-4.1"}]
        }
    )

    bytes: Annotated[Count, Field(ge=1)] = Field(description="Of the whole file.")
    sha256: Sha256 | None = Field(
        default=None, description="Of the whole file, in hexadecimal; checked at the end."
    )
    filename: FileName | None = None
    model: ModelName | None = None


class UploadComplete(RequestModel):
    """What the whole should be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"parts": [1, 2, 3], "sha256": "9f" * 32}]})

    parts: Annotated[list[PartNumber], Field(min_length=1, max_length=PARTS_MAX)] | None = Field(
        default=None, description="In which order they make the file; all of them by number when absent."
    )
    sha256: Sha256 | None = Field(default=None, description="Of the whole file, in hexadecimal.")


class PartRead(BaseModel):
    """A part that has arrived."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.upload.part",
                    "number": 1,
                    "bytes": PART_BYTES,
                    "sha256": "9f" * 32,
                    "received_at": "2026-11-20T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["dataset.upload.part"] = "dataset.upload.part"
    number: int
    bytes: int
    sha256: str
    received_at: datetime


class UploadRead(BaseModel):
    """An upload in parts as callers see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.upload",
                    "id": "upl_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "dataset": "ds_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "status": "receiving",
                    "bytes": 125_000_000,
                    "sha256": "9f" * 32,
                    "filename": "train.jsonl",
                    "model": "gpt-4.1-2025-04-14",
                    "part_bytes": PART_BYTES,
                    "part_bytes_max": PART_BYTES_MAX,
                    "received_bytes": 0,
                    "parts": [],
                    "version": None,
                    "created_at": "2026-11-20T09:00:00Z",
                    "expires_at": "2026-11-21T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["dataset.upload"] = "dataset.upload"
    id: str
    dataset: str
    status: Literal["receiving", "completed", "cancelled", "expired"]
    bytes: int = Field(description="Of the whole file, as announced.")
    sha256: str | None
    filename: str | None
    model: str = Field(description="Whose limits and tokenizer the check will use.")
    part_bytes: int = Field(default=PART_BYTES, description="Cut the file into parts of this size.")
    part_bytes_max: int = Field(default=PART_BYTES_MAX, description="No part may be larger.")
    received_bytes: int
    parts: list[PartRead] = Field(description="Those that are there, by number; send the others.")
    version: str | None = Field(description="What it became.")
    created_at: datetime
    expires_at: datetime = Field(description="Until then its parts are kept.")
