"""Direct preference optimisation of a mixture on pairs of answers; knows nothing of files, jobs or replies.

The loss of a pair is ``-ln sigmoid(beta * SCALE * (r(preferred) - r(rejected)))``, ``r`` being the mean over an
answer's tokens of ``ln(pi / reference)`` and the reference the model before the first step: it starts at ln 2. A
mean is taken and not DPO's sum, as the probabilities of a tiny model move by many nats at a time. Gates follow the
exact gradient of that loss. Evidence is written for what is preferred, a little of it even when the pair is settled
(a likelihood term, as in RPO: a model without evidence has nothing to say); it is taken away from what is rejected,
where that differs from what is preferred, in proportion to how far the pair is from settled.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from emulator.learning.arrays import Flags, Floats, Ints, ranges
from emulator.learning.conversations import Turn
from emulator.learning.mixture import Forward, Mixture, View
from emulator.learning.outcomes import Hyperparameters, StepRow
from emulator.learning.training import FAST, GATE_RATE, SLOWLY, Adam, learning_rate

SCALE = 3.0
"""Makes up a little for the mean over tokens; with beta 0.1 a mean gain of one nat is a margin of 0.3."""
LIKELIHOOD = 0.3
"""Weight of the preferred answer's own likelihood beside the preference, which begins with a weight of 1."""
_VALID_PAIRS = 8  # a sampled validation step looks at this many pairs
_VALID_STEPS = 100  # about how many steps of a job sample the validation file


@dataclass(frozen=True, slots=True)
class Pair:
    """One prompt with two answers."""

    preferred: Turn
    rejected: Turn


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both answers of all pairs as a model sees them, and what the reference says: mean ln P of each answer."""

    preferred: View
    rejected: View
    reference_preferred: Floats
    reference_rejected: Floats

    @classmethod
    def of(cls, model: Mixture, preferred: View, rejected: View) -> "_Sides":
        everything = np.arange(len(preferred.prompts))
        return cls(
            preferred,
            rejected,
            _said(model, preferred, everything).mean_log,
            _said(model, rejected, everything).mean_log,
        )

    def __len__(self) -> int:
        return len(self.preferred.prompts)

    def compare(self, model: Mixture, pairs: Ints, beta: float) -> "_Compared":
        better, worse = _said(model, self.preferred, pairs), _said(model, self.rejected, pairs)
        gained = better.mean_log - self.reference_preferred[pairs] - worse.mean_log + self.reference_rejected[pairs]
        return _Compared(better, worse, beta * SCALE * gained)


@dataclass(frozen=True, slots=True)
class _Said:
    """Some answers: their tokens ``at``, which answer each belongs to, and each answer's length and mean ln P."""

    at: Ints
    owner: Ints
    length: Ints
    forward: Forward
    mean_log: Floats


@dataclass(frozen=True, slots=True)
class _Compared:
    preferred: _Said
    rejected: _Said
    margin: Floats

    @property
    def loss(self) -> float:
        return float(np.logaddexp(0, -self.margin).mean())

    @property
    def unsettled(self) -> Floats:
        """(pairs,): -dloss/dmargin, 0.5 at the start and towards 0 for a pair that is settled."""
        return np.asarray(1 / (1 + np.exp(np.clip(self.margin, -50, 50))))


def _said(model: Mixture, view: View, examples: Ints) -> _Said:
    length = view.positions.length[examples]
    at, owner = ranges(view.positions.start[examples], length)
    forward = model.forward(view, model.gates(view, at))
    total = np.bincount(owner, weights=np.log(np.maximum(forward.target, 1e-300)), minlength=len(examples))
    return _Said(at, owner, length, forward, total / length)


def train_preferences(  # noqa: PLR0913  all a training needs
    model: Mixture,
    view: View,
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    hyperparameters: Hyperparameters,
    beta: float,
    *,
    on_step: Callable[[StepRow, int], None],
    on_epoch: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> bool:
    """Trains the model, ``view`` being its view of the preferred answers; False when it was stopped before the end.

    Losses are those of the pairs, accuracies those of the tokens of the preferred answers.
    """
    rng = np.random.default_rng(hyperparameters.seed % 2**63)
    check_rng = np.random.default_rng([hyperparameters.seed % 2**63, 1])
    sides = _Sides.of(model, view, model.view([pair.rejected for pair in pairs]))
    check = _checked(model, validation) if validation else None
    only_rejected = np.concatenate([_only_in(pair.rejected.answer, pair.preferred.answer) for pair in pairs])
    batch = hyperparameters.batch_size
    per_epoch = math.ceil(len(pairs) / batch)
    total = hyperparameters.n_epochs * per_epoch
    adam, gate_rate = Adam(model.gate_weights), GATE_RATE / math.sqrt(per_epoch + 8)
    check_every, step = max(1, total // _VALID_STEPS), 0
    for epoch in range(hyperparameters.n_epochs):
        order = rng.permutation(len(pairs))
        for start in range(0, len(pairs), batch):
            if should_stop():
                return False
            step += 1
            rate = learning_rate(step, total, hyperparameters.learning_rate_multiplier)
            compared = sides.compare(model, order[start : start + batch], beta)
            hits = model.hits(view, compared.preferred.forward.gates, compared.preferred.forward.target)
            loss, accuracy = compared.loss, float(hits.mean())
            _learn(model, sides, compared, only_rejected, adam, gate_rate * rate, rate / math.sqrt(batch))
            sampled: tuple[float, float] | tuple[None, None] = (None, None)
            full: tuple[float, float] | tuple[None, None] = (None, None)
            if check is not None:
                if step == 1 or step % check_every == 0:
                    few = check_rng.choice(len(check), min(_VALID_PAIRS, len(check)), replace=False)
                    sampled = _measure(model, check, few, beta)
                if start + batch >= len(pairs):
                    full = _measure(model, check, np.arange(len(check)), beta)
            on_step(StepRow(step, loss, accuracy, *sampled, *full), total)
        on_epoch(epoch + 1, step)
    return True


def _checked(model: Mixture, validation: Sequence[Pair]) -> _Sides:
    preferred = model.view([pair.preferred for pair in validation])
    return _Sides.of(model, preferred, model.view([pair.rejected for pair in validation]))


def _learn(  # noqa: PLR0917  one step of the above
    model: Mixture,
    sides: _Sides,
    compared: _Compared,
    only_rejected: Flags,
    adam: Adam,
    gate_rate: float,
    rate: float,
) -> None:
    """One step: gates along the gradient of the loss, evidence to what is preferred and away from the rest."""
    better, worse, unsettled = compared.preferred, compared.rejected, compared.unsettled
    pull = unsettled / len(unsettled)
    gradient = better.forward.gradient((pull / better.length)[better.owner]) - worse.forward.gradient(
        (pull / worse.length)[worse.owner]
    )
    model.gate_weights = model.gate_weights + adam.step(gradient, gate_rate)
    speed = np.array([FAST, SLOWLY])
    wanted = 1 - np.exp(-(2 * unsettled[:, None] + LIKELIHOOD) * speed * rate)
    model.write(sides.preferred, better.at, wanted[better.owner])
    wrong = np.flatnonzero(only_rejected[worse.at])
    unwanted = 1 - np.exp(-2 * unsettled[:, None] * speed * rate)
    model.unlearn(sides.rejected, worse.at[wrong], unwanted[worse.owner[wrong]])


def _measure(model: Mixture, sides: _Sides, pairs: Ints, beta: float) -> tuple[float, float]:
    """Mean loss of the pairs, and token accuracy on their preferred answers."""
    compared = sides.compare(model, pairs, beta)
    said = compared.preferred.forward
    return compared.loss, float(model.hits(sides.preferred, said.gates, said.target).mean())


def _only_in(answer: Sequence[int], other: Sequence[int]) -> Flags:
    """(tokens of answer,): those that do not stand in the other answer at the same place of its course."""
    alone = np.ones(len(answer), bool)
    for block in SequenceMatcher(None, other, answer, autojunk=False).get_matching_blocks():
        alone[block.b : block.b + block.size] = False
    return alone
