"""The watch-dog's rules on courses made for it: what each sees, what it leaves alone, and that it fires once."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.jobs.analysis import parse_results, results_from_events
from app.jobs.watchdog import (
    DEFAULT,
    DEFAULT_REINFORCEMENT,
    RULES,
    AnyRule,
    Course,
    Diverging,
    NotANumber,
    RewardGap,
    Rule,
    Spend,
    Stalled,
    TokenGrowth,
    UnknownRule,
    ValidationRising,
    WatchPolicy,
    alarms,
    policy_of,
    rule_from_words,
)

RESULTS = Path(__file__).parents[2] / "data" / "results"


def course(
    rows: Iterable[Mapping[str, object]], *, spent: str | None = None, silent: float | None = None
) -> Course:
    return Course.of(results_from_events(rows), spent_usd=Decimal(spent) if spent else None, silent_seconds=silent)


def overfitting(steps: int = 60, *, best: int = 20) -> list[dict[str, float]]:
    """Training falls all the time, validation until `best`; small fixed ripples stand for noise."""
    ripple = (0.0, 0.02, -0.02, 0.01, -0.01)
    return [
        {
            "step": step,
            "train_loss": 2.0 / (1 + step / 10) + ripple[step % 5],
            "valid_loss": 1.2 + abs(step - best) * (0.02 if step > best else 0.04) + ripple[(step + 2) % 5],
        }
        for step in range(1, steps + 1)
    ]


def fired_by(rule: AnyRule, at: Course) -> list[str]:
    return [alarm.rule for alarm in alarms(WatchPolicy(rules=[rule]), at, {})]


def test_a_rising_validation_loss_is_seen_and_a_falling_one_is_not() -> None:
    rule = ValidationRising()
    assert fired_by(rule, course(overfitting())) == ["validation_rising"]
    assert fired_by(rule, course(overfitting(20, best=20))) == []


def test_an_evaluation_of_the_whole_set_counts_each_epoch() -> None:
    losses = [1.5, 1.1, 1.3, 1.4, 1.6]
    rows = [
        {"step": epoch * 10, "train_loss": 2 / epoch, "full_valid_loss": loss}
        for epoch, loss in enumerate(losses, 1)
    ]
    sign = ValidationRising(evaluations=3).sign(course(rows))
    assert sign is not None
    assert sign.since_step == 20
    assert sign.numbers == {"best": 1.1, "best_step": 20, "last": 1.6, "evaluations": 3}
    assert ValidationRising(evaluations=4).sign(course(rows)) is None
    assert ValidationRising(evaluations=3, min_rise=0.5).sign(course(rows)) is None


def test_one_outlier_among_noisy_validation_batches_is_no_alarm() -> None:
    rows = overfitting(20, best=20)
    rows[-1]["valid_loss"] = 3.0
    assert fired_by(ValidationRising(evaluations=1), course(rows)) == []


def test_a_loss_that_is_no_number_is_seen_at_its_step() -> None:
    rows: list[dict[str, object]] = [{"step": step, "train_loss": 1.0} for step in range(1, 5)]
    rows.append({"step": 5, "train_loss": "NaN"})
    sign = NotANumber().sign(course(rows))
    assert sign is not None
    assert sign.numbers == {"step": 5}
    assert NotANumber().sign(course(rows[:-1])) is None


def test_a_training_that_loses_what_it_had_gained_diverges() -> None:
    falling = [{"step": step, "train_loss": 2.0 - step * 0.05} for step in range(1, 31)]
    rising = [{"step": 30 + step, "train_loss": 0.5 + step * 0.1} for step in range(1, 21)]
    assert fired_by(Diverging(), course(falling)) == []
    assert fired_by(Diverging(), course(falling + rising)) == ["diverging"]


def test_a_gap_of_rewards_must_last() -> None:
    rows = [{"step": step, "train_mean_reward": 0.1 * step, "full_valid_mean_reward": 0.4} for step in range(1, 10)]
    assert RewardGap(gap=0.25, evaluations=3).sign(course(rows[:8])) is None
    sign = RewardGap(gap=0.25, evaluations=3).sign(course(rows))
    assert sign is not None
    assert sign.since_step == 7
    assert sign.numbers["smallest_gap"] == pytest.approx(0.3)


def test_the_training_reward_may_have_been_measured_at_other_steps() -> None:
    rows = [{"step": step, "train_reward_mean": 0.9} for step in (1, 3, 5)]
    rows += [{"step": step, "valid_reward_mean": 0.2} for step in (2, 4, 6)]
    assert fired_by(RewardGap(), course(rows)) == ["reward_gap"]


def test_growing_answers_are_seen_in_whichever_column_they_stand() -> None:
    rows = [{"step": step, "reasoning_tokens_mean": 100 + step * 40} for step in range(1, 11)]
    assert fired_by(TokenGrowth(factor=2), course(rows)) == ["token_growth"]
    assert fired_by(TokenGrowth(factor=4), course(rows)) == []


def test_money_and_silence_are_measured_by_what_is_known() -> None:
    assert fired_by(Spend(usd=Decimal(10)), course([], spent="10")) == ["spend"]
    assert fired_by(Spend(usd=Decimal(10)), course([], spent="9.99")) == []
    assert fired_by(Spend(usd=Decimal(10)), course([])) == []
    assert fired_by(Stalled(minutes=2), course([], silent=121)) == ["stalled"]
    assert fired_by(Stalled(minutes=2), course([])) == []


def test_a_rule_fires_once_on_one_course_and_again_on_a_new_rise() -> None:
    policy = WatchPolicy(rules=[ValidationRising()])
    (first,) = alarms(policy, course(overfitting(50)), {})
    remembered = json.loads(json.dumps({first.name: first.to_json()}))
    assert alarms(policy, course(overfitting(60)), remembered) == []
    later = overfitting(50)
    later += [row | {"step": row["step"] + 50, "valid_loss": row["valid_loss"] - 1.0} for row in overfitting(60)]
    (again,) = alarms(policy, course(later), remembered)
    assert again.numbers["best_step"] > first.step


def test_two_limits_of_money_fire_each_for_itself_and_the_gravest_comes_first() -> None:
    policy = WatchPolicy(rules=[Spend(usd=Decimal(5)), Spend(usd=Decimal(8), action="cancel")])
    found = alarms(policy, course([], spent="9"), {})
    assert [(alarm.action, alarm.numbers["limit_usd"]) for alarm in found] == [("cancel", 8.0), ("notify", 5.0)]


def test_what_was_accepted_becomes_the_limit_at_which_it_is_paused() -> None:
    stored = WatchPolicy(rules=[Spend(usd=Decimal(100), action="pause"), NotANumber()]).model_dump(mode="json")
    policy = policy_of(stored, method="reinforcement", accepted_usd=Decimal(150))
    limits = [(rule.usd, rule.action) for rule in policy.rules if isinstance(rule, Spend)]
    assert limits == [(Decimal(150), "pause")]


def test_without_a_policy_trouble_is_told_and_nothing_is_done() -> None:
    for method, wanted in (("supervised", DEFAULT), ("dpo", DEFAULT), ("reinforcement", DEFAULT_REINFORCEMENT)):
        policy = policy_of(None, method=method, accepted_usd=None)
        assert policy.rules == wanted.rules
        assert {rule.action for rule in policy.rules} == {"notify"}
    assert policy_of({"rules": []}, method="supervised", accepted_usd=None).rules == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("not_a_number=cancel", NotANumber(action="cancel")),
        (
            "validation_rising:evaluations=5,min_rise=0.2=pause",
            ValidationRising(evaluations=5, min_rise=0.2, action="pause"),
        ),
        ("spend:usd=12.50=pause", Spend(usd=Decimal("12.50"), action="pause")),
    ],
)
def test_a_rule_is_read_as_it_is_typed(text: str, wanted: Rule) -> None:
    assert rule_from_words(text) == wanted


@pytest.mark.parametrize("text", ["", "nonsense=cancel", "=cancel", "not_a_number"])
def test_what_is_no_rule_is_answered_with_all_there_are(text: str) -> None:
    with pytest.raises(UnknownRule) as told:
        rule_from_words(text)
    assert all(name in str(told.value) for name in RULES)


@pytest.mark.parametrize(
    "text", ["not_a_number=explode", "spend=pause", "stalled:minutes=x=notify", "spend:eur=3=pause"]
)
def test_a_rule_with_wrong_measures_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        rule_from_words(text)


def test_a_policy_survives_the_wire() -> None:
    example = WatchPolicy.model_json_schema()["examples"][0]
    policy = WatchPolicy.model_validate(example)
    assert policy.rules
    assert WatchPolicy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize("name", ["new.cookbook-drone.result.csv", "new.nlbse.step_metrics.csv"])
def test_real_trainings_that_went_well_raise_no_grave_alarm(name: str) -> None:
    results = parse_results((RESULTS / name).read_bytes())
    at = Course.of(results, spent_usd=None, silent_seconds=None)
    assert {alarm.rule for alarm in alarms(DEFAULT, at, {})} <= {"validation_rising"}
