"""What one Azure OpenAI resource consists of; plain records that know neither the wire nor the clock.

Times ending in `_at` are unix seconds as answers show them; plain floats called `…_v` are virtual seconds.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self
from uuid import NAMESPACE_OID, uuid5

from emulator.catalogue import Method

FilePhase = Literal["pending", "processed", "error"]
JobPhase = Literal[
    "enqueued", "preprocessing", "queued", "starting", "training", "evaluating", "succeeded", "failed", "cancelled"
]
Hold = Literal["", "pausing", "paused", "resuming"]
DeploymentPhase = Literal["creating", "warming", "ready", "failed", "deleting", "removed"]

TERMINAL: tuple[JobPhase, ...] = ("succeeded", "failed", "cancelled")
ON_MACHINE: tuple[JobPhase, ...] = ("starting", "training", "evaluating")
"""Phases that occupy one of the places for running jobs."""


@dataclass(slots=True)
class Record:
    """Anything the store keeps as one document."""

    account: str
    id: str

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        return cls(**document)


@dataclass(slots=True)
class File(Record):
    """Azure's copy of bytes; `job` names the job whose results they are, and its blob is absent until it ends.

    `url`: where an import is still fetching from; `in_parts`: it came through uploads.
    """

    filename: str
    purpose: str
    size_bytes: int
    created_at: int
    entered_v: float
    phase: FilePhase = "pending"
    status_details: str = ""
    job: str = ""
    expires_at: int | None = None
    blob: str = ""
    url: str = ""
    in_parts: bool = False

    @property
    def born_v(self) -> float:
        return self.entered_v


@dataclass(slots=True)
class Upload(Record):
    """A large file on its way; `parts` maps the id of each part to its blob, `file` is set when complete."""

    filename: str
    purpose: str
    size_bytes: int
    created_at: int
    created_v: float
    status: str = "pending"
    parts: dict[str, str] = field(default_factory=dict)
    file: str = ""


@dataclass(slots=True)
class Row:
    """What the learner measured in one step, under Azure's names, and when it was known."""

    step: int
    values: dict[str, float]
    arrival_v: float
    grader_tokens: int = 0


@dataclass(slots=True)
class Recording:
    """All that is known of a job's training so far; published later, by the clock.

    `checked_v`, `prepared_v` and `finished_v` say when it was known that the files are read, which hyperparameters
    apply, and that training is over. `problem` is what was wrong with the files or went wrong in training (code,
    message, param). `epochs` holds the last step of each finished epoch. `data_harms` and `model_harms` are the
    harm types for which the data, or a model trained on it, will be refused.
    """

    checked_v: float | None = None
    prepared_v: float | None = None
    finished_v: float | None = None
    problem: dict[str, str] | None = None
    n_epochs: int = 0
    epoch_tokens: int = 0
    batch_size: int = 0
    total_steps: int = 0
    rows: list[Row] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    data_harms: list[str] = field(default_factory=list)
    model_harms: list[str] = field(default_factory=list)
    billed_tokens: int = 0

    def document(self) -> dict[str, Any]:
        """All but the rows, which have a journal of their own."""
        body = asdict(self)
        del body["rows"]
        return body


@dataclass(slots=True)
class Event:
    """One line of a job's log; `level` in v1's words (`warn`)."""

    id: str
    created_at: int
    level: str
    message: str
    type: str = "message"
    data: dict[str, float] | None = None


@dataclass(slots=True)
class Checkpoint:
    id: str
    created_at: int
    step: int
    metrics: dict[str, float]


@dataclass(slots=True)
class Job(Record):
    """A fine-tuning job; `asked` holds the hyperparameters as given (absent = auto).

    `planted`: put there by a lever; nothing trains it, and it stays as it is until somebody acts on it.
    `spent_usd`, `cap_lifted`: what a reinforcement job has cost, and whether it may go on beyond the limit on that.
    """

    model: str
    base: str
    training_file: str
    validation_file: str | None
    method: dict[str, Any] | None
    method_type: Method
    asked: dict[str, float]
    default_multiplier: float
    suffix: str | None
    seed: int
    metadata: dict[str, str] | None
    integrations: list[Any] | None
    training_type: str | None
    parent: str | None
    created_at: int
    created_v: float
    entered_v: float
    order: int
    estimated_finish: int
    phase: JobPhase = "enqueued"
    hold: Hold = ""
    published: int = 0
    last_step_v: float = 0.0
    error: dict[str, str] | None = None
    fine_tuned_model: str | None = None
    finished_at: int | None = None
    result_file: str | None = None
    trained_tokens: int | None = None
    hyperparameters_known: bool = False
    planted: bool = False
    spent_usd: float = 0.0
    cap_lifted: bool = False
    fate: dict[str, Any] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        checkpoints = [Checkpoint(**checkpoint) for checkpoint in document.pop("checkpoints")]
        return cls(**document, checkpoints=checkpoints)

    @property
    def born_v(self) -> float:
        return self.created_v

    @property
    def is_developer(self) -> bool:
        return self.training_type == "developerTier"

    @property
    def is_native(self) -> bool:
        """Whether the second back end has it, which answers as OpenAI does."""
        return self.method_type == "reinforcement"

    @property
    def tuned_name(self) -> str:
        """`<base>.ft-<32 hexadecimal digits>[-suffix]`, the digits being those of the job.

        Source: job object in Microsoft's Image_FT_Chart_Analysis notebook, 2025-05.
        """
        digits = self.id.removeprefix("ftjob-")
        if self.is_native:  # how such models are called is not published; the same form is assumed
            digits = uuid5(NAMESPACE_OID, self.id).hex
        return f"{self.base}.ft-{digits}" + (f"-{self.suffix}" if self.suffix else "")


@dataclass(slots=True)
class Change:
    """What an accepted update will make of a deployment."""

    sku_name: str
    capacity: int
    quota: str
    properties: dict[str, Any]
    tags: dict[str, str] | None


@dataclass(slots=True)
class Deployment(Record):
    """A model made callable; `arm_account` is the ARM id it was created under.

    `hosted_from_v` … `hosted_to_v` is the time hosted under the present SKU, `hosted_before_seconds` the time under
    earlier ones, by SKU. `change` is an update under way since `changing_v`. A removed deployment holds its quota
    for a while after `removed_v`.
    """

    arm_account: str
    name: str
    model: dict[str, str]
    sku_name: str
    capacity: int
    properties: dict[str, Any]
    tags: dict[str, str] | None
    created_at: int
    entered_v: float
    phase: DeploymentPhase = "creating"
    paused: bool = False
    hosted_from_v: float | None = None
    hosted_to_v: float | None = None
    hosted_before_seconds: dict[str, float] = field(default_factory=dict)
    last_used_v: float | None = None
    removed_because: str = ""
    removed_v: float = 0.0
    base: str = ""
    quota: str = ""
    operation: str = ""
    born_v: float = 0.0
    change: Change | None = None
    changing_v: float = 0.0
    phase_before_delete: DeploymentPhase = "ready"
    modified_at: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    fate: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        change = document.pop("change", None)
        earlier = document.pop("charged_before_seconds", 0.0)  # as states before 0.1.0 have it
        if earlier:
            document["hosted_before_seconds"] = {document["sku_name"]: earlier}
        return cls(**document, change=Change(**change) if change else None)

    @property
    def is_tuned(self) -> bool:
        return ".ft-" in self.model["name"]

    def hosted_seconds(self, now_v: float) -> dict[str, float]:
        """How long it was hosted, by SKU, paused or not."""
        hosted = dict(self.hosted_before_seconds)
        if self.hosted_from_v is not None:
            until_v = now_v if self.hosted_to_v is None else self.hosted_to_v
            hosted[self.sku_name] = hosted.get(self.sku_name, 0.0) + until_v - self.hosted_from_v
        return hosted

    def change_sku(self, sku_name: str, capacity: int, quota: str, now_v: float) -> None:
        """Scale, or go on under another SKU, from now on."""
        if sku_name != self.sku_name and self.hosted_from_v is not None:
            self.hosted_before_seconds, self.hosted_from_v = self.hosted_seconds(now_v), now_v
        self.sku_name, self.capacity, self.quota = sku_name, capacity, quota


@dataclass(slots=True)
class WebhookEndpoint(Record):
    """Who is told when jobs end. `everywhere`: set at the start, for the jobs of every account."""

    name: str
    url: str
    event_types: list[str]
    secret: str
    created_at: int
    everywhere: bool = False


@dataclass(slots=True)
class Delivery(Record):
    """News for one endpoint; `attempts` says how each ended, `due_v` when the next one is due (None: no more)."""

    endpoint: str
    kind: str
    job: str
    body: str
    due_v: float | None
    attempts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class CheckpointCopy(Record):
    """A checkpoint on its way to another resource, whose state key is `account`."""

    job: str
    checkpoint: str
    destination: str
    region: str
    begun_v: float
    fails: bool = False


@dataclass(slots=True)
class Operation(Record):
    """One ARM write in progress or done; its status cannot be asked for from `hidden_from_v` on."""

    deployment: str
    started_at: int
    started_v: float = 0.0
    kind: str = "put"
    status: str = "Running"
    ended_at: int | None = None
    error: dict[str, str] | None = None
    hidden_from_v: float | None = None
