"""Care: rows that somebody must look at again. Who may act is decided by a lease and a fence in the row.

The row is the truth; a queue message is only a nudge that may be lost or doubled. All times are the database's
own clock, so that a worker whose clock is wrong cannot reap or keep anything.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Index, func, literal, or_, select, text, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.kit.db import Id
from app.kit.law import Law, S

PARKED_PAUSE_SECONDS: Final = 60.0
"""How soon a parked row may be taken up again where care must not end: a cancel, or a deletion."""


class LeaseLost(Exception):
    """Another worker holds, or held, the row since our claim: everything we know of it is stale. Drop it."""


class CareColumns:
    """What a row needs to be cared for. A row that needs no care has `next_check_at` null."""

    __tablename__: str
    id: Mapped[Id] = mapped_column(primary_key=True)

    next_check_at: Mapped[datetime | None] = mapped_column()
    """When somebody should look again; null = nobody needs to."""
    lease_owner: Mapped[str | None] = mapped_column()
    lease_until: Mapped[datetime | None] = mapped_column()
    """Until when one worker may act on the row."""
    fence: Mapped[int] = mapped_column(default=0, server_default="0")
    """Raised by every claim; a write that carries an older one changes nothing."""
    fail_count: Mapped[int] = mapped_column(default=0, server_default="0")
    """Claims since the last step that went well, counted in the claim so that a crash counts too."""
    failing_since: Mapped[datetime | None] = mapped_column()
    last_error: Mapped[dict[str, Any] | None] = mapped_column()
    parked_reason: Mapped[str | None] = mapped_column()
    """Why nobody looks any more until a person says `retry`."""


def care_index(table_name: str) -> Index:
    """The index by which due rows are found; a row at rest is not in it."""
    return Index(f"ix_{table_name}_care", "next_check_at", postgresql_where=text("next_check_at IS NOT NULL"))


@dataclass(slots=True)
class Claim:
    """One worker's right to act on one row, until the lease ends or the fence is raised.

    `check_in_seconds` is what the finished step asked for: 0 = go on at once, None = no more care needed.
    """

    table: type[CareColumns]
    row_id: str
    fence: int
    fail_count: int
    failing_seconds: float
    finished: bool = field(default=False)
    check_in_seconds: float | None = field(default=None)


def due(session: Session, table: type[CareColumns], *, limit: int, redispatch_seconds: float) -> list[str]:
    """Ids of rows that want care now; each is pushed `redispatch_seconds` ahead so that it is sent once.

    Two callers at the same moment get different rows (SKIP LOCKED).
    """
    now = func.clock_timestamp()
    wanted = (
        select(table.id)
        .where(
            table.next_check_at <= now,
            table.parked_reason.is_(None),
            or_(table.lease_until.is_(None), table.lease_until < now),
        )
        .order_by(table.next_check_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(table)
        .where(table.id.in_(wanted))
        .values(next_check_at=now + func.make_interval(0, 0, 0, 0, 0, 0, redispatch_seconds))
        .returning(table.id)
        .execution_options(synchronize_session=False)
    )
    return list(session.scalars(statement))


def claim(
    session: Session, table: type[CareColumns], row_id: str, *, owner: str, lease_seconds: float
) -> Claim | None:
    """Take the row for `lease_seconds`, or None when it is parked, at rest, gone or in other hands."""
    now = func.clock_timestamp()
    row = session.execute(
        update(table)
        .where(
            table.id == row_id,
            table.next_check_at.is_not(None),
            table.parked_reason.is_(None),
            or_(table.lease_until.is_(None), table.lease_until < now),
        )
        .values(
            lease_owner=owner,
            lease_until=now + func.make_interval(0, 0, 0, 0, 0, 0, lease_seconds),
            fence=table.fence + 1,
            fail_count=table.fail_count + 1,
            failing_since=func.coalesce(table.failing_since, now),
        )
        .returning(
            table.fence,
            table.fail_count,
            func.extract("epoch", now - func.coalesce(table.failing_since, now)),
        )
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return None
    return Claim(table=table, row_id=row_id, fence=row[0], fail_count=row[1], failing_seconds=float(row[2] or 0))


def write(session: Session, held: Claim, **values: Any) -> None:
    """Change the row under our fence.

    Raises:
        LeaseLost: somebody else has claimed it since.
    """
    result = session.execute(
        update(held.table)
        .where(held.table.id == held.row_id, held.table.fence == held.fence)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    if not isinstance(result, CursorResult) or result.rowcount != 1:
        raise LeaseLost(f"{held.table.__tablename__} {held.row_id}")


def extend(session: Session, held: Claim, *, lease_seconds: float) -> None:
    """A longer lease for a step that goes on, such as a large upload."""
    write(
        session,
        held,
        lease_until=func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, lease_seconds),
    )


def in_seconds(seconds: float) -> Any:
    """The database's time so many seconds ahead, as an SQL expression."""
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, literal(seconds))


def finish(session: Session, held: Claim, *, check_in_seconds: float | None, **values: Any) -> None:
    """The step went well: write, give the lease back and say when to look again (None = never)."""
    write(
        session,
        held,
        lease_owner=None,
        lease_until=None,
        fail_count=0,
        failing_since=None,
        last_error=None,
        next_check_at=None if check_in_seconds is None else in_seconds(check_in_seconds),
        **values,
    )
    held.finished = True
    held.check_in_seconds = check_in_seconds


def move(
    session: Session,
    held: Claim,
    law: Law[S],
    current: S,
    wanted: S,
    *,
    check_in_seconds: float | None,
    **values: Any,
) -> None:
    """The step went well and the status changes: by law, under the fence. Raises `IllegalMove`."""
    law.check(current, wanted)
    finish(
        session,
        held,
        check_in_seconds=check_in_seconds,
        status=wanted,
        status_changed_at=func.clock_timestamp(),
        updated_at=func.clock_timestamp(),
        **values,
    )


def give_back(
    session: Session, held: Claim, *, error: dict[str, Any], check_in_seconds: float, forgive: bool = False
) -> None:
    """The step did not go well: keep the count of failures, say what was wrong, look again later.

    Args:
        forgive: the failure is not the row's (a 429, a busy account): it does not count towards parking.
    """
    values: dict[str, Any] = {"fail_count": 0, "failing_since": None} if forgive else {}
    write(
        session,
        held,
        lease_owner=None,
        lease_until=None,
        last_error=error,
        next_check_at=in_seconds(check_in_seconds),
        **values,
    )
    held.finished = True
    held.check_in_seconds = check_in_seconds or None


def park(session: Session, held: Claim, *, reason: str, error: dict[str, Any]) -> None:
    """Stop looking until a person says `retry`. A row whose money must stop is taken up again after a pause."""
    write(
        session,
        held,
        lease_owner=None,
        lease_until=None,
        parked_reason=reason,
        last_error=error,
        next_check_at=in_seconds(PARKED_PAUSE_SECONDS),
    )
    held.finished = True
    held.check_in_seconds = None
