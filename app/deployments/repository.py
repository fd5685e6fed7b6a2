"""All SQL of the deployments room."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Numeric, case, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.deployments.states import DEPLOYMENT_LAW, DeploymentStatus
from app.deployments.tables import Comparison, ComparisonAnswer, Deployment
from app.kit import care
from app.kit.care import Claim
from app.kit.pagination import Page, Slice, keyset, slice_of

LIVE: Final = tuple(status for status in DeploymentStatus if status not in DEPLOYMENT_LAW.terminal)
_AWAKE: Final = (DeploymentStatus.CREATING, DeploymentStatus.WARMING, DeploymentStatus.READY)
"""Statuses in which a wish to delete, or the end of its time, has not been acted upon."""


def add(session: Session, deployment: Deployment) -> None:
    session.add(deployment)
    session.flush()
    session.refresh(deployment)


def find_reserved(session: Session, reservation_id: str) -> Deployment | None:
    """The deployment that a request with this reservation has made already."""
    return session.scalars(select(Deployment).where(Deployment.reservation_id == reservation_id)).one_or_none()


def find(session: Session, project_id: str, ref: str, *, lock: bool = False) -> Deployment | None:
    """By id, or by name: the living one of that name, else the newest that had it."""
    statement = (
        select(Deployment)
        .where(Deployment.project_id == project_id, or_(Deployment.id == ref, Deployment.name == ref))
        .order_by(case((Deployment.status.in_(LIVE), 0), else_=1), Deployment.id.desc())
        .limit(1)
    )
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def is_name_taken(session: Session, connection_id: str, name: str) -> bool:
    """ARM's names do not tell upper case from lower case."""
    found = session.scalar(
        select(Deployment.id)
        .where(
            Deployment.connection_id == connection_id,
            func.lower(Deployment.name) == name.lower(),
            Deployment.status.in_(LIVE),
        )
        .limit(1)
    )
    return found is not None


def count_tuned(session: Session, connection_id: str) -> int:
    """Living deployments of tuned models on one resource."""
    return (
        session.scalar(
            select(func.count()).where(
                Deployment.connection_id == connection_id,
                Deployment.model_id.is_not(None),
                Deployment.status.in_(LIVE),
            )
        )
        or 0
    )


def count_living(session: Session, project_id: str) -> int:
    """Living deployments of a project, of base models too."""
    return (
        session.scalar(select(func.count()).where(Deployment.project_id == project_id, Deployment.status.in_(LIVE)))
        or 0
    )


def load(session: Session, deployment_id: str) -> tuple[Deployment, datetime]:
    """For workers: the row, and the database's time when it was read."""
    row = session.execute(select(Deployment, func.clock_timestamp()).where(Deployment.id == deployment_id)).one()
    return row[0], row[1]


def now(session: Session) -> datetime:
    moment: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return moment


def page(
    session: Session, project_id: str, wanted: Page, *, status: str | None, model_id: str | None
) -> Slice[Deployment]:
    statement = select(Deployment).where(Deployment.project_id == project_id)
    if status is not None:
        statement = statement.where(Deployment.status == status)
    if model_id is not None:
        statement = statement.where(Deployment.model_id == model_id)
    return slice_of(session.scalars(keyset(statement, Deployment.id, wanted)).all(), wanted)


def change(session: Session, held: Claim, **values: Any) -> None:
    """A guarded write that also says when the deployment changed."""
    care.write(session, held, updated_at=func.clock_timestamp(), **values)


def ask(session: Session, deployment_id: str, values: dict[str, Any]) -> None:
    """Write a person's wish and have the row looked at now; a parked one is taken up again."""
    session.execute(
        update(Deployment)
        .where(Deployment.id == deployment_id)
        .values(
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
            parked_reason=None,
            fail_count=0,
            failing_since=None,
            **values,
        )
        .execution_options(synchronize_session=False)
    )


def wanted_unless(sent: int) -> Any:
    """For `capacity_wanted` after a change was sent: null, unless a person has asked for another one meanwhile."""
    return func.nullif(Deployment.capacity_wanted, sent)


def heed_wishes(session: Session, deployment_id: str) -> None:
    """Let no finished step put the next look behind a wish, written meanwhile, or behind the row's own end."""
    session.execute(
        update(Deployment)
        .where(
            Deployment.id == deployment_id,
            Deployment.status.in_(_AWAKE),
            Deployment.next_check_at.is_not(None),
        )
        .values(
            next_check_at=func.least(
                Deployment.next_check_at,
                Deployment.expires_at,
                case((Deployment.delete_requested_at.is_not(None), func.clock_timestamp())),
            )
        )
        .execution_options(synchronize_session=False)
    )


def wake_costly(session: Session) -> Sequence[str]:
    """Take up every parked row whose money must stop: its time is up, or somebody wants it gone.

    One that has just been parked rests first, so that a dead Azure is not asked on the spot.
    """
    return session.scalars(
        update(Deployment)
        .where(
            Deployment.parked_reason.is_not(None),
            Deployment.next_check_at <= func.clock_timestamp(),
            Deployment.status.in_(LIVE),
            or_(
                Deployment.expires_at <= func.clock_timestamp(),
                Deployment.delete_requested_at.is_not(None),
                Deployment.status == DeploymentStatus.DELETING,
            ),
        )
        .values(
            parked_reason=None,
            fail_count=0,
            failing_since=None,
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
        )
        .returning(Deployment.id)
        .execution_options(synchronize_session=False)
    ).all()


def touch_used(session: Session, deployment_id: str, *, at_most_every_seconds: float) -> None:
    """Note that somebody chatted; writes nothing when that was noted a moment ago."""
    moment = func.clock_timestamp()
    session.execute(
        update(Deployment)
        .where(
            Deployment.id == deployment_id,
            or_(
                Deployment.last_used_at.is_(None),
                Deployment.last_used_at < moment - func.make_interval(0, 0, 0, 0, 0, 0, at_most_every_seconds),
            ),
        )
        .values(last_used_at=moment)
        .execution_options(synchronize_session=False)
    )


def running_usd(session: Session, project_id: str) -> Decimal:
    """Hosting that has accrued on deployments that still run, by started minutes."""
    seconds = Deployment.hosted_seconds + func.extract(
        "epoch", func.clock_timestamp() - Deployment.hosting_started_at
    )
    minutes = cast(func.ceil(seconds / 60.0), Numeric)
    return Decimal(
        session.scalar(
            select(func.coalesce(func.sum(Deployment.hourly_usd * minutes / 60), 0)).where(
                Deployment.project_id == project_id,
                Deployment.status.in_(LIVE),
                Deployment.hosting_started_at.is_not(None),
                Deployment.hourly_usd.is_not(None),
            )
        )
        or 0
    )


# ── comparisons ─────────────────────────────────────────────────────────────


def add_comparison(session: Session, comparison: Comparison) -> None:
    session.add(comparison)
    session.flush()
    session.refresh(comparison)


def find_reserved_comparison(session: Session, reservation_id: str) -> Comparison | None:
    return session.scalars(select(Comparison).where(Comparison.reservation_id == reservation_id)).one_or_none()


def find_comparison(session: Session, project_id: str, comparison_id: str) -> Comparison | None:
    return session.scalars(
        select(Comparison).where(Comparison.project_id == project_id, Comparison.id == comparison_id)
    ).one_or_none()


def get_comparison_unscoped(session: Session, comparison_id: str) -> Comparison:
    """For workers."""
    return session.get_one(Comparison, comparison_id)


def comparison_page(session: Session, project_id: str, wanted: Page) -> Slice[Comparison]:
    statement = select(Comparison).where(Comparison.project_id == project_id)
    return slice_of(session.scalars(keyset(statement, Comparison.id, wanted)).all(), wanted)


def answers(session: Session, comparison_ids: Sequence[str]) -> Sequence[ComparisonAnswer]:
    """Every recorded answer of these comparisons, in the order of prompts and candidates."""
    return session.scalars(
        select(ComparisonAnswer)
        .where(ComparisonAnswer.comparison_id.in_(comparison_ids))
        .order_by(ComparisonAnswer.comparison_id, ComparisonAnswer.prompt, ComparisonAnswer.candidate)
    ).all()


def answered(session: Session, comparison_id: str) -> frozenset[tuple[int, int]]:
    """(prompt, candidate) of every recorded answer."""
    return frozenset(
        (prompt, candidate)
        for prompt, candidate in session.execute(
            select(ComparisonAnswer.prompt, ComparisonAnswer.candidate).where(
                ComparisonAnswer.comparison_id == comparison_id
            )
        )
    )


def put_answer(session: Session, answer: ComparisonAnswer) -> None:
    """Keep an answer; one that is there already stays."""
    names = (
        "comparison_id",
        "prompt",
        "candidate",
        "text",
        "finish_reason",
        "error",
        "prompt_tokens",
        "completion_tokens",
        "latency_seconds",
        "cost_usd",
    )
    session.execute(
        insert(ComparisonAnswer).values({name: getattr(answer, name) for name in names}).on_conflict_do_nothing()
    )


def unpark_comparison(session: Session, comparison_id: str) -> bool:
    touched = session.execute(
        update(Comparison)
        .where(Comparison.id == comparison_id, Comparison.parked_reason.is_not(None))
        .values(
            parked_reason=None,
            fail_count=0,
            failing_since=None,
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
        )
        .returning(Comparison.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None
