"""A row out of a line and back: nothing that a number or a text says is lost, and nothing raises."""

import pytest

from app.datasets.engine.json_rows import DEPTH_MAX, parse, write


@pytest.mark.parametrize(
    "line",
    [
        b'{"n":123456789012345678901234}',
        b'{"n":9007199254740993}',
        '{"text":"日本"}'.encode(),
        b'{"n":1234567890123456,"half":"\\ud83d"}',
    ],
)
def test_a_row_is_written_as_it_was_read(line: bytes) -> None:
    row = parse(line)
    assert row is not None
    assert write(row) == line


@pytest.mark.parametrize("line", [b"", b"[1]", b"{", b'{"n":NaN}', b'{"n":NaN,"m":1234567890123456}', b"\xff"])
def test_what_is_no_json_object_is_no_row(line: bytes) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(("depth", "is_row"), [(DEPTH_MAX - 1, True), (DEPTH_MAX, False), (1_020, False)])
def test_a_row_is_read_as_deep_as_it_can_be_written(depth: int, *, is_row: bool) -> None:
    row = parse(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert (row is not None) == is_row
    assert row is None or write(row)
