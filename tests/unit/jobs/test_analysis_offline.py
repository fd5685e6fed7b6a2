"""Results files and data judged on this machine: real files, their exit codes, and the novel set of a field report."""

import base64
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from shared_data import shared

from app.cli.analysing import Known, judge_file
from app.datasets import engine
from app.generation.craft.coverage import ROWS_MAX, cover
from app.jobs.analysis import Verdict, analyse, parse_results

REAL = Path(__file__).parents[2] / "data" / "results"


def kitae(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "app.cli.main", "jobs", "analyse", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_every_file_is_told_in_json_and_the_worst_decides_the_exit_code(tmp_path: Path):
    wrapped = tmp_path / "from-azure.csv"
    wrapped.write_bytes(base64.b64encode((REAL / "new.nlbse.step_metrics.csv").read_bytes()))
    foreign = REAL / "notours.cnn_training_history.csv"
    done = kitae(wrapped, REAL / "legacy.titans.result0811.csv", foreign, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 2
    assert [one.get("verdict") for one in told] == ["converged", "over_fitting", None]
    for one in told[:2]:
        assert {"verdict", "best_step", "evidence", "advice", "confidence", "next_experiment"} <= set(one)
    assert told[1]["from_step"] == told[1]["best_step"] == 177
    assert told[2]["error"]["line"] == 1
    assert "It looks like the history of a Keras or PyTorch training" in told[2]["error"]["message"]
    assert "no `step` column" in done.stderr


def test_a_person_reads_verdict_confidence_next_step_and_the_curve():
    done = kitae(REAL / "legacy.titans.result0811.csv", "--epochs", "4", "--examples", "107")
    assert done.returncode == 1
    for wanted in (
        "over-fitting: Over-fitting from step 177 on",
        "confidence: medium",
        "next: ",
        "▲ best: step 177",
    ):
        assert wanted in done.stdout
    assert "n_epochs 4 → 2" in done.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Wall time,Step,Value\n1,2,3\n", "TensorBoard"),
        (b"epoch,loss,eval_loss\n1,2,3\n", "Hugging Face Trainer"),
        (b"step;train_loss\n1;2\n", "semicolons"),
        (b'{"step": 1, "train_loss": 2}\n', "JSON"),
        (b"prompt,completion\na,b\n", "a dataset"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_it_looks_like(tmp_path: Path, content: bytes, says: str):
    with pytest.raises(ValueError, match=says):
        parse_results(content)


# ── the novel set of a field report: 24 examples, 9 for validation ──────────


def novel(part: str) -> Path:
    return shared(f"1-chat/seed002.novel.{part}.jsonl")


def rows(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def asked(row: dict[str, Any]) -> str:
    return str(row["messages"][1]["content"])


def test_validation_prompts_of_the_novel_that_stand_in_its_training_are_named():
    training, validation = novel("train"), novel("valid")
    both = io.BytesIO(training.read_bytes().rstrip(b"\n") + b"\n" + validation.read_bytes())
    report = engine.check(both, engine.Profile())
    conflicting = next(finding for finding in report.findings if finding.code == "conflicting-answer")
    lines = {line for first, last in conflicting.lines for line in range(first, last + 1)}
    leaked = {line - 24 for line in lines if line > 24}
    prompts = [asked(row) for row in rows(training)]
    by_hand = {at for at, row in enumerate(rows(validation), start=1) if asked(row) in prompts}
    assert leaked == by_hand == {3, 5, 7}
    told = " ".join(conflicting.examples) + conflicting.message
    assert "line" in told


def test_ways_of_asking_that_the_novel_lacks_are_named():
    told = [(at, asked(row), row["messages"][2]["content"]) for at, row in enumerate(rows(novel("train")), start=1)]
    report = cover(told, rows_max=ROWS_MAX).to_json()
    assert [fact["fact"] for fact in report["facts"]] == ["香坂 義孝"]
    missing = set(report["facts"][0]["missing"])
    assert {"short-name", "name-only", "name-in-kana", "typos", "keywords", "reordered"} <= missing
    assert not {"full-name", "formal", "casual"} & missing


def test_nine_validation_examples_of_the_novel_certify_nothing(tmp_path: Path):
    file = tmp_path / "results.csv"
    lines = ["step,train_loss,full_valid_loss"]
    lines += [
        f"{step},{0.05 + 3 * math.exp(-step / 9):.5f},{0.69 if step % 24 == 0 else ''}" for step in range(1, 73)
    ]
    file.write_text("\n".join(lines) + "\n")
    judged = judge_file(file, Known(n_epochs=3, batch_size=1, training=novel("train"), validation=novel("valid")))
    assert judged.analysis.verdict is Verdict.VALIDATION_TOO_SMALL
    assert "9 validation examples cannot say" in judged.analysis.headline
    assert judged.analysis.summary["epochs"] == 3
    without = analyse(
        judged.results,
        examples=24,
        n_epochs=3,
        batch_size=1,
        learning_rate_multiplier=None,
        has_validation=True,
    )
    assert without.verdict is Verdict.CONVERGED
