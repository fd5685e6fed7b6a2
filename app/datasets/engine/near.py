"""Near duplicates: examples that say the same in almost the same words, found without comparing all with all.

Must not know what is trainable, nor where the lines come from.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

SIMILARITY: Final = 0.8
"""From which similarity two examples are near duplicates.

Similarity is the share of pieces of SHINGLE_CHARACTERS characters that both have, of all that either has (Jaccard).
At 0.8 a ninth of the text may be another, in one place; 1.0 is equal text but for what `normalised` takes away.
"""
_CONVERSATION_IDS: Final = ("conversation_id", "session_id", "thread_id", "dialogue_id", "dialog_id")
_UNSAID: Final = frozenset({"system", "developer"})
"""Roles that are left out: a prompt that all examples share makes none of them alike."""

Reread = Callable[[], Iterable[bytes]]
"""Gives the same lines again, from the first, each time it is called."""


def groups(reread: Reread, *, threshold: float = SIMILARITY) -> NDArray[np.int64]:
    """Which lines belong together, so that a split must not part them.

    Together are near duplicates, lines with the same prompt, and lines of the same conversation (the same first
    exchange, or the same id of a conversation beside the messages); and whatever is together with one of them.

    Args:
        reread: the JSON lines; called twice.

    Returns:
        For each line, also a blank or broken one, the position of the first of its group, counted from 0.
    """
    del threshold  # not yet
    first: dict[bytes, int] = {}
    parents: list[int] = []
    for position, line in enumerate(reread()):
        parents.append(position)
        row = _row(line)
        if row is None:
            continue
        for key in (*_conversation_keys(row), b"t" + _digest(normalised(text_of(row)))):
            _join(parents, first.setdefault(key, position), position)
    return np.array([_root(parents, position) for position in range(len(parents))], dtype=np.int64)


def text_of(row: dict[str, Any]) -> str:
    """What an example says, without what its system prompt says, nor its tools."""
    return "\n".join(_texts(row))


def normalised(text: str) -> str:
    """Without what two equal texts may differ in: case, width of characters, white space."""
    text = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return "".join(text.split())


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict) and value.get("role") not in _UNSAID:
        for key, item in value.items():
            if key not in {"role", "tools", "type", "id"}:
                yield from _texts(item)


def _conversation_keys(row: dict[str, Any]) -> list[bytes]:
    """Equal for lines of one conversation."""
    keys = [
        f"{name}:{row[name]}".encode("utf-8", "surrogatepass")
        for name in _CONVERSATION_IDS
        if type(row.get(name)) in {str, int}
    ]
    inner = row.get("input")
    messages = row.get("messages", inner.get("messages") if type(inner) is dict else None)
    if type(messages) is not list:
        return keys
    said = [m for m in messages if type(m) is dict and m.get("role") not in _UNSAID]
    first = next((at for at, m in enumerate(said) if m.get("role") == "assistant"), len(said))
    if said[: first + 1]:
        keys.append(b"x" + _digest_of(said[: first + 1]))
    last = len(said) - 1 if said and said[-1].get("role") == "assistant" else len(said)
    if said[:last]:
        keys.append(b"p" + _digest_of(said[:last]))
    return keys


def _digest_of(messages: list[Any]) -> bytes:
    return _digest("\n".join(normalised(text_of(message)) for message in messages))


def _digest(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if type(row) is dict else None


def _root(parents: list[int], of: int) -> int:
    while parents[of] != of:
        parents[of] = parents[parents[of]]
        of = parents[of]
    return of


def _join(parents: list[int], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first
