"""What must be true of redaction whatever a row holds."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.engine.content import mended, oddities
from app.datasets.engine.private import Redactor, find

pieces = st.sampled_from(
    [
        "a@b.co",
        "4111 1111 1111 1111",
        "AKIAIOSFODNN7EXAMPLE",
        "090-1234-5678",
        "DE89370400440532013000",
        " ",
        "0",
        "{",
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
texts = st.lists(pieces, max_size=5).map("".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
rows = st.dictionaries(st.sampled_from(["messages", "input", "tools", "note"]), values | values.map(json.dumps))


def shape(value: Any) -> Any:
    """Everything but the texts, the keys and the numbers inside of JSON texts."""
    if isinstance(value, dict):
        return [shape(item) for item in value.values()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value)


@settings(max_examples=80, deadline=None)
@given(texts)
def test_hits_are_in_order_inside_the_text_and_apart(text: str) -> None:
    end = 0
    for hit in find(text):
        assert end <= hit.start < hit.end <= len(text)
        end = hit.end


@settings(max_examples=80, deadline=None)
@given(rows)
def test_redaction_keeps_the_structure(row: dict[str, Any]) -> None:
    redacted, found = Redactor().redact(row)
    assert len(redacted) == len(row)
    assert [shape(value) for value in redacted.values()] == [shape(value) for value in row.values()] or found
    for before, after in zip(row.values(), redacted.values(), strict=True):
        if isinstance(before, str) and before[:1] in {"{", "["}:
            try:
                json.loads(before)
            except ValueError:
                continue
            json.loads(after)
    if not found:
        assert redacted is row


@settings(max_examples=80, deadline=None)
@given(rows)
def test_no_content_raises(row: dict[str, Any]) -> None:
    for code, detail, pointer in oddities(row):
        assert code
        assert detail
        assert pointer.startswith("/")


@settings(max_examples=80, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_text_read_as_latin_1_is_mended_or_left_as_it_is(text: str) -> None:
    garbled = text.encode().decode("latin-1")
    assert mended(garbled) in {text, garbled} or mended(garbled) == mended(mended(garbled))
