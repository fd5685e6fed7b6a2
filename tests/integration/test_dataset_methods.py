"""A dataset's method decides by whose rules its versions are checked, and which jobs may use them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from lives import Life, quick
from servers import make_project
from sqlalchemy import func, select

from app.bootstrap import open_workbench
from app.costs.tables import LedgerLine
from app.datasets.schemas import VersionRead
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService, PlanRefused
from app.jobs.tables import Job
from app.settings import Settings

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def life(settings: Settings) -> Iterator[Life]:
    with open_workbench(quick(settings, NOWHERE)) as bench:
        yield Life.begin(bench, make_project(bench, "methods").id, NOWHERE)


def said(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


CHAT = [{"messages": [said("user", f"{n}?"), said("assistant", f"{n}!")]} for n in range(12)]
PAIRS = [
    {
        "input": {"messages": [said("user", f"{n}?")]},
        "preferred_output": [said("assistant", "yes")],
        "non_preferred_output": [said("assistant", "no")],
    }
    for n in range(12)
]
GRADED = [{"messages": [said("user", f"{n}?")], "answer": n} for n in range(12)]


def lines(rows: list[dict[str, Any]], between: str = "\n") -> bytes:
    return between.join(json.dumps(row) for row in rows).encode()


def told(life: Life, version: DatasetVersion) -> VersionRead:
    return DatasetService(life.bench).describe(version)


def test_each_methods_examples_are_ready_in_a_dataset_of_that_method(life: Life) -> None:
    pairs = told(life, life.dataset("pairs", lines(PAIRS), method="dpo"))
    assert (pairs.status, pairs.verdict, pairs.format, pairs.examples) == ("ready", "ready", "preference", 12)
    graded = told(life, life.dataset("graded", lines(GRADED), method="reinforcement"))
    assert (graded.status, graded.format, graded.examples) == ("ready", "reinforcement", 12)
    assert (pairs.method, graded.method) == ("dpo", "reinforcement")


def test_a_version_that_does_not_fit_its_datasets_method_is_rejected_as_of_the_wrong_kind(life: Life) -> None:
    for name, rows, method in (("a", CHAT, "dpo"), ("b", PAIRS, "supervised"), ("c", GRADED, "supervised")):
        version = life.dataset(name, lines(rows), method=method)  # type: ignore[arg-type]  # one of the three
        assert version.report is not None
        assert (version.status, version.report["verdict"]) == ("rejected", "rejected")
        (finding,) = [one for one in version.report["findings"] if one["severity"] == "error"]
        assert (finding["code"], finding["lines"], finding["count"]) == ("wrong-kind", [[1, 12]], 12)


def test_a_version_whose_errors_can_all_be_mended_is_rejected_and_told_to_be_fixable(life: Life) -> None:
    version = told(life, life.dataset("spaced", lines(CHAT, between="\n\n")))
    assert (version.status, version.verdict, version.findings["error"]) == ("rejected", "fixable", 1)


def test_a_job_on_data_of_another_method_is_refused_before_anything_is_reserved(life: Life) -> None:
    life.dataset("pairs", lines(PAIRS), method="dpo")
    wanted = JobCreate(connection=life.connect(), model="gpt-4.1-mini", training="pairs@1")
    with pytest.raises(PlanRefused) as refused:
        JobService(life.bench).create(life.caller, wanted)
    (error,) = refused.value.errors
    assert (error.code, error.pointer) == ("data-of-another-method", "/training")
    assert error.detail.startswith("pairs@1 holds data for dpo training; the job trains supervised.")
    with life.bench.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0
        assert session.scalar(select(func.count()).select_from(LedgerLine)) == 0
