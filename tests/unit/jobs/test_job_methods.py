"""What a method needs, told before anything is sent: ranges, training types that give way, hours that are billed."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.azure.catalogue.catalogue import Catalogue
from app.azure.catalogue.placement import Obstacle
from app.calibrations.verdict import distribution, judge
from app.jobs.hours import Told, hours_of
from app.jobs.hyperparameters import hyperparameters, refusals
from app.jobs.schemas import Hyperparameters, JobCreate
from app.jobs.training_types import Offer, fallbacks, next_attempt, taken, weigh

CATALOGUE = Catalogue.load()
WANTED = {"connection": "c", "model": "gpt-4.1-mini", "training": "t"}
BEGUN = datetime(2026, 11, 22, tzinfo=UTC)


def test_every_hyperparameter_that_may_be_sent_has_its_facts() -> None:
    assert {item.name for item in hyperparameters()} == set(Hyperparameters.model_fields)
    assert all(item.source and item.reason and item.meaning for item in hyperparameters())


@pytest.mark.parametrize(
    ("method", "chosen", "words", "is_unwise"),
    [
        ("supervised", {"beta": 0.1}, "beta belongs to dpo; supervised training takes n_epochs", False),
        ("dpo", {"beta": 0}, "beta is 0.001 to 10; not 0.", False),
        ("dpo", {"beta": 5}, "beyond what is advised, 0.05 to 3", True),
        ("reinforcement", {"reasoning_effort": "utmost"}, "one of default, low, medium, high", False),
        ("reinforcement", {"eval_interval": 0}, "eval_interval is 1 to 1000", False),
        ("supervised", {"n_epochs": 51}, "n_epochs is 1 to 50", False),
    ],
)
def test_a_value_that_cannot_be_is_refused_in_words(
    method: str, chosen: dict[str, Any], words: str, *, is_unwise: bool
) -> None:
    (refusal,) = refusals(method, chosen)
    assert words in refusal.detail
    assert refusal.is_unwise == is_unwise


def test_a_value_in_its_range_is_no_matter() -> None:
    assert refusals("dpo", {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 0.5, "beta": 0.1}) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"model": None},
        {"training_type": "Standard", "training_types": ["GlobalStandard"]},
        {"training_types": ["Standard", "Standard"]},
        {"training_types": []},
    ],
)
def test_a_request_that_says_two_things_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JobCreate.model_validate(WANTED | fields)


def test_the_first_training_type_without_an_obstacle_is_taken_and_the_rest_wait() -> None:
    full = Obstacle(
        code="queue-full", verdict="error", pointer="/connection", detail="Its queue is full.", remedy=""
    )
    offers = [
        Offer(training_type="DataZoneStandard", obstacles=[full], estimate=None),
        Offer(training_type="developerTier", obstacles=[], estimate=None),
        Offer(training_type="GlobalStandard", obstacles=[], estimate=None),
    ]
    choices = weigh(offers, CATALOGUE.find("gpt-4.1-mini"))
    assert [choice.verdict for choice in choices] == ["impossible", "taken", "fallback"]
    assert choices[0].reason == "Its queue is full."
    assert (taken(choices), fallbacks(choices)) == ("developerTier", ["GlobalStandard"])


def test_a_new_attempt_keeps_its_training_type_unless_azure_refused_it() -> None:
    plan = {
        "training_type": "Standard",
        "estimate": {"high_usd": "2"},
        "training_types": [{"training_type": "developerTier", "estimate": {"high_usd": "1"}}],
    }
    assert next_attempt(plan, "Standard", ["developerTier"], []) == {}
    assert next_attempt(plan, "Standard", [], ["Standard"]) == {}
    changed = next_attempt(plan, "Standard", ["developerTier"], ["Standard"])
    assert (changed["training_type"], changed["training_types"]) == ("developerTier", [])
    assert changed["plan"]["estimate"] == {"high_usd": "1"}


def told(seconds: int, type_: str, message: str) -> Told:
    return Told(BEGUN + timedelta(seconds=seconds), type_, message)


def test_azures_own_figure_of_hours_wins() -> None:
    events = [told(0, "message", "Training started."), told(9, "message", "Training hours billed: 0.500")]
    assert hours_of(events) == (Decimal("0.500"), "0.500 hours, says Azure")


def test_without_a_figure_the_hours_go_from_the_first_step_to_the_last() -> None:
    events = [
        told(5400, "metrics", "Step 9"),
        told(1800, "message", "Training started."),
        told(0, "message", "Queued."),
    ]
    found = hours_of(events)
    assert found is not None
    assert found[0] == 1
    assert hours_of([told(0, "message", "Training started.")]) is None


@pytest.mark.parametrize(
    ("rewards", "failed", "passed", "references", "word"),
    [
        ([1.0] * 10, 0, 10, True, "ok"),
        ([1.0] * 8 + [0.0] * 2, 0, 8, True, "broken"),
        ([1.0] * 10, 0, 10, False, "too_easy"),
        ([0.0] * 10, 0, 0, False, "too_hard"),
        ([0.7] * 10, 0, 5, False, "flat"),
        ([0.1, 0.2, 0.3, 0.1, 0.2], 0, 0, False, "too_hard"),
        ([1.0] * 4 + [0.0] * 6, 0, 4, False, "ok"),
        ([1.0] * 8, 2, 8, False, "broken"),
        ([1.0] * 4, 0, 4, False, "too_few"),
        ([], 0, 0, False, "too_few"),
    ],
)
def test_the_scores_of_samples_have_a_verdict(
    rewards: list[float], failed: int, passed: int, *, references: bool, word: str
) -> None:
    verdict = judge(rewards, failed=failed, passed=passed, are_references=references)
    assert verdict.word == word
    assert verdict.words


def test_every_score_lies_in_one_of_ten_bins() -> None:
    bins = distribution([0.0, 0.05, 0.95, 1.0, -2.0, 7.0], (0.0, 5.0))
    assert (len(bins), sum(one.count for one in bins)) == (10, 6)
    assert (bins[0].low, bins[-1].high) == (-2.0, 7.0)
    assert distribution([], None) == []
    assert sum(one.count for one in distribution([0.5, 0.5], None)) == 2
