"""What carries our mark at Azure and has no row: found, told, and touched only when somebody said so."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from servers import make_project
from strays import drive_stray, events, far, forget, of_subject, plant_deployment, plant_job, strays, sweep, tags

from app.bootstrap import open_workbench
from app.costs.service import CostService
from app.datasets.files import FileService
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.jobs.steps import JobSteps
from app.kit.clock import utc_now
from app.kit.errors import Conflict, Forbidden, Invalid, NotFound
from app.kit.ids import new_id
from app.models.service import ModelService
from app.settings import Settings
from app.upkeep.schemas import StrayAdopt
from app.upkeep.service import UpkeepService
from app.upkeep.steps import StraySteps
from app.workbench import Workbench


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


@pytest.mark.row(40)
def test_a_job_with_our_mark_and_an_unknown_op_key_is_quarantined_once_and_told(
    life: Life, azure: Emulator
) -> None:
    op_key = new_id("job")
    remote_id = plant_job(azure, tags(life, op_key))

    report = sweep(life)
    assert report.jobs is not None
    assert (report.jobs.seen, report.jobs.ours, report.strays.found, report.strays.open) == (1, 1, 1, 1)
    (stray,) = strays(life)
    assert (stray.kind, stray.remote_id, stray.op_key, stray.status) == ("job", remote_id, op_key, "open")
    assert stray.tags["op_key"] == op_key
    assert stray.adoptable

    assert sweep(life).strays.found == 0
    assert len(strays(life)) == 1
    (told,) = events(life, "stray.found")
    assert told.subject_id == stray.id
    assert azure.requests("jobs.cancel") == []
    assert azure.requests("jobs.create") == []


@pytest.mark.row(39)
def test_what_does_not_carry_our_mark_is_counted_and_shown_and_never_touched(life: Life, azure: Emulator) -> None:
    theirs = plant_job(azure, {"team": "somebody else"})
    bare = plant_job(azure, None)
    other_installation = plant_job(azure, tags(life, new_id("job")) | {"env": "elsewhere"})
    plant_deployment(azure, "theirs", None)
    past = (utc_now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    plant_deployment(azure, "elsewhere", tags(life, new_id("dep"), expires_at=past) | {"env": "elsewhere"})

    report = sweep(life)
    assert report.jobs is not None
    assert report.deployments is not None
    assert (report.jobs.ours, report.jobs.foreign, report.deployments.foreign) == (0, 3, 2)
    assert {item.remote_id for item in report.foreign} == {theirs, bare, other_installation, "theirs", "elsewhere"}
    assert strays(life) == []
    assert azure.requests("jobs.cancel") == []
    assert azure.requests("deployments.delete") == []
    assert len(azure.state()["deployments"]) == 2


@pytest.mark.row(41)
def test_of_two_jobs_with_one_op_key_the_one_that_our_row_names_is_kept_and_the_other_cancelled(
    life: Life, azure: Emulator
) -> None:
    training, _ = life.example(lines=12)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = life.job("emulator", training)
        steps = JobSteps(life.bench)

        def named() -> str | None:
            azure.post("/clock/advance", {"seconds": 5})
            steps.advance(job_id)
            return life.read(job_id).remote_id

        kept = until(named)
        second = plant_job(azure, tags(life, job_id), status="queued")

        report = sweep(life)
        assert (report.strays.found, report.strays.removing) == (1, 1)
        (stray,) = strays(life)
        assert (stray.remote_id, stray.status) == (second, "removing")
        drive_stray(life, stray.id, "removed")
    finally:
        azure.put("/clock", {"mode": "instant"})

    assert [entry["path"].split("/")[-2] for entry in azure.requests("jobs.cancel")] == [second]
    (told,) = events(life, "job.duplicate_at_azure")
    assert (told.subject_id, told.data["remote_id"], told.data["cancelled"]) == (job_id, second, True)
    assert sweep(life).strays.found == 0
    job = life.drive(job_id, until_status={"succeeded", "failed", "cancelled"})
    assert (job.status, job.remote_id) == ("succeeded", kept)


@pytest.mark.row(41)
def test_of_two_training_files_with_one_name_the_one_that_our_row_names_is_kept(
    life: Life, azure: Emulator
) -> None:
    training, _ = life.example(lines=12)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = life.job("emulator", training)
        steps = JobSteps(life.bench)

        def uploaded() -> dict[str, Any] | None:
            steps.advance(job_id)
            return next(iter(azure.state()["files"]), None)

        ours = until(uploaded)
        until(lambda: True if FileService(life.bench).remote_ids(job_id) else steps.advance(job_id))
        twin = azure.post("/portal", {"action": "create_file", "filename": ours["filename"], "content": "{}\n"})[
            "id"
        ]

        sweep(life)
        (stray,) = strays(life)
        assert (stray.kind, stray.remote_id, stray.owner) == ("file", twin, job_id)
        drive_stray(life, stray.id, "removed")
        assert [file["id"] for file in azure.state()["files"]] == [ours["id"]]
    finally:
        azure.put("/clock", {"mode": "instant"})
    assert life.drive(job_id, until_status={"succeeded", "failed"}).status == "succeeded"


@pytest.mark.row(40)
def test_a_stray_job_that_a_person_removes_is_cancelled_and_not_found_again(life: Life, azure: Emulator) -> None:
    remote_id = plant_job(azure, tags(life, new_id("job")))
    sweep(life)
    (stray,) = strays(life)
    service = UpkeepService(life.bench)
    assert service.remove(life.caller, stray.id).status == "removing"
    gone = drive_stray(life, stray.id, "removed")
    assert gone.decided_by == life.caller.key_id
    assert azure.state()["jobs"][0]["phase"] == "cancelled"
    assert [entry["path"].split("/")[-2] for entry in azure.requests("jobs.cancel")] == [remote_id]
    assert service.remove(life.caller, stray.id).status == "removed"
    assert sweep(life).strays.found == 0
    with pytest.raises(Conflict, match="removed"):
        service.ignore(life.caller, stray.id)
    assert [event.type for event in of_subject(life, stray.id)] == [
        "stray.found",
        "stray.removing",
        "stray.removed",
    ]


@pytest.mark.row(40)
def test_an_adopted_job_is_followed_to_its_end_with_its_files_and_its_model(life: Life, azure: Emulator) -> None:
    """Made by us; then the database forgets it, as after a restore of an older one."""
    training, _ = life.example(lines=12)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = life.job("emulator", training, suffix="lost", metadata={"team": "blue"})
        steps = JobSteps(life.bench)

        def named() -> str | None:
            azure.post("/clock/advance", {"seconds": 5})
            steps.advance(job_id)
            return life.read(job_id).remote_id

        remote_id = until(named)
        forget(life, job_id)
        sweep(life)
        by_kind = {stray.kind: stray for stray in strays(life)}
        assert by_kind["job"].remote_id == remote_id
        assert by_kind["file"].owner == job_id
        with pytest.raises(Conflict, match="op_key"):
            UpkeepService(life.bench).adopt(life.caller, by_kind["file"].id, StrayAdopt())

        adopted = UpkeepService(life.bench).adopt(life.caller, by_kind["job"].id, StrayAdopt())
        assert (adopted.status, adopted.decided_by) == ("adopted", life.caller.key_id)
        assert UpkeepService(life.bench).adopt(life.caller, adopted.id, StrayAdopt()).status == "adopted"
    finally:
        azure.put("/clock", {"mode": "instant"})
    job = life.drive(job_id, until_status={"succeeded", "failed", "cancelled"})
    life.tidy(job_id)
    ModelService(life.bench).register(job_id)

    assert (job.status, job.remote_id, job.suffix) == ("succeeded", remote_id, "lost")
    assert job.user_metadata == {"team": "blue"}
    assert job.training_version_id == life.version(training).id
    assert job.cost_usd is not None
    assert job.cost_usd > 0
    assert [file for file in azure.state()["files"] if file["purpose"] == "fine-tune"] == []
    assert [stray.status for stray in strays(life)] == ["adopted", "adopted"]
    assert ModelService(life.bench).get(life.caller.project_id, "lost").job_id == job_id
    assert len(azure.requests("jobs.create")) == 1
    summary = CostService(life.bench).summary(
        life.caller.project_id, group_by="category", since=None, until=None, running_usd=Decimal(0)
    )
    assert (summary.settled_usd, summary.reserved_usd) == (job.cost_usd, 0)
    assert sweep(life).strays.found == 0


def test_a_job_whose_training_data_nobody_knows_is_adopted_once_a_person_names_it(
    life: Life, azure: Emulator
) -> None:
    training, validation = life.example(lines=12)
    op_key = new_id("job")
    plant_job(azure, tags(life, op_key, training=new_id("dsv")), status="queued")
    sweep(life)
    (stray,) = strays(life)
    service = UpkeepService(life.bench)
    with pytest.raises(Invalid, match="trained on"):
        service.adopt(life.caller, stray.id, StrayAdopt())
    weak = replace(life.caller, scopes=frozenset({"connections:write"}))
    with pytest.raises(Forbidden, match="jobs:write"):
        service.adopt(weak, stray.id, StrayAdopt(training=training))
    assert service.get(life.caller.project_id, stray.id).status == "open"
    service.adopt(life.caller, stray.id, StrayAdopt(training=training, validation=validation))
    assert life.read(op_key).training_version_id == life.version(training).id


def test_a_stray_deployment_is_torn_down_at_the_end_that_stands_in_its_tags_and_not_before(
    life: Life, azure: Emulator
) -> None:
    soon = utc_now() + timedelta(seconds=3)
    plant_deployment(azure, "lost", tags(life, new_id("dep"), expires_at=soon.strftime("%Y-%m-%dT%H:%M:%SZ")))
    plant_deployment(azure, "later", tags(life, new_id("dep"), expires_at=far()))
    plant_deployment(azure, "endless", tags(life, new_id("dep")))
    sweep(life)
    by_name = {stray.remote_id: stray for stray in strays(life)}
    assert {stray.status for stray in by_name.values()} == {"open"}
    for stray in by_name.values():
        StraySteps(life.bench).advance(stray.id)
    gone = drive_stray(life, by_name["lost"].id, "removed")
    assert utc_now() >= soon.replace(microsecond=0)
    assert gone.decided_by is None
    assert sorted(item["name"] for item in azure.state()["deployments"]) == ["endless", "later"]
    assert {stray.status for stray in strays(life) if stray.remote_id != "lost"} == {"open"}
    said = [event.data.get("note", "") for event in of_subject(life, gone.id) if event.type == "stray.removing"]
    assert "by its own tag" in said[0]


def test_an_ignored_stray_outlives_its_end_and_can_still_be_removed(life: Life, azure: Emulator) -> None:
    past = (utc_now() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    plant_deployment(azure, "kept", tags(life, new_id("dep"), expires_at=past))
    sweep(life)
    (stray,) = strays(life)
    service = UpkeepService(life.bench)
    service.ignore(life.caller, stray.id)
    StraySteps(life.bench).advance(stray.id)
    sweep(life)
    assert service.get(life.caller.project_id, stray.id).status == "ignored"
    assert len(azure.state()["deployments"]) == 1
    service.remove(life.caller, stray.id)
    drive_stray(life, stray.id, "removed")
    assert azure.state()["deployments"] == []


def test_an_adopted_deployment_is_cared_for_and_deleted_like_any_other(life: Life, azure: Emulator) -> None:
    op_key = new_id("dep")
    plant_deployment(azure, "lost", tags(life, op_key, expires_at=far()))
    sweep(life)
    (stray,) = strays(life)
    UpkeepService(life.bench).adopt(life.caller, stray.id, StrayAdopt())
    deployments, steps = DeploymentService(life.bench), DeploymentSteps(life.bench)

    def ready() -> bool | None:
        steps.advance(op_key)
        return deployments.get(life.caller.project_id, op_key).status == "ready" or None

    until(ready)
    shown = deployments.get(life.caller.project_id, "lost")
    assert (shown.id, shown.sku, shown.capacity) == (op_key, "GlobalStandard", 10)
    assert shown.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ") == stray.tags["expires_at"]
    assert sweep(life).strays.found == 0
    deployments.delete(life.caller.project_id, op_key)

    def deleted() -> bool | None:
        steps.advance(op_key)
        return deployments.get(life.caller.project_id, op_key).status == "deleted" or None

    until(deleted)
    assert azure.state()["deployments"] == []


def test_a_stray_deployment_without_an_end_ahead_is_adopted_only_with_a_new_one(
    life: Life, azure: Emulator
) -> None:
    plant_deployment(azure, "lost", tags(life, new_id("dep")))
    sweep(life)
    (stray,) = strays(life)
    service = UpkeepService(life.bench)
    with pytest.raises(Invalid, match="no end ahead"):
        service.adopt(life.caller, stray.id, StrayAdopt())
    service.adopt(life.caller, stray.id, StrayAdopt(ttl_seconds=600))
    shown = DeploymentService(life.bench).get(life.caller.project_id, stray.op_key)
    assert timedelta(0) < shown.expires_at - utc_now() <= timedelta(seconds=600)


def test_a_stray_that_azure_no_longer_shows_is_gone_and_one_that_comes_back_is_told_again(
    life: Life, azure: Emulator
) -> None:
    tagged = tags(life, new_id("dep"), expires_at=far())
    plant_deployment(azure, "wandering", tagged)
    sweep(life)
    azure.post("/portal", {"action": "delete_deployment", "name": "wandering"})
    assert sweep(life).strays.gone == 1
    (stray,) = strays(life)
    assert stray.status == "gone"
    plant_deployment(azure, "wandering", tagged)
    assert sweep(life).strays.found == 1
    assert UpkeepService(life.bench).get(life.caller.project_id, stray.id).status == "open"
    assert len(events(life, "stray.found")) == 2


def test_where_azure_keeps_no_metadata_jobs_are_known_by_file_suffix_and_seed(life: Life, azure: Emulator) -> None:
    life.connect(style="dated", name="dated")
    training, _ = life.example(lines=12)
    azure.put("/clock", {"mode": "manual"})
    try:
        job_id = life.job("dated", training, suffix="marked")
        steps = JobSteps(life.bench)

        def named() -> str | None:
            azure.post("/clock/advance", {"seconds": 5})
            steps.advance(job_id)
            return life.read(job_id).remote_id

        remote_id = until(named)
        foreign = plant_job(azure, None, status="queued")
        report = sweep(life, "dated")
        assert report.jobs is not None
        assert (report.jobs.ours, report.jobs.foreign, report.strays.found) == (1, 1, 0)
        assert [item.remote_id for item in report.foreign if item.kind == "job"] == [foreign]

        forget(life, job_id)
        sweep(life, "dated")
        stray = next(stray for stray in strays(life) if stray.kind == "job")
        assert (stray.remote_id, stray.op_key) == (remote_id, job_id)
        UpkeepService(life.bench).adopt(life.caller, stray.id, StrayAdopt(training=training))
        adopted = life.read(job_id)
        assert (adopted.suffix, adopted.seed) == ("marked", None)
    finally:
        azure.put("/clock", {"mode": "instant"})
    assert life.drive(job_id, until_status={"succeeded", "failed"}).status == "succeeded"


def test_what_cannot_be_listed_is_told_and_concludes_nothing(life: Life, azure: Emulator) -> None:
    plant_job(azure, tags(life, new_id("job")))
    plant_deployment(azure, "lost", tags(life, new_id("dep"), expires_at=far()))
    sweep(life)
    assert len(strays(life)) == 2
    azure.strike("deployments.list", times=5, status=403, code="AuthorizationFailed", message="No role.")
    report = sweep(life)
    azure.faults()
    assert not report.complete
    assert report.deployments is None
    assert [problem.part for problem in report.problems] == ["deployment"]
    assert {stray.status for stray in strays(life)} == {"open"}


def test_another_projects_things_on_the_same_resource_are_left_to_its_own_sweep(
    life: Life, azure: Emulator
) -> None:
    other = Life.begin(life.bench, make_project(life.bench, "neighbour").id, azure.url)
    other.connect()
    plant_job(azure, tags(other, new_id("job")))
    report = sweep(life)
    assert (report.strays.found, report.of_other_projects) == (0, 1)
    assert strays(life) == []
    assert sweep(other).strays.found == 1
    (stray,) = strays(other)
    with pytest.raises(NotFound):
        UpkeepService(life.bench).remove(life.caller, stray.id)
