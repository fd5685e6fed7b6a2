"""The text that rows begin with, which an estimate weighs against the price of tuning."""

import io
import json
from typing import Any

import pytest
from shared_data import shared

from app.datasets import engine
from app.datasets.engine import repeated
from app.datasets.engine.tokens import counter

LONG = (
    "You classify complaints of a bank's customers. Answer with one word of the list that follows, and no other. "
)
RULES = LONG + "Words: card, loan, fee, fraud, account, transfer."
TOKENIZER = "o200k_base"


def row(*messages: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


def measured(*rows: Any) -> engine.RepeatedText:
    content = b"".join(json.dumps(item).encode() + b"\n" for item in rows)
    return engine.repeated_text(io.BytesIO(content), len(content), TOKENIZER)


def tokens(text: str) -> int:
    return counter(TOKENIZER).one(text)


def test_a_system_prompt_that_every_row_has_is_measured_with_its_message() -> None:
    found = measured(*[row(("system", RULES), ("user", f"{n} days"), ("assistant", "fee")) for n in range(12)])
    assert (found.rows, found.rows_measured) == (12, 12)
    assert found.tokens == tokens(RULES) + tokens("system") + 3
    assert found.beginning.startswith("You classify complaints")


def test_examples_that_stand_at_the_head_of_every_row_are_part_of_it() -> None:
    shots = [("system", RULES), ("user", "Stolen!"), ("assistant", "fraud")]
    found = measured(*[row(*shots, ("user", f"{n} days"), ("assistant", "fee")) for n in range(12)])
    assert found.tokens == sum(tokens(role) + tokens(text) + 3 for role, text in shots)


def test_an_instruction_inside_the_users_message_is_measured_up_to_where_rows_differ() -> None:
    found = measured(*[row(("user", f"{RULES}\nComplaint: {word}"), ("assistant", "fee")) for word in "abcdefghij"])
    assert found.tokens == tokens(f"{RULES}\nComplaint: ")


def test_the_prompt_of_most_rows_counts_and_the_others_are_told_apart() -> None:
    many = [row(("system", RULES), ("user", f"{n} days"), ("assistant", "fee")) for n in range(9)]
    few = [row(("system", "Be kind."), ("user", f"{n} days"), ("assistant", "fee")) for n in range(3)]
    found = measured(*many, *few)
    assert (found.rows, found.rows_measured) == (9, 12)


def test_preference_pairs_and_unanswered_prompts_are_measured_too() -> None:
    answer = [{"role": "assistant", "content": "yes"}]
    pairs = [
        {
            "input": row(("system", RULES), ("user", str(n))),
            "preferred_output": answer,
            "non_preferred_output": answer,
        }
        for n in range(12)
    ]
    graded = [row(("user", RULES + f" {n}")) | {"answer": n} for n in range(12)]
    assert measured(*pairs).tokens == tokens(RULES) + tokens("system") + 3
    assert measured(*graded).tokens >= tokens(RULES)


@pytest.mark.parametrize(
    "rows",
    [
        [row(("user", f"{n} days"), ("assistant", "fee")) for n in range(12)],
        [row(("user", f"What is {n}?"), ("assistant", "fee")) for n in range(12)],
        [row(("system", RULES), ("user", "once"), ("assistant", "fee"))],
        [],
        [[1], {"messages": None}, {"messages": [None]}, {"input": 3}, {"messages": [{"content": 7}]}],
    ],
    ids=["questions of their own", "a turn of phrase", "a single row", "nothing", "what is no row"],
)
def test_what_rows_do_not_share_is_not_called_a_prompt(rows: list[Any]) -> None:
    found = measured(*rows)
    assert (found.tokens, found.rows, found.beginning) == (0, 0, "")


def test_of_a_large_file_rows_at_even_distances_are_looked_at() -> None:
    line = json.dumps(row(("system", RULES), ("user", "x" * 900), ("assistant", "fee"))).encode() + b"\n"
    content = line * (repeated.WHOLE_BYTES // len(line) + 100)
    found = engine.repeated_text(io.BytesIO(content), len(content), TOKENIZER)
    assert found.rows == found.rows_measured == repeated.ROWS_MAX


def test_a_published_countdown_set_repeats_its_rules_in_every_row() -> None:
    content = shared("1-chat/msft.rft_countdown.train_100.jsonl").read_bytes()
    found = engine.repeated_text(io.BytesIO(content), len(content), TOKENIZER)
    assert found.rows == found.rows_measured == 100
    assert found.tokens > 250, "most of the 359 tokens of a row are the same rules"
