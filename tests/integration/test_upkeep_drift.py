"""Our rows and what Azure has fall apart: a deployment, a job or a file is removed, changed or renamed there."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from strays import drive_stray, events, of_subject, plant_deployment, strays, sweep

from app.access.schemas import ProjectPatch
from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.costs.schemas import BudgetPut
from app.costs.service import CostService
from app.deployments.schemas import DeploymentCreate, DeploymentPatch, DeploymentRead
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.jobs.steps import JobSteps
from app.kit.caller import Operator
from app.models.service import ModelService
from app.settings import Settings
from app.workbench import Workbench


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url, quota_release_seconds=0.05)) as opened:
        yield opened


def deploy(life: Life, **fields: Any) -> DeploymentRead:
    """A base model's deployment, ready."""
    wanted = {"connection": "emulator", "model": "gpt-4.1-mini", "name": "base"} | fields
    made = DeploymentService(life.bench).create(life.caller, DeploymentCreate.model_validate(wanted))
    return drive(life, made.id, "ready")


def shown(life: Life, ref: str) -> DeploymentRead:
    return DeploymentService(life.bench).get(life.caller.project_id, ref)


def drive(life: Life, deployment_id: str, *statuses: str, after: int = 0) -> DeploymentRead:
    """Take the steps that workers would, until it has one of these statuses after so many removals."""
    steps = DeploymentSteps(life.bench)

    def look() -> DeploymentRead | None:
        steps.advance(deployment_id)
        found = shown(life, deployment_id)
        return found if found.status in statuses and found.removals >= after else None

    return until(look, seconds=30)


def remove_in_portal(azure: Emulator, name: str = "base") -> None:
    azure.post("/portal", {"action": "delete_deployment", "name": name})


def change_in_portal(azure: Emulator, name: str = "base", **changed: Any) -> None:
    """Somebody makes it anew over its own name, with other facts."""
    there = next(item for item in azure.state()["deployments"] if item["name"] == name)
    remove_in_portal(azure, name)
    plant_deployment(azure, name, changed.pop("tags", there["tags"]), **changed)


# ── deployments ─────────────────────────────────────────────────────────────


@pytest.mark.row(38)
def test_the_sweep_sees_that_a_deployment_was_removed_and_by_default_it_stays_removed(
    life: Life, azure: Emulator
) -> None:
    made = deploy(life)
    remove_in_portal(azure)
    report = sweep(life)
    assert [(item.kind, item.id) for item in report.drift] == [("deployment", made.id)]
    gone = drive(life, made.id, "removed_by_azure")
    assert gone.error is not None
    assert gone.error["code"] == "removed_by_azure"
    assert len(azure.requests("deployments.put")) == 1
    assert sweep(life).drift == []


@pytest.mark.row(38)
def test_a_removed_deployment_is_made_again_if_it_says_so_for_the_rest_of_its_time_and_money(
    life: Life, azure: Emulator, tuned: str
) -> None:
    made = deploy(
        life,
        model=tuned,
        connection=None,
        name="again",
        sku="Standard",
        ttl_seconds=7200,
        on_removal="recreate",
    )
    reserved = money(life)[1]
    assert reserved == Decimal("3.40")
    remove_in_portal(azure, "again")
    sweep(life)
    again = drive(life, made.id, "ready", after=1)

    assert (again.removals, again.recreated, again.expires_at) == (1, False, made.expires_at)
    assert money(life)[1] == reserved
    assert [item["name"] for item in azure.state()["deployments"]] == ["again"]
    assert azure.state()["deployments"][0]["tags"]["op_key"] == made.id
    (back,) = [event for event in of_subject(life, made.id) if event.data.get("because") == "removed_by_azure"]
    assert (back.type, back.data["from"], back.data["removals"]) == ("deployment.creating", "ready", 1)

    DeploymentService(life.bench).delete(life.caller.project_id, made.id)
    gone = drive(life, made.id, "deleted")
    assert gone.cost_usd is not None
    assert 0 < gone.cost_usd < Decimal("0.10")  # minutes of both rounds, and not the reservation
    assert money(life)[1] == 0


@pytest.mark.row(38)
@pytest.mark.parametrize("obstacle", ["paused", "budget", "often"])
def test_a_removed_deployment_is_not_made_again_against_a_pause_a_budget_or_without_end(
    obstacle: str, life: Life, azure: Emulator, tuned: str
) -> None:
    fields = {"model": tuned, "connection": None, "name": "again", "sku": "Standard", "ttl_seconds": 7200}
    made = deploy(life, on_removal="recreate", **fields)
    if obstacle == "paused":
        operator = Operator(key_id="test", scopes=frozenset({"admin"}))
        AccessService(life.bench).patch_project(operator, life.caller.project_id, ProjectPatch(paused=True))
    elif obstacle == "budget":
        CostService(life.bench).set_budget(life.caller.project_id, BudgetPut(month_cap_usd=Decimal(1)))
    else:
        life.bench = replace(life.bench, policy=replace(life.bench.policy, recreate_max=1))
        remove_in_portal(azure, "again")
        drive(life, made.id, "ready", after=1)
    remove_in_portal(azure, "again")
    gone = drive(life, made.id, "removed_by_azure")
    assert gone.error is not None
    assert {"paused": "paused", "budget": "budget", "often": "1 times"}[obstacle] in gone.error["message"]
    assert len(azure.requests("deployments.put")) == (2 if obstacle == "often" else 1)
    assert money(life)[1] == 0


@pytest.mark.row(38)
def test_what_somebody_changed_at_azure_is_told_and_shown_and_nothing_is_changed_back(
    life: Life, azure: Emulator
) -> None:
    made = deploy(life)
    change_in_portal(azure, sku={"name": "Standard", "capacity": 33})
    sweep(life)
    drifted = drive(life, made.id, "ready")
    assert drifted.drift == {
        "sku": {"ours": "GlobalStandard", "azure": "Standard"},
        "capacity": {"ours": 100, "azure": 33},
    }
    (told,) = events(life, "deployment.drifted")
    assert told.data["difference"] == drifted.drift
    assert [item.detail for item in sweep(life).drift] == ["Changed at Azure: capacity, sku."]
    drive(life, made.id, "ready")
    assert len(events(life, "deployment.drifted")) == 1
    assert azure.requests("deployments.patch") == []
    assert len(azure.requests("deployments.put")) == 1

    change_in_portal(azure, sku={"name": "GlobalStandard", "capacity": 100})
    sweep(life)
    assert drive(life, made.id, "ready").drift is None
    assert len(events(life, "deployment.drift_ended")) == 1


@pytest.mark.row(38)
def test_another_model_under_our_mark_and_taken_off_tags_are_drift_too(life: Life, azure: Emulator) -> None:
    made = deploy(life)
    model = {"format": "OpenAI", "name": "gpt-4.1-nano", "version": "2025-04-14"}
    change_in_portal(azure, properties={"model": model}, sku={"name": "GlobalStandard", "capacity": 100})
    sweep(life)
    drifted = drive(life, made.id, "ready")
    assert drifted.drift == {"model": {"ours": "gpt-4.1-mini", "azure": "gpt-4.1-nano"}}

    change_in_portal(azure, tags={"team": "blue"}, sku={"name": "GlobalStandard", "capacity": 100})
    sweep(life)
    drifted = drive(life, made.id, "ready")
    assert drifted.drift is not None
    assert set(drifted.drift) == {"tags"}
    assert drifted.drift["tags"]["op_key"] == {"ours": made.id, "azure": None}
    assert strays(life) == []


@pytest.mark.row(38)
def test_a_deployment_under_another_name_is_a_stray_while_its_row_is_removed(life: Life, azure: Emulator) -> None:
    made = deploy(life)
    there = azure.state()["deployments"][0]
    remove_in_portal(azure)
    plant_deployment(azure, "renamed", there["tags"])
    report = sweep(life)
    assert [item.id for item in report.drift] == [made.id]
    (stray,) = strays(life)
    assert (stray.remote_id, stray.op_key, stray.expires_at) == (
        "renamed",
        made.id,
        made.expires_at.replace(microsecond=0),
    )
    assert "'base'" in stray.note
    drive(life, made.id, "removed_by_azure")
    assert [item["name"] for item in azure.state()["deployments"]] == ["renamed"]


def test_what_is_to_follow_a_removal_can_be_changed_later_without_a_call_to_azure(
    life: Life, azure: Emulator
) -> None:
    made = deploy(life)
    changed = DeploymentService(life.bench).change(life.caller, made.id, DeploymentPatch(on_removal="recreate"))
    assert (changed.on_removal, changed.capacity_wanted) == ("recreate", None)
    drive(life, made.id, "ready")
    assert azure.requests("deployments.patch") == []


@pytest.mark.row(41)
def test_a_deployment_that_stands_again_after_it_was_deleted_is_deleted_again(life: Life, azure: Emulator) -> None:
    made = deploy(life)
    there = azure.state()["deployments"][0]
    DeploymentService(life.bench).delete(life.caller.project_id, made.id)
    drive(life, made.id, "deleted")
    plant_deployment(azure, "base", there["tags"])
    assert sweep(life).strays.removing == 1
    (stray,) = strays(life)
    drive_stray(life, stray.id, "removed")
    assert azure.state()["deployments"] == []


# ── jobs and files ──────────────────────────────────────────────────────────


@pytest.mark.row(38)
def test_the_sweep_sends_a_job_that_azure_lost_the_way_of_the_missing_and_makes_no_other(
    life: Life, azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.steps.MISSING_SECONDS", 0.2)
    job_id, remote_id = a_queued_job(life, azure)
    azure.post("/portal", {"action": "cancel_job", "id": remote_id})
    azure.post("/portal", {"action": "delete_job", "id": remote_id})
    report = sweep(life)
    assert [(item.kind, item.id) for item in report.drift] == [("job", job_id)]
    job = life.drive(job_id, until_status={"succeeded", "failed", "cancelled"})
    assert (job.status, (job.error or {}).get("code")) == ("failed", "removed_at_azure")
    assert len(azure.requests("jobs.create")) == 1
    assert strays(life) == [] or {stray.kind for stray in strays(life)} == {"file"}


@pytest.mark.row(38)
def test_a_file_that_somebody_deleted_before_its_job_was_sent_is_uploaded_again(
    life: Life, azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.upkeep.steps.LOST_UPLOAD_SECONDS", 0.0)
    training, _ = life.example(lines=12)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = life.job("emulator", training)
        steps = JobSteps(life.bench)

        def uploaded() -> str | None:
            steps.advance(job_id)
            files = azure.state()["files"]
            return files[0]["id"] if files and life.read(job_id).status == "preparing" else None

        first = until(uploaded)
        azure.post("/portal", {"action": "delete_file", "id": first})
        report = sweep(life)
        assert [item.kind for item in report.drift] == ["file"]
        assert "uploaded again" in report.drift[0].detail
        (told,) = events(life, "file.removed_at_azure")
        assert (told.subject_id, told.data["uploaded_again"]) == (job_id, True)
    finally:
        azure.put("/clock", {"mode": "instant"})
    job = life.drive(job_id, until_status={"succeeded", "failed"})
    assert job.status == "succeeded", job.error
    assert len(azure.requests("files.upload")) == 2


@pytest.mark.row(38)
def test_a_file_that_somebody_deleted_while_its_job_trains_is_recorded_as_gone(
    life: Life, azure: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.upkeep.steps.LOST_UPLOAD_SECONDS", 0.0)
    job_id, _ = a_queued_job(life, azure, instant=False)
    try:
        azure.post("/portal", {"action": "delete_file", "id": azure.state()["files"][0]["id"]})
        sweep(life)
        (told,) = events(life, "file.removed_at_azure")
        assert (told.subject_id, told.data["uploaded_again"]) == (job_id, False)
        assert sweep(life).drift == []
    finally:
        azure.put("/clock", {"mode": "instant"})


def a_queued_job(life: Life, azure: Emulator, *, instant: bool = True) -> tuple[str, str]:
    """A job that Azure has, and its id there."""
    training, _ = life.example(lines=12)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = life.job("emulator", training)
        steps = JobSteps(life.bench)

        def named() -> str | None:
            azure.post("/clock/advance", {"seconds": 5})
            steps.advance(job_id)
            return life.read(job_id).remote_id

        return job_id, until(named)
    finally:
        if instant:
            azure.put("/clock", {"mode": "instant"})


def money(life: Life) -> tuple[Decimal, Decimal]:
    """Settled and reserved of hosting."""
    summary = CostService(life.bench).summary(
        life.caller.project_id, group_by="category", since=None, until=None, running_usd=Decimal(0)
    )
    hosting = [group for group in summary.data if group.group == "hosting"]
    return (hosting[0].settled_usd, hosting[0].reserved_usd) if hosting else (Decimal(0), Decimal(0))


@pytest.fixture
def tuned(life: Life) -> str:
    """Name of a model that the emulator has really trained."""
    training, _ = life.example(lines=12)
    job = life.drive(life.job("emulator", training, suffix="tuned"), until_status={"succeeded", "failed"})
    assert job.status == "succeeded", job.error
    ModelService(life.bench).register(job.id)
    return "tuned"
