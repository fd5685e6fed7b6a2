"""Every real chat file, with the defects that were found in it by hand: codes, counts and lines."""

import pytest

from app.datasets.engine import Finding, Limits, Profile, Report, check
from tests.shared_data import shared

Lines = dict[str, list[int]]

PROFILE = Profile("o200k_base", Limits(tokens_per_example=65_536))


def spread(*parts: int | tuple[int, int]) -> list[int]:
    """Line numbers from single ones and ranges."""
    return [line for part in parts for line in ([part] if isinstance(part, int) else range(part[0], part[1] + 1))]


TOOL_PART_LINES = spread((1, 10), (12, 18), (21, 45), (47, 61), (63, 65), (67, 76), (78, 83), 85, 90)

FILES: list[tuple[str, str, int, Lines]] = [
    ("azdocs.marv-weight.jsonl", "chat", 3, {"fewer-than-10-examples": []}),
    (
        "azeval.synthetic_conversations.tool-parts.jsonl",
        "chat",
        90,
        {
            "unknown-message-key": spread((1, 90)),
            "unknown-content-part": TOOL_PART_LINES,
            "tool-reply-without-call": TOOL_PART_LINES,
            "consecutive-assistant": [line for line in TOOL_PART_LINES if line != 10],
            "tools-shape": spread((1, 83), 85, 90),  # {"name": …} without the function around it
        },
    ),
    ("azproj.sft_training_set.jsonl", "chat", 10, {}),
    ("azproj.sft_validation_set.jsonl", "chat", 10, {}),
    ("azproj.dpo_training_set.jsonl", "preference", 20, {"wrong-kind": spread((1, 20))}),
    ("azproj.dpo_validation_set.jsonl", "preference", 2, {"wrong-kind": [1, 2]}),
    ("alpaca.seed_tasks.jsonl", "self-instruct", 175, {"wrong-kind": spread((1, 175))}),
    (
        "fc.dataType.pretty-printed.jsonl",
        "unknown",
        1,
        {"pretty-printed": spread((1, 57)), "no-messages": [1]},
    ),
    (
        "fc.judge_prompts.raw-newline.jsonl",
        "unknown",
        9,
        {"raw-line-break": spread((9, 13)), "no-messages": spread((1, 9))},
    ),
    (
        "fc.mt_bench_question.crlf.jsonl",
        "unknown",
        80,
        {"crlf": spread((1, 80)), "mixed-keys": [], "no-messages": spread((1, 80))},
    ),
    ("fc.dummy_conversation.sharegpt.json", "sharegpt", 0, {"json-array": [], "wrong-kind": []}),
    (
        "ja.mt_bench_full.v1.bad-quote.jsonl",
        "unknown",
        79,
        {"json-error": [50], "no-messages": spread((1, 49), (51, 80))},
    ),
    ("java.chat-fine-tuning-data.jsonl", "chat", 10, {"exact-duplicate": spread((4, 10))}),
    ("lf.alpaca_en_demo.json", "alpaca", 0, {"json-array": [], "wrong-kind": []}),
    ("lf.dpo_en_demo.json", "preference", 0, {"json-array": [], "wrong-kind": []}),
    ("lf.mllm_demo.json", "chat", 0, {"json-array": []}),
    ("lf.openai_training_data.blank-lines.jsonl", "chat", 10, {"blank-line": list(range(2, 19, 2))}),
    ("msft.gsm8k.chat_train.jsonl", "chat", 449, {"answer-outer-whitespace": spread((1, 449))}),
    ("msft.gsm8k.chat_validation.jsonl", "chat", 50, {"answer-outer-whitespace": spread((1, 50))}),
    (
        "msft.math_rft.validation.v3.jsonl",
        "reinforcement",
        565,
        {"wrong-kind": spread((1, 565)), "exact-duplicate": [249, 361, 473, 503], "control-char": [450]},
    ),
    ("msft.rft_countdown.train_100.jsonl", "reinforcement", 100, {"wrong-kind": spread((1, 100))}),
    ("msft.rft_countdown.train_raw.jsonl", "unknown", 245, {"no-messages": spread((1, 245))}),
    ("msft.rft_toolcall.train_tool.jsonl", "reinforcement", 10, {"wrong-kind": spread((1, 10))}),
    (
        "msft.sarcasm.qa.jsonl",
        "question-answer",
        500,
        {
            "wrong-kind": spread((1, 500)),
            "exact-duplicate": spread(
                265,
                291,
                (313, 314),
                339,
                355,
                363,
                375,
                387,
                397,
                399,
                411,
                423,
                435,
                (446, 447),
                459,
                471,
                (482, 483),
            ),
        },
    ),
    ("msft.stock_toolcall_training.jsonl", "chat", 86, {}),
    ("msft.stock_toolcall_validation.jsonl", "chat", 10, {}),
    ("msft.zava.rft_train.jsonl", "reinforcement", 10, {"wrong-kind": spread((1, 10))}),
    ("mslearn.test.history-agent.jsonl", "prompt-flow", 2, {"wrong-kind": [1, 2]}),
    ("mslearn.travel-finetune-hotel.jsonl", "chat", 10, {}),
    (
        "mslearn.travel-finetune-validation.jsonl",
        "chat",
        5,
        {"no-assistant": spread((1, 5)), "fewer-than-10-examples": []},
    ),
    ("mslearn.travel_evaluation_data.csv", "csv", 0, {"wrong-kind": [], "bom": []}),
    ("nlbse.bitcoin.jsonl", "chat", 300, {"exact-duplicate": [2]}),
    ("nlbse.opencv.jsonl", "chat", 300, {}),
    ("nlbse.tensorflow.jsonl", "chat", 300, {"control-char": [89], "zero-width": [95]}),
    ("nlbse.niche_dataset.prompt-completion.jsonl", "prompt-completion", 50, {"wrong-kind": spread((1, 50))}),
    ("ruby.batch-requests.jsonl", "batch-request", 2, {"wrong-kind": [1, 2]}),
    ("ruby.missing_quote.jsonl", "prompt-completion", 1, {"json-error": [2], "wrong-kind": [1]}),
    ("ruby.sarcastic.jsonl", "chat", 10, {}),
    ("ruby.sentiment.prompt-completion.jsonl", "prompt-completion", 2, {"wrong-kind": [1, 2]}),
    ("seed002.novel.train.jsonl", "chat", 24, {"conflicting-answer": [18, 21, 23]}),
    ("seed002.novel.valid.jsonl", "chat", 9, {"fewer-than-10-examples": []}),
    ("utf16.blns.2015a.txt", "unknown", 0, {"utf-16": []}),
    ("zhtw.ming.raw.prompt-completion.jsonl", "prompt-completion", 107, {"wrong-kind": spread((1, 107))}),
]

READY = {
    "azproj.sft_training_set.jsonl",
    "azproj.sft_validation_set.jsonl",
    "java.chat-fine-tuning-data.jsonl",
    "msft.gsm8k.chat_train.jsonl",
    "msft.gsm8k.chat_validation.jsonl",
    "msft.stock_toolcall_training.jsonl",
    "msft.stock_toolcall_validation.jsonl",
    "mslearn.travel-finetune-hotel.jsonl",
    "nlbse.bitcoin.jsonl",
    "nlbse.opencv.jsonl",
    "nlbse.tensorflow.jsonl",
    "ruby.sarcastic.jsonl",
    "seed002.novel.train.jsonl",
}


def report_on(name: str) -> Report:
    with shared(f"1-chat/{name}").open("rb") as source:
        return check(source, PROFILE)


def lines_of(finding: Finding) -> list[int]:
    return [line for first, last in finding.lines for line in range(first, last + 1)]


@pytest.mark.parametrize(("name", "kind", "examples", "expected"), FILES, ids=[row[0] for row in FILES])
def test_a_real_file_has_the_findings_that_were_found_by_hand(
    name: str, kind: str, examples: int, expected: Lines
) -> None:
    report = report_on(name)
    assert {finding.code: lines_of(finding) for finding in report.findings} == expected
    assert (report.format, report.examples) == (kind, examples)
    assert (report.verdict == "ready") == (name in READY)
    assert all(finding.count == (len(lines_of(finding)) or 1) for finding in report.findings)


def test_the_reinforcement_set_of_2661_rows_has_its_128_repetitions_and_4_control_characters() -> None:
    found = {finding.code: finding for finding in report_on("msft.math_rft.training.v3.jsonl").findings}
    assert found.keys() == {"wrong-kind", "exact-duplicate", "control-char"}
    assert found["exact-duplicate"].count == 128
    assert lines_of(found["exact-duplicate"])[:5] == [228, 311, 443, 538, 556]
    assert found["exact-duplicate"].examples[:2] == ("line 228: as line 7", "line 311: as line 309")
    assert lines_of(found["control-char"]) == [263, 348, 1405, 2636]


def test_an_unescaped_quote_is_named_by_line_and_column() -> None:
    found = {finding.code: finding for finding in report_on("ja.mt_bench_full.v1.bad-quote.jsonl").findings}
    assert found["json-error"].examples[0].startswith("line 50: column 309: ")


def test_a_missing_quote_is_named_where_its_text_begins() -> None:
    found = {finding.code: finding for finding in report_on("ruby.missing_quote.jsonl").findings}
    assert found["json-error"].examples == (
        "line 2: column 76: the text that begins here is never closed; a quote is missing",
    )


def test_only_weighted_answers_count_as_trained() -> None:
    tokens = report_on("azdocs.marv-weight.jsonl").tokens
    assert 0 < tokens.trained < tokens.by_role["assistant"]


@pytest.mark.parametrize("name", ["legacy.titans.result0811.csv", "new.nlbse.step_metrics.csv"])
def test_a_results_file_is_refused_as_what_it_is(name: str) -> None:
    with shared(f"2-results/{name}").open("rb") as source:
        report = check(source, PROFILE)
    assert (report.verdict, report.format) == ("rejected", "results-csv")
    assert [finding.code for finding in report.findings] == ["wrong-kind"]


def test_every_report_on_a_real_file_is_small() -> None:
    for name, *_ in FILES:
        assert len(str(report_on(name).to_json())) < 64 * 1024
