"""All SQL of projects and keys."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Select, func, insert, literal_column, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.access.tables import ApiKeyRow, InstallationRow, ProjectRow
from app.kit.pagination import Page, Slice, keyset, slice_of

_INSTALLATION: Final = InstallationRow.__table__.columns
_PROJECT: Final = ProjectRow.__table__.columns
_KEY: Final = [column for column in ApiKeyRow.__table__.columns if column.name != "sha256"]
_MINUTE: Final[ColumnElement[Any]] = literal_column("interval '1 minute'")


def insert_project(session: Session, *, project_id: str, name: str) -> RowMapping | None:
    """None when the name is taken."""
    statement = (
        upsert(ProjectRow)
        .values(id=project_id, name=name)
        .on_conflict_do_nothing(index_elements=[ProjectRow.name])
        .returning(*_PROJECT)
    )
    return session.execute(statement).mappings().one_or_none()


def find_project(session: Session, reference: str, *, lock: bool = False) -> RowMapping | None:
    """By id or by name."""
    statement = select(*_PROJECT).where(or_(ProjectRow.id == reference, ProjectRow.name == reference))
    if lock:
        statement = statement.with_for_update()
    return session.execute(statement).mappings().one_or_none()


def list_projects(session: Session, page: Page, *, only: str | None) -> Slice[RowMapping]:
    """Projects that are not archived; `only` = the one project a key belongs to."""
    statement = select(*_PROJECT).where(ProjectRow.archived_at.is_(None))
    if only is not None:
        statement = statement.where(ProjectRow.id == only)
    return slice_of(session.execute(keyset(statement, ProjectRow.id, page)).mappings().all(), page)


def update_project(session: Session, project_id: str, **values: Any) -> RowMapping:
    statement = (
        update(ProjectRow)
        .where(ProjectRow.id == project_id)
        .values(**values, updated_at=func.clock_timestamp())
        .returning(*_PROJECT)
    )
    return session.execute(statement).mappings().one()


def name_is_taken(session: Session, name: str, *, by_other_than: str) -> bool:
    statement = select(ProjectRow.id).where(ProjectRow.name == name, ProjectRow.id != by_other_than)
    return session.execute(statement).first() is not None


def archive_project(session: Session, project_id: str) -> RowMapping:
    return update_project(session, project_id, archived_at=func.coalesce(ProjectRow.archived_at, func.now()))


def switches(session: Session, project_id: str) -> tuple[bool, bool]:
    """Whether the installation is halted, and whether the project is paused; one statement."""
    row = session.execute(
        select(
            select(InstallationRow.halted).where(InstallationRow.id == 1).scalar_subquery(),
            select(ProjectRow.paused).where(ProjectRow.id == project_id).scalar_subquery(),
        )
    ).one()
    return bool(row[0]), bool(row[1])


def read_installation(session: Session) -> RowMapping | None:
    return session.execute(select(*_INSTALLATION).where(InstallationRow.id == 1)).mappings().one_or_none()


def set_halted(session: Session, *, halted: bool, reason: str | None, key_id: str) -> RowMapping:
    """Turn the switch; halting again keeps the time of the first."""
    since = func.coalesce(InstallationRow.halted_at, func.clock_timestamp())
    values = {"halted": halted, "halted_reason": reason, "changed_by_key_id": key_id}
    statement = (
        upsert(InstallationRow)
        .values(id=1, halted_at=func.clock_timestamp() if halted else None, **values)
        .on_conflict_do_update(
            index_elements=[InstallationRow.id],
            set_=values | {"halted_at": since if halted else None, "updated_at": func.clock_timestamp()},
        )
        .returning(*_INSTALLATION)
    )
    return session.execute(statement).mappings().one()


def insert_key(session: Session, **values: Any) -> RowMapping:
    return session.execute(insert(ApiKeyRow).values(**values).returning(*_KEY)).mappings().one()


def insert_key_once(session: Session, **values: Any) -> bool:
    """For the operator's key: the same secret twice is one row. Whether it is new."""
    statement = upsert(ApiKeyRow).values(**values).on_conflict_do_nothing(index_elements=[ApiKeyRow.sha256])
    return session.execute(statement.returning(ApiKeyRow.id)).first() is not None


def revoke_operator_keys_but(session: Session, *, sha256: str, name: str) -> Sequence[str]:
    """A bootstrap key that the settings no longer name opens nothing; ids of those that did until now."""
    return session.scalars(
        update(ApiKeyRow)
        .where(
            ApiKeyRow.project_id.is_(None),
            ApiKeyRow.name == name,
            ApiKeyRow.sha256 != sha256,
            ApiKeyRow.revoked_at.is_(None),
        )
        .values(revoked_at=func.clock_timestamp())
        .returning(ApiKeyRow.id)
    ).all()


def find_by_hash(session: Session, sha256: str) -> RowMapping | None:
    """A key that opens something now, with `used_lately` = its use was noted within a minute."""
    used_lately = func.coalesce(ApiKeyRow.last_used_at, text("'-infinity'::timestamptz")) > func.now() - _MINUTE
    statement = _opening(used_lately.label("used_lately")).where(ApiKeyRow.sha256 == sha256)
    return session.execute(statement).mappings().one_or_none()


def find_opening(session: Session, project_id: str, key_id: str) -> RowMapping | None:
    """A key of the project by its id, if it opens something now."""
    statement = _opening().where(ApiKeyRow.id == key_id, ApiKeyRow.project_id == project_id)
    return session.execute(statement).mappings().one_or_none()


def _opening(*more: Any) -> Select[Any]:
    """Keys that are not revoked, nor expired, nor of an archived project."""
    return (
        select(*_KEY, *more)
        .outerjoin(ProjectRow, ProjectRow.id == ApiKeyRow.project_id)
        .where(
            ApiKeyRow.revoked_at.is_(None),
            or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > func.now()),
            ProjectRow.archived_at.is_(None),
        )
    )


def note_use(session: Session, key_id: str) -> None:
    """Skips a key that another request is noting at this moment."""
    free = (
        select(ApiKeyRow.id)
        .where(
            ApiKeyRow.id == key_id,
            or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at < func.now() - _MINUTE),
        )
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.id == free)
        .values(last_used_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )


def list_keys(session: Session, page: Page, *, project_id: str | None) -> Slice[RowMapping]:
    """Keys of one project, or with None everybody's; revoked ones too."""
    statement = select(*_KEY)
    if project_id is not None:
        statement = statement.where(ApiKeyRow.project_id == project_id)
    return slice_of(session.execute(keyset(statement, ApiKeyRow.id, page)).mappings().all(), page)


def find_key(session: Session, key_id: str, *, project_id: str | None) -> RowMapping | None:
    statement = select(*_KEY).where(ApiKeyRow.id == key_id)
    if project_id is not None:
        statement = statement.where(ApiKeyRow.project_id == project_id)
    return session.execute(statement).mappings().one_or_none()


def revoke_key(session: Session, key_id: str) -> None:
    """Revoking twice keeps the first time."""
    session.execute(
        update(ApiKeyRow)
        .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
    )
