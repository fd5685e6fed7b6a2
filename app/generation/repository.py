"""All SQL of the generation room."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, func, insert, select, text, update
from sqlalchemy.orm import Session

from app.deployments import asked
from app.deployments.asked import Tally
from app.generation.states import GenerationStatus
from app.generation.tables import Generation, GenerationRow, GenerationUnit
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice, keyset, slice_of

OF_MATERIAL: Final = -1
"""The unit of rows that nobody was asked for."""


def add(session: Session, generation: Generation) -> None:
    session.add(generation)
    session.flush()
    session.refresh(generation)


def add_units(session: Session, units: Sequence[Mapping[str, Any]]) -> None:
    if units:
        session.execute(insert(GenerationUnit), list(units))


def add_rows(session: Session, generation_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        session.execute(
            insert(GenerationRow),
            [{"id": new_id("gnr"), "generation_id": generation_id, "detail": None, **row} for row in rows],
        )


def find_reserved(session: Session, reservation_id: str) -> Generation | None:
    return session.scalars(select(Generation).where(Generation.reservation_id == reservation_id)).one_or_none()


def find(session: Session, project_id: str, generation_id: str, *, lock: bool = False) -> Generation | None:
    statement = select(Generation).where(Generation.project_id == project_id, Generation.id == generation_id)
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def get_unscoped(session: Session, generation_id: str) -> Generation:
    """For workers."""
    return session.get_one(Generation, generation_id)


def page(
    session: Session, project_id: str, wanted: Page, *, dataset_id: str | None, status: GenerationStatus | None
) -> Slice[Generation]:
    statement = select(Generation).where(Generation.project_id == project_id)
    if dataset_id is not None:
        statement = statement.where(Generation.dataset_id == dataset_id)
    if status is not None:
        statement = statement.where(Generation.status == status)
    return slice_of(session.scalars(keyset(statement, Generation.id, wanted)).all(), wanted)


def row_page(
    session: Session, generation_id: str, wanted: Page, *, kept: bool | None, reason: str | None
) -> Slice[GenerationRow]:
    statement = select(GenerationRow).where(GenerationRow.generation_id == generation_id)
    if kept is not None:
        statement = statement.where(GenerationRow.kept == kept)
    if reason is not None:
        statement = statement.where(GenerationRow.reason == reason)
    return slice_of(session.scalars(keyset(statement, GenerationRow.id, wanted)).all(), wanted)


def units_of(session: Session, generation_id: str, numbers: Sequence[int]) -> dict[int, GenerationUnit]:
    found = session.scalars(
        select(GenerationUnit).where(
            GenerationUnit.generation_id == generation_id, GenerationUnit.number.in_(numbers)
        )
    )
    return {unit.number: unit for unit in found}


def tallies(session: Session, generation_ids: Sequence[str]) -> dict[str, Tally]:
    return asked.tallies(session, GenerationUnit, GenerationUnit.generation_id, generation_ids)


def counts(session: Session, generation_ids: Sequence[str]) -> dict[str, dict[str | None, int]]:
    """Generation → reason (None = kept) → items. What the material itself gave is not counted."""
    rows = session.execute(
        select(GenerationRow.generation_id, GenerationRow.reason, func.count())
        .where(GenerationRow.generation_id.in_(generation_ids), GenerationRow.unit != OF_MATERIAL)
        .group_by(GenerationRow.generation_id, GenerationRow.reason)
    )
    found: dict[str, dict[str | None, int]] = {one: {} for one in generation_ids}
    for generation_id, reason, count in rows:
        found[generation_id][reason] = count
    return found


def open_units(session: Session, generation_id: str, *, limit: int) -> Sequence[GenerationUnit]:
    """The next units to be asked; those that were sent before and never answered come first."""
    return session.scalars(
        select(GenerationUnit)
        .where(GenerationUnit.generation_id == generation_id, GenerationUnit.answered_at.is_(None))
        .order_by(GenerationUnit.attempts.desc(), GenerationUnit.number)
        .limit(limit)
    ).all()


def kept_texts(session: Session, generation_id: str) -> Sequence[tuple[int, str]]:
    """(subject, text) of everything that was kept, in the order in which it was recorded."""
    rows = session.execute(
        select(GenerationRow.subject, GenerationRow.text)
        .where(GenerationRow.generation_id == generation_id, GenerationRow.kept)
        .order_by(GenerationRow.id)
    )
    return [(subject, shown) for subject, shown in rows]


def kept_by_subject(session: Session, generation_id: str) -> dict[int, int]:
    """How many generated rows of each subject were kept."""
    rows = session.execute(
        select(GenerationRow.subject, func.count())
        .where(GenerationRow.generation_id == generation_id, GenerationRow.kept, GenerationRow.unit != OF_MATERIAL)
        .group_by(GenerationRow.subject)
    )
    return {subject: int(count) for subject, count in rows}


def last_round(session: Session, generation_id: str) -> tuple[int, int]:
    """The newest round and the next free number of a unit."""
    row = session.execute(
        select(
            func.coalesce(func.max(GenerationUnit.round), 0), func.coalesce(func.max(GenerationUnit.number), -1)
        ).where(GenerationUnit.generation_id == generation_id)
    ).one()
    return int(row[0]), int(row[1]) + 1


def unit(generation_id: str, number: int) -> ColumnElement[bool]:
    """Which row of `GenerationUnit`."""
    return and_(GenerationUnit.generation_id == generation_id, GenerationUnit.number == number)


def give_up_open(session: Session, generation_id: str, error: Mapping[str, Any]) -> int:
    """End every unit that was not answered. Returns how many."""
    return asked.give_up(session, GenerationUnit, GenerationUnit.generation_id == generation_id, error)


def number_lines(session: Session, generation_id: str) -> int:
    """Give every kept row its line in the version: subject by subject, what the material gave first."""
    rows = session.execute(
        text(
            "UPDATE generation_rows r SET line = n.line FROM ("
            "SELECT id, row_number() OVER (ORDER BY subject, unit, place) AS line FROM generation_rows "
            "WHERE generation_id = :id AND kept) AS n WHERE r.id = n.id RETURNING r.id"
        ),
        {"id": generation_id},
    )
    return len(rows.all())


def kept_rows(session: Session, generation_id: str) -> Sequence[GenerationRow]:
    """In the order of the version's lines."""
    return session.scalars(
        select(GenerationRow)
        .where(GenerationRow.generation_id == generation_id, GenerationRow.kept)
        .order_by(GenerationRow.subject, GenerationRow.unit, GenerationRow.place)
    ).all()


def ask(session: Session, generation_id: str, values: Mapping[str, Any]) -> None:
    """Write a person's wish and have the row looked at now; a parked one is taken up again."""
    session.execute(
        update(Generation)
        .where(Generation.id == generation_id)
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


def is_cancel_requested(session: Session, generation_id: str) -> bool:
    return bool(
        session.scalar(select(Generation.cancel_requested_at.is_not(None)).where(Generation.id == generation_id))
    )


def heed_cancel(session: Session, generation_id: str) -> None:
    """Let no finished step put the next look behind a wish to cancel that was written meanwhile."""
    session.execute(
        update(Generation)
        .where(
            Generation.id == generation_id,
            Generation.cancel_requested_at.is_not(None),
            Generation.next_check_at.is_not(None),
        )
        .values(next_check_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
