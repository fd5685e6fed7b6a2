"""Tears down every deployment of ours whose end has passed, with nothing but the database and Azure.

It takes the same steps under the same claims as workers do, so it may run beside them; and it needs none of them,
no queue and no API, so it still works when they do not.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

import structlog

from app.azure.port import AzureError, AzureTarget, RemoteDeployment
from app.connections.service import ConnectionService, Traffic
from app.connections.tables import Connection
from app.deployments.service import DeploymentService
from app.deployments.steps import DeploymentSteps
from app.kit.secrets import UnreadableSecret
from app.upkeep import repository
from app.upkeep.marks import Marked, deployment_marked, is_tagged
from app.upkeep.states import StrayStatus
from app.upkeep.steps import StrayKeeper, StraySteps, Verdict, hourly_usd
from app.workbench import Workbench

log = structlog.get_logger("kitae.upkeep")

LOOK_SECONDS_MAX: Final = 10.0
"""Longest pause between two looks at a deployment that is being deleted."""

Outcome = Literal["due", "deleted", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Torn:
    """One deployment past its end, and what became of it."""

    name: str
    """At Azure."""
    id: str
    """Of its row or, where the database has none, of its stray; before that its op_key."""
    account: str
    expired_at: datetime
    hourly_usd: Decimal | None
    has_row: bool
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unseen:
    """An account that could not be looked at."""

    account: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class _Due:
    """Something to tear down."""

    shown: Torn
    deployment_id: str | None = None
    stray: tuple[Connection, AzureTarget, Marked] | None = None


class Reaper:
    """One round over everything this installation knows of."""

    def __init__(self, bench: Workbench, *, patience_seconds: float) -> None:
        self._bench = bench
        self._patience_seconds = patience_seconds
        self._connections = ConnectionService(bench)

    def reap(self, *, dry_run: bool, tell: Callable[[Torn], None]) -> tuple[list[Torn], list[Unseen]]:
        """Tear down what is past its end; with `dry_run` only say what that would be.

        Args:
            tell: called with each as soon as its outcome is known.
        """
        due, unseen = self._find()
        deadline = time.monotonic() + self._patience_seconds
        torn = []
        for item in due:
            shown = item.shown if dry_run else self._tear_down(item, deadline)
            tell(shown)
            torn.append(shown)
        return torn, unseen

    # ── looking ─────────────────────────────────────────────────────────────

    def _find(self) -> tuple[list[_Due], list[Unseen]]:
        with self._bench.read() as session:
            now = repository.now(session)
            rows = repository.expired_deployments(session)
            connections = {connection.id: connection for connection in repository.all_connections(session)}
        due = [
            _Due(
                Torn(
                    name=row.name,
                    id=row.id,
                    account=connections[row.connection_id].account or "",
                    expired_at=row.expires_at,
                    hourly_usd=row.hourly_usd,
                    has_row=True,
                    outcome="due",
                ),
                deployment_id=row.id,
            )
            for row in rows
        ]
        unseen: list[Unseen] = []
        for same_account in _by_account(connections.values()):
            found, problem = self._find_strays(same_account, now)
            due += found
            unseen += [problem] if problem else []
        return due, unseen

    def _find_strays(self, connections: list[Connection], now: datetime) -> tuple[list[_Due], Unseen | None]:
        """What carries our mark on one account, has no living row, and is past the end in its tags."""
        problem = None
        for connection in connections:
            try:
                target = self._connections.target(connection)
                with self._connections.control(target, Traffic.STOP_MONEY) as arm:
                    listed = arm.list_deployments()
            except (AzureError, UnreadableSecret) as error:
                code = error.code if isinstance(error, AzureError) else "credential_unreadable"
                problem = Unseen(str(connection.account), code, str(error))
                continue  # another connection to the same account may do
            return [due for found in listed if (due := self._stray(connection, target, found, now))], None
        return [], problem

    def _stray(
        self, connection: Connection, target: AzureTarget, found: RemoteDeployment, now: datetime
    ) -> _Due | None:
        if not is_tagged(found.tags, self._bench.policy.environment):
            return None
        item = deployment_marked(found)
        if item.expires_at is None or item.expires_at > now or not item.is_live:
            return None
        with self._bench.read() as session:
            row = repository.deployments_by_id(session, [item.op_key]).get(item.op_key)
            known = repository.stray_of(session, target.account_key, item.remote_id, item.op_key)
        if row is not None and row.status in repository.LIVING and row.name.lower() == found.name.lower():
            return None  # its row says when it ends
        if known is not None and known.status == StrayStatus.IGNORED:
            return None
        shown = Torn(
            name=found.name,
            id=known.id if known else item.op_key,
            account=target.account or "",
            expired_at=item.expires_at,
            hourly_usd=hourly_usd(self._bench, item.raw),
            has_row=False,
            outcome="due",
        )
        return _Due(shown, stray=(connection, target, item))

    # ── acting ──────────────────────────────────────────────────────────────

    def _tear_down(self, item: _Due, deadline: float) -> Torn:
        if item.deployment_id is not None:
            return self._end_row(item.shown, item.deployment_id, deadline)
        assert item.stray is not None  # noqa: S101  one of the two is given
        return self._end_stray(item.shown, *item.stray, deadline)

    def _end_row(self, shown: Torn, deployment_id: str, deadline: float) -> Torn:
        DeploymentService(self._bench).wake_costly()
        steps, detail = DeploymentSteps(self._bench), ""
        for _ in self._looks(deadline):
            steps.advance(deployment_id)
            with self._bench.read() as session:
                row = repository.get_deployment(session, deployment_id)
            if row.status not in repository.LIVING:
                return _with(shown, "deleted", f"it is {row.status}")
            detail = (row.last_error or {}).get("message") or f"it is {row.status}"
            if row.parked_reason is not None:
                break
        return _with(shown, "left", detail)

    def _end_stray(
        self, shown: Torn, connection: Connection, target: AzureTarget, item: Marked, deadline: float
    ) -> Torn:
        verdict = Verdict("No row names this deployment, and the end in its tags has passed.")
        with self._bench.begin() as work:
            stray_id, _ = StrayKeeper(self._bench).keep(work, connection, target, item, verdict)
        steps, detail = StraySteps(self._bench), ""
        for _ in self._looks(deadline):
            steps.advance(stray_id)
            with self._bench.read() as session:
                row, _ = repository.get_stray(session, stray_id)
            if row.status not in {StrayStatus.OPEN, StrayStatus.REMOVING}:
                outcome: Outcome = "deleted" if row.status == StrayStatus.REMOVED else "left"
                return _with(shown, outcome, row.note, row_id=stray_id)
            detail = (row.last_error or {}).get("message") or f"it is {row.status}"
            if row.parked_reason is not None:
                break
        return _with(shown, "left", detail, row_id=stray_id)

    def _looks(self, deadline: float) -> Iterator[None]:
        """A look now, and again until time is over; at least one, so that every deletion is at least asked for."""
        pause = min(LOOK_SECONDS_MAX, self._bench.policy.deployment_poll_seconds)
        while True:
            yield
            if time.monotonic() + pause > deadline:
                return
            time.sleep(pause)


def _by_account(connections: Iterable[Connection]) -> list[list[Connection]]:
    groups: dict[tuple[str, ...], list[Connection]] = {}
    for connection in connections:
        if connection.account:
            key = (
                connection.arm_endpoint,
                str(connection.subscription_id),
                str(connection.resource_group),
                connection.account,
            )
            groups.setdefault(tuple(part.lower() for part in key), []).append(connection)
    return list(groups.values())


def _with(shown: Torn, outcome: Outcome, detail: str, *, row_id: str | None = None) -> Torn:
    log.warning("reaper.looked", name=shown.name, id=row_id or shown.id, outcome=outcome, detail=detail)
    return replace(shown, id=row_id or shown.id, outcome=outcome, detail=detail)
