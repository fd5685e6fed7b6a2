"""Signatures of Standard Webhooks 1.0.0: secrets, and what is signed with them; it knows no event."""

import base64
import binascii
import hashlib
import hmac
import os
from typing import Final

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
"""Source: Standard Webhooks 1.0.0, "Signature scheme"."""


def new_secret() -> str:
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def is_secret(secret: str) -> bool:
    """Whether it is `whsec_` and enough bytes in base64."""
    try:
        return (
            secret.startswith(PREFIX) and len(base64.b64decode(secret[len(PREFIX) :], validate=True)) >= LEAST_BYTES
        )
    except (ValueError, binascii.Error):
        return False


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature`. Source: Standard Webhooks 1.0.0, "Signature scheme"."""
    key = base64.b64decode(secret[len(PREFIX) :])
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
