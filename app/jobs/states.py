"""The life of a fine-tuning job, as law."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from app.kit.law import Law


class JobStatus(StrEnum):
    """Our own word for where a job stands; Azure's word is kept beside it in `remote_status`."""

    DRAFT = "draft"
    """Accepted, budget reserved. Azure knows nothing of it yet."""
    PREPARING = "preparing"
    """Its files are on their way to Azure. A crash here may leave a file, which is found by name."""
    SUBMITTING = "submitting"
    """The job may or may not exist at Azure. A crash here is resolved by looking for our op_key in Azure's list."""
    QUEUED = "queued"
    """Azure has it and has not begun."""
    RUNNING = "running"
    """Azure is training."""
    PAUSED = "paused"
    """Azure stopped it and waits for a decision; a reinforcement job pauses by itself at US$5,000."""
    COLLECTING = "collecting"
    """Azure is done; job events, checkpoints and results are being read. A crash here only means reading again."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_AT_AZURE: Final = frozenset(
    {
        JobStatus.QUEUED,
        JobStatus.RUNNING,
        JobStatus.PAUSED,
        JobStatus.COLLECTING,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }
)
"""Azure may show any of these next, in any order: a job can pass several between two looks."""

JOB_LAW: Final = Law(
    "job",
    {
        JobStatus.DRAFT: frozenset({JobStatus.PREPARING, JobStatus.CANCELLED}),
        JobStatus.PREPARING: frozenset({JobStatus.SUBMITTING, JobStatus.FAILED, JobStatus.CANCELLED}),
        JobStatus.SUBMITTING: _AT_AZURE | {JobStatus.PREPARING},
        JobStatus.QUEUED: _AT_AZURE - {JobStatus.QUEUED},
        JobStatus.RUNNING: _AT_AZURE - {JobStatus.RUNNING},
        JobStatus.PAUSED: _AT_AZURE - {JobStatus.PAUSED},
        JobStatus.COLLECTING: frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED}),
        JobStatus.SUCCEEDED: frozenset(),
        JobStatus.FAILED: frozenset(),
        JobStatus.CANCELLED: frozenset(),
    },
)

IN_FLIGHT: Final = frozenset({JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.PAUSED})
"""Known to Azure and not finished: the watch over a connection looks for these."""

BY_REMOTE_WORD: Final[Mapping[str, JobStatus]] = {
    "created": JobStatus.QUEUED,
    "pending": JobStatus.QUEUED,
    "validating_files": JobStatus.QUEUED,
    "queued": JobStatus.QUEUED,
    "running": JobStatus.RUNNING,
    "pausing": JobStatus.RUNNING,
    "paused": JobStatus.PAUSED,
    "resuming": JobStatus.PAUSED,
    "succeeded": JobStatus.COLLECTING,
    "failed": JobStatus.FAILED,
    "cancelled": JobStatus.CANCELLED,
}
"""What Azure's words mean to us. A word that is not here is kept verbatim and changes nothing.

Source: Azure OpenAI authoring API 2025-04-01-preview and the v1 OpenAPI of 2026-02-02 (union of both).
"""


class JobOrigin(StrEnum):
    """Who made the job at Azure."""

    KITAE = "kitae"
    ELSEWHERE = "elsewhere"
    """The portal or another client. We follow it; nobody asked our budget, so no line of our ledger names it."""


class SendState(StrEnum):
    """How far the one POST that costs money has got."""

    IDLE = "idle"
    """Nothing has been sent in this attempt."""
    SENT = "sent"
    """An intent is on disk: the POST may have happened."""
    THROTTLED = "throttled"
    """Azure answered the POST itself with 429: it made nothing. Its list is looked at before another POST."""
    CONFIRMED = "confirmed"
    """Azure's id is in the row."""
