"""Append to the log, and read it on from a place without a gap."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.events.tables import EventRow
from app.kit.errors import NotFound
from app.kit.ids import new_id
from app.workbench import NewEvent

START: Final = (0, 0)
"""The place before the first event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One fact, with its place in the log."""

    id: str
    type: str
    project_id: str
    subject_id: str
    data: dict[str, Any]
    created_at: datetime
    place: tuple[int, int]
    """(transaction, seq): the order in which readers see it."""


def append(session: Session, events: Sequence[NewEvent]) -> None:
    """Insert the events in the transaction of the change they tell of."""
    session.add_all(
        EventRow(
            id=new_id("evt"),
            project_id=event.project_id,
            type=event.type,
            subject_id=event.subject_id,
            data=event.data,
        )
        for event in events
    )
    session.flush()


_COLUMNS: Final = (
    "id, type, project_id, subject_id, data, created_at, transaction::text::bigint AS transaction, seq"
)


def read_after(
    session: Session,
    place: tuple[int, int],
    *,
    project_id: str | None = None,
    subject_id: str | None = None,
    limit: int = 100,
) -> list[Event]:
    """The next events in order. What is still being written by an open transaction waits for the next call.

    Args:
        project_id: only this project's; None = everybody's, for reactions.
    """
    conditions = ["transaction < pg_snapshot_xmin(pg_current_snapshot())"]
    conditions.append("(transaction, seq) > (CAST(CAST(:transaction AS text) AS xid8), :seq)")
    if project_id is not None:
        conditions.append("project_id = :project_id")
    if subject_id is not None:
        conditions.append("subject_id = :subject_id")
    rows = session.execute(
        text(
            f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)} "  # noqa: S608  only our own words
            "ORDER BY transaction, seq LIMIT :limit"
        ),
        {
            "transaction": place[0],
            "seq": place[1],
            "project_id": project_id,
            "subject_id": subject_id,
            "limit": limit,
        },
    )
    return [_event(row) for row in rows]


def read_page(
    session: Session,
    *,
    project_id: str,
    subject_id: str | None,
    event_type: str | None,
    after: str | None,
    before: str | None,
    descending: bool,
    limit: int,
) -> list[Event]:
    """One page of a project's log, at most `limit` + 1 rows so that the caller sees whether more follow.

    Raises:
        NotFound: `after` or `before` is no event of this project.
    """
    conditions = ["project_id = :project_id", "transaction < pg_snapshot_xmin(pg_current_snapshot())"]
    values: dict[str, Any] = {"project_id": project_id, "limit": limit + 1}
    if subject_id is not None:
        conditions.append("subject_id = :subject_id")
        values["subject_id"] = subject_id
    if event_type is not None:
        conditions.append("type = :type")
        values["type"] = event_type
    forwards = not descending
    if before is not None:
        forwards = not forwards
    for cursor in (after, before):
        if cursor is not None:
            values["transaction"], values["seq"] = place_of(session, cursor, project_id=project_id)
            sign = ">" if forwards else "<"
            conditions.append(f"(transaction, seq) {sign} (CAST(CAST(:transaction AS text) AS xid8), :seq)")
    direction = "ASC" if forwards else "DESC"
    rows = session.execute(
        text(
            f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(conditions)} "  # noqa: S608  only our own words
            f"ORDER BY transaction {direction}, seq {direction} LIMIT :limit"
        ),
        values,
    )
    return [_event(row) for row in rows]


def place_of(session: Session, event_id: str, *, project_id: str) -> tuple[int, int]:
    """Where an event stands, so that a reader can go on behind it. Raises `NotFound`."""
    row = session.execute(
        text("SELECT transaction::text::bigint, seq FROM events WHERE id = :id AND project_id = :project_id"),
        {"id": event_id, "project_id": project_id},
    ).one_or_none()
    if row is None:
        raise NotFound(f"There is no event {event_id} in this project.", code="event_not_found")
    return (row[0], row[1])


def newest_place(session: Session) -> tuple[int, int]:
    """The place of the newest event that can be read now, for a reader that wants only what comes."""
    row = session.execute(
        text(
            "SELECT transaction::text::bigint, seq FROM events "
            "WHERE transaction < pg_snapshot_xmin(pg_current_snapshot()) "
            "ORDER BY transaction DESC, seq DESC LIMIT 1"
        )
    ).one_or_none()
    return START if row is None else (row[0], row[1])


def heal_after_restore(session: Session) -> int:
    """Make events readable again after a logical restore into a younger cluster; returns how many it touched.

    Such events carry transaction ids that the new cluster has not reached, so readers would wait for them for
    ever. They become the oldest, in their own order, and readers' cursors go behind them.
    """
    touched = session.execute(
        text("UPDATE events SET transaction = '1'::xid8 WHERE transaction > pg_current_xact_id() RETURNING seq")
    ).all()
    if touched:
        session.execute(
            text("UPDATE event_cursors SET transaction = 1 WHERE transaction > pg_current_xact_id()::text::bigint")
        )
    return len(touched)


def _event(row: Any) -> Event:
    return Event(
        id=row.id,
        type=row.type,
        project_id=row.project_id,
        subject_id=row.subject_id,
        data=row.data,
        created_at=row.created_at,
        place=(row.transaction, row.seq),
    )
