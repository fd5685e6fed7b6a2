"""The log's table. Rows are only ever inserted."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, func, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

from app.kit.db import Base, Id


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "xid8"

    def result_processor(self, _dialect: Any, _coltype: Any) -> Any:
        return lambda value: None if value is None else int(value)


ischema_names.setdefault("xid8", Xid8)  # so that a look at the database knows the type, too


class EventRow(Base):
    """One fact.

    A reader that follows `seq` alone would skip a row whose transaction commits late. `transaction` is the
    writer's id; readers go in the order (transaction, seq) and stop below the oldest transaction still running,
    so what they have passed can never grow.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_order", "transaction", "seq"),
        Index("ix_events_project", "project_id", "transaction", "seq"),
        Index("ix_events_subject", "subject_id", "transaction", "seq"),
    )

    seq: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    id: Mapped[Id] = mapped_column(unique=True)
    transaction: Mapped[int] = mapped_column(Xid8(), server_default=text("pg_current_xact_id()"))
    project_id: Mapped[Id]
    type: Mapped[str]
    subject_id: Mapped[Id]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class EventCursor(Base):
    """How far a named reader (a reaction) has got."""

    __tablename__ = "event_cursors"

    name: Mapped[str] = mapped_column(primary_key=True)
    transaction: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    seq: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
