"""Files of every kind: what they are taken for, what they become, and where each row came from."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
import zstandard

from app.datasets.engine import Profile
from app.datasets.engine.reading import BadHowError, Bounds, How, check_any, how_of, mapping_of, opened
from app.datasets.engine.reading.files import HEAD_BYTES
from app.datasets.engine.reading.origin import GAPS_MAX, Origin, origin_of
from app.datasets.engine.report import Finding, Method, Report
from tests.shared_data import shared

Row = dict[str, Any]


def rows_of(content: bytes, how: How | None = None, method: Method | None = None) -> list[Row]:
    with opened(io.BytesIO(content), how, method=method) as reading:
        return [orjson.loads(line) for line in b"".join(reading.content).splitlines()]


def report_of(
    content: bytes, how: How | None = None, *, as_version: bool = False, bounds: Bounds | None = None
) -> Report:
    return check_any(io.BytesIO(content), Profile(method=None), how, as_version=as_version, bounds=bounds)


def codes(report: Report) -> dict[str, Finding]:
    return {finding.code: finding for finding in report.findings}


def talk(*said: str, system: str | None = None) -> Row:
    roles = ["user", "assistant"] * len(said)
    messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + messages}


def lines(*rows: Row) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


QUESTIONS: Final = [{"question": f"What is {n} + {n}?", "answer": f"{2 * n}"} for n in range(12)]
ASKED: Final = [talk(row["question"], row["answer"]) for row in QUESTIONS]
CSV: Final = "question,answer\n" + "".join(f"{row['question']},{row['answer']}\n" for row in QUESTIONS)

CALL: Final = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
ADD: Final = {"name": "add", "parameters": {"type": "object", "properties": {}}}

LAYOUTS: Final[list[tuple[str, Row, Row]]] = [
    ("prompt-completion", {"prompt": "1+1", "completion": " 2\n"}, talk("1+1", "2")),
    (
        "prompt-completion",
        {"prompt": [{"role": "user", "content": "1+1"}], "completion": [{"role": "assistant", "content": "2"}]},
        talk("1+1", "2"),
    ),
    ("question-answer", {"Question": "1+1", "ExpectedResponse": "2"}, talk("1+1", "2")),
    ("question-answer", {"question": "1+1", "answer": 2, "id": 7}, talk("1+1", "2")),
    (
        "alpaca",
        {"instruction": "Add", "input": "1, 1", "output": "2", "system": "Be exact.", "history": [["Hi", "Hello"]]},
        talk("Hi", "Hello", "Add\n\n1, 1", "2", system="Be exact."),
    ),
    ("alpaca", {"instruction": "Add", "input": "", "output": "2"}, talk("Add", "2")),
    (
        "self-instruct",
        {"instruction": "Add", "instances": [{"input": "1, 1", "output": "2"}], "id": "t"},
        talk("Add\n\n1, 1", "2"),
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "system", "value": "S"},
                {"from": "human", "value": "a"},
                {"from": "gpt", "value": "b"},
            ]
        },
        talk("a", "b", system="S"),
    ),
    (
        "sharegpt",
        {"conversation": [{"role": "user", "content": "a"}, {"role": "model", "content": "b"}]},
        talk("a", "b"),
    ),
    (
        "sharegpt",
        {
            "conversations": [
                {"from": "human", "value": "1+1"},
                {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
                {"from": "observation", "value": "2"},
                {"from": "gpt", "value": "two"},
            ],
            "tools": json.dumps([ADD]),
        },
        {
            "messages": [
                {"role": "user", "content": "1+1"},
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "2"},
                {"role": "assistant", "content": "two"},
            ],
            "tools": [{"type": "function", "function": ADD}],
        },
    ),
    (
        "sharegpt",
        {"messages": [{"role": "human", "content": "a"}, {"role": "gpt", "content": "b"}], "id": 1},
        talk("a", "b"),
    ),
    ("sharegpt", {"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, talk("a", "b")),
    ("question-answer", {"input": "1+1", "output": "2"}, talk("1+1", "2")),
    (
        "preference",
        {"prompt": "1+1", "chosen": "2", "rejected": "3"},
        {
            "input": {"messages": [{"role": "user", "content": "1+1"}]},
            "preferred_output": [{"role": "assistant", "content": "2"}],
            "non_preferred_output": [{"role": "assistant", "content": "3"}],
        },
    ),
    (
        "preference",
        {"chosen": talk("1+1", "2")["messages"], "rejected": talk("1+1", "3")["messages"]},
        {
            "input": {"messages": [{"role": "user", "content": "1+1"}]},
            "preferred_output": [{"role": "assistant", "content": "2"}],
            "non_preferred_output": [{"role": "assistant", "content": "3"}],
        },
    ),
    (
        "preference",
        {"chosen": "\n\nHuman: 1+1\n\nAssistant: 2", "rejected": "\n\nHuman: 1+1\n\nAssistant: 3"},
        {
            "input": {"messages": [{"role": "user", "content": "1+1"}]},
            "preferred_output": [{"role": "assistant", "content": "2"}],
            "non_preferred_output": [{"role": "assistant", "content": "3"}],
        },
    ),
    (
        "reinforcement",
        {"prompt": [{"role": "user", "content": "1+1"}], "solution": "2"},
        {"messages": [{"role": "user", "content": "1+1"}], "solution": "2"},
    ),
]
"""What it is, a row as people have it, the row as Azure takes it."""


@pytest.mark.parametrize(("kind", "given", "made"), LAYOUTS)
def test_a_row_of_a_known_layout_becomes_an_example(kind: str, given: Row, made: Row) -> None:
    assert rows_of(lines(given)) == [made]
    report = report_of(lines(*[given] * 12))
    assert (report.format, report.verdict) == (kind, "fixable")
    assert "needs-conversion" in codes(report)
    assert report_of(lines(*[given] * 12), as_version=True).verdict == "ready"


CONTAINERS: Final = [
    ("array", json.dumps(QUESTIONS).encode()),
    ("pretty array", json.dumps(QUESTIONS, indent=2).encode()),
    ("pretty objects", "\n".join(json.dumps(row, indent=2) for row in QUESTIONS).encode()),
    ("objects joined by commas", ",\n".join(json.dumps(row) for row in QUESTIONS).encode()),
    ("objects without a break", "".join(json.dumps(row) for row in QUESTIONS).encode()),
    ("object with an array", json.dumps({"version": 1, "data": QUESTIONS}).encode()),
    ("pretty object with an array", json.dumps({"examples": QUESTIONS, "v": {}}, indent=1).encode()),
    ("rows of the viewer", json.dumps({"rows": [{"row_idx": 1, "row": row} for row in QUESTIONS]}).encode()),
    ("CSV", CSV.encode()),
    ("CSV with a mark", CSV.encode("utf-8-sig")),
    ("CSV with semicolons and CRLF", CSV.replace(",", ";").replace("\n", "\r\n").encode()),
    ("TSV", CSV.replace(",", "\t").encode()),
    ("CSV in UTF-16", CSV.encode("utf-16")),
    ("JSON Lines in UTF-16 without a mark", lines(*QUESTIONS).decode().encode("utf-16-le")),
    ("gzip", gzip.compress(lines(*QUESTIONS))),
    ("zstd", zstandard.ZstdCompressor().compress(CSV.encode())),
    ("CSV that says its separator", ("sep=;\r\n" + CSV.replace(",", ";")).encode()),
    ("blank lines in CSV", CSV.replace("\n", "\n\n").encode()),
]


@pytest.mark.parametrize(("name", "content"), CONTAINERS, ids=[name for name, _ in CONTAINERS])
def test_the_same_rows_are_read_from_every_container(name: str, content: bytes) -> None:
    assert rows_of(content) == ASKED
    report = report_of(content)
    assert report.verdict == "fixable"
    assert report.reading is not None
    assert report.reading["reason"].endswith(".")
    assert report_of(content, as_version=True).verdict == "ready"


def test_examples_that_a_viewer_wrapped_are_taken_out() -> None:
    wrapped = [{"row_idx": at, "row": row, "truncated_cells": []} for at, row in enumerate(ASKED)]
    assert rows_of(orjson.dumps({"features": [], "rows": wrapped})) == ASKED


def test_json_lines_of_chat_pass_through_byte_for_byte() -> None:
    content = b"\xef\xbb\xbf" + lines(*ASKED).replace(b":", b" : ") + b"\n"
    copy = io.BytesIO()
    report = check_any(io.BytesIO(content), Profile(), as_version=True, copy_to=copy)
    assert copy.getvalue() == content[3:]
    assert report.reading is None


# ── tables ──────────────────────────────────────────────────────────────────


def test_a_mapping_says_what_each_column_is() -> None:
    content = "区分,問,答,根拠\n地理,首都は?,東京,地図\n".encode("cp932")
    how = how_of(mapping="問=user,答=assistant,根拠=kept,区分=system", encoding="cp932")
    assert rows_of(content, how) == [{**talk("首都は?", "東京", system="地理"), "根拠": "地図"}]


def test_several_columns_of_one_part_are_joined_in_the_order_of_the_mapping() -> None:
    how = how_of(mapping={"b": "user", "a": "user", "c": "assistant"})
    assert rows_of(b"a,b,c\n1,2,3\n", how) == [talk("2\n\n1", "3")]


def test_a_path_leads_into_a_row() -> None:
    how = how_of(mapping="body.messages=messages,answer.text=assistant")
    given = {"body": {"messages": [{"role": "user", "content": "a"}]}, "answer": {"text": "b"}}
    assert rows_of(lines(given), how) == [talk("a", "b")]


def test_an_entry_of_a_dataset_info_is_a_mapping() -> None:
    entry = {
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "system": "sys"},
        "tags": {"role_tag": "who", "content_tag": "said", "user_tag": "Q", "assistant_tag": "A"},
    }
    given = {"talk": [{"who": "Q", "said": "a"}, {"who": "A", "said": "b"}], "sys": "S"}
    assert rows_of(lines(given), how_of(mapping=entry)) == [talk("a", "b", system="S")]


def test_a_mapping_is_read_back_from_what_is_stored_of_it() -> None:
    mapping = mapping_of({"columns": {"prompt": "instruction", "response": "output"}, "tags": {"user_tag": "Q"}})
    assert mapping_of(mapping.to_json()) == mapping


@pytest.mark.parametrize(
    "written",
    [
        "question",
        "question=asker",
        "a=user,a=assistant",
        "a=ignored",
        "{",
        "[]",
        "a=user," * 300,
        {"columns": []},
        "=user",
    ],
)
def test_a_mapping_that_means_nothing_is_refused_in_words(written: Any) -> None:
    with pytest.raises(BadHowError, match=r"[a-z]") as refused:
        mapping_of(written)
    assert "assistant" in refused.value.hint


@pytest.mark.parametrize(
    "said", [{"format": "docx"}, {"encoding": "base64"}, {"encoding": "utf-7"}, {"encoding": "\0"}]
)
def test_what_is_no_format_or_encoding_is_refused_in_words(said: dict[str, str]) -> None:
    with pytest.raises(BadHowError, match="is no") as refused:
        how_of(**said)
    assert not refused.value.hint  # what a column can be is no help here


def test_a_table_whose_columns_say_nothing_asks_for_a_mapping() -> None:
    report = report_of(b"colour,size\nred,3\nblue,4\n")
    assert (report.format, report.verdict) == ("csv", "rejected")
    assert "colour, size" in codes(report)["no-mapping"].message
    assert "--mapping" in codes(report)["no-mapping"].remedy


def test_a_mapping_of_a_column_that_is_not_there_names_those_that_are() -> None:
    report = report_of(CSV.encode(), how_of(mapping="frage=user,answer=assistant"))
    assert codes(report)["mapping-unfit"].message == "The mapping names frage; the file has question, answer."


def test_a_finding_in_a_table_names_the_row_as_a_spreadsheet_shows_it() -> None:
    content = CSV.encode() + b"\n,7\n"
    finding = codes(report_of(content))["empty-content"]
    assert (finding.lines, finding.records) == (((13, 13),), ((15, 15),))
    assert finding.examples[0].startswith("line 13 (row 15)")


def test_a_finding_in_an_array_names_the_record() -> None:
    rows = [*QUESTIONS, {"question": "", "answer": "x"}]
    finding = codes(report_of(json.dumps(rows).encode()))["empty-content"]
    assert finding.examples[0].startswith("line 13 (record 13)")


def test_lines_of_another_layout_keep_their_numbers() -> None:
    content = lines(*QUESTIONS[:3]) + b"\n{broken\n" + lines(*QUESTIONS)
    found = codes(report_of(content))
    assert (found["blank-line"].lines, found["json-error"].lines) == (((4, 4),), ((5, 5),))
    assert found["json-error"].records == ()


def test_rows_with_too_many_or_too_few_cells_are_named() -> None:
    report = report_of(CSV.encode() + b"one\na,b,c\n")
    assert codes(report)["ragged-row"].lines == ((13, 14),)


def test_a_cell_may_hold_line_breaks_and_doubled_quotes() -> None:
    assert rows_of(b'question,answer\n"say ""a"",\nor b","c\nd"\n') != []
    assert rows_of(b'question,answer\n"say ""a"",\nor b","c"\n') == [talk('say "a",\nor b', "c")]


def test_a_mapping_of_numbers_says_that_a_table_has_no_header() -> None:
    content = "".join(f"{row['question']}\t{row['answer']}\n" for row in QUESTIONS).encode()
    assert rows_of(content, how_of(mapping="1=user,2=assistant")) == ASKED


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_a_table_may_end_as_on_any_machine(end: str) -> None:
    assert rows_of(CSV.replace("\n", end).encode()) == ASKED
    assert rows_of(CSV.removesuffix("\n").replace("\n", end).encode()) == ASKED
    quoted = CSV.replace("What is", '"What\nis').replace(",", '",').replace('question",', "question,")
    assert [row["messages"][0]["content"] for row in rows_of(quoted.replace("\n", end).encode())] == [
        row["question"].replace("What ", f"What{end}") for row in QUESTIONS
    ]


def test_a_quote_that_is_never_closed_ends_the_reading_with_the_row() -> None:
    content = CSV.encode() + b'"open,1\n' + b"x,y\n" * 5000
    found = codes(report_of(content, bounds=Bounds(record_bytes_max=4_000)))
    assert "table-error" in found
    assert report_of(content, bounds=Bounds(record_bytes_max=4_000), as_version=True).verdict == "rejected"


def test_messages_may_stand_in_a_cell_as_json() -> None:
    cell = json.dumps(talk("a", "b")["messages"]).replace('"', '""')
    assert rows_of(f'id,messages\n1,"{cell}"\n'.encode()) == [talk("a", "b")]


def test_a_table_of_answers_for_a_grader_keeps_them_beside_the_question() -> None:
    asked = {"messages": [{"role": "user", "content": "1+1"}], "answer": "2", "level": "easy"}
    assert rows_of(b"question,answer,level\n1+1,2,easy\n", method="reinforcement") == [asked]


# ── encodings ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content", ["質問,回答\n首都は?,東京です\n", "質問,回答,分類\n首都は?,東京です,地理\n" * 40]
)
def test_an_encoding_that_is_not_declared_is_suggested_and_not_taken(content: str) -> None:
    found = codes(report_of(content.encode("cp932")))
    assert "cp932" in found["invalid-utf-8"].remedy
    declared = report_of(content.encode("cp932"), how_of(encoding="Shift_JIS"))
    assert "other-encoding" in codes(declared)


@pytest.mark.parametrize("shift", range(3))
def test_what_is_looked_at_of_a_table_may_end_inside_a_character(shift: int) -> None:
    content = "question,answer\n" + "x" * shift + "日本の首都はどこですか。,東京です。\n" * 6_000
    assert len(content.encode()) > HEAD_BYTES
    assert codes(report_of(content.encode())).keys() & {"invalid-utf-8", "table-error"} == set()


def test_bytes_that_a_declared_encoding_does_not_have_are_refused() -> None:
    report = report_of(b"question,answer\n\x81\xff,b\n", how_of(encoding="cp932"))
    assert (report.verdict, [*codes(report)]) == ("rejected", ["undecodable"])


def test_a_byte_order_mark_says_more_than_the_caller() -> None:
    assert rows_of(CSV.encode("utf-8-sig"), how_of(encoding="cp932")) == ASKED


# ── what is packed ──────────────────────────────────────────────────────────


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def test_what_the_older_models_needed_to_see_an_end_is_left_out_and_told() -> None:
    given = [{"prompt": f"{n}+{n} ->", "completion": f" {2 * n} END\n"} for n in range(12)]
    assert rows_of(lines(*given)) == [talk(f"{n}+{n}", str(2 * n)) for n in range(12)]
    told = report_of(lines(*given)).format_reason
    assert told.endswith("; without '->' at the end of each prompt, 'END' at the end of each completion.")


def test_an_end_that_not_all_rows_have_belongs_to_them() -> None:
    given = [{"prompt": "a ->", "completion": "THE END"}, {"prompt": "b", "completion": "LEGEND"}]
    assert rows_of(lines(*given)) == [talk("a ->", "THE END"), talk("b", "LEGEND")]


def test_only_what_became_nothing_is_told_as_left_out() -> None:
    asked = [{"ID": n, "QUESTION": "1+1", "Response": "2", "system_prompt": "Count."} for n in range(12)]
    read = talk("1+1", "2", system="Count.")
    with opened(io.BytesIO(lines(*asked, talk("2+2", "4")))) as reading:
        assert orjson.loads(next(iter(reading.content)).splitlines()[0]) == read
        assert reading.told.left_out == ("ID",)


def test_no_number_loses_its_digits() -> None:
    given = b"".join(b'{"question":"%d","answer":123456789012345678901234}\n' % n for n in range(12))
    assert {row["messages"][-1]["content"] for row in rows_of(given)} == {"123456789012345678901234"}


def test_what_is_no_number_in_an_array_stays_for_the_check_to_find() -> None:
    row = b'{"messages":[{"role":"user","content":"1"},{"role":"assistant","content":"2","weight":NaN}]}'
    assert codes(report_of(b"[" + b",".join([row] * 12) + b"]"))["not-a-number"].count == 12


def test_a_row_of_a_table_that_holds_only_blanks_is_passed_over() -> None:
    assert rows_of(CSV.replace("\n", "\n  \n \t,\n").encode()) == ASKED


def test_the_one_file_of_a_zip_archive_is_read_and_what_macos_adds_is_not() -> None:
    assert rows_of(zipped({"a/train": lines(*QUESTIONS), "__MACOSX/train": b"x"})) == ASKED


REFUSED: Final = [
    ("two files", zipped({"a": b"x", "b": b"y"}), "holds 2 files (a, b, …)"),
    ("no file", zipped({}), "not opened: empty ZIP"),
    ("gzip in gzip", gzip.compress(gzip.compress(b"x")), "another packed file (gzip)"),
    ("zip in gzip", gzip.compress(zipped({"a": b"x"})), "another packed file (zip)"),
    ("damaged gzip", gzip.compress(CSV.encode())[:-9], "damaged"),
    ("damaged zip", zipped({"a": CSV.encode() * 50})[:-30], "damaged"),
    ("damaged zstd", zstandard.ZstdCompressor().compress(CSV.encode())[:-3] + b"zzz", "damaged"),
    ("bzip2", b"BZh91AY&SY", "not opened: bzip2"),
]


@pytest.mark.parametrize(("name", "content", "words"), REFUSED, ids=[name for name, _, _ in REFUSED])
def test_what_is_not_unpacked_is_refused_in_words(name: str, content: bytes, words: str) -> None:
    report = report_of(content)
    assert report.verdict == "rejected"
    assert words in codes(report)["archive-refused"].message


def test_a_bomb_is_left_after_what_is_allowed() -> None:
    bomb = gzip.compress(bytes(4_000_000))
    by_ratio = report_of(bomb, bounds=Bounds(unpack_ratio_free_bytes=1_000_000))
    assert "200 times its size" in codes(by_ratio)["archive-refused"].message
    by_size = report_of(bomb, bounds=Bounds(unpacked_bytes_max=1_500_000))
    assert "1,500,000 bytes" in codes(by_size)["archive-refused"].message


# ── workbooks and Parquet ───────────────────────────────────────────────────

SHEET: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006/relationships"


def cell(at: str, value: str | float) -> str:
    if isinstance(value, str):
        return f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>'
    return f'<c r="{at}"><v>{value}</v></c>'


def sheet(cells: dict[str, str | float]) -> str:
    by_row: dict[int, list[str]] = {}
    for at, value in cells.items():
        by_row.setdefault(int(at.lstrip("ABCDEFX")), []).append(cell(at, value))
    rows = "".join(f'<row r="{row}">{"".join(each)}</row>' for row, each in by_row.items())
    return f'<worksheet xmlns="{SHEET}"><sheetData>{rows}</sheetData></worksheet>'


def workbook(**sheets: dict[str, str | float]) -> bytes:
    target = io.BytesIO()
    names = list(sheets)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="xml" ContentType="application/xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}">'
            f'<Relationship Id="r1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        listed = "".join(f'<sheet name="{name}" sheetId="{at}" r:id="r{at}"/>' for at, name in enumerate(names, 1))
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        links = "".join(
            f'<Relationship Id="r{at}" Type="{OFFICE}/worksheet" Target="worksheets/s{at}.xml"/>'
            for at in range(1, len(names) + 1)
        )
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}">{links}</Relationships>')
        for at, name in enumerate(names, 1):
            archive.writestr(f"xl/worksheets/s{at}.xml", sheet(sheets[name]))
    return target.getvalue()


def test_a_sheet_is_read_with_numbers_as_they_are_shown_and_rows_by_their_place() -> None:
    content = workbook(
        notes={"A1": "nothing here"},
        data={"B2": "question", "C2": "answer", "B3": "1+1", "C3": 2.0, "B6": "x", "C6": 2.5},
    )
    how = how_of(sheet="data")
    assert rows_of(content, how) == [talk("1+1", "2"), talk("x", "2.5")]
    report = report_of(content, how)
    assert report.format == "xlsx"
    with opened(io.BytesIO(content), how) as reading:
        b"".join(reading.content)
        assert reading.origin.ranges(((1, 2),)) == ((3, 3), (6, 6))
        kept = reading.origin.to_json()
        assert [origin_of(kept, line) for line in (1, 2, 3)] == [3, 6, None]
    assert report.reading is not None
    assert (report.reading["sheet"], report.reading["origin"]) == ("data", kept)
    assert "it has notes, data" in codes(report_of(content, how_of(sheet="other")))["table-error"].message


def test_a_cover_in_front_of_the_data_is_told_with_the_option_that_names_another_sheet() -> None:
    content = workbook(
        cover={"A1": "FAQ of 2026", "B1": "by the support team"},
        data={"A1": "question", "B1": "answer", "A2": "x", "B2": "y"},
    )
    (found,) = report_of(content).findings
    assert found.code == "no-mapping"
    assert "--mapping" in found.remedy
    assert "--sheet data" in found.remedy


def test_of_a_file_with_very_many_gaps_the_first_lines_are_followed_back() -> None:
    origin = Origin("row")
    for line in range(1, 2 * GAPS_MAX):
        origin.note(line, 2 * line)
    kept = origin.to_json()
    assert [origin_of(kept, line) for line in (1, GAPS_MAX, GAPS_MAX + 1)] == [2, 2 * GAPS_MAX, None]


def test_two_cells_far_apart_are_not_laid_out() -> None:
    report = report_of(workbook(a={"A1": "question", "XFD1048576": "x"}))
    assert "spans more than 5,000,000 cells" in codes(report)["table-error"].message


def test_a_damaged_workbook_is_refused_in_words() -> None:
    content = workbook(a={"A1": "question", "B1": "answer", "A2": "x", "B2": "y"})
    for at in range(40, len(content), 97):
        report_of(content[:at] + b"\xff\xff\xff" + content[at + 3 :])  # none raises


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[[str], bytes]:
    import duckdb

    def write(select: str) -> bytes:
        path = tmp_path / "rows.parquet"
        duckdb.sql(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()

    return write


def test_lists_of_messages_in_a_parquet_file_are_examples(parquet: Callable[[str], bytes]) -> None:
    content = parquet(
        "SELECT [{'role': 'user', 'content': 'a', 'name': NULL}, {'role': 'assistant', 'content': 'b', 'name': NULL}]"
        " AS messages, 7 AS id, DATE '2026-01-02' AS day FROM range(12)"
    )
    assert rows_of(content) == [talk("a", "b")] * 12
    report = report_of(content)
    assert (report.format, report.verdict) == ("parquet", "fixable")
    assert report.reading is not None
    assert report.reading["left_out"] == ["id", "day"]


def test_columns_of_a_parquet_file_may_be_mapped(parquet: Callable[[str], bytes]) -> None:
    content = parquet("SELECT 'q' || i AS frage, i * 1.5 AS zahl FROM range(3) t(i)")
    assert rows_of(content, how_of(mapping="frage=user,zahl=assistant"))[1] == talk("q1", "1.5")


def test_a_damaged_parquet_file_is_refused_in_words(parquet: Callable[[str], bytes]) -> None:
    content = parquet("SELECT 1 AS a")
    assert "table-error" in codes(report_of(content[: len(content) // 2]))
    assert "table-error" in codes(report_of(b"PAR1" + bytes(100) + b"PAR1"))


# ── other kinds ─────────────────────────────────────────────────────────────

OTHER_KINDS: Final[list[tuple[str, Row]]] = [
    ("batch-output", {"id": "b", "custom_id": "1", "response": {"body": {}}}),
    ("evaluation-item", {"item": {"target": "89"}}),
    ("evaluation-result", {"item": {}, "sample": {}, "run_id": "r"}),
    ("agent-trace", {"trace_id": "t", "span_id": "s", "attributes": {}}),
    ("api-answer", {"object": "fine_tuning.job", "id": "ftjob-1"}),
    ("grader", {"type": "string_check", "name": "g", "input": "{{sample.output_text}}"}),
    ("evaluation", {"query": "q", "response": "r", "context": "c"}),
    (
        "prompt-flow",
        {"history": [{"role": "user", "content": "a"}, {"role": "agent", "content": "b"}], "question": "c"},
    ),
    ("batch-request", {"custom_id": "1", "method": "POST", "url": "/v1", "body": talk("a")}),
]


@pytest.mark.parametrize(("kind", "row"), OTHER_KINDS, ids=[kind for kind, _ in OTHER_KINDS])
def test_data_of_another_kind_is_named_and_refused(kind: str, row: Row) -> None:
    report = report_of(lines(*[row] * 12))
    assert (report.format, report.verdict) == (kind, "rejected")
    assert "wrong-kind" in codes(report)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        ("evaluation", talk("q", "r")),
        ("prompt-flow", talk("a", "b")),
        ("batch-request", {"messages": [{"role": "user", "content": "a"}]}),
    ],
)
def test_some_other_kinds_are_converted_on_request(kind: str, made: Row) -> None:
    assert rows_of(lines(dict(OTHER_KINDS)[kind]), how_of(format=kind)) == [made]


def test_a_results_file_is_refused_as_such_also_when_a_mapping_is_given() -> None:
    content = b"step,train_loss\n1,0.5\n"
    assert report_of(content).format == "results-csv"
    assert report_of(content, how_of(mapping="step=user,train_loss=assistant")).format == "results-csv"


# ── real files ──────────────────────────────────────────────────────────────

REAL: Final = [
    ("1-chat/fc.dummy_conversation.sharegpt.json", "sharegpt", "fixable", 500),
    ("1-chat/lf.alpaca_en_demo.json", "alpaca", "fixable", 999),
    ("1-chat/lf.dpo_en_demo.json", "preference", "fixable", 300),
    ("1-chat/lf.glaive_toolcall_en_demo.json", "sharegpt", "fixable", 300),
    ("1-chat/lf.identity.template-vars.json", "alpaca", "fixable", 91),
    ("1-chat/lf.mllm_demo.json", "chat", "rejected", 6),
    ("1-chat/mslearn.travel_evaluation_data.csv", "csv", "rejected", 5),
    ("1-chat/utf16.blns.2015a.txt", "unknown", "rejected", 0),
    ("2-results/legacy.titans.compiled_results.csv", "results-csv", "rejected", 0),
    ("2-results/legacy.titans.result0811.csv", "results-csv", "rejected", 0),
    ("2-results/new.cookbook-drone.result.csv", "results-csv", "rejected", 0),
    ("2-results/new.nlbse.step_metrics.csv", "results-csv", "rejected", 0),
    ("2-results/notours.cnn_training_history.csv", "csv", "rejected", 0),
    ("3-api/java.FineTuningJob.json", "api-answer", "rejected", 1),
    ("3-api/openapi.get.fine_tuning_jobs_fine_tuning_job_id_checkpoints.json", "api-answer", "rejected", 1),
    ("4-webhooks/github.push.payload.json", "unknown", "rejected", 1),
    ("5-json/blns.json", "unknown", "rejected", 0),
    ("6-evals/azeval.evaluate_test_data.jsonl", "evaluation", "rejected", 3),
    ("6-evals/msft.countdown.grader_config_aoai.json", "grader", "rejected", 1),
    ("6-evals/msft.countdown_eval_100.jsonl", "evaluation-item", "rejected", 100),
    ("6-evals/msft.zava.eval_run_output_train.jsonl", "evaluation-result", "rejected", 50),
    ("6-evals/msft.zava.rft_grader-config.json", "grader", "rejected", 1),
    ("6-evals/mslearn.travel_evaluation_data.jsonl", "question-answer", "rejected", 5),
    ("6-evals/openapi.GraderStringCheck.json", "grader", "rejected", 1),
]
"""File, what it is, the verdict on it as it is, its rows."""


@pytest.mark.parametrize(("name", "kind", "verdict", "rows"), REAL, ids=[row[0] for row in REAL])
def test_a_real_file_is_read_or_refused_as_what_it_is(name: str, kind: str, verdict: str, rows: int) -> None:
    with shared(name).open("rb") as source:
        report = check_any(source, Profile("estimate", method=None), as_version=False)
    assert (report.format, report.verdict, report.examples) == (kind, verdict, rows)
    if verdict == "fixable":
        with shared(name).open("rb") as source:
            version = check_any(source, Profile("estimate", method=None), as_version=True)
        assert version.verdict == "ready"


def test_every_call_of_the_glaive_set_is_answered_once_it_is_converted() -> None:
    with shared("1-chat/lf.glaive_toolcall_en_demo.json").open("rb") as source, opened(source) as reading:
        made = [orjson.loads(line) for line in b"".join(reading.content).splitlines()]
    messages = [message for row in made for message in row["messages"]]
    assert sum("tool_calls" in message for message in messages) == 211
    assert sum(message["role"] == "tool" for message in messages) == 211
    assert sum("tools" in row for row in made) == 300 - 109
