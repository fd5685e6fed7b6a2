"""Other processes take a share of a file; what is found does not depend on who looks."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.datasets.engine import Profile, check, processes_for
from app.datasets.engine.chat import ChatRules
from app.datasets.engine.lines import Lines, line_batches
from app.datasets.engine.processes import WORTH_BYTES, Asked, Helper, helping, in_order
from app.datasets.engine.tallies import Tally, Tallying

MIB = 1024 * 1024
ODD = ("Ask ada@example.com or ring 03-1234-5678.", "Dear {{name}},", "a\u200bb", "Ã¤", "```", "東京は？", " ok ")


def _row(number: int) -> dict[str, Any]:
    question = {"role": "user", "content": f"How many moons has planet {number}? " * (number % 40 + 1)}
    answer: dict[str, Any] = {
        "role": "assistant",
        "content": f"{number}. " + ODD[number % len(ODD)] * (number % 9 == 0),
    }
    prompt = [{"role": "system", "content": f"Answer briefly. {number % 3}"}] * (number % 4 > 0)
    if number % 50 == 0:
        answer["weight"] = 1
    return {"messages": [*prompt, question, answer]}


def _content(rows: int) -> bytes:
    lines = [json.dumps(_row(number), ensure_ascii=False).encode() for number in range(rows)]
    lines[rows // 2 : rows // 2] = [b"", b"{", lines[7], b'{"messages": []}', b"[1]"]
    return b"\n".join(lines)


def _batches(content: bytes) -> Iterator[Lines]:
    return line_batches([content[at : at + MIB] for at in range(0, len(content), MIB)], 8 * MIB)


def _tallying() -> Tallying:
    return Tallying("estimate", ChatRules.is_sound)


def _told(tally: Tally | None) -> Any:
    """As values that can be compared."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value.tolist() if isinstance(value, np.ndarray) else value

    return None if tally is None else plain(asdict(tally))


@pytest.fixture(scope="module")
def helper() -> Iterator[Helper]:
    with helping(_tallying(), 1) as (one,):
        one.receive()  # that it has begun
        yield one


def test_a_helper_tells_what_this_process_would(helper: Helper) -> None:
    content, tallying = _content(4_000), _tallying()
    taken = []

    def ask() -> Asked:
        taken.append(helper.has_room)
        return Asked(0, with_answers=True)

    told = list(in_order(_batches(content), tallying, [helper], ask))
    assert b"".join(lines.raw for lines, _ in told) == content
    assert [_told(tally) for _, tally in told] == [_told(_tallying().tally(lines)) for lines in _batches(content)]
    assert any(taken)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.binary(max_size=60)
        | st.text(max_size=20).map(
            lambda text: json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
        )
        | st.tuples(st.text(max_size=30), st.sampled_from(ODD)).map(
            lambda said: json.dumps(
                {"messages": [{"role": "user", "content": said[0]}, {"role": "assistant", "content": said[1]}]}
            ).encode()
        ),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_the_lines_are_a_helper_tells_the_same(helper: Helper, lines: list[bytes]) -> None:
    content = b"\n".join(lines)
    told = list(in_order(_batches(content), _tallying(), [helper], lambda: Asked(0, with_answers=True)))
    assert [_told(tally) for _, tally in told] == [_told(_tallying().tally(batch)) for batch in _batches(content)]


def test_what_a_helper_had_taken_when_it_died_is_told_here() -> None:
    content, tallying = _content(4_000), _tallying()
    with helping(tallying, 1) as (one,):
        one.receive()
        taken = iter([None, *[one.pid] * 99])

        def ask() -> Asked:
            if (pid := next(taken)) is not None and one.is_there:
                os.kill(pid, signal.SIGKILL)
            return Asked(0, with_answers=True)

        told = list(in_order(_batches(content), tallying, [one], ask))
    assert [_told(tally) for _, tally in told] == [_told(_tallying().tally(lines)) for lines in _batches(content)]


def test_a_file_is_judged_alike_by_one_process_and_by_two() -> None:
    content = _content(5_000)
    one, two = (check([content], Profile("estimate"), processes=processes) for processes in (1, 2))
    assert one == two
    assert {"json-error", "blank-line", "pii-email", "no-messages"} <= {finding.code for finding in one.findings}


def test_small_files_are_not_worth_a_second_process() -> None:
    assert processes_for(WORTH_BYTES - 1) == 1
    assert 1 <= processes_for(10 * WORTH_BYTES) <= 4
