"""Whatever bytes, points and titles come: an answer or a ResultsError, JSON that is JSON, and pictures that parse."""

import base64
import json
import math
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.analysis import (
    CheckpointPoint,
    Point,
    Results,
    ResultsError,
    Verdict,
    analyse,
    chart_svg,
    chart_terminal,
    parse_results,
    results_from_events,
)
from app.jobs.analysis.results import MAX_STEP

NAMES = st.sampled_from(
    [
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
        "full_valid_loss",
        "full_valid_mean_token_accuracy",
        "train_reward_mean",
        "valid_reward_mean",
        "speed",
    ]
)
CELLS = st.one_of(
    st.floats().map(repr),
    st.sampled_from(["", " ", "NaN", "-inf", "1e-05", "1e999", "abc", '"', "1,2", "1_0", "٣", "\x00", "-1"]),
    st.text(max_size=6),
)
HEADERS = st.lists(st.one_of(NAMES, st.text(max_size=8), st.just("step"), st.just("training_loss")), max_size=7)
POINTS = st.lists(
    st.builds(
        Point,
        st.integers(0, MAX_STEP),
        st.dictionaries(NAMES, st.one_of(st.floats(), st.floats(0, 5), st.just(0.0)), max_size=6),
    ),
    max_size=60,
    unique_by=lambda point: point.step,
).map(lambda points: Results(tuple(sorted(points, key=lambda point: point.step)), (), (), ()))
KEPT = st.lists(
    st.builds(CheckpointPoint, st.integers(0, 100), st.one_of(st.none(), st.floats()), st.text(max_size=3)),
    max_size=4,
)


def _is_for_a_person(refusal: ResultsError) -> None:
    assert refusal.message.endswith((".", ")."))
    assert refusal.line is None or refusal.line >= 1


def checked(results: Results) -> None:
    steps = [point.step for point in results.points]
    assert steps == sorted(set(steps))
    for point in results.points:
        assert all(isinstance(value, float) for value in point.values.values())


@given(st.binary(max_size=400))
def test_any_bytes_are_results_or_a_results_error(data: bytes):
    for wrapped in (data, base64.b64encode(data), b"step,train_loss\n" + data):
        try:
            checked(parse_results(wrapped))
        except ResultsError as refusal:
            _is_for_a_person(refusal)


@given(HEADERS, st.lists(st.lists(CELLS, max_size=8), max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_table_is_results_or_a_results_error(header, rows, line_break):
    text = line_break.join([",".join(header), *(",".join(row) for row in rows)])
    try:
        checked(parse_results(text.encode("utf-8", "surrogatepass")))
    except ResultsError as refusal:
        _is_for_a_person(refusal)


@given(
    st.lists(
        st.dictionaries(
            st.one_of(NAMES, st.just("step"), st.text(max_size=4)),
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), CELLS, st.just({"a": 1})),
            max_size=5,
        ),
        max_size=10,
    )
)
def test_any_events_are_results(rows):
    checked(results_from_events(rows))


@settings(max_examples=200)
@given(
    POINTS,
    KEPT,
    st.one_of(st.none(), st.integers(-1, 10**6)),
    st.one_of(st.none(), st.integers(-1, 50)),
    st.one_of(st.none(), st.integers(-1, 300)),
    st.one_of(st.none(), st.floats(-1, 10)),
    st.booleans(),
)
def test_any_points_are_judged_in_valid_json(results, kept, examples, n_epochs, batch_size, rate, has_validation):
    analysis = analyse(
        results,
        examples=examples,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate_multiplier=rate,
        has_validation=has_validation,
        checkpoints=kept,
    )
    json.dumps(analysis.to_json(), allow_nan=False)
    assert analysis.headline.endswith(".")
    assert analysis.best_reason.endswith(".")
    assert all(advice.source and advice.action.endswith(".") for advice in analysis.advice)
    if any(not math.isfinite(point.values.get("train_loss", 0.0)) and point.values for point in results.points):
        assert analysis.verdict is Verdict.UNSTABLE
    if kept and analysis.best_step is not None:
        broken = [
            point.step
            for point in results.points
            if any(
                not math.isfinite(value) or abs(value) > 1e6
                for name, value in point.values.items()
                if "loss" in name
            )
        ]
        if not broken:
            assert analysis.best_step in {point.step for point in kept}


WORDS = {"role", "aria-labelledby", "id", "font-family", "text-anchor", "class"}
"""Attributes that hold words."""


@settings(max_examples=200)
@given(POINTS, KEPT, st.text(), st.integers(-5, 2000), st.integers(-5, 2000))
def test_any_picture_is_well_formed(results, kept, title, width, height):
    svg = chart_svg(results, title=title, width=width, height=height, checkpoints=kept)
    root = ET.fromstring(svg.encode("utf-8"))  # noqa: S314  our own output
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    numbers = [value for element in root.iter() for name, value in element.attrib.items() if name not in WORDS]
    assert not [value for value in numbers if "nan" in value.lower()]
    assert svg == chart_svg(results, title=title, width=width, height=height, checkpoints=kept)


@given(
    st.sampled_from(
        ["</svg><script>alert(1)</script>", '" onload="x', "]]>", "<!--", "&lt;&#0;", "\ufffe\ud800\x0b"]
    )
)
def test_a_hostile_title_stays_text(title):
    svg = chart_svg(Results((), (), (), ()), title=title)
    root = ET.fromstring(svg.encode("utf-8"))  # noqa: S314  our own output
    assert {node.tag.split("}")[1] for node in root.iter()} == {"svg", "title", "desc", "rect", "text"}
    assert "onload" not in root.attrib


@settings(max_examples=100)
@given(POINTS, st.integers(-5, 200), st.integers(-5, 60))
def test_any_terminal_curve_keeps_its_size(results, width, height):
    lines = chart_terminal(results, width=width, height=height, colour=False).split("\n")
    assert len(lines) <= max(height, 5)
    assert max(map(len, lines)) <= max(width, 30)
