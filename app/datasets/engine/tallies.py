"""What the plain lines of a batch come to: told from these lines alone, so that any process can tell it.

Must not know the rest of the file, nor what follows from the sums.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from app.datasets.engine import tokens
from app.datasets.engine.fingerprints import PrintColumns, prints_of_plain
from app.datasets.engine.glance import (
    PROMPT_CODES,
    ROLES,
    Glance,
    IsSound,
    Order,
    answers_with_outer_whitespace,
    look,
)
from app.datasets.engine.lines import Lines
from app.datasets.engine.report import Tokenizer
from app.datasets.engine.sketches import Keys, sketched

PROMPT_CHARACTERS_MAX: Final = 2_000_000
"""Of different system prompts that are remembered; if there are more, the further ones are counted every time."""
CUT_CHARACTERS_MIN: Final = 100
"""Of answers that something may have cut at one length."""
_ENDED: Final = re.compile(r"[.!?。！？…:;)\]}>\"'”’」』*`|]\s*\Z")


@dataclass(frozen=True, slots=True)
class Answers:
    """The last messages of some lines."""

    texts: Sequence[str]
    """One a line; none where they were not asked for."""
    longest: int
    """Characters."""
    of_longest: Sequence[tuple[int, int, bool]]
    """Of those of that length, if they are long: the line, a hash, and whether the answer just stops."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Of the plain lines among some. A line is told by its place among them, counted from 0."""

    others: list[int]
    """Lines that are not plain and have to be examined."""
    skipped: int
    """Of plain lines, those that were left to be examined, because it was asked."""
    places: NDArray[np.int64]
    odd: Sequence[tuple[int, str, str, str]]
    """Place, code, detail and RFC 6901 pointer of what is odd in texts."""
    returns: Sequence[int]
    """That end in a carriage return."""
    spaced: Sequence[tuple[int, int]]
    """Place, and index of the first answer with outer white space."""
    orders: Sequence[Order]
    order_of: NDArray[np.int64]
    """For each line, which of `orders` its roles are in."""
    tokens: NDArray[np.int64]
    """Of the texts of each line."""
    tokens_by_role: dict[str, int]
    prompts: Sequence[str]
    """Each system prompt once."""
    prompt_of: NDArray[np.int64]
    """For each line, which of them it begins with; -1 = none."""
    answers: Answers
    prints: PrintColumns
    sketches: Keys


_NONE: Final = np.zeros(0, dtype=np.int64)


def without_plain(count: int) -> Tally:
    """Of lines that are all to be examined."""
    prints, sketches = PrintColumns.of(()), np.zeros(0, dtype=np.uint64)
    answers = Answers((), 0, ())
    others = list(range(count))
    return Tally(others, 0, _NONE, (), (), (), (), _NONE, _NONE, {}, (), _NONE, answers, prints, sketches)


class Tallying:
    """Tells it, batch after batch, in one process."""

    def __init__(self, tokenizer: Tokenizer, is_sound: IsSound) -> None:
        """`is_sound` tells whether no rule objects to messages of such roles in this order."""
        self.tokenizer: Final = tokenizer
        self.is_sound: Final = is_sound
        self._counter = tokens.counter(tokenizer)
        self._prompts = _KnownPrompts()

    def tally(self, lines: Lines, *, skip: int = 0, stop: int | None = None, with_answers: bool = True) -> Tally:
        """Of these lines; no content raises.

        Args:
            skip: so many of the first plain lines are left to be examined.
            stop: the line from which on none is plain.
            with_answers: whether the texts of the answers are wanted.
        """
        seen = look(lines, self.is_sound)
        gone = set(seen.places[:skip])
        if stop is not None:
            gone.update(place for place in seen.places if place >= stop)
        seen = seen.without(gone)
        if not seen.places:
            return without_plain(len(lines))
        counts = self._prompts.completed(seen, self._counter.many(self._prompts.left_to_count(seen)))
        places = np.array(seen.places, dtype=np.int64)
        lines_of = places.astype(np.uint64)
        orders = {order: at for at, order in enumerate(dict.fromkeys(seen.orders))}
        prompts = {seen.texts[at]: 0 for at in seen.prompts}
        prompts = {prompt: number for number, prompt in enumerate(prompts)}
        first = seen.starts[:-1]
        codes = np.frombuffer(seen.codes, dtype=np.uint8)
        prompt_of = np.full(len(places), -1, dtype=np.int64)
        prompted = np.flatnonzero(np.isin(codes[first], PROMPT_CODES))
        prompt_of[prompted] = [prompts[seen.texts[at]] for at in first[prompted].tolist()]
        by_role = np.bincount(codes, weights=counts, minlength=len(ROLES))
        return Tally(
            others=seen.others,
            skipped=skip,
            places=places,
            odd=seen.odd,
            returns=_returns(lines, seen),
            spaced=answers_with_outer_whitespace(seen),
            orders=list(orders),
            order_of=np.fromiter((orders[order] for order in seen.orders), dtype=np.int64, count=len(places)),
            tokens=np.add.reduceat(counts, first),
            tokens_by_role={role: int(by_role[code]) for code, role in enumerate(ROLES) if code in seen.codes},
            prompts=list(prompts),
            prompt_of=prompt_of,
            answers=answers_of(
                [seen.texts[at] for at in (seen.starts[1:] - 1).tolist()], seen.places, with_texts=with_answers
            ),
            prints=prints_of_plain(lines_of, seen.orders, seen.joined, seen.ends),
            sketches=sketched(lines_of, seen.joined, *seen.said),
        )


def answers_of(texts: Sequence[str], places: Sequence[int], *, with_texts: bool) -> Answers:
    """Of the last messages of lines."""
    longest = max(map(len, texts))
    of_longest = [
        (place, xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")), _ENDED.search(text[-20:]) is None)
        for text, place in zip(texts, places, strict=True)
        if len(text) == longest >= CUT_CHARACTERS_MIN
    ]
    return Answers(texts if with_texts else (), longest, of_longest)


def _returns(lines: Lines, seen: Glance) -> list[int]:
    if b"\r" not in lines.raw:
        return []
    return [place for place in seen.places if lines[place].endswith(b"\r")]  # type: ignore[union-attr]  # all bytes


class _KnownPrompts:
    """Remembers what system prompts count, so that one that stands in every example is counted once."""

    def __init__(self) -> None:
        self._tokens: dict[str, int | None] = {}
        """None while it is being counted."""
        self._characters = 0

    def left_to_count(self, seen: Glance) -> list[bytes]:
        """The texts of `seen`, those empty that have been given out before."""
        left = seen.utf8
        if seen.prompts:
            left = left.copy()
        for at in seen.prompts:
            prompt = seen.texts[at]
            if prompt in self._tokens:
                left[at] = b""
            elif self._characters + len(prompt) <= PROMPT_CHARACTERS_MAX:
                self._characters += len(prompt)
                self._tokens[prompt] = None
        return left

    def completed(self, seen: Glance, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens of all texts."""
        tokens_of = self._tokens
        for at in seen.prompts:
            prompt = seen.texts[at]
            if prompt in tokens_of:
                known = tokens_of[prompt]
                if known is None:
                    tokens_of[prompt] = int(counts[at])
                else:
                    counts[at] = known
        return counts
