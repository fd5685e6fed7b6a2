"""Pages by id: every row once, whatever the limit, the order, and what is added or removed meanwhile."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, String, Table, select
from sqlalchemy.dialects import postgresql

from app.kit.pagination import Page, Slice, keyset, slice_of

TABLE = Table("things", MetaData(), Column("id", String))
IDS = [f"job_{number:03}" for number in range(60)]


@dataclass(frozen=True)
class Row:
    id: str


def _run(stored: set[str], page: Page) -> Slice[Row]:
    """What PostgreSQL does with the statement, read from its compiled parameters."""
    compiled = keyset(select(TABLE), TABLE.c.id, page).compile(dialect=postgresql.dialect())
    words = str(compiled)
    values = [value for name, value in compiled.params.items() if name.startswith("id")]
    limit = next(value for name, value in compiled.params.items() if name.startswith("param"))
    rows = sorted(stored, reverse="DESC" in words)
    if values:
        (cursor,) = values
        rows = [row for row in rows if (row < cursor if "id < " in words else row > cursor)]
    return slice_of([Row(row) for row in rows[:limit]], page)


def _walk(stored: set[str], limit: int, *, descending: bool, backwards: bool) -> list[str]:
    seen: list[str] = []
    ends = sorted(stored, reverse=descending)
    cursor = None
    if backwards:
        if not ends:
            return []
        cursor, seen = ends[-1], [ends[-1]]
    while True:
        page = Page(
            limit=limit,
            after=None if backwards else cursor,
            before=cursor if backwards else None,
            descending=descending,
        )
        found = _run(stored, page)
        ids = [row.id for row in found.rows]
        assert len(ids) <= limit
        seen = ids + seen if backwards else seen + ids
        if not found.has_more:
            return seen
        cursor = ids[0] if backwards else ids[-1]


@given(st.sets(st.sampled_from(IDS)), st.integers(1, 20), st.booleans(), st.booleans())
def test_a_walk_over_all_pages_shows_every_row_once_in_order(stored, limit, descending, backwards):
    walked = _walk(stored, limit, descending=descending, backwards=backwards)
    assert walked == sorted(stored, reverse=descending)


@given(st.sets(st.sampled_from(IDS), min_size=1), st.integers(1, 20), st.booleans(), st.data())
def test_a_cursor_whose_row_is_gone_still_marks_its_place(stored, limit, descending, data):
    gone = data.draw(st.sampled_from(sorted(stored)))
    page = Page(limit=limit, after=gone, descending=descending)
    assert _run(stored, page) == _run(stored - {gone}, page)


@given(st.sets(st.sampled_from(IDS)), st.sampled_from(IDS), st.integers(1, 20), st.booleans())
def test_has_more_is_true_exactly_when_rows_follow(stored, cursor, limit, descending):
    after = _run(stored, Page(limit=limit, after=cursor, descending=descending))
    behind = [row for row in stored if (row < cursor if descending else row > cursor)]
    assert after.has_more == (len(behind) > limit)
    before = _run(stored, Page(limit=limit, before=cursor, descending=descending))
    in_front = [row for row in stored if (row > cursor if descending else row < cursor)]
    assert before.has_more == (len(in_front) > limit)
