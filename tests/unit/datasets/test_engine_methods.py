"""Preference pairs and graded examples by their own rules, and which method a file is taken for."""

import json
from typing import Any

import pytest

from app.datasets.engine import CODES, Finding, Limits, Profile, Report, check
from app.datasets.engine.reinforcement import fields_of_grader
from app.datasets.engine.report import Method
from tests.shared_data import shared

LIMITS = Limits(tokens_per_example=1000)
USER = {"role": "user", "content": "How many moons has Mars?"}
GOOD = [{"role": "assistant", "content": "Two."}]
BAD = [{"role": "assistant", "content": "Three."}]
CALL = {"id": "c1", "type": "function", "function": {"name": "moons", "arguments": "{}"}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
REPLY = {"role": "tool", "tool_call_id": "c1", "content": "2"}
TOOL = {"type": "function", "function": {"name": "moons", "parameters": {"type": "object"}}}


def pair(**changes: Any) -> dict[str, Any]:
    row = {"input": {"messages": [USER]}, "preferred_output": GOOD, "non_preferred_output": BAD, **changes}
    return {key: value for key, value in row.items() if value is not ...}


def graded(*messages: Any, **further: Any) -> dict[str, Any]:
    return {"messages": list(messages), **further}


def sound_pair(number: int) -> dict[str, Any]:
    return pair(input={"messages": [{"role": "user", "content": f"{number} + 1?"}]})


def sound_graded(number: int) -> dict[str, Any]:
    return graded({"role": "user", "content": f"{number} + 1?"}, answer=str(number + 1))


def sound_chat(number: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"{number} + 1?"}, *GOOD]}


SOUND = {"dpo": sound_pair, "reinforcement": sound_graded, "supervised": sound_chat}


def report_on(rows: list[Any], method: Method | None, grader: dict[str, Any] | None = None) -> Report:
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return check([content], Profile("o200k_base", LIMITS, method, grader))


def found_in(row: Any, method: Method, grader: dict[str, Any] | None = None) -> dict[str, Finding]:
    """What is found in a file whose twelfth row is this, and whose others are sound."""
    report = report_on([*map(SOUND[method], range(11)), row], method, grader)
    return {finding.code: finding for finding in report.findings if finding.code != "mixed-keys"}


PAIRS: list[tuple[dict[str, Any], str, str]] = [
    (pair(input=...), "preference-shape", "/input"),
    (pair(input="How many?"), "preference-shape", "/input"),
    (pair(input={}), "preference-shape", "/input"),
    (pair(input={"messages": []}), "preference-shape", "/input"),
    (pair(input={"messages": "How many?"}), "preference-shape", "/input"),
    (pair(preferred_output=...), "preference-shape", "/preferred_output"),
    (pair(preferred_output="Two."), "preference-shape", "/preferred_output"),
    (pair(non_preferred_output=[]), "preference-shape", "/non_preferred_output"),
    (pair(non_preferred_output=GOOD[0]), "preference-shape", "/non_preferred_output"),
    (pair(preferred_output=[*GOOD, USER]), "preference-role", "/preferred_output/1/role"),
    (
        pair(non_preferred_output=[{"role": "system", "content": "x"}, *BAD]),
        "preference-role",
        "/non_preferred_output/0/role",
    ),
    (pair(non_preferred_output=GOOD), "same-preference", "/non_preferred_output"),
    (
        pair(non_preferred_output=[{"content": "Two.", "role": "assistant"}]),
        "same-preference",
        "/non_preferred_output",
    ),
    (pair(preferred_output=[REPLY]), "no-assistant", "/preferred_output"),
    (pair(input={"messages": [{"role": "system", "content": "Be brief."}]}), "no-user", "/input/messages"),
    (pair(input={"messages": [USER], "temperature": 1}), "unknown-key", "/input/temperature"),
    (pair(id=7), "unknown-key", "/id"),
    (
        pair(preferred_output=[{"role": "assistant", "content": ""}]),
        "empty-content",
        "/preferred_output/0/content",
    ),
    (pair(preferred_output=[{"role": "bot", "content": "Two."}]), "unknown-role", "/preferred_output/0/role"),
    (pair(input={"messages": ["How many?"]}), "message-shape", "/input/messages/0"),
    (pair(input={"messages": [USER], "tools": [{}]}), "tools-shape", "/input/tools/0"),
    (
        pair(input={"messages": [USER], "tools": []}, preferred_output=[CALLING]),
        "tool-not-declared",
        "/preferred_output/0/tool_calls/0/function",
    ),
    (
        pair(input={"messages": [USER], "parallel_tool_calls": 1}),
        "parallel-tool-calls-shape",
        "/input/parallel_tool_calls",
    ),
]

GRADED: list[tuple[dict[str, Any], str, str]] = [
    (graded(USER, *GOOD, answer="2"), "last-message-not-user", "/messages/1"),
    (graded(USER, {"role": "system", "content": "Be brief."}, answer="2"), "last-message-not-user", "/messages/1"),
    (graded(USER), "no-reference", ""),
    (graded(USER, tools=[TOOL]), "no-reference", ""),
    (graded({"role": "user", "content": ""}, answer="2"), "empty-content", "/messages/0/content"),
    (graded("How many?", USER, answer="2"), "message-shape", "/messages/0"),
    (graded(USER, tools=[{}], answer="2"), "tools-shape", "/tools/0"),
]


@pytest.mark.parametrize(("row", "code", "pointer"), PAIRS, ids=[f"{row[1]}-{at}" for at, row in enumerate(PAIRS)])
def test_a_broken_rule_of_a_pair_is_named_with_its_line_and_place(
    row: dict[str, Any], code: str, pointer: str
) -> None:
    finding = found_in(row, "dpo")[code]
    assert (finding.lines, finding.pointer, finding.severity) == (((12, 12),), pointer, CODES[code].severity)
    assert finding.remedy


@pytest.mark.parametrize(
    ("row", "code", "pointer"), GRADED, ids=[f"{row[1]}-{at}" for at, row in enumerate(GRADED)]
)
def test_a_broken_rule_of_a_graded_example_is_named_with_its_line_and_place(
    row: dict[str, Any], code: str, pointer: str
) -> None:
    finding = found_in(row, "reinforcement")[code]
    assert (finding.lines, finding.pointer, finding.severity) == (((12, 12),), pointer, CODES[code].severity)
    assert finding.remedy


@pytest.mark.parametrize(
    "row",
    [
        pair(),
        pair(input={"messages": [{"role": "system", "content": "Be brief."}, USER, *GOOD, USER]}),
        pair(input={"messages": [USER], "tools": [TOOL], "parallel_tool_calls": False}, preferred_output=[CALLING]),
        pair(input={"messages": [USER], "tools": [TOOL]}, preferred_output=[CALLING, REPLY, *GOOD]),
    ],
    ids=["plain", "several turns", "a call", "a call and its reply"],
)
def test_a_sound_pair_has_no_findings(row: dict[str, Any]) -> None:
    assert found_in(row, "dpo") == {}


@pytest.mark.parametrize(
    "row",
    [
        graded(USER, answer="2"),
        graded({"role": "developer", "content": "Be brief."}, USER, answer={"moons": [1, 2]}),
        graded(USER, *GOOD, USER, answer=None),
        graded(USER, tools=[TOOL], answer="2"),
    ],
    ids=["plain", "a developer and a nested reference", "several turns", "tools"],
)
def test_a_sound_graded_example_has_no_findings(row: dict[str, Any]) -> None:
    assert found_in(row, "reinforcement") == {}


def test_both_answers_of_a_pair_are_counted_as_trained() -> None:
    report = report_on([sound_pair(number) for number in range(10)], "dpo")
    assert report.tokens.trained == report.tokens.by_role["assistant"] == 10 * (2 + 2)


def test_nothing_in_a_graded_example_is_trained_and_its_members_are_counted() -> None:
    report = report_on([*map(sound_graded, range(11)), graded(USER, answer="2", topic="Mars")], "reinforcement")
    assert report.tokens.trained == 0
    assert (report.stats["fields"], report.stats["rows"]) == ({"answer": 12, "topic": 1}, 12)


GRADERS: list[tuple[Any, set[str]]] = [
    ({"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}, {"answer"}),
    ({"reference": "{{ item.answer }} or {{item.other_answer}}"}, {"answer", "other_answer"}),
    ({"reference": "{{item.solution.steps}}"}, {"solution.steps"}),
    ({"reference": "{{sample.output_text}} {item.answer} item.answer"}, set()),
    ({"type": "python", "source": "def grade(sample, item):\n    return item['a'] == item.get(\"b\")"}, {"a", "b"}),
    (
        {"type": "python", "source": "def grade(sample, item):\n    return item.get( 'a', 0) + item[ \"c d\" ]"},
        {"a", "c d"},
    ),
    (
        {
            "type": "multi",
            "graders": {
                "exact": {"type": "string_check", "reference": "{{item.answer}}"},
                "near": {"type": "multi", "graders": [{"type": "text_similarity", "reference": "{{item.text}}"}]},
            },
            "calculate_output": "exact + near",
        },
        {"answer", "text"},
    ),
    (
        {"type": "score_model", "input": [{"role": "user", "content": "Is it {{item.answer}}?"}]},
        {"answer"},
    ),
    ({}, set()),
    (None, set()),
]


@pytest.mark.parametrize(("grader", "fields"), GRADERS, ids=range(len(GRADERS)))
def test_what_a_grader_reads_of_a_row_is_found_wherever_it_stands(grader: Any, fields: set[str]) -> None:
    assert fields_of_grader(grader) == {tuple(field.split(".")) for field in fields}


NESTED: list[tuple[Any, set[str]]] = [
    (
        {"type": "string_check", "reference": "{{ item.answer.text }} {{item.answer.parts.0}}"},
        {"answer.text", "answer.parts.0"},
    ),
    (
        {"type": "python", "source": "item['answer']['text'] + item.get(\"answer\", {}).get('parts')[0]"},
        {"answer.text", "answer.parts"},
    ),
    ({"type": "string_check", "input": "{{ item.answer.lower() }}"}, {"answer"}),
]


@pytest.mark.parametrize(("grader", "fields"), NESTED, ids=range(len(NESTED)))
def test_members_inside_of_members_are_found_too(grader: Any, fields: set[str]) -> None:
    assert fields_of_grader(grader) == {tuple(field.split(".")) for field in fields}


@pytest.mark.parametrize(
    ("answer", "code", "pointer"),
    [
        ({"text": "2", "parts": ["2"]}, None, None),
        ({"text": "2", "parts": []}, "grader-field-missing", ""),
        ("2", "grader-field-missing", ""),
        ({"text": "", "parts": ["2"]}, "grader-field-empty", "/answer/text"),
    ],
)
def test_a_member_inside_of_a_member_is_looked_for_in_each_row(
    answer: Any, code: str | None, pointer: str | None
) -> None:
    grader = {"type": "string_check", "reference": "{{item.answer.text}}{{item.answer.parts.0}}"}
    sound = [graded({"role": "user", "content": f"{n}?"}, answer={"text": "2", "parts": ["2"]}) for n in range(11)]
    report = report_on([*sound, graded(USER, answer=answer)], "reinforcement", grader)
    found = {one.code: one for one in report.findings if one.code.startswith("grader")}
    assert list(found) == ([code] if code else [])
    if code:
        assert (found[code].pointer, found[code].lines) == (pointer, ((12, 12),))


def test_sums_beyond_what_azure_takes_of_one_file_are_told() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}]}
    row = {"messages": [image, *GOOD]}
    content = json.dumps(row).encode() + b"\n"
    limits = Limits(examples_with_images_max=19, tokens_times_epochs_max=60_000)
    report = check([content * 20], Profile("o200k_base", limits))
    found = {one.code: one for one in report.findings}
    assert found["too-many-image-examples"].message == "20 examples have images; Azure takes 19."
    assert f"more than {60_000 // report.tokens.total} epochs" in found["tokens-times-epochs"].message
    assert report.verdict == "rejected"
    usual = {one.code for one in check([content * 20], Profile("o200k_base")).findings}
    assert not usual & {"too-many-image-examples", "tokens-times-epochs"}


def test_a_member_that_the_grader_reads_and_a_row_has_not_is_named() -> None:
    grader = {"type": "string_check", "reference": "{{item.answer}} {{item.unit}}"}
    rows = [sound_graded(number) | {"unit": "moons"} for number in range(11)]
    report = report_on([*rows, sound_graded(11), graded(USER)], "reinforcement", grader)
    (finding,) = [finding for finding in report.findings if finding.code == "grader-field-missing"]
    assert (finding.lines, finding.pointer) == (((12, 13),), "")
    assert finding.examples == ("line 12: unit", "line 13: answer, unit")
    assert report.verdict == "rejected"


def test_messages_alone_are_enough_for_a_grader_that_reads_nothing_else_only_if_that_is_said() -> None:
    assert "no-reference" in found_in(graded(USER), "reinforcement")
    prompt_only = {"type": "score_model", "input": [{"role": "user", "content": "{{item.messages}}"}]}
    assert found_in(graded(USER), "reinforcement", prompt_only) == {}


@pytest.mark.parametrize("method", ["supervised", "dpo", "reinforcement"])
def test_a_file_is_taken_for_the_method_its_rows_are_examples_of(method: Method) -> None:
    report = report_on([SOUND[method](number) for number in range(10)], None)
    assert (report.verdict, report.method, report.findings) == ("ready", method, [])


def test_rows_of_no_method_before_the_first_example_do_not_decide() -> None:
    report = report_on([{"prompt": "a", "completion": "b"}, *map(sound_pair, range(10))], None)
    assert report.method == "dpo"
    (finding,) = [finding for finding in report.findings if finding.code == "wrong-kind"]
    assert finding.lines == ((1, 1),)


@pytest.mark.parametrize("others", ["supervised", "reinforcement"])
@pytest.mark.parametrize("glance", [True, False])
def test_in_a_mixed_file_the_first_example_decides_and_the_others_are_of_the_wrong_kind(
    others: str, *, glance: bool
) -> None:
    rows = [*map(sound_pair, range(11)), *map(SOUND[others], range(3))]
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    report = check([content], Profile("o200k_base", LIMITS, None), at_a_glance=glance)
    assert (report.method, report.examples, report.verdict) == ("dpo", 11, "rejected")
    (finding,) = [finding for finding in report.findings if finding.code == "wrong-kind"]
    assert finding.lines == ((12, 14),)


@pytest.mark.parametrize("wanted", ["supervised", "dpo", "reinforcement"])
@pytest.mark.parametrize("given", ["supervised", "dpo", "reinforcement"])
def test_a_file_of_another_method_than_asked_for_is_never_ready(wanted: Method, given: Method) -> None:
    report = report_on([SOUND[given](number) for number in range(12)], wanted)
    assert (report.verdict == "ready") == (wanted == given)


def test_a_chat_file_asked_for_reinforcement_is_told_that_it_ends_with_the_answer() -> None:
    report = report_on([sound_chat(number) for number in range(12)], "reinforcement")
    found = {finding.code: finding.lines for finding in report.findings if finding.severity == "error"}
    assert found["last-message-not-user"] == ((1, 12),)


@pytest.mark.parametrize(
    ("name", "method", "rows"),
    [
        ("azproj.dpo_training_set.jsonl", "dpo", 20),
        ("msft.rft_countdown.train_100.jsonl", "reinforcement", 100),
        ("msft.rft_countdown.valid_50.jsonl", "reinforcement", 50),
        ("msft.rft_toolcall.train_tool.jsonl", "reinforcement", 10),
        ("msft.zava.rft_train.jsonl", "reinforcement", 10),
    ],
)
def test_a_good_real_file_is_ready_for_its_own_method_named_or_not(name: str, method: Method, rows: int) -> None:
    content = shared(f"1-chat/{name}").read_bytes()
    for asked in (method, None):
        report = check([content], Profile(method=asked))
        assert (report.verdict, report.method, report.examples) == ("ready", method, rows)
