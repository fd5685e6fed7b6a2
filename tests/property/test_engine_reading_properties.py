"""What must hold when any bytes are read, whatever the caller says of them."""

import csv
import gzip
import io
import json
import zipfile
from typing import Any

import orjson
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.datasets.engine import CODES, Limits, Profile, Severity
from app.datasets.engine.reading import FORMATS, PARTS, BadHowError, Bounds, How, check_any, how_of, opened

PROFILE = Profile("estimate", Limits(line_bytes_max=3_000, file_bytes_max=50_000, errors_max=50), method=None)
BOUNDS = Bounds(
    record_bytes_max=3_000,
    unpacked_bytes_max=100_000,
    workbook_cells_max=2_000,
    workbook_unpacked_bytes_max=200_000,
    columns_max=50,
)

words = st.sampled_from(
    [
        "messages",
        "role",
        "content",
        "user",
        "assistant",
        "system",
        "tool",
        "conversations",
        "from",
        "value",
        "human",
        "gpt",
        "function_call",
        "observation",
        "instruction",
        "input",
        "output",
        "question",
        "answer",
        "prompt",
        "completion",
        "chosen",
        "rejected",
        "history",
        "tools",
        "item",
        "custom_id",
        "body",
        "query",
        "response",
        "instances",
        "data",
        "rows",
        "row",
        "row_idx",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
rows = st.dictionaries(words, values, max_size=5)


def as_json(value: Any, indent: int | None) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=indent is None).encode("utf-8", "surrogatepass")


def as_csv(table: list[list[str]], delimiter: str, encoding: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(table)
    return text.getvalue().encode(encoding, "replace")


def zipped(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.jsonl", content)
    return target.getvalue()


plain = (
    st.binary(max_size=120)
    | st.builds(as_json, st.lists(rows, max_size=5), st.sampled_from([None, 1]))
    | st.builds(
        lambda each, by, deep: by.join(as_json(one, deep) for one in each),
        st.lists(rows, max_size=4),
        st.sampled_from([b"\n", b",\n", b"", b"\r\n\r\n"]),
        st.sampled_from([None, 2]),
    )
    | st.builds(lambda key, each: as_json({"version": 1, key: each}, None), words, st.lists(rows, max_size=4))
    | st.builds(
        as_csv,
        st.lists(st.lists(words | st.text(max_size=6), min_size=1, max_size=4), max_size=5),
        st.sampled_from(",;\t|"),
        st.sampled_from(["utf-8", "utf-8-sig", "cp932", "utf-16", "utf-16-be"]),
    )
)
packed = st.one_of(
    plain,
    plain.map(gzip.compress),
    plain.map(lambda content: zstandard.ZstdCompressor().compress(content)),
    plain.map(zipped),
    plain.map(lambda content: gzip.compress(zipped(content))),
)
cut = st.tuples(packed, st.integers(0, 200)).map(lambda pair: pair[0][: len(pair[0]) - pair[1]])
marked = st.tuples(
    st.sampled_from(
        [b"PAR1", b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xef\xbb\xbf"]
    ),
    plain,
).map(b"".join)
files = packed | cut | marked


def a_how(format_: str | None, mapping: dict[str, str], encoding: str | None) -> How:
    try:
        return how_of(format=format_, mapping=mapping or None, encoding=encoding)
    except BadHowError:
        return How()


hows = st.builds(
    a_how,
    st.none() | st.sampled_from(FORMATS),
    st.just({}) | st.dictionaries(words, st.sampled_from(PARTS), max_size=3),
    st.none() | st.sampled_from(["cp932", "cp1252", "utf-16", "utf-8"]),
)


@settings(max_examples=300, deadline=None)
@given(content=files, how=hows, as_version=st.booleans())
@example(content=b"\xff\xfe\0\0", how=How(), as_version=False)
@example(content=b"PK\x05\x06" + bytes(18), how=How(), as_version=True)
def test_any_bytes_are_read_or_refused_with_findings(content: bytes, how: How, *, as_version: bool) -> None:
    copy = io.BytesIO()
    report = check_any(io.BytesIO(content), PROFILE, how, as_version=as_version, bounds=BOUNDS, copy_to=copy)
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    assert (report.verdict == "ready") == (not errors)
    assert all(finding.code in CODES for finding in report.findings)
    assert len({finding.code for finding in report.findings}) == len(report.findings)
    json.dumps(report.to_json(), allow_nan=False).encode()
    if report.reading is None:
        assert copy.getvalue() == content.removeprefix(b"\xef\xbb\xbf")
    for finding in report.findings:
        if finding.records:
            assert sum(last - first + 1 for first, last in finding.records) == sum(
                last - first + 1 for first, last in finding.lines
            )


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30).filter(
    lambda text: text.strip() == text
)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=12)


def messages(question: str, answer: str) -> bytes:
    talk = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return orjson.dumps({"messages": talk})


def read(content: bytes, how: How | None = None) -> list[bytes]:
    with opened(io.BytesIO(content), how) as reading:
        return b"".join(reading.content).splitlines()


@settings(max_examples=100, deadline=None)
@given(pairs, st.sampled_from(",;\t|"), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_pairs_written_as_a_table_are_read_as_they_were(
    asked: list[tuple[str, str]], delimiter: str, encoding: str
) -> None:
    content = as_csv([["question", "answer"], *map(list, asked)], delimiter, encoding)
    assert read(content) == [messages(*pair) for pair in asked]


@settings(max_examples=100, deadline=None)
@given(pairs, st.sampled_from([None, 2]), st.sampled_from(["array", "stream", "inside"]))
def test_pairs_written_as_json_are_read_as_they_were(
    asked: list[tuple[str, str]], indent: int | None, shape: str
) -> None:
    each = [{"prompt": question, "completion": answer} for question, answer in asked]
    match shape:
        case "array":
            content = as_json(each, indent)
        case "inside":
            content = as_json({"data": each}, indent)
        case _:
            content = b",\n".join(as_json(one, indent) for one in each)
    assert read(content) == [messages(*pair) for pair in asked]
