"""A token that has expired, a key that is not accepted: renewed once, then a person is asked; no job fails of it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick
from servers import make_project
from sqlalchemy import text

from app.azure.adapter import AzureClients, azure_guard
from app.bootstrap import open_workbench
from app.connections.schemas import ConnectionCreate, ConnectionPatch
from app.connections.service import ConnectionService
from app.jobs.service import JobService
from app.jobs.states import JobStatus, SendState
from app.jobs.steps import JobSteps
from app.jobs.watch import ConnectionWatch
from app.settings import Settings


class Token(NamedTuple):
    token: str
    expires_on: int


@dataclass
class Identity:
    """What azure-identity would be: a new token at each sign-in, good for an hour as far as it knows."""

    sign_ins: list[str] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def get_token(self, *_scopes: str) -> Token:
        self.sign_ins.append(f"token-{next(self.numbers)}")
        return Token(self.sign_ins[-1], 9_999_999_999)


@pytest.fixture
def identity() -> Identity:
    return Identity()


@pytest.fixture
def life(settings: Settings, emulator_url: str, identity: Identity) -> Iterator[Life]:
    hasty = quick(settings, emulator_url)
    azure = AzureClients(azure_guard(hasty.allowed_origins), make_credential=lambda: identity, timeout_seconds=30)
    with open_workbench(hasty, azure=azure) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "tokens").id, emulator_url)
        Emulator(emulator_url).faults()


def a_job(life: Life) -> str:
    new = ConnectionCreate(name="entra", endpoint=life.emulator_url, region="swedencentral", auth="entra")
    connection = ConnectionService(life.bench).create(life.caller.project_id, new).id
    training, _ = life.example(lines=12)
    return life.job(connection, training)


def parked(life: Life, job_id: str) -> list[str]:
    with life.bench.read() as session:
        return list(
            session.scalars(
                text("SELECT data->>'reason' FROM events WHERE type = 'job.parked' AND subject_id = :id"),
                {"id": job_id},
            )
        )


def queueing(azure: Emulator) -> None:
    """Files are read at once; a job then stays queued for longer than any test."""
    azure.put("/pace", {"file_processing": 0.05, "queue": 3600})
    azure.put("/clock", {"mode": "real", "speed": 1})


@pytest.mark.fault
@pytest.mark.row(44)
def test_a_token_that_expires_in_the_middle_is_renewed_once_and_nobody_notices(
    life: Life, identity: Identity, emulator_url: str
) -> None:
    job_id = a_job(life)
    Emulator(emulator_url).strike("jobs.create", status=401, code="ExpiredAuthenticationToken", message="expired")

    job = life.drive(job_id, until_status={JobStatus.SUCCEEDED})

    assert job.status == JobStatus.SUCCEEDED, (job.parked_reason, job.last_error)
    assert len(identity.sign_ins) == 2
    assert len(Emulator(emulator_url).state()["jobs"]) == 1
    assert_invariants(life.bench, emulator_url)


@pytest.mark.fault
@pytest.mark.row(44)
@pytest.mark.parametrize("operation", ["files.upload", "jobs.create"])
def test_a_credential_that_is_refused_for_good_parks_the_job_as_auth_and_costs_it_nothing(
    operation: str, life: Life, identity: Identity, emulator_url: str
) -> None:
    azure = Emulator(emulator_url)
    job_id = a_job(life)
    azure.strike(operation, times=1000, status=401, code="Unauthorized", message="Not this one.")

    job = life.drive(job_id, until_status={JobStatus.FAILED, JobStatus.SUCCEEDED})

    assert (job.status in {JobStatus.PREPARING, JobStatus.SUBMITTING}, job.parked_reason) == (True, "auth")
    assert job.send_state == SendState.IDLE
    assert job.last_error is not None
    assert "Not this one." in str(job.last_error["remote"])
    assert parked(life, job_id) == ["auth"]
    assert len(azure.requests(operation)) == 2  # once more with the renewed token
    assert len(identity.sign_ins) == 2
    assert azure.state()["jobs"] == []
    assert_invariants(life.bench, emulator_url)  # it holds its reservation

    azure.faults()
    JobService(life.bench).retry(life.caller.project_id, job_id)
    assert life.drive(job_id, until_status={JobStatus.SUCCEEDED}).status == JobStatus.SUCCEEDED
    assert len(azure.state()["jobs"]) == 1


@pytest.mark.fault
@pytest.mark.row(44)
def test_a_key_that_is_refused_while_a_job_runs_loses_neither_the_job_nor_a_wish_to_cancel(
    life: Life, emulator_url: str
) -> None:
    azure, jobs = Emulator(emulator_url), JobService(life.bench)
    job_id = a_job(life)
    queueing(azure)
    try:
        job = life.drive(job_id, until_status={JobStatus.QUEUED, JobStatus.RUNNING})
        azure.strike("jobs.cancel", times=1000, status=401, code="Unauthorized", message="Not this one.")
        jobs.cancel(life.caller.project_id, job_id)
        JobSteps(life.bench).advance(job_id)
        job = life.read(job_id)
        assert (job.parked_reason, job.cancel_sent_at) == ("auth", None)
        azure.faults()
        assert jobs.wake_costly() == 0  # it rests for a minute
        with life.bench.begin() as work:
            work.session.execute(text("UPDATE jobs SET next_check_at = now() - interval '1 second'"))
        assert jobs.wake_costly() == 1
        assert life.drive(job_id, until_status={JobStatus.CANCELLED}).status == JobStatus.CANCELLED
    finally:
        azure.put("/clock", {"mode": "instant"})


@pytest.mark.fault
@pytest.mark.row(44)
def test_a_watch_whose_key_is_refused_goes_on_once_the_key_was_replaced(life: Life, emulator_url: str) -> None:
    azure = Emulator(emulator_url)
    connection = life.connect(name="keyed")
    training, _ = life.example(lines=12)
    job_id = life.job(connection, training)
    queueing(azure)
    try:
        life.drive(job_id, until_status={JobStatus.QUEUED, JobStatus.RUNNING})
        azure.strike("jobs.list", times=1000, status=401, code="Unauthorized", message="Not this one.")
        with life.bench.begin() as work:
            work.session.execute(text("UPDATE connections SET next_check_at = now() - interval '1 second'"))
        ConnectionWatch(life.bench).watch(connection)
        assert life.read(job_id).status in {JobStatus.QUEUED, JobStatus.RUNNING}
        azure.faults()
    finally:
        azure.put("/clock", {"mode": "instant"})  # the queue is skipped
    ConnectionService(life.bench).change(life.caller.project_id, connection, ConnectionPatch(api_key="another"))
    assert life.drive(job_id, until_status={JobStatus.SUCCEEDED}).status == JobStatus.SUCCEEDED
    with life.bench.read() as session:
        assert session.scalar(text("SELECT parked_reason FROM connections")) is None
