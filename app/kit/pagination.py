"""Keyset pages over ids, whose order as text is the order of time. It knows no request and no table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select

R = TypeVar("R")
S = TypeVar("S", bound=Select[Any])


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list a caller asked for.

    Attributes:
        limit: most rows in the answer.
        after: only rows that come behind this id in the list's order.
        before: only rows that come in front of this id; the nearest `limit` of them.
        descending: newest first.
    """

    limit: int = 20
    after: str | None = None
    before: str | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Slice(Generic[R]):
    """The rows of one page, in the list's order.

    Attributes:
        has_more: whether rows follow in the direction that was read (in front of `before`, else behind).
    """

    rows: Sequence[R]
    has_more: bool


def keyset(statement: S, id_column: ColumnElement[str] | Any, page: Page) -> S:
    """The statement narrowed to one page, with one row more than asked so that `slice_of` sees what follows.

    Args:
        id_column: unique, collated "C"; an index that starts with the statement's own conditions and ends
            with it makes every page equally quick.
    """
    backwards = page.before is not None
    cursor = page.before if backwards else page.after
    falling = page.descending != backwards
    if cursor is not None:
        statement = statement.where(id_column < cursor if falling else id_column > cursor)
    return statement.order_by(id_column.desc() if falling else id_column.asc()).limit(page.limit + 1)


def slice_of(rows: Sequence[R], page: Page) -> Slice[R]:
    """What `keyset` fetched, without the extra row and in the list's order."""
    kept = rows[: page.limit]
    return Slice(rows=kept[::-1] if page.before is not None else kept, has_more=len(rows) > page.limit)
