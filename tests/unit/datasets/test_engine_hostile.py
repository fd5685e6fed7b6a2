"""Content made to hurt: gigantic lines, deep nesting, floods of defects; the check answers and stays small."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.datasets.engine import Limits, Profile, check
from tests.shared_data import shared

PROFILE = Profile("estimate")
MEGABYTE = 1024 * 1024


def resident_bytes() -> int:
    status = Path("/proc/self/statm")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    return int(status.read_text().split()[1]) * 4096


def test_a_line_of_a_quarter_gigabyte_is_never_held_in_memory() -> None:
    before = resident_bytes()
    peak = before

    def quarter_gigabyte() -> Iterator[bytes]:
        nonlocal peak
        yield b'{"messages": "'
        piece = b"x" * MEGABYTE
        for _ in range(256):
            peak = max(peak, resident_bytes())
            yield piece
        yield b'"}\n'

    report = check(quarter_gigabyte(), Profile("estimate", Limits(file_bytes_max=2**31)))
    assert [(finding.code, finding.lines) for finding in report.findings] == [("line-too-long", ((1, 1),))]
    assert peak - before < 100 * MEGABYTE


IMPATIENT = Profile("estimate", Limits(errors_max=20_000))


def test_a_flood_of_line_feeds_is_given_up() -> None:
    report = check((b"\n" * MEGABYTE for _ in range(100)), IMPATIENT)
    assert report.bytes == 100 * MEGABYTE
    found = {finding.code: finding for finding in report.findings}
    assert found.keys() == {"blank-line", "too-many-defects"}
    assert found["blank-line"].lines == ((1, 20_002),)


@pytest.mark.parametrize("line", [b"{}\n", b"x\n", b"{\n", b'"\n'])
def test_a_flood_of_short_bad_lines_is_given_up_within_seconds(line: bytes) -> None:
    before, start = resident_bytes(), time.process_time()
    report = check((line * 100_000 for _ in range(100)), IMPATIENT)
    assert "too-many-defects" in {finding.code for finding in report.findings}
    assert report.bytes == 10_000_000 * len(line)
    assert time.process_time() - start < 10
    assert resident_bytes() - before < 100 * MEGABYTE


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 2000 + b"]" * 2000,
        b"[" * 2_000_000,
        b'{"a":' * 2000 + b"1" + b"}" * 2000,
        b'{"a":' * 500_000,
        b'[{"a":' * 30_000,
        b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"a": "' + b"\\" * 4_000_001 + b'"}',
        b'{"a": ' + b'"' * 3_000_000 + b"}",
        b'{"a": ' + b"9" * 5_000_000 + b"}",
        b'{"messages": [' + b"{}," * 250_000 + b"{}]}",
        b'{"messages": [' + b'{"role":"tool"},' * 100_000 + b"{}]}",
        b"{" + b",".join(b'"%d":%d' % (n, n) for n in range(150_000)) + b"}",
        b"{}" * 500_000,
        b"\xff" * 5_000_000,
        b"{" + b"\x00" * 5_000_000,
        b"\r" * 5_000_000,
        b'{"a":"' + b"\xed\xa0\x80" * 1000 + b'"}',
    ],
    ids=range(17),
)
def test_a_hostile_line_is_refused_within_seconds(line: bytes) -> None:
    start = time.process_time()
    report = check([line + b"\n"], PROFILE)
    assert report.verdict != "ready"
    assert len(json.dumps(report.to_json())) < 64 * 1024
    assert time.process_time() - start < 10


def test_a_flood_of_torn_objects_takes_time_in_proportion() -> None:
    start = time.process_time()
    report = check([b'{"a": [\n"b", {\n' * 30_000], PROFILE)
    assert report.verdict != "ready"
    assert time.process_time() - start < 15


def test_naughty_strings_as_texts_are_counted_and_stored() -> None:
    strings = json.loads(shared("5-json/blns.json").read_text(encoding="utf-8"))
    rows = [
        {"messages": [{"role": "user", "content": text or "-"}, {"role": "assistant", "content": f"{n}"}]}
        for n, text in enumerate(strings)
    ]
    content = "\n".join(json.dumps(row, ensure_ascii=n % 2 == 0) for n, row in enumerate(rows)).encode()
    report = check([content], Profile("o200k_base"))
    assert report.verdict == "ready"
    assert report.examples == len(strings)
    assert len(json.dumps(report.to_json())) < 64 * 1024
