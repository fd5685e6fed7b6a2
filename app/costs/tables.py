"""Tables of the costs room. The ledger is append-only; what a thing costs is the sum of its lines."""

from datetime import datetime
from decimal import Decimal

from sqlalchemy import CheckConstraint, ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base, Id


class LedgerLine(Base):
    """One movement of money about one subject (a job or a deployment)."""

    __tablename__ = "ledger"
    __table_args__ = (
        CheckConstraint("kind IN ('reserve', 'release', 'settle')", name="kind"),
        CheckConstraint("amount_usd >= 0", name="amount"),
        Index("ix_ledger_project", "project_id", "created_at"),
        Index("ix_ledger_subject", "subject_id"),
        Index("ix_ledger_key", "key_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[Id | None]
    """The API key that caused it."""
    subject_id: Mapped[Id]
    category: Mapped[str]
    """`training`, `hosting`, `inference` or `generation`."""
    kind: Mapped[str]
    amount_usd: Mapped[Decimal]
    note: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Budget(Base):
    """A project's caps. The row is locked while money is reserved, so that a race cannot pass a cap."""

    __tablename__ = "budgets"

    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    month_cap_usd: Mapped[Decimal | None]
    """Reserved and settled in the current calendar month (UTC) may not pass this; null = no cap."""
    job_cap_usd: Mapped[Decimal | None]
    """No single job or deployment may reserve more; null = no cap."""
    day_cap_usd: Mapped[Decimal | None]
    """What is begun on one day (UTC), as reserved or, once it has ended, as settled; null = no cap."""
    deployments_max: Mapped[int | None]
    """Living deployments the project may have; null = only Azure's own limit."""
    unfinished_jobs_max: Mapped[int | None]
    """Unfinished jobs the project may have; null = the installation's setting."""
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
