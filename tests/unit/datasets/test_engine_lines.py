"""Leaks between files, sampled questions, and the page of all findings."""

import io
import json
from pathlib import Path

from app.datasets.engine import CODES, Profile, check, leakage, render_codes_markdown, sample_prompts
from tests.shared_data import shared

ROOT = Path(__file__).resolve().parents[3]


def row(number: int, answer: str = "!") -> bytes:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": f"{number}?"},
        {"role": "assistant", "content": f"{number}{answer}"},
    ]
    return json.dumps({"messages": messages}).encode() + b"\n"


def prints(content: bytes) -> io.BytesIO:
    target = io.BytesIO()
    check([content], Profile("estimate"), fingerprints=target)
    target.seek(0)
    return target


def test_validation_examples_that_stand_in_the_training_file_are_named() -> None:
    training = b"".join(row(number) for number in range(20))
    validation = row(100) + row(7) + row(101) + row(8) + row(9) + row(7, "?")
    found = leakage(prints(training), prints(validation))
    assert found is not None
    assert (found.code, found.lines, found.count) == ("leakage", ((2, 2), (4, 5)), 3)
    assert found.message.startswith("3 of 6 validation examples")
    assert found.examples[0] == "line 2: stands in the training file as line 8"


def test_keys_beside_the_conversation_hide_no_leak() -> None:
    noted = json.dumps({"id": 5, **json.loads(row(7))}).encode()
    found = leakage(prints(row(7) + row(8)), prints(noted))
    assert found is not None
    assert found.lines == ((1, 1),)


def test_without_a_leak_there_is_no_finding() -> None:
    training = b"".join(row(number) for number in range(20))
    assert leakage(prints(training), prints(row(30) + row(31))) is None
    assert leakage(prints(training), io.BytesIO()) is None
    assert leakage(prints(training), prints(row(30) + row(30))) is None


def test_the_known_leak_between_two_real_files_is_found() -> None:
    name = "1-chat/msft.math_rft.{}.v3.jsonl"
    training, validation = (prints(shared(name.format(half)).read_bytes()) for half in ("training", "validation"))
    found = leakage(training, validation)
    assert found is not None
    hashes = validation.getvalue()
    leaked = {hashes[(line - 1) * 16 : line * 16] for first, last in found.lines for line in range(first, last + 1)}
    assert len(leaked) == 62


def test_sampled_questions_come_with_their_answers_and_from_all_over_the_file() -> None:
    content = b"".join(row(number) for number in range(1000))
    samples = sample_prompts([content], 5, seed=3)
    numbers = [int(messages[1]["content"][:-1]) for messages, _ in samples]
    assert [number // 200 for number in numbers] == [0, 1, 2, 3, 4]
    assert [answer for _, answer in samples] == [f"{number}!" for number in numbers]
    assert all([message["role"] for message in messages] == ["system", "user"] for messages, _ in samples)
    assert samples == sample_prompts(io.BytesIO(content), 5, seed=3)
    assert samples != sample_prompts([content], 5, seed=4)


def test_questions_are_not_asked_twice_and_rows_without_an_answer_are_passed_over() -> None:
    call = {"role": "assistant", "tool_calls": []}
    broken = b'{"messages": 5}\n[]\n{"messages": ["x", "y"]}\n\n{broken\n'
    silent = json.dumps({"messages": [{"role": "user", "content": "x"}, call]}).encode() + b"\n"
    content = row(1) + broken + silent + row(1) + row(2)
    assert [answer for _, answer in sample_prompts([content], 5, seed=1)] == ["1!", "2!"]
    assert sample_prompts([content], 0, seed=1) == []


def test_the_page_of_findings_is_the_registry() -> None:
    page = ROOT / "docs" / "reference" / "findings.md"
    assert page.read_text(encoding="utf-8") == render_codes_markdown(), (
        "docs/reference/findings.md is stale; write render_codes_markdown() into it"
    )


def test_every_code_says_what_to_do_and_has_a_name_of_its_own() -> None:
    assert render_codes_markdown().count("\n| `") == len(CODES)
    for name, code in CODES.items():
        assert name == code.name
        assert code.meaning.endswith(".")
        assert code.remedy.endswith(".")
        assert "|" not in code.meaning + code.remedy
