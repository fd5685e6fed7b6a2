"""Graders of reinforcement fine-tuning: what is a grader, and what reward it gives to a sample.

It knows neither jobs nor HTTP. Grader kinds and their members: Microsoft Learn, reinforcement fine-tuning,
2026-03-19, and the v1 specification, 2026-02-02.
"""

import ast
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from emulator.similarity import METRICS

Asker = Callable[[str, list[dict[str, Any]]], tuple[str, int]]
"""Asks a model: name and messages → its answer, and the tokens that took."""

JUDGES: Final = ("gpt-4o-2024-08-06", "o3-mini-2025-01-31")
"""Models a `score_model` grader may name; they need no deployment. Source: Microsoft Learn, reinforcement tuning,
2026-03-19."""

NO_PYTHON: Final = "Graders of the type 'python' are not run by the emulator: it executes no code it was sent."
PYTHON_BYTES: Final = 256 * 1024

ERRORS: Final = (
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
)
"""Flags of a graded sample. Source: RunGraderResponse of the v1 specification, 2026-02-02."""

_REFERENCE = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_OPERATIONS: Final[dict[str, Callable[[str, str], bool]]] = {
    "eq": lambda text, reference: text == reference,
    "ne": lambda text, reference: text != reference,
    "like": lambda text, reference: reference in text,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}
_LONGEST_FORMULA: Final = 500
_FUNCTIONS: Final[dict[str, Callable[..., float]]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}


class BadGrader(ValueError):
    """A grader that cannot be used; the message says what is wrong with it."""


class _Failed(Exception):
    """A sample could not be graded, because of the error of this name."""

    def __init__(self, error: str, details: str = "") -> None:
        super().__init__(error)
        self.error, self.details = error, details


@dataclass(slots=True)
class Graded:
    """What a grader made of a sample: 0 with an error set when it could not be graded."""

    reward: float = 0.0
    errors: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)


# Checking


def check(grader: object, where: str = "grader", *, nested: bool = False) -> dict[str, Any]:
    """The grader, if it is one that can be run.

    Raises:
        BadGrader: with the place and what is wrong.
    """
    if not isinstance(grader, dict):
        raise BadGrader(f"'{where}' must be an object.")
    kind = grader.get("type")
    checker = _CHECKS.get(kind) if isinstance(kind, str) else None
    if checker is None or (nested and kind == "multi"):
        raise BadGrader(f"'{where}.type' must be one of {', '.join(name for name in _CHECKS)}.")
    if not nested or "name" in grader:
        _text(grader, "name", where)
    checker(grader, where)
    return grader


def _text(grader: dict[str, Any], name: str, where: str) -> str:
    value = grader.get(name)
    if not isinstance(value, str) or (not value and name != "reference"):
        raise BadGrader(f"'{where}.{name}' must be a non-empty string.")
    return value


def _check_templates(text: str, where: str) -> None:
    for reference in _REFERENCE.findall(text):
        root = re.split(r"[.\[]", reference)[0]
        if root not in {"sample", "item"}:
            raise BadGrader(f"'{where}' names '{reference}'; a template names sample.… or item.…")


def _check_string(grader: dict[str, Any], where: str) -> None:
    for name in ("input", "reference"):
        _check_templates(_text(grader, name, where), f"{where}.{name}")
    if grader.get("operation") not in tuple(_OPERATIONS):
        raise BadGrader(f"'{where}.operation' must be one of {', '.join(_OPERATIONS)}.")


def _check_similarity(grader: dict[str, Any], where: str) -> None:
    for name in ("input", "reference"):
        _check_templates(_text(grader, name, where), f"{where}.{name}")
    if grader.get("evaluation_metric") not in tuple(METRICS):
        raise BadGrader(f"'{where}.evaluation_metric' must be one of {', '.join(METRICS)}.")


def _check_score(grader: dict[str, Any], where: str) -> None:
    if _text(grader, "model", where) not in JUDGES:
        raise BadGrader(f"'{where}.model' must be one of {', '.join(JUDGES)}.")
    messages = grader.get("input")
    if not isinstance(messages, list) or not messages:
        raise BadGrader(f"'{where}.input' must be a non-empty list of messages.")
    for position, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise BadGrader(f"'{where}.input[{position}]' must be a message with a role.")
        _check_templates(_message_text(message), f"{where}.input[{position}]")
    bounds = grader.get("range", [0, 1])
    numbers = isinstance(bounds, list) and all(
        isinstance(bound, int | float) and not isinstance(bound, bool) for bound in bounds
    )
    if not numbers or len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise BadGrader(f"'{where}.range' must be two numbers, the lower one first.")


def _check_multi(grader: dict[str, Any], where: str) -> None:
    graders = grader.get("graders")
    if not isinstance(graders, dict) or not graders:
        raise BadGrader(f"'{where}.graders' must be an object with at least one grader.")
    for name, one in graders.items():
        if not name.isidentifier():
            raise BadGrader(f"'{where}.graders' has the name '{name[:80]}'; a formula could not use it.")
        check(one, f"{where}.graders.{name}", nested=True)
    formula = _text(grader, "calculate_output", where)
    try:
        compute(formula, dict.fromkeys(graders, 1.0))
    except ArithmeticError:
        return  # only for these numbers
    except ValueError as error:
        raise BadGrader(f"'{where}.calculate_output' cannot be computed: {error}") from error


def _check_python(grader: dict[str, Any], where: str) -> None:
    if len(_text(grader, "source", where).encode("utf-8", "replace")) > PYTHON_BYTES:
        raise BadGrader(f"'{where}.source' may have up to {PYTHON_BYTES} bytes.")
    raise BadGrader(f"'{where}': {NO_PYTHON}")


_CHECKS: Final[dict[str, Callable[[dict[str, Any], str], None]]] = {
    "string_check": _check_string,
    "text_similarity": _check_similarity,
    "score_model": _check_score,
    "multi": _check_multi,
    "python": _check_python,
}


# Grading


def grade(grader: Mapping[str, Any], text: str, item: object, ask: Asker) -> Graded:
    """The reward of a sample's text. The grader has been checked."""
    graded = Graded()
    try:
        graded.reward = _reward(grader, {"sample": _Sample(text), "item": item}, ask, graded)
    except _Failed as failed:
        graded.errors[failed.error] = failed.details
    return graded


@dataclass(frozen=True, slots=True)
class _Sample:
    text: str

    def member(self, name: str) -> object:
        if name == "output_text":
            return self.text
        if name == "output_json":
            try:
                return json.loads(self.text)
            except (ValueError, RecursionError) as error:
                raise _Failed("sample_parse_error") from error
        raise _Failed("invalid_variable_error")


def _look_up(reference: str, names: Mapping[str, object]) -> str:
    """What a template's reference stands for, as text."""
    steps = re.findall(r"[^.\[\]]+", reference)
    found: object = names.get(steps[0]) if steps else None
    for step in steps[1:]:
        match found:
            case _Sample():
                found = found.member(step)
            case dict() if step in found:
                found = found[step]
            case list() if step.isdigit() and int(step) < len(found):
                found = found[int(step)]
            case _:
                raise _Failed("invalid_variable_error")
    if isinstance(found, _Sample):
        raise _Failed("invalid_variable_error")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _filled(template: str, names: Mapping[str, object]) -> str:
    return _REFERENCE.sub(lambda match: _look_up(match[1], names), template)


def _reward(grader: Mapping[str, Any], names: Mapping[str, object], ask: Asker, graded: Graded) -> float:
    match grader["type"]:
        case "string_check":
            operation = _OPERATIONS[grader["operation"]]
            return float(operation(_filled(grader["input"], names), _filled(grader["reference"], names)))
        case "text_similarity":
            metric = METRICS[grader["evaluation_metric"]]
            return metric(_filled(grader["input"], names), _filled(grader["reference"], names))
        case "score_model":
            return _judged(grader, names, ask, graded)
        case _:
            return _combined(grader, names, ask, graded)


def _combined(grader: Mapping[str, Any], names: Mapping[str, object], ask: Asker, graded: Graded) -> float:
    for name, one in grader["graders"].items():
        try:
            graded.scores[name] = _reward(one, names, ask, graded)
        except _Failed as failed:
            graded.scores[name], graded.errors[failed.error] = 0.0, failed.details
    try:
        return compute(grader["calculate_output"], graded.scores)
    except (ArithmeticError, ValueError) as error:
        raise _Failed("formula_parse_error", str(error)) from error


def _message_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def _judged(grader: Mapping[str, Any], names: Mapping[str, object], ask: Asker, graded: Graded) -> float:
    """The number another model answers with, if it lies in the range."""
    messages = [
        {"role": message["role"], "content": _filled(_message_text(message), names)} for message in grader["input"]
    ]
    model = grader["model"]
    text, tokens = ask(model, messages)
    graded.tokens[model] = graded.tokens.get(model, 0) + tokens
    found = _NUMBER.search(text)
    lower, upper = grader.get("range", [0, 1])
    if found is None or not lower <= float(found[0]) <= upper:
        raise _Failed("model_grader_parse_error")
    return float(found[0])


# Formulas


def compute(formula: str, names: Mapping[str, float]) -> float:
    """The value of a formula of names, numbers, `+ - * / ^` and a few functions.

    Raises:
        ValueError: it is no such formula.
        ArithmeticError: it has no finite value for these numbers.
    """
    if len(formula) > _LONGEST_FORMULA:
        raise ValueError(f"it has more than {_LONGEST_FORMULA} characters")
    try:
        tree = ast.parse(formula.replace("^", "**"), mode="eval")
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("it is no formula") from error
    value = _value(tree.body, names)
    if isinstance(value, complex) or not math.isfinite(value):
        raise ArithmeticError("the value is not finite")
    return float(value)


def _value(node: ast.expr, names: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            return -_value(inner, names) if isinstance(sign, ast.USub) else _value(inner, names)
        case ast.BinOp(left=left, op=sign, right=right):
            return _operated(sign, float(_value(left, names)), float(_value(right, names)))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _FUNCTIONS and given:
            try:
                return float(_FUNCTIONS[name](*(_value(one, names) for one in given)))
            except (TypeError, ValueError) as error:
                raise ArithmeticError(f"{name}: {error}") from error
        case _:
            raise ValueError(f"'{ast.unparse(node)[:80]}' is unknown")


def _operated(sign: ast.operator, left: float, right: float) -> float:
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.Pow():
            return math.pow(left, right) if left >= 0 or right.is_integer() else math.nan
        case _:
            raise ValueError("only + - * / ^ are known")
