"""All SQL of the adoptions room. Rows of the rooms below are read here and changed by their own services."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.adoptions.tables import Adoption
from app.connections.tables import Connection
from app.jobs.tables import Job
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice, keyset, slice_of


def followed(session: Session, endpoint: str, remote_ids: Iterable[str]) -> Mapping[str, Job]:
    """By Azure's id, the jobs of any project that stand on the resource with this endpoint."""
    rows = session.scalars(
        select(Job)
        .join(Connection, Connection.id == Job.connection_id)
        .where(func.lower(Connection.endpoint) == endpoint.lower(), Job.remote_id.in_(list(remote_ids)))
    )
    return {str(job.remote_id): job for job in rows}


def hold_remote(session: Session, endpoint: str, remote_id: str) -> None:
    """Let only one transaction at a time make a row for this job of this resource."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{endpoint.lower()} {remote_id}", 0))))


def by_remote_id(session: Session, connection_id: str, remote_ids: Iterable[str]) -> Mapping[str, Adoption]:
    rows = session.scalars(
        select(Adoption).where(Adoption.connection_id == connection_id, Adoption.remote_id.in_(list(remote_ids)))
    )
    return {row.remote_id: row for row in rows}


def ask(session: Session, values: dict[str, Any]) -> tuple[Adoption, bool]:
    """The adoption of this job, held until the transaction ends, and whether it was made by this call."""
    made = session.scalar(
        insert(Adoption)
        .values(id=new_id("adp"), **values)
        .on_conflict_do_nothing(index_elements=[Adoption.connection_id, Adoption.remote_id])
        .returning(Adoption.id)
    )
    row = session.scalars(
        select(Adoption)
        .where(Adoption.connection_id == values["connection_id"], Adoption.remote_id == values["remote_id"])
        .with_for_update()
    ).one()
    return row, made is not None


def begin_anew(session: Session, adoption_id: str, values: dict[str, Any]) -> None:
    """A person asks again: whoever holds it loses its claim."""
    session.execute(
        update(Adoption)
        .where(Adoption.id == adoption_id)
        .values(
            lease_owner=None,
            lease_until=None,
            fence=Adoption.fence + 1,
            fail_count=0,
            failing_since=None,
            parked_reason=None,
            next_check_at=func.clock_timestamp(),
            **values,
        )
        .execution_options(synchronize_session=False)
    )


def find(session: Session, project_id: str, adoption_id: str) -> Adoption | None:
    return session.scalars(
        select(Adoption).where(Adoption.project_id == project_id, Adoption.id == adoption_id)
    ).one_or_none()


def get_unscoped(session: Session, adoption_id: str) -> Adoption:
    """For workers, which act for whichever project the row belongs to."""
    return session.get_one(Adoption, adoption_id)


def page(session: Session, project_id: str, wanted: Page, *, connection_id: str | None) -> Slice[Adoption]:
    statement = select(Adoption).where(Adoption.project_id == project_id)
    if connection_id is not None:
        statement = statement.where(Adoption.connection_id == connection_id)
    return slice_of(session.scalars(keyset(statement, Adoption.id, wanted)).all(), wanted)
