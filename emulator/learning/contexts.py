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
copy       (1)      no counts: the prompt word after the one just repeated
memory     4        one training example and the two tokens before: the example itself, then three neighbours
spell      (1)      no counts: the rest of the prompt word that has been begun
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
from emulator.learning.tokens import decode, edges, spaced_otherwise, within_word

COPY = 200_017
"""Stands for "a word of the prompt", by its first token. o200k_base leaves the ids 200,000 to 200,017 unused."""
START = 200_016
"""Stands before the first token of an answer or a prompt."""
SHIFT = 18
"""Bits of a token id: 2**18 > N_TOKENS."""
TOKEN_MASK = (1 << SHIFT) - 1

_WIDTHS = {
    "any": 1, "last": 1, "word": 6, "two": 1, "pair": 3, "three": 1, "frame": 1, "four": 1, "copy": 1, "memory": 4,
    "spell": 1,
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
FRAME_EXPERT, MEMORY_EXPERT = (EXPERTS.index(name) for name in ("frame", "memory"))
FOLLOWING = [EXPERTS.index(name) for name in ("copy", "spell")]
"""Experts without counts: they say how the prompt goes on, from word to word and inside a word."""
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
_WORD_TOKENS = 16  # a longer run of letters counts as several words


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
    """How prompts go on after a word or its beginning: sorted codes of it, with and without the word before.

    ``rare``: sorted codes of the rare words and their beginnings. Per prompt token: ``after`` the token after it;
    ``inner``, whether that is in the same word; ``rarity`` the idf (0..1) of that one's word and of its own;
    ``capital``, whether both words have a capital letter, as the parts of a name.
    """

    one: Keys
    one_at: Ints
    two: Keys
    two_at: Ints
    rare: Keys
    after: Ints
    inner: Flags
    rarity: Floats
    capital: Flags


@dataclass(frozen=True, slots=True)
class Positions:
    """The answer tokens of n examples in one row.

    ``keys`` (tokens, columns), 0 where a context is absent; ``target``, ``example``, ``opening`` (first of its
    answer), ``unfinished`` (the token before ends in a letter), ``source`` (index of the target among the prompt's
    sources or -1), all (tokens,); ``follower`` (tokens, 2): what the FOLLOWING experts say or -1, ``match``
    (tokens, 2, 4): features of that; ``start``, ``length`` (n,).
    """

    keys: Keys
    target: Ints
    example: Ints
    opening: Flags
    unfinished: Flags
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
            self.unfinished[at],
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
        said = _Words.of([self._words(turn) for turn in turns])
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

    def _words(self, turn: Turn) -> list["_Word"]:
        """The words of the prompt, and after each rare one the same in its other spacing."""
        ids = (*turn.prompt_ids, START)
        starts = np.flatnonzero(_depths(np.array(ids), np.arange(len(ids))) == 0).tolist()
        words: list[_Word] = []
        left, previous = START, -1
        for first, end in pairwise(starts):
            spelling = ids[first:end]
            rarity = max(self.rarity.get(token, self.unseen) for token in spelling) / self.unseen
            words.append(_Word(spelling, previous, left, ids[end], rarity, respaced=False))
            before, left, previous = previous, spelling[-1], len(words) - 1
            if rarity > _COPYABLE and (other := spaced_otherwise(spelling)[:_WORD_TOKENS]):
                words.append(_Word(other, before, words[-1].left, ids[end], rarity, respaced=True))
        return words

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
class _Word:
    """A word of a prompt; in scripts without spaces each token is one.

    ``previous``: index of the word before or -1; ``left``, ``right``: the tokens around, START beyond the edge;
    ``rarity`` (0..1) of its rarest token; ``respaced``: offered without the space it has in the prompt, or with a
    space it does not have.
    """

    tokens: tuple[int, ...]
    previous: int
    left: int
    right: int
    rarity: float
    respaced: bool


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of all prompts, one after the other: (words,) each, but ``token`` and ``state`` (tokens,).

    ``first``: where a word's tokens begin; ``state``: hash of the word up to this token.
    """

    example: Ints
    previous: Ints
    left: Ints
    right: Ints
    rarity: Floats
    respaced: Flags
    first: Ints
    length: Ints
    token: Ints
    state: Keys

    @classmethod
    def of(cls, told: Sequence[Sequence[_Word]]) -> "_Words":
        words = [word for prompt in told for word in prompt]
        counts = np.array([len(prompt) for prompt in told], np.int64)
        rows = np.array([(word.previous, word.left, word.right, word.respaced) for word in words], np.int64)
        previous, left, right, respaced = rows.reshape(-1, 4).T
        length = np.array([len(word.tokens) for word in words], np.int64)
        token = np.fromiter((token for word in words for token in word.tokens), np.int64, int(length.sum()))
        first = np.cumsum(length) - length
        return cls(
            example=np.repeat(np.arange(len(told)), counts),
            previous=np.where(previous >= 0, previous + np.repeat(np.cumsum(counts) - counts, counts), -1),
            left=left,
            right=right,
            rarity=np.array([word.rarity for word in words], np.float64),
            respaced=respaced.astype(bool),
            first=first,
            length=length,
            token=token,
            state=_states(token, np.arange(len(token)) - np.repeat(first, length)),
        )

    @property
    def whole(self) -> Keys:
        """(words,): hash of each word."""
        return np.asarray(self.state[self.first + self.length - 1])


def _depths(token: Ints, place: Ints) -> Ints:
    """How many tokens of its word stand before each token; ``place`` counts from 0 in every text."""
    at = np.arange(len(token))
    begins = (place == 0) | ~within_word(np.concatenate([[START], token[:-1]]), token)
    return (at - np.maximum.accumulate(np.where(begins, at, 0))) % _WORD_TOKENS


def _states(token: Ints, depth: Ints) -> Keys:
    """One hash per token of its word up to it."""
    state = hashed(70, token)
    for deep in range(1, int(depth.max(initial=0)) + 1):
        at = np.flatnonzero(depth == deep)
        state[at] = hashed(71, state[at - 1], token[at])
    return state


def _sources(said: _Words, examples: int) -> tuple[Sources, Ints]:
    """The rare words of each prompt by their first tokens, once each, and the sorted codes (example, token)."""
    rare = np.flatnonzero(said.rarity > _COPYABLE)
    token = said.token[said.first[rare]]
    code, at = np.unique((said.example[rare] << SHIFT) | token, return_index=True)
    word, token = rare[at], token[at]
    respaced, capital = said.respaced[word], edges().capital[token]
    before = said.previous[word]
    second = (before >= 0) & (said.previous[before] >= 0)  # the first word has a capital letter whatever it is
    amid_name = capital & second & edges().capital[said.token[said.first[before]]]
    feature = np.stack(
        [
            hashed(60, said.whole[word]),
            hashed(61, said.left[word], respaced),
            hashed(62, said.right[word], respaced),
            hashed(65, capital, amid_name),
        ],
        1,
    )
    first = np.searchsorted(said.example[word], np.arange(examples + 1))
    return Sources(token, feature, edges().goes_on[token], first), code


def _followers(said: _Words) -> Followers:
    word = np.repeat(np.arange(len(said.example)), said.length)
    example = said.example[word]
    inner = np.arange(len(word)) != (said.first + said.length - 1)[word]
    after = np.where(inner, np.append(said.token[1:], START) if len(word) else said.token, said.right[word])
    next_word = np.full(len(said.example), -1)
    known = np.flatnonzero((said.previous >= 0) & ~said.respaced)
    next_word[said.previous[known]] = known
    next_rarity = np.where(next_word >= 0, said.rarity[next_word], 0.0)
    rarity = said.rarity[word]
    capital = edges().capital
    alone = hashed(63, example, said.state)
    before = said.previous[word]
    both = np.where(before >= 0, hashed(64, example, said.whole[before], said.state), np.uint64(0))
    on = np.flatnonzero(after != START)
    one, one_at = np.unique(alone[on], return_index=True)
    two, two_at = np.unique(both[on], return_index=True)
    return Followers(
        one=one,
        one_at=on[one_at],
        two=two,
        two_at=on[two_at],
        rare=np.unique(alone[rarity > _COPYABLE]),
        after=after,
        inner=inner,
        rarity=np.stack([np.where(inner, rarity, next_rarity[word]), rarity], 1),
        capital=capital[said.token[said.first]][word] & (inner | capital[said.right[word]]),
    )


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
    unfinished = edges().open_ended[before[0]]
    source = np.where(unfinished & edges().goes_on[target], -1, find(prompts.source_code, coded))
    depth = _depths(target, place)
    state = _states(target, depth)
    copied = find(prompts.follower.rare, hashed(63, example, state)) >= 0
    follower, match = _go_on(prompts.follower, example, place, depth, state)
    return Positions(
        keys=_keys(prompts, example, place, before, np.where(copied, COPY, target)),
        target=target,
        example=example,
        opening=place == 0,
        unfinished=unfinished,
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


def _go_on(follower: Followers, example: Ints, place: Ints, depth: Ints, state: Keys) -> tuple[Ints, Floats]:
    """What the FOLLOWING experts say after the words of the answer so far, and the features of that.

    The answer's last word, or its beginning, is looked for together with the word before it, else alone.
    """
    token, match = np.full((len(example), 2), -1), np.zeros((len(example), 2, 4))
    last = np.arange(len(example)) - 1
    earlier = np.maximum(last - depth[last] - 1, 0)
    one = np.where(place >= 1, find(follower.one, hashed(63, example, state[last])), -1)
    both = hashed(64, example, state[earlier], state[last])
    two = np.where(place >= depth[last] + 2, find(follower.two, both), -1)
    found = np.flatnonzero((one >= 0) | (two >= 0))
    if len(found):
        at = np.where(two[found] >= 0, follower.two_at[two[found]], follower.one_at[one[found]])
        inner = follower.inner[at].astype(np.int64)
        token[found, inner] = follower.after[at]
        match[found, inner] = np.column_stack([follower.rarity[at], two[found] >= 0, follower.capital[at]])
    return token, match
