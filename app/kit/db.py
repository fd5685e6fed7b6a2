"""PostgreSQL as this house uses it: one declarative base, one engine, values that the database cannot refuse."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import orjson
import psycopg
from sqlalchemy import BigInteger, DateTime, MetaData, Numeric, String, create_engine, event
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

ID_LENGTH: Final = 40
"""Characters kept for an id: prefix, underscore and 26 of base32, with room to spare."""

RESTED_SECONDS: Final = 1.0
"""Asking before every use would cost a hot read as many round trips as its query."""

DEAD_LINE_SECONDS: Final = 30
"""A line to the database on which nothing was acknowledged for so long is given up. By default Linux waits two
hours for an idle one, and a worker's thread with it."""

Id = Annotated[str, mapped_column(String(ID_LENGTH, collation="C"))]
"""An id compared byte by byte, so that its order is the order of time in every locale."""


class Base(DeclarativeBase):
    """Every table of the service hangs here; names of constraints follow one convention so migrations can."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it from the class
        datetime: DateTime(timezone=True),
        Decimal: Numeric(18, 6),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        list[str]: ARRAY(String),
        int: BigInteger,
    }


def storable(value: Any) -> Any:
    """The value without what PostgreSQL refuses in text and jsonb: NUL and lone surrogates become U+FFFD."""
    if isinstance(value, str):
        clean = value.replace("\x00", "\ufffd")
        return clean.encode("utf-8", "replace").decode() if not clean.isascii() else clean
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [storable(item) for item in value]
    return value


def _to_json(value: Any) -> str:
    options = orjson.OPT_NON_STR_KEYS
    try:
        text = orjson.dumps(value, default=str, option=options)
    except TypeError:
        return orjson.dumps(storable(value), default=str, option=options).decode()
    if b"\\u0000" in text:
        text = orjson.dumps(storable(value), default=str, option=options)
    return text.decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the database may keep a connection of ours waiting, in seconds; 0 = without end."""

    statement_seconds: float = 30.0
    lock_seconds: float = 10.0
    idle_seconds: float = 60.0

    def options(self) -> str:
        """As libpq takes them. A commit is on disk when it is answered, whatever the server's default is: what we
        do at Azure afterwards must not be forgotten by a power cut.
        """
        milliseconds = {
            "statement_timeout": self.statement_seconds,
            "lock_timeout": self.lock_seconds,
            "idle_in_transaction_session_timeout": self.idle_seconds,
        }
        limits = [f"-c {name}={round(seconds * 1000)}" for name, seconds in milliseconds.items()]
        return " ".join(["-c timezone=UTC", "-c synchronous_commit=on", *limits])


def make_engine(
    url: str,
    *,
    pool_size: int = 10,
    application_name: str = "kitae",
    rested_seconds: float = RESTED_SECONDS,
    patience: Patience | None = None,
) -> Engine:
    """An engine on psycopg 3.

    Args:
        url: `postgresql://…`; the driver is added here.
        pool_size: connections kept; as many again may be opened under load.
        rested_seconds: a connection that lay in the pool longer is asked whether it lives before it is used again.
    """
    if url.startswith(("postgres://", "postgresql://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=10,
        json_serializer=_to_json,
        json_deserializer=orjson.loads,
        connect_args={
            "application_name": application_name,
            "connect_timeout": 5,
            "keepalives_idle": 15,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": DEAD_LINE_SECONDS * 1000,
            "options": (patience or Patience()).options(),
        },
    )
    _ask_rested_connections(engine, rested_seconds)
    return engine


def _ask_rested_connections(engine: Engine, rested_seconds: float) -> None:
    """Of a database that went away, callers see at most what happened to connections in use at that moment."""

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, entry: ConnectionPoolEntry) -> None:
        entry.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask(connection: Any, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        now = time.monotonic()
        if now - entry.info.get("rests_since", now) < rested_seconds:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error  # the pool throws its resting connections away and opens one
