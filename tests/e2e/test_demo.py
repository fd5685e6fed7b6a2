"""The demo on small data: what it says is true, it cleans up, and it ends well or badly as its data deserve."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.shared_data import shared

ROOT = Path(__file__).resolve().parents[2]
TRAVEL = ROOT / "examples" / "travel"

pytestmark = pytest.mark.e2e


def demo(directory: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KITAE_")}
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", "demo", "--instant", "--json", "--directory", "demo", *options],
        cwd=directory,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def small(directory: Path, *, lines: int = 24) -> Path:
    file = directory / "small.jsonl"
    kept = (TRAVEL / "train.jsonl").read_text(encoding="utf-8").splitlines()[:lines]
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return file


def state_of_azure(directory: Path) -> Any:
    """What the demo's emulator still holds, asked of an emulator that wakes up on its kept state."""
    command = [
        sys.executable,
        "-m",
        "emulator",
        "--port",
        "0",
        "--state",
        str(directory / "demo/instance/emulator"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EMULATOR_CLOCK": "instant"}
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as emulator:
        assert emulator.stdout is not None
        url = emulator.stdout.readline().rpartition(" ")[2].strip()
        try:
            return httpx2.get(f"{url}/_emulator/state", timeout=20).json()
        finally:
            emulator.terminate()


def test_what_the_demo_says_of_a_small_set_is_true(tmp_path: Path) -> None:
    data, validation = small(tmp_path), TRAVEL / "validation.jsonl"
    done = demo(tmp_path, "--data", str(data), "--validation", str(validation))
    assert done.returncode == 0, done.stderr
    story = told(done)
    assert set(story) == {"dataset", "job", "model", "deployment", "answers", "cost", "cleaned_up"}
    assert story["dataset"]["examples"] == 24
    assert story["dataset"]["verdict"] == "ready"
    assert story["job"]["status"] == "succeeded"
    assert story["job"]["train_loss_last"] < story["job"]["train_loss_first"]
    assert story["job"]["valid_loss_last"] is not None
    assert story["job"]["checkpoints"] > 0
    assert story["model"]["remote_name"].endswith("small")
    assert story["deployment"]["status"] == "deleted"
    assert float(story["cost"]["training_usd"]) > 0
    held_out = validation.read_text(encoding="utf-8")
    trained_on = data.read_text(encoding="utf-8")
    assert len(story["answers"]) == 5
    for answer in story["answers"]:
        assert json.dumps(answer["question"], ensure_ascii=False) in held_out
        assert json.dumps(answer["question"], ensure_ascii=False) not in trained_on
        assert answer["base"]
        assert answer["base"] != answer["tuned"]
    assert story["cleaned_up"] is True
    state = state_of_azure(tmp_path)
    assert state["deployments"] == []
    assert [file["filename"] for file in state["files"] if file["purpose"] == "fine-tune"] == []
    assert [job["phase"] for job in state["jobs"]] == ["succeeded"]
    assert (tmp_path / "demo" / "small-loss.svg").read_text(encoding="utf-8").startswith("<svg")


def test_a_rejected_file_is_explained_and_nothing_is_trained(tmp_path: Path) -> None:
    data = small(tmp_path, lines=12)
    with data.open("a", encoding="utf-8") as file:
        file.write('{"messages": [{"role": "user", "content": "x"}\n')
    done = demo(tmp_path, "--data", str(data))
    assert done.returncode == 4
    assert "line 13" in done.stderr
    assert "Traceback" not in done.stderr
    story = told(done)
    assert story["dataset"]["verdict"] == "rejected"
    assert story["job"] is None
    assert story["findings"]
    assert story["cleaned_up"] is True


def test_over_long_examples_are_left_out_and_a_second_run_is_as_good_as_the_first(tmp_path: Path) -> None:
    data = small(tmp_path, lines=14)
    row = json.loads(data.read_text(encoding="utf-8").splitlines()[0])
    row["messages"][1]["content"] = "word " * 70_000
    with data.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    for _run in range(2):
        done = demo(tmp_path, "--data", str(data))
        assert done.returncode == 0, done.stderr
        story = told(done)
        assert story["dataset"]["version"] == 2
        assert story["dataset"]["examples"] == 14
        assert "line 15" in done.stderr
        assert "not unseen" in done.stderr


def test_a_validation_file_that_is_rejected_is_left_out_with_a_word(tmp_path: Path) -> None:
    data = shared("1-chat/mslearn.travel-finetune-hotel.jsonl")
    validation = shared("1-chat/mslearn.travel-finetune-validation.jsonl")
    done = demo(tmp_path, "--data", str(data), "--validation", str(validation))
    assert done.returncode == 0, done.stderr
    assert "without validation" in done.stderr
    assert told(done)["job"]["valid_loss_last"] is None


def test_a_directory_that_is_not_the_demos_is_not_wiped(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("years of work")
    done = demo(tmp_path, "--set", "travel")
    assert done.returncode == 2
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "years of work"
