"""When base models end, and what has ended by the virtual clock; it must not know who asks."""

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from emulator.catalogue import BaseModel

Lifecycle = Literal["Preview", "GenerallyAvailable", "Deprecating", "Deprecated"]
LIFECYCLES = ("Preview", "GenerallyAvailable", "Deprecating", "Deprecated")
"""Source: ModelLifecycleStatus of azure-mgmt-cognitiveservices 14.1."""

Use = Literal["fine_tune", "inference", "tuned_inference"]
USES = ("fine_tune", "inference", "tuned_inference")


@dataclass(frozen=True, slots=True)
class Ends:
    """The days from which a base model takes no new jobs, and it or its tuned models answer no more (ISO dates)."""

    fine_tune: str
    inference: str
    tuned_inference: str
    lifecycle: str = "GenerallyAvailable"


_2027 = Ends("2027-04-14", "2027-04-14", "2027-10-14")
_ENDS = {
    "gpt-4o-mini": Ends("2027-04-01", "2027-04-14", "2027-10-01"),
    "gpt-4o": Ends("2027-04-01", "2027-04-14", "2027-10-01", "Deprecating"),
    "o4-mini": Ends("2027-04-16", "2026-11-19", "2027-10-16"),
    "gpt-5": Ends("2027-02-09", "2027-02-09", "2028-02-09"),
}
"""Announced ends; other models share `_2027`. Source: Microsoft Learn, retirement schedule, 2026-07-07 (tuned);
`az cognitiveservices account list-models` in Sweden Central, 2026-09-16 (base). The tuned end of gpt-5 is not
published: a year after its base is assumed."""


class BadEnding(ValueError):
    """An ending that cannot be read; the message says why."""


class Retirements:
    """Announced ends, which are only shown, and ends that a lever set, which are kept to."""

    def __init__(self, set_by_lever: dict[str, dict[str, str]] | None = None) -> None:
        self.set_by_lever = set_by_lever or {}

    def change(self, base: BaseModel, given: object) -> None:
        """Set some ends of a base model, or none (an empty object) to have what was announced again.

        Raises:
            BadEnding: an unknown member, a wrong date or lifecycle.
        """
        if not isinstance(given, dict):
            raise BadEnding(f"'{base.short}' must be an object")
        for name, value in given.items():
            if name not in (*USES, "lifecycle"):
                raise BadEnding(f"unknown member '{name}'; known are {', '.join(USES)} and lifecycle")
            if name == "lifecycle" and value not in LIFECYCLES:
                raise BadEnding(f"'lifecycle' must be one of {', '.join(LIFECYCLES)}")
            if name != "lifecycle" and not _is_date(value):
                raise BadEnding(f"'{name}' must be a day as YYYY-MM-DD")
        self.set_by_lever = {**self.set_by_lever, base.short: {**self.set_by_lever.get(base.short, {}), **given}}
        if not given:
            del self.set_by_lever[base.short]

    def of(self, base: BaseModel) -> Ends:
        return Ends(**{**asdict(_ENDS.get(base.short, _2027)), **self.set_by_lever.get(base.short, {})})

    def ended(self, base: BaseModel, use: Use, now_v: float) -> date | None:
        """The day since which a use has ended; None while it goes on, and for ends that were only announced."""
        day = self.set_by_lever.get(base.short, {}).get(use)
        if day is None or timestamp(day) > now_v:
            return None
        return date.fromisoformat(day)

    def takes_no_new(self, base: BaseModel) -> bool:
        """Whether only accounts that have deployments of the model may make more."""
        return self.set_by_lever.get(base.short, {}).get("lifecycle") in {"Deprecating", "Deprecated"}

    def document(self, bases: tuple[BaseModel, ...]) -> dict[str, Any]:
        """All ends by the model's short name; `kept` says which a lever set."""
        return {
            base.short: {**asdict(self.of(base)), "kept": sorted(self.set_by_lever.get(base.short, {}))}
            for base in bases
        }


def _is_date(value: object) -> bool:
    try:
        date.fromisoformat(str(value))
    except ValueError:
        return False
    return isinstance(value, str) and len(value) == 10


def timestamp(day: str) -> int:
    """The unix second a day begins."""
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
