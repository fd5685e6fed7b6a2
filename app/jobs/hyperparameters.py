"""What each method may be told: names, ranges, defaults and why, as dated facts. Pure; it must not know a job."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter

from app.azure.catalogue.catalogue import Confidence, Method
from app.azure.catalogue.trainings import trainings

_STRICT = ConfigDict(extra="forbid", str_min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameter:
    """One thing that may be chosen instead of leaving it to Azure."""

    __pydantic_config__ = _STRICT
    name: str
    methods: tuple[Method, ...]
    kind: Literal["integer", "number", "choice"]
    lowest: Decimal | None = None
    highest: Decimal | None = None
    choices: tuple[str, ...] = ()
    advised: tuple[Decimal, Decimal] | None
    """Lowest and highest of published advice; None = there is none."""
    default: str
    """What Azure takes when it is left out: a value, or `auto` where it chooses by the data."""
    meaning: str
    reason: str
    """Why this range."""
    source: str
    as_of: date
    confidence: Confidence

    def default_for(self, model: str | None, method: Method) -> str:
        """What Azure takes when it is left out, for a base model where that is known."""
        known = trainings().default(model or "*", method, self.name)
        return known.value if known else self.default


@dataclass(frozen=True, slots=True)
class Refusal:
    """A value that cannot be, and why; `is_unwise`: it can, but published advice is against it."""

    name: str
    detail: str
    remedy: str
    is_unwise: bool = False


@cache
def hyperparameters() -> tuple[Hyperparameter, ...]:
    """The shipped facts."""
    text = files("app.jobs").joinpath("hyperparameters.json").read_text(encoding="utf-8")
    return TypeAdapter(tuple[Hyperparameter, ...]).validate_python(json.loads(text)["hyperparameters"])


def hyperparameters_of(method: str) -> tuple[Hyperparameter, ...]:
    return tuple(item for item in hyperparameters() if method in item.methods)


def refusals(method: str, chosen: Mapping[str, Any]) -> list[Refusal]:
    """What of the chosen values cannot be, or is unwise, in words."""
    known = {item.name: item for item in hyperparameters()}
    found = [_refused(known.get(name), name, value, method) for name, value in chosen.items()]
    return [item for item in found if item is not None]


def _refused(item: Hyperparameter | None, name: str, value: Any, method: str) -> Refusal | None:
    if item is None or method not in item.methods:
        names = ", ".join(one.name for one in hyperparameters_of(method))
        whose = f"{name} belongs to {' and '.join(item.methods)}" if item else f"There is no {name}"
        return Refusal(name, f"{whose}; {method} training takes {names}.", "Leave it out.")
    if item.kind == "choice":
        if value in item.choices:
            return None
        return Refusal(name, f"{name} is one of {', '.join(item.choices)}; not {value!r}.", item.reason)
    amount = Decimal(str(value))
    span = f"{item.lowest} to {item.highest}"
    if (item.lowest is not None and amount < item.lowest) or (item.highest is not None and amount > item.highest):
        return Refusal(
            name, f"{name} is {span}; not {value}. {item.reason}", "Leave it out for Azure's own choice."
        )
    if item.advised is not None and not item.advised[0] <= amount <= item.advised[1]:
        advice = f"{item.advised[0]} to {item.advised[1]}"
        return Refusal(
            name, f"{name} of {value} is beyond what is advised, {advice}. {item.reason}", "", is_unwise=True
        )
    return None
