"""The ways in which a question can be asked, told from its text alone: one classifier for filters and coverage."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from app.generation.craft.facts import Mention, Name, mentions
from app.generation.craft.scripts import Script, folded, key_of, language_of, scripts_of

WAYS: Final[Mapping[str, str]] = {
    "full-name": "names the thing in full",
    "short-name": "names only a part: family name, given name, first word of a product",
    "name-in-kana": "writes the name in hiragana or katakana",
    "name-in-latin": "writes the name in Latin letters",
    "formal": "asks politely",
    "casual": "asks as one asks a friend",
    "mixed-scripts": "mixes kanji, hiragana, katakana and English words",
    "reordered": "does not begin with the name",
    "name-only": "says nothing but the name",
    "keywords": "lists words as for a search, without a sentence",
    "typos": "has a slip of the keyboard",
}
"""Way → what it is, in words."""
OF_NAMES: Final = frozenset({"full-name", "short-name", "name-in-kana", "name-in-latin", "reordered", "name-only"})
"""Ways that only a question about a named thing can have."""
JAPANESE_ONLY: Final = frozenset({"name-in-kana", "name-in-latin", "mixed-scripts"})

_FORMAL: Final = {
    "ja": re.compile(r"ください|下さい|でしょうか|ますか|ですか|ませんか|いただけ|頂け|願い|たいです|教示|存じ"),
    "latin": re.compile(r"\b(?:please|could you|would you|may i|might i|kindly|i would like|i should like)\b"),
}
_CASUAL: Final = {
    "ja": re.compile(
        r"(?<!よ)って[ 、]?(?:さ|ね|どんな|どう|どれ|何|なに|なん|誰|だれ|どこ|いつ|いくら|[?？]|$)"
        r"|(?<=[a-z0-9ァ-ヶー])って(?![いるたくみし])|なの[??！!]?$|かな[??]?$|だっけ|教えて(?:よ|ね|くれる|くれ|ほしい)?[!！。??]*$"
        r"|の[??]$|どう[??]?$|知りたい[。！!]?$|どんな感じ|じゃん|っす"
    ),
    "latin": re.compile(
        r"\b(?:hey|hi|yo|what's|whats|who's|how's|gimme|wanna|gonna|tell me|pls|plz|btw|ok so|got any|any idea)\b"
    ),
}
_ONLY_AROUND_A_NAME: Final = re.compile(
    r"(?:について|とは|って|さん|氏|様|は|の|が|を|に|about|the|who is|what is|what about)+"
)
_SENTENCE: Final = re.compile(
    r"[はがをにのとへでも](?:.|$)|ます|です|て$|って|\b(?:is|are|was|were|do|does|did|can|could|would|will|the|a|an|"
    r"what|who|how|why|where|when|which|tell|explain|describe|give|please|i|you)\b"
)
_FIRST_THIRD: Final = 1 / 3
_JAPANESE_SCRIPTS: Final[tuple[Script, ...]] = ("kanji", "hiragana", "katakana")


def ways_of(question: str, names: Sequence[Name]) -> frozenset[str]:
    """Every way this question is asked in, apart from `typos`, which only show beside other questions."""
    shown = folded(question)
    told = mentions(question, names)
    language = "ja" if language_of(question) in {"ja", "zh"} else "latin"
    found = _of_name(shown, told)
    formal = bool(_FORMAL[language].search(shown))
    if formal:
        found.add("formal")
    elif _CASUAL[language].search(shown) or _is_named_casually(shown, told):
        found.add("casual")
    if language == "ja" and _is_mixed(_apart(shown, told)):
        found.add("mixed-scripts")
    if "name-only" not in found and not _SENTENCE.search(_apart(shown, told)) and len(shown.split()) > 1:
        found.add("keywords")
    return frozenset(found)


def _is_named_casually(shown: str, told: Sequence[Mention]) -> bool:
    """Whether って stands behind a name, where it is no verb's ending as in 知っている."""
    return any(shown[mention.end :].startswith("って") for mention in told)


def _of_name(shown: str, told: Sequence[Mention]) -> set[str]:
    found: set[str] = set()
    for mention in told:
        found.add("full-name" if mention.is_full else "short-name")
        scripts = scripts_of(mention.spelling)
        full = scripts_of(mention.name.full)
        if not scripts["kanji"] and scripts["hiragana"] + scripts["katakana"] and full["kanji"]:
            found.add("name-in-kana")
        if scripts["latin"] and not full["latin"]:
            found.add("name-in-latin")
    if told:
        if told[0].start > len(shown) * _FIRST_THIRD:
            found.add("reordered")
        rest = key_of(_ONLY_AROUND_A_NAME.sub("", _apart(shown, told)))
        if not rest:
            found.add("name-only")
    return found


def _apart(shown: str, told: Sequence[Mention]) -> str:
    """The text without its names."""
    rest, at = [], 0
    for mention in told:
        rest.append(shown[at : mention.start])
        at = mention.end
    return " ".join([*rest, shown[at:]]).strip()


def _is_mixed(apart: str) -> bool:
    """Whether English words stand among two other scripts: kanji, kana and loan words alone are plain Japanese."""
    found = scripts_of(apart)
    return found["latin"] > 1 and sum(found[script] > 0 for script in _JAPANESE_SCRIPTS) > 1


def is_slip(question: str, others: Sequence[str]) -> bool:
    """Whether it is one of the others but for a slip: a letter doubled, dropped, swapped or put in its place.

    Told from texts alone, so an ending that differs by one letter is not counted, and neither are digits.
    """
    key = key_of(question)
    return any(slipped(key, key_of(other)) for other in others)


def slipped(key: str, right: str) -> bool:
    """The same of two keys (`key_of`)."""
    if key == right or abs(len(key) - len(right)) > 1 or min(len(key), len(right)) < 6:
        return False
    at = next((at for at, pair in enumerate(zip(key, right, strict=False)) if pair[0] != pair[1]), None)
    if at is None or at >= min(len(key), len(right)) - 2:
        return False
    if key[at].isdigit() or right[at].isdigit():
        return False
    if len(key) == len(right):
        swapped = key[:at] + key[at + 1 : at + 2] + key[at] + key[at + 2 :]
        return swapped == right or (key[at + 1 :] == right[at + 1 :] and key[at].isascii())
    longer, shorter = (key, right) if len(key) > len(right) else (right, key)
    return longer[:at] + longer[at + 1 :] == shorter and (longer[at] == longer[at - 1] or longer[at].isascii())
