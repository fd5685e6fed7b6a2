"""kill -9 of a worker while a model is copied: one copy at Azure comes of it, and the row tells how it ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from nursery import Nursery
from servers import make_project

from app.bootstrap import open_workbench
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService
from app.jobs.states import JOB_LAW
from app.kit.failpoints import NAMES
from app.kit.pagination import Page
from app.models.copies import CopyService
from app.models.service import ModelService
from app.models.states import CopyStatus
from app.models.steps import CopySteps
from app.settings import Settings


def failpoints_of(*rooms: str) -> list[str]:
    """Every named step of these rooms. `test_fault_matrix.py` reads which rooms are asked for."""
    return sorted(name for name in NAMES if name.partition(".")[0] in rooms)


@pytest.fixture
def brief(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=1.0, redispatch_seconds=0.2, settle_seconds=0.5)


@pytest.fixture
def life(brief: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(brief) as bench:
        Emulator(emulator_url).reset()
        begun = Life.begin(bench, make_project(bench, "killed").id, emulator_url)
        begun.connect()
        begun.connect(name="west", account="west")
        yield begun
        assert_invariants(bench)


@pytest.mark.fault
def test_a_worker_killed_at_any_step_of_a_copy_leaves_one_copy_that_another_worker_follows_to_its_end(
    life: Life, brief: Settings, nursery: Nursery, tmp_path: Path, emulator_url: str
) -> None:
    azure, project = Emulator(emulator_url), life.caller.project_id
    azure.post("/portal", {"action": "create_jobs", "count": 1, "status": "cancelled", "account": "west"})
    training, validation = life.example(lines=12)
    wanted = JobCreate.model_validate(
        {
            "connection": "emulator",
            "model": "gpt-4.1-mini",
            "training": training,
            "validation": validation,
            "hyperparameters": {"n_epochs": 3},
        }
    )
    job_id = JobService(life.bench).create(life.caller, wanted)
    assert life.drive(job_id, until_status=set(JOB_LAW.terminal)).status == "succeeded"
    life.tidy(job_id)
    ModelService(life.bench).register(job_id)
    models = ModelService(life.bench).page(project, Page(limit=10), job=job_id).rows
    failpoints = failpoints_of("copies")
    assert len(models) >= len(failpoints)

    copies, steps = CopyService(life.bench), CopySteps(life.bench)
    for failpoint, model in zip(failpoints, models, strict=False):
        asked = copies.begin(project, model.id, "west")
        Crew(nursery, brief, tmp_path).killed_at(failpoint)

        def ended(model_id: str = model.id, copy_id: str = asked.id) -> CopyStatus | None:
            steps.advance(copy_id)
            (copy,) = copies.of(project, model_id).data
            assert copy.parked_reason is None, copy.last_error
            return copy.status if copy.status in {CopyStatus.READY, CopyStatus.FAILED} else None

        assert until(ended) is CopyStatus.READY, failpoint
    assert len(azure.requests("checkpoints.copy")) == len(failpoints)
