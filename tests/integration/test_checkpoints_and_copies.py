"""Checkpoints while a training goes on, deployed while it is paused, and models copied to another resource."""

from collections.abc import Iterator
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.deployments.steps import DeploymentSteps
from app.jobs.states import JOB_LAW
from app.jobs.steps import JobSteps
from app.jobs.watch import ConnectionWatch
from app.models.service import ModelService
from app.models.steps import CopySteps
from app.settings import Settings
from app.workbench import Workbench


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, settle_seconds=0.2)) as opened:
        yield opened


@pytest.fixture
def trained(life: Life) -> str:
    """A succeeded job whose models are known."""
    training, validation = life.example(lines=12)
    job_id = life.job("emulator", training, validation, suffix="travel")
    assert life.drive(job_id, until_status=set(JOB_LAW.terminal)).status == "succeeded"
    ModelService(life.bench).register(job_id)
    return job_id


def board(client: TestClient, job: str) -> dict[str, Any]:
    return dict(client.get(f"/v1/jobs/{job}/checkpoints").json())


def follow(life: Life, copy_id: str, client: TestClient, model: str = "travel") -> dict[str, Any]:
    """Take the steps that workers would, until the copy has ended."""

    def look() -> dict[str, Any] | None:
        CopySteps(life.bench).advance(copy_id)
        copies = client.get(f"/v1/models/{model}/copies").json()["data"]
        (shown,) = [copy for copy in copies if copy["id"] == copy_id]
        return shown if shown["status"] in {"ready", "failed"} else None

    return until(look)


# ── checkpoints ─────────────────────────────────────────────────────────────


def test_the_best_checkpoint_is_named_with_the_reason_and_the_last_three_can_be_deployed(
    client: TestClient, life: Life, trained: str
) -> None:
    shown = board(client, trained)
    losses = {item["step"]: item["metrics"]["full_valid_loss"] for item in shown["data"]}
    (best,) = [item for item in shown["data"] if item["best"]]
    assert best["metrics"]["full_valid_loss"] == min(losses.values())
    assert f"{len(losses)} checkpoints" in shown["best_reason"]
    assert [item["deployable"] for item in shown["data"] if item["gone_at"] is None] == [True] * 2


def test_checkpoints_keep_their_ids_from_the_first_sight_to_the_end_and_can_be_deployed_while_paused(
    client: TestClient, life: Life, azure: Emulator
) -> None:
    training, validation = life.example(lines=12)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = life.job("emulator", training, validation, suffix="travel")
        steps, watch = JobSteps(life.bench), ConnectionWatch(life.bench)

        def see(done: Any) -> Any:
            def look() -> Any:
                azure.post("/clock/advance", {"seconds": 30})
                steps.advance(job_id)
                watch.watch(life.read(job_id).connection_id)
                return done()

            return until(look)

        first = see(lambda: board(client, job_id)["data"] or None)
        assert life.read(job_id).status == "running"
        assert [item["deployable"] for item in first] == [False]
        refused = client.post("/v1/deployments", json={"model": first[0]["id"]})
        assert (refused.status_code, refused.json()["code"]) == (409, "checkpoint_not_deployable")
        assert "pause it" in refused.json()["detail"]

        assert client.post(f"/v1/jobs/{job_id}/pause").status_code == 202
        see(lambda: True if life.read(job_id).status == "paused" else None)
        paused = see(lambda: [item for item in board(client, job_id)["data"] if item["deployable"]] or None)
        assert paused[0]["id"] == first[0]["id"]
        made = client.post("/v1/deployments", json={"model": first[0]["id"], "ttl_seconds": 3600})
        assert made.status_code == 202, made.text

        def ready() -> bool | None:
            DeploymentSteps(life.bench).advance(made.json()["id"])
            status = client.get(f"/v1/deployments/{made.json()['id']}").json()["status"]
            return True if status == "ready" else None

        see(ready)
        assert life.read(job_id).status == "paused"
        assert client.post(f"/v1/jobs/{job_id}/resume", json={}).status_code == 202
        see(lambda: True if life.read(job_id).status in JOB_LAW.terminal else None)
    finally:
        azure.put("/clock", {"mode": "instant"})
    assert life.read(job_id).status == "succeeded"
    ModelService(life.bench).register(job_id)
    names = [model["name"] for model in client.get("/v1/models", params={"job": job_id}).json()["data"]]
    assert len(set(names)) == len(names) == 2
    assert first[0]["id"] in [item["id"] for item in board(client, job_id)["data"]]


# ── copies ──────────────────────────────────────────────────────────────────


def test_a_model_is_copied_once_followed_to_its_end_and_deployed_where_it_was_copied_to(
    client: TestClient, life: Life, azure: Emulator, trained: str
) -> None:
    west = life.connect(name="west", account="west")
    early = client.post("/v1/deployments", json={"model": "travel", "connection": "west"})
    assert (early.status_code, early.json()["code"]) == (422, "model_on_other_connection")
    azure.post("/portal", {"action": "create_jobs", "count": 1, "status": "cancelled", "account": "west"})

    asked = client.post("/v1/models/travel/copy", json={"connection": "west"})
    assert asked.status_code == 202, asked.text
    again = client.post("/v1/models/travel/copy", json={"connection": west})
    assert again.json()["id"] == asked.json()["id"]
    done = follow(life, asked.json()["id"], client)
    assert (done["status"], done["remote_status"]) == ("ready", "Completed")
    assert len(azure.requests("checkpoints.copy")) == 1

    made = client.post("/v1/deployments", json={"model": "travel", "connection": "west", "ttl_seconds": 3600})
    assert made.status_code == 202, made.text

    def ready() -> bool | None:
        DeploymentSteps(life.bench).advance(made.json()["id"])
        return client.get(f"/v1/deployments/{made.json()['id']}").json()["status"] == "ready" or None

    assert until(ready)


def test_a_destination_that_never_trained_fails_in_words_and_the_copy_begins_anew_when_asked_again(
    client: TestClient, life: Life, azure: Emulator, trained: str
) -> None:
    life.connect(name="west", account="west")
    failed = follow(life, client.post("/v1/models/travel/copy", json={"connection": "west"}).json()["id"], client)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "copy_failed")
    assert "must have had a fine-tuning job" in failed["error"]["hint"]

    azure.post("/portal", {"action": "create_jobs", "count": 1, "status": "cancelled", "account": "west"})
    again = client.post("/v1/models/travel/copy", json={"connection": "west"}).json()
    assert (again["id"], again["status"], again["error"]) == (failed["id"], "requested", None)
    assert follow(life, again["id"], client)["status"] == "ready"


def test_a_lost_answer_to_the_copy_makes_no_second_one(
    client: TestClient, life: Life, azure: Emulator, trained: str
) -> None:
    life.connect(name="west", account="west")
    azure.post("/portal", {"action": "create_jobs", "count": 1, "status": "cancelled", "account": "west"})
    azure.strike("checkpoints.copy", drop_after=True)
    asked = client.post("/v1/models/travel/copy", json={"connection": "west"}).json()
    assert follow(life, asked["id"], client)["status"] == "ready"
    assert len(azure.requests("checkpoints.copy")) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [({"connection": "emulator"}, "same_resource"), ({"connection": "nowhere"}, "connection_not_found")],
)
def test_a_hopeless_copy_is_refused_in_words(
    client: TestClient, life: Life, trained: str, body: dict[str, str], code: str
) -> None:
    refused = client.post("/v1/models/travel/copy", json=body)
    assert refused.json()["code"] == code


def test_a_model_of_another_project_is_neither_copied_nor_shown(
    client: TestClient, stranger: TestClient, life: Life, trained: str
) -> None:
    checkpoint = board(client, trained)["data"][0]["id"]
    assert stranger.post("/v1/models/travel/copy", json={"connection": "emulator"}).status_code == 404
    assert stranger.get("/v1/models/travel/copies").status_code == 404
    assert stranger.post("/v1/deployments", json={"model": checkpoint}).json()["code"] == "checkpoint_not_found"
