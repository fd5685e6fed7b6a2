"""Finds what a reader of the texts would not see: control and invisible characters, unfilled placeholders.

Must not know what a message is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ZERO_WIDTH = re.compile("[\u200b\u2060\ufeff]")
"""Not the joiners U+200C and U+200D, which emoji and several scripts need."""
_PLACEHOLDER = re.compile(r"(\\[A-Za-z]+|[}^_])?(\{\{\s*(?=[\w.-]*[A-Za-z]{2})[A-Za-z_][\w.-]*\s*\}\})")
"""The first group is what stands before double braces in LaTeX, where they are no placeholder; for
the same reason a name has two letters in a row."""

_WRITTEN_CONTROLS = (b"\\u", b"\\b", b"\\f", b"\x7f")
_WRITTEN_ZERO_WIDTH = ("\u200b".encode(), "\u2060".encode(), "\ufeff".encode())


def suspicious(compact: bytes) -> bool:
    """Whether the row may hold any of it; never False for one that does.

    Args:
        compact: the row as orjson writes it, where only control characters are escaped as numbers.
    """
    if b"{{" in compact:
        return True
    for written in _WRITTEN_CONTROLS:
        if written in compact:
            return True
    return not compact.isascii() and any(written in compact for written in _WRITTEN_ZERO_WIDTH)


def oddities(row: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each (code, detail, RFC 6901 pointer), in the order of the texts."""
    for pointer, text in strings(row):
        if control := _CONTROL.search(text):
            code = "nul-character" if "\0" in text else "control-char"
            yield code, f"U+{0 if code == 'nul-character' else ord(control.group()):04X}", pointer
        if invisible := _ZERO_WIDTH.search(text):
            yield "zero-width", f"U+{ord(invisible.group()):04X}", pointer
        if placeholder := next((m.group(2) for m in _PLACEHOLDER.finditer(text) if not m.group(1)), None):
            yield "template-placeholder", placeholder[:80], pointer


def strings(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every text in `value`, keys included, with its pointer."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            yield inner, key
            yield from strings(item, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, f"{pointer}/{index}")
