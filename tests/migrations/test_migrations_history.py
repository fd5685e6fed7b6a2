"""The schema's history on a real PostgreSQL: one head, up and down and up, and nothing that no migration makes."""

import itertools
import os
from collections.abc import Iterator

import pytest
from psycopg import sql
from servers import Postgres
from sqlalchemy import text

from app.bootstrap import open_workbench
from app.cli.schema import check, migrate
from app.events.log import START, heal_after_restore, read_after
from app.settings import Settings

_numbers = itertools.count(1)


@pytest.fixture
def empty_url(postgres: Postgres) -> Iterator[str]:
    """A database without a table."""
    name = f"kitae_empty_{os.getpid()}_{next(_numbers)}"
    postgres.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres.url_of(name)
    postgres.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_migrations_have_one_head_go_up_down_and_up_and_leave_no_drift(empty_url: str) -> None:
    assert check(empty_url) == []


def test_migrating_twice_changes_nothing_the_second_time(empty_url: str, settings: Settings) -> None:
    fresh = settings.model_copy(update={"database_url": type(settings.database_url)(empty_url)})
    before, after = migrate(fresh)
    assert before is None
    assert after is not None
    assert migrate(fresh) == (after, after)


def test_events_of_an_older_cluster_are_readable_after_a_logical_restore(settings: Settings) -> None:
    with open_workbench(settings) as bench:
        with bench.begin() as work:
            work.announce("project.created", project_id="prj_x", subject_id="prj_x")
            work.announce("budget.changed", project_id="prj_x", subject_id="prj_x")
        with bench.begin() as work:
            work.session.execute(text("UPDATE events SET transaction = '900000000000'::xid8"))
        with bench.read() as session:
            assert read_after(session, START) == []
        with bench.begin() as work:
            assert heal_after_restore(work.session) == 2
        with bench.read() as session:
            assert [event.type for event in read_after(session, START)] == ["project.created", "budget.changed"]


def test_the_database_refuses_no_text_that_azure_may_send(settings: Settings) -> None:
    with open_workbench(settings) as bench:
        with bench.begin() as work:
            work.announce("odd", project_id="prj_x", subject_id="prj_x", said="NUL \x00 and half \ud800 a pair")
        with bench.read() as session:
            (event,) = read_after(session, START)
    assert event.data["said"].startswith("NUL \ufffd and half ")
    assert event.data["said"].endswith(" a pair")
