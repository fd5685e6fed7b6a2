"""Measures the text that the rows of a dataset begin with: instructions and examples that tuning could replace.

It looks at a sample of the rows and must not know what anything costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import orjson

from app.datasets.engine.chat import TOKENS_PER_MESSAGE
from app.datasets.engine.report import printable
from app.datasets.engine.tokens import Count, counter

ROWS_MAX: Final = 2_000
"""Rows that are looked at; more tell nothing new."""
WHOLE_BYTES: Final = 8 * 1024 * 1024
"""Up to this size every row is looked at, as far as ROWS_MAX goes; beyond it, rows at even distances."""
LINE_BYTES_MAX: Final = 8 * 1024 * 1024
GROUPS_MAX: Final = 500
"""Different beginnings that are followed; further ones are counted as rows that begin otherwise."""
KEY_CHARACTERS: Final = 64
"""Rows whose first message is a user's belong together when so many characters are the same."""
PARTIAL_TOKENS_MIN: Final = 8
"""A shorter beginning of a message that goes on otherwise is a turn of phrase, not an instruction."""
BEGINNING_CHARACTERS: Final = 200

Message = tuple[str, str]
"""Role and text."""


@dataclass(frozen=True, slots=True)
class RepeatedText:
    """The longest beginning that the most rows share, weighed by its length."""

    tokens: int
    rows: int
    """That begin with it."""
    rows_measured: int
    beginning: str
    """Its first characters."""


@dataclass(slots=True)
class _Group:
    """Rows that begin alike, and what they share so far."""

    shared: list[Message]
    is_cut: bool = False
    """The last message of `shared` goes on otherwise in some row."""
    rows: int = 1

    def meet(self, prompt: list[Message]) -> None:
        self.rows += 1
        for index, (role, text) in enumerate(self.shared):
            if index >= len(prompt) or prompt[index][0] != role:
                self._keep(index, None)
                return
            other = prompt[index][1]
            if self.is_cut and index == len(self.shared) - 1:
                if not other.startswith(text):
                    self._keep(index, (role, _common(text, other)))
                return
            if other != text:
                self._keep(index, (role, _common(text, other)))
                return

    def _keep(self, whole: int, beginning: Message | None) -> None:
        self.shared = self.shared[:whole] + ([beginning] if beginning and beginning[1] else [])
        self.is_cut = bool(beginning and beginning[1])

    def settle(self, count: Count) -> tuple[int, str]:
        """Tokens of what is shared, whole messages with what each costs by itself, and its text."""
        whole = self.shared[:-1] if self.is_cut else self.shared
        total = sum(TOKENS_PER_MESSAGE + count(role) + count(text) for role, text in whole)
        texts = [text for _, text in whole]
        if self.is_cut:
            begun = _to_a_word(self.shared[-1][1])
            tokens = count(begun)
            if tokens >= PARTIAL_TOKENS_MIN:
                total += tokens
                texts.append(begun)
        return total, "\n".join(texts)


def repeated_text(source: BinaryIO, size: int, tokenizer: str) -> RepeatedText:
    """The text that most rows of cleaned JSON Lines begin with.

    Args:
        source: seekable, at its start.
        size: bytes in it.
        tokenizer: with which it is counted; see `tokens.counter`.
    """
    groups: dict[Message, _Group] = {}
    measured = 0
    for prompt in map(_prompt, _sampled(source, size)):
        if prompt is None:
            continue
        measured += 1
        if not prompt:
            continue
        key = _key(prompt)
        known = groups.get(key)
        if known is not None:
            known.meet(prompt)
        elif len(groups) < GROUPS_MAX:
            groups[key] = _Group(prompt)
    count = counter(tokenizer).one
    best = RepeatedText(0, 0, measured, "")
    for group in groups.values():
        if group.rows > 1:
            tokens, text = group.settle(count)
            if tokens * group.rows > best.tokens * best.rows:
                best = RepeatedText(tokens, group.rows, measured, printable(text[:BEGINNING_CHARACTERS]))
    return best


def _sampled(source: BinaryIO, size: int) -> Iterator[bytes]:
    if size <= WHOLE_BYTES:
        for _, line in zip(range(ROWS_MAX), _lines(source), strict=False):
            yield line
        return
    step = size // ROWS_MAX
    for number in range(ROWS_MAX):
        source.seek(number * step)
        if number:
            source.readline(LINE_BYTES_MAX)  # the rest of a line
        yield source.readline(LINE_BYTES_MAX)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    while line := source.readline(LINE_BYTES_MAX):
        yield line


def _prompt(line: bytes) -> list[Message] | None:
    """What is asked in a row: its messages before the answer that is learned; None where it is no row."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(row, dict):
        return None
    asked = row.get("input")
    messages = (asked if isinstance(asked, dict) else row).get("messages")
    if not isinstance(messages, list):
        return None
    found = list(_messages(messages))
    if asked is None and found and found[-1][0] == "assistant":
        found.pop()
    return found


def _messages(messages: Iterable[Any]) -> Iterator[Message]:
    for message in messages:
        if not isinstance(message, dict):
            return
        content = message.get("content")
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "".join(text for text in parts if isinstance(text, str))
        yield str(message.get("role")), content if isinstance(content, str) else ""


def _key(prompt: list[Message]) -> Message:
    role, text = prompt[0]
    return (role, text) if role in {"system", "developer"} else (role, text[:KEY_CHARACTERS])


def _common(one: str, other: str) -> str:
    """What both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return one[:low]


def _to_a_word(text: str) -> str:
    """Without the beginning of a word, in scripts that put spaces between words."""
    last = max(text.rfind(" "), text.rfind("\n"))
    return text[: last + 1] if last > len(text) - 32 else text
