"""The catalogue's facts, how names and prices are found in it, and how an operator corrects it."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.azure.catalogue.catalogue import Catalogue, CatalogueError

SHIPPED = Catalogue.load()
TODAY = date(2026, 11, 21)


@pytest.fixture
def override(tmp_path: Path):
    def write(content: Any) -> Path:
        path = tmp_path / "catalogue.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("gpt-4.1-2025-04-14", "gpt-4.1-2025-04-14"),
        ("gpt-4.1", "gpt-4.1-2025-04-14"),
        (" GPT-4.1 ", "gpt-4.1-2025-04-14"),
        ("ministral-3b", "Ministral-3B"),
        ("gpt-4.1-mini-2025-04-14.ft-b044a9d3f0f44b8c8a0b", "gpt-4.1-mini-2025-04-14"),
        ("gpt-4.1-2025-04-14.ft-70ee3e37776e4428b20685fcd0728abb-gpt41-chart-qa-dev-01", "gpt-4.1-2025-04-14"),
        ("gpt-4o-mini-2024-07-18.ft-0e208cf33a6a466994aff31a08aba678:ckpt-step-90", "gpt-4o-mini-2024-07-18"),
        ("ft:gpt-4o-mini-2024-07-18:my-org:suffix:96olL566:ckpt-step-2000", "gpt-4o-mini-2024-07-18"),
    ],
)
def test_every_name_a_model_goes_by_leads_to_its_base(name: str, base: str):
    found = SHIPPED.find(name)
    assert found is not None
    assert found.id == base


@pytest.mark.parametrize(
    "name", ["", "gpt-9", "gpt-9.ft-0e208cf33a6a466994af", ".ft-0e208cf33a6a", "ft::", "*", "my-deployment"]
)
def test_an_unknown_name_leads_nowhere(name: str):
    assert SHIPPED.find(name) is None


@given(st.text(max_size=60))
def test_no_name_breaks_the_search(name: str):
    SHIPPED.find(name)


def test_the_table_says_who_is_trained_how():
    def cell(name: str) -> tuple[object, ...]:
        found = SHIPPED.find(name)
        assert found is not None
        return (
            found.methods,
            found.training_types["Standard"],
            found.training_types["developerTier"],
            found.deployment_skus,
        )

    serverless = ("Standard", "GlobalStandard", "DataZoneStandard")
    assert cell("gpt-4.1-nano") == (("supervised", "dpo"), True, True, (*serverless, "DeveloperTier"))
    assert cell("gpt-4o-mini") == (("supervised",), True, True, serverless)
    assert cell("gpt-5") == (("reinforcement",), True, False, ("Standard",))
    assert cell("Qwen3-32B") == (("supervised",), False, False, ("GlobalStandard",))
    assert cell("gpt-oss-120b") == (("supervised", "reinforcement"), False, True, ())


def test_examples_may_be_half_as_long_for_the_smallest_model():
    longest = {model.id: model.tokens_per_example for model in SHIPPED.base_models()}
    assert longest["gpt-4.1-mini-2025-04-14"] == 65_536
    assert longest["gpt-4.1-nano-2025-04-14"] == 32_768
    assert longest["gpt-5-2025-08-07"] is None, "not published"


def test_regions_are_arm_names_and_the_exceptions_are_there():
    nano, mini = SHIPPED.find("gpt-4.1-nano"), SHIPPED.find("gpt-4.1-mini")
    assert nano is not None
    assert mini is not None
    assert mini.regions["Standard"] == ("northcentralus", "swedencentral")
    assert set(mini.regions["GlobalStandard"]) - set(nano.regions["GlobalStandard"]) == {"polandcentral"}
    for model in SHIPPED.base_models():
        for regions in model.regions.values():
            assert all(region == region.lower() and region.isalnum() for region in regions)


def test_each_fact_has_a_source_and_a_date():
    for model in SHIPPED.base_models():
        assert model.source
        assert model.as_of <= TODAY
        assert all(retirement.source for retirement in model.retirements)
    assert all(fact.source and fact.as_of <= TODAY for fact in SHIPPED.limits.facts.values())
    assert all(price.source and price.valid_from <= TODAY for price in SHIPPED.prices)


def test_what_was_only_remembered_is_not_called_verified():
    assert {price.confidence for price in SHIPPED.prices if "remembered" in price.source} == {"unverified"}


def test_the_limits_are_azures():
    limits = SHIPPED.limits
    assert (limits.examples_min, limits.file_bytes, limits.tokens_times_epochs) == (10, 536_870_912, 2_000_000_000)
    assert (limits.jobs_running, limits.jobs_running_developer, limits.jobs_queued) == (3, 5, 20)
    assert limits.facts["idle_deployment_days"].value == limits.idle_deployment_days == 15


def price(*question: Any, at: date = TODAY) -> tuple[str, str] | None:
    found = SHIPPED.price(*question, at=at)
    return None if found is None else (str(found.usd.normalize()), found.confidence)


def test_a_listed_price_is_told_as_it_stands():
    assert price("gpt-4o", "training", "Standard") == ("27.5", "verified")
    assert price("gpt-4.1-mini-2025-04-14.ft-00112233445566", "hosting", "globalstandard") == ("1.7", "verified")
    assert price("gpt-4.1", "hosting", "DeveloperTier") == ("0", "verified")


def test_the_developer_tier_is_half_of_global_and_called_an_estimate():
    found = SHIPPED.price("gpt-4.1", "training", "developerTier", at=TODAY)
    assert found is not None
    assert (found.usd, found.confidence) == (Decimal("12.5"), "estimate")
    assert "50 %" in found.source
    assert "unverified" in found.source, "what it was derived from was not certain either"


def test_regional_tokens_cost_a_tenth_more_than_global_ones():
    assert price("gpt-4.1", "input", "GlobalStandard") == ("2", "verified")
    assert price("gpt-4.1", "input", "Standard") == ("2.2", "estimate")


def test_hours_are_never_taken_for_tokens():
    assert price("o4-mini", "training", "Standard") is None
    assert price("o4-mini", "training_hours", "Standard") == ("1E+2", "verified")


def test_a_price_does_not_exist_before_its_day():
    assert price("gpt-4o", "training", "Standard", at=date(2025, 8, 31)) is None
    assert price("gpt-4.1", "hosting", "Standard", at=date(2020, 1, 1)) is None
    assert price("nobody", "training", "Standard") is None


NEW_PRICE = {
    "model": "gpt-4.1-2025-04-14",
    "kind": "training",
    "tier": "GlobalStandard",
    "usd": "20",
    "unit": "million tokens",
    "source": "our contract",
    "valid_from": "2026-12-01",
    "confidence": "verified",
}


def test_an_operators_newer_price_wins_from_its_day_on_and_the_derived_one_follows(override):
    own = Catalogue.load(override({"prices": [NEW_PRICE]}))
    before = own.price("gpt-4.1", "training", "GlobalStandard", at=date(2026, 11, 30))
    after = own.price("gpt-4.1", "training", "GlobalStandard", at=date(2026, 12, 1))
    developer = own.price("gpt-4.1", "training", "developerTier", at=date(2026, 12, 1))
    assert [found and found.usd for found in (before, after, developer)] == [25, 20, 10]


def test_a_price_of_the_model_itself_beats_one_for_every_model(override):
    hosting = NEW_PRICE | {"kind": "hosting", "unit": "hour", "usd": 3, "valid_from": "2024-01-01"}
    own = Catalogue.load(override({"prices": [hosting]}))
    found = own.price("gpt-4.1", "hosting", "GlobalStandard", at=TODAY)
    assert found is not None
    assert found.usd == 3


def test_an_operator_changes_single_fields_limits_and_regions(override):
    own = Catalogue.load(
        override(
            {
                "about": "ours",
                "region_sets": {"europe": ["swedencentral"]},
                "models": [{"id": "gpt-4.1-2025-04-14", "regions": {"GlobalStandard": "europe"}}],
                "limits": {"jobs_running": 7},
            }
        )
    )
    changed, untouched = own.find("gpt-4.1"), SHIPPED.find("gpt-4.1")
    assert changed is not None
    assert untouched is not None
    assert changed.regions == {"GlobalStandard": ("swedencentral",)}
    assert changed.methods == untouched.methods
    assert (own.limits.jobs_running, own.limits.facts["jobs_running"].source) == (7, "the operator")
    assert own.limits.jobs_queued == SHIPPED.limits.jobs_queued


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ({"modles": []}, "unknown part 'modles'"),
        ({"models": {}}, "a list of objects is expected"),
        ({"models": [{"aliases": ["x"]}]}, "an entry has no 'id'"),
        ({"models": [{"id": "gpt-x"}]}, "models: gpt-x → family: Field required"),
        ({"models": [{"id": "gpt-4.1-2025-04-14", "methodes": []}]}, "gpt-4.1-2025-04-14 → methodes"),
        (
            {"models": [{"id": "gpt-4.1-2025-04-14", "methods": ["sft"]}]},
            "methods → 0: Input should be 'supervised'",
        ),
        ({"models": [{"id": "gpt-4.1-2025-04-14", "regions": {"Standard": "mars"}}]}, "no set named 'mars'"),
        ({"models": [{"id": "gpt-4.1-2025-04-14", "aliases": ["gpt-4o"]}]}, "'gpt-4o' names both"),
        ({"limits": {"jobs": 1}}, "'jobs' is none of"),
        ({"limits": {"jobs_running": "many"}}, "limits: jobs_running → value"),
        ({"limits": []}, "an object of names and numbers"),
        ({"prices": [NEW_PRICE | {"usd": "-1"}]}, "usd must be zero or more"),
        ({"prices": [NEW_PRICE | {"usd": "NaN"}]}, "gpt-4.1-2025-04-14 training GlobalStandard"),
        ({"prices": [NEW_PRICE | {"unit": "hour"}]}, "a training price is per million tokens"),
        ({"prices": [NEW_PRICE | {"model": "gpt-9"}]}, "unknown model 'gpt-9'"),
        ({"prices": [{"model": "gpt-4.1"}]}, "an entry has no 'kind'"),
        ({"derivations": [{"kind": "input", "tier": "Standard"}]}, "Field required"),
    ],
)
def test_an_override_that_cannot_be_is_refused_with_the_place_and_the_reason(override, content: Any, words: str):
    path = override(content)
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_override_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(CatalogueError, match="cannot be read"):
        Catalogue.load(tmp_path / "none.json")
