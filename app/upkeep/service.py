"""What one can do about strays and sweeps: look, decide, ask for a sweep now."""

from typing import Final

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.connections.service import ConnectionService
from app.datasets.files import FileService, mark_of
from app.deployments.adoption import DeploymentAdoption
from app.jobs.adoption import AdoptableJob, JobAdoption
from app.kit.caller import Caller
from app.kit.errors import Conflict, Forbidden, NotFound
from app.kit.markers import marker
from app.kit.pagination import Page, Slice
from app.upkeep import repository
from app.upkeep.marks import is_adoptable
from app.upkeep.schemas import StrayAdopt, StrayRead, SweepRead, SweepReport
from app.upkeep.states import DECIDABLE, StrayKind, StrayStatus
from app.upkeep.steps import StrayKeeper
from app.upkeep.tables import Stray, Sweep
from app.workbench import UnitOfWork, Workbench

JANITOR_FIRST_SECONDS: Final = 600.0
"""How long after the first start of an installation its storage is first looked through."""


class UpkeepService:
    """The strays and sweeps of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)

    def ensure(self) -> None:
        """For the tick: every connection has a sweep, and the installation its janitor."""
        with self._bench.begin() as work:
            repository.add_missing_sweeps(work.session, within_seconds=self._bench.policy.sweep_seconds)
            repository.add_janitor(work.session, within_seconds=JANITOR_FIRST_SECONDS)

    # ── sweeps ──────────────────────────────────────────────────────────────

    def sweep(self, project_id: str, ref: str) -> SweepRead:
        """How the last sweep of a connection went."""
        return _read_sweep(self._sweep(self._connections.get(project_id, ref).id))

    def sweep_now(self, project_id: str, ref: str) -> SweepRead:
        """Have the connection's resource compared with our rows now."""
        connection_id = self._connections.get(project_id, ref).id
        sweep = self._sweep(connection_id)
        with self._bench.begin() as work:
            repository.ask_for_sweep(work.session, sweep.id)
            work.announce("connection.sweep_requested", project_id=project_id, subject_id=connection_id)
            work.nudge("upkeep.sweep", sweep.id)
        return _read_sweep(self._sweep(connection_id))

    def _sweep(self, connection_id: str) -> Sweep:
        with self._bench.read() as session:
            found = repository.sweep_of(session, connection_id)
        if found is not None:
            return found
        with self._bench.begin() as work:
            repository.add_sweep(work.session, connection_id, within_seconds=self._bench.policy.sweep_seconds)
            made = repository.sweep_of(work.session, connection_id)
            assert made is not None  # noqa: S101  it was made, by us or by a tick
            return made

    # ── strays ──────────────────────────────────────────────────────────────

    def get(self, project_id: str, stray_id: str) -> StrayRead:
        """Raises `NotFound`."""
        with self._bench.read() as session:
            row = repository.find_stray(session, project_id, stray_id)
        if row is None:
            raise _no_such(stray_id)
        return read(row)

    def page(
        self,
        project_id: str,
        wanted: Page,
        *,
        status: str | None = None,
        kind: str | None = None,
        connection: str | None = None,
    ) -> Slice[StrayRead]:
        connection_id = self._connections.get(project_id, connection).id if connection else None
        with self._bench.read() as session:
            found = repository.stray_page(
                session, project_id, wanted, status=status, kind=kind, connection_id=connection_id
            )
        return Slice([read(row) for row in found.rows], found.has_more)

    def adopt(self, caller: Caller, stray_id: str, wanted: StrayAdopt) -> StrayRead:
        """Give it its row back: a job is followed to its end, a deployment deleted at its own. Twice is no mistake.

        Raises:
            Conflict: it is a file, was decided upon, or its op_key is no id of ours (`not_adoptable`); or a cap
                does not bear it.
            Forbidden: the key may not write jobs, or deployments.
            Invalid: something is missing that only a person knows.
        """
        with self._bench.read() as session:
            row = repository.find_stray(session, caller.project_id, stray_id)
        if row is None:
            raise _no_such(stray_id)
        if row.status == StrayStatus.ADOPTED:
            return read(row)
        _refuse_decided(row)
        _refuse_unadoptable(row)
        if row.kind == StrayKind.JOB:
            self._adopt_job(caller, row, wanted)
        else:
            self._adopt_deployment(caller, row, wanted)
        return self.get(caller.project_id, stray_id)

    def _adopt_job(self, caller: Caller, row: Stray, wanted: StrayAdopt) -> None:
        _refuse_without(caller, "jobs:write")
        adoption = JobAdoption(self._bench)
        job = adoption.prepare(
            caller,
            op_key=row.op_key,
            connection_id=row.connection_id,
            remote=row.remote,
            training=wanted.training,
            validation=wanted.validation,
        )
        with self._bench.begin() as work:
            self._settle_on_adoption(work, caller, row.id)
            files = repository.files_of_stray_job(work.session, row)
            attempts = [mark.attempt for file in files if (mark := mark_of(file.op_key))]
            adoption.insert(work, caller, job, attempt=max(attempts, default=1))
            for file in files:
                self._adopt_file(work, caller, file, job)

    @staticmethod
    def _adopt_file(work: UnitOfWork, caller: Caller, file: Stray, job: AdoptableJob) -> None:
        """A file of the job comes with it, if it is known of which version it is the copy."""
        mark = mark_of(file.op_key)
        if mark is None:
            return
        version = job.validation if mark.role == "validation" else job.training
        if version is None:
            return
        FileService.adopt(
            work, mark, version, connection_id=file.connection_id, name=file.op_key, remote_id=file.remote_id
        )
        StrayKeeper.move(
            work, file, StrayStatus.ADOPTED, decided_by=caller.key_id, note=f"Adopted with its job {mark.owner_id}."
        )

    def _adopt_deployment(self, caller: Caller, row: Stray, wanted: StrayAdopt) -> None:
        _refuse_without(caller, "deployments:write")
        adoption = DeploymentAdoption(self._bench)
        deployment = adoption.prepare(
            caller,
            op_key=row.op_key,
            connection_id=row.connection_id,
            remote=row.remote,
            tagged_end=row.expires_at,
            expires_at=wanted.expires_at,
            ttl_seconds=wanted.ttl_seconds,
        )
        with self._bench.begin() as work:
            self._settle_on_adoption(work, caller, row.id)
            adoption.insert(work, caller, deployment)

    def _settle_on_adoption(self, work: UnitOfWork, caller: Caller, stray_id: str) -> None:
        held = self._held(work.session, caller.project_id, stray_id)
        _refuse_decided(held)
        StrayKeeper.move(
            work, held, StrayStatus.ADOPTED, decided_by=caller.key_id, note=f"Adopted as {held.op_key}."
        )

    def remove(self, caller: Caller, stray_id: str) -> StrayRead:
        """Have it cancelled or deleted at Azure. Again is no mistake. Raises `Conflict` (`stray_decided`)."""
        with self._bench.begin() as work:
            row = self._held(work.session, caller.project_id, stray_id)
            if row.status not in {StrayStatus.REMOVING, StrayStatus.REMOVED}:
                _refuse_decided(row)
                StrayKeeper.move(
                    work,
                    row,
                    StrayStatus.REMOVING,
                    decided_by=caller.key_id,
                    next_check_at=func.clock_timestamp(),
                )
            elif row.parked_reason is not None:
                woken = {"parked_reason": None, "fail_count": 0, "failing_since": None}
                repository.change_stray(work.session, row.id, woken | {"next_check_at": func.clock_timestamp()})
            work.nudge("upkeep.stray", row.id)
        return self.get(caller.project_id, stray_id)

    def ignore(self, caller: Caller, stray_id: str) -> StrayRead:
        """Let it be, its end in its tags included. Raises `Conflict` (`stray_decided`)."""
        with self._bench.begin() as work:
            row = self._held(work.session, caller.project_id, stray_id)
            if row.status != StrayStatus.IGNORED:
                _refuse_decided(row)
                StrayKeeper.move(
                    work,
                    row,
                    StrayStatus.IGNORED,
                    decided_by=caller.key_id,
                    note="A person said that it may stay as it is.",
                )
        return self.get(caller.project_id, stray_id)

    @staticmethod
    def _held(session: Session, project_id: str, stray_id: str) -> Stray:
        row = repository.find_stray(session, project_id, stray_id, lock=True)
        if row is None:
            raise _no_such(stray_id)
        return row


def read(row: Stray) -> StrayRead:
    """The row as callers see it."""
    shown = {"object", "connection", "owner", "adoptable"}
    return StrayRead(
        connection=row.connection_id,
        owner=row.owner_id,
        adoptable=row.status in DECIDABLE and is_adoptable(StrayKind(row.kind), row.op_key),
        **{name: getattr(row, name) for name in StrayRead.model_fields if name not in shown},
    )


def marker_of(shown: StrayRead) -> str:
    """Names one state of a stray."""
    return marker(shown.id, shown.updated_at)


def _read_sweep(row: Sweep) -> SweepRead:
    return SweepRead(
        connection=row.connection_id,
        swept_at=row.swept_at,
        next_at=row.next_check_at,
        asked_at=row.asked_at,
        report=None if row.report is None else SweepReport.model_validate(row.report),
        parked_reason=row.parked_reason,
        last_error=row.last_error,
    )


def _refuse_decided(row: Stray) -> None:
    if row.status not in DECIDABLE:
        raise Conflict(
            f"The stray is {row.status}: {row.note}",
            code="stray_decided",
            hint="Only what is open or ignored can still be decided upon.",
        )


def _refuse_unadoptable(row: Stray) -> None:
    if is_adoptable(StrayKind(row.kind), row.op_key):
        return
    if row.kind == StrayKind.FILE:
        hint = f"Adopt its job {row.owner_id}, and the file comes with it; or remove it."
    else:
        hint = "It can be removed or ignored."
    raise Conflict(
        "It cannot become a row: only a job or deployment whose op_key is an id of ours can.",
        code="not_adoptable",
        hint=hint,
    )


def _refuse_without(caller: Caller, scope: str) -> None:
    if not caller.may(scope):
        raise Forbidden(
            f"To adopt it, this key also needs the scope {scope}.",
            code="scope_missing",
            hint=f"It has: {', '.join(sorted(caller.scopes)) or 'none'}.",
        )


def _no_such(stray_id: str) -> NotFound:
    return NotFound(f"There is no stray {stray_id!r} in this project.", code="stray_not_found")
