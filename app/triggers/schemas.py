"""What crosses the wire about triggers. A secret is shown once, when it is made."""

import re
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, SecretStr
from pydantic_core import PydanticCustomError

from app.kit.wire import Name, RequestModel
from app.triggers.signatures import FORM

_EXAMPLE: Final[dict[str, JsonValue]] = {
    "object": "trigger",
    "id": "trg_01kz8q7v1efn9s0a2b3c4d5e6f",
    "name": "azure-news",
    "scheme": "standard_webhooks",
    "action": "watch",
    "connection": "con_01kz8q7v1efn9s0a2b3c4d5e6f",
    "path": "/hooks/trg_01kz8q7v1efn9s0a2b3c4d5e6f",
    "previous_until": None,
    "received_at": None,
    "created_at": "2026-11-21T09:00:00Z",
    "updated_at": "2026-11-21T09:00:00Z",
}


def _standard(secret: SecretStr) -> SecretStr:
    if re.fullmatch(FORM, secret.get_secret_value()) is None:
        raise PydanticCustomError(
            "secret_malformed", "A secret is whsec_ and the base64 of 24 to 64 bytes, as the sender has shown it."
        )
    return secret


WebhookSecret = Annotated[
    SecretStr,
    AfterValidator(_standard),
    Field(
        description="The secret that the sender has shown, such as Azure's; left out, one is made.",
        json_schema_extra={"pattern": FORM, "maxLength": 100},
    ),
]


class SecretGiven(RequestModel):
    """A secret, if the sender has made it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    secret: WebhookSecret | None = None


class TriggerCreate(SecretGiven):
    """An address for news from outside."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "azure-news", "connection": "sweden"}]})

    name: Name
    scheme: Literal["standard_webhooks"] = Field(
        default="standard_webhooks", description="How messages are signed; Azure OpenAI and OpenAI use this one."
    )
    action: Literal["watch"] = Field(
        default="watch", description="`watch`: look at once at the job that the message names."
    )
    connection: str = Field(max_length=64, description="Id or name of the connection whose jobs it is about.")


class TriggerRead(BaseModel):
    """A trigger as callers see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    object: Literal["trigger"] = "trigger"
    id: str
    name: str
    scheme: str
    action: str
    connection: str = Field(description="Id of the connection.")
    path: str = Field(description="Where to send messages, relative to this API.")
    previous_until: datetime | None = Field(description="Until when the secret before the rotation still holds.")
    received_at: datetime | None = Field(description="When the last signed message came.")
    created_at: datetime
    updated_at: datetime


class TriggerCreated(TriggerRead):
    """A trigger with its secret, this once."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_EXAMPLE | {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}]}
    )

    secret: str = Field(description="Shown now and never again.")


class Receipt(BaseModel):
    """What became of a message."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "accepted"}]})

    status: Literal["accepted", "repeated", "ignored"] = Field(
        description="`repeated`: this message had come before. `ignored`: it is about nothing that we follow."
    )
