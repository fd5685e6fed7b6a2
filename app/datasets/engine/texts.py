"""Finds what a reader of the texts would not see: control and invisible characters, unfilled placeholders.

Must not know what a message is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.datasets.engine.json_rows import escaped
from app.datasets.engine.scanning import searching

_PLAIN = {"role", "content"}

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
UNSEEN: Final = "[\u200b\u2060\ufeff\u202d\u202e\U000e0000-\U000e007f]"
"""Whatever may be zero-width or hidden text; a flag's tags are among them."""
_holds_unseen: Final = searching(UNSEEN)
_ZERO_WIDTH = re.compile("[\u200b\u2060\ufeff]")
"""Not the joiners U+200C and U+200D, which emoji and several scripts need."""
_HIDDEN = re.compile("[\u202d\u202e]|(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]+")
"""Direction overrides, which show a text in another order than it is read in, and tag characters, which show
nothing, but for those behind a black flag. Embeddings and isolates stay: Arabic and Hebrew need them.
Source: Unicode 16, UAX #9 §2 and UTS #51 §1.4.9."""
_PLACEHOLDER = re.compile(r"(\\[A-Za-z]+)?(?<![}^_])(\{\{\s*(?=[\w.-]*[A-Za-z]{2})[A-Za-z_][\w.-]*\s*\}\})")
"""Double braces after a command (the first group), a brace, ^ or _ are LaTeX and no placeholder; for the
same reason a name has two letters in a row."""

BRACES: Final = r"\{\{"
_BRACES = re.compile(BRACES)
"""Thrice as fast as `in`, where single braces are frequent."""

_ORDINARY = bytes(byte for byte in range(256) if not _CONTROL.match(chr(byte)))


def without_control(text: str) -> str:
    """`text` without its control characters, NUL included."""
    return _CONTROL.sub("", text)


def without_invisible(text: str) -> str:
    """`text` without its zero-width characters."""
    return _ZERO_WIDTH.sub("", text)


def without_hidden(text: str) -> str:
    """`text` without direction overrides and without tag characters that belong to no flag."""
    return _HIDDEN.sub("", text)


def _holds_control(text: str) -> bool:
    return bool(text.encode("utf-8", "replace").translate(None, _ORDINARY))


def _holds_braces(text: str) -> bool:
    return _BRACES.search(text) is not None


def holds_invisible(text: str) -> bool:
    """Also whether a flag has tags."""
    return not text.isascii() and _holds_unseen(text)


def suspicions(text: str) -> tuple[Callable[[str], bool], ...]:
    """Tests of which `text`, or a part of it, may fail some; empty when nothing in it is odd. Quick."""
    return tuple([test for test in (_holds_control, _holds_braces, holds_invisible) if test(text)])


_BRACE: Final = ord("{")
_DELETE: Final = 0x7F
_SPACE: Final = 0x20
_BREAKS: Final = np.frombuffer(b"\n\t\r", dtype=np.uint8)


def control_places(utf8: bytes, between: NDArray[np.intp]) -> NDArray[np.intp]:
    """Where in a long text there are control characters, counted in bytes; in no order.

    Args:
        between: the places of those that are meant to be there.
    """
    codes = np.frombuffer(utf8, dtype=np.uint8)
    low = codes < _SPACE
    controls = np.count_nonzero(low) - len(between)
    for code in _BREAKS:
        controls -= np.count_nonzero(codes == code) if controls else 0
    found = np.zeros(0, dtype=np.intp)
    if controls:
        places = np.setdiff1d(np.flatnonzero(low), between, assume_unique=True)
        found = places[~np.isin(codes[places], _BREAKS)]
    if b"\x7f" in utf8:
        found = np.concatenate((found, np.flatnonzero(codes == _DELETE)))
    return found


def brace_places(utf8: bytes) -> NDArray[np.intp]:
    """Where in a long text there are double braces, counted in bytes."""
    braces = np.frombuffer(utf8, dtype=np.uint8) == _BRACE
    double = braces[1:] & braces[:-1]
    return np.flatnonzero(double) if double.any() else np.zeros(0, dtype=np.intp)


def plain_texts(row: dict[str, Any]) -> list[str] | None:
    """The contents of a row that is nothing but messages of a role and a text; None for any other row."""
    messages = row.get("messages")
    if len(row) != 1 or type(messages) is not list:
        return None
    contents = [message["content"] for message in messages if type(message) is dict and message.keys() == _PLAIN]
    if len(contents) != len(messages) or not all(type(content) is str for content in contents):
        return None
    return contents


def oddities(row: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each (code, detail, RFC 6901 pointer), in the order of the texts."""
    for pointer, text in strings(row):
        if control := _CONTROL.search(text):
            code = "nul-character" if "\0" in text else "control-char"
            yield code, f"U+{0 if code == 'nul-character' else ord(control.group()):04X}", pointer
        if invisible := _ZERO_WIDTH.search(text):
            yield "zero-width", f"U+{ord(invisible.group()):04X}", pointer
        if hidden := _HIDDEN.search(text):
            yield "hidden-text", f"U+{ord(hidden.group()[0]):04X}", pointer
        if placeholder := placeholder_in(text):
            yield "template-placeholder", placeholder[:80], pointer


def placeholder_in(text: str) -> str | None:
    """The first that was not filled in, if there is one."""
    return next((m.group(2) for m in _PLACEHOLDER.finditer(text) if not m.group(1)), None)


def strings(value: Any, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Every text in `value`, keys included, with its pointer."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{pointer}/{escaped(key)}"
            yield inner, key
            yield from strings(item, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from strings(item, f"{pointer}/{index}")
