"""`kitae datasets estimate`: a file on this machine, and any estimate as a person reads it."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from app.azure.catalogue.catalogue import Catalogue
from app.cli import offline, words
from app.cli.exits import Exit, Told
from app.datasets import engine
from app.datasets.engine import reading
from app.datasets.engine.report import printable
from app.datasets.estimates import counts_of, estimate_of
from app.datasets.schemas import EstimateRequest
from app.kit.clock import utc_now
from app.kit.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.costs.estimates import Counts
    from app.costs.schemas import DatasetEstimate, TrainingOffer, UsdRange
    from app.datasets.engine.report import Method

DEFAULT_MODEL: Final = "gpt-4.1-mini"
"""Whose tokenizer counts a file when no model is named; most of the models share it."""
DOLLAR: Final = Decimal(1)
Shared = TypeVar("Shared")


def files_of(what: str, validation: str | None) -> tuple[Path, Path | None] | None:
    """The files that are meant, to train on and to validate on; None where versions are.

    Raises:
        Told: a file is meant that is not there.
    """
    training = Path(what)
    if not training.is_file():
        if "/" in what or training.suffix == ".jsonl":
            raise _missing(what)
        return None
    beside = Path(validation) if validation is not None else None
    if beside is not None and not beside.is_file():
        raise _missing(str(beside))
    return training, beside


def _missing(name: str) -> Told:
    return Told(f"There is no file {printable(name)}.", hint="A version is named like travel@3.", code=Exit.USAGE)


def of_files(
    file: Path, validation: Path | None, wanted: EstimateRequest, *, method: Method | None, how: reading.How
) -> DatasetEstimate:
    """The service's own estimate, without a service.

    Args:
        file: of any kind that can be read.
        how: what was said of the files.

    Raises:
        Told: the file holds no example, or the catalogue lacks a model.
    """
    catalogue = Catalogue.load(None)
    base = catalogue.find(wanted.model or DEFAULT_MODEL)
    if base is None:
        raise Told(
            f"{wanted.model!r} is not a base model in the catalogue.",
            hint="`kitae base-models` lists what there is.",
            code=Exit.USAGE,
        )
    profile = replace(offline.profile_of(catalogue, base), method=method)
    counts = _counts(file, profile, how)
    if validation is not None:
        other = _counts(validation, replace(profile, method=counts.method), how)
        counts = replace(counts, validation_examples=other.examples, validation_tokens=other.tokens)
    try:
        return estimate_of(catalogue, counts, wanted, today=utc_now().date())
    except Invalid as refused:
        raise Told(str(refused), hint="`kitae base-models` lists what there is.", code=Exit.USAGE) from refused


def _counts(file: Path, profile: engine.Profile, how: reading.How) -> Counts:
    size = file.stat().st_size
    with (
        file.open("rb") as source,
        tempfile.TemporaryFile() as content,
        words.progress(f"counting {file.name}", total=size, unit="bytes") as draw,
    ):
        report = reading.check_any(
            source,
            profile,
            how,
            as_version=True,
            on_progress=lambda read: draw(read, ""),
            copy_to=content,
            processes=engine.processes_for(size),
        )
        content.seek(0)
        repeated = engine.repeated_text(content, report.bytes, profile.tokenizer)
    report.stats["repeated_prompt"] = asdict(repeated)
    method = profile.method or report.method
    name = printable(file.name)
    if method is None or not report.examples or not report.tokens.total:
        raise Told(
            f"{name} holds no training example that could be counted.",
            hint=f"`kitae datasets check {name}` says what it is and what to do.",
            code=Exit.PROBLEM,
        )
    return counts_of(report.to_json(), subject=name, method=method)


def tell(found: DatasetEstimate, *, every: bool) -> None:
    """What it may cost first, then what follows from it.

    Args:
        every: each way of training each model, with all reasons and sources; else of several models the cheapest
            way of each, and no sentence twice.
    """
    out = words.data_console()
    words.heading(f"{found.subject}: {found.examples:,} examples, {found.tokens:,} tokens an epoch", to=out)
    epochs = found.epochs
    words.facts(
        [
            ("method", found.method),
            ("epochs", _spread(epochs.low, epochs.expected, epochs.high)),
            (
                "billed tokens",
                _spread(found.billed_tokens.low, found.billed_tokens.expected, found.billed_tokens.high)
                if found.billed_tokens
                else "none: billed by the hour",
            ),
            ("time", _hours(found)),
            ("validation", found.validation),
        ]
    )
    priced = [offer for offer in found.offers if offer.cost is not None]
    shown = priced if every else _cheapest(priced)
    words.heading("training, USD", to=out)
    words.table(
        ["MODEL", "TRAINING", "LOW", "EXPECTED", "HIGH", "PRICE", "OF", "KNOWN"],
        [_row(offer) for offer in shown],
        right=["LOW", "EXPECTED", "HIGH", "PRICE"],
    )
    if len(shown) < len(priced):
        words.say(
            f"  The cheapest way of each model; --all shows all {len(priced)}, and every source.",
            style="dim",
            to=out,
        )
    for offer in found.offers:
        for obstacle in offer.obstacles:
            words.warn(f"{offer.model}, {offer.training_type}: {obstacle}.", to=out)
    if found.grader is not None:
        calls = found.grader.calls
        words.say(
            f"  grading by {found.grader.model}: {_money(found.grader.cost)} for "
            f"{_spread(calls.low, calls.expected, calls.high)} calls",
            to=out,
        )
    words.heading("hyperparameters that Azure would choose", to=out)
    words.facts(
        [
            (item.name, f"{item.value}  {item.reason if every else _first_sentence(item.reason)}")
            for item in found.hyperparameters
        ]
    )
    words.heading("hosting of the tuned model, USD", to=out)
    words.table(
        ["DEPLOYMENT", "HOUR", "MONTH", "NOTE"],
        [
            (", ".join(skus), _usd(hour), _usd(month), note if every else _first_sentence(note))
            for (hour, month, note), skus in _alike(
                ((item.hour_usd, item.month_usd, item.note), item.sku) for item in found.hosting
            ).items()
        ],
        right=["HOUR", "MONTH"],
    )
    _tell_worth(found, None if every else {offer.model for offer in shown})
    for warning in found.warnings:
        words.warn(warning, to=out)


def _cheapest(offers: list[TrainingOffer]) -> list[TrainingOffer]:
    """Of each model the first; all of them where there is only one model. They are in the order of their cost."""
    first: dict[str, TrainingOffer] = {}
    for offer in offers:
        first.setdefault(offer.model, offer)
    return list(first.values()) if len(first) > 1 else offers


def _alike(pairs: Iterable[tuple[Shared, str]]) -> dict[Shared, list[str]]:
    """Names by what they have in common."""
    found: dict[Shared, list[str]] = {}
    for shared, name in pairs:
        found.setdefault(shared, []).append(name)
    return found


def _first_sentence(text: str) -> str:
    return text.split(". ", 1)[0].rstrip(".") + "."


def _tell_worth(found: DatasetEstimate, models: set[str] | None) -> None:
    """`models` are those that are told; None for all."""
    out = words.data_console()
    repeated = found.repeated_prompt
    worth = [item for item in found.worth if models is None or item.model in models]
    words.heading("is tuning worth it?", to=out)
    if repeated.tokens:
        words.say(
            f"  {repeated.rows:,} of {repeated.rows_measured:,} measured rows begin with the same "
            f"{repeated.tokens:,} tokens: {repeated.beginning[:60]!r}. Taken out, an epoch has "
            f"{repeated.saved_training_tokens:,} fewer.",
            to=out,
        )
    elif repeated.rows_measured:
        words.say("  The rows begin with nothing in common.", to=out)
    if not worth:
        words.say("  No inference price is known for these models.", to=out)
        return
    verdicts = _alike((item.verdict, item.model) for item in worth)
    told_once = models is not None and len(verdicts) == 1
    if told_once:
        words.say(f"  {worth[0].verdict}", to=out)
    words.table(
        [
            "TUNED",
            "INSTEAD OF",
            "1,000 CALLS",
            "PROMPTED",
            "BREAK-EVEN A MONTH",
            *([] if told_once else ["WHAT FOLLOWS"]),
        ],
        [
            (
                item.model,
                item.instead_of,
                _usd(item.tuned_usd_per_1000_calls),
                _usd(item.base_usd_per_1000_calls),
                "never"
                if item.break_even_calls_per_month_low is None
                else f"{item.break_even_calls_per_month_low:,}",
                *([] if told_once else [item.verdict]),
            )
            for item in worth
        ],
        right=["1,000 CALLS", "PROMPTED", "BREAK-EVEN A MONTH"],
    )


def _row(offer: TrainingOffer) -> tuple[object, ...]:
    cost, price = offer.cost, offer.price
    return (
        offer.model,
        offer.training_type,
        _usd(cost.low_usd if cost else None),
        _usd(cost.expected_usd if cost else None),
        _usd(cost.high_usd if cost else None),
        f"{price.usd.normalize():f}/{'h' if price.unit == 'hour' else 'M'}" if price else None,
        price.valid_from if price else None,
        price.confidence if price else None,
    )


def _money(cost: UsdRange) -> str:
    return f"${_usd(cost.expected_usd)} (${_usd(cost.low_usd)} to ${_usd(cost.high_usd)})"


def _usd(amount: Decimal | None) -> str | None:
    """To the cent; to a hundredth of one below a dollar, so that no cost reads as nothing."""
    if amount is None:
        return None
    return f"{amount:,.2f}" if amount == 0 or amount >= DOLLAR else f"{amount:.4f}"


def _spread(low: int, expected: int, high: int) -> str:
    return f"{expected:,}" if low == high else f"{expected:,} ({low:,} to {high:,})"


def _hours(found: DatasetEstimate) -> str:
    time = found.time
    low, expected, high = (
        seconds / 3600 for seconds in (time.low_seconds, time.expected_seconds, time.high_seconds)
    )
    return f"about {expected:.1f} h ({low:.1f} to {high:.1f} h), a guess; waiting for a place comes on top"
