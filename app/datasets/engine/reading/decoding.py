"""Makes UTF-8 of text in another encoding, on disk and not in memory.

Must not know what the text says.
"""

from __future__ import annotations

import codecs
import tempfile
from contextlib import ExitStack
from typing import BinaryIO, Final

from app.datasets.engine.kinds import looks_utf_16, marked_encoding
from app.datasets.engine.lines import BOM, CHUNK_BYTES
from app.datasets.engine.reading.refusals import RefusedError

_GUESSES: Final = ("cp932", "euc_jp", "cp1252")
"""Encodings that are suggested where bytes are not UTF-8, in this order; never taken without being told."""


def encoding_of(head: bytes, declared: str | None) -> str:
    """A byte-order mark says more than the caller, the caller more than the looks."""
    if head.startswith(BOM):
        return "utf-8"
    return marked_encoding(head) or declared or looks_utf_16(head) or "utf-8"


def suggestion(sample: bytes) -> str | None:
    """An encoding in which bytes that are not UTF-8 make sense."""
    for name in _GUESSES:
        try:
            text = codecs.getincrementaldecoder(name)().decode(sample)
        except UnicodeDecodeError:
            continue
        if name == "cp1252" or any("\u3040" <= letter <= "\u30ff" for letter in text):
            return name
    return None


def as_utf_8(source: BinaryIO, encoding: str, stack: ExitStack) -> BinaryIO:
    """The same text in UTF-8, on disk; `stack` closes and deletes it. Raises `RefusedError`."""
    target: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
    decoder = codecs.getincrementaldecoder(encoding)()
    source.seek(0)
    done = 0
    while True:
        chunk = source.read(CHUNK_BYTES)
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            at = f" near byte {done + getattr(error, 'start', 0) + 1:,}"
            raise RefusedError(
                "undecodable",
                f"The bytes{at} are not {encoding}.",
                remedy="Say which encoding it is in, or save it as UTF-8.",
            ) from error
        target.write(text.encode("utf-8", "replace"))
        if not chunk:
            break
        done += len(chunk)
    target.seek(0)
    return target
