"""The row of one request to a deployment: how often it was sent, what it cost, what came of it; and its SQL.

It must not know what is asked, or why. A chat has no idempotency key, so a request whose answer was lost is made
again and may be paid twice; every attempt without an answer is counted at the most it can have cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Mapped, Session, mapped_column

from app.azure.port import AzureError, NotThere, Throttled, is_of_credential
from app.workbench import describe

TRIES: Final = 3
"""After so many requests without an answer one is given up."""


class AskedColumns:
    """What the row of a request holds, besides what it asks."""

    __tablename__: str
    attempts: Mapped[int] = mapped_column(server_default="0")
    """How often it was sent, raised before it is; all but the answered one may have cost without telling."""
    attempts_usd: Mapped[Decimal] = mapped_column(server_default="0")
    """The most that the attempts without an answer may have cost."""
    answered_at: Mapped[datetime | None]
    """Null = still to be asked."""
    error: Mapped[dict[str, Any] | None]
    """Why no answer came that could be used."""
    finish_reason: Mapped[str | None]
    prompt_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    latency_seconds: Mapped[float | None]
    cost_usd: Mapped[Decimal | None]


@dataclass(frozen=True, slots=True)
class Tally:
    """How far the requests of one owner are, and what their answers came to."""

    units: int = 0
    answered: int = 0
    unanswered: int = 0
    """Answered by an error."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    answers_usd: Decimal = Decimal(0)
    lost_usd: Decimal = Decimal(0)
    """The most that requests without an answer may have cost."""
    lost: int = 0
    """How many requests got none."""


def tallies(
    session: Session, table: type[AskedColumns], owner: InstrumentedAttribute[str], owner_ids: Sequence[str]
) -> dict[str, Tally]:
    """Owner → how far it is; owners without requests are left out."""
    lost = table.attempts - case((table.answered_at.is_not(None) & table.error.is_(None), 1), else_=0)
    rows = session.execute(
        select(
            owner,
            func.count(),
            func.count(table.answered_at),
            func.count(table.error),
            func.coalesce(func.sum(table.prompt_tokens), 0),
            func.coalesce(func.sum(table.completion_tokens), 0),
            func.coalesce(func.sum(table.cost_usd), 0),
            func.coalesce(func.sum(table.attempts_usd), 0),
            func.coalesce(func.sum(case((table.attempts_usd > 0, lost), else_=0)), 0),
        )
        .where(owner.in_(owner_ids))
        .group_by(owner)
    )
    return {
        row[0]: Tally(
            units=row[1],
            answered=row[2],
            unanswered=row[3],
            prompt_tokens=int(row[4]),
            completion_tokens=int(row[5]),
            answers_usd=row[6],
            lost_usd=row[7],
            lost=int(row[8]),
        )
        for row in rows
    }


def send(session: Session, table: type[AskedColumns], which: ColumnElement[bool], most_usd: Decimal) -> None:
    """Note that it is about to be asked, and the most it may cost."""
    values = {"attempts": table.attempts + 1, "attempts_usd": table.attempts_usd + most_usd}
    _change(session, table, which, values)


def answer(
    session: Session,
    table: type[AskedColumns],
    which: ColumnElement[bool],
    most_usd: Decimal,
    values: Mapping[str, Any],
) -> None:
    """It is done; what it may have cost at most is replaced by what it did cost."""
    done = {"answered_at": func.clock_timestamp(), "attempts_usd": table.attempts_usd - most_usd, **values}
    _change(session, table, which, done)


def take_error(
    session: Session,
    table: type[AskedColumns],
    which: ColumnElement[bool],
    most_usd: Decimal,
    attempts: int,
    error: AzureError,
) -> AzureError | None:
    """Record that no answer came: a no costs nothing; silence may cost, so what was set aside for it stays spent.

    Args:
        attempts: before this one.

    Returns:
        The error when it should be asked again.
    """
    told_no = error.http_status is not None
    of_all = isinstance(error, Throttled | NotThere) or is_of_credential(error)
    last = attempts + 1 >= TRIES
    again = of_all or (not last and (error.http_status is None or error.http_status >= 500))
    if again and told_no:
        _change(session, table, which, {"attempts_usd": table.attempts_usd - most_usd})
    elif not again:
        answer(session, table, which, most_usd if told_no else Decimal(0), {"error": describe(error)})
    return error if again else None


def give_up(
    session: Session, table: type[AskedColumns], which: ColumnElement[bool], error: Mapping[str, Any]
) -> int:
    """End every one of these that was not answered. Returns how many."""
    given_up = session.execute(
        update(table)
        .where(which, table.answered_at.is_(None))
        .values(answered_at=func.clock_timestamp(), error=dict(error))
        .returning(table.attempts)
        .execution_options(synchronize_session=False)
    )
    return len(given_up.all())


def _change(
    session: Session, table: type[AskedColumns], which: ColumnElement[bool], values: Mapping[str, Any]
) -> None:
    session.execute(update(table).where(which).values(**values).execution_options(synchronize_session=False))
