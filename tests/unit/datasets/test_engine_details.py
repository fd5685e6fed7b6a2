"""Images, schemas of tools, arguments of calls, references of graders: one row that breaks a rule, and what is said."""

import base64
import json
from typing import Any

import pytest

from app.datasets.engine import Finding, Limits, Profile, check
from app.datasets.engine.reinforcement import strange_references
from app.datasets.engine.schemas import defect_of

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
ANSWER = {"role": "assistant", "content": "A lighthouse."}


def found(row: dict[str, Any], profile: Profile | None = None) -> dict[str, Finding]:
    report = check([json.dumps(row).encode()], profile or Profile("estimate"))
    return {finding.code: finding for finding in report.findings if finding.code != "fewer-than-10-examples"}


def with_image(**image: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": image}]}, ANSWER]}


@pytest.mark.parametrize(
    ("image", "codes"),
    [
        ({"url": f"data:image/png;base64,{PNG}", "detail": "low"}, set()),
        ({"url": "https://example.com/a.png"}, set()),
        ({"url": "http://example.com/a.png"}, {"image-over-http"}),
        ({"url": f"data:image/jpeg;base64,{PNG}"}, {"image-data"}),
        ({"url": "data:image/png;base64,not base 64!"}, {"image-data"}),
        ({"url": f"data:image/png;base64,{PNG}", "detail": "fine"}, {"image-detail"}),
        ({"url": f"data:image/png;base64,{PNG}{'A' * 200}"}, {"image-too-large"}),
        ({"url": f"data:image/gif;base64,{PNG}"}, {"image-url"}),
    ],
)
def test_an_image_is_what_it_is_called_and_not_too_large(image: dict[str, Any], codes: set[str]) -> None:
    assert found(with_image(**image), Profile("estimate", Limits(image_bytes_max=100))).keys() == codes


SOUND = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (SOUND, None),
        ({"type": ["string", "null"], "enum": ["a", None]}, None),
        (
            {"type": "object", "properties": {"x": {"type": "strng"}}},
            ("there is no type 'strng'", "/properties/x/type"),
        ),
        ({**SOUND, "required": ["town"]}, ("'town' is required and not among the properties", "/required")),
        ({"properties": []}, ("properties is not an object", "/properties")),
        ({"items": {"enum": []}}, ("enum is not a list of values", "/items/enum")),
        ({"anyOf": [{"type": "int"}]}, ("there is no type 'int'", "/anyOf/0/type")),
    ],
)
def test_what_is_wrong_with_a_schema_is_named_with_its_place(schema: Any, said: tuple[str, str] | None) -> None:
    assert defect_of(schema) == said


@pytest.mark.parametrize(
    ("schema", "arguments", "code", "said"),
    [
        (SOUND, {"city": "Kobe"}, None, ""),
        (SOUND, {}, "arguments-unfit", "'city' is required and missing"),
        (SOUND, {"city": "Kobe", "day": 1}, "arguments-unfit", "'day' is not declared"),
        ({**SOUND, "additionalProperties": True}, {"city": "Kobe", "day": 1}, None, ""),
        ({**SOUND, "required": ["town"]}, {"city": "Kobe"}, "tools-schema", "'town'"),
    ],
)
def test_arguments_have_the_names_that_the_tool_declares(
    schema: Any, arguments: Any, code: str | None, said: str
) -> None:
    tool = {"type": "function", "function": {"name": "open", "parameters": schema}}
    function = {"name": "open", "arguments": json.dumps(arguments)}
    call = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    told = found({"messages": [{"role": "user", "content": "When?"}, call], "tools": [tool]})
    assert list(told) == ([] if code is None else [code])
    if code is not None:
        assert said in told[code].examples[0]


def graded(grader: dict[str, Any], **members: Any) -> dict[str, Finding]:
    row = {"messages": [{"role": "user", "content": "2 + 2?"}], **members}
    return found(row, Profile("estimate", method="reinforcement", grader=grader))


def test_a_reference_of_the_grader_that_nothing_fills_is_told() -> None:
    grader = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{ answer }}"}
    assert strange_references(grader) == ["answer"]
    assert "grader-reference" in graded(grader, answer="4")
    assert "grader-reference" not in graded({**grader, "reference": "{{ item.answer }}"}, answer="4")


def test_double_braces_in_the_source_of_a_grader_are_no_references() -> None:
    assert not strange_references({"type": "python", "source": "x = f'{{a}}'"})


def test_an_empty_member_that_the_grader_reads_is_told() -> None:
    grader = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    assert graded(grader, answer="")["grader-field-empty"].pointer == "/answer"
    assert "grader-field-empty" not in graded(grader, answer=0)
    assert "grader-field-missing" in graded(grader, other="4")
