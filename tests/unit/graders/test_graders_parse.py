"""Graders are read as OpenAI writes them, and every fault is told with its place."""

import ast
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import shared

from app.graders import (
    GraderFault,
    Multi,
    Python,
    ScoreModel,
    StringCheck,
    as_sent,
    grader_facts,
    missing_fields,
    models,
    parse,
    references,
    remarks,
    response_format_fault,
)
from app.graders.formulas import BadFormula, names_in

CHECK = {
    "type": "string_check",
    "name": "right",
    "input": "{{ sample.output_text }}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
ALIKE = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answers[0].text}}",
    "evaluation_metric": "rouge_l",
}
JUDGE = {
    "type": "score_model",
    "name": "judge",
    "model": "o3-mini",
    "input": [
        {"role": "developer", "content": "Give 0 to 5."},
        {"role": "user", "content": {"type": "input_text", "text": "{{item.question}}: {{sample.output_text}}"}},
    ],
    "range": [0, 5],
}
CODE = {
    "type": "python",
    "name": "code",
    "source": "def grade(sample, item):\n    return float(sample['output_text'] == item['label'] or item.get('also', 0))\n",
}
MULTI = {
    "type": "multi",
    "name": "all",
    "graders": {"right": CHECK, "near": ALIKE},
    "calculate_output": "0.8 * right + 0.2 * max(near, 0.5) ^ 2",
}


def faults(config: object) -> dict[str, str]:
    """Words by pointer."""
    with pytest.raises(GraderFault) as caught:
        parse(config)
    return {fault.pointer: fault.detail for fault in caught.value.faults}


def test_each_kind_is_read_as_openai_writes_it():
    assert isinstance(parse(CHECK), StringCheck)
    judge = parse(JUDGE)
    assert isinstance(judge, ScoreModel)
    assert (judge.model, judge.range) == ("o3-mini-2025-01-31", (0.0, 5.0))
    assert judge.input[1].text == "{{item.question}}: {{sample.output_text}}"
    combined = parse(MULTI)
    assert isinstance(combined, Multi)
    assert combined.uses == {"right", "near"}
    code = parse(CODE)
    assert isinstance(code, Python)
    assert code.read.item_fields == {"label"}
    assert code.read.item_fields_optional == {"also"}


def test_the_graders_of_microsofts_samples_are_taken_as_they_are():
    for name in ("6-evals/msft.countdown.grader_config_aoai.json", "6-evals/msft.zava.rft_grader-config.json"):
        config = json.loads(shared(name).read_text())
        assert models(parse(config)) == {"o3-mini-2025-01-31"}
        assert as_sent(config, parse(config))["model"] == "o3-mini-2025-01-31"
    assert parse(json.loads(shared("6-evals/openapi.GraderStringCheck.json").read_text()))
    written = shared("6-evals/openapi.GraderPython.txt").read_text()
    source = re.search(r'"source": """(.*?)""",', written, re.DOTALL)
    assert source is not None
    code = ast.literal_eval(f'"""{source[1]}"""')
    grader = parse({"type": "python", "name": "x", "source": code, "image_tag": "2025-05-08"})
    assert references(grader) == {("item", "label"), ("sample", "output_text")}


def test_a_row_without_a_field_the_grader_reads_is_told_the_path():
    row = {"messages": [], "answer": None, "answers": [{"text": "x"}]}
    assert missing_fields(parse(MULTI), row) == []
    assert missing_fields(parse(MULTI), {"answers": []}) == ["item.answer", "item.answers.0.text"]
    assert missing_fields(parse(CODE), {"label": "x"}) == []
    assert missing_fields(parse(CODE), {}) == ["item.label"]


@pytest.mark.parametrize(
    ("config", "pointer", "words"),
    [
        ("x", "/grader", "JSON object"),
        ({}, "/grader/type", "has no type"),
        ({"type": "exact"}, "/grader/type", "there are string_check, text_similarity, score_model, python, multi"),
        ({"type": "label_model"}, "/grader/type", "belong to evaluations"),
        (CHECK | {"operation": "is"}, "/grader/operation", "no 'is'; there are eq, ne, like, ilike"),
        (CHECK | {"input": ""}, "/grader/input", "not empty"),
        (CHECK | {"refrence": "x"}, "/grader/refrence", "no member 'refrence'"),
        (CHECK | {"reference": "{{answer}}"}, "/grader/reference", "Nothing fills {{ answer }}"),
        (CHECK | {"input": "{{sample.text}}"}, "/grader/input", "there are sample.output_text"),
        (CHECK | {"input": "{{sample.output_text | upper}}"}, "/grader/input", "cannot be read"),
        (ALIKE | {"evaluation_metric": "rouge_9"}, "/grader/evaluation_metric", "rouge_l"),
        (JUDGE | {"model": "gpt-5"}, "/grader/model", "o3-mini-2025-01-31 do"),
        (JUDGE | {"range": [1, 0]}, "/grader/range", "the lower one first"),
        (JUDGE | {"input": []}, "/grader/input", "list of 1 to"),
        (JUDGE | {"input": [{"role": "user", "content": [1]}]}, "/grader/input/0/content", "parts of type"),
        (CODE | {"source": "def grade(sample):\n  return 1"}, "/grader/source", "two arguments"),
        (CODE | {"source": "def score(sample, item): return 1"}, "/grader/source", "no function grade"),
        (CODE | {"source": "async def grade(sample, item): return 1"}, "/grader/source", "not async"),
        (CODE | {"source": "def grade(:"}, "/grader/source", "line 1"),
        (CODE | {"source": "#" * 262_145}, "/grader/source", "262,145 bytes; Azure takes 262,144"),
        (MULTI | {"calculate_output": "right + wrong"}, "/grader/calculate_output", "names wrong"),
        (MULTI | {"calculate_output": "sum(right)"}, "/grader/calculate_output", "no function 'sum'"),
        (MULTI | {"calculate_output": "right +"}, "/grader/calculate_output", "ends too early"),
        (MULTI | {"graders": {"a-b": CHECK}}, "/grader/graders/a-b", "cannot use the name"),
        (MULTI | {"graders": {"a": MULTI}}, "/grader/graders/a/type", "no grader of type 'multi' here"),
        (
            MULTI | {"graders": {"right": CHECK | {"operation": 1}, "near": ALIKE}},
            "/grader/graders/right/operation",
            "eq",
        ),
    ],
)
def test_a_fault_is_named_with_its_place(config: Any, pointer: str, words: str):
    assert words in faults(config)[pointer]


def test_every_fault_is_told_at_once():
    assert set(faults(CHECK | {"operation": "is", "input": "{{x}}", "name": ""})) == {
        "/grader/operation",
        "/grader/input",
        "/grader/name",
    }


def test_what_is_allowed_and_unwise_is_remarked():
    def codes(config: Any, **about: bool) -> set[str]:
        return {code for code, _ in remarks(parse(config), **about)}

    assert codes(CHECK) == set()
    assert codes(CHECK | {"input": "{{item.x}}"}) == {"grader-ignores-answer"}
    assert codes(CHECK | {"reference": CHECK["input"]}) == {"grader-compares-itself"}
    assert codes(MULTI | {"calculate_output": "right"}) == {"grader-unused"}
    of_json = CHECK | {"input": "{{sample.output_json.result}}"}
    assert codes(of_json) == {"grader-without-format"}
    assert codes(of_json, has_response_format=True) == set()


def test_a_response_format_is_a_json_schema():
    assert (
        response_format_fault(json.loads(shared("6-evals/msft.countdown.response_schema.json").read_text())) is None
    )
    wrong = response_format_fault({"type": "json_object"})
    assert wrong is not None
    assert wrong.pointer == "/response_format/type"


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("a", {"a"}),
        ("-(a + b) / 2.5e-1", {"a", "b"}),
        ("min(a, max(b, .5)) ^ 2 ^ c", {"a", "b", "c"}),
        ("1", set()),
    ],
)
def test_a_formula_tells_the_names_it_uses(formula: str, names: set[str]):
    assert names_in(formula, frozenset(grader_facts().functions.values)) == names


@given(st.text(alphabet="ab1.+-*/^(), max", max_size=60))
def test_no_formula_breaks_its_reader(formula: str):
    with suppress(BadFormula):
        assert names_in(formula, frozenset({"max"})) <= set(re.findall(r"[a-z][a-z1]*", formula))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(["multi", "{{item.a}}"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "name", "input", "graders", "source", "range", "role", "content", "x"]),
                inner | st.sampled_from(["string_check", "score_model", "python", "multi", "text_similarity"]),
                max_size=6,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_breaks_the_reader(config: Any):
    with suppress(GraderFault):
        assert parse(config).name
