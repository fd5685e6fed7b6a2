"""Tables of the adoptions room."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id


class Adoption(CareColumns, Base):
    """The wish that a job which somebody else made at Azure is followed here, and how far it has come."""

    __tablename__ = "job_adoptions"
    __table_args__ = (
        care_index("job_adoptions"),
        UniqueConstraint("connection_id", "remote_id"),
        Index("ix_job_adoptions_project", "project_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    key_id: Mapped[Id]
    """Who asked for it."""
    remote_id: Mapped[str]
    """Azure's id of the job."""
    wanted: Mapped[dict[str, Any]]
    """As `AdoptRemoteJob`."""
    status: Mapped[str]
    remote: Mapped[dict[str, Any] | None]
    """Azure's object of the job as it was first read, verbatim; null = not read yet."""
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """By role (`training`, `validation`), once it is settled: as `AdoptedData`."""
    job_id: Mapped[Id | None] = mapped_column(ForeignKey("jobs.id"))
    """The row it became."""
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]
