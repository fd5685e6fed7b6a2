"""Which trial is advised: the cheapest that cannot be told from the best, with what a point gained cost."""

import math
from decimal import Decimal

import pytest

from app.jobs.analysis import results_from_events
from app.studies.verdict import Measure, Row, gains, measure, recommend, standard_error


def row(number: int, score: float, usd: str | None, *, epochs: int = 1, loss: float | None = 1.0) -> Row:
    cost = None if usd is None else Decimal(usd)
    return Row(number, {"n_epochs": epochs}, Measure(score, loss, step=10 * number), cost)


def test_a_score_is_the_whole_sets_accuracy_at_the_best_step_and_its_loss_stands_beside_it() -> None:
    points = [
        {"step": step, "full_valid_mean_token_accuracy": accuracy, "full_valid_loss": loss, "valid_loss": 9.0}
        for step, accuracy, loss in ((10, 0.5, 1.5), (20, 0.61234, 1.2), (30, 0.6, 1.9))
    ]
    results = results_from_events(points)
    assert measure(results, 20) == Measure(score=61.234, loss=1.2, step=20)
    assert measure(results, None) == Measure(score=60.0, loss=1.9, step=30)
    assert measure(results, 5) == Measure(score=50.0, loss=1.5, step=10)


def test_a_reward_counts_before_an_accuracy_and_without_validation_there_is_no_score() -> None:
    rewarded = results_from_events([{"step": 1, "full_valid_mean_reward": 0.4, "valid_mean_token_accuracy": 0.9}])
    assert measure(rewarded, None) == Measure(score=40.0, loss=None, step=1)
    assert measure(results_from_events([{"step": 1, "train_loss": 2.0}]), None) is None


def test_a_loss_that_is_no_number_is_not_shown_as_one() -> None:
    results = results_from_events(
        [{"step": 1, "valid_loss": math.nan, "valid_mean_token_accuracy": 0.2}, {"step": 2, "train_loss": 1.0}]
    )
    assert measure(results, None) == Measure(score=20.0, loss=None, step=1)


def test_what_a_point_gained_cost_is_counted_from_the_cheapest_trial() -> None:
    found = gains([row(1, 50.0, "1"), row(2, 54.0, "3"), row(3, 49.0, "4"), row(4, 60.0, None)])
    assert (found[1].points, found[1].usd_per_point) == (0.0, None)
    assert (found[2].points, found[2].usd_per_point) == (4.0, Decimal("0.5000"))
    assert (found[3].points, found[3].usd_per_point) == (-1.0, None)
    assert (found[4].points, found[4].usd_per_point) == (10.0, None)
    assert gains([]) == {}


def test_the_cheaper_of_two_that_cannot_be_told_apart_is_advised_and_why() -> None:
    rows = [row(1, 60.0, "1", epochs=2), row(2, 61.0, "5", epochs=3), row(3, 40.0, "0.5", epochs=5)]
    taken = recommend(rows, sample_size=500)
    assert taken is not None
    assert taken.number == 1
    assert "trial 2 has 1.00 points more" in taken.reasons[1]
    assert "costs $4.00 more" in taken.reasons[1]
    assert taken.next_experiment == "n_epochs 2 is the lowest that was tried: try less"


def test_with_enough_tokens_the_same_difference_counts_and_the_best_is_advised() -> None:
    rows = [row(1, 60.0, "1", epochs=1), row(2, 61.0, "5", epochs=3), row(3, 40.0, "0.5", epochs=5)]
    taken = recommend(rows, sample_size=100_000)
    assert taken is not None
    assert taken.number == 2
    assert taken.reasons[1] == "the next best, trial 1, is 1.00 points behind"
    assert taken.next_experiment is None


def test_nothing_measured_is_no_advice_and_a_single_trial_is_taken() -> None:
    assert recommend([], sample_size=None) is None
    only = recommend([row(4, 12.5, None, loss=None)], sample_size=None)
    assert only is not None
    assert (only.number, only.reasons) == (4, ("12.50 points on the validation set, at step 40",))


@pytest.mark.parametrize(("score", "tokens", "error"), [(50.0, 2500, 1.0), (100.0, 10, 0.0), (50.0, None, 0.0)])
def test_the_noise_of_a_score_is_that_of_a_share_of_so_many_tokens(
    score: float, tokens: int | None, error: float
) -> None:
    assert standard_error(score, tokens) == pytest.approx(error)
