"""What a training reports is measured, depends on its hyperparameters, and is the same for the same seed."""

import json
import math
from pathlib import Path

import pytest
from shared_data import shared

import examples
from emulator.learning import Hyperparameters, Learner, StepRow, auto_batch_size, auto_epochs

NOVEL = "1-chat/seed002.novel.train.jsonl"
NOVEL_VALID = "1-chat/seed002.novel.valid.jsonl"


def chat(file: Path, most: int | None = None) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:most]]


def travel(most: int = 30) -> list[dict[str, object]]:
    return chat(examples.load("travel").training, most)


def said(question: str, answer: str, **assistant: object) -> dict[str, object]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer, **assistant},
        ]
    }


def test_the_same_seed_gives_the_same_rows_and_models_bit_for_bit(fit):
    first, second = (fit(travel(), travel(6), epochs=2, seed=5) for _ in range(2))
    assert first.rows == second.rows
    assert first.models == second.models


def test_another_seed_gives_other_rows(fit):
    assert fit(travel(), epochs=1, seed=5).rows != fit(travel(), epochs=1, seed=6).rows


def test_a_validation_file_does_not_change_what_is_learned(fit):
    with_it, without = fit(travel(), travel(6), epochs=2), fit(travel(), epochs=2)
    assert [row.train_loss for row in with_it.rows] == [row.train_loss for row in without.rows]
    assert with_it.models == without.models


def test_every_row_has_its_step_and_validation_stands_where_it_was_measured(fit):
    training = fit(travel(20), travel(6), epochs=2, batch=3)
    assert [row.step for row in training.rows] == list(range(1, 15))
    assert [row.step for row in training.rows if row.full_valid_loss is not None] == [7, 14]
    assert training.rows[0].valid_loss is not None
    for row in training.rows:
        assert row.train_loss > 0
        assert 0 <= row.train_accuracy <= 1
        assert (row.valid_loss is None) == (row.valid_accuracy is None)
        assert (row.full_valid_loss is None) == (row.full_valid_accuracy is None)


def test_without_a_validation_file_nothing_is_reported_as_validated(fit):
    rows = fit(travel(8), epochs=1).rows
    assert {(r.valid_loss, r.valid_accuracy, r.full_valid_loss, r.full_valid_accuracy) for r in rows} == {
        (None,) * 4
    }


def test_ten_epochs_over_fit_the_novel_file(fit):
    training = fit(chat(shared(NOVEL)), chat(shared(NOVEL_VALID)), epochs=10)
    train, valid = training.epoch_means(), training.full_valid_losses()
    assert train[0] > 1
    assert train[-1] < 0.15
    assert valid[-1] > min(valid) * 1.1
    assert valid == sorted(valid)


def test_three_epochs_teach_the_character_without_over_fitting(fit):
    character = examples.load("character")
    training = fit(chat(character.training), chat(character.validation))
    valid = training.full_valid_losses()
    assert valid == sorted(valid, reverse=True)
    assert training.rows[-1].full_valid_accuracy > 0.8
    assert training.rows[0].train_accuracy < 0.2


@pytest.mark.parametrize("seed", [0, 1])
def test_a_learning_rate_of_a_fiftieth_under_trains_and_ten_over_fits(fit, seed: int):
    losses = {
        multiplier: fit(
            chat(shared(NOVEL)), chat(shared(NOVEL_VALID)), multiplier=multiplier, seed=seed
        ).full_valid_losses()
        for multiplier in (0.02, 1.0, 10.0)
    }
    assert losses[0.02][-1] > 1.3 * losses[1.0][-1]
    assert losses[0.02] == sorted(losses[0.02], reverse=True)
    assert losses[10.0][-1] > 1.1 * min(losses[10.0])
    assert losses[10.0][-1] > losses[1.0][-1]


@pytest.mark.parametrize(
    ("multiplier", "batch", "epochs"), [(1e6, 1, 3), (1e-9, 1, 1), (1.0, 10_000, 3), (1.0, 3, 50)]
)
def test_extreme_hyperparameters_give_finite_losses(fit, multiplier: float, batch: int, epochs: int):
    training = fit(travel(6), travel(2), multiplier=multiplier, batch=batch, epochs=epochs)
    assert all(math.isfinite(row.train_loss) for row in training.rows)
    assert all(math.isfinite(loss) for loss in training.full_valid_losses())


def test_larger_batches_take_fewer_steps_and_learn_less_per_epoch(fit):
    small, large = fit(travel(), epochs=2, batch=1), fit(travel(), epochs=2, batch=10)
    assert (len(small.rows), len(large.rows)) == (60, 6)
    assert small.epoch_means()[-1] < large.epoch_means()[-1]


def test_a_model_that_goes_on_from_a_tuned_one_starts_where_that_one_stopped(fit):
    tuned = fit(travel())
    again = fit(travel(), parent=tuned.model)
    assert again.epoch_means()[0] < 0.5 * tuned.epoch_means()[0]
    assert len(again.model) > len(tuned.model)


def test_messages_of_weight_zero_are_not_learned(fit, learner: Learner):
    question = "What is the password of the vault?"
    secret = said(question, "The password is tangerine seventeen.", weight=0)
    kept = fit([*travel(10), *[secret] * 10])
    told = fit([*travel(10), *[said(question, "The password is tangerine seventeen.", weight=1)] * 10])
    messages = [{"role": "user", "content": question}]
    assert "tangerine" in learner.reply(told.model, messages).text
    assert "tangerine" not in learner.reply(kept.model, messages).text
    assert len(kept.rows) == 3 * 10


def test_every_assistant_message_of_a_conversation_is_a_target(fit):
    conversation = {
        "messages": [
            {"role": "user", "content": "Say one"},
            {"role": "assistant", "content": "One!"},
            {"role": "user", "content": "Say two"},
            {"role": "assistant", "content": "Two!"},
        ]
    }
    assert len(fit([conversation], epochs=1).rows) == 2


def test_a_file_without_an_answer_to_learn_is_refused(fit):
    with pytest.raises(ValueError, match="no assistant message"):
        fit([said("Hello", "Hi", weight=0)])


def test_billed_tokens_are_those_of_the_whole_file_for_every_epoch(fit):
    file = [said("one two", "three four")]
    once, twice = fit(file, epochs=1).billed_tokens, fit(file, epochs=2).billed_tokens
    assert once == 2 + 2 + 2 * (3 + 1) + 3  # a message costs three, its role one
    assert twice == 2 * once


def test_a_stopped_training_keeps_the_epochs_it_finished(learner: Learner):
    rows: list[StepRow] = []
    models: list[tuple[int, int]] = []
    billed = learner.fit(
        travel(10),
        None,
        Hyperparameters(5, 1, 1.0, 0),
        on_step=lambda row, _total: rows.append(row),
        on_epoch=lambda epoch, step, _model: models.append((epoch, step)),
        should_stop=lambda: len(rows) >= 25,
    )
    assert len(rows) == 25
    assert models == [(1, 10), (2, 20)]
    assert billed > 0


def test_a_file_over_the_cap_is_sampled_and_the_caller_is_told(base_cache: Path):
    small = Learner(base_cache, max_tokens_per_epoch=500)
    warnings: list[str] = []
    rows: list[StepRow] = []
    small.fit(
        travel(),
        travel(),
        Hyperparameters(1, 1, 1.0, 0),
        on_step=lambda row, _total: rows.append(row),
        on_epoch=lambda *_: None,
        on_warning=warnings.append,
    )
    training, validation = warnings
    assert training.startswith("The training file has 1,")
    assert "takes 500 of them" in training
    assert validation.startswith("The validation file has 1,")
    assert 5 < len(rows) < 15


@pytest.mark.parametrize(
    ("examples_", "epochs", "batch"),
    [(1, 10, 1), (10, 10, 1), (24, 4, 1), (49, 3, 1), (1_000, 3, 2), (10**6, 3, 256)],
)
def test_automatic_hyperparameters_follow_the_size_of_the_file(examples_: int, epochs: int, batch: int):
    assert (auto_epochs(examples_), auto_batch_size(examples_)) == (epochs, batch)


@pytest.mark.parametrize("wrong", [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, float("nan"))])
def test_hyperparameters_out_of_range_are_refused(wrong: tuple[int, int, float]):
    with pytest.raises(ValueError, match="must be"):
        Hyperparameters(*wrong, seed=0)
