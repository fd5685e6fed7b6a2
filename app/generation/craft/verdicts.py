"""Why something that was generated is left out. The codes are stable: programs count and show by them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

REASONS: Final[Mapping[str, str]] = {
    "refusal": "The model refused instead of answering.",
    "malformed": "The answer was not the JSON that was asked for.",
    "cut-off": "The answer ended at its limit of tokens; what was whole in it was kept.",
    "not-answered": "No answer came, or the service refused the request.",
    "not-asked": "It was not asked for, because the money that was set aside was spent.",
    "empty": "Nothing stands in it.",
    "too-long": "It is several times as long as the question it should say in other words.",
    "wrong-language": "It is written in another language than the question.",
    "style-missed": "It is not written in the style that was asked for.",
    "number-changed": "Its numbers are not those of the question.",
    "name-missing": "It does not name what the question names, or in a spelling that was not given.",
    "name-changed": "It names something that neither the question nor its answer names.",
    "is-answer": "It tells the answer instead of asking for it.",
    "off-topic": "It has no word in common with the question.",
    "duplicate": "It was there already, spaces and punctuation apart.",
    "near-duplicate": "It is nearly the same as another one.",
    "ambiguous": "The same words already ask for another answer.",
    "shape": "It does not have the members that were asked for.",
    "not-in-document": "The answer says what the passage does not.",
    "refers-to-text": "The question speaks of the text, which nobody who asks has before them.",
    "arguments-invalid": "The arguments do not fit the operation's schema.",
    "argument-not-asked": "An argument has a value that the question does not give.",
}
"""Code → what it means."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one item is left out."""

    code: str
    detail: str = ""
