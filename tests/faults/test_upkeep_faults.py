"""The sweep and its helpers under fire: an older database, two sweepers at once, kill -9 at every named step."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from nursery import Nursery
from psycopg import sql
from servers import Postgres, make_project
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from strays import drive_stray, events, of_subject, plant_deployment, plant_job, strays, sweep, tags

from app.bootstrap import open_workbench
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.kit.clock import utc_now
from app.kit.ids import new_id
from app.models.service import ModelService
from app.settings import Settings
from app.storage.local import LocalStorage
from app.upkeep import repository
from app.upkeep.schemas import StrayAdopt
from app.upkeep.service import UpkeepService
from app.upkeep.steps import StraySteps, SweepSteps
from app.upkeep.tables import Sweep
from app.workbench import Workbench
from worker.tick import tick


@pytest.fixture
def quick_settings(settings: Settings, emulator_url: str) -> Settings:
    return quick(
        settings, emulator_url, lease_seconds=1.0, redispatch_seconds=0.2, sweep_seconds=0.3, janitor_seconds=0.3
    )


# ── an older database ───────────────────────────────────────────────────────


class Backup:
    """The database as it was at one moment, to go back to."""

    def __init__(self, postgres: Postgres, url: str) -> None:
        self._postgres = postgres
        self._name = sql.Identifier(make_url(url).database or "")
        self._kept = sql.Identifier(f"{make_url(url).database}_backup")

    def take(self) -> None:
        """Nobody may be connected."""
        self._postgres.run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(self._kept, self._name))

    def restore(self) -> None:
        self._postgres.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(self._name))
        self._postgres.run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(self._name, self._kept))
        self._postgres.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(self._kept))


@contextmanager
def opened(settings: Settings, project_id: str, emulator_url: str) -> Iterator[Life]:
    with open_workbench(settings) as bench:
        yield Life.begin(bench, project_id, emulator_url)


@pytest.mark.row(19)
@pytest.mark.fault
def test_a_database_restored_to_an_earlier_hour_makes_nothing_twice_and_finds_what_it_has_forgotten(
    quick_settings: Settings, postgres: Postgres, azure: Emulator
) -> None:
    assert quick_settings.database_url is not None
    backup = Backup(postgres, quick_settings.database_url.get_secret_value())
    with open_workbench(quick_settings) as bench:
        project_id = make_project(bench, "restored").id
        life = Life.begin(bench, project_id, azure.url)
        life.connect()
        training, _ = life.example(lines=12)
        waiting = life.job("emulator", training, suffix="waiting")
    backup.take()

    with opened(quick_settings, project_id, azure.url) as life:  # the hour that will be lost
        assert life.drive(waiting, until_status={"succeeded", "failed"}).status == "succeeded"
        lost = life.job("emulator", training, suffix="lost")
        assert life.drive(lost, until_status={"succeeded", "failed"}).status == "succeeded"
        deployment = deploy(life, ends_in_seconds=60)
    backup.restore()

    with opened(quick_settings, project_id, azure.url) as life:
        report = sweep(life)
        found = {(stray.kind, stray.op_key): stray for stray in strays(life, status="open")}
        assert ("job", lost) in found
        assert ("deployment", deployment) in found
        assert ("job", waiting) not in found  # its row is there, and looks for it by itself
        assert report.strays.found == len(events(life, "stray.found"))

        job = life.drive(waiting, until_status={"succeeded", "failed"})
        assert (job.status, job.suffix) == ("succeeded", "waiting")
        UpkeepService(life.bench).adopt(life.caller, found["job", lost].id, StrayAdopt())
        assert life.drive(lost, until_status={"succeeded", "failed"}).status == "succeeded"
        ModelService(life.bench).register(lost)
        assert ModelService(life.bench).get(project_id, "lost").job_id == lost
        assert len(azure.requests("jobs.create")) == 2
        assert len(azure.state()["jobs"]) == 2

        UpkeepService(life.bench).remove(life.caller, found["deployment", deployment].id)
        drive_stray(life, found["deployment", deployment].id, "removed")
        assert azure.state()["deployments"] == []
        for job_id in (waiting, lost):
            life.tidy(job_id)
        sweep(life)
        for stray in strays(life, status="removing"):
            drive_stray(life, stray.id, "removed")
        assert [file["filename"] for file in azure.state()["files"] if file["purpose"] == "fine-tune"] == []
        assert_invariants(life.bench)


def deploy(life: Life, *, ends_in_seconds: int) -> str:
    wanted = DeploymentCreate(
        connection="emulator", model="gpt-4.1-mini", name="base", ttl_seconds=ends_in_seconds, on_removal="recreate"
    )
    made = DeploymentService(life.bench).create(life.caller, wanted)
    steps = DeploymentSteps(life.bench)

    def ready() -> bool | None:
        steps.advance(made.id)
        return DeploymentService(life.bench).get(life.caller.project_id, made.id).status == "ready" or None

    until(ready)
    return made.id


# ── two at once ─────────────────────────────────────────────────────────────


@pytest.mark.row(34)
@pytest.mark.fault
def test_two_sweepers_and_four_ticks_at_once_find_each_stray_once_and_remove_it_once(
    quick_settings: Settings, azure: Emulator
) -> None:
    with open_workbench(quick_settings) as bench:
        life = Life.begin(bench, make_project(bench, "twice").id, azure.url)
        connection = life.connect()
        past = (utc_now() - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        plant_deployment(azure, "late", tags(life, new_id("dep"), expires_at=past))
        remote = plant_job(azure, tags(life, new_id("job")))

        at_once(*[UpkeepService(bench).ensure] * 6)
        with bench.read() as session:
            assert session.scalar(select(func.count()).select_from(Sweep)) == 1
            sweep_id = session.scalars(select(Sweep.id).where(Sweep.connection_id == connection)).one()
        UpkeepService(bench).sweep_now(life.caller.project_id, connection)
        sent: list[tuple[str, str]] = []
        at_once(
            *[lambda: SweepSteps(bench).sweep(sweep_id)] * 4,
            *[lambda: tick_into(bench, sent)] * 4,
        )
        until(lambda: True if len(strays(life)) == 2 else SweepSteps(bench).sweep(sweep_id))
        assert len(events(life, "stray.found")) == 2

        late = next(stray for stray in strays(life) if stray.remote_id == "late")

        def removed() -> bool | None:
            at_once(*[lambda: StraySteps(bench).advance(late.id)] * 4)
            return UpkeepService(bench).get(life.caller.project_id, late.id).status == "removed" or None

        until(removed)
        assert [event.type for event in of_subject(life, late.id)] == [
            "stray.found",
            "stray.removing",
            "stray.removed",
        ]
        assert len(azure.requests("deployments.delete")) == 1
        assert azure.state()["deployments"] == []
        assert [job["phase"] for job in azure.state()["jobs"] if job["id"] == remote] == ["training"]
        assert len(sent) == len(set(sent))


def at_once(*deeds: object) -> None:
    """All of them, begun at the same moment; what one raises fails the test."""
    gate, wrong = threading.Barrier(len(deeds)), list[BaseException]()

    def run(deed: object) -> None:
        gate.wait()
        try:
            deed()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001  a thread's failure must reach the test
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong


def tick_into(bench: Workbench, sent: list[tuple[str, str]]) -> None:
    """A tick whose messages nobody takes."""
    tick(bench, lambda task, row_id: sent.append((task, row_id)), redispatch_seconds=30.0)


# ── kill -9 ─────────────────────────────────────────────────────────────────


@pytest.fixture
def workers(quick_settings: Settings, nursery: Nursery, tmp_path: Path) -> Crew:
    return Crew(nursery, quick_settings, tmp_path)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize(
    "failpoint",
    ["upkeep.sweep.listed", "upkeep.sweep.recorded", "upkeep.stray.sent", "upkeep.stray.recorded"],
)
def test_a_worker_killed_in_a_sweep_or_a_removal_loses_and_doubles_nothing(
    failpoint: str, quick_settings: Settings, workers: Crew, azure: Emulator
) -> None:
    with open_workbench(quick_settings) as bench:
        life = Life.begin(bench, make_project(bench, "kills").id, azure.url)
        life.connect()
        past = (utc_now() - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        plant_deployment(azure, "late", tags(life, new_id("dep"), expires_at=past))
        open_job = plant_job(azure, tags(life, new_id("job")))

        workers.killed_at(failpoint)
        until(lambda: workers.finish() or (True if azure.state()["deployments"] == [] else None))
        workers.finish()

        by_remote = {stray.remote_id: stray.status for stray in strays(life)}
        assert by_remote == {"late": "removed", open_job: "open"}
        assert len(events(life, "stray.found")) == 2
        assert len(events(life, "stray.removed")) == 1
        assert azure.state()["jobs"][0]["phase"] == "training"
        for stray in strays(life, status="open"):  # a person decides, as somebody must
            UpkeepService(bench).ignore(life.caller, stray.id)
        assert_invariants(bench)


@pytest.mark.row(6)
@pytest.mark.fault
def test_a_janitor_killed_between_two_leftovers_clears_the_rest_when_it_comes_again(
    quick_settings: Settings, workers: Crew, azure: Emulator
) -> None:
    root = quick_settings.data_dir / "objects"
    storage = LocalStorage(root)
    for number in range(3):
        with storage.writer(f"datasets/{new_id('dsv')}/content") as file:
            file.write(b"x" * (number + 1))
    week = time.time() - 8 * 86_400
    for path in root.rglob("content"):
        os.utime(path, (week, week))
    with open_workbench(quick_settings) as bench:
        with bench.begin() as work:
            repository.add_janitor(work.session, within_seconds=0.0)
        workers.killed_at("upkeep.janitor.deleted")
        assert len(list(root.rglob("content"))) == 2

        def cleared() -> bool | None:
            workers.finish()
            return True if not list(root.rglob("content")) else None

        until(cleared)
        with bench.read() as session:
            janitor = repository.get_janitor(session)
        assert janitor is not None
        assert janitor.removed_objects == 2  # of the first the count died with the worker, its log line did not
        assert janitor.parked_reason is None
