"""Reinforcement fine-tuning of a mixture by graded samples; knows nothing of graders, files or jobs.

REINFORCE with the mean reward of a group of samples as baseline: gates follow the gradient of the better samples
and leave that of the worse ones; evidence is written for the former and taken away from the latter. A tiny base
model never says anything worth a reward by itself, so a share of the samples is proposed: strings of the file.
Rewards are reported for the model's own samples only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from emulator.learning.arrays import Floats
from emulator.learning.contexts import positions
from emulator.learning.conversations import Turn
from emulator.learning.decoding import Speaker, speak
from emulator.learning.mixture import Mixture, prior_of
from emulator.learning.outcomes import Hyperparameters, RewardRow
from emulator.learning.tokens import END_OF_TURN, encode
from emulator.learning.training import FAST, GATE_RATE, SLOWLY, Adam, learning_rate

PROPOSED = 0.3
"""Share of the samples that are proposed instead of spoken."""
GROUP = 4
"""Samples for each prompt and step, before the compute multiplier."""
TEMPERATURE = 1.5
"""Of the samples; a reply is sharper."""
_STRENGTH = 3.0  # of an advantage of one, against one supervised example
_NO_ADVANTAGE = 1e-9

Grade = Callable[[int, str], float]
"""The reward (0..1 for most graders) of a text as an answer to the prompt of that number."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Unanswered turns, and how an answer to one of them is graded."""

    turns: Sequence[Turn]
    grade: Grade

    def __len__(self) -> int:
        return len(self.turns)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How samples are drawn: texts to propose, samples in a group, the longest answer in tokens."""

    proposals: Sequence[str]
    group: int = GROUP
    max_tokens: int = 48
    eval_interval: int | None = None


@dataclass(frozen=True, slots=True)
class _Sample:
    prompt: int
    answer: tuple[int, ...]
    reward: float
    own: bool


def untaught(below: Mixture | None, turns: Sequence[Turn]) -> Mixture:
    """A model that reads these prompts and has learned nothing yet."""
    return Mixture.untrained(below, [replace(turn, answer=(END_OF_TURN,)) for turn in turns])[0]


def train_rewarded(
    model: Mixture,
    training: Questions,
    validation: Questions,
    hyperparameters: Hyperparameters,
    rehearsal: Rehearsal,
    *,
    on_step: Callable[[RewardRow, int], None],
    on_epoch: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Trains the model; False when it was stopped before the last step."""
    rng = np.random.default_rng(hyperparameters.seed % 2**63)
    batch = hyperparameters.batch_size
    per_epoch = math.ceil(len(training) / batch)
    total = hyperparameters.n_epochs * per_epoch
    adam, gate_rate = Adam(model.gate_weights), GATE_RATE / math.sqrt(per_epoch + 8)
    speakers = [Speaker(model, turn) for turn in training.turns]
    checked = [Speaker(model, turn) for turn in validation.turns]
    step = 0
    for epoch in range(hyperparameters.n_epochs):
        order = rng.permutation(len(training))
        for start in range(0, len(training), batch):
            step += 1
            rate = learning_rate(step, total, hyperparameters.learning_rate_multiplier)
            samples: list[_Sample] = []
            for prompt in order[start : start + batch].tolist():
                if should_stop():
                    return False
                samples += _group(speakers[prompt], training.grade, prompt, rehearsal, rng)
            _learn(model, training.turns, samples, adam, gate_rate * rate, rate)
            ends = start + batch >= len(training)
            interval = rehearsal.eval_interval
            valid = (
                _valid(checked, validation.grade, rehearsal)
                if ends or (interval and step % interval == 0)
                else None
            )
            own = [sample for sample in samples if sample.own]
            reward = float(np.mean([sample.reward for sample in own])) if own else 0.0
            tokens = float(np.mean([len(sample.answer) - 1 for sample in own])) if own else 0.0
            on_step(RewardRow(step, reward, valid, tokens), total)
        on_epoch(epoch + 1, step)
    return True


def _group(
    speaker: Speaker, grade: Grade, prompt: int, rehearsal: Rehearsal, rng: np.random.Generator
) -> list[_Sample]:
    """Some answers to one prompt with their rewards; at least one of them is the model's own."""
    samples = []
    for number in range(rehearsal.group):
        own = number == 0 or not rehearsal.proposals or rng.random() >= PROPOSED
        if own:
            said = speak(
                speaker,
                max_tokens=rehearsal.max_tokens,
                temperature=TEMPERATURE,
                top_p=1.0,
                seed=int(rng.integers(2**31)),
            )
            text = said.text
        else:
            text = rehearsal.proposals[int(rng.integers(len(rehearsal.proposals)))]
        samples.append(_Sample(prompt, (*encode(text), END_OF_TURN), grade(prompt, text), own))
    return samples


def _advantages(samples: Sequence[_Sample]) -> Floats:
    """(samples,): how much better each did than the mean of the answers to its prompt."""
    prompt = np.array([sample.prompt for sample in samples])
    reward = np.array([sample.reward for sample in samples])
    _, group = np.unique(prompt, return_inverse=True)
    mean = np.bincount(group, weights=reward) / np.bincount(group)
    return np.asarray(reward - mean[group])


def _learn(
    model: Mixture,
    turns: Sequence[Turn],
    samples: Sequence[_Sample],
    adam: Adam,
    gate_rate: float,
    rate: float,
) -> None:
    advantage = _advantages(samples)
    telling = np.flatnonzero(np.abs(advantage) > _NO_ADVANTAGE)
    if not len(telling):
        return
    advantage, samples = advantage[telling], [samples[at] for at in telling.tolist()]
    answered = [replace(turns[sample.prompt], answer=sample.answer) for sample in samples]
    prompts = replace(model.reader.read(answered), slot=np.array([sample.prompt for sample in samples], np.int64))
    where = positions(prompts, [turn.answer for turn in answered])
    model.evidence = model.evidence.widened(where)
    view = model.view_of(prompts, where, prior_of(model.below, answered, where.target))
    everything = np.arange(len(view))
    forward = model.forward(view, model.gates(view, everything))
    weight = (advantage / where.length)[where.example]
    model.gate_weights = model.gate_weights + adam.step(forward.gradient(weight / len(samples)), gate_rate)
    amount = 1 - np.exp(-_STRENGTH * np.abs(advantage)[:, None] * np.array([FAST, SLOWLY]) * rate)
    good, bad = (np.flatnonzero(sign * advantage[where.example] > 0) for sign in (1, -1))
    model.write(view, good, amount[where.example[good]])
    model.unlearn(view, bad, amount[where.example[bad]])
    model.mean_answer_tokens = float(where.length[advantage > 0].mean())


def _valid(speakers: Sequence[Speaker], grade: Grade, rehearsal: Rehearsal) -> float:
    """Mean reward of the greedy answers."""
    rewards = [
        grade(number, speak(speaker, max_tokens=rehearsal.max_tokens, temperature=0, top_p=1.0, seed=0).text)
        for number, speaker in enumerate(speakers)
    ]
    return float(np.mean(rewards))
