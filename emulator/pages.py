"""Lists a page at a time, and how lists misbehave on request; it must not know what is listed."""

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol, TypeVar

from emulator.door import Call
from emulator.wire import Refusal


class Listed(Protocol):
    """Anything with an id."""

    id: str


class Born(Listed, Protocol):
    """Anything with an id and a virtual time of birth."""

    @property
    def born_v(self) -> float: ...


Item = TypeVar("Item", bound=Listed)
Newborn = TypeVar("Newborn", bound=Born)


def visible(call: Call, items: Iterable[Newborn], now_v: float) -> Iterable[Newborn]:
    """The items in the order given, or without the youngest and in another order when a fault asks for it.

    Source for orders: neither specification of the data plane says in which order jobs are listed (`after` and
    `limit` only, 2025-04-01-preview and v1).
    """
    if call.list_lag_seconds:
        oldest_v = now_v - call.list_lag_seconds
        items = [item for item in items if item.born_v <= oldest_v]
    match call.list_order:
        case "reversed":
            return list(items)[::-1]
        case "shuffled":
            shuffled = list(items)
            random.Random(len(shuffled)).shuffle(shuffled)
            return shuffled
        case _:
            return items


def cut(items: Iterable[Item], after: str | None, limit: int, shift: int = 0) -> tuple[list[Item], bool]:
    """One page of a list: what follows the item with the id `after`, and whether more follows the page.

    `shift`: a page that has an `after` begins so many items early, and so repeats them; a negative one leaves items
    out. It is what a list does that was changed between two looks.

    Raises:
        Refusal: 400 when there is no such item. What Azure answers is not published.
    """
    if after is None:
        return _first(iter(items), limit)
    if shift == 0:
        return _first(_following(items, after), limit)
    known = list(items)
    start = next((index for index, item in enumerate(known, 1) if item.id == after), None)
    if start is None:
        raise _unknown(after)
    return _first(iter(known[max(0, start - shift) :]), limit)


def _following(items: Iterable[Item], after: str) -> Iterator[Item]:
    rest = iter(items)
    for item in rest:
        if item.id == after:
            return rest
    raise _unknown(after)


def _first(rest: Iterator[Item], limit: int) -> tuple[list[Item], bool]:
    page = list(islice(rest, limit))
    return page, next(rest, None) is not None


def _unknown(after: str) -> Refusal:
    return Refusal(400, "invalidPayload", f"The value '{after[:80]}' of 'after' is not known.", param="after")
