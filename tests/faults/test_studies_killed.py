"""kill -9 of a worker in the middle of a study: each trial has one job, and its money is counted once."""

from decimal import Decimal
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from nursery import Nursery
from servers import make_project

from app.access.service import AccessService
from app.baselines.steps import BaselineSteps
from app.bootstrap import open_workbench
from app.costs.service import CostService
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.jobs.service import JobService
from app.jobs.steps import JobSteps
from app.jobs.watch import ConnectionWatch
from app.kit.caller import Caller
from app.kit.failpoints import NAMES
from app.kit.pagination import Page
from app.settings import Settings
from app.studies.schemas import StudyCreate, StudyRead
from app.studies.service import StudyService
from app.studies.steps import StudySteps
from worker.reactions import react


def failpoints_of(*rooms: str) -> list[str]:
    """Every named step of these rooms. `test_fault_matrix.py` reads which rooms are asked for."""
    return sorted(name for name in NAMES if name.partition(".")[0] in rooms)


@pytest.fixture
def brief(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=1.0, redispatch_seconds=0.2)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", failpoints_of("studies"))
def test_a_worker_killed_there_leaves_one_job_a_trial_and_the_study_goes_on_to_its_end(
    failpoint: str, brief: Settings, emulator_url: str, nursery: Nursery, tmp_path: Path
) -> None:
    with open_workbench(brief) as bench:
        azure = Emulator(emulator_url)
        azure.reset()
        project = make_project(bench, "studied")
        caller = AccessService(bench).check(project.secret)
        assert isinstance(caller, Caller)
        life = Life(bench, caller, emulator_url)
        life.connect()
        training, validation = life.example()
        job = {"connection": "emulator", "model": "gpt-4.1-mini", "training": training, "validation": validation}
        cases = {"cases_max": 2, "max_tokens": 20, "max_cost_usd": "0.05"}
        wanted = {"job": job, "vary": {"n_epochs": [1, 2]}, "budget_usd": "5", "evaluation": cases}
        made = StudyService(bench).create(life.caller, StudyCreate.model_validate(wanted))

        Crew(nursery, brief, tmp_path).killed_at(failpoint)

        def ended() -> StudyRead | None:
            StudySteps(bench).advance(made.id)
            found = StudyService(bench).get(project.id, made.id)
            assert found.parked_reason is None
            for trial in found.trials:
                if trial.job is not None and trial.status == "training":
                    JobSteps(bench).advance(trial.job)
                    ConnectionWatch(bench).watch(found.job["connection"])
                    StudyService(bench).job_ended(trial.job)
                if trial.deployment is not None:
                    DeploymentSteps(bench).advance(trial.deployment)
                if trial.baseline is not None:
                    BaselineSteps(bench).advance(trial.baseline)
            react(bench)
            return found if found.status != "running" else None

        done = until(ended)
        assert done.status == "succeeded"
        assert [trial.status for trial in done.trials] == ["measured", "measured"]
        jobs = JobService(bench).page(project.id, Page()).rows
        assert {row["id"] for row in jobs} == {trial.job for trial in done.trials}
        assert len(azure.requests("jobs.create")) == 2
        assert len(DeploymentService(bench).page(project.id, Page()).rows) == 2
        assert azure.state()["deployments"] == []
        assert CostService(bench).budget(project.id).month_used_usd == done.spent_usd > Decimal(0)
        for trial in done.trials:
            life.tidy(trial.job or "")
        assert_invariants(bench)
