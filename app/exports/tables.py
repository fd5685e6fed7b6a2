"""Tables of the exports room."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base, Id


class ImportedRun(Base):
    """A training that happened elsewhere, as its bundle tells of it: nobody follows it and it costs nothing.

    Its documents rest in storage, byte by byte as they came.
    """

    __tablename__ = "imported_runs"
    __table_args__ = (
        UniqueConstraint("project_id", "digest"),
        Index("ix_imported_runs_project", "project_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[Id]
    """Who brought it."""
    digest: Mapped[str]
    """SHA-256 over its documents: the same run again is this one."""
    origin: Mapped[str]
    """`kitae` or `openai`."""
    source_id: Mapped[str]
    """Its name where it was made."""
    name: Mapped[str]
    base_model: Mapped[str]
    method: Mapped[str]
    status: Mapped[str]
    """As its origin said."""
    finished_at: Mapped[datetime | None]
    training_version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    validation_version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    problems: Mapped[list[Any]] = mapped_column(server_default=text("'[]'::jsonb"))
    """What could not be brought, as `{"code", "message"}`."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    @property
    def record_key(self) -> str:
        """Where its documents rest in storage."""
        return f"runs/{self.id}/record"
