"""All SQL of the triggers room."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.kit.care import in_seconds
from app.kit.markers import marker
from app.kit.pagination import Page, Slice, keyset, slice_of
from app.triggers.tables import Receipt, Trigger


def add(session: Session, trigger: Trigger) -> None:
    session.add(trigger)
    session.flush()
    session.refresh(trigger)


def find(session: Session, project_id: str, ref: str) -> Trigger | None:
    """By id or by name, within one project."""
    return session.scalars(
        select(Trigger).where(
            Trigger.project_id == project_id,
            Trigger.archived_at.is_(None),
            or_(Trigger.id == ref, Trigger.name == ref),
        )
    ).one_or_none()


def find_open(session: Session, trigger_id: str) -> Trigger | None:
    """For messages, which know nothing of projects."""
    return session.scalars(
        select(Trigger).where(Trigger.id == trigger_id, Trigger.archived_at.is_(None))
    ).one_or_none()


def is_previous_valid(session: Session, trigger: Trigger) -> bool:
    """Whether the secret before the last rotation still holds, on the database's clock."""
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return trigger.previous_until is not None and now < trigger.previous_until


def page(session: Session, project_id: str, wanted: Page) -> Slice[Trigger]:
    statement = select(Trigger).where(Trigger.project_id == project_id, Trigger.archived_at.is_(None))
    return slice_of(session.scalars(keyset(statement, Trigger.id, wanted)).all(), wanted)


def lock_marker(session: Session, trigger_id: str) -> str:
    """The row's marker, with the row held until the transaction ends."""
    changed_at = session.scalars(select(Trigger.updated_at).where(Trigger.id == trigger_id).with_for_update()).one()
    return marker(trigger_id, changed_at)


def change(session: Session, trigger_id: str, values: dict[str, Any]) -> None:
    session.execute(
        update(Trigger)
        .where(Trigger.id == trigger_id)
        .values(updated_at=func.clock_timestamp(), **values)
        .execution_options(synchronize_session=False)
    )


def replace_secret(session: Session, trigger_id: str, sealed: bytes, *, overlap_seconds: float) -> None:
    """A new secret; the one before holds on for a while."""
    change(
        session,
        trigger_id,
        {
            "previous_secret_sealed": Trigger.secret_sealed,
            "previous_until": in_seconds(overlap_seconds),
            "secret_sealed": sealed,
        },
    )


def take(session: Session, receipt: Receipt) -> str | None:
    """Keep the receipt; where the message had come before, the hash of its body then."""
    row = {
        "trigger_id": receipt.trigger_id,
        "message_id": receipt.message_id,
        "body_sha256": receipt.body_sha256,
        "event_type": receipt.event_type,
    }
    new = session.execute(insert(Receipt).values(row).on_conflict_do_nothing().returning(Receipt.message_id))
    if new.one_or_none() is not None:
        session.execute(
            update(Trigger)
            .where(Trigger.id == receipt.trigger_id)
            .values(received_at=func.clock_timestamp())
            .execution_options(synchronize_session=False)
        )
        return None
    return session.scalars(
        select(Receipt.body_sha256).where(
            Receipt.trigger_id == receipt.trigger_id, Receipt.message_id == receipt.message_id
        )
    ).one()


def forget_older(session: Session, trigger_id: str, *, days: int, limit: int) -> None:
    """Throw some receipts away that no replay can reach any more."""
    old = (
        select(Receipt.message_id)
        .where(
            Receipt.trigger_id == trigger_id,
            Receipt.received_at < func.clock_timestamp() - func.make_interval(0, 0, 0, days),
        )
        .limit(limit)
    )
    session.execute(
        delete(Receipt)
        .where(Receipt.trigger_id == trigger_id, Receipt.message_id.in_(old))
        .execution_options(synchronize_session=False)
    )
