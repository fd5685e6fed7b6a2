"""Reads what a generator answered: JSON as a rule, sometimes fenced, broken or cut off. Nothing it says raises."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

_FENCE: Final = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_REFUSAL: Final = re.compile(
    r"^\s*(?:i['’]?m (?:very )?sorry|sorry,|i (?:can(?:no|['’])t|am unable)|as an ai\b|"
    r"申し訳|すみませんが|お答えできません)",
    re.IGNORECASE,
)
"""How a whole answer begins that is no JSON."""
_REFUSED: Final = re.compile(
    r"^\s*(?:(?:i['’]?m (?:very |so )?sorry|sorry)[,.]? (?:but )?)?"
    r"(?:as an ai\b|(?:i can(?:no|['’])t|i(?: a|['’])m unable to|i won['’]t|i will not) "
    r"(?:help|assist|provide|comply|answer|do (?:that|this)|fulfil|create|generate|write|continue|discuss)\b)"
    r"|^\s*(?:(?:大変)?申し訳|すみません|恐れ入りますが)[^。？?]{0,40}(?:対応|回答|提供|生成)"
    r"(?:でき(?:ません|かねます)|(?:いた)?しかねます)"
    r"|^[^。？?]{0,60}(?:お答え|お応え|お手伝い)(?:でき(?:ません|かねます)|(?:いた)?しかねます)",
    re.IGNORECASE,
)
"""How an item refuses. To say sorry, or that one cannot log in, is how people begin a question, too."""
ITEMS_MAX: Final = 200
"""More items than were ever asked for at once are cut."""
DEPTH_MAX: Final = 64
"""How deep an item may be nested, so that nobody who walks through it stumbles."""
DIGITS_MAX: Final = 300
"""Of a whole number; longer ones fit no other kind of number."""


def _whole(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise ValueError("too long a number")
    return int(text)


def _fraction(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError("too large a number")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_int=_whole, parse_float=_fraction, parse_constant=_no_number)


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
        found = _DECODER.decode(_outermost(body))
    except (ValueError, RecursionError):
        rescued = _whole_items(body)
        if finish_reason == "length":
            return Heard(rescued[:ITEMS_MAX], "cut-off")
        return Heard((), "malformed")
    items = found.get(member) if isinstance(found, dict) else found
    if not isinstance(items, list) or _is_deeper(items, DEPTH_MAX):
        return Heard((), "malformed")
    return Heard(tuple(items[:ITEMS_MAX]), "cut-off" if finish_reason == "length" else None)


def _outermost(body: str) -> str:
    """From the first bracket to the last: models like to say a word before and after."""
    starts = [at for at in (body.find("{"), body.find("[")) if at >= 0]
    ends = max(body.rfind("}"), body.rfind("]"))
    return body[min(starts) : ends + 1] if starts and ends >= 0 else body


def _whole_items(body: str) -> tuple[Any, ...]:
    """The items of a list that was cut off, as far as they are whole."""
    at = body.find("[") + 1
    items: list[Any] = []
    while 0 < at < len(body):
        while at < len(body) and body[at] in " \t\r\n,":
            at += 1
        try:
            item, at = _DECODER.raw_decode(body, at)
        except (ValueError, RecursionError):
            break
        if not _is_deeper(item, DEPTH_MAX):
            items.append(item)
    return tuple(items)


def _is_deeper(value: object, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(one, levels - 1) for one in inner)


def is_refusal(text: str) -> bool:
    return bool(_REFUSED.search(text))
