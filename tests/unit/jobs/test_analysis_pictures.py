"""The curve as SVG and for a terminal: well-formed, deterministic, complete, and readable without colour."""

import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import training_curves as curves

from app.jobs.analysis import (
    DARK,
    CheckpointPoint,
    Point,
    Results,
    analyse,
    chart_svg,
    chart_terminal,
    parse_results,
)
from app.jobs.analysis.picture import below, tick_label, ticks

ROOT = Path(__file__).parents[3]
REAL = ROOT / "tests" / "data" / "results"
DOCS = ROOT / "docs" / "concepts" / "img"
SVG = "{http://www.w3.org/2000/svg}"
EMPTY = Results((), (), (), ())


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314  our own output


@pytest.mark.parametrize("name", sorted(curves.EXAMPLES))
def test_the_pictures_of_the_handbook_are_what_the_code_draws(name: str):
    title, results = curves.EXAMPLES[name]
    drawn = chart_svg(results, title=title, width=760, height=340)
    path = DOCS / f"{name}.svg"
    if os.environ.get("KITAE_REDRAW_DOCS"):
        path.write_text(drawn, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == drawn
    verdict = analyse(
        results,
        examples=None,
        n_epochs=None,
        batch_size=None,
        learning_rate_multiplier=None,
        has_validation=True,
    ).verdict
    assert verdict.value == name.replace("-", "_")


@pytest.mark.parametrize("name", sorted(path.name for path in REAL.glob("[ln]e*.csv")))
def test_real_files_are_drawn_within_the_paper_and_under_a_tenth_of_a_megabyte(name: str):
    svg = chart_svg(parse_results((REAL / name).read_bytes()), title=name, width=860, height=420)
    assert len(svg) < 100_000
    for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", svg):
        assert 0 <= float(x) <= 860
        assert 0 <= float(y) <= 420


def test_a_picture_is_one_accessible_image_without_script_style_or_ids():
    svg = chart_svg(curves.over_fitting(2), title="旅行案内 <3")
    root = ET.fromstring(svg)  # noqa: S314  our own output
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "旅行案内 <3"
    assert "Loss in training from" in root.find(f"{SVG}desc").text
    tags = {node.tag.removeprefix(SVG) for node in root.iter()}
    assert tags == {"svg", "title", "desc", "rect", "text", "line", "path", "circle"}
    assert not any({"id", "style", "onload", "href"} & set(node.attrib) for node in root.iter())


def test_a_picture_says_which_step_was_best_and_what_its_marks_mean():
    results = curves.over_fitting(2)
    kept = [CheckpointPoint(step, value, "x") for step, value in results.series("full_valid_loss")]
    best = min(kept, key=lambda point: point.full_valid_loss).step
    written = texts(chart_svg(results, title="t", checkpoints=kept))
    assert f"best: step {best}" in written
    assert {"training", "validation, sampled", "whole validation set (epoch end)", "Loss", "Token accuracy"} <= {
        *written
    }


def test_the_same_points_give_the_same_bytes():
    assert chart_svg(curves.converging(4), title="t") == chart_svg(curves.converging(4), title="t")
    assert chart_svg(curves.converging(4), title="t") != chart_svg(curves.converging(4), title="t", palette=DARK)


def test_a_high_start_is_cut_off_and_said_to_be():
    losses = [11.0, 6.0, 3.0] + [0.4 - 0.001 * step for step in range(100)]
    points = tuple(Point(step, {"train_loss": loss}) for step, loss in enumerate(losses, start=1))
    written = texts(chart_svg(Results(points, ("train_loss",), (), ()), title="t"))
    assert "loss: start (up to 11) not shown" in written


def test_a_long_title_is_shortened_and_whole_in_the_title_element():
    title = "とても長い題名" * 40
    svg = chart_svg(EMPTY, title=title)
    assert ET.fromstring(svg).find(f"{SVG}title").text == title  # noqa: S314  our own output
    assert texts(svg)[0].endswith("…")
    assert len(texts(svg)[0]) * 16 < 860


def test_no_points_make_a_picture_that_says_so():
    assert "No points yet" in texts(chart_svg(EMPTY, title=""))
    assert chart_terminal(EMPTY) == "No points yet."


def test_rewards_take_the_place_of_losses():
    assert "Reward" in texts(chart_svg(curves.by_rewards(1, learns=True), title="t"))


def test_a_missing_number_is_marked_where_it_happened():
    points = tuple(Point(step, {"train_loss": 1.0 if step < 7 else float("nan")}) for step in range(1, 12))
    results = Results(points, ("train_loss",), (), ())
    assert "no number from step 7" in texts(chart_svg(results, title="t"))
    assert "x no number" in chart_terminal(results, colour=False)


@pytest.mark.parametrize(("width", "height"), [(72, 14), (30, 5), (120, 30), (1, 1)])
def test_no_terminal_line_is_wider_or_longer_than_asked(width: int, height: int):
    for results in (curves.over_fitting(3), curves.over_fitting(3, whole=False), curves.diverging(3)):
        lines = chart_terminal(results, width=width, height=height, colour=False).split("\n")
        assert len(lines) <= max(height, 5)
        assert max(map(len, lines)) <= max(width, 30)


def test_colour_changes_nothing_but_colour():
    results = curves.over_fitting(3)
    coloured = chart_terminal(results, colour=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == chart_terminal(results, colour=False)


def test_training_and_validation_differ_in_shape_in_a_terminal():
    drawn = chart_terminal(curves.over_fitting(3), colour=False)
    _, *plot = drawn.split("\n")
    assert any("⠀" <= character <= "⣿" for line in plot for character in line)
    assert sum(line.count("#") for line in plot) >= 4
    assert sum(line.count("o") for line in plot) >= 3
    assert "▲" in plot[-2]


def test_a_falling_loss_falls_in_the_terminal():
    points = tuple(Point(step, {"train_loss": 2.0 - step / 100}) for step in range(1, 101))
    rows = chart_terminal(Results(points, ("train_loss",), (), ()), colour=False).split("\n")[1:-2]
    first_seen = [next((i for i, c in enumerate(row) if "⠀" < c <= "⣿"), None) for row in rows]
    drawn = [column for column in first_seen if column is not None]
    assert drawn == sorted(drawn)
    assert len(drawn) >= 5


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0, 1, 6, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0, 3.2, 6, (0, 1, 2, 3)),
        (1, 429, 9, (100, 200, 300, 400)),
        (0.97, 1.0, 4, (0.97, 0.98, 0.99, 1.0)),
        (2, 2, 5, (2,)),
    ],
)
def test_ticks_are_round_numbers(low, high, most, expected):
    assert ticks(low, high, most) == pytest.approx(expected)


@pytest.mark.parametrize(("value", "label"), [(0.25, "0.25"), (0.0, "0"), (1500.0, "1,500"), (1e-7, "1e-07")])
def test_tick_labels_are_short(value: float, label: str):
    assert tick_label(value) == label


def test_a_line_is_cut_exactly_where_it_crosses_the_top():
    assert below(((0, 3.0), (2, 1.0), (4, 3.0), (6, 4.0)), 2.0) == [[(1.0, 2.0), (2.0, 1.0), (3.0, 2.0)]]
