"""Tables of the datasets room."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, column_property, mapped_column

from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id
from app.kit.named import NamedColumns, named_indexes


class Dataset(NamedColumns, Base):
    """A name for versions of the same material."""

    __tablename__ = "datasets"
    __table_args__ = (*named_indexes("datasets"),)

    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    method: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    labels: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    version_count: Mapped[int] = mapped_column(server_default="0")


class DatasetVersion(CareColumns, Base):
    """One immutable content of a dataset."""

    __tablename__ = "dataset_versions"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        Index("ix_dataset_versions_project", "project_id", "id"),
        care_index("dataset_versions"),
        Index("ix_dataset_versions_content", "content_sha256", postgresql_where=text("content_sha256 IS NOT NULL")),
        Index("ix_dataset_versions_checking", "project_id", postgresql_where=text("status = 'checking'")),
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
    def original_key(self) -> str:
        """Where the bytes rest as they were sent, for good, if the content is something else."""
        return f"datasets/{self.id}/original"

    @property
    def lineage_key(self) -> str:
        """Where it is written which rows each of its rows came from, if it was made from other versions."""
        return f"datasets/{self.id}/lineage"

    @property
    def fingerprints_key(self) -> str:
        """16 bytes an example: its content's hash, for finding the same example elsewhere."""
        return f"datasets/{self.id}/fingerprints"

    @property
    def sketches_key(self) -> str:
        """About 100 bytes an example: by which near duplicates are found elsewhere."""
        return f"datasets/{self.id}/sketches"


class DatasetUpload(Base):
    """A version on its way in, in parts, over more than one request."""

    __tablename__ = "dataset_uploads"

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    dataset_id: Mapped[Id] = mapped_column(ForeignKey("datasets.id"))
    status: Mapped[str]
    bytes: Mapped[int]
    """How many there will be in all, as the caller announced."""
    sha256: Mapped[str | None]
    """Of all bytes, if the caller announced it."""
    original_name: Mapped[str | None]
    base_model: Mapped[str]
    version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    """What it became."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    expires_at: Mapped[datetime] = mapped_column()
    """When its parts may be thrown away."""
    is_over: Mapped[bool] = column_property(expires_at <= func.clock_timestamp())
    """Whether `expires_at` has passed, on the database's clock, when the row was read."""


class UploadPart(Base):
    """A piece of an upload. The row is older than its object in storage and outlives it, so no object is forgotten.

    A number may have several rows: one whose bytes are arriving, and those it has replaced until they are deleted.
    The one received last counts.
    """

    __tablename__ = "dataset_upload_parts"
    __table_args__ = (Index("ix_dataset_upload_parts_upload", "upload_id", "number"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    upload_id: Mapped[Id] = mapped_column(ForeignKey("dataset_uploads.id"))
    number: Mapped[int]
    bytes: Mapped[int | None]
    sha256: Mapped[str | None]
    received_at: Mapped[datetime | None]
    """When it was stored whole; null while its bytes arrive."""

    @property
    def key(self) -> str:
        """Where its bytes rest in storage."""
        return part_key(self.id)


def part_key(part_id: str) -> str:
    """Where the bytes of a part rest in storage."""
    return f"uploads/{part_id}"


class DatasetFetch(CareColumns, Base):
    """A version on its way in from somewhere else, brought by a worker."""

    __tablename__ = "dataset_fetches"
    __table_args__ = (
        Index("ix_dataset_fetches_dataset", "dataset_id", "id"),
        care_index("dataset_fetches"),
        Index("ix_dataset_fetches_open", "project_id", postgresql_where=text("status = 'fetching'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    dataset_id: Mapped[Id] = mapped_column(ForeignKey("datasets.id"))
    status: Mapped[str]
    source: Mapped[dict[str, Any]]
    """As the caller gave it, without what may be secret: tokens, and whatever stands behind the `?` of a URL."""
    source_sealed: Mapped[bytes | None]
    """The source with its secrets, bound to this row's id; forgotten when the fetch ends."""
    plan: Mapped[dict[str, Any] | None]
    """What there is to bring and what of it is here (`files`); null until the source was asked."""
    lineage: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    """What the source said of itself: its revision, its checksums, who answered."""
    received_bytes: Mapped[int] = mapped_column(server_default="0")
    total_bytes: Mapped[int | None]
    """As the source announces it; null where it does not."""
    original_name: Mapped[str | None]
    base_model: Mapped[str]
    version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    """What it became."""
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]


class DatasetTransform(CareColumns, Base):
    """A change of a version, applied by a worker; what it makes are versions."""

    __tablename__ = "dataset_transforms"
    __table_args__ = (
        Index("ix_dataset_transforms_dataset", "dataset_id", "id"),
        care_index("dataset_transforms"),
        Index("ix_dataset_transforms_open", "project_id", postgresql_where=text("status = 'running'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    dataset_id: Mapped[Id] = mapped_column(ForeignKey("datasets.id"))
    """Of the version that is changed."""
    version_id: Mapped[Id] = mapped_column(ForeignKey("dataset_versions.id"))
    status: Mapped[str]
    operations: Mapped[list[Any]]
    """As they were asked for."""
    sources: Mapped[dict[str, Any]]
    """Name of another version in the operations -> its id, decided when the change was accepted."""
    outputs: Mapped[list[Any]]
    """One for each version that it makes: name of the part, of the dataset, and the id that the version gets."""
    edition: Mapped[int]
    """Of the engine, as it was when the change was accepted."""
    operation: Mapped[int] = mapped_column(server_default="0")
    """Number of the running operation, from 0, for progress."""
    read_bytes: Mapped[int] = mapped_column(server_default="0")
    """How far it has read."""
    outcome: Mapped[dict[str, Any] | None]
    """What each operation did."""
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]


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
    sends: Mapped[int] = mapped_column(server_default="0")
    """How often it was begun since Azure last had the file: not for ever."""
    remote_id: Mapped[str | None]
    remote_status: Mapped[str | None]
    bytes: Mapped[int]
    error: Mapped[dict[str, Any] | None]
    sent_parts: Mapped[dict[str, Any] | None]
    """What Azure has of a large file whose upload in parts is not complete: `app.azure.port.SentParts`."""
    deleted_at: Mapped[datetime | None]
    """When Azure's copy was deleted, or seen to be gone."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
