"""Graders over HTTP before anything is trained: checked for nothing, tried for little, and nobody else's data."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fastapi import FastAPI
from lives import Emulator, Life, quick, until
from sqlalchemy import select, update
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.calibrations.service import CATEGORY, CalibrationService
from app.costs.service import CostService
from app.costs.tables import LedgerLine
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.kit.clock import utc_now
from app.settings import Settings
from app.workbench import Workbench

GRADER = {
    "type": "string_check",
    "name": "right",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "o3-mini",
    "input": [{"role": "user", "content": "Score 0 to 1: {{sample.output_text}} for {{item.answer}}"}],
}
ROWS = [
    {"messages": [{"role": "user", "content": f"{n} plus {n}?"}], "answer": str(2 * n), "wrong": "x"}
    for n in range(12)
]


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


@pytest.fixture
def asks(service: FastAPI, life: Life, client: TestClient) -> TestClient:
    """The project, with graded prompts."""
    life.dataset("sums", b"\n".join(json.dumps(row).encode() for row in ROWS), method="reinforcement")
    return client


def lines(bench: Workbench, subject: str) -> dict[str, Decimal]:
    with bench.read() as session:
        rows = session.scalars(select(LedgerLine).where(LedgerLine.subject_id == subject))
        return {line.kind: line.amount_usd for line in rows}


def body(**fields: Any) -> dict[str, Any]:
    about = {"connection": "emulator", "grader": GRADER, "version": "sums@1", "samples": 10}
    return about | {"answers": {"source": "field", "field": "answer"}} | fields


def test_a_grader_is_checked_here_against_every_row_and_at_azure(asks: TestClient, stranger: TestClient) -> None:
    wanted = {"grader": GRADER, "version": "sums@1", "connection": "emulator"}
    found = asks.post("/v1/graders/validate", json=wanted)
    assert found.status_code == 200, found.text
    told = found.json()
    assert (told["ok"], told["reads"], told["models"]) == (True, ["item.answer", "sample.output_text"], [])
    assert [item["code"] for item in told["findings"]] == ["grader-fields", "grader"]
    faulty = asks.post("/v1/graders/validate", json={"grader": GRADER | {"operation": "is", "name": ""}}).json()
    assert {item["pointer"] for item in faulty["findings"]} == {"/grader/operation", "/grader/name"}
    assert not faulty["ok"]
    lacking = asks.post(
        "/v1/graders/validate", json={"grader": GRADER | {"reference": "{{item.key}}"}, "version": "sums@1"}
    ).json()
    assert lacking["findings"][0]["code"] == "grader-field-missing"
    assert stranger.post("/v1/graders/validate", json=wanted).status_code == 404


def test_the_datas_own_answers_tell_whether_the_grader_rewards_what_it_should(
    asks: TestClient, bench: Workbench, stranger: TestClient
) -> None:
    planned = asks.post("/v1/graders/calibrate", json=body(dry_run=True)).json()
    assert (planned["verdict"], planned["graded"], planned["highest_cost_usd"]) == ("planned", 0, "0.0000")
    good = asks.post("/v1/graders/calibrate", json=body()).json()
    assert (good["verdict"], good["graded"], good["pass_rate"]) == ("ok", 10, 1.0)
    assert good["distribution"][-1]["count"] == 10
    assert lines(bench, good["id"]) == {"reserve": Decimal(0), "settle": Decimal(0)}
    bad = asks.post("/v1/graders/calibrate", json=body(answers={"source": "field", "field": "wrong"})).json()
    assert (bad["verdict"], bad["passed"]) == ("broken", 0)
    assert "refuses what it should reward" in bad["words"]
    gone = asks.post("/v1/graders/calibrate", json=body(answers={"source": "field", "field": "solution"})).json()
    assert (gone["verdict"], gone["errors"]) == ("broken", {"no_answer": 10})
    blind = asks.post("/v1/graders/calibrate", json=body(grader=GRADER | {"reference": "{{item.key}}"})).json()
    assert (blind["verdict"], blind["lacking"], blind["errors"]) == (
        "broken",
        {"item.key": 10},
        {"invalid_variable_error": 10},
    )
    assert stranger.post("/v1/graders/calibrate", json=body()).status_code == 404


def test_a_deployment_answers_a_model_grades_and_what_it_used_is_settled(
    asks: TestClient, bench: Workbench, life: Life
) -> None:
    made = DeploymentService(bench).create(
        life.caller, DeploymentCreate(model="gpt-4.1-mini", connection="emulator", name="today", ttl_seconds=3600)
    )

    def ready() -> bool | None:
        DeploymentSteps(bench).advance(made.id)
        return asks.get("/v1/deployments/today").json()["status"] == "ready" or None

    until(ready)
    answers = {"source": "deployment", "deployment": "today", "max_tokens": 16}
    dear = asks.post("/v1/graders/calibrate", json=body(grader=JUDGE, answers=answers, max_cost_usd="0.0001"))
    assert (dear.status_code, dear.json()["errors"][0]["pointer"]) == (422, "/max_cost_usd")
    tried = asks.post("/v1/graders/calibrate", json=body(grader=JUDGE, answers=answers, samples=6)).json()
    assert set(tried["tokens"]) >= {"gpt-4.1-mini-2025-04-14"}
    assert len(tried["shown"]) == 6
    assert Decimal(0) < Decimal(tried["cost_usd"]) <= Decimal(tried["highest_cost_usd"])
    book = lines(bench, tried["id"])
    assert book["reserve"] == book["release"] > book["settle"] > 0
    simple = asks.post("/v1/graders/calibrate", json=body(answers=answers, samples=6)).json()
    assert simple["verdict"] == "too_hard"  # the emulator's base model cannot add
    assert "train supervised first" in simple["advice"]


def test_answers_that_azure_will_not_grade_are_errors_and_no_failure(asks: TestClient, azure: Emulator) -> None:
    azure.strike("graders.run", times=50, status=400, code="invalidPayload", message="No.")
    told = asks.post("/v1/graders/calibrate", json=body()).json()
    assert (told["verdict"], told["graded"], told["errors"]) == ("broken", 0, {"azure_rejected": 10})


def test_a_grader_that_is_none_and_a_project_that_may_not_spend_are_refused(asks: TestClient, life: Life) -> None:
    none = asks.post("/v1/graders/calibrate", json=body(grader={"type": "exact"}))
    assert (none.status_code, none.json()["errors"][0]["pointer"]) == (422, "/grader/type")
    asks.put("/v1/budgets", json={"month_cap_usd": "0.0001"})
    poor = asks.post("/v1/graders/calibrate", json=body(grader=JUDGE))
    assert (poor.status_code, poor.json()["code"]) == (409, "budget_exceeded")


def test_what_a_broken_off_calibration_had_set_aside_counts_as_spent(bench: Workbench, life: Life) -> None:
    with bench.begin() as work:
        CostService(bench).reserve(
            work,
            life.caller,
            subject_id="cal_dead",
            category=CATEGORY,
            amount_usd=Decimal("0.5"),
            note="10 answers",
        )
    assert CalibrationService(bench).settle_abandoned() == 0
    with bench.begin() as work:
        work.session.execute(update(LedgerLine).values(created_at=utc_now().replace(year=2025)))
    assert CalibrationService(bench).settle_abandoned() == 1
    assert CalibrationService(bench).settle_abandoned() == 0
    half = Decimal("0.5")
    assert lines(bench, "cal_dead") == {"reserve": half, "release": half, "settle": half}


def test_every_hyperparameter_is_told_with_its_range_and_reason(client: TestClient) -> None:
    told = client.get("/v1/hyperparameters", params={"method": "dpo", "model": "gpt-4.1-nano"}).json()["data"]
    assert [item["name"] for item in told] == [
        "n_epochs",
        "batch_size",
        "learning_rate_multiplier",
        "beta",
        "l2_multiplier",
    ]
    assert all(item["reason"] and item["source"] and item["as_of"] for item in told)
    nano = client.get("/v1/hyperparameters", params={"method": "supervised", "model": "gpt-4.1-nano"}).json()[
        "data"
    ]
    assert {item["name"]: item["default"] for item in nano}["learning_rate_multiplier"] == "0.1"
    assert client.get("/v1/hyperparameters", params={"method": "magic"}).status_code == 422
