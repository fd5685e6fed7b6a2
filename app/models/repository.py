"""All SQL of the models room."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.jobs.tables import Checkpoint, Job
from app.kit.pagination import Page, Slice, keyset, slice_of
from app.models.states import COPY_LAW, CopyStatus
from app.models.tables import Model, ModelCopy


def job_unscoped(session: Session, job_id: str) -> Job | None:
    """For reactions, which act for whichever project the job belongs to."""
    return session.get(Job, job_id)


def checkpoints(session: Session, job_id: str) -> Sequence[Checkpoint]:
    """Deployable states, oldest first."""
    listed = select(Checkpoint).where(Checkpoint.job_id == job_id, Checkpoint.gone_at.is_(None))
    return session.scalars(listed.order_by(Checkpoint.step)).all()


def of_job(session: Session, job_id: str, remote_name: str) -> Model | None:
    return session.scalars(
        select(Model).where(Model.job_id == job_id, Model.remote_name == remote_name)
    ).one_or_none()


def is_registered(session: Session, job_id: str, remote_name: str) -> bool:
    found = session.scalar(select(Model.id).where(Model.job_id == job_id, Model.remote_name == remote_name))
    return found is not None


def add_if_new(session: Session, model: Model) -> bool:
    """False: the project has a model of this name, or the job's model is registered already."""
    names = ("id", "project_id", "connection_id", "job_id", "name", "remote_name", "base_model", "kind", "step")
    added = session.execute(
        insert(Model)
        .values({name: getattr(model, name) for name in names})
        .on_conflict_do_nothing()
        .returning(Model.id)
    ).one_or_none()
    return added is not None


def find(session: Session, project_id: str, ref: str) -> Model | None:
    """By id or by name, within one project."""
    return session.scalars(
        select(Model).where(Model.project_id == project_id, or_(Model.id == ref, Model.name == ref))
    ).one_or_none()


def find_remote(session: Session, project_id: str, remote_name: str) -> Model | None:
    """By Azure's name of it; where two jobs left the same, the older."""
    return session.scalars(
        select(Model)
        .where(Model.project_id == project_id, Model.remote_name == remote_name)
        .order_by(Model.id)
        .limit(1)
    ).one_or_none()


def add_copy(session: Session, values: Mapping[str, Any]) -> ModelCopy:
    """The one copy of a model to a destination: made now, or there already."""
    session.execute(
        insert(ModelCopy)
        .values(dict(values))
        .on_conflict_do_nothing(index_elements=[ModelCopy.model_id, ModelCopy.connection_id])
    )
    return session.scalars(
        select(ModelCopy)
        .where(ModelCopy.model_id == values["model_id"], ModelCopy.connection_id == values["connection_id"])
        .with_for_update()
    ).one()


def begin_copy_again(session: Session, row: ModelCopy) -> None:
    """Of a copy that failed, as if it were new; of a parked one, from where it is."""
    current = CopyStatus(row.status)
    if current is CopyStatus.FAILED:
        COPY_LAW.check(current, CopyStatus.REQUESTED)
        current = CopyStatus.REQUESTED
    session.execute(
        update(ModelCopy)
        .where(ModelCopy.id == row.id)
        .values(
            status=current,
            status_changed_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
            sent_at=None,
            asks=0,
            error=null(),
            finished_at=None,
            parked_reason=None,
            fail_count=0,
            failing_since=None,
            next_check_at=func.clock_timestamp(),
        )
        .execution_options(synchronize_session=False)
    )


def copies(session: Session, project_id: str, model_id: str) -> Sequence[ModelCopy]:
    return session.scalars(
        select(ModelCopy)
        .where(ModelCopy.project_id == project_id, ModelCopy.model_id == model_id)
        .order_by(ModelCopy.id)
    ).all()


def load_copy(session: Session, copy_id: str) -> tuple[ModelCopy, Model, datetime]:
    """With its model and the database's time."""
    row = session.execute(
        select(ModelCopy, Model, func.clock_timestamp())
        .join(Model, Model.id == ModelCopy.model_id)
        .where(ModelCopy.id == copy_id)
    ).one()
    return row[0], row[1], row[2]


def remote_checkpoint(session: Session, model: Model) -> tuple[str, str] | None:
    """Azure's ids of a model's job and checkpoint; None = Azure lists it no longer, or never did."""
    row = session.execute(
        select(Job.remote_id, Checkpoint.remote_id)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(
            Checkpoint.job_id == model.job_id,
            Checkpoint.model_name == model.remote_name,
            Checkpoint.gone_at.is_(None),
            Job.remote_id.is_not(None),
        )
    ).first()
    return None if row is None else (str(row[0]), str(row[1]))


def has_trained(session: Session, connection_id: str) -> bool:
    """Whether a job of ours was ever known to Azure on this resource."""
    found = session.scalar(
        select(Job.id).where(Job.connection_id == connection_id, Job.remote_id.is_not(None)).limit(1)
    )
    return found is not None


def page(session: Session, project_id: str, wanted: Page, *, job_id: str | None) -> Slice[Model]:
    statement = select(Model).where(Model.project_id == project_id)
    if job_id is not None:
        statement = statement.where(Model.job_id == job_id)
    return slice_of(session.scalars(keyset(statement, Model.id, wanted)).all(), wanted)
