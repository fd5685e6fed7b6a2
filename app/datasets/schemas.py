"""What crosses the wire about datasets."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

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


class ReadingRead(BaseModel):
    """What a file was taken for, and why."""

    detected: str = Field(description="The layout of its rows, or the kind of table.", examples=["alpaca"])
    container: str = Field(examples=["csv"])
    reason: str
    packing: str | None
    encoding: str
    left_out: list[str] = Field(description="Columns that became nothing; the first few.")
    unit: Literal["line", "record", "row"] = Field(description="What `records` of a finding count.")
    converted: bool
    sheet: str | None = Field(default=None, description="Of a workbook: the sheet that was read.")


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
                    "reading": None,
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
    format: str | None = Field(description="What the rows of its content are.")
    reading: ReadingRead | None = Field(
        default=None, description="How the file was read, when its content had to be converted or was refused."
    )
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
    records: list[tuple[int, int]] = Field(
        default_factory=list,
        description="Where these lines came from in a file that was converted, in the unit its `reading` names.",
    )


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


class TransformOutput(BaseModel):
    """One version that a change makes."""

    part: str = Field(description="Name of the part of a split; empty where nothing is split.")
    dataset_name: str
    version: str | None
    version_number: int | None
    rows: int | None
    is_new: bool | None = Field(description="False: the dataset had a version with the same bytes, which it is.")


class OperationDone(BaseModel):
    """What one operation did."""

    type: str
    rows_in: int
    rows_out: int
    changed: int = Field(description="Rows that it touched and let go on.")
    did: dict[str, int] = Field(description="Further counts, in words.")
    told: dict[str, Any] = Field(description="Further facts, such as the texts that were pruned.")


class TransformRead(BaseModel):
    """A change of a version as callers see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.transform",
                    "id": "trf_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "dataset": "ds_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "version": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "version_number": 3,
                    "status": "done",
                    "operations": [{"type": "dedupe", "of": "near"}],
                    "edition": 1,
                    "operation": 0,
                    "read_bytes": 91000,
                    "outputs": [
                        {
                            "part": "",
                            "dataset_name": "travel",
                            "version": "dsv_01kz8q7v1efn9s0a2b3c4d5e6g",
                            "version_number": 4,
                            "rows": 137,
                            "is_new": True,
                        }
                    ],
                    "done": [
                        {"type": "dedupe", "rows_in": 140, "rows_out": 137, "changed": 0, "did": {}, "told": {}}
                    ],
                    "error": None,
                    "last_error": None,
                    "parked_reason": None,
                    "created_at": "2026-11-20T09:00:00Z",
                    "ended_at": "2026-11-20T09:00:01Z",
                }
            ]
        }
    )

    object: Literal["dataset.transform"] = "dataset.transform"
    id: str
    dataset: str
    version: str = Field(description="The version that is changed.")
    version_number: int
    status: Literal["running", "done", "failed", "cancelled"]
    operations: list[dict[str, Any]]
    edition: int = Field(
        description="Of the engine: with the same edition the same operations make the same bytes."
    )
    operation: int = Field(description="Which one runs, counted from 0.")
    read_bytes: int = Field(description="How far it has read.")
    outputs: list[TransformOutput]
    done: list[OperationDone]
    error: dict[str, Any] | None = Field(description="Why it failed: `code`, `message`, `hint`.")
    last_error: dict[str, Any] | None
    parked_reason: str | None
    created_at: datetime
    ended_at: datetime | None


class OriginRead(BaseModel):
    """Lines of a version that a row came from, and where those came from."""

    version: str
    dataset_name: str
    version_number: int
    lines: tuple[int, int] = Field(description="First and last, counted from 1.")
    source: str = Field(description="How that version came to be: upload, transform, …", examples=["upload"])
    records: tuple[int, int] | None = Field(
        default=None,
        description="In the file that version was converted from, where that is known: first and last, counted in "
        "`unit`; of a table as a spreadsheet numbers its rows.",
    )
    unit: Literal["record", "row"] | None = Field(default=None, description="What `records` count.")
    sheet: str | None = Field(default=None, description="Of a workbook: the sheet with these rows.")
    operations: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Those that changed this row, or brought it in, when that version was made.",
    )
    origins: list["OriginRead"] = Field(default_factory=list)


class RowLineage(BaseModel):
    """Where one row came from, back to what was uploaded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.row_lineage",
                    "row": 17,
                    "content": {"messages": []},
                    "lineage": {
                        "version": "dsv_01kz8q7v1efn9s0a2b3c4d5e6g",
                        "dataset_name": "travel",
                        "version_number": 4,
                        "lines": [17, 17],
                        "source": "transform",
                        "operations": [],
                        "origins": [
                            {
                                "version": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                                "dataset_name": "travel",
                                "version_number": 3,
                                "lines": [19, 19],
                                "source": "upload",
                                "operations": [],
                                "origins": [],
                            }
                        ],
                    },
                }
            ]
        }
    )

    object: Literal["dataset.row_lineage"] = "dataset.row_lineage"
    row: int
    content: Any = Field(description="The row, long texts cut.")
    lineage: OriginRead


class FieldChangeRead(BaseModel):
    """One place in a row that is another now; null where nothing was, or is."""

    pointer: str
    before: Any
    after: Any


class ChangeRead(BaseModel):
    """One row that is not as and where it was."""

    kind: Literal["added", "removed", "changed", "moved"]
    line: int | None = Field(description="In this version, counted from 1.")
    was_line: int | None = Field(description="In the version before.")
    fields: list[FieldChangeRead]
    row: Any = Field(description="Of an added or removed one, long texts cut.")


class Changes(BaseModel):
    """What changed from one version to another, row by row."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.changes",
                    "since": "dsv_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "version": "dsv_01kz8q7v1efn9s0a2b3c4d5e6g",
                    "by": "lineage",
                    "same": 139,
                    "added": 0,
                    "removed": 1,
                    "changed": 0,
                    "moved": 0,
                    "data": [
                        {"kind": "removed", "line": None, "was_line": 12, "fields": [], "row": {"messages": []}}
                    ],
                    "skip": 0,
                    "has_more": False,
                }
            ]
        }
    )

    object: Literal["dataset.changes"] = "dataset.changes"
    since: str
    version: str
    by: Literal["lineage", "content"] = Field(
        description="How rows were matched: by where they came from, or by what they say and what they are asked."
    )
    same: int
    added: int
    removed: int
    changed: int
    moved: int
    data: list[ChangeRead]
    skip: int
    has_more: bool


class GraderRequest(RequestModel):
    """A grader that is a model, for reinforcement."""

    model: Annotated[str, Field(max_length=200)] = Field(examples=["o3-mini"])
    input_tokens_per_call: Annotated[Count, Field(ge=0, le=10_000_000)]
    output_tokens_per_call: Annotated[Count, Field(ge=0, le=10_000_000)]
    calls: Annotated[Count, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="Left out: examples × epochs × the answers that are sampled."
    )


class EstimateRequest(RequestModel):
    """For which training an estimate is wanted; whatever is left out stays open."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "gpt-4.1-mini",
                    "training_type": "GlobalStandard",
                    "n_epochs": 3,
                    "validation": "travel-validation",
                    "calls_per_month": 200_000,
                    "instead_of": "gpt-4.1",
                }
            ]
        }
    )

    model: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Left out: every model that is trained by the dataset's method."
    )
    training_type: Literal["Standard", "GlobalStandard", "developerTier", "DataZoneStandard"] | None = Field(
        default=None, description="Left out: all."
    )
    n_epochs: Annotated[Count, Field(ge=1, le=50)] | None = Field(
        default=None, description="Left out: Azure's choice."
    )
    validation: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="A version to validate on.", examples=["travel-validation"]
    )
    calls_per_month: Annotated[Count, Field(ge=1, le=1_000_000_000_000)] | None = Field(
        default=None, description="Of the tuned model, to compare monthly costs."
    )
    prompt_tokens: Annotated[Count, Field(ge=0, le=1_000_000)] | None = Field(
        default=None,
        description="Of the instructions and examples a base model would be sent with each call. Left out: those "
        "that the rows repeat.",
    )
    instead_of: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="The base model that is prompted today. Left out: the one that is tuned."
    )
    sku: Literal["Standard", "GlobalStandard", "DataZoneStandard", "DeveloperTier"] = Field(
        default="GlobalStandard", description="How both would be deployed."
    )
    training_hours: Decimal | None = Field(
        default=None,
        gt=0,
        le=720,
        max_digits=5,
        decimal_places=2,
        description="Of reinforcement, which is billed by the hour.",
        examples=["4"],
    )
    grader: GraderRequest | None = None


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
                    "near": None,
                }
            ]
        }
    )

    object: Literal["dataset.comparison"] = "dataset.comparison"
    training: str
    validation: str
    finding: FindingRead | None = Field(description="Validation examples that stand in the training data.")
    near: FindingRead | None = Field(
        default=None, description="Validation examples that stand there in almost the same words."
    )


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


class UrlSource(RequestModel):
    """A file on the public web. A worker brings it; what stands behind its `?` is kept secret, then forgotten."""

    type: Literal["url"]
    url: Annotated[str, Field(min_length=8, max_length=4000, examples=["https://example.com/train.jsonl"])]
    sha256: Sha256 | None = Field(default=None, description="Of the file, in hexadecimal, if it is known.")


class AzureBlobSource(RequestModel):
    """A blob of Azure Storage: by a URL with a SAS, or by its place, read with the service's own Entra identity."""

    type: Literal["azure_blob"]
    url: Annotated[str, Field(min_length=8, max_length=4000)] | None = Field(
        default=None, description="https://ACCOUNT.blob.core.windows.net/CONTAINER/BLOB?SAS"
    )
    account: Annotated[str, Field(pattern="^[a-z0-9]{3,24}$")] | None = None
    container: Annotated[str, Field(pattern=r"^(?:\$root|\$web|[a-z0-9](?:-?[a-z0-9]){2,62})$")] | None = None
    blob: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    connection: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="A connection with `entra`: with account, container and blob, instead of a SAS."
    )
    sha256: Sha256 | None = Field(default=None, description="Of the blob, in hexadecimal, if it is known.")

    @model_validator(mode="after")
    def _one_way(self) -> "AzureBlobSource":
        place = (self.account, self.container, self.blob, self.connection)
        if (self.url is None) == (None in place) or (self.url is not None and any(place)):
            raise ValueError("give `url`, or `account`, `container`, `blob` and `connection`")
        return self


class HuggingFaceSource(RequestModel):
    """A split of a dataset on the Hugging Face Hub, brought as the Hub's parquet files of one commit."""

    type: Literal["huggingface"]
    dataset: Annotated[
        str,
        Field(max_length=200, pattern=r"^[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?$"),
    ] = Field(examples=["OpenAssistant/oasst1"])
    config: Annotated[str, Field(min_length=1, max_length=200)] = "default"
    split: Annotated[str, Field(pattern=r"^[\w.]{1,100}$")] = "train"
    revision: Annotated[str, Field(pattern=r"^[\w./-]{1,200}$")] | None = Field(
        default=None,
        description="Branch, tag or commit. Left out: the Hub's own conversion to parquet, or `main` without one.",
    )
    token: Annotated[SecretStr, Field(min_length=8, max_length=300)] | None = Field(
        default=None, description="For private and gated datasets; kept sealed until the fetch has ended."
    )


FetchedSource = UrlSource | AzureBlobSource | HuggingFaceSource
"""What a worker brings."""
Source = Annotated[InlineSource | FetchedSource, Field(discriminator="type")]

FormatName = Annotated[
    str,
    Field(max_length=40, description="What the file is (csv, xlsx, …) or its rows are (alpaca, …)."),
]
EncodingName = Annotated[str, Field(max_length=40, description="Of text that is not UTF-8, such as cp932.")]
SheetName = Annotated[str, Field(max_length=200, description="Of a workbook; its first one otherwise.")]
MappingText = Annotated[
    str,
    Field(
        max_length=20_000,
        description="What each column is: `question=user,answer=assistant,topic=ignored`, or the same as JSON.",
    ),
]


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

    source: Source
    filename: FileName | None = None
    model: ModelName | None = None
    format: FormatName | None = None
    mapping: MappingText | dict[str, Any] | None = None
    encoding: EncodingName | None = None
    sheet: SheetName | None = None


class FetchRead(BaseModel):
    """A fetch from a source as callers see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "dataset.fetch",
                    "id": "fet_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "dataset": "ds_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "status": "fetching",
                    "source": {"type": "url", "url": "https://example.com/train.jsonl?…"},
                    "filename": "train.jsonl",
                    "model": "gpt-4.1-2025-04-14",
                    "received_bytes": 8_388_608,
                    "total_bytes": 125_000_000,
                    "files": 1,
                    "files_received": 0,
                    "version": None,
                    "version_number": None,
                    "error": None,
                    "last_error": None,
                    "parked_reason": None,
                    "created_at": "2026-11-20T09:00:00Z",
                    "ended_at": None,
                }
            ]
        }
    )

    object: Literal["dataset.fetch"] = "dataset.fetch"
    id: str
    dataset: str
    status: Literal["fetching", "fetched", "failed", "cancelled"]
    source: dict[str, Any] = Field(description="As it was given, without tokens and what stands behind `?`.")
    filename: str | None
    model: str = Field(description="Whose limits and tokenizer the check will use.")
    received_bytes: int
    total_bytes: int | None = Field(description="As the source announces it; null where it does not, or not yet.")
    files: int | None = Field(description="How many files the source holds; null until it was asked.")
    files_received: int
    version: str | None = Field(description="What it became.")
    version_number: int | None
    error: dict[str, Any] | None = Field(description="Why it failed: `code`, `message`, `hint`.")
    last_error: dict[str, Any] | None = Field(description="Why the last attempt broke off; it goes on by itself.")
    parked_reason: str | None
    created_at: datetime
    ended_at: datetime | None


class VersionForm(RequestModel):
    """The text fields beside a form's file."""

    model: ModelName | None = None
    format: FormatName | None = None
    mapping: MappingText | None = None
    encoding: EncodingName | None = None
    sheet: SheetName | None = None


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
    resume: bool = Field(
        default=False,
        description="Go on with an upload of the same bytes to this dataset if one is under way; needs `sha256`.",
    )
    filename: FileName | None = None
    model: ModelName | None = None

    @model_validator(mode="after")
    def _known_by_digest(self) -> "UploadCreate":
        if self.resume and self.sha256 is None:
            raise ValueError("`resume` needs `sha256`, by which the earlier upload is found")
        return self


class UploadComplete(RequestModel):
    """What the whole should be."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"parts": [1, 2, 3], "sha256": "9f" * 32}]})

    parts: Annotated[list[PartNumber], Field(min_length=1, max_length=PARTS_MAX)] | None = Field(
        default=None, description="In which order they make the file; all of them by number when absent."
    )
    sha256: Sha256 | None = Field(default=None, description="Of the whole file, in hexadecimal.")
    format: FormatName | None = None
    mapping: MappingText | dict[str, Any] | None = None
    encoding: EncodingName | None = None
    sheet: SheetName | None = None


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
