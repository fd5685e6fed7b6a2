"""Trainings told: thinned curves, pictures of several, the table of differences, the page that stands alone."""

import base64
import hashlib
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
import training_curves as curves
from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.analysis import (
    DARK,
    LIGHT,
    POLICY,
    CheckpointPoint,
    Data,
    Facts,
    Point,
    Results,
    Run,
    Told,
    analyse,
    compare,
    overlay_svg,
    page_html,
    thin,
)
from app.jobs.analysis.overlay import COLOURS
from app.jobs.analysis.page import STYLE

HOSTILE = "</title><script>alert('x')</script>\" onload=\"x & <b>é</b>\x00\u202e"


def judged(results: Results):
    return analyse(
        results,
        examples=40,
        n_epochs=3,
        batch_size=1,
        learning_rate_multiplier=1.0,
        has_validation=True,
        data=Data(validation_examples=12, repeated=3, leaked=1),
    )


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# ── thinning ────────────────────────────────────────────────────────────────


def test_thinning_keeps_the_ends_every_spike_and_every_rare_value():
    points = []
    for step in range(1, 20_001):
        values = {"train_loss": 1.0 + step % 7 / 100}
        if step in {4_321, 17_000}:
            values["train_loss"] = 40.0 if step == 4_321 else math.nan
        if step % 5_000 == 0:
            values["full_valid_loss"] = 1.5
        points.append(Point(step, values))
    whole = Results(tuple(points), ("train_loss", "full_valid_loss"), (), ())
    short = thin(whole, 400)
    steps = {point.step for point in short.points}
    assert len(short.points) <= 400
    assert {1, 4_321, 5_000, 10_000, 15_000, 17_000, 20_000} <= steps
    assert short.warnings[-1].startswith("Of 20000 points")


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(100, 900))
def test_a_thinned_curve_has_the_same_lowest_and_highest_values_in_order(seed, most):
    whole = curves.over_fitting(seed)
    short = thin(whole, most)
    assert len(short.points) <= most
    by_step = {point.step: point for point in whole.points}
    assert all(by_step[point.step] is point for point in short.points)
    steps = [point.step for point in short.points]
    assert steps == sorted(set(steps))
    for name in whole.columns:
        values, kept = ([value for _, value in one.series(name)] for one in (whole, short))
        assert (min(values), max(values)) == (min(kept), max(kept))


# ── several ─────────────────────────────────────────────────────────────────


def test_each_training_has_its_own_colour_and_is_named():
    runs = [Run(f"epochs {n}", curves.over_fitting(n)) for n in range(10)]
    for palette in (LIGHT, DARK):
        root = ET.fromstring(overlay_svg(runs, title="Ten", palette=palette))  # noqa: S314  our own output
        drawn = {node.get("stroke") for node in root.iter() if node.tag.endswith("path")}
        assert set(COLOURS[palette]) <= drawn
        texts = ["".join(node.itertext()) for node in root.iter() if node.tag.endswith("text")]
        assert all(run.name in texts for run in runs)


def test_colours_of_ten_trainings_can_be_seen_on_their_paper():
    for palette, colours in COLOURS.items():
        assert len(set(colours)) == 10
        assert all(contrast(colour, palette.paper) >= 4.5 for colour in colours), palette


def contrast(one: str, other: str) -> float:
    """As WCAG 2 defines it."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_names_and_titles_of_others_stay_text_in_a_picture_of_several():
    runs = [Run(HOSTILE, curves.converging(1)), Run("", Results((), (), (), ()))]
    root = ET.fromstring(overlay_svg(runs, title=HOSTILE))  # noqa: S314  our own output
    assert {node.tag.split("}")[1] for node in root.iter()} <= {
        "svg",
        "title",
        "desc",
        "rect",
        "text",
        "line",
        "path",
    }


def facts(name: str, **changed: object) -> Facts:
    known = {
        "base_model": "gpt-4.1-mini",
        "validation_sha256": "aa",
        "valid_loss_at_best_step": 0.6,
        "n_epochs": 3,
    } | changed
    return Facts(
        name,
        {
            "data": {"validation_sha256": known["validation_sha256"], "leaked": known.get("leaked", 0)},
            "parameters": {"base_model": known["base_model"], "n_epochs": known["n_epochs"]},
            "outcome": {"valid_loss_at_best_step": known["valid_loss_at_best_step"]},
        },
    )


def test_a_comparison_says_what_differs_and_which_is_best_by_the_same_rule():
    compared = compare([facts("three"), facts("ten", n_epochs=10, valid_loss_at_best_step=0.5)])
    assert {row.name for row in compared.rows if row.differs} == {"n_epochs", "valid_loss_at_best_step"}
    assert compared.best == 1
    assert compared.why == "ten offers the lowest validation loss (0.5) on the same validation set."
    assert compared.cautions == ()


def test_what_is_as_good_as_the_best_is_named_with_it():
    compared = compare([facts("three"), facts("ten", n_epochs=10, valid_loss_at_best_step=0.59)])
    assert compared.best == 1
    assert compared.why.endswith("As good, within 5%: three; take the cheaper one, or compare their answers.")


@pytest.mark.parametrize(
    ("changed", "caution"),
    [
        ({"base_model": "gpt-4o"}, "base models differ"),
        ({"validation_sha256": "bb"}, "validation sets differ"),
    ],
)
def test_what_was_not_measured_alike_has_no_best(changed: dict[str, object], caution: str):
    compared = compare([facts("one"), facts("two", valid_loss_at_best_step=0.1, **changed)])
    assert compared.best is None
    assert "not measured by the same rule" in compared.why
    assert any(caution in told for told in compared.cautions)


def test_a_leaked_validation_is_a_caution():
    assert any("too good" in told for told in compare([facts("one"), facts("two", leaked=3)]).cautions)


# ── the page ────────────────────────────────────────────────────────────────


@pytest.fixture
def page() -> str:
    results = curves.over_fitting(3)
    told = Told(HOSTILE, HOSTILE, {"data": {"training": HOSTILE, "examples": 40, "empty": None}, HOSTILE: {}})
    return page_html(told, judged(results), results, [CheckpointPoint(50, 0.5, HOSTILE)])


def test_everything_on_the_page_that_others_wrote_is_text(page: str):
    parsed = Tags(page)
    names = {name for name, _ in parsed.tags}
    assert not names & {"script", "b", "iframe", "img", "link", "object", "form", "a", "base"}
    attributes = {name for _, attributes in parsed.tags for name in attributes}
    assert not [name for name in attributes if name.startswith("on")]
    assert any("<script>alert('x')</script>" in text for text in parsed.texts)
    assert "\x00" not in page
    assert "\u202e" not in page


def test_the_page_needs_nothing_from_elsewhere_and_says_so_to_the_browser(page: str):
    without_names = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|src=|href=| style=", without_names)
    policy = next(
        attributes["content"] for tag, attributes in Tags(page).tags if tag == "meta" and "content" in attributes
    )
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert policy == POLICY
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert f"<style>{STYLE}</style>" in page


def test_the_page_holds_verdict_confidence_curves_next_experiment_data_and_checkpoints(page: str):
    results = curves.over_fitting(3)
    analysis = judged(results)
    text = re.sub(r"\s+", " ", " ".join(Tags(page).texts))
    for wanted in (
        analysis.headline,
        analysis.confidence.why,
        analysis.next_experiment.action,
        *(item.text for item in analysis.evidence),
        *(item.source for item in analysis.advice),
        '"hyperparameters"',
        "validation loss",
    ):
        assert wanted in text
    assert page.count("<svg ") == 2
    assert f'fill="{LIGHT.paper}"' in page
    assert f'fill="{DARK.paper}"' in page
    assert "empty" not in text


def test_the_same_training_makes_the_same_page():
    results = curves.converging(4)
    told = Told("a", "b", {})
    assert page_html(told, judged(results), results) == page_html(told, judged(results), results)
