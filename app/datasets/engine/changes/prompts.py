"""Changes what is said before the question: the system prompt, and instructions that every row repeats.

Must not know how a row is trained on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

import xxhash
from pydantic import Field

from app.datasets.engine.changes.fields import is_from, talk_of, text_in
from app.datasets.engine.changes.rows import Kept, Row
from app.datasets.engine.changes.steps import CLOSED, CannotChange, Step
from app.datasets.engine.json_rows import parse, write

SYSTEM: Final = ("system", "developer")
LINES_MAX: Final = 200_000
"""Different lines of prompts told apart while looking for those that repeat."""
_END: Final = re.compile(r"[.:!?\n。：！？]")
"""Where an instruction ends, or the one before it."""


@dataclass(frozen=True, slots=True)
class System:
    """Set the system prompt of every row, replace it where there is one, or remove it."""

    mode: Literal["set", "replace", "remove"]
    text: Annotated[
        str | None, Field(max_length=200_000, description="The new prompt; not for remove.", min_length=1)
    ] = None
    was: Annotated[
        str | None, Field(max_length=200_000, description="Only rows whose system prompt is exactly this.")
    ] = None
    type: Literal["system"] = "system"

    __pydantic_config__: ClassVar = CLOSED

    def __post_init__(self) -> None:
        if self.mode != "remove" and self.text is None:
            raise ValueError(f"to {self.mode} the system prompt, say its text")
        if self.mode == "remove" and self.text is not None:
            raise ValueError("a system prompt that is removed has no text; `was` says which one")

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        for row in rows:
            value = parse(row.line)
            talk = talk_of(value) if value is not None else None
            if value is None or talk is None or not self._changes(talk):
                yield row
            else:
                yield step.change(row, write(value))

    def _changes(self, talk: list[Any]) -> bool:
        had = [message for message in talk if is_from(message, *SYSTEM)]
        if self.was is not None and [text_in(message.get("content")) for message in had] != [self.was]:
            return False
        if not had and self.mode != "set":
            return False
        role = had[0]["role"] if had else "system"
        rest = [message for message in talk if not is_from(message, *SYSTEM)]
        if not rest:
            return False
        talk[:] = rest if self.mode == "remove" else [{"role": role, "content": self.text}, *rest]
        return True


@dataclass(frozen=True, slots=True)
class Prune:
    """Take instructions out that (almost) every row repeats: a tuned model needs them no more, and pays for them.

    Without `text` they are looked for: whole lines of system and user messages, and what all questions begin or end
    with.
    """

    text: Annotated[
        str | None,
        Field(min_length=1, max_length=200_000, description="Exactly this is taken out, wherever a prompt has it."),
    ] = None
    min_characters: Annotated[int, Field(strict=True, ge=10, le=100_000)] = 80
    min_share: Annotated[
        float, Field(gt=0, le=1, description="Of all rows: how many must repeat a line, so that it goes.")
    ] = 0.9
    type: Literal["prune"] = "prune"

    __pydantic_config__: ClassVar = CLOSED

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """Raises `CannotChange` (`nothing_repeated`)."""
        repeated = [self.text] if self.text is not None else self._lines(rows)
        head, tail = ("", "") if self.text is not None else self._ends(rows, repeated)
        if not repeated and not head and not tail:
            raise CannotChange(
                "nothing_repeated",
                f"No text of {self.min_characters} characters stands in {self.min_share:.0%} of the prompts.",
                hint="Name the text, or ask for less: min_characters, min_share.",
            )
        step.told["pruned"] = [text[:500] for text in (*repeated, head, tail) if text][:20]
        for row in rows:
            value = parse(row.line)
            talk = talk_of(value) if value is not None else None
            if value is None or talk is None:
                yield row
                continue
            _prune(talk, repeated, head, tail)
            yield step.change(row, write(value))

    def _lines(self, rows: Kept) -> list[str]:
        counts: Counter[int] = Counter()
        texts: dict[int, str] = {}
        total = 0
        for talk in _talks(rows):
            total += 1
            seen: set[int] = set()
            for _, text in _prompts(talk):
                for line in text.split("\n"):
                    if len(line) < self.min_characters:
                        continue
                    key = xxhash.xxh3_64_intdigest(line.encode("utf-8", "surrogatepass"))
                    if key not in seen and (key in counts or len(counts) < LINES_MAX):
                        seen.add(key)
                        counts[key] += 1
                        if counts[key] == 2:
                            texts[key] = line
        needed = max(2, self.min_share * total)
        return [text for key, text in texts.items() if counts[key] >= needed]

    def _ends(self, rows: Kept, repeated: list[str]) -> tuple[str, str]:
        """What every question begins with and ends with, beyond the lines that go anyway; whole sentences."""
        head: str | None = None
        tail: str | None = None
        questions = 0
        for talk in _talks(rows):
            first = next((message for message, _ in _prompts(talk) if is_from(message, "user")), None)
            if first is None:
                continue
            text = _without(first["content"], repeated)
            questions += 1
            head = text if head is None else _common(head, text)
            tail = text[::-1] if tail is None else _common(tail, text[::-1])
        if questions < 2:
            return "", ""
        ends = [end.start() for end in _END.finditer(head or "")]
        begin = (head or "")[: ends[-1] + 1] if ends else ""
        end = _END.split((tail or "")[::-1], maxsplit=1)[-1] if _END.search(tail or "") else ""
        return (
            begin if len(begin) >= self.min_characters else "",
            end if len(end) >= self.min_characters else "",
        )


def _common(one: str, other: str) -> str:
    """What both begin with."""
    if other.startswith(one):
        return one
    return one[: next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(other))]


def _talks(rows: Kept) -> Iterator[list[Any]]:
    for row in rows:
        value = parse(row.line)
        talk = talk_of(value) if value is not None else None
        if talk:
            yield talk


def _prompts(talk: list[Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Messages with a plain text that the model does not write."""
    for message in talk:
        if is_from(message, *SYSTEM, "user") and type(message.get("content")) is str:
            yield message, message["content"]


def _prune(talk: list[Any], repeated: list[str], head: str, tail: str) -> None:
    """Never takes a user's whole message; a system message of which nothing is left goes."""
    empty: list[int] = []
    first = True
    for at, message in enumerate(talk):
        content = message.get("content") if is_from(message, *SYSTEM, "user") else None
        if type(content) is not str:
            continue
        text = _without(content, repeated)
        if message["role"] == "user" and first:
            first = False
            text = text.removeprefix(head) if head else text
            text = text.removesuffix(tail) if tail else text
        text = text.strip() if text != content else text
        if text:
            message["content"] = text
        elif message["role"] in SYSTEM and content:
            empty.append(at)
    for at in reversed(empty):
        del talk[at]


def _without(text: str, repeated: list[str]) -> str:
    for line in repeated:
        if line in text:
            text = text.replace(line + "\n", "").replace(line, "")
    return text
