"""Jobs that somebody else made at Azure: listed, adopted with their files, and followed like any other."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from lives import Emulator, Life, head, quick, until
from servers import make_project
from sqlalchemy import text
from starlette.testclient import TestClient
from strays import plant_job, sweep, tags

import examples
from app.adoptions.schemas import AdoptionRead, AdoptRemoteJob
from app.adoptions.service import AdoptionService
from app.adoptions.steps import AdoptionSteps
from app.bootstrap import open_workbench
from app.datasets.schemas import DatasetCreate
from app.datasets.service import DatasetService
from app.jobs.schemas import JobResume
from app.jobs.service import JobService
from app.kit.errors import Conflict, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page
from app.models.service import ModelService
from app.settings import Settings
from app.workbench import Workbench
from worker.reactions import react

CONTENT = head(examples.load("travel").training, 12)


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


def in_portal(azure: Emulator, *, filename: str = "kyoto tours.jsonl", **fields: Any) -> tuple[str, str]:
    """A file and a job of it, made by somebody else; their ids at Azure."""
    file_id = portal_file(azure, filename)
    return file_id, portal_job(azure, file_id, **fields)


def portal_file(azure: Emulator, filename: str = "kyoto tours.jsonl") -> str:
    made = azure.post("/portal", {"action": "create_file", "content": CONTENT.decode(), "filename": filename})
    return str(made["id"])


def portal_job(azure: Emulator, file_id: str, **fields: Any) -> str:
    job = {"model": "gpt-4.1-mini", "training_file": file_id, "trainingType": "GlobalStandard", **fields}
    made = azure.post("/portal", {"action": "create_job", "hyperparameters": {"n_epochs": 2}, **job})
    return str(made["id"])


def adopt(life: Life, remote_id: str, **wanted: Any) -> AdoptionRead:
    """Asked for, and taken as far as it goes by what workers would do."""
    service, steps = AdoptionService(life.bench), AdoptionSteps(life.bench)
    asked = service.adopt(life.caller, "emulator", remote_id, AdoptRemoteJob(**wanted))

    def look() -> AdoptionRead | None:
        steps.advance(asked.id)
        shown = service.get(life.caller.project_id, asked.id)
        for role in (shown.training, shown.validation):
            if role is not None and role.version is not None:
                DatasetService(life.bench).check(role.version)
        return None if shown.status == "reading" and shown.parked_reason is None else shown

    return until(look)


def ledger_lines(life: Life) -> int:
    with life.bench.read() as session:
        return int(session.execute(text("SELECT count(*) FROM ledger")).scalar_one())


def test_a_job_made_in_the_portal_becomes_a_job_with_its_data_curve_checkpoints_and_model(
    client: TestClient, life: Life, azure: Emulator
) -> None:
    file_id, remote_id = in_portal(azure, suffix="kyoto", metadata={"team": "web"})
    listed = client.get("/v1/connections/emulator/remote-jobs").json()
    assert [(job["remote_id"], job["state"], job["job"]) for job in listed["data"]] == [
        (remote_id, "adoptable", None)
    ]
    asked = client.post(f"/v1/connections/emulator/remote-jobs/{remote_id}/adopt", json={})
    assert (asked.status_code, asked.json()["status"]) == (202, "reading")
    assert asked.headers["Location"] == f"/v1/adoptions/{asked.json()['id']}"

    adopted = adopt(life, remote_id)
    assert (adopted.status, adopted.id, adopted.error) == ("adopted", asked.json()["id"], None)
    assert adopted.training is not None
    version = life.version("kyoto-tours@1")
    assert (adopted.training.version, adopted.training.file) == (version.id, file_id)
    assert version.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (version.lineage["source"], version.lineage["job"]) == ("azure_file", remote_id)

    assert adopted.job is not None
    job = life.drive(adopted.job, until_status={"succeeded", "failed", "cancelled"})
    assert (job.status, job.origin, job.suffix) == ("succeeded", "elsewhere", "kyoto")
    assert job.user_metadata == {"team": "web"}
    assert job.cost_usd
    assert ledger_lines(life) == 0
    jobs = JobService(life.bench)
    assert len(jobs.results(life.caller.project_id, job.id).points) > 0
    assert jobs.results_csv(life.caller.project_id, job.id).startswith(b"step,")
    assert len(jobs.checkpoints(life.caller.project_id, job.id)) > 0
    life.tidy(job.id)
    until(lambda: None if react(life.bench) else True)
    (model, *_) = ModelService(life.bench).page(life.caller.project_id, Page()).rows
    lineage = ModelService(life.bench).read(life.caller.project_id, model.id).lineage
    assert lineage.training is not None
    assert lineage.training.sha256 == version.sha256

    assert azure.requests("files.delete") == []
    report = sweep(life)
    assert report.strays.found == 0
    listed = client.get("/v1/connections/emulator/remote-jobs").json()
    assert [(item["state"], item["job"]) for item in listed["data"]] == [("followed", job.id)]
    again = client.post(f"/v1/connections/emulator/remote-jobs/{remote_id}/adopt", json={})
    assert (again.status_code, again.json()["job"]) == (202, job.id)


def test_a_job_that_still_trains_is_adopted_and_watched_to_its_end(life: Life, azure: Emulator) -> None:
    file_id = portal_file(azure)
    azure.put("/clock", {"mode": "manual"})
    try:
        remote_id = portal_job(azure, file_id)
        adopted = adopt(life, remote_id, dataset="tours")
        assert adopted.job is not None
        job = life.drive(adopted.job, until_status={"queued", "running"})
        assert job.status in {"queued", "running"}
        assert life.version("tours@1").id == job.training_version_id
    finally:
        azure.put("/clock", {"mode": "instant"})
    assert life.drive(adopted.job, until_status={"succeeded", "failed", "cancelled"}).status == "succeeded"
    assert ledger_lines(life) == 0


def test_where_azure_has_no_data_any_more_the_job_comes_with_its_data_unknown(life: Life, azure: Emulator) -> None:
    file_id, remote_id = in_portal(azure)
    azure.post("/portal", {"action": "delete_file", "id": file_id})
    adopted = adopt(life, remote_id)
    assert adopted.status == "adopted"
    assert adopted.training is not None
    assert adopted.training.version is None
    assert (adopted.training.problem or {})["code"] == "file_is_gone"
    assert adopted.job is not None
    job = life.drive(adopted.job, until_status={"succeeded", "failed", "cancelled"})
    assert (job.status, job.training_version_id) == ("succeeded", None)
    life.tidy(job.id)
    until(lambda: None if react(life.bench) else True)
    (model, *_) = ModelService(life.bench).page(life.caller.project_id, Page()).rows
    assert ModelService(life.bench).read(life.caller.project_id, model.id).lineage.training is None


def test_a_file_that_azure_refuses_to_give_is_told_with_azures_words(life: Life, azure: Emulator) -> None:
    _, remote_id = in_portal(azure)
    refusal = {"error": {"code": "forbidden_content", "message": "Not allowed to download files of this purpose."}}
    azure.strike("files.content", times=1, status=400, body=refusal)
    adopted = adopt(life, remote_id)
    assert adopted.training is not None
    assert adopted.training.version is None
    assert "Not allowed to download" in (adopted.training.problem or {})["message"]


def test_a_version_that_a_person_names_is_taken_and_nothing_is_downloaded(life: Life, azure: Emulator) -> None:
    known = life.dataset("tours", CONTENT)
    _, remote_id = in_portal(azure)
    adopted = adopt(life, remote_id, training="tours@1")
    assert adopted.training is not None
    assert adopted.training.version == known.id
    assert azure.requests("files.content") == []


def test_a_name_that_holds_data_of_another_method_fails_and_asking_again_begins_anew(
    life: Life, azure: Emulator
) -> None:
    DatasetService(life.bench).create(life.caller.project_id, DatasetCreate(name="tours", method="dpo"))
    _, remote_id = in_portal(azure)
    failed = adopt(life, remote_id, dataset="tours")
    assert failed.status == "failed"
    assert (failed.error or {})["code"] == "data-of-another-method"
    again = adopt(life, remote_id, dataset="tours-sft")
    assert (again.status, again.id, again.error) == ("adopted", failed.id, None)


def test_a_job_that_azure_does_not_know_fails_in_words(life: Life) -> None:
    failed = adopt(life, "ftjob-nobody")
    assert (failed.status, (failed.error or {})["code"]) == ("failed", "not_at_azure")


def test_what_carries_our_mark_is_a_stray_and_not_adopted_here(life: Life, azure: Emulator) -> None:
    ours = plant_job(azure, tags(life, new_id("job")))
    shown = AdoptionService(life.bench).remote_jobs(life.caller.project_id, "emulator", limit=20, after=None)
    assert [(job.remote_id, job.state) for job in shown.data] == [(ours, "marked")]
    failed = adopt(life, ours)
    assert (failed.status, (failed.error or {})["code"]) == ("failed", "carries_our_mark")


def test_a_job_that_another_project_follows_on_the_same_resource_is_not_shown_and_not_there(
    life: Life, bench: Workbench, azure: Emulator
) -> None:
    _, remote_id = in_portal(azure)
    assert adopt(life, remote_id).status == "adopted"
    other = Life.begin(bench, make_project(bench, "neighbours").id, azure.url)
    other.connect()
    service = AdoptionService(bench)
    shown = service.remote_jobs(other.caller.project_id, "emulator", limit=20, after=None)
    assert (shown.data, shown.left_out) == ([], 1)
    with pytest.raises(NotFound, match="no job"):
        service.adopt(other.caller, "emulator", remote_id, AdoptRemoteJob())
    own = life.connect(name="again")
    with pytest.raises(Conflict, match="follows it already"):
        service.adopt(life.caller, own, remote_id, AdoptRemoteJob())


def test_two_projects_that_ask_at_once_make_one_row(life: Life, bench: Workbench, azure: Emulator) -> None:
    _, remote_id = in_portal(azure)
    other = Life.begin(bench, make_project(bench, "neighbours").id, azure.url)
    other.connect()
    asked = AdoptionService(bench).adopt(other.caller, "emulator", remote_id, AdoptRemoteJob())
    assert adopt(life, remote_id).status == "adopted"
    AdoptionSteps(bench).advance(asked.id)
    second = AdoptionService(bench).get(other.caller.project_id, asked.id)
    assert second.training is not None
    DatasetService(bench).check(str(second.training.version))

    def told() -> bool | None:
        AdoptionSteps(bench).advance(asked.id)
        shown = AdoptionService(bench).get(other.caller.project_id, asked.id)
        return True if shown.status == "failed" and (shown.error or {})["code"] == "not_at_azure" else None

    until(told)
    with bench.read() as session:
        count = session.execute(text("SELECT count(*) FROM jobs WHERE remote_id = :id"), {"id": remote_id}).scalar()
    assert count == 1


def test_a_key_that_may_not_write_datasets_adopts_nothing(client: TestClient, life: Life, azure: Emulator) -> None:
    _, remote_id = in_portal(azure)
    weak = client.post("/v1/api-keys", json={"name": "weak", "scopes": ["jobs:write"]}).json()["secret"]
    asked = client.post(
        f"/v1/connections/emulator/remote-jobs/{remote_id}/adopt",
        json={},
        headers={"Authorization": f"Bearer {weak}"},
    )
    assert (asked.status_code, "datasets:write" in asked.json()["detail"]) == (403, True)
    assert client.get("/v1/adoptions").json()["data"] == []


def test_a_paused_job_of_others_is_not_resumed_on_a_budget_that_never_bore_it(life: Life, azure: Emulator) -> None:
    _, remote_id = in_portal(azure)
    adopted = adopt(life, remote_id)
    assert adopted.job is not None
    with pytest.raises(Conflict, match="made elsewhere"):
        JobService(life.bench).resume(life.caller, adopted.job, JobResume())
