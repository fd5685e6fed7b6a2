"""kill -9 of a worker in the middle of a baseline: at most what was under way is asked or graded again."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from nursery import Nursery
from servers import make_project

from app.baselines.schemas import BaselineAnswerRead, BaselineCreate, BaselineRead
from app.baselines.service import BaselineService
from app.baselines.steps import BaselineSteps
from app.bootstrap import open_workbench
from app.costs.service import CostService
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.kit.failpoints import NAMES
from app.kit.pagination import Page
from app.settings import Settings

CONCURRENCY = 2
CASES = [{"question": f"What is {number} and one?", "reference": str(number + 1)} for number in range(10)]


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
        wanted = DeploymentCreate(connection="emulator", model="gpt-4.1-mini", name="plain", ttl_seconds=3600)
        service, steps = DeploymentService(bench), DeploymentSteps(bench)
        made = service.create(begun.caller, wanted)

        def ready() -> bool | None:
            steps.advance(made.id)
            return service.get(begun.caller.project_id, made.id).status == "ready" or None

        until(ready)
        yield begun
        assert_invariants(bench)


def answers(life: Life, baseline: str) -> dict[str, BaselineAnswerRead]:
    page = BaselineService(life.bench).answers(life.caller.project_id, baseline, Page(limit=200), way=None)
    return {one.id: one for one in page.rows}


@pytest.mark.row(6)
@pytest.mark.fault
@pytest.mark.parametrize("failpoint", failpoints_of("baselines"))
def test_a_worker_killed_there_repeats_at_most_what_was_under_way_and_the_bill_bears_it(
    failpoint: str, life: Life, brief: Settings, nursery: Nursery, tmp_path: Path, emulator_url: str
) -> None:
    azure, service, steps = Emulator(emulator_url), BaselineService(life.bench), BaselineSteps(life.bench)
    new = BaselineCreate.model_validate(
        {"deployment": "plain", "cases": CASES, "max_tokens": 8, "concurrency": CONCURRENCY}
    )
    made = service.create(life.caller, new)

    Crew(nursery, brief, tmp_path).killed_at(failpoint, nth=3)
    before = {one.id: (one.text, one.score) for one in answers(life, made.id).values() if one.score is not None}

    def ended() -> BaselineRead | None:
        steps.advance(made.id)
        found = service.get(life.caller.project_id, made.id)
        assert found.parked_reason is None, found.last_error
        return found if found.status != "running" else None

    done = until(ended)
    assert done.status == "succeeded", (done.error, done.last_error)
    assert (done.requests_answered, done.requests_failed, done.graded) == (len(CASES), 0, len(CASES))
    after = answers(life, made.id)
    assert {one: (after[one].text, after[one].score) for one in before} == before  # what was finished stays
    chats = [entry for entry in azure.requests("chat") if '"ping"' not in entry["body"]]
    graded = azure.requests("graders.run")
    assert len(CASES) <= len(chats) <= len(CASES) + CONCURRENCY
    assert len(CASES) <= len(graded) <= len(CASES) + CONCURRENCY
    (billed,) = azure.bill()["deployments"]
    assert done.cost_usd is not None
    assert done.cost_usd == done.spent_usd + done.lost_usd
    assert done.cost_usd + Decimal("0.0001") >= Decimal(billed["inference_usd"])  # the probe is not ours to count
    assert done.cost_usd <= done.reserved_usd
    assert CostService(life.bench).budget(life.caller.project_id).month_used_usd == done.cost_usd
