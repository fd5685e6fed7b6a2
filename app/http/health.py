"""Whether the process lives (`/healthz`), whether it can work (`/readyz`), and its numbers (`/metrics`)."""

import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal

from alembic.script import ScriptDirectory
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.http.bench import Bench
from app.http.metrics import render
from app.http.responses import answer

Probe = Callable[[], str | None]
"""Raises when the thing it looks at cannot be used, within a few seconds; else may say something of it."""

MIGRATIONS: Final = Path(__file__).resolve().parent.parent.parent / "migrations"

router = APIRouter(tags=["Health"])


class Health(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok"] = "ok"


class CheckRead(BaseModel):
    """One thing the service needs."""

    name: str
    ok: bool
    seconds: float = Field(description="How long looking took.")
    detail: str | None = Field(default=None, description="What is wrong, or worth knowing.")


class Readiness(BaseModel):
    """Whether requests should be sent here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "ready",
                    "checks": [
                        {"name": "database", "ok": True, "seconds": 0.002, "detail": None},
                        {"name": "migrations", "ok": True, "seconds": 0.001, "detail": None},
                    ],
                }
            ]
        }
    )

    status: Literal["ready", "unready"]
    checks: list[CheckRead]


@router.get("/healthz", operation_id="getHealth", summary="Is the process alive?", response_model=Health)
async def healthz(request: Request) -> Response:
    """Needs no database, so that a restart of the database does not restart every API process."""
    return answer(request, Health())


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can the service work?",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Something it needs is away; the checks name it."}},
)
def readyz(request: Request, bench: Bench) -> Response:
    extra: Mapping[str, Probe] = request.app.state.probes

    def database() -> None:
        with bench.read() as session:
            session.execute(text("SELECT 1"))

    def migrations() -> None:
        with bench.read() as session:
            _refuse_old_schema(session)

    checks = [
        _run(name, probe) for name, probe in {"database": database, "migrations": migrations, **extra}.items()
    ]
    ready = all(check.ok for check in checks)
    body = Readiness(status="ready" if ready else "unready", checks=checks)
    return answer(request, body, status=200 if ready else 503, headers={} if ready else {"Retry-After": "2"})


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": "kitae_database_up 1.0\n"}},
        }
    },
)
def metrics(request: Request) -> Response:
    return Response(render(request.app.state.metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _run(name: str, probe: Probe) -> CheckRead:
    began = time.perf_counter()
    detail, ok = None, False
    try:
        detail, ok = probe(), True
    except Exception as error:  # noqa: BLE001  a door: whatever a probe raises means that the thing is not usable
        detail = f"{type(error).__name__}: {error}".split("\n", 1)[0][:200]
    return CheckRead(name=name, ok=ok, seconds=round(time.perf_counter() - began, 4), detail=detail)


class SchemaIsOld(Exception):
    """The database has not had all migrations."""


def _refuse_old_schema(session: Session) -> None:
    """A newer database is welcome: while an upgrade runs, the release before serves on."""
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return
    current = session.scalar(text("SELECT version_num FROM alembic_version"))
    wanted = _newest_migration()
    if wanted is not None and current != wanted and (current is None or current in _older_migrations()):
        raise SchemaIsOld(
            f"the database is at migration {current}, this release needs {wanted}: run `kitae migrate`"
        )


@cache
def _older_migrations() -> frozenset[str]:
    """Migrations this release knows and has gone beyond."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return frozenset(script.revision for script in scripts.walk_revisions()) - {scripts.get_current_head() or ""}


@cache
def _newest_migration() -> str | None:
    if not (MIGRATIONS / "env.py").exists():
        return None
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()
