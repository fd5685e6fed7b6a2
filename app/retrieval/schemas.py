"""What crosses the wire about search indexes. A secret goes in and never comes out."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.connections.schemas import Credential
from app.kit.wire import Name, RequestModel

_FIELD = r"^[A-Za-z][A-Za-z0-9_]{0,127}$"
"""Source: Azure AI Search, naming rules, 2025."""


class SearchIndexCreate(RequestModel):
    """An index of Azure AI Search that passages are searched in."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "handbook",
                    "endpoint": "https://contoso.search.windows.net",
                    "index": "handbook-v3",
                    "auth": "entra",
                    "content_field": "content",
                    "title_field": "title",
                    "semantic_configuration": None,
                }
            ]
        }
    )

    name: Name
    endpoint: str = Field(max_length=300, description="Base URL of the search service, without a path.")
    index: str = Field(pattern=r"^[a-z0-9](?:[a-z0-9_-]{0,126}[a-z0-9])?$", description="Name of the index there.")
    auth: Literal["api_key", "entra"] = Field(
        default="entra",
        description="`entra`: the service's own identity, which needs the role Search Index Data Reader.",
    )
    api_key: Credential | None = Field(
        default=None, description="A query key is enough; stored encrypted, never shown."
    )
    content_field: str = Field(default="content", pattern=_FIELD, description="The field that holds the text.")
    title_field: str | None = Field(default=None, pattern=_FIELD)
    semantic_configuration: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]{1,128}$", description="Left out: keyword search."
    )

    @model_validator(mode="after")
    def _agrees(self) -> "SearchIndexCreate":
        if self.auth == "api_key" and self.api_key is None:
            raise ValueError("auth is api_key, so api_key must be given")
        return self


class SearchIndexRead(BaseModel):
    """A search index as callers see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "search_index",
                    "id": "six_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "name": "handbook",
                    "endpoint": "https://contoso.search.windows.net",
                    "index": "handbook-v3",
                    "auth": "entra",
                    "has_api_key": False,
                    "content_field": "content",
                    "title_field": "title",
                    "semantic_configuration": None,
                    "created_at": "2026-11-22T09:00:00Z",
                    "updated_at": "2026-11-22T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["search_index"] = "search_index"
    id: str
    name: str
    endpoint: str
    index: str
    auth: str
    has_api_key: bool
    content_field: str
    title_field: str | None
    semantic_configuration: str | None
    created_at: datetime
    updated_at: datetime


class SearchRequest(RequestModel):
    """What to look for, to try an index."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "How long is the warranty?", "passages": 3}]}
    )

    text: str = Field(default="", max_length=2000, description="Left out: any passage.")
    passages: int = Field(default=1, ge=1, le=20)


class PassageRead(BaseModel):
    """A piece of text that was found."""

    text: str
    title: str
    score: float | None


class SearchIndexCheck(BaseModel):
    """What the index answers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "search_index.check",
                    "search_index": "six_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "ok": True,
                    "detail": "1 passage, 212 characters",
                    "hint": "",
                    "passages": [{"text": "The warranty is 24 months.", "title": "Warranty", "score": 3.1}],
                }
            ]
        }
    )

    object: Literal["search_index.check"] = "search_index.check"
    search_index: str
    ok: bool
    detail: str
    hint: str
    passages: list[PassageRead]
