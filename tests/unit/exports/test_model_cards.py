"""What a model card says, and that nothing in it is taken for markup."""

import re
from typing import Any

import orjson

from app.exports.card import Card
from app.exports.record import RUN, Record, document, lines_of

EVIL = '<script>alert(1)</script> | `x` \n# heading\n---\n"quoted" ![](http://x)'


def card(**changes: Any) -> Card:
    facts: dict[str, Any] = {
        "origin": "openai",
        "id": "ftjob-1",
        "name": "travel",
        "status": "succeeded",
        "base_model": "gpt-4.1-mini",
        "method": "dpo",
        "hyperparameters": {"n_epochs": 3},
        "used_hyperparameters": {"n_epochs": 3, "batch_size": 1},
        "trained_tokens": 66000,
        "cost_usd": "0.33",
        "data": {
            "training": {
                "dataset": "travel",
                "number": 3,
                "sha256": "a" * 64,
                "content_sha256": "b" * 64,
                "examples": 60,
                "tokens": 22000,
                "labels": {"licence": "CC-BY-4.0"},
                "lineage": {"source": "upload"},
            }
        },
    }
    documents = {
        RUN: document(facts | changes),
        "points.jsonl": lines_of([{"step": step, "train_loss": 2 / step} for step in range(1, 60)]),
        "checkpoints.json": document([{"step": 20, "model_name": "m:ckpt-step-20", "metrics": {"loss": 0.5}}]),
        "analysis.json": document({"headline": "The training converged."}),
    }
    return Card(Record(documents))


def test_the_card_names_data_by_hash_who_chose_what_and_the_licence_of_the_data() -> None:
    told = card().markdown()
    for part in ("b" * 64, "travel@3", "| n\\_epochs | 3 | 3 | caller |", "| batch\\_size |  | 1 | platform |"):
        assert part in told
    assert "licence: CC\\-BY\\-4.0" in told
    assert "The training converged." in told
    assert "None were made of this model here." in told


def test_the_front_matter_is_yaml_with_every_value_quoted() -> None:
    head = card(base_model=EVIL[:100]).markdown().split("\n---\n")[0]
    lines = head.splitlines()
    assert lines[0] == "---"
    assert orjson.loads(lines[1].removeprefix("base_model: ")).startswith("<script>")
    assert '  - "dpo"' in lines


def test_nothing_that_people_wrote_becomes_markup() -> None:
    evil = card(name=EVIL[:150], suffix=EVIL[:100], choices=[{"setting": "x", "value": EVIL, "reason": EVIL}])
    page = evil.html()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    body = evil.markdown().split("\n---\n", 1)[1]
    assert re.search(r"(?<!\\)<", body) is None
    assert re.search(r"(?m)^# heading", body) is None
    rows = [line for line in body.splitlines() if line.startswith("| x |")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 6


def test_the_page_draws_the_curve_in_light_and_dark_and_the_text_shows_few_of_its_points() -> None:
    assert card().html().count("<svg") == 2
    rows = re.findall(r"(?m)^\| \d+ \| [\d.]+ \|$", card().markdown())
    assert 10 <= len(rows) <= 14


def test_the_same_record_makes_the_same_bytes() -> None:
    assert card().markdown() == card().markdown()
    assert card().html() == card().html()


def test_a_run_of_which_little_is_known_has_a_card_all_the_same() -> None:
    bare = {
        "origin": "openai",
        "id": "x",
        "name": "",
        "status": "failed",
        "base_model": "m",
        "method": "supervised",
    }
    told = Card(Record({RUN: document(bare)})).markdown()
    assert "What it was trained on is not known." in told
    assert "There is no curve." in told
    assert "<html" in Card(Record({RUN: document(bare)})).html()
