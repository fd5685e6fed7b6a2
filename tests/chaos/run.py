"""Chaos at scale: real workers on real servers, killed and paused at random; then everything is counted.

    python tests/chaos/run.py --kills 300 --pauses 30 --restarts 2 --flushes 2 --seed 1 --json report.json
    python tests/chaos/run.py --publish report.json kills

Exits 1 when anything was lost, paid twice or forgotten.
"""

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "chaos")]

import httpx2  # noqa: E402  only now can our own be found
from emulator_process import Emulator, emulator_process  # noqa: E402
from faults import counted, lag, requests_seen, rules  # noqa: E402
from invariants_hold import assert_invariants  # noqa: E402
from lives import head  # noqa: E402
from population import Api, Database, Population  # noqa: E402
from processes import free_port  # noqa: E402
from redis import Redis  # noqa: E402
from report import Machine, load, put_into_page, quantile, text  # noqa: E402
from stack import Herd, Postgres, cpu_seconds, herd, postgres_in, redis_in, workplace  # noqa: E402
from trouble import COUNT_CLAIMS, Plan, Troublemaker  # noqa: E402
from verdict import Verdict, judge, left_at_azure, left_to_do  # noqa: E402
from zygote import read_settings  # noqa: E402

import examples  # noqa: E402
from app.access.service import AccessService  # noqa: E402
from app.bootstrap import open_workbench  # noqa: E402
from app.datasets.schemas import DatasetCreate  # noqa: E402
from app.datasets.service import DatasetService  # noqa: E402
from app.workbench import Workbench  # noqa: E402

PAGE: Final = ROOT / "docs" / "reliability.md"
TIMES: Final = {
    "lease_seconds": 1.0,
    "settle_seconds": 0.6,
    "request_timeout_seconds": 0.8,
    "tick_seconds": 0.2,
    "redispatch_seconds": 0.5,
    "watch_starting_seconds": 0.3,
    "watch_running_seconds": 0.3,
    "file_poll_seconds": 0.1,
    "deployment_poll_seconds": 0.2,
    "warm_up_limit_seconds": 30.0,
    "quota_release_seconds": 0.2,
    "backoff_max_seconds": 1.0,
    "circuit_rest_seconds": 0.5,
    "sweep_seconds": 10.0,
}
"""An installation's times, about a hundredfold shorter; their proportions are kept."""
LIST_LAG_SECONDS: Final = 0.15
PARK_AFTER_FAILURES: Final = 40
"""With a third of the replies faulty, eight failures in a row are no sign of anything."""
REQUESTS_EVERY_SECONDS: Final = 10.0
LOG_KEPT: Final = 6000
ACCOUNTS: Final = 300
"""Emulated resources; lives move on from one to the next, enough for 24,000 lives."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a run was asked for."""

    kills: int = 300
    pauses: int = 30
    restarts: int = 2
    flushes: int = 2
    seed: int = 1
    workers: int = 4
    threads: int = 4
    faults: float = 1 / 3
    in_flight: int = 48
    claims_between: float = 8.0
    """Mean number of claims between two troubles: their pace."""
    quiesce_seconds: float = 300.0


@dataclass
class Stack:
    """What is running."""

    bench: Workbench
    postgres: Postgres
    redis_url: str
    azure: Emulator
    herd: Herd
    population: Population
    database: Database
    refused_late: set[int] = field(default_factory=set)
    """Numbers of late POSTs of jobs that Azure refused."""


@contextmanager
def running_stack(wanted: Wanted, accounts: list[str]) -> Iterator[Stack]:
    """Servers, an API, and the template of workers; no worker yet."""
    with ExitStack() as stack:
        directory = stack.enter_context(workplace())
        postgres = stack.enter_context(postgres_in(directory))
        redis_url = stack.enter_context(redis_in(directory))
        azure = stack.enter_context(emulator_process(accounts=",".join(accounts), log_requests=str(LOG_KEPT)))
        azure.lever(
            "PUT",
            "quota",
            {"running_jobs": 10_000, "queued_jobs": 10_000, "deployments": 10_000, "capacity": 10**9},
        )
        port = free_port()
        values: dict[str, Any] = {
            "database_url": postgres.url,
            "redis_url": redis_url,
            "allowed_origin": azure.url,
            "data_dir": str(directory / "data"),
            "environment": "chaos",
            "port": port,
            "worker_threads": wanted.threads,
            "jobs_per_project_max": 1_000_000,
            "park_after_failures": PARK_AFTER_FAILURES,
            "log_level": os.environ.get("LOG_LEVEL", "CRITICAL"),
            **TIMES,
        }
        settings = read_settings(json.dumps(values))
        bench = stack.enter_context(open_workbench(settings))
        database = Database(postgres.url)
        stack.callback(database.close)
        database.rows(COUNT_CLAIMS)
        project, secret = AccessService(bench).bootstrap_project("chaos")
        small_dataset(bench, project.id)
        forks = stack.enter_context(herd(values, directory))
        forks.start("api")
        http = stack.enter_context(
            httpx2.Client(
                base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {secret}"}, timeout=30
            )
        )
        wait_for(http)
        population = Population(Api(http), database, azure.url, accounts, wanted.seed, wanted.in_flight)
        stack.callback(population.close)
        yield Stack(bench, postgres, redis_url, azure, forks, population, database)


def small_dataset(bench: Workbench, project_id: str) -> None:
    """The least Azure trains on, checked once and used by every job."""
    service = DatasetService(bench)
    example = examples.load("travel")
    for name, path, lines in (("small", example.training, 10), ("small-validation", example.validation, 3)):
        service.create(project_id, DatasetCreate(name=name))
        with service.receive() as upload:
            upload.write(head(path, lines))
        version, _ = service.add_version(project_id, name, upload, original_name=f"{name}.jsonl", base_model=None)
        service.check(version.id)


def wait_for(http: httpx2.Client) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if http.get("/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the API does not answer")


# ── the run ─────────────────────────────────────────────────────────────────


def note_refused_late(stack: Stack) -> None:
    """Count POSTs that came so late that their file was gone, from the emulator's log before it forgets them."""
    for entry in stack.azure.requests("jobs.create"):
        if entry["status"] == 400 and (entry["fault"] or {}).get("delay_seconds"):
            stack.refused_late.add(entry["number"])


def in_trouble(stack: Stack, maker: Troublemaker) -> None:
    """Lives go on while trouble is made."""
    looked = time.monotonic()
    while not maker.done.is_set():
        began = time.monotonic()
        stack.population.turn(grow=True)
        if began - looked > REQUESTS_EVERY_SECONDS:
            looked = began
            note_refused_late(stack)
            show(stack, maker)
        time.sleep(max(0.02, 0.2 - (time.monotonic() - began)))
    if maker.failure is not None:
        raise maker.failure


def show(stack: Stack, maker: Troublemaker) -> None:
    """One line of how far it is."""
    did = maker.did
    ended = sum(stack.population.ended.values())
    print(
        f"  {did.kills:,} kills ({did.holding:,} on a held row), {did.pauses:,} pauses, {did.restarts} restarts,"
        f" {did.flushes} flushes; {ended:,} lives ended, {len(stack.population.lives)} under way",
        file=sys.stderr,
        flush=True,
    )


def come_to_rest(stack: Stack, maker: Troublemaker, seconds: float) -> list[str]:
    """No faults, no kills: every life is brought to its end; what is left when time is over."""
    deadline = time.monotonic() + seconds
    told = time.monotonic()
    left: list[str] = ["nobody has looked"]
    while time.monotonic() < deadline:
        stack.population.turn(grow=False, calm=True)
        stack.population.retry_parked()
        if not stack.population.lives:
            left = left_to_do(stack.database) + left_at_azure(stack.azure.lever("GET", "state"))
            if not left:
                return []
        if time.monotonic() - told > REQUESTS_EVERY_SECONDS:
            told = time.monotonic()
            show(stack, maker)
        time.sleep(0.2)
    return left + [f"life {life.number} ({life.kind}) is {life.state}" for life in stack.population.lives]


def chaos(wanted: Wanted) -> dict[str, Any]:
    """One whole run; its report."""
    accounts = [f"a{number:03}" for number in range(ACCOUNTS)]
    with running_stack(wanted, accounts) as stack:
        plan = Plan(
            seed=wanted.seed,
            kills=wanted.kills,
            pauses=wanted.pauses,
            restarts=wanted.restarts,
            flushes=wanted.flushes,
            claims_between=wanted.claims_between,
            workers=wanted.workers,
            lease_seconds=TIMES["lease_seconds"],
        )
        maker = Troublemaker(plan, stack.herd, stack.postgres, stack.redis_url, socket.gethostname())
        timeout = TIMES["request_timeout_seconds"]
        stack.azure.faults(
            *rules(wanted.faults, seed=wanted.seed, timeout_seconds=timeout, list_lag_seconds=LIST_LAG_SECONDS)
        )
        began = time.monotonic()
        maker.start()
        try:
            in_trouble(stack, maker)
        except RuntimeError:
            print(stack.herd.log.read_text()[-3000:], file=sys.stderr)
            raise
        trouble_seconds = time.monotonic() - began
        rules_after = stack.azure.lever("GET", "faults")
        stack.azure.faults(*lag(LIST_LAG_SECONDS))
        left = come_to_rest(stack, maker, wanted.quiesce_seconds)
        quiesce_seconds = time.monotonic() - began - trouble_seconds
        note_refused_late(stack)
        maker.look_for_the_late()
        verdict = judge(
            stack.population, stack.database, stack.azure.lever("GET", "state"), stack.azure.lever("GET", "billing")
        )
        verdict.stuck = left or verdict.stuck
        try:
            assert_invariants(stack.bench, stack.azure.url)
        except AssertionError as broken:
            verdict.broken_invariants.append(str(broken))
        ended = [f"{pid}: {code}" for pid, code in stack.herd.reap().items() if code != -9]
        maker.did.ended_by_themselves += ended
        return told(wanted, stack, maker, verdict, rules_after, (trouble_seconds, quiesce_seconds))


def told(
    wanted: Wanted,
    stack: Stack,
    maker: Troublemaker,
    verdict: Verdict,
    rules_after: list[dict[str, Any]],
    seconds: tuple[float, float],
) -> dict[str, Any]:
    """Everything worth keeping of a run, as JSON has it."""
    did, population = maker.did, stack.population
    recovery = did.recovery_seconds
    problems = [
        *verdict.problems,
        *(f"ended by itself: {line}" for line in did.ended_by_themselves),
        *(f"refused: {line}" for line in population.refusals),
        *(f"never claimed again: {line}" for line in did.never_claimed),
    ]
    done = plain(did)
    del done["recovery_seconds"]
    with Redis.from_url(stack.redis_url) as redis:
        redis_version = str(redis.info("server")["redis_version"])
    return {
        "command": {
            "KILLS": wanted.kills,
            "PAUSES": wanted.pauses,
            "DB_RESTARTS": wanted.restarts,
            "FLUSHES": wanted.flushes,
            "WORKERS": wanted.workers,
            "CLAIMS": f"{wanted.claims_between:g}",
            "SEED": wanted.seed,
        },
        "plan": {**asdict(wanted), **TIMES},
        "machine": asdict(Machine.this(os.cpu_count() or 0)),
        "versions": {
            "Python": platform.python_version(),
            "PostgreSQL": stack.postgres.version(),
            "Redis": redis_version,
        },
        "commit": commit(),
        "finished_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load_average": os.getloadavg()[0],
        "seconds": round(seconds[0], 1),
        "quiesce_seconds": round(seconds[1], 1),
        "kills_per_second": round(did.kills / seconds[0], 2),
        "cpu_seconds": {
            "workers, beat, API": round(cpu_seconds(stack.herd.process.pid), 1),
            "PostgreSQL": round(stack.postgres.cpu_seconds(), 1),
            "emulator": round(cpu_seconds(stack.azure.process.pid), 1),
            "harness": round(sum(os.times()[:2]), 1),
        },
        "faults": counted(rules_after, TIMES["request_timeout_seconds"]),
        "requests": requests_seen(rules_after),
        "did": done,
        "recovery": {
            "count": len(recovery),
            "p50": quantile(recovery, 0.5),
            "p99": quantile(recovery, 0.99),
            "max": max(recovery, default=None),
        },
        "chats": dict(population.answers),
        "lives": dict(population.ended),
        "api_unanswered": dict(population.api.unanswered),
        "refused_late": len(stack.refused_late),
        "refusals": population.refusals,
        "given_up": population.given_up,
        "trials": did.kills + did.pauses,
        "verdict": plain(verdict),
        "problems": problems,
        "good": not problems,
    }


def plain(record: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON has them; `asdict` would take counters apart."""
    return {
        item.name: dict(value) if isinstance(value := getattr(record, item.name), Counter) else value
        for item in fields(record)
    }


def commit() -> str:
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "?"


def _leave(_signal: int, _frame: object) -> None:
    """SIGTERM takes the way of Ctrl-C, so that nothing that was started stays behind."""
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGTERM, _leave)
    parser = argparse.ArgumentParser(description="Kill, pause, restart and flush under load; then count.")
    for name, default in asdict(Wanted()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    parser.add_argument("--json", type=Path, help="write the report here")
    parser.add_argument(
        "--publish", nargs=2, metavar=("REPORT", "NAME"), help="put a report into docs/reliability.md and end"
    )
    given = parser.parse_args()
    if given.publish:
        put_into_page(PAGE, given.publish[1], load(Path(given.publish[0])))
        return 0
    report = chaos(Wanted(**{name: getattr(given, name) for name in asdict(Wanted())}))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1, default=str) + "\n")
    print(text(report))
    return 0 if report["good"] else 1


if __name__ == "__main__":
    sys.exit(main())
