"""What Azure says of models and of a resource: read by a sweep, shown beside the catalogue, heeded by plans."""

from collections.abc import Iterator
from typing import Any

import pytest
from lives import Emulator, Life, quick
from starlette.testclient import TestClient
from strays import sweep

from app.bootstrap import open_workbench
from app.settings import Settings
from app.workbench import Workbench

MINI = "gpt-4.1-mini-2025-04-14"


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


def fact(model: dict[str, Any], name: str) -> dict[str, Any]:
    return next(dict(one) for one in model["facts"] if one["name"] == name)


def test_what_arm_says_is_read_by_a_sweep_wins_and_shows_who_says_otherwise(
    client: TestClient, life: Life, azure: Emulator
) -> None:
    before = client.get("/v1/base-models", params={"connection": "emulator"}).json()
    assert before["live"]["read_at"] is None
    assert {one["origin"] for model in before["data"] for one in model["facts"]} == {"catalogue"}

    azure.put("/models", {"gpt-4.1-mini": {"fine_tune": "2027-01-31", "lifecycle": "Deprecating"}})
    sweep(life)
    asked = len(azure.requests("arm_models.list"))
    merged = client.get("/v1/base-models", params={"connection": "emulator"}).json()
    assert merged["live"]["read_at"] is not None
    shown = next(model for model in merged["data"] if model["id"] == MINI)
    training = fact(shown, "training ends")
    assert (training["value"], training["origin"]) == ("2027-01-31", "arm")
    assert training["contradicted_by"][0]["value"] == "2027-04-14"
    assert fact(shown, "lifecycle")["value"] == "Deprecating"
    assert shown["tuned_capacity"]["Standard"] > 0
    one = client.get(f"/v1/base-models/{MINI}", params={"connection": "emulator"}).json()
    assert one["facts"] == shown["facts"]
    assert len(azure.requests("arm_models.list")) == asked, "a read calls nobody"

    sweep(life)
    assert len(azure.requests("arm_models.list")) == asked, "ARM is asked every few hours, not with every sweep"


def test_a_connection_of_another_project_is_not_found(client: TestClient, stranger: TestClient, life: Life) -> None:
    answer = stranger.get("/v1/base-models", params={"connection": "emulator"})
    assert (answer.status_code, answer.json()["code"]) == (404, "connection_not_found")


def test_a_model_whose_training_has_ended_by_arm_is_refused_before_anything_is_sent(
    client: TestClient, life: Life, azure: Emulator
) -> None:
    training, _ = life.example(lines=12)
    wanted = {"connection": "emulator", "model": "gpt-4.1-mini", "training": training}
    assert client.post("/v1/jobs", json=wanted | {"dry_run": True}).json()["ok"]

    azure.put("/models", {"gpt-4.1-mini": {"fine_tune": "2026-01-31"}})
    sweep(life)
    refused = client.post("/v1/jobs", json=wanted)
    assert (refused.status_code, refused.json()["code"]) == (422, "plan_refused")
    (error,) = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/model", "training-ended")
    assert "2026-01-31" in error["detail"]
    assert azure.requests("files.upload") == []


def test_a_resource_full_of_jobs_is_refused_with_where_it_could_run(
    client: TestClient, life: Life, azure: Emulator
) -> None:
    training, _ = life.example(lines=12)
    life.connect(name="again")  # to the same resource, so it is no way out
    azure.post("/portal", {"action": "create_jobs", "count": 100, "status": "cancelled"})
    sweep(life)
    plan = client.post(
        "/v1/jobs",
        json={"connection": "emulator", "model": "gpt-4.1-mini", "training": training, "dry_run": True},
    ).json()
    (full,) = [check for check in plan["checks"] if check["code"] == "jobs-full"]
    assert full["verdict"] == "error"
    assert "GlobalStandard training of it is listed for" in full["remedy"]
