"""Tables of the jobs room."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id

UNFINISHED_JOB: Final = "status NOT IN ('succeeded', 'failed', 'cancelled')"
"""The condition of `ix_jobs_unfinished`: PostgreSQL takes that index for queries that say it word for word."""


class Job(CareColumns, Base):
    """One fine-tuning job."""

    __tablename__ = "jobs"
    __table_args__ = (
        care_index("jobs"),
        Index("ix_jobs_project", "project_id", "id"),
        Index(
            "ix_jobs_in_flight",
            "connection_id",
            postgresql_where=text("status IN ('queued', 'running', 'paused')"),
        ),
        Index("ix_jobs_remote", "connection_id", "remote_id", unique=True),
        Index(
            "ix_jobs_unfinished",
            "project_id",
            postgresql_where=text(UNFINISHED_JOB),
        ),
        {"postgresql_with": {"fillfactor": 80}},  # room to note in place that a job was seen again
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    key_id: Mapped[Id | None]
    reservation_id: Mapped[Id | None] = mapped_column(unique=True)
    """Of the request that made it: the same request after a crash finds this job instead of making another."""
    origin: Mapped[str] = mapped_column(server_default="kitae")
    """`kitae`, or `elsewhere`: made by others at Azure, and adopted. Its bill is not in our ledger."""
    training_version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    """Null only for a job of `elsewhere` whose data Azure would not give."""
    validation_version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    base_model: Mapped[str]
    """The catalogue's id of the base model."""
    model: Mapped[str]
    """What is sent to Azure: a base id, or the remote name of a tuned model to continue from."""
    parent_job_id: Mapped[Id | None] = mapped_column(ForeignKey("jobs.id"))
    """The job that trained `model`, when it is one of ours that is continued from."""
    method: Mapped[str]
    method_settings: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What the method needs beside hyperparameters: `grader` and `response_format` of reinforcement."""
    training_type: Mapped[str]
    """The one that is tried now, or was taken."""
    training_types: Mapped[list[str]] = mapped_column(JSONB, server_default="[]")
    """Those that may be tried after it, in this order, should Azure refuse it."""
    refusals: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default="[]")
    """Training types that Azure refused, with its words; the present one among them = its attempt is over."""
    hyperparameters: Mapped[dict[str, Any]]
    """Only what was chosen; Azure picks the rest."""
    suffix: Mapped[str | None]
    seed: Mapped[int | None]
    user_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    plan: Mapped[dict[str, Any]]
    """The plan as it was accepted: checks, estimate, prices used."""

    status: Mapped[str]
    status_changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    cancel_requested_at: Mapped[datetime | None]
    cancel_sent_at: Mapped[datetime | None]
    pause_wanted: Mapped[bool | None]
    """True: pause, False: resume, null: nothing asked."""

    watch: Mapped[dict[str, Any] | None]
    """The watch-dog's rules; null = the default ones of `app.jobs.watchdog`."""
    watch_fired: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """By rule: the last evidence it fired on, so that it fires once on each."""
    pause_reason: Mapped[dict[str, Any] | None]
    """Who wished the pause that `pause_wanted` asks for, and why."""
    paused_because: Mapped[dict[str, Any] | None]
    """While paused: who paused it, on what evidence, and what can be decided."""
    accepted_usd: Mapped[Decimal | None]
    """What somebody who let it go on said it may cost in all; the watch-dog pauses it there."""
    live_revision: Mapped[int] = mapped_column(server_default="0")
    """Raised by every transaction that writes job events or points: whoever follows them goes on behind it."""

    send_state: Mapped[str] = mapped_column(server_default="idle")
    attempt: Mapped[int] = mapped_column(server_default="1")
    """Which training file this is the try of; raised only after the last one was fenced."""
    sent_at: Mapped[datetime | None]
    """When the intent of the present POST was written, on the database's clock."""
    fenced_at: Mapped[datetime | None]
    """When this attempt's training file was deleted so that a lost POST can no longer train."""

    remote_id: Mapped[str | None]
    remote_status: Mapped[str | None]
    """Azure's word, verbatim."""
    remote: Mapped[dict[str, Any] | None]
    """Azure's last job object, verbatim."""
    remote_mark: Mapped[str | None]
    """Digest of `remote`: what Azure's list is compared with, so that a watch need not read `remote` itself."""
    remote_seen_at: Mapped[datetime | None]
    events_read_at: Mapped[datetime | None]
    """When Azure was last asked for the job's events, whether it answered or not."""
    missing_since: Mapped[datetime | None]
    """First time Azure answered 404 for a job it had confirmed."""
    fine_tuned_model: Mapped[str | None]
    trained_tokens: Mapped[int | None]
    estimated_finish_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    analysis: Mapped[dict[str, Any] | None]
    cost_usd: Mapped[Decimal | None]
    """Of the training, once it is known."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    @property
    def op_key(self) -> str:
        """What Azure's copy of this job carries, the same in every attempt."""
        return self.id

    @property
    def results_key(self) -> str:
        """Where results.csv rests in storage."""
        return f"jobs/{self.id}/results.csv"


class JobEventRow(Base):
    """One of Azure's job events, as Azure told it."""

    __tablename__ = "job_events"
    __table_args__ = (
        UniqueConstraint("job_id", "remote_id"),
        Index("ix_job_events_live", "job_id", "revision", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    job_id: Mapped[Id] = mapped_column(ForeignKey("jobs.id"))
    revision: Mapped[int] = mapped_column(server_default="0")
    """`Job.live_revision` when it was written."""
    remote_id: Mapped[str]
    level: Mapped[str]
    type: Mapped[str]
    message: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    """Azure's time."""


class JobPoint(Base):
    """The measured values of one training step, from metrics events or results.csv."""

    __tablename__ = "job_points"
    __table_args__ = (Index("ix_job_points_live", "job_id", "revision", "step"),)

    job_id: Mapped[Id] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    values: Mapped[dict[str, Any]]
    """By name; JSON has no NaN and no infinity, so these are text: `"nan"`, `"inf"`, `"-inf"`."""
    revision: Mapped[int] = mapped_column(server_default="0")
    """`Job.live_revision` when a value was last new."""


class Checkpoint(Base):
    """A deployable state of the model during training."""

    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "remote_id"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    job_id: Mapped[Id] = mapped_column(ForeignKey("jobs.id"))
    remote_id: Mapped[str]
    step: Mapped[int]
    model_name: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
    """Since when Azure no longer lists it: what it measured is still known, but it cannot be deployed."""
