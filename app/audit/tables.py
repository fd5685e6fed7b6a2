"""The record's tables. Records are only ever inserted; the migration's trigger refuses everything else."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base, Id


class AuditEventRow(Base):
    """One deed: who, what, on what, from where, and how it ended."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_subject", "chain", "subject_id", "number"),
        Index("ix_audit_events_actor", "chain", "actor_id", "number"),
    )

    chain: Mapped[Id] = mapped_column(primary_key=True)
    """A project's id, or `installation`."""
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1, 2, 3, … without a gap."""
    id: Mapped[Id] = mapped_column(unique=True)
    at: Mapped[datetime]
    """The database's clock, read while the chain's end was locked."""
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[str] = mapped_column(String(100))
    operation: Mapped[str] = mapped_column(String(100))
    change: Mapped[str | None] = mapped_column(String(100))
    """`noun.what_happened`; null when nothing was changed."""
    subject_id: Mapped[str | None] = mapped_column(String(100, collation="C"))
    outcome: Mapped[str] = mapped_column(String(16))
    request_id: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))
    agent: Mapped[str | None] = mapped_column(String(200))
    detail: Mapped[dict[str, Any]]
    hash: Mapped[str] = mapped_column(String(64))


class AuditHeadRow(Base):
    """The end of each chain; writers of one chain queue up on its row."""

    __tablename__ = "audit_heads"

    chain: Mapped[Id] = mapped_column(primary_key=True)
    number: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))
