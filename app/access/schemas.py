"""What crosses the wire about projects and keys."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from app.kit.caller import GRANTABLE
from app.kit.wire import Flag, Label, Moment, Name, RequestModel

_PROJECT_ID = "prj_01kz8q0p3xe1f8y6m2v4t9s7ab"
_KEY_ID = "key_01kz8q1c5ye0rtdm6q4nb8w2hj"

Scope = Annotated[str, Field(json_schema_extra={"enum": sorted(GRANTABLE)})]


class InstallationPut(RequestModel):
    """The switch to be set."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"halted": True, "reason": "a key was stolen"}]})

    halted: Flag = Field(description="True = nothing that costs money is begun, in any project.")
    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        default=None, description="Why, for whoever finds it halted; forgotten when the halt ends."
    )


class InstallationRead(BaseModel):
    """The whole installation."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "installation",
                    "environment": "production",
                    "halted": True,
                    "halted_by_setting": False,
                    "reason": "a key was stolen",
                    "halted_at": "2026-11-20T09:31:00.456Z",
                    "changed_by_key_id": _KEY_ID,
                }
            ]
        }
    )

    object: Literal["installation"] = "installation"
    environment: str = Field(description="Its name, which tags everything it makes at Azure.")
    halted: bool = Field(description="The kill switch over every project: nothing that costs money is begun.")
    halted_by_setting: bool = Field(description="KITAE_HALTED is set: only a restart without it ends the halt.")
    reason: str | None
    halted_at: datetime | None = Field(description="When the switch was thrown; null while it is not.")
    changed_by_key_id: str | None = Field(description="The operator's key that turned the switch last.")


class ProjectCreate(RequestModel):
    """A new project."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "travel-assistant"}]})

    name: Name


class ProjectPatch(RequestModel):
    """What may be changed; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"paused": True}]})

    name: Name | None = None
    paused: Flag | None = Field(
        default=None, description="True = nothing that costs money is begun in this project."
    )


class ProjectRead(BaseModel):
    """A project."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "project",
                    "id": _PROJECT_ID,
                    "name": "travel-assistant",
                    "paused": False,
                    "created_at": "2026-11-20T09:30:00.123456Z",
                    "updated_at": "2026-11-20T09:30:00.123456Z",
                    "archived_at": None,
                }
            ]
        }
    )

    object: Literal["project"] = "project"
    id: str
    name: str
    paused: bool = Field(description="The kill switch: while it is on, nothing that costs money is begun.")
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = Field(description="From then on no key of the project opens anything.")


class ApiKeyCreate(RequestModel):
    """A new key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "nightly training",
                    "scopes": ["datasets:*", "jobs:write", "events:read"],
                    "spend_cap_usd": "250.00",
                    "expires_at": "2027-01-01T00:00:00Z",
                }
            ]
        }
    )

    name: Label
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=20)] = Field(
        description="Rights such as `jobs:read`, `datasets:*` or `*`; `…:write` includes reading."
    )
    project: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Id or name; needed with an operator's key, else the key's own project."
    )
    spend_cap_usd: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=6)] | None = Field(
        default=None, description="Most that the key may spend in all, in USD; null = no cap of its own."
    )
    expires_at: Moment | None = Field(default=None, description="When it stops working; null = never.")

    @field_validator("scopes")
    @classmethod
    def _known(cls, scopes: list[str]) -> list[str]:
        unknown = sorted(set(scopes) - GRANTABLE)
        if unknown:
            raise PydanticCustomError(
                "scope_unknown",
                "There is no scope {unknown}; known are {known}.",
                {"unknown": unknown[0][:60], "known": ", ".join(sorted(GRANTABLE))},
            )
        return sorted(set(scopes))


class ApiKeyRead(BaseModel):
    """A key without its secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "api_key",
                    "id": _KEY_ID,
                    "project_id": _PROJECT_ID,
                    "name": "nightly training",
                    "hint": "ftk_live_2Kd8aPq1…9xZr",
                    "scopes": ["datasets:*", "events:read", "jobs:write"],
                    "spend_cap_usd": "250",
                    "created_at": "2026-11-20T09:31:00.456Z",
                    "expires_at": "2027-01-01T00:00:00Z",
                    "revoked_at": None,
                    "last_used_at": "2026-11-20T10:02:11.5Z",
                }
            ]
        }
    )

    object: Literal["api_key"] = "api_key"
    id: str
    project_id: str | None = Field(description="Null for an operator's key.")
    name: str
    hint: str = Field(description="Enough of the key to recognise it.")
    scopes: list[str]
    spend_cap_usd: Decimal | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="At most a minute old.")


class ApiKeyCreated(ApiKeyRead):
    """A fresh key, with the secret that is shown only here."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "api_key",
                    "id": _KEY_ID,
                    "project_id": _PROJECT_ID,
                    "name": "nightly training",
                    "hint": "ftk_live_2Kd8aPq1…9xZr",
                    "scopes": ["datasets:*", "events:read", "jobs:write"],
                    "spend_cap_usd": "250",
                    "created_at": "2026-11-20T09:31:00.456Z",
                    "expires_at": "2027-01-01T00:00:00Z",
                    "revoked_at": None,
                    "last_used_at": None,
                    "secret": "ftk_live_…",
                }
            ]
        }
    )

    secret: str = Field(description="The key itself. It is shown once and cannot be read again.")
