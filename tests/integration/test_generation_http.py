"""Generation over HTTP: estimate, one deed for one key, what was left out, coverage, and nobody else's things."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from lives import Emulator, Life, quick, until
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.datasets.service import DatasetService
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.generation.steps import GenerationSteps
from app.settings import Settings
from app.workbench import Workbench

PAIR = {"question": "Where is the Contoso Lantern made?", "answer": "The Contoso Lantern is made in Lisbon."}
BODY: dict[str, Any] = {
    "deployment": "writer",
    "source": {"type": "paraphrases", "pairs": [PAIR], "phrasings": 10},
    "max_cost_usd": "1",
}


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, lease_seconds=5)) as opened:
        yield opened


@pytest.fixture
def asks(service: FastAPI, life: Life, azure: Emulator, client: TestClient) -> TestClient:
    """The project, with a dataset and a deployment that writes."""
    wanted = DeploymentCreate(model="gpt-4.1-mini", connection="emulator", name="writer", ttl_seconds=3600)
    made = DeploymentService(life.bench).create(life.caller, wanted)
    steps = DeploymentSteps(life.bench)

    def ready() -> bool | None:
        steps.advance(made.id)
        return client.get("/v1/deployments/writer").json()["status"] == "ready" or None

    until(ready)
    assert client.post("/v1/datasets", json={"name": "faq"}).status_code == 201
    return client


def test_the_estimate_comes_first_one_key_makes_one_generation_and_coverage_tells_what_it_has(
    asks: TestClient, bench: Workbench, stranger: TestClient
) -> None:
    estimate = asks.post("/v1/datasets/faq/generate", json={**BODY, "dry_run": True})
    assert (estimate.status_code, estimate.json()["object"]) == (200, "generation.estimate")
    assert asks.get("/v1/generations").json()["data"] == []

    key = {"Idempotency-Key": "once"}
    made = asks.post("/v1/datasets/faq/generate", json=BODY, headers=key)
    again = asks.post("/v1/datasets/faq/generate", json=BODY, headers=key)
    assert made.status_code == again.status_code == 202, made.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert made.json()["id"] == again.json()["id"]
    assert made.json()["reserved_usd"] == estimate.json()["high_usd"]
    path = made.headers["Location"]
    assert asks.get(path).json()["status"] == "running"
    assert stranger.get(path).status_code == stranger.post(f"{path}/cancel").status_code == 404
    assert stranger.get(f"{path}/rows").status_code == 404

    def ended() -> dict[str, Any] | None:
        GenerationSteps(bench).advance(made.json()["id"])
        found: dict[str, Any] = asks.get(path).json()
        return found if found["status"] != "running" else None

    done = until(ended)
    assert done["status"] == "succeeded"
    out = asks.get(f"{path}/rows", params={"kept": "false", "limit": 200}).json()["data"]
    assert len(out) == sum(done["rows_filtered"].values())
    assert all(row["meaning"] for row in out)
    assert asks.get("/v1/generations", params={"dataset": "faq"}).json()["data"][0]["id"] == done["id"]

    assert asks.get("/v1/datasets/faq/versions/1/coverage").status_code == 409  # still being checked
    from_service = _checked_coverage(asks, bench, done["version"])
    (fact,) = from_service["facts"]
    assert fact["fact"] == "Contoso Lantern"
    assert fact["questions"] == done["rows_kept"] + 1
    assert {"full-name", "short-name", "formal", "casual", "keywords"} <= set(fact["ways"])
    assert stranger.get("/v1/datasets/faq/versions/1/coverage").status_code == 404


def _checked_coverage(asks: TestClient, bench: Workbench, version: str) -> dict[str, Any]:
    DatasetService(bench).check(version)
    found = asks.get("/v1/datasets/faq/versions/1/coverage")
    assert found.status_code == 200, found.text
    shown: dict[str, Any] = found.json()
    return shown


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"deployment": "nobody"}, 404, "deployment_not_found"),
        ({"max_cost_usd": "0.0001"}, 422, "too_expensive"),
        ({"source": {"type": "paraphrases"}}, 422, None),
        ({"source": {"type": "paraphrases", "pairs": [PAIR], "styles": ["baroque"]}}, 422, "unknown_style"),
        (
            {"source": {"type": "paraphrases", "pairs": [PAIR, {**PAIR, "answer": "No."}]}},
            422,
            "conflicting_answer",
        ),
        ({"source": {"type": "paraphrases", "version": "faq"}}, 404, "version_not_found"),
        ({"source": {"type": "tool_use", "openapi": {}}}, 422, "openapi_unusable"),
        ({"source": {"type": "documents", "documents": [{"name": "a", "text": " \n "}]}}, 422, "empty_document"),
        ({"connection": "emulator"}, 422, "unknown_model"),
    ],
)
def test_what_cannot_be_generated_is_refused_in_words_and_reserves_nothing(
    asks: TestClient, change: dict[str, Any], status: int, code: str | None
) -> None:
    answer = asks.post("/v1/datasets/faq/generate", json={**BODY, **change})
    assert answer.status_code == status, answer.text
    assert code is None or answer.json()["code"] == code
    assert asks.get("/v1/budgets").json()["month_used_usd"] in {"0", "0.0000", "0.000000"}


def test_a_deployment_at_azure_that_is_none_of_ours_writes_when_its_connection_is_named(
    asks: TestClient, bench: Workbench
) -> None:
    body = {**BODY, "connection": "emulator", "generator": "gpt-4.1-mini"}
    made = asks.post("/v1/datasets/faq/generate", json=body)
    assert made.status_code == 202, made.text

    def ended() -> str | None:
        GenerationSteps(bench).advance(made.json()["id"])
        status: str = asks.get(made.headers["Location"]).json()["status"]
        return status if status != "running" else None

    assert until(ended) == "succeeded"


def test_a_paused_project_generates_nothing(asks: TestClient, project: Any) -> None:
    assert asks.patch(f"/v1/projects/{project.id}", json={"paused": True}).status_code == 200
    answer = asks.post("/v1/datasets/faq/generate", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (409, "project_paused")
