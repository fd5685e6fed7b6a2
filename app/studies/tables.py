"""Tables of the studies room."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id

RUNNING_STUDY: Final = "status = 'running'"
"""The condition of `ix_studies_running`."""


class Study(CareColumns, Base):
    """Variations of one training, within one budget."""

    __tablename__ = "studies"
    __table_args__ = (
        care_index("studies"),
        Index("ix_studies_project", "project_id", "id"),
        Index("ix_studies_running", "project_id", postgresql_where=text(RUNNING_STUDY)),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    key_id: Mapped[Id]
    """The key that asked for it; once it opens nothing any more, nothing is begun in its name."""
    reservation_id: Mapped[Id | None] = mapped_column(unique=True)
    """Of the request that made it."""
    name: Mapped[str | None]
    status: Mapped[str]
    job: Mapped[dict[str, Any]]
    """What all trials have in common, a job's body with ids in place of names."""
    budget_usd: Mapped[Decimal]
    """Nothing is begun that could pass it."""
    at_once: Mapped[int]
    """Trainings under way at the same time."""
    evaluation: Mapped[dict[str, Any] | None]
    """The cases that every trial's model is put to; null: the curves on the validation set are compared."""
    sample_size: Mapped[int | None]
    """Of what a score is a share, answers' tokens or cases: how finely it can be told."""
    cancel_requested_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    status_changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]


class Trial(Base):
    """One variation. Its id is the reservation under which its job is made, so that there is never a second one."""

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("study_id", "number"), Index("ix_trials_job", "job_id"))

    id: Mapped[Id] = mapped_column(primary_key=True)
    study_id: Mapped[Id] = mapped_column(ForeignKey("studies.id"))
    number: Mapped[int]
    """From 1, in the order in which they are begun."""
    settings: Mapped[dict[str, Any]]
    status: Mapped[str]
    job_id: Mapped[Id | None] = mapped_column(ForeignKey("jobs.id"))
    job_status: Mapped[str | None]
    """How its job ended."""
    expected_usd: Mapped[Decimal | None]
    high_usd: Mapped[Decimal | None]
    """The most it may cost, as its plan says; null where no price is known."""
    cost_usd: Mapped[Decimal | None]
    score: Mapped[float | None]
    loss: Mapped[float | None]
    step: Mapped[int | None]
    """Of the checkpoint that the score belongs to."""
    verdict: Mapped[str | None]
    """The analysis' word for its curve."""
    deployment_id: Mapped[Id | None] = mapped_column(ForeignKey("deployments.id"))
    baseline_id: Mapped[Id | None] = mapped_column(ForeignKey("baselines.id"))
    """Where its model was put to the cases."""
    error: Mapped[dict[str, Any] | None]
