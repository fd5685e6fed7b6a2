"""What the rooms ask of Azure, in our words: protocols, frozen values and the tree of errors.

It knows no SDK, no URL and no status table of ours; the adapters beside it translate.

    AzureError
    ├── Refused             a definite no: asking again cannot help and nothing was made
    │   ├── Unauthorised    401, 403: the credential or its role
    │   └── NotThere        404: also a fresh object that a list already shows
    ├── Throttled           429: come back after `retry_after_seconds`
    ├── Busy                409 on the control plane: another write on the account is under way
    ├── Unavailable         a read, or an idempotent write, that may be asked again
    └── OutcomeUnknown      a create whose answer was lost: it may or may not exist
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, BinaryIO, Final, Protocol


class ApiStyle(StrEnum):
    """Which of Azure's two URL forms a resource is spoken to with."""

    V1 = "v1"
    """`{endpoint}/openai/v1/…`; knows job metadata. Source: Azure OpenAI v1 OpenAPI, 2026-02-02."""
    DATED = "dated"
    """`{endpoint}/openai/…?api-version=…`; knows `/uploads` and job DELETE, but no job metadata."""


class AuthKind(StrEnum):
    API_KEY = "api_key"
    ENTRA = "entra"
    """azure-identity's default chain: workload identity, managed identity, environment, CLI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureTarget:
    """One Azure OpenAI resource and how to reach it. Holds a secret: never log or print it."""

    connection_id: str
    endpoint: str
    """Base URL without path, e.g. `https://name.openai.azure.com`."""
    api_style: ApiStyle
    api_version: str | None
    """Only for `dated`."""
    auth: AuthKind
    api_key: str | None = field(repr=False, default=None)
    entra_scope: str | None = None
    """None = the adapter's default for the api style."""
    arm_endpoint: str = "https://management.azure.com"
    arm_api_version: str = "2024-10-01"
    arm_token: str | None = field(repr=False, default=None)
    """A fixed bearer token for the control plane, for an emulator; None = Entra."""
    subscription_id: str | None = None
    resource_group: str | None = None
    account: str | None = None
    region: str | None = None

    @property
    def account_key(self) -> str:
        """What two writes on the control plane must not share at the same time."""
        return f"{self.arm_endpoint}/{self.subscription_id}/{self.resource_group}/{self.account}".lower()


class AzureError(Exception):
    """Azure, or the way to it, did not do what was asked.

    Attributes:
        code: our word, stable, for programs (`azure_quota_exceeded`, `azure_unauthorised`, …).
        hint: what a person can do about it.
        http_status: Azure's status, None when no answer came.
        remote: Azure's answer verbatim (parsed JSON, or `{"text": …}` cut to 4,000 characters).
        retry_after_seconds: how long Azure asked to wait, uncapped; None when it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        hint: str = "",
        http_status: int | None = None,
        remote: Mapping[str, Any] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.http_status = http_status
        self.remote = dict(remote or {})
        self.retry_after_seconds = retry_after_seconds


class Refused(AzureError):
    """A definite no (400, 401, 403, 404, 413, 422): nothing was made, asking again cannot help."""


class Unauthorised(Refused):
    """401 or 403: the key, the token or the role."""


def is_of_credential(error: AzureError) -> bool:
    """Whether the key or the token itself is refused: what was asked for is not at fault, and waits for a person.

    A role that is missing (403) is a no to what was asked.
    """
    return isinstance(error, Unauthorised) and error.code != "azure_forbidden"


class NotThere(Refused):
    """404. Right after a create it may only mean "not yet"; the caller knows which."""


class Throttled(AzureError):
    """429: nothing was made; come back after `retry_after_seconds`."""


class Busy(AzureError):
    """409 RequestConflict: another write on the same account is under way. Wait, do not worry."""


class Unavailable(AzureError):
    """A read or an idempotent write that failed for a passing reason; ask again later."""


class OutcomeUnknown(AzureError):
    """A create was sent and no clear answer came: time-out, reset, 408, 409, 5xx or an unreadable 2xx."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    remote_id: str
    status: str
    """Azure's word: pending, running, processed, error, … A fresh upload is `pending`."""
    filename: str | None
    bytes: int | None
    """May be None right after the upload."""
    created_at: datetime | None
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SentParts:
    """How far the upload of a large file has come; who keeps it can go on in another process.

    Azure tells nobody which parts it has: only this knows. It makes the file when the parts are put together, and
    forgets an upload that is not complete after two hours. Source: authoring spec 2024-10-21, uploads.
    """

    upload_id: str
    part_bytes: int
    """Size of every part but the last."""
    part_ids: tuple[str, ...] = ()
    completing: bool = False
    """Whether Azure may have been asked to put them together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRemoteJob:
    """What Azure needs to start one training.

    `metadata` carries our `op_key` where the resource speaks v1; the dated form has no metadata, so the
    adapter drops it there and `suffix` and `seed` (derived from the op_key by the caller) stand in.
    """

    model: str
    training_file: str
    validation_file: str | None
    method: str
    """`supervised`, `dpo` or `reinforcement`."""
    hyperparameters: Mapping[str, int | float | str]
    """Only what the user chose; Azure picks the rest ("auto")."""
    training_type: str
    """`Standard`, `GlobalStandard` or `developerTier`; always sent.

    Source: Microsoft Learn, fine-tuning REST page, 2026-10-05; leaving it out yields "The specified base
    model does not support fine-tuning".
    """
    suffix: str | None
    seed: int | None
    metadata: Mapping[str, str]
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    """What the method needs beside hyperparameters: `grader` and `response_format` of `reinforcement`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJob:
    remote_id: str
    status: str
    """Azure's word, verbatim: pending, validating_files, queued, running, pausing, paused, resuming,
    succeeded, failed, cancelled, or one never seen before."""
    model: str | None
    fine_tuned_model: str | None
    training_file: str | None
    suffix: str | None
    seed: int | None
    metadata: Mapping[str, str]
    hyperparameters: Mapping[str, Any]
    """Verbatim; -1 and "auto" both mean that Azure has not said yet."""
    trained_tokens: int | None
    result_files: tuple[str, ...]
    error: Mapping[str, Any] | None
    """None when absent, null or empty."""
    created_at: datetime | None
    finished_at: datetime | None
    estimated_finish_at: datetime | None
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteJobEvent:
    remote_id: str
    created_at: datetime
    level: str
    """Normalised to info, warning or error; an unknown word is kept."""
    type: str
    message: str
    data: Mapping[str, Any]
    """For metrics: step, train_loss, … ; empty otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCheckpoint:
    remote_id: str
    step: int
    model_name: str
    """Deployable name, `…:ckpt-step-N`, or the final model's own name for the last one."""
    metrics: Mapping[str, float]
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCopy:
    """A checkpoint on its way to another account, under the same name."""

    destination_id: str
    """ARM's id of the account."""
    region: str | None
    status: str
    """InProgress, Completed or Failed, verbatim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteDeployment:
    name: str
    provisioning_state: str
    """ARM's word, verbatim: Accepted, Creating, Deleting, Failed, Succeeded, …"""
    model_name: str | None
    sku_name: str | None
    capacity: int | None
    tags: Mapping[str, str]
    operation_url: str | None
    """Azure-AsyncOperation of the write that made this answer, if any."""
    retry_after_seconds: float | None
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRemoteDeployment:
    name: str
    model_format: str
    """`OpenAI`, `Microsoft`, `Mistral AI`, … A wrong one is answered with HTTP 500 without text."""
    model_name: str
    model_version: str
    """Always `1` for a fine-tuned model."""
    sku_name: str
    capacity: int
    """Thousands of tokens per minute."""
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOperation:
    status: str
    """InProgress, Succeeded, Failed, Canceled, or a provisioning word."""
    error: Mapping[str, Any] | None
    retry_after_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int
    latency_seconds: float
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTarget:
    """One index of Azure AI Search and how to reach it. Holds a secret: never log or print it."""

    search_index_id: str
    endpoint: str
    """Base URL without path, e.g. `https://name.search.windows.net`."""
    index: str
    auth: AuthKind
    api_key: str | None = field(repr=False, default=None)
    content_field: str
    title_field: str | None = None
    semantic_configuration: str | None = None
    """None = keyword search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of text that a search found."""

    text: str
    title: str
    """Empty where the index has none."""
    score: float | None
    """The re-ranker's (0 to 4) with semantic search, otherwise the unbounded score of keyword search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One line of quota: `OpenAI.Standard.gpt-4.1`, 240 of 300 thousand tokens per minute."""

    name: str
    current: float
    limit: float
    unit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraderVerdict:
    """Whether Azure takes a grader for reinforcement."""

    accepted: bool
    message: str
    """Azure's words when it does not; empty when it does."""
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """What a grader made of one answer."""

    reward: float | None
    """None when it could not be told; a grader that failed gives 0 and names why in `errors`."""
    errors: Mapping[str, str]
    """Azure's names of what went wrong (`sample_parse_error`, …) → its details, empty when it told none."""
    scores: Mapping[str, float]
    """Of the parts of a `multi` grader."""
    tokens: Mapping[str, int]
    """Tokens that models which grade used, by model; Azure does not tell input from output."""
    latency_seconds: float
    raw: Mapping[str, Any]


READ_TIMEOUT_SECONDS: Final = 60.0
"""Ceiling for any single call; the settle time of the creation protocol must be longer."""


class DataPlane(Protocol):
    """Files, jobs, models and chat of one resource.

    Every method may raise `AzureError`. Methods that create raise `OutcomeUnknown` where others raise
    `Unavailable`, and never retry by themselves. They raise `Unavailable` only when nothing can have been
    made: no connection came about, or a part of a large file was lost before the parts were put together.
    """

    def upload_file(
        self,
        *,
        filename: str,
        content: BinaryIO,
        purpose: str,
        sent: SentParts | None = None,
        keep: Callable[[SentParts], None] | None = None,
    ) -> RemoteFile:
        """Upload a file; a large one in parts.

        Args:
            sent: what an earlier call for the same content has kept: only the rest is sent. `Refused` then says
                that Azure has forgotten it.
            keep: called when an upload in parts has begun, after each part, and before they are put together.
        """
        ...

    def get_file(self, remote_id: str) -> RemoteFile: ...
    def list_files(self, *, purpose: str) -> Iterator[RemoteFile]: ...
    def delete_file(self, remote_id: str) -> None:
        """Deleting what is not there is success."""
        ...

    def read_file(self, remote_id: str, write: Callable[[bytes], object], *, max_bytes: int) -> None:
        """Hand a file's content on, chunk by chunk. Raises `Refused` (`azure_file_too_large`) beyond max_bytes."""
        ...

    def file_content(self, remote_id: str, *, max_bytes: int) -> bytes:
        """Raises `Refused` (`azure_file_too_large`) beyond max_bytes."""
        ...

    def create_job(self, new: NewRemoteJob) -> RemoteJob: ...
    def get_job(self, remote_id: str) -> RemoteJob: ...
    def list_jobs(self, *, page_size: int = 100, after: str | None = None) -> Iterator[Sequence[RemoteJob]]:
        """Pages, in Azure's order (not specified); a lazily read iterator of all pages, or of those after a job."""
        ...

    def cancel_job(self, remote_id: str) -> RemoteJob: ...
    def pause_job(self, remote_id: str) -> RemoteJob: ...
    def resume_job(self, remote_id: str) -> RemoteJob: ...
    def job_events(self, remote_id: str, *, known: frozenset[str], max_pages: int = 50) -> list[RemoteJobEvent]:
        """New events, oldest first. Azure answers newest first; reading stops at the first known id."""
        ...

    def checkpoints(self, remote_id: str) -> list[RemoteCheckpoint]:
        """Oldest first."""
        ...

    def copy_checkpoint(
        self, remote_id: str, checkpoint_id: str, *, destination_id: str, region: str
    ) -> list[RemoteCopy]:
        """Begin to copy a job's checkpoint to another account; all its copies. Only for `v1`.

        Raises:
            OutcomeUnknown: as every create; `checkpoint_copies` tells whether it began.
        """
        ...

    def checkpoint_copies(self, remote_id: str, checkpoint_id: str) -> list[RemoteCopy]:
        """Where a checkpoint was copied to, and how that went. Only for `v1`."""
        ...

    def validate_grader(self, grader: Mapping[str, Any]) -> GraderVerdict:
        """Whether Azure takes this grader; costs nothing. A grader it refuses is a verdict, no error.

        Raises `Refused` (`azure_graders_unsupported`) on a resource that is spoken to in the dated form.
        """
        ...

    def run_grader(self, grader: Mapping[str, Any], *, item: Mapping[str, Any], answer: str) -> Graded:
        """Grade one answer; a grader that is a model uses tokens, which cost. Asking twice makes nothing twice.

        Args:
            item: the example's own fields, `item.…` to the grader.
            answer: what a model answered, `sample.output_text` to the grader.
        """
        ...

    def list_models(self) -> list[Mapping[str, Any]]:
        """Verbatim model objects."""
        ...

    def chat(
        self,
        *,
        deployment: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> ChatAnswer: ...

    def chat_stream(
        self,
        *,
        deployment: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> AbstractContextManager[Iterator[Mapping[str, Any]]]:
        """Azure's chunks verbatim; closing the context closes the connection."""
        ...


class ControlPlane(Protocol):
    """Deployments, quota and models of one account, through ARM. Writes are idempotent by name."""

    def put_deployment(self, new: NewRemoteDeployment) -> RemoteDeployment:
        """Raises `Busy`, `Refused` (`azure_insufficient_quota`, …), `Throttled`, `Unavailable`."""
        ...

    def get_deployment(self, name: str) -> RemoteDeployment | None:
        """None = 404, which right after a PUT may only mean "not yet"."""
        ...

    def update_deployment(
        self, name: str, *, sku_name: str, capacity: int, tags: Mapping[str, str]
    ) -> RemoteDeployment: ...

    def delete_deployment(self, name: str) -> None:
        """Starts the deletion; it is finished when `get_deployment` answers None. Absent = success."""
        ...

    def list_deployments(self) -> list[RemoteDeployment]: ...
    def get_operation(self, url: str) -> RemoteOperation:
        """Reads an Azure-AsyncOperation; refuses a URL outside the ARM endpoint."""
        ...

    def list_models(self) -> list[Mapping[str, Any]]:
        """Verbatim: base models that the account offers, and its tuned ones."""
        ...

    def tuned_capacity(self, *, model_format: str, name: str, version: str) -> Mapping[str, float]:
        """Deployment SKU → thousands of tokens per minute left for fine-tunes of a base model; empty = not said."""
        ...

    def list_usages(self) -> list[Usage]: ...


class SearchPlane(Protocol):
    """One index of Azure AI Search. May raise `AzureError`."""

    def search(self, text: str, *, top: int) -> list[Passage]:
        """The best passages first, at most `top`."""
        ...


class Azure(Protocol):
    """Gives the planes of a resource. Clients are cached per target; safe to share between threads."""

    def data_plane(self, target: AzureTarget) -> DataPlane: ...
    def control_plane(self, target: AzureTarget) -> ControlPlane: ...
    def search_plane(self, target: SearchTarget) -> SearchPlane: ...
    def blob_token(self) -> str:
        """The service's own token for reading blobs. Raises `Unauthorised` when no way of signing in worked."""
        ...

    def close(self) -> None: ...
