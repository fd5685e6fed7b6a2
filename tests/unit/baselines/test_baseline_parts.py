"""Cases and examples read from rows, what each way sends, and the verdict on what came of it."""

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_data import shared

from app.baselines.cases import Case, case_in, sample, shots
from app.baselines.verdict import Asked, Prices, compare, judge
from app.baselines.ways import Way, messages
from app.datasets.engine.near import SIMILARITY, normalised, pieces, similarity

PRICES = Prices(input_usd_per_million=Decimal("0.4"), hosting_month_usd=Decimal(1224), plain_prompt_tokens=50.0)


def row(question: str, answer: str = "Yes.", system: str | None = None, **more: Any) -> bytes:
    said = [{"role": "system", "content": system}] if system else []
    said += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": said, **more}, ensure_ascii=False).encode()


def case(question: str, reference: str = "Yes.", system: str | None = None) -> Case:
    found = case_in(row(question, reference, system), 1)
    assert found is not None
    return found


# ── cases ───────────────────────────────────────────────────────────────────


def test_a_case_is_what_stands_before_the_last_answer_and_a_grader_sees_the_rows_own_members() -> None:
    found = case_in(row("Where is Kyoto?", "In Kansai.", "Be short.", city="Kyoto"), 7)
    assert found is not None
    assert [one["role"] for one in found.messages] == ["system", "user"]
    assert found.item == {"question": "Where is Kyoto?", "reference": "In Kansai.", "city": "Kyoto"}
    assert Case.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_preference_rows_are_asked_with_the_preferred_answer_as_reference_and_reinforcement_rows_without() -> None:
    said = {"messages": [{"role": "user", "content": "Hello?"}]}
    preferred = [{"role": "assistant", "content": "Good day."}]
    liked = case_in(json.dumps({"input": said, "preferred_output": preferred}).encode(), 1)
    assert liked is not None
    assert liked.reference == "Good day."
    graded = case_in(json.dumps({**said, "target": "42"}).encode(), 1)
    assert graded is not None
    assert graded.item == {"question": "Hello?", "target": "42"}


@pytest.mark.parametrize(
    "line",
    [
        b"not json",
        b"[]",
        b'{"messages": "no list"}',
        b'{"messages": [{"role": "assistant", "content": "no question"}]}',
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": []}]}',
        b'{"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]}',
    ],
)
def test_a_row_that_cannot_be_asked_is_left_out(line: bytes) -> None:
    assert case_in(line, 1) is None


def test_the_same_seed_draws_the_same_cases_and_says_how_many_rows_were_left_out() -> None:
    lines = [row(f"Question number {number}?") for number in range(500)] + [b"broken", b"\n"]
    first, left_out = sample(lines, count=20, seed=1)
    assert (len(first), left_out) == (20, 1)
    assert sample(lines, count=20, seed=1)[0] == first
    assert sample(lines, count=20, seed=2)[0] != first
    assert [one.line for one in first] == sorted(one.line or 0 for one in first)


# ── examples ────────────────────────────────────────────────────────────────


def test_the_nearest_examples_are_shown_the_most_alike_last() -> None:
    pool = [
        case("What does the train to Osaka cost?"),
        case("Is it cold in winter?"),
        case("What does the bus to Osaka take?"),
    ]
    (shown,) = shots([case("What does the train to Kobe cost?")], pool, count=2, nearest=True, seed=0)
    assert shown == (2, 0)


@given(
    st.lists(
        st.sampled_from(["Where is Kyoto?", "where is  kyoto?", "Where is Kyoto ?!", "How far is Nara?"]),
        max_size=8,
    ),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 3),
)
def test_no_example_is_a_near_duplicate_of_the_case(
    texts: list[str],
    count: int,
    nearest: bool,  # noqa: FBT001  hypothesis gives it
    seed: int,
) -> None:
    asked, pool = case("Where is Kyoto?"), [case(text) for text in texts]
    (shown,) = shots([asked], pool, count=count, nearest=nearest, seed=seed)
    own = pieces(normalised(asked.question))
    assert len(shown) <= count
    assert all(similarity(own, pieces(normalised(pool[one].question))) < SIMILARITY for one in shown)


def test_of_the_leaking_set_of_the_field_report_no_leaked_prompt_is_shown() -> None:
    with shared("1-chat/seed002.novel.train.jsonl").open("rb") as file:
        pool, _ = sample(file, count=1000, seed=0)
    with shared("1-chat/seed002.novel.valid.jsonl").open("rb") as file:
        cases, _ = sample(file, count=200, seed=0)
    for asked, shown in zip(cases, shots(cases, pool, count=5, nearest=True, seed=0), strict=True):
        assert normalised(asked.question) not in {normalised(pool[one].question) for one in shown}


# ── ways ────────────────────────────────────────────────────────────────────


def test_each_way_sends_what_its_name_says() -> None:
    asked, pool = case("Where is Nara?", system="Be short."), [case("Where is Kobe?", "By the sea.", "Be long.")]
    assert messages(Way(name="z", type="zero_shot"), 0, asked, pool) == list(asked.messages)
    worded = messages(Way(name="p", type="prompt", system="Be kind."), 0, asked, pool)
    assert [one["content"] for one in worded] == ["Be kind.", "Where is Nara?"]
    few = messages(Way(name="f", type="few_shot", shots=((0,),)), 0, asked, pool)
    assert [one["content"] for one in few] == ["Be short.", "Where is Kobe?", "By the sea.", "Where is Nara?"]
    found = [{"title": "Nara", "text": "Nara lies east."}, {"title": "", "text": "It has deer."}]
    searched = messages(Way(name="r", type="retrieval", search_index="six", passages=2), 0, asked, pool, found)
    assert searched[0]["content"].startswith("Be short.\n\n")
    assert searched[0]["content"].endswith("[1] Nara\nNara lies east.\n\n[2]\nIt has deer.")


# ── the verdict ─────────────────────────────────────────────────────────────


def asked(name: str, type_: Any, scores: list[float | None], tokens: int = 50) -> Asked:
    told = [score for score in scores if score is not None]
    return Asked(
        name=name,
        type=type_,
        scores=scores,
        passed=[score is not None and score >= 0.5 for score in scores],
        prompt_tokens=[tokens] * len(told),
        completion_tokens=[10] * len(told),
        latency_seconds=[0.5] * len(told),
        cost_usd=Decimal("0.01"),
    )


def verdict(*ways: Asked, good_enough: float = 0.9, calls: int | None = None) -> Any:
    return judge(compare(ways, PRICES, seed=0), good_enough=good_enough, calls_per_month=calls)


def noisy(mean: float, count: int = 50) -> list[float | None]:
    return [float(one) for one in np.clip(np.random.default_rng(1).normal(mean, 0.05, count), 0, 1)]


def test_a_prompt_that_is_good_enough_ends_the_matter() -> None:
    found = verdict(asked("zero-shot", "zero_shot", noisy(0.6)), asked("better", "prompt", noisy(0.95)))
    assert found.code == "tuning_not_offered"
    assert found.headline.startswith("better reaches 0.9")
    assert not found.advice


def test_luck_is_named_where_the_interval_reaches_below_what_is_good_enough() -> None:
    scores: list[float | None] = [1.0] * 11 + [0.0]
    found = verdict(asked("zero-shot", "zero_shot", scores))
    assert found.code == "tuning_not_offered"
    assert "ask more cases" in found.advice[0]


def test_examples_that_are_good_enough_are_weighed_against_the_hosting_of_a_tuned_model() -> None:
    ways = asked("zero-shot", "zero_shot", noisy(0.5)), asked("few-shot 3", "few_shot", noisy(0.95), 1050)
    found = verdict(*ways, calls=1000)
    assert found.code == "compare_costs"
    assert "for 1,000 tokens more a call" in found.headline
    assert "from 3,060,000 calls a month" in found.advice[0]  # 1224 / (1000 × 0.4 / 1,000,000)
    assert found.advice[1] == "1,000 calls a month do not pay it: keep this way."
    assert "pay it: tuning is worth trying" in verdict(*ways, calls=4_000_000).advice[1]


def test_where_nothing_is_good_enough_tuning_is_worth_trying_and_what_helped_is_told() -> None:
    plain, few = asked("zero-shot", "zero_shot", noisy(0.4)), asked("few-shot 3", "few_shot", noisy(0.6), 900)
    found = verdict(plain, few)
    assert found.code == "tuning_worth_trying"
    assert "few-shot 3, reaches 0.6" in found.headline
    assert "Examples help (+0.2" in found.advice[0]
    assert "knowledge" in verdict(plain, asked("retrieval", "retrieval", noisy(0.6))).advice[0]
    assert "were not tried" in verdict(plain).advice[0]
    assert "do not help either" in verdict(plain, asked("few-shot 3", "few_shot", noisy(0.4))).advice[0]


def test_few_scored_cases_carry_no_verdict() -> None:
    scores: list[float | None] = [1.0] * 9 + [None] * 30
    assert verdict(asked("zero-shot", "zero_shot", scores)).code == "too_few_cases"
    assert verdict(asked("zero-shot", "zero_shot", [None, None])).best is None


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=40),
    st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=40),
)
def test_intervals_hold_their_mean_and_nobody_is_ahead_of_the_best(
    one: list[float | None], other: list[float | None]
) -> None:
    size = min(len(one), len(other))
    results = compare([asked("a", "zero_shot", one[:size]), asked("b", "few_shot", other[:size])], PRICES, seed=3)
    for result in results:
        if result.score is not None:
            assert result.score.low - 1e-9 <= result.score.mean <= result.score.high + 1e-9
            assert 0 <= result.score.low <= result.score.high <= 1
    judge(results, good_enough=0.9, calls_per_month=None)


def test_the_interval_of_a_fair_coin_is_what_statistics_says() -> None:
    (result,) = compare([asked("a", "zero_shot", [0.0, 1.0] * 50)], PRICES, seed=0)
    assert result.score is not None
    assert result.score.low == pytest.approx(0.4, abs=0.02)  # 0.5 ± 1.96 × 0.05
    assert result.score.high == pytest.approx(0.6, abs=0.02)
