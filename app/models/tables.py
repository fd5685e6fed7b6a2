"""Tables of the models room."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id


class Model(Base):
    """A fine-tuned language model at Azure. It costs nothing until it is deployed."""

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("job_id", "remote_name"),
        UniqueConstraint("project_id", "name"),
        Index("ix_models_project", "project_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    job_id: Mapped[Id] = mapped_column(ForeignKey("jobs.id"))
    name: Mapped[str]
    """Ours, unique in the project."""
    remote_name: Mapped[str]
    """Azure's: `<base>.ft-<hex>[-suffix][:ckpt-step-N]`."""
    base_model: Mapped[str]
    kind: Mapped[str]
    """`final` or `checkpoint`."""
    step: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class ModelCopy(CareColumns, Base):
    """A model on its way to another resource, under the same name at Azure; ready, it can be deployed there.

    There is one row for a model and a destination: asking again follows the same copy.
    """

    __tablename__ = "model_copies"
    __table_args__ = (
        care_index("model_copies"),
        UniqueConstraint("model_id", "connection_id"),
        Index("ix_model_copies_project", "project_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    model_id: Mapped[Id] = mapped_column(ForeignKey("models.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    """Of the destination."""
    status: Mapped[str]
    status_changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    remote_status: Mapped[str | None]
    """Azure's word, verbatim."""
    sent_at: Mapped[datetime | None]
    """When the intent of the last POST was written, on the database's clock."""
    asks: Mapped[int] = mapped_column(default=0, server_default="0")
    """How often Azure was asked to copy since a person last wished it."""
    error: Mapped[dict[str, Any] | None]
    finished_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
