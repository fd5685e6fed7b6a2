"""Base models, limits and prices as dated facts, with an operator's corrections laid over the shipped ones.

It asks nobody: Azure's live answers, where there are any, win over what stands here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

Method = Literal["supervised", "dpo", "reinforcement"]
TrainingType = Literal["Standard", "GlobalStandard", "developerTier", "DataZoneStandard"]
PriceKind = Literal["training", "training_hours", "input", "cached_input", "output", "hosting"]
Unit = Literal["million tokens", "hour"]
Confidence = Literal["verified", "unverified", "estimate"]
"""verified: Microsoft or a maintained price table says so; unverified: memory or one odd source;
estimate: derived from another price here."""

OVERRIDE_MAX_BYTES: Final = 4 * 1024 * 1024
_TUNED: Final = re.compile(r"(?P<base>.+?)\.ft-[0-9a-z]{6,}.*", re.IGNORECASE | re.DOTALL)
"""`<base>.ft-<32 hex>[-suffix][:ckpt-step-N]`. Source: names in Microsoft's fine-tuning notebooks, 2025."""
_OPENAI_TUNED: Final = re.compile(r"ft:(?P<base>[^:]+):.*", re.DOTALL)
_PARTS: Final = ("models", "limits", "prices", "successors")
_STRICT: Final = ConfigDict(extra="forbid", str_min_length=1)
T = TypeVar("T")


class CatalogueError(ValueError):
    """A catalogue file cannot be used; the message names the file, the place in it and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """The day something ends. Two sources may disagree; both stand here."""

    __pydantic_config__ = _STRICT
    kind: Literal["training", "base_inference", "tuned_inference"]
    on: date
    source: str
    as_of: date | None = None
    """When the source said so; None = as the model's own entry. The newest source holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A model that Azure fine-tunes."""

    __pydantic_config__ = _STRICT
    id: str
    """As jobs name it: `gpt-4.1-2025-04-14`."""
    aliases: tuple[str, ...] = ()
    family: str
    format: str | None
    """`model.format` of a deployment; a wrong one is answered with HTTP 500. None = not known."""
    methods: tuple[Method, ...]
    training_types: Mapping[TrainingType, bool]
    deployment_skus: tuple[str, ...]
    """`Standard`, `GlobalStandard`, `DataZoneStandard`, `DeveloperTier`; empty = managed compute only."""
    regions: Mapping[TrainingType, tuple[str, ...]]
    """ARM names of the regions that train it, by training type; an absent type = not known."""
    tokens_per_example: int | None
    """The longest training example; None = not published."""
    context_input_tokens: int | None
    """Of the tuned model, which may be shorter than the base model's; None = not published."""
    context_output_tokens: int | None
    tokenizer: str | None
    """tiktoken's name of it; None = a tokenizer that tiktoken does not have."""
    modality: tuple[Literal["text", "image"], ...]
    retirements: tuple[Retirement, ...] = ()
    preview: bool = False
    note: str = ""
    source: str
    as_of: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One number Azure sets."""

    __pydantic_config__ = _STRICT
    value: int
    source: str
    as_of: date
    confidence: Confidence
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one Azure OpenAI resource takes; `facts` has the source of each number."""

    examples_min: int
    """Per file."""
    file_bytes: int
    """Of a file sent in one piece."""
    upload_in_parts_from_bytes: int
    """From here on a file goes up in parts."""
    upload_bytes: int
    """Of a file sent in parts."""
    files_per_resource: int
    file_bytes_per_resource: int
    uploads_per_second: int
    jobs_per_resource: int
    jobs_running: int
    """Standard and Global together."""
    jobs_running_developer: int
    jobs_queued: int
    job_hours: int
    """Azure ends a job that has not ended by then."""
    tokens_times_epochs: int
    tuned_deployments_per_resource: int
    deployments_per_resource: int
    suffix_characters: int
    checkpoints_kept: int
    """Deployable ones: the final model and those before it."""
    idle_deployment_days: int
    """Azure removes a tuned deployment that was not called for so long."""
    developer_deployment_hours: int
    """Azure removes a DeveloperTier deployment after so long, called or not."""
    reinforcement_pause_usd: int
    """Azure pauses a reinforcement job at this bill."""
    images_per_example: int
    image_bytes: int
    examples_with_images: int
    facts: Mapping[str, Limit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What something costs from a day on."""

    __pydantic_config__ = _STRICT
    model: str
    """A base model's id, or `*` for every model."""
    kind: PriceKind
    """`training_hours` is the reinforcement price per hour; `training` is always per million tokens."""
    tier: str
    """A training type for training, a deployment SKU for the rest."""
    usd: Decimal
    unit: Unit
    source: str
    valid_from: date
    confidence: Confidence

    def __post_init__(self) -> None:
        if not self.usd.is_finite() or self.usd < 0:
            raise ValueError("usd must be zero or more")
        expected = "hour" if self.kind in {"training_hours", "hosting"} else "million tokens"
        if self.unit != expected:
            raise ValueError(f"a {self.kind} price is per {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """How a price that is not listed follows from one that is."""

    __pydantic_config__ = _STRICT
    kind: PriceKind
    tier: str
    from_tier: str
    factor: Decimal
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """What to train next when a model ends."""

    __pydantic_config__ = _STRICT
    model: str
    method: Method
    successor: str | None
    """A base model's id; None = nothing trained by this method outlasts it, as far as is known."""
    reason: str
    source: str
    as_of: date
    confidence: Confidence


class Catalogue:
    """The facts. Immutable; safe to share."""

    def __init__(
        self,
        models: Sequence[BaseModel],
        limits: Limits,
        prices: Sequence[Price],
        derivations: Sequence[Derivation] = (),
        successors: Sequence[Successor] = (),
    ) -> None:
        self._models = tuple(models)
        self.limits = limits
        self.prices = tuple(prices)
        self._derivations = tuple(derivations)
        self._successors = {(item.model, item.method): item for item in successors}

    @classmethod
    def load(cls, override: Path | None = None) -> "Catalogue":
        """The shipped facts with an operator's file laid over them.

        Args:
            override: JSON with any of `region_sets`, `models`, `limits`, `prices`, `derivations`, `successors`. A
                model with a shipped id changes only the fields it names; a new id needs every field. A price
                replaces the one of the same model, kind, tier and day, a successor that of its model and method.

        Raises:
            CatalogueError: the file cannot be read or says something that cannot be.
        """
        shipped = {part: _parse(f"shipped {part}.json", _resource(part)) for part in _PARTS}
        own = {} if override is None else _parse(str(override), _override_text(override))
        where = "the shipped catalogue" if override is None else str(override)
        region_sets = shipped["models"]["region_sets"] | own.pop("region_sets", {})
        models = _merged(where, shipped["models"]["models"], own.pop("models", []), ("id",), partial=True)
        price_key = ("model", "kind", "tier", "valid_from")
        prices = _merged(where, shipped["prices"]["prices"], own.pop("prices", []), price_key)
        derivations = _merged(where, shipped["prices"]["derivations"], own.pop("derivations", []), ("kind", "tier"))
        successors = _merged(
            where, shipped["successors"]["successors"], own.pop("successors", []), ("model", "method")
        )
        raw_limits = _changed_limits(where, shipped["limits"]["limits"], own.pop("limits", {}))
        own.pop("about", None)
        if own:
            raise CatalogueError(f"{where}: unknown part {min(own)!r}")
        catalogue = cls(
            _checked(where, "models", tuple[BaseModel, ...], _with_regions(where, models, region_sets)),
            _limits(where, raw_limits),
            _checked(where, "prices", tuple[Price, ...], prices),
            _checked(where, "derivations", tuple[Derivation, ...], derivations),
            _checked(where, "successors", tuple[Successor, ...], successors),
        )
        catalogue._check_names(where)
        return catalogue

    def base_models(self) -> tuple[BaseModel, ...]:
        """Every known model, in the catalogue's order."""
        return self._models

    def find(self, name: str) -> BaseModel | None:
        """The base model of an id, an alias, a tuned model's name or a checkpoint's; None when unknown.

        Letter case does not matter, because Azure accepts `ministral-3b` and answers `Ministral-3B`.
        """
        known = self._by_name.get(name.strip().lower())
        if known is not None:
            return known
        tuned = _TUNED.fullmatch(name.strip()) or _OPENAI_TUNED.fullmatch(name.strip())
        return self._by_name.get(tuned["base"].lower()) if tuned else None

    def successor(self, base: BaseModel, method: str) -> Successor | None:
        """What to train next when a model ends; None = nobody has said anything of it."""
        return next(
            (item for (model, by), item in self._successors.items() if (model, by) == (base.id, method)), None
        )

    def price(self, model: str, kind: PriceKind, tier: str, *, at: date | None = None) -> Price | None:
        """The newest price valid on a day; derived ones are marked `estimate`; None when nothing is known.

        Args:
            model: any name that `find` knows.
            kind: what is paid for.
            tier: a training type for training, a deployment SKU for the rest; letter case does not matter.
            at: today in UTC when None.
        """
        base = self.find(model)
        if base is None:
            return None
        day = at or datetime.now(UTC).date()
        listed = self._listed(base.id, kind, tier, day)
        if listed is not None:
            return listed
        for rule in self._derivations:
            if rule.kind == kind and rule.tier.lower() == tier.lower():
                root = self._listed(base.id, kind, rule.from_tier, day)
                if root is not None:
                    return replace(
                        root,
                        tier=rule.tier,
                        usd=root.usd * rule.factor,
                        source=f"{rule.source}; from {root.source} ({root.confidence})",
                        confidence="estimate",
                    )
        return None

    def _listed(self, model_id: str, kind: PriceKind, tier: str, day: date) -> Price | None:
        """A price of the model itself beats one for every model, then the newer beats the older."""
        valid = [
            price
            for price in self.prices
            if price.kind == kind
            and price.model in {model_id, "*"}
            and price.tier.lower() == tier.lower()
            and price.valid_from <= day
        ]
        return max(valid, key=lambda price: (price.model != "*", price.valid_from), default=None)

    @cached_property
    def _by_name(self) -> Mapping[str, BaseModel]:
        return {name.lower(): model for model in self._models for name in (model.id, *model.aliases)}

    def _check_names(self, where: str) -> None:
        """Two models of one name, or a price of no model, would be silently wrong."""
        taken: dict[str, str] = {}
        for model in self._models:
            for name in {model.id.lower(), *(alias.lower() for alias in model.aliases)}:
                if taken.setdefault(name, model.id) != model.id:
                    raise CatalogueError(f"{where}: {name!r} names both {taken[name]} and {model.id}")
        ids = {model.id for model in self._models}
        for price in self.prices:
            if price.model != "*" and price.model not in ids:
                raise CatalogueError(f"{where}: a price names the unknown model {price.model!r}; use its id")
        for item in self._successors.values():
            if unknown := {item.model, item.successor or item.model} - ids:
                raise CatalogueError(f"{where}: a successor names the unknown model {min(unknown)!r}; use its id")


def _resource(part: str) -> str:
    return files("app.azure.catalogue").joinpath(f"{part}.json").read_text(encoding="utf-8")


def _override_text(path: Path) -> str:
    try:
        if path.stat().st_size > OVERRIDE_MAX_BYTES:
            raise CatalogueError(f"{path}: larger than {OVERRIDE_MAX_BYTES:,} bytes")
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise CatalogueError(f"{path}: cannot be read: {exc}") from exc


def _parse(where: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as exc:
        raise CatalogueError(f"{where}: not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise CatalogueError(f"{where}: must be a JSON object")
    return found


def _merged(
    where: str, shipped: Iterable[dict[str, Any]], own: Any, key: tuple[str, ...], *, partial: bool = False
) -> list[dict[str, Any]]:
    """The shipped rows with the operator's in place of, or laid over, those of the same key."""
    if not isinstance(own, list) or not all(isinstance(row, dict) for row in own):
        raise CatalogueError(f"{where}: a list of objects is expected, each with {', '.join(key)}")
    rows = {tuple(str(row[name]) for name in key): row for row in shipped}
    for row in own:
        missing = [name for name in key if name not in row]
        if missing:
            raise CatalogueError(f"{where}: an entry has no {missing[0]!r}: {json.dumps(row, default=str)[:120]}")
        identity = tuple(str(row[name]) for name in key)
        rows[identity] = (rows.get(identity, {}) | row) if partial else row
    return list(rows.values())


def _with_regions(where: str, models: list[dict[str, Any]], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Models whose regions are spelled out where they name a set of them."""
    spelled = []
    for model in models:
        regions = model.get("regions")
        if not isinstance(regions, dict):
            spelled.append(model)
            continue
        for training_type, value in regions.items():
            if isinstance(value, str) and value not in sets:
                raise CatalogueError(
                    f"{where}: models: {model.get('id')}: regions of {training_type}: no set named {value!r}"
                )
        resolved = {kind: sets[value] if isinstance(value, str) else value for kind, value in regions.items()}
        spelled.append(model | {"regions": resolved})
    return spelled


def _changed_limits(where: str, shipped: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """The shipped limits with the operator's numbers; a bare number is the operator's own word for today."""
    if not isinstance(own, dict):
        raise CatalogueError(f"{where}: limits: an object of names and numbers is expected")
    unknown = sorted(set(own) - set(shipped))
    if unknown:
        raise CatalogueError(f"{where}: limits: {unknown[0]!r} is none of {', '.join(sorted(shipped))}")
    said = {"source": "the operator", "as_of": datetime.now(UTC).date().isoformat(), "confidence": "verified"}
    changed = {name: value if isinstance(value, dict) else said | {"value": value} for name, value in own.items()}
    return dict(shipped) | changed


def _limits(where: str, raw: Mapping[str, Any]) -> Limits:
    facts = _checked(where, "limits", dict[str, Limit], raw)
    names = [item.name for item in fields(Limits) if item.name != "facts"]
    return Limits(**{name: facts[name].value for name in names}, facts=facts)


def _checked(where: str, part: str, shape: type[T], raw: Any) -> T:
    try:
        return TypeAdapter(shape).validate_python(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        place = " → ".join(_place(raw, first["loc"]))
        raise CatalogueError(f"{where}: {part}: {place}: {first['msg']}") from exc


def _place(raw: Any, loc: tuple[int | str, ...]) -> list[str]:
    """The way to a fault, with an entry's own name in place of its number."""
    if loc and isinstance(loc[0], int) and isinstance(raw, list) and loc[0] < len(raw):
        row = raw[loc[0]]
        name = row.get("id") or " ".join(str(row.get(key)) for key in ("model", "kind", "tier") if row.get(key))
        return [str(name or f"entry {loc[0]}"), *map(str, loc[1:])]
    return [str(step) for step in loc] or ["the whole part"]
