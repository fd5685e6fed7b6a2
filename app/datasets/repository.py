"""All SQL of the datasets room."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB, distinct_on, insert
from sqlalchemy.orm import Session

from app.datasets.states import TransformStatus, UploadStatus, VersionStatus
from app.datasets.tables import (
    Dataset,
    DatasetTransform,
    DatasetUpload,
    DatasetVersion,
    RemoteFileRow,
    UploadPart,
)
from app.kit.pagination import Page, Slice, keyset, slice_of


def add(session: Session, row: Dataset | DatasetVersion | DatasetUpload | UploadPart | DatasetTransform) -> None:
    session.add(row)
    session.flush()
    session.refresh(row)


def next_number(session: Session, dataset_id: str) -> int:
    """Takes the dataset's row until the transaction ends, so that two uploads get two numbers."""
    return session.execute(
        update(Dataset)
        .where(Dataset.id == dataset_id)
        .values(version_count=Dataset.version_count + 1, updated_at=func.clock_timestamp())
        .returning(Dataset.version_count)
        .execution_options(synchronize_session=False)
    ).scalar_one()


def find_version(session: Session, project_id: str, version_id: str) -> DatasetVersion | None:
    return session.scalars(
        select(DatasetVersion).where(DatasetVersion.project_id == project_id, DatasetVersion.id == version_id)
    ).one_or_none()


def find_numbered(session: Session, dataset_id: str, number: int) -> DatasetVersion | None:
    return session.scalars(
        select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id, DatasetVersion.number == number)
    ).one_or_none()


def newest(session: Session, dataset_id: str, *, ready: bool) -> DatasetVersion | None:
    statement = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id)
    if ready:
        statement = statement.where(DatasetVersion.status == VersionStatus.READY)
    return session.scalars(statement.order_by(DatasetVersion.number.desc()).limit(1)).one_or_none()


def newest_of_others(session: Session, version: DatasetVersion, *, limit: int) -> list[tuple[str, DatasetVersion]]:
    """The newest ready version of every other dataset of the project, with the dataset's name; newest first."""
    newest_ready = (
        select(DatasetVersion.dataset_id, func.max(DatasetVersion.number).label("number"))
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(
            Dataset.project_id == version.project_id,
            Dataset.archived_at.is_(None),
            Dataset.id != version.dataset_id,
            DatasetVersion.status == VersionStatus.READY,
        )
        .group_by(DatasetVersion.dataset_id)
        .subquery()
    )
    rows = session.execute(
        select(Dataset.name, DatasetVersion)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .join(
            newest_ready,
            (newest_ready.c.dataset_id == DatasetVersion.dataset_id)
            & (newest_ready.c.number == DatasetVersion.number),
        )
        .order_by(DatasetVersion.id.desc())
        .limit(limit)
    )
    return [(name, found) for name, found in rows]


def find_same(
    session: Session, dataset_id: str, *, sha256: str, base_model: str, how: dict[str, Any]
) -> DatasetVersion | None:
    """The newest version of this dataset with the same bytes, read in the same way, checked for the same model."""
    return session.scalars(
        select(DatasetVersion)
        .where(
            DatasetVersion.dataset_id == dataset_id,
            DatasetVersion.sha256 == sha256,
            DatasetVersion.base_model == base_model,
            func.coalesce(DatasetVersion.lineage["how"], literal({}, JSONB)) == literal(how, JSONB),
        )
        .order_by(DatasetVersion.number.desc())
        .limit(1)
    ).one_or_none()


def find_same_content(session: Session, version_id: str, content_sha256: str) -> DatasetVersion | None:
    """Another version, of whichever project, with this content. For workers only: nobody may learn of it."""
    return session.scalars(
        select(DatasetVersion)
        .where(DatasetVersion.content_sha256 == content_sha256, DatasetVersion.id != version_id)
        .order_by(DatasetVersion.id)
        .limit(1)
    ).one_or_none()


def get_unscoped(session: Session, version_id: str) -> DatasetVersion:
    """For workers, which act for whichever project the row belongs to."""
    return session.get_one(DatasetVersion, version_id)


def dataset_of(session: Session, version: DatasetVersion) -> Dataset:
    return session.get_one(Dataset, version.dataset_id)


def version_page(session: Session, dataset_id: str, wanted: Page) -> Slice[DatasetVersion]:
    statement = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset_id)
    return slice_of(session.scalars(keyset(statement, DatasetVersion.id, wanted)).all(), wanted)


# ── uploads in parts ────────────────────────────────────────────────────────


def find_upload(session: Session, dataset_id: str, upload_id: str, *, lock: bool = False) -> DatasetUpload | None:
    """With `lock` the row is held until the transaction ends."""
    statement = select(DatasetUpload).where(DatasetUpload.dataset_id == dataset_id, DatasetUpload.id == upload_id)
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def find_resumable(
    session: Session, dataset_id: str, *, size: int, sha256: str, base_model: str
) -> DatasetUpload | None:
    """The newest upload of these bytes to this dataset that still waits for parts."""
    return session.scalars(
        select(DatasetUpload)
        .where(
            DatasetUpload.dataset_id == dataset_id,
            DatasetUpload.status == UploadStatus.RECEIVING,
            DatasetUpload.expires_at > func.clock_timestamp(),
            DatasetUpload.bytes == size,
            DatasetUpload.sha256 == sha256,
            DatasetUpload.base_model == base_model,
        )
        .order_by(DatasetUpload.id.desc())
        .limit(1)
    ).one_or_none()


def open_uploads(session: Session, project_id: str) -> int:
    """How many uploads the project has under way. Others that want to know wait for the end of the transaction."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"uploads of {project_id}", 0))))
    statement = select(func.count()).where(
        DatasetUpload.project_id == project_id,
        DatasetUpload.status == UploadStatus.RECEIVING,
        DatasetUpload.expires_at > func.clock_timestamp(),
    )
    return session.scalar(statement) or 0


def change_upload(session: Session, upload_id: str, values: dict[str, Any]) -> None:
    session.execute(
        update(DatasetUpload)
        .where(DatasetUpload.id == upload_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def received_parts(session: Session, upload_id: str) -> Sequence[UploadPart]:
    """The part that counts of every number, in order."""
    return session.scalars(
        select(UploadPart)
        .where(UploadPart.upload_id == upload_id, UploadPart.received_at.is_not(None))
        .order_by(UploadPart.number, UploadPart.received_at.desc(), UploadPart.id.desc())
        .ext(distinct_on(UploadPart.number))
    ).all()


def part_received(session: Session, part_id: str, *, size: int, sha256: str) -> UploadPart:
    return session.scalars(
        update(UploadPart)
        .where(UploadPart.id == part_id)
        .values(bytes=size, sha256=sha256, received_at=func.clock_timestamp())
        .returning(UploadPart)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).one()


def replaced_parts(session: Session, upload_id: str, *, number: int, by: str) -> Sequence[str]:
    """Ids of the parts of this number that were received before `by`."""
    return session.scalars(
        select(UploadPart.id).where(
            UploadPart.upload_id == upload_id,
            UploadPart.number == number,
            UploadPart.received_at.is_not(None),
            UploadPart.id != by,
        )
    ).all()


def part_ids(session: Session, upload_id: str) -> Sequence[str]:
    """Of all parts, received or not."""
    return session.scalars(select(UploadPart.id).where(UploadPart.upload_id == upload_id)).all()


def abandoned_parts(session: Session, *, limit: int) -> Sequence[str]:
    """Ids of parts, of any project, that no upload waits for any more."""
    return session.scalars(
        select(UploadPart.id)
        .join(DatasetUpload, DatasetUpload.id == UploadPart.upload_id)
        .where(or_(DatasetUpload.status != UploadStatus.RECEIVING, DatasetUpload.is_over))
        .limit(limit)
    ).all()


def delete_parts(session: Session, ids: Sequence[str]) -> None:
    session.execute(delete(UploadPart).where(UploadPart.id.in_(ids)).execution_options(synchronize_session=False))


# ── Azure's copies ──────────────────────────────────────────────────────────


def find_file(session: Session, op_key: str) -> RemoteFileRow | None:
    return session.scalars(select(RemoteFileRow).where(RemoteFileRow.op_key == op_key)).one_or_none()


def files_of(session: Session, owner_id: str) -> Sequence[RemoteFileRow]:
    """An owner's files, oldest first, deleted ones included."""
    return session.scalars(
        select(RemoteFileRow).where(RemoteFileRow.owner_id == owner_id).order_by(RemoteFileRow.id)
    ).all()


def add_file_intent(session: Session, values: dict[str, Any]) -> None:
    """Write that an upload is about to begin; later times only move `sent_at`, count, and forget Azure's id."""
    session.execute(
        insert(RemoteFileRow)
        .values(sends=1, **values)
        .on_conflict_do_update(
            index_elements=[RemoteFileRow.op_key],
            set_={"sent_at": func.clock_timestamp(), "sends": RemoteFileRow.sends + 1, "remote_id": None},
        )
    )


def change_file(session: Session, file_id: str, values: dict[str, Any]) -> None:
    session.execute(
        update(RemoteFileRow)
        .where(RemoteFileRow.id == file_id)
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def forget_sends(session: Session, owner_id: str) -> None:
    session.execute(
        update(RemoteFileRow)
        .where(RemoteFileRow.owner_id == owner_id)
        .values(sends=0)
        .execution_options(synchronize_session=False)
    )


def file_gone(session: Session, file_id: str, remote_id: str, *, wanted_again: bool) -> bool:
    """Azure no longer has the file that the row names. False when the row names another one by now, or none."""
    values: dict[str, Any] = (
        {"remote_id": None, "remote_status": None}
        if wanted_again
        else {"deleted_at": func.clock_timestamp(), "remote_status": "deleted"}
    )
    touched = session.execute(
        update(RemoteFileRow)
        .where(
            RemoteFileRow.id == file_id, RemoteFileRow.remote_id == remote_id, RemoteFileRow.deleted_at.is_(None)
        )
        .values(**values)
        .returning(RemoteFileRow.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None


def file_age_seconds(session: Session, file_id: str) -> float:
    """Seconds since the upload was last begun, on the database's clock."""
    return float(
        session.scalar(
            select(func.extract("epoch", func.clock_timestamp() - RemoteFileRow.sent_at)).where(
                RemoteFileRow.id == file_id
            )
        )
        or 0
    )


# ── changes of versions ─────────────────────────────────────────────────────


def find_transform(session: Session, dataset_id: str, transform_id: str) -> DatasetTransform | None:
    return session.scalars(
        select(DatasetTransform).where(
            DatasetTransform.dataset_id == dataset_id, DatasetTransform.id == transform_id
        )
    ).one_or_none()


def get_transform(session: Session, transform_id: str) -> DatasetTransform:
    """For workers, which act for whichever project the row belongs to."""
    return session.get_one(DatasetTransform, transform_id)


def transforms_under_way(session: Session, project_id: str) -> int:
    """How many changes of the project run. Others that want to know wait for the transaction's end."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"transforms of {project_id}", 0))))
    statement = select(func.count()).where(
        DatasetTransform.project_id == project_id, DatasetTransform.status == TransformStatus.RUNNING
    )
    return session.scalar(statement) or 0


def transform_page(session: Session, dataset_id: str, wanted: Page) -> Slice[DatasetTransform]:
    statement = select(DatasetTransform).where(DatasetTransform.dataset_id == dataset_id)
    return slice_of(session.scalars(keyset(statement, DatasetTransform.id, wanted)).all(), wanted)


def stop_transform(session: Session, transform_id: str, values: dict[str, Any]) -> bool:
    """End one that runs, from outside: whoever holds its lease finds the fence raised. False: it has ended."""
    ended = session.execute(
        update(DatasetTransform)
        .where(DatasetTransform.id == transform_id, DatasetTransform.status == TransformStatus.RUNNING)
        .values(
            fence=DatasetTransform.fence + 1,
            lease_owner=None,
            lease_until=None,
            next_check_at=None,
            parked_reason=None,
            ended_at=func.clock_timestamp(),
            **values,
        )
        .returning(DatasetTransform.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return ended is not None
