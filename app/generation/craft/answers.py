"""Reads what a generator answered: JSON as a rule, sometimes fenced, broken or cut off. Nothing it says raises."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_FENCE: Final = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_REFUSAL: Final = re.compile(
    r"^\s*(?:i'?m (?:very )?sorry|sorry,|i (?:can(?:no|')t|am unable)|as an ai\b|"
    r"申し訳|すみませんが|お答えできません)",
    re.IGNORECASE,
)
ITEMS_MAX: Final = 200
"""More items than were ever asked for at once are cut."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The items of an answer, and what was wrong with the whole of it.

    Attributes:
        problem: `refusal`, `malformed` or `cut-off`; of one that was cut off, the whole items are kept.
    """

    items: tuple[Any, ...]
    problem: str | None = None


def read_items(text: str, member: str, *, finish_reason: str | None) -> Heard:
    """The list under `member` of the JSON object that the answer is, or the list that it is."""
    if _REFUSAL.search(text):
        return Heard((), "refusal")
    fenced = _FENCE.match(text)
    body = fenced[1] if fenced else text
    try:
        found = json.loads(_outermost(body))
    except (ValueError, RecursionError):
        rescued = _whole_items(body)
        if finish_reason == "length":
            return Heard(rescued[:ITEMS_MAX], "cut-off")
        return Heard((), "malformed")
    items = found.get(member) if isinstance(found, dict) else found
    if not isinstance(items, list):
        return Heard((), "malformed")
    return Heard(tuple(items[:ITEMS_MAX]), "cut-off" if finish_reason == "length" else None)


def _outermost(body: str) -> str:
    """From the first bracket to the last: models like to say a word before and after."""
    starts = [at for at in (body.find("{"), body.find("[")) if at >= 0]
    ends = max(body.rfind("}"), body.rfind("]"))
    return body[min(starts) : ends + 1] if starts and ends >= 0 else body


def _whole_items(body: str) -> tuple[Any, ...]:
    """The items of a list that was cut off, as far as they are whole."""
    decoder = json.JSONDecoder()
    at = body.find("[") + 1
    items: list[Any] = []
    while 0 < at < len(body):
        while at < len(body) and body[at] in " \t\r\n,":
            at += 1
        try:
            item, at = decoder.raw_decode(body, at)
        except (ValueError, RecursionError):
            break
        items.append(item)
    return tuple(items)


def is_refusal(text: str) -> bool:
    return bool(_REFUSAL.search(text))
