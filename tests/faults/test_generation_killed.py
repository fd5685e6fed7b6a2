"""kill -9 of a worker in the middle of a generation: at most what was under way is asked again, nothing is doubled."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from nursery import Nursery
from servers import make_project

from app.bootstrap import open_workbench
from app.costs.service import CostService
from app.datasets.schemas import DatasetCreate
from app.datasets.service import DatasetService
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.generation.schemas import GenerationCreate, GenerationRead
from app.generation.service import GenerationService
from app.generation.steps import GenerationSteps
from app.kit.failpoints import NAMES
from app.kit.pagination import Page
from app.settings import Settings

CONCURRENCY = 2
PAIR = {"question": "What is the warranty of the Contoso X200?", "answer": "It has a warranty of 24 months."}


def failpoints_of(*rooms: str) -> list[str]:
    """Every named step of these rooms. `test_fault_matrix.py` reads which rooms are asked for."""
    return sorted(name for name in NAMES if name.partition(".")[0] in rooms)


@pytest.fixture
def brief(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=1.0, redispatch_seconds=0.2)


@pytest.fixture
def life(brief: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(brief) as bench:
        Emulator(emulator_url).reset()
        begun = Life.begin(bench, make_project(bench, "killed").id, emulator_url)
        begun.connect()
        yield begun
        assert_invariants(bench)


def writer(life: Life) -> None:
    wanted = DeploymentCreate(connection="emulator", model="gpt-4.1-mini", name="writer", ttl_seconds=3600)
    service, steps = DeploymentService(life.bench), DeploymentSteps(life.bench)
    made = service.create(life.caller, wanted)

    def ready() -> bool | None:
        steps.advance(made.id)
        return service.get(life.caller.project_id, made.id).status == "ready" or None

    until(ready)


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", failpoints_of("generations"))
def test_a_worker_killed_there_repeats_at_most_what_was_under_way_and_one_version_comes_of_it(
    failpoint: str, life: Life, brief: Settings, nursery: Nursery, tmp_path: Path, emulator_url: str
) -> None:
    writer(life)
    azure, service, steps = Emulator(emulator_url), GenerationService(life.bench), GenerationSteps(life.bench)
    calm = {"duplicates": 0, "drifted": 0, "answers": 0}
    azure.put("/generator", calm)
    DatasetService(life.bench).create(life.caller.project_id, DatasetCreate(name="faq"))
    source = {"type": "paraphrases", "pairs": [PAIR], "phrasings": 10}
    wanted = GenerationCreate.model_validate({"deployment": "writer", "source": source, "concurrency": CONCURRENCY})
    made = service.create(life.caller, "faq", wanted)

    Crew(nursery, brief, tmp_path).killed_at(failpoint, nth=3 if ".unit." in failpoint else 1)
    there = service.get(life.caller.project_id, made.id)
    kept = {
        row.id
        for row in service.rows(life.caller.project_id, made.id, Page(limit=200), kept=None, reason=None).rows
    }

    def ended() -> GenerationRead | None:
        steps.advance(made.id)
        found = service.get(life.caller.project_id, made.id)
        assert found.parked_reason is None, found.last_error
        return found if found.status != "running" else None

    done = until(ended)
    assert done.status == "succeeded", (done.error, done.last_error)
    assert done.rows_kept >= 10
    rows = service.rows(life.caller.project_id, made.id, Page(limit=200), kept=None, reason=None).rows
    assert kept <= {row.id for row in rows}  # what was finished stays as it was
    assert sorted(row.line for row in rows if row.line) == list(range(1, done.rows_kept + 2))
    chats = [entry for entry in azure.requests("chat") if '"ping"' not in entry["body"]]
    assert done.requests <= len(chats) <= done.requests + CONCURRENCY
    if ".version." in failpoint or failpoint.endswith("recorded"):
        assert there.requests_answered > 0
    versions = DatasetService(life.bench).version_page(life.caller.project_id, "faq", Page()).rows
    assert [version.id for version in versions] == [done.version]
    (billed,) = httpx2.get(f"{azure.url}/_emulator/billing").json()["deployments"]
    assert done.cost_usd is not None
    assert done.cost_usd == done.spent_usd + done.lost_usd
    assert done.cost_usd + Decimal("0.0001") >= Decimal(billed["inference_usd"])  # the probe is not ours to count
    assert CostService(life.bench).budget(life.caller.project_id).month_used_usd == done.cost_usd
