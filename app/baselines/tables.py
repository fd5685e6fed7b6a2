"""Tables of the baselines room: a baseline, the answer to each case in each way, and what the grader made of it."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.deployments.asked import AskedColumns
from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id

RUNNING_BASELINE: Final = "status = 'running'"
"""The condition of `ix_baselines_running`."""


class Baseline(CareColumns, Base):
    """Cases put to a base model in several ways, until every answer has its score."""

    __tablename__ = "baselines"
    __table_args__ = (
        care_index("baselines"),
        Index("ix_baselines_project", "project_id", "id"),
        Index("ix_baselines_running", "project_id", postgresql_where=text(RUNNING_BASELINE)),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    key_id: Mapped[Id | None]
    reservation_id: Mapped[Id | None] = mapped_column(unique=True)
    """Of the request that made it."""
    deployment_id: Mapped[Id | None]
    """Null when the deployment is not one of ours."""
    deployment: Mapped[str]
    """Its name at Azure."""
    base_model: Mapped[str]
    sku: Mapped[str]
    status: Mapped[str]
    cases_version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    """Null: the cases came with the request."""
    training_version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    """Where examples come from; null: none are shown."""
    material: Mapped[dict[str, Any]]
    """Cases, pool of examples and ways as they are asked; fixed from the beginning."""
    grader: Mapped[dict[str, Any]]
    """As Azure gets it."""
    pass_threshold: Mapped[float]
    good_enough: Mapped[float]
    calls_per_month: Mapped[int | None]
    seed: Mapped[int]
    concurrency: Mapped[int]
    max_tokens: Mapped[int]
    """Of one answer."""
    temperature: Mapped[float | None]
    grading_usd: Mapped[Decimal] = mapped_column(server_default="0")
    """The most that one grading may cost; 0 where no model grades."""
    reserved_usd: Mapped[Decimal] = mapped_column(server_default="0")
    """More is never spent; 0 where no price is known."""
    has_price: Mapped[bool]
    cost_usd: Mapped[Decimal | None]
    """Once it has ended; null also when no price is known."""
    report: Mapped[dict[str, Any] | None]
    """Once it has succeeded."""
    cancel_requested_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]


class BaselineAnswer(AskedColumns, Base):
    """One case asked in one way."""

    __tablename__ = "baseline_answers"
    __table_args__ = (UniqueConstraint("baseline_id", "way", "place"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    baseline_id: Mapped[Id] = mapped_column(ForeignKey("baselines.id"))
    way: Mapped[int]
    """Index in the material."""
    place: Mapped[int]
    """Index of the case in the material."""
    text: Mapped[str | None]
    passages: Mapped[list[Any] | None]
    """What a search found and the model was shown."""


class BaselineGrade(AskedColumns, Base):
    """What the grader made of an answer; a row of its own, because grading is asked for by itself, and may cost."""

    __tablename__ = "baseline_grades"

    answer_id: Mapped[Id] = mapped_column(ForeignKey("baseline_answers.id"), primary_key=True)
    baseline_id: Mapped[Id] = mapped_column(ForeignKey("baselines.id"), index=True)
    score: Mapped[float | None]
    detail: Mapped[dict[str, Any] | None]
    """Scores of the parts of a `multi` grader, and what the grader could not do."""
