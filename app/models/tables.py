"""Tables of the models room."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

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
