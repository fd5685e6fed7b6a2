"""kill -9 of the worker while it changes a version: the change is taken up, and makes each version once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Life, quick
from nursery import Nursery
from servers import make_project

from app.bootstrap import open_workbench
from app.datasets.engine.changes import Part, Shuffle, Split
from app.datasets.service import DatasetService
from app.datasets.transforms import Transform, TransformService
from app.kit.failpoints import NAMES
from app.settings import Settings

NOWHERE = "http://127.0.0.1:9"


def failpoints_of(*rooms: str) -> list[str]:
    """Every named step of these rooms. `test_fault_matrix.py` reads which rooms are asked for."""
    return sorted(name for name in NAMES if name.partition(".")[0] in rooms)


@pytest.fixture
def quick_settings(settings: Settings) -> Settings:
    return quick(settings, NOWHERE, lease_seconds=1.0, redispatch_seconds=0.2)


@pytest.fixture
def life(quick_settings: Settings) -> Iterator[Life]:
    with open_workbench(quick_settings) as bench:
        yield Life.begin(bench, make_project(bench, "kills").id, NOWHERE)
        assert_invariants(bench)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", failpoints_of("transforms"))
def test_a_worker_killed_while_it_changes_a_version_makes_each_part_once(
    failpoint: str, life: Life, quick_settings: Settings, nursery: Nursery, tmp_path: Path
) -> None:
    life.example(lines=20)
    workers = Crew(nursery, quick_settings, tmp_path)
    split = Split((Part("train", share=0.5), Part("rest")), seed=2)
    wanted = Transform(operations=[Shuffle(seed=1), split], into="halves")
    begun = TransformService(life.bench).begin(life.caller.project_id, "travel@1", wanted)

    workers.killed_at(failpoint)
    workers.finish()

    ended = TransformService(life.bench).get(life.caller.project_id, "travel", begun.id)
    assert (ended.status, ended.error, ended.parked_reason) == ("done", None, None)
    datasets = DatasetService(life.bench)
    for name in ("halves", "halves-rest"):
        assert datasets.get(life.caller.project_id, name).version_count == 1
        assert life.version(f"{name}@1").status in {"ready", "rejected"}
    rows = []
    for name in ("halves@1", "halves-rest@1"):
        with datasets.content(life.caller.project_id, name) as (_, file):
            rows += file.read().splitlines()
    with datasets.content(life.caller.project_id, "travel@1") as (_, file):
        assert sorted(rows) == sorted(file.read().splitlines())
    names = {stored.key.split("/")[2] for stored in life.bench.storage.objects() if not stored.is_partial}
    assert "raw" not in names
