"""Pooled connections when the database ends them."""

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from app.kit.db import make_engine


def _number(engine: Engine) -> int:
    """Of the server process that answers."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def _two_numbers(engine: Engine) -> set[int]:
    with engine.connect() as first, engine.connect() as second:
        return {each.execute(text("SELECT pg_backend_pid()")).scalar_one() for each in (first, second)}


def _end_others(database_url: str) -> None:
    other = make_engine(database_url)
    with other.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()


def test_a_connection_that_died_while_it_rested_is_replaced_unnoticed(database_url: str) -> None:
    engine = make_engine(database_url, rested_seconds=0)
    before = _number(engine)
    assert _number(engine) == before
    _end_others(database_url)
    assert _number(engine) != before
    engine.dispose()


def test_one_dead_connection_takes_the_others_of_its_pool_along(database_url: str) -> None:
    engine = make_engine(database_url, rested_seconds=0)
    before = _two_numbers(engine)
    _end_others(database_url)
    after = _two_numbers(engine)
    assert len(before) == len(after) == 2
    assert not after & before
    engine.dispose()


def test_a_connection_used_a_moment_ago_is_not_asked_and_fails_once(database_url: str) -> None:
    engine = make_engine(database_url, rested_seconds=3600)
    before = _number(engine)
    _end_others(database_url)
    with pytest.raises(OperationalError):
        _number(engine)
    assert _number(engine) != before
    engine.dispose()
