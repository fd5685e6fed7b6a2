"""Token counts: exact against tiktoken, offline, safe on hostile texts; and the rule for a conversation."""

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.datasets.engine import Profile, check, tokens
from app.datasets.engine.tokens import Encoding
from tests.shared_data import shared

ENCODINGS: tuple[Encoding, ...] = ("o200k_base", "cl100k_base")
HARD = [
    "",
    " ",
    "Hello, world!",
    "don't DON'T they'LL",
    "  two  spaces \n\n and\r\nlines\t",
    "明日の天気は？ カタカナ、漢字。",
    "नमस्ते مرحبا 안녕하세요",
    "👨‍👩‍👧‍👦🇯🇵👍🏽 e\u0301 か\u3099",
    "1234567890 ٣٤٥ Ⅷ",
    "<|endoftext|> <|im_start|>user<|im_sep|>",
    "def f(x):\n    return {'a': x ** 2}  # ok\n",
    "\0\x01\x7f\u200b\ufeff",
    "a" * 5_000,
    " " * 5_000,
    "=-" * 3_000,
]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_fast_counter_and_the_reference_agree(encoding: Encoding) -> None:
    fast, reference = tokens.with_gigatoken(encoding).one, tokens.with_tiktoken(encoding).one
    for text in HARD:
        assert fast(text) == reference(text), text[:40]


@pytest.mark.parametrize("name", ["nlbse.tensorflow.jsonl", "ja.mt_bench_full.v1.bad-quote.jsonl"])
def test_they_agree_on_real_texts(name: str) -> None:
    fast, reference = tokens.counter("o200k_base").one, tokens.with_tiktoken("o200k_base").one
    for line in shared(f"1-chat/{name}").read_text(encoding="utf-8").splitlines():
        assert fast(line) == reference(line)


def test_known_counts() -> None:
    assert tokens.counter("o200k_base").one("hello world") == 2
    assert tokens.counter("cl100k_base").one("tiktoken is great!") == 6  # the example of tiktoken's guide


def test_special_tokens_in_a_text_are_plain_text() -> None:
    assert tokens.counter("o200k_base").one("<|endoftext|>") > 1


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("unit", [" ", "a", "\n", "_", "あ", "=", "9", "ab", "😀", "e\u0301"])
def test_a_megabyte_of_one_kind_takes_seconds_at_most_and_never_fails(encoding: Encoding, unit: str) -> None:
    text = unit * (1_000_000 // len(unit.encode()))
    for build in (tokens.with_gigatoken, tokens.with_tiktoken):
        count = build(encoding).one
        start = time.process_time()
        assert 0 < count(text) <= len(text.encode())
        assert time.process_time() - start < 5


def test_cutting_a_long_run_changes_the_count_by_a_token_per_cut_at_most() -> None:
    letters = "".join(random.Random(1).choices("abcdefgh", k=tokens.GUARDED_CHARACTERS))
    exact, cut = (tokens.counter("o200k_base").one(letters + extra) for extra in ("", "i"))
    assert abs(cut - exact) <= len(letters) // tokens.RUN_CHARACTERS_MAX + 1


def test_a_damaged_rank_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tokens.RANKS_SHA256, "o200k_base", "0" * 64)
    with pytest.raises(tokens.RanksDamagedError, match="o200k_base"):
        tokens.ranks("o200k_base")


def test_an_unknown_tokenizer_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="p50k_base"):
        tokens.counter("p50k_base")


def test_threads_share_one_counter_and_count_the_same() -> None:
    texts = [text * 20 for text in HARD]
    with ThreadPoolExecutor(8) as pool:
        counted = list(pool.map(lambda _: [tokens.counter("o200k_base").one(text) for text in texts], range(16)))
    assert all(one == counted[0] for one in counted)


@pytest.mark.parametrize("name", ["nlbse.opencv.jsonl", "seed002.novel.train.jsonl"])
def test_the_estimate_is_within_a_third_of_the_exact_count(name: str) -> None:
    totals = []
    for tokenizer in ("estimate", "o200k_base"):
        with shared(f"1-chat/{name}").open("rb") as source:
            totals.append(check(source, Profile(tokenizer)).tokens.total)  # type: ignore[arg-type]
    assert totals[0] == pytest.approx(totals[1], rel=0.34)


def test_a_conversation_is_counted_by_the_rule_of_the_guide() -> None:
    messages = [
        {"role": "system", "content": "You answer briefly."},
        {"role": "user", "content": "How many moons has Mars?", "name": "ana"},
        {"role": "assistant", "content": "Two.", "weight": 0},
        {"role": "user", "content": "And Venus?"},
        {"role": "assistant", "content": "None."},
    ]
    count = tokens.with_tiktoken("o200k_base").one
    expected = 3 + sum(3 + count(m["role"]) + count(m["content"]) for m in messages) + count("ana") + 1
    report = check([json.dumps({"messages": messages}).encode()], Profile("o200k_base"))
    assert report.tokens.total == expected == report.tokens.per_example_max
    assert report.tokens.trained == count("None.")
    assert report.tokens.by_role == {
        "system": count("You answer briefly."),
        "user": count("How many moons has Mars?") + count("And Venus?"),
        "assistant": count("Two.") + count("None."),
    }
    assert report.tokens.estimated == ()


def test_what_is_estimated_is_said() -> None:
    row = {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}]},
            {"role": "assistant", "content": "A moon."},
        ],
        "tools": [],
    }
    estimated = check([json.dumps(row).encode()], Profile("estimate")).tokens.estimated
    assert [words.split(":")[0] for words in estimated] == ["all text", "tools and calls", "images"]


def test_percentiles_are_values_that_occur() -> None:
    rows = [
        {"messages": [{"role": "user", "content": "x " * n}, {"role": "assistant", "content": "y"}]}
        for n in range(1, 101)
    ]
    got = check([b"\n".join(json.dumps(row).encode() for row in rows)], Profile("o200k_base")).tokens
    sizes = [check([json.dumps(row).encode()], Profile("o200k_base")).tokens.total for row in rows]
    assert (got.per_example_min, got.per_example_max) == (sizes[0], sizes[-1])
    assert (got.per_example_p50, got.per_example_p95) == (sizes[49], sizes[94])


def test_single_texts_and_batches_may_be_counted_at_the_same_time() -> None:
    counter = tokens.counter("o200k_base")
    texts = [f"{number} moons, {chr(0x4E00 + number)}" * 20 for number in range(2_000)]
    expected = counter.many(texts).tolist()
    with ThreadPoolExecutor(4) as pool:
        batches = [pool.submit(counter.many, texts) for _ in range(8)]
        singles = [pool.submit(lambda part: [counter.one(text) for text in part], texts) for _ in range(2)]
        assert all(done.result().tolist() == expected for done in batches)
        assert all(done.result() == expected for done in singles)
