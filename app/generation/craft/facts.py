"""What must not change when a question is put in other words: the things it names, and its numbers."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from app.generation.craft.scripts import folded, is_spaceless, key_of, script_of, scripts_of, words_of

NAME_CHARACTERS_MAX: Final = 60
_HONORIFICS: Final = ("さん", "氏", "様", "さま", "君", "くん", "ちゃん", "殿", "先生", "mr", "mrs", "ms", "dr")
_KANJI: Final = r"[\u3400-\u9fff々〇]"
_QUOTED: Final = re.compile(r"[「『“]([^「」『』“”]{2,30})[」』”]")
_KANJI_PAIR: Final = re.compile(
    rf"(?<!{_KANJI})({_KANJI}{{1,4}}[ \u3000]{_KANJI}{{1,4}})"
    r"(?=は|の|が|を|に|と|って|も|さん|氏|様|、|。|,|\?|？|!|！|\s|$)"
)
"""Family and given name with a space between, as Japanese texts introduce people."""
_KATAKANA_NAME: Final = re.compile(r"[\u30a1-\u30fa\u30fc]{2,}(?:[・=＝][\u30a1-\u30fa\u30fc]{2,})+")
_LATIN_TOKEN: Final = re.compile(r"[A-Za-z0-9À-ÿ][A-Za-z0-9À-ÿ'’&.-]*")
_NUMBER: Final = re.compile(r"(?:(?<![A-Za-z])[A-Za-z]+-?)?\d+(?:[.,:/-]\d+)*(?:[A-Za-z]+(?![A-Za-z]))?")
_DIGIT: Final = re.compile("[0-9]")
_BEGINNERS: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "about",
        "can",
        "could",
        "describe",
        "did",
        "do",
        "does",
        "explain",
        "for",
        "from",
        "give",
        "has",
        "have",
        "hello",
        "hey",
        "hi",
        "how",
        "i",
        "i'd",
        "i'm",
        "if",
        "in",
        "is",
        "it",
        "its",
        "kindly",
        "let's",
        "may",
        "my",
        "of",
        "on",
        "or",
        "our",
        "please",
        "should",
        "show",
        "tell",
        "that",
        "the",
        "there",
        "these",
        "this",
        "those",
        "to",
        "was",
        "we",
        "were",
        "what",
        "what's",
        "when",
        "where",
        "which",
        "who",
        "who's",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "yes",
        "no",
        "not",
    ]
)
"""Words that a sentence may begin with in upper case without naming anything."""


@dataclass(frozen=True, slots=True)
class Name:
    """A named thing and every way of writing it that is known to be right.

    Attributes:
        full: as it is written in full.
        also: other spellings in full, such as a reading in hiragana.
    """

    full: str
    also: tuple[str, ...] = ()

    @property
    def short(self) -> tuple[str, ...]:
        """The parts by which people call it: family name, given name, the first word of a product."""
        return _parts(self.full)

    @property
    def has_short(self) -> bool:
        return bool(self.short)

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.full, *self.also)


@lru_cache(maxsize=4096)
def _parts(full: str) -> tuple[str, ...]:
    parts = [part for part in re.split(r"[\s\u3000・=＝]+", full.strip()) if part]
    if len(parts) < 2:
        return ()
    least = 1 if scripts_of(full)["kanji"] else 2
    return tuple(dict.fromkeys(part for part in parts if len(part) >= least and not part.isdigit()))


@lru_cache(maxsize=16_384)
def _pattern(spelling: str) -> re.Pattern[str]:
    """Finds a spelling in folded text, whatever stands between its parts."""
    parts = [re.escape(part) for part in re.split(r"[\s・=]+", folded(spelling)) if part]
    joined = r"[\s・=.\-]*".join(parts)
    if is_spaceless(spelling):
        return re.compile(joined)
    return re.compile(rf"(?<![0-9a-zÀ-ÿ]){joined}(?![0-9a-zÀ-ÿ])")


@dataclass(frozen=True, slots=True)
class Mention:
    """Where a text names a thing, and how."""

    name: Name
    spelling: str
    is_full: bool
    start: int
    end: int


def mentions(text: str, names: Sequence[Name]) -> list[Mention]:
    """Every mention in folded text, in order; where one lies within a longer one, only the longer."""
    shown = folded(text)
    found = []
    for name in names:
        for spelling in name.spellings:
            for is_full, written in ((True, spelling), *((False, part) for part in _parts(spelling))):
                found += [
                    Mention(name, written, is_full, hit.start(), hit.end())
                    for hit in _pattern(written).finditer(shown)
                ]
    found.sort(key=lambda mention: (mention.start, -mention.end))
    kept: list[Mention] = []
    for mention in found:
        if not kept or mention.start >= kept[-1].end:
            kept.append(mention)
    return kept


def numbers_of(text: str) -> frozenset[str]:
    """Numbers and codes with digits, folded: `30`, `1.5`, `x-200`. Thousands are written without a comma."""
    normal = unicodedata.normalize("NFKC", text)
    return frozenset(_plain(found) for found in _NUMBER.findall(normal))


def _plain(number: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", number).casefold()


def guess_names(*texts: str) -> tuple[Name, ...]:
    """Named things as far as writing shows them: quoted, in capitals, joined by a dot, or in kanji with a space.

    A single family name without its given name does not show; whoever needs it declares it.
    """
    found: list[str] = []
    for text in texts:
        normal = unicodedata.normalize("NFKC", text)
        found += _QUOTED.findall(normal)
        found += _KANJI_PAIR.findall(normal)
        found += _KATAKANA_NAME.findall(normal)
        found += _capitalised(normal)
    return without_parts(Name(one.strip()) for one in found if len(one) <= NAME_CHARACTERS_MAX)


def without_parts(names: Iterable[Name]) -> tuple[Name, ...]:
    """Each name once, and none that is only a part of another."""
    by_key = {key_of(name.full): name for name in reversed(list(names)) if key_of(name.full)}
    parts = {key_of(part) for name in by_key.values() for spelling in name.spellings for part in _parts(spelling)}
    return tuple(name for key, name in reversed(list(by_key.items())) if key not in parts)


def _capitalised(text: str) -> list[str]:
    """Runs of capitalised words and codes; a word that only begins a sentence does not count."""
    found: list[str] = []
    run: list[str] = []
    end = -1
    for hit in _LATIN_TOKEN.finditer(text):
        token = hit[0].rstrip(".'’-").removesuffix("'s").removesuffix("’s")
        names = token[:1].isupper() or _DIGIT.search(token) is not None
        if names and token.casefold() in _BEGINNERS and _begins_sentence(text, hit.start()):
            names = False
        joined = bool(run) and text[end : hit.start()].strip(" ") == ""
        if run and not (names and joined):
            found += _named(run)
            run = []
        if names and token.casefold() != "i":
            run.append(token)
            end = hit.start() + len(token)
            if len(hit[0]) != len(token):
                found += _named(run)
                run = []
    return found + _named(run)


def _begins_sentence(text: str, at: int) -> bool:
    while at > 0 and text[at - 1].isspace():
        at -= 1
    return at == 0 or text[at - 1] in ".!?:。！？"


def _named(run: list[str]) -> list[str]:
    """A run as a name, unless it is only a number."""
    return [" ".join(run)] if any(character.isalpha() for character in "".join(run)) else []


@dataclass(frozen=True, slots=True)
class Drift:
    """How a text departs from the facts."""

    code: str
    detail: str


def drift(text: str, *, names: Sequence[Name], seed: str, known: str) -> Drift | None:
    """Where a paraphrase of `seed` departs from its names and numbers; None when it keeps them.

    Args:
        names: that the seed names, in every spelling that is right.
        known: other text whose words are right too, such as the answer.
    """
    wanted, found = numbers_of(seed), numbers_of(text)
    for name in names:
        wanted -= numbers_of(name.full)
        found -= {number for spelling in name.spellings for number in numbers_of(spelling)}
    if wanted != found:
        return Drift("number-changed", f"numbers {_listed(found)} where the seed has {_listed(wanted)}")
    told = mentions(text, names)
    there = {mention.name for mention in told}
    missing = [name.full for name in names if name not in there]
    if missing:
        return Drift("name-missing", f"{missing[0]!r} is not named, or in a spelling that was not given")
    right = (
        words_of(seed)
        | words_of(known)
        | {folded(part) for name in names for one in name.spellings for part in _parts(one)}
    )
    return _beside(text, told, right) or _foreign(text, names, f"{seed}\n{known}")


def _listed(numbers: frozenset[str]) -> str:
    return ", ".join(sorted(numbers)) or "none"


def _beside(text: str, told: Sequence[Mention], right: frozenset[str]) -> Drift | None:
    """A short name with an unknown word grown to it is another name: 香坂 義明 is not 香坂."""
    shown = folded(text)
    for mention in told:
        if mention.is_full or not is_spaceless(mention.spelling):
            continue
        after = _run(shown[mention.end :].removeprefix(" "))
        before = _run(shown[: mention.start].removesuffix(" ")[::-1])[::-1]
        for grown in (after, before):
            if (
                grown
                and grown not in right
                and not grown.startswith(_HONORIFICS)
                and not any(grown.startswith(word) or grown.endswith(word) for word in right if len(word) > 1)
            ):
                return Drift("name-changed", f"{grown!r} stands beside {mention.spelling!r}")
    return None


def _run(text: str) -> str:
    """The kanji that a text begins with."""
    for at, character in enumerate(text):
        if script_of(character) != "kanji":
            return text[:at]
    return text


def _foreign(text: str, names: Sequence[Name], known: str) -> Drift | None:
    """A name that neither the seed nor its answer has."""
    spaceless = is_spaceless(text)
    for guessed in guess_names(text):
        if not mentions(known, [guessed]) and not any(
            mentions(guessed.full, [name]) or key_of(guessed.full) in key_of(spelling)
            for name in names
            for spelling in name.spellings
        ):
            if spaceless and not is_spaceless(guessed.full) and not guessed.has_short:
                continue  # an English word among Japanese ones
            if spaceless and _all_known(guessed, known):
                continue
            return Drift("name-changed", f"{guessed.full!r} is nowhere in the seed")
    return None


def _all_known(guessed: Name, known: str) -> bool:
    """A guess such as 義孝 性格: two words of the seed that happen to stand beside each other."""
    return all(folded(part) in folded(known) for part in guessed.short)
