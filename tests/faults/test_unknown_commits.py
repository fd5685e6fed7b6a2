"""The connection to the database dies while COMMIT is under way: nobody knows whether it happened, and all goes on."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
import pytest
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from servers import make_project
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import OperationalError

from app.bootstrap import open_workbench
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.steps import JobSteps
from app.jobs.tables import Job
from app.jobs.watch import ConnectionWatch
from app.kit.ids import new_id
from app.settings import Settings
from app.workbench import Workbench

Cut = Literal["before", "after"]
"""Whether the server had committed when its process was ended."""


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    changes = {"lease_seconds": 0.4, "settle_seconds": 0.5, "park_after_failures": 40}
    with open_workbench(quick(settings, emulator_url, **changes)) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "commits").id, emulator_url)


@contextmanager
def dying_commits(bench: Workbench, url: str, *, share: float, cut: Cut) -> Iterator[list[int]]:
    """A share of commits loses its server process: before it took effect, or after and before it was told.

    Gives the numbers of those that died.
    """
    engine: Engine = bench.sessions.kw["bind"]
    chance, numbers, died = random.Random(17), itertools.count(1), list[int]()

    def die(connection: Connection) -> None:
        number = next(numbers)
        if chance.random() >= share:
            return
        died.append(number)
        raw: Any = connection.connection.dbapi_connection
        if cut == "after":
            raw.commit()
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [raw.info.backend_pid])
        if cut == "after":
            raw.close()  # so that the commit which follows here fails, as one whose answer is lost does

    event.listen(engine, "commit", die)
    try:
        yield died
    finally:
        event.remove(engine, "commit", die)


@pytest.mark.fault
@pytest.mark.row(17)
@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_job_of_which_every_fourth_commit_dies_still_has_one_life(
    cut: Cut, life: Life, settings: Settings, emulator_url: str
) -> None:
    assert settings.database_url is not None
    connection = life.connect()
    training, _ = life.example(lines=12)
    job_id = life.job(connection, training)
    steps, watch = JobSteps(life.bench), ConnectionWatch(life.bench)

    def look() -> Job | None:
        for step in (lambda: steps.advance(job_id), lambda: watch.watch(connection)):
            try:
                step()
            except OperationalError:
                continue  # as a worker: the task fails, the lease ends by itself
        job = life.read(job_id)
        return job if job.status == JobStatus.SUCCEEDED and job.next_check_at is None else None

    with dying_commits(life.bench, settings.database_url.get_secret_value(), share=0.25, cut=cut) as died:
        job = until(look)

    assert len(died) >= 4
    assert job.parked_reason is None
    state = Emulator(emulator_url).state()
    assert len(state["jobs"]) == 1
    assert [file for file in state["files"] if file["purpose"] == "fine-tune"] == []
    assert_invariants(life.bench, emulator_url)


@pytest.mark.fault
@pytest.mark.row(17)
@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_request_whose_commit_died_makes_one_job_when_it_is_asked_again(
    cut: Cut, life: Life, settings: Settings
) -> None:
    assert settings.database_url is not None
    training, _ = life.example(lines=12)
    wanted = JobCreate(connection=life.connect(), model="gpt-4.1-mini", training=training)
    jobs, reservation = JobService(life.bench), new_id("idr")

    with (
        dying_commits(life.bench, settings.database_url.get_secret_value(), share=1.0, cut=cut) as died,
        pytest.raises(OperationalError),
    ):
        jobs.create(life.caller, wanted, reservation_id=reservation)
    assert died == [1]
    made = jobs.create(life.caller, wanted, reservation_id=reservation)

    assert jobs.create(life.caller, wanted, reservation_id=reservation) == made
    with life.bench.read() as session:
        assert [row.id for row in session.query(Job)] == [made]
    assert_invariants(life.bench)
