"""Tables of the datasets room."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id


class Dataset(Base):
    """A name for versions of the same material."""

    __tablename__ = "datasets"
    __table_args__ = (
        Index("uq_datasets_name", "project_id", "name", unique=True, postgresql_where=text("archived_at IS NULL")),
        Index("ix_datasets_project", "project_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str]
    method: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    labels: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    version_count: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    archived_at: Mapped[datetime | None]


class DatasetVersion(CareColumns, Base):
    """One immutable content of a dataset."""

    __tablename__ = "dataset_versions"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        Index("ix_dataset_versions_project", "project_id", "id"),
        care_index("dataset_versions"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    dataset_id: Mapped[Id] = mapped_column(ForeignKey("datasets.id"))
    number: Mapped[int]
    status: Mapped[str]
    original_name: Mapped[str | None]
    base_model: Mapped[str]
    """Whose limits and tokenizer the check uses."""
    bytes: Mapped[int]
    """Of the bytes as they were sent."""
    sha256: Mapped[str]
    """Of the bytes as they were sent."""
    content_bytes: Mapped[int | None]
    content_sha256: Mapped[str | None]
    """Of the cleaned content that goes to Azure."""
    examples: Mapped[int | None]
    tokens: Mapped[int | None]
    checked_bytes: Mapped[int] = mapped_column(server_default="0")
    """How far the running check has read, for progress."""
    report: Mapped[dict[str, Any] | None]
    lineage: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    checked_at: Mapped[datetime | None]

    @property
    def content_key(self) -> str:
        """Where the cleaned content rests in storage."""
        return f"datasets/{self.id}/content"

    @property
    def raw_key(self) -> str:
        """Where the bytes rest as they were sent, until the check is done."""
        return f"datasets/{self.id}/raw"

    @property
    def fingerprints_key(self) -> str:
        """16 bytes an example: its content's hash, for finding the same example elsewhere."""
        return f"datasets/{self.id}/fingerprints"


class RemoteFileRow(Base):
    """Azure's copy of a version, made for one attempt of one owner.

    A training file belongs to a single attempt of a single job: deleting it at Azure is the fence that keeps a
    lost request of that attempt from ever starting a second training.
    """

    __tablename__ = "remote_files"
    __table_args__ = (
        UniqueConstraint("op_key"),
        Index("ix_remote_files_owner", "owner_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    version_id: Mapped[Id] = mapped_column(ForeignKey("dataset_versions.id"))
    owner_id: Mapped[Id]
    """The job it was uploaded for."""
    role: Mapped[str]
    """`training` or `validation`."""
    attempt: Mapped[int]
    op_key: Mapped[str]
    """Also the file's name at Azure, by which a lost upload is found again."""
    sent_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """When the upload was last begun."""
    remote_id: Mapped[str | None]
    remote_status: Mapped[str | None]
    bytes: Mapped[int]
    error: Mapped[dict[str, Any] | None]
    deleted_at: Mapped[datetime | None]
    """When Azure's copy was deleted, or seen to be gone."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
