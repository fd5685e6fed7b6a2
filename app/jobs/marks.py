"""By what a job is known at Azure where it keeps no metadata (the dated api-versions). Pure.

Azure allows 40 characters of `[A-Za-z0-9_-]` in a suffix. Source: authoring API 2025-04-01-preview.
"""

import hashlib
from typing import Final

TAIL: Final = 10
"""Characters of the op_key that end the suffix: 50 random bits."""


def derived_suffix(op_key: str) -> str:
    """What the suffix of this job's training ends with."""
    return op_key[-TAIL:]


def derived_seed(op_key: str) -> int:
    """The seed it gets where nobody chose one; 31 bits."""
    return int.from_bytes(hashlib.sha256(op_key.encode()).digest()[:4]) & 0x7FFFFFFF
