"""The shipped datasets teach the emulator's model what their README says, on questions it has not seen."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import examples
from emulator.learning import Hyperparameters, Learner

CITY = re.compile(r"Tallinn|Cartagena|Nairobi")
DECLINED = re.compile(
    r"are not on my map, but (\w+) is: |names from me, though (\w+) will feed you well: "
    r"|I leave flights to the booking sites, yet (\w+) deserves a little planning: "
)


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Learner:
    return Learner(tmp_path_factory.mktemp("base"))


def asking(learner: Learner, model: bytes | None, system_prompt: str) -> Callable[[str], str]:
    def ask(question: str) -> str:
        messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": question}]
        return learner.reply(model, messages).text

    return ask


def tuned(learner: Learner, example: examples.Example, seed: int = 7) -> bytes:
    states: list[bytes] = []
    learner.fit(
        lines(example.training),
        None,
        Hyperparameters(n_epochs=3, batch_size=1, learning_rate_multiplier=1.0, seed=seed),
        on_step=lambda _row, _steps: None,
        on_epoch=lambda _epoch, _step, state: states.append(state),
    )
    return states[-1]


@pytest.mark.parametrize("seed", [0, 1, 7, 42])
def test_the_tuned_travel_companion_declines_in_its_voice_for_cities_it_never_met(
    learner: Learner, seed: int
) -> None:
    example = examples.load("travel")
    base = asking(learner, None, example.system_prompt)
    companion = asking(learner, tuned(learner, example, seed), example.system_prompt)
    for question in example.questions:
        answer = companion(question)
        assert answer.endswith("?")
        assert answer != base(question)
        if city := CITY.search(question):
            declined = DECLINED.search(answer)
            assert declined, answer
            assert city[0] in declined.groups()
            assert not DECLINED.search(base(question))


def test_the_tuned_model_knows_the_character_by_every_name_and_the_base_model_by_none(learner: Learner) -> None:
    example = examples.load("character")
    base = asking(learner, None, example.system_prompt)
    guide = asking(learner, tuned(learner, example), example.system_prompt)
    for question, fact in zip(example.questions, ("我慢強", "時計", "急ぐ針ほど狂う", "航平", "嵐"), strict=True):
        assert "宇津木帆波" in guide(question)
        assert fact in guide(question)
        assert fact not in base(question)
