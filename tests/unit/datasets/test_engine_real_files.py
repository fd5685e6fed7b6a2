"""Every real file through the command, against what was found in it by hand, line by line."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from app.datasets.engine import Profile, check
from tests.shared_data import shared

ROOT: Final = Path(__file__).resolve().parents[3]

CLASSES: Final = {
    "json-error",
    "blank-line",
    "no-assistant",
    "fewer-than-10-examples",
    "tool-reply-without-call",
    "unknown-message-key",
    "unknown-content-part",
    "consecutive-assistant",
    "exact-duplicate",
    "conflicting-answer",
    "answer-outer-whitespace",
    "control-char",
    "zero-width",
    "crlf",
    "mixed-keys",
    "bom",
    "utf-16",
}
"""What was looked for by hand. A finding of these that was not found by hand is a false alarm; a warning or a note
of another code is further advice, and not in question here. Errors always are."""

WHOLE: Final = ""
"""Lines of a finding about the whole file."""

TOOL_PARTS: Final = "1-10, 12-18, 21-45, 47-61, 63-65, 67-76, 78-83, 85, 90"

FOUND_BY_HAND: Final[list[tuple[str, str, int, dict[str, str]]]] = [
    ("alpaca.seed_tasks.jsonl", "self-instruct", 175, {}),
    ("azdocs.marv-weight.jsonl", "chat", 3, {"fewer-than-10-examples": WHOLE}),
    (
        "azeval.synthetic_conversations.tool-parts.jsonl",
        "chat",
        90,
        {
            "unknown-message-key": "1-90",
            "unknown-content-part": TOOL_PARTS,
            "tool-reply-without-call": TOOL_PARTS,
            "consecutive-assistant": TOOL_PARTS.replace("1-10", "1-9"),
        },
    ),
    ("azproj.dpo_training_set.jsonl", "preference", 20, {}),
    ("azproj.dpo_validation_set.jsonl", "preference", 2, {"fewer-than-10-examples": WHOLE}),
    ("azproj.sft_training_set.jsonl", "chat", 10, {}),
    ("azproj.sft_validation_set.jsonl", "chat", 10, {}),
    ("fc.dataType.pretty-printed.jsonl", "unknown", 1, {"json-error": "1-57"}),
    ("fc.judge_prompts.raw-newline.jsonl", "unknown", 9, {"json-error": "9-13"}),
    ("fc.mt_bench_question.crlf.jsonl", "unknown", 80, {"crlf": "1-80", "mixed-keys": WHOLE}),
    ("ja.mt_bench_full.v1.bad-quote.jsonl", "unknown", 79, {"json-error": "50"}),
    ("java.chat-fine-tuning-data.jsonl", "chat", 10, {"exact-duplicate": "4-10"}),
    ("lf.openai_training_data.blank-lines.jsonl", "chat", 10, {"blank-line": "2, 4, 6, 8, 10, 12, 14, 16, 18"}),
    ("msft.gsm8k.chat_train.jsonl", "chat", 449, {"answer-outer-whitespace": "1-449"}),
    ("msft.gsm8k.chat_validation.jsonl", "chat", 50, {"answer-outer-whitespace": "1-50"}),
    (
        "msft.math_rft.training.v3.jsonl",
        "reinforcement",
        2661,
        {
            "exact-duplicate": "228, 311, 443, 538, 556, 653, 718, 724, 745, 747, 766, 870, 874, 913, 946, 949, 959,"
            " 991, 1005, 1052, 1055, 1066, 1072, 1104, 1124, 1142, 1155, 1195, 1209, 1227, 1258, 1279, 1287, 1393,"
            " 1406, 1473, 1502, 1513, 1534, 1543, 1567, 1569, 1580-1581, 1599, 1605-1606, 1625, 1627, 1643, 1660,"
            " 1662, 1665, 1669, 1694, 1700, 1703, 1709, 1719, 1722, 1729, 1741, …128",
            "control-char": "263, 348, 1405, 2636",
        },
    ),
    (
        "msft.math_rft.validation.v3.jsonl",
        "reinforcement",
        565,
        {"exact-duplicate": "249, 361, 473, 503", "control-char": "450"},
    ),
    ("msft.rft_countdown.train_100.jsonl", "reinforcement", 100, {}),
    ("msft.rft_countdown.train_raw.jsonl", "unknown", 245, {}),
    ("msft.rft_countdown.valid_50.jsonl", "reinforcement", 50, {}),
    ("msft.rft_toolcall.train_tool.jsonl", "reinforcement", 10, {}),
    (
        "msft.sarcasm.qa.jsonl",
        "question-answer",
        500,
        {
            "exact-duplicate": "265, 291, 313-314, 339, 355, 363, 375, 387, 397, 399, 411, 423, 435, 446-447, 459,"
            " 471, 482-483"
        },
    ),
    ("msft.stock_toolcall_training.jsonl", "chat", 86, {}),
    ("msft.stock_toolcall_validation.jsonl", "chat", 10, {}),
    ("msft.zava.rft_train.jsonl", "reinforcement", 10, {}),
    ("mslearn.test.history-agent.jsonl", "prompt-flow", 2, {}),
    ("mslearn.travel-finetune-hotel.jsonl", "chat", 10, {}),
    (
        "mslearn.travel-finetune-validation.jsonl",
        "chat",
        5,
        {"no-assistant": "1-5", "fewer-than-10-examples": WHOLE},
    ),
    ("nlbse.bitcoin.jsonl", "chat", 300, {"exact-duplicate": "2"}),
    ("nlbse.niche_dataset.prompt-completion.jsonl", "prompt-completion", 50, {}),
    ("nlbse.opencv.jsonl", "chat", 300, {}),
    ("nlbse.tensorflow.jsonl", "chat", 300, {"control-char": "89", "zero-width": "95"}),
    ("ruby.batch-requests.jsonl", "batch-request", 2, {}),
    ("ruby.missing_quote.jsonl", "prompt-completion", 1, {"json-error": "2"}),
    ("ruby.sarcastic.jsonl", "chat", 10, {}),
    ("ruby.sentiment.prompt-completion.jsonl", "prompt-completion", 2, {}),
    ("seed002.novel.train.jsonl", "chat", 24, {"conflicting-answer": "18, 21, 23"}),
    ("seed002.novel.valid.jsonl", "chat", 9, {"fewer-than-10-examples": WHOLE}),
    ("zhtw.ming.prepared.prompt-completion.jsonl", "prompt-completion", 107, {}),
    ("zhtw.ming.raw.prompt-completion.jsonl", "prompt-completion", 107, {}),
]
"""File, what it is, its rows, and code -> lines. `…128` = so many in all, of which the first were written down."""

_LAYOUT = "by hand, defects were looked for within a layout; that its rows have no messages is one to Azure"
_ONE_DEFECT = "one object over several lines is one defect with a name and a repair, not as many torn lines"
_CONVERTED = "once it is converted, its rows are examples and can be counted"
_TINY = "of another kind altogether, which is said instead of how few there are"

ARGUED: Final[list[tuple[str, str, str | None, str]]] = [
    ("alpaca.seed_tasks.jsonl", "needs-conversion", WHOLE, _LAYOUT),
    (
        "azeval.synthetic_conversations.tool-parts.jsonl",
        "tools-shape",
        "1-83, 85, 90",
        'tools stand as {"name": …} without {"type": "function", "function": …} around it, which was not looked for',
    ),
    ("fc.dataType.pretty-printed.jsonl", "json-error", None, _ONE_DEFECT),
    ("fc.dataType.pretty-printed.jsonl", "pretty-printed", "1-57", _ONE_DEFECT),
    ("fc.dataType.pretty-printed.jsonl", "no-messages", "1", _LAYOUT),
    ("fc.judge_prompts.raw-newline.jsonl", "json-error", None, _ONE_DEFECT),
    ("fc.judge_prompts.raw-newline.jsonl", "raw-line-break", "9-13", _ONE_DEFECT),
    ("fc.judge_prompts.raw-newline.jsonl", "no-messages", "1-9", _LAYOUT),
    ("fc.mt_bench_question.crlf.jsonl", "no-messages", "1-80", _LAYOUT),
    ("ja.mt_bench_full.v1.bad-quote.jsonl", "no-messages", "1-49, 51-80", _LAYOUT),
    ("msft.rft_countdown.train_raw.jsonl", "no-messages", "1-245", _LAYOUT),
    ("msft.sarcasm.qa.jsonl", "needs-conversion", WHOLE, _LAYOUT),
    ("msft.sarcasm.qa.jsonl", "conflicting-answer", "74", "read as conversations, one question has two answers"),
    ("mslearn.test.history-agent.jsonl", "wrong-kind", "1-2", f"{_LAYOUT}; {_TINY}"),
    ("nlbse.niche_dataset.prompt-completion.jsonl", "needs-conversion", WHOLE, _LAYOUT),
    ("ruby.batch-requests.jsonl", "wrong-kind", "1-2", f"{_LAYOUT}; {_TINY}"),
    ("ruby.missing_quote.jsonl", "needs-conversion", WHOLE, _LAYOUT),
    ("ruby.missing_quote.jsonl", "fewer-than-10-examples", WHOLE, _CONVERTED),
    ("ruby.sentiment.prompt-completion.jsonl", "needs-conversion", WHOLE, _LAYOUT),
    ("ruby.sentiment.prompt-completion.jsonl", "fewer-than-10-examples", WHOLE, _CONVERTED),
    ("zhtw.ming.prepared.prompt-completion.jsonl", "needs-conversion", WHOLE, _LAYOUT),
    ("zhtw.ming.raw.prompt-completion.jsonl", "needs-conversion", WHOLE, _LAYOUT),
]
"""Where the check says something else: file, code, our lines (None = not said), and why."""

NOT_LINES: Final = [
    ("fc.dummy_conversation.sharegpt.json", "sharegpt", "json-array"),
    ("lf.alpaca_en_demo.json", "alpaca", "json-array"),
    ("lf.dpo_en_demo.json", "preference", "json-array"),
    ("lf.glaive_toolcall_en_demo.json", "sharegpt", "json-array"),
    ("lf.identity.template-vars.json", "alpaca", "json-array"),
    ("lf.mllm_demo.json", "chat", "json-array"),
    ("mslearn.travel_evaluation_data.csv", "csv", "needs-conversion"),
]
"""Files that are no JSON Lines: what each is, and a code that must stand in its findings."""

FIXABLE: Final = {
    "alpaca.seed_tasks.jsonl",
    "lf.openai_training_data.blank-lines.jsonl",
    "msft.sarcasm.qa.jsonl",
    "nlbse.niche_dataset.prompt-completion.jsonl",
    "zhtw.ming.prepared.prompt-completion.jsonl",
    "zhtw.ming.raw.prompt-completion.jsonl",
}
"""Azure would refuse them, and every error in them can be mended."""


def kitae(*arguments: str, directory: Path) -> Any:
    """What `kitae datasets check` says as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "app.cli.main", "datasets", "check", "--json", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in {0, 1}, done.stderr
    told = json.loads(done.stdout)
    ready = all(file["verdict"] == "ready" for file in told["files"])
    assert done.returncode == (0 if ready else 1)
    return told


@cache
def every_chat_file() -> dict[str, Any]:
    """One call for all of them; what was said of each."""
    folder = shared("1-chat")
    names = [path.name for path in sorted(folder.iterdir()) if path.is_file()]
    return {file["path"]: file for file in kitae(*names, directory=folder)["files"]}


def spread(text: str) -> list[int]:
    """Line numbers of `1-3, 7`."""
    ends = [part.split("-") for part in text.split(", ") if part and not part.startswith("…")]
    return [line for first, *rest in ends for line in range(int(first), int((rest or [first])[0]) + 1)]


def lines_of(finding: dict[str, Any]) -> list[int]:
    return [line for first, last in finding["lines"] for line in range(first, last + 1)]


@pytest.mark.parametrize(("name", "kind", "rows", "by_hand"), FOUND_BY_HAND, ids=[row[0] for row in FOUND_BY_HAND])
def test_a_real_file_has_the_findings_that_were_found_by_hand(
    name: str, kind: str, rows: int, by_hand: dict[str, str]
) -> None:
    told = every_chat_file()[name]
    expected = dict(by_hand)
    for file, code, ours, _ in ARGUED:
        if file == name and ours is None:
            del expected[code]
        elif file == name and ours is not None:
            expected[code] = ours
    in_question = {f["code"]: f for f in told["findings"] if f["code"] in CLASSES or f["severity"] == "error"}
    assert in_question.keys() == expected.keys()
    for code, written in expected.items():
        lines, found = spread(written), lines_of(in_question[code])
        assert found[: len(lines)] == lines
        in_all = int(written.partition("…")[2] or len(lines))
        assert (len(found), in_question[code]["count"]) == (in_all, in_all or 1)
    assert (told["detected"], told["examples"]) == (kind, rows)
    errors = [finding for finding in in_question.values() if finding["severity"] == "error"]
    assert told["verdict"] == ("fixable" if name in FIXABLE else "rejected" if errors else "ready")
    assert all(finding["remedy"] for finding in told["findings"])


@pytest.mark.parametrize(("name", "kind", "code"), NOT_LINES, ids=[row[0] for row in NOT_LINES])
def test_a_real_file_that_is_no_json_lines_is_told_as_what_it_is(name: str, kind: str, code: str) -> None:
    told = every_chat_file()[name]
    assert told["detected"] == kind
    assert code in {finding["code"] for finding in told["findings"]}
    assert told["verdict"] != "ready"


def test_a_text_in_utf_16_is_told_as_such() -> None:
    told = every_chat_file()["utf16.blns.2015a.txt"]
    assert told["verdict"] != "ready"
    assert "utf-16" in {finding["code"] for finding in told["findings"]}


def test_no_real_file_goes_unexamined() -> None:
    known = {row[0] for row in FOUND_BY_HAND} | {row[0] for row in NOT_LINES} | {"utf16.blns.2015a.txt"}
    assert every_chat_file().keys() == known


def test_each_argued_difference_is_one_and_has_its_reason() -> None:
    by_hand = {name: expected for name, _, _, expected in FOUND_BY_HAND}
    for name, code, ours, reason in ARGUED:
        assert by_hand[name].get(code) != ours, f"{name}, {code}: no difference"
        assert reason


def test_62_validation_examples_of_the_mathematics_set_stand_in_its_training_file() -> None:
    training, validation = "msft.math_rft.training.v3.jsonl", "msft.math_rft.validation.v3.jsonl"
    leakage = kitae(training, "--validation", validation, directory=shared("1-chat"))["leakage"]
    assert leakage["exact"] == 62
    pair, near = leakage["pairs"]
    assert (pair["training"], pair["validation"], pair["kind"], pair["count"]) == (
        training,
        validation,
        "exact",
        62,
    )
    assert len(lines_of(pair)) == 62
    assert (near["kind"], near["count"], leakage["near"]) == ("near", 1, 1)


def test_no_whole_example_of_the_novels_validation_set_stands_in_its_training_file() -> None:
    """By hand, prompts were found in both; each has another answer there, so the loss is not spoilt word for word."""
    told = kitae(
        "seed002.novel.train.jsonl", "--validation", "seed002.novel.valid.jsonl", directory=shared("1-chat")
    )
    assert told["leakage"]["exact"] == 0


def test_a_defect_is_told_with_its_place_in_the_line() -> None:
    first = {
        name: {finding["code"]: finding["examples"] for finding in every_chat_file()[name]["findings"]}
        for name in ("ja.mt_bench_full.v1.bad-quote.jsonl", "ruby.missing_quote.jsonl")
    }
    assert first["ja.mt_bench_full.v1.bad-quote.jsonl"]["json-error"][0].startswith("line 50: column 309: ")
    assert first["ruby.missing_quote.jsonl"]["json-error"] == [
        "line 2: column 76: the text that begins here is never closed; a quote is missing"
    ]


def test_repetitions_name_the_line_that_they_repeat() -> None:
    found = {f["code"]: f for f in every_chat_file()["msft.math_rft.training.v3.jsonl"]["findings"]}
    assert found["exact-duplicate"]["examples"][:2] == ["line 228: as line 7", "line 311: as line 309"]


def test_only_weighted_answers_count_as_trained() -> None:
    with shared("1-chat/azdocs.marv-weight.jsonl").open("rb") as source:
        tokens = check(source, Profile()).tokens
    assert 0 < tokens.trained < tokens.by_role["assistant"]


def test_results_files_are_refused_as_what_they_are() -> None:
    names = ("legacy.titans.result0811.csv", "new.nlbse.step_metrics.csv")
    for told in kitae(*names, directory=shared("2-results"))["files"]:
        assert (told["verdict"], told["detected"]) == ("rejected", "results-csv")
        assert [finding["code"] for finding in told["findings"]] == ["wrong-kind"]


def test_every_case_of_the_json_test_suite_gets_an_answer_and_no_broken_one_passes_as_json() -> None:
    folder = shared("5-json")
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.json"))]
    files = kitae(*names, directory=folder)["files"]
    assert [told["path"] for told in files] == names
    for told in files:
        case = Path(told["path"]).name
        codes = {finding["code"] for finding in told["findings"]}
        assert told["verdict"] != "ready", case  # a chat row is not among them
        if case.startswith("n_"):
            assert codes & {"json-error", "invalid-utf-8", "not-a-number", "empty-file"}, case
        if case.startswith("y_"):
            assert not codes & {"json-error", "invalid-utf-8", "not-a-number", "number-out-of-range"}, case
