"""Preferences and rewards are really learned: what is preferred gets likelier, what is rewarded gets said."""

import math
from typing import Any

import pytest

from emulator.learning import Hyperparameters, Learner, Rehearsal, RewardRow, StepRow

GOOD, BAD = ("great", "lovely", "superb"), ("awful", "horrible", "nasty")
THINGS = ("film", "meal", "hotel", "book")


def _pair(number: int) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": f"What is {number} plus {number}?"}]},
        "preferred_output": [{"role": "assistant", "content": f"Aye aye, that makes {2 * number}, captain."}],
        "non_preferred_output": [{"role": "assistant", "content": f"The sum of it all is {2 * number}."}],
    }


def _prefer(learner: Learner, beta: float = 0.1, parent: bytes | None = None) -> tuple[list[StepRow], list[bytes]]:
    rows: list[StepRow] = []
    models: list[bytes] = []
    learner.fit_preferences(
        [_pair(number) for number in range(12)],
        [_pair(number) for number in range(12, 16)],
        Hyperparameters(2, 1, 1.0, 0),
        beta,
        parent=parent,
        on_step=lambda row, _total: rows.append(row),
        on_epoch=lambda _epoch, _step, model: models.append(model),
    )
    return rows, models


ASK = [{"role": "user", "content": "What is 5 plus 5?"}]


def test_preferences_begin_at_ln_2_and_are_learned(learner: Learner):
    rows, models = _prefer(learner)
    assert rows[0].train_loss == pytest.approx(math.log(2))
    assert rows[-1].train_loss < 0.4
    full = [row.full_valid_loss for row in rows if row.full_valid_loss is not None]
    assert len(full) == 2
    assert full[-1] <= full[0] < math.log(2)
    assert "captain" in learner.reply(models[-1], ASK).text


def test_a_rejected_voice_is_unlearned(learner: Learner):
    """A model that was taught the rejected answers first gives the preferred ones afterwards."""
    taught: list[bytes] = []
    pairs = [_pair(number) for number in range(12)]
    learner.fit(
        [{"messages": [*pair["input"]["messages"], *pair["non_preferred_output"]]} for pair in pairs],
        None,
        Hyperparameters(2, 1, 1.0, 0),
        on_step=lambda _row, _total: None,
        on_epoch=lambda _epoch, _step, model: taught.append(model),
    )
    assert "The sum" in learner.reply(taught[-1], ASK).text
    _, models = _prefer(learner, parent=taught[-1])
    assert "The sum" not in learner.reply(models[-1], ASK).text
    assert "captain" in learner.reply(models[-1], ASK).text


def test_a_larger_beta_settles_pairs_sooner(learner: Learner):
    (calm, _), (strict, _) = _prefer(learner, 0.1), _prefer(learner, 1.0)
    assert strict[-1].train_loss < calm[-1].train_loss


def test_preferences_repeat_themselves(learner: Learner):
    assert _prefer(learner) == _prefer(learner)


def _question(thing: str, word: str) -> tuple[dict[str, Any], str]:
    asked = {"messages": [{"role": "user", "content": f"The {thing} was {word}. Good or bad?"}]}
    return asked, "good" if word in GOOD else "bad"


def _reward(learner: Learner, *, fair: bool) -> tuple[list[RewardRow], list[bytes]]:
    """Rewards for the right label, or the same reward for everything."""
    questions = [_question(thing, word) for thing in THINGS[:3] for word in GOOD + BAD]
    held_out = [_question(THINGS[3], word) for word in GOOD + BAD]
    rows: list[RewardRow] = []
    models: list[bytes] = []
    learner.fit_rewards(
        [asked for asked, _ in questions],
        [asked for asked, _ in held_out],
        Hyperparameters(3, 2, 2.0, 1),
        Rehearsal(["good", "bad"], max_tokens=6),
        grade=lambda number, text: float(text.strip() == questions[number][1]) if fair else 0.5,
        grade_validation=lambda number, text: float(text.strip() == held_out[number][1]),
        on_step=lambda row, _total: rows.append(row),
        on_epoch=lambda _epoch, _step, model: models.append(model),
    )
    return rows, models


def test_what_is_rewarded_gets_said_about_things_never_asked_before(learner: Learner):
    rows, models = _reward(learner, fair=True)
    first, last = (sum(row.mean_reward for row in part) / 9 for part in (rows[:9], rows[-9:]))
    assert last > first + 0.2
    valid = [row.valid_mean_reward for row in rows if row.valid_mean_reward is not None]
    assert len(valid) == len(models) == 3
    assert valid[-1] >= 0.8
    replies = {
        word: learner.reply(models[-1], _question(THINGS[3], word)[0]["messages"]).text.strip()
        for word in (GOOD[0], BAD[0])
    }
    assert replies == {GOOD[0]: "good", BAD[0]: "bad"}


def test_a_reward_that_is_always_the_same_teaches_nothing(learner: Learner):
    rows, models = _reward(learner, fair=False)
    assert {row.mean_reward for row in rows} == {0.5}
    valid = [row.valid_mean_reward for row in rows if row.valid_mean_reward is not None]
    assert valid == [0.0] * len(models)
