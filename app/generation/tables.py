"""Tables of the generation room: a generation, its units of work, and every item that came of them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.deployments.asked import AskedColumns
from app.kit.care import CareColumns, care_index
from app.kit.db import Base, Id

RUNNING_GENERATION: Final = "status = 'running'"
"""The condition of `ix_generations_running`."""


class Generation(CareColumns, Base):
    """Material put to a generator, until what is kept of its answers is a version of a dataset."""

    __tablename__ = "generations"
    __table_args__ = (
        care_index("generations"),
        Index("ix_generations_project", "project_id", "id"),
        Index("ix_generations_running", "project_id", postgresql_where=text(RUNNING_GENERATION)),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    dataset_id: Mapped[Id] = mapped_column(ForeignKey("datasets.id"))
    connection_id: Mapped[Id] = mapped_column(ForeignKey("connections.id"))
    key_id: Mapped[Id | None]
    reservation_id: Mapped[Id | None] = mapped_column(unique=True)
    """Of the request that made it."""
    deployment_id: Mapped[Id | None]
    """Null when the deployment is not one of ours."""
    deployment: Mapped[str]
    """The generator's name at Azure."""
    base_model: Mapped[str]
    """Whose prices and tokenizer count for the generator."""
    remote_model: Mapped[str]
    """What the deployment runs, as far as we know: the tuned model's name, or the base model's."""
    sku: Mapped[str]
    status: Mapped[str]
    kind: Mapped[str]
    """`paraphrases`, `tool_use` or `documents`."""
    prompt_version: Mapped[str]
    checked_for: Mapped[str]
    """Base model whose limits the finished version is checked against."""
    material: Mapped[dict[str, Any]]
    """What is asked about: pairs and styles, operations, or chunks; with all that decides what is kept."""
    concurrency: Mapped[int]
    max_tokens: Mapped[int]
    """Of one answer."""
    temperature: Mapped[float | None]
    reserved_usd: Mapped[Decimal] = mapped_column(server_default="0")
    """More is never spent; 0 where no price is known."""
    has_price: Mapped[bool]
    cost_usd: Mapped[Decimal | None]
    """Once it has ended; null also when no price is known."""
    version_id: Mapped[Id | None] = mapped_column(ForeignKey("dataset_versions.id"))
    cancel_requested_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None]


class GenerationUnit(AskedColumns, Base):
    """One request to the generator: one subject in one style."""

    __tablename__ = "generation_units"

    generation_id: Mapped[Id] = mapped_column(ForeignKey("generations.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[int]
    """Index of the pair, operation or chunk in the material."""
    style: Mapped[str]
    """Empty where a kind has no styles."""
    count: Mapped[int]
    """How many items are asked for."""
    round: Mapped[int]
    """0 at first; more where earlier rounds left too few."""


class GenerationRow(Base):
    """One item of an answer, kept or left out."""

    __tablename__ = "generation_rows"
    __table_args__ = (
        UniqueConstraint("generation_id", "unit", "place"),
        Index("ix_generation_rows_generation", "generation_id", "id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    generation_id: Mapped[Id] = mapped_column(ForeignKey("generations.id"))
    unit: Mapped[int]
    """-1 of what the material itself gave."""
    place: Mapped[int]
    """In the unit's answer, from 0."""
    subject: Mapped[int]
    kept: Mapped[bool]
    reason: Mapped[str | None]
    """Code of why it was left out."""
    detail: Mapped[str | None]
    text: Mapped[str]
    """The question, or as much of a broken item as can be shown."""
    content: Mapped[dict[str, Any] | None]
    """The chat example, when it was kept."""
    line: Mapped[int | None]
    """In the finished version, from 1."""
