"""What must hold of any file and any change of it."""

import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, BinaryIO

from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_engine_properties import files, method_lines, plain_rows

from app.datasets.engine import CODES, Limits, Profile, check, near
from app.datasets.engine.changes import (
    AnyOperation,
    CannotChange,
    Convert,
    Dedupe,
    Fix,
    Merge,
    Open,
    Part,
    Redact,
    Sample,
    Shuffle,
    Split,
    Target,
    differences,
    lineage_of,
    parts_of,
    repairs,
    transform,
)
from app.datasets.engine.changes.fixing import UNTOUCHABLE, fixable
from app.datasets.engine.report import Method

PROFILE = Profile("estimate", Limits(line_bytes_max=2_000, examples_min=1))


def opening(content: bytes) -> Open:
    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        yield io.BytesIO(content)

    return opened


def run(
    content: bytes,
    *operations: AnyOperation,
    method: Method | None = "supervised",
    others: dict[str, bytes] | None = None,
) -> list[tuple[bytes, io.BytesIO]]:
    """Content and lineage of each part."""
    outputs = [(io.BytesIO(), io.BytesIO()) for _ in parts_of(operations)]
    transform(
        opening(content),
        operations,
        [Target(one, other) for one, other in outputs],
        profile=replace(PROFILE, method=method),
        scratch=tempfile.TemporaryFile,
        others={name: opening(other) for name, other in (others or {}).items()},
    )
    return [(one.getvalue(), other) for one, other in outputs]


def attempt(
    content: bytes, operation: AnyOperation, *, but_for: str, method: Method = "supervised"
) -> list[tuple[bytes, io.BytesIO]] | None:
    """None where it is refused for this one reason."""
    try:
        return run(content, operation, method=method)
    except CannotChange as refused:
        if refused.code != but_for:
            raise
        return None


def lines_of(content: bytes) -> list[bytes]:
    return content.removesuffix(b"\n").split(b"\n")


def lines_with(content: bytes, method: Method | None) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}

    def heard(code: str, first: int, last: int) -> None:
        found.setdefault(code, set()).update(range(first, last + 1))

    check([content], replace(PROFILE, method=method), heard=heard)
    return found


METHODS = st.sampled_from(["supervised", "dpo", "reinforcement"])


@settings(max_examples=300, deadline=None)
@given(
    content=st.lists(plain_rows | method_lines, min_size=1, max_size=8).map(b"\n".join) | files,
    method=METHODS,
)
@example(content=b'{"messages":[{"role":"user","content":"a\\u200b"}],"a\\u200b":1,"a":2}\r\r', method="supervised")
@example(content=b'{"messages":[{"role":"assistant","content":"a"}]}', method="reinforcement")
def test_after_a_fix_a_check_finds_nothing_fixable(content: bytes, method: Method) -> None:
    """But on lines whose own writing is ambiguous: nobody may decide silently what they mean."""
    made = attempt(content, Fix(), method=method, but_for="nothing_left")
    if made is None:
        return
    ((fixed, _),) = made
    found = lines_with(fixed, method)
    ambiguous = set().union(*(found.get(code, set()) for code in UNTOUCHABLE))
    left = {code: lines - ambiguous for code, lines in found.items() if code in fixable()}
    assert not {code: lines for code, lines in left.items() if lines}


def test_every_fix_that_a_code_promises_is_there() -> None:
    repaired = repairs.OF_ROWS.keys() | repairs.OF_LINES | repairs.OF_TORN | repairs.OF_FILES | {"crlf"}
    promised = {code.name for code in CODES.values() if code.fix == "repair"}
    assert promised == repaired - repairs.ON_REQUEST
    assert {code.name for code in CODES.values() if code.fix} - fixable() == repairs.OF_FILES


words = st.sampled_from(["rain", "snow", "hotel", "train", "visa", "price", "museum", "beach", "map", "ticket"])
sentences = st.lists(words, min_size=1, max_size=8).map(" ".join)
talks = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=2)


def talk(turns: Sequence[tuple[str, str]], **further: Any) -> bytes:
    messages = [
        message
        for asked, said in turns
        for message in ({"role": "user", "content": asked}, {"role": "assistant", "content": said})
    ]
    return json.dumps({"messages": messages, **further}).encode()


tables = st.lists(
    st.builds(lambda turns, label: talk(turns, label=label), talks, st.sampled_from("abc")), min_size=2, max_size=30
)


@settings(max_examples=120, deadline=None)
@given(
    rows=tables,
    seed=st.integers(0, 3),
    stratify=st.sampled_from([None, "/label"]),
    group=st.sampled_from([None, "/label"]),
    share=st.sampled_from([0.5, 0.8]),
)
def test_a_split_loses_nothing_and_no_group_straddles(
    rows: list[bytes], seed: int, stratify: str | None, group: str | None, share: float
) -> None:
    content = b"\n".join(rows)
    split = Split((Part("train", share=share), Part("rest")), seed=seed, stratify=stratify, group=group)
    parts = attempt(content, split, but_for="empty_part")
    if parts is None:
        return
    assert [one for one, _ in parts] == [one for one, _ in run(content, split)]
    assert Counter(line for part, _ in parts for line in lines_of(part)) == Counter(rows)
    groups = near.groups(lambda: rows)
    home: dict[int, int] = {}
    labels: dict[str, int] = {}
    for number, (part, lineage) in enumerate(parts):
        before = 0
        for row, line in enumerate(lines_of(part), 1):
            told = lineage_of(lineage, row)
            assert told is not None
            (origin,) = told.origins
            assert line == rows[origin.first - 1]
            assert origin.first > before
            before = origin.first
            assert home.setdefault(int(groups[origin.first - 1]), number) == number
            if group is not None:
                assert labels.setdefault(json.loads(line)["label"], number) == number


@settings(max_examples=60, deadline=None)
@given(rows=tables, wanted=st.integers(1, 40), seed=st.integers(0, 3))
def test_a_sample_has_as_many_rows_as_asked_for_in_their_order(rows: list[bytes], wanted: int, seed: int) -> None:
    content = b"\n".join(rows)
    ((sample, lineage),) = run(content, Sample(rows=wanted, seed=seed, stratify="/label"))
    found = lines_of(sample)
    assert len(found) == min(wanted, len(rows))
    origins = [told.origins[0].first for row in range(1, len(found) + 1) if (told := lineage_of(lineage, row))]
    assert origins == sorted(set(origins))
    assert [rows[first - 1] for first in origins] == found
    assert run(content, Sample(rows=wanted, seed=seed, stratify="/label"))[0][0] == sample


OPERATIONS: list[AnyOperation] = [
    Fix(),
    Dedupe(),
    Dedupe("conflicting", keep="last"),
    Dedupe("near", keep="none"),
    Redact(),
    Merge(("more",)),
    Shuffle(seed=1),
    Sample(share=0.7),
    Convert("reinforcement"),
]


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(plain_rows | tables.map(lambda lines: lines[0]) | st.just(b""), min_size=1, max_size=12),
    more=tables,
    recipe=st.lists(st.sampled_from(OPERATIONS), min_size=1, max_size=4, unique_by=lambda one: one.type),
)
def test_lineage_points_to_rows_that_really_are_the_sources(
    rows: list[bytes], more: list[bytes], recipe: list[AnyOperation]
) -> None:
    content, others = b"\n".join(rows), {"more": b"\n".join(more)}
    try:
        ((made, lineage),) = run(content, *recipe, others=others)
    except CannotChange:
        return
    again = run(content, *recipe, others=others)[0]
    assert (again[0], again[1].getvalue()) == (made, lineage.getvalue())
    sources = [rows, more]
    converting = {at for at, one in enumerate(recipe) if one.type in {"fix", "redact", "convert"}}
    for row, line in enumerate(lines_of(made), 1):
        told = lineage_of(lineage, row)
        assert told is not None
        for source, first, last in told.origins:
            assert 1 <= first <= last <= len(sources[source])
        if not converting & set(told.operations):
            (origin,) = told.origins
            assert sources[origin.source][origin.first - 1] == line
        elif len(told.origins) == 1:
            (origin,) = told.origins
            assert words_in(line) <= words_in(sources[origin.source][origin.first - 1]) | {"reference_answer"}
    assert lineage_of(lineage, len(lines_of(made)) + 1) is None


def words_in(line: bytes) -> set[str]:
    """Every text of a row that says something, without what a fix takes off."""

    def inside(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield "".join(value.split()).replace("\u200b", "")
        elif isinstance(value, dict):
            yield from (text for pair in value.items() for item in pair for text in inside(item))
        elif isinstance(value, list):
            yield from (text for item in value for text in inside(item))

    return {text for text in inside(json.loads(line)) if text.isalnum()}


@settings(max_examples=100, deadline=None)
@given(rows=tables, other=tables, swap=st.booleans())
def test_differences_add_up_and_name_rows_that_are_so(*, rows: list[bytes], other: list[bytes], swap: bool) -> None:
    new = [*rows[2:], *rows[:2]] if swap else [*rows[1:], *other[:2]]
    found = differences(
        opening(b"\n".join(rows)), opening(b"\n".join(new)), lineage=None, line_bytes_max=2_000, skip=0, limit=1000
    )
    assert found.same + found.changed + found.moved + found.removed == len(rows)
    assert found.same + found.changed + found.moved + found.added == len(new)
    assert Counter(change.kind for change in found.page) == Counter(
        {kind: count for kind in ("added", "removed", "changed", "moved") if (count := getattr(found, kind))}
    )
    for change in found.page:
        if change.kind == "moved":
            assert rows[(change.was_line or 0) - 1] == new[(change.line or 0) - 1]
        if change.kind == "changed":
            assert change.fields
    if swap:
        assert found.added == found.removed == found.changed == 0


def test_a_fixed_version_held_against_its_source_by_lineage_tells_what_was_mended() -> None:
    rows = [talk([(f"q{n}", f" a{n} ")]) for n in range(3)] + [b"", talk([("q0", " a0 ")])]
    content = b"\n".join(rows)
    ((fixed, lineage),) = run(content, Fix())

    found = differences(
        opening(content), opening(fixed), lineage=opening(lineage.getvalue()), line_bytes_max=2_000, skip=1, limit=3
    )
    assert (found.changed, found.removed, found.added, found.moved, found.same) == (3, 2, 0, 0, 0)
    assert found.has_more
    assert [(change.kind, change.line, change.was_line) for change in found.page] == [
        ("changed", 2, 2),
        ("changed", 3, 3),
        ("removed", None, 4),
    ]
    (field,) = found.page[0].fields
    assert (field.pointer, field.before, field.after) == ("/messages/1/content", " a1 ", "a1")
