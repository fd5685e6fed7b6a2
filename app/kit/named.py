"""Rows that people of a project name, change and archive. A name is free again once its row is archived."""

from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Index, func, or_, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.kit.db import Id
from app.kit.markers import marker
from app.kit.pagination import Page, Slice, keyset, slice_of


class NamedColumns:
    """What such a row needs."""

    __tablename__: str
    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id]
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    archived_at: Mapped[datetime | None]


Named = TypeVar("Named", bound=NamedColumns)


def named_indexes(table_name: str) -> tuple[Index, Index]:
    """One that keeps names unique, one for pages in the order of ids."""
    return (
        Index(
            f"uq_{table_name}_name", "project_id", "name", unique=True, postgresql_where=text("archived_at IS NULL")
        ),
        Index(f"ix_{table_name}_project", "project_id", "id"),
    )


def find(session: Session, table: type[Named], project_id: str, ref: str) -> Named | None:
    """By id or by name, within one project."""
    return session.scalars(
        select(table).where(
            table.project_id == project_id, table.archived_at.is_(None), or_(table.id == ref, table.name == ref)
        )
    ).one_or_none()


def page(session: Session, table: type[Named], project_id: str, wanted: Page) -> Slice[Named]:
    statement = select(table).where(table.project_id == project_id, table.archived_at.is_(None))
    return slice_of(session.scalars(keyset(statement, table.id, wanted)).all(), wanted)


def lock_marker(session: Session, table: type[NamedColumns], row_id: str) -> str:
    """The row's marker, with the row held until the transaction ends."""
    changed_at = session.scalars(select(table.updated_at).where(table.id == row_id).with_for_update()).one()
    return marker(row_id, changed_at)


def change(session: Session, table: type[NamedColumns], row_id: str, values: dict[str, Any]) -> None:
    session.execute(
        update(table)
        .where(table.id == row_id)
        .values(updated_at=func.clock_timestamp(), **values)
        .execution_options(synchronize_session=False)
    )
