"""What is kept of a generator's answers, and what is left out for which reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.generation.craft.answers import is_refusal, read_items
from app.generation.craft.documents import Chunk, chunks_of
from app.generation.craft.documents import fault_of as fault_of_pair
from app.generation.craft.facts import Name, guess_names, numbers_of
from app.generation.craft.kinds import Kept, Unit
from app.generation.craft.operations import (
    SCHEMA_CHARACTERS_MAX,
    Unusable,
    names_in,
    operations_of,
    violations,
)
from app.generation.craft.paraphrases import Paraphrases, fault_of, pair_of
from app.generation.craft.styles import Style, shares, shipped
from app.generation.craft.tool_use import fault_of as fault_of_call
from app.generation.craft.verdicts import REASONS
from app.generation.material import pairs_in

ANY = Style(name="any", descriptions={"en": "Any."})
KOSAKA = pair_of(
    "香坂 義孝の性格について説明してください。",
    "香坂 義孝は正義感が強く、人の気持ちに寄り添える性格です。",
    [Name("香坂 義孝", ("こうさか よしたか",))],
)
LANTERN = pair_of(
    "What is the warranty of the Contoso X200 in Germany?", "It has a warranty of 24 months there.", []
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("香坂 義孝ってどんな性格なの？", None),
        ("香坂さんの性格を教えてください", None),
        ("こうさか よしたかの性格は？", None),
        ("香坂 義明ってどんな性格なの？", "name-changed"),
        ("加藤義孝の性格は？", "name-changed"),
        ("彼の性格は？", "name-missing"),
        ("コウサカの性格は？", "name-missing"),
        ("香坂 義孝の性格を3つ教えて", "number-changed"),
        ("香坂 義孝と山田 太郎の性格は？", "name-changed"),
        ("香坂 義孝は正義感が強く、人の気持ちに寄り添える性格です。", "is-answer"),
        ("申し訳ありませんが、お答えできません。香坂 義孝", "refusal"),
        ("  ？", "empty"),
        (7, "shape"),
        ("Tell me about 香坂 義孝 please", "wrong-language"),
        ("香坂 義孝" * 60, "too-long"),
    ],
)
def test_a_japanese_phrasing_is_kept_only_with_the_facts_of_its_question(text: object, reason: str | None) -> None:
    fault = fault_of(text, KOSAKA, ANY)
    assert (fault.code if fault else None) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hey, how long is the Contoso X200 warranty in Germany?", None),
        ("Contoso X200 warranty Germany", None),
        ("How long is the Contoso X300 covered in Germany?", "number-changed"),
        ("How long is the Contoso X200 covered in France?", "name-missing"),
        ("How long is the Contoso X200 covered in Germany and Austria?", "name-changed"),
        ("Is the Contoso X200 covered for 24 months in Germany?", "number-changed"),
        ("Contoso X200 の保証はGermanyでは？", "wrong-language"),
    ],
)
def test_an_english_phrasing_is_kept_only_with_the_facts_of_its_question(text: str, reason: str | None) -> None:
    fault = fault_of(text, LANTERN, ANY)
    assert (fault.code if fault else None) == reason


def test_a_style_is_missed_when_its_ways_do_not_show() -> None:
    for name, good, bad in (
        ("formal", "香坂 義孝の性格を教えていただけますか。", "香坂 義孝の性格ってどう？"),
        ("casual", "香坂 義孝ってどんな性格？", "香坂 義孝の性格をご説明ください。"),
        ("short-name", "義孝の性格は？", "香坂 義孝の性格は？"),
        ("name-only", "香坂 義孝は？", "香坂 義孝の性格は？"),
        ("mixed-scripts", "香坂 義孝のパーソナリティをexplainして", "香坂 義孝の性格は？"),
        ("keywords", "香坂 義孝 性格", "香坂 義孝の性格は何ですか"),
        ("reordered", "どんな性格なのでしょうか、香坂 義孝は。", "香坂 義孝の性格は？"),
    ):
        assert fault_of(good, KOSAKA, shipped()[name]) is None, name
        fault = fault_of(bad, KOSAKA, shipped()[name])
        assert fault is not None, name
        assert fault.code == "style-missed"


def paraphrases(*pairs: Any) -> Paraphrases:
    return Paraphrases(pairs=pairs, styles=[ANY], wanted=2, system=None, with_seeds=True)


def reasons(kind: Paraphrases, answer: str, kept: list[Kept] | None = None, *, end: str = "stop") -> list[Any]:
    return [one.fault.code if one.fault else None for one in kind.read(Unit(0, "any", 4), answer, end, kept or [])]


def test_what_is_there_already_is_a_duplicate_and_what_asks_for_two_answers_is_ambiguous() -> None:
    job = pair_of("香坂 義孝の職業は？", "香坂 義孝は警察官です。", [])
    answer = json.dumps(
        {
            "questions": [
                "香坂 義孝の性格について、説明してください",  # the seed, punctuation apart
                "香坂 義孝ってどんな性格なの？",
                "香坂義孝ってどんな性格なの",
                "香坂 義孝ってどんな性格なのよ？",
                "香坂 義孝",
            ]
        }
    )
    kept = [Kept(1, "香坂義孝")]
    found = reasons(paraphrases(KOSAKA, job), answer, kept)
    assert found == ["duplicate", None, "duplicate", "near-duplicate", "ambiguous"]


@pytest.mark.parametrize(
    ("answer", "end", "expected"),
    [
        ('```json\n{"questions": ["香坂 義孝って誰？"]}\n```', "stop", [None]),
        ('Sure! ["香坂 義孝って誰？"]', "stop", [None]),
        ('{"questions": ["香坂 義孝って誰？", "香坂 義孝の性', "length", ["cut-off", None]),
        ('{"questions": ["香坂 義孝って誰？", "香坂 義孝の性', "stop", ["malformed"]),
        ("I'm sorry, but I can't help with that.", "stop", ["refusal"]),
        ('{"answers": []}', "stop", ["malformed"]),
        ("[" * 100_000, "stop", ["malformed"]),
        ("", "content_filter", ["malformed"]),
    ],
)
def test_answers_are_read_as_they_come_and_what_is_whole_in_them_is_kept(
    answer: str, end: str, expected: list[Any]
) -> None:
    assert reasons(paraphrases(KOSAKA), answer, end=end) == expected


@given(st.text(max_size=300), st.sampled_from(["stop", "length", None]))
def test_no_answer_makes_the_reader_stumble_and_every_reason_has_a_meaning(answer: str, end: str | None) -> None:
    for one in paraphrases(KOSAKA).read(Unit(0, "any", 4), answer, end, []):
        assert one.fault is None or one.fault.code in REASONS
    assert read_items(answer, "questions", finish_reason=end).problem in {None, "refusal", "malformed", "cut-off"}


def test_more_is_asked_for_than_is_wanted_and_styles_with_few_possibilities_get_few() -> None:
    given_out = {style.name: count for style, count in shares(list(shipped().values()), 20)}
    assert sum(given_out.values()) == 30
    assert given_out["name-only"] == 2
    assert given_out["formal"] >= 4
    assert shares([shipped()["name-only"]], 10) == [(shipped()["name-only"], 2)]


def test_names_show_by_their_writing_and_numbers_by_their_value() -> None:
    assert [name.full for name in guess_names("Where is the Contoso X200 sold? Tell me.")] == ["Contoso X200"]
    assert [name.full for name in guess_names("ジョン・スミスの『夜の海』について")] == ["夜の海", "ジョン・スミス"]
    assert guess_names("How do I return goods?", "返品の期限は？") == ()
    assert numbers_of("１，５００円 and X-200, 1.5 kg") == {"1500", "x-200", "1.5"}


def test_a_name_alone_is_no_question_where_two_pairs_are_about_the_same_name() -> None:
    job = pair_of("香坂 義孝の職業は？", "香坂 義孝は警察官です。", [])
    one = Paraphrases(pairs=[KOSAKA], styles=list(shipped().values()), wanted=5, system=None, with_seeds=True)
    two = Paraphrases(pairs=[KOSAKA, job], styles=list(shipped().values()), wanted=5, system=None, with_seeds=True)
    assert "name-only" in {style.name for style in one.styles_of(0)}
    assert "name-only" not in {style.name for style in two.styles_of(0)}
    same = pair_of("香坂 義孝の職業は？", "香坂 義孝は警察官です。", KOSAKA.names)
    assert reasons(paraphrases(KOSAKA, same), '["義孝さんは？"]') == ["ambiguous"]


# ── documents ───────────────────────────────────────────────────────────────

TEXT = """# Returns
Goods are taken back for 30 days. Customers pay for the parcel.

## Software
Opened software is never taken back. Contoso refunds broken goods.

```sh
# not a heading
```
"""


def words(text: str) -> int:
    return len(text.split())


def test_chunks_keep_to_headings_and_size_and_repeat_the_end_of_the_one_before() -> None:
    whole = chunks_of("a.md", TEXT, tokens_max=100, overlap_tokens=0, count=words)
    assert [chunk.headings for chunk in whole] == [("Returns",), ("Returns", "Software")]
    assert "# not a heading" in whole[1].text
    small = chunks_of(
        "a.md", "one two three. four five six. seven eight nine.", tokens_max=6, overlap_tokens=3, count=words
    )
    assert [chunk.text for chunk in small] == [
        "one two three. four five six.",
        "four five six. seven eight nine.",
    ]
    assert [chunk.number for chunk in small] == [1, 2]


@given(st.text(alphabet="ab 。.\n#", max_size=300), st.integers(2, 30))
def test_no_text_is_lost_between_chunks_and_none_is_too_long(text: str, most: int) -> None:
    chunks = chunks_of("a", text, tokens_max=most, overlap_tokens=0, count=len)
    letters = [character for character in text if character in "ab"]
    told = [c for chunk in chunks for c in chunk.text if c in "ab"]
    titles = {title for chunk in chunks for title in chunk.headings}
    if not titles and "#" not in text:
        assert told == letters
    assert all(len(chunk.text.replace(" ", "").replace("\n", "")) <= most for chunk in chunks)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("How long can goods be returned?", "Goods are taken back for 30 days.", None),
        ("How long can goods be returned?", "Goods are taken back for 60 days.", "not-in-document"),
        ("Who refunds?", "Fabrikam refunds broken goods.", "not-in-document"),
        ("What does this passage say?", "Goods are taken back for 30 days.", "refers-to-text"),
        ("Why?", "The moon is made of cheese, as everybody knows very well.", "not-in-document"),
        ("返品は？", "商品は返品できます。", "wrong-language"),
        ("", "Goods are taken back.", "empty"),
    ],
)
def test_an_answer_says_only_what_its_chunk_says(question: str, answer: str, reason: str | None) -> None:
    chunk = Chunk("a.md", ("Returns",), 1, "Goods are taken back for 30 days. Contoso refunds broken goods.")
    fault = fault_of_pair({"question": question, "answer": answer}, chunk)
    assert (fault.code if fault else None) == reason


# ── operations ──────────────────────────────────────────────────────────────


def document(**operation: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.3",
        "paths": {
            "/orders/{id}": {"post": {"operationId": "place order", "summary": "Place an order", **operation}}
        },
        "components": {
            "schemas": {
                "Order": {
                    "type": "object",
                    "required": ["item", "count"],
                    "properties": {
                        "item": {"type": "string"},
                        "count": {"type": "integer", "minimum": 1, "maximum": 9},
                        "size": {"enum": ["s", "l"]},
                        "gift": {"type": "boolean"},
                        "part_of": {"$ref": "#/components/schemas/Order"},
                    },
                }
            }
        },
    }


BODY = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}}


def test_an_operation_becomes_a_tool_with_its_parameters_and_the_members_of_its_body() -> None:
    parameters = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
    (operation,) = operations_of(document(parameters=parameters, requestBody=BODY))
    assert operation.name == "place_order"
    schema = operation.parameters
    assert list(schema["properties"])[:3] == ["id", "item", "count"]
    assert schema["required"] == ["id", "item", "count"]
    Draft202012Validator.check_schema(dict(schema))
    assert operation.tool["function"]["description"] == "Place an order"


@pytest.mark.parametrize(
    "wrong",
    [
        {"openapi": "2.0"},
        {"openapi": "3.1.0", "paths": {}},
        {"openapi": "3.1.0", "paths": {"/a": {"get": {"parameters": [{"$ref": "other.yaml#/x"}]}}}},
        {"openapi": "3.1.0", "paths": {"/a": {"get": {"parameters": [{"$ref": "#/nothing"}]}}}},
    ],
)
def test_a_document_that_cannot_be_used_is_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unusable):
        operations_of(wrong)


@pytest.mark.parametrize(
    ("arguments", "question", "reason"),
    [
        ({"item": "tea", "count": 2}, "Order 2 tea, please", None),
        ({"item": "tea", "count": 2, "size": "l"}, "Order 2 large tea", None),
        ({"item": "tea"}, "Order tea", "arguments-invalid"),
        ({"item": "tea", "count": 12}, "Order 12 tea", "arguments-invalid"),
        ({"item": "tea", "count": True}, "Order tea", "arguments-invalid"),
        ({"item": "tea", "count": 2, "sugar": 1}, "Order 2 tea", "arguments-invalid"),
        ({"item": "cake", "count": 2}, "Order 2 tea", "argument-not-asked"),
        ({"item": "tea", "count": 3}, "Order 2 tea", "argument-not-asked"),
    ],
)
def test_a_call_is_kept_when_its_arguments_fit_and_somebody_said_them(
    arguments: dict[str, Any], question: str, reason: str | None
) -> None:
    (operation,) = operations_of(document(requestBody=BODY))
    item = {"question": question, "arguments": arguments, "result": {}, "answer": "Done."}
    fault = fault_of_call(item, operation)
    assert (fault.code if fault else None) == reason


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["a"],
    "additionalProperties": False,
    "properties": {
        "a": {"type": ["string", "null"], "minLength": 1, "maxLength": 3},
        "b": {"type": "integer", "minimum": 0, "exclusiveMaximum": 5, "multipleOf": 2},
        "c": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 1, "uniqueItems": True},
        "d": {"anyOf": [{"type": "boolean"}, {"type": "number", "maximum": 1}]},
    },
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 7),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
    st.text(alphabet="xy", max_size=4),
    st.lists(st.sampled_from(["x", "y", "z"]), max_size=3),
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e"]), VALUES, max_size=4))
def test_our_validation_agrees_with_json_schema(value: dict[str, Any]) -> None:
    ours = not list(violations(value, SCHEMA))
    assert ours == Draft202012Validator(SCHEMA).is_valid(value)


def _one_operation(schema: Any) -> dict[str, Any]:
    body = {"content": {"application/json": {"schema": schema}}}
    return {
        "openapi": "3.0.3",
        "paths": {"/things": {"post": {"operationId": "make", "requestBody": body}}},
        "components": {
            "schemas": {
                "Node": {
                    "type": "object",
                    "properties": {f"child{at}": {"$ref": "#/components/schemas/Node"} for at in range(10)},
                }
            }
        },
    }


def test_a_schema_without_end_becomes_a_tool_of_a_size_that_a_model_reads() -> None:
    made = operations_of(_one_operation({"$ref": "#/components/schemas/Node"}))[0]
    assert len(json.dumps(made.tool)) < 2 * SCHEMA_CHARACTERS_MAX
    assert made.parameters["properties"]["child9"]["type"] == "object"


def test_an_operation_whose_parameters_have_no_measure_is_refused_in_words() -> None:
    with pytest.raises(Unusable, match="paths//things/post: its parameters have more than 20,000 characters"):
        operations_of(_one_operation({"type": "string", "enum": ["x" * 30_000]}))


def test_only_the_operations_that_are_asked_for_are_read() -> None:
    document = _one_operation({"type": "object", "properties": {"size": {"type": "integer"}}})
    document["paths"]["/broken"] = {"get": {"operationId": "broken", "parameters": [{"$ref": "#/nowhere"}]}}
    assert names_in(document) == ["make", "broken"]
    assert [one.name for one in operations_of(document, ["make"])] == ["make"]


def test_ten_thousand_operations_of_one_name_get_names_of_their_own() -> None:
    same = {"get": {"operationId": "look_" * 20}}
    names = names_in({"openapi": "3.1.0", "paths": {f"/{at}": same for at in range(10_000)}})
    assert len(set(names)) == 10_000
    assert max(map(len, names)) == 64


WORDS_OF_SCHEMAS = st.sampled_from(
    ["type", "enum", "pattern", "minimum", "multipleOf", "minLength", "maxItems", "required", "properties", "items"]
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("string"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS_OF_SCHEMAS | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(ANY_JSON, ANY_JSON)
def test_no_schema_and_no_arguments_make_anything_stumble(schema: Any, value: Any) -> None:
    document = _one_operation(schema)
    document["paths"]["/things"]["post"]["parameters"] = schema
    try:
        made = operations_of(document)[0]
    except Unusable:
        return
    item = {"question": "Make a thing", "arguments": {"body": value}, "result": 1, "answer": "Done."}
    answer = json.dumps({"conversations": [item]})
    for heard in read_items(answer, "conversations", finish_reason="stop").items:
        assert fault_of_call(heard, made) is None or fault_of_call(heard, made).code in REASONS  # type: ignore[union-attr]  # not None


def test_a_pattern_that_would_be_tried_for_ever_is_tried_in_linear_time() -> None:
    assert list(violations("a" * 900 + "!", {"pattern": "^(a+)+$"}))
    assert not list(violations("a" * 900, {"pattern": "^(a+)+$"}))
    assert not list(violations("anything", {"pattern": "(?=of another dialect)"}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 400])
def test_a_number_that_json_or_a_computer_lacks_makes_an_answer_malformed(number: str) -> None:
    heard = read_items(
        f'{{"conversations": [{{"arguments": {{"n": {number}}}}}]}}', "conversations", finish_reason="stop"
    )
    assert heard.problem == "malformed"


def test_an_answer_that_is_nested_without_end_is_malformed() -> None:
    deep = "[" * 500 + "]" * 500
    assert read_items(f'{{"questions": [{deep}]}}', "questions", finish_reason="stop").problem == "malformed"


def test_long_runs_of_anything_are_read_in_one_go() -> None:
    many = 200_000
    headings, body = f"# a{' ' * many}b c  ##", f"first.{' ' * many}\n{' ' * many}\nsecond"
    chunks = chunks_of("a.md", f"{headings}\n{body}\n# ", tokens_max=8000, overlap_tokens=0, count=lambda _: 1)
    assert [chunk.headings[0][-3:] for chunk in chunks] == ["b c"]
    assert chunks[0].text.split() == ["first.", "second", "#"]
    assert numbers_of("a" * many) == frozenset()
    assert guess_names(f"Ab{' ' * many}c " * 3) == (Name("Ab"),)
    assert [name.full for name in guess_names("Ab. C1 d " * 30_000)] == ["Ab", "C1"]


@pytest.mark.parametrize(
    ("text", "refuses"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I’m sorry, but I can’t assist with this request.", True),
        ("I cannot provide that.", True),
        ("I'm unable to answer this.", True),
        ("申し訳ありませんが、そのご質問にはお答えできません。", True),
        ("申し訳ございませんが、対応いたしかねます。", True),
        ("I can't log in to my account, what do I do?", False),
        ("Sorry, where is Kyoto?", False),
        ("このフォームで回答できません。どうすればよいですか？", False),
        ("すみませんが、香坂さんの性格を教えてください", False),
        ("申し訳ありませんが、営業時間を教えていただけますか", False),
    ],
)
def test_to_say_sorry_is_no_refusal(text: str, *, refuses: bool) -> None:
    assert is_refusal(text) == refuses


JAPANESE = Chunk(
    "案内.md",
    ("会社",),
    1,
    "本社は東京都港区にあり、Contoso Cloudを月額300円で提供しています。問い合わせは平日です。",
)
ENGLISH = Chunk(
    "kyoto.md", (), 1, "The old capital lies in Kansai. Its name is Kyoto in English, and it has many temples."
)


@pytest.mark.parametrize(
    ("chunk", "question", "answer", "reason"),
    [
        (JAPANESE, "本社はどこですか？", "東京都港区", None),
        (JAPANESE, "月額はいくらですか？", "300円", None),
        (JAPANESE, "何というサービスを提供していますか？", "Contoso Cloud", None),
        (JAPANESE, "Where is the head office of the company?", "東京都港区", "wrong-language"),
        (JAPANESE, "本社はどこですか？", "The head office is in Tokyo.", "wrong-language"),
        (ENGLISH, "What is its name in English?", "Kyoto", None),
        (ENGLISH, "What does the city have?", "多くの寺があります", "wrong-language"),
    ],
)
def test_names_and_numbers_are_no_other_language(
    chunk: Chunk, question: str, answer: str, reason: str | None
) -> None:
    fault = fault_of_pair({"question": question, "answer": answer}, chunk)
    assert (fault.code if fault else None) == reason


def test_a_pair_that_is_too_long_is_passed_over_and_never_cut() -> None:
    def line(answer: str) -> bytes:
        messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": answer}]
        return json.dumps({"messages": messages}).encode()

    assert [pair.answer for pair in pairs_in([line("x" * 20_001), line("Because.")])] == ["Because."]
