"""Near duplicates and leaks in almost the same words: planted ones are found, boilerplate is not taken for one."""

import io
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.engine import Profile, Sketched, check, near_leakage
from app.datasets.engine.near import (
    groups,
    near_duplicates,
    normalised,
    pieces,
    quickly_normalised,
    similarity,
    slowly_normalised,
    text_of,
)
from app.datasets.engine.sketches import Sketches

WORDS = (  # noqa: SIM905  read as a text
    "account answer battery bridge canvas carbon copper delivery engine fabric garden harbour insurance invoice "
    "journey kettle ladder machine mirror network orange package pencil quarter railway refund schedule server "
    "shipment signal station supplier tablet ticket tunnel umbrella vehicle warranty window yellow zipper"
).split()
JAPANESE = (  # noqa: SIM905  read as a text
    "申請書 会議室 出張費 有給休暇 健康診断 社員証 交通費 領収書 在宅勤務 端末 研修 上司 退職届 食堂 給与 総務部 予約 承認 "
    "毎年秋に 翌月までに 半日単位で すぐに 一か月前から 午前中に 必ず できれば 提出します 担当します 振り込みます 取得します "
    "行います 連絡します 精算します 認めます 配ります 申し込みます 開きます 確認します 保管します 交換します"
).split()

Edit = Callable[[str], str]
EDITS: dict[str, Edit] = {
    "another case": str.upper,
    "a word more": lambda text: text + " indeed",
    "a character less": lambda text: text[: len(text) // 2] + text[len(text) // 2 + 1 :],
    "other spaces": lambda text: text.replace(" ", "  \n", 3),
    "a slip of the finger": lambda text: text[:40] + "x" + text[41:],
    "a wide space": lambda text: text[:20] + "\u3000" + text[20:],
    "full width": lambda text: "！？" + text,
}


def row(asked: str, answer: str, prompt: str = "") -> bytes:
    system = [{"role": "system", "content": prompt}] if prompt else []
    messages = [*system, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return orjson.dumps({"messages": messages})


def english(seed: int, words: int = 60) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def japanese(seed: int) -> str:
    return "".join(random.Random(seed).choices(JAPANESE, k=40))


def found_in(lines: list[bytes]) -> dict[str, tuple[tuple[int, int], ...]]:
    report = check(io.BytesIO(b"\n".join(lines)), Profile("estimate"))
    return {finding.code: finding.lines for finding in report.findings}


@pytest.mark.parametrize(
    ("said", "edit"),
    [
        pytest.param(said, edit, id=f"{said.__name__}, {name}")
        for said in (english, japanese)
        for name, edit in EDITS.items()
        if edit(said(8)) != said(8)  # Japanese has no case, nor spaces
    ],
)
def test_a_planted_near_duplicate_is_told(said: Callable[[int], str], edit: Edit) -> None:
    lines = [row(said(2 * at), said(2 * at + 1)) for at in range(30)]
    planted = row(edit(said(8)), said(9))
    assert found_in([*lines, planted])["near-duplicate"] == ((31, 31),)


def test_unrelated_rows_are_not_alike() -> None:
    assert "near-duplicate" not in found_in([row(english(at, 20), english(at + 500)) for at in range(200)])


def test_a_long_system_prompt_that_all_share_makes_none_alike() -> None:
    prompt = english(1, 800)
    assert "near-duplicate" not in found_in([row(english(at, 8), english(at + 500, 8), prompt) for at in range(60)])


def test_a_template_that_all_questions_share_makes_none_alike() -> None:
    template = "Sort the ticket into one of: billing, delivery, returns, technical, other. " + english(1, 60)
    rows = [row(f"{template} Ticket: {english(at, 12)}", "billing") for at in range(40)]
    assert "near-duplicate" not in found_in(rows)


def test_an_exact_duplicate_is_not_told_as_a_near_one_too() -> None:
    lines = [row(english(at), english(at + 100)) for at in range(12)]
    told = found_in([*lines, lines[3]])
    assert told["exact-duplicate"] == ((13, 13),)
    assert "near-duplicate" not in told


def test_of_a_cluster_all_lines_but_the_first_are_told() -> None:
    lines = [row(english(at), english(at + 100)) for at in range(20)]
    alike = [row(english(5) + f" {number}", english(105)) for number in range(4)]
    assert found_in([*lines, *alike])["near-duplicate"] == ((21, 24),)


def test_a_source_that_can_be_read_once_only_is_compared_all_the_same() -> None:
    content = b"\n".join(
        [*(row(english(at), english(at + 100)) for at in range(12)), row(english(4) + "!", english(104))]
    )
    once = (content[at : at + 1000] for at in range(0, len(content), 1000))
    report = check(once, Profile("estimate"))
    assert [finding.lines for finding in report.findings if finding.code == "near-duplicate"] == [((13, 13),)]


def sketched(lines: list[bytes]) -> Sketched:
    kept = io.BytesIO()
    check(io.BytesIO(b"\n".join(lines)), Profile("estimate"), sketches=kept)
    return Sketched(kept, lambda: lines, len(lines))


def test_a_leak_in_almost_the_same_words_is_told_by_its_line_in_the_validation_file() -> None:
    training = [row(english(at), english(at + 100), "Be kind.") for at in range(40)]
    validation = [row(english(at), english(at + 100)) for at in range(60, 80)]
    validation[7] = row(english(12).upper(), english(112), "Be brief.")
    found = near_leakage(sketched(training), sketched(validation))
    assert found is not None
    assert (found.code, found.lines, found.examples) == (
        "near-leakage",
        ((8, 8),),
        ("line 8: 100% as line 13 of the training file",),
    )
    assert near_leakage(sketched(training), sketched(validation[:7])) is None


def test_similarity_is_the_share_of_pieces_that_both_have() -> None:
    one, other = pieces("abcdefgh"), pieces("abcdefgx")  # abcd bcde cdef defg, then efgh or efgx
    assert similarity(one, other) == pytest.approx(4 / 6)
    assert similarity(one, one) == 1
    assert similarity(pieces("abcd"), pieces("wxyz")) == 0


def test_normalised_texts_forget_case_width_and_white_space() -> None:
    assert normalised("ＡＢＣ １２３\tｶﾞ") == normalised("abc123ガ")
    assert normalised("price 12") != normalised("price 13")


def test_every_text_of_an_example_counts_but_the_system_prompt_and_tools() -> None:
    call: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "See this"}]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
    ]
    assert text_of({"messages": messages, "tools": [{"type": "function"}]}) == 'See this\nlook\n{"at": 1}\ndone'


def test_rows_of_one_conversation_are_one_group() -> None:
    turns = [
        {"role": role, "content": english(at)} for at, role in enumerate(["user", "assistant", "user", "assistant"])
    ]
    other = [{"role": "user", "content": english(50)}, {"role": "assistant", "content": english(51)}]
    lines = [orjson.dumps({"messages": messages}) for messages in (other, turns, turns[:2])]
    assert groups(lambda: lines).tolist() == [0, 1, 1]


def test_rows_with_the_same_id_of_a_conversation_are_one_group() -> None:
    noted = [orjson.loads(row(english(at), english(at + 9))) | {"conversation_id": at % 2} for at in range(4)]
    lines = [orjson.dumps(one) for one in noted]
    assert groups(lambda: lines).tolist() == [0, 1, 0, 1]


def test_rows_with_the_same_prompt_are_one_group() -> None:
    lines = [row("How are you?", english(1)), row("Who are you?", english(2)), row("how are  you?", english(3))]
    assert groups(lambda: lines).tolist() == [0, 1, 0]


def test_lines_that_say_nothing_are_alone() -> None:
    assert groups(lambda: [b"", b"", b"[1]", b"{", b"{}", b"{}"]).tolist() == [0, 1, 2, 3, 4, 5]


def test_many_pieces_are_sorted_a_part_at_a_time_to_the_same_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [row(english(at % 150), english(at % 150 + 500) + f" {at}") for at in range(200)]

    def found() -> set[int]:
        sketches = Sketches()
        sketches.add(range(1, 201), [text_of(orjson.loads(line)).encode() for line in lines])
        return set(near_duplicates(sketches, lambda: lines, lines=200).mates)

    at_once = found()
    monkeypatch.setattr("app.datasets.engine.sketches.SORTED_AT_ONCE", 100)
    assert found() == at_once == set(range(151, 201))


SCRIPTS = st.sampled_from(
    [*map(chr, range(0x250)), *map(chr, range(0x300, 0x370)), *map(chr, range(0x1100, 0x1200))]
)
KANA_AND_WIDE = st.sampled_from(
    [*map(chr, range(0x3000, 0x3100)), *map(chr, range(0xFF00, 0xFFF0)), "…", "㈱", "ß"]
)


@given(st.text(SCRIPTS | KANA_AND_WIDE | st.characters(), max_size=30))
def test_a_text_is_normalised_by_the_table_as_by_its_characters(text: str) -> None:
    assert quickly_normalised(text) in {None, slowly_normalised(text)}


def test_what_people_write_is_normalised_by_the_table() -> None:
    text = "Ｋｉｔａｅは、鍛え…「がぎぐ」です！ Straße №５ 🎉\u00a0"
    assert quickly_normalised(text) == slowly_normalised(text) == "kitaeは、鍛え...「がぎぐ」です!strasseno5🎉"
