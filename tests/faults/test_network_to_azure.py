"""The line between a worker and Azure: reset, torn, silent, slow. One job each time, and no call outlasts its time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from servers import make_project
from tcp_proxy import Line, Spoiled, proxied

from app.azure.adapter import AzureClients, azure_guard
from app.azure.port import Unavailable
from app.bootstrap import open_workbench
from app.connections.service import ConnectionService
from app.datasets.files import op_key
from app.jobs.states import JobStatus, SendState
from app.jobs.steps import JobSteps
from app.kit import failpoints
from app.settings import Settings

pytestmark = pytest.mark.fault
ENDS = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
CALL_SECONDS = 1.0
"""Ceiling of one call in these tests."""
SLACK_SECONDS = 12.0
"""A busy machine may be late by so much; without a deadline for the whole call it would be far more."""


@pytest.fixture
def azure(emulator_url: str) -> Iterator[Emulator]:
    emulator = Emulator(emulator_url)
    emulator.reset()
    yield emulator
    emulator.faults()


@pytest.fixture
def line(emulator_url: str) -> Iterator[Line]:
    address = urlsplit(emulator_url)
    assert address.hostname
    assert address.port
    with proxied(address.hostname, address.port) as opened:
        yield opened


@pytest.fixture
def life(settings: Settings, line: Line, azure: Emulator) -> Iterator[Life]:
    url = f"http://127.0.0.1:{line.port}"
    short = quick(settings, url, settle_seconds=0.6, request_timeout_seconds=CALL_SECONDS)
    with open_workbench(short) as bench:
        yield Life.begin(bench, make_project(bench, "network").id, url)
        assert_invariants(bench)


@contextmanager
def working(life: Life, job_id: str) -> Iterator[None]:
    """A worker beside the test, until the job's next steps were taken by the test."""
    over = threading.Event()

    def work() -> None:
        steps = JobSteps(life.bench)
        while not over.is_set():
            steps.advance(job_id)
            over.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.row(20, 21)
@pytest.mark.parametrize(
    ("up", "down", "reached"),
    [
        (Spoiled(reset_after=0), Spoiled(), False),
        (Spoiled(), Spoiled(reset_after=0), True),
        (Spoiled(), Spoiled(cut_after=0), True),
        (Spoiled(blackhole=True), Spoiled(), None),
        (Spoiled(), Spoiled(blackhole=True), True),
        (Spoiled(), Spoiled(bytes_per_second=20), True),
        (Spoiled(bytes_per_second=200), Spoiled(), None),
    ],
    ids=[
        "reset-before",
        "reset-after",
        "torn-answer",
        "nothing-arrives",
        "silence",
        "a-byte-at-a-time",
        "slow-request",
    ],
)
def test_whatever_the_line_does_to_the_create_there_is_one_job_and_the_call_ends_in_time(
    up: Spoiled,
    down: Spoiled,
    reached: bool | None,  # noqa: FBT001  None: it may or may not have
    life: Life,
    azure: Emulator,
    line: Line,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)
    monkeypatch.setattr(failpoints, "_passes", {})
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "jobs.create.intent:pause:0.5")
    with working(life, job_id):
        until(lambda: True if life.read(job_id).send_state == SendState.SENT else None)
        line.up, line.down = up, down  # the worker stands between its intent and its POST
        began = time.monotonic()
        until(lambda: True if life.read(job_id).lease_owner is None else None)
        took = time.monotonic() - began
    assert life.read(job_id).send_state == SendState.SENT  # whatever happened, nobody knows it yet
    line.heal()
    line.cut()

    job = life.drive(job_id, until_status=ENDS)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error, job.parked_reason)
    assert len(azure.state()["jobs"]) == 1
    assert took < CALL_SECONDS + SLACK_SECONDS
    if reached is not None:
        assert job.attempt == (1 if reached else 2)


@pytest.mark.row(21)
def test_the_content_of_a_file_that_trickles_in_is_given_up(life: Life, line: Line, azure: Emulator) -> None:
    made = azure.post("/portal", {"action": "create_file", "filename": "long.jsonl", "content": "x" * 4_000})
    connections = ConnectionService(life.bench)
    target = connections.target_of(life.connect())
    clients = AzureClients(azure_guard({target.endpoint}), timeout_seconds=0.3)
    try:
        assert len(clients.data_plane(target).file_content(made["id"], max_bytes=10_000)) == 4_000
        line.down = Spoiled(bytes_per_second=100)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="slow"):
            clients.data_plane(target).file_content(made["id"], max_bytes=10_000)
        assert time.monotonic() - began < SLACK_SECONDS
    finally:
        clients.close()


@pytest.mark.row(28)
def test_an_upload_that_is_cut_short_is_sent_again(life: Life, line: Line, azure: Emulator) -> None:
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)
    line.up = Spoiled(cut_after=1_500)

    def uploading() -> bool | None:
        JobSteps(life.bench).advance(job_id)
        return True if life.read(job_id).last_error or line.passed_up >= 1_500 else None

    until(uploading)
    line.heal()
    job = life.drive(job_id, until_status=ENDS)
    life.tidy(job_id)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert len(azure.state()["jobs"]) == 1
    assert [file for file in azure.state()["files"] if file["purpose"] == "fine-tune"] == []


def plant(azure: Emulator, life: Life, job_id: str, name: Callable[[str], str]) -> None:
    """Other bytes under the name that our upload would have; the upload itself is lost."""
    azure.strike("files.upload", drop_before=True)
    azure.post("/portal", {"action": "create_file", "filename": name(job_id), "content": '{"torn": '})


@pytest.mark.row(28)
def test_other_bytes_under_our_name_are_deleted_and_the_right_ones_sent(life: Life, azure: Emulator) -> None:
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)
    plant(azure, life, job_id, lambda job: op_key(life.bench.policy.environment, job, "training", 1))

    job = life.drive(job_id, until_status=ENDS)
    life.tidy(job_id)

    assert job.status == JobStatus.SUCCEEDED, (job.error, job.last_error)
    assert len(azure.requests("files.upload")) == 2
    assert len(azure.requests("files.delete")) >= 2
    assert [file for file in azure.state()["files"] if file["purpose"] == "fine-tune"] == []


@pytest.mark.row(28)
def test_a_size_that_is_wrong_again_and_again_fails_the_job_before_anything_trains(
    life: Life, azure: Emulator
) -> None:
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)
    azure.faults(
        {"match": {"operation": "files.upload"}, "do": {"change": {"bytes": 7}}},
        {"match": {"operation": "files.list"}, "do": {"change": {"data.*.bytes": 7}}},
    )

    job = life.drive(job_id, until_status=ENDS)
    azure.faults()
    life.tidy(job_id)

    assert job.status == JobStatus.FAILED
    assert (job.error or {})["code"] == "azure_file_torn"
    assert azure.state()["jobs"] == []
    assert len(azure.requests("files.upload")) == 2
    assert [file for file in azure.state()["files"] if file["purpose"] == "fine-tune"] == []


@pytest.mark.row(28)
def test_a_file_that_ends_in_error_fails_the_job_with_azures_words_and_costs_nothing(
    life: Life, azure: Emulator
) -> None:
    training, _ = life.example(lines=12)
    job_id = life.job(life.connect(), training)
    azure.strike("files.upload", fate={"file_error": "These words are Azure's."})

    job = life.drive(job_id, until_status=ENDS)
    life.tidy(job_id)

    assert job.status == JobStatus.FAILED
    assert (job.error or {})["code"] == "azure_file_refused"
    assert "These words are Azure's." in str(job.error)
    assert azure.state()["jobs"] == []
    assert azure.state()["files"] == []
