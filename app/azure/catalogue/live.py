"""What Azure Resource Manager says of models, beside what the catalogue says: which holds, and what contradicts it.

Pure: it asks nobody and knows neither table nor room. ARM's own word wins, because it is of this account and of
today; the dates in documents moved at least twice in 2026.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

from app.azure.catalogue.catalogue import BaseModel

EndKind = Literal["training", "base_inference", "tuned_inference"]
END_KINDS: Final[tuple[EndKind, ...]] = ("training", "base_inference", "tuned_inference")
_DATED_ID: Final = re.compile(r".+-\d{4}-\d{2}-\d{2}")
_TUNED_MARK: Final = ".ft-"
"""In the name of every fine-tuned model. Source: names in Microsoft's fine-tuning notebooks, 2025."""
_MEMBERS: Final[Mapping[EndKind, str]] = {"training": "fineTune", "base_inference": "inference"}
"""Of `deprecation`. Source: ARM AccountModel, ModelDeprecationInfo, 2024-10-01."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSku:
    """One way in which ARM lets a model be deployed."""

    name: str
    capacity_max: int | None
    """Thousands of tokens per minute."""
    ends_on: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """One entry of an account's list of models, as far as it could be read.

    Source: ARM `Accounts - List Models`, 2024-10-01.
    """

    name: str
    """Without the version: `gpt-4.1-mini`; of a tuned model its whole name."""
    version: str
    format: str | None
    lifecycle: str | None
    """ARM's word, verbatim: GenerallyAvailable, Deprecating, Deprecated, …"""
    is_trained: bool | None
    """`capabilities.fineTune`; None where ARM says nothing, as it does of open models that it trains."""
    ends: Mapping[EndKind, date]
    skus: tuple[LiveSku, ...]

    @property
    def is_tuned(self) -> bool:
        return _TUNED_MARK in self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModels:
    """An account's list of models as it was read at one time."""

    models: tuple[LiveModel, ...]
    read_at: datetime

    def of(self, base: BaseModel) -> LiveModel | None:
        """The entry of a base model; None = the account does not list it."""
        return next((model for model in self.models if is_of(model, base)), None)

    def tuned(self, remote_name: str) -> LiveModel | None:
        """The entry of a fine-tuned model by Azure's name of it."""
        wanted = remote_name.lower()
        return next((model for model in self.models if model.is_tuned and model.name.lower() == wanted), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One value and who says it."""

    value: Any
    origin: Literal["catalogue", "arm"]
    source: str
    as_of: date | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What holds of a model, and what else is said of the same thing.

    Attributes:
        name: `lifecycle`, `training ends`, `deployment SKUs`, …
        holds: the value to go by: ARM's where it has one, else the newest source's.
        contradicted_by: who says otherwise.
    """

    name: str
    holds: Said
    contradicted_by: tuple[Said, ...] = ()


def parse_models(items: Iterable[Mapping[str, Any]]) -> tuple[LiveModel, ...]:
    """ARM's list, read without failing on what is odd, null or absent; an item without a name is left out."""
    found = []
    for item in items:
        name = item.get("name")
        if not isinstance(name, str) or not name:
            continue
        deprecation = _object(item.get("deprecation"))
        ends = {kind: day for kind, member in _MEMBERS.items() if (day := _day(deprecation.get(member)))}
        if _TUNED_MARK in name:  # what ARM calls its inference is that of the tuned model
            ends = {"tuned_inference": ends["base_inference"]} if "base_inference" in ends else {}
        found.append(
            LiveModel(
                name=name,
                version=str(item.get("version") or ""),
                format=_text(item.get("format")),
                lifecycle=_text(item.get("lifecycleStatus")),
                is_trained=_flag(_object(item.get("capabilities")).get("fineTune")),
                ends=ends,
                skus=tuple(_skus(item.get("skus"))),
            )
        )
    return tuple(found)


def is_of(model: LiveModel, base: BaseModel) -> bool:
    """Whether an entry is this base model: ARM keeps the version apart where the catalogue's id ends with it."""
    name = model.name.lower()
    if _DATED_ID.fullmatch(base.id):
        return f"{name}-{model.version}".lower() == base.id.lower() or name == base.id.lower()
    return name in {base.id.lower(), *(alias.lower() for alias in base.aliases)}


def is_worth_keeping(item: Mapping[str, Any], bases: Sequence[BaseModel]) -> bool:
    """Whether an item of ARM's list concerns anybody who fine-tunes; an account lists hundreds of others."""
    if _TUNED_MARK in str(item.get("name")):
        return True
    capabilities, deprecation = _object(item.get("capabilities")), _object(item.get("deprecation"))
    if _flag(capabilities.get("fineTune")) or item.get("finetuneCapabilities") or deprecation.get("fineTune"):
        return True
    return any(is_of(model, base) for model in parse_models([item]) for base in bases)


# ── what holds ──────────────────────────────────────────────────────────────


def end_of(
    base: BaseModel, kind: EndKind, live: LiveModels | None, *, tuned_name: str | None = None
) -> Fact | None:
    """The day something of a base model ends; None = nobody says.

    Args:
        tuned_name: of a fine-tuned model, for which ARM may name a day of its own.
    """
    said = [
        Said(value=item.on, origin="catalogue", source=item.source, as_of=item.as_of or base.as_of)
        for item in base.retirements
        if item.kind == kind
    ]
    said.sort(
        key=lambda one: (one.as_of, -one.value.toordinal()), reverse=True
    )  # the newest, of equals the earliest
    model = None
    if live is not None:
        model = live.tuned(tuned_name) if tuned_name and kind == "tuned_inference" else live.of(base)
    if live is not None and model is not None and kind in model.ends:
        said.insert(0, _arm(model.ends[kind], live))
    return _fact(f"{kind.replace('_', ' ')} ends", said)


def facts(base: BaseModel, live: LiveModels | None) -> list[Fact]:
    """Everything on which the catalogue and ARM may differ, with what holds; then what only one of them says."""
    model = live.of(base) if live is not None else None
    found = [fact for kind in END_KINDS if (fact := end_of(base, kind, live)) is not None]

    def merged(name: str, ours: Any, theirs: Any) -> None:
        said = [] if ours is None else [_ours(ours, base)]
        if live is not None and theirs is not None:
            said.insert(0, _arm(theirs, live))
        fact = _fact(name, said)
        if fact is not None:
            found.append(fact)

    known = set(base.deployment_skus)
    skus = None
    if model is not None:  # ARM also lists provisioned and batch SKUs, and none for tuned ones only (DeveloperTier)
        skus = sorted(known & ({sku.name for sku in model.skus} | {"DeveloperTier"})) or None
    merged("deployment SKUs", sorted(known), skus)
    merged("format", base.format, model.format if model else None)
    merged("lifecycle", None, model.lifecycle if model else None)
    merged("methods", list(base.methods), None)
    merged("offered by this resource", None, None if live is None else model is not None)
    if model is not None and model.is_trained is not None:
        merged("can be trained", bool(base.methods), model.is_trained)
    merged("tokens per example", base.tokens_per_example, None)
    return found


def _fact(name: str, said: Sequence[Said]) -> Fact | None:
    if not said:
        return None
    holds, *others = said
    return Fact(
        name=name, holds=holds, contradicted_by=tuple(other for other in others if other.value != holds.value)
    )


def _ours(value: Any, base: BaseModel) -> Said:
    return Said(value=value, origin="catalogue", source=base.source, as_of=base.as_of)


def _arm(value: Any, live: LiveModels) -> Said:
    return Said(value=value, origin="arm", source="ARM, the account's list of models", as_of=live.read_at)


# ── reading ─────────────────────────────────────────────────────────────────


def _skus(raw: object) -> Iterable[LiveSku]:
    for item in raw if isinstance(raw, list) else ():
        sku = _object(item)
        name = _text(sku.get("name"))
        if name:
            most = _object(sku.get("capacity")).get("maximum")
            yield LiveSku(
                name=name,
                capacity_max=int(most) if isinstance(most, int | float) else None,
                ends_on=_day(sku.get("deprecationDate")),
            )


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _flag(value: object) -> bool | None:
    """ARM writes `"true"` as a string."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else None


def _day(value: object) -> date | None:
    """A time as ISO 8601 text or as Unix seconds; the day in UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC).date()
        if isinstance(value, str) and value:
            return datetime.fromisoformat(value).date()
    except (ValueError, OverflowError, OSError):
        return None
    return None
