"""What the ways reached, how sure that is, and whether tuning is worth offering. Pure: numbers in, words out.

It must not know where scores, tokens or prices come from. Intervals are of 95 %, by bootstrap: cases are drawn
again with replacement, the same cases for every way, so that a hard case is hard for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from app.baselines.ways import WayType
from app.costs.estimates import MILLION, calls_to_pay

DRAWS: Final = 2000
"""Of the bootstrap; twice as many move a bound by less than a hundredth."""
CASES_FEW: Final = 10
"""Fewer scored cases carry no verdict: one of nine is eleven hundredths of the mean."""
LOW: Final = 2.5
HIGH: Final = 97.5

VerdictCode = Literal["tuning_not_offered", "compare_costs", "tuning_worth_trying", "too_few_cases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one way came to, case by case."""

    name: str
    type: WayType
    scores: Sequence[float | None]
    """By case; None where there is no answer, or no score for it."""
    passed: Sequence[bool]
    prompt_tokens: Sequence[int]
    completion_tokens: Sequence[int]
    latency_seconds: Sequence[float]
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What tuning would cost to keep. None = no price is known."""

    input_usd_per_million: Decimal | None
    hosting_month_usd: Decimal | None
    plain_prompt_tokens: float
    """Of a call that shows the question as it was trained: without examples, passages or a longer prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    mean: float
    low: float
    high: float

    @property
    def is_apart(self) -> bool:
        """Whether zero lies outside it."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WayResult:
    """One way, as people compare them."""

    name: str
    type: WayType
    cases: int
    scored: int
    score: Interval | None
    pass_rate: float | None
    prompt_tokens_mean: float | None
    completion_tokens_mean: float | None
    latency_seconds_mean: float | None
    cost_usd: Decimal | None
    behind_best: Interval | None
    """Score of the best way less this one's, on cases that both answered; None for the best itself."""
    extra_prompt_tokens: float | None
    """More than a tuned model's call would need."""
    break_even_calls_per_month: int | None
    """From so many on, leaving these tokens out pays the hosting of a tuned model; None = never, or no price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    code: VerdictCode
    headline: str
    advice: tuple[str, ...]
    best: str | None


def compare(ways: Sequence[Asked], prices: Prices, *, seed: int) -> list[WayResult]:
    """Every way with its interval and what it lacks to the best, in the order given."""
    scores = {way.name: np.array([np.nan if one is None else one for one in way.scores]) for way in ways}
    means = {name: float(np.nanmean(values)) for name, values in scores.items() if not np.isnan(values).all()}
    best = max(means, key=lambda name: means[name], default=None)
    draws = _draws(len(ways[0].scores) if ways else 0, seed)
    return [_result(way, scores, best, prices, draws) for way in ways]


def _draws(cases: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, max(1, cases), size=(DRAWS, cases))


def _interval(values: NDArray[np.float64], draws: NDArray[np.int64]) -> Interval | None:
    known = ~np.isnan(values)
    if not known.any():
        return None
    drawn = values[draws]
    counts = np.maximum(1, known[draws].sum(axis=1))
    means = (np.nansum(drawn, axis=1) / counts)[known[draws].any(axis=1)]
    low, high = np.percentile(means, [LOW, HIGH])
    return Interval(mean=float(values[known].mean()), low=float(low), high=float(high))


def _result(
    way: Asked,
    scores: dict[str, NDArray[np.float64]],
    best: str | None,
    prices: Prices,
    draws: NDArray[np.int64],
) -> WayResult:
    own = scores[way.name]
    scored = int((~np.isnan(own)).sum())
    tokens = _mean(way.prompt_tokens)
    extra = None if tokens is None else max(0.0, tokens - prices.plain_prompt_tokens)
    return WayResult(
        name=way.name,
        type=way.type,
        cases=len(way.scores),
        scored=scored,
        score=_interval(own, draws),
        pass_rate=sum(way.passed) / scored if scored else None,
        prompt_tokens_mean=tokens,
        completion_tokens_mean=_mean(way.completion_tokens),
        latency_seconds_mean=_mean(way.latency_seconds),
        cost_usd=way.cost_usd,
        behind_best=_interval(scores[best] - own, draws) if best not in {None, way.name} else None,
        extra_prompt_tokens=extra,
        break_even_calls_per_month=_break_even(extra, prices),
    )


def _mean(values: Sequence[int] | Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _break_even(extra: float | None, prices: Prices) -> int | None:
    if not extra or prices.input_usd_per_million is None or prices.hosting_month_usd is None:
        return None
    return calls_to_pay(prices.hosting_month_usd, Decimal(round(extra)) * prices.input_usd_per_million / MILLION)


# ── words ───────────────────────────────────────────────────────────────────


def judge(results: Sequence[WayResult], *, good_enough: float, calls_per_month: int | None) -> Verdict:
    """Whether tuning should be offered.

    A way that only words a prompt is free to keep, so it ends the matter. Examples and passages cost tokens with
    every call, so they are weighed against a tuned model's hosting.
    """
    known = [one for one in results if one.score is not None]
    best = max(known, key=lambda one: one.score.mean if one.score else 0.0, default=None)
    if best is None or best.scored < CASES_FEW:
        count = best.scored if best else 0
        headline = f"{count} scored case{'s' if count != 1 else ''} say too little: ask at least {CASES_FEW}."
        return Verdict(
            code="too_few_cases", headline=headline, advice=(), best=best.name if best is not None else None
        )
    good = [one for one in known if one.score is not None and one.score.mean >= good_enough]
    worded = next((one for one in good if one.type in {"zero_shot", "prompt"}), None)
    if worded is not None:
        headline = f"{_reaches(worded)} by wording alone: tuning is not offered."
        return Verdict(
            code="tuning_not_offered", headline=headline, advice=tuple(_luck(worded, good_enough)), best=best.name
        )
    if good:
        cheapest = min(good, key=lambda one: one.extra_prompt_tokens or 0.0)
        advice = [*_costs(cheapest, calls_per_month), *_luck(cheapest, good_enough)]
        extra = cheapest.extra_prompt_tokens or 0.0
        headline = f"{_reaches(cheapest)} without training, for {extra:,.0f} tokens more a call: compare the costs."
        return Verdict(code="compare_costs", headline=headline, advice=tuple(advice), best=best.name)
    headline = (
        f"No way without training is good enough: the best, {best.name}, reaches "
        f"{best.score.mean if best.score else 0:.2f} of {good_enough:g}. Tuning is worth trying."
    )
    return Verdict(
        code="tuning_worth_trying", headline=headline, advice=tuple(_lessons(known, best)), best=best.name
    )


def _reaches(way: WayResult) -> str:
    score = way.score
    return f"{way.name} reaches {score.mean:.2f} ({score.low:.2f} to {score.high:.2f})" if score else way.name


def _luck(way: WayResult, good_enough: float) -> list[str]:
    if way.score is None or way.score.low >= good_enough:
        return []
    low = f"With {way.scored} cases it may be as low as {way.score.low:.2f}"
    return [f"{low}, below the {good_enough:g} that are good enough: ask more cases to be sure."]


def _costs(way: WayResult, calls_per_month: int | None) -> list[str]:
    calls = way.break_even_calls_per_month
    if calls is None:
        return ["What a tuned model's hosting or a call's tokens cost is not known, so no break-even can be told."]
    advice = [f"Leaving these tokens out pays the hosting of a tuned model from {calls:,} calls a month on."]
    if calls_per_month is not None:
        paid = "do not pay it: keep this way" if calls_per_month < calls else "pay it: tuning is worth trying"
        advice.append(f"{calls_per_month:,} calls a month {paid}.")
    if way.type == "retrieval":
        advice.append(
            "Retrieval also brings what changes; a tuned model knows what it was trained on, until it ends."
        )
    return advice


def _lessons(known: Sequence[WayResult], best: WayResult) -> list[str]:
    advice = []
    plain = next((one for one in known if one.type == "zero_shot"), None)
    gain = plain.behind_best if plain is not None else None
    if gain is not None and gain.is_apart and best.type == "few_shot":
        advice.append(
            f"Examples help ({gain.mean:+.2f}, {gain.low:+.2f} to {gain.high:+.2f}): that is what training learns "
            "from."
        )
    elif gain is not None and gain.is_apart and best.type == "retrieval":
        advice.append(
            f"Passages help most ({gain.mean:+.2f}): what is missing is knowledge, so a better index may do more "
            "than training."
        )
    elif any(one.type == "few_shot" for one in known):
        advice.append(
            "Examples in the prompt do not help either: look at a few answers first, whether the cases ask for "
            "what the references hold and the grader measures what you want."
        )
    if not any(one.type == "few_shot" for one in known):
        advice.append("Examples in the prompt were not tried: name the training set to try them.")
    return advice


def to_json(results: Sequence[WayResult], verdict: Verdict) -> dict[str, Any]:
    """As it is kept when a baseline ends."""
    return {
        "verdict": verdict.code,
        "headline": verdict.headline,
        "advice": list(verdict.advice),
        "best": verdict.best,
        "ways": [{name: _plain(getattr(one, name)) for name in WayResult.__dataclass_fields__} for one in results],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return {name: round(getattr(value, name), 4) for name in ("mean", "low", "high")}
    if isinstance(value, Decimal):
        return str(value)
    return round(value, 4) if isinstance(value, float) else value
