"""All SQL of the upkeep room. Rows of the rooms below are read here and changed by their own services."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.access.tables import ProjectRow
from app.connections.tables import Connection
from app.datasets.tables import DatasetFetch, DatasetVersion, RemoteFileRow, UploadPart
from app.deployments.tables import Deployment
from app.exports.tables import ImportedRun
from app.jobs.marks import TAIL
from app.jobs.states import IN_FLIGHT
from app.jobs.tables import Job
from app.kit import care
from app.kit.care import Claim
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice, keyset, slice_of
from app.models.tables import Model
from app.upkeep.states import StrayStatus
from app.upkeep.tables import Janitor, RetirementNotice, Stray, Sweep

LIVING: Final = ("creating", "warming", "ready", "deleting")
"""Statuses of a deployment that may stand at Azure."""
WATCHED: Final = (StrayStatus.OPEN, StrayStatus.REMOVING, StrayStatus.IGNORED)
"""Statuses of a stray that is still there, as far as we know."""
JANITOR: Final = "janitor"
"""The one janitor's id."""


def now(session: Session) -> datetime:
    moment: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return moment


# ── sweeps ──────────────────────────────────────────────────────────────────


def add_missing_sweeps(session: Session, *, within_seconds: float) -> None:
    """A sweep for every connection that has none; the first one comes within so many seconds."""
    without = session.scalars(
        select(Connection.id)
        .outerjoin(Sweep, Sweep.connection_id == Connection.id)
        .where(Sweep.id.is_(None))
        .limit(100)
    ).all()
    for connection_id in without:
        add_sweep(session, connection_id, within_seconds=within_seconds)


def add_sweep(session: Session, connection_id: str, *, within_seconds: float) -> None:
    """Nothing happens where there is one already."""
    spread = func.make_interval(0, 0, 0, 0, 0, 0, within_seconds * 0.9) * func.random()
    session.execute(
        insert(Sweep)
        .values(
            id=new_id("swp"),
            project_id=select(Connection.project_id).where(Connection.id == connection_id).scalar_subquery(),
            connection_id=connection_id,
            next_check_at=care.in_seconds(within_seconds * 0.1) + spread,
        )
        .on_conflict_do_nothing()
    )


def sweep_of(session: Session, connection_id: str) -> Sweep | None:
    return session.scalars(select(Sweep).where(Sweep.connection_id == connection_id)).one_or_none()


def get_sweep(session: Session, sweep_id: str) -> Sweep:
    return session.get_one(Sweep, sweep_id)


def ask_for_sweep(session: Session, sweep_id: str) -> None:
    """Have it done now, also when it was parked."""
    session.execute(
        update(Sweep)
        .where(Sweep.id == sweep_id)
        .values(
            next_check_at=func.clock_timestamp(),
            asked_at=func.clock_timestamp(),
            parked_reason=None,
            fail_count=0,
            failing_since=None,
        )
        .execution_options(synchronize_session=False)
    )


def all_connections(session: Session) -> Sequence[Connection]:
    """Of every project, archived ones too: what was made through them may still cost."""
    return session.scalars(select(Connection).order_by(Connection.id)).all()


def get_connection(session: Session, connection_id: str) -> Connection:
    return session.get_one(Connection, connection_id)


def other_projects(session: Session, connection: Connection, project_ids: Iterable[str]) -> frozenset[str]:
    """Those of these projects, but for the connection's own, that have a connection to the same resource."""
    same = [func.lower(Connection.endpoint) == connection.endpoint.lower()]
    if connection.account is not None:
        same.append(
            (func.lower(Connection.account) == connection.account.lower())
            & (Connection.subscription_id == connection.subscription_id)
            & (Connection.resource_group == connection.resource_group)
        )
    return frozenset(
        session.scalars(
            select(Connection.project_id).where(
                Connection.project_id.in_(list(project_ids)),
                Connection.project_id != connection.project_id,
                or_(*same),
            )
        )
    )


# ── what our rows know ──────────────────────────────────────────────────────


def jobs_by_id(session: Session, ids: Iterable[str]) -> dict[str, Job]:
    rows = session.scalars(select(Job).where(Job.id.in_(list(ids)))).all()
    return {row.id: row for row in rows}


def jobs_by_remote_id(session: Session, remote_ids: Iterable[str]) -> dict[str, str]:
    """Azure's id → id of the job whose row names it, whichever connection it was made through."""
    rows = session.execute(select(Job.remote_id, Job.id).where(Job.remote_id.in_(list(remote_ids))))
    return {str(remote_id): job_id for remote_id, job_id in rows}


def jobs_by_tail(session: Session, connection_id: str, tails: Iterable[str]) -> Sequence[Job]:
    """The connection's jobs whose id ends like this; for resources that keep no metadata."""
    return session.scalars(
        select(Job).where(Job.connection_id == connection_id, func.right(Job.id, TAIL).in_(list(tails)))
    ).all()


def jobs_in_flight(session: Session, connection_id: str, *, seen_before: datetime) -> Sequence[Job]:
    """The connection's jobs that Azure had shown before this moment and that had not ended."""
    return session.scalars(
        select(Job).where(
            Job.connection_id == connection_id,
            Job.status.in_(IN_FLIGHT),
            Job.remote_id.is_not(None),
            Job.remote_seen_at < seen_before,
        )
    ).all()


def files_by_name(session: Session, names: Iterable[str]) -> dict[str, RemoteFileRow]:
    rows = session.scalars(select(RemoteFileRow).where(RemoteFileRow.op_key.in_(list(names)))).all()
    return {row.op_key: row for row in rows}


def files_by_remote_id(session: Session, remote_ids: Iterable[str]) -> frozenset[str]:
    """Those of these files that a row names."""
    return frozenset(
        str(found)
        for found in session.scalars(
            select(RemoteFileRow.remote_id).where(RemoteFileRow.remote_id.in_(list(remote_ids)))
        )
    )


def files_at_azure(
    session: Session, connection_id: str, *, sent_before: datetime, at_least_seconds: float
) -> Sequence[tuple[RemoteFileRow, str | None]]:
    """The connection's files that should be there, each with its job's status; very young ones are left out."""
    young = func.make_interval(0, 0, 0, 0, 0, 0, at_least_seconds)
    rows = session.execute(
        select(RemoteFileRow, Job.status)
        .outerjoin(Job, Job.id == RemoteFileRow.owner_id)
        .where(
            RemoteFileRow.connection_id == connection_id,
            RemoteFileRow.remote_id.is_not(None),
            RemoteFileRow.deleted_at.is_(None),
            RemoteFileRow.sent_at < sent_before - young,
        )
    )
    return [(row, status) for row, status in rows]


def deployments_by_id(session: Session, ids: Iterable[str]) -> dict[str, Deployment]:
    rows = session.scalars(select(Deployment).where(Deployment.id.in_(list(ids)))).all()
    return {row.id: row for row in rows}


def living_deployments(session: Session, connection_id: str) -> Sequence[Deployment]:
    return session.scalars(
        select(Deployment).where(Deployment.connection_id == connection_id, Deployment.status.in_(LIVING))
    ).all()


def expired_deployments(session: Session) -> Sequence[Deployment]:
    """Every living deployment whose time is up, or whose deletion is under way."""
    return session.scalars(
        select(Deployment)
        .where(
            Deployment.status.in_(LIVING),
            or_(Deployment.expires_at <= func.clock_timestamp(), Deployment.status == "deleting"),
        )
        .order_by(Deployment.expires_at)
    ).all()


def get_deployment(session: Session, deployment_id: str) -> Deployment:
    return session.get_one(Deployment, deployment_id)


def projects_among(session: Session, ids: Iterable[str]) -> frozenset[str]:
    return frozenset(session.scalars(select(ProjectRow.id).where(ProjectRow.id.in_(list(ids)))))


# ── strays ──────────────────────────────────────────────────────────────────


def observe(session: Session, values: Mapping[str, Any]) -> tuple[Stray, bool]:
    """Keep a stray, or what Azure says of one that is kept already. The row, held until the transaction ends, and
    whether it is new.
    """
    fresh = insert(Stray).values(id=new_id("stray"), **values)
    stray_id = session.execute(
        fresh.on_conflict_do_nothing(
            index_elements=[Stray.resource, Stray.kind, Stray.remote_id, Stray.op_key]
        ).returning(Stray.id)
    ).scalar_one_or_none()
    row = session.scalars(
        select(Stray)
        .where(
            Stray.resource == values["resource"],
            Stray.kind == values["kind"],
            Stray.remote_id == values["remote_id"],
            Stray.op_key == values["op_key"],
        )
        .with_for_update()
    ).one()
    return row, stray_id is not None


def change_stray(session: Session, stray_id: str, values: Mapping[str, Any]) -> None:
    session.execute(
        update(Stray)
        .where(Stray.id == stray_id)
        .values(updated_at=func.clock_timestamp(), **values)
        .execution_options(synchronize_session=False)
    )


def taken_from_workers() -> dict[str, Any]:
    """What makes a worker that holds a claim on the row drop what it knows."""
    return {"fence": Stray.fence + 1, "lease_owner": None, "lease_until": None}


def get_stray(session: Session, stray_id: str) -> tuple[Stray, datetime]:
    """For workers: the row, and the database's time when it was read."""
    row = session.execute(select(Stray, func.clock_timestamp()).where(Stray.id == stray_id)).one()
    return row[0], row[1]


def find_stray(session: Session, project_id: str, stray_id: str, *, lock: bool = False) -> Stray | None:
    statement = select(Stray).where(Stray.project_id == project_id, Stray.id == stray_id)
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def stray_page(
    session: Session,
    project_id: str,
    wanted: Page,
    *,
    status: str | None,
    kind: str | None,
    connection_id: str | None,
) -> Slice[Stray]:
    statement = select(Stray).where(Stray.project_id == project_id)
    if status is not None:
        statement = statement.where(Stray.status == status)
    if kind is not None:
        statement = statement.where(Stray.kind == kind)
    if connection_id is not None:
        statement = statement.where(Stray.connection_id == connection_id)
    return slice_of(session.scalars(keyset(statement, Stray.id, wanted)).all(), wanted)


def watched_strays(session: Session, connection_id: str, *, seen_before: datetime) -> Sequence[Stray]:
    """The connection's strays that should still be there, held until the transaction ends."""
    return session.scalars(
        select(Stray)
        .where(Stray.connection_id == connection_id, Stray.status.in_(WATCHED), Stray.last_seen_at < seen_before)
        .with_for_update()
    ).all()


def stray_of(session: Session, resource: str, name: str, op_key: str) -> Stray | None:
    """What is kept of a deployment on one account."""
    return session.scalars(
        select(Stray).where(
            Stray.resource == resource,
            Stray.kind == "deployment",
            Stray.remote_id == name,
            Stray.op_key == op_key,
        )
    ).one_or_none()


def files_of_stray_job(session: Session, stray: Stray) -> Sequence[Stray]:
    """Stray files of the job that a stray names, held until the transaction ends."""
    return session.scalars(
        select(Stray)
        .where(
            Stray.project_id == stray.project_id,
            Stray.kind == "file",
            Stray.owner_id == stray.owner_id,
            Stray.status.in_((StrayStatus.OPEN, StrayStatus.IGNORED)),
        )
        .with_for_update()
    ).all()


def count_watched(session: Session, connection_id: str) -> int:
    return (
        session.scalar(
            select(func.count()).where(Stray.connection_id == connection_id, Stray.status == StrayStatus.OPEN)
        )
        or 0
    )


# ── the janitor ─────────────────────────────────────────────────────────────


def add_janitor(session: Session, *, within_seconds: float) -> None:
    session.execute(
        insert(Janitor).values(id=JANITOR, next_check_at=care.in_seconds(within_seconds)).on_conflict_do_nothing()
    )


def count_removed(session: Session, held: Claim, *, objects: int, size: int) -> None:
    """Under the claim's fence."""
    care.write(
        session,
        held,
        removed_objects=Janitor.removed_objects + objects,
        removed_bytes=Janitor.removed_bytes + size,
    )


def get_janitor(session: Session) -> Janitor | None:
    return session.get(Janitor, JANITOR)


def known_versions(session: Session, ids: Iterable[str]) -> dict[str, str]:
    """Id → status of those versions that there are."""
    rows = session.execute(select(DatasetVersion.id, DatasetVersion.status).where(DatasetVersion.id.in_(list(ids))))
    return {str(row_id): str(status) for row_id, status in rows}


def known_jobs(session: Session, ids: Iterable[str]) -> frozenset[str]:
    return frozenset(session.scalars(select(Job.id).where(Job.id.in_(list(ids)))))


def known_runs(session: Session, ids: Iterable[str]) -> set[str]:
    return set(session.scalars(select(ImportedRun.id).where(ImportedRun.id.in_(list(ids)))))


def known_fetches(session: Session, ids: Iterable[str]) -> frozenset[str]:
    """Those of the fetches that have not ended."""
    return frozenset(
        session.scalars(
            select(DatasetFetch.id).where(DatasetFetch.id.in_(list(ids)), DatasetFetch.ended_at.is_(None))
        )
    )


def known_parts(session: Session, ids: Iterable[str]) -> frozenset[str]:
    return frozenset(session.scalars(select(UploadPart.id).where(UploadPart.id.in_(list(ids)))))


def money(value: Decimal | None) -> str | None:
    """As it stands in events and reports."""
    return None if value is None else f"{value:.4f}"


# ── what ends ───────────────────────────────────────────────────────────────


def projects_with_models(session: Session) -> Sequence[str]:
    """Projects of which anything can end."""
    with_models = select(Model.project_id)
    with_deployments = select(Deployment.project_id).where(Deployment.status.in_(LIVING))
    return session.scalars(with_models.union(with_deployments)).all()


def models_of_project(session: Session, project_id: str) -> Sequence[Model]:
    return session.scalars(select(Model).where(Model.project_id == project_id).order_by(Model.id)).all()


def living_of_project(session: Session, project_id: str) -> Sequence[Deployment]:
    return session.scalars(
        select(Deployment)
        .where(Deployment.project_id == project_id, Deployment.status.in_(LIVING))
        .order_by(Deployment.id)
    ).all()


def jobs_of_models(session: Session, project_id: str, subjects: Iterable[str]) -> dict[str, Job]:
    """Id of a model, or of a deployment of one → the job that made it."""
    wanted = list(subjects)
    of_models = select(Model.id, Job).join(Job, Job.id == Model.job_id)
    of_deployments = (
        select(Deployment.id, Job).join(Model, Model.id == Deployment.model_id).join(Job, Job.id == Model.job_id)
    )
    found = {
        row[0]: row[1]
        for row in session.execute(of_models.where(Model.project_id == project_id, Model.id.in_(wanted)))
    }
    found |= {
        row[0]: row[1]
        for row in session.execute(
            of_deployments.where(Deployment.project_id == project_id, Deployment.id.in_(wanted))
        )
    }
    return found


def note_retirement(
    session: Session, *, project_id: str, subject_id: str, kind: str, ends_on: date, level: str
) -> bool:
    """Keep that this is told now; False = it was told already."""
    row = session.execute(
        insert(RetirementNotice)
        .values(project_id=project_id, subject_id=subject_id, kind=kind, ends_on=ends_on, level=level)
        .on_conflict_do_nothing()
        .returning(RetirementNotice.subject_id)
    ).one_or_none()
    return row is not None
