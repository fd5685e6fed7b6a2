"""Plain examples at a glance: many lines in a few calls, instead of a few calls a message.

A plain line is nothing but messages of a role and a text, in an order no rule objects to. It needs no rule, only
to be counted; every other line is examined by itself. Must not know the rules beyond that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import compress
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.datasets.engine.lines import TooLong
from app.datasets.engine.texts import suspicions
from app.datasets.engine.tokens import GUARDED_CHARACTERS

ROLES: Final = ("system", "user", "assistant", "developer")
"""Roles of plain messages. What a tool answers refers to a call and is examined."""
_CODES: Final = {role: code for code, role in enumerate(ROLES)}
_HIDDEN_COLON: Final = b"\\u003"
"""Beginning of a colon's escape, which would hide an equal key from the count of colons."""


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant", "developer"]
    content: Annotated[str, msgspec.Meta(min_length=1, max_length=GUARDED_CHARACTERS)]
    """A longer text is examined: it may hold runs that slow a tokenizer down."""


class _Example(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]


_decode = msgspec.json.Decoder(_Example).decode
Order = tuple[str, ...]
IsSound = Callable[[Order], bool]
"""Whether no rule objects to messages of these roles in this order."""


@dataclass(slots=True)
class Glance:
    """The plain lines among some, column by column; one entry a line unless it says otherwise."""

    places: list[int] = field(default_factory=list)
    """Which of the lines they are, counted from 0."""
    orders: list[Order] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    """Lines that have to be examined."""
    _flat_texts: list[str] | None = None

    @property
    def flat_texts(self) -> list[str]:
        """One entry a message; made when it is first asked for."""
        if self._flat_texts is None:
            self._flat_texts = [text for texts in self.texts for text in texts]
        return self._flat_texts

    @property
    def codes(self) -> NDArray[np.uint8]:
        """The place of each message's role in `ROLES`."""
        return np.frombuffer(bytes([_CODES[role] for order in self.orders for role in order]), dtype=np.uint8)

    @property
    def starts(self) -> NDArray[np.intp]:
        """Where in the flat columns each line begins."""
        sizes = np.fromiter(map(len, self.orders), dtype=np.intp, count=len(self.orders))
        return np.concatenate(([0], np.cumsum(sizes)[:-1])) if len(sizes) else sizes

    def without(self, places: AbstractSet[int]) -> Glance:
        """The same, but for these lines, which have to be examined."""
        if not places:
            return self
        kept = [at not in places for at in self.places]
        return Glance(
            list(compress(self.places, kept)),
            list(compress(self.orders, kept)),
            list(compress(self.texts, kept)),
            sorted({*self.others, *places}),
        )


@dataclass(frozen=True, slots=True)
class PlainSums:
    """What the plain lines of a glance add up to."""

    tokens_by_role: dict[str, int]
    per_example: NDArray[np.int64]
    """Tokens of the texts of each line."""
    orders: Counter[Order]
    system_prompts: set[str]


def look(lines: Sequence[bytes | TooLong], is_sound: IsSound) -> Glance:
    """Sort plain lines from those that have to be examined. No content raises."""
    seen = Glance()
    sound: dict[Order, bool] = {}
    for place, line in enumerate(lines):
        example = _plain(line) if type(line) is bytes else None
        if example is None:
            seen.others.append(place)
            continue
        order = tuple([message.role for message in example.messages])
        is_known = sound.get(order)
        if is_known is None:
            is_known = sound[order] = is_sound(order)
        if is_known:
            seen.places.append(place)
            seen.orders.append(order)
            seen.texts.append([message.content for message in example.messages])
        else:
            seen.others.append(place)
    wholes = ["".join(texts) for texts in seen.texts]
    together = "".join(wholes)
    odd = _with_other_colons(lines, seen, wholes, together)
    for is_odd in suspicions(together):
        odd.update([place for place, whole in zip(seen.places, wholes, strict=True) if is_odd(whole)])
    return seen.without(odd)


def _with_other_colons(
    lines: Sequence[bytes | TooLong], seen: Glance, wholes: list[str], together: str
) -> set[int]:
    """Lines that may hold a key twice, of which readers drop one: more colons than their keys and texts have.

    A line cannot have fewer, unless one is written as an escape; so if there is no escape, and all lines together
    have no colon more, none has.
    """
    raw: list[bytes] = [lines[place] for place in seen.places]  # type: ignore[misc]  # plain lines are bytes
    joined = b"".join(raw)
    hidden = _HIDDEN_COLON in joined
    keys = sum([1 + 2 * len(order) for order in seen.orders])
    if not hidden and joined.count(b":") == keys + together.count(":"):
        return set()
    return {
        place
        for place, line, order, whole in zip(seen.places, raw, seen.orders, wholes, strict=True)
        if line.count(b":") != 1 + 2 * len(order) + whole.count(":") or (hidden and _HIDDEN_COLON in line)
    }


def _plain(line: bytes) -> _Example | None:
    try:
        return _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def add_up(seen: Glance, counts: NDArray[np.int64]) -> PlainSums:
    """The sums over all plain lines; `counts` = tokens of each of `seen.flat_texts`."""
    texts, codes = seen.flat_texts, seen.codes
    by_role = np.bincount(codes, weights=counts, minlength=len(ROLES))
    return PlainSums(
        tokens_by_role={role: int(by_role[code]) for role, code in _CODES.items() if (codes == code).any()},
        per_example=np.add.reduceat(counts, seen.starts),
        orders=Counter(seen.orders),
        system_prompts={texts[at] for at in np.flatnonzero((codes == 0) | (codes == _CODES["developer"])).tolist()},
    )


def answers_with_outer_whitespace(seen: Glance) -> list[tuple[int, int]]:
    """(place of the line, index of its first such message)."""
    found = []
    answers: dict[Order, list[int]] = {}
    for place, order, texts in zip(seen.places, seen.orders, seen.texts, strict=True):
        indices = answers.get(order)
        if indices is None:
            indices = answers[order] = [index for index, role in enumerate(order) if role == "assistant"]
        for index in indices:
            text = texts[index]
            if text[0].isspace() or text[-1].isspace():
                found.append((place, index))
                break
    return found
