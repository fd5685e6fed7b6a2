"""The form of an API key: `ftk_live_`, 8 characters that name it, 32 secret ones, 6 of checksum. Pure.

The secret part holds 190 random bits, so a plain SHA-256 is all that needs to be stored; a slow hash would only
slow down every request. The checksum refuses typos and cut-off copies without a query, and lets secret scanners
tell a real key from a string that looks like one.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
PATTERN: Final = r"ftk_live_[0-9A-Za-z]{46}"
"""For secret scanners."""
_KEY: Final = re.compile(PATTERN)


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A fresh key. `secret` is shown once and stored nowhere."""

    secret: str

    @property
    def public_id(self) -> str:
        return self.secret[9:17]

    @property
    def last4(self) -> str:
        return self.secret[-4:]

    @property
    def sha256(self) -> str:
        return fingerprint(self.secret)


def _base62(number: int, width: int) -> str:
    digits = []
    while number:
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits)).rjust(width, "0")


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), 6)


def new_secret() -> NewSecret:
    body = f"ftk_live_{_base62(secrets.randbits(47), 8)}{_base62(secrets.randbits(190), 32)}"
    return NewSecret(body + _checksum(body))


def is_well_formed(secret: str) -> bool:
    """Whether the text can be a key at all; it says nothing of existence."""
    return _KEY.fullmatch(secret) is not None and _checksum(secret[:-6]) == secret[-6:]


def fingerprint(secret: str) -> str:
    """What is stored instead of the key."""
    return hashlib.sha256(secret.encode()).hexdigest()
