"""All SQL of the costs room."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, case, exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.costs.tables import Budget, LedgerLine
from app.kit.ids import new_id

_SIGNED: Final = case((LedgerLine.kind == "release", -LedgerLine.amount_usd), else_=LedgerLine.amount_usd)
"""Reserved and settled count, released does not."""


def lock_budget(session: Session, project_id: str) -> Budget:
    """The project's caps, locked until the transaction ends; made on first use."""
    session.execute(insert(Budget).values(project_id=project_id).on_conflict_do_nothing())
    return session.scalars(select(Budget).where(Budget.project_id == project_id).with_for_update()).one()


def find_budget(session: Session, project_id: str) -> Budget | None:
    return session.get(Budget, project_id)


def committed_since(session: Session, project_id: str, since: datetime) -> Decimal:
    """Settled since then, plus everything reserved and not yet released, whenever that was."""
    settled = session.scalar(
        select(func.coalesce(func.sum(LedgerLine.amount_usd), 0)).where(
            LedgerLine.project_id == project_id, LedgerLine.kind == "settle", LedgerLine.created_at >= since
        )
    )
    reserved = session.scalar(
        select(func.coalesce(func.sum(_SIGNED), 0)).where(
            LedgerLine.project_id == project_id, LedgerLine.kind.in_(("reserve", "release"))
        )
    )
    return Decimal(settled or 0) + Decimal(reserved or 0)


def begun_since(session: Session, project_id: str, since: datetime) -> Decimal:
    """What was begun since then, a day as a rule: as reserved, or as settled once it has ended.

    A longer life that was reserved since for something older counts, too; what had been reserved before does not.
    """
    lines = (
        select(
            LedgerLine.subject_id,
            _sum("reserve").label("reserved"),
            _sum("release").label("released"),
            _sum("settle").label("settled"),
        )
        .where(LedgerLine.project_id == project_id, LedgerLine.created_at >= since)
        .group_by(LedgerLine.subject_id)
        .subquery()
    )
    earlier = LedgerLine.__table__.alias("earlier")
    is_older = exists().where(earlier.c.subject_id == lines.c.subject_id, earlier.c.created_at < since)
    of_older = case((lines.c.released > 0, func.least(lines.c.reserved, lines.c.settled)), else_=lines.c.reserved)
    of_younger = lines.c.reserved - lines.c.released + lines.c.settled
    return Decimal(
        session.scalar(select(func.coalesce(func.sum(case((is_older, of_older), else_=of_younger)), 0))) or 0
    )


def _sum(kind: str) -> ColumnElement[Decimal]:
    return func.coalesce(func.sum(LedgerLine.amount_usd).filter(LedgerLine.kind == kind), 0)


def committed_by_key(session: Session, key_id: str) -> Decimal:
    """All that one key has ever settled or holds reserved."""
    return Decimal(
        session.scalar(select(func.coalesce(func.sum(_SIGNED), 0)).where(LedgerLine.key_id == key_id)) or 0
    )


def reserved_for(session: Session, subject_id: str) -> Decimal:
    return Decimal(
        session.scalar(
            select(func.coalesce(func.sum(_SIGNED), 0)).where(
                LedgerLine.subject_id == subject_id, LedgerLine.kind.in_(("reserve", "release"))
            )
        )
        or 0
    )


LINES_LOOKED_AT: Final = 5_000
"""The newest of the book: what is older was looked at before."""


def open_reservations(session: Session, category: str, *, older_than_seconds: float) -> list[str]:
    """Subjects of a category with money still set aside since longer than that."""
    newest = select(LedgerLine).order_by(LedgerLine.id.desc()).limit(LINES_LOOKED_AT).subquery()
    signed = case((newest.c.kind == "release", -newest.c.amount_usd), else_=newest.c.amount_usd)
    found = session.scalars(
        select(newest.c.subject_id)
        .where(newest.c.category == category, newest.c.kind.in_(["reserve", "release"]))
        .group_by(newest.c.subject_id)
        .having(
            func.sum(signed) > 0,
            func.max(newest.c.created_at) < func.clock_timestamp() - timedelta(seconds=older_than_seconds),
        )
    )
    return list(found)


def first_line(session: Session, subject_id: str) -> LedgerLine | None:
    """The reservation a subject began with."""
    return session.scalars(
        select(LedgerLine).where(LedgerLine.subject_id == subject_id).order_by(LedgerLine.id).limit(1)
    ).one_or_none()


def settled_for(session: Session, subject_id: str) -> Decimal | None:
    """What the subject cost so far; None when nothing was settled."""
    amount = session.scalar(
        select(func.sum(LedgerLine.amount_usd)).where(
            LedgerLine.subject_id == subject_id, LedgerLine.kind == "settle"
        )
    )
    return None if amount is None else Decimal(amount)


def add_line(
    session: Session,
    *,
    project_id: str,
    key_id: str | None,
    subject_id: str,
    category: str,
    kind: str,
    amount_usd: Decimal,
    note: str,
) -> None:
    session.add(
        LedgerLine(
            id=new_id("led"),
            project_id=project_id,
            key_id=key_id,
            subject_id=subject_id,
            category=category,
            kind=kind,
            amount_usd=amount_usd,
            note=note,
        )
    )
    session.flush()


def set_budget(session: Session, project_id: str, values: dict[str, Any]) -> Budget:
    budget = lock_budget(session, project_id)
    for name, value in values.items():
        setattr(budget, name, value)
    budget.updated_at = func.clock_timestamp()
    session.flush()
    session.refresh(budget)
    return budget


_GROUPS: Final[dict[str, Any]] = {
    "category": LedgerLine.category,
    "subject": LedgerLine.subject_id,
    "key": LedgerLine.key_id,
    "day": func.to_char(LedgerLine.created_at, "YYYY-MM-DD"),
}


def grouped(session: Session, project_id: str, *, group_by: str, since: datetime, until: datetime) -> Sequence[Any]:
    """Rows of (group, settled, reserved), largest first, 1,000 at most."""
    group = _GROUPS[group_by]
    settled = func.coalesce(func.sum(LedgerLine.amount_usd).filter(LedgerLine.kind == "settle"), 0)
    reserved = func.coalesce(func.sum(_SIGNED).filter(LedgerLine.kind != "settle"), 0)
    return session.execute(
        select(group.label("group"), settled.label("settled_usd"), reserved.label("reserved_usd"))
        .where(LedgerLine.project_id == project_id, LedgerLine.created_at >= since, LedgerLine.created_at < until)
        .group_by(group)
        .order_by(settled.desc(), group)
        .limit(1000)
    ).all()
