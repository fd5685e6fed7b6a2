"""Formulas of `multi` graders: numbers, names of graders, `+ - * / ^`, parentheses and a few functions.

It evaluates nothing: Azure does. Source: Microsoft Learn, reinforcement fine-tuning, 2026-03-19.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FORMULA_CHARACTERS_MAX: Final = 2000
"""Ours; Azure names no limit."""
DEPTH_MAX: Final = 50
"""Ours: deepest nesting of parentheses and signs."""
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>[-+*/^(),]))"
)


class BadFormula(ValueError):
    """It is no such formula; the message says where (characters counted from 1) and why."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    """Counted from 1."""


def names_in(formula: str, functions: frozenset[str]) -> frozenset[str]:
    """Names of the graders that a formula uses.

    Raises:
        BadFormula: it is none.
    """
    if len(formula) > FORMULA_CHARACTERS_MAX:
        raise BadFormula(f"it has more than {FORMULA_CHARACTERS_MAX:,} characters")
    reader = _Reader(list(_tokens(formula)), functions)
    reader.sum(0)
    reader.end()
    return frozenset(reader.names)


def _tokens(formula: str) -> Iterator[_Token]:
    at = 0
    text = formula.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise BadFormula(f"{text[start]!r} at character {start + 1} has no meaning here")
        yield _Token(found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1)
        at = found.end()


class _Reader:
    """Reads by the grammar: sums of products of powers of values; a sign may stand before a power."""

    def __init__(self, tokens: list[_Token], functions: frozenset[str]) -> None:
        self._tokens = tokens
        self._functions = functions
        self._at = 0
        self.names: set[str] = set()

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._unexpected()

    def sum(self, depth: int) -> None:
        self._product(depth)
        while self._take("+", "-"):
            self._product(depth)

    def _product(self, depth: int) -> None:
        self._power(depth)
        while self._take("*", "/"):
            self._power(depth)

    def _power(self, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise BadFormula(f"it is nested deeper than {DEPTH_MAX} levels")
        if self._take("+", "-"):
            self._power(depth + 1)
            return
        self._value(depth)
        if self._take("^"):
            self._power(depth + 1)

    def _value(self, depth: int) -> None:
        if self._take("("):
            self.sum(depth + 1)
            self._expect(")")
            return
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if token is None or token.kind == "sign":
            raise self._unexpected()
        self._at += 1
        if token.kind == "number":
            return
        if not self._take("("):
            self.names.add(token.text)
            return
        if token.text not in self._functions:
            raise BadFormula(
                f"there is no function {token.text!r} (character {token.at}); there are "
                + ", ".join(sorted(self._functions))
            )
        self.sum(depth + 1)
        while self._take(","):
            self.sum(depth + 1)
        self._expect(")")

    def _take(self, *signs: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at].text in signs:
            self._at += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected(f", where {sign!r} was expected")

    def _unexpected(self, why: str = "") -> BadFormula:
        if self._at >= len(self._tokens):
            return BadFormula(f"it ends too early{why}")
        token = self._tokens[self._at]
        return BadFormula(f"{token.text!r} at character {token.at} is not expected{why}")
