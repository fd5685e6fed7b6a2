"""All SQL of the connections room."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, case, cast, delete, func, literal, literal_column, null, or_, select, update
from sqlalchemy.dialects.postgresql import BIT, insert
from sqlalchemy.orm import Session

from app.connections.tables import AccountLock, Connection, ResourceFacts
from app.kit.care import in_seconds


def add(session: Session, connection: Connection) -> None:
    session.add(connection)
    session.flush()


def get_unscoped(session: Session, connection_id: str) -> Connection | None:
    """For workers, which act for whichever project the row belongs to."""
    return session.get(Connection, connection_id)


def project_of(session: Session, connection_id: str) -> str:
    return session.scalars(select(Connection.project_id).where(Connection.id == connection_id)).one()


# ── gates ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Gate:
    """Columns of one class of calls. Stopping money has no circuit, so it has no history and no probe."""

    closed_until: Any
    failures: Any
    history: Any = None
    open_since: Any = None
    probe_until: Any = None
    outage_told_at: Any = None


_GATES: Final[Mapping[str, _Gate]] = {
    "read": _Gate(
        Connection.reads_closed_until,
        Connection.read_failures,
        Connection.read_history,
        Connection.reads_open_since,
        Connection.reads_probe_until,
        Connection.reads_outage_told_at,
    ),
    "write": _Gate(
        Connection.writes_closed_until,
        Connection.write_failures,
        Connection.write_history,
        Connection.writes_open_since,
        Connection.writes_probe_until,
        Connection.writes_outage_told_at,
    ),
    "stop_money": _Gate(Connection.stops_closed_until, Connection.stop_failures),
}
HISTORY_CALLS: Final = 20
_HISTORY_MASK: Final = (1 << HISTORY_CALLS) - 1


def _update(session: Session, connection_id: str, values: Mapping[Any, Any], *conditions: Any) -> bool:
    """Change the gates only: `updated_at`, which callers see, says when a person changed the connection."""
    touched = session.execute(
        update(Connection)
        .where(Connection.id == connection_id, *conditions)
        .values({column.key: value for column, value in values.items()})
        .returning(Connection.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None


def gate(session: Session, connection_id: str, traffic: str) -> tuple[float, bool]:
    """How many seconds calls of this class must still wait (0 = none), and whether their circuit is open."""
    columns = _GATES[traffic]
    row = session.execute(
        select(
            func.extract("epoch", columns.closed_until - func.clock_timestamp()),
            literal(False) if columns.open_since is None else columns.open_since.is_not(None),
        ).where(Connection.id == connection_id)
    ).one_or_none()
    return (0.0, False) if row is None else (max(0.0, float(row[0] or 0)), bool(row[1]))


def take_probe(session: Session, connection_id: str, traffic: str, *, seconds: float) -> bool:
    """The right to make the one call by which an open circuit is tried; False when another caller has it."""
    columns, now = _GATES[traffic], func.clock_timestamp()
    return _update(
        session,
        connection_id,
        {columns.probe_until: in_seconds(seconds)},
        columns.open_since.is_not(None),
        or_(columns.closed_until.is_(None), columns.closed_until <= now),
        or_(columns.probe_until.is_(None), columns.probe_until <= now),
    )


def drop_probe(session: Session, connection_id: str, traffic: str) -> None:
    """The probe ended without saying anything of Azure; another call may try."""
    _update(session, connection_id, {_GATES[traffic].probe_until: None})


def close_for(session: Session, connection_id: str, traffic: str, *, seconds: float) -> None:
    """Let no call of this class through for so long; an existing later time stays."""
    columns = _GATES[traffic]
    _update(
        session, connection_id, {columns.closed_until: func.greatest(columns.closed_until, in_seconds(seconds))}
    )


def count_failure(
    session: Session,
    connection_id: str,
    traffic: str,
    *,
    open_after: int,
    open_after_of_last: int,
    rest_seconds: float,
) -> bool:
    """One more call without an answer; opens the circuit after so many in a row, or so many of the last 20.

    Returns:
        Whether this very call opened it.
    """
    columns = _GATES[traffic]
    rests = func.greatest(columns.closed_until, in_seconds(rest_seconds))
    history = columns.history.op("<<")(literal_column("1")).op("|")(1).op("&")(_HISTORY_MASK)
    missed = func.bit_count(cast(history, BIT(HISTORY_CALLS)))
    opens = or_(columns.failures + 1 >= open_after, missed >= open_after_of_last)
    was_open = columns.open_since.is_not(None)
    before = session.scalar(
        select(columns.open_since).where(Connection.id == connection_id).with_for_update(key_share=True)
    )
    _update(
        session,
        connection_id,
        {
            columns.failures: columns.failures + 1,
            columns.history: history,
            columns.open_since: case((was_open, columns.open_since), (opens, func.clock_timestamp())),
            columns.closed_until: case((or_(was_open, opens), rests), else_=columns.closed_until),
            columns.probe_until: None,
        },
    )
    after = session.scalar(select(columns.open_since).where(Connection.id == connection_id))
    return before is None and after is not None


def count_stop_failure(session: Session, connection_id: str, *, pause_max_seconds: float) -> None:
    """A cancel or delete had no answer: the next waits 1, 2, 4 … seconds, never longer than the given pause."""
    columns = _GATES["stop_money"]
    pause = func.least(pause_max_seconds, func.power(2.0, func.least(columns.failures, 16)))
    _update(
        session,
        connection_id,
        {
            columns.failures: columns.failures + 1,
            columns.closed_until: func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, pause),
        },
    )


_TO_FORGET: Final = {
    traffic: select(case((columns.outage_told_at.is_not(None), columns.open_since)))
    .where(
        Connection.id == bindparam("connection"),
        or_(columns.failures > 0, columns.history > 0, columns.open_since.is_not(None)),
    )
    .with_for_update(key_share=True)
    for traffic, columns in _GATES.items()
    if columns.history is not None
}
"""Built once: every call to Azure that went well asks this, and mostly there is nothing."""


def count_success(session: Session, connection_id: str, traffic: str) -> datetime | None:
    """Azure answered: the circuit closes. Writes nothing where there is nothing to forget.

    Returns:
        Since when the circuit had been open, if an event had told so.
    """
    columns = _GATES[traffic]
    if columns.history is None:
        _update(session, connection_id, {columns.failures: 0}, columns.failures > 0)
        return None
    found = session.execute(_TO_FORGET[traffic], {"connection": connection_id}).one_or_none()
    if found is None:
        return None
    told: datetime | None = found[0]
    was_open = columns.open_since.is_not(None)
    shifted = columns.history.op("<<")(literal_column("1")).op("&")(_HISTORY_MASK)
    _update(
        session,
        connection_id,
        {
            columns.failures: 0,
            columns.history: case((was_open, 0), else_=shifted),
            columns.open_since: None,
            columns.probe_until: None,
            columns.outage_told_at: None,
        },
    )
    return told


def long_outages(session: Session, traffic: str, *, seconds: float) -> Sequence[tuple[str, str, datetime]]:
    """(connection, project, since) of circuits that have been open so long and were not told of; they are now."""
    columns, now = _GATES[traffic], func.clock_timestamp()
    rows = session.execute(
        update(Connection)
        .where(
            columns.open_since < now - func.make_interval(0, 0, 0, 0, 0, 0, seconds),
            columns.outage_told_at.is_(None),
            Connection.archived_at.is_(None),
        )
        .values({columns.outage_told_at.key: now})
        .returning(Connection.id, Connection.project_id, columns.open_since)
        .execution_options(synchronize_session=False)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def watch_in(session: Session, connection_id: str, seconds: float) -> None:
    """Have the connection's jobs looked at within so many seconds, sooner if that is already planned.

    A watch that was parked is taken up again: there is news, and nobody else asks for it.
    """
    parked = Connection.parked_reason.is_not(None)
    session.execute(
        update(Connection)
        .where(Connection.id == connection_id)
        .values(
            next_check_at=func.least(Connection.next_check_at, in_seconds(seconds)),
            parked_reason=None,
            fail_count=case((parked, 0), else_=Connection.fail_count),
            failing_since=case((parked, null()), else_=Connection.failing_since),
        )
        .execution_options(synchronize_session=False)
    )


def take_account(session: Session, account_key: str, holder: str, *, seconds: float) -> bool:
    """Take the account's one write for so long; True also when we hold it already."""
    now = func.clock_timestamp()
    statement = (
        insert(AccountLock)
        .values(account_key=account_key, holder=holder, until=in_seconds(seconds))
        .on_conflict_do_update(
            index_elements=[AccountLock.account_key],
            set_={"holder": holder, "until": in_seconds(seconds)},
            where=or_(AccountLock.until < now, AccountLock.holder == literal(holder)),
        )
        .returning(AccountLock.holder)
    )
    return session.execute(statement).one_or_none() is not None


def free_account(session: Session, account_key: str, holder: str) -> None:
    session.execute(delete(AccountLock).where(AccountLock.account_key == account_key, AccountLock.holder == holder))


# ── what Azure said of a resource ───────────────────────────────────────────


def put_facts(session: Session, connection_id: str, project_id: str, values: Mapping[str, Any]) -> None:
    """Keep what was learnt; what is not named stays as it was."""
    session.execute(
        insert(ResourceFacts)
        .values(connection_id=connection_id, project_id=project_id, **values)
        .on_conflict_do_update(index_elements=[ResourceFacts.connection_id], set_=dict(values))
    )


def facts_of_project(session: Session, project_id: str) -> Sequence[tuple[Connection, ResourceFacts | None]]:
    """Every connection of the project that can be chosen, with what is known of its resource."""
    rows = session.execute(
        select(Connection, ResourceFacts)
        .outerjoin(ResourceFacts, ResourceFacts.connection_id == Connection.id)
        .where(Connection.project_id == project_id, Connection.archived_at.is_(None))
        .order_by(Connection.name)
    )
    return [(row[0], row[1]) for row in rows]


def facts_of(session: Session, connection_id: str) -> ResourceFacts | None:
    return session.get(ResourceFacts, connection_id)


def models_asked_seconds(session: Session, connection_id: str) -> float | None:
    """How long ago ARM was asked for its models; None = never."""
    age = session.scalar(
        select(func.extract("epoch", func.clock_timestamp() - ResourceFacts.models_asked_at)).where(
            ResourceFacts.connection_id == connection_id
        )
    )
    return None if age is None else float(age)
