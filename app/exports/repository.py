"""All SQL of the exports room."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.costs.tables import LedgerLine
from app.datasets.tables import Dataset, DatasetVersion
from app.exports.tables import ImportedRun
from app.kit.pagination import Page, Slice, keyset, slice_of


def hold(session: Session, project_id: str, digest: str) -> None:
    """Let only one transaction at a time bring this run into this project."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{project_id} {digest}", 0))))


def find(session: Session, project_id: str, run_id: str) -> ImportedRun | None:
    return session.scalars(
        select(ImportedRun).where(ImportedRun.project_id == project_id, ImportedRun.id == run_id)
    ).one_or_none()


def by_digest(session: Session, project_id: str, digest: str) -> ImportedRun | None:
    return session.scalars(
        select(ImportedRun).where(ImportedRun.project_id == project_id, ImportedRun.digest == digest)
    ).one_or_none()


def add(session: Session, run: ImportedRun) -> None:
    session.add(run)
    session.flush()
    session.refresh(run)


def page(session: Session, project_id: str, wanted: Page) -> Slice[ImportedRun]:
    statement = select(ImportedRun).where(ImportedRun.project_id == project_id)
    return slice_of(session.scalars(keyset(statement, ImportedRun.id, wanted)).all(), wanted)


def with_content(session: Session, project_id: str, content_sha256: str) -> DatasetVersion | None:
    """The project's newest version with this content."""
    return session.scalars(
        select(DatasetVersion)
        .where(DatasetVersion.project_id == project_id, DatasetVersion.content_sha256 == content_sha256)
        .order_by(DatasetVersion.id.desc())
        .limit(1)
    ).one_or_none()


def dataset(session: Session, dataset_id: str) -> Dataset:
    return session.get_one(Dataset, dataset_id)


def ledger(session: Session, project_id: str, subject_id: str) -> Sequence[dict[str, Any]]:
    """What was reserved, released and settled for a job, in order."""
    lines = session.scalars(
        select(LedgerLine)
        .where(LedgerLine.project_id == project_id, LedgerLine.subject_id == subject_id)
        .order_by(LedgerLine.id)
    )
    return [
        {"kind": line.kind, "amount_usd": line.amount_usd, "note": line.note, "created_at": line.created_at}
        for line in lines
    ]
