"""A study over HTTP: the plan, one deed for one key, trials within the budget, the table, the end."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fastapi import FastAPI
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from starlette.testclient import TestClient

from app.baselines.steps import BaselineSteps
from app.bootstrap import open_workbench
from app.deployments.steps import DeploymentSteps
from app.jobs.steps import JobSteps
from app.jobs.watch import ConnectionWatch
from app.settings import Settings
from app.studies.steps import StudySteps
from app.workbench import Workbench


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, lease_seconds=5)) as opened:
        yield opened
        assert_invariants(opened)


@pytest.fixture
def body(service: FastAPI, life: Life, azure: Emulator) -> dict[str, Any]:
    """Two epochs to choose from, on small shipped data."""
    training, validation = life.example()
    job = {"connection": "emulator", "model": "gpt-4.1-mini", "training": training, "validation": validation}
    return {"name": "epochs", "job": job, "vary": {"n_epochs": [1, 2]}, "budget_usd": "5"}


def work(bench: Workbench, client: TestClient, path: str) -> dict[str, Any] | None:
    """One look of the workers at everything the study has; the study once it has ended."""
    study: dict[str, Any] = client.get(path).json()
    if study["status"] != "running":
        return study
    StudySteps(bench).advance(study["id"])
    for trial in client.get(path).json()["trials"]:
        if trial["status"] == "training":
            JobSteps(bench).advance(trial["job"])
            ConnectionWatch(bench).watch(study["job"]["connection"])
        if trial["deployment"] is not None:
            DeploymentSteps(bench).advance(trial["deployment"])
        if trial["baseline"] is not None:
            BaselineSteps(bench).advance(trial["baseline"])
    _react(bench, study)
    return None


def _react(bench: Workbench, study: dict[str, Any]) -> None:
    from worker.reactions import react

    react(bench)
    assert study["parked_reason"] is None


def test_the_plan_comes_first_and_one_key_makes_one_study_whose_table_says_what_to_take(
    body: dict[str, Any], client: TestClient, stranger: TestClient, bench: Workbench
) -> None:
    plan = client.post("/v1/studies", json={**body, "dry_run": True}).json()
    assert plan["object"] == "study.plan"
    assert plan["training_type"] == "developerTier"
    assert [trial["settings"] for trial in plan["trials"]] == [{"n_epochs": 1}, {"n_epochs": 2}]
    assert all(trial["fits"] for trial in plan["trials"])
    assert client.get("/v1/studies").json()["data"] == []

    key = {"Idempotency-Key": "once"}
    made = client.post("/v1/studies", json=body, headers=key)
    again = client.post("/v1/studies", json=body, headers=key)
    assert made.status_code == again.status_code == 202, made.text
    assert made.json()["id"] == again.json()["id"]
    path = made.headers["Location"]
    assert stranger.get(path).status_code == stranger.post(f"{path}/cancel").status_code == 404

    done = until(lambda: work(bench, client, path))
    assert done["status"] == "succeeded", done
    assert [trial["status"] for trial in done["trials"]] == ["measured", "measured"]
    jobs = [client.get(f"/v1/jobs/{trial['job']}").json() for trial in done["trials"]]
    assert [job["hyperparameters"]["n_epochs"] for job in jobs] == [1, 2]
    assert {job["training_type"] for job in jobs} == {"developerTier"}
    assert [job["metadata"]["study"] for job in jobs] == [f"{done['id']}/1", f"{done['id']}/2"]
    assert sum(Decimal(job["cost_usd"]) for job in jobs) == Decimal(done["spent_usd"]) > 0
    assert done["committed_usd"] == done["spent_usd"]
    assert all(0 < trial["score"] < 100 and trial["step"] > 0 for trial in done["trials"])
    best = done["recommendation"]
    assert best["job"] == done["trials"][best["trial"] - 1]["job"]
    events = client.get("/v1/events", params={"subject": done["id"]}).json()["data"]
    assert [event["type"] for event in events][-1] == "study.running"
    assert events[0]["type"] == "study.succeeded"
    assert client.post(f"{path}/cancel").json()["code"] == "study_finished"


def test_nothing_is_begun_that_could_pass_the_budget(
    body: dict[str, Any], client: TestClient, bench: Workbench, azure: Emulator
) -> None:
    plan = client.post("/v1/studies", json={**body, "dry_run": True}).json()
    first = Decimal(plan["trials"][0]["high_usd"])
    tight = {**body, "budget_usd": str(first)}
    path = client.post("/v1/studies", json=tight).headers["Location"]
    done = until(lambda: work(bench, client, path))
    assert [trial["status"] for trial in done["trials"]] == ["measured", "left_out"]
    assert done["trials"][1]["error"]["code"] == "budget_spent"
    assert len(azure.requests("jobs.create")) == 1
    refused = client.post("/v1/studies", json={**body, "budget_usd": str(first / 2)})
    assert (refused.status_code, refused.json()["code"]) == (422, "budget_too_small")


def test_a_study_that_is_cancelled_cancels_what_trains_and_begins_nothing_more(
    body: dict[str, Any], client: TestClient, bench: Workbench, azure: Emulator
) -> None:
    one = client.post("/v1/studies", json={**body, "at_once": 1})
    path, study = one.headers["Location"], one.json()["id"]
    StudySteps(bench).advance(study)
    assert [trial["status"] for trial in client.get(path).json()["trials"]] == ["training", "waiting"]
    assert client.post(f"{path}/cancel").status_code == 202
    done = until(lambda: work(bench, client, path))
    assert done["status"] == "cancelled"
    assert done["trials"][1]["status"] == "left_out"
    assert client.get(f"/v1/jobs/{done['trials'][0]['job']}").json()["status"] in {"cancelled", "succeeded"}


def test_every_trials_model_is_put_to_the_same_cases_and_taken_down_again(
    body: dict[str, Any], client: TestClient, bench: Workbench, azure: Emulator
) -> None:
    evaluation = {"cases_max": 4, "max_tokens": 40, "max_cost_usd": "0.05"}
    asked = {**body, "variations": [{"n_epochs": 2}], "vary": {}, "evaluation": evaluation}
    plan = client.post("/v1/studies", json={**asked, "dry_run": True}).json()
    without = client.post("/v1/studies", json={**body, "dry_run": True}).json()
    more = Decimal(plan["trials"][0]["high_usd"]) - Decimal(without["trials"][1]["high_usd"])
    assert more == Decimal("0.05")
    path = client.post("/v1/studies", json=asked).headers["Location"]
    done = until(lambda: work(bench, client, path))
    (trial,) = done["trials"]
    assert trial["status"] == "measured", trial
    baseline = client.get(f"/v1/baselines/{trial['baseline']}").json()
    assert trial["score"] == pytest.approx(baseline["report"]["ways"][0]["score"]["mean"] * 100, abs=0.001)
    assert baseline["cases"] == 4
    assert client.get(f"/v1/deployments/{trial['deployment']}").json()["status"] == "deleted"
    assert azure.state()["deployments"] == []
    job = client.get(f"/v1/jobs/{trial['job']}").json()
    assert Decimal(trial["cost_usd"]) == Decimal(job["cost_usd"]) + Decimal(baseline["cost_usd"])
    assert done["recommendation"]["trial"] == 1
    wrong = {"type": "string_check", "name": "x", "input": "a", "reference": "b", "operation": "is"}
    answer = client.post("/v1/studies", json={**asked, "evaluation": {**evaluation, "grader": wrong}})
    assert (answer.status_code, answer.json()["code"]) == (422, "grader_unusable")
    assert answer.json()["errors"][0]["pointer"].startswith("/evaluation/grader")


@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"vary": {"epochs": [1, 2]}}, "/vary", "epochs"),
        ({"vary": {"n_epochs": [1, 0]}}, "/vary", "n_epochs 0"),
        ({"vary": {"n_epochs": [1, 1]}}, "/vary", "twice"),
        ({"vary": {"n_epochs": list(range(1, 20)), "seed": [1, 2]}}, "/vary", "38 trials"),
        ({"vary": {}, "variations": [{"n_epochs": 1}, {"batch_size": 4096}]}, "/variations/1", "batch_size 4096"),
        ({"vary": {"model": ["gpt-4.1-mini", "gpt-99"]}}, "/vary", "gpt-99"),
    ],
)
def test_what_is_no_job_is_refused_with_its_place_and_nothing_is_made(
    change: dict[str, Any], pointer: str, said: str, body: dict[str, Any], client: TestClient
) -> None:
    answer = client.post("/v1/studies", json={**body, **change})
    assert answer.status_code == 422, answer.text
    errors = answer.json()["errors"]
    assert any(error["pointer"] == pointer and said in error["detail"] for error in errors), errors
    assert client.get("/v1/studies").json()["data"] == []


def test_without_a_validation_set_there_is_nothing_to_compare_on(body: dict[str, Any], client: TestClient) -> None:
    without = {name: value for name, value in body["job"].items() if name != "validation"}
    answer = client.post("/v1/studies", json={**body, "job": without})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/job/validation")
    both = client.post("/v1/studies", json={**body, "variations": [{"n_epochs": 3}]})
    assert (both.status_code, both.json()["errors"][0]["code"]) == (422, "vary_or_variations")
