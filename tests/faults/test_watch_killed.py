"""kill -9 of a worker that watches: what was seen is kept, what was not is seen by the next, and a rule fires once."""

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from crew import Crew
from lives import Emulator, Life, quick, until
from nursery import Nursery
from servers import make_project
from sqlalchemy import text
from watched import Fleet

from app.bootstrap import open_workbench
from app.jobs.states import JobStatus
from app.jobs.watchdog import Spend, WatchPolicy
from app.settings import Settings

pytestmark = pytest.mark.fault


@pytest.fixture
def brief(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, watch_running_seconds=30, watch_details_max=0, lease_seconds=1.0)


@pytest.fixture
def life(brief: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(brief) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "killed").id, emulator_url)
        Emulator(emulator_url).reset()


@pytest.mark.row(6)
def test_a_worker_killed_between_two_pages_loses_no_job_and_the_next_goes_on_there(
    life: Life, brief: Settings, nursery: Nursery, tmp_path: Path, emulator_url: str
) -> None:
    fleet = Fleet.plant(life, 250)
    azure = Emulator(emulator_url)
    worker = Crew(nursery, brief, tmp_path).begin(failpoint="jobs.watch.listed:kill@3")
    assert worker.wait() == -signal.SIGKILL
    assert sum(job.remote_mark is not None for job in fleet.rows()) == 200
    before = len(azure.requests("jobs.list"))

    def all_seen() -> bool | None:
        fleet.go_on()  # nothing happens until the dead worker's lease has ended
        return all(job.remote_mark for job in fleet.rows()) or None

    until(all_seen)

    assert before == 3
    assert len(azure.requests("jobs.list")) == before + 1
    assert fleet.connection().watch_after is None
    assert not azure.requests("jobs.get")


@pytest.mark.row(6)
def test_a_worker_killed_while_a_rule_fires_leaves_one_alarm_and_one_cancelled_training(
    life: Life, settings: Settings, nursery: Nursery, tmp_path: Path, emulator_url: str
) -> None:
    azure = Emulator(emulator_url)
    azure.put("/clock", {"mode": "real", "speed": 100})
    pace = dict.fromkeys(("file_processing", "validate", "queue", "start", "evaluate"), 0.0)
    azure.put("/pace", {**pace, "step": 50})
    connection = life.connect()
    training, _ = life.example(lines=20)
    watch = WatchPolicy(rules=[Spend(usd=Decimal("0.0000001"), action="cancel")])
    job_id = life.job(connection, training, watch=watch)
    crew = Crew(nursery, quick(settings, emulator_url, lease_seconds=1.0, redispatch_seconds=0.2), tmp_path)

    crew.killed_at("jobs.watchdog.fired")
    crew.finish()

    with life.bench.read() as session:
        told = session.scalars(text("SELECT type FROM events WHERE subject_id = :job"), {"job": job_id}).all()
    assert told.count("job.watchdog") == 1
    assert life.read(job_id).status == JobStatus.CANCELLED
    assert len(azure.state()["jobs"]) == 1
    assert len(azure.requests("jobs.cancel")) == 1
