"""Tables of the deployments room."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id

LIVING_DEPLOYMENT: Final = "status NOT IN ('deleted', 'expired', 'failed', 'removed_by_azure')"
"""The condition of `uq_deployments_name`: PostgreSQL takes that index for queries that say it word for word."""


class Deployment(CareColumns, Base):
    """A model made callable, with an end that is never open."""

    __tablename__ = "deployments"
    __table_args__ = (
        care_index("deployments"),
        Index("ix_deployments_project", "project_id", "id"),
        Index("ix_deployments_project_name", "project_id", "name"),
        Index(
            "uq_deployments_name",
            "connection_id",
            "name",
            unique=True,
            postgresql_where=text(LIVING_DEPLOYMENT),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    key_id: Mapped[Id | None]
    reservation_id: Mapped[Id | None] = mapped_column(unique=True)
    """Of the request that made it: the same request after a crash finds this row instead of making another."""
    model_id: Mapped[Id | None] = mapped_column(ForeignKey("models.id"))
    """Null when a base model is deployed."""
    base_model: Mapped[str]
    remote_model: Mapped[str]
    """Name sent to ARM."""
    model_format: Mapped[str]
    model_version: Mapped[str]
    name: Mapped[str]
    """The deployment's name at Azure, unique in the account."""
    sku: Mapped[str]
    capacity: Mapped[int]
    """Thousands of tokens per minute."""
    capacity_wanted: Mapped[int | None]
    """What a person asked for since; null once Azure has it. Set to `capacity` when only tags are to be renewed."""
    hourly_usd: Mapped[Decimal | None]
    """Hosting price when it was made; null = not known."""
    reserved_usd: Mapped[Decimal] = mapped_column(server_default="0")
    """Set aside for its hosting until `expires_at`."""

    status: Mapped[str]
    status_changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    provisioning_state: Mapped[str | None]
    """ARM's word, verbatim."""
    operation_url: Mapped[str | None]
    put_sent_at: Mapped[datetime | None]
    """When the intent of the newest PUT of this round was written; null = Azure knows nothing of it."""
    remote_seen_at: Mapped[datetime | None]
    """When a GET last showed it, in this round."""
    missing_since: Mapped[datetime | None]
    """First of the GETs in a row that did not show it."""
    warm_since: Mapped[datetime | None]
    """When ARM first said Succeeded in this round."""
    recreated: Mapped[bool] = mapped_column(server_default="false")
    """It never warmed and was deleted and made once more."""
    expires_at: Mapped[datetime]
    """Never null: at this time it is deleted."""
    delete_requested_at: Mapped[datetime | None]
    """A person's wish, possible at any moment."""
    delete_reason: Mapped[str | None]
    delete_sent_at: Mapped[datetime | None]
    hosting_started_at: Mapped[datetime | None]
    """Since when this round may be paid for: the first PUT that was answered, or the sight of it."""
    hosting_ended_at: Mapped[datetime | None]
    hosted_seconds: Mapped[float] = mapped_column(server_default="0")
    """Of earlier rounds, when it was made anew."""
    cost_usd: Mapped[Decimal | None]
    """Of the hosting, once it has ended; null also when no price is known."""
    last_used_at: Mapped[datetime | None]
    on_removal: Mapped[str] = mapped_column(server_default="park")
    """`park` or `recreate`: what follows when Azure, or somebody there, removes it before its end."""
    removals: Mapped[int] = mapped_column(server_default="0")
    """How often that has happened and it was made again."""
    drift: Mapped[dict[str, Any] | None]
    """What somebody changed at Azure, as `{"capacity": {"ours": 100, "azure": 50}}`; null = nothing."""
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Comparison(CareColumns, Base):
    """The same prompts put to several deployments."""

    __tablename__ = "comparisons"
    __table_args__ = (
        care_index("comparisons"),
        Index("ix_comparisons_project", "project_id", "id"),
        Index("ix_comparisons_running", "project_id", postgresql_where=text("status = 'running'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[Id | None]
    reservation_id: Mapped[Id | None] = mapped_column(unique=True)
    """Of the request that made it."""
    status: Mapped[str]
    candidates: Mapped[list[Any]]
    """`{"deployment": id, "name": …, "system": text or null}`, in the caller's order."""
    prompts: Mapped[list[Any]]
    max_tokens: Mapped[int | None]
    temperature: Mapped[float | None]
    cost_usd: Mapped[Decimal | None]
    """Sum of the answers whose price is known; null until it has ended."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]


class ComparisonAnswer(Base):
    """What one candidate answered to one prompt."""

    __tablename__ = "comparison_answers"

    comparison_id: Mapped[Id] = mapped_column(ForeignKey("comparisons.id"), primary_key=True)
    prompt: Mapped[int] = mapped_column(primary_key=True)
    """Index into the comparison's prompts."""
    candidate: Mapped[int] = mapped_column(primary_key=True)
    """Index into the comparison's candidates."""
    text: Mapped[str | None]
    finish_reason: Mapped[str | None]
    error: Mapped[dict[str, Any] | None]
    """Why there is no text, such as the content filter's refusal."""
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    latency_seconds: Mapped[float | None]
    cost_usd: Mapped[Decimal | None]
