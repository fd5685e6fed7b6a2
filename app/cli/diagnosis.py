"""What `kitae doctor` looks at: everything this installation needs, each tried for real."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from app.access.service import AccessService
from app.bootstrap import missing_keys, open_engine, open_workbench
from app.cli import schema
from app.connections.service import ConnectionService
from app.connections.tables import Connection
from app.kit.secrets import UnreadableSecret
from app.settings import Settings
from app.upkeep.invariants import check_invariants
from app.workbench import Workbench

ROOM_BYTES: Final = 1_000_000_000
"""Free space below which datasets may not find room."""


NAMED: Final = 3
"""Violations of one invariant that are shown."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried."""

    name: str
    verdict: Literal["ok", "warning", "failed", "skipped"]
    detail: str


def diagnose(settings: Settings) -> list[Check]:
    """Every check; one that fails does not keep the others from being tried."""
    found = [_storage(settings), _queue(settings)]
    if settings.database_url is None:
        return [*found, Check("database", "skipped", "KITAE_DATABASE_URL is not set; `kitae up` brings its own")]
    database = _tried("database", lambda: _database(settings))
    found.append(database)
    if database.verdict == "ok":
        found.append(_tried("migrations", lambda: _migrations(settings)))
        with open_workbench(settings, pool_size=2) as bench:
            found.append(_tried("secrets", lambda: _secrets(bench)))
            found.append(_spending(bench))
            found += _connections(bench)
            if found[3].verdict == "ok":  # an older schema may lack what the queries ask for
                found += _invariants(bench)
    return found


def _spending(bench: Workbench) -> Check:
    """A halt is no fault; whoever looks should see it at once."""
    try:
        found = AccessService(bench).installation()
    except SQLAlchemyError as error:
        return Check("spending", "failed", str(error).split("\n", 1)[0][:300])
    if not found.halted:
        return Check("spending", "ok", "not halted")
    by = (
        "KITAE_HALTED is set"
        if found.halted_by_setting
        else f"since {found.halted_at}: {found.reason or 'no reason'}"
    )
    return Check("spending", "warning", f"halted, nothing that costs money is begun; {by}")


def _invariants(bench: Workbench) -> Iterator[Check]:
    """What must always be true of the database: each by its own query, now."""
    for finding in check_invariants(bench):
        first = "; ".join(f"{violation.subject_id}: {violation.detail}" for violation in finding.violations[:NAMED])
        name = f"invariant {finding.invariant.name}"
        if not finding.violations:
            yield Check(name, "ok", finding.invariant.promise)
        else:
            count = len(finding.violations)
            yield Check(name, "failed", f"{count} broken: {first}. What to do: {finding.invariant.remedy}")


def _tried(name: str, look: Callable[[], tuple[Literal["ok", "failed"], str]]) -> Check:
    try:
        return Check(name, *look())
    except (SQLAlchemyError, OSError) as error:
        return Check(name, "failed", str(error).split("\n", 1)[0][:300])


def _storage(settings: Settings) -> Check:
    probe = settings.data_dir / f".doctor-{uuid.uuid4().hex[:8]}"
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"kitae")
        probe.unlink()
    except OSError as error:
        return Check("storage", "failed", f"{settings.data_dir} cannot be written: {error.strerror}")
    free = shutil.disk_usage(settings.data_dir).free
    verdict: Literal["ok", "warning"] = "ok" if free > ROOM_BYTES else "warning"
    return Check("storage", verdict, f"{settings.data_dir.resolve()}, {free / 1e9:.1f} GB free")


def _queue(settings: Settings) -> Check:
    if settings.redis_url is None:
        return Check("queue", "skipped", "KITAE_REDIS_URL is not set; `kitae up` needs none")
    url = settings.redis_url.get_secret_value()
    try:
        with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as redis:
            version = redis.info("server")["redis_version"]
            waiting = redis.llen("kitae")
    except (RedisError, OSError, ValueError) as error:
        return Check("queue", "failed", f"Redis does not answer: {error}")
    return Check("queue", "ok", f"Redis {version}, {waiting} nudges waiting")


def _database(settings: Settings) -> tuple[Literal["ok", "failed"], str]:
    engine = open_engine(settings, pool_size=1)
    try:
        with engine.connect() as connection:
            number = int(connection.scalar(text("SELECT current_setting('server_version_num')")) or 0)
            version = connection.scalar(text("SELECT current_setting('server_version')"))
    finally:
        engine.dispose()
    if number < 140_000:
        return "failed", f"PostgreSQL {version}; 14 or newer is needed"
    return "ok", f"PostgreSQL {version}"


def _migrations(settings: Settings) -> tuple[Literal["ok", "failed"], str]:
    engine = open_engine(settings, pool_size=1)
    try:
        has, needs = schema.current(engine), schema.newest()
    finally:
        engine.dispose()
    if has == needs:
        return "ok", f"at {has}"
    return "failed", f"the database is at {has or 'nothing'}, this release needs {needs}: run `kitae migrate`"


def _secrets(bench: Workbench) -> tuple[Literal["ok", "failed"], str]:
    wrong = missing_keys(bench)
    return ("ok", "every stored secret has its key") if wrong is None else ("failed", wrong)


def _connections(bench: Workbench) -> Iterator[Check]:
    """Every connection of every project, as `POST /v1/connections/{id}/check` tries it."""
    with bench.read() as session:
        rows = session.scalars(select(Connection).where(Connection.archived_at.is_(None))).all()
    if not rows:
        yield Check("connections", "skipped", "there are none yet")
    for row in rows:
        try:
            result = ConnectionService(bench).check(row.project_id, row.id)
        except UnreadableSecret as error:
            yield Check(f"connection {row.name}", "failed", str(error))
            continue
        bad = [f"{item.name}: {item.detail}" for item in result.results if item.verdict == "failed"]
        yield Check(
            f"connection {row.name}", "ok" if result.ok else "failed", "; ".join(bad) or f"{row.endpoint} answers"
        )
