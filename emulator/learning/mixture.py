"""The language model: a chain of context experts over a frozen model; knows nothing of files or schedules.

For an answer position the probability of token w is a chain of interpolations, general to specific::

    P_0(w) = the model below (the base model; for the base itself a Zipf prior over all of o200k)
    P_k(w) = (1 - g_k) P_{k-1}(w) + g_k q_k(w)                                       k = experts of contexts.py
    q_k(w) = [c_k(w) + c_k(COPY) r(w)] / c_k(.)          counted evidence c, pointer r to the prompt's words
    g_k    = sigmoid(a_k . [1, ln c_k(.), ln(1 + distinct), z]) * (1 - exp(-2 c_k(.)))

So every probability is exact, above zero for each of the 200,019 tokens, and they sum to one. Learning writes
counts (evidence.py) and trains the gate weights a_k by gradient descent on the cross entropy (training.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emulator.learning.arrays import Flags, Floats, Ints, Rows, Singles, gather
from emulator.learning.contexts import (
    CAN_COPY,
    COPY,
    EXPERT_OF_COLUMN,
    FIRST_COLUMN,
    FOLLOWING,
    FRAME_EXPERT,
    LAST,
    MEMORY,
    MEMORY_EXPERT,
    N_EXPERTS,
    READ_ONLY,
    SHIFT,
    SLOW,
    THREE,
    TOKEN_MASK,
    TWO,
    WORD,
    Positions,
    PromptReader,
    Prompts,
    positions,
)
from emulator.learning.conversations import Turn
from emulator.learning.evidence import Evidence, Located
from emulator.learning.pointer import Pointer
from emulator.learning.tokens import N_TOKENS

_rank = np.arange(N_TOKENS) + 2000.0  # ids of a BPE vocabulary are roughly in order of frequency
ZIPF: Floats = (1 / _rank) / (1 / _rank).sum()
"""(N_TOKENS,): the prior below everything, so that no token is impossible."""

N_FEATURES = 5  # the last one is for the FOLLOWING experts only
RECALL = 2.0
"""Evidence c is recalled with probability 1 - exp(-RECALL c): what was hardly seen is often overlooked."""
LISTED = 12
"""Tokens listed per context when the likeliest token is looked for; every probability of a target is exact."""
_FLOOR = 3e-4  # contexts with less weight than this are not listed
_PRIOR_LISTED = 12  # tokens of the model below that are kept per position while training
_CHUNK = 8192
_OTHERS_WHEN_SEEN = 0.05  # attention left to the neighbours once an example remembers itself
_DOUBT = 0.05  # floor of both explanations of a token: copied, or always said here

_BIAS = (-0.5, -0.5, -1.0, 0.0, -0.5, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0)  # in the order of EXPERTS
_FOLLOWING_WEIGHTS = ((-2.5, 2.0, 1.0, 1.0, 2.0), (2.0, 1.0, 1.0, 1.0, 0.0))  # words begun are ended
_ABOUT_COPYING = np.isin(np.arange(N_EXPERTS), [FRAME_EXPERT, *FOLLOWING])[:, None]


def untrained_gates() -> Floats:
    """(experts, features): a context is trusted more the more often and the less variously it was seen."""
    weights = np.tile([0.0, 0.7, -0.7, 0.0, 0.0], (N_EXPERTS, 1))
    weights[:, 0] = _BIAS
    weights[MEMORY_EXPERT, 3] = 1.0
    weights[FOLLOWING] = _FOLLOWING_WEIGHTS
    return weights


def per_expert(columns: Floats) -> Floats:
    """Sums (tokens, columns) into (tokens, experts)."""
    summed: Floats = np.add.reduceat(columns, FIRST_COLUMN, axis=1)
    return summed


@dataclass(frozen=True, slots=True)
class Distribution:
    """Next-token probabilities at several positions: P(w) = listed mass of w + ``rest`` * ZIPF[w].

    ``code`` (entries,) sorted (position, token); ``mass`` (entries,); ``rest`` (positions,).
    """

    code: Ints
    mass: Floats
    rest: Floats

    def probabilities(self) -> Floats:
        """(entries,): the full probability of each listed token."""
        full: Floats = self.mass + self.rest[self.code >> SHIFT] * ZIPF[self.code & TOKEN_MASK]
        return full


@dataclass(frozen=True, slots=True)
class Prior:
    """What the model below says: ``target`` (tokens,) its probability of each target; its likeliest ``token``s
    (tokens, m) with their ``mass``, and its ``rest`` (tokens,), both as in Distribution.
    """

    target: Floats
    token: Rows
    mass: Singles
    rest: Floats

    def __getitem__(self, at: Ints) -> "Prior":
        return Prior(self.target[at], self.token[at], self.mass[at], self.rest[at])


@dataclass(frozen=True, slots=True)
class View:
    """A text as one model sees it: contexts, where they stand in its evidence, and what the model below says."""

    prompts: Prompts
    positions: Positions
    source_located: Ints
    located: Located
    prior: Prior

    def __len__(self) -> int:
        return len(self.positions)

    def last(self) -> "View":
        """The view of its last position only."""
        end = np.array([len(self) - 1])
        return replace(self, positions=self.positions[end], located=self.located[end])


@dataclass(frozen=True, slots=True)
class Oversight:
    """What training hides from itself at the positions at hand.

    ``seen`` (tokens,): the example was trained on before, so it remembers itself; ``coin`` (tokens, 2): draws in
    0..1 for fast and slow columns, an unlucky one overlooks weak evidence; ``own`` (tokens, 2): the example's own
    evidence in fast and slow columns, left out.
    """

    seen: Flags
    coin: Floats | None = None
    own: Floats | None = None


@dataclass(frozen=True, slots=True)
class Gates:
    """How much each expert is trusted at each position.

    ``weight`` (tokens, columns): how far a column counts in its expert, 0 where it is unknown; ``total`` (tokens,
    experts): weighted evidence; ``features`` (tokens, experts, N_FEATURES); ``recall``, ``gate`` (tokens, experts).
    """

    at: Ints
    weight: Floats
    total: Floats
    features: Floats
    recall: Floats
    gate: Floats

    def every(self, step: int) -> "Gates":
        """The same for every n-th position."""
        part = slice(None, None, step)
        return Gates(
            self.at[part],
            self.weight[part],
            self.total[part],
            self.features[part],
            self.recall[part],
            self.gate[part],
        )


@dataclass(frozen=True, slots=True)
class Forward:
    """Probabilities of the targets: by ``expert`` (tokens, experts), along the ``chain`` (tokens, experts + 1)."""

    gates: Gates
    expert: Floats
    chain: Floats

    @property
    def target(self) -> Floats:
        """(tokens,): the model's probability of each target."""
        return self.chain[:, -1]

    def gradient(self, coefficient: Floats) -> Floats:
        """(experts, N_FEATURES): of ``-sum(coefficient * ln P(target))`` by the gate weights."""
        gate, recall = self.gates.gate, self.gates.recall
        upstream = -coefficient / np.maximum(self.target, 1e-12)
        gradient = np.zeros((N_EXPERTS, N_FEATURES))
        for k in range(N_EXPERTS - 1, -1, -1):
            by_gate = upstream * (self.expert[:, k] - self.chain[:, k])
            by_logit = by_gate * gate[:, k] * (1 - gate[:, k] / np.maximum(recall[:, k], 1e-9))
            gradient[k] = by_logit @ self.gates.features[:, k]
            upstream = upstream * (1 - gate[:, k])
        return gradient


def _fast_slow(two: Floats) -> Floats:
    """(tokens, 2) -> (tokens, columns), and (2,) -> (columns,)."""
    return np.where(SLOW, two[..., 1:], two[..., :1])


class Mixture:
    """Experts with their evidence and gates, over a frozen ``below`` (None: the Zipf prior)."""

    def __init__(
        self,
        below: "Mixture | None",
        reader: PromptReader,
        evidence: Evidence,
        pointer: Pointer,
        gate_weights: Floats,
        mean_answer_tokens: float,
    ) -> None:
        self.below, self.reader, self.evidence, self.pointer = below, reader, evidence, pointer
        self.gate_weights = gate_weights
        self.mean_answer_tokens = mean_answer_tokens

    @classmethod
    def untrained(cls, below: "Mixture | None", turns: Sequence[Turn]) -> tuple["Mixture", View]:
        """An empty model with room for what these turns teach, and how it sees them."""
        reader = PromptReader.of(turns)
        prompts = reader.read(turns, training=True)
        at = positions(prompts, [turn.answer for turn in turns])
        evidence, located = Evidence.room_for(at)
        gate_weights = untrained_gates()
        if below is not None:  # what is worth copying must be found out anew: generic talk copies nothing
            gate_weights = np.where(_ABOUT_COPYING, gate_weights, below.gate_weights)
        pointer = Pointer(np.unique(prompts.sources.feature))
        model = cls(below, reader, evidence, pointer, gate_weights, len(at) / len(turns))
        prior = prior_of(below, turns, at.target)
        return model, View(prompts, at, pointer.locate(prompts.sources), located, prior)

    def view(self, turns: Sequence[Turn]) -> View:
        """How the model sees turns it was not made of."""
        prompts = self.reader.read(turns)
        at = positions(prompts, [turn.answer for turn in turns])
        return self.view_of(prompts, at, prior_of(self.below, turns, at.target))

    def view_of(self, prompts: Prompts, at: Positions, prior: Prior) -> View:
        """The same when prompts, positions and the word of the model below are at hand."""
        located = self.evidence.locate(at.keys, at.target)
        return View(prompts, at, self.pointer.locate(prompts.sources), located, prior)

    # ---- reading

    def gates(self, view: View, at: Ints, hidden: Oversight | None = None, anchor: float = 0.0) -> Gates:
        """Trust in each expert at the positions ``at``; ``anchor`` is added to the memory's logit."""
        evidence, row = self.evidence, view.located.row[at]
        example = view.positions.example[at]
        attention, similarity = view.prompts.attention[example], view.prompts.similarity[example]
        total, distinct = gather(evidence.total, row), gather(evidence.distinct, row)
        known = row >= 0
        if hidden is not None:
            itself = np.eye(1, attention.shape[1], dtype=np.float32)
            attention = np.where(hidden.seen[:, None], _OTHERS_WHEN_SEEN * attention + itself, attention)
            similarity = np.where(hidden.seen, 1.0, similarity)
            if hidden.coin is not None:
                known &= _fast_slow(hidden.coin) < 1 - np.exp(-RECALL * total)
            if hidden.own is not None:
                own = np.where(READ_ONLY, 0.0, _fast_slow(hidden.own))
                count = gather(evidence.count, view.located.pair[at])
                total = np.where(total - own < 1e-4, 0.0, total - own)
                distinct = distinct - ((view.located.pair[at] >= 0) & (count - own <= 1e-4))
        weight = known.astype(np.float64)
        weight[:, MEMORY] *= attention
        weight[:, WORD] = self._word_weights(row, known)
        total, distinct = per_expert(total * weight), per_expert(distinct * weight)
        distinct = distinct / np.maximum(per_expert(weight), 1e-6)
        features = np.zeros((len(at), N_EXPERTS, N_FEATURES))
        features[:, :, 0] = 1
        features[:, :, 1] = np.clip(np.log(total + 1e-3), -4, 6)
        features[:, :, 2] = np.log1p(np.maximum(distinct, 0))
        features[:, :, 3] = view.positions.opening[at][:, None]
        features[:, MEMORY_EXPERT, 3] = 6 * (similarity - 0.5)
        features[:, FOLLOWING, 1:] = view.positions.match[at]
        recall = np.ones_like(total)
        if hidden is None or hidden.coin is None:
            recall = 1 - np.exp(-RECALL * total)  # what the coins come to on average
        recall = np.where(total > 1e-6, recall, 0.0)
        recall[:, FOLLOWING] = view.positions.follower[at] >= 0
        logit = np.einsum("nef,ef->ne", features, self.gate_weights)
        logit[:, MEMORY_EXPERT] += anchor
        return Gates(at, weight, total, features, recall, recall / (1 + np.exp(-np.clip(logit, -12, 6))))

    def _word_weights(self, row: Rows, known: Flags) -> Floats:
        """A word of the prompt counts as far as it says more than the token before does alone."""
        purity = np.where(known, self.evidence.purity(row), 0.0)
        more = np.where(known[:, WORD], 0.02 + np.maximum(0, purity[:, WORD] - purity[:, LAST, None]), 0.0)
        share = more / np.maximum(more.sum(1, keepdims=True), 1e-9)
        return np.asarray(share * known[:, WORD].sum(1, keepdims=True))

    def forward(self, view: View, gates: Gates, hidden: Oversight | None = None) -> Forward:
        """Probabilities of the targets at the positions of the gates."""
        at = gates.at
        located = view.located[at]
        count = gather(self.evidence.count, located.pair)
        if hidden is not None and hidden.own is not None:
            count = np.maximum(count - np.where(READ_ONLY, 0.0, _fast_slow(hidden.own)), 0)
        count += gather(self.evidence.count, located.copy) * self.copy_probability(view, at)[:, None]
        known = gates.total > 1e-6
        expert = np.where(known, per_expert(count * gates.weight) / np.where(known, gates.total, 1), 0.0)
        expert[:, FOLLOWING] = view.positions.follower[at] == view.positions.target[at][:, None]
        chain = np.empty((len(at), N_EXPERTS + 1))
        chain[:, 0] = view.prior.target[at]
        for k in range(N_EXPERTS):
            chain[:, k + 1] = (1 - gates.gate[:, k]) * chain[:, k] + gates.gate[:, k] * expert[:, k]
        return Forward(gates, expert, chain)

    def copy_probability(self, view: View, at: Ints) -> Floats:
        """(tokens,): how likely the target is what COPY stands for; without any source COPY is the Zipf prior."""
        example, source = view.positions.example[at], view.positions.source[at]
        case, place = np.unique(2 * example + view.positions.unfinished[at], return_inverse=True)
        examples, first = case // 2, view.prompts.sources.first
        share, _, owner = self.pointer.probabilities(
            view.prompts.sources, view.source_located, examples, case % 2 == 1
        )
        number = first[examples + 1] - first[examples]
        offset = (np.cumsum(number) - number)[place] + source - first[example]
        found = gather(share, np.where(source >= 0, offset, -1))
        possible = np.bincount(owner, weights=share, minlength=len(case)) > 0
        return np.where(possible[place], found, ZIPF[view.positions.target[at]])

    def distribution(self, view: View, gates: Gates, listed: int = LISTED, floor: float = _FLOOR) -> Distribution:
        """Next-token probabilities at the positions of the gates, ``listed`` commonest tokens of each context."""
        n = len(gates.at)
        keep = np.cumprod((1 - gates.gate)[:, ::-1], axis=1)[:, ::-1]
        share = gates.gate * np.concatenate([keep[:, 1:], np.ones((n, 1))], axis=1)
        left = keep[:, 0]
        weight = (share / np.maximum(gates.total, 1e-9))[:, EXPERT_OF_COLUMN] * gates.weight
        weight[:, FIRST_COLUMN[FOLLOWING]] = 0
        row = view.located.row[gates.at]
        position, column = np.nonzero((row >= 0) & (weight > 0) & (share[:, EXPERT_OF_COLUMN] > floor))
        token, count, owner = self.evidence.listed(row[position, column].astype(np.int64), listed)
        mass = count * weight[position, column][owner]
        position = position[owner]
        copied = np.bincount(position, weights=np.where(token == COPY, mass, 0.0), minlength=n)
        plain = np.flatnonzero((token != COPY) & (mass > 0))
        codes, masses = [(position[plain] << SHIFT) | token[plain]], [mass[plain]]
        follower, going = view.positions.follower[gates.at], share[:, FOLLOWING]
        following, which = np.nonzero((follower >= 0) & (going > floor))
        codes.append((following << SHIFT) | follower[following, which])
        masses.append(going[following, which])
        example, unfinished = view.positions.example[gates.at], view.positions.unfinished[gates.at]
        sources = view.prompts.sources
        sourced = sources.first[example + 1] > sources.first[example]
        copying = np.flatnonzero((copied > floor) & sourced)
        if len(copying):
            r, source, owner = self.pointer.probabilities(
                sources, view.source_located, example[copying], unfinished[copying]
            )
            codes.append((copying[owner] << SHIFT) | sources.token[source])
            masses.append(r * copied[copying][owner])
            sourced[copying] = np.bincount(owner, weights=r, minlength=len(copying)) > 0
        prior = view.prior[gates.at]
        codes.append(((np.arange(n) << SHIFT)[:, None] | prior.token).ravel())
        masses.append((left[:, None] * prior.mass).ravel())
        code, inverse = np.unique(np.concatenate(codes), return_inverse=True)
        rest = left * prior.rest + np.where(sourced, 0.0, copied)
        mass = np.bincount(inverse, weights=np.concatenate(masses), minlength=len(code)).astype(np.float64)
        return Distribution(code, mass, rest)

    def hits(self, view: View, gates: Gates, target: Floats) -> Flags:
        """(tokens,): whether no listed token is likelier than the target, whose probability is given."""
        told = self.distribution(view, gates)
        best = np.zeros(len(gates.at))
        np.maximum.at(best, told.code >> SHIFT, told.probabilities())
        return target >= best * (1 - 1e-6)  # the model below is kept in single precision

    def measure(self, view: View) -> tuple[float, float]:
        """Mean loss (nats per token) and token accuracy (0..1) over a whole view."""
        loss, hit = 0.0, 0
        for start in range(0, len(view), _CHUNK):
            gates = self.gates(view, np.arange(start, min(len(view), start + _CHUNK)))
            target = self.forward(view, gates).target
            loss -= float(np.log(target).sum())
            hit += int(self.hits(view, gates, target).sum())
        return loss / len(view), hit / len(view)

    # ---- writing

    def write(self, view: View, at: Ints, amount: Floats) -> None:
        """Adds evidence for the targets at ``at``: ``amount`` (2,) or (tokens, 2) in fast and in slow columns.

        Whether a token was copied or is what its context always says is decided by one step of EM.
        """
        located = view.located[at]
        source, follower = view.positions.source[at], view.positions.follower[at]
        copied = np.zeros(len(at))
        either = np.flatnonzero((source >= 0) & (follower[:, 0] != view.positions.target[at]))
        if len(either):
            said, repeated = np.full(len(either), _DOUBT), np.full(len(either), _DOUBT)
            for column in (LAST, TWO, THREE):
                some = gather(self.evidence.total, located.row[either, column]) + 0.2
                said += gather(self.evidence.count, located.pair[either, column]) / some
                repeated += gather(self.evidence.count, located.copy[either, column]) / some
            repeated *= self.copy_probability(view, at[either])
            copied[either] = repeated / (repeated + said)
        share = copied[:, None] * (CAN_COPY & (located.copy >= 0))
        step = np.where(READ_ONLY, 0.0, _fast_slow(amount))
        pairs = np.concatenate([located.pair.ravel(), located.copy.ravel()])
        self.evidence.add(pairs, np.concatenate([((1 - share) * step).ravel(), (share * step).ravel()]))
        sourced = np.flatnonzero(source >= 0)
        if len(sourced):
            self.pointer.learn(view.source_located, view.prompts.sources, source[sourced], copied[sourced])

    def unlearn(self, view: View, at: Ints, amount: Floats) -> None:
        """Takes evidence for the targets at ``at`` away again: ``amount`` (tokens, 2) as in ``write``."""
        located = view.located[at]
        step = -np.where(READ_ONLY, 0.0, _fast_slow(amount))
        self.evidence.add(located.pair.ravel(), step.ravel())


def prior_of(below: Mixture | None, turns: Sequence[Turn], target: Ints) -> Prior:
    """What the model below says about the answers of the turns (the targets, one after the other)."""
    if below is None:
        n = len(target)
        return Prior(ZIPF[target], np.zeros((n, 0), np.int32), np.zeros((n, 0), np.float32), np.ones(n))
    parts, group, size = [], list[Turn](), 0
    for number, turn in enumerate(turns, 1):
        group.append(turn)
        size += len(turn.answer)
        if size >= _CHUNK or number == len(turns):
            parts.append(_summary(below, group))
            group, size = [], 0
    return Prior(
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.token for part in parts]),
        np.concatenate([part.mass for part in parts]),
        np.concatenate([part.rest for part in parts]),
    )


def _summary(model: Mixture, turns: Sequence[Turn]) -> Prior:
    view = model.view(turns)
    gates = model.gates(view, np.arange(len(view)))
    told = model.distribution(view, gates)
    position = told.code >> SHIFT
    order = np.lexsort((-told.mass, position))
    rank = np.arange(len(order)) - np.searchsorted(position, position)  # position is sorted, and stays so
    best = np.flatnonzero(rank < _PRIOR_LISTED)
    token = np.zeros((len(view), _PRIOR_LISTED), np.int32)
    mass = np.zeros((len(view), _PRIOR_LISTED), np.float32)
    token[position[best], rank[best]] = told.code[order[best]] & TOKEN_MASK
    mass[position[best], rank[best]] = told.mass[order[best]]
    return Prior(model.forward(view, gates).target, token, mass, told.rest)
