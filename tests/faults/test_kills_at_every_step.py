"""kill -9 of the worker at every named step of the main job: one job at Azure, and the life goes on to its end."""

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, head, quick, until
from nursery import Nursery
from servers import make_project

import examples
from app.bootstrap import open_workbench
from app.deployments.comparisons import ComparisonService
from app.deployments.schemas import ComparisonCreate, DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import ComparisonSteps, DeploymentSteps
from app.jobs.states import JobStatus
from app.kit.failpoints import NAMES
from app.kit.pagination import Page
from app.models.service import ModelService
from app.settings import Settings


def failpoints_of(*rooms: str) -> list[str]:
    """Every named step of these rooms. `test_fault_matrix.py` reads which rooms are asked for."""
    return sorted(name for name in NAMES if name.partition(".")[0] in rooms)


LOST_ANSWER = {"jobs.resolve.listed", "jobs.fence.deleted"}
"""Failpoints that are only passed after a lost answer."""
WATCHED = {"jobs.watchdog.fired"}
"""Passed where a rule of a training holds; `test_watch_killed.py` kills there."""
REFUSED = {"jobs.create.refused"}
"""Only passed where Azure refuses a training type: `test_training_types_give_way.py`."""


@pytest.fixture
def quick_settings(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=1.0, settle_seconds=0.5, redispatch_seconds=0.2)


@pytest.fixture
def life(quick_settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick_settings) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "kills").id, emulator_url)
        assert_invariants(bench)


@pytest.fixture
def workers(quick_settings: Settings, nursery: Nursery, tmp_path: Path) -> Crew:
    return Crew(nursery, quick_settings, tmp_path)


def drive_deployment(life: Life, deployment_id: str, *, until_status: set[str]) -> Any:
    """Take a deployment's steps until it is in one of these."""
    steps, service = DeploymentSteps(life.bench), DeploymentService(life.bench)

    def look() -> Any:
        steps.advance(deployment_id)
        row = service.get(life.caller.project_id, deployment_id)
        return row if row.status in until_status or row.parked_reason else None

    return until(look)


@pytest.mark.row(1, 2, 4, 5, 6)
@pytest.mark.fault
@pytest.mark.parametrize(
    "failpoint",
    [
        name
        for name in failpoints_of("datasets", "jobs", "models", "reactions")
        if name not in LOST_ANSWER | REFUSED | WATCHED
    ],
)
def test_a_worker_killed_there_leaves_one_job_at_azure_and_nothing_lost(
    failpoint: str, life: Life, workers: Crew, emulator_url: str
) -> None:
    connection = life.connect()
    unchecked = failpoint.startswith("datasets.check")
    if unchecked:
        life.dataset_unchecked("travel", lines=12)
        workers.killed_at(failpoint)
        workers.finish()
        assert life.version("travel@1").status == "ready"
        return
    training, _ = life.example(lines=12)
    job_id = life.job(connection, training)

    workers.killed_at(failpoint)
    workers.finish()

    job = life.read(job_id)
    assert job.status == JobStatus.SUCCEEDED, (job.status, job.error, job.last_error, job.parked_reason)
    state = Emulator(emulator_url).state()
    assert len(state["jobs"]) == 1
    assert [file for file in state["files"] if file["purpose"] == "fine-tune"] == []
    registered = ModelService(life.bench).page(life.caller.project_id, Page(limit=50)).rows
    assert [model.remote_name for model in registered if model.kind == "final"] == [job.fine_tuned_model]
    assert len({model.remote_name for model in registered}) == len(registered)


@pytest.mark.row(3, 6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", sorted(LOST_ANSWER))
def test_a_worker_killed_while_it_resolves_a_lost_answer_makes_no_second_job(
    failpoint: str, life: Life, workers: Crew, emulator_url: str
) -> None:
    connection = life.connect()
    training, _ = life.example(lines=12)
    job_id = life.job(connection, training)
    lost = "drop_before" if failpoint == "jobs.fence.deleted" else "drop_after"
    Emulator(emulator_url).strike("jobs.create", **{lost: True})

    workers.killed_at(failpoint)
    workers.finish()

    job = life.read(job_id)
    assert job.status == JobStatus.SUCCEEDED, (job.status, job.error, job.last_error, job.parked_reason)
    assert len(Emulator(emulator_url).state()["jobs"]) == 1


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", failpoints_of("deployments", "comparisons"))
def test_a_worker_killed_at_a_deployment_step_leaves_one_deployment_and_deletes_it_in_the_end(
    failpoint: str, life: Life, workers: Crew, emulator_url: str
) -> None:
    connection = life.connect()
    deployments = DeploymentService(life.bench)
    made = deployments.create(
        life.caller, DeploymentCreate(connection=connection, model="gpt-4.1-mini", name="base", ttl_seconds=600)
    )
    if failpoint.startswith("deployments.delete"):
        drive_deployment(life, made.id, until_status={"ready"})
        deployments.delete(life.caller.project_id, made.id)
        workers.killed_at(failpoint)
        workers.finish()
        assert deployments.get(life.caller.project_id, made.id).status == "deleted"
        assert Emulator(emulator_url).state()["deployments"] == []
        return
    if failpoint.startswith("comparisons"):
        drive_deployment(life, made.id, until_status={"ready"})
        comparison = ComparisonService(life.bench).create(
            life.caller,
            ComparisonCreate(candidates=[{"deployment": made.id}], prompts=["Hello?", "Who are you?"]),
        )
    workers.killed_at(failpoint)
    drive_deployment(life, made.id, until_status={"ready"})
    assert len(Emulator(emulator_url).state()["deployments"]) == 1
    if failpoint.startswith("comparisons"):
        steps = ComparisonSteps(life.bench)

        def answered() -> object:
            steps.advance(comparison.id)
            row = ComparisonService(life.bench).get(life.caller.project_id, comparison.id)
            return row if row.status != "running" else None

        assert until(answered)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", failpoints_of("uploads"))
def test_an_api_killed_while_it_completes_an_upload_makes_one_version_when_asked_again(
    failpoint: str, life: Life, workers: Crew
) -> None:
    key = make_project(life.bench, "uploads")
    content = head(examples.load("travel").training, 12)
    api, url = workers.start_api(failpoint=f"{failpoint}:kill")
    with httpx2.Client(base_url=url, headers=key.headers, timeout=30) as asked:
        assert asked.post("/v1/datasets", json={"name": "travel"}).status_code == 201
        path = asked.post("/v1/datasets/travel/uploads", json={"bytes": len(content)}).headers["location"]
        for number, part in ((1, content[:1000]), (2, content[1000:])):
            assert asked.put(f"{path}/parts/{number}", content=part).status_code == 200
        with pytest.raises(httpx2.TransportError):
            asked.post(f"{path}/complete", json={})
    assert api.wait() == -signal.SIGKILL

    api, url = workers.start_api()
    with httpx2.Client(base_url=url, headers=key.headers, timeout=30) as asked:
        done = asked.post(f"{path}/complete", json={})
        assert done.status_code in {200, 202}, done.text
        assert done.json()["sha256"] == hashlib.sha256(content).hexdigest()
        assert len(asked.get("/v1/datasets/travel/versions").json()["data"]) == 1
        workers.finish()
        assert asked.get("/v1/datasets/travel/versions/1").json()["status"] == "ready"
        assert asked.get("/v1/datasets/travel/versions/1/content").content == content
    api.send_signal(signal.SIGTERM)
    assert api.wait() == 0
