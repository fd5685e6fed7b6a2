"""An OpenAI account's history: read with its files, packed, brought in, and told again by its bundle."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from lives import Emulator, Life, head, quick, until
from servers import Project
from starlette.testclient import TestClient

import examples
from app.bootstrap import open_workbench
from app.cli.exits import Told
from app.cli.openai_history import Shelf, read_account, write_bundle
from app.datasets.service import DatasetService
from app.exports.bundle import unpack
from app.exports.openai_history import record_of
from app.settings import Settings
from app.workbench import Workbench

CONTENT = head(examples.load("travel").training, 12)


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


@pytest.fixture
def account(azure: Emulator) -> Iterator[httpx2.Client]:
    """Three ended jobs, one of them without its training file any more."""
    for number in range(3):
        name = {"action": "create_file", "content": CONTENT.decode(), "filename": f"tours-{number}.jsonl"}
        file = azure.post("/portal", name)
        job = {"model": "gpt-4.1-mini", "training_file": file["id"], "trainingType": "GlobalStandard"}
        hyperparameters = {"n_epochs": number + 1}
        azure.post(
            "/portal", {"action": "create_job", "hyperparameters": hyperparameters, "suffix": f"n{number}", **job}
        )
    headers = {"Authorization": "Bearer sk-test"}
    with httpx2.Client(base_url=f"{azure.url}/openai/v1", headers=headers, timeout=30) as client:

        def ended() -> bool | None:
            jobs = client.get("/fine_tuning/jobs").json()["data"]
            return all(job["status"] == "succeeded" for job in jobs) or None

        until(ended)
        azure.post("/portal", {"action": "delete_file", "id": file["id"]})
        yield client


def test_an_account_is_read_packed_and_brought_in_as_finished_history(
    account: httpx2.Client, azure: Emulator, life: Life, client: TestClient, project: Project, tmp_path: Path
) -> None:
    shelf, bundle = Shelf(tmp_path / "shelf"), tmp_path / "history.zip"
    read_account(account, shelf, most=1000, content=True)
    runs, size, told = write_bundle(shelf, bundle, content=True)
    assert (runs, size) == (3, bundle.stat().st_size)
    assert len(told) == 1
    assert "did not give" in told[0]

    before = len(azure.requests("files.content"))
    read_account(account, shelf, most=1000, content=True)
    assert len(azure.requests("files.content")) == before
    first = bundle.read_bytes()
    write_bundle(shelf, bundle, content=True)
    assert bundle.read_bytes() == first

    brought = client.post("/v1/bundles", content=first)
    assert brought.status_code == 201, brought.text
    found = {run["name"]: run for run in brought.json()["data"]}
    assert {run["origin"] for run in found.values()} == {"openai"}
    assert {run["status"] for run in found.values()} == {"succeeded"}
    assert found["n2"]["training"] is None
    DatasetService(life.bench).check(found["n0"]["training"])
    version = life.version(found["n0"]["training"])
    with DatasetService(life.bench).content(project.id, version.id) as (_, file):
        assert file.read() == CONTENT
    detail = client.get(f"/v1/runs/{found['n1']['id']}").json()
    assert detail["facts"]["used_hyperparameters"]["n_epochs"] == 2
    assert detail["analysis"]["verdict"]
    assert len(detail["checkpoints"]) > 0
    assert "<svg" in client.get(f"/v1/runs/{found['n1']['id']}/card.html").text
    assert client.post("/v1/bundles", content=first).json()["known"] == 3


def test_a_reading_that_broke_off_goes_on_with_the_jobs_that_are_not_there(
    account: httpx2.Client, azure: Emulator, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "shelf")
    read_account(account, shelf, most=1, content=True)
    assert len(shelf.names("jobs")) == 1
    read_account(account, shelf, most=1000, content=True)
    assert len(shelf.names("jobs")) == 3
    assert len(azure.requests("jobs.events")) == 3


def test_nothing_read_is_nothing_packed(tmp_path: Path) -> None:
    with pytest.raises(Told, match="holds no job"):
        write_bundle(Shelf(tmp_path), tmp_path / "none.zip", content=True)


def test_a_name_that_leads_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Told, match="no name for a file"):
        Shelf(tmp_path).put_json("jobs", "../../evil", {})


def test_results_in_base64_become_plain_and_a_failed_job_has_a_record_too() -> None:
    table = b"step,train_loss,train_accuracy\n1,2.0,0.4\n2,1.5,0.5\n"
    job = {"id": "ftjob-1", "status": "succeeded", "model": "gpt-4o-mini", "created_at": 1762161150}
    record = record_of(job, events=[], checkpoints=[], results=base64.b64encode(table), files={})
    assert record.documents["results.csv"] == table
    assert [point.step for point in record.curve().points] == [1, 2]
    failed = record_of({"id": "ftjob-2", "status": "failed"}, events=[], checkpoints=[], results=None, files={})
    assert (failed.check().status, failed.check().model) == ("failed", None)


def test_the_bundle_of_an_account_holds_each_content_once(account: httpx2.Client, tmp_path: Path) -> None:
    shelf, bundle = Shelf(tmp_path / "shelf"), tmp_path / "history.zip"
    read_account(account, shelf, most=1000, content=True)
    write_bundle(shelf, bundle, content=True)
    opened = unpack(io.BytesIO(bundle.read_bytes()), data_bytes_max=1 << 20)
    assert (len(opened.records), len(opened.contents)) == (3, 1)
