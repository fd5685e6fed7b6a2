"""kill -9 at each step between a refused training type and the next: one training at Azure, never two."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick
from nursery import Nursery
from servers import make_project

from app.bootstrap import open_workbench
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.settings import Settings

STEPS = [
    ("jobs.create.refused", 1),
    ("jobs.resolve.listed", 1),
    ("jobs.fence.deleted", 1),
    ("jobs.create.sent", 1),  # the next type was taken, and its answer is lost with the worker
]
"""Failpoint, and which pass of it."""


@pytest.fixture
def quick_settings(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=1.0, settle_seconds=0.5, redispatch_seconds=0.2)


@pytest.fixture
def life(quick_settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick_settings) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "kills").id, emulator_url)
        assert_invariants(bench)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize(("failpoint", "nth"), STEPS)
def test_a_worker_killed_between_two_training_types_leaves_one_training(
    failpoint: str, nth: int, life: Life, quick_settings: Settings, nursery: Nursery, tmp_path: Path
) -> None:
    workers = Crew(nursery, quick_settings, tmp_path)
    training, _ = life.example(lines=12)
    emulator = Emulator(life.emulator_url)
    emulator.strike("jobs.create", status=400, code="quotaExceeded", message="No capacity for this training type.")
    job_id = JobService(life.bench).create(
        life.caller,
        JobCreate(
            connection=life.connect(),
            model="gpt-4.1-mini",
            training=training,
            hyperparameters={"n_epochs": 1},
            training_types=["GlobalStandard", "developerTier"],
        ),
    )

    workers.killed_at(failpoint, nth=nth)
    workers.finish()

    job = life.read(job_id)
    assert job.status == JobStatus.SUCCEEDED, (job.status, job.error, job.last_error, job.parked_reason)
    assert job.training_type == "developerTier"
    assert [refusal["training_type"] for refusal in job.refusals] == ["GlobalStandard"]
    state = emulator.state()
    assert len(state["jobs"]) == 1
    assert [file for file in state["files"] if file["purpose"] == "fine-tune"] == []
    assert len([line for line in emulator.requests("jobs.create") if line["status"] < 300]) == 1
