"""How many requests the API answers and what one costs it, over a PostgreSQL with a million jobs of one project.

    python benchmarks/bench_api.py [--jobs 1000000] [--rounds 5] [--seconds 1.5] [--connections 16]

Compare within one run only: on shared cores requests a second follow the neighbours, CPU time much less. The raw
driver route is the floor: the same row read in the same process by psycopg alone, without keys, logs or ETags.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psycopg
from pydantic import SecretStr

from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.cli.children import child, first_line, never_ran
from app.cli.postgres import embedded_postgres
from app.cli.schema import migrate
from app.settings import Settings

HERE = Path(__file__).parent
FLOOR = "raw: driver, one job"
"""The endpoint that the others are compared with."""
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

QUICK_SERVER = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
    "max_wal_size = '8GB'",
)
"""For filling it. Reads do not touch any of this."""

FILL = """
    INSERT INTO jobs (
        id, project_id, connection_id, key_id, training_version_id, base_model, model, method, training_type,
        hyperparameters, suffix, metadata, plan, status, status_changed_at, attempt, remote_id, remote_status,
        remote_seen_at, fine_tuned_model, trained_tokens, started_at, finished_at, cost_usd, created_at, updated_at)
    SELECT
        'job_01kz8q7v1efn9s' || lpad(n::text, 12, '0'),
        CASE WHEN n %% 11 < 10 THEN %(project)s ELSE 'prj_01kz8q7v1efn9s00000000000' || n / 11 %% 4 END,
        'con_01kz8q7v1efn9s000000000001', 'key_01kz8q7v1efn9s000000000001', 'dsv_01kz8q7v1efn9s000000000001',
        'gpt-4.1-mini-2025-04-14', 'gpt-4.1-mini-2025-04-14', 'supervised', 'GlobalStandard',
        '{"n_epochs": 3}', 'travel', jsonb_build_object('team', n %% 7),
        '{"ok": true, "examples": 140, "tokens": 22000, "estimate": {"low_usd": "0.1100", "high_usd": "0.4400",
          "expected_usd": "0.3300", "price_source": "operator"}, "checks": [{"code": "model", "verdict": "ok",
          "detail": "gpt-4.1-mini-2025-04-14, GlobalStandard", "remedy": "", "pointer": "/model"}]}',
        CASE WHEN n %% 10 = 0 THEN 'failed' ELSE 'succeeded' END,
        at, 1, 'ftjob-' || md5(n::text), 'succeeded', at,
        'gpt-4.1-mini-2025-04-14.ft-' || md5(n::text) || '-travel', 66000, at, at, 0.33, at, at
    FROM (
        SELECT n, timestamptz '2026-01-01' + n * interval '20 seconds' AS at FROM generate_series(1, %(rows)s) n
    ) numbered
"""
"""Ids as the service makes them: digits are base32, too, and sort like numbers."""


@dataclass(frozen=True)
class Endpoint:
    """What is asked, in turn, and what every answer must be."""

    name: str
    targets: list[str]
    status: int = 200
    etag: str | None = None


@dataclass(frozen=True)
class Round:
    """One load on one endpoint."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_microseconds: float
    """Of the server process, user and system, for each request."""


def main() -> None:
    arguments = _arguments()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-api-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own when we are root
        with embedded_postgres(folder / "postgres", log=folder / "postgres.log") as url:
            settings = Settings(_env_file=None, database_url=SecretStr(url), data_dir=folder / "data")
            key = fill(settings, url, arguments.jobs)
            took = time.monotonic() - began
            print(
                f"{os.cpu_count()} cores; filled in {took:.0f} s; load average {os.getloadavg()[0]:.1f}", flush=True
            )
            with serving(folder, url) as server:
                endpoints = plan(server, key, arguments.jobs)
                measured = measure(server, endpoints, key, arguments)
    tell(endpoints, measured)
    print(f"{time.monotonic() - began:.0f} s in all; load average at the end {os.getloadavg()[0]:.1f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="rows of the asked project")
    parser.add_argument("--rounds", type=int, default=5, help="loads on each endpoint; the best is told")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one load")
    parser.add_argument("--connections", type=int, default=16)
    return parser.parse_args()


# ── the database ────────────────────────────────────────────────────────────


def fill(settings: Settings, url: str, jobs: int) -> str:
    """Write the schema, a project and its jobs among those of four others; answers the project's key."""
    migrate(settings)
    with open_workbench(settings, pool_size=1) as bench:
        project, key = AccessService(bench).bootstrap_project("bench")
    with psycopg.connect(url, autocommit=True) as database:
        for setting in QUICK_SERVER:
            database.execute(f"ALTER SYSTEM SET {setting}".encode())
        database.execute("SELECT pg_reload_conf()")
        database.execute("SET session_replication_role = replica")  # no look-up of the rows that a job names
        database.execute(FILL.encode(), {"project": project.id, "rows": jobs * 11 // 10})
        database.execute("VACUUM (ANALYZE) jobs")
        database.execute("CHECKPOINT")
    return key


def job_id(jobs: int, share: float) -> str:
    """A job of the asked project, so far from the oldest."""
    number = int(jobs * 1.1 * share) // 11 * 11 + 1
    return f"job_01kz8q7v1efn9s{number:012d}"


# ── the server and the load ─────────────────────────────────────────────────


@dataclass(frozen=True)
class Server:
    """The process that is measured."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def get(self, path: str, key: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx2.get(
            f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False
        ).raise_for_status()


@contextmanager
def serving(folder: Path, url: str) -> Iterator[Server]:
    """The server over this database, with no setting of the caller's."""
    command = [sys.executable, str(HERE / "api_server.py"), str(folder / "data")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITAE_")}
    log = folder / "server.log"
    with child(command, log=log, environment=clean | {"KITAE_DATABASE_URL": url}, read_stdout=True) as process:
        port = first_line(process, "listening on ")
        if port is None:
            raise never_ran("The server", log)
        yield Server(process.pid, int(port))


def plan(server: Server, key: str, jobs: int) -> list[Endpoint]:
    """What is asked; each of the answers is looked at once before anything is measured."""
    chance = random.Random(7)
    ids = [job_id(jobs, chance.random()) for _ in range(2000)]
    middle = [job_id(jobs, chance.uniform(0.3, 0.7)) for _ in range(200)]
    one = server.get(f"/v1/jobs/{ids[0]}", key)
    assert one.json()["id"] == ids[0]
    page = server.get(f"/v1/jobs?limit=50&after={middle[0]}", key).json()["data"]
    assert len(page) == 50
    assert page[0]["id"] < middle[0]
    return [
        Endpoint("raw: hello", ["/raw/hello"]),
        Endpoint(FLOOR, [f"/raw/jobs/{job}" for job in ids]),
        Endpoint("GET /v1/jobs/{id}", [f"/v1/jobs/{job}" for job in ids]),
        Endpoint("… 304, not modified", [f"/v1/jobs/{ids[0]}"], status=304, etag=one.headers["etag"]),
        Endpoint("GET /v1/jobs?limit=50", ["/v1/jobs?limit=50"]),
        Endpoint("… after an id in the middle", [f"/v1/jobs?limit=50&after={job}" for job in middle]),
    ]


def measure(
    server: Server, endpoints: list[Endpoint], key: str, arguments: argparse.Namespace
) -> dict[str, list[Round]]:
    """Rounds over all endpoints in turn, so that a noisy minute of the machine strikes them alike."""
    found: dict[str, list[Round]] = {endpoint.name: [] for endpoint in endpoints}
    for endpoint in endpoints:
        load(server, endpoint, key, seconds=0.5, connections=arguments.connections)  # fills the caches
    for _ in range(arguments.rounds):
        for endpoint in endpoints:
            found[endpoint.name].append(
                load(server, endpoint, key, seconds=arguments.seconds, connections=arguments.connections)
            )
    return found


def load(server: Server, endpoint: Endpoint, key: str, *, seconds: float, connections: int) -> Round:
    headers = {"authorization": f"Bearer {key}"} | ({"if-none-match": endpoint.etag} if endpoint.etag else {})
    wanted = {"targets": endpoint.targets, "headers": headers, "connections": connections, "seconds": seconds}
    before = server.cpu_seconds()
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py"), "127.0.0.1", str(server.port)],
        input=json.dumps(wanted).encode(),
        stdout=subprocess.PIPE,
        check=True,
        timeout=seconds + 30,
    )
    cpu = server.cpu_seconds() - before
    got = json.loads(done.stdout)
    assert got["statuses"].keys() == {str(endpoint.status)}, (endpoint.name, got["statuses"])
    return Round(
        requests_per_second=got["requests"] / got["seconds"],
        p50_ms=got["p50_ms"],
        p99_ms=got["p99_ms"],
        cpu_microseconds=cpu / got["requests"] * 1e6,
    )


# ── the table ───────────────────────────────────────────────────────────────


def tell(endpoints: list[Endpoint], measured: dict[str, list[Round]]) -> None:
    """The round of each endpoint that took the least CPU time: neighbours on the machine only ever add to it."""
    best = {name: min(rounds, key=lambda one: one.cpu_microseconds) for name, rounds in measured.items()}
    floor = best[FLOOR]
    print(
        f"{'':30}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs/req':>12}{'CPU × driver':>14}{'req/s ÷ driver':>16}"
    )
    for endpoint in endpoints:
        one = best[endpoint.name]
        print(
            f"{endpoint.name:30}{one.requests_per_second:9,.0f}{one.p50_ms:9.2f}{one.p99_ms:9.2f}"
            f"{one.cpu_microseconds:12,.0f}{one.cpu_microseconds / floor.cpu_microseconds:14.2f}"
            f"{one.requests_per_second / floor.requests_per_second:16.2f}"
        )


if __name__ == "__main__":
    main()
