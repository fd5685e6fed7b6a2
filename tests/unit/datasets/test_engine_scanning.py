"""One pass over many texts finds what a test of each text finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.datasets.engine import content
from app.datasets.engine.private import GATES
from app.datasets.engine.scanning import HAS_HYPERSCAN, HITS_MAX, SCANNED_BYTES_MIN, Scan, gate

FILLER = "All of it is plain talk, and nothing is in it. " * (SCANNED_BYTES_MIN // 40)
PARTS = [
    *("ada@example.com", "@", "03-1234-5678", "090 1234 5678", "4111 1111 1111 1111", "203.0.113.9:80", "１２３"),
    *("2001:db8::1", "AKIA" + "Q7" * 8, "ghp_" + "aB3" * 12, "sk-proj-" + "x1Y" * 9, "sig=" + "aB%2" * 11),
    *(
        "api_key\u3000=\u3000'" + "0a1b" * 8 + "'",
        "api_key: " + "0a1b" * 8,
        "https://ada:secret@host/",
        "pwd=hunter22;",
    ),
    *(
        "Ã¤Ã¶",
        "縺ゅ＞縺",
        "‚ ƒ",
        "\x93quoted\x94",
        "\ufffd",
        "{name}",
        "[INSERT NAME]",
        "<YOUR NAME>",
        "kill myself",
    ),
    *(
        "Heil Hitler",
        "a bomb",
        "```",
        "As an AI",
        "I can't help",
        "できません",
        "because",
        "、",
        ".",
        " ",
        "a",
        "東京",
        "\u2003",
    ),
]
TEXTS = st.lists(st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join), min_size=1, max_size=6)


def _joined(texts: list[str]) -> tuple[bytes, np.ndarray[tuple[int], np.dtype[np.intp]]]:
    utf8 = [text.encode() for text in texts]
    return b"\x1e".join(utf8), np.cumsum([len(text) + 1 for text in utf8], dtype=np.intp) - 1


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_a_scan_of_all_texts_finds_what_a_test_of_each_finds(texts: list[str]) -> None:
    answers = range(0, len(texts), 2)
    one_by_one = content.odd_messages(*_joined(texts), texts, answers)
    together = content.odd_messages(*_joined([*texts, FILLER]), [*texts, FILLER], answers)
    assert together == one_by_one


@pytest.mark.skipif(not HAS_HYPERSCAN, reason="every text is tested by itself here")
@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_no_gate_is_passed_by_a_text_that_the_scan_leaves_out(texts: list[str]) -> None:
    found = _SCAN(*_joined([*texts, FILLER]))
    assert found is not None
    for one, places in zip(GATES, found, strict=True):
        assert {at for at, text in enumerate(texts) if one.may_hold(text)} <= set(places), one.pattern


_SCAN = Scan([one.pattern for one in GATES])


def test_what_is_everywhere_is_not_told_place_by_place() -> None:
    scan = Scan([gate("`").pattern])
    assert scan(*_joined(["`" * (HITS_MAX + SCANNED_BYTES_MIN)])) is None


def test_a_few_texts_are_not_scanned() -> None:
    assert Scan(["a"])(*_joined(["a", "b"])) is None
