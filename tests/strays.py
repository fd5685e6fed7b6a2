"""Planting at Azure what no row of ours names, sweeping, and seeing what became of it."""

from datetime import timedelta
from typing import Any

from lives import Emulator, Life, until
from sqlalchemy import text

from app.events.log import Event, read_page
from app.kit.clock import utc_now
from app.kit.pagination import Page
from app.upkeep.repository import sweep_of
from app.upkeep.schemas import StrayRead, SweepReport
from app.upkeep.service import UpkeepService
from app.upkeep.steps import StraySteps, SweepSteps


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


def drive_stray(life: Life, stray_id: str, status: str) -> StrayRead:
    """Take the steps that workers would, until the stray has this status."""
    steps, service = StraySteps(life.bench), UpkeepService(life.bench)

    def look() -> StrayRead | None:
        steps.advance(stray_id)
        found = service.get(life.caller.project_id, stray_id)
        assert found.parked_reason is None, found.last_error
        return found if found.status == status else None

    return until(look, seconds=30)


def events(life: Life, event_type: str) -> list[Event]:
    return _events(life, event_type=event_type, subject_id=None)


def of_subject(life: Life, subject_id: str) -> list[Event]:
    return _events(life, event_type=None, subject_id=subject_id)


def _events(life: Life, *, event_type: str | None, subject_id: str | None) -> list[Event]:
    with life.bench.read() as session:
        return read_page(
            session,
            project_id=life.caller.project_id,
            subject_id=subject_id,
            event_type=event_type,
            after=None,
            before=None,
            descending=False,
            limit=200,
        )


def far() -> str:
    return (utc_now() + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")


def forget(life: Life, job_id: str) -> None:
    """What a restored database does not have."""
    with life.bench.begin() as work:
        for table in ("job_events", "job_points", "checkpoints"):
            work.session.execute(text(f"DELETE FROM {table} WHERE job_id = :id"), {"id": job_id})  # noqa: S608
        work.session.execute(text("DELETE FROM remote_files WHERE owner_id = :id"), {"id": job_id})
        work.session.execute(text("DELETE FROM ledger WHERE subject_id = :id"), {"id": job_id})
        work.session.execute(text("DELETE FROM jobs WHERE id = :id"), {"id": job_id})
