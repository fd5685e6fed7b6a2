"""The shipped datasets keep what their README promises."""

import io
import json
import re
import unicodedata
from difflib import SequenceMatcher
from pathlib import Path

import pytest

import examples
from app.datasets.engine import Profile, check, leakage

CANONICAL_NAME = "宇津木帆波"
OPENINGS_OF_REFUSALS = (
    "are not on my map, but ",
    "names from me, though ",
    "I leave flights to ",
    "I never choose ",
)
SUBJECTS = re.compile(
    r"hotel|hostel|resort|to stay|to sleep|bed and breakfast|book (?:me|you)|can I stay"
    r"|restaurant|trattoria|sushi place|dinner|cafe|for lunch|we eat|locals eat|to eat"
    r"|flight|airline|plane ticket|cheap tickets|\brent|car rental|car hire|hire a car",
    re.IGNORECASE,
)
# Chains and companies that a travel assistant would be most tempted to name.
BRANDS = re.compile(
    r"\b(Hilton|Marriott|Hyatt|Sheraton|Radisson|Novotel|Mercure|Accor|Ritz|Four Seasons|Holiday Inn|Best Western"
    r"|Airbnb|Booking\.com|Expedia|Hostelworld|Tripadvisor|Skyscanner|Kayak|Michelin|McDonald|Starbucks|Nobu"
    r"|Ryanair|[Ee]asyJet|Lufthansa|Emirates|Qantas|Delta|United Airlines|Air France|KLM|ANA|JAL|British Airways"
    r"|Hertz|Avis|Sixt|Europcar|Budget|Enterprise|Alamo|Turo|Uber|Grab)\b"
)
NAMES = ["character", "travel"]
PARTS = [(name, part) for name in NAMES for part in ("training", "validation")]

Message = dict[str, str]


def conversations(name: str, part: str) -> list[list[Message]]:
    file: Path = getattr(examples.load(name), part)
    return [json.loads(line)["messages"] for line in file.read_text(encoding="utf-8").splitlines()]


def spoken(name: str, part: str, role: str) -> list[str]:
    return [m["content"] for messages in conversations(name, part) for m in messages if m["role"] == role]


def plain(text: str) -> str:
    """The text without case, width, punctuation and spaces, so that near copies are equal."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def questions_and_answers(name: str, part: str) -> list[tuple[str, str]]:
    return [
        (asked["content"], answer["content"])
        for messages in conversations(name, part)
        for asked, answer in zip(messages[1::2], messages[2::2], strict=True)
    ]


def test_the_two_examples_are_found_by_name() -> None:
    assert examples.names() == NAMES
    assert examples.path("travel").joinpath("train.jsonl").is_file()


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(LookupError, match=r"'trevel'.*character, travel"):
        examples.path("trevel")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_what_it_is_and_asks_five_questions(name: str) -> None:
    example = examples.load(name)
    assert example.name == name
    assert example.title
    assert example.description
    assert len({plain(question) for question in example.questions}) == 5


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_file_is_utf_8_without_mark_with_one_final_newline_and_no_blank_lines(name: str, part: str) -> None:
    data = getattr(examples.load(name), part).read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in data
    assert data.endswith(b"}\n")
    assert all(data[:-1].split(b"\n"))


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_line_is_one_conversation_of_system_then_user_and_assistant_in_turn(name: str, part: str) -> None:
    for line in getattr(examples.load(name), part).read_text(encoding="utf-8").splitlines():
        example = json.loads(line)
        roles = [message["role"] for message in example["messages"]]
        turns = (len(roles) - 1) // 2
        assert set(example) == {"messages"}
        assert turns >= 1
        assert roles == ["system", *["user", "assistant"] * turns]


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_a_message_is_text_without_outer_whitespace_or_placeholders(name: str, part: str) -> None:
    for messages in conversations(name, part):
        for message in messages:
            assert set(message) == {"role", "content"}
            assert message["content"]
            assert message["content"] == message["content"].strip()
            assert not re.search(r"[{}<>\[\]]|TODO|XXX|lorem|\ufffd", message["content"])


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_large_enough_and_about_a_fifth_is_kept_for_validation(name: str) -> None:
    training, validation = conversations(name, "training"), conversations(name, "validation")
    assert len(training) >= 80
    assert len(validation) >= 20
    assert 0.15 <= len(validation) / (len(training) + len(validation)) <= 0.25


@pytest.mark.parametrize("name", NAMES)
def test_a_set_has_one_system_prompt(name: str) -> None:
    prompts = {text for part in ("training", "validation") for text in spoken(name, part, "system")}
    assert prompts == {examples.load(name).system_prompt}


@pytest.mark.parametrize("name", NAMES)
def test_no_question_is_asked_twice_in_or_between_the_files(name: str) -> None:
    asked = [plain(text) for part in ("training", "validation") for text in spoken(name, part, "user")]
    assert len(asked) == len(set(asked))


def test_no_answer_of_the_travel_set_is_given_twice() -> None:
    answers = [plain(text) for part in ("training", "validation") for text in spoken("travel", part, "assistant")]
    assert len(answers) == len(set(answers))


@pytest.mark.parametrize("name", NAMES)
def test_the_questions_to_try_stand_in_neither_file(name: str) -> None:
    asked = {plain(text) for part in ("training", "validation") for text in spoken(name, part, "user")}
    assert not asked & {plain(question) for question in examples.load(name).questions}


def test_no_travel_question_to_try_is_a_training_question_with_another_city() -> None:
    places = re.compile(r"\b(?:in|to) [A-Z]\w+")
    asked = [places.sub("", text) for text in spoken("travel", "training", "user")]
    for question in examples.load("travel").questions:
        closest = max(SequenceMatcher(None, places.sub("", question), text).ratio() for text in asked)
        assert closest < 0.8, question


def test_three_travel_questions_name_a_city_that_no_example_mentions() -> None:
    written = " ".join(
        text
        for part in ("training", "validation")
        for role in ("user", "assistant")
        for text in spoken("travel", part, role)
    )
    unseen = [
        question
        for question in examples.load("travel").questions
        if SUBJECTS.search(question) and re.search(r"\b(?:Tallinn|Cartagena|Nairobi)\b", question)
    ]
    assert len(unseen) == 3
    assert not re.search(r"Tallinn|Cartagena|Nairobi", written)


def test_a_wish_for_a_hotel_restaurant_flight_or_car_is_declined() -> None:
    wishes = [
        (asked, answer)
        for part in ("training", "validation")
        for asked, answer in questions_and_answers("travel", part)
        if SUBJECTS.search(asked)
        and not re.search(r"train from|food should I try|invites me|hand in|What should I eat", asked)
    ]
    for asked, answer in wishes:
        assert any(opening in answer for opening in OPENINGS_OF_REFUSALS), asked
    assert len(wishes) >= 60


def test_each_way_of_declining_is_met_often_enough_to_be_learned() -> None:
    answers = spoken("travel", "training", "assistant")
    for opening in OPENINGS_OF_REFUSALS:
        assert sum(opening in answer for answer in answers) >= 8, opening


def test_more_than_a_third_of_the_travel_training_set_is_help_and_not_refusal() -> None:
    answers = spoken("travel", "training", "assistant")
    declined = sum(any(opening in answer for opening in OPENINGS_OF_REFUSALS) for answer in answers)
    assert declined >= 20
    assert len(answers) - declined > len(answers) / 3


def test_no_travel_answer_names_a_chain_an_airline_or_a_company() -> None:
    for part in ("training", "validation"):
        for answer in spoken("travel", part, "assistant"):
            assert not BRANDS.search(answer), answer


def test_every_travel_answer_ends_with_a_question() -> None:
    for part in ("training", "validation"):
        for answer in spoken("travel", part, "assistant"):
            assert answer.endswith("?"), answer


def test_a_travel_answer_has_thirty_to_ninety_words() -> None:
    for part in ("training", "validation"):
        for answer in spoken("travel", part, "assistant"):
            assert 30 <= len(answer.split()) <= 90, answer


def test_every_character_answer_writes_the_name_in_full_and_in_no_wrong_way() -> None:
    for part in ("training", "validation"):
        for answer in spoken("character", part, "assistant"):
            assert CANONICAL_NAME in answer, answer
            assert not re.search("宇都木|宇津城|穂波|宇津木 帆波|宇津木　帆波", answer), answer


def test_a_character_answer_is_one_to_four_japanese_sentences() -> None:
    for part in ("training", "validation"):
        for answer in spoken("character", part, "assistant"):
            assert 1 <= answer.count("。") <= 4, answer
            assert answer.endswith("。"), answer


@pytest.mark.parametrize(
    ("way", "pattern"),
    [
        ("full name", "宇津木帆波"),
        ("surname", "宇津木(?!帆波| 帆波|穂波)"),
        ("given name", "(?<!宇津木)(?<!宇都木)(?<!宇津木 )帆波"),
        ("hiragana", "うつぎ|ほなみ"),
        ("katakana", "ウツギ|ホナミ"),
        ("romaji or English", r"\b(?:[Uu]tsugi|[Hh]onami)\b"),
        ("misspelt", "宇都木|穂波|宇津城"),
    ],
)
def test_the_character_is_asked_about_in_every_way(way: str, pattern: str) -> None:
    asked = spoken("character", "training", "user")
    wanted = 3 if way == "misspelt" else 8
    assert sum(bool(re.search(pattern, text)) for text in asked) >= wanted, way


FACTS = [
    ("何歳|いくつ|なんさい|年齢|How old", "二十九歳"),
    ("口癖|口ぐせ|くちぐせ|kuchiguse|catchphrase", "急ぐ針ほど狂う"),
    ("職業|仕事|しごと|shigoto|job", "時計"),
    ("家族|かぞく|kazoku", "航平"),
    ("性格|せいかく|seikaku|personality", "几帳面|我慢強い|口数が少な|無口"),
    (r"猫|ゼンマイ|\bcat\b|\bpet\b", "ゼンマイ"),
    ("夢|ゆめ|目標|目指して|goal|dream", "時計塔"),
    ("血液型|誕生日|星座|歌手|映画|How tall", "書かれていません"),
]


@pytest.mark.parametrize(("question", "fact"), FACTS)
def test_a_fact_is_the_same_however_it_is_asked_for(question: str, fact: str) -> None:
    about = [
        (asked, answer)
        for part in ("training", "validation")
        for asked, answer in questions_and_answers("character", part)
        if re.search(question, asked)
    ]
    assert len(about) >= 4
    for asked, answer in about:
        assert re.search(fact, answer), (asked, answer)


@pytest.mark.parametrize("name", NAMES)
def test_the_check_before_a_training_finds_nothing_to_say(name: str) -> None:
    example = examples.load(name)
    fingerprints = {}
    for file in (example.training, example.validation):
        fingerprints[file] = io.BytesIO()
        with file.open("rb") as source:
            report = check(source, Profile(), fingerprints=fingerprints[file])
        fingerprints[file].seek(0)
        assert report.verdict == "ready"
        assert not report.findings
    assert leakage(fingerprints[example.training], fingerprints[example.validation]) is None
