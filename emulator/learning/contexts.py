"""What surrounds each answer token: one 64-bit key per context column; knows nothing of counts or gates.

The experts, from the most general context to the most specific one, and their columns:

=========  =======  ==========================================================================================
any        1        nothing: how common a token is in answers
last       1        the token before
word       6        a rare word of the prompt, with the token before
two        1        the two tokens before
pair       3        two neighbouring words of the prompt, with the two tokens before
three      1        the three tokens before
frame      1        the three symbols before, words of the prompt blanked out ("part of _" -> "suits")
four       1        the four tokens before
copy       (1)      no counts: the prompt token after the one just repeated
memory     4        one training example and the two tokens before: the example itself, then three neighbours
=========  =======  ==========================================================================================
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from emulator.learning.arrays import Flags, Floats, Ints, Keys, Singles, find, hashed
from emulator.learning.conversations import Turn
from emulator.learning.neighbours import Neighbours
from emulator.learning.pointer import Sources
from emulator.learning.tokens import decode, spacing, without_space

COPY = 200_017
"""Stands for "a token of the prompt". o200k_base leaves the ids 200,000 to 200,017 unused."""
START = 200_016
"""Stands before the first token of an answer or a prompt."""
SHIFT = 18
"""Bits of a token id: 2**18 > N_TOKENS."""
TOKEN_MASK = (1 << SHIFT) - 1

_WIDTHS = {
    "any": 1, "last": 1, "word": 6, "two": 1, "pair": 3, "three": 1, "frame": 1, "four": 1, "copy": 1, "memory": 4,
}  # fmt: skip
EXPERTS = tuple(_WIDTHS)
N_EXPERTS = len(EXPERTS)
N_COLUMNS = sum(_WIDTHS.values())
EXPERT_OF_COLUMN: Ints = np.repeat(np.arange(N_EXPERTS), list(_WIDTHS.values()))
FIRST_COLUMN: Ints = np.searchsorted(EXPERT_OF_COLUMN, np.arange(N_EXPERTS))


def _columns(expert: str) -> slice:
    first = int(FIRST_COLUMN[EXPERTS.index(expert)])
    return slice(first, first + _WIDTHS[expert])


ANY, LAST, TWO, THREE = (_columns(name).start for name in ("any", "last", "two", "three"))
FRAME, FOUR = (_columns(name).start for name in ("frame", "four"))
WORD, PAIR, MEMORY = (_columns(name) for name in ("word", "pair", "memory"))
FRAME_EXPERT, COPY_EXPERT, MEMORY_EXPERT = (EXPERTS.index(name) for name in ("frame", "copy", "memory"))
NEIGHBOURS = _WIDTHS["memory"] - 1

SLOW: Flags = np.isin(np.arange(N_COLUMNS), [FOUR, *range(MEMORY.start, MEMORY.stop)])
"""Columns that learn by heart, and so are written more slowly."""
READ_ONLY: Flags = np.isin(np.arange(N_COLUMNS), range(MEMORY.start + 1, MEMORY.stop))
"""Columns of other examples: an example never writes there."""
CAN_COPY: Flags = ~np.isin(np.arange(N_COLUMNS), [*range(WORD.start, WORD.stop), *range(PAIR.start, PAIR.stop)])

_TELLING = 0.1  # a prompt token in nearly every example (idf below this) tells nothing
_COPYABLE = 0.35  # share of the largest idf from which a prompt token may be copied
_TEMPERATURE = 0.08  # of the softmax over the neighbours' cosines
_POOL = 4096  # neighbours of training examples are looked for among this many
_NEGLIGIBLE = 0.02


@dataclass(frozen=True, slots=True)
class Prompts:
    """What the contexts need of n prompts.

    ``words`` (n, 6): token + 1, ``pairs`` (n, 3): packed tokens, both 0 where absent; ``neighbour`` (n, 3);
    ``attention`` (n, 4) over the memory columns; ``similarity`` (n,): cosine of the nearest prompt;
    ``slot`` (n,): the example's own place in memory, -1 for a prompt that is not in it.
    """

    words: Ints
    pairs: Ints
    neighbour: Ints
    attention: Singles
    similarity: Floats
    slot: Ints
    sources: Sources
    source_code: Ints
    follower: "Followers"

    def __len__(self) -> int:
        return len(self.words)


@dataclass(frozen=True, slots=True)
class Followers:
    """Which prompt token follows which: sorted codes of one and of two tokens, and where they stand.

    ``after`` and ``rarity`` are per prompt token: the token after it; the idf (0..1) of it and of the one after.
    """

    one: Ints
    one_at: Ints
    two: Keys
    two_at: Ints
    after: Ints
    rarity: Floats


@dataclass(frozen=True, slots=True)
class Positions:
    """The answer tokens of n examples in one row.

    ``keys`` (tokens, columns), 0 where a context is absent; ``target``, ``example``, ``opening`` (first of its
    answer), ``source`` (index of the target among the prompt's sources or -1), ``follower`` (what copying would
    say or -1), ``match`` (tokens, 3): features of that copy; all (tokens,); ``start``, ``length`` (n,).
    """

    keys: Keys
    target: Ints
    example: Ints
    opening: Flags
    source: Ints
    follower: Ints
    match: Floats
    start: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, at: Ints) -> "Positions":
        """Some of the tokens; ``start`` and ``length`` stay those of the whole."""
        return Positions(
            self.keys[at],
            self.target[at],
            self.example[at],
            self.opening[at],
            self.source[at],
            self.follower[at],
            self.match[at],
            self.start,
            self.length,
        )


class PromptReader:
    """Reads prompts as a training file has taught: which of their words are rare, which examples are near.

    ``hears_system``: the file had several system messages, so they tell examples apart; else they are ignored.
    """

    def __init__(
        self, rarity: Mapping[int, float], unseen: float, neighbours: Neighbours, *, hears_system: bool
    ) -> None:
        self.rarity = dict(rarity)
        self.unseen = unseen
        self.hears_system = hears_system
        self.neighbours = neighbours

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> "PromptReader":
        hears_system = len({turn.system for turn in turns}) > 1
        frequency: dict[int, int] = {}
        for turn in turns:
            for token in set(_heard_ids(turn, hears_system=hears_system)):
                frequency[token] = frequency.get(token, 0) + 1
        n = len(turns)
        rarity = {token: math.log((n + 1) / (count + 0.5)) for token, count in frequency.items()}
        neighbours = Neighbours.suited_to(
            [_heard(turn, hears_system=hears_system) for turn in turns], [decode(turn.answer) for turn in turns]
        )
        return cls(rarity, math.log((n + 1) / 0.5), neighbours, hears_system=hears_system)

    def read(self, turns: Sequence[Turn], *, training: bool = False) -> Prompts:
        """``training``: the turns are those the reader was made of, in the same order."""
        if training:
            neighbour, cosine = self.neighbours.nearest_other(NEIGHBOURS, _POOL)
        else:
            neighbour, cosine = self.neighbours.nearest(
                [_heard(turn, hears_system=self.hears_system) for turn in turns], NEIGHBOURS
            )
        nearest = cosine.max(1)
        weight = np.where(cosine > 0.01, np.exp((cosine - nearest[:, None]) / _TEMPERATURE), 0.0)
        attention = np.zeros((len(turns), NEIGHBOURS + 1), np.float32)
        attention[:, 1:] = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
        told = [self._telling(turn) for turn in turns]
        said = _Stream.of([self._stream(turn) for turn in turns])
        sources, code = _sources(said, len(turns))
        return Prompts(
            words=np.array([words for words, _ in told], np.int64).reshape(len(turns), -1),
            pairs=np.array([pairs for _, pairs in told], np.int64).reshape(len(turns), -1),
            neighbour=neighbour,
            attention=attention,
            similarity=nearest,
            slot=np.arange(len(turns)) if training else np.full(len(turns), -1),
            sources=sources,
            source_code=code,
            follower=_followers(said),
        )

    def _stream(self, turn: Turn) -> list[tuple[int, int, int, float, int]]:
        """(token, left, right, rarity, bare) of the prompt, and of its rare words without their space."""
        ids = (START, *turn.prompt_ids, START)
        rarity = [self.rarity.get(token, self.unseen) / self.unseen for token in ids]
        stream = [(ids[at], ids[at - 1], ids[at + 1], rarity[at], 0) for at in range(1, len(ids) - 1)]
        for at in range(1, len(ids) - 1):
            if rarity[at] > _COPYABLE and spacing(ids[at]) == "opens":
                end = at + 1
                while spacing(ids[end]) == "inside":
                    end += 1
                word = (ids[at - 1], *without_space(ids[at:end]), ids[end])
                stream += [(word[i], word[i - 1], word[i + 1], rarity[at], 1) for i in range(1, len(word) - 1)]
        return stream

    def _telling(self, turn: Turn) -> tuple[list[int], list[int]]:
        """The rarest known words of a turn and the rarest pairs, with the commonest pair in the last place."""
        rarity = self.rarity
        known = {t for t in _heard_ids(turn, hears_system=self.hears_system) if rarity.get(t, 0.0) > _TELLING}
        words = [t + 1 for t in sorted(known, key=lambda t: (-rarity[t], t))][: WORD.stop - WORD.start]
        pairs = sorted(
            {(a, b) for a, b in pairwise(turn.prompt_ids) if a in rarity and b in rarity},
            key=lambda pair: (-min(rarity[pair[0]], rarity[pair[1]]), pair),
        )
        room = PAIR.stop - PAIR.start
        if len(pairs) > room:
            pairs = [*pairs[: room - 1], pairs[-1]]  # the topic, and the usual form of the question
        packed = [(a << SHIFT) + b + 1 for a, b in pairs]
        return words + [0] * (WORD.stop - WORD.start - len(words)), packed + [0] * (room - len(packed))


def _heard(turn: Turn, *, hears_system: bool) -> str:
    """The text that is compared when similar examples are looked for."""
    return f"{turn.system}\n{turn.prompt}" if hears_system else turn.prompt


def _heard_ids(turn: Turn, *, hears_system: bool) -> tuple[int, ...]:
    return (*turn.system_ids, *turn.prompt_ids) if hears_system else turn.prompt_ids


@dataclass(frozen=True, slots=True)
class _Stream:
    """Prompt tokens that may be repeated, one after the other: (tokens,) each.

    ``left``, ``right``: the tokens around, START beyond the edge; ``rarity`` in 0..1; ``bare``: 1 in words that
    follow a space in the prompt and are offered without it.
    """

    example: Ints
    token: Ints
    left: Ints
    right: Ints
    rarity: Floats
    bare: Ints

    @classmethod
    def of(cls, streams: Sequence[Sequence[tuple[int, int, int, float, int]]]) -> "_Stream":
        rows = np.array([row for stream in streams for row in stream], np.float64).reshape(-1, 5)
        example = np.repeat(np.arange(len(streams)), [len(stream) for stream in streams])
        whole = rows.astype(np.int64)
        return cls(example, whole[:, 0], whole[:, 1], whole[:, 2], rows[:, 3], whole[:, 4])


def _sources(said: _Stream, examples: int) -> tuple[Sources, Ints]:
    """The rare tokens of each prompt, once each, and their sorted codes (example, token)."""
    rare = np.flatnonzero(said.rarity > _COPYABLE)
    code, first = np.unique((said.example[rare] << SHIFT) | said.token[rare], return_index=True)
    at = rare[first]
    bare = said.bare[at]
    feature = np.stack(
        [hashed(60, said.token[at]), hashed(61, said.left[at], bare), hashed(62, said.right[at], bare)], 1
    )
    return Sources(said.token[at], feature, np.searchsorted(said.example[at], np.arange(examples + 1))), code


def _followers(said: _Stream) -> Followers:
    inner = np.flatnonzero(said.right != START)
    example, token, left = said.example[inner], said.token[inner], said.left[inner]
    one, one_at = np.unique((example << SHIFT) | token, return_index=True)
    two, two_at = np.unique(hashed(63, example, left, token), return_index=True)
    after = np.concatenate([said.rarity[1:], np.zeros(min(1, len(said.token)))])
    return Followers(one, inner[one_at], two, inner[two_at], said.right, np.stack([said.rarity, after], 1))


def positions(prompts: Prompts, answers: Sequence[Sequence[int]]) -> Positions:
    """The contexts of every token of the answers, one answer (not empty) to each prompt."""
    length = np.array([len(answer) for answer in answers])
    total = int(length.sum())
    start = np.cumsum(length) - length
    target = np.fromiter((t for answer in answers for t in answer), np.int64, total)
    example = np.repeat(np.arange(len(answers)), length)
    place = np.arange(total) - start[example]
    before = [np.full(total, START) for _ in range(4)]
    for back, history in enumerate(before, 1):
        history[back:] = np.where(place[back:] >= back, target[:-back], START)
    coded = (example << SHIFT) | target
    source = find(prompts.source_code, coded)
    follower, match = _copy_next(prompts.follower, example, place, before)
    return Positions(
        keys=_keys(prompts, example, place, before, np.where(source >= 0, COPY, target)),
        target=target,
        example=example,
        opening=place == 0,
        source=source,
        follower=follower,
        match=match,
        start=start,
        length=length,
    )


def _keys(prompts: Prompts, example: Ints, place: Ints, before: Sequence[Ints], symbol: Ints) -> Keys:
    absent = np.uint64(0)
    keys = np.zeros((len(example), N_COLUMNS), np.uint64)
    keys[:, ANY] = 1
    keys[:, LAST] = last = hashed(1, before[0])
    keys[:, TWO] = np.where(place >= 1, two := hashed(2, last, before[1]), absent)
    keys[:, THREE] = np.where(place >= 2, three := hashed(3, two, before[2]), absent)
    keys[:, FOUR] = np.where(place >= 3, hashed(4, three, before[3]), absent)
    words, pairs = prompts.words[example], prompts.pairs[example]
    keys[:, WORD] = np.where(words > 0, hashed(20, words, last[:, None]), absent)
    keys[:, PAIR] = np.where(pairs > 0, hashed(21, pairs, two[:, None]), absent)
    keys[:, FRAME] = _frames(example, symbol)
    slot = prompts.slot[example]
    keys[:, MEMORY.start] = np.where(slot >= 0, hashed(41, slot, two), absent)
    near = prompts.attention[example, 1:] > _NEGLIGIBLE
    keys[:, READ_ONLY] = np.where(near, hashed(41, prompts.neighbour[example], two[:, None]), absent)
    return keys


def _frames(example: Ints, symbol: Ints) -> Keys:
    """Keys of the three symbols before, runs of copied words counting as one; 0 where none was copied."""
    first = np.concatenate([[True], example[1:] != example[:-1]]) if len(example) else np.zeros(0, bool)
    again = ~first & (symbol == COPY) & (np.concatenate([[0], symbol[:-1]]) == COPY)
    kept = np.flatnonzero(~again)
    earlier = np.cumsum(~again) - ~again
    history, blanked = [], np.zeros(len(example), bool)
    for back in (1, 2, 3):
        at = kept[np.maximum(earlier - back, 0)]
        history.append(np.where((earlier >= back) & (example[at] == example), symbol[at], START))
        blanked |= history[-1] == COPY
    return np.where(blanked, hashed(50, *history), np.uint64(0))


def _copy_next(follower: Followers, example: Ints, place: Ints, before: Sequence[Ints]) -> tuple[Ints, Floats]:
    """The prompt token after the longest match (two tokens, else one) of the answer's end, and its features."""
    one = np.where(place >= 1, find(follower.one, (example << SHIFT) | before[0]), -1)
    two = np.where(place >= 2, find(follower.two, hashed(63, example, before[1], before[0])), -1)
    token, match = np.full(len(example), -1), np.zeros((len(example), 3))
    found = np.flatnonzero(one >= 0)
    if len(found):
        at = np.where(two[found] >= 0, follower.two_at[two[found]], follower.one_at[one[found]])
        token[found] = follower.after[at]
        match[found] = np.column_stack([follower.rarity[at, 1], follower.rarity[at, 0], two[found] >= 0])
    return token, match
