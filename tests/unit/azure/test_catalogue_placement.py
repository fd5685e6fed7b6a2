"""Where a training can run: what ARM says beside the catalogue, and what stands in the way on a resource."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.azure.catalogue.catalogue import BaseModel, Catalogue
from app.azure.catalogue.live import LiveModels, end_of, facts, is_worth_keeping, parse_models
from app.azure.catalogue.placement import FRESH, Counts, Obstacle, Place, Training, obstacles

CATALOGUE = Catalogue.load()
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def base_model(name: str) -> BaseModel:
    found = CATALOGUE.find(name)
    assert found is not None
    return found


MINI = base_model("gpt-4.1-mini")
PLAIN = replace(MINI, retirements=tuple(end for end in MINI.retirements if end.kind == "training"))
"""Without the days of its inference, of which every plan warns."""


def item(name: str = "gpt-4.1-mini", version: str = "2025-04-14", **fields: Any) -> dict[str, Any]:
    return {"format": "OpenAI", "name": name, "version": version, "capabilities": {"fineTune": "true"}} | fields


def live(*items: Mapping[str, Any], read_at: datetime = NOW) -> LiveModels:
    return LiveModels(models=parse_models(items), read_at=read_at)


def counts(**fields: Any) -> Counts:
    nothing: dict[str, Any] = dict.fromkeys(("files", "file_bytes", "jobs_running_developer"), 0)
    given = nothing | {"jobs": 0, "jobs_running": 0, "jobs_queued": 0, "counted_at": NOW} | fields
    return Counts(**given)


def place(name: str = "sweden", region: str | None = "swedencentral", **fields: Any) -> Place:
    return Place(**{"name": name, "resource": name, "region": region} | fields)


def training(base: BaseModel = PLAIN, training_type: str = "Standard") -> Training:
    return Training(base=base, method="supervised", training_type=training_type, files=2, file_bytes=1_000)


def found(here: Place, others: Sequence[Place] = (), **fields: Any) -> dict[str, Obstacle]:
    return {one.code: one for one in obstacles(training(**fields), here, others, limits=CATALOGUE.limits, now=NOW)}


# ── what ARM says ───────────────────────────────────────────────────────────


def test_arm_keeps_the_version_apart_and_another_version_is_another_model() -> None:
    said = live(item("gpt-4o", "2024-11-20"), item("gpt-4o", "2024-08-06"))
    assert said.of(base_model("gpt-4o")) == said.models[1]
    assert said.of(MINI) is None


def test_an_item_full_of_nonsense_is_read_as_far_as_it_goes() -> None:
    nonsense = [{}, {"name": 7}, item(deprecation="soon", skus=[None, {"name": "Standard", "capacity": []}])]
    (model,) = parse_models(nonsense)
    assert (model.name, dict(model.ends), [sku.name for sku in model.skus]) == ("gpt-4.1-mini", {}, ["Standard"])


def test_the_day_that_arm_names_holds_and_the_catalogues_other_day_is_shown_as_a_contradiction() -> None:
    said = live(item(deprecation={"fineTune": "2027-01-31T00:00:00Z"}))
    end = end_of(MINI, "training", said)
    assert end is not None
    assert (end.holds.value, end.holds.origin, end.holds.as_of) == (date(2027, 1, 31), "arm", NOW)
    assert [other.value for other in end.contradicted_by] == [date(2027, 4, 14)]


def test_without_arm_the_newest_source_of_the_catalogue_holds() -> None:
    end = end_of(MINI, "base_inference", None)
    assert end is not None
    assert (end.holds.value, end.contradicted_by[0].value) == (date(2027, 4, 14), date(2026, 10, 14))


def test_a_tuned_model_may_have_a_day_of_its_own() -> None:
    name = "gpt-4.1-mini-2025-04-14.ft-0a1b2c3d4e5f-travel"
    said = live(item(), item(name, "1", deprecation={"inference": "2027-12-01T00:00:00Z"}))
    own, others = (end_of(MINI, "tuned_inference", said, tuned_name=one) for one in (name, "other.ft-1"))
    assert own is not None
    assert others is not None
    assert (own.holds.value, others.holds.value) == (date(2027, 12, 1), date(2027, 10, 14))


def test_every_fact_tells_who_says_it() -> None:
    by_name = {fact.name: fact for fact in facts(MINI, live(item(lifecycleStatus="Deprecating", format="Else")))}
    assert (by_name["lifecycle"].holds.value, by_name["lifecycle"].holds.origin) == ("Deprecating", "arm")
    assert by_name["format"].contradicted_by[0].value == "OpenAI"
    assert by_name["methods"].holds.source == MINI.source
    assert by_name["offered by this resource"].holds.value is True


def test_models_that_nobody_tunes_are_not_kept() -> None:
    bases = CATALOGUE.base_models()
    assert is_worth_keeping(item(capabilities={}), bases)
    assert is_worth_keeping({"name": "new-one", "version": "1", "capabilities": {"fineTune": "true"}}, bases)
    assert not is_worth_keeping({"name": "whisper", "version": "001", "capabilities": {}}, bases)


# ── what stands in the way ──────────────────────────────────────────────────


def test_a_region_that_only_the_catalogue_leaves_out_is_a_warning_and_with_arm_an_error() -> None:
    warned = found(place(region="japaneast"))["region-not-listed"]
    assert warned.verdict == "warning"
    refused = found(place(region="japaneast", live=live(item("gpt-4o", "2024-08-06"))))["model-not-offered"]
    assert refused.verdict == "error"
    assert "2026-11-22 09:30 UTC" in refused.detail


def test_where_it_could_run_names_the_projects_own_connections_first() -> None:
    others = [
        place("japan", "japaneast"),
        place("north", "northcentralus"),
        place("full", counts=counts(jobs=100)),
        place("same", "swedencentral", resource="sweden"),
    ]
    remedy = found(place(region="westus"), others)["region-not-listed"].remedy
    assert remedy == "It could run on this project's 'north' (northcentralus)."


def test_where_it_could_run_names_regions_where_no_connection_takes_it() -> None:
    remedy = found(place(region="westus"))["region-not-listed"].remedy
    assert remedy.endswith("Standard training of it is listed for northcentralus, swedencentral.")


def test_a_training_that_arm_says_has_ended_is_refused_whatever_the_catalogue_says() -> None:
    ended = live(item(deprecation={"fineTune": "2026-11-01T00:00:00Z"}))
    refused = found(place(live=ended))["training-ended"]
    assert (refused.verdict, refused.pointer) == ("error", "/model")
    assert "2027-04-14" in refused.detail  # what the catalogue says is told, too


def test_a_training_that_arm_prolonged_is_not_refused() -> None:
    over = replace(MINI, retirements=(replace(MINI.retirements[2], kind="training", on=date(2026, 1, 1)),))
    assert found(place(), base=over)["model-retired"].verdict == "error"
    prolonged = place(live=live(item(deprecation={"fineTune": "2027-06-01"})))
    assert [one for one in found(prolonged, base=over).values() if one.verdict == "error"] == []


@pytest.mark.parametrize(
    ("code", "full"),
    [("files-full", {"files": 99}), ("jobs-full", {"jobs": 100}), ("queue-full", {"jobs_queued": 20})],
)
def test_a_full_resource_refuses_while_the_count_is_fresh_and_warns_when_it_is_old(
    code: str, full: dict[str, int]
) -> None:
    assert found(place(counts=counts(**full)))[code].verdict == "error"
    old = counts(**full, counted_at=NOW - FRESH - timedelta(seconds=1))
    assert found(place(counts=old))[code].verdict == "warning"
    assert found(place(counts=counts(**{name: value - 1 for name, value in full.items()}))) == {}


def test_bytes_beyond_the_quota_page_are_a_warning() -> None:
    most = CATALOGUE.limits.file_bytes_per_resource
    assert found(place(counts=counts(file_bytes=most - 999)))["file-bytes-full"].verdict == "warning"
    assert found(place(counts=counts(file_bytes=most - 1_000))) == {}


def test_running_jobs_only_say_that_one_has_to_wait_and_developer_jobs_have_places_of_their_own() -> None:
    busy = place(counts=counts(jobs_running=3, jobs_running_developer=4))
    assert found(busy)["jobs-running"].verdict == "note"
    assert found(busy, training_type="developerTier") == {}


def test_no_capacity_for_the_tuned_model_is_said_before_it_is_trained() -> None:
    none_left = place(capacity={MINI.id: {"Standard": 0.0, "GlobalStandard": 0.0}})
    assert found(none_left)["no-tuned-capacity"].verdict == "warning"
    assert found(place(capacity={MINI.id: {"Standard": 0.0, "GlobalStandard": 5.0}})) == {}
