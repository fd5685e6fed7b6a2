"""Estimates against arithmetic that Microsoft and others published, and against themselves."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.azure.catalogue.catalogue import Catalogue, Method, Price
from app.azure.catalogue.trainings import ObservedTraining, trainings
from app.costs.estimates import (
    Counts,
    Grading,
    Question,
    Repeated,
    UnknownGrader,
    auto_batch,
    by_hours,
    by_tokens,
    calls_to_pay,
    epoch_tokens,
    epochs_range,
    estimate,
    training_cost,
)
from app.costs.schemas import DatasetEstimate, TrainingOffer, TuningWorth, UsdRange

CATALOGUE = Catalogue.load()
TODAY = date(2026, 11, 21)
OBSERVED = trainings().observed


def counts(method: Method = "supervised", *, examples: int = 500, tokens: int = 1_000_000, **more: Any) -> Counts:
    known: dict[str, Any] = {"answer_tokens": tokens // 4, "longest_tokens": 4_000, "tokenizer": "o200k_base"}
    return Counts(subject="travel@1", method=method, examples=examples, tokens=tokens, **(known | more))


def asked(of: Counts, catalogue: Catalogue = CATALOGUE, **question: Any) -> DatasetEstimate:
    return estimate(catalogue, of, Question(**question), today=TODAY)


def offer(found: DatasetEstimate, model: str, training_type: str) -> TrainingOffer:
    (one,) = (item for item in found.offers if (item.model, item.training_type) == (model, training_type))
    return one


def cost(found: DatasetEstimate, model: str, training_type: str) -> UsdRange:
    known = offer(found, model, training_type).cost
    assert known is not None
    return known


def worth(found: DatasetEstimate, model: str) -> TuningWorth:
    (one,) = (item for item in found.worth if item.model == model)
    return one


def with_price(model: str, kind: Any, tier: str, usd: str) -> Catalogue:
    hourly = kind in {"training_hours", "hosting"}
    price = Price(
        model=model,
        kind=kind,
        tier=tier,
        usd=Decimal(usd),
        unit="hour" if hourly else "million tokens",
        source="Microsoft's worked example",
        valid_from=TODAY,
        confidence="verified",
    )
    return Catalogue(CATALOGUE.base_models(), CATALOGUE.limits, [*CATALOGUE.prices, price])


# ── Microsoft's worked examples: Learn, fine-tuning cost management, 2026-03-19 ──


def test_a_million_tokens_in_two_epochs_at_two_dollars_cost_four_as_microsoft_reckons() -> None:
    catalogue = with_price("gpt-4.1-2025-04-14", "training", "GlobalStandard", "2")
    validated = counts(validation_examples=20, validation_tokens=40_000)
    found = asked(validated, catalogue, n_epochs=2, model="gpt-4.1-2025-04-14", training_type="GlobalStandard")
    assert cost(found, "gpt-4.1-2025-04-14", "GlobalStandard") == UsdRange(
        low_usd=Decimal(4), expected_usd=Decimal(4), high_usd=Decimal(4)
    ), "the validation file's 40,000 tokens are not billed"
    assert found.validation == (
        "The validation set of 20 examples (40,000 tokens) adds nothing to the bill: only the training file's "
        "tokens count."
    )


def test_two_epochs_for_500_examples_as_microsoft_saw_lie_within_what_auto_may_choose() -> None:
    low, expected, high = epochs_range(500, None)
    assert (low, expected, high) == (1, 3, 4)
    assert low <= 2 <= high


def test_four_hours_of_reinforcement_cost_400_and_its_grader_27_06_as_microsoft_reckons() -> None:
    found = asked(
        counts("reinforcement"),
        training_hours=Decimal(4),
        grading=Grading(model="o3-mini", input_tokens_per_call=5_000, output_tokens_per_call=4_900, calls=1_000),
    )
    trained = cost(found, "o4-mini-2025-04-16", "Standard")
    assert trained.expected_usd == Decimal(400)
    assert found.grader is not None
    assert found.grader.cost.expected_usd == Decimal("27.06")
    assert trained.expected_usd + found.grader.cost.expected_usd == Decimal("427.06")


def test_a_month_of_a_deployment_with_20_million_in_and_40_million_out_costs_1422_as_microsoft_reckons() -> None:
    """10,000 conversations of 2,000 tokens in and 4,000 out on o4-mini, whose calls repeat nothing."""
    chatbot = counts("reinforcement", examples=1_000, tokens=6_000_000, answer_tokens=4_000_000)
    month = worth(asked(chatbot, calls_per_month=10_000), "o4-mini-2025-04-16")
    assert month.hosting_month_usd == Decimal(1224)
    assert month.tuned_month_usd == Decimal(1422)


def test_hours_are_billed_in_hundredths() -> None:
    assert by_hours(Decimal("1.25"), Decimal(100)) == Decimal(125)
    assert by_hours(Decimal("1.2501"), Decimal(100)) == Decimal(126)


def test_reinforcement_is_expected_up_to_the_bill_at_which_azure_pauses_it() -> None:
    found = asked(counts("reinforcement"))
    known = cost(found, "o4-mini-2025-04-16", "Standard")
    assert (known.low_usd, known.expected_usd, known.high_usd) == (Decimal(100), Decimal(400), Decimal(5000))
    assert found.billed_tokens is None
    assert any("nothing limits its bill" in warning for warning in found.warnings)


# ── published runs ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("run", OBSERVED, ids=lambda run: f"{run.examples} examples, {run.billed_tokens} billed")
def test_what_azure_did_in_a_published_run_lies_within_the_estimate(run: ObservedTraining) -> None:
    if run.examples is not None and run.epochs_chosen_by == "Azure":
        low, _, high = epochs_range(run.examples, None)
        assert low <= run.epochs <= high
    tokens = run.file_tokens or run.billed_tokens // run.epochs
    found = asked(counts(examples=run.examples or 1_000, tokens=tokens), n_epochs=run.epochs)
    if run.file_tokens is not None:
        assert found.billed_tokens is not None
        billed = (Decimal(found.billed_tokens.expected) / 1000).quantize(Decimal(1)) * 1000
        assert billed == run.billed_tokens, "Azure's job log rounds to thousands"
    if run.seconds is not None:
        assert found.time.low_seconds <= run.seconds <= found.time.high_seconds


@pytest.mark.parametrize(
    ("examples", "epochs"),
    [(10, 10), (11, 9), (20, 5), (33, 3), (34, 3), (40, 3), (8_333, 3), (8_334, 2), (12_501, 1), (37_120, 1)],
)
def test_small_files_are_read_until_a_hundred_examples_were_seen_and_large_ones_less(
    examples: int, epochs: int
) -> None:
    assert epochs_range(examples, None)[1] == epochs


@pytest.mark.parametrize(("examples", "batch"), [(10, 1), (1_000, 2), (10_000, 20), (1_000_000, 256)])
def test_a_batch_is_a_five_hundredth_of_the_examples_up_to_256(examples: int, batch: int) -> None:
    assert auto_batch(examples) == batch


def test_the_learning_rate_that_azure_reported_is_told_with_its_source() -> None:
    found = asked(counts(), model="gpt-4.1-nano-2025-04-14")
    (rate,) = (item for item in found.hyperparameters if item.name == "learning_rate_multiplier")
    assert (rate.value, rate.confidence, rate.chosen) == ("0.1", "verified", False)


# ── prices ──────────────────────────────────────────────────────────────────


def test_the_cheapest_offer_stands_first_and_those_without_a_price_last() -> None:
    offers = asked(counts()).offers
    known = [item.cost.expected_usd for item in offers if item.cost]
    assert known == sorted(known)
    assert [item.cost is None for item in offers] == sorted(item.cost is None for item in offers)
    assert {item.model for item in offers if item.cost is None} >= {"gpt-oss-20b", "Ministral-3B"}


def test_the_developer_tier_costs_half_of_global_and_says_that_it_may_take_longer() -> None:
    found = asked(counts(), n_epochs=3)
    cheap = offer(found, "gpt-4.1-mini-2025-04-14", "developerTier")
    assert cost(found, "gpt-4.1-mini-2025-04-14", "GlobalStandard").expected_usd == Decimal(15)
    assert cheap.cost is not None
    assert cheap.cost.expected_usd == Decimal("7.5")
    assert "takes longer" in cheap.note
    assert cheap.price is not None
    assert cheap.price.confidence == "estimate"


def test_every_price_comes_with_source_day_and_confidence_and_doubtful_ones_are_warned_of() -> None:
    found = asked(counts())
    prices = [item.price for item in found.offers if item.price]
    assert all(price.source and price.valid_from <= TODAY for price in prices)
    assert any(price.confidence == "unverified" for price in prices)
    assert any("unverified" in warning for warning in found.warnings)


def test_what_azure_would_refuse_is_offered_last_with_the_reason() -> None:
    found = asked(counts(longest_tokens=40_000))
    nano = offer(found, "gpt-4.1-nano-2025-04-14", "GlobalStandard")
    assert nano.obstacles == ["the longest example has 40,000 tokens; it takes 32,768"]
    assert not found.offers[0].obstacles
    huge = asked(counts(examples=5_000, tokens=900_000_000))
    assert any("2,000,000,000" in obstacle for obstacle in huge.offers[0].obstacles)


def test_only_models_that_are_trained_by_the_method_are_offered() -> None:
    assert {item.model for item in asked(counts("dpo")).offers} == {
        base.id for base in CATALOGUE.base_models() if "dpo" in base.methods
    }


def test_a_grader_without_a_known_price_is_refused() -> None:
    grading = Grading(model="gpt-99", input_tokens_per_call=1, output_tokens_per_call=1)
    with pytest.raises(UnknownGrader, match="o3-mini"):
        asked(counts("reinforcement"), grading=grading)


def test_a_plan_and_an_estimate_reckon_the_same() -> None:
    for examples, tokens, epochs in [(12, 700, None), (500, 1_000_001, 2), (20_000, 12_345_678, None)]:
        found = asked(counts(examples=examples, tokens=tokens), n_epochs=epochs)
        for item in found.offers:
            planned = training_cost(
                CATALOGUE,
                counts(examples=examples, tokens=tokens),
                base_model=item.model,
                training_type=item.training_type,
                n_epochs=epochs,
            )
            if item.cost is None:
                assert planned.expected_usd is None
            else:
                assert (planned.low_usd, planned.expected_usd, planned.high_usd) == (
                    item.cost.low_usd,
                    item.cost.expected_usd,
                    item.cost.high_usd,
                )


def test_a_plan_for_reinforcement_goes_by_the_hour_up_to_where_azure_pauses_it() -> None:
    planned = training_cost(
        CATALOGUE, counts("reinforcement"), base_model="o4-mini", training_type="Standard", n_epochs=None
    )
    told = (planned.low_usd, planned.expected_usd, planned.high_usd, planned.price_usd_per_hour)
    assert told == (Decimal(100), Decimal(400), Decimal(5000), Decimal(100))
    assert "pauses a reinforcement job at $5,000" in planned.warnings[0]


def test_a_reinforcement_without_a_price_may_still_cost_what_azure_lets_it() -> None:
    planned = training_cost(
        CATALOGUE, counts("reinforcement"), base_model="gpt-5", training_type="Standard", n_epochs=None
    )
    assert (planned.expected_usd, planned.high_usd) == (None, Decimal(5000))


def test_preference_training_may_be_billed_for_its_prompt_twice() -> None:
    pairs = epoch_tokens(counts("dpo", tokens=1_133, answer_tokens=483), "o200k_base")
    assert (pairs.low, pairs.expected, pairs.high) == (1_133, 1_133, 1_133 + 650)


@pytest.mark.parametrize(
    ("note", "tokenizer", "low", "high"),
    [
        (None, "o200k_base", 1_000, 1_000),
        ("tools and calls: counted as their JSON", "o200k_base", 900, 1_100),
        ("images: 85 tokens each at low detail", "o200k_base", 500, 1_500),
        (None, None, 670, 1_330),
    ],
)
def test_the_range_is_as_wide_as_what_was_estimated_in_the_count(
    note: str | None, tokenizer: str | None, low: int, high: int
) -> None:
    found = epoch_tokens(counts(tokens=1_000, counting_notes=(note,) if note else ()), tokenizer)
    assert (found.low, found.expected, found.high) == (low, 1_000, high)


# ── is tuning worth it ──────────────────────────────────────────────────────

LONG_PROMPT = Repeated(tokens=1_200, rows=500, rows_measured=500, beginning="You are")
PROMPTED = counts(tokens=1_000_000, answer_tokens=300_000, repeated=LONG_PROMPT)
"""A row asks 1,400 tokens, 1,200 of them the same everywhere, and answers 600."""


def test_the_break_even_is_where_saved_prompt_tokens_pay_the_hosting() -> None:
    """gpt-4.1-mini: 1,200 × $0.40/M = $0.00048 a call; $1.70 an hour / 0.00048 = 3,541.7; $1,224 / 0.00048."""
    mini = worth(asked(PROMPTED), "gpt-4.1-mini-2025-04-14")
    assert (mini.base_prompt_tokens, mini.tuned_prompt_tokens, mini.answer_tokens) == (1_400, 200, 600)
    assert mini.base_usd_per_1000_calls == Decimal("1.52")
    assert mini.tuned_usd_per_1000_calls == Decimal("1.04")
    assert mini.break_even_calls_per_hour_low == 3_542
    assert mini.break_even_calls_per_month_low == 2_550_000


def test_a_cached_prompt_saves_less_so_more_calls_are_needed() -> None:
    """Cached input costs $0.10/M: 1,200 × 0.10/M = $0.00012 a call; $1,224 / 0.00012."""
    mini = worth(asked(PROMPTED), "gpt-4.1-mini-2025-04-14")
    assert mini.saved_usd_per_1000_calls_low == Decimal("0.12")
    assert mini.break_even_calls_per_month_high == 10_200_000
    short = counts(repeated=Repeated(tokens=1_000, rows=500, rows_measured=500, beginning="You are"))
    under = worth(asked(short), "gpt-4.1-mini-2025-04-14")
    assert under.break_even_calls_per_month_low == under.break_even_calls_per_month_high, "too short to be cached"


def test_replacing_a_larger_model_pays_much_earlier() -> None:
    """gpt-4.1 with the prompt: 1,400 × $2/M + 600 × $8/M = $0.0076; tuned mini without: $0.00104."""
    mini = worth(asked(PROMPTED, instead_of="gpt-4.1-2025-04-14"), "gpt-4.1-mini-2025-04-14")
    assert mini.base_usd_per_1000_calls == Decimal("7.6")
    assert mini.break_even_calls_per_month_low == 186_586  # 1,224 / 0.00656 = 186,585.4
    assert mini.verdict.startswith("186,586 calls a month pay the hosting")


def test_at_a_number_of_calls_it_says_when_the_training_is_paid_back() -> None:
    """At 500,000 calls: saved 500,000 × 0.00656 = $3,280, less $1,224 hosting = $2,056 a month."""
    found = asked(PROMPTED, instead_of="gpt-4.1-2025-04-14", calls_per_month=500_000, n_epochs=3)
    mini = worth(found, "gpt-4.1-mini-2025-04-14")
    assert mini.base_month_usd == Decimal(3800)
    assert mini.tuned_month_usd == Decimal(1744)
    assert mini.training_paid_back_months == Decimal("0.1")


def test_too_few_calls_are_told_so() -> None:
    mini = worth(asked(PROMPTED, calls_per_month=100_000), "gpt-4.1-mini-2025-04-14")
    assert mini.training_paid_back_months is None
    assert mini.verdict.startswith("100,000 calls a month do not: 2,550,000 calls")


def test_rows_that_repeat_nothing_give_no_reason_of_money() -> None:
    mini = worth(asked(counts()), "gpt-4.1-mini-2025-04-14")
    assert mini.break_even_calls_per_month_low is None
    assert "only better answers" in mini.verdict


def test_a_prompt_may_be_named_that_does_not_stand_in_the_rows() -> None:
    mini = worth(asked(counts(), prompt_tokens=3_000), "gpt-4.1-mini-2025-04-14")
    assert mini.base_prompt_tokens - mini.tuned_prompt_tokens == 3_000
    assert mini.break_even_calls_per_month_low == 1_020_000  # 1,224 / (3,000 × 0.40 / 10^6)


def test_the_developer_tier_has_no_hosting_to_pay_for() -> None:
    mini = worth(asked(PROMPTED, sku="DeveloperTier"), "gpt-4.1-mini-2025-04-14")
    assert mini.break_even_calls_per_month_low == 0
    hosting = {item.sku: item for item in asked(counts()).hosting}
    assert "24 hours" in hosting["DeveloperTier"].note
    assert hosting["Standard"].month_usd == Decimal(1224)


def test_what_saves_nothing_never_pays() -> None:
    assert calls_to_pay(Decimal(1), Decimal(0)) is None
    assert calls_to_pay(Decimal(1), Decimal(-1)) is None
    assert calls_to_pay(Decimal("1.7"), Decimal("0.4")) == 5


# ── of any counts ───────────────────────────────────────────────────────────

ANY_COUNTS = st.builds(
    lambda method, examples, per_example, answers, share: counts(
        method,
        examples=examples,
        tokens=examples * per_example,
        answer_tokens=examples * per_example * answers // 100,
        repeated=Repeated(tokens=per_example * share // 100, rows=7, rows_measured=9, beginning="x"),
    ),
    st.sampled_from(["supervised", "dpo", "reinforcement"]),
    st.integers(1, 2_000_000),
    st.integers(1, 70_000),
    st.integers(0, 100),
    st.integers(0, 100),
)
EPOCHS = st.none() | st.integers(1, 50)


@settings(max_examples=60, deadline=None)
@given(ANY_COUNTS, EPOCHS, st.none() | st.integers(1, 10**12))
def test_low_is_at_most_expected_is_at_most_high(of: Counts, epochs: int | None, calls: int | None) -> None:
    found = asked(of, n_epochs=epochs, calls_per_month=calls)
    assert 1 <= found.epochs.low <= found.epochs.expected <= found.epochs.high
    assert found.time.low_seconds <= found.time.expected_seconds <= found.time.high_seconds
    for item in found.offers:
        if item.cost is not None:
            assert 0 < item.cost.low_usd <= item.cost.expected_usd <= item.cost.high_usd
    for pair in found.worth:
        assert pair.saved_usd_per_1000_calls_low <= pair.saved_usd_per_1000_calls_high
        assert pair.tuned_prompt_tokens <= pair.base_prompt_tokens
        least, most = pair.break_even_calls_per_month_low, pair.break_even_calls_per_month_high
        assert most is None or (least is not None and least <= most)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(1, 49), st.integers(10, 10**6))
def test_more_tokens_and_more_epochs_never_cost_less(few: int, more: int, epochs: int, examples: int) -> None:
    def amounts(tokens: int, times: int | None) -> list[Decimal]:
        planned = training_cost(
            CATALOGUE,
            counts(examples=examples, tokens=tokens),
            base_model="gpt-4.1-nano",
            training_type="developerTier",
            n_epochs=times,
        )
        return [
            amount for amount in (planned.low_usd, planned.expected_usd, planned.high_usd) if amount is not None
        ]

    low, high = sorted((few, more))
    for times in (None, epochs):
        assert all(one <= other for one, other in zip(amounts(low, times), amounts(high, times), strict=True))
    assert amounts(low, epochs) <= amounts(low, epochs + 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**12), st.decimals("0.01", "1000", places=4))
def test_money_is_exact_and_rounded_up_to_a_hundredth_of_a_cent(tokens: int, price: Decimal) -> None:
    amount, exact = by_tokens(tokens, price), price * tokens / 1_000_000
    assert isinstance(amount, Decimal)
    assert exact <= amount < exact + Decimal("0.0001")
