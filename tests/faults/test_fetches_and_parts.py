"""kill -9 while bytes are on their way, in and out: a fetch goes on, and so does an upload to Azure in parts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick
from nursery import Nursery
from servers import make_project
from source_server import SourceServer, source_server

import examples
from app.bootstrap import open_workbench
from app.datasets.schemas import DatasetCreate, UrlSource
from app.datasets.service import DatasetService
from app.datasets.sources.fetches import FetchService
from app.jobs.states import JobStatus
from app.settings import Settings

CONTENT = examples.load("travel").training.read_bytes()
PART_BYTES = 4000


@pytest.fixture
def source() -> Iterator[SourceServer]:
    with source_server() as made:
        yield made


@pytest.fixture
def quick_settings(settings: Settings, emulator_url: str, source: SourceServer) -> Settings:
    return quick(
        settings,
        emulator_url,
        source_origins=frozenset({source.url}),
        lease_seconds=1.0,
        settle_seconds=0.5,
        redispatch_seconds=0.2,
        azure_parts_from_bytes=2 * PART_BYTES,
        azure_part_bytes=PART_BYTES,
    )


@pytest.fixture
def life(quick_settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick_settings) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "cuts").id, emulator_url)
        assert_invariants(bench)


@pytest.fixture
def workers(quick_settings: Settings, nursery: Nursery, tmp_path: Path) -> Crew:
    return Crew(nursery, quick_settings, tmp_path)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", ["fetches.piece.recorded", "fetches.version.recorded"])
def test_a_worker_killed_while_it_fetches_costs_no_byte_and_no_second_version(
    failpoint: str, life: Life, workers: Crew, source: SourceServer
) -> None:
    project = life.caller.project_id
    DatasetService(life.bench).create(project, DatasetCreate(name="travel"))
    content = CONTENT * 20
    url = source.put("/train.jsonl", content, cut_after=[700_000])
    fetches = FetchService(life.bench)
    begun = fetches.begin(project, "travel", UrlSource(type="url", url=url), filename=None, model=None)

    workers.killed_at(failpoint)
    workers.finish()

    ended = fetches.get(project, "travel", begun.id)
    assert (ended.status, ended.received_bytes) == ("fetched", len(content)), (ended.error, ended.last_error)
    version = life.version("travel@1")
    assert (version.id, version.bytes, version.status) == (ended.version, len(content), "ready")
    assert source.ranges_of("/train.jsonl") == [None, "bytes=700000-"]
    assert [item.key for item in life.bench.storage.objects() if item.key.startswith("fetches/")] == []


@pytest.mark.row(6)
@pytest.mark.fault
def test_a_worker_killed_after_the_second_of_four_parts_sends_each_part_once(
    life: Life, workers: Crew, emulator_url: str
) -> None:
    emulator = Emulator(emulator_url)
    connection = life.connect()
    life.dataset("travel", CONTENT[: CONTENT.index(b"\n", 3 * PART_BYTES) + 1])
    assert life.version("travel@1").content_bytes in range(3 * PART_BYTES + 1, 4 * PART_BYTES + 1)
    job_id = life.job(connection, "travel@1")

    workers.killed_at("files.part.recorded", nth=2)
    assert len(emulator.requests("uploads.part")) == 2
    workers.finish()

    job = life.read(job_id)
    assert job.status == JobStatus.SUCCEEDED, (job.status, job.error, job.last_error, job.parked_reason)
    assert [len(emulator.requests(f"uploads.{verb}")) for verb in ("start", "part", "complete")] == [1, 4, 1]
    assert emulator.requests("files.upload") == []
    assert len(emulator.state()["jobs"]) == 1


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("lost", ["drop_before", "drop_after"])
def test_an_answer_that_is_lost_when_the_parts_are_put_together_makes_no_second_file(
    lost: str, life: Life, emulator_url: str
) -> None:
    emulator = Emulator(emulator_url)
    connection = life.connect()
    life.dataset("travel", CONTENT[: CONTENT.index(b"\n", 3 * PART_BYTES) + 1])
    job_id = life.job(connection, "travel@1")
    emulator.strike("uploads.complete", **{lost: True})
    job = life.drive(job_id, until_status={"succeeded", "failed"})
    assert job.status == JobStatus.SUCCEEDED, (job.status, job.error, job.last_error, job.parked_reason)
    assert [len(emulator.requests(f"uploads.{verb}")) for verb in ("start", "part")] == [1, 4]
    assert len(emulator.requests("uploads.complete")) == (2 if lost == "drop_before" else 1)
    life.tidy(job_id)
    assert [file for file in emulator.state()["files"] if file["purpose"] == "fine-tune"] == []
    assert len(emulator.requests("files.delete")) == 1, "there was one"


@pytest.mark.row(6)
@pytest.mark.fault
def test_parts_that_azure_has_forgotten_are_sent_again_as_a_new_upload(life: Life, emulator_url: str) -> None:
    emulator = Emulator(emulator_url)
    connection = life.connect()
    life.dataset("travel", CONTENT[: CONTENT.index(b"\n", 3 * PART_BYTES) + 1])
    job_id = life.job(connection, "travel@1")
    emulator.faults(
        {"match": {"operation": "uploads.part"}, "when": {"after_n": 2, "first_n": 1}, "do": {"status": 503}},
        {"match": {"operation": "uploads.part"}, "when": {"after_n": 2, "first_n": 1}, "do": {"status": 404}},
    )
    job = life.drive(job_id, until_status={"succeeded", "failed"})
    assert job.status == JobStatus.SUCCEEDED, (job.status, job.error, job.last_error, job.parked_reason)
    assert [len(emulator.requests(f"uploads.{verb}")) for verb in ("start", "part")] == [2, 2 + 1 + 1 + 4]
