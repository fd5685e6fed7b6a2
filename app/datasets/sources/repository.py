"""All SQL of fetches."""

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.datasets.states import FetchStatus
from app.datasets.tables import DatasetFetch
from app.kit import care
from app.kit.pagination import Page, Slice, keyset, slice_of


def add(session: Session, row: DatasetFetch) -> None:
    session.add(row)
    session.flush()
    session.refresh(row)


def find(session: Session, dataset_id: str, fetch_id: str) -> DatasetFetch | None:
    return session.scalars(
        select(DatasetFetch).where(DatasetFetch.dataset_id == dataset_id, DatasetFetch.id == fetch_id)
    ).one_or_none()


def page(session: Session, dataset_id: str, wanted: Page) -> Slice[DatasetFetch]:
    statement = select(DatasetFetch).where(DatasetFetch.dataset_id == dataset_id)
    return slice_of(session.scalars(keyset(statement, DatasetFetch.id, wanted)).all(), wanted)


def get_unscoped(session: Session, fetch_id: str) -> tuple[DatasetFetch, float]:
    """For workers: the row, and its age in seconds on the database's clock."""
    row, age = session.execute(
        select(DatasetFetch, func.extract("epoch", func.clock_timestamp() - DatasetFetch.created_at)).where(
            DatasetFetch.id == fetch_id
        )
    ).one()
    return row, float(age)


def under_way(session: Session, project_id: str) -> int:
    """How many fetches of the project have not ended. Others that want to know wait for the transaction's end."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"fetches of {project_id}", 0))))
    statement = select(func.count()).where(
        DatasetFetch.project_id == project_id, DatasetFetch.status == FetchStatus.FETCHING
    )
    return session.scalar(statement) or 0


def status_of(session: Session, fetch_id: str) -> str | None:
    return session.scalar(select(DatasetFetch.status).where(DatasetFetch.id == fetch_id))


def unpark(session: Session, fetch_id: str) -> bool:
    """False when it is not parked."""
    touched = session.execute(
        update(DatasetFetch)
        .where(DatasetFetch.id == fetch_id, DatasetFetch.parked_reason.is_not(None))
        .values(parked_reason=None, fail_count=0, failing_since=None, next_check_at=care.in_seconds(0))
        .returning(DatasetFetch.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None


def stop(session: Session, fetch_id: str, values: dict[str, Any]) -> bool:
    """End a fetch from outside: whoever holds its lease finds the fence raised. False when it has ended already."""
    stopped = session.execute(
        update(DatasetFetch)
        .where(DatasetFetch.id == fetch_id, DatasetFetch.status == FetchStatus.FETCHING)
        .values(
            fence=DatasetFetch.fence + 1,
            lease_owner=None,
            lease_until=None,
            next_check_at=care.in_seconds(0),
            parked_reason=None,
            source_sealed=None,
            ended_at=func.clock_timestamp(),
            **values,
        )
        .returning(DatasetFetch.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return stopped is not None
