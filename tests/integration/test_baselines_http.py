"""Baselines over HTTP: estimate, one deed for one key, faults with their place, answers, and nobody else's things."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from lives import Emulator, Life, quick, until
from starlette.testclient import TestClient

from app.baselines.steps import BaselineSteps
from app.bootstrap import open_workbench
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.settings import Settings
from app.workbench import Workbench

CASES = [{"question": f"Where is lantern {number} made?", "reference": "In Lisbon."} for number in range(3)]
BODY: dict[str, Any] = {"deployment": "plain", "cases": CASES, "max_tokens": 6}


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, lease_seconds=5)) as opened:
        yield opened


@pytest.fixture
def asks(service: FastAPI, life: Life, azure: Emulator, client: TestClient) -> TestClient:
    """The project, with a deployment of a base model."""
    wanted = DeploymentCreate(model="gpt-4.1-mini", connection="emulator", name="plain", ttl_seconds=3600)
    made = DeploymentService(life.bench).create(life.caller, wanted)
    steps = DeploymentSteps(life.bench)

    def ready() -> bool | None:
        steps.advance(made.id)
        return client.get("/v1/deployments/plain").json()["status"] == "ready" or None

    until(ready)
    return client


def test_the_estimate_comes_first_one_key_makes_one_baseline_and_its_answers_can_be_read(
    asks: TestClient, bench: Workbench, stranger: TestClient
) -> None:
    estimate = asks.post("/v1/baselines", json={**BODY, "dry_run": True})
    assert (estimate.status_code, estimate.json()["object"]) == (200, "baseline.estimate")
    assert asks.get("/v1/baselines").json()["data"] == []

    key = {"Idempotency-Key": "once"}
    made, again = (asks.post("/v1/baselines", json=BODY, headers=key) for _ in range(2))
    assert made.status_code == again.status_code == 202, made.text
    assert again.headers["Idempotent-Replayed"] == "true"
    assert made.json()["id"] == again.json()["id"]
    assert made.json()["reserved_usd"] == estimate.json()["high_usd"]
    path = made.headers["Location"]
    assert stranger.get(path).status_code == stranger.post(f"{path}/cancel").status_code == 404
    assert stranger.get(f"{path}/answers").status_code == 404

    def ended() -> dict[str, Any] | None:
        BaselineSteps(bench).advance(made.json()["id"])
        found: dict[str, Any] = asks.get(path).json()
        return found if found["status"] != "running" else None

    done = until(ended)
    assert done["status"] == "succeeded", done["error"]
    assert done["report"]["verdict"] == "too_few_cases"
    (way,) = done["report"]["ways"]
    assert (way["name"], way["scored"]) == ("zero-shot", 3)
    answers = asks.get(f"{path}/answers", params={"way": "zero-shot"}).json()["data"]
    assert sorted(one["case"] for one in answers) == [0, 1, 2]
    assert all(one["text"] and 0 <= one["score"] <= 1 for one in answers)
    assert asks.get(f"{path}/answers", params={"way": "none"}).json()["code"] == "way_not_found"
    assert asks.post(f"{path}/cancel").json()["status"] == "succeeded"  # it has ended: nothing to cancel
    events = [event["type"] for event in asks.get("/v1/events", params={"subject": done["id"]}).json()["data"]]
    assert {"baseline.running", "baseline.succeeded"} <= set(events)


def test_what_is_wrong_is_named_with_its_place(asks: TestClient) -> None:
    def refused(**changes: Any) -> tuple[int, str, str]:
        answer = asks.post("/v1/baselines", json={**BODY, **changes})
        problem = answer.json()
        place = (problem.get("errors") or [{}])[0]
        return answer.status_code, problem["code"], place.get("pointer", "")

    bad = {"type": "string_check", "name": "x", "operation": "equals", "input": "a", "reference": "b"}
    assert refused(grader=bad) == (422, "grader_unusable", "/grader/operation")
    assert refused(max_cost_usd="0.0001", max_tokens=500)[1:] == ("too_expensive", "/max_cost_usd")
    assert refused(validation="x@1")[0] == 422  # with cases: one of the two
    assert refused(ways=[{"type": "few_shot"}])[0] == 422  # without training
    assert refused(deployment="none")[:2] == (404, "deployment_not_found")
    unsafe = {"name": "inside", "endpoint": "https://169.254.169.254", "index": "x"}
    assert asks.post("/v1/search-indexes", json=unsafe).json()["code"] == "url_not_allowed"
