"""When things end, how urgent that is, and that the catalogue's successors make sense."""

from datetime import date, timedelta

import pytest

from app.azure.catalogue.catalogue import BaseModel, Catalogue
from app.models.retirement import Subject, endings, level

CATALOGUE = Catalogue.load()
END = date(2027, 10, 14)


def base_model(name: str) -> BaseModel:
    found = CATALOGUE.find(name)
    assert found is not None
    return found


def subject(kind: str, remote_name: str | None = "gpt-4.1-mini-2025-04-14.ft-0a1b2c3d") -> Subject:
    base = base_model("gpt-4.1-mini")
    return Subject(kind=kind, id="x", name="travel", base=base, remote_name=remote_name, connection="c")


@pytest.mark.parametrize(
    ("days", "urgency"),
    [
        (91, "later"),
        (90, "90 days"),
        (31, "90 days"),
        (30, "30 days"),
        (8, "30 days"),
        (7, "7 days"),
        (1, "7 days"),
    ],
)
def test_an_end_becomes_more_urgent_90_30_and_7_days_ahead(days: int, urgency: str) -> None:
    found = {one.kind: one for one in endings(subject("model"), None, today=END - timedelta(days=days))}
    assert (found["tuned_inference"].days_left, found["tuned_inference"].level) == (days, urgency)


def test_on_its_day_and_after_it_has_ended() -> None:
    assert [level(days) for days in (0, -1, -400)] == ["ended"] * 3
    (ending,) = endings(subject("deployment"), None, today=END + timedelta(days=3))
    assert (ending.level, ending.days_left) == ("ended", -3)
    assert ending.in_words() == "Since 2027-10-14 it no longer answers."


def test_a_model_ends_as_an_answerer_and_as_something_to_be_trained_again_a_deployment_only_as_the_first() -> None:
    today = date(2026, 11, 22)
    assert [one.kind for one in endings(subject("model"), None, today=today)] == ["tuned_inference", "training"]
    assert [one.kind for one in endings(subject("deployment"), None, today=today)] == ["tuned_inference"]
    assert [one.kind for one in endings(subject("deployment", None), None, today=today)] == ["base_inference"]


def test_a_model_of_which_nobody_names_a_day_has_no_ending() -> None:
    open_model = Subject(
        kind="model", id="x", name="q", base=base_model("Qwen3-32B"), remote_name="q.ft-1", connection="c"
    )
    assert list(endings(open_model, None, today=date(2026, 11, 22))) == []


def test_every_model_with_an_announced_end_has_a_word_on_each_method_and_its_successor_is_trained_that_way() -> (
    None
):
    for base in CATALOGUE.base_models():
        if not any(end.kind == "tuned_inference" for end in base.retirements):
            continue
        for method in base.methods:
            named = CATALOGUE.successor(base, method)
            assert named is not None, (base.id, method)
            if named.successor is not None:
                successor = base_model(named.successor)
                assert method in successor.methods
                assert successor.deployment_skus, "a successor that nobody can deploy is none"
                assert named.successor != base.id
