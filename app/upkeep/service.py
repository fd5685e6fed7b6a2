"""What one can do about strays and sweeps: look, decide, ask for a sweep now."""

from typing import Final

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.connections.service import ConnectionService
from app.kit.caller import Caller
from app.kit.errors import Conflict, NotFound
from app.kit.markers import marker
from app.kit.pagination import Page, Slice
from app.upkeep import repository
from app.upkeep.marks import is_adoptable
from app.upkeep.schemas import StrayRead, SweepRead, SweepReport
from app.upkeep.states import DECIDABLE, StrayKind, StrayStatus
from app.upkeep.steps import StrayKeeper
from app.upkeep.tables import Stray, Sweep
from app.workbench import Workbench

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


def _no_such(stray_id: str) -> NotFound:
    return NotFound(f"There is no stray {stray_id!r} in this project.", code="stray_not_found")
