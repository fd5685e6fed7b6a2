"""Supervised fine-tuning of a mixture on turns; knows nothing of files, jobs or replies."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from emulator.learning.arrays import Floats, ranges
from emulator.learning.conversations import Turn
from emulator.learning.mixture import Mixture, Oversight, View
from emulator.learning.outcomes import Hyperparameters, StepRow

FAST, SLOWLY = 0.4, 0.2
"""Evidence of one exposure at batch size 1 and multiplier 1 is 1 - exp(-rate), in fast and in slow columns."""
GATE_RATE = 0.08
"""Adam's step for the gate weights, before the schedule; divided by sqrt(steps per epoch + 8)."""
HOLD_OUT = 0.5
"""After epoch 1, HOLD_OUT ** epoch of the tokens train the gates as if their own example had not been seen.

The rest trust the model's memory of them: that is where over-fitting comes from, as in any network.
"""
_WARM_UP, _FINAL = 0.03, 0.2  # share of the steps; share of the learning rate at the last step
_ACCURACY_TOKENS = 128  # the accuracy of a large batch is measured on about this many of its tokens
_VALID_EXAMPLES = 8  # a sampled validation step looks at this many examples
_VALID_STEPS = 100  # about how many steps of a job sample the validation file


Measured = tuple[float, float] | tuple[None, None]
"""Mean loss (nats per token) and token accuracy (0..1)."""


class Adam:
    """Adam with the usual decays (0.9, 0.99)."""

    def __init__(self, weights: Floats) -> None:
        self.mean, self.square, self.steps = np.zeros_like(weights), np.zeros_like(weights), 0

    def step(self, gradient: Floats, rate: float) -> Floats:
        """What to add to the weights."""
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.99 * self.square + 0.01 * gradient**2
        mean = self.mean / (1 - 0.9**self.steps)
        return np.asarray(-rate * mean / (np.sqrt(self.square / (1 - 0.99**self.steps)) + 1e-6))


def learning_rate(step: int, total: int, multiplier: float) -> float:
    """The rate at a step (1..total): a short warm-up, then a straight line down."""
    return multiplier * min(1.0, step / max(1.0, _WARM_UP * total)) * (1 - (1 - _FINAL) * (step - 1) / total)


def train(
    model: Mixture,
    view: View,
    validation: Sequence[Turn],
    hyperparameters: Hyperparameters,
    *,
    on_step: Callable[[StepRow, int], None],
    on_epoch: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Trains the model on its view of the training turns; False when it was stopped before the last step."""
    rng = np.random.default_rng(hyperparameters.seed % 2**63)
    check_rng = np.random.default_rng([hyperparameters.seed % 2**63, 1])  # a validation file changes no training
    examples, batch = len(view.prompts), hyperparameters.batch_size
    per_epoch = math.ceil(examples / batch)
    total = hyperparameters.n_epochs * per_epoch
    adam = Adam(model.gate_weights)
    gate_rate = GATE_RATE / math.sqrt(per_epoch + 8)
    seen, own = np.zeros(examples, bool), np.zeros((len(view), 2))
    check = model.view(validation) if validation else None
    check_every = max(1, total // _VALID_STEPS)
    step = 0
    for epoch in range(hyperparameters.n_epochs):
        order = rng.permutation(examples)
        for start in range(0, examples, batch):
            if should_stop():
                return False
            step += 1
            ids = order[start : start + batch]
            at, _ = ranges(view.positions.start[ids], view.positions.length[ids])
            rate = learning_rate(step, total, hyperparameters.learning_rate_multiplier)
            hidden = Oversight(seen[view.positions.example[at]], coin=rng.random((len(at), 2)))
            gates = model.gates(view, at, hidden)
            forward = model.forward(view, gates)
            every = math.ceil(len(at) / _ACCURACY_TOKENS)
            hits = model.hits(view, gates.every(every), forward.target[::every])
            loss, accuracy = -float(np.log(forward.target).mean()), float(hits.mean())
            if epoch:
                out = rng.random(len(at)) < HOLD_OUT**epoch
                hidden = Oversight(hidden.seen, own=own[at] * out[:, None])
                forward = model.forward(view, model.gates(view, at, hidden), hidden)
            gradient = forward.gradient(np.full(len(at), 1 / len(at)))
            model.gate_weights = model.gate_weights + adam.step(gradient, gate_rate * rate)
            amount = 1 - np.exp(-np.array([FAST, SLOWLY]) * rate / math.sqrt(batch))
            model.write(view, at, amount)
            own[at] += amount
            seen[ids] = True
            sampled: Measured = (None, None)
            full: Measured = (None, None)
            if check is not None:
                if step == 1 or step % check_every == 0:
                    sampled = _sampled(model, check, check_rng)
                if start + batch >= examples:
                    full = model.measure(check)
            on_step(StepRow(step, loss, accuracy, *sampled, *full), total)
        on_epoch(epoch + 1, step)
    return True


def _sampled(model: Mixture, check: View, rng: np.random.Generator) -> tuple[float, float]:
    """Loss and accuracy on a few examples of the validation file."""
    few = rng.choice(len(check.prompts), min(_VALID_EXAMPLES, len(check.prompts)), replace=False)
    at, _ = ranges(check.positions.start[few], check.positions.length[few])
    gates = model.gates(check, at)
    target = model.forward(check, gates).target
    return -float(np.log(target).mean()), float(model.hits(check, gates, target).mean())
