"""Every sealed column of the database: which keys they need, and sealing them anew with the newest.

A sealed column is a binary one whose name ends in `_sealed`, in a table with an `id`; the id is what binds it (see
`app.kit.secrets`). The database itself is asked for them, so a new table's secrets are found without being named.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import TableClause, column, func, or_, select, table, text, update
from sqlalchemy.orm import Session

from app.kit.secrets import KEY_ID_BYTES, UnreadableSecret, Vault


@dataclass(frozen=True, slots=True)
class Resealed:
    """What one go over a table did.

    Attributes:
        changed: secrets that are sealed with the newest key now and were not before.
        unreadable: `table.column id` of secrets that no key we have opens; they stay as they are.
        last_id: the last row looked at; None when there are no more.
    """

    changed: int
    unreadable: tuple[str, ...]
    last_id: str | None


def sealed_tables(session: Session) -> list[tuple[TableClause, list[str]]]:
    """Tables that hold secrets, with the names of those columns; none before the first migration."""
    found = session.execute(
        text(
            r"SELECT table_name, array_agg(column_name::text ORDER BY column_name) FROM information_schema.columns "
            r"WHERE table_schema = current_schema() AND data_type = 'bytea' AND column_name LIKE '%\_sealed' "
            "GROUP BY table_name ORDER BY table_name"
        )
    )
    return [(table(name, column("id"), *map(column, columns)), list(columns)) for name, columns in found]


def keys_in_use(session: Session) -> Counter[bytes]:
    """Key id → how many stored secrets need that key."""
    counted: Counter[bytes] = Counter()
    for holding, names in sealed_tables(session):
        for name in names:
            key_id = func.substring(holding.c[name], 1, KEY_ID_BYTES)
            statement = select(key_id, func.count()).where(holding.c[name].is_not(None)).group_by(key_id)
            for found, number in session.execute(statement):
                counted[bytes(found)] += number
    return counted


def reseal_some(
    session: Session, vault: Vault, holding: TableClause, names: list[str], *, after: str, limit: int
) -> Resealed:
    """Seal the next rows' secrets with the newest key, where they are not yet.

    The rows stay locked until the commit, so that a secret which is being replaced at this moment is never
    overwritten by its older self.

    Args:
        after: the last id that was looked at; empty = none yet.
    """
    stale = [func.substring(holding.c[name], 1, KEY_ID_BYTES) != vault.newest for name in names]
    rows = session.execute(
        select(holding)
        .where(or_(*stale), holding.c.id > after)
        .order_by(holding.c.id)
        .limit(limit)
        .with_for_update()
    ).all()
    changed = 0
    unreadable: list[str] = []
    for row in rows:
        values: dict[str, Any] = {}
        for name in names:
            sealed = getattr(row, name)
            if sealed is None or vault.is_newest(sealed):
                continue
            try:
                values[name] = vault.seal(vault.open(sealed, row_id=row.id), row_id=row.id)
            except UnreadableSecret:
                unreadable.append(f"{holding.name}.{name} {row.id}")
        if values:
            session.execute(update(holding).where(holding.c.id == row.id).values(**values))
            changed += len(values)
    return Resealed(changed, tuple(unreadable), rows[-1].id if rows else None)
