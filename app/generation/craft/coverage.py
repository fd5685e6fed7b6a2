"""Which ways of asking a set of questions has, fact by fact, and which it lacks. Told from the texts alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from app.generation.craft.facts import Name, guess_names, mentions, without_parts
from app.generation.craft.scripts import grams, key_of, language_of
from app.generation.craft.ways import JAPANESE_ONLY, OF_NAMES, WAYS, slipped, ways_of

ROWS_MAX: Final = 20_000
"""Rows that are looked at; a report about more would not be read either."""
CHARACTERS_MAX: Final = 2000
"""Of a question, and of an answer, that are looked at."""
FACTS_SHOWN: Final = 200
RANGES_SHOWN: Final = 100
QUESTION_SHOWN: Final = 60
"""Characters of the question that tells two facts of one name apart."""
SAME_ANSWER: Final = 0.2
"""From this likeness on two answers about the same named things are taken for one answer in other words."""
SAME_NAMELESS: Final = 0.5
"""The same where nothing is named."""
COMPARED_MAX: Final = 40
"""Facts of one name that an answer is compared with, the newest ones."""
NAMED_OFTEN: Final = 3
"""A name that was only guessed must be mentioned in so many rows, or in every row of a smaller set."""
SLIPS_COMPARED: Final = 60
ADVICE: Final = {
    "short-name": "people will also ask by a short name: a model that has only seen the full one may not answer",
    "name-only": "people will also type only the name",
    "formal": "people will also ask politely",
    "casual": "people will also ask as one asks a friend",
    "name-in-kana": "people will also write the name in kana",
    "typos": "people will also mistype",
    "keywords": "people will also type keywords, as into a search box",
    "reordered": "people will also ask with the name at the end",
    "mixed-scripts": "people will also mix kanji, kana and English words",
    "full-name": "people will also ask by the full name",
}


@dataclass(slots=True)
class Fact:
    """What several questions ask for."""

    names: tuple[Name, ...]
    answer: str
    key: str
    """Of the first answer."""
    grams: frozenset[str]
    questions: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    ways: Counter[str] = field(default_factory=Counter)
    missing: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return ", ".join(name.full for name in self.names) or self.questions[0][:80]


@dataclass(frozen=True, slots=True)
class _Names:
    """The names there are, by the key of each way of writing them, so that few are tried on a text."""

    by_key: dict[str, list[Name]]
    sizes: frozenset[int]
    """Lengths of the keys."""


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """What was found; `to_json` is what crosses every door."""

    rows: int
    facts: Sequence[Fact]
    last_line: int
    """Of the last row that was looked at."""
    is_whole: bool
    """Whether every row was looked at."""

    def to_json(self) -> dict[str, Any]:
        """Facts that lack most first."""
        facts = sorted(self.facts, key=lambda fact: (-len(fact.missing), fact.lines[0]))
        labels = self._labels()
        return {
            "object": "dataset.coverage",
            "rows": self.rows,
            "rows_read": self.last_line,
            "is_whole": self.is_whole,
            "ways": [
                {
                    "way": way,
                    "meaning": meaning,
                    "facts_with": sum(way in fact.ways for fact in facts),
                    "facts_without": sum(way in fact.missing for fact in facts),
                }
                for way, meaning in WAYS.items()
            ],
            "facts": [
                {
                    "fact": labels[fact.lines[0]],
                    "answer": fact.answer[:120],
                    "questions": len(fact.questions),
                    "ways": dict(fact.ways.most_common()),
                    "missing": list(fact.missing),
                    "lines": _ranges(fact.lines)[:RANGES_SHOWN],
                }
                for fact in facts[:FACTS_SHOWN]
            ],
            "facts_more": max(0, len(facts) - FACTS_SHOWN),
            "advice": list(self.advice()),
        }

    def _labels(self) -> dict[int, str]:
        """By a fact's first line: what it names; with its first question where several facts name the same."""
        named = Counter(fact.label for fact in self.facts)
        return {
            fact.lines[0]: fact.label
            if named[fact.label] == 1
            else f"{fact.label}: {fact.questions[0][:QUESTION_SHOWN]}"
            for fact in self.facts
        }

    def advice(self) -> Iterable[str]:
        """What to add first, in sentences."""
        labels = self._labels()
        for way, why in ADVICE.items():
            lacking = [fact for fact in self.facts if way in fact.missing]
            if lacking:
                who = labels[lacking[0].lines[0]] + (f" and {len(lacking) - 1} more" if len(lacking) > 1 else "")
                of = f"{len(lacking)} of {len(self.facts)} facts are" if len(self.facts) > 1 else "The fact is"
                yield f"{of} never asked for with `{way}` ({who}): {why}."


def cover(
    rows: Iterable[tuple[int, str, str]],
    *,
    rows_max: int,
    characters_max: int | None = None,
    declared: Sequence[Name] = (),
) -> CoverageReport:
    """The report of rows of (line, question, answer).

    Rows are taken for one fact when they name the same things, in question or answer, and have the same answer or,
    where every row words its answer anew, answers that are alike.

    Args:
        rows_max: rows behind these are not looked at.
        characters_max: nor are those behind so many characters; time grows with them.
        declared: names with their spellings; others are recognised by their writing.
    """
    looked, is_whole = _looked(rows, rows_max, characters_max)
    names = _names(looked, declared)
    often = Counter(key_of(answer) for _, _, answer in looked)
    facts: dict[tuple[str, ...], list[Fact]] = {}
    for line, question, answer in looked:
        told = _told(question, answer, names)
        of_names = facts.setdefault(_label(told), [])
        key = key_of(answer)
        by_text = (fact for fact in of_names if fact.key == key)
        fact = next(by_text, None)
        if fact is None and often[key] == 1:  # one that stands there word for word again and again is meant so
            fact = _same([one for one in of_names if often[one.key] == 1], key, told=bool(told))
        if fact is None:
            fact = Fact(told, answer, key, grams(key))
            of_names.append(fact)
        fact.questions.append(question)
        fact.lines.append(line)
        fact.ways.update(ways_of(question, told))
    found = sorted((fact for some in facts.values() for fact in some), key=lambda fact: fact.lines[0])
    for fact in found:
        _finish(fact, is_only_one=len(facts[_label(fact.names)]) == 1)
    return CoverageReport(len(looked), found, looked[-1][0] if looked else 0, is_whole)


def _looked(
    rows: Iterable[tuple[int, str, str]], rows_max: int, characters_max: int | None
) -> tuple[list[tuple[int, str, str]], bool]:
    """The rows that are looked at, and whether those are all."""
    looked: list[tuple[int, str, str]] = []
    left = characters_max
    for line, question, answer in rows:
        if len(looked) >= rows_max or (left is not None and left <= 0):
            return looked, False
        looked.append((line, question[:CHARACTERS_MAX], answer[:CHARACTERS_MAX]))
        if left is not None:
            left -= len(looked[-1][1]) + len(looked[-1][2])
    return looked, True


def _names(rows: Sequence[tuple[int, str, str]], declared: Sequence[Name]) -> _Names:
    counted: Counter[str] = Counter()
    for _, question, answer in rows:
        guessed = {name.full for name in (*guess_names(question), *guess_names(answer))}
        counted.update(guessed)
    least = min(NAMED_OFTEN, len(rows))
    often = [Name(full) for full, count in counted.items() if count >= least]
    of_declared = {key_of(spelling) for name in declared for spelling in name.spellings}
    names = without_parts([*declared, *(name for name in often if key_of(name.full) not in of_declared)])
    by_key: dict[str, list[Name]] = {}
    for name in names:
        for key in {key_of(part) for one in name.spellings for part in (one, *Name(one).short)}:
            by_key.setdefault(key, []).append(name)
    return _Names(by_key, frozenset(map(len, by_key)))


def _told(question: str, answer: str, names: _Names) -> tuple[Name, ...]:
    """What the question names; when it names nothing in any way we know, what the answer begins with."""
    own = _mentioned(question, names)
    if own:
        return own
    return _mentioned(answer, names)[:1]


def _mentioned(text: str, names: _Names) -> tuple[Name, ...]:
    key = key_of(text)
    there = {key[at : at + size] for at in range(len(key)) for size in names.sizes}
    tried = {name: None for part in sorted(there & names.by_key.keys()) for name in names.by_key[part]}
    return tuple(dict.fromkeys(mention.name for mention in mentions(text, list(tried))))


def _same(facts: Sequence[Fact], key: str, *, told: bool) -> Fact | None:
    own, least = grams(key), SAME_ANSWER if told else SAME_NAMELESS
    for fact in reversed(facts[-COMPARED_MAX:]):
        if len(own & fact.grams) >= least * len(own | fact.grams):
            return fact
    return None


def _label(names: Sequence[Name]) -> tuple[str, ...]:
    return tuple(sorted(name.full for name in names))


def _finish(fact: Fact, *, is_only_one: bool) -> None:
    """Slips show only beside the other questions; what is missing only when all were seen.

    Args:
        is_only_one: no other fact has these names, so that the name alone can ask for it.
    """
    keys = [key_of(question) for question in fact.questions[:SLIPS_COMPARED]]
    slips = sum(any(slipped(key, other) for other in keys[:at]) for at, key in enumerate(keys))
    if slips:
        fact.ways["typos"] = slips
    japanese = any(language_of(question) == "ja" for question in fact.questions)
    could = [
        way
        for way in WAYS
        if (fact.names or way not in OF_NAMES)
        and (japanese or way not in JAPANESE_ONLY)
        and (way != "short-name" or any(name.has_short for name in fact.names))
        and way != "name-in-latin"
        and (way != "name-only" or is_only_one)
        and (way != "name-in-kana" or any(_has_kanji(name) for name in fact.names))
    ]
    fact.missing = tuple(way for way in could if way not in fact.ways)


def _has_kanji(name: Name) -> bool:
    return language_of(name.full) in {"zh", "ja"} and any(
        "\u3400" <= character <= "\u9fff" for character in name.full
    )


def _ranges(lines: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for line in sorted(lines):
        if found and line == found[-1][1] + 1:
            found[-1] = (found[-1][0], line)
        else:
            found.append((line, line))
    return found
