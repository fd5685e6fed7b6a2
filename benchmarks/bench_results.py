"""A training of a hundred thousand measured steps: read, kept, judged, served, drawn.

    python benchmarks/bench_results.py [--points 100000] [--rounds 5]

The results file has a loss and an accuracy at every step, sampled validation at every tenth and the whole
validation set ten times. First the file is read and judged in this process, then it is kept in PostgreSQL as a
worker keeps it, then a server is asked for it over HTTP, one request at a time. The round that took the
least CPU time is told: neighbours on the machine only ever add.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx2
from bench_api import Server, fill, job_id, serving
from pydantic import SecretStr

from app.bootstrap import open_workbench
from app.cli.postgres import embedded_postgres
from app.jobs import analysis, repository
from app.settings import Settings

JOBS = 20
EPOCHS = 10
MEGABYTE = 1_000_000
HEADER = "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss\n"

T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5, help="of everything")
    arguments = parser.parse_args()
    began = time.monotonic()
    print(f"{os.cpu_count()} cores; load average {os.getloadavg()[0]:.1f}; {arguments.points:,} points")
    content = results_file(arguments.points)
    results = in_this_process(content, arguments.rounds)
    with tempfile.TemporaryDirectory(prefix="bench-results-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own when we are root
        with embedded_postgres(folder / "postgres", log=folder / "postgres.log") as url:
            settings = Settings(_env_file=None, database_url=SecretStr(url), data_dir=folder / "data")
            key = fill(settings, url, JOBS)
            jobs = [job_id(JOBS, share) for share in (0.2, 0.7)]
            for job in jobs:
                keep(settings, job, results)
            with serving(folder, url) as server:
                over_http(server, key, jobs, arguments.rounds)
    print(f"{time.monotonic() - began:.0f} s in all; load average at the end {os.getloadavg()[0]:.1f}")


def results_file(points: int) -> bytes:
    """As Azure writes it: empty cells where nothing was measured; with one spike that must not be lost."""
    dice = random.Random(1)
    lines = [HEADER]
    for step in range(1, points + 1):
        done = step / points
        train = (0.2 + 2.2 * math.exp(-6 * done)) * math.exp(dice.gauss(0, 0.2))
        if step == points // 3:
            train = 25.0
        unseen = (0.5 + 2.0 * math.exp(-6 * done) + max(0.0, done - 0.5)) * math.exp(dice.gauss(0, 0.2))
        sampled = f"{unseen:.5f},{math.exp(-unseen):.5f}" if step % 10 == 0 else ","
        whole = f"{unseen:.5f}" if step % (points // EPOCHS) == 0 else ""
        lines.append(f"{step},{train:.5f},{math.exp(-train):.5f},{sampled},{whole}\n")
    return "".join(lines).encode()


def in_this_process(content: bytes, rounds: int) -> analysis.Results:
    before = memory()
    results = told("read the file", rounds, lambda: analysis.parse_results(content), len(content))
    assert len(results.points) == content.count(b"\n") - 1
    judged = told(
        "judge it",
        rounds,
        lambda: analysis.analyse(
            results,
            examples=None,
            n_epochs=EPOCHS,
            batch_size=None,
            learning_rate_multiplier=None,
            has_validation=True,
        ),
    )
    assert judged.verdict is analysis.Verdict.OVER_FITTING
    short = told("thin it to 1,000 points", rounds, lambda: analysis.thin(results, 1000))
    assert max(value for _, value in short.series("train_loss")) == 25.0, "the spike was lost"
    picture = told("draw it", rounds, lambda: analysis.chart_svg(results, title="bench"))
    print(f"{'':34}{len(picture) / 1000:9,.0f} kB of SVG")
    told("draw it in a terminal", rounds, lambda: analysis.chart_terminal(results))
    print(f"{'peak memory of these':34}{memory() - before:9,.0f} MB more than before")
    return results


def keep(settings: Settings, job: str, results: analysis.Results) -> None:
    with open_workbench(settings, pool_size=1) as bench:

        def put() -> None:
            with bench.begin() as work:
                points = ((point.step, point.values) for point in results.points)
                repository.put_points(work.session, job, points, revision=1)

        told("keep its points in PostgreSQL", 1, put)


def over_http(server: Server, key: str, jobs: list[str], rounds: int) -> None:
    one = f"/v1/jobs/{jobs[0]}"
    paths = {
        "GET …/metrics, all points": f"{one}/metrics",
        "GET …/metrics?points=1000": f"{one}/metrics?points=1000",
        "GET …/analysis": f"{one}/analysis",
        "GET …/chart.svg": f"{one}/chart.svg",
        "GET …/report.html": f"{one}/report.html",
        "GET /v1/jobs/compare, two of them": f"/v1/jobs/compare?job={jobs[0]}&job={jobs[1]}",
    }
    server.get(one, key)
    idle = peak_of(server)
    for name, path in paths.items():
        answer = told(name, rounds, lambda path=path: asked(server, path, key), cpu_seconds=server.cpu_seconds)
        print(f"{'':34}{len(answer) / 1000:9,.0f} kB")
    print(f"{'peak memory of the server':34}{peak_of(server):9,.0f} MB, {idle:,.0f} MB before")


def asked(server: Server, path: str, key: str) -> bytes:
    """With more patience than a client has by default: on a busy machine the whole curve takes seconds."""
    url, headers = f"http://127.0.0.1:{server.port}{path}", {"Authorization": f"Bearer {key}"}
    return httpx2.get(url, headers=headers, trust_env=False, timeout=120).raise_for_status().content


def told(
    name: str,
    rounds: int,
    do: Callable[[], T],
    content_bytes: int = 0,
    cpu_seconds: Callable[[], float] = time.process_time,
) -> T:
    """Do it several times, tell the one that took the least CPU time, answer the last outcome."""
    spent = []
    for _ in range(rounds):
        began, cpu = time.perf_counter(), cpu_seconds()
        outcome = do()
        spent.append((cpu_seconds() - cpu, time.perf_counter() - began))
    size = f" ({content_bytes / MEGABYTE:.1f} MB)" if content_bytes else ""
    least, took = min(spent)
    print(f"{name + size:34}{least * 1000:9,.0f} ms of CPU{took * 1000:9,.0f} ms", flush=True)
    return outcome


def memory() -> float:
    """Peak of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def peak_of(server: Server) -> float:
    status = Path(f"/proc/{server.pid}/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024 / MEGABYTE


if __name__ == "__main__":
    sys.exit(main())
