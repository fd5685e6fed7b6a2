"""Finds things in a row: by a pointer, or by what they are (prompt, answer, lists of messages).

Must not know any operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import orjson
import xxhash
from pydantic import Field

MISSING: Final = object()
"""What stands where nothing is."""
PROMPT, ANSWER = "prompt", "answer"
"""Two names that stand for texts wherever the method has them."""

FieldName = Annotated[
    str,
    Field(
        max_length=200,
        pattern=r"^(prompt|answer|(/([^/~]|~[01])*)+)$",
        description="A JSON pointer into the row, such as /label or /messages/0/content; or `prompt`, or `answer`.",
        examples=["/label"],
    ),
]


def lists_of(row: dict[str, Any]) -> Iterator[list[Any]]:
    """Every list of messages of a row: the conversation, or the prompt and both answers of a pair."""
    asked = row.get("input")
    places = [row.get("messages"), asked.get("messages") if type(asked) is dict else None]
    places += [row.get("preferred_output"), row.get("non_preferred_output")]
    return (messages for messages in places if type(messages) is list)


def messages_of(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every message of a row that is an object."""
    return (message for messages in lists_of(row) for message in messages if type(message) is dict)


def talk_of(row: dict[str, Any]) -> list[Any] | None:
    """The list of messages that holds the prompt."""
    asked = row.get("input")
    messages = row.get("messages", asked.get("messages") if type(asked) is dict else None)
    return messages if type(messages) is list and messages else None


def is_from(message: Any, *roles: str) -> bool:
    return type(message) is dict and message.get("role") in roles


def prompt_of(row: dict[str, Any]) -> list[Any] | None:
    """The messages that are answered: all but the last where that is the assistant's."""
    talk = talk_of(row)
    return talk[:-1] if talk and is_from(talk[-1], "assistant") else talk


def answer_of(row: dict[str, Any]) -> Any:
    """The last answer of a conversation, or the preferred one of a pair; MISSING where there is none."""
    if "preferred_output" in row:
        told = row["preferred_output"]
        return told[-1] if type(told) is list and told else MISSING
    talk = talk_of(row)
    return talk[-1] if talk and is_from(talk[-1], "assistant") else MISSING


def text_in(content: Any) -> str:
    """The text of a message's content, parts joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join([part["text"] for part in content if type(part) is dict and type(part.get("text")) is str])
    return ""


def value_at(row: dict[str, Any], field: str) -> Any:
    """What stands there, or MISSING."""
    if field == PROMPT:
        return "\n".join([text_in(m.get("content")) for m in prompt_of(row) or [] if type(m) is dict])
    if field == ANSWER:
        answer = answer_of(row)
        return text_in(answer.get("content")) if type(answer) is dict else MISSING
    found: Any = row
    for part in field.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if type(found) is dict:
            found = found.get(key, MISSING)
        elif type(found) is list and key.isascii() and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return MISSING
    return found


def print_of(value: Any) -> bytes:
    """16 bytes, equal for equal JSON whatever the order of its keys."""
    if value is MISSING:
        return bytes(16)
    try:
        written = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # numbers beyond 64 bits
        written = repr(value).encode("utf-8", "backslashreplace")
    return xxhash.xxh3_128_digest(written)
