"""What Azure takes as a grader, as dated facts. It must not know a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A closed set of words."""

    values: tuple[str, ...]
    source: str
    as_of: date
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """A model that may grade."""

    id: str
    aliases: tuple[str, ...]
    source: str
    as_of: date
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GraderFacts:
    """The facts. Immutable; safe to share."""

    operations: Words
    metrics: Words
    sample_members: Words
    judges: tuple[Judge, ...]
    functions: Words
    python_source_bytes: int
    python_seconds: int
    python_source: str
    python_note: str

    def judge(self, name: str) -> Judge | None:
        """By id or alias; letter case does not matter."""
        wanted = name.lower()
        return next((judge for judge in self.judges if wanted in {judge.id, *judge.aliases}), None)


@cache
def grader_facts() -> GraderFacts:
    """The shipped facts."""
    raw = json.loads(files("app.graders").joinpath("facts.json").read_text(encoding="utf-8"))
    return GraderFacts(
        operations=_words(raw["operations"]),
        metrics=_words(raw["metrics"]),
        sample_members=_words(raw["sample_members"]),
        judges=tuple(
            Judge(**item | {"aliases": tuple(item["aliases"]), "as_of": date.fromisoformat(item["as_of"])})
            for item in raw["judges"]
        ),
        functions=_words(raw["formula"] | {"values": raw["formula"]["functions"]}, but="functions"),
        python_source_bytes=raw["python"]["source_bytes"],
        python_seconds=raw["python"]["seconds"],
        python_source=raw["python"]["source"],
        python_note=raw["python"]["note"],
    )


def _words(raw: Mapping[str, Any], *, but: str = "") -> Words:
    kept = {name: value for name, value in raw.items() if name != but}
    return Words(**kept | {"values": tuple(raw["values"]), "as_of": date.fromisoformat(raw["as_of"])})
