"""The verdict on real trainings and on hundreds of generated ones, with its evidence, advice and best checkpoint."""

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import training_curves as curves

from app.jobs.analysis import (
    Analysis,
    CheckpointPoint,
    Point,
    Results,
    Verdict,
    analyse,
    best_step,
    parse_results,
)

REAL = Path(__file__).parents[2] / "data" / "results"
SEEDS = range(1000, 1200)
WANTED_RATE = 0.95


def judged(results: Results, **known: object) -> Analysis:
    settings: dict[str, object] = {
        "examples": None,
        "n_epochs": None,
        "batch_size": None,
        "learning_rate_multiplier": None,
        "has_validation": False,
    }
    return analyse(results, **(settings | known))


def losses(train: list[float], full_valid: dict[int, float] | None = None) -> Results:
    full_valid = full_valid or {}
    points = tuple(
        Point(step, {"train_loss": loss} | ({"full_valid_loss": full_valid[step]} if step in full_valid else {}))
        for step, loss in enumerate(train, start=1)
    )
    return Results(points, ("train_loss",), (), ())


def settings_of(analysis: Analysis) -> dict[str, str | None]:
    return {advice.setting: advice.suggestion for advice in analysis.advice if advice.setting}


@pytest.mark.parametrize(
    ("generate", "right"),
    [
        (curves.converging, {Verdict.CONVERGED}),
        # Few, scattered batches: what they say could be chance, and saying that is right, too.
        (partial(curves.converging, whole=False), {Verdict.CONVERGED, Verdict.VALIDATION_TOO_SMALL}),
        (partial(curves.converging, with_validation=False), {Verdict.CONVERGED}),
        (curves.over_fitting, {Verdict.OVER_FITTING}),
        (partial(curves.over_fitting, whole=False), {Verdict.OVER_FITTING}),
        (curves.ending_early, {Verdict.UNDER_TRAINED}),
        (curves.diverging, {Verdict.UNSTABLE}),
        (curves.breaking_down, {Verdict.UNSTABLE}),
        (curves.not_learning, {Verdict.NOT_LEARNING}),
        (curves.too_short, {Verdict.TOO_SHORT}),
        (partial(curves.by_rewards, learns=True), {Verdict.CONVERGED}),
        (partial(curves.by_rewards, learns=False), {Verdict.NOT_LEARNING}),
        (curves.pleasing_the_grader, {Verdict.REWARD_HACKING}),
        (partial(curves.pleasing_the_grader, validated=False), {Verdict.REWARD_HACKING}),
    ],
    ids=[
        "converging",
        "converging, sampled validation",
        "converging, no validation",
        "over-fitting",
        "over-fitting, sampled validation",
        "ending early",
        "diverging",
        "breaking down",
        "not learning",
        "too short",
        "rewards rise",
        "rewards stay",
        "pleasing the grader",
        "pleasing the grader, no validation",
    ],
)
def test_generated_trainings_are_recognised(generate: Callable[[int], Results], right: set[Verdict]):
    verdicts = Counter(judged(generate(seed)).verdict for seed in SEEDS)
    assert sum(verdicts[verdict] for verdict in right) >= WANTED_RATE * len(SEEDS), verdicts


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("new.nlbse.step_metrics.csv", Verdict.CONVERGED),
        ("new.cookbook-drone.result.csv", Verdict.CONVERGED),
        ("legacy.titans.compiled_results.csv", Verdict.TOO_SHORT),
        ("legacy.titans.result0811.csv", Verdict.OVER_FITTING),
    ],
)
def test_real_trainings_are_judged_as_a_person_would(name: str, verdict: Verdict):
    assert judged(parse_results((REAL / name).read_bytes())).verdict is verdict


@pytest.mark.parametrize(
    ("by_epoch", "verdict"),
    [
        ([0.683, 0.700, 0.710], Verdict.CONVERGED),
        ([0.689, 0.700, 0.727, 0.801, 0.850, 0.884, 0.912, 0.934, 0.952, 0.966], Verdict.OVER_FITTING),
        ([0.632, 0.875, 0.959], Verdict.OVER_FITTING),
        ([1.546, 1.486, 1.509], Verdict.CONVERGED),
        ([1.501, 1.459, 1.460, 1.460, 1.515, 1.576, 1.635, 1.684, 1.726, 1.760], Verdict.OVER_FITTING),
        ([1.161, 0.916, 0.846], Verdict.CONVERGED),
        ([1.796, 1.826], Verdict.CONVERGED),
    ],
)
def test_measured_validation_losses_by_epoch_are_judged(by_epoch: list[float], verdict: Verdict):
    steps = 24 * len(by_epoch)
    train = [0.05 + 4 * math.exp(-step / 8) for step in range(1, steps + 1)]
    results = losses(train, {24 * (epoch + 1): loss for epoch, loss in enumerate(by_epoch)})
    assert judged(results, examples=24, batch_size=1, n_epochs=len(by_epoch)).verdict is verdict


def test_over_fitting_names_the_epoch_to_stop_at_and_the_checkpoint_to_deploy():
    train = [0.05 + 4 * math.exp(-step / 8) for step in range(1, 121)]
    results = losses(train, {24: 0.70, 48: 0.66, 72: 0.72, 96: 0.80, 120: 0.90})
    kept = [CheckpointPoint(step, None, f"ftchkpt-{step}") for step in (48, 72, 96, 120)]
    analysis = judged(
        results,
        examples=24,
        n_epochs=5,
        batch_size=1,
        learning_rate_multiplier=2.0,
        has_validation=True,
        checkpoints=kept,
    )
    assert analysis.headline == (
        "Over-fitting from step 48 on: validation got 36% worse while the model went on learning the training examples."
    )
    assert analysis.best_step == 48
    assert settings_of(analysis) == {"n_epochs": "2", "learning_rate_multiplier": "1", "training": None}
    assert analysis.advice[0].action == "Deploy the checkpoint of step 48 instead of the final model."
    assert analysis.summary["epochs"] == 5.0
    assert analysis.summary["valid_loss_best"] == 0.66
    assert all(advice.source for advice in analysis.advice)


def test_a_better_step_whose_checkpoint_is_gone_is_named_but_not_chosen():
    train = [0.05 + 4 * math.exp(-step / 8) for step in range(1, 121)]
    results = losses(train, {24: 0.60, 48: 0.66, 72: 0.72, 96: 0.80, 120: 0.90})
    kept = [CheckpointPoint(step, None, f"ftchkpt-{step}") for step in (72, 96, 120)]
    analysis = judged(results, examples=24, batch_size=1, n_epochs=5, checkpoints=kept)
    assert analysis.best_step == 72
    assert any(
        advice.action == "Train again and stop where it was best, after 1 epoch." for advice in analysis.advice
    )


def test_checkpoints_bring_their_own_validation_loss():
    train = [2.0 * math.exp(-step / 10) + 0.2 for step in range(1, 61)]
    kept = [CheckpointPoint(20, 0.9, "a"), CheckpointPoint(40, 0.7, "b"), CheckpointPoint(60, 0.71, "c")]
    analysis = judged(losses(train), checkpoints=kept)
    assert analysis.best_step == 40
    assert "Of the 3 checkpoints this one has the lowest validation loss (0.7)." in analysis.best_reason
    assert best_step(losses(train), kept) == 40


def test_without_validation_it_says_what_cannot_be_known():
    analysis = judged(curves.converging(3, with_validation=False), examples=200)
    assert analysis.best_step is None
    assert "cannot be seen without a validation file" in analysis.headline
    assert any("no validation file" in evidence.text for evidence in analysis.evidence)
    assert settings_of(analysis)["validation"] == "40 of the 200 examples"


def test_a_validation_file_not_measured_yet_is_not_asked_for_again():
    analysis = judged(curves.converging(3, with_validation=False), has_validation=True)
    assert "validation" not in settings_of(analysis)
    assert any("no figure has been measured on it yet" in evidence.text for evidence in analysis.evidence)


def test_a_broken_down_training_points_to_a_checkpoint_from_before():
    train = [2.0 * math.exp(-step / 10) + 0.2 for step in range(1, 41)] + [math.nan] * 20
    kept = [CheckpointPoint(20, 1.0, "a"), CheckpointPoint(40, 0.8, "b"), CheckpointPoint(60, 0.1, "c")]
    analysis = judged(losses(train), checkpoints=kept, learning_rate_multiplier=0.4)
    assert analysis.verdict is Verdict.UNSTABLE
    assert "at step 41 the loss was no number" in analysis.headline
    assert analysis.best_step == 40
    assert settings_of(analysis)["learning_rate_multiplier"] == "0.2"


def test_a_validation_that_gets_worse_while_nothing_is_learned_is_damage_not_over_fitting():
    results = losses([1.0, 1.01] * 20, {20: 1.0, 40: 1.3})
    analysis = judged(results)
    assert analysis.verdict is Verdict.UNSTABLE
    assert "did harm" in analysis.headline


def test_a_base_model_that_knew_everything_is_not_pushed_to_learn_more():
    points = tuple(Point(step, {"train_loss": 0.01, "train_mean_token_accuracy": 0.995}) for step in range(1, 40))
    analysis = judged(Results(points, ("train_loss",), (), ()), has_validation=True)
    assert analysis.verdict is Verdict.NOT_LEARNING
    assert settings_of(analysis) == {}
    assert "base model" in analysis.advice[0].action


@pytest.mark.parametrize(
    ("rate", "suggestion"), [(None, "1"), (0.1, "0.5"), (0.5, "1"), (1.0, "2"), (2.0, None), (5.0, None)]
)
def test_a_learning_rate_is_raised_by_one_usual_step_and_never_past_the_last(rate, suggestion):
    analysis = judged(losses([1.0, 1.01, 0.99, 1.0] * 10), learning_rate_multiplier=rate)
    assert settings_of(analysis).get("learning_rate_multiplier") == suggestion


@pytest.mark.parametrize(
    ("rate", "suggestion"), [(None, "0.5"), (0.02, "0.01"), (0.1, "0.05"), (1.0, "0.5"), (1.5, "1"), (10.0, "1")]
)
def test_a_learning_rate_is_lowered_towards_the_usual_ones_and_then_halved(rate, suggestion):
    analysis = judged(losses([0.5] * 20 + [5.0] * 20), learning_rate_multiplier=rate)
    assert analysis.verdict is Verdict.UNSTABLE
    assert settings_of(analysis)["learning_rate_multiplier"] == suggestion


def test_a_batch_far_above_the_default_is_blamed_for_too_few_steps():
    analysis = judged(losses([1.0, 0.9, 0.8]), examples=48, batch_size=16, n_epochs=1)
    assert analysis.verdict is Verdict.TOO_SHORT
    assert settings_of(analysis)["batch_size"] == "1"
    assert settings_of(analysis)["n_epochs"] == "3"


def test_auto_shown_as_minus_one_counts_as_not_known():
    analysis = judged(losses([1.0, 0.9]), examples=-1, n_epochs=-1, batch_size=-1, learning_rate_multiplier=-1.0)
    assert analysis == judged(losses([1.0, 0.9]))


def test_no_points_at_all_are_too_short():
    analysis = judged(Results((), (), (), ()))
    assert analysis.verdict is Verdict.TOO_SHORT
    assert analysis.headline == "Too short to judge: 0 points so far, at least 10 are needed."
    assert analysis.summary["train_loss_last"] is None


def test_the_same_points_give_the_same_words_whatever_their_unknown_columns():
    results = curves.over_fitting(11)
    widened = replace(
        results, points=tuple(Point(point.step, {**point.values, "other": 7.0}) for point in results.points)
    )
    assert judged(widened) == judged(results)


def test_json_holds_everything_and_no_number_json_does_not_have():
    analysis = judged(curves.breaking_down(5), n_epochs=3)
    text = json.dumps(analysis.to_json(), allow_nan=False)
    read = json.loads(text)
    assert read["verdict"] == "unstable"
    assert len(read["advice"]) == len(analysis.advice)
    assert set(read) == {
        "verdict",
        "headline",
        "confidence",
        "from_step",
        "evidence",
        "advice",
        "next_experiment",
        "best_step",
        "best_reason",
        "summary",
    }
