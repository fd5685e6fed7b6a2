"""What a grader reads of a row and of an answer, and what that says of it before anything is paid."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.graders.faults import Fault
from app.graders.kinds import Grader, Multi, Part, Python, ScoreModel, StringCheck, TextSimilarity
from app.graders.templates import Path, dotted, leads_somewhere, references_in

ABOUT_THE_ROW: Final = frozenset({"messages", "tools", "parallel_tool_calls"})
"""Members of every row; the others are there for graders."""
_NO_FORMAT: Final = (
    "It reads sample.output_json, but no response_format makes the model answer JSON: an answer that is no JSON "
    "gets no reward."
)


def references(grader: Grader) -> frozenset[Path]:
    """Where the grader looks: `("item", "answer")`, `("sample", "output_text")`."""
    return frozenset(path for part in parts_of(grader) for path in _looks(part))


def missing_fields(grader: Grader, row: Mapping[str, Any]) -> list[str]:
    """What the grader needs of a row that the row has not: `item.answer`; in order, each once."""
    return missing(needs(grader), row)


def needs(grader: Grader) -> tuple[Path, ...]:
    """Paths into the row without which the grader cannot grade; for many rows, found once."""
    return tuple(sorted(path for path in references(grader) if path[0] == "item"))


def missing(paths: tuple[Path, ...], row: Mapping[str, Any]) -> list[str]:
    """Those of the paths that lead nowhere in a row."""
    return [dotted(path) for path in paths if not leads_somewhere(row, path[1:])]


def models(grader: Grader) -> frozenset[str]:
    """Models whose tokens grading uses, which cost."""
    return frozenset(part.model for part in parts_of(grader) if isinstance(part, ScoreModel))


def as_sent(config: Mapping[str, Any], grader: Grader) -> dict[str, Any]:
    """The configuration with models by their ids, as Azure documents them."""
    match grader:
        case ScoreModel(model=model):
            return {**config, "model": model}
        case Multi(graders=inner):
            sent = {name: as_sent(config["graders"][name], part) for name, part in inner.items()}
            return {**config, "graders": sent}
        case _:
            return dict(config)


def pass_threshold(grader: Grader) -> float:
    """From which score on an answer counts as passed; the middle of the range where nothing is said.

    A string check passes at 1. The others' default is ours: Azure wants none in a training.
    """
    match grader:
        case StringCheck():
            return 1.0
        case ScoreModel(pass_threshold=None, range=(lower, upper)):
            return (lower + upper) / 2
        case Multi() | TextSimilarity(pass_threshold=None) | Python(pass_threshold=None):
            return 0.5
        case TextSimilarity() | ScoreModel() | Python():
            assert grader.pass_threshold is not None  # noqa: S101  the cases above took None
            return grader.pass_threshold


def range_of(grader: Grader) -> tuple[float, float] | None:
    """Lowest and highest score; None when the grader does not tell."""
    match grader:
        case StringCheck() | TextSimilarity():
            return 0.0, 1.0
        case ScoreModel():
            return grader.range
        case _:
            return None


def remarks(grader: Grader, *, has_response_format: bool = False) -> list[tuple[str, str]]:
    """What is allowed and yet unwise: a code and words each."""
    return list(_remarks(grader, has_response_format=has_response_format))


def _remarks(grader: Grader, *, has_response_format: bool) -> Iterator[tuple[str, str]]:
    seen = references(grader)
    roots = {path[0] for path in seen}
    if "sample" not in roots and not any(isinstance(part, Python) for part in parts_of(grader)):
        yield "grader-ignores-answer", "It never looks at the answer (sample.…): every answer gets the same reward."
    if isinstance(grader, Multi) and (idle := sorted(set(grader.graders) - grader.uses)):
        yield "grader-unused", f"The formula leaves {', '.join(idle)} out: it is run, and paid, for nothing."
    if any(path[:2] == ("sample", "output_json") for path in seen) and not has_response_format:
        yield "grader-without-format", _NO_FORMAT
    for part in parts_of(grader):
        if isinstance(part, StringCheck) and part.input == part.reference:
            yield "grader-compares-itself", f"{part.name!r} compares a text with itself."


def response_format_fault(config: Mapping[str, Any], *, at: str = "/response_format") -> Fault | None:
    """What is wrong with a `response_format`.

    Source: v1 OpenAPI, 2026-02-02, ResponseFormatJSONSchemaRequest: only `json_schema`.
    """
    if config.get("type") != "json_schema":
        return Fault(
            f"{at}/type", "response-format", "A training takes a response_format of type json_schema only."
        )
    schema = config.get("json_schema")
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str) or not schema["name"]:
        return Fault(f"{at}/json_schema", "response-format", "json_schema is an object with a name and a schema.")
    if not isinstance(schema.get("schema"), dict):
        return Fault(f"{at}/json_schema/schema", "response-format", "schema is a JSON Schema, an object.")
    return None


def parts_of(grader: Grader) -> Iterator[Part]:
    """The graders that grade: of a `multi` its parts."""
    if isinstance(grader, Multi):
        yield from grader.graders.values()
    else:
        yield grader


def _looks(part: Part) -> Iterator[Path]:
    match part:
        case Python(read=found):
            yield from (("item", name) for name in found.item_fields)
            yield from (("sample", name) for name in found.sample_fields)
        case ScoreModel(input=messages):
            for message in messages:
                yield from _paths(message.text)
        case StringCheck() | TextSimilarity():
            yield from _paths(part.input)
            yield from _paths(part.reference)


def _paths(text: str) -> Iterator[Path]:
    return (path for _, path in references_in(text) if path is not None)
