"""All SQL of the triggers room."""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.kit import named
from app.kit.care import in_seconds
from app.triggers.tables import Receipt, Trigger


def add(session: Session, trigger: Trigger) -> None:
    session.add(trigger)
    session.flush()
    session.refresh(trigger)


def find_open(session: Session, trigger_id: str) -> Trigger | None:
    """For messages, which know nothing of projects."""
    return session.scalars(
        select(Trigger).where(Trigger.id == trigger_id, Trigger.archived_at.is_(None))
    ).one_or_none()


def is_previous_valid(session: Session, trigger: Trigger) -> bool:
    """Whether the secret before the last rotation still holds, on the database's clock."""
    now: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return trigger.previous_until is not None and now < trigger.previous_until


def replace_secret(session: Session, trigger_id: str, sealed: bytes, *, overlap_seconds: float) -> None:
    """A new secret; the one before holds on for a while."""
    named.change(
        session,
        Trigger,
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
