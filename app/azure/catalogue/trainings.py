"""How trainings go at Azure, as dated facts: what "auto" chooses, how long they take, what runs were seen to cost.

It must not know a dataset or a project; prices stand in `catalogue`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import ConfigDict, TypeAdapter

from app.azure.catalogue.catalogue import Confidence, Limit, Method

_STRICT = ConfigDict(extra="forbid", str_min_length=1)
Bound = Literal["low", "expected", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A fact with where and when it was found, and how sure it is."""

    __pydantic_config__ = _STRICT
    source: str
    as_of: date
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoEpochs(Dated):
    """What Azure chooses for `n_epochs` when it is left out, as far as anybody can tell."""

    target: int
    examples_seen_min: int
    """Examples times epochs that a small file is raised to."""
    examples_seen_max: int
    """Examples times epochs that a large file is lowered to."""
    epochs_max: int
    small_set_examples: int
    """Below it the high end is `small_set_high`, above it `large_set_high`."""
    small_set_high: int
    large_set_low: int
    large_set_high: int
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoBatch(Dated):
    """What Azure chooses for `batch_size` when it is left out."""

    share: Decimal
    """Of the examples."""
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Default(Dated):
    """What Azure reported for a hyperparameter that was left out."""

    model: str
    """A base model's id, or `*`."""
    method: Method
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration(Dated):
    """Seconds = overhead + tokens over a rate."""

    overhead_seconds: Mapping[Bound, int]
    tokens_per_hour: Mapping[Bound, int]
    """`low` is the rate of the shortest time, which is the fastest."""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertainCounts(Dated):
    """By which share of itself a count may be off, by what was estimated in it."""

    shares: Mapping[str, Decimal]
    """`all text`, `tools and calls`, `images`: as the check's notes begin; `other tokenizer` = than the model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforcement:
    """What little is known of how long reinforcement trains and how often it asks its grader."""

    __pydantic_config__ = _STRICT
    hours_low: Decimal
    hours_expected: Decimal
    """The high end is Azure's cap on a job's bill over the hourly price."""
    hours_source: str
    samples_per_example_low: int
    samples_per_example_expected: int
    samples_per_example_high: int
    """Answers sampled for one example in one epoch; each is graded once."""
    samples_source: str
    as_of: date
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class GraderPrice(Dated):
    """USD per million tokens of a model that grades, at data zone rates."""

    model: str
    input_usd: Decimal
    output_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedTraining:
    """A training somebody published. Billed tokens stand in Azure's job log, there rounded to thousands."""

    __pydantic_config__ = _STRICT
    model: str
    examples: int | None
    epochs: int
    epochs_chosen_by: Literal["Azure", "unknown"]
    file_tokens: int | None
    billed_tokens: int
    seconds: int | None
    """From creation to the end."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainings:
    """The facts. Immutable; safe to share."""

    __pydantic_config__ = _STRICT
    about: str
    auto_epochs: AutoEpochs
    auto_batch: AutoBatch
    defaults: tuple[Default, ...]
    duration: Duration
    reinforcement: Reinforcement
    grader_prices: tuple[GraderPrice, ...]
    hosting_hours_per_month: Limit
    uncertain_counts: UncertainCounts
    cached_prompt_tokens_min: Limit
    observed: tuple[ObservedTraining, ...]

    def default(self, model: str, method: Method, name: str) -> Default | None:
        """What is known of a hyperparameter that is left out; the model's own word beats one for every model."""
        found = [
            item
            for item in self.defaults
            if item.name == name and item.method == method and item.model in {model, "*"}
        ]
        return max(found, key=lambda item: item.model != "*", default=None)


@cache
def trainings() -> Trainings:
    """The shipped facts."""
    text = files("app.azure.catalogue").joinpath("trainings.json").read_text(encoding="utf-8")
    return TypeAdapter(Trainings).validate_python(json.loads(text))
