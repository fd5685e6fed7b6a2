"""What a base model reached without training, as the room above told it: the plan of a job reads it.

It must not know how that was found; a plan only says that somebody has looked, and what came of it.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, Index, func, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.jobs.schemas import PlanCheck
from app.kit.db import Base, Id
from app.workbench import UnitOfWork

GOOD: Final = frozenset({"tuning_not_offered", "compare_costs"})
"""Verdicts after which a plan warns."""


class UntrainedResult(Base):
    """The verdict on one set of cases."""

    __tablename__ = "untrained_results"
    __table_args__ = (
        Index("ix_untrained_results_training", "project_id", "training_version_id", "id"),
        Index("ix_untrained_results_cases", "project_id", "cases_version_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    """Of the baseline, by which people find it."""
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    training_version_id: Mapped[Id | None]
    cases_version_id: Mapped[Id | None]
    base_model: Mapped[str]
    verdict: Mapped[str]
    headline: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


def record(work: UnitOfWork, result: UntrainedResult) -> None:
    """In the transaction that ends the baseline."""
    work.session.add(result)


def newest(
    session: Session, project_id: str, *, training_id: str, validation_id: str | None
) -> UntrainedResult | None:
    """Of the same training data, or asked the same cases."""
    same = [UntrainedResult.training_version_id == training_id, UntrainedResult.cases_version_id == training_id]
    if validation_id is not None:
        same.append(UntrainedResult.cases_version_id == validation_id)
    return session.scalars(
        select(UntrainedResult)
        .where(UntrainedResult.project_id == project_id, or_(*same))
        .order_by(UntrainedResult.id.desc())
        .limit(1)
    ).one_or_none()


def last_resort(found: UntrainedResult | None) -> PlanCheck:
    """What a plan says of it. Tuning comes after prompts, examples and retrieval were tried."""
    if found is None:
        return PlanCheck(
            code="no-baseline",
            verdict="note",
            detail="Nobody has asked what the base model reaches on these cases without training.",
            remedy="Tuning is the last resort: `kitae baselines run` tries a prompt, examples and retrieval first.",
        )
    if found.verdict in GOOD:
        return PlanCheck(
            code="good-without-training",
            verdict="warning",
            detail=f"{found.base_model} without training: {found.headline}",
            remedy=f"`kitae baselines show {found.id}` shows the answers; train if you want more than that.",
        )
    return PlanCheck(
        code="baseline",
        verdict="ok" if found.verdict == "tuning_worth_trying" else "note",
        detail=f"{found.base_model} without training: {found.headline} ({found.id})",
    )
