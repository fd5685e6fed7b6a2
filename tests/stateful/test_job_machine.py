"""Any order of wishes, ends, deletions, lost answers and crashes: what Azure says is what we say, and is paid once.

A small model knows only what the rules did; everything else is compared with the emulator. The number of examples is
KITAE_TEST_EXAMPLES (each up to 30 steps); a failure prints the steps that lead to it.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from invariants_hold import assert_invariants
from lives import Emulator, Life, quick
from servers import Postgres, make_project

from app.bootstrap import open_workbench
from app.costs.service import CostService
from app.jobs.schemas import JobResume
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.steps import JobSteps
from app.jobs.tables import Job
from app.jobs.watch import ConnectionWatch
from app.kit import care, failpoints
from app.kit.errors import Conflict
from app.settings import Settings

EXAMPLES = int(os.environ.get("KITAE_TEST_EXAMPLES", "10"))
STEPS = 30
TERMINAL = {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}
SAME_END = {"succeeded": JobStatus.SUCCEEDED, "failed": JobStatus.FAILED, "cancelled": JobStatus.CANCELLED}
LOSSES = ("drop_before", "drop_after", "reset_before", "reset_after")
CRASHES = sorted(
    name
    for name in failpoints.NAMES
    if name.startswith("jobs.")
    and name.split(".")[1] in {"files", "create", "resolve", "fence", "watch", "collect"}
)


class World:
    """One database and one emulator for all examples; each has a project and an emulator without memory."""

    def __init__(self, postgres: Postgres, emulator_url: str, stack: ExitStack) -> None:
        database_url = stack.enter_context(postgres.database())
        directory = Path(stack.enter_context(TemporaryDirectory()))
        self.settings = quick(
            Settings(_env_file=None, database_url=database_url, data_dir=directory, environment="test"),
            emulator_url,
            lease_seconds=30.0,
            settle_seconds=0.05,
            backoff_max_seconds=0.01,
            circuit_rest_seconds=0.01,
            park_after_failures=50,
        )
        self.bench = stack.enter_context(open_workbench(self.settings))
        self.url = emulator_url
        self.azure = Emulator(emulator_url)
        self.numbers = iter(range(1_000_000))


class JobMachine(RuleBasedStateMachine):
    """One job and everything that can happen to it."""

    world: World

    @initialize(style=st.sampled_from(["v1", "dated"]))
    def begin(self, style: str) -> None:
        world = self.world
        world.azure.reset()
        world.azure.put("/clock", {"mode": "manual"})
        project = make_project(world.bench, f"machine-{next(world.numbers)}")
        self.life = Life.begin(world.bench, project.id, world.url)
        training, _ = self.life.example(lines=10)
        self.job_id = self.life.job(self.life.connect(style=style), training)
        self.jobs = JobService(world.bench)
        self.cancel_wished = False
        self.deleted = False
        self.cancelled_there = False

    # ── what a person does here ─────────────────────────────────────────────

    @rule()
    def cancel(self) -> None:
        if self.wish(self.jobs.cancel):
            self.cancel_wished = True

    @rule()
    def pause(self) -> None:
        self.wish(self.jobs.pause)

    @rule()
    def resume(self) -> None:
        self.wish(self.resumed)

    def resumed(self, _project_id: str, job_id: str) -> None:
        self.jobs.resume(self.life.caller, job_id, JobResume())

    def wish(self, verb: Any) -> bool:
        try:
            verb(self.life.caller.project_id, self.job_id)
        except Conflict:
            return False
        return True

    # ── what happens at Azure ───────────────────────────────────────────────

    @rule(seconds=st.sampled_from([5, 60, 300, 3000]))
    def time_passes(self, seconds: int) -> None:
        self.world.azure.post("/clock/advance", {"seconds": seconds})

    @precondition(lambda self: self.remote() is not None)
    @rule()
    def somebody_cancels_in_the_portal(self) -> None:
        remote = self.remote()
        assert remote is not None
        if not ended(remote):
            self.world.azure.post("/portal", {"action": "cancel_job", "id": remote["id"]})
            self.cancelled_there = True

    @precondition(lambda self: self.remote() is not None and ended(self.remote()))
    @rule()
    def somebody_deletes_in_the_portal(self) -> None:
        remote = self.remote()
        assert remote is not None
        self.world.azure.post("/portal", {"action": "delete_job", "id": remote["id"]})
        self.deleted = True

    @rule(
        operation=st.sampled_from(["jobs.create", "files.upload", "jobs.cancel", "jobs.get"]),
        loss=st.sampled_from(LOSSES),
    )
    def the_next_answer_is_lost(self, operation: str, loss: str) -> None:
        self.world.azure.strike(operation, **{loss: True})

    # ── what workers do ─────────────────────────────────────────────────────

    @rule(times=st.integers(1, 6))
    def a_worker_looks(self, times: int) -> None:
        for _ in range(times):
            self.now()
            JobSteps(self.world.bench).advance(self.job_id)

    @rule()
    def the_watch_looks(self) -> None:
        self.now()
        ConnectionWatch(self.world.bench).watch(self.life.read(self.job_id).connection_id)

    @rule(where=st.sampled_from(CRASHES))
    def a_worker_dies(self, where: str) -> None:
        """At this step, if it comes to it: the exception that ends it is one that no handler of ours may catch."""
        failpoints._passes.clear()
        os.environ[failpoints.ENVIRONMENT_VARIABLE] = f"{where}:die"
        try:
            self.now()
            JobSteps(self.world.bench).advance(self.job_id)
        except failpoints.FailpointDeath:
            pass
        finally:
            del os.environ[failpoints.ENVIRONMENT_VARIABLE]
        self.release()

    def now(self) -> None:
        """Every wait is over."""
        with self.world.bench.begin() as work:
            work.session.query(Job).filter(Job.id == self.job_id, Job.next_check_at.is_not(None)).update(
                {"next_check_at": care.in_seconds(-1)}, synchronize_session=False
            )

    def release(self) -> None:
        """The lease of the dead has ended."""
        with self.world.bench.begin() as work:
            work.session.query(Job).filter(Job.id == self.job_id, Job.lease_owner.is_not(None)).update(
                {"lease_until": care.in_seconds(-1)}, synchronize_session=False
            )

    # ── what must hold ──────────────────────────────────────────────────────

    def remote(self) -> dict[str, Any] | None:
        jobs = self.world.azure.state()["jobs"]
        return jobs[0] if jobs else None

    @invariant()
    def there_is_one_job_at_azure_at_most(self) -> None:
        if hasattr(self, "job_id"):
            assert len(self.world.azure.state()["jobs"]) <= 1

    @invariant()
    def no_end_is_told_that_azure_did_not_tell(self) -> None:
        if not hasattr(self, "job_id") or self.deleted:
            return
        row, remote = self.life.read(self.job_id), self.remote()
        if row.status in TERMINAL and remote is not None and row.remote_id is not None:
            assert phase_of(remote) == row.status, (remote, row.error)

    def teardown(self) -> None:
        """Calm: workers go on until the end, and the end is Azure's."""
        if not hasattr(self, "job_id"):
            return
        self.world.azure.faults()
        if self.life.read(self.job_id).status == JobStatus.PAUSED:
            self.wish(self.resumed)
        for _ in range(200):
            self.world.azure.post("/clock/advance", {"seconds": 600})
            self.now()
            JobSteps(self.world.bench).advance(self.job_id)
            row = self.life.read(self.job_id)
            if row.status == JobStatus.PAUSED:
                self.wish(self.resumed)
            if row.status in TERMINAL and row.next_check_at is None:
                break
        row, remote = self.life.read(self.job_id), self.remote()
        assert row.status in TERMINAL, (row.status, row.parked_reason, row.last_error)
        self.there_is_one_job_at_azure_at_most()
        self.no_end_is_told_that_azure_did_not_tell()
        if row.status == JobStatus.CANCELLED:
            assert self.cancel_wished or self.cancelled_there
        self.the_money_adds_up(row, remote)
        assert [file for file in self.world.azure.state()["files"] if file["purpose"] == "fine-tune"] == []
        assert_invariants(self.world.bench)

    def the_money_adds_up(self, row: Job, remote: dict[str, Any] | None) -> None:
        """Nothing stays reserved; what was settled covers what Azure billed, and is nothing where nothing was."""
        spent = CostService(self.world.bench).summary(
            self.life.caller.project_id, group_by="category", since=None, until=None, running_usd=Decimal(0)
        )
        assert spent.reserved_usd == 0
        if remote is None and not self.deleted:
            assert spent.settled_usd == 0
        if row.status == JobStatus.SUCCEEDED:
            assert spent.settled_usd == row.cost_usd
            assert row.cost_usd


def ended(remote: dict[str, Any] | None) -> bool:
    return remote is not None and phase_of(remote) in TERMINAL


def phase_of(remote: dict[str, Any]) -> str:
    return str(remote.get("status") or remote["phase"])


@pytest.fixture(scope="module")
def world(postgres: Postgres, emulator_url: str) -> Iterator[World]:
    with ExitStack() as stack:
        made = World(postgres, emulator_url, stack)
        yield made
        made.azure.reset()


@pytest.mark.fault
@pytest.mark.row(37)
def test_whatever_happens_in_whatever_order_one_job_at_most_and_azures_word(world: World) -> None:
    machine = type("Machine", (JobMachine,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize="KITAE_TEST_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
