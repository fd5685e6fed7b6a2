"""The file around the examples: encodings, line breaks, wrong kinds, broken JSON; and what `check` passes on."""

import gzip
import hashlib
import io
import json
import zipfile
from typing import Any

import pytest

from app.datasets.engine import Limits, Profile, Report, check
from app.datasets.engine.texts import strings

PROFILE = Profile("estimate")


def row(number: int) -> bytes:
    messages = [{"role": "user", "content": f"{number}?"}, {"role": "assistant", "content": f"{number}!"}]
    return json.dumps({"messages": messages}).encode()


ROWS = [row(number) for number in range(12)]
SOUND = b"\n".join(ROWS) + b"\n"


def report_on(content: bytes, **limits: Any) -> Report:
    return check([content], Profile("estimate", Limits(**limits)))


def codes(content: bytes, **limits: Any) -> dict[str, tuple[tuple[int, int], ...]]:
    return {finding.code: finding.lines for finding in report_on(content, **limits).findings}


def first_example(content: bytes, code: str) -> str:
    return next(finding for finding in report_on(content).findings if finding.code == code).examples[0]


def test_a_sound_file_is_ready() -> None:
    report = report_on(SOUND)
    assert (report.verdict, report.format, report.examples, report.findings) == ("ready", "chat", 12, [])
    assert (report.bytes, report.sha256) == (len(SOUND), hashlib.sha256(SOUND).hexdigest())
    assert report.stats["lines"] == 12


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 70_000])
def test_the_pieces_a_file_arrives_in_change_nothing(size: int) -> None:
    content = b"\xef\xbb\xbf" + SOUND + b"\n{broken\n" + ROWS[0]
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    assert check(pieces, PROFILE) == check([content], PROFILE) == check(io.BytesIO(content), PROFILE)


def test_a_byte_order_mark_is_removed_noted_and_not_part_of_the_hash() -> None:
    copy = io.BytesIO()
    report = check([b"\xef\xbb\xbf" + SOUND], PROFILE, copy_to=copy)
    assert [finding.code for finding in report.findings] == ["bom"]
    assert copy.getvalue() == SOUND
    assert (report.verdict, report.bytes, report.sha256) == ("ready", len(SOUND), hashlib.sha256(SOUND).hexdigest())


def test_the_copy_is_the_same_bytes_also_when_the_file_is_refused() -> None:
    for content in (SOUND, SOUND + b"\r\n{", b"\x89PNG\r\n\x1a\n" + bytes(200_000), b"[1,", b""):
        copy = io.BytesIO()
        check([content], PROFILE, copy_to=copy)
        assert copy.getvalue() == content


def test_progress_ends_at_the_size_of_the_file() -> None:
    seen: list[int] = []
    content = b"\xef\xbb\xbf" + SOUND
    check(io.BytesIO(content), PROFILE, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == len(content)


def test_a_fingerprint_is_written_for_each_example() -> None:
    prints = io.BytesIO()
    check([SOUND + ROWS[3]], PROFILE, fingerprints=prints)
    hashes = [prints.getvalue()[at : at + 16] for at in range(0, len(prints.getvalue()), 16)]
    assert len(hashes) == 13
    assert len(set(hashes)) == 12
    assert hashes[12] == hashes[3]


def test_an_empty_file_is_refused() -> None:
    assert codes(b"") == {"empty-file": ()}
    assert codes(b"\xef\xbb\xbf") == {"empty-file": (), "bom": ()}


def test_a_file_of_blank_lines_has_no_examples() -> None:
    report = report_on(b"\n\n \n")
    assert report.verdict == "rejected"
    assert [finding.code for finding in report.findings] == ["empty-file", "trailing-blank-line"]


def test_blank_lines_between_examples_are_errors_and_at_the_end_a_note() -> None:
    content = ROWS[0] + b"\n\n \n" + SOUND + b"\n\t\n"
    assert codes(content) == {
        "blank-line": ((2, 3),),
        "exact-duplicate": ((4, 4),),
        "trailing-blank-line": ((16, 17),),
    }
    assert report_on(SOUND + b"\n").verdict == "ready"


def test_windows_line_breaks_are_noted() -> None:
    assert codes(SOUND.replace(b"\n", b"\r\n")) == {"crlf": ((1, 12),)}


def _workbook() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0", "PNG"),
        (gzip.compress(SOUND), "gzip"),
        (_workbook(), "Excel"),
        (b"PK\x03\x04rest", "ZIP"),
        (b"PAR1\x15\x04", "Parquet"),
        (b"%PDF-1.7", "PDF"),
        (b"\x80\x04\x95\0\0", "binary"),
    ],
)
def test_a_file_that_is_not_text_is_named_as_what_it_is(content: bytes, words: str) -> None:
    report = report_on(content)
    assert [finding.code for finding in report.findings] == ["not-text"]
    assert words in report.findings[0].message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_named(encoding: str) -> None:
    assert codes(SOUND.decode().encode(encoding)) == {"utf-16": ()}


def test_a_byte_that_is_not_utf_8_is_named_by_line_and_byte() -> None:
    assert first_example(SOUND + '{"messages": "é'.encode("latin-1") + b'"}\n', "invalid-utf-8") == (
        "line 13: byte column 15: 0xE9 is not UTF-8 here"
    )


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('{"a": NaN}', "not-a-number", "column 7: NaN"),
        ('{"NaN": -Infinity}', "not-a-number", "column 9: -Infinity"),
        ('{"a": 1e999}', "number-out-of-range", "1e999"),
        ('{"a": ' + "1" * 5000 + "}", "number-out-of-range", "5,000 digits"),
        ('{"a": "\\ud800"}', "lone-surrogate", "column 8"),
        ('{"a": "\\ud83d\\ude00 \\udc00"}', "lone-surrogate", "column 21"),
        ('{"a": 1, "b": 2, "a": 3}', "duplicate-key", "'a'"),
        ('{"x:y": 1, "x\\u003ay": 3}', "duplicate-key", "'x:y'"),
        ('{"a": {"b\\u003a": 1, "b:": ":"}}', "duplicate-key", "'b:'"),
        ("{'a': 1}", "json-error", "single quotes"),
        ('{"a": True}', "json-error", "Python"),
        ('{"a": 1,}', "json-error", "comma too many"),
        ('{"a": [1,]}', "json-error", "comma too many"),
        ('{"a": 1}{"b": 2}', "json-error", "column 9: a second object"),
        ('{"a": 1},', "json-error", "a comma"),
        ('{"a" 1}', "json-error", "colon"),
        ('{"a": "b" c"}', "json-error", 'not written as \\"'),
        ('{"a": "\\x"}', "json-error", "escape"),
        ('{"a": "\t"}', "json-error", "U+0009"),
        ("\ufeff" + '{"a": 1}', "json-error", "two files joined"),
        ('"text"', "row-not-object", '"text"'),
        ("[1, 2]", "row-not-object", "[1, 2]"),
    ],
)
def test_a_line_that_is_not_acceptable_json_is_explained(line: str, code: str, words: str) -> None:
    content = SOUND + line.encode() + b"\n" + ROWS[0]
    found = codes(content)
    assert found[code] == ((13, 13),)
    assert words in first_example(content, code)
    assert report_on(content).verdict == "rejected"


@pytest.mark.parametrize(
    "line",
    [
        '{"messages": [{"role": "user", "content": "a: b, \\"c\\": {x}"}, {"role": "assistant", "content": "\\u003a"}]}',
        '{ "messages" : [{"role":"user","content":":"},\t{"role":"assistant","content":"http:\\/\\/x:1"}]}',
    ],
)
def test_colons_inside_texts_are_not_taken_for_repeated_keys(line: str) -> None:
    assert codes(SOUND + line.encode()) == {}


def test_depth_is_limited() -> None:
    deep = b'{"messages": [], "x": ' + b"[" * 70 + b"]" * 70 + b"}"
    assert codes(SOUND + deep)["too-deep"] == ((13, 13),)
    assert "too-deep" not in codes(SOUND + b'{"messages": [], "x": ' + b"[" * 60 + b"]" * 60 + b"}")
    assert codes(SOUND + b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b"}")["too-deep"] == ((13, 13),)


def test_a_pretty_printed_object_is_one_defect_and_still_an_example() -> None:
    pretty = json.dumps(json.loads(row(99)), indent=2).encode()
    found = report_on(SOUND + pretty + b"\n" + row(100) + b"\n")
    assert [(finding.code, finding.lines) for finding in found.findings] == [
        ("pretty-printed", ((13, 12 + pretty.count(b"\n") + 1),))
    ]
    assert found.examples == 14


def test_a_line_break_inside_a_text_is_one_defect() -> None:
    torn = row(99).replace(b"99?", b"nine\r\nty\nnine?")
    found = report_on(SOUND + torn + b"\n" + row(100) + b"\n")
    assert [(finding.code, finding.lines) for finding in found.findings] == [("raw-line-break", ((13, 15),))]
    assert found.examples == 14


def test_a_quote_left_open_does_not_swallow_the_examples_after_it() -> None:
    report = report_on(b'{"messages": [{"role": "user, "content": "x}]}\n{"messages": [\n' + SOUND)
    assert report.examples == 12
    assert codes(b'{"messages": "x}\n' + SOUND) == {"json-error": ((1, 1),)}


def test_an_object_that_never_closes_has_each_of_its_lines_named() -> None:
    assert codes(SOUND + b'{"messages": [\n{"role": "user"},\n') == {"json-error": ((13, 14),)}


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([{"prompt": "a", "completion": "b"}], "prompt-completion"),
        ([{"custom_id": "1", "method": "POST", "url": "/v1", "body": {}}], "batch-request"),
        ([{"input": {"messages": []}, "preferred_output": [], "non_preferred_output": []}], "preference"),
        ([{"messages": [{"role": "user", "content": "x"}], "target": "7"}], "reinforcement"),
        ([{"history": []}], "prompt-flow"),
        ([{"conversations": [{"from": "human", "value": "x"}]}], "sharegpt"),
        ([{"instruction": "a", "input": "", "output": "b"}], "alpaca"),
        ([{"question": "a", "answer": "b"}], "question-answer"),
    ],
)
def test_rows_of_another_kind_are_named_as_what_they_are(rows: list[dict[str, Any]], kind: str) -> None:
    as_lines = report_on(b"\n".join(json.dumps(item).encode() for item in rows * 3))
    assert (as_lines.verdict, as_lines.format, as_lines.examples) == ("rejected", kind, 3)
    finding = next(finding for finding in as_lines.findings if finding.code == "wrong-kind")
    assert finding.lines == ((1, 3),)
    as_array = report_on(json.dumps(rows * 3, indent=1).encode())
    assert as_array.format == kind
    assert {finding.code for finding in as_array.findings} == {"json-array", "wrong-kind"}


def test_a_table_is_named_with_its_columns() -> None:
    report = report_on(b"Question,Answer\nWhat?,This.\n")
    assert report.format == "csv"
    assert "Question, Answer" in report.findings[0].message


def test_prose_with_a_comma_is_no_table() -> None:
    report = report_on(b"Hello, world\nThis is prose.\n")
    assert report.format == "unknown"
    assert [finding.code for finding in report.findings] == ["json-error"]


def test_one_row_of_another_kind_among_chat_examples_is_named_by_its_line() -> None:
    report = report_on(SOUND + b'{"prompt": "a", "completion": "b"}\n')
    assert (report.format, report.examples) == ("chat", 12)
    assert codes(SOUND + b'{"prompt": "a", "completion": "b"}\n')["wrong-kind"] == ((13, 13),)


def test_a_file_larger_than_azure_takes_is_read_to_its_end_but_not_examined_further() -> None:
    content = SOUND + b"{broken\n" * 10
    report = report_on(content, file_bytes_max=100)
    assert [finding.code for finding in report.findings] == ["file-too-large"]
    assert f"{len(content):,} bytes" in report.findings[0].message
    assert report.sha256 == hashlib.sha256(content).hexdigest()


def test_a_line_longer_than_the_limit_is_counted_and_named() -> None:
    content = ROWS[0] + b"\n" + b"x" * 5000 + b"\n" + SOUND
    found = codes(content, line_bytes_max=1000)
    assert found["line-too-long"] == ((2, 2),)
    assert report_on(content, line_bytes_max=1000).examples == 13


def test_the_report_is_json_that_a_database_can_store() -> None:
    nasty = b'{"messages": [{"role": "user", "content": "a\\u0000b"}, {"role": "\\u0000", "content": ""}], "k\\u0000": 1}'
    report = report_on(SOUND + nasty + b"\n" + b'{"\\u0000": 1}\n{"a": "\\ud800"}\n')
    body = report.to_json()
    json.dumps(body, ensure_ascii=False).encode()  # fails on a lone surrogate
    assert all("\0" not in text for _, text in strings(body))


def test_a_report_stays_small_however_many_lines_are_bad() -> None:
    content = b"".join(ROWS[n % 12] + b"\n" + (b"\n" if n % 2 else b'{"x": 1}\n') for n in range(40_000))
    report = report_on(content)
    found = {finding.code: finding for finding in report.findings}
    assert found["blank-line"].count == 19_999  # the last one ends the file
    assert len(found["blank-line"].lines) == 10_000
    assert found["blank-line"].more_ranges == 9_999
    body = report.to_json()
    assert len(json.dumps(body, ensure_ascii=False).encode()) <= 64 * 1024
    stored = next(finding for finding in body["findings"] if finding["code"] == "blank-line")
    assert len(stored["lines"]) + stored["more_ranges"] == 19_999


def test_findings_stand_in_the_order_of_their_weight() -> None:
    severities = [finding.severity for finding in report_on(b"\xef\xbb\xbf\r\n" + b"{{\n" + SOUND + SOUND).findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
