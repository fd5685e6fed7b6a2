"""What ends: listed with what to train instead, and told exactly once for each level of urgency."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from lives import Emulator, Life, quick
from starlette.testclient import TestClient
from strays import events, sweep

from app.bootstrap import open_workbench
from app.connections import repository
from app.jobs.states import JOB_LAW
from app.kit.clock import utc_now
from app.models.service import ModelService
from app.settings import Settings
from app.upkeep.retirements import RetirementService
from app.workbench import Workbench


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, catalogue_seconds=60.0)) as opened:
        yield opened


def test_what_ends_is_listed_with_what_to_train_instead_and_told_once_for_each_level(
    client: TestClient, stranger: TestClient, life: Life, azure: Emulator
) -> None:
    training, validation = life.example(lines=12)
    job_id = life.job("emulator", training, validation, suffix="travel")
    assert life.drive(job_id, until_status=set(JOB_LAW.terminal)).status == "succeeded"
    ModelService(life.bench).register(job_id)
    made = client.post(
        "/v1/deployments", json={"model": "gpt-4.1-mini", "connection": "emulator", "ttl_seconds": 3600}
    )
    assert made.status_code == 202

    today = utc_now().date()
    soon = {"fine_tune": str(today + timedelta(days=25)), "inference": str(today + timedelta(days=5))}
    azure.put("/models", {"gpt-4.1-mini": soon | {"tuned_inference": str(today + timedelta(days=80))}})
    sweep(life)
    rows = client.get("/v1/retirements", params={"within_days": 100}).json()["data"]
    shown = {(row["name"], row["ends"]): row for row in rows}
    levels = {key: row["level"] for key, row in shown.items()}
    assert levels["travel", "training"] == "30 days"
    assert levels["travel", "tuned_inference"] == "90 days"
    assert levels[made.json()["name"], "base_inference"] == "7 days"
    assert {row["origin"] for row in rows} == {"arm"}
    assert shown["travel", "training"]["contradicted_by"][0]["on"] == "2027-04-14"

    instead = shown["travel", "training"]["retraining"]
    assert (instead["successor"], instead["training"], instead["same_tokenizer"]) == ("Qwen3-32B", training, False)
    assert instead["job"]["hyperparameters"] == {"n_epochs": 2}
    planned = client.post("/v1/jobs", json=instead["job"] | {"dry_run": True})
    assert planned.status_code == 200, planned.text
    assert shown[made.json()["name"], "base_inference"]["retraining"] is None
    assert stranger.get("/v1/retirements").json()["data"] == []

    planner = RetirementService(life.bench)
    assert planner.tell() == len(rows)
    assert planner.tell() == 0, "each level of each end is told once"
    told = {(event.data["name"], event.data["ends"]): event for event in events(life, "model.retiring")}
    assert told["travel", "training"].data["level"] == "30 days"
    (deployment,) = events(life, "deployment.retiring")
    assert deployment.subject_id == made.json()["id"]


def test_a_day_that_moves_is_told_of_anew(client: TestClient, life: Life, azure: Emulator) -> None:
    assert client.post(
        "/v1/deployments", json={"model": "gpt-4.1-mini", "connection": "emulator", "ttl_seconds": 3600}
    ).is_success
    planner, today = RetirementService(life.bench), utc_now().date()
    azure.put("/models", {"gpt-4.1-mini": {"inference": str(today + timedelta(days=5))}})
    sweep(life)
    assert planner.tell() == 1
    with life.bench.begin() as work:
        repository.put_facts(
            work.session,
            client.get("/v1/connections/emulator").json()["id"],
            life.caller.project_id,
            {"models_asked_at": utc_now() - timedelta(hours=1)},
        )
    azure.put("/models", {"gpt-4.1-mini": {"inference": str(today + timedelta(days=20))}})
    sweep(life)
    assert planner.tell() == 1
    assert [event.data["level"] for event in events(life, "deployment.retiring")] == ["7 days", "30 days"]
