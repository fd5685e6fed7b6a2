"""A row whose step always fails or always kills its worker: parked after its attempts, and nobody else suffers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick
from nursery import Nursery
from servers import make_project

from app.bootstrap import open_workbench
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.settings import Settings

pytestmark = pytest.mark.fault
ATTEMPTS = 3


@pytest.fixture
def short(settings: Settings, emulator_url: str) -> Settings:
    return quick(
        settings,
        emulator_url,
        lease_seconds=1.0,
        redispatch_seconds=0.2,
        backoff_max_seconds=0.2,
        park_after_failures=ATTEMPTS,
    )


@pytest.fixture
def life(short: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(short) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "poison").id, emulator_url)
        assert_invariants(bench, emulator_url)


def test_an_installation_parks_after_eight_attempts_unless_told_otherwise() -> None:
    assert Settings(_env_file=None).park_after_failures == 8


@pytest.mark.row(45)
def test_a_job_that_kills_every_worker_is_parked_and_the_others_end(
    life: Life, short: Settings, nursery: Nursery, emulator_url: str, tmp_path: Path
) -> None:
    crew = Crew(nursery, short, tmp_path)
    training, _ = life.example(lines=12)
    connection = life.connect()
    poisoned = life.job(connection, training)
    for _ in range(ATTEMPTS):
        crew.killed_at("jobs.create.claimed")
    others = [life.job(connection, training) for _ in range(2)]
    crew.finish()  # one more claim finds that it was tried often enough

    row = life.read(poisoned)
    assert row.parked_reason is not None
    assert (row.last_error or {})["code"] == "crashed"
    assert [life.read(job).status for job in others] == [JobStatus.SUCCEEDED] * 2
    assert Emulator(emulator_url).requests("jobs.create")
    assert len(Emulator(emulator_url).state()["jobs"]) == 2

    JobService(life.bench).retry(life.caller.project_id, poisoned)
    crew.finish()
    assert life.read(poisoned).status == JobStatus.SUCCEEDED
    assert len(Emulator(emulator_url).state()["jobs"]) == 3


@pytest.mark.row(45)
def test_a_job_whose_step_always_fails_is_parked_and_the_others_end(
    life: Life, short: Settings, nursery: Nursery, emulator_url: str, tmp_path: Path
) -> None:
    crew = Crew(nursery, short, tmp_path)
    training, _ = life.example(lines=12)
    connection = life.connect()
    poisoned = life.job(connection, training)
    version = life.version(training)
    place = short.data_dir / "objects" / version.content_key
    content = place.read_bytes()
    place.unlink()  # what it would upload has gone
    crew.finish()
    row = life.read(poisoned)
    assert row.parked_reason is not None
    assert row.last_error is not None
    place.write_bytes(content)
    other = life.job(connection, training)
    crew.finish()
    assert life.read(other).status == JobStatus.SUCCEEDED
    JobService(life.bench).retry(life.caller.project_id, poisoned)
    crew.finish()
    assert life.read(poisoned).status == JobStatus.SUCCEEDED
