"""Tables of the connections room."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id
from app.kit.named import NamedColumns, named_indexes


class Connection(CareColumns, NamedColumns, Base):
    """One Azure OpenAI resource. Its care columns time the watch over its jobs: null while none is in flight."""

    __tablename__ = "connections"
    __table_args__ = (
        care_index("connections"),
        *named_indexes("connections"),
    )

    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    endpoint: Mapped[str]
    """Base URL without path."""
    region: Mapped[str | None]
    api_style: Mapped[str]
    api_version: Mapped[str | None]
    auth: Mapped[str]
    api_key_sealed: Mapped[bytes | None]
    """Ciphertext bound to this row's id."""
    entra_scope: Mapped[str | None]
    arm_endpoint: Mapped[str]
    arm_api_version: Mapped[str]
    arm_token_sealed: Mapped[bytes | None]
    subscription_id: Mapped[str | None]
    resource_group: Mapped[str | None]
    account: Mapped[str | None]
    last_check: Mapped[dict[str, Any] | None]
    """What the last `check` found, with its time."""
    watch_after: Mapped[str | None]
    """Azure's id of the job after which a broken-off reading of its list goes on; null = from the top."""
    reads_closed_until: Mapped[datetime | None]
    """No read before this time: Azure said so, or the circuit rests."""
    writes_closed_until: Mapped[datetime | None]
    stops_closed_until: Mapped[datetime | None]
    """No cancel or delete before this time: a pause of seconds, so that they do not spin against a dead Azure."""
    read_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    """In a row."""
    write_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    stop_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    read_history: Mapped[int] = mapped_column(default=0, server_default="0")
    """The last 20 reads as bits, the newest lowest; 1 = no answer."""
    write_history: Mapped[int] = mapped_column(default=0, server_default="0")
    reads_open_since: Mapped[datetime | None]
    """Since when the circuit of reads is open; null = it is closed and reads pass."""
    writes_open_since: Mapped[datetime | None]
    reads_probe_until: Mapped[datetime | None]
    """Until when one call holds the right to try whether an open circuit may close."""
    writes_probe_until: Mapped[datetime | None]
    reads_outage_told_at: Mapped[datetime | None]
    """When an event told that the circuit has been open for long."""
    writes_outage_told_at: Mapped[datetime | None]


class ResourceFacts(Base):
    """What Azure last said of a connection's resource: the models it offers, and how much is on it.

    A sweep reads it; whoever plans or shows reads it here, so that no reading of ours ever waits for Azure.
    """

    __tablename__ = "resource_facts"
    __table_args__ = (Index("ix_resource_facts_project", "project_id"),)

    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"), primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    models: Mapped[list[Any] | None]
    """ARM's list of the account's models, verbatim, as far as it concerns whoever fine-tunes; null = never read."""
    capacity: Mapped[dict[str, Any] | None]
    """Base model → deployment SKU → thousands of tokens per minute left for its tuned models."""
    models_read_at: Mapped[datetime | None]
    models_asked_at: Mapped[datetime | None]
    """When ARM was last asked, whether it answered or not."""
    models_error: Mapped[dict[str, Any] | None]
    """Why the last asking was in vain; null = it was not."""
    files: Mapped[int | None]
    """Null = they could not be listed, as with the other counts."""
    file_bytes: Mapped[int | None]
    jobs: Mapped[int | None]
    jobs_running: Mapped[int | None]
    """Standard and Global together, of whoever made them."""
    jobs_running_developer: Mapped[int | None]
    jobs_queued: Mapped[int | None]
    counted_at: Mapped[datetime | None]


class AccountLock(Base):
    """One write at a time on an Azure account, whichever connection or project it comes through.

    Source: 409 RequestConflict, "Another operation is being performed on the parent resource"
    (Azure/azure-dev issue 9398, 2026-08).
    """

    __tablename__ = "account_locks"

    account_key: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[Id]
    """Row that holds the account, such as a deployment."""
    until: Mapped[datetime]
    """The lock falls by itself at this time."""
