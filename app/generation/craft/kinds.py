"""The kinds of generation, seen alike: what is asked for a unit, and what its answer is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from app.generation.craft.verdicts import Fault

TEXT_SHOWN: Final = 2000
"""Characters that are kept of an item."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One request: a subject of the material in one style."""

    subject: int
    style: str
    count: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept so far, as later items are compared with it."""

    subject: int
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an answer. `row` is its chat example; without a fault it is kept."""

    text: str
    row: dict[str, Any] | None = None
    fault: Fault | None = None


class Kind(Protocol):
    """Made from a generation's material."""

    @property
    def prompt_version(self) -> str: ...
    @property
    def wanted(self) -> int:
        """Items to be kept for each subject."""
        ...

    @property
    def subjects(self) -> int: ...
    def label(self, subject: int) -> str:
        """A subject in a few words, for people."""
        ...

    def units(self) -> list[Unit]:
        """The first round."""
        ...

    def more(self, subject: int, missing: int) -> list[Unit]:
        """A further round for a subject that has too few."""
        ...

    def messages(self, unit: Unit, kept: Sequence[Kept]) -> list[dict[str, str]]: ...
    def read(self, unit: Unit, answer: str, finish_reason: str | None, kept: Sequence[Kept]) -> list[Item]:
        """The items of an answer, judged one after the other."""
        ...

    def seeds(self) -> list[tuple[int, dict[str, Any]]]:
        """Rows that the material itself gives, by subject; they stand before what was made of them."""
        ...


def chat_row(question: str, answer: str, system: str | None) -> dict[str, Any]:
    """A chat example as Azure takes it."""
    first = [{"role": "system", "content": system}] if system else []
    return {"messages": [*first, {"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def shown(item: object) -> str:
    return (item if isinstance(item, str) else repr(item))[:TEXT_SHOWN]


Material = Mapping[str, Any]
