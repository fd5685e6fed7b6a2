"""What a goal makes of a training, for sets of every size and for every method."""

from typing import Any

import pytest

from app.jobs.goals import EPOCHS_MOST, REPRODUCIBLE_SEED, Training, choose, hyperparameters_of, seed_of
from app.jobs.schemas import PlanChoice

GOALS = ("balanced", "fast", "quality", "low_overfit", "reproducible")
LIMIT = 2_000_000_000


def training(**changes: Any) -> Training:
    usual = {
        "method": "supervised",
        "model": "gpt-4.1-mini-2025-04-14",
        "examples": 1000,
        "tokens": 100_000,
        "validation_examples": 200,
        "tokens_times_epochs_max": LIMIT,
    }
    return Training(**{**usual, **changes})


def chosen(goal: str | None, of: Training, *, seed: int | None = None, **given: Any) -> dict[str, PlanChoice]:
    return {choice.setting: choice for choice in choose(goal, of, given, seed=seed)}


def sent(goal: str | None, of: Training, **given: Any) -> dict[str, Any]:
    return hyperparameters_of(choose(goal, of, given, seed=None))


def test_each_goal_is_what_the_published_advice_says_for_a_set_of_usual_size() -> None:
    assert sent("fast", training()) == {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 1.5}
    assert sent("quality", training()) == {"n_epochs": 5, "batch_size": 2, "learning_rate_multiplier": 0.5}
    assert sent("low_overfit", training()) == {"n_epochs": 2, "batch_size": 2, "learning_rate_multiplier": 0.8}
    assert sent("balanced", training()) == {"n_epochs": 3, "batch_size": 2, "learning_rate_multiplier": 1.0}
    assert sent("reproducible", training()) == sent("balanced", training())


def test_only_reproducible_fixes_the_seed_and_a_seed_of_the_callers_own_wins() -> None:
    assert {goal: seed_of(choose(goal, training(), {}, seed=None)) for goal in GOALS} == {
        **dict.fromkeys(GOALS),
        "reproducible": REPRODUCIBLE_SEED,
    }
    assert seed_of(choose("reproducible", training(), {}, seed=7)) == 7
    assert chosen("reproducible", training(), seed=7)["seed"].by == "caller"


def test_without_a_goal_nothing_is_sent_and_it_is_said_what_azure_usually_takes() -> None:
    found = chosen(None, training(model="gpt-4.1-nano-2025-04-14"))
    assert sent(None, training()) == {}
    assert "usually takes 3 for 1,000 examples" in found["n_epochs"].reason
    assert "usually takes 2" in found["batch_size"].reason
    assert "usually takes 0.1" in found["learning_rate_multiplier"].reason
    assert all(found[name].source for name in ("n_epochs", "batch_size", "learning_rate_multiplier"))


def test_what_the_caller_gives_wins_is_marked_and_says_what_the_goal_would_take() -> None:
    epochs = chosen("quality", training(), n_epochs=1)["n_epochs"]
    assert (epochs.value, epochs.by, epochs.source) == (1, "caller", "")
    assert "quality would take 5" in epochs.reason
    assert sent("quality", training(), n_epochs=1)["n_epochs"] == 1
    assert sent(None, training(), beta=0.2) == {"beta": 0.2}


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("examples", [1, 10, 50, 500, 25_000, 400_000, 5_000_000])
def test_no_goal_makes_a_plan_that_the_plan_itself_would_warn_of_or_refuse(goal: str, examples: int) -> None:
    tokens = examples * 300
    found = sent(goal, training(examples=examples, tokens=tokens))
    assert 1 <= found["n_epochs"] <= EPOCHS_MOST
    assert 1 <= found["batch_size"] <= min(256, max(examples, 1))
    assert 0 < found["learning_rate_multiplier"] <= 2
    assert found["n_epochs"] == 1 or found["n_epochs"] * tokens <= LIMIT


def test_a_large_set_is_read_fewer_times_and_a_tiny_one_more_often() -> None:
    epochs = {
        count: sent("balanced", training(examples=count, tokens=count))["n_epochs"] for count in (20, 500, 60_000)
    }
    assert epochs == {20: 5, 500: 3, 60_000: 1}


def test_azures_limit_of_tokens_lowers_the_epochs_and_is_named() -> None:
    epochs = chosen("quality", training(tokens=900_000_000))["n_epochs"]
    assert epochs.value == 2
    assert "900,000,000 tokens allow 2" in epochs.reason


def test_a_model_that_azure_trains_slowly_begins_as_low() -> None:
    rates = {
        goal: sent(goal, training(model="gpt-4.1-nano-2025-04-14"))["learning_rate_multiplier"] for goal in GOALS
    }
    assert rates == {"balanced": 0.1, "fast": 0.15, "quality": 0.05, "low_overfit": 0.08, "reproducible": 0.1}


def test_preference_training_names_beta_with_what_azure_takes_and_leaves_it_alone() -> None:
    beta = chosen("quality", training(method="dpo"))["beta"]
    assert (beta.value, beta.by) == (None, "azure")
    assert "usually takes 0.1" in beta.reason


@pytest.mark.parametrize("goal", GOALS)
def test_no_rule_of_supervised_training_is_stretched_to_reinforcement(goal: str) -> None:
    found = chosen(goal, training(method="reinforcement"))
    assert sent(goal, training(method="reinforcement")) == {}
    assert {"reasoning_effort", "compute_multiplier", "eval_interval", "eval_samples"} <= found.keys()
    assert "publishes no rule" in found["n_epochs"].reason


def test_a_missing_validation_set_is_advised_and_urged_where_over_fitting_is_the_fear() -> None:
    without = training(validation_examples=None)
    assert "250 beside 1,000" in chosen("quality", without)["validation"].reason
    assert "nobody can see" in chosen("low_overfit", without)["validation"].reason
    assert "So few measure little" in chosen("fast", training(validation_examples=9))["validation"].reason


def test_a_set_that_is_not_counted_yet_gets_no_numbers() -> None:
    found = chosen("fast", training(examples=None, tokens=None))
    assert sent("fast", training(examples=None, tokens=None)) == {}
    assert found["n_epochs"].reason == found["batch_size"].reason == "Not counted yet."
