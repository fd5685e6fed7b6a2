"""What is true of any groups of rows."""

from collections import Counter
from random import Random

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.engine.near import groups

texts = st.text(max_size=60)
rows = st.lists(
    st.tuples(texts, texts).map(
        lambda said: orjson.dumps(
            {"messages": [{"role": "user", "content": said[0]}, {"role": "assistant", "content": said[1]}]}
        )
    ),
    max_size=8,
)


def classes(lines: list[bytes]) -> Counter[tuple[bytes, ...]]:
    found: dict[int, list[bytes]] = {}
    for line, group in zip(lines, groups(lambda: lines).tolist(), strict=True):
        found.setdefault(group, []).append(line)
    return Counter(tuple(sorted(members)) for members in found.values())


@settings(max_examples=100, deadline=None)
@given(rows, st.data())
def test_equal_lines_are_always_in_one_group(lines: list[bytes], data: st.DataObject) -> None:
    if lines:
        lines.insert(data.draw(st.integers(0, len(lines))), data.draw(st.sampled_from(lines)))
    found = dict[bytes, int]()
    for line, group in zip(lines, groups(lambda: lines).tolist(), strict=True):
        assert found.setdefault(line, group) == group


@settings(max_examples=100, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_the_lines_changes_no_group(lines: list[bytes], random: Random) -> None:
    before = classes(lines)
    random.shuffle(lines)
    assert classes(lines) == before


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_any_bytes_have_a_group_that_begins_with_its_first_line(lines: list[bytes]) -> None:
    found = groups(lambda: lines).tolist()
    assert len(found) == len(lines)
    assert all(group <= at and found[group] == group for at, group in enumerate(found))
