"""All SQL of the models room."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.jobs.tables import Checkpoint, Job
from app.kit.pagination import Page, Slice, keyset, slice_of
from app.models.tables import Model


def job_unscoped(session: Session, job_id: str) -> Job | None:
    """For reactions, which act for whichever project the job belongs to."""
    return session.get(Job, job_id)


def checkpoints(session: Session, job_id: str) -> Sequence[Checkpoint]:
    """Deployable states, oldest first."""
    return session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step)).all()


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


def page(session: Session, project_id: str, wanted: Page, *, job_id: str | None) -> Slice[Model]:
    statement = select(Model).where(Model.project_id == project_id)
    if job_id is not None:
        statement = statement.where(Model.job_id == job_id)
    return slice_of(session.scalars(keyset(statement, Model.id, wanted)).all(), wanted)
