"""The table of idempotency keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, LargeBinary, String, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base, Id


class IdempotencyRow(Base):
    """What a caller's Idempotency-Key stands for: a request under way, or the answer it got."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    principal: Mapped[Id] = mapped_column(primary_key=True)
    """Id of the API key; two callers' equal texts are two keys."""
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    reservation_id: Mapped[Id]
    """Stays the same when a request is taken over, so that a room can see that it was here before."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    """SHA-256 of method, path, query and body."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    locked_at: Mapped[datetime | None]
    """Since when somebody is at work on it; null = nobody, a failed try may be repeated at once."""
    status: Mapped[int | None]
    """HTTP status of the answer; null = none yet."""
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
