"""What a training may cost, take and be worth, from counts and dated prices. Pure.

The one estimator: a job's plan, a version's estimate and the offline command all reckon here. It must not know
where the counts come from. Amounts are Decimal throughout.

Source of the formulas: Microsoft Learn, fine-tuning cost management, 2026-03-19. Supervised and preference
training: tokens of the training file × epochs × price; a validation file adds nothing in its worked example.
Reinforcement: hours × hourly price, and the tokens of a grading model. Waiting, failed jobs and safety checks are
not billed.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, ROUND_UP, Decimal
from typing import Final, Literal

from app.azure.catalogue.catalogue import BaseModel, Catalogue, Method, Price, TrainingType
from app.azure.catalogue.trainings import AutoEpochs, Trainings, trainings
from app.costs.schemas import (
    CostEstimate,
    DatasetEstimate,
    EpochsChoice,
    GraderBill,
    HostingOffer,
    HyperparameterAdvice,
    QuotedPrice,
    RepeatedPrompt,
    TrainingOffer,
    TrainingTime,
    TuningWorth,
    UsdRange,
    WholeRange,
)

MILLION: Final = Decimal(1_000_000)
CENT_PARTS: Final = Decimal("0.0001")
_HOUR_PARTS: Final = Decimal("0.01")
"""Azure rounds the hours of reinforcement to two decimals. Source: cost management, 2026-03-19."""
TRAINING_TYPES: Final[tuple[TrainingType, ...]] = (
    "Standard",
    "GlobalStandard",
    "DataZoneStandard",
    "developerTier",
)
_DATED: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
"""The version at the end of a model's id."""
MONTHS_MAX: Final = 120
"""What takes longer to be paid back is not paid back: no model lives so long."""
HOSTED: Final = ("Standard", "GlobalStandard", "DataZoneStandard", "DeveloperTier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The text that rows begin with."""

    tokens: int
    rows: int
    """That begin with it, among the measured."""
    rows_measured: int
    beginning: str

    @property
    def per_row(self) -> Decimal:
        """Tokens of it in an average row."""
        return Decimal(self.tokens) * self.rows / self.rows_measured if self.rows_measured else Decimal(0)


NOTHING_REPEATED: Final = Repeated(tokens=0, rows=0, rows_measured=0, beginning="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A training set, as far as money looks at it."""

    subject: str
    method: Method
    examples: int
    tokens: int
    """Of one epoch."""
    answer_tokens: int
    """Of the answers that are learned."""
    longest_tokens: int | None
    """Of the longest example."""
    tokenizer: str
    """With which it was counted; `estimate` = none of the model's own."""
    counting_notes: tuple[str, ...] = ()
    """What was estimated rather than counted, in words."""
    repeated: Repeated = NOTHING_REPEATED
    validation_examples: int | None = None
    validation_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grading:
    """A grader that is a model."""

    model: str
    input_tokens_per_call: int
    output_tokens_per_call: int
    calls: int | None = None
    """None: as many as the examples, epochs and samples may make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """For which training an estimate is wanted; what is None is left open."""

    model: str | None = None
    training_type: TrainingType | None = None
    n_epochs: int | None = None
    training_hours: Decimal | None = None
    """Of reinforcement."""
    grading: Grading | None = None
    calls_per_month: int | None = None
    prompt_tokens: int | None = None
    """Of the instructions that a base model would need; None: those that the rows repeat."""
    instead_of: str | None = None
    """The base model that is prompted today; None: the same that is tuned."""
    sku: Literal["Standard", "GlobalStandard", "DataZoneStandard", "DeveloperTier"] = "GlobalStandard"


class UnknownGrader(ValueError):
    """No price is known for a model that shall grade."""


# ── tokens ──────────────────────────────────────────────────────────────────


def auto_epochs(examples: int, rule: AutoEpochs) -> int:
    """What Azure most likely chooses for so many examples."""
    wanted = rule.target
    if examples * wanted < rule.examples_seen_min:
        return min(rule.epochs_max, rule.examples_seen_min // max(examples, 1))
    if examples * wanted > rule.examples_seen_max:
        return max(1, rule.examples_seen_max // examples)
    return wanted


def epochs_range(examples: int, chosen: int | None) -> tuple[int, int, int]:
    """Epochs to expect (low, expected, high): the chosen number, or what "auto" may mean for so many examples."""
    if chosen is not None:
        return chosen, chosen, chosen
    rule = trainings().auto_epochs
    expected = auto_epochs(examples, rule)
    if examples < rule.small_set_examples:
        return min(rule.target, expected), expected, max(rule.small_set_high, expected)
    return min(rule.large_set_low, expected), expected, max(rule.large_set_high, expected)


def auto_batch(examples: int) -> int:
    """What Azure chooses for `batch_size` with so many examples."""
    rule = trainings().auto_batch
    share = (examples * rule.share).to_integral_value(ROUND_HALF_EVEN)
    return max(1, min(rule.max, int(share)))


def epoch_tokens(counts: Counts, tokenizer: str | None) -> WholeRange:
    """Tokens of one epoch, as wide as what was estimated in them.

    Preference training may count the prompt with each of the two answers, so its high end does. Nobody publishes
    whether Azure does: three jobs of its own demonstration trained on 21,622 tokens, more than the 86 KB file seems
    to hold when prompts count once (microsoft-foundry/fine-tuning, DPO_Intel_Orca, 2026-10-04).

    Args:
        tokenizer: the model's own.
    """
    shares = trainings().uncertain_counts.shares
    off = [shares[name] for name in shares for note in counts.counting_notes if note.startswith(name)]
    if counts.tokenizer not in {tokenizer, "estimate"}:
        off.append(shares["other tokenizer"])
    share = max(off, default=Decimal(0))
    most = counts.tokens
    if counts.method == "dpo":
        most += max(0, counts.tokens - counts.answer_tokens)
    return WholeRange(
        low=int(counts.tokens * (1 - share)),
        expected=counts.tokens,
        high=int((most * (1 + share)).to_integral_value(ROUND_CEILING)),
    )


def billed_tokens(counts: Counts, chosen: int | None, tokenizer: str | None) -> WholeRange:
    """Tokens of one epoch × epochs."""
    low, expected, high = epochs_range(counts.examples, chosen)
    one = epoch_tokens(counts, tokenizer)
    return WholeRange(low=one.low * low, expected=one.expected * expected, high=one.high * high)


# ── training ────────────────────────────────────────────────────────────────


def training_cost(
    catalogue: Catalogue, counts: Counts, *, base_model: str, training_type: str, n_epochs: int | None
) -> CostEstimate:
    """One training, for a plan: by tokens, or by the hour for reinforcement.

    Args:
        base_model: an id of the catalogue.
        n_epochs: None leaves them to Azure.
    """
    if counts.method == "reinforcement":
        return _reinforcement_cost(catalogue, counts, base_model, training_type, n_epochs)
    low, expected, high = epochs_range(counts.examples, n_epochs)
    base = catalogue.find(base_model)
    tokens = billed_tokens(counts, n_epochs, base.tokenizer if base else None)
    price = catalogue.price(base_model, "training", training_type)
    warnings = []
    if price is None:
        warnings.append(
            f"No price is known for training {base_model} as {training_type}; "
            "add one to the catalogue file to have costs and budgets."
        )
    elif price.confidence != "verified":
        warnings.append(f"The training price is {price.confidence}: {price.source}")
    return CostEstimate(
        low_usd=by_tokens(tokens.low, price.usd) if price else None,
        expected_usd=by_tokens(tokens.expected, price.usd) if price else None,
        high_usd=by_tokens(tokens.high, price.usd) if price else None,
        tokens=counts.tokens,
        epochs_low=low,
        epochs_expected=expected,
        epochs_high=high,
        price_usd_per_million_tokens=price.usd if price else None,
        price_source=price.source if price else None,
        price_valid_from=price.valid_from.isoformat() if price else None,
        warnings=warnings,
    )


def _reinforcement_cost(
    catalogue: Catalogue, counts: Counts, base_model: str, training_type: str, n_epochs: int | None
) -> CostEstimate:
    """By the hour. The high end is where Azure pauses the job by itself, priced or not."""
    price = catalogue.price(base_model, "training_hours", training_type)
    facts, cap = trainings().reinforcement, Decimal(catalogue.limits.reinforcement_pause_usd)
    low, expected, high = epochs_range(counts.examples, n_epochs)
    told = _cost_of_hours(catalogue, price, Question()) if price else None
    pause = f"Azure pauses a reinforcement job at ${cap:,.0f} of training and grading; so much is reserved."
    warnings = [f"{pause} Tokens of a grading model come on top of the hours."]
    if price is None:
        warnings.append(f"No hourly price is known for training {base_model} as {training_type}.")
    else:
        hours = f"{facts.hours_low} to {facts.hours_expected} hours expected"
        warnings.append(f"${price.usd:.2f} an hour; {hours}, {facts.confidence} ({facts.hours_source}).")
    return CostEstimate(
        low_usd=told.low_usd if told else None,
        expected_usd=told.expected_usd if told else None,
        high_usd=max(cap, told.high_usd) if told else cap,
        tokens=counts.tokens,
        epochs_low=low,
        epochs_expected=expected,
        epochs_high=high,
        price_usd_per_million_tokens=None,
        price_usd_per_hour=price.usd if price else None,
        price_source=price.source if price else None,
        price_valid_from=price.valid_from.isoformat() if price else None,
        warnings=warnings,
    )


def by_tokens(tokens: int, usd_per_million: Decimal) -> Decimal:
    """The cost of so many tokens, rounded up to a hundredth of a cent."""
    return (usd_per_million * tokens / MILLION).quantize(CENT_PARTS, ROUND_UP)


def by_hours(hours: Decimal, usd_per_hour: Decimal) -> Decimal:
    """The cost of so many hours of reinforcement."""
    return (hours.quantize(_HOUR_PARTS, ROUND_UP) * usd_per_hour).quantize(CENT_PARTS, ROUND_UP)


# ── the whole estimate ──────────────────────────────────────────────────────


def estimate(catalogue: Catalogue, counts: Counts, asked: Question, *, today: date) -> DatasetEstimate:
    """Everything that can be said before money is spent.

    Raises:
        UnknownGrader: `asked.grading` names a model whose price is not known.
    """
    facts = trainings()
    low, expected, high = epochs_range(counts.examples, asked.n_epochs)
    candidates = [
        base for base in catalogue.base_models() if counts.method in base.methods and asked.model in {None, base.id}
    ]
    tokens = None if counts.method == "reinforcement" else billed_tokens(counts, asked.n_epochs, counts.tokenizer)
    offers = sorted(
        (
            _offer(catalogue, base, training_type, counts, asked, today)
            for base in candidates
            for training_type in TRAINING_TYPES
            if base.training_types.get(training_type, False) and asked.training_type in {None, training_type}
        ),
        key=_by_cost,
    )
    return DatasetEstimate(
        subject=counts.subject,
        method=counts.method,
        examples=counts.examples,
        tokens=counts.tokens,
        epochs=EpochsChoice(
            low=low, expected=expected, high=high, reason=_why_epochs(counts, asked.n_epochs, facts)
        ),
        billed_tokens=tokens,
        hyperparameters=list(_hyperparameters(counts, asked, candidates, facts)),
        offers=offers,
        hosting=_hosting(catalogue, candidates, facts),
        repeated_prompt=RepeatedPrompt(
            tokens=counts.repeated.tokens,
            rows=counts.repeated.rows,
            rows_measured=counts.repeated.rows_measured,
            beginning=counts.repeated.beginning,
            saved_training_tokens=int(counts.repeated.per_row * counts.examples),
        ),
        worth=_worth(catalogue, counts, asked, candidates, offers),
        time=_time(tokens, asked, catalogue, facts),
        validation=_validation(counts),
        grader=_grader(counts, asked, (low, expected, high), facts),
        warnings=_warnings(counts, offers, candidates),
    )


def _by_cost(offer: TrainingOffer) -> tuple[bool, bool, Decimal, str, str]:
    """What Azure would take before what it would refuse, the cheapest first, the unknown last."""
    amount = offer.cost.expected_usd if offer.cost else Decimal(0)
    return bool(offer.obstacles), offer.cost is None, amount, offer.model, offer.training_type


def _offer(
    catalogue: Catalogue,
    base: BaseModel,
    training_type: TrainingType,
    counts: Counts,
    asked: Question,
    today: date,
) -> TrainingOffer:
    by_the_hour = counts.method == "reinforcement"
    price = catalogue.price(base.id, "training_hours" if by_the_hour else "training", training_type, at=today)
    cost = None
    if price is not None:
        cost = (
            _cost_of_hours(catalogue, price, asked) if by_the_hour else _cost_of_tokens(price, counts, asked, base)
        )
    notes = []
    if training_type == "developerTier":
        notes.append("on spare capacity: may be paused and takes longer; pauses are not billed")
    if base.tokenizer != counts.tokenizer and not by_the_hour:
        notes.append(f"its own tokenizer counts otherwise than {counts.tokenizer}")
    return TrainingOffer(
        model=base.id,
        training_type=training_type,
        cost=cost,
        price=_quoted(price),
        obstacles=list(_obstacles(base, counts, asked, catalogue, today)),
        note="; ".join(notes),
    )


def _cost_of_tokens(price: Price, counts: Counts, asked: Question, base: BaseModel) -> UsdRange:
    tokens = billed_tokens(counts, asked.n_epochs, base.tokenizer)
    return UsdRange(
        low_usd=by_tokens(tokens.low, price.usd),
        expected_usd=by_tokens(tokens.expected, price.usd),
        high_usd=by_tokens(tokens.high, price.usd),
    )


def _cost_of_hours(catalogue: Catalogue, price: Price, asked: Question) -> UsdRange:
    low, expected, high = _hours(catalogue, price, asked)
    return UsdRange(
        low_usd=by_hours(low, price.usd),
        expected_usd=by_hours(expected, price.usd),
        high_usd=by_hours(high, price.usd),
    )


def _hours(catalogue: Catalogue, price: Price | None, asked: Question) -> tuple[Decimal, Decimal, Decimal]:
    """Hours of reinforcement; the high end is where Azure pauses the job for its bill."""
    if asked.training_hours is not None:
        return asked.training_hours, asked.training_hours, asked.training_hours
    known = trainings().reinforcement
    cap = Decimal(catalogue.limits.reinforcement_pause_usd)
    high = cap / price.usd if price is not None and price.usd else Decimal(catalogue.limits.job_hours)
    return known.hours_low, known.hours_expected, max(high, known.hours_expected)


def _obstacles(
    base: BaseModel, counts: Counts, asked: Question, catalogue: Catalogue, today: date
) -> Iterator[str]:
    if (
        base.tokens_per_example is not None
        and counts.longest_tokens is not None
        and counts.longest_tokens > base.tokens_per_example
    ):
        yield f"the longest example has {counts.longest_tokens:,} tokens; it takes {base.tokens_per_example:,}"
    limits = catalogue.limits
    _, expected, _ = epochs_range(counts.examples, asked.n_epochs)
    if counts.method != "reinforcement" and counts.tokens * expected > limits.tokens_times_epochs:
        yield f"tokens × epochs are more than Azure's {limits.tokens_times_epochs:,} for one job"
    if counts.examples < limits.examples_min:
        yield f"{_examples(counts)}, and Azure wants {limits.examples_min}"
    for retirement in base.retirements:
        if retirement.kind == "training" and retirement.on <= today:
            yield f"its training ended on {retirement.on}"


def _quoted(price: Price | None) -> QuotedPrice | None:
    if price is None:
        return None
    return QuotedPrice(
        usd=price.usd,
        unit=price.unit,
        source=price.source,
        valid_from=price.valid_from,
        confidence=price.confidence,
    )


# ── hyperparameters ─────────────────────────────────────────────────────────


_NO_RULE: Final = "Azure publishes no rule for reinforcement."


def _why_epochs(counts: Counts, chosen: int | None, facts: Trainings) -> str:
    if chosen is not None:
        return "As asked for."
    if counts.method == "reinforcement":
        return f"{_NO_RULE} Its bill follows the hours."
    rule = facts.auto_epochs
    seen = counts.examples * rule.target
    if seen < rule.examples_seen_min:
        why = f"{_examples(counts)} are few, so they are read until about {rule.examples_seen_min} were seen"
    elif seen > rule.examples_seen_max:
        why = f"{_examples(counts)} are many, so fewer passes do"
    else:
        why = f"{rule.target} passes are usual for {_examples(counts)}"
    return f"Left to Azure: {why}. {rule.confidence.capitalize()} ({rule.source}). {rule.note}"


def _examples(counts: Counts) -> str:
    return f"{counts.examples:,} example{'s' if counts.examples != 1 else ''}"


def _hyperparameters(
    counts: Counts, asked: Question, candidates: Sequence[BaseModel], facts: Trainings
) -> Iterator[HyperparameterAdvice]:
    _, epochs, _ = epochs_range(counts.examples, asked.n_epochs)
    by_rule = counts.method != "reinforcement"
    yield HyperparameterAdvice(
        name="n_epochs",
        value=str(epochs) if by_rule or asked.n_epochs is not None else "auto",
        chosen=asked.n_epochs is not None,
        reason=_why_epochs(counts, asked.n_epochs, facts),
        confidence="verified" if asked.n_epochs is not None else facts.auto_epochs.confidence,
    )
    share, batch = facts.auto_batch, auto_batch(counts.examples)
    steps = -(-counts.examples // batch) * epochs
    yield HyperparameterAdvice(
        name="batch_size",
        value=str(batch) if by_rule else "auto",
        chosen=False,
        reason=f"{share.share * 100:.1f} % of {_examples(counts)}, 1 to {share.max}; {steps:,} steps. "
        f"{share.source}."
        if by_rule
        else _NO_RULE,
        confidence=share.confidence if by_rule else "unverified",
    )
    yield _learning_rate(counts.method, candidates, facts)
    known = [item for item in facts.defaults if item.method == counts.method and item.model == "*"]
    for item in known:
        yield HyperparameterAdvice(
            name=item.name,
            value=item.value,
            chosen=False,
            reason=f"{item.source}.",
            confidence=item.confidence,
        )


def _learning_rate(method: Method, candidates: Sequence[BaseModel], facts: Trainings) -> HyperparameterAdvice:
    name: Final = "learning_rate_multiplier"
    found = [(base, facts.default(base.id, method, name)) for base in candidates]
    seen = ", ".join(f"{item.value} for {base.id}" for base, item in found if item is not None)
    values = {item.value if item else None for _, item in found}
    value = next(iter(values)) if len(values) == 1 else None
    reason = f"Azure reported {seen}." if seen else "Azure's own choice for it was never seen."
    return HyperparameterAdvice(
        name=name,
        value=value or "auto",
        chosen=False,
        reason=f"{reason} Where a training diverges, or over-fits at once, begin with 0.5 to 1.0.",
        confidence="verified" if value else "unverified",
    )


# ── afterwards ──────────────────────────────────────────────────────────────


def _hosting(catalogue: Catalogue, candidates: Sequence[BaseModel], facts: Trainings) -> list[HostingOffer]:
    hours = facts.hosting_hours_per_month.value
    limits = catalogue.limits
    found = []
    for sku in HOSTED:
        takers = [base.id for base in candidates if sku in base.deployment_skus]
        if not takers:
            continue
        price = catalogue.price(takers[0], "hosting", sku)
        note = (
            f"Azure removes it after {limits.developer_deployment_hours} hours, called or not: for trying out."
            if sku == "DeveloperTier"
            else f"Billed by the hour, called or not; Azure removes it after {limits.idle_deployment_days} days "
            "without a call."
        )
        found.append(
            HostingOffer(
                sku=sku,
                hour_usd=price.usd if price else None,
                month_usd=price.usd * hours if price else None,
                note=f"{note} Source: {price.source}." if price else note,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Rates:
    """USD per million tokens of one model on one SKU."""

    model: str
    given: Decimal
    cached: Decimal
    answered: Decimal


def _rates(catalogue: Catalogue, model: str, sku: str) -> _Rates | None:
    given = catalogue.price(model, "input", sku)
    answered = catalogue.price(model, "output", sku)
    if given is None or answered is None:
        return None
    cached = catalogue.price(model, "cached_input", sku)
    return _Rates(model, given.usd, min(cached.usd if cached else given.usd, given.usd), answered.usd)


def _worth(
    catalogue: Catalogue,
    counts: Counts,
    asked: Question,
    candidates: Sequence[BaseModel],
    offers: Sequence[TrainingOffer],
) -> list[TuningWorth]:
    if not counts.examples:
        return []
    found = []
    for base in candidates:
        tuned = _rates(catalogue, base.id, asked.sku)
        prompted = _rates(catalogue, asked.instead_of or base.id, asked.sku)
        hosting = catalogue.price(base.id, "hosting", asked.sku)
        if tuned is None or prompted is None or hosting is None or asked.sku not in base.deployment_skus:
            continue
        training = next(
            (offer.cost.expected_usd for offer in offers if offer.model == base.id and offer.cost), None
        )
        call = _Call.average(counts, asked.prompt_tokens)
        found.append(_compared(call, tuned, prompted, hosting.usd, training, asked))
    return sorted(found, key=lambda item: (item.tuned_usd_per_1000_calls, item.model))


@dataclass(frozen=True, slots=True)
class _Call:
    """Tokens of an average call."""

    own: Decimal
    """What is asked, without the instructions."""
    instructions: Decimal
    answer: Decimal

    @classmethod
    def average(cls, counts: Counts, instructions: int | None) -> "_Call":
        answers = Decimal(counts.answer_tokens) / counts.examples
        if counts.method == "dpo":
            answers /= 2  # a row holds two answers, a call gets one
        prompt = Decimal(counts.tokens - counts.answer_tokens) / counts.examples
        repeated = min(counts.repeated.per_row, prompt)
        return cls(prompt - repeated, repeated if instructions is None else Decimal(instructions), answers)

    def prompted(self, rates: _Rates, *, cached: bool) -> Decimal:
        """USD of a call with the instructions."""
        begun = rates.cached if cached else rates.given
        return (self.own * rates.given + self.instructions * begun + self.answer * rates.answered) / MILLION

    def tuned(self, rates: _Rates) -> Decimal:
        """USD of a call without them."""
        return (self.own * rates.given + self.answer * rates.answered) / MILLION


def _compared(
    call: _Call,
    tuned: _Rates,
    prompted: _Rates,
    hosting_hour: Decimal,
    training: Decimal | None,
    asked: Question,
) -> TuningWorth:
    facts = trainings()
    may_cache = call.instructions >= facts.cached_prompt_tokens_min.value
    base_usd = call.prompted(prompted, cached=False)
    tuned_usd = call.tuned(tuned)
    saved_most = base_usd - tuned_usd
    saved_least = call.prompted(prompted, cached=may_cache) - tuned_usd
    hours = facts.hosting_hours_per_month.value
    hosting = hosting_hour * hours
    shown = TuningWorth(
        model=tuned.model,
        instead_of=prompted.model,
        sku=asked.sku,
        base_prompt_tokens=int(call.own + call.instructions),
        tuned_prompt_tokens=int(call.own),
        answer_tokens=int(call.answer),
        base_usd_per_1000_calls=base_usd * 1000,
        tuned_usd_per_1000_calls=tuned_usd * 1000,
        saved_usd_per_1000_calls_low=saved_least * 1000,
        saved_usd_per_1000_calls_high=saved_most * 1000,
        hosting_month_usd=hosting,
        break_even_calls_per_hour_low=calls_to_pay(hosting_hour, saved_most),
        break_even_calls_per_hour_high=calls_to_pay(hosting_hour, saved_least),
        break_even_calls_per_month_low=calls_to_pay(hosting, saved_most),
        break_even_calls_per_month_high=calls_to_pay(hosting, saved_least),
        verdict="",
    )
    if asked.calls_per_month is not None:
        gain = saved_most * asked.calls_per_month - hosting
        shown.base_month_usd = base_usd * asked.calls_per_month
        shown.tuned_month_usd = tuned_usd * asked.calls_per_month + hosting
        if training is not None and gain > 0 and gain * MONTHS_MAX >= training:
            shown.training_paid_back_months = (training / gain).quantize(Decimal("0.1"), ROUND_UP)
    shown.verdict = _verdict(shown, asked, may_cache=may_cache)
    return shown


def calls_to_pay(fixed: Decimal, saved: Decimal) -> int | None:
    """The fewest calls whose savings reach a fixed cost; None where a call saves nothing."""
    if saved <= 0:
        return None
    return int((fixed / saved).to_integral_value(ROUND_CEILING))


def _verdict(shown: TuningWorth, asked: Question, *, may_cache: bool) -> str:
    same = shown.model == shown.instead_of
    if shown.break_even_calls_per_month_low is None:
        return (
            "The rows repeat no prompt that tuning could save: only better answers are a reason to tune."
            if same
            else f"A call costs no less than with {shown.instead_of}: only better answers are a reason to tune."
        )
    many = shown.break_even_calls_per_month_low
    cached = shown.break_even_calls_per_month_high
    needed = f"{many:,} calls a month pay the hosting"
    if may_cache and cached != many:
        needed += f" ({cached:,} where the prompt is cached)" if cached else " (never where the prompt is cached)"
    if asked.calls_per_month is None:
        return needed + "."
    if asked.calls_per_month < many:
        return f"{asked.calls_per_month:,} calls a month do not: {needed}."
    months = shown.training_paid_back_months
    back = f"; the training is paid back in {months} months" if months is not None else ""
    return f"{needed}{back}."


def _time(tokens: WholeRange | None, asked: Question, catalogue: Catalogue, facts: Trainings) -> TrainingTime:
    known = facts.duration
    most = catalogue.limits.job_hours * 3600
    if tokens is None:
        guess, given = facts.reinforcement, asked.training_hours
        over = known.overhead_seconds
        return TrainingTime(
            low_seconds=int((given or guess.hours_low) * 3600),
            expected_seconds=min(most, int((given or guess.hours_expected) * 3600) + over["expected"]),
            high_seconds=most if given is None else min(most, int(given * 3600) + over["high"]),
            reason=f"{guess.hours_source}." if given is None else f"The hours asked for. {known.note}",
        )

    def seconds(bound: Literal["low", "expected", "high"], count: int) -> int:
        return min(most, known.overhead_seconds[bound] + count * 3600 // known.tokens_per_hour[bound])

    return TrainingTime(
        low_seconds=seconds("low", tokens.low),
        expected_seconds=seconds("expected", tokens.expected),
        high_seconds=seconds("high", tokens.high),
        reason=f"{known.confidence.capitalize()}: {known.source}. {known.note}",
    )


def _validation(counts: Counts) -> str:
    there = (
        f"The validation set of {counts.validation_examples:,} examples ({counts.validation_tokens:,} tokens)"
        if counts.validation_examples is not None and counts.validation_tokens is not None
        else "A validation set"
    )
    if counts.method == "reinforcement":
        return f"{there} is required for reinforcement, and evaluating it is training time that is billed."
    return f"{there} adds nothing to the bill: only the training file's tokens count."


def _grader(counts: Counts, asked: Question, epochs: tuple[int, int, int], facts: Trainings) -> GraderBill | None:
    grading = asked.grading
    if grading is None or counts.method != "reinforcement":
        return None
    price = next(
        (item for item in facts.grader_prices if grading.model in {item.model, _DATED.sub("", item.model)}), None
    )
    if price is None:
        known = ", ".join(item.model for item in facts.grader_prices)
        raise UnknownGrader(f"No price is known for {grading.model!r} as a grader; there are {known}.")
    samples = facts.reinforcement
    if grading.calls is not None:
        calls = WholeRange(low=grading.calls, expected=grading.calls, high=grading.calls)
        reason = f"As asked for. {price.source}."
    else:
        low, expected, high = (counts.examples * count for count in epochs)
        calls = WholeRange(
            low=low * samples.samples_per_example_low,
            expected=expected * samples.samples_per_example_expected,
            high=high * samples.samples_per_example_high,
        )
        reason = f"Examples × epochs × samples; {samples.samples_source}. {price.source}."
    per_call = price.input_usd * grading.input_tokens_per_call + price.output_usd * grading.output_tokens_per_call

    def usd(count: int) -> Decimal:
        return (per_call * count / MILLION).quantize(CENT_PARTS, ROUND_UP)

    return GraderBill(
        model=price.model,
        calls=calls,
        cost=UsdRange(low_usd=usd(calls.low), expected_usd=usd(calls.expected), high_usd=usd(calls.high)),
        reason=reason,
    )


def _warnings(counts: Counts, offers: Sequence[TrainingOffer], candidates: Sequence[BaseModel]) -> list[str]:
    found = []
    prices = [offer.price for offer in offers if offer.price is not None]
    derived = sum(price.confidence == "estimate" for price in prices)
    unverified = sum(price.confidence == "unverified" for price in prices)
    if derived or unverified:
        found.append(
            f"Of {len(prices)} known training prices {unverified} are unverified and {derived} derived from "
            "another; each names its source. Put your own into the catalogue file."
        )
    unknown = sorted({offer.model for offer in offers if offer.price is None})
    if unknown:
        found.append(f"No training price is known for {', '.join(unknown)}.")
    if not counts.answer_tokens:
        found.append("The rows hold no answers, so what a call's answer costs is left out on both sides.")
    if counts.counting_notes:
        found.append(f"Estimated rather than counted: {'; '.join(counts.counting_notes)}.")
    if not candidates:
        found.append(f"No model in the catalogue is trained with {counts.method}.")
    if counts.method == "reinforcement":
        found.append(
            "Azure pauses the job at its cap; once resumed, nothing limits its bill. The tokens of a grader that "
            "is a model come on top."
        )
    if counts.examples and not counts.repeated.rows_measured:
        found.append("What the rows begin with was not measured when they were checked; upload them again.")
    if counts.repeated.tokens:
        found.append(
            "To save the repeated prompt it must be left out of the rows as well as of the calls: a tuned model "
            "wants at inference what it was trained with."
        )
    return found
