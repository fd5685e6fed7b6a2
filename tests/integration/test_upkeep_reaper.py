"""`kitae sweep --teardown-expired`: the database and Azure are enough; and the janitor of our own storage."""

import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from crew import environment
from lives import Emulator, Life, quick, until
from nursery import Nursery, nursery
from servers import make_project
from sqlalchemy import text, update
from starlette.testclient import TestClient
from strays import plant_deployment, plant_job, strays, sweep, tags

from app.bootstrap import open_workbench
from app.datasets.schemas import UploadCreate
from app.datasets.uploads import UploadService
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.deployments.tables import Deployment
from app.kit.clock import utc_now
from app.kit.ids import new_id
from app.main import create_app
from app.models.service import ModelService
from app.settings import Settings
from app.storage.local import LocalStorage
from app.upkeep import repository
from app.upkeep.janitor import JanitorSteps
from app.upkeep.repository import JANITOR
from app.upkeep.service import UpkeepService
from app.upkeep.steps import StraySteps, SweepSteps
from app.workbench import Workbench


@pytest.fixture
def quick_settings(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url)


@pytest.fixture
def bench(quick_settings: Settings) -> Iterator[Workbench]:
    with open_workbench(quick_settings) as opened:
        yield opened


class Cron:
    """`kitae sweep --teardown-expired` as cron runs it: a process of its own, without Redis, API or workers."""

    def __init__(self, processes: Nursery, settings: Settings, directory: Path) -> None:
        self._processes, self._variables = processes, environment(settings, log_level="ERROR")
        self._directory = directory

    def __call__(self, *options: str) -> tuple[int, str]:
        """The exit code, and what it said."""
        log = self._directory / f"cron-{new_id('run')}"
        ended = self._processes.start(["sweep", *options], self._variables, log=log)
        return ended.wait(120), ended.said()

    def tear_down(self, *options: str) -> tuple[int, dict[str, Any]]:
        """The exit code, and its data."""
        code, said = self("--teardown-expired", "--json", *options)
        lines = [line for line in said.splitlines() if line.startswith('{"dry_run"')]
        assert lines, said[-3000:]
        return code, json.loads(lines[0])


@pytest.fixture(scope="module")
def processes() -> Iterator[Nursery]:
    with nursery() as made:
        yield made


@pytest.fixture
def cron(processes: Nursery, quick_settings: Settings, tmp_path: Path) -> Cron:
    return Cron(processes, quick_settings, tmp_path)


def past() -> str:
    return (utc_now() - timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_deployment(life: Life, name: str, *, expired: bool, **fields: Any) -> str:
    """Ready at Azure; its time is up if wanted."""
    deployments, steps = DeploymentService(life.bench), DeploymentSteps(life.bench)
    wanted = {"connection": "emulator", "model": "gpt-4.1-mini", "name": name, "ttl_seconds": 3600} | fields
    made = deployments.create(life.caller, DeploymentCreate.model_validate(wanted))

    def ready() -> bool | None:
        steps.advance(made.id)
        return deployments.get(life.caller.project_id, made.id).status == "ready" or None

    until(ready)
    if expired:
        with life.bench.begin() as work:
            ended = utc_now() - timedelta(minutes=20)
            work.session.execute(update(Deployment).where(Deployment.id == made.id).values(expires_at=ended))
    return made.id


def test_what_is_past_its_end_is_deleted_with_and_without_a_row_and_what_is_not_stays(
    life: Life, azure: Emulator, cron: Cron
) -> None:
    training, _ = life.example(lines=12)
    job = life.drive(life.job("emulator", training, suffix="tuned"), until_status={"succeeded", "failed"})
    ModelService(life.bench).register(job.id)
    known = a_deployment(life, "known", expired=True, model="tuned", connection=None, sku="Standard")
    a_deployment(life, "young", expired=False)
    lost = new_id("dep")
    plant_deployment(azure, "lost", tags(life, lost, expires_at=past()))
    plant_deployment(azure, "theirs", {"expires_at": past()})
    with life.bench.begin() as work:  # nothing but the connection is left of what the database knew
        work.session.execute(text("DELETE FROM sweeps"))

    code, planned = cron.tear_down("--dry-run")
    assert code == 4
    assert {item["name"]: (item["outcome"], item["has_row"]) for item in planned["deployments"]} == {
        "known": ("due", True),
        "lost": ("due", False),
    }
    assert azure.requests("deployments.delete") == []
    assert strays(life) == []

    code, done = cron.tear_down()
    assert code == 0
    assert {item["name"]: item["outcome"] for item in done["deployments"]} == {
        "known": "deleted",
        "lost": "deleted",
    }
    assert Decimal(done["saved_usd_per_hour"]) == Decimal("1.70")
    assert sorted(item["name"] for item in azure.state()["deployments"]) == ["theirs", "young"]
    assert DeploymentService(life.bench).get(life.caller.project_id, known).status == "expired"
    (stray,) = strays(life)
    assert (stray.op_key, stray.status) == (lost, "removed")

    assert cron.tear_down() == (
        0,
        {"dry_run": False, "saved_usd_per_hour": "0.0000", "deployments": [], "problems": []},
    )


def test_an_account_that_cannot_be_looked_at_is_told_and_ends_with_1(
    life: Life, azure: Emulator, cron: Cron
) -> None:
    plant_deployment(azure, "lost", tags(life, new_id("dep"), expires_at=past()))
    azure.strike("deployments.list", times=20, status=403, code="AuthorizationFailed", message="No role.")
    code, said = cron.tear_down()
    azure.faults()
    assert code == 1
    assert said["deployments"] == []
    assert [problem["account"] for problem in said["problems"]] == ["acct"]


def test_what_azure_does_not_let_go_is_left_told_and_ends_with_4(life: Life, azure: Emulator, cron: Cron) -> None:
    plant_deployment(azure, "stuck", tags(life, new_id("dep"), expires_at=past()))
    azure.strike("deployments.delete", times=500, status=500)
    code, said = cron.tear_down("--timeout", "1")
    azure.faults()
    assert code == 4
    assert [(item["name"], item["outcome"]) for item in said["deployments"]] == [("stuck", "left")]
    assert said["saved_usd_per_hour"] == "0.0000"
    assert cron.tear_down()[0] == 0
    assert azure.state()["deployments"] == []


def test_an_ignored_stray_is_not_torn_down(life: Life, azure: Emulator, cron: Cron) -> None:
    plant_deployment(azure, "kept", tags(life, new_id("dep"), expires_at=past()))
    sweep(life)
    (stray,) = strays(life)
    UpkeepService(life.bench).ignore(life.caller, stray.id)
    assert cron.tear_down()[0] == 0
    assert len(azure.state()["deployments"]) == 1


def test_without_saying_what_to_sweep_the_command_refuses(cron: Cron) -> None:
    code, said = cron()
    assert code == 2
    assert "--teardown-expired" in said


# ── the janitor ─────────────────────────────────────────────────────────────


def clean(bench: Workbench) -> dict[str, Any]:
    """One round, as a worker takes it; its report."""
    with bench.begin() as work:
        repository.add_janitor(work.session, within_seconds=0.0)
        work.session.execute(text("UPDATE janitors SET next_check_at = now()"))
    JanitorSteps(bench).clean(JANITOR)
    with bench.read() as session:
        janitor = repository.get_janitor(session)
    assert janitor is not None
    assert janitor.report is not None, janitor.last_error
    return janitor.report


def write(storage: LocalStorage, key: str) -> None:
    with storage.writer(key) as file:
        file.write(b"leftover")


def age(root: Path, *names: str) -> None:
    """As if nothing had touched them for eight days."""
    then = time.time() - 8 * 86_400
    for path in root.rglob("*"):
        if path.is_file() and any(name in path.as_posix() for name in names):
            os.utime(path, (then, then))


def test_the_janitor_deletes_what_no_row_names_once_it_is_old_and_nothing_else(
    life: Life, quick_settings: Settings
) -> None:
    root = quick_settings.data_dir / "objects"
    storage = LocalStorage(root)
    kept = life.dataset(
        "mine", b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n' * 12
    )
    lost, young, part, job = new_id("dsv"), new_id("dsv"), new_id("prt"), new_id("job")
    for key in (
        f"datasets/{lost}/content",
        f"datasets/{young}/content",
        f"uploads/{part}",
        f"jobs/{job}/results.csv",
    ):
        write(storage, key)
    write(storage, f"datasets/{kept.id}/raw")  # a worker died between the check and the deletion
    write(storage, "elsewhere/unknown")
    (root / "datasets" / lost / ".part-abc").write_bytes(b"half")
    age(root, lost, kept.id, part, job, "elsewhere")

    report = clean(life.bench)
    assert report["removed"] == {
        "of no dataset version": 1,
        "unfinished write": 1,
        "of no upload": 1,
        "of no job": 1,
        "raw bytes of a checked version": 1,
    }
    assert (report["young"], report["unrecognised"]) == (1, 1)
    left = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert left == {
        f"datasets/{kept.id}/content",
        f"datasets/{kept.id}/fingerprints",
        f"datasets/{kept.id}/sketches",
        f"datasets/{young}/content",
        "elsewhere/unknown",
    }
    assert clean(life.bench)["removed"] == {}
    with life.bench.read() as session:
        janitor = repository.get_janitor(session)
    assert janitor is not None
    assert (janitor.removed_objects, janitor.removed_bytes) == (5, 4 * 8 + 4)


def test_the_janitor_throws_the_parts_of_expired_uploads_away(life: Life) -> None:
    life.dataset("mine", b"{}\n")
    uploads = UploadService(life.bench)
    upload = uploads.begin(life.caller.project_id, "mine", UploadCreate(bytes=5))
    with uploads.receive_part(life.caller.project_id, "mine", upload.id, 1) as part:
        part.write(b"12345")
    uploads.keep_part(part)
    with life.bench.begin() as work:
        work.session.execute(text("UPDATE dataset_uploads SET expires_at = now() - interval '1 second'"))
    assert clean(life.bench)["removed"] == {"part of an expired upload": 1}
    assert [item for item in life.bench.storage.objects() if item.key.startswith("uploads/")] == []


def test_a_sweep_and_a_removal_over_http(
    life: Life, azure: Emulator, quick_settings: Settings, bench: Workbench
) -> None:
    project = make_project(bench, "http")
    own = Life.begin(bench, project.id, azure.url)
    own.connect(name="http")
    remote_id = plant_job(azure, tags(own, new_id("job")))
    with TestClient(create_app(quick_settings, bench), headers=project.headers) as client:
        asked = client.post("/v1/connections/http/sweep")
        assert asked.status_code == 202
        assert asked.json()["report"] is None
        with bench.read() as session:
            row = repository.sweep_of(session, asked.json()["connection"])
        assert row is not None
        SweepSteps(bench).sweep(row.id)
        report = client.get("/v1/connections/http/sweep").json()["report"]
        assert report["strays"] == {"found": 1, "removing": 0, "gone": 0, "open": 1}
        (stray,) = client.get("/v1/strays", params={"status": "open", "kind": "job"}).json()["data"]
        assert stray["remote_id"] == remote_id
        read = client.get(f"/v1/strays/{stray['id']}")
        again = client.get(f"/v1/strays/{stray['id']}", headers={"If-None-Match": read.headers["etag"]})
        assert again.status_code == 304
        refused = client.post(f"/v1/strays/{stray['id']}/adopt", json={})
        assert (refused.status_code, refused.json()["code"]) == (422, "training_unknown")
        removed = client.post(f"/v1/strays/{stray['id']}/remove")
        assert (removed.status_code, removed.json()["status"]) == (202, "removing")
        conflict = client.post(f"/v1/strays/{stray['id']}/ignore")
        assert (conflict.status_code, conflict.json()["code"]) == (409, "stray_decided")
        assert client.get(f"/v1/strays/{new_id('stray')}").status_code == 404

        def done() -> bool | None:
            StraySteps(bench).advance(stray["id"])
            return client.get(f"/v1/strays/{stray['id']}").json()["status"] == "removed" or None

        until(done)
        assert "kitae_strays" in client.get("/metrics").text
