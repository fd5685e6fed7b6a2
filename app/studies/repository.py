"""All SQL of the studies room."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.kit.care import Claim, write
from app.kit.pagination import Page, Slice, keyset, slice_of
from app.studies.states import StudyStatus, TrialStatus
from app.studies.tables import Study, Trial


def add(session: Session, study: Study, trials: Sequence[Trial]) -> None:
    session.add(study)
    session.flush()
    session.add_all(trials)
    session.flush()


def find_reserved(session: Session, reservation_id: str) -> str | None:
    return session.scalars(select(Study.id).where(Study.reservation_id == reservation_id)).one_or_none()


def find(session: Session, project_id: str, study_id: str) -> Study | None:
    return session.scalars(select(Study).where(Study.project_id == project_id, Study.id == study_id)).one_or_none()


def get_unscoped(session: Session, study_id: str) -> Study:
    """For workers."""
    return session.get_one(Study, study_id)


def trials(session: Session, study_ids: Sequence[str]) -> list[Trial]:
    """Of these studies, each in its order."""
    statement = select(Trial).where(Trial.study_id.in_(study_ids))
    return list(session.scalars(statement.order_by(Trial.study_id, Trial.number)))


def page(session: Session, project_id: str, wanted: Page, *, status: StudyStatus | None) -> Slice[Study]:
    statement = select(Study).where(Study.project_id == project_id)
    if status is not None:
        statement = statement.where(Study.status == status)
    return slice_of(session.scalars(keyset(statement, Study.id, wanted)).all(), wanted)


def count_running(session: Session, project_id: str) -> int:
    statement = select(func.count()).where(Study.project_id == project_id, Study.status == StudyStatus.RUNNING)
    return session.execute(statement).scalar_one()


def change_trial(session: Session, held: Claim, trial_id: str, **values: Any) -> None:
    """Under the study's fence. Raises `LeaseLost`."""
    write(session, held, updated_at=func.clock_timestamp())
    session.execute(
        update(Trial).where(Trial.id == trial_id).values(**values).execution_options(synchronize_session=False)
    )


def ask(session: Session, study_id: str) -> bool:
    """Wish the study to end; False when it has."""
    found = session.scalars(
        update(Study)
        .where(Study.id == study_id, Study.status == StudyStatus.RUNNING)
        .values(
            cancel_requested_at=func.coalesce(Study.cancel_requested_at, func.clock_timestamp()),
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
        )
        .returning(Study.id)
        .execution_options(synchronize_session=False)
    )
    return found.one_or_none() is not None


def unpark(session: Session, study_id: str) -> bool:
    found = session.scalars(
        update(Study)
        .where(Study.id == study_id, Study.parked_reason.is_not(None))
        .values(
            parked_reason=None,
            fail_count=0,
            failing_since=None,
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
        )
        .returning(Study.id)
        .execution_options(synchronize_session=False)
    )
    return found.one_or_none() is not None


def heed_cancel(session: Session, study_id: str) -> None:
    """For a step that began before anybody wished the end: look again at once if somebody has wished it since."""
    session.execute(
        update(Study)
        .where(
            Study.id == study_id,
            Study.status == StudyStatus.RUNNING,
            Study.cancel_requested_at.is_not(None),
        )
        .values(next_check_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )


def of_job(session: Session, job_id: str) -> str | None:
    """The running study that waits for this job; it is looked at now."""
    waiting = select(Trial.study_id).where(Trial.job_id == job_id, Trial.status == TrialStatus.TRAINING)
    return session.scalars(
        update(Study)
        .where(Study.id.in_(waiting), Study.status == StudyStatus.RUNNING)
        .values(next_check_at=func.clock_timestamp())
        .returning(Study.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
