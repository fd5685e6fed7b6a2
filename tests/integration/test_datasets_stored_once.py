"""The same content is stored once, whoever sent it, and nobody can tell."""

from pathlib import Path

from servers import Project
from starlette.testclient import TestClient

import examples
from app.datasets.service import DatasetService
from app.settings import Settings
from app.workbench import Workbench

CONTENT = examples.load("travel").training.read_bytes()


def place(settings: Settings, version_id: str) -> Path:
    return settings.data_dir / "objects" / "datasets" / version_id / "content"


def test_the_same_content_of_two_projects_rests_in_one_place_until_one_is_deleted(
    client: TestClient, stranger: TestClient, bench: Workbench, settings: Settings, second_project: Project
) -> None:
    answers = []
    for asked in (client, stranger):
        assert asked.post("/v1/datasets", json={"name": "travel"}).status_code == 201
        sent = asked.put("/v1/datasets/travel/content", content=CONTENT)
        assert sent.status_code == 202
        DatasetService(bench).check(sent.json()["id"])
        answers.append(asked.get("/v1/datasets/travel/versions/1").json())
    first, second = answers
    hidden = {"id", "dataset", "created_at", "checked_at"}
    assert {name: first[name] for name in first.keys() - hidden} == {
        name: second[name] for name in second.keys() - hidden
    }, "nothing tells the second that there is a first"
    assert first["id"] != second["id"]
    assert place(settings, first["id"]).samefile(place(settings, second["id"]))
    assert stranger.get(f"/v1/datasets/{first['dataset']}/versions/1").status_code == 404
    bench.storage.delete(f"datasets/{first['id']}/content")
    assert stranger.get("/v1/datasets/travel/versions/1/content").content == CONTENT


def test_sharing_with_what_is_gone_changes_nothing(bench: Workbench) -> None:
    with bench.storage.writer("datasets/one/content") as file:
        file.write(CONTENT)
    assert bench.storage.share("datasets/one/content", "datasets/none/content") is False
    with bench.storage.reader("datasets/one/content") as file:
        assert file.read() == CONTENT
    assert [item.key for item in bench.storage.objects()] == ["datasets/one/content"]
