"""Workers whose clocks are wrong: ten days ahead, a day behind, jumping. The database's clock decides."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from crew import Crew
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick, until
from nursery import Nursery, nursery
from servers import make_project

from app.bootstrap import open_workbench
from app.deployments.schemas import DeploymentCreate
from app.deployments.service import DeploymentService
from app.jobs.states import JobStatus, SendState
from app.settings import Settings

pytestmark = pytest.mark.fault
DAY = 86_400
SOURCE = Path(__file__).with_name("skewed_clock.c")


@pytest.fixture(scope="module")
def skew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that says how wrong the clocks of the skewed nursery's children are."""
    file = tmp_path_factory.mktemp("clock") / "skew"
    file.write_text("0 0")
    return file


@pytest.fixture(scope="module")
def skewed(skew: Path) -> Iterator[Nursery]:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build the wrong clock with")
    library = skew.with_name("skewed_clock.so")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    with nursery(LD_PRELOAD=str(library), KITAE_TEST_SKEW=str(skew)) as made:
        yield made


@pytest.fixture
def short(settings: Settings, emulator_url: str) -> Settings:
    return quick(settings, emulator_url, lease_seconds=3.0, settle_seconds=0.5, redispatch_seconds=0.2)


@pytest.fixture
def life(short: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(short) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "clocks").id, emulator_url)
        Emulator(emulator_url).faults()
        assert_invariants(bench, emulator_url)


@pytest.mark.row(32)
@pytest.mark.parametrize("seconds", [10 * DAY, -DAY], ids=["ten-days-ahead", "a-day-behind"])
def test_a_worker_with_a_wrong_wall_clock_reaps_nothing_and_keeps_nothing(
    seconds: int, life: Life, short: Settings, skewed: Nursery, skew: Path, nursery: Nursery, tmp_path: Path
) -> None:
    skew.write_text("0 0")
    connection = life.connect()
    training, _ = life.example(lines=12)
    deployments = DeploymentService(life.bench)
    hosted = deployments.create(
        life.caller, DeploymentCreate(connection=connection, model="gpt-4.1-mini", name="kept", ttl_seconds=600)
    ).id
    skew.write_text(f"{seconds} 0")
    wrong = Crew(skewed, short, tmp_path)
    beat = wrong.start("beat")
    until(
        lambda: (beat.log.exists() and expected_day(seconds) in beat.said()) or None
    )  # its log shows that its clock really is wrong
    beat.kill()
    job = life.job(connection, training)
    worker = wrong.begin()
    until(lambda: True if life.read(job).status == JobStatus.SUCCEEDED else None)
    until(lambda: True if deployments.get(life.caller.project_id, hosted).status == "ready" else None)
    worker.kill()

    right = Crew(nursery, short, tmp_path)
    again = life.job(connection, training)
    beside = right.begin()
    until(lambda: True if life.read(again).status == JobStatus.SUCCEEDED else None)
    beside.kill()
    assert deployments.get(life.caller.project_id, hosted).status == "ready"
    assert len(Emulator(life.emulator_url).state()["jobs"]) == 2
    deployments.delete(life.caller.project_id, hosted)
    right.finish()


def expected_day(seconds: int) -> str:
    """The day that a clock so wrong shows, as logs write it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT")


@pytest.mark.row(33)
def test_a_worker_whose_monotonic_clock_jumps_in_the_middle_of_the_create_makes_no_second_job(
    life: Life, short: Settings, skewed: Nursery, skew: Path, nursery: Nursery, tmp_path: Path
) -> None:
    skew.write_text("0 0")
    azure = Emulator(life.emulator_url)
    training, _ = life.example(lines=12)
    job = life.job(life.connect(), training)
    azure.strike("jobs.create", delay_seconds=1.0)
    sleeper = Crew(skewed, short, tmp_path).begin()
    until(lambda: True if life.read(job).send_state == SendState.SENT else None)
    skew.write_text("600 600")  # as a virtual machine that slept for ten minutes finds them
    other = Crew(nursery, short, tmp_path)
    other.finish()
    sleeper.kill()
    assert life.read(job).status == JobStatus.SUCCEEDED
    assert len(azure.state()["jobs"]) == 1
