"""A model's whole life through Kitae against the same life by a straight script, on the same emulated Azure.

    python benchmarks/bench_life.py [--lives 5]

One life: the data in, a training to its end, its results, a deployment, one answer, the deployment gone. Kitae also
checks the data, plans, prices, keeps every status and event, registers the model and removes the training file; the
script does what a person would write with the openai SDK and ARM, and would lose everything with its process. Both
ask every 0.2 s. The emulator's clock is instant, but it does train, so most of a life is the same for both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from openai import NotFoundError, OpenAI

import app
import examples
from app.cli.children import child, last_words
from app.client import Client
from app.datasets.schemas import DatasetCreate
from app.deployments.schemas import ChatRequest, DeploymentCreate
from app.jobs.schemas import JobCreate

LOOK_SECONDS = 0.2
"""Between two looks of the script at Azure, of Kitae at Azure, and of our client at Kitae."""
PATIENCE_SECONDS = 120.0
MODEL = "gpt-4.1-mini"
SKU = {"name": "DeveloperTier", "capacity": 100}
API_VERSION = "2025-06-01"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

PACE = {
    name: str(LOOK_SECONDS)
    for name in (
        "KITAE_TICK_SECONDS",
        "KITAE_WATCH_STARTING_SECONDS",
        "KITAE_WATCH_RUNNING_SECONDS",
        "KITAE_FILE_POLL_SECONDS",
        "KITAE_DEPLOYMENT_POLL_SECONDS",
    )
}

T = TypeVar("T")


@dataclass
class Life:
    """What one life took."""

    stages: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage."""
    calls: Counter[str] = field(default_factory=Counter)
    """Requests to Azure by operation."""
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of processor time by process."""

    @property
    def seconds(self) -> float:
        return sum(self.stages.values())

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.stages[name] = time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lives", type=int, default=5, help="of each kind; one more of each goes first, uncounted")
    lives = parser.parse_args().lives
    began = time.monotonic()
    print(
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; one life of each kind to warm up",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="bench-life-") as folder, instance(Path(folder)) as running:
        found = compare(running, lives)
    tell(found)
    print(f"{time.monotonic() - began:.0f} s in all; load average at the end {os.getloadavg()[0]:.1f}")


@contextlib.contextmanager
def instance(folder: Path) -> Iterator[dict[str, Any]]:
    """`kitae up` with its emulator, as a child that ends with us."""
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own when we are root
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITAE_")}
    environment = clean | PACE | {"EMULATOR_CLOCK": "instant", "EMULATOR_LOG_REQUESTS": "100000"}
    environment["PYTHONPATH"] = str(Path(app.__file__).parent.parent)
    command = [
        sys.executable,
        "-m",
        "app.cli.main",
        "up",
        "--port",
        "0",
        "--data-dir",
        str(folder / "var"),
        "--json",
    ]
    log = folder / "log"
    with child(
        command, log=log, environment=environment, read_stdout=True, directory=folder, stop_seconds=40
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            sys.exit(f"Kitae did not start:\n{last_words(log)}")
        yield json.loads(line) | {"pid": process.pid}


def compare(running: dict[str, Any], lives: int) -> dict[str, list[Life]]:
    """Lives of both kinds in turn, each kind first as often as the other."""
    with (
        Client(running["url"], running["key"]) as kitae,
        OpenAI(base_url=f"{running['emulator']}/openai/v1/", api_key="bench") as azure,
        httpx2.Client(
            base_url=running["emulator"], headers={"Authorization": "Bearer bench"}, trust_env=False
        ) as arm,
    ):
        kinds: dict[str, Callable[[Life, int], None]] = {
            "kitae": lambda life, number: through_kitae(life, kitae, number),
            "script": lambda life, number: by_script(life, azure, arm, number),
        }
        found: dict[str, list[Life]] = {kind: [] for kind in kinds}
        for number in range(lives + 1):
            for kind in list(kinds)[:: -1 if number % 2 else 1]:
                life = observed(kinds[kind], number, arm, running["pid"])
                if number > 0:
                    found[kind].append(life)
    return found


def observed(live: Callable[[Life, int], None], number: int, emulator: httpx2.Client, pid: int) -> Life:
    """One life with what it cost, its clean-up included."""
    life = Life()
    before, cpu = last_request(emulator), cpu_seconds(pid)
    live(life, number)
    until(lambda: nothing_left(emulator))
    life.cpu = {name: seconds - cpu[name] for name, seconds in cpu_seconds(pid).items()}
    log = emulator.get("/_emulator/requests").raise_for_status().json()
    life.calls.update(entry["operation"] for entry in log if entry["number"] > before)
    return life


# ── the two lives ───────────────────────────────────────────────────────────


def through_kitae(life: Life, kitae: Client, number: int) -> None:
    name = f"travel-{number}"
    with life.stage("data"):
        kitae.datasets.create(DatasetCreate(name=name))
        kitae.datasets.upload(name, examples.load("travel").training, model=MODEL)
        until(lambda: kitae.datasets.version(f"{name}@1").status == "ready")
    with life.stage("training"):
        wanted = {"connection": "emulator", "model": MODEL, "training": f"{name}@1", "suffix": "bench"}
        job = kitae.jobs.create(JobCreate.model_validate(wanted))
        until(lambda: kitae.jobs.get(job.id).status == "succeeded")
    with life.stage("results"):
        assert kitae.jobs.results_csv(job.id).startswith(b"step,")
        model = until(
            lambda: next((found for found in kitae.models.list(job=job.id) if found.kind == "final"), None)
        )
    with life.stage("deployment"):
        deployment = kitae.deployments.create(DeploymentCreate(model=model.id, ttl_seconds=3600))
        until(lambda: kitae.deployments.get(deployment.id).status == "ready")
    with life.stage("answer"):
        question = {"messages": [{"role": "user", "content": "Where should I go in spring?"}], "max_tokens": 40}
        assert kitae.deployments.chat(deployment.id, ChatRequest.model_validate(question)).text
    with life.stage("deletion"):
        kitae.deployments.delete(deployment.id)
        until(lambda: kitae.deployments.get(deployment.id).status == "deleted")


def by_script(life: Life, azure: OpenAI, arm: httpx2.Client, number: int) -> None:
    with life.stage("data"):
        file = azure.files.create(file=examples.load("travel").training, purpose="fine-tune")
        until(lambda: azure.files.retrieve(file.id).status == "processed")
    with life.stage("training"):
        job = azure.fine_tuning.jobs.create(
            model=MODEL, training_file=file.id, suffix="bench", extra_body={"trainingType": "GlobalStandard"}
        )
        until(lambda: azure.fine_tuning.jobs.retrieve(job.id).status == "succeeded")
    with life.stage("results"):
        job = azure.fine_tuning.jobs.retrieve(job.id)
        assert azure.files.content((job.result_files or [])[0]).read().startswith(b"step,")
    name = f"script-{number}"
    path = (
        "/subscriptions/sub/resourceGroups/bench/providers/Microsoft.CognitiveServices"
        f"/accounts/emulator/deployments/{name}?api-version={API_VERSION}"
    )
    with life.stage("deployment"):
        model = {"format": "OpenAI", "name": job.fine_tuned_model, "version": "1"}
        arm.put(path, json={"sku": SKU, "properties": {"model": model}}).raise_for_status()
        until(lambda: arm.get(path).raise_for_status().json()["properties"]["provisioningState"] == "Succeeded")
    with life.stage("answer"):
        assert until(lambda: asked(azure, name))
    with life.stage("deletion"):
        arm.delete(path).raise_for_status()
        until(lambda: arm.get(path).status_code == httpx2.codes.NOT_FOUND)
    azure.files.delete(file.id)


def asked(azure: OpenAI, deployment: str) -> str | None:
    """Its answer; None while it is not awake yet."""
    try:
        answer = azure.chat.completions.create(
            model=deployment,
            messages=[{"role": "user", "content": "Where should I go in spring?"}],
            max_tokens=40,
        )
    except NotFoundError:
        return None
    return answer.choices[0].message.content


def until(look: Callable[[], T | None]) -> T:
    """What the look finds, once it finds something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(LOOK_SECONDS)
    raise TimeoutError(f"not within {PATIENCE_SECONDS:.0f} s")


# ── what is counted ─────────────────────────────────────────────────────────


def last_request(emulator: httpx2.Client) -> int:
    log = emulator.get("/_emulator/requests").raise_for_status().json()
    return int(log[-1]["number"]) if log else 0


def nothing_left(emulator: httpx2.Client) -> bool:
    """No training file and no deployment at Azure."""
    state = emulator.get("/_emulator/state").raise_for_status().json()
    files = [file for file in state["files"] if file["purpose"] == "fine-tune" and file["phase"] != "deleted"]
    return not files and not state["deployments"]


def cpu_seconds(pid: int) -> dict[str, float]:
    """Of this process, of Kitae's API and worker (one process), and of its database."""
    used = {"client": time.process_time(), "service": own_cpu_seconds(pid), "database": 0.0}
    for process in children(pid):
        if "postgres" in Path(f"/proc/{process}/comm").read_text():
            used["database"] += tree_cpu_seconds(process)
    return used


def children(pid: int) -> list[int]:
    return [
        int(text)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for text in (thread / "children").read_text().split()
    ]


def own_cpu_seconds(pid: int) -> float:
    return sum(_stat(pid)[:2]) / TICKS_PER_SECOND


def tree_cpu_seconds(pid: int) -> float:
    """With its children, also those that have ended."""
    return sum(_stat(pid)) / TICKS_PER_SECOND + sum(own_cpu_seconds(one) for one in children(pid))


def _stat(pid: int) -> list[int]:
    """User and system time, then those of children that have ended, in ticks; nothing for a process just gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except FileNotFoundError:
        return [0, 0, 0, 0]
    return [int(text) for text in fields[11:15]]


# ── the tables ──────────────────────────────────────────────────────────────


def tell(found: dict[str, list[Life]]) -> None:
    ours, theirs = found["kitae"], found["script"]
    stages = list(ours[0].stages)
    print(f"\nseconds, median of {len(ours)}{'life':>10}" + "".join(f"{stage:>12}" for stage in stages))
    for kind, lives in found.items():
        cells = [statistics.median(life.stages[stage] for life in lives) for stage in stages]
        whole = statistics.median(life.seconds for life in lives)
        print(f"{kind:20}{whole:10.2f}" + "".join(f"{cell:12.2f}" for cell in cells))
    pairs = [one.seconds - other.seconds for one, other in zip(ours, theirs, strict=True)]
    print(f"a life through Kitae took {statistics.median(pairs):+.2f} s ({min(pairs):+.2f} … {max(pairs):+.2f})")

    print(f"\ncalls to Azure per life{'all':>9}   by operation")
    for kind, lives in found.items():
        each = Counter[str]()
        for life in lives:
            each.update(life.calls)
        told = ", ".join(f"{name} {count / len(lives):.1f}" for name, count in each.most_common())
        print(f"{kind:23}{each.total() / len(lives):9.1f}   {told}")

    names = list(ours[0].cpu)
    print("\nCPU seconds per life   " + "".join(f"{name:>10}" for name in names))
    for kind, lives in found.items():
        print(
            f"{kind:23}" + "".join(f"{statistics.median(life.cpu[name] for life in lives):10.2f}" for name in names)
        )


if __name__ == "__main__":
    main()
