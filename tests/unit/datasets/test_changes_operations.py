"""Each operation on rows that anybody could have."""

import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest

from app.datasets.engine import Profile, check
from app.datasets.engine.changes import (
    AnyOperation,
    CannotChange,
    Condition,
    Convert,
    Dedupe,
    Drop,
    Fix,
    Keep,
    Part,
    Prune,
    Redact,
    Rename,
    Shuffle,
    Split,
    System,
    Target,
    parts_of,
    transform,
)
from app.datasets.engine.report import Method

Row = dict[str, Any]


def said(role: str, content: str) -> Row:
    return {"role": role, "content": content}


def row(asked: str, answered: str, system: str | None = None, **further: Any) -> Row:
    head = [said("system", system)] if system is not None else []
    return {"messages": [*head, said("user", asked), said("assistant", answered)], **further}


def change(rows: list[Row], *operations: AnyOperation, method: Method = "supervised") -> list[list[Row]]:
    """The rows of each part."""
    content = b"\n".join(json.dumps(one).encode() for one in rows)

    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        yield io.BytesIO(content)

    outputs = [io.BytesIO() for _ in parts_of(operations)]
    targets = [Target(output, io.BytesIO()) for output in outputs]
    profile = Profile("estimate", method=method)
    transform(opened, operations, targets, profile=profile, scratch=tempfile.TemporaryFile)
    return [[json.loads(line) for line in output.getvalue().splitlines()] for output in outputs]


TALKS = [row(f"question {n}", f"answer {n}", label="ab"[n % 2], size=n) for n in range(6)]


@pytest.mark.parametrize(
    ("field", "test", "value", "kept"),
    [
        ("/label", "equals", "a", [0, 2, 4]),
        ("/label", "differs", "a", [1, 3, 5]),
        ("/size", "in", [1, 5, True], [1, 5]),
        ("/size", "less", 2, [0, 1]),
        ("/size", "greater", 4, [5]),
        ("/label", "greater", 4, []),
        ("answer", "ends-with", "3", [3]),
        ("prompt", "contains", "on 2", [2]),
        ("/messages/0/content", "starts-with", "question 4", [4]),
        ("/messages", "longer", 1, [0, 1, 2, 3, 4, 5]),
        ("/nothing", "present", None, []),
        ("/messages/7", "missing", None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_condition_holds_for_exactly_these_rows(field: str, test: Any, value: Any, kept: list[int]) -> None:
    condition = (Condition(field, test, value),)
    left = [one for at, one in enumerate(TALKS) if at not in kept]
    if kept:
        assert change(TALKS, Keep(condition)) == [[TALKS[at] for at in kept]]
    if left:
        assert change(TALKS, Drop(where=condition)) == [left]


def test_lines_to_drop_are_those_of_the_version_also_after_its_rows_were_moved() -> None:
    ((*rows,),) = change(TALKS, Shuffle(seed=3), Drop(lines=((2, 3), (6, 6))))
    assert sorted(one["size"] for one in rows) == [0, 3, 4]
    with pytest.raises(CannotChange, match="no line has the finding"):
        change(TALKS, Drop(code="no-user"))


def test_of_rows_that_are_alike_the_first_the_last_or_none_stays() -> None:
    long = "The museum of fine arts opens at nine and closes at five, except on Mondays and on public holidays"
    rows = [row("When?", long), row("Where?", "There"), row("When?", long + "."), row("Where?", "Here"), TALKS[0]]
    assert change(rows, Dedupe("near"))[0] == [rows[0], rows[1], rows[3], rows[4]]
    assert change(rows, Dedupe("near", keep="last"))[0] == rows[1:]
    assert change(rows, Dedupe("near", keep="none"))[0] == [rows[1], rows[3], rows[4]]
    assert change(rows, Dedupe("conflicting", keep="last"))[0] == rows[2:]
    assert change(rows, Dedupe("conflicting", keep="none"))[0] == [TALKS[0]]
    turned = {"label": "a", "size": 0, "messages": TALKS[0]["messages"]}
    assert change([TALKS[0], TALKS[1], turned], Dedupe(keep="none"))[0] == [TALKS[1]]


def test_a_system_prompt_is_set_replaced_or_removed() -> None:
    rows = [row("a", "b", system="Old."), row("c", "d")]
    assert change(rows, System("set", "New."))[0] == [row("a", "b", "New."), row("c", "d", "New.")]
    assert change(rows, System("replace", "New."))[0] == [row("a", "b", "New."), row("c", "d")]
    assert change(rows, System("replace", "New.", was="Other."))[0] == rows
    assert change(rows, System("remove"))[0] == [row("a", "b"), row("c", "d")]


def test_what_every_prompt_repeats_is_pruned_and_nothing_else() -> None:
    rule = "You are the assistant of a travel agency; never name a hotel, and answer in one short sentence."
    ask = "Classify the following message of a customer as praise, question, complaint or other, please: "
    rows = [row(f"{ask}message {n} of them", "question", system=f"{rule}\nToday is day {n}.") for n in range(5)]
    (pruned,) = change(rows, Prune())
    assert pruned == [row(f"message {n} of them", "question", system=f"Today is day {n}.") for n in range(5)]
    assert change([row("a", "b", system=rule)] * 2, Prune())[0] == [row("a", "b")] * 2
    with pytest.raises(CannotChange) as refused:
        change(TALKS, Prune())
    assert refused.value.code == "nothing_repeated"


def test_a_split_by_time_gives_the_oldest_rows_to_the_first_part() -> None:
    days = [3, 1, 5, 2, 4]
    rows = [row(f"how was day {day}", f"fine {day}", at=f"2026-01-0{day}T08:00:00Z") for day in days]
    split = Split((Part("old", rows=3), Part("new")), by="time", time="/at")
    old, new = change(rows, split)
    assert [one["at"][9] for one in old] == ["3", "1", "2"]
    assert [one["at"][9] for one in new] == ["5", "4"]
    with pytest.raises(CannotChange, match="Row 1 does not say when it is from"):
        change(TALKS, split)


def test_a_stratified_split_gives_each_part_its_share_of_each_value() -> None:
    words = [
        "amber",
        "birch",
        "cedar",
        "delta",
        "ember",
        "fjord",
        "grove",
        "heath",
        "inlet",
        "jetty",
        "knoll",
        "lagoon",
        "mesa",
        "north",
        "olive",
        "pearl",
    ]
    rows = [row(f"{word} {word[::-1]}", word, label="yn"[at % 4 == 0]) for at, word in enumerate(words)]
    train, test = change(rows, Split((Part("train", share=0.75), Part("test")), stratify="/label", seed=5))
    assert [sum(one["label"] == value for one in train) for value in "yn"] == [9, 3]
    assert [sum(one["label"] == value for one in test) for value in "yn"] == [3, 1]


def test_rows_become_examples_of_another_method_and_back() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    rows = [row("a", "b", rejected="c", tools=tools), row("d", "e", rejected="e"), row("f", "g")]
    (pairs,) = change(rows, Convert("dpo", worse_field="/rejected"))
    assert pairs == [
        {
            "input": {"messages": [said("user", "a")], "tools": tools},
            "preferred_output": [said("assistant", "b")],
            "non_preferred_output": [said("assistant", "c")],
        }
    ]
    assert change(pairs, Convert("supervised"), method="dpo")[0] == [row("a", "b", tools=tools)]
    (graded,) = change(TALKS[:1], Convert("reinforcement"), Rename("reference_answer", "solution"))
    assert graded == [{"messages": [said("user", "question 0")], "solution": "answer 0"}]
    back = change(graded, Convert("supervised", reference="solution"), method="reinforcement")
    assert back == [[row("question 0", "answer 0")]]


def test_redaction_leaves_nothing_that_the_check_would_find() -> None:
    rows = [
        row("Who?", f"Write to jane.doe{n}@example.com or call +1 415 555 0132; card 4111 1111 1111 1111.")
        for n in range(12)
    ]
    (redacted,) = change(rows, Redact())
    content = b"\n".join(json.dumps(one).encode() for one in redacted)
    before = check([b"\n".join(json.dumps(one).encode() for one in rows)], Profile("estimate"))
    after = check([content], Profile("estimate"))
    assert {"pii-email"} <= {finding.code for finding in before.findings}
    assert not [finding.code for finding in after.findings if finding.code.startswith(("pii", "secret"))]
    assert [one["messages"][0] for one in redacted] == [said("user", "Who?")] * 12


def test_a_fix_keeps_a_cut_off_answer_for_the_grader_and_leaves_alone_what_it_is_told_to() -> None:
    assert change([row("a", "b")], Fix(), method="reinforcement") == [
        [{"messages": [said("user", "a")], "reference_answer": "b"}]
    ]
    twice = [row("a", " b"), row("a", " b")]
    assert change(twice, Fix(leave=("exact-duplicate",)))[0] == [row("a", "b")] * 2
    assert change(twice, Fix(codes=("exact-duplicate",)))[0] == twice[:1]


def test_garbled_text_is_mended_on_request_where_its_bytes_prove_what_it_was_and_no_row_is_lost() -> None:
    garbled = [row("Où?", "Ã€ la gare, trÃ¨s loin."), row("Wo?", "ç¸ºæº˜縺ｧ縺"), row("a", "b")]
    (fixed,) = change(garbled, Fix(codes=("mojibake",)))
    assert fixed[0] == row("Où?", "À la gare, très loin.")
    assert len(fixed) == 3
    assert fixed[2] == row("a", "b")
    assert change(garbled, Fix())[0][0] == garbled[0], "nobody asked for it"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("pay \u202e001 now", "pay 001 now"),
        ("hello\U000e0049\U000e0067\U000e006e!", "hello!"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins", None),
        ("\u2067\u05e9\u05dc\u05d5\u05dd\u2069", None),
    ],
    ids=["override", "tags", "flag", "isolate"],
)
@pytest.mark.parametrize("at_a_glance", [True, False])
def test_hidden_text_is_found_and_repaired_and_what_scripts_need_stays(
    *, text: str, left: str | None, at_a_glance: bool
) -> None:
    rows = [row(f"Question {n}?", f"{text} {n}") for n in range(12)]
    content = b"\n".join(json.dumps(one, ensure_ascii=False).encode() for one in rows)
    report = check([content], Profile("estimate"), at_a_glance=at_a_glance)
    found = {finding.code: finding.count for finding in report.findings}
    assert found.get("hidden-text") == (None if left is None else 12)
    (fixed,) = change(rows, Fix())
    assert fixed[0]["messages"][1]["content"] == f"{text if left is None else left} 0"
