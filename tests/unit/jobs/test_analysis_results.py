"""Reading results.csv: every spelling of it that exists, and a clear refusal of what is none."""

import base64
import math
from itertools import pairwise
from pathlib import Path

import pytest

from app.jobs.analysis import ResultsError, parse_results, results_from_events
from app.jobs.analysis.results import MAX_BYTES, MAX_COLUMNS, MAX_POINTS

REAL = Path(__file__).parents[2] / "data" / "results"

DOCUMENTED = (
    b"step,train_loss,train_mean_token_accuracy,valid_loss,validation_mean_token_accuracy,"
    b"full_valid_loss,full_valid_mean_token_accuracy\n"
    b"1,1.5,0.6,1.6,0.58,,\n"
    b"2,1.2,0.7,,,1.3,0.66\n"
)


@pytest.mark.parametrize(
    ("name", "points", "last"),
    [
        ("new.nlbse.step_metrics.csv", 1500, {"train_loss": 0.0, "train_mean_token_accuracy": 1.0}),
        ("new.cookbook-drone.result.csv", 309, {"train_loss": 0.0, "train_mean_token_accuracy": 1.0}),
    ],
)
def test_files_of_2023_and_later_are_read_whole(name: str, points: int, last: dict[str, float]):
    results = parse_results((REAL / name).read_bytes())
    assert len(results.points) == points
    assert results.points[-1].step == points
    assert results.points[-1].values == last
    assert results.warnings == ()
    assert results.unknown_columns == ()
    assert results.series("valid_loss") == []


@pytest.mark.parametrize(
    ("name", "points", "validations", "lowest"),
    [
        ("legacy.titans.compiled_results.csv", 9, 2, (9, 1.456896915733814)),
        ("legacy.titans.result0811.csv", 429, 54, (169, 0.2856215253335379)),
    ],
)
def test_files_of_the_old_api_are_read_under_the_new_names(name, points, validations, lowest):
    results = parse_results((REAL / name).read_bytes())
    assert len(results.points) == points
    assert results.columns == (
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
    )
    assert results.unknown_columns == (
        "elapsed_tokens",
        "elapsed_examples",
        "training_sequence_accuracy",
        "validation_sequence_accuracy",
    )
    assert len(results.series("valid_loss")) == validations
    assert min(results.series("valid_loss"), key=lambda point: point[1]) == lowest
    assert results.points[0].values["elapsed_examples"] == 1.0


def test_the_history_of_another_training_is_refused_with_its_columns_named():
    with pytest.raises(ResultsError) as refusal:
        parse_results((REAL / "notours.cnn_training_history.csv").read_bytes())
    assert refusal.value.line == 1
    assert "no `step` column" in refusal.value.message
    assert "epoch, train_loss, train_acc" in refusal.value.message


def test_the_documented_names_become_canonical_and_empty_cells_are_absent():
    results = parse_results(DOCUMENTED)
    assert results.columns == (
        "train_loss",
        "train_mean_token_accuracy",
        "valid_loss",
        "valid_mean_token_accuracy",
        "full_valid_loss",
        "full_valid_mean_token_accuracy",
    )
    assert results.points[0].values == {
        "train_loss": 1.5,
        "train_mean_token_accuracy": 0.6,
        "valid_loss": 1.6,
        "valid_mean_token_accuracy": 0.58,
    }
    assert results.series("full_valid_loss") == [(2, 1.3)]


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\xef\xbb\xbf" + DOCUMENTED,
        DOCUMENTED.replace(b"\n", b"\r\n"),
        DOCUMENTED + b"\n\n",
        base64.b64encode(DOCUMENTED),
        base64.encodebytes(DOCUMENTED),
        base64.b64encode(b"\xef\xbb\xbf" + DOCUMENTED.replace(b"\n", b"\r\n")),
        DOCUMENTED.replace(b"train_loss", b" Train_Loss "),
    ],
    ids=[
        "bom",
        "crlf",
        "blank lines",
        "base64",
        "base64 in lines",
        "base64 of bom and crlf",
        "blanks and capitals",
    ],
)
def test_wrappings_make_no_difference(bytes_: bytes):
    assert parse_results(bytes_) == parse_results(DOCUMENTED)


def test_scientific_notation_nan_and_infinity_are_values():
    results = parse_results(b"step,train_loss\n1,5.7220458984375E-06\n2,NaN\n3,Infinity\n")
    (_, small), (_, not_a_number), (_, infinite) = results.series("train_loss")
    assert small == 5.7220458984375e-06
    assert math.isnan(not_a_number)
    assert infinite == math.inf


def test_names_of_reinforcement_fine_tuning_are_kept():
    results = parse_results(b"step,train_reward_mean,full_valid_mean_reward\n1,-0.25,0.5\n")
    assert results.columns == ("train_reward_mean", "full_valid_mean_reward")
    assert results.series("train_reward_mean") == [(1, -0.25)]


def test_unknown_columns_keep_their_numbers_and_lose_their_words():
    results = parse_results(b"step,train_loss,timestamp,Speed\n1,0.5,2026-01-01T00:00:00Z,12.5\n")
    assert results.unknown_columns == ("timestamp", "Speed")
    assert results.points[0].values == {"train_loss": 0.5, "Speed": 12.5}


@pytest.mark.parametrize("tail", [b"3,0.", b"3", b"3,1e-,0.5,,,,", b"3,0.9,0.7,,"])
def test_a_last_line_cut_while_it_was_written_is_left_out_with_a_warning(tail: bytes):
    results = parse_results(DOCUMENTED + tail)
    assert [point.step for point in results.points] == [1, 2]
    assert results.warnings == (
        "Line 4, the last, is incomplete and was left out; the file was probably still being written.",
    )


def test_a_whole_last_line_needs_no_line_break():
    assert parse_results(DOCUMENTED.rstrip()) == parse_results(DOCUMENTED)


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"", None, "empty"),
        (b"  \n\n ", None, "empty"),
        (b"step,speed\n1,2\n", 1, "no loss"),
        (b"step,train_loss\n1,0.5\nx,0.4\n2,0.3\n", 3, "'x', which is not a step number"),
        (b"step,train_loss\n1,abc\n2,0.4\n", 2, "`train_loss` holds 'abc'"),
        (b"step,train_loss\n1.5,0.4\n2,0.3\n", 2, "not a step number"),
        (b"step,train_loss\n-1,0.4\n2,0.3\n", 2, "not a step number"),
        (b"step,train_loss\n1,0.4,7\n2,0.3\n", 2, "3 cells under 2 columns"),
        (b"step,train_loss\n1,1_0\n2,0.3\n", 2, "not a number"),
        ("step,train_loss\n1,٣\n2,0.3\n".encode(), 2, "not a number"),
        (b"step,train_loss\n1,0.4\n\xff\xfe,0.3\n", 3, "UTF-8"),
        (b"step,train_loss\n1,0.\x004\n", 2, "NUL"),
        (b"step,tr\x07ain,train_loss\n1,2,3\n", 1, "control character"),
        (b"train_loss,step\n0.5\n0.4,2\n", 2, "before its `step`"),
        (b"<html>, not found</html>", 1, "no `step` column"),
        (b'{"error": {"code": "404", "message": "x"}}', 1, "no `step` column"),
        (b'step,train_loss\n1,"' + b"x" * (17 << 20) + b'"\n', 2, "CSV is broken"),
        (b"step," + b",".join(b"c%d" % i for i in range(MAX_COLUMNS)) + b"\n", 1, "columns"),
    ],
)
def test_a_refusal_says_where_and_what(data: bytes, line: int | None, says: str):
    with pytest.raises(ResultsError) as refusal:
        parse_results(data)
    assert refusal.value.line == line
    assert says in refusal.value.message


def test_a_file_beyond_the_limit_is_refused():
    with pytest.raises(ResultsError, match="bytes"):
        parse_results(b"step,train_loss\n" + b" " * MAX_BYTES)


def test_a_very_long_file_is_thinned_over_its_whole_length_and_keeps_its_end():
    rows = b"".join(b"%d,0.5\n" % step for step in range(1, 250_002))
    results = parse_results(b"step,train_loss\n" + rows)
    steps = [point.step for point in results.points]
    assert 50_000 < len(steps) <= MAX_POINTS + 1
    assert steps[-1] == 250_001
    assert {b - a for a, b in pairwise(steps[:-1])} == {4}
    assert results.warnings == (f"Of 250001 rows every 4th was kept ({len(steps)} points).",)


def test_repeated_and_unordered_steps_are_merged_and_said_to_be():
    results = parse_results(b"step,train_loss,valid_loss\n3,0.3,\n1,0.9,\n3,0.25,0.4\n")
    assert [(point.step, point.values) for point in results.points] == [
        (1, {"train_loss": 0.9}),
        (3, {"train_loss": 0.25, "valid_loss": 0.4}),
    ]
    assert len(results.warnings) == 2


def test_negative_losses_stand_for_nothing_and_are_left_out():
    results = parse_results(b"step,train_loss,valid_loss,valid_mean_token_accuracy\n1,0.9,-1,-1.0\n")
    assert results.points[0].values == {"train_loss": 0.9}
    assert results.warnings == ("2 negative losses or accuracies were left out: neither can be below zero.",)


def test_events_give_the_same_points_as_the_file_would():
    events = [
        {"step": 10, "train_loss": 0.5, "train_mean_token_accuracy": 0.8, "total_steps": 100, "valid_loss": None},
        {"step": "1", "train_loss": "1.5", "validation_mean_token_accuracy": 0.4},
        {"step": 10, "train_loss": 0.5},
    ]
    results = results_from_events(events)
    assert [(point.step, point.values) for point in results.points] == [
        (1, {"train_loss": 1.5, "valid_mean_token_accuracy": 0.4}),
        (10, {"train_loss": 0.5, "train_mean_token_accuracy": 0.8}),
    ]
    assert results.columns == ("train_loss", "train_mean_token_accuracy", "valid_mean_token_accuracy")
    assert results.unknown_columns == ()


def test_events_that_say_nothing_are_counted():
    results = results_from_events([{}, {"step": True, "train_loss": 1}, {"step": 1}, {"step": 2, "train_loss": {}}])
    assert results.points == ()
    assert results.warnings == ("4 events carried no step or no number and were left out.",)
