"""Coverage: which ways of asking are there, and which are missing, told from the texts alone."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.generation.craft.coverage import cover
from app.generation.craft.facts import Name
from app.generation.craft.scripts import language_of
from app.generation.craft.ways import WAYS, is_slip, ways_of
from app.generation.material import question_and_answer

FULL_NAMES_ONLY = [
    "香坂 義孝の性格について説明してください。",
    "香坂 義孝の性格について教えてください。",
    "香坂 義孝について教えてください。",
    "香坂 義孝の性格の特徴は？",
    "香坂 義孝って どんな性格なの？",
    "香坂 義孝の性格を教えてくれる？",
    "香坂 義孝の性格はどうなっていますか？",
    "香坂 義孝の性格について知りたい。",
]
"""As in the article whose model did not answer when it was asked by the family name alone."""
ANSWERS = [
    "香坂 義孝は、非常に強い正義感を持ち、人々の気持ちに寄り添うことができる人物です。素直で明るい性格です。",
    "香坂 義孝は正義感が非常に強く、他人の感情に寄り添うことができる性格です。素直で明るい性格です。",
    "香坂 義孝は、強い正義感を持ち、人の気持ちに寄り添える優しい性格です。彼は素直で明るい性格です。",
]
KOSAKA = Name("香坂 義孝", ("こうさか よしたか",))


def report(questions: list[str], answers: list[str], **options: Any) -> dict[str, Any]:
    """Each row words the answer a little differently, as a generator that was left alone does."""
    rows = [
        (at, question, f"{answers[at % len(answers)]} {'とても' * at}") for at, question in enumerate(questions, 1)
    ]
    return cover(rows, rows_max=1000, **options).to_json()


def test_a_set_that_only_has_full_names_is_told_that_short_names_are_missing() -> None:
    found = report(FULL_NAMES_ONLY, ANSWERS)
    (fact,) = found["facts"]
    assert fact["fact"] == "香坂 義孝"
    assert fact["questions"] == fact["ways"]["full-name"] == len(FULL_NAMES_ONLY)
    assert {"formal", "casual"} <= set(fact["ways"])
    assert {"short-name", "name-in-kana", "name-only", "reordered", "mixed-scripts", "typos"} <= set(
        fact["missing"]
    )
    assert fact["lines"] == [(1, 8)]
    assert any("short-name" in sentence and "香坂 義孝" in sentence for sentence in found["advice"])


def test_what_was_missing_is_there_once_somebody_asks_like_that() -> None:
    more = [
        "香坂さんの性格は？",
        "こうさか よしたかってどんな人？",
        "香坂 義孝",
        "どんな性格なのでしょうか、香坂 義孝は。",
        "香坂 義孝のパーソナリティをexplainして",
        "香坂 義孝 性格",
        "香坂 義孝の性性格について説明してください。",
    ]
    (fact,) = report([*FULL_NAMES_ONLY, *more], ANSWERS, declared=[KOSAKA])["facts"]
    assert fact["missing"] == []
    assert set(fact["ways"]) >= set(WAYS) - {"name-in-latin"}


def test_answers_that_stand_there_word_for_word_are_facts_of_their_own_however_alike() -> None:
    rows = [(at, f"香坂 義孝の性格 {at}", ANSWERS[at % 2]) for at in range(1, 7)]
    facts = cover(rows, rows_max=10).to_json()["facts"]
    assert sorted(fact["questions"] for fact in facts) == [3, 3]


def test_two_answers_about_one_name_are_two_facts() -> None:
    rows = [
        (1, "香坂 義孝の性格は？", ANSWERS[0]),
        (2, "香坂 義孝の誕生日は？", "3月14日の早朝、雪の札幌で生まれたと伝えられています。"),
        (3, "香坂の性格は？", ANSWERS[1]),
    ]
    facts = sorted(cover(rows, rows_max=10, declared=[KOSAKA]).to_json()["facts"], key=lambda fact: fact["lines"])
    assert [fact["lines"] for fact in facts] == [[(1, 1), (3, 3)], [(2, 2)]]
    assert "short-name" in facts[1]["missing"]


def test_english_product_names_have_short_names_too() -> None:
    found = report(
        [
            "What does the Contoso Lantern weigh?",
            "How heavy is the Contoso Lantern?",
            "Is the Contoso Lantern heavy?",
        ],
        ["The Contoso Lantern weighs 300 grams."],
    )
    (fact,) = found["facts"]
    assert fact["fact"] == "Contoso Lantern"
    assert "short-name" in fact["missing"]
    assert "name-in-kana" not in fact["missing"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("香坂 義孝の性格を教えていただけますか。", {"full-name", "formal"}),
        ("香坂の性格ってどう？", {"short-name", "casual"}),
        ("コウサカ ヨシタカの性格は", set()),  # a spelling that nobody gave is no mention
        ("香坂義孝", {"full-name", "name-only"}),
        ("義孝さんは？", {"short-name", "name-only"}),
    ],
)
def test_the_ways_of_a_question_are_told_from_its_text(question: str, expected: set[str]) -> None:
    assert ways_of(question, [KOSAKA]) == expected


def test_a_slip_is_told_from_an_ending_and_from_another_number() -> None:
    right = ["What is the warranty of the lantern?", "香坂 義孝の性格を教えてください"]
    assert is_slip("What is the warrantty of the lantern?", right)
    assert is_slip("What is teh warranty of the lantern?", right)
    assert is_slip("香坂 義孝の性格を教えてくだだい", right) is False
    assert is_slip("香坂 義孝の性格を教てえください", right)
    assert is_slip("What is the warranty of the lanterns?", right) is False
    assert is_slip("the lantern of 2019", ["the lantern of 2018"]) is False


def test_the_last_answered_question_of_a_row_counts_in_chat_and_preference_rows() -> None:
    chat = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "two"},
    ]
    assert question_and_answer(orjson.dumps({"messages": chat})) == ("second", "two")
    preference = {"input": {"messages": chat[:1]}, "preferred_output": chat[1:2], "non_preferred_output": chat[3:]}
    assert question_and_answer(orjson.dumps(preference)) == ("first", "one")
    assert question_and_answer(b'{"messages": 7}') is None
    assert question_and_answer(b"{") is None


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), max_size=12))
def test_no_texts_make_coverage_stumble_and_every_row_is_in_one_fact(rows: list[tuple[str, str]]) -> None:
    numbered = [(at, question, answer) for at, (question, answer) in enumerate(rows, 1)]
    found = cover(numbered, rows_max=100).to_json()
    assert found["rows"] == len(rows)
    lines = [line for fact in found["facts"] for first, last in fact["lines"] for line in range(first, last + 1)]
    assert sorted(lines) == [number for number, _, _ in numbered]
    assert found == cover(numbered, rows_max=100).to_json()


def test_a_name_is_found_by_any_of_its_beginnings_among_thousands() -> None:
    names = [f"Person{at}x Family{at}y" for at in range(300)]
    asked = ["What does {0} do?", "What does {1} do?", "{2}?"]
    rows = [
        (line, how.format(name, name.split()[1], name.split()[0]), f"{name} paints {line % 7} houses.")
        for line, (name, how) in enumerate(((name, how) for name in names for how in asked), 1)
    ]
    report = cover(rows, rows_max=len(rows))
    assert {fact.label for fact in report.facts} == set(names)


def test_two_facts_of_one_name_have_two_labels() -> None:
    rows = [
        (1, "Where was Ada Lovelace born?", "In London."),
        (2, "In which city was Ada Lovelace born?", "In London."),
        (3, "What did Ada Lovelace write?", "Notes on the Analytical Engine."),
        (4, "Which text did Ada Lovelace write?", "Notes on the Analytical Engine."),
    ]
    labels = [fact["fact"] for fact in cover(rows, rows_max=10).to_json()["facts"]]
    assert sorted(labels) == [
        "Ada Lovelace: What did Ada Lovelace write?",
        "Ada Lovelace: Where was Ada Lovelace born?",
    ]


def test_of_a_long_text_the_beginning_is_looked_at_and_that_is_told() -> None:
    rows = [(line, f"Who is Ada Lovelace, {line}?", "x" * 100) for line in range(1, 101)]
    found = cover(rows, rows_max=1000, characters_max=1000).to_json()
    assert (found["rows"], found["rows_read"], found["is_whole"]) == (9, 9, False)
    whole = cover(rows, rows_max=1000, characters_max=100_000).to_json()
    assert (whole["rows"], whole["rows_read"], whole["is_whole"]) == (100, 100, True)


@pytest.mark.parametrize(
    ("question", "casual"),
    [
        ("何を知っている人物か", False),
        ("時代によって何が変わるか", False),
        ("香坂って性格いい", True),
        ("性格ってどんな感じ", True),
        ("AIって便利", True),
        ("サボっている人物", False),
    ],
)
def test_a_verbs_ending_is_not_taken_for_a_casual_particle(question: str, *, casual: bool) -> None:
    assert ("casual" in ways_of(question, [KOSAKA])) == casual


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What does 猫 mean in English?", "latin"),
        ("API の HTTP status code 404 について", "ja"),
        ("iPhone 15 Pro の充電方法は？", "ja"),
        ("香坂 義孝", "zh"),
        ("서울은 어디에 있나요?", "ko"),
        ("「한국」という言葉の意味は？", "ja"),
    ],
)
def test_one_word_of_another_script_does_not_make_the_language(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_polite_english_question_about_a_kanji_is_polite() -> None:
    assert "formal" in ways_of("Could you please explain what the character 猫 means?", [])
