"""kill -9 of the worker while it adopts a job that others made: it comes in once, with its data once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, head, quick
from nursery import Nursery
from servers import make_project

import examples
from app.adoptions.schemas import AdoptRemoteJob
from app.adoptions.service import AdoptionService
from app.bootstrap import open_workbench
from app.datasets.service import DatasetService
from app.jobs.service import JobService
from app.kit.failpoints import NAMES
from app.kit.pagination import Page
from app.settings import Settings


def failpoints_of(*rooms: str) -> list[str]:
    """Every named step of these rooms. `test_fault_matrix.py` reads which rooms are asked for."""
    return sorted(name for name in NAMES if name.partition(".")[0] in rooms)


@pytest.fixture
def quick_settings(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=1.0, redispatch_seconds=0.2)


@pytest.fixture
def life(quick_settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick_settings) as bench:
        begun = Life.begin(bench, make_project(bench, "kills").id, emulator_url)
        begun.connect()
        yield begun
        assert_invariants(bench)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", failpoints_of("adoptions"))
def test_a_worker_killed_while_it_adopts_a_job_brings_it_in_once(
    failpoint: str, life: Life, azure: Emulator, quick_settings: Settings, nursery: Nursery, tmp_path: Path
) -> None:
    content = head(examples.load("travel").training, 10).decode()
    file = azure.post("/portal", {"action": "create_file", "content": content, "filename": "tours.jsonl"})
    job = {"model": "gpt-4.1-mini", "training_file": file["id"], "trainingType": "GlobalStandard"}
    made = azure.post("/portal", {"action": "create_job", "hyperparameters": {"n_epochs": 1}, **job})
    workers = Crew(nursery, quick_settings, tmp_path)
    service, project_id = AdoptionService(life.bench), life.caller.project_id
    asked = service.adopt(life.caller, "emulator", made["id"], AdoptRemoteJob())

    workers.killed_at(failpoint)
    workers.finish()

    ended = service.get(project_id, asked.id)
    assert (ended.status, ended.error, ended.parked_reason) == ("adopted", None, None)
    jobs = JobService(life.bench).page(project_id, Page()).rows
    assert [(row["id"], row["status"], row["remote_id"]) for row in jobs] == [(ended.job, "succeeded", made["id"])]
    assert DatasetService(life.bench).get(project_id, "tours").version_count == 1
    assert len(azure.state()["jobs"]) == 1
