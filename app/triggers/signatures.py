"""Signatures of messages from outside: Standard Webhooks, which Azure OpenAI and OpenAI send. Pure.

The sender's bytes are an enemy's until the signature holds: nothing here may raise anything but `NotSigned`.
Source: Standard Webhooks specification 1.0.0; Azure OpenAI webhooks, Microsoft Learn, 2026-05-13.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "whsec_"
FORM: Final = r"^whsec_[A-Za-z0-9+/]{32,88}={0,2}$"
"""24 to 64 random bytes in base64. Source: Standard Webhooks 1.0.0, "Signature scheme"."""
TOLERANCE_SECONDS: Final = 300
"""A message stamped further away from now, in either direction, is refused. Source: Standard Webhooks 1.0.0."""
MOST_SIGNATURES: Final = 10
"""During a rotation a sender signs with two secrets; nobody needs more than a handful."""
_ID: Final = re.compile(r"[!-~]{1,200}")
_STAMP: Final = re.compile(r"[0-9]{1,11}", re.ASCII)


class NotSigned(Exception):
    """The message is not from whom it says, or not from now. The text tells the sender's owner why."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A message whose signature holds."""

    message_id: str
    """The sender's name for it; the same for every attempt to deliver it."""
    body: bytes


def new_secret() -> str:
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], *, now: float) -> Signed:
    """The message, if one of the secrets has signed it within the last five minutes.

    Args:
        headers: names in lower case; values as they came, whatever they hold.
        secrets: `whsec_…` each; any may have signed.
        now: seconds of the Unix clock.

    Raises:
        NotSigned: a header is missing or malformed, the time is off, or no signature holds.
    """
    message_id = headers.get("webhook-id", "")
    if not _ID.fullmatch(message_id):
        raise NotSigned("The header webhook-id is missing or is not 1 to 200 visible ASCII characters.")
    stamp = headers.get("webhook-timestamp", "")
    if not _STAMP.fullmatch(stamp):
        raise NotSigned("The header webhook-timestamp is missing or is not a number of seconds.")
    if abs(int(stamp) - now) > TOLERANCE_SECONDS:
        raise NotSigned(f"The message is stamped {int(stamp) - now:+.0f} s away from now; at most 300 are allowed.")
    given = [text.encode("utf-8", "replace") for text in headers.get("webhook-signature", "").split(" ") if text]
    if not given:
        raise NotSigned("The header webhook-signature is missing.")
    if len(given) > MOST_SIGNATURES:
        raise NotSigned(f"The header webhook-signature holds more than {MOST_SIGNATURES} signatures.")
    content = f"{message_id}.{stamp}.".encode() + body
    wanted = [b"v1," + base64.b64encode(_mac(secret, content)) for secret in secrets]
    if not any([hmac.compare_digest(one, other) for one in wanted for other in given]):  # noqa: C419  all are compared, so that time tells nothing
        raise NotSigned("No signature was made with this trigger's secret over these bytes.")
    return Signed(message_id, body)


def _mac(secret: str, content: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = secret.encode("utf-8", "replace")
    return hmac.new(key, content, hashlib.sha256).digest()
