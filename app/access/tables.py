"""Tables of projects and API keys."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import ID_LENGTH, Base, Id


class ProjectRow(Base):
    """One project: the wall between groups of callers."""

    __tablename__ = "projects"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    """Stays taken after archiving, so that a name in old logs means one project."""
    paused: Mapped[bool] = mapped_column(default=False, server_default="false")
    """The kill switch: while it is on, nothing that costs money is begun."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    archived_at: Mapped[datetime | None]
    """From then on no key of the project opens anything."""


class InstallationRow(Base):
    """The one row about the whole installation; there before the first request, by migration."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, server_default="1")
    halted: Mapped[bool] = mapped_column(default=False, server_default="false")
    """The kill switch over every project: while it is on, nothing that costs money is begun."""
    halted_reason: Mapped[str | None] = mapped_column(String(500))
    halted_at: Mapped[datetime | None]
    changed_by_key_id: Mapped[str | None] = mapped_column(String(ID_LENGTH, collation="C"))
    """The operator's key that turned it last."""
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class ApiKeyRow(Base):
    """One key; of the secret itself only its hash."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_project", "project_id", "id"),
        CheckConstraint("spend_cap_usd >= 0", name="spend_cap"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[str | None] = mapped_column(
        String(ID_LENGTH, collation="C"), ForeignKey("projects.id", ondelete="RESTRICT")
    )
    """Null = an operator's key, which makes projects and keys but sees into none of them."""
    name: Mapped[str] = mapped_column(String(100))
    public_id: Mapped[str] = mapped_column(String(8))
    """The key's own 8 characters after `ftk_live_`, so that a key found somewhere can be told."""
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    last4: Mapped[str] = mapped_column(String(4))
    scopes: Mapped[list[str]]
    spend_cap_usd: Mapped[Decimal | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """Written at most once a minute, so it may be a minute old."""
