"""What spoils a training though Azure takes it: in a text, and between rows."""

import json
from typing import Any

import pytest

from app.datasets.engine import CODES, Finding, Profile, Severity, check
from app.datasets.engine.content import mended
from tests.shared_data import shared

SENTENCE = "The museum is open from nine to five, and children are let in without a ticket. "


def row(answer: str, question: str = "When is it open?", system: str | None = "You are brief.") -> dict[str, Any]:
    messages = [] if system is None else [{"role": "system", "content": system}]
    return {
        "messages": [*messages, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    }


def findings(rows: list[dict[str, Any]]) -> dict[str, Finding]:
    content = "\n".join(json.dumps(each, ensure_ascii=False) for each in rows).encode()
    report = check([content], Profile("estimate"))
    thorough = check([content], Profile("estimate"), at_a_glance=False)
    assert report.findings == thorough.findings
    return {finding.code: finding for finding in report.findings}


def varied(count: int) -> list[dict[str, Any]]:
    """Rows in which nothing is found; all differ much."""
    words = [
        "tide",
        "lamp",
        "horse",
        "cedar",
        "quartz",
        "violin",
        "harbour",
        "meadow",
        "copper",
        "saffron",
        "glacier",
        "orchard",
    ]
    return [
        row(f"{words[n % 12]} {words[n * 7 % 11]} {n * n}.", f"What of {words[n * 5 % 12]} and {n}?")
        for n in range(count)
    ]


ODD = [
    (row("It costs 5 â‚¬, it’s cheap."), "mojibake"),
    (row("Der BÃ¤r ist mÃ¼de."), "mojibake"),
    (row("å\u008d\u009aç\u0089©é¤¨"), "mojibake"),
    (row("縺薙ｓ縺ｫ縺｡縺ｯ"), "mojibake"),
    (row("‚±‚ñ‚É‚¿‚Í"), "mojibake"),
    (row("､ｳ､ﾋ､ﾁ､ﾏ"), "mojibake"),
    (row("It\u0092s closed"), "mojibake"),
    (row("caf\ufffd"), "replacement-char"),
    (row("Hello {first_name}, welcome."), "template-placeholder"),
    (row("Send it to [INSERT ADDRESS] today."), "template-placeholder"),
    (row("TODO"), "template-placeholder"),
    (row("As an AI language model, I do not have opinions."), "refusal-answer"),
    (row("I'm sorry, but I can't assist with that request."), "refusal-answer"),
    (row("申し訳ありませんが、その質問にはお答えできません。"), "refusal-answer"),
    (row(SENTENCE + "Visitors are reminded of the"), "truncated-answer"),
    (row("Run this:\n```python\nprint(1)\n"), "truncated-answer"),
    (row("博物館は九時に開き、子どもは券がなくても入れます。" * 4 + "なお、館内では飲み物を"), "truncated-answer"),
    (row("Then I wanted to kill myself."), "content-safety"),
    (row("Ask taro@example.com."), "pii-email"),
    (row("AKIAIOSFODNN7EXAMPLE"), "secret"),
]

SOUND = [
    row("C’est l’été à Paris : « déjà vu », naïve, Å² and 5 °C, »MENÜ«."),
    row("縺れた糸を解く。"),
    row('Use f"{name}" in Python, or "{name}".format(name=1).'),
    row(r"In LaTeX, \frac{text}{text} is a fraction."),
    row("Dear Ann,\n\n" + SENTENCE + "\n\nBest regards,\n"),
    row("```\nprint(1)\n```"),
    row("I am sorry that it rained."),
    row("He could not help it: I cannot say more."),
    row("The bomb disposal unit of the museum."),
    row("Write to the desk @ 5, or see v1.2.3.4."),
]


@pytest.mark.parametrize(("odd", "code"), ODD, ids=[f"{code}-{n}" for n, (_, code) in enumerate(ODD)])
def test_an_odd_text_is_found_among_sound_ones(odd: dict[str, Any], code: str) -> None:
    found = findings([*varied(12), odd])
    assert found[code].lines == ((13, 13),)
    assert found[code].severity is not Severity.ERROR


@pytest.mark.parametrize("sound", SOUND, ids=range(len(SOUND)))
def test_a_sound_text_that_looks_odd_is_left_alone(sound: dict[str, Any]) -> None:
    assert not {code for _, code in ODD} & findings([*varied(12), sound]).keys()


def test_a_refusal_of_the_user_is_no_refusal_of_the_model() -> None:
    assert "refusal-answer" not in findings([*varied(12), row("Yes.", "I'm sorry, but I can't assist with that.")])


def test_examples_of_values_in_tools_are_nobodys_data() -> None:
    tool = {"type": "function", "function": {"name": "mail", "description": "such as ann@example.com"}}
    assert "pii-email" not in findings([*varied(12), row("Yes.") | {"tools": [tool]}])


@pytest.mark.parametrize("times", [1, 2])
def test_garbled_text_is_mended_to_the_last_character(times: int) -> None:
    text = garbled = "Bär – 博物館は「休み」"
    for _ in range(times):
        garbled = "".join(chr(byte) for byte in garbled.encode())
    assert garbled != text
    assert mended(garbled) == text
    assert mended(text) == text


def test_a_label_in_another_spelling_and_a_label_with_few_rows_are_named() -> None:
    labels = ["bug"] * 30 + ["feature"] * 25 + ["Bug "] + ["question"] * 3
    found = findings([row(label, f"Issue {n}: the {n * n} crashes") for n, label in enumerate(labels)])
    assert found["label-spelling"].lines == ((56, 56),)
    assert found["tiny-class"].lines == ((57, 59),)
    assert "label-imbalance" not in found


def test_a_label_that_outnumbers_the_rest_is_told_with_its_share() -> None:
    found = findings([row("ham" if n % 10 else "spam", f"Mail {n} of {n * n}") for n in range(200)])
    assert found["label-imbalance"].message == "90% of 200 answers are 'ham', one of 2 labels."


def test_the_same_long_answer_in_most_rows_is_told() -> None:
    rows = varied(20) + [row(SENTENCE * 2, f"Question {n} on {n * n}?") for n in range(30)]
    assert "30 of 50" in findings(rows)["same-answer"].message


def test_rows_whose_system_prompt_differs_by_accident_are_named() -> None:
    rows = varied(60)
    rows[3] = row("Tide.", "What is it?", system=None)
    rows[9] = row("Lamp.", "What is that?", system="you are brief")
    rows[20] = row("Cedar.", "What grows?", system="You are a pirate.")
    assert findings(rows)["inconsistent-system-prompt"].lines == ((4, 4), (10, 10), (21, 21))


def test_prompts_that_differ_by_design_are_left_alone() -> None:
    rows = [row(f"{n} is fine.", f"Q{n} or {n * n}?", system=f"You are persona {n}.") for n in range(60)]
    assert "inconsistent-system-prompt" not in findings(rows)


def test_answers_that_a_column_cut_are_found_by_their_common_length() -> None:
    rows = varied(30)
    for n in range(0, 30, 3):
        rows[n] = row((f"{n} " + SENTENCE.replace(",", "").replace(".", "") * 9)[:255], f"Long {n}?")
    assert findings(rows)["answers-cut-off"].count == 10


def test_no_advice_rejects_a_file() -> None:
    advice = {code for _, code in ODD} | {"label-imbalance", "tiny-class", "label-spelling", "same-answer"}
    assert not [code for code in advice if CODES[code].severity is Severity.ERROR]


REAL = [
    ("msft.zava.rft_train.jsonl", "pii-email", ((5, 7), (9, 10))),
    ("azeval.synthetic_conversations.tool-parts.jsonl", "pii-phone", ((10, 10),)),
    ("azeval.synthetic_conversations.tool-parts.jsonl", "pii-email", ((5, 5), (7, 7), (10, 10))),
]
"""Lines 5 and 7 of the second hold their addresses in calls of tools, where nobody had looked by hand."""


@pytest.mark.parametrize(("name", "code", "lines"), REAL)
def test_private_data_of_real_files_is_found_where_it_was_found_by_hand(
    name: str, code: str, lines: tuple[tuple[int, int], ...]
) -> None:
    with shared(f"1-chat/{name}").open("rb") as source:
        report = check(source, Profile("estimate", method=None))
    assert {finding.code: finding.lines for finding in report.findings}[code] == lines


@pytest.mark.parametrize("name", ["nlbse.bitcoin.jsonl", "nlbse.opencv.jsonl", "nlbse.tensorflow.jsonl"])
def test_hashes_and_counters_of_bug_reports_are_no_telephone_and_card_numbers(name: str) -> None:
    with shared(f"1-chat/{name}").open("rb") as source:
        report = check(source, Profile("estimate"))
    assert not [finding.code for finding in report.findings if finding.code.startswith(("pii-", "secret"))]
