"""Tables of the triggers room."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base, Id
from app.kit.named import NamedColumns, named_indexes


class Trigger(NamedColumns, Base):
    """An address at which somebody outside may tell us something, and what we then do."""

    __tablename__ = "triggers"
    __table_args__ = (*named_indexes("triggers"),)

    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    scheme: Mapped[str]
    """How messages are signed: `standard_webhooks`."""
    action: Mapped[str]
    """`watch`: look at the job that the message names."""
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    """Whose jobs the messages are about."""
    secret_sealed: Mapped[bytes]
    """Ciphertext bound to this row's id."""
    previous_secret_sealed: Mapped[bytes | None]
    """The secret before the last rotation."""
    previous_until: Mapped[datetime | None]
    """Until when the previous secret still holds."""
    received_at: Mapped[datetime | None]
    """When the last signed message came."""


class Receipt(Base):
    """A message that was taken, so that the same one does nothing a second time."""

    __tablename__ = "trigger_receipts"
    __table_args__ = (Index("ix_trigger_receipts_received", "trigger_id", "received_at"),)

    trigger_id: Mapped[Id] = mapped_column(ForeignKey("triggers.id"), primary_key=True)
    message_id: Mapped[str] = mapped_column(primary_key=True)
    """The sender's name for it (`webhook-id`)."""
    body_sha256: Mapped[str]
    event_type: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
