"""Plain examples at a glance: many lines in a few calls, instead of a few calls a message.

A plain line is nothing but messages of a role and a text, in an order no rule objects to. It needs no rule, only
to be counted; every other line is examined by itself. Must not know the rules beyond that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.datasets.engine.content import Oddity, odd_messages
from app.datasets.engine.lines import Lines
from app.datasets.engine.scanning import Scan, searching
from app.datasets.engine.texts import (
    BRACES,
    UNSEEN,
    brace_places,
    control_places,
    holds_invisible,
    placeholder_in,
)
from app.datasets.engine.tokens import GUARDED_CHARACTERS

ROLES: Final = ("system", "user", "assistant", "developer")
"""Roles of plain messages. What a tool answers refers to a call and is examined."""
_CODES: Final = {role: code for code, role in enumerate(ROLES)}
_ASSISTANT: Final = _CODES["assistant"]
PROMPT_CODES: Final = (_CODES["system"], _CODES["developer"])
BETWEEN: Final = b"\x1e"
"""Stands between texts that are looked at together."""
_COLON: Final = ord(":")
_OPENS, _CLOSES, _RETURN = b"{}\r"
_HIDDEN_COLON: Final = b"\\u003"
"""Beginning of a colon's escape, which would hide an equal key from the count of colons."""
_hides_a_colon: Final = searching(r"\\u003")
"""The same in many lines: five times as fast as `in`, where back slashes are frequent."""
_scan_unseen: Final = Scan((r"[\x00-\x08\x0b\x0c\x0e-\x1d\x1f\x7f]", UNSEEN, BRACES))
"""Control characters but for BETWEEN, which is counted; others as in `texts`."""


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant", "developer"]
    content: Annotated[str, msgspec.Meta(min_length=1, max_length=GUARDED_CHARACTERS)]
    """A longer text is examined: it may hold runs that slow a tokenizer down."""


class _Example(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]


_decoder = msgspec.json.Decoder(_Example)
Order = tuple[str, ...]
IsSound = Callable[[Order], bool]
"""Whether no rule objects to messages of these roles in this order."""


@dataclass(frozen=True)
class Glance:
    """The plain lines among some, column by column."""

    places: list[int]
    """Which of the lines they are, counted from 0."""
    orders: list[Order]
    """One a line."""
    codes: bytes
    """One a message: the place of its role in `ROLES`."""
    texts: list[str]
    """One a message."""
    utf8: list[bytes]
    """One a message: its text as it is counted and compared."""
    others: list[int]
    """Lines that have to be examined."""
    odd: tuple[tuple[int, str, str, str], ...] = ()
    """Place of the line, code, detail and RFC 6901 pointer of what is odd in the texts of these and other lines."""

    @cached_property
    def joined(self) -> bytes:
        """All texts, BETWEEN them; none of them holds a control character."""
        return BETWEEN.join(self.utf8)

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """Where in `joined` each text ends."""
        return np.cumsum([len(text) + 1 for text in self.utf8], dtype=np.intp) - 1

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """Where in the columns of messages each line begins, and where the last ends."""
        return _starts(list(map(len, self.orders)))

    @cached_property
    def prompts(self) -> list[int]:
        """The messages that are system prompts."""
        return [at for at, code in enumerate(self.codes) if code in PROMPT_CODES]

    @property
    def said(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Where in `joined` each line begins and ends; a system prompt that it begins with is left out."""
        message_starts = np.concatenate(([0], self.ends + 1))
        of_prompts = np.isin(np.frombuffer(self.codes, dtype=np.uint8), PROMPT_CODES)
        first = self.starts[:-1]
        return message_starts[first + of_prompts[first]], self.ends[self.starts[1:] - 1]

    def without(self, places: AbstractSet[int]) -> Glance:
        """The same, but for these lines, which have to be examined."""
        if not places:
            return self
        gone = [at for at, place in enumerate(self.places) if place in places]
        kept = Glance([], [], b"", [], [], sorted({*self.others, *places}))
        codes = []
        for first, end in pairwise([-1, *gone, len(self.places)]):
            start, stop = self.starts[[first + 1, end]].tolist()
            kept.places.extend(self.places[first + 1 : end])
            kept.orders.extend(self.orders[first + 1 : end])
            codes.append(self.codes[start:stop])
            kept.texts.extend(self.texts[start:stop])
            kept.utf8.extend(self.utf8[start:stop])
        odd = tuple([one for one in self.odd if one[0] not in places])
        return replace(kept, codes=b"".join(codes), odd=odd)

    def places_of(self, messages: Iterable[int]) -> set[int]:
        """The lines that these messages are in."""
        at = np.searchsorted(self.starts, np.fromiter(messages, dtype=np.intp), side="right") - 1
        return {self.places[index] for index in at.tolist()}


def _starts(sizes: list[int]) -> NDArray[np.intp]:
    starts = np.zeros(len(sizes) + 1, dtype=np.intp)
    np.cumsum(sizes, out=starts[1:])
    return starts


def look(lines: Lines, is_sound: IsSound) -> Glance:
    """Sort plain lines from those that have to be examined. No content raises."""
    examples = _all_plain(lines)
    places, others = list(range(len(lines))), list[int]()
    if examples is None:
        each = [_plain(line) if type(line) is bytes else None for line in lines]
        places = [place for place, example in enumerate(each) if example is not None]
        others = [place for place, example in enumerate(each) if example is None]
        examples = [example for example in each if example is not None]
    seen = _columns(places, others, examples)
    sound = {order: is_sound(order) for order in set(seen.orders)}
    if not all(sound.values()):
        seen = seen.without({at for at, order in zip(seen.places, seen.orders, strict=True) if not sound[order]})
    seen = seen.without(_odd(seen) | _with_other_colons(lines, seen))
    answers = [at for at in (seen.starts[1:] - 1).tolist() if seen.codes[at] == _ASSISTANT]
    return replace(seen, odd=tuple(_told(seen, odd_messages(seen.joined, seen.ends, seen.texts, answers))))


def _told(seen: Glance, odd: dict[int, list[Oddity]]) -> Iterator[tuple[int, str, str, str]]:
    for at in sorted(odd):
        example = int(np.searchsorted(seen.starts, at, side="right")) - 1
        pointer = f"/messages/{at - int(seen.starts[example])}/content"
        for code, detail in odd[at]:
            yield seen.places[example], code, detail, pointer


def _all_plain(lines: Lines) -> list[_Example] | None:
    """The examples, if every line is plain; else None.

    All are read in one go, which would accept several in a line and one in several lines. A line feed between } and
    { can only stand between two examples, for inside of one there would be a comma; so if all lines begin and end
    like that, and are as many as the examples, each holds one.
    """
    raw, ends = lines.raw, lines.ends
    if not raw.startswith(b"{"):
        return None
    codes = np.frombuffer(raw, dtype=np.uint8)
    last = codes[ends - 1]
    closed = last == _CLOSES
    if not closed.all():
        closed |= (last == _RETURN) & (codes[ends - 2] == _CLOSES)
    if not closed.all() or not (codes[ends[:-1] + 1] == _OPENS).all():
        return None
    try:
        examples = _decoder.decode_lines(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return examples if len(examples) == len(lines) else None


def _plain(line: bytes) -> _Example | None:
    try:
        return _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _columns(places: list[int], others: list[int], examples: list[_Example]) -> Glance:
    lists = [example.messages for example in examples]
    messages = list(chain.from_iterable(lists))
    codes = bytes([_CODES[message.role] for message in messages])
    texts = [message.content for message in messages]
    starts = _starts(list(map(len, lists))).tolist()
    coded = [codes[start:end] for start, end in pairwise(starts)]
    known = {code: tuple([ROLES[role] for role in code]) for code in set(coded)}
    orders = [known[code] for code in coded]
    return Glance(places, orders, codes, texts, [text.encode() for text in texts], others)


def _odd(seen: Glance) -> set[int]:
    """Lines in whose texts a rule may find something that cannot be seen."""
    texts, ends = seen.texts, seen.ends
    found = _scan_unseen(seen.joined, ends)
    if found is None or seen.joined.count(BETWEEN) >= len(texts):
        odd = set(np.searchsorted(ends, control_places(seen.joined, ends[:-1])).tolist())
        odd.update([at for at, text in enumerate(texts) if not text.isascii() and holds_invisible(text)])
        braced = set(np.searchsorted(ends, brace_places(seen.joined)).tolist())
    else:
        odd, braced = {*found[0], *found[1]}, set(found[2])
    odd.update([at for at in braced if placeholder_in(texts[at])])
    return seen.places_of(odd)


def _with_other_colons(lines: Lines, seen: Glance) -> set[int]:
    """Lines that may hold a key twice, of which readers drop one: more colons than their keys and texts have.

    A line cannot have fewer, unless one is written as an escape; so if there is no escape, and all lines together
    have no colon more, none has.
    """
    raw = lines.raw
    if len(seen.places) < len(lines):
        raw = b"".join([lines[at] for at in seen.places])  # type: ignore[misc]  # plain lines are bytes
    hidden = _hides_a_colon(raw)
    if not hidden and _colons(raw) == len(seen.places) + 2 * len(seen.texts) + _colons(seen.joined):
        return set()
    found = set()
    for place, start, end in zip(seen.places, seen.starts[:-1].tolist(), seen.starts[1:].tolist(), strict=True):
        line: bytes = lines[place]  # type: ignore[assignment]  # plain lines are bytes
        colons = 1 + 2 * (end - start) + sum([text.count(":") for text in seen.texts[start:end]])
        if line.count(b":") != colons or (hidden and _HIDDEN_COLON in line):
            found.add(place)
    return found


def _colons(utf8: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(utf8, dtype=np.uint8) == _COLON))


def answers_with_outer_whitespace(seen: Glance) -> list[tuple[int, int]]:
    """(place of the line, index of its first such message)."""
    texts = seen.texts
    answers = [at for at, code in enumerate(seen.codes) if code == _ASSISTANT]
    spaced = [at for at in answers if texts[at][0].isspace() or texts[at][-1].isspace()]
    found: dict[int, int] = {}
    for at in spaced:
        example = bisect_right(seen.starts, at) - 1
        found.setdefault(seen.places[example], at - int(seen.starts[example]))
    return list(found.items())
