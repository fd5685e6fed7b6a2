"""The source of `python` graders, read without running it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

ENTRY: Final = "grade"
"""Source: Microsoft Learn, reinforcement fine-tuning, 2026-03-19: `grade(sample, item)` gives a number."""


class BadSource(ValueError):
    """It cannot be a grader; the message says why, with the line where there is one."""


@dataclass(frozen=True, slots=True)
class ReadSource:
    """What a source tells of itself."""

    item_fields: frozenset[str]
    """Members of `item` it needs: `item["x"]`, `item.get("x")`. Other ways are not seen."""
    item_fields_optional: frozenset[str]
    """Those for which it has a value of its own: `item.get("x", "")`."""
    sample_fields: frozenset[str]


def read(source: str) -> ReadSource:
    """Raises `BadSource`: no Python, or no `grade(sample, item)` in it."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        line = f" (line {error.lineno})" if error.lineno else ""
        raise BadSource(f"it is no Python: {error.msg}{line}") from None
    except (ValueError, RecursionError, MemoryError):
        raise BadSource("it is no Python that can be read") from None
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == ENTRY]
    if not found:
        later = any(isinstance(node, ast.AsyncFunctionDef) and node.name == ENTRY for node in tree.body)
        raise BadSource(
            "grade must be a plain function, not async" if later else "it defines no function grade(sample, item)"
        )
    function = found[-1]
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    needed = len(names) - len(function.args.defaults)
    takes_two = (len(names) >= 2 and needed <= 2) or (function.args.vararg is not None and needed <= 2)
    if not takes_two or any(default is None for default in function.args.kw_defaults):
        raise BadSource(f"grade is called with two arguments, sample and item; this one takes ({', '.join(names)})")
    sample, item = (*names, "", "")[:2]
    needs, has_default = _members(function, item) if item else (frozenset(), frozenset())
    looks, also = _members(function, sample) if sample else (frozenset(), frozenset())
    return ReadSource(needs, has_default - needs, looks | also)


def _members(function: ast.FunctionDef, name: str) -> tuple[frozenset[str], frozenset[str]]:
    """Members read of a parameter: needed ones, and those with a value of their own."""
    needed: set[str] = set()
    optional: set[str] = set()
    for member, has_default in _reads(function, name):
        (optional if has_default else needed).add(member)
    return frozenset(needed), frozenset(optional)


def _reads(function: ast.FunctionDef, name: str) -> Iterator[tuple[str, bool]]:
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=ast.Name(id=owner), slice=ast.Constant(value=str() as member)) if (
                owner == name and isinstance(node.ctx, ast.Load)
            ):
                yield member, False
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=owner), attr="get"),
                args=[ast.Constant(value=str() as member), *rest],
            ) if owner == name:
                yield member, bool(rest)
