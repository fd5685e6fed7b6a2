"""What crosses the wire about connections. A secret goes in and never comes out."""

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from app.azure.port import Usage
from app.kit.wire import Name, RequestModel

_ARM_PART = r"^[A-Za-z0-9_.()-]{1,90}$"
_HEADER_VALUE: Final = r"^[!-~]{1,8192}$"
"""Visible ASCII: what a header can carry. Entra's tokens are 1 to 4 KB long, keys 32 to 84 characters."""


def _fits_a_header(secret: SecretStr) -> SecretStr:
    if re.fullmatch(_HEADER_VALUE, secret.get_secret_value()) is None:
        raise PydanticCustomError(
            "credential_malformed",
            "A credential is 1 to 8192 visible ASCII characters, without spaces or line ends.",
        )
    return secret


Credential = Annotated[
    SecretStr,
    AfterValidator(_fits_a_header),
    Field(json_schema_extra={"pattern": _HEADER_VALUE, "maxLength": 8192}),
]


class ConnectionFields(RequestModel):
    """What may be changed later, too."""

    region: str | None = Field(default=None, pattern=r"^[a-z0-9]{3,40}$", examples=["swedencentral"])
    api_key: Credential | None = Field(
        default=None, description="Key of the resource; stored encrypted, never shown."
    )
    entra_scope: str | None = Field(
        default=None,
        max_length=200,
        pattern=r"^https://[a-z0-9.-]+\.azure\.(com|us|cn)/\.default$",
        description="Token scope of the data plane; unset = the usual one for the api style.",
    )
    arm_token: Credential | None = Field(
        default=None, description="A fixed bearer token for the control plane; only for an emulator."
    )


class ConnectionCreate(ConnectionFields):
    """A resource to be reached."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "sweden",
                    "endpoint": "https://contoso.openai.azure.com",
                    "region": "swedencentral",
                    "auth": "entra",
                    "subscription_id": "11111111-2222-3333-4444-555555555555",
                    "resource_group": "ml",
                    "account": "contoso",
                }
            ]
        },
    )

    name: Name
    endpoint: str = Field(max_length=300, description="Base URL of the resource, without a path.")
    api_style: Literal["v1", "dated"] = "v1"
    api_version: Literal["2024-10-21", "2025-04-01-preview"] | None = None
    auth: Literal["api_key", "entra"] = "entra"
    arm_endpoint: str = Field(default="https://management.azure.com", max_length=300)
    arm_api_version: str = Field(default="2024-10-01", pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$")
    subscription_id: str | None = Field(default=None, pattern=_ARM_PART)
    resource_group: str | None = Field(default=None, pattern=_ARM_PART)
    account: str | None = Field(default=None, pattern=_ARM_PART)

    @model_validator(mode="after")
    def _agrees(self) -> "ConnectionCreate":
        if self.auth == "api_key" and self.api_key is None:
            raise ValueError("auth is api_key, so api_key must be given")
        if self.api_style == "dated" and self.api_version is None:
            self.api_version = "2025-04-01-preview"
        if self.api_style == "v1" and self.api_version is not None:
            raise ValueError("api_version belongs to api_style dated; leave it out for v1")
        arm = (self.subscription_id, self.resource_group, self.account)
        if any(arm) and not all(arm):
            raise ValueError("subscription_id, resource_group and account go together")
        return self


class ConnectionPatch(ConnectionFields):
    """Fields to change; what is absent stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"region": "swedencentral"}]})


class ConnectionRead(BaseModel):
    """A connection as callers see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "connection",
                    "id": "con_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "name": "sweden",
                    "endpoint": "https://contoso.openai.azure.com",
                    "region": "swedencentral",
                    "api_style": "v1",
                    "api_version": None,
                    "auth": "entra",
                    "has_api_key": False,
                    "arm_endpoint": "https://management.azure.com",
                    "arm_api_version": "2024-10-01",
                    "subscription_id": "11111111-2222-3333-4444-555555555555",
                    "resource_group": "ml",
                    "account": "contoso",
                    "last_check": None,
                    "reads_closed_until": None,
                    "writes_closed_until": None,
                    "created_at": "2026-11-20T09:00:00Z",
                    "updated_at": "2026-11-20T09:00:00Z",
                }
            ]
        }
    )

    object: Literal["connection"] = "connection"
    id: str
    name: str
    endpoint: str
    region: str | None
    api_style: str
    api_version: str | None
    auth: str
    has_api_key: bool
    arm_endpoint: str
    arm_api_version: str
    subscription_id: str | None
    resource_group: str | None
    account: str | None
    last_check: dict[str, Any] | None
    reads_closed_until: datetime | None
    writes_closed_until: datetime | None
    created_at: datetime
    updated_at: datetime


class CheckResult(BaseModel):
    """One thing that was tried."""

    name: str = Field(examples=["data_plane.models"])
    verdict: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    hint: str = ""


class ConnectionCheck(BaseModel):
    """What the resource lets us do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "connection.check",
                    "connection": "con_01kz8q7v1efn9s0a2b3c4d5e6f",
                    "ok": True,
                    "checked_at": "2026-11-20T09:00:00Z",
                    "results": [
                        {"name": "data_plane.files", "verdict": "ok", "detail": "3 fine-tuning files", "hint": ""}
                    ],
                }
            ]
        }
    )

    object: Literal["connection.check"] = "connection.check"
    connection: str
    ok: bool
    checked_at: datetime
    results: list[CheckResult]


class RemoteModels(BaseModel):
    """Azure's model objects, verbatim."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "list", "data": [{"id": "gpt-4.1-mini-2025-04-14", "object": "model"}]}]
        }
    )

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]


class QuotaLine(BaseModel):
    """One line of quota, in Azure's unit (thousands of tokens per minute for deployments)."""

    name: str
    current: float
    limit: float
    left: float
    unit: str | None


class Quota(BaseModel):
    """What is used and what is left."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "name": "OpenAI.GlobalStandard.gpt-4.1-mini-finetune",
                            "current": 100,
                            "limit": 250,
                            "left": 150,
                            "unit": "Count",
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[QuotaLine]

    @classmethod
    def of(cls, usages: list[Usage]) -> "Quota":
        return cls(
            data=[
                QuotaLine(name=u.name, current=u.current, limit=u.limit, left=u.limit - u.current, unit=u.unit)
                for u in usages
            ]
        )
