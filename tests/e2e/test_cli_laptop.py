"""`kitae up` as a person runs it: a whole life through the command line, and nothing left behind in any way it ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAVEL = ROOT / "examples" / "travel"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("KITAE_")},
    "PYTHONPATH": str(ROOT),
    "EMULATOR_CLOCK": "instant",
}
PATIENCE_SECONDS = 60

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")]


@dataclass(frozen=True)
class Laptop:
    """A running `kitae up`."""

    process: "subprocess.Popen[str]"
    directory: Path
    told: dict[str, Any]

    def kitae(self, *arguments: str, code: int = 0) -> str:
        """The command's stdout; it must end with `code`."""
        done = subprocess.run(
            [sys.executable, "-m", "app.cli.main", *arguments],
            cwd=self.directory,
            env={**ENVIRONMENT, "KITAE_DATA_DIR": str(self.directory / "var")},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS * 2,
        )
        assert done.returncode == code, f"{arguments}: {done.stderr}"
        return done.stdout

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.kitae(*arguments, "--json", code=code))


def start(directory: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "app.cli.main", "up", "--port", "0", "--json", "--data-dir", "var", *options]
    with (directory / "up.log").open("a") as log:
        return subprocess.Popen(
            command, cwd=directory, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=log, text=True
        )


@contextmanager
def laptop(directory: Path, *options: str) -> Iterator[Laptop]:
    process = start(directory, *options)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (directory / "up.log").read_text()
        yield Laptop(process, directory, json.loads(line))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def family(pid: int) -> set[int]:
    """The process and everything below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(after_name[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run; a zombie runs no more."""
    still = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            still.add(pid)
    return still


def wait_until_gone(pids: set[int], seconds: float) -> set[int]:
    deadline = time.monotonic() + seconds
    while (left := alive(pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def test_a_model_lives_its_whole_life_through_the_command_line(tmp_path: Path) -> None:
    with laptop(tmp_path) as here:
        assert here.json("connections", "check", "emulator")["ok"]
        uploaded = here.json("datasets", "upload", "travel", str(TRAVEL / "train.jsonl"), "--create")
        assert uploaded["version"]["status"] == "ready"
        assert uploaded["version"]["examples"] == 140
        here.kitae("datasets", "upload", "valid", str(TRAVEL / "validation.jsonl"), "--create")
        assert here.json("datasets", "compare", "travel", "valid")["finding"] is None
        planned = here.json("jobs", "plan", "travel", "--validation", "valid", "--epochs", "1")
        assert planned["ok"]
        assert here.kitae("jobs", "list") == "Nothing yet.\n", "a plan makes nothing"

        job = here.json("jobs", "create", "travel", "--validation", "valid", "--epochs", "1", "--wait")
        assert job["status"] == "succeeded"
        series = here.json("jobs", "metrics", job["id"])["series"]["train_loss"]
        assert series[-1] < series[0]
        assert "training" in here.kitae("jobs", "chart", job["id"])
        assert here.json("jobs", "analysis", job["id"])["analysis"]["headline"]
        types = [
            json.loads(line)["type"] for line in here.kitae("jobs", "events", job["id"], "--json").splitlines()
        ]
        assert types[0] == "job.draft"
        assert types[-1] == "job.succeeded"

        model = here.json("models", "list", "--job", job["id"])[0]
        assert here.json("models", "show", model["name"])["lineage"]["training"]["ref"] == "travel@1"
        tuned = here.json("deployments", "create", model["name"], "--hours", "1")
        base = here.json("deployments", "create", "gpt-4.1-mini", "-c", "emulator", "--hours", "1")
        assert [tuned["status"], base["status"]] == ["ready", "ready"]
        question = "Can you suggest a nice hotel in Tallinn?"
        whole = here.json("deployments", "chat", tuned["name"], question, "--temperature", "0")["text"]
        streamed = here.kitae("deployments", "chat", tuned["name"], question, "--temperature", "0")
        assert streamed == whole + "\n"
        compared = here.json("compare", base["name"], tuned["name"], "-p", question, "--temperature", "0")
        answers = [answer["text"] for answer in compared["rows"][0]["answers"]]
        assert answers[1] == whole
        assert answers[0] != answers[1]
        for deployment in (tuned, base):
            assert here.json("deployments", "delete", deployment["name"])["status"] == "deleted"
        assert float(here.json("costs")["settled_usd"]) > 0


def test_a_rejected_upload_exits_with_4_and_names_the_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text("\n".join([*TRAVEL.joinpath("train.jsonl").read_text().splitlines()[:12], "{"]) + "\n")
    with laptop(tmp_path, "--no-emulator") as here:
        assert here.told["emulator"] is None
        found = here.json("datasets", "upload", "bad", str(bad), "--create", code=4)
        assert found["version"]["status"] == "rejected"
        assert [13, 13] in found["findings"][0]["lines"]
        refused = here.kitae("jobs", "create", "bad", code=1)
        assert refused == ""
        mended = here.json("datasets", "drop", "bad@1", "--line", "13")
        assert mended["version"]["status"] == "ready"
        assert mended["version"]["lineage"]["parent_number"] == 1


@pytest.mark.parametrize("end_with", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_end_leaves_no_process_and_the_next_start_knows_everything(
    tmp_path: Path, end_with: signal.Signals
) -> None:
    with laptop(tmp_path) as here:
        assert stat.S_IMODE((tmp_path / "var" / "laptop.json").stat().st_mode) == 0o600
        here.kitae("datasets", "create", "kept")
        everybody = family(here.process.pid)
        assert len(everybody) >= 4, "a database, an emulator and we"
        here.process.send_signal(end_with)
        assert here.process.wait(30) == 0
        assert wait_until_gone(everybody, 1) == set()
        before = here.told
    with laptop(tmp_path) as again:
        assert [item["name"] for item in again.json("datasets", "list")] == ["kept"]
        for same in ("key", "project", "connection", "emulator"):
            assert again.told[same] == before[same], same


def test_when_it_is_killed_its_children_end_too_and_a_new_start_recovers(tmp_path: Path) -> None:
    with laptop(tmp_path) as here:
        here.kitae("datasets", "create", "kept")
        everybody = family(here.process.pid)
        here.process.kill()
        here.process.wait()
        assert wait_until_gone(everybody, 15) == set()
    with laptop(tmp_path) as again:
        assert [item["name"] for item in again.json("datasets", "list")] == ["kept"]


def test_a_second_one_in_the_same_directory_is_told_where_the_first_runs(tmp_path: Path) -> None:
    with laptop(tmp_path, "--no-emulator") as here:
        second = start(tmp_path, "--no-emulator")
        assert second.wait(PATIENCE_SECONDS) == 1
        assert here.told["url"] in (tmp_path / "up.log").read_text()
        here.kitae("datasets", "list")


def test_a_taken_port_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        second = start(tmp_path, "--port", port)
        assert second.wait(PATIENCE_SECONDS) == 1
    log = (tmp_path / "up.log").read_text()
    assert f"127.0.0.1:{port}" in log
    assert "hint:" in log
    assert not (tmp_path / "var" / "postgres").exists()


def test_a_taken_emulator_port_moves_the_connection_with_the_emulator(tmp_path: Path) -> None:
    with laptop(tmp_path) as here:
        first = here.told["emulator"]
        here.process.terminate()
        here.process.wait(30)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(first.rpartition(":")[2])))
        taken.listen()
        with laptop(tmp_path) as again:
            assert again.told["emulator"] != first
            assert again.json("connections", "show", "emulator")["endpoint"] == again.told["emulator"]
            assert again.json("connections", "check", "emulator")["ok"]
