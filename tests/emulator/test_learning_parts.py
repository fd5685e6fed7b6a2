"""The parts of the learner by themselves: turns, similar prompts, counts, copied words, contexts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.learning.arrays import find, ranges
from emulator.learning.contexts import (
    ANY,
    COPY,
    FOUR,
    LAST,
    MEMORY,
    N_COLUMNS,
    SHIFT,
    START,
    THREE,
    TWO,
    PromptReader,
    positions,
)
from emulator.learning.conversations import (
    PROMPT_TOKENS,
    answered_turns,
    file_tokens,
    message_text,
    prompt_tokens,
    turn_to_answer,
)
from emulator.learning.evidence import Evidence
from emulator.learning.neighbours import Neighbours
from emulator.learning.tokens import END_OF_TURN, decode, encode, within_word
from emulator.learning.training import learning_rate


def user(text: object) -> dict[str, object]:
    return {"role": "user", "content": text}


def assistant(text: object, **more: object) -> dict[str, object]:
    return {"role": "assistant", "content": text, **more}


# ---- conversations


def test_parts_of_a_message_are_joined_and_pictures_left_out():
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}]
    assert message_text(user(parts)) == "a\nb"


def test_what_an_assistant_says_is_its_text_else_its_calls_else_its_refusal():
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    assert message_text(assistant("yes", tool_calls=calls)) == "yes"
    assert message_text(assistant(None, tool_calls=calls)).startswith('[{"id":"1"')
    assert message_text(assistant(None, refusal="No.")) == "No."
    assert message_text(assistant(None)) == ""


def test_a_turn_hears_what_was_said_since_the_assistant_spoke_and_a_little_before():
    turn = turn_to_answer(
        [
            {"role": "system", "content": "Be kind."},
            user("long ago"),
            assistant("first answer"),
            user("before"),
            assistant("second answer"),
            user("now"),
            {"role": "tool", "content": "42"},
        ]
    )
    assert turn.system == "Be kind."
    assert turn.prompt == "before\nsecond answer\nnow\n42"
    assert turn.answer == ()


def test_every_turn_to_be_learned_ends_with_the_closing_token():
    (turn,) = answered_turns([{"messages": [user("a"), assistant("b")]}])
    assert turn.answer == (*encode("b"), END_OF_TURN)


def test_a_long_prompt_keeps_its_end():
    turn = turn_to_answer([user("start " + "filler " * 5_000 + "the question?")])
    assert len(turn.prompt_ids) == PROMPT_TOKENS
    assert decode(turn.prompt_ids).endswith("the question?")


def test_tools_are_billed():
    example = {"messages": [user("a"), assistant("b")]}
    assert file_tokens([{**example, "tools": [{"type": "function"}]}]) > file_tokens([example])
    assert file_tokens([example]) == prompt_tokens(example["messages"])


# ---- neighbours


def test_the_nearest_text_comes_first_whatever_its_case_width_and_spacing():
    index = Neighbours(["Hotels in Rome", "Weather in Oslo", "東京のホテル", "ﾎﾃﾙ in Lima"])
    found, cosine = index.nearest(["hotels  IN rome", "東京の ホテル", "ホテル in Lima"], 2)
    assert found[:, 0].tolist() == [0, 2, 3]
    assert cosine[0, 0] == pytest.approx(1, abs=0.01)
    assert (cosine[:, 0] >= cosine[:, 1]).all()


def test_a_text_is_not_its_own_neighbour_and_equal_texts_are_taken_in_order():
    found, _ = Neighbours(["same", "same", "same", "other"]).nearest_other(2, 100)
    assert found[:3].tolist() == [[1, 2], [0, 2], [0, 1]]


def test_an_index_of_one_text_has_no_other_neighbour():
    _, cosine = Neighbours(["alone"]).nearest_other(3, 100)
    assert (cosine <= 0).all()


def test_a_large_index_is_searched_in_the_same_sample_every_time():
    texts = [f"question number {number}" for number in range(60)]
    first, second = (Neighbours(texts).nearest_other(3, 20)[0] for _ in range(2))
    assert (first == second).all()
    assert len(np.unique(first)) <= 20


def test_the_index_suits_itself_to_what_decides_the_answers():
    names = [f"Person{number}" for number in range(12)]
    forms = ["How old is {}?", "Where does {} live?"]
    texts = [form.format(name) for form in forms for name in names]
    by_form = Neighbours.suited_to(
        texts, ["I cannot tell any age.", "In a house, I suppose."][0:1] * 12 + ["In a house."] * 12
    )
    by_name = Neighbours.suited_to(texts, [f"{name} is a friend of mine." for _ in forms for name in names])
    assert by_form.exponent < by_name.exponent


# ---- contexts


def read(*pairs: tuple[str, str]):
    turns = answered_turns([{"messages": [user(question), assistant(answer)]} for question, answer in pairs])
    prompts = PromptReader.of(turns).read(turns, training=True)
    return positions(prompts, [turn.answer for turn in turns]), prompts


def test_equal_surroundings_have_equal_keys_and_other_ones_others():
    at, _ = read(("x", "red fish swims"), ("y", "red fish sleeps"))
    words = len(encode("red fish swims"))
    first, second = at.keys[:words], at.keys[words + 1 : 2 * words + 1]
    plain = [ANY, LAST, TWO, THREE, FOUR]
    assert (first[:, plain] == second[:, plain]).all()
    assert (first[:, MEMORY.start] != second[:, MEMORY.start]).all()  # each example's own memory
    assert at.keys.shape[1] == N_COLUMNS


def test_a_word_of_the_prompt_is_found_with_and_without_its_space():
    questions = [
        (f"What about {city} then?", f'"{city}" and {city}.') for city in ("Oslo", "Rome", "Lima", "Cairo")
    ]
    at, prompts = read(*questions)
    copied = [decode([token]) for token in at.target[at.source >= 0].tolist()]
    assert copied.count(" Oslo") == 1
    assert copied.count("Rome") == 1
    assert (prompts.sources.token[at.source[at.source >= 0]] == at.target[at.source >= 0]).all()


def test_copying_goes_on_with_the_next_word_of_the_prompt():
    at, _ = read(("the blue parrot of Ann", "a blue parrot of Ann"), ("hello", "hi"))
    follower = dict(zip(at.target[:6].tolist(), at.follower[:6, 0].tolist(), strict=True))
    assert follower[encode(" parrot")[0]] == encode(" parrot")[0]
    assert START not in at.follower


def test_a_copy_begins_where_a_word_begins_and_the_word_is_spelled_to_its_end():
    city = encode(" Vladivostok")
    assert len(city) > 2
    at, prompts = read(("Is Vladivostok far?", "no, Vladivostok is not"), ("hello", "hi"))
    sources = prompts.sources.token.tolist()
    assert city[0] in sources
    assert encode("Vladivostok")[0] in sources  # as after a quotation mark
    assert not set(city[1:]) & set(sources)
    place = at.target.tolist().index(city[0])
    assert at.follower[place + 1 : place + len(city), 1].tolist() == city[1:]
    assert at.follower[place + 1 : place + len(city), 0].tolist() == [-1] * (len(city) - 1)
    assert at.follower[place + len(city)].tolist() == [encode(" far")[0], -1]  # the word is over: perhaps the next


def test_a_word_that_only_begins_like_one_of_the_prompt_is_not_spelled_on():
    at, _ = read(("Is Tbilisi far?", "from Tczew it is"), ("hello", "hi"))
    begun, wrong, *_ = encode(" Tczew")
    assert begun == encode(" Tbilisi")[0]
    place = at.target.tolist().index(wrong)
    assert at.follower[place, 1] == encode(" Tbilisi")[1]
    assert (at.follower[place + 1 : place + 3] == -1).all()


def test_a_word_without_a_space_is_no_source_after_a_letter():
    at, prompts = read(("Tallinn then?", "xTallinn Tallinn"), ("hello", "hi"))
    whole = encode("Tallinn")
    assert whole[0] in prompts.sources.token
    assert (at.source[at.target == whole[0]] == -1).all()
    assert (at.source[at.target == encode(" Tallinn")[0]] >= 0).all()


def test_scripts_without_spaces_are_copied_token_by_token():
    at, prompts = read(("帆波の仕事は？", "帆波の仕事です"), ("hello", "hi"))
    assert set(encode("仕事")) <= set(prompts.sources.token.tolist())
    assert (at.follower[at.target == encode("仕事")[0], 0] >= 0).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (" Vladivostok is far", [" Vladivostok", " is", " far"]),
        ("\nLjubljana: 2024", ["\n", "Ljubljana", ":", " ", "2024"]),
        (" Straße Đà Nẵng", [" Straße", " Đà", " Nẵng"]),
        ("仕事です", ["仕事", "です"]),
    ],
)
def test_a_word_goes_from_its_space_to_its_last_letter(text: str, words: list[str]):
    ids = np.array(encode(text))
    within = within_word(np.array([START, *ids[:-1]]), ids)
    pieces = np.split(ids, np.flatnonzero(~within)[1:])
    assert [decode(piece.tolist()) for piece in pieces] == words


# ---- evidence


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 30), st.floats(-1, 1)), max_size=8), max_size=6))
def test_totals_are_those_of_the_counts_however_they_were_written(writes: list[list[tuple[int, float]]]):
    pair = np.array([(row << SHIFT) | (token * 7) for row in range(5) for token in range(6)])
    evidence = Evidence(np.arange(5, dtype=np.uint64), pair, np.zeros(len(pair), np.float32))
    for write in writes:
        places = np.array([place if place < 30 else -1 for place, _ in write], np.int32)
        evidence.add(places, np.array([amount for _, amount in write], float))
    assert (evidence.count >= 0).all()
    afresh = Evidence(evidence.context, pair, evidence.count)
    np.testing.assert_allclose(evidence.total, afresh.total, atol=1e-6)
    np.testing.assert_allclose(evidence.square, afresh.square, atol=1e-6)
    np.testing.assert_array_equal(evidence.distinct, afresh.distinct)
    kept = Evidence(*evidence.kept())
    assert kept.count.sum() == pytest.approx(evidence.count.sum(), abs=1e-4)


def test_there_is_room_for_everything_an_example_may_write_and_nothing_is_known_at_first():
    at, _ = read(("x", "red fish"), ("red", "red fish"))
    evidence, located = Evidence.room_for(at)
    assert (evidence.total == 0).all()
    assert (located.row[:, 0] == located.row[0, 0]).all()
    assert (located.pair[at.source >= 0, 1] >= 0).all()
    assert (evidence.pair[located.copy[located.copy >= 0]] & ((1 << SHIFT) - 1) == COPY).all()


# ---- arrays and the schedule


@given(st.lists(st.integers(0, 20), max_size=10), st.integers(0, 20))
def test_find_gives_the_place_or_minus_one(values: list[int], wanted: int):
    ordered = np.unique(np.array(values, np.int64))
    (place,) = find(ordered, np.array([wanted]))
    assert (place >= 0) == (wanted in values)
    assert place < 0 or ordered[place] == wanted


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=8))
def test_ranges_are_all_their_indices_in_order(parts: list[tuple[int, int]]):
    start, length = (np.array(column, np.int64) for column in (zip(*parts, strict=True) if parts else ((), ())))
    index, owner = ranges(start, length)
    assert index.tolist() == [at for first, size in parts for at in range(first, first + size)]
    assert owner.tolist() == [number for number, (_, size) in enumerate(parts) for _ in range(size)]


def test_the_learning_rate_warms_up_and_falls_to_a_fifth():
    rates = [learning_rate(step, 200, 2.0) for step in range(1, 201)]
    assert rates[0] < rates[5] == max(rates)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(0.4, abs=0.01)
