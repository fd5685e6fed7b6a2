"""What a plan says of its material, by the pure function that every plan goes through."""

from collections.abc import Sequence
from typing import Any

import pytest

from app.azure.catalogue.catalogue import Catalogue
from app.azure.catalogue.placement import Obstacle
from app.jobs.plan import Material, checks
from app.jobs.schemas import JobCreate, PlanCheck

CATALOGUE = Catalogue.load()


def material(
    pointer: str,
    status: str = "ready",
    errors: frozenset[str] = frozenset(),
    method: str = "supervised",
    **values: int,
) -> Material:
    return Material(
        ref="travel@1",
        pointer=pointer,
        method=method,
        status=status,
        examples=values.get("examples", 40),
        tokens=values.get("tokens", 4_000),
        content_bytes=20_000,
        tokens_per_example_max=values.get("longest", 200),
        checked_for="gpt-4.1-mini-2025-04-14",
        errors=errors,
    )


def plan(
    training: Material,
    validation: Material | None = None,
    leaks: Sequence[dict[str, Any]] = (),
    place: Sequence[Obstacle] = (),
    **fields: Any,
) -> dict[str, PlanCheck]:
    wanted = JobCreate.model_validate(
        {"connection": "c", "model": "gpt-4.1-mini", "training": "travel", "validation": None} | fields
    )
    found = checks(
        wanted,
        base=CATALOGUE.find(wanted.model),
        limits=CATALOGUE.limits,
        place=place,
        training=training,
        validation=validation,
        leaks=leaks,
        hyperparameters=wanted.hyperparameters.model_dump(exclude_none=True),
        estimate=None,
    )
    return {check.code: check for check in found}


def test_sound_material_gives_no_error() -> None:
    found = plan(material("/training"), material("/validation"))
    assert [check.code for check in found.values() if check.verdict == "error"] == []


def test_what_stands_in_the_way_on_the_resource_is_a_check_of_the_plan() -> None:
    full = Obstacle(
        code="jobs-full", verdict="error", pointer="/connection", detail="It holds 100 jobs.", remedy="Delete some."
    )
    check = plan(material("/training"), place=[full])["jobs-full"]
    assert (check.verdict, check.pointer, check.detail, check.remedy) == (
        "error",
        "/connection",
        "It holds 100 jobs.",
        "Delete some.",
    )


def test_every_way_in_which_validation_leaks_is_a_warning() -> None:
    leaks = [{"code": code, "message": "3 of 40.", "remedy": "Drop them."} for code in ("leakage", "near-leakage")]
    found = plan(material("/training"), material("/validation"), leaks)
    for code in ("leakage", "near-leakage"):
        assert (found[code].verdict, found[code].pointer, found[code].detail) == (
            "warning",
            "/validation",
            "3 of 40.",
        )


@pytest.mark.parametrize("method", ["dpo", "reinforcement"])
def test_data_of_another_method_is_refused_in_either_place(method: str) -> None:
    trained = plan(material("/training", method=method))["data-of-another-method"]
    assert (trained.verdict, trained.pointer) == ("error", "/training")
    assert trained.detail == f"travel@1 holds data for {method} training; the job trains supervised."
    validated = plan(material("/training"), material("/validation", method=method))["data-of-another-method"]
    assert (validated.verdict, validated.pointer) == ("error", "/validation")


def test_a_validation_set_that_is_only_too_small_may_validate_with_a_warning() -> None:
    few = material("/validation", "rejected", frozenset({"fewer-than-10-examples"}), examples=9)
    found = plan(material("/training"), few)
    assert found["validation-small"].verdict == "warning"
    assert "rejected" not in found


def test_a_training_set_that_is_too_small_is_an_error() -> None:
    few = material("/training", "rejected", frozenset({"fewer-than-10-examples"}), examples=9)
    assert plan(few)["rejected"].verdict == "error"


def test_a_validation_set_with_another_error_is_an_error() -> None:
    bad = material("/validation", "rejected", frozenset({"fewer-than-10-examples", "no-assistant"}), examples=5)
    assert plan(material("/training"), bad)["rejected"].verdict == "error"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "gpt-99"}, "unknown-model"),
        ({"model": "o4-mini"}, "method-not-supported"),
        ({"model": "gpt-oss-20b", "training_type": "Standard"}, "training-type-not-supported"),
        ({"hyperparameters": {"batch_size": 41}}, "batch-larger-than-data"),
    ],
)
def test_what_azure_would_refuse_is_an_error_before_anything_is_sent(fields: dict[str, Any], code: str) -> None:
    assert plan(material("/training"), **fields)[code].verdict == "error"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"hyperparameters": {"learning_rate_multiplier": 5}}, "learning-rate-high"),
        ({"hyperparameters": {"n_epochs": 12}}, "epochs-many"),
    ],
)
def test_what_rarely_goes_well_is_a_warning_with_a_remedy(fields: dict[str, Any], code: str) -> None:
    found = plan(material("/training"), **fields)[code]
    assert found.verdict == "warning"
    assert found.remedy


def test_an_example_longer_than_the_model_takes_names_the_way_out() -> None:
    found = plan(material("/training", longest=40_000), model="gpt-4.1-nano")["over-long-example"]
    assert found.verdict == "error"
    assert "32,768" in found.detail
    assert "drop" in found.remedy


def test_a_job_beyond_two_milliard_tokens_is_refused() -> None:
    found = plan(material("/training", tokens=1_000_000_000), hyperparameters={"n_epochs": 3})
    assert found["job-too-large"].verdict == "error"
