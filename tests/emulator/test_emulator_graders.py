"""Graders give the rewards their definitions promise, and say what they could not grade."""

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.graders import BadGrader, check, compute, grade
from emulator.similarity import METRICS


def _ask(_model: str, _messages: list[dict[str, Any]]) -> tuple[str, int]:
    return "I would say 0.75 of 1", 12


def _string(operation: str, reference: str = "{{item.answer}}") -> dict[str, Any]:
    return {
        "type": "string_check",
        "name": "s",
        "input": "{{ sample.output_text }}",
        "reference": reference,
        "operation": operation,
    }


@pytest.mark.parametrize(
    ("operation", "text", "reward"),
    [
        ("eq", "Paris", 1),
        ("eq", "paris", 0),
        ("ne", "Rome", 1),
        ("like", "It is Paris.", 1),
        ("like", "It is PARIS.", 0),
        ("ilike", "It is PARIS.", 1),
    ],
)
def test_strings_are_compared_as_asked(operation: str, text: str, reward: float):
    assert grade(check(_string(operation)), text, {"answer": "Paris"}, _ask).reward == reward


def test_templates_reach_into_json_and_lists():
    grader = _string("eq", "{{ item.cities[1].name }}") | {"input": "{{ sample.output_json.city }}"}
    item = {"cities": [{"name": "Rome"}, {"name": "Paris"}]}
    assert grade(check(grader), '{"city": "Paris"}', item, _ask).reward == 1
    assert grade(grader, "no json", item, _ask).errors == {"sample_parse_error": ""}
    assert grade(grader, '{"town": 1}', item, _ask).errors == {"invalid_variable_error": ""}


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_one_for_the_same_text_and_low_for_another(metric: str):
    text = "the quick brown fox jumps over the lazy dog today"
    assert METRICS[metric](text, text) == pytest.approx(1)
    assert METRICS[metric]("zzz yyy", text) < 0.3
    assert METRICS[metric]("", text) == 0


@pytest.mark.parametrize("metric", METRICS)
@given(left=st.text("ab c", max_size=20), right=st.text("ab c", max_size=20))
def test_a_metric_never_leaves_its_range(metric: str, left: str, right: str):
    assert 0 <= METRICS[metric](left, right) <= 1 + 1e-9


def test_metrics_rank_as_people_would():
    wanted = "the cat sat on the mat"
    for name in ("bleu", "gleu", "meteor", "rouge_1", "rouge_2", "rouge_l", "fuzzy_match"):
        near, far = METRICS[name]("the cat sat on a mat", wanted), METRICS[name]("mat the on sat dog a", wanted)
        assert near > far, name
    assert METRICS["rouge_1"]("the cat", wanted) == pytest.approx(2 * 2 / (2 + 6))


def test_a_judge_is_asked_and_its_number_taken():
    grader = check(
        {
            "type": "score_model",
            "name": "j",
            "model": "gpt-4o-2024-08-06",
            "input": [{"role": "user", "content": "Rate {{ sample.output_text }}"}],
        }
    )
    graded = grade(grader, "this", {}, _ask)
    assert (graded.reward, graded.tokens) == (0.75, {"gpt-4o-2024-08-06": 12})
    mute = grade(grader, "this", {}, lambda *_: ("no idea", 3))
    assert (mute.reward, mute.errors) == (0, {"model_grader_parse_error": ""})
    assert grade({**grader, "range": [2, 5]}, "x", {}, _ask).errors == {"model_grader_parse_error": ""}


def test_a_formula_joins_the_rewards_of_several():
    grader = check(
        {
            "type": "multi",
            "name": "both",
            "graders": {"exact": _string("eq"), "near": _string("ilike")},
            "calculate_output": "0.25 * exact + 0.75 * max(near, 0) ^ 2",
        }
    )
    graded = grade(grader, "in PARIS", {"answer": "Paris"}, _ask)
    assert (graded.reward, graded.scores) == (0.75, {"exact": 0, "near": 1})
    lame = grade({**grader, "calculate_output": "1 / exact"}, "x", {"answer": "y"}, _ask)
    assert (lame.reward, list(lame.errors)) == (0, ["formula_parse_error"])


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("1 + 2 * 3", 7),
        ("2 ^ 3", 8),
        ("-(a) / 2", -1),
        ("floor(2.7) + ceil(0.1)", 3),
        ("sqrt(16) + exp(0)", 5),
        ("log(1)", 0),
    ],
)
def test_formulas_are_computed(formula: str, value: float):
    assert compute(formula, {"a": 2}) == value


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('x')",
        "a.b",
        "[1]",
        "a if 1 else 2",
        "open('x')",
        "1; 2",
        "lambda: 1",
        "b",
        "",
        "(" * 300,
        "1" + "+1" * 400,
        "True",
        "min()",
        "max(a, key=a)",
    ],
)
def test_what_is_no_formula_is_refused(formula: str):
    with pytest.raises(ValueError, match=r"."):
        compute(formula, {"a": 1})


@given(st.text("0123456789+-*/^()., aminlogsqrt", max_size=30))
def test_no_text_makes_a_formula_do_anything_but_compute(formula: str):
    with contextlib.suppress(ValueError, ArithmeticError):
        assert math.isfinite(compute(formula, {"a": 2.0}))


@pytest.mark.parametrize(
    ("grader", "words"),
    [
        (None, "must be an object"),
        ({"type": "label_model", "name": "x"}, "must be one of"),
        ({"type": ["multi"]}, "must be one of"),
        (_string("eq") | {"name": ""}, "'grader.name'"),
        (_string("eq") | {"input": "{{ secret.x }}"}, "names 'secret.x'"),
        (
            {"type": "text_similarity", "name": "t", "input": "a", "reference": "b", "evaluation_metric": "cosine"},
            "cosine",
        ),
        ({"type": "score_model", "name": "t", "model": "gpt-9", "input": []}, "'grader.model'"),
        ({"type": "multi", "name": "m", "graders": {}, "calculate_output": "1"}, "at least one grader"),
        (
            {"type": "multi", "name": "m", "graders": {"a": _string("eq")}, "calculate_output": "b"},
            "cannot be computed",
        ),
        (
            {"type": "multi", "name": "m", "graders": {"a": {"type": "multi"}}, "calculate_output": "a"},
            "must be one of",
        ),
        ({"type": "python", "name": "p", "source": "x"}, "executes no code"),
    ],
)
def test_a_grader_that_cannot_be_run_is_refused_with_its_place(grader: object, words: str):
    with pytest.raises(BadGrader, match=words if words != "cosine" else "evaluation_metric"):
        check(grader)
