"""The sweep, which compares a whole resource with our rows, and what is done with a stray. Taken by workers.

A sweep changes nothing at Azure: it writes down what it saw and wakes the rows that are concerned. A stray is
removed by steps of its own, one mutation each.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import structlog
from sqlalchemy import func
from sqlalchemy.orm import Session

from app.azure.port import AzureError, AzureTarget, NotThere, RemoteDeployment, RemoteJob
from app.connections.resources import ResourceService
from app.connections.service import ConnectionService, Traffic
from app.connections.tables import Connection
from app.costs.service import CostService
from app.datasets.files import LOST_UPLOAD_SECONDS, FileService
from app.datasets.tables import RemoteFileRow
from app.deployments.service import DEVELOPER, DeploymentService
from app.deployments.states import DEPLOYMENT_LAW, DeploymentStatus
from app.deployments.steps import difference, tags_of
from app.deployments.tables import Deployment
from app.jobs.marks import TAIL
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.steps import ENDED_AT_AZURE, marks
from app.jobs.tables import Job
from app.kit import care
from app.kit.care import Claim
from app.kit.db import storable
from app.kit.failpoints import failpoint
from app.upkeep import repository
from app.upkeep.marks import (
    ENDED_BADLY,
    NOT_THERE,
    Foreign,
    Marked,
    Resource,
    Sorted,
    is_tagged,
    job_marked,
    sort,
)
from app.upkeep.states import STRAY_LAW, StrayKind, StrayStatus
from app.upkeep.tables import Stray, Sweep
from app.workbench import UnitOfWork, Workbench

log = structlog.get_logger("kitae.upkeep")

FAILED_LOOK_SECONDS: Final = 60.0
"""A sweep that could not list everything comes round again no later than this."""
CANCEL_LOOK_SECONDS: Final = 5.0
"""How soon a job that was told to stop is looked at again."""
SHOWN: Final = 20
"""Foreign things and drifts that a report names; a resource may hold thousands."""
UNSENT: Final = frozenset({JobStatus.DRAFT, JobStatus.PREPARING, JobStatus.SUBMITTING})
"""Where a job's own steps look for what carries its mark."""
WANTED_GONE: Final = frozenset({DeploymentStatus.DELETED, DeploymentStatus.EXPIRED})

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why something with our mark is a stray.

    Attributes:
        remove: a row says that it is not wanted, so nobody needs to be asked.
        second_of: the row whose mark it carries besides another thing.
    """

    note: str
    remove: bool = False
    second_of: str | None = None


@dataclass(slots=True)
class Seen:
    """What one sweep has seen and concluded."""

    connection: Connection
    target: AzureTarget
    started_at: datetime
    resource: Resource
    problems: list[dict[str, Any]]
    sorted: Sorted
    strays: list[tuple[Marked, Verdict]] = field(default_factory=list)
    others: int = 0
    """Things that other projects made on the same resource; their own sweep looks after them."""
    drift: list[dict[str, str]] = field(default_factory=list)
    missing_jobs: list[str] = field(default_factory=list)
    """Azure's ids."""
    missing_files: list[tuple[RemoteFileRow, bool]] = field(default_factory=list)
    """With whether the file is still needed."""
    odd_deployments: list[str] = field(default_factory=list)
    """Ids of rows that do not say what Azure shows."""


class SweepSteps:
    """One comparison of a connection's resource with our rows."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy
        self._connections = ConnectionService(bench)
        self._resources = ResourceService(bench)

    def sweep(self, sweep_id: str) -> None:
        """Look at everything once."""
        self._bench.tend(Sweep, sweep_id, self._step, noun="sweep")

    def _step(self, held: Claim) -> None:
        began = time.monotonic()
        with self._bench.read() as session:
            sweep = repository.get_sweep(session, held.row_id)
            connection = repository.get_connection(session, sweep.connection_id)
            started_at = repository.now(session)
        target = self._connections.target(connection)
        resource, problems = self._list(held, target)
        failpoint("upkeep.sweep.listed")
        self._resources.learn_models(connection, target)
        self._resources.count(connection, resource.files, resource.jobs)
        seen = Seen(
            connection,
            target,
            started_at,
            resource,
            problems,
            sort(resource, environment=self._policy.environment),
        )
        self._compare(seen)
        with self._bench.begin() as work:
            care.extend(
                work.session, held, lease_seconds=self._policy.lease_seconds
            )  # somebody else's? Then not ours
            counts = self._record(work, seen)
            report = _report(seen, counts, seconds=time.monotonic() - began)
            care.finish(
                work.session,
                held,
                check_in_seconds=self._next(problems),
                swept_at=func.clock_timestamp(),
                report=report,
            )
        failpoint("upkeep.sweep.recorded")

    def _next(self, problems: Sequence[object]) -> float:
        wait = self._policy.sweep_seconds
        return random.uniform(0.9, 1.1) * (min(wait, FAILED_LOOK_SECONDS) if problems else wait)

    # ── looking at Azure ────────────────────────────────────────────────────

    def _list(self, held: Claim, target: AzureTarget) -> tuple[Resource, list[dict[str, Any]]]:
        """Everything there is, each kind for itself: what cannot be listed is told and concludes nothing."""
        problems: list[dict[str, Any]] = []

        def attempt(part: StrayKind, look: Callable[[], Sequence[Thing]]) -> Sequence[Thing] | None:
            with self._bench.begin() as work:
                care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)
            try:
                return look()
            except AzureError as error:
                log.warning("sweep.not_listed", part=part, connection=target.connection_id, error=error.message)
                problems.append({"part": str(part), "code": error.code, "message": error.message})
                return None

        return (
            Resource(
                files=attempt(StrayKind.FILE, lambda: self._files(target)),
                jobs=attempt(StrayKind.JOB, lambda: self._jobs(target)),
                deployments=attempt(StrayKind.DEPLOYMENT, lambda: self._deployments(target))
                if target.account
                else None,
            ),
            problems,
        )

    def _files(self, target: AzureTarget) -> Sequence[Any]:
        with self._connections.data(target, Traffic.READ) as azure:
            return list({file.remote_id: file for file in azure.list_files(purpose="fine-tune")}.values())

    def _jobs(self, target: AzureTarget) -> Sequence[RemoteJob]:
        """Each once, though pages shift and repeat while they are read."""
        with self._connections.data(target, Traffic.READ) as azure:
            return list({job.remote_id: job for page in azure.list_jobs() for job in page}.values())

    def _deployments(self, target: AzureTarget) -> Sequence[RemoteDeployment]:
        with self._connections.control(target, Traffic.READ) as arm:
            return list({found.name.lower(): found for found in arm.list_deployments()}.values())

    # ── comparing ───────────────────────────────────────────────────────────

    def _compare(self, seen: Seen) -> None:
        """What is there without a row, and what has a row without being there.

        The rows are read after the lists: whatever a list shows had its row before it was made.
        """
        with self._bench.read() as session:
            self._know_unmarked_jobs(session, seen)
            by_kind: dict[StrayKind, list[Marked]] = defaultdict(list)
            for item in seen.sorted.marked:
                by_kind[item.kind].append(item)
            jobs = repository.jobs_by_id(session, {item.owner_id for item in seen.sorted.marked})
            files = repository.files_by_name(session, {item.op_key for item in by_kind[StrayKind.FILE]})
            deployments = repository.deployments_by_id(
                session, {item.op_key for item in by_kind[StrayKind.DEPLOYMENT]}
            )
            tagged = {item.tags["project"] for item in seen.sorted.marked if "project" in item.tags}
            others = repository.other_projects(session, seen.connection, tagged)
            self._compare_missing(session, seen)
        judged: list[tuple[Marked, Verdict | None]] = [
            (item, judge_job(item, jobs.get(item.op_key), seen.connection.id, seen.started_at))
            for item in by_kind[StrayKind.JOB]
        ]
        judged += _judge_files(by_kind[StrayKind.FILE], files, seen.connection.id, seen.started_at)
        judged += [
            (item, judge_deployment(item, deployments.get(item.op_key), seen.connection.id, seen.started_at))
            for item in by_kind[StrayKind.DEPLOYMENT]
        ]
        for item, verdict in judged:
            if verdict is None:
                continue
            if verdict.second_of is None and item.tags.get("project") in others:
                seen.others += 1
                continue
            seen.strays.append((item, verdict))

    @staticmethod
    def _know_unmarked_jobs(session: Session, seen: Seen) -> None:
        """Jobs without metadata: ours are those that a row names, or whose suffix and seed are a row's own."""
        unmarked = seen.sorted.unmarked_jobs
        if not unmarked:
            return
        named = repository.jobs_by_remote_id(session, [job.remote_id for job in unmarked])
        tails = {job.suffix[-TAIL:] for job in unmarked if job.suffix}
        by_marks = {marks(row): row.id for row in repository.jobs_by_tail(session, seen.connection.id, tails)}
        for job in unmarked:
            op_key = named.get(job.remote_id) or by_marks.get((job.suffix or "", job.seed or 0))
            if op_key is None:
                seen.sorted.foreign.append(Foreign(StrayKind.JOB, job.remote_id))
            else:
                seen.sorted.marked.append(job_marked(job, op_key))
        seen.sorted.unmarked_jobs = []

    def _compare_missing(self, session: Session, seen: Seen) -> None:
        """Rows whose thing Azure does not show, or shows otherwise. What follows, their own steps decide."""
        connection_id, resource = seen.connection.id, seen.resource
        if resource.jobs is not None:
            listed = {job.remote_id for job in resource.jobs}
            for job in repository.jobs_in_flight(session, connection_id, seen_before=seen.started_at):
                if job.remote_id not in listed:
                    seen.missing_jobs.append(str(job.remote_id))
                    seen.drift.append(
                        _drift("job", job.id, "Azure's list does not show it; it is asked for by id.")
                    )
        if resource.files is not None:
            there = {file.remote_id for file in resource.files if file.status not in NOT_THERE}
            self._compare_files(session, seen, there)
        if resource.deployments is not None:
            shown = {found.name.lower(): found for found in resource.deployments}
            for row in repository.living_deployments(session, connection_id):
                self._compare_deployment(seen, row, shown.get(row.name.lower()))

    @staticmethod
    def _compare_files(session: Session, seen: Seen, there: set[str]) -> None:
        for row, job_status in repository.files_at_azure(
            session, seen.connection.id, sent_before=seen.started_at, at_least_seconds=LOST_UPLOAD_SECONDS
        ):
            if row.remote_id in there:
                continue
            again = job_status == JobStatus.PREPARING
            seen.missing_files.append((row, again))
            what = "it is uploaded again" if again else "that is kept in mind"
            seen.drift.append(_drift("file", row.owner_id, f"The {row.role} file is gone from Azure; {what}."))

    def _compare_deployment(self, seen: Seen, row: Deployment, found: RemoteDeployment | None) -> None:
        if row.status not in {DeploymentStatus.WARMING, DeploymentStatus.READY}:
            return  # its own steps look at Azure all the time
        if row.status_changed_at >= seen.started_at:
            return
        if found is None:
            seen.odd_deployments.append(row.id)
            seen.drift.append(
                _drift("deployment", row.id, "Azure's list does not show it; it is asked for by name.")
            )
        elif row.status == DeploymentStatus.READY and row.capacity_wanted is None:
            drift = difference(row, found, tags_of(row, self._policy.environment)) or None
            if drift != row.drift:
                seen.odd_deployments.append(row.id)
            if drift:
                seen.drift.append(_drift("deployment", row.id, f"Changed at Azure: {', '.join(sorted(drift))}."))

    # ── writing down ────────────────────────────────────────────────────────

    def _record(self, work: UnitOfWork, seen: Seen) -> dict[str, int]:
        for remote_id in seen.missing_jobs:
            JobService.hasten(work, seen.connection.id, remote_id)
        for row, again in seen.missing_files:
            self._record_file(work, row, again=again)
        for deployment_id in seen.odd_deployments:
            DeploymentService.look_again(work, deployment_id)
        keeper = StrayKeeper(self._bench)
        found = removing = 0
        kept: set[str] = set()
        for item, verdict in seen.strays:
            stray_id, is_news = keeper.keep(work, seen.connection, seen.target, item, verdict)
            kept.add(stray_id)
            found += is_news
            removing += verdict.remove
        gone = keeper.let_go(
            work, seen.connection, kept, seen_before=seen.started_at, listed=_listed(seen.resource)
        )
        return {
            "found": found,
            "removing": removing,
            "gone": gone,
            "open": repository.count_watched(work.session, seen.connection.id),
        }

    @staticmethod
    def _record_file(work: UnitOfWork, row: RemoteFileRow, *, again: bool) -> None:
        if FileService.gone(work, row.id, str(row.remote_id), wanted_again=again):
            log.warning("file.removed_at_azure", id=row.id, owner=row.owner_id, again=again)
            work.announce(
                "file.removed_at_azure",
                project_id=row.project_id,
                subject_id=row.owner_id,
                file=row.op_key,
                remote_id=row.remote_id,
                uploaded_again=again,
            )


def _listed(resource: Resource) -> frozenset[StrayKind]:
    parts = {
        StrayKind.FILE: resource.files,
        StrayKind.JOB: resource.jobs,
        StrayKind.DEPLOYMENT: resource.deployments,
    }
    return frozenset(kind for kind, found in parts.items() if found is not None)


def _drift(kind: str, subject_id: str, detail: str) -> dict[str, str]:
    return {"kind": kind, "id": subject_id, "detail": detail}


def _report(seen: Seen, counts: Mapping[str, int], *, seconds: float) -> dict[str, Any]:
    """As `SweepReport`."""

    def part(kind: StrayKind, listed: Sequence[object] | None) -> dict[str, int] | None:
        if listed is None:
            return None
        foreign = sum(1 for item in seen.sorted.foreign if item.kind is kind)
        return {"seen": len(listed), "ours": len(listed) - foreign, "foreign": foreign}

    return {
        "started_at": seen.started_at.isoformat(),
        "duration_seconds": round(seconds, 3),
        "complete": not seen.problems,
        "jobs": part(StrayKind.JOB, seen.resource.jobs),
        "files": part(StrayKind.FILE, seen.resource.files),
        "deployments": part(StrayKind.DEPLOYMENT, seen.resource.deployments),
        "strays": dict(counts),
        "of_other_projects": seen.others,
        "drift": seen.drift[:SHOWN],
        "foreign": [{"kind": str(item.kind), "remote_id": item.remote_id} for item in seen.sorted.foreign[:SHOWN]],
        "problems": seen.problems,
    }


# ── judging ─────────────────────────────────────────────────────────────────


def judge_job(item: Marked, row: Job | None, connection_id: str, started_at: datetime) -> Verdict | None:
    """Why this job is a stray; None = it is not, or it is another's to judge."""
    if row is None:
        if item.status in ENDED_BADLY:
            return None  # it neither costs nor left anything
        return Verdict("No row names this job; the database may have been restored to a time before it.")
    if row.connection_id != connection_id or row.remote_id == item.remote_id:
        return None
    if row.status in UNSENT or row.status_changed_at >= started_at:
        return None  # its own steps are looking for it
    if not item.is_live:
        if item.status in ENDED_BADLY:
            return None
        return Verdict(f"A second job of {row.id}; it has been trained.", second_of=row.id)
    if row.remote_id is None:
        note = f"Its job {row.id} had ended as {row.status} before Azure showed it."
    else:
        note = f"A second job of {row.id}, which goes by {row.remote_id}."
    return Verdict(note, remove=True, second_of=row.id)


def _judge_files(
    items: Sequence[Marked], rows: Mapping[str, RemoteFileRow], connection_id: str, started_at: datetime
) -> list[tuple[Marked, Verdict | None]]:
    by_name: dict[str, list[Marked]] = defaultdict(list)
    for item in items:
        by_name[item.op_key].append(item)
    return [
        (item, judge_file(item, same, rows.get(name), connection_id, started_at))
        for name, same in by_name.items()
        for item in same
    ]


def judge_file(
    item: Marked, same: Iterable[Marked], row: RemoteFileRow | None, connection_id: str, started_at: datetime
) -> Verdict | None:
    """Why this file is a stray.

    Args:
        same: all files of this name.
    """
    if not item.is_live:
        return None
    if row is None:
        return Verdict("No row names this file; the database may have been restored to a time before it.")
    if row.connection_id != connection_id:
        return None
    if row.deleted_at is not None:
        if row.deleted_at >= started_at:
            return None
        return Verdict(f"A file of {row.owner_id} that was deleted already.", remove=True, second_of=row.owner_id)
    if row.remote_id is None or row.remote_id == item.remote_id:
        return None  # its own steps find it by its name
    if row.remote_id not in {other.remote_id for other in same}:
        return None  # the one that the row names is gone: then this one takes its place
    return Verdict(f"A second {row.role} file of {row.owner_id}.", remove=True, second_of=row.owner_id)


def judge_deployment(
    item: Marked, row: Deployment | None, connection_id: str, started_at: datetime
) -> Verdict | None:
    """Why this deployment is a stray."""
    if not item.is_live:
        return None
    if row is None:
        return Verdict("No row names this deployment; the database may have been restored to a time before it.")
    if row.connection_id != connection_id:
        return None
    if row.name.lower() != item.remote_id.lower():
        return Verdict(
            f"It carries the mark of {row.id}, whose name is {row.name!r}: renamed, or made with copied tags."
        )
    status = DeploymentStatus(row.status)
    if status not in DEPLOYMENT_LAW.terminal or row.status_changed_at >= started_at:
        return None
    return Verdict(
        f"Its row says that it is {row.status}, and Azure shows it.",
        remove=status in WANTED_GONE,
        second_of=row.id,
    )


# ── strays ──────────────────────────────────────────────────────────────────


class StrayKeeper:
    """Writes down strays and moves them by law. It asks nobody outside."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def keep(
        self, work: UnitOfWork, connection: Connection, target: AzureTarget, item: Marked, verdict: Verdict
    ) -> tuple[str, bool]:
        """Write down what was seen; its row's id, and whether that is news."""
        resource = target.account_key if item.kind is StrayKind.DEPLOYMENT else target.endpoint.lower()
        sight = {
            "tags": storable(dict(item.tags)),
            "remote": storable(dict(item.raw)),
            "remote_status": item.status,
            "expires_at": item.expires_at,
            "last_seen_at": func.clock_timestamp(),
        }
        key = {
            "resource": resource,
            "kind": str(item.kind),
            "remote_id": item.remote_id,
            "op_key": item.op_key,
        }
        row, is_new = repository.observe(
            work.session,
            key
            | sight
            | {
                "project_id": connection.project_id,
                "connection_id": connection.id,
                "owner_id": item.owner_id,
                "hourly_usd": self._hourly(item),
                "status": StrayStatus.OPEN,
                "note": verdict.note,
                "next_check_at": item.expires_at,
            },
        )
        if not is_new:
            repository.change_stray(work.session, row.id, sight)
        back = row.status == StrayStatus.GONE or (row.status == StrayStatus.REMOVED and item.is_live)
        if back:
            self.move(
                work, row, StrayStatus.OPEN, note=verdict.note, decided_by=None, next_check_at=item.expires_at
            )
        if is_new or back:
            self._tell(work, row, verdict)
        if verdict.remove and row.status == StrayStatus.OPEN:
            self.move(work, row, StrayStatus.REMOVING, next_check_at=func.clock_timestamp())
            work.nudge("upkeep.stray", row.id)
        elif row.status == StrayStatus.REMOVING and row.parked_reason is not None:
            woken = {"parked_reason": None, "fail_count": 0, "failing_since": None}
            repository.change_stray(work.session, row.id, woken | {"next_check_at": func.clock_timestamp()})
        return row.id, is_new or back

    def let_go(
        self,
        work: UnitOfWork,
        connection: Connection,
        kept: set[str],
        *,
        seen_before: datetime,
        listed: frozenset[StrayKind],
    ) -> int:
        """Strays that a whole list no longer shows, or that have a row by now. Returns how many."""
        gone = 0
        for row in repository.watched_strays(work.session, connection.id, seen_before=seen_before):
            if row.id in kept or StrayKind(row.kind) not in listed or row.status == StrayStatus.REMOVING:
                continue
            self.move(work, row, StrayStatus.GONE, note="Azure no longer shows it, or a row names it now.")
            gone += 1
        return gone

    @staticmethod
    def move(work: UnitOfWork, row: Stray, wanted: StrayStatus, **values: Any) -> None:
        """By law, with its event, for a row that this transaction holds. A worker's claim on it ends."""
        STRAY_LAW.check(StrayStatus(row.status), wanted)
        changed = {"next_check_at": None, "parked_reason": None, "fail_count": 0, "failing_since": None} | values
        repository.change_stray(
            work.session,
            row.id,
            changed
            | {"status": wanted, "status_changed_at": func.clock_timestamp()}
            | repository.taken_from_workers(),
        )
        if wanted is not StrayStatus.OPEN:  # that it was found is told with what is known of it
            announce_stray(work, row, wanted, note=values.get("note", row.note), by=values.get("decided_by"))
        work.session.refresh(row)

    @staticmethod
    def _tell(work: UnitOfWork, row: Stray, verdict: Verdict) -> None:
        log.error(
            "stray.found",
            id=row.id,
            kind=row.kind,
            remote_id=row.remote_id,
            op_key=row.op_key,
            note=verdict.note,
            hourly_usd=repository.money(row.hourly_usd),
        )
        work.announce(
            "stray.found",
            project_id=row.project_id,
            subject_id=row.id,
            kind=row.kind,
            remote_id=row.remote_id,
            op_key=row.op_key,
            note=verdict.note,
            hourly_usd=repository.money(row.hourly_usd),
            expires_at=row.expires_at.isoformat() if row.expires_at else None,
        )
        if verdict.second_of is not None and row.kind == StrayKind.JOB:
            work.announce(
                "job.duplicate_at_azure",
                project_id=row.project_id,
                subject_id=verdict.second_of,
                remote_id=row.remote_id,
                stray=row.id,
                cancelled=verdict.remove,
            )

    def _hourly(self, item: Marked) -> Decimal | None:
        if item.kind is not StrayKind.DEPLOYMENT:
            return None
        return hourly_usd(self._bench, item.raw)


def hourly_usd(bench: Workbench, raw: Mapping[str, Any]) -> Decimal | None:
    """What hosting a deployment costs an hour, from ARM's object; None when no price is known."""
    properties, sku = raw.get("properties") or {}, (raw.get("sku") or {}).get("name")
    model = str((properties.get("model") or {}).get("name") or "")
    base = bench.catalogue.find(model)
    if base is None:
        return None
    if ".ft-" not in model or sku == DEVELOPER:
        return Decimal(0)
    return CostService(bench).hourly_hosting(base_model=base.id, sku=str(sku))


def announce_stray(work: UnitOfWork, row: Stray, wanted: StrayStatus, *, note: str, by: str | None) -> None:
    work.announce(
        f"stray.{wanted}",
        project_id=row.project_id,
        subject_id=row.id,
        **{"from": row.status, "to": str(wanted)},
        kind=row.kind,
        remote_id=row.remote_id,
        op_key=row.op_key,
        note=note,
        by=by,
        hourly_usd=repository.money(row.hourly_usd),
    )


class StraySteps:
    """What workers do with a stray: nothing until somebody decides, or until its end has come; then remove it."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy
        self._connections = ConnectionService(bench)

    def advance(self, stray_id: str) -> None:
        """Take the stray as far as it goes without waiting."""
        self._bench.tend(Stray, stray_id, self._step, noun="stray")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            row, now = repository.get_stray(session, held.row_id)
        if row.status == StrayStatus.OPEN and row.expires_at is not None:
            self._wait_for_end(held, row, now)
        elif row.status == StrayStatus.REMOVING:
            self._remove(held, row)
        else:
            self._finish(held, check_in_seconds=None)

    def _wait_for_end(self, held: Claim, row: Stray, now: datetime) -> None:
        """It is ours and costs money: what its creator said of its end holds, whether a row is left or not."""
        assert row.expires_at is not None  # noqa: S101  the caller looked
        left = (row.expires_at - now).total_seconds()
        if left > 0:
            self._finish(held, check_in_seconds=left)
            return
        note = f"Its end, {row.expires_at:%Y-%m-%d %H:%M} UTC by its own tag, has passed."
        self._move(held, row, StrayStatus.REMOVING, note=note, check_in_seconds=0)

    def _finish(self, held: Claim, *, check_in_seconds: float | None, **values: Any) -> None:
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=check_in_seconds, **values)

    def _move(
        self, held: Claim, row: Stray, wanted: StrayStatus, *, note: str, check_in_seconds: float | None = None
    ) -> None:
        """By law, under the fence, with its event."""
        log.warning("stray.moved", to=str(wanted), id=row.id, kind=row.kind, remote_id=row.remote_id, note=note)
        current = StrayStatus(row.status)
        with self._bench.begin() as work:
            care.move(work.session, held, STRAY_LAW, current, wanted, check_in_seconds=check_in_seconds, note=note)
            announce_stray(work, row, wanted, note=note, by=row.decided_by)

    def _remove(self, held: Claim, row: Stray) -> None:
        if self._has_row(row):
            self._move(held, row, StrayStatus.GONE, note="A row names it now, so it is no stray.")
            return
        target = self._connections.target_of(row.connection_id)
        match StrayKind(row.kind):
            case StrayKind.JOB:
                self._cancel_job(held, row, target)
            case StrayKind.FILE:
                self._delete_file(held, row, target)
            case StrayKind.DEPLOYMENT:
                self._delete_deployment(held, row, target)

    def _has_row(self, row: Stray) -> bool:
        """Whether somebody cares for it now: the last look before it is taken away."""
        with self._bench.read() as session:
            match StrayKind(row.kind):
                case StrayKind.JOB:
                    return bool(repository.jobs_by_remote_id(session, [row.remote_id]))
                case StrayKind.FILE:
                    return row.remote_id in repository.files_by_remote_id(session, [row.remote_id])
                case StrayKind.DEPLOYMENT:
                    named = repository.deployments_by_id(session, [row.op_key]).get(row.op_key)
                    return (
                        named is not None
                        and named.name.lower() == row.remote_id.lower()
                        and named.status in repository.LIVING
                    )

    def _cancel_job(self, held: Claim, row: Stray, target: AzureTarget) -> None:
        """A job is removed when it no longer trains; Azure keeps its name in the list."""
        try:
            with self._connections.data(target, Traffic.STOP_MONEY) as azure:
                remote = azure.get_job(row.remote_id)
        except NotThere:
            self._move(held, row, StrayStatus.REMOVED, note="Azure no longer knows the job.")
            return
        if remote.metadata and not is_tagged(remote.metadata, self._policy.environment):
            self._move(held, row, StrayStatus.GONE, note="It no longer carries our mark.")
            return
        if remote.status in ENDED_AT_AZURE:
            self._move(held, row, StrayStatus.REMOVED, note=f"It has ended as {remote.status}.")
            return
        with self._connections.data(target, Traffic.STOP_MONEY) as azure:
            azure.cancel_job(row.remote_id)
        self._sent(held, check_in_seconds=min(CANCEL_LOOK_SECONDS, self._policy.deployment_poll_seconds))

    def _delete_file(self, held: Claim, row: Stray, target: AzureTarget) -> None:
        try:
            with self._connections.data(target, Traffic.STOP_MONEY) as azure:
                there = azure.get_file(row.remote_id).status not in NOT_THERE
        except NotThere:
            there = False
        if not there:
            self._move(held, row, StrayStatus.REMOVED, note="The file was deleted.")
            return
        with self._connections.data(target, Traffic.STOP_MONEY) as azure:
            azure.delete_file(row.remote_id)
        self._sent(held, check_in_seconds=0 if row.removal_sent_at is None else CANCEL_LOOK_SECONDS)

    def _sent(self, held: Claim, *, check_in_seconds: float) -> None:
        """Azure was asked to take it away; a look will tell when it has."""
        failpoint("upkeep.stray.sent")
        self._finish(held, check_in_seconds=check_in_seconds, removal_sent_at=func.clock_timestamp())
        failpoint("upkeep.stray.recorded")

    def _delete_deployment(self, held: Claim, row: Stray, target: AzureTarget) -> None:
        """Removed only when Azure no longer shows it; until then hosting is paid."""
        with self._connections.control(target, Traffic.STOP_MONEY) as arm:
            remote = arm.get_deployment(row.remote_id)
        if remote is None or remote.tags.get("op_key") != row.op_key:
            note = "Azure no longer has it." if remote is None else "Something else has its name now."
            self._move(held, row, StrayStatus.REMOVED if remote is None else StrayStatus.GONE, note=note)
            self._connections.free_account(target, row.id)
            return
        poll = self._policy.deployment_poll_seconds
        lock_seconds = self._policy.lease_seconds + 2 * poll
        if not self._connections.take_account(target, row.id, seconds=lock_seconds):
            self._finish(held, check_in_seconds=poll)
            return
        if row.removal_sent_at is None or remote.provisioning_state != "Deleting":
            with self._connections.control(target, Traffic.STOP_MONEY) as arm:
                arm.delete_deployment(row.remote_id)
            self._sent(held, check_in_seconds=poll)
        else:
            self._finish(held, check_in_seconds=poll)
