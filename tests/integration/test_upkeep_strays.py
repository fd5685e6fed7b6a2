"""What carries our mark at Azure and has no row: found, told, and touched only when somebody said so."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from lives import Emulator, Life, quick, until
from servers import make_project

from app.bootstrap import open_workbench
from app.events.log import Event, read_page
from app.kit.clock import utc_now
from app.kit.ids import new_id
from app.kit.pagination import Page
from app.settings import Settings
from app.upkeep.repository import sweep_of
from app.upkeep.schemas import StrayRead, SweepReport
from app.upkeep.service import UpkeepService
from app.upkeep.steps import StraySteps, SweepSteps
from app.workbench import Workbench


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


@pytest.fixture
def azure(emulator_url: str) -> Emulator:
    emulator = Emulator(emulator_url)
    emulator.reset()
    return emulator


@pytest.fixture
def life(bench: Workbench, azure: Emulator) -> Life:
    begun = Life.begin(bench, make_project(bench, "upkeep").id, azure.url)
    begun.connect()
    return begun


def tags(life: Life, op_key: str, **more: str) -> dict[str, str]:
    """As we put them on what we make."""
    return {"svc": "kitae", "env": "test", "op_key": op_key, "project": life.caller.project_id} | more


def plant_job(azure: Emulator, metadata: dict[str, str] | None, *, status: str = "running") -> str:
    """A job that somebody else, or we in the hours that a restore has lost, have made; its id at Azure."""
    made = azure.post("/portal", {"action": "create_jobs", "count": 1, "status": status, "metadata": metadata})
    return str(made["ids"][0])


def plant_deployment(azure: Emulator, name: str, tagged: dict[str, str] | None, **fields: Any) -> None:
    body = {
        "sku": {"name": "GlobalStandard", "capacity": 10},
        "properties": {"model": {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}},
    }
    azure.post("/portal", {"action": "create_deployment", "name": name, "tags": tagged, **body, **fields})


def sweep(life: Life, connection: str = "emulator") -> SweepReport:
    """One sweep of the connection, as a worker takes it."""
    service = UpkeepService(life.bench)
    service.sweep_now(life.caller.project_id, connection)
    asked = service.sweep(life.caller.project_id, connection)
    with life.bench.read() as session:
        row = sweep_of(session, asked.connection)
    assert row is not None
    SweepSteps(life.bench).sweep(row.id)
    done = service.sweep(life.caller.project_id, connection)
    assert done.report is not None, done.last_error
    return done.report


def strays(life: Life, **filters: str) -> list[StrayRead]:
    return list(UpkeepService(life.bench).page(life.caller.project_id, Page(limit=100), **filters).rows)


def drive(life: Life, stray_id: str, status: str) -> StrayRead:
    """Take the steps that workers would, until the stray has this status."""
    steps, service = StraySteps(life.bench), UpkeepService(life.bench)

    def look() -> StrayRead | None:
        steps.advance(stray_id)
        found = service.get(life.caller.project_id, stray_id)
        assert found.parked_reason is None, found.last_error
        return found if found.status == status else None

    return until(look, seconds=30)


def events(life: Life, event_type: str) -> list[Event]:
    with life.bench.read() as session:
        return read_page(
            session,
            project_id=life.caller.project_id,
            subject_id=None,
            event_type=event_type,
            after=None,
            before=None,
            descending=False,
            limit=200,
        )


def far() -> str:
    return (utc_now() + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")


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
