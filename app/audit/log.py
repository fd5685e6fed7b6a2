"""Append to the chains, in the transaction of the change that is recorded, and read them.

Writers lock the end of a chain as the last thing before their commit, so that numbers have no gap, hashes no fork,
and no writer waits for another's work.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.audit.chain import COVERED, GENESIS, Head, link
from app.audit.tables import AuditEventRow, AuditHeadRow
from app.kit.db import storable
from app.kit.deeds import Deed
from app.kit.errors import NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice, slice_of
from app.workbench import NewEvent

MEASURED: Final = frozenset({"job.progress"})
"""Events that tell of no deed, only of numbers that went on."""
TEXT_LENGTH: Final = 100
"""Longest text in a record's detail; what people wrote is in the thing itself."""
LIST_LENGTH: Final = 20
WALKED_AT_ONCE: Final = 1000

_COLUMNS: Final = [*(getattr(AuditEventRow, name) for name in COVERED), AuditEventRow.hash]
_QUOTES: Final = frozenset({"error", "remote", "message"})
"""Members of events that may quote somebody: Azure, a model, a file. They stay out of the chains."""


def record(session: Session, deed: Deed, changes: Sequence[NewEvent]) -> bool:
    """One record for each change, in its project's chain; whether there was any."""
    by_chain: dict[str, list[dict[str, Any]]] = {}
    for change in changes:
        if change.type not in MEASURED:
            entry = _entry(deed, change.type, change.subject_id, "done", _small(change.data))
            by_chain.setdefault(change.project_id, []).append(entry)
    for chain in sorted(by_chain):  # always in this order: two writers of two chains never wait for each other
        _append(session, chain, by_chain[chain])
    return bool(by_chain)


def record_outcome(session: Session, deed: Deed, outcome: str, detail: Mapping[str, Any]) -> None:
    """A deed that changed nothing: a read, a refusal, a failure."""
    _append(session, deed.chain, [_entry(deed, None, deed.subject_id, outcome, _small(detail))])


def _entry(
    deed: Deed, change: str | None, subject_id: str | None, outcome: str, detail: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": new_id("aud"),
        "actor_kind": deed.actor_kind,
        "actor_id": _cut(deed.actor_id, 100),
        "operation": _cut(deed.operation, 100),
        "change": _cut(change, 100),
        "subject_id": _cut(subject_id, 100),
        "outcome": outcome,
        "request_id": _cut(deed.request_id, 64),
        "address": _cut(deed.address, 64),
        "agent": _cut(deed.agent, 200),
        "detail": detail,
    }


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else str(storable(text))[:length]


def _small(data: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers as text, short texts and lists of them: what reads the same in Python and in jsonb."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if name in _QUOTES or value is None or isinstance(value, dict):
            continue
        if isinstance(value, bool | int) and abs(value) < 1 << 53:
            found[name] = value
        elif isinstance(value, list | tuple):
            plain = [item for item in value if not isinstance(item, dict | list)]
            found[name] = [_cut(str(item), TEXT_LENGTH) for item in plain[:LIST_LENGTH]]
        else:
            found[name] = _cut(str(value), TEXT_LENGTH)
    return found


def _append(session: Session, chain: str, entries: list[dict[str, Any]]) -> None:
    locked = session.execute(
        upsert(AuditHeadRow)
        .values(chain=chain, number=len(entries), hash=GENESIS)
        .on_conflict_do_update(
            index_elements=[AuditHeadRow.chain], set_={"number": AuditHeadRow.number + len(entries)}
        )
        .returning(AuditHeadRow.number, AuditHeadRow.hash, func.clock_timestamp())
    ).one()
    last, before, at = locked
    for number, entry in enumerate(entries, start=last - len(entries) + 1):
        entry |= {"chain": chain, "number": number, "at": at}
        before = entry["hash"] = link(before, entry)
    session.execute(insert(AuditEventRow), entries)
    session.execute(
        update(AuditHeadRow)
        .where(AuditHeadRow.chain == chain)
        .values(hash=before)
        .execution_options(synchronize_session=False)
    )


# ── reading ─────────────────────────────────────────────────────────────────


def read_page(session: Session, chain: str, page: Page, *, only: Mapping[str, str | None]) -> Slice[RowMapping]:
    """Records of one chain by number, which is the order in which they were made.

    Args:
        only: column → the value it must have; None = any.

    Raises:
        NotFound: the cursor is no record of this chain.
    """
    row = AuditEventRow
    statement = select(*_COLUMNS).where(row.chain == chain)
    for column, value in only.items():
        if value is not None:
            statement = statement.where(getattr(row, column) == value)
    backwards = page.before is not None
    cursor = page.before if backwards else page.after
    falling = page.descending != backwards
    if cursor is not None:
        place = session.scalar(select(row.number).where(row.chain == chain, row.id == cursor))
        if place is None:
            raise NotFound(f"There is no record {cursor} here.", code="audit_event_not_found")
        beyond: ColumnElement[bool] = row.number < place if falling else row.number > place
        statement = statement.where(beyond)
    statement = statement.order_by(row.number.desc() if falling else row.number.asc()).limit(page.limit + 1)
    return slice_of(session.execute(statement).mappings().all(), page)


def walk(session: Session, chain: str) -> Iterator[Mapping[str, Any]]:
    """Every record of a chain by number, a thousand at a time."""
    statement = (
        select(*_COLUMNS).where(AuditEventRow.chain == chain).order_by(AuditEventRow.number).limit(WALKED_AT_ONCE)
    )
    rows = session.execute(statement).all()
    while rows:
        for row in rows:
            yield row._asdict()
        rows = session.execute(statement.where(AuditEventRow.number > rows[-1].number)).all()


def heads(session: Session) -> list[Head]:
    """The end of every chain, by name."""
    row = AuditHeadRow
    return [Head(*found) for found in session.execute(select(row.chain, row.number, row.hash).order_by(row.chain))]


def chains(session: Session) -> set[str]:
    """Every chain that has a record."""
    return set(session.scalars(select(AuditEventRow.chain).distinct()))
