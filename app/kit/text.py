"""Text that people send: what every text field of the API refuses and how long the usual ones are."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ufeff]")
"""Control characters but tab and line breaks, text-direction overrides, and a stray BOM."""
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"


def clean(text: str) -> str:
    """The text itself, or ValueError when the database, a log or a reader could not show it as it is."""
    found = _CONTROL.search(text)
    if found:
        raise ValueError(f"contains the control character U+{ord(found.group()):04X}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("contains half a surrogate pair, which no UTF-8 text can hold") from None
    return text


def _clean_all(value: dict[str, Any]) -> dict[str, Any]:
    for key, item in value.items():
        clean(key)
        if isinstance(item, str):
            clean(item)
    return value


Name = Annotated[
    str,
    Field(pattern=_NAME, description="Letters, digits, dot, dash and underscore; 63 at most.", examples=["travel"]),
]
"""A name that may stand in a path and needs no quoting anywhere."""
ShortText = Annotated[str, Field(max_length=300), AfterValidator(clean)]
LongText = Annotated[str, Field(max_length=10_000), AfterValidator(clean)]
Prompt = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(clean)]
Labels = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
    Field(max_length=16),
    AfterValidator(_clean_all),
]
"""Up to 16 pairs, 64 and 512 characters, like Azure's job metadata."""
