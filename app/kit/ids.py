"""Ids: a prefix and a UUIDv7 in base32 (`job_01kz…`), sortable by time as text.

Source: RFC 9562 §5.7 (UUIDv7) and the TypeID specification 0.3 (Crockford base32, lower case, 26 characters).
"""

import os
import threading
import time
import uuid
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_LETTERS: Final = frozenset(_ALPHABET)
_SUFFIX_LENGTH: Final = 26
_lock = threading.Lock()
_last_tick = 0


def uuid7() -> uuid.UUID:
    """A UUIDv7 whose 12 spare bits hold a sub-millisecond fraction, so ids of one process never step back."""
    global _last_tick  # noqa: PLW0603  one counter per process is the point
    with _lock:
        milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
        tick = (milliseconds << 12) | (nanoseconds * 4096 // 1_000_000)
        _last_tick = tick = max(tick, _last_tick + 1)
    random_bits = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    return uuid.UUID(int=((tick >> 12) << 80) | (7 << 76) | ((tick & 0xFFF) << 64) | (2 << 62) | random_bits)


def new_id(prefix: str) -> str:
    """A fresh id such as `job_01kz8q…`."""
    number = uuid7().int
    return f"{prefix}_" + "".join(_ALPHABET[(number >> (5 * i)) & 31] for i in range(25, -1, -1))


def is_id(text: str, prefix: str) -> bool:
    """Whether `text` has the form of an id of this kind; it says nothing of existence."""
    head, _, tail = text.rpartition("_")
    return head == prefix and len(tail) == _SUFFIX_LENGTH and tail[0] <= "7" and _LETTERS.issuperset(tail)
