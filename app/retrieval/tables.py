"""Tables of the retrieval room."""

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.db import Base, Id
from app.kit.named import NamedColumns, named_indexes


class SearchIndex(NamedColumns, Base):
    """One index of an Azure AI Search service."""

    __tablename__ = "search_indexes"
    __table_args__ = named_indexes("search_indexes")

    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    endpoint: Mapped[str]
    """Base URL without path."""
    index: Mapped[str]
    """Its name there."""
    auth: Mapped[str]
    api_key_sealed: Mapped[bytes | None]
    """Ciphertext bound to this row's id."""
    content_field: Mapped[str]
    title_field: Mapped[str | None]
    semantic_configuration: Mapped[str | None]
    """Null = keyword search."""
