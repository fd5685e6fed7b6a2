"""What the check counts is what the emulated Azure bills: two implementations of one published rule."""

import json
from pathlib import Path

import pytest
from shared_data import shared

import examples
from app.datasets.engine import Profile, check
from emulator.learning.conversations import file_tokens

SHIPPED = [getattr(examples.load(name), part) for name in examples.names() for part in ("training", "validation")]
PUBLISHED = ("azproj.sft_training_set.jsonl", "mslearn.travel-finetune-hotel.jsonl", "nlbse.opencv.jsonl")


def counted_and_billed(file: Path) -> tuple[int, int]:
    with file.open("rb") as content:
        report = check(content, Profile(method=None))
    assert report.tokens.estimated == ()
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8-sig").splitlines()]
    return report.tokens.total, file_tokens(rows)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_shipped_file_counts_as_the_emulator_bills_it(file: Path) -> None:
    counted, billed = counted_and_billed(file)
    assert counted == billed


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_counts_as_the_emulator_bills_it(name: str) -> None:
    counted, billed = counted_and_billed(shared(f"1-chat/{name}"))
    assert counted == billed


@pytest.mark.parametrize(("name", "billed"), [(PUBLISHED[0], 5_000), (PUBLISHED[1], 16_000)])
def test_ten_examples_in_ten_epochs_are_what_azures_job_log_said_was_billed(name: str, billed: int) -> None:
    """The log rounds to thousands. Source: job logs of Microsoft's tutorial (2025-05) and travel lab (2026)."""
    counted, _ = counted_and_billed(shared(f"1-chat/{name}"))
    assert round(counted * 10, -3) == billed
