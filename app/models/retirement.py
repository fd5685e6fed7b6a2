"""When models and what is made of them end, how urgent that is, and what to do about it. Pure.

It knows neither table nor room: whoever has models and deployments hands them in as subjects. Anything else that
stands for a model, such as an alias, becomes one more kind of subject.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from app.azure.catalogue.catalogue import BaseModel
from app.azure.catalogue.live import EndKind, Fact, LiveModels, end_of

Level = Literal["ended", "7 days", "30 days", "90 days", "later"]
LEVELS: Final[tuple[tuple[int, Level], ...]] = ((0, "ended"), (7, "7 days"), (30, "30 days"), (90, "90 days"))
"""From so many days before the end on, it is this urgent."""
_WORDS: Final[dict[EndKind, str]] = {
    "training": "it can no longer be trained anew on the same base model",
    "base_inference": "it no longer answers",
    "tuned_inference": "it no longer answers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Something of a project that ends with a model."""

    kind: str
    """`model` or `deployment`."""
    id: str
    name: str
    base: BaseModel
    remote_name: str | None
    """Of a fine-tuned model; None = the base model itself is meant."""
    connection: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """One thing that ends for one subject."""

    subject: Subject
    kind: EndKind
    end: Fact
    """With who says the day, and who says otherwise."""
    days_left: int
    """Negative once it is over."""
    level: Level

    @property
    def on(self) -> date:
        day: date = self.end.holds.value
        return day

    def in_words(self) -> str:
        """`From 2027-10-14 on it no longer answers.`"""
        when = f"Since {self.on}" if self.level == "ended" else f"From {self.on} on"
        return f"{when} {_WORDS[self.kind]}."


def endings(subject: Subject, live: LiveModels | None, *, today: date) -> Iterator[Ending]:
    """Everything that is known to end for a subject; nothing where nobody names a day."""
    for kind in _kinds(subject):
        end = end_of(subject.base, kind, live, tuned_name=subject.remote_name)
        if end is not None:
            days = (end.holds.value - today).days
            yield Ending(subject=subject, kind=kind, end=end, days_left=days, level=level(days))


def level(days_left: int) -> Level:
    """How urgent an end is. On its very day it has come."""
    return next((name for days, name in LEVELS if days_left <= days), "later")


def _kinds(subject: Subject) -> tuple[EndKind, ...]:
    """A tuned model outlives its base's inference; a deployment is not trained again, its model is."""
    if subject.remote_name is None:
        return ("base_inference",)
    return ("tuned_inference", "training") if subject.kind == "model" else ("tuned_inference",)
