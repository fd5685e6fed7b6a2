"""Styles: the ways of asking that a generator is told to use. Shipped ones are data; a request may add its own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import ceil
from pathlib import Path
from typing import Final

from app.generation.craft.facts import Name
from app.generation.craft.scripts import Language

_FILE: Final = Path(__file__).parent / "styles.json"
MARGIN: Final = 1.5
"""So many times the wanted phrasings are asked for, because some will be filtered out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One way of asking.

    Attributes:
        descriptions: what a generator is told, by language; `en` stands for every language that is missing.
        needs: of these ways (`ways.WAYS`) a phrasing must show at least one.
        only_with: what a pair must have: a `name`, one with a `short-name`, one with another `spelling`.
        languages: of the questions it is for; empty = all.
        most: how many different phrasings it can give, as a rule; None = many.
        near: its phrasings are near to those of other styles by nature, such as one with a typo.
    """

    name: str
    descriptions: Mapping[str, str]
    needs: tuple[str, ...] = ()
    only_with: str | None = None
    languages: tuple[str, ...] = ()
    most: int | None = None
    near: bool = field(default=False)

    def description(self, language: Language) -> str:
        return (
            self.descriptions.get(language) or self.descriptions.get("en") or next(iter(self.descriptions.values()))
        )

    def fits(self, language: Language, names: Sequence[Name]) -> bool:
        """Whether a pair in this language that names these things can be asked for like this."""
        if self.languages and language not in self.languages:
            return False
        match self.only_with:
            case "name":
                return bool(names)
            case "short-name":
                return any(name.has_short for name in names)
            case "spelling":
                return any(name.also for name in names)
        return True


@cache
def shipped() -> Mapping[str, Style]:
    """The styles that come with the service, by name."""
    found = json.loads(_FILE.read_text(encoding="utf-8"))["styles"]
    return {
        one["name"]: Style(
            name=one["name"],
            descriptions=one["descriptions"],
            needs=tuple(one["needs"]),
            only_with=one.get("only_with"),
            languages=tuple(one.get("languages", ())),
            most=one.get("most"),
            near=one.get("near", False),
        )
        for one in found
    }


def shares(styles: Sequence[Style], wanted: int) -> list[tuple[Style, int]]:
    """How many phrasings to ask for in each style so that `wanted` remain; styles with few possibilities few."""
    total, left = ceil(wanted * MARGIN), list(styles)
    given = {style.name: 0 for style in styles}
    while left and total > 0:
        for style in list(left):
            if style.most is not None and given[style.name] >= style.most:
                left.remove(style)
            elif total > 0:
                given[style.name] += 1
                total -= 1
    return [(style, given[style.name]) for style in styles if given[style.name]]
