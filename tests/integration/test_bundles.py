"""A model's training packed, brought into another project, and packed again; and archives that are not taken."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from servers import Project
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.datasets.service import DatasetService
from app.exports.service import Arriving
from app.kit.errors import Invalid
from app.kit.pagination import Page
from app.models.service import ModelService
from app.settings import Settings
from app.upkeep.janitor import leftovers
from app.workbench import Workbench
from worker.reactions import react


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


@pytest.fixture
def model(life: Life, azure: Emulator) -> str:
    """The name of a model that was trained here."""
    training, validation = life.example(lines=12)
    job = life.job("emulator", training, validation, suffix="kyoto", seed=7)
    assert life.drive(job, until_status={"succeeded", "failed", "cancelled"}).status == "succeeded"
    life.tidy(job)
    until(lambda: None if react(life.bench) else True)
    models = ModelService(life.bench).page(life.caller.project_id, Page(limit=50)).rows
    return next(model.name for model in models if model.kind == "final")


def check_all(bench: Workbench, project: Project) -> None:
    datasets = DatasetService(bench)
    for dataset in datasets.page(project.id, Page()).rows:
        for version in datasets.version_page(project.id, dataset.id, Page()).rows:
            datasets.check(version.id)


def test_export_import_and_export_again_are_the_same_bytes_in_another_project(
    client: TestClient, stranger: TestClient, second_project: Project, model: str, bench: Workbench
) -> None:
    packed = client.get(f"/v1/models/{model}/bundle.zip", params={"content": "true"})
    assert packed.status_code == 200, packed.text
    assert client.get(f"/v1/models/{model}/bundle.zip", params={"content": "true"}).content == packed.content

    brought = stranger.post("/v1/bundles", content=packed.content)
    assert brought.status_code == 201, brought.text
    (run,) = brought.json()["data"]
    assert (run["origin"], run["status"], run["name"], run["problems"]) == ("kitae", "succeeded", model, [])
    check_all(bench, second_project)
    again = stranger.get(f"/v1/runs/{run['id']}/bundle.zip", params={"content": "true"})
    assert again.content == packed.content

    lean = client.get(f"/v1/models/{model}/bundle.zip").content
    assert stranger.get(f"/v1/runs/{run['id']}/bundle.zip").content == lean
    assert len(lean) < len(packed.content)

    once_more = stranger.post("/v1/bundles", content=packed.content).json()
    assert ([item["id"] for item in once_more["data"]], once_more["known"]) == ([run["id"]], 1)
    detail = stranger.get(f"/v1/runs/{run['id']}").json()
    assert detail["facts"]["seed"] == 7
    assert {"run.json", "points.jsonl", "events.jsonl", "results.csv", "plan.json"} <= set(detail["documents"])
    assert stranger.get("/v1/runs").json()["data"][0]["id"] == run["id"]
    assert client.get("/v1/runs").json()["data"] == []
    assert client.get(f"/v1/runs/{run['id']}").status_code == 404

    results = client.get(f"/v1/jobs/{detail['facts']['job']['id']}/results.csv").content
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("results.csv"))
        assert archive.read(name) == results
    theirs = stranger.get("/v1/datasets/travel/versions/1").json()
    ours = client.get("/v1/datasets/travel/versions/1").json()
    assert theirs["content_sha256"] == ours["content_sha256"]
    assert theirs["lineage"]["source"] == "bundle"
    with bench.read() as session:
        assert leftovers(session, list(bench.storage.objects())) == {}


def test_without_its_content_a_run_comes_and_says_what_is_not_there(
    client: TestClient, stranger: TestClient, model: str
) -> None:
    lean = client.get(f"/v1/models/{model}/bundle.zip").content
    (run,) = stranger.post("/v1/bundles", content=lean).json()["data"]
    assert run["training"] is None
    assert [problem["code"] for problem in run["problems"]] == ["content_not_there"] * 2


def test_a_card_tells_data_parameters_curve_and_costs_and_escapes_what_people_wrote(
    client: TestClient, model: str
) -> None:
    text = client.get(f"/v1/models/{model}/card.md")
    assert text.headers["Content-Type"].startswith("text/markdown")
    version = client.get("/v1/datasets/travel/versions/1").json()
    for part in ("base_model:", f"# {model}", version["content_sha256"], "n\\_epochs", "## Checkpoints", "Seed 7"):
        assert part in text.text
    page = client.get(f"/v1/models/{model}/card.html")
    assert "<svg" in page.text
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_an_archive_that_was_changed_is_refused_whole(client: TestClient, model: str, bench: Workbench) -> None:
    packed = client.get(f"/v1/models/{model}/bundle.zip").content
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("run.json"))
    members[name] = members[name].replace(b'"seed": 7', b'"seed": 8')
    answer = client.post("/v1/bundles", content=packed_again(members))
    assert (answer.status_code, answer.json()["code"]) == (422, "bundle_refused")
    assert "is not what the manifest says" in answer.json()["detail"]
    assert client.get("/v1/runs").json()["data"] == []


def packed_again(members: dict[str, Any]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def test_a_bundle_larger_than_may_be_is_refused_while_it_arrives(life: Life) -> None:
    arriving = Arriving(10)
    arriving.write(b"12345")
    with pytest.raises(Invalid, match="larger than 10 bytes"):
        arriving.write(b"678901")
    arriving.file.close()


def test_a_run_of_another_project_is_not_there(client: TestClient, stranger: TestClient, model: str) -> None:
    (run,) = client.post("/v1/bundles", content=client.get(f"/v1/models/{model}/bundle.zip").content).json()["data"]
    assert run["training"] is not None
    for path in ("", "/bundle.zip", "/card.md", "/card.html"):
        assert stranger.get(f"/v1/runs/{run['id']}{path}").status_code == 404
        assert client.get(f"/v1/runs/{run['id']}{path}").status_code == 200
    assert json.loads(client.get(f"/v1/runs/{run['id']}").text)["source_id"].startswith("mdl_")
