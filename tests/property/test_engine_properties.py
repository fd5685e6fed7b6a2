"""What must hold for any bytes and for any sound conversation."""

import io
import json
from array import array
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.datasets.engine import (
    CODES,
    Limits,
    Profile,
    Severity,
    check,
    leakage,
    sample_prompts,
    tokens,
)
from app.datasets.engine.report import Method
from app.datasets.engine.texts import strings

PROFILE = Profile("o200k_base", Limits(line_bytes_max=2_000, file_bytes_max=20_000, errors_max=50))

# Not the code points this Python does not know (Cn): the two tokenizers follow different editions of Unicode.
assigned = st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="\0")
texts = st.text(assigned, min_size=1, max_size=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["messages", "role", "content", "user", "assistant", "tool", "tool_calls", "tools", "weight", "function"]
)
chat_like = st.recursive(
    st.none() | NAMES | st.integers(-1, 2) | st.just([]) | st.just({}),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
chat_rows = st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": NAMES | chat_like},
                optional={
                    "content": chat_like | st.text(max_size=5),
                    "tool_calls": chat_like,
                    "weight": chat_like,
                    "name": chat_like,
                    "tool_call_id": chat_like,
                    "function_call": chat_like,
                    "refusal": chat_like,
                },
            )
            | chat_like,
            max_size=4,
        )
    },
    optional={"tools": chat_like, "functions": chat_like, "parallel_tool_calls": chat_like, "x/~": chat_like},
)
lines = (
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | chat_like.map(lambda value: json.dumps(value).encode())
    | chat_rows.map(lambda value: json.dumps(value).encode())
    | chat_rows.map(lambda value: json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    | st.sampled_from([b"", b" ", b"\r", b"{", b"}", b'{"a": "', b"[", b"\xef\xbb\xbf", b"x" * 3000, b"\0"])
)
plain_rows = st.lists(
    st.tuples(
        st.sampled_from(["system", "user", "assistant", "assistant", "tool"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        | st.sampled_from(["{{name}}", "a\u200bb", " x", ":"]),
    ),
    min_size=1,
    max_size=4,
).map(lambda talk: json.dumps({"messages": [{"role": role, "content": text} for role, text in talk]}).encode())
files = st.lists(lines, max_size=8).map(b"\n".join) | st.binary(max_size=200)


@settings(max_examples=150, deadline=None)
@given(files, st.integers(1, 64))
@example(b"\xff\xfe\0\0", 1)
@example(b"\xef\xbb", 1)
def test_any_bytes_get_a_verdict_that_fits_their_findings(content: bytes, size: int) -> None:
    copy, prints = io.BytesIO(), io.BytesIO()
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    report = check(pieces, PROFILE, copy_to=copy, fingerprints=prints)
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    assert (report.verdict == "ready") == (not errors)
    assert copy.getvalue() == content.removeprefix(b"\xef\xbb\xbf")
    assert report.bytes == len(copy.getvalue())
    assert len({finding.code for finding in report.findings}) == len(report.findings)
    total = copy.getvalue().count(b"\n") + 1
    for finding in report.findings:
        assert finding.code in CODES
        edges = [edge for span in finding.lines for edge in span]
        assert edges == sorted(edges)
        assert all(1 <= edge <= total for edge in edges)
        assert finding.count == (sum(last - first + 1 for first, last in finding.lines) or 1)
    body = report.to_json()
    assert len(json.dumps(body, ensure_ascii=False, allow_nan=False).encode()) <= 64 * 1024
    assert all("\0" not in text for _, text in strings(body))


@settings(max_examples=75, deadline=None)
@given(files, st.integers(1, 64))
def test_a_verdict_does_not_depend_on_the_pieces(content: bytes, size: int) -> None:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    unlimited = Profile("estimate", Limits(line_bytes_max=2_000))
    assert check(pieces, unlimited) == check([content], unlimited) == check(io.BytesIO(content), unlimited)


plain = texts.filter(lambda text: text.strip() == text and text)
conversation = st.tuples(
    st.none() | plain,
    st.lists(st.tuples(plain, plain), min_size=1, max_size=3),
)


def as_row(talk: tuple[str | None, list[tuple[str, str]]]) -> dict[str, Any]:
    system, turns = talk
    messages = [] if system is None else [{"role": "system", "content": system}]
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


@settings(max_examples=100, deadline=None)
@given(
    talks=st.lists(conversation, min_size=2, max_size=4),
    ascii_only=st.booleans(),
    end=st.sampled_from([b"\n", b"\r\n"]),
    last_end=st.booleans(),
)
def test_sound_conversations_are_ready_and_counted_like_the_reference(
    *, talks: list[tuple[str | None, list[tuple[str, str]]]], ascii_only: bool, end: bytes, last_end: bool
) -> None:
    rows = [as_row(talk) for talk in talks] * 5
    content = end.join(json.dumps(row, ensure_ascii=ascii_only).encode() for row in rows) + end * last_end
    report = check([content], Profile("o200k_base"))
    assert report.verdict == "ready", report.findings
    assert (report.format, report.examples) == ("chat", len(rows))
    count = REFERENCE
    expected = sum(
        3 + sum(3 + count(message["role"]) + count(message["content"]) for message in row["messages"])
        for row in rows
    )
    assert report.tokens.total == expected
    assert report.tokens.trained == report.tokens.by_role["assistant"]


REFERENCE = tokens.with_tiktoken("o200k_base").one


@settings(max_examples=300, deadline=None)
@given(st.text(assigned, max_size=300))
def test_the_fast_counter_agrees_with_the_reference_on_any_text(text: str) -> None:
    assert tokens.counter("o200k_base").one(text) == REFERENCE(text)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.text(max_size=4), st.integers(0, 3), min_size=1, max_size=4),
    st.data(),
)
def test_a_repeated_key_is_always_noticed(row: dict[str, int], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(row)))
    written = "{" + ",".join(
        f"{json.dumps(name, ensure_ascii=data.draw(st.booleans()))} : {value}"
        for name, value in [*row.items(), (key, 9)]
    )
    report = check([(written + "}").encode("utf-8", "replace")], Profile("estimate"))
    assert {"duplicate-key", "lone-surrogate"} & {finding.code for finding in report.findings}


@given(
    st.lists(st.binary(min_size=16, max_size=16), max_size=12),
    st.lists(st.integers(0, 30), min_size=1, max_size=12),
)
def test_leakage_names_exactly_the_shared_examples(training: list[bytes], picks: list[int]) -> None:
    validation = [training[at] if at < len(training) else at.to_bytes(16, "big") for at in picks]
    found = leakage(io.BytesIO(b"".join(training)), io.BytesIO(b"".join(validation)))
    expected = [line for line, print_ in enumerate(validation, 1) if print_ in training]
    named = [line for first, last in (found.lines if found else ()) for line in range(first, last + 1)]
    assert named == expected


@settings(deadline=None)
@given(files, st.integers(0, 5), st.integers(0, 3))
def test_sampling_never_fails_and_never_asks_for_more(content: bytes, count: int, seed: int) -> None:
    samples = sample_prompts([content], count, seed)
    assert len(samples) <= count
    assert all(messages and answer.strip() for messages, answer in samples)


METHODS = st.sampled_from(["supervised", "dpo", "reinforcement", None])
talks = st.lists(
    st.fixed_dictionaries(
        {"role": NAMES, "content": chat_like | st.text(max_size=5)}, optional={"weight": chat_like}
    )
    | chat_like,
    max_size=3,
)
OUTPUTS = ("preferred_output", "non_preferred_output")
pair_rows = st.fixed_dictionaries(
    {"input": st.fixed_dictionaries({"messages": talks}, optional={"tools": chat_like}) | chat_like},
    optional={**dict.fromkeys(OUTPUTS, talks | chat_like), "x/~": chat_like},
)
sound_talk = st.just([{"role": "user", "content": "a"}])
graded_rows = st.fixed_dictionaries(
    {"messages": talks | sound_talk}, optional={"answer": chat_like, "x": chat_like, "tools": chat_like}
)
GRADER = {"type": "multi", "graders": {"a": {"reference": "{{item.answer}}"}, "b": {"source": "item['x']"}}}
method_lines = (pair_rows | graded_rows).map(lambda value: json.dumps(value).encode())


@settings(max_examples=150, deadline=None)
@given(
    content=st.lists(plain_rows | method_lines | lines, max_size=12).map(b"\n".join),
    method=METHODS,
    grader=st.none() | st.just(GRADER),
)
@example(
    content=b'{"messages":[{"role":"user","role":"user","content":"a\\u003a"},{"role":"assistant","content":"b"}]}',
    method="supervised",
    grader=None,
)
@example(
    content=b'{\n{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n}',
    method="supervised",
    grader=None,
)
def test_a_glance_finds_what_examining_every_line_finds(
    content: bytes, method: Method | None, grader: dict[str, Any] | None
) -> None:
    """The quick way and the thorough one say the same of every file, by whichever rules it is checked."""
    profile = replace(PROFILE, method=method, grader=grader)
    quick_prints, quick_lines = io.BytesIO(), array("Q")
    report = check([content], profile, fingerprints=quick_prints, lines=quick_lines)
    thorough_prints, thorough_lines = io.BytesIO(), array("Q")
    thorough = check([content], profile, fingerprints=thorough_prints, lines=thorough_lines, at_a_glance=False)
    assert report == thorough
    assert quick_prints.getvalue() == thorough_prints.getvalue()
    assert quick_lines == thorough_lines
    assert len(quick_prints.getvalue()) == 16 * len(quick_lines)
    assert list(quick_lines) == sorted(set(quick_lines))


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(pair_rows | graded_rows | chat_rows | json_values, max_size=8), method=METHODS)
def test_any_rows_get_a_verdict_under_every_method(rows: list[Any], method: Method | None) -> None:
    content = b"\n".join(json.dumps(row).encode() for row in rows)
    report = check([content], Profile("estimate", method=method, grader=GRADER))
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    assert (report.verdict == "ready") == (not errors)
    if method is not None and report.verdict == "ready":
        assert report.method == method
    assert len(json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False).encode()) <= 64 * 1024
