"""All SQL of the connections room."""

from typing import Any

from sqlalchemy import case, delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.connections.tables import AccountLock, Connection
from app.kit.care import in_seconds
from app.kit.markers import marker
from app.kit.pagination import Page, Slice, keyset, slice_of


def add(session: Session, connection: Connection) -> None:
    session.add(connection)
    session.flush()


def find(session: Session, project_id: str, ref: str) -> Connection | None:
    """By id or by name, within one project."""
    return session.scalars(
        select(Connection).where(
            Connection.project_id == project_id,
            Connection.archived_at.is_(None),
            or_(Connection.id == ref, Connection.name == ref),
        )
    ).one_or_none()


def get_unscoped(session: Session, connection_id: str) -> Connection | None:
    """For workers, which act for whichever project the row belongs to."""
    return session.get(Connection, connection_id)


def page(session: Session, project_id: str, wanted: Page) -> Slice[Connection]:
    statement = select(Connection).where(Connection.project_id == project_id, Connection.archived_at.is_(None))
    return slice_of(session.scalars(keyset(statement, Connection.id, wanted)).all(), wanted)


def lock_marker(session: Session, connection_id: str) -> str:
    """The row's marker, with the row held until the transaction ends."""
    changed_at = session.scalars(
        select(Connection.updated_at).where(Connection.id == connection_id).with_for_update()
    ).one()
    return marker(connection_id, changed_at)


def change(session: Session, connection_id: str, values: dict[str, Any]) -> None:
    session.execute(
        update(Connection)
        .where(Connection.id == connection_id)
        .values(updated_at=func.clock_timestamp(), **values)
        .execution_options(synchronize_session=False)
    )


def closed_seconds(session: Session, connection_id: str, *, writes: bool) -> float:
    """How long calls of this class must still wait; 0 = open."""
    column = Connection.writes_closed_until if writes else Connection.reads_closed_until
    left = session.scalar(
        select(func.extract("epoch", column - func.clock_timestamp())).where(Connection.id == connection_id)
    )
    return max(0.0, float(left or 0))


def close_for(session: Session, connection_id: str, *, writes: bool, seconds: float) -> None:
    """Let no call of this class through for so long; an existing later time stays."""
    name = "writes_closed_until" if writes else "reads_closed_until"
    column = getattr(Connection, name)
    change(session, connection_id, {name: func.greatest(column, in_seconds(seconds))})


def count_failure(
    session: Session, connection_id: str, *, writes: bool, open_after: int, rest_seconds: float
) -> None:
    """One more failure in a row; at `open_after` the circuit opens for `rest_seconds`, then one call may try."""
    kind = "write" if writes else "read"
    failures = getattr(Connection, f"{kind}_failures")
    closed = getattr(Connection, f"{kind}s_closed_until")
    change(
        session,
        connection_id,
        {
            f"{kind}_failures": failures + 1,
            f"{kind}s_closed_until": case(
                (failures + 1 >= open_after, func.greatest(closed, in_seconds(rest_seconds))), else_=closed
            ),
        },
    )


def forget_failures(session: Session, connection_id: str, *, writes: bool) -> None:
    """A call went well. Writes nothing where there is nothing to forget."""
    kind = "write" if writes else "read"
    failures = getattr(Connection, f"{kind}_failures")
    session.execute(
        update(Connection)
        .where(Connection.id == connection_id, failures > 0)
        .values({f"{kind}_failures": 0})
        .execution_options(synchronize_session=False)
    )


def watch_in(session: Session, connection_id: str, seconds: float) -> None:
    """Have the connection's jobs looked at within so many seconds, sooner if that is already planned."""
    session.execute(
        update(Connection)
        .where(Connection.id == connection_id)
        .values(next_check_at=func.least(Connection.next_check_at, in_seconds(seconds)))
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
