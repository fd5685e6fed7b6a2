"""What the watch compares, and what Azure's words mean to it."""

from typing import Any

import pytest

from app.azure.payloads import job_from
from app.jobs.repository import mark
from app.jobs.states import JobStatus
from app.jobs.steps import meaning

RAW: dict[str, Any] = {"id": "ftjob-1", "status": "running", "hyperparameters": {"n_epochs": -1, "batch_size": 4}}


def test_a_job_object_has_the_same_mark_whatever_the_order_of_its_members() -> None:
    turned = {name: RAW[name] for name in reversed(RAW)}
    turned["hyperparameters"] = {"batch_size": 4, "n_epochs": -1}
    assert mark(turned) == mark(RAW)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "queued"},
        {"estimated_finish": 1_795_380_680},
        {"hyperparameters": {"n_epochs": 3, "batch_size": 4}},
        {"error": None},
        {"big": 2**70},
    ],
)
def test_any_other_member_or_value_gives_another_mark(change: dict[str, Any]) -> None:
    assert mark(RAW | change) != mark(RAW)


def test_a_job_that_succeeded_means_nothing_until_its_model_has_a_name() -> None:
    """Azure looks at the safety of a model after its training and before it names it."""
    assert meaning(job_from({"id": "ftjob-1", "status": "succeeded"})) is None
    named = job_from({"id": "ftjob-1", "status": "succeeded", "fine_tuned_model": "gpt-4.1.ft-1"})
    assert meaning(named) is JobStatus.COLLECTING


@pytest.mark.parametrize("word", ["levitating", "", "Running", "SUCCEEDED"])
def test_a_word_that_azure_never_named_changes_nothing(word: str) -> None:
    assert meaning(job_from({"id": "ftjob-1", "status": word, "fine_tuned_model": "m"})) is None
