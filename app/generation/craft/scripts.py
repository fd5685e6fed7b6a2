"""How a text is written: its scripts, its language as far as scripts tell, and how alike two texts are."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache
from typing import Final, Literal

Script = Literal["kanji", "hiragana", "katakana", "latin", "hangul", "digit"]
Language = Literal["ja", "zh", "ko", "latin"]
"""As far as scripts tell them apart; `latin` is every language that is written without these scripts."""

_RANGES: Final[tuple[tuple[int, int, Script], ...]] = (
    (0x3041, 0x309F, "hiragana"),
    (0x30A1, 0x30FF, "katakana"),
    (0x3400, 0x4DBF, "kanji"),
    (0x4E00, 0x9FFF, "kanji"),
    (0x3005, 0x3007, "kanji"),
    (0xAC00, 0xD7AF, "hangul"),
)
_NO_LETTER: Final = re.compile(r"[\W_]+")
LETTERS_OF_ONE: Final = 4
"""Latin letters that say about as much as one kanji, kana or syllable of Hangul."""
_CJK: Final = frozenset({"kanji", "hiragana", "katakana"})


def folded(text: str) -> str:
    """One form for one reading: NFKC, case folded, white space as single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def key_of(text: str) -> str:
    """What is left of a text when case, spaces and punctuation are no difference."""
    return _NO_LETTER.sub("", folded(text))


@lru_cache(maxsize=65_536)
def script_of(character: str) -> Script | None:
    """Of one letter or digit; None for everything else. The long-vowel mark belongs to katakana."""
    code = ord(character)
    for first, last, script in _RANGES:
        if first <= code <= last:
            return None if character == "・" else script
    if character.isdigit():
        return "digit"
    return "latin" if character.isalpha() else None


def scripts_of(text: str) -> Counter[Script]:
    """How many characters of each script."""
    normal = unicodedata.normalize("NFKC", text)
    return Counter(script for script in map(script_of, normal) if script is not None)


def language_of(text: str) -> Language:
    """Kana make Japanese, Hangul Korean, kanji alone are taken for Chinese; the rest is `latin`.

    A word of another script within a Latin sentence does not make its language.
    """
    found = scripts_of(text)
    kana, kanji, hangul = found["hiragana"] + found["katakana"], found["kanji"], found["hangul"]
    if (kana + kanji + hangul) * LETTERS_OF_ONE < found["latin"]:
        return "latin"
    if hangul > kana + kanji:
        return "ko"
    if kana:
        return "ja"
    return "zh" if kanji else "ko" if hangul else "latin"


def is_spaceless(text: str) -> bool:
    """Whether the text has a script that puts no spaces between words."""
    return any(script in _CJK for script in scripts_of(text))


def grams(key: str) -> frozenset[str]:
    """Its pairs of neighbouring characters; a single character stands for itself."""
    return frozenset(key[at : at + 2] for at in range(len(key) - 1)) or frozenset({key})


def likeness(one: str, other: str) -> float:
    """Share of pairs of characters that both texts have, 0 to 1, spaces and punctuation apart."""
    left, right = grams(key_of(one)), grams(key_of(other))
    return len(left & right) / len(left | right)


def held_in(part: str, whole: str) -> float:
    """Share of the pairs of characters of `part` that `whole` has too, 0 to 1."""
    left = grams(key_of(part))
    return len(left & grams(key_of(whole))) / len(left)


_WORD: Final = re.compile(
    r"[\u3400-\u9fff々]+|[\u30a1-\u30ff]+|[\uac00-\ud7af]+|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+",
    re.UNICODE,
)


def words_of(text: str) -> frozenset[str]:
    """Runs of one script that can carry meaning, folded: kanji, katakana and Hangul runs, and Latin words."""
    return frozenset(_WORD.findall(folded(text)))
