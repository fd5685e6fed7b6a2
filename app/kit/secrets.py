"""Secrets at rest: AES-GCM bound to the row they belong to, several keys so that they can be rotated."""

import base64
import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.kit.logging import never_log

_NONCE_BYTES: Final = 12
KEY_ID_BYTES: Final = 4
"""At the start of every ciphertext: which key it needs; the first bytes of the key's SHA-256."""


class UnreadableSecret(Exception):
    """The ciphertext was made with a key we do not have, or for another row."""


class Vault:
    """Encrypts with the first key and decrypts with any.

    Args:
        keys: base64 texts of 32 random bytes each, newest first.
    """

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise ValueError("at least one secret key is needed")
        self._keys: dict[bytes, AESGCM] = {}
        for text in keys:
            raw = base64.b64decode(text, validate=True)
            if len(raw) != 32:
                raise ValueError("a secret key is the base64 of exactly 32 random bytes")
            self._keys.setdefault(hashlib.sha256(raw).digest()[:KEY_ID_BYTES], AESGCM(raw))
        self._newest = next(iter(self._keys))

    @property
    def newest(self) -> bytes:
        """Id of the key that seals."""
        return self._newest

    def is_newest(self, sealed: bytes) -> bool:
        """Whether the newest key has sealed this."""
        return bytes(sealed[:KEY_ID_BYTES]) == self._newest

    def has(self, key_id: bytes) -> bool:
        """Whether we have the key of this id."""
        return key_id in self._keys

    @staticmethod
    def new_key() -> str:
        return base64.b64encode(os.urandom(32)).decode()

    def seal(self, secret: str, *, row_id: str) -> bytes:
        """Ciphertext that opens only for the same `row_id`."""
        never_log(secret)
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._newest].encrypt(nonce, secret.encode(), row_id.encode())
        return self._newest + nonce + sealed

    def open(self, sealed: bytes, *, row_id: str) -> str:
        """Raises `UnreadableSecret`."""
        key = self._keys.get(bytes(sealed[:KEY_ID_BYTES]))
        if key is None:
            raise UnreadableSecret("no key for this secret; was KITAE_SECRET_KEYS changed?")
        nonce = sealed[KEY_ID_BYTES : KEY_ID_BYTES + _NONCE_BYTES]
        try:
            secret = key.decrypt(nonce, sealed[KEY_ID_BYTES + _NONCE_BYTES :], row_id.encode()).decode()
        except (InvalidTag, ValueError) as error:  # ValueError: cut off within the nonce
            raise UnreadableSecret("the secret does not belong to this row or was changed") from error
        never_log(secret)
        return secret
