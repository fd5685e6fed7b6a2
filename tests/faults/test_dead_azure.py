"""Azure answers 5xx for a long while: few calls are made, nothing is parked for it, and cancelling goes through."""

from collections.abc import Iterator

import pytest
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from servers import make_project
from sqlalchemy import text

from app.bootstrap import open_workbench
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.steps import JobSteps
from app.settings import Settings

LOOKS = 30


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick(settings, emulator_url, circuit_rest_seconds=0.3)) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "dead").id, emulator_url)
        Emulator(emulator_url).faults()
        Emulator(emulator_url).put("/clock", {"mode": "instant"})


def look_now(life: Life) -> None:
    """Every row is due at once, as after a long time."""
    with life.bench.begin() as work:
        work.session.execute(text("UPDATE jobs SET next_check_at = now() WHERE next_check_at IS NOT NULL"))


@pytest.mark.fault
@pytest.mark.row(22)
def test_in_a_long_outage_few_calls_are_made_no_job_parks_and_a_cancel_goes_through(
    life: Life, emulator_url: str
) -> None:
    azure, steps, jobs = Emulator(emulator_url), JobSteps(life.bench), JobService(life.bench)
    azure.put("/pace", {"file_processing": 0.05, "queue": 3600})
    azure.put("/clock", {"mode": "real", "speed": 1})
    connection = life.connect()
    training, _ = life.example(lines=12)
    running = life.job(connection, training)
    life.drive(running, until_status={JobStatus.QUEUED, JobStatus.RUNNING})
    waiting = [life.job(connection, training) for _ in range(3)]
    dead = [{"match": {"operation": name}, "do": {"status": 503}} for name in ("files.upload", "files.list")]
    before = len(azure.requests("files.upload")) + len(azure.requests("files.list"))
    azure.faults(*dead)

    for _ in range(LOOKS):
        for job_id in waiting:
            steps.advance(job_id)
        look_now(life)
    calls = len(azure.requests("files.upload")) + len(azure.requests("files.list")) - before
    assert calls < LOOKS, "three jobs looked thirty times each"
    assert [life.read(job_id).parked_reason for job_id in waiting] == [None] * 3

    jobs.cancel(life.caller.project_id, running)
    steps.advance(running)
    assert life.read(running).cancel_sent_at is not None
    azure.faults()
    azure.put("/clock", {"mode": "instant"})

    def ended() -> bool | None:
        for job_id in (*waiting, running):
            look_now(life)
            steps.advance(job_id)
        found = {life.read(job_id).status for job_id in (*waiting, running)}
        return True if found == {JobStatus.SUCCEEDED, JobStatus.CANCELLED} else None

    until(ended, seconds=120)
    assert len(azure.state()["jobs"]) == 4
    assert_invariants(life.bench, emulator_url)


@pytest.mark.fault
@pytest.mark.row(22)
def test_a_cancel_against_a_dead_azure_does_not_spin_and_is_never_forgotten(life: Life, emulator_url: str) -> None:
    azure, steps, jobs = Emulator(emulator_url), JobSteps(life.bench), JobService(life.bench)
    azure.put("/pace", {"file_processing": 0.05, "queue": 3600})
    azure.put("/clock", {"mode": "real", "speed": 1})
    connection = life.connect()
    training, _ = life.example(lines=12)
    job_id = life.job(connection, training)
    life.drive(job_id, until_status={JobStatus.QUEUED, JobStatus.RUNNING})
    azure.faults({"match": {"operation": "jobs.cancel"}, "do": {"status": 503}})
    jobs.cancel(life.caller.project_id, job_id)
    for _ in range(LOOKS):
        steps.advance(job_id)
        look_now(life)
        jobs.wake_costly()
    assert 1 <= len(azure.requests("jobs.cancel")) < LOOKS / 2
    azure.faults()

    def cancelled() -> bool | None:
        look_now(life)
        jobs.wake_costly()
        steps.advance(job_id)
        return True if life.read(job_id).status == JobStatus.CANCELLED else None

    until(cancelled)
    assert_invariants(life.bench, emulator_url)
