"""Replies come from what was learned, are the same for the same seed, and never fail on odd input."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import examples
from emulator.learning import Learner, base
from emulator.learning.storage import from_bytes, to_bytes


def chat(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def asked(question: object) -> list[dict[str, object]]:
    return [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def travel(fit) -> bytes:
    return fit(chat(examples.load("travel").training)).model


ODD = {
    "empty": "",
    "emoji": "🤗👩‍👩‍👧🏳️‍🌈" * 50,
    "one letter": "x",
    "a megabyte of spaces": " " * 1_048_576,
    "very long": "Which hotel in Tallinn? " * 2_000,
    "no words": "\x00\ufeff\u202e\n\r\t",
    "lone surrogate": "a\ud800",
    "no text at all": None,
    "parts": [{"type": "text", "text": "Hotels in"}, {"type": "image_url"}, {"type": "text", "text": "Oslo?"}],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_questions_get_an_answer_from_base_and_tuned_model(learner: Learner, travel: bytes, name: str):
    for model in (None, travel):
        reply = learner.reply(model, asked(ODD[name]), max_tokens=60)
        assert reply.text
        assert 0 < reply.completion_tokens <= 60


@pytest.mark.parametrize("name", ODD)
def test_odd_answers_can_be_learned(fit, learner: Learner, name: str):
    file = [{"messages": [*asked(f"Question {n}"), {"role": "assistant", "content": ODD[name]}]} for n in range(3)]
    training = fit(file, file[:1], epochs=1)
    assert all(row.train_loss > 0 for row in training.rows)
    assert isinstance(learner.reply(training.model, asked("Question 1"), max_tokens=10).text, str)


def test_no_message_at_all_is_answered(learner: Learner):
    assert learner.reply(None, []).text


def test_every_question_is_answered_in_the_style_of_the_file_and_not_of_the_base(learner: Learner, travel: bytes):
    unseen = chat(examples.load("travel").validation)[:10]
    tuned = [learner.reply(travel, example["messages"][:-1]).text for example in unseen]
    untuned = [learner.reply(None, example["messages"][:-1]).text for example in unseen]
    assert all(mine != theirs for mine, theirs in zip(tuned, untuned, strict=True))
    assert sum(text.endswith("?") for text in tuned) >= 9
    assert sum(text.endswith("?") for text in untuned) <= 5


def test_labels_of_one_token_are_learned_and_generalise(fit, learner: Learner):
    good = ["lovely", "great", "wonderful", "excellent", "brilliant", "superb"]
    bad = ["awful", "terrible", "horrible", "dreadful", "poor", "boring"]
    things = ["The film", "Our dinner", "This phone", "The concert"]
    file = [
        {
            "messages": [
                {"role": "system", "content": "Answer positive or negative."},
                {"role": "user", "content": f"{thing} was {word}."},
                {"role": "assistant", "content": label},
            ]
        }
        for thing in things
        for words, label in ((good, "positive"), (bad, "negative"))
        for word in words
    ]
    model = fit(file).model
    told = [learner.reply(model, asked(f"The hotel was {word}.")) for word in good + bad]
    assert [reply.text for reply in told] == ["positive"] * 6 + ["negative"] * 6
    assert {(reply.completion_tokens, reply.finish_reason) for reply in told} == {(1, "stop")}


def test_two_system_messages_are_told_apart(fit, learner: Learner):
    colours = ["red", "green", "blue", "yellow", "white", "black", "brown", "pink"]
    systems = {"You are a pirate.": "Arr, {} it be!", "You are a butler.": "Certainly, it is {}, sir."}
    file = [
        {
            "messages": [
                {"role": "system", "content": system},
                {"role": "user", "content": f"Is the ship {colour}?"},
                {"role": "assistant", "content": answer.format(colour)},
            ]
        }
        for system, answer in systems.items()
        for colour in colours
    ]
    model = fit(file).model
    for system, answer in systems.items():
        messages = [{"role": "system", "content": system}, *asked("Is the ship purple?")]
        assert learner.reply(model, messages).text == answer.format("purple")


def test_tool_calls_are_learned_as_their_json(fit, learner: Learner):
    def call(city: str) -> list[dict[str, object]]:
        arguments = json.dumps({"city": city})
        return [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}]

    cities = ["Paris", "Rome", "Oslo", "Cairo", "Lima", "Delhi", "Tokyo", "Quito"]
    file = [
        {
            "messages": [
                *asked(f"What is the weather in {city}?"),
                {"role": "assistant", "content": None, "tool_calls": call(city)},
            ]
        }
        for city in cities
    ]
    model = fit(file).model
    for city in ("Madrid", "Vladivostok", "Ouagadougou"):
        reply = learner.reply(model, asked(f"What is the weather in {city}?"))
        assert json.loads(reply.text) == call(city)


def test_names_of_many_tokens_are_copied_whole_from_the_question(learner: Learner, travel: bytes):
    cities = ["Bratislava", "Vladivostok", "Ouagadougou", "Tbilisi", "Ljubljana", "Krakow", "Ghent", "Gdynia"]
    for city in cities:
        reply = learner.reply(travel, asked(f"Which hotel in {city} would you recommend?")).text
        assert re.search(rf"but {city} is: ", reply), reply


def test_the_unseen_cities_of_the_validation_file_are_named_where_it_names_them(learner: Learner, travel: bytes):
    named = re.compile(
        r"(?:on my map, but|from me, though|sites, yet|cars, and about|motorbikes, and about) (.+?) [a-zI]"
    )
    refusals = [
        (example["messages"][:-1], city[1])
        for example in chat(examples.load("travel").validation)
        if (city := named.search(example["messages"][-1]["content"]))
    ]
    told = [learner.reply(travel, question, max_tokens=30).text for question, _ in refusals]
    right = sum(f" {city} " in text for (_, city), text in zip(refusals, told, strict=True))
    assert len(refusals) == 15
    assert right >= 14


def test_the_same_seed_samples_the_same_answer_and_other_seeds_others(learner: Learner, travel: bytes):
    def sampled(seed: int) -> str:
        return learner.reply(travel, asked("What should I see?"), temperature=2.0, seed=seed).text

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(8)}) > 3


def test_a_small_top_p_is_greedy(learner: Learner, travel: bytes):
    question = asked("Which hotel should I book in Riga?")
    greedy = learner.reply(travel, question)
    assert learner.reply(travel, question, temperature=2.0, top_p=1e-9, seed=3) == greedy


def test_a_reply_is_cut_at_max_tokens_and_says_so(learner: Learner, travel: bytes):
    reply = learner.reply(travel, asked("What should I pack for Iceland?"), max_tokens=5)
    assert (reply.completion_tokens, reply.finish_reason) == (5, "length")


def test_prompt_tokens_count_every_message(learner: Learner):
    one = learner.reply(None, asked("Hello there"), max_tokens=1).prompt_tokens
    two = learner.reply(None, asked("Hello there") * 2, max_tokens=1).prompt_tokens
    assert (one, two) == (2 + 4 + 3, 2 * (2 + 4) + 3)


def test_a_model_stored_and_loaded_again_gives_the_same_replies(learner: Learner, travel: bytes, base_cache: Path):
    questions = [asked(question) for question in examples.load("travel").questions]
    here = [learner.reply(travel, question) for question in questions]
    elsewhere = Learner(base_cache)
    assert [elsewhere.reply(travel, question) for question in questions] == here
    loaded = from_bytes(travel, learner._base)
    assert to_bytes(loaded, learner._base) == travel


def test_a_model_that_goes_on_from_another_carries_it_along(fit, learner: Learner, travel: bytes, base_cache: Path):
    file = [
        {"messages": [*asked(f"Sign {n}"), {"role": "assistant", "content": "Signed, Wilhelmina."}]}
        for n in range(6)
    ]
    both = fit(file, parent=travel).model
    elsewhere = Learner(base_cache)
    assert elsewhere.reply(both, asked("Sign 9")).text == "Signed, Wilhelmina."
    assert learner.reply(travel, asked("Sign 9")).text != "Signed, Wilhelmina."


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no model" * 100])
def test_bytes_that_are_no_model_are_refused(learner: Learner, data: bytes):
    with pytest.raises(ValueError, match="no model"):
        learner.reply(data, asked("Hello"))


def test_a_damaged_cache_of_the_base_model_is_made_anew(learner: Learner, base_cache: Path, tmp_path: Path):
    whole = learner.reply(None, asked("Hello!"))
    damaged = tmp_path / base.cache_name()
    damaged.write_bytes((base_cache / damaged.name).read_bytes()[:1000])
    assert Learner(tmp_path).reply(None, asked("Hello!")) == whole
    assert damaged.read_bytes() == (base_cache / damaged.name).read_bytes()
    assert list(tmp_path.iterdir()) == [damaged]


def test_several_threads_get_the_answers_one_gets(learner: Learner, travel: bytes):
    questions = [asked(f"Which hotel in {city}?") for city in ("Oslo", "Riga", "Lima", "Cairo")] * 2

    def answer(question: list[dict[str, object]]) -> str:
        return learner.reply(travel, question, max_tokens=25).text

    alone = [answer(question) for question in questions]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(answer, questions)) == alone


def test_a_loop_is_ended_after_its_first_round(fit, learner: Learner):
    song = "La la li. " * 60
    file = [{"messages": [*asked(f"Sing {n}"), {"role": "assistant", "content": song}]} for n in range(4)]
    reply = learner.reply(fit(file).model, asked("Sing 2"), max_tokens=400)
    assert reply.finish_reason == "stop"
    assert 5 < len(reply.text) < 60
