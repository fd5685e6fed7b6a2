"""kill -9 of the worker at every named step of the main job: one job at Azure, and the life goes on to its end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from servers import ROOT, make_project

from app.bootstrap import open_workbench
from app.deployments.comparisons import ComparisonService
from app.deployments.schemas import ComparisonCreate, DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import ComparisonSteps, DeploymentSteps
from app.jobs.states import JobStatus
from app.kit.failpoints import ENVIRONMENT_VARIABLE, NAMES
from app.kit.pagination import Page
from app.models.service import ModelService
from app.settings import Settings

DRIVER = Path(__file__).parent / "driver.py"
JOB_STEPS = sorted(name for name in NAMES if name.partition(".")[0] in {"datasets", "jobs", "models", "reactions"})
DEPLOYMENT_STEPS = sorted(name for name in NAMES if name.partition(".")[0] in {"deployments", "comparisons"})
LOST_ANSWER = {"jobs.resolve.listed", "jobs.fence.deleted"}
"""Failpoints that are only passed after a lost answer."""


def environment(settings: Settings) -> dict[str, str]:
    values = {
        f"KITAE_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_none=True).items()
        if name not in {"allowed_origins", "database_url", "secret_keys", "redis_url", "admin_key"}
    }
    assert settings.database_url is not None
    return {
        **os.environ,
        **values,
        "KITAE_DATABASE_URL": settings.database_url.get_secret_value(),
        "KITAE_ALLOWED_ORIGINS": ",".join(settings.allowed_origins),
        "KITAE_LOG_LEVEL": "ERROR",
    }


class Workers:
    """Worker processes of one installation, one after the other."""

    def __init__(self, settings: Settings) -> None:
        self._environment = environment(settings)

    def killed_at(self, failpoint: str) -> None:
        """Run a worker that kills itself there."""
        ended = self._run({**self._environment, ENVIRONMENT_VARIABLE: f"{failpoint}:kill"})
        assert ended.returncode == -signal.SIGKILL, f"{failpoint} was not passed: {ended.stdout} {ended.stderr}"

    def finish(self) -> None:
        """Run a worker until nothing is left to do."""
        ended = self._run(self._environment)
        assert ended.stdout.strip().endswith("idle"), (ended.stdout, ended.stderr[-3000:])

    @staticmethod
    def _run(env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(DRIVER), "60"], env=env, cwd=ROOT, capture_output=True, text=True, check=False
        )


@pytest.fixture
def quick_settings(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=2.0, settle_seconds=0.5)


@pytest.fixture
def life(quick_settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick_settings) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "kills").id, emulator_url)


@pytest.fixture
def workers(quick_settings: Settings) -> Workers:
    return Workers(quick_settings)


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
@pytest.mark.parametrize("failpoint", [name for name in JOB_STEPS if name not in LOST_ANSWER])
def test_a_worker_killed_there_leaves_one_job_at_azure_and_nothing_lost(
    failpoint: str, life: Life, workers: Workers, emulator_url: str
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
    failpoint: str, life: Life, workers: Workers, emulator_url: str
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
@pytest.mark.parametrize("failpoint", DEPLOYMENT_STEPS)
def test_a_worker_killed_at_a_deployment_step_leaves_one_deployment_and_deletes_it_in_the_end(
    failpoint: str, life: Life, workers: Workers, emulator_url: str
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
