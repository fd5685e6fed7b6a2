"""Mends one row: for each code that promises a repair, how a row is freed of it without inventing content.

Must not know which rows need it, nor what stands on other lines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from app.datasets.engine.changes.fields import is_from, lists_of, messages_of
from app.datasets.engine.chat import MESSAGE_KEYS
from app.datasets.engine.content import mended
from app.datasets.engine.kinds import CHAT_KEYS
from app.datasets.engine.preference import INPUT_KEYS
from app.datasets.engine.preference import KEYS as PAIR_KEYS
from app.datasets.engine.texts import without_control, without_hidden, without_invisible

REFERENCE: Final = "reference_answer"
"""The member in which an answer is kept that a grader may compare with."""

Repair = Callable[[dict[str, Any]], bool]
"""Mends a row in place; False when that is impossible, so that only leaving it out helps."""


def _each_text(change: Callable[[str], str]) -> Repair:
    def repair(row: dict[str, Any]) -> bool:
        changed = _with_texts(row, change)
        row.clear()
        row.update(changed)
        return True

    return repair


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_with_texts(item, change) for item in value]
    if isinstance(value, dict):
        changed: dict[str, Any] = {}
        for key, item in value.items():
            name = change(key)
            if name == key or (name not in value and name not in changed):  # a clean key's own value stays
                changed[name] = _with_texts(item, change)
        return changed
    return value


def _unknown_key(row: dict[str, Any]) -> bool:
    asked = row.get("input")
    if "messages" not in row and type(asked) is dict:
        _keep_only(asked, INPUT_KEYS)
        _keep_only(row, PAIR_KEYS)
    else:
        _keep_only(row, CHAT_KEYS)
    return True


def _keep_only(value: dict[str, Any], keys: frozenset[str]) -> None:
    for key in value.keys() - keys:
        del value[key]


def _unknown_message_key(row: dict[str, Any]) -> bool:
    for message in messages_of(row):
        _keep_only(message, MESSAGE_KEYS)
    return True


def _name_shape(row: dict[str, Any]) -> bool:
    for message in messages_of(row):
        name = message.get("name")
        if type(name) in {int, float}:
            message["name"] = str(name)
        elif name is not None and type(name) is not str:
            del message["name"]
    return True


def _weight_not_assistant(row: dict[str, Any]) -> bool:
    for message in messages_of(row):
        if not is_from(message, "assistant"):
            message.pop("weight", None)
    return True


def _outer_whitespace(row: dict[str, Any]) -> bool:
    for messages in lists_of(row):
        for message in messages:
            if is_from(message, "assistant") and type(message.get("content")) is str:
                message["content"] = message["content"].strip()
    return True


def _end_with_assistant(row: dict[str, Any]) -> bool:
    return _end_with("assistant", row) is not None


def _end_with_user(row: dict[str, Any]) -> bool:
    """An answer that followed is kept for the grader, where the row has nothing else for it."""
    cut = _end_with("user", row)
    if cut is None:
        return False
    if row.keys() <= CHAT_KEYS and len(cut) == 1 and is_from(cut[0], "assistant"):
        answer = cut[0].get("content")
        if type(answer) is str and answer:
            row[REFERENCE] = answer
    return True


def _end_with(role: str, row: dict[str, Any]) -> list[Any] | None:
    """Cut what follows the last message of this role; returns it, None when there is no such message."""
    messages = row["messages"]
    last = max((at for at, message in enumerate(messages) if is_from(message, role)), default=None)
    if last is None:
        return None
    cut: list[Any] = messages[last + 1 :]
    del messages[last + 1 :]
    return cut


def _without_nul(text: str) -> str:
    return text.replace("\0", "")


OF_ROWS: Final[dict[str, Repair]] = {
    "nul-character": _each_text(_without_nul),
    "control-char": _each_text(without_control),
    "zero-width": _each_text(without_invisible),
    "hidden-text": _each_text(without_hidden),
    "unknown-key": _unknown_key,
    "unknown-message-key": _unknown_message_key,
    "name-shape": _name_shape,
    "weight-not-assistant": _weight_not_assistant,
    "answer-outer-whitespace": _outer_whitespace,
    "last-message-not-assistant": _end_with_assistant,
    "last-message-not-user": _end_with_user,
    "mojibake": _each_text(mended),
}
"""Code -> its repair."""
ON_REQUEST: Final = frozenset({"mojibake"})
"""Codes of which some rows can be mended and some cannot: no finding promises it, and no row is left out for it."""
OF_LINES: Final = frozenset({"blank-line", "trailing-blank-line", "crlf"})
"""Codes that are mended without looking into the row."""
OF_TORN: Final = frozenset({"pretty-printed", "raw-line-break"})
"""Codes of rows over several lines, which become one."""
OF_FILES: Final = frozenset({"bom", "utf-16", "json-array", "compressed", "needs-conversion", "other-encoding"})
"""Codes that reading mends, before there are lines."""
