"""Each rule of a chat example: one row that breaks it, and what is said about it."""

import json
from typing import Any

import pytest

from app.datasets.engine import CODES, Finding, Limits, Profile, Report, Severity, check

PROFILE = Profile("o200k_base", Limits(tokens_per_example=1000))

SYSTEM = {"role": "system", "content": "You answer briefly."}
USER = {"role": "user", "content": "How many moons has Mars?"}
ANSWER = {"role": "assistant", "content": "Two."}
TOOL = {"type": "function", "function": {"name": "moons", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "moons", "arguments": '{"of": "Mars"}'}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
REPLY = {"role": "tool", "tool_call_id": "c1", "content": "2"}


def sound(number: int) -> dict[str, Any]:
    return {"messages": [SYSTEM, {"role": "user", "content": f"What is {number} + 1?"}, ANSWER]}


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


ELEVEN = lines(*(sound(number) for number in range(11)))


def report_on(content: bytes, profile: Profile = PROFILE) -> Report:
    return check([content], profile)


def findings_for(row: Any) -> dict[str, Finding]:
    """What is found in a file whose twelfth row is `row`, and whose others are sound."""
    report = report_on(ELEVEN + lines(row))
    return {finding.code: finding for finding in report.findings if finding.code != "mixed-keys"}


def chat(*messages: Any, **further: Any) -> dict[str, Any]:
    return {"messages": list(messages), **further}


def with_call(**changes: Any) -> dict[str, Any]:
    return chat(USER, {"role": "assistant", "tool_calls": [{**CALL, **changes}]}, tools=[TOOL])


BROKEN: list[tuple[Any, str, str | None]] = [
    ({"messages": []}, "no-messages", ""),
    ({"messages": "hello"}, "no-messages", ""),
    ({"text": "hello"}, "no-messages", ""),
    ({"prompt": "a", "completion": "b"}, "wrong-kind", None),
    (chat(USER, ANSWER, id=7), "unknown-key", "/id"),
    (chat(SYSTEM, ANSWER), "no-user", "/messages"),
    (chat(SYSTEM, USER), "no-assistant", "/messages"),
    (chat(USER, ANSWER, USER), "last-message-not-assistant", "/messages/2"),
    (chat(USER, SYSTEM, ANSWER), "system-not-first", "/messages/1"),
    (chat(USER, ANSWER, ANSWER), "consecutive-assistant", "/messages/2"),
    (chat(USER, {**ANSWER, "weight": 0}), "nothing-trained", "/messages"),
    (chat(USER, {**ANSWER, "content": "many moons " * 1000}), "over-long-example", None),
    (chat("hello", USER, ANSWER), "message-shape", "/messages/0"),
    (chat({"role": "bot", "content": "x"}, USER, ANSWER), "unknown-role", "/messages/0/role"),
    (chat({"content": "x"}, USER, ANSWER), "unknown-role", "/messages/0/role"),
    (chat({"role": ["user"], "content": "x"}, USER, ANSWER), "unknown-role", "/messages/0/role"),
    (chat({**USER, "a/b~c": 1}, ANSWER), "unknown-message-key", "/messages/0/a~1b~0c"),
    (chat({**USER, "tool_calls": []}, ANSWER), "misplaced-message-key", "/messages/0/tool_calls"),
    (chat({**USER, "name": 5}, ANSWER), "name-shape", "/messages/0/name"),
    (chat({**USER, "content": ""}, ANSWER), "empty-content", "/messages/0/content"),
    (chat({**USER, "content": None}, ANSWER), "empty-content", "/messages/0/content"),
    (chat({"role": "user"}, ANSWER), "empty-content", "/messages/0/content"),
    (chat(USER, {**ANSWER, "content": []}), "empty-content", "/messages/1/content"),
    (chat({**USER, "content": 5}, ANSWER), "content-shape", "/messages/0/content"),
    (chat({**USER, "content": {"text": "x"}}, ANSWER), "content-shape", "/messages/0/content"),
    (chat({**USER, "content": ["x"]}, ANSWER), "unknown-content-part", "/messages/0/content/0"),
    (chat({**USER, "content": [{"type": "audio"}]}, ANSWER), "unknown-content-part", "/messages/0/content/0"),
    (chat({**USER, "content": [{"type": "text"}]}, ANSWER), "unknown-content-part", "/messages/0/content/0"),
    (chat({**USER, "weight": 1}, ANSWER), "weight-not-assistant", "/messages/0/weight"),
    (chat(USER, {**ANSWER, "weight": 0.5}), "weight-value", "/messages/1/weight"),
    (chat(USER, {**ANSWER, "weight": True}), "weight-value", "/messages/1/weight"),
    (chat(USER, ANSWER, tools={}), "tools-shape", "/tools"),
    (chat(USER, ANSWER, tools=[{"name": "moons"}]), "tools-shape", "/tools/0"),
    (chat(USER, ANSWER, tools=[{**TOOL, "function": {"name": "a b"}}]), "tools-shape", "/tools/0"),
    (chat(USER, ANSWER, parallel_tool_calls="no"), "parallel-tool-calls-shape", "/parallel_tool_calls"),
    (chat(USER, {**ANSWER, "tool_calls": []}), "tool-calls-shape", "/messages/1/tool_calls"),
    (with_call(id=""), "tool-calls-shape", "/messages/1/tool_calls/0"),
    (with_call(type="tool"), "tool-calls-shape", "/messages/1/tool_calls/0"),
    (with_call(function="moons"), "tool-calls-shape", "/messages/1/tool_calls/0/function"),
    (
        with_call(function={"name": "moons", "arguments": {"of": "Mars"}}),
        "arguments-not-json",
        "/messages/1/tool_calls/0/function/arguments",
    ),
    (
        with_call(function={"name": "moons", "arguments": "of Mars"}),
        "arguments-not-json",
        "/messages/1/tool_calls/0/function/arguments",
    ),
    (
        with_call(function={"name": "suns", "arguments": "{}"}),
        "tool-not-declared",
        "/messages/1/tool_calls/0/function",
    ),
    (chat(USER, REPLY, ANSWER), "tool-reply-without-call", "/messages/1"),
    (
        chat(USER, CALLING, {**REPLY, "tool_call_id": "c2"}, ANSWER, tools=[TOOL]),
        "tool-reply-without-call",
        "/messages/2",
    ),
    (chat(USER, CALLING, USER, ANSWER, tools=[TOOL]), "call-without-tool-reply", "/messages/1"),
    (chat(USER, {**ANSWER, "content": "Dear {{name}}"}), "template-placeholder", "/messages/1/content"),
    (chat(USER, {**ANSWER, "content": " Two."}), "answer-outer-whitespace", "/messages/1/content"),
    (chat(USER, {**ANSWER, "content": "Tw\x0co"}), "control-char", "/messages/1/content"),
    (chat(USER, {**ANSWER, "content": "Tw\x7fo"}), "control-char", "/messages/1/content"),
    (chat(USER, {**ANSWER, "content": "Tw\u200bo"}), "zero-width", "/messages/1/content"),
    (chat(USER, {**ANSWER, "content": "Tw\0o"}), "nul-character", "/messages/1/content"),
]


@pytest.mark.parametrize(
    ("row", "code", "pointer"), BROKEN, ids=[f"{row[1]}-{at}" for at, row in enumerate(BROKEN)]
)
def test_a_broken_rule_is_named_with_its_line_and_place(row: Any, code: str, pointer: str | None) -> None:
    found = findings_for(row)
    assert code in found
    finding = found[code]
    assert finding.lines == ((12, 12),)
    assert finding.pointer == pointer
    assert finding.severity is CODES[code].severity
    assert finding.remedy
    assert all(example.startswith("line 12: ") for example in finding.examples)


@pytest.mark.parametrize(
    ("row", "code", "pointer"), BROKEN, ids=[f"{row[1]}-{at}" for at, row in enumerate(BROKEN)]
)
def test_an_error_rejects_and_nothing_less_does(row: Any, code: str, pointer: str | None) -> None:
    report = report_on(ELEVEN + lines(row))
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    assert (report.verdict == "ready") == (not errors)


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/moon.png", "detail": "low"}}

SOUND: list[Any] = [
    chat(USER, ANSWER),
    chat({"role": "developer", "content": "Be brief."}, USER, ANSWER),
    chat(SYSTEM, USER, {**ANSWER, "weight": 0}, {**USER, "content": "And Venus?"}, {**ANSWER, "weight": 1}),
    chat({**USER, "name": "ana"}, ANSWER),
    chat(USER, {"role": "assistant", "content": None, "refusal": "I would rather not."}),
    chat(USER, CALLING, tools=[TOOL]),
    chat(USER, {**CALLING, "content": "I look it up."}, REPLY, ANSWER, tools=[TOOL], parallel_tool_calls=False),
    chat(USER, CALLING, {**REPLY, "content": ""}, ANSWER, tools=[TOOL]),
    chat(
        USER,
        {"role": "assistant", "function_call": {"name": "moons", "arguments": "{}"}},
        {"role": "function", "name": "moons", "content": "2"},
        ANSWER,
        functions=[{"name": "moons"}],
    ),
    chat({**USER, "content": [{"type": "text", "text": "What is this?"}, IMAGE]}, ANSWER),
    chat(USER, {**ANSWER, "content": [{"type": "text", "text": "Two."}]}),
    chat(USER, {**ANSWER, "content": r"Then $\frac{{ab}}{{cd}}$ and {a: {b: 1}} and { {x} }."}),
    chat(USER, {**ANSWER, "content": "An astronaut 👩‍🚀, नहीं, and a tab\there."}),
]


@pytest.mark.parametrize("row", SOUND, ids=range(len(SOUND)))
def test_a_sound_example_has_no_findings(row: Any) -> None:
    assert findings_for(row) == {}


def test_an_image_belongs_to_the_user_and_has_an_address() -> None:
    report = findings_for(chat(USER, {**ANSWER, "content": [IMAGE, {"type": "text", "text": "Look."}]}))
    assert report.keys() == {"image-not-from-user"}
    bad = {"type": "image_url", "image_url": {"url": "C:\\moon.png"}}
    assert findings_for(chat({**USER, "content": [bad]}, ANSWER)).keys() == {"image-url"}


def test_more_images_than_azure_takes_are_named() -> None:
    found = findings_for(chat({**USER, "content": [IMAGE] * 65}, ANSWER))
    assert found["too-many-images"].examples == ("line 12: 65 images, the limit is 64",)


def test_a_repetition_names_the_line_it_repeats_even_when_it_is_written_differently() -> None:
    again = b'{"messages" : [ ' + b",".join(json.dumps(m).encode() for m in sound(4)["messages"]) + b" ] }\n"
    report = report_on(ELEVEN + again)
    assert [(f.code, f.lines, f.examples) for f in report.findings] == [
        ("exact-duplicate", ((12, 12),), ("line 12: as line 5",))
    ]
    assert report.verdict == "ready"


def test_another_answer_to_the_same_prompt_is_named() -> None:
    other = sound(4)
    other["messages"][-1] = {"role": "assistant", "content": "Five."}
    found = findings_for(other)
    assert found.keys() == {"conflicting-answer"}
    assert found["conflicting-answer"].examples == ("line 12: asked in line 5",)


def test_the_same_question_under_another_system_prompt_is_no_conflict() -> None:
    other = chat(
        {**SYSTEM, "content": "Answer at length."}, *sound(4)["messages"][1:-1], {**ANSWER, "content": "5!"}
    )
    assert findings_for(other) == {}


def test_examples_beyond_the_comparison_limit_are_not_compared_and_that_is_said() -> None:
    profile = Profile("estimate", Limits(examples_compared_max=10))
    report = report_on(ELEVEN + lines(sound(10)), profile)
    assert [finding.code for finding in report.findings] == ["duplicates-not-compared"]


def test_ten_examples_are_enough_and_nine_are_not() -> None:
    ten = lines(*(sound(number) for number in range(10)))
    assert report_on(ten).verdict == "ready"
    nine = report_on(lines(*(sound(number) for number in range(9))))
    assert [(finding.code, finding.message) for finding in nine.findings] == [
        ("fewer-than-10-examples", "The file has 9 examples; Azure starts no job with fewer than 10.")
    ]


def test_rows_with_and_without_tools_are_noted_as_mixed() -> None:
    report = report_on(ELEVEN + lines(chat(USER, CALLING, tools=[TOOL])))
    assert [finding.code for finding in report.findings] == ["mixed-keys"]
    assert report.findings[0].examples == ("11 rows: messages", "1 rows: messages, tools")


def test_over_long_examples_are_all_named_also_in_the_token_counts() -> None:
    long = chat(USER, {**ANSWER, "content": "moon " * 1100})
    report = report_on(ELEVEN + lines(long, sound(20), long))
    finding = next(finding for finding in report.findings if finding.code == "over-long-example")
    assert finding.lines == ((12, 12), (14, 14)) == report.tokens.over_limit
    assert finding.fixable
    assert "the limit is 1,000" in finding.examples[0]


def test_the_stats_describe_the_conversations() -> None:
    report = report_on(ELEVEN + lines(SOUND[2], SOUND[6]))
    stats = report.stats
    assert stats["roles"] == {"system": 12, "user": 14, "assistant": 15, "tool": 1}
    assert stats["messages_per_example_min"] == 3
    assert stats["messages_per_example_max"] == 5
    assert stats["with_system"] == 12
    assert stats["with_tools"] == 1
    assert stats["with_several_turns"] == 1
    assert stats["system_prompts_distinct"] == 1


def test_the_preview_shows_the_first_three_rows_cut_to_size() -> None:
    row = sound(1)
    row["messages"][1]["content"] = "x" * 5000
    report = report_on(lines(row, sound(2), sound(3), sound(4)))
    assert len(report.preview) == 3
    assert report.preview[0]["messages"][1]["content"] == "x" * 1000 + "…"
    assert report.preview[1] == sound(2)
