"""Tables of the upkeep room."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id


class Sweep(CareColumns, Base):
    """The comparison of one connection's resource with our rows, again and again. It never changes anything."""

    __tablename__ = "sweeps"
    __table_args__ = (care_index("sweeps"), UniqueConstraint("connection_id"))

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    swept_at: Mapped[datetime | None]
    """When the last one ended; null = never yet."""
    asked_at: Mapped[datetime | None]
    """When a person last asked for one."""
    report: Mapped[dict[str, Any] | None]
    """What the last one found, as `SweepReport`."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Stray(CareColumns, Base):
    """Something at Azure that carries our mark and that no row names. It waits for a person, or for its own end."""

    __tablename__ = "strays"
    __table_args__ = (
        care_index("strays"),
        UniqueConstraint("resource", "kind", "remote_id", "op_key"),
        Index("ix_strays_project", "project_id", "id"),
        Index(
            "ix_strays_open", "connection_id", postgresql_where=text("status IN ('open', 'removing', 'ignored')")
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    """Through which it was seen first, and through which it is removed."""
    resource: Mapped[str]
    """The endpoint or ARM account it is on: two connections to one resource see the same things."""
    kind: Mapped[str]
    remote_id: Mapped[str]
    """Azure's id of a job or file, the name of a deployment."""
    op_key: Mapped[str]
    """Whom its mark names: the id of a job or deployment; for a file its whole name."""
    owner_id: Mapped[str]
    """The job or deployment that the mark names; for a file the job it was made for."""
    tags: Mapped[dict[str, Any]]
    """Metadata or tags, verbatim."""
    remote: Mapped[dict[str, Any]]
    """Azure's object when it was last seen, verbatim."""
    remote_status: Mapped[str]
    """Azure's word, verbatim."""
    hourly_usd: Mapped[Decimal | None]
    """Of a deployment: what its hosting costs by the catalogue's prices; null = not known."""
    expires_at: Mapped[datetime | None]
    """Of a deployment: the end that stands in its tags. It is torn down then."""
    status: Mapped[str]
    status_changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    note: Mapped[str]
    """Why it is here, or why it went, for people."""
    decided_by: Mapped[Id | None]
    """The key that adopted, removed or ignored it; null = nobody, or the service itself."""
    removal_sent_at: Mapped[datetime | None]
    """When Azure was last asked to cancel or delete it."""
    first_seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Janitor(CareColumns, Base):
    """The one row by whose claim leftovers in our own storage are cleared away."""

    __tablename__ = "janitors"
    __table_args__ = (care_index("janitors"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    cleaned_at: Mapped[datetime | None]
    removed_objects: Mapped[int] = mapped_column(server_default="0")
    """Since the installation began."""
    removed_bytes: Mapped[int] = mapped_column(server_default="0")
    report: Mapped[dict[str, Any] | None]
    """What the last round found, as `JanitorReport`."""


class InvariantCheck(Base):
    """How the last look for one invariant went."""

    __tablename__ = "invariant_checks"

    name: Mapped[str] = mapped_column(primary_key=True)
    violations: Mapped[int]
    found: Mapped[list[Any]]
    """The first violations, as `{"subject_id": …, "detail": …}`."""
    seconds: Mapped[float]
    """How long looking took."""
    checked_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class RetirementNotice(Base):
    """An end that was told of, once for each level of urgency; a day that moves is told of anew."""

    __tablename__ = "retirement_notices"
    __table_args__ = (Index("ix_retirement_notices_project", "project_id"),)

    subject_id: Mapped[Id] = mapped_column(primary_key=True)
    """A model or a deployment."""
    kind: Mapped[str] = mapped_column(primary_key=True)
    """What ends: `training`, `base_inference` or `tuned_inference`."""
    ends_on: Mapped[date] = mapped_column(primary_key=True)
    level: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    told_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
