"""Paraphrases: one question in many phrasings that all have its answer. What is asked, and what is kept of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.generation.craft.answers import is_refusal, read_items
from app.generation.craft.facts import Name, drift, guess_names, mentions, without_parts
from app.generation.craft.kinds import TEXT_SHOWN, Item, Kept, Unit, chat_row, shown
from app.generation.craft.scripts import Language, held_in, key_of, language_of, likeness, scripts_of, words_of
from app.generation.craft.styles import Style, shares
from app.generation.craft.verdicts import Fault
from app.generation.craft.ways import ways_of

PROMPT_VERSION: Final = "paraphrases-1"
"""Changes with every word that is sent, because rows made by another wording are other rows."""
MEMBER: Final = "questions"
NEAR: Final = 0.8
"""From this likeness on two phrasings teach the same."""
TOLD: Final = 0.6
"""From this share of an answer's pairs of characters on, a phrasing that the question does not explain tells it."""
LONGER: Final = 4
"""A paraphrase may be so many times as long as its question."""
LENGTH_FREE: Final = 80
"""Characters that are never too long."""
ON_TOPIC: Final = 0.12
AVOIDED_MAX: Final = 20

_SYSTEM: Final = (
    "You write training data. You are given a question and its answer, and write other ways in which people "
    "ask for exactly this answer. Keep every fact of the question: the same named things in one of their "
    "given spellings, the same numbers, nothing added. Never answer. Write in the language of the question "
    'unless the style says otherwise. Answer with JSON only: {"questions": ["…", "…"]}.'
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A question, its answer, and the things the question names."""

    question: str
    answer: str
    names: tuple[Name, ...] = ()

    @property
    def language(self) -> Language:
        return language_of(self.question)


def pair_of(question: str, answer: str, declared: Sequence[Name]) -> Pair:
    """The pair with what its question names: of the declared things those it mentions, else what writing shows."""
    told = tuple(dict.fromkeys(mention.name for mention in mentions(question, declared)))
    guessed = [name for name in guess_names(question) if not mentions(name.full, told)]
    short = [
        name
        for name in guess_names(answer)
        if any(not mention.is_full for mention in mentions(question, [name])) and not mentions(name.full, told)
    ]
    return Pair(question, answer, without_parts([*told, *short, *guessed]))


def asked(pair: Pair, style: Style, count: int, *, avoid: Sequence[str] = ()) -> dict[str, Any]:
    """One request as data; `messages_of` puts it into words."""
    return {
        "task": "paraphrase",
        "language": pair.language,
        "style": {"name": style.name, "description": style.description(pair.language)},
        "question": pair.question,
        "answer": pair.answer,
        "names": [{"name": name.full, "short": list(name.short), "also": list(name.also)} for name in pair.names],
        "count": count,
        "avoid": list(avoid)[-AVOIDED_MAX:],
    }


def messages_of(task: Mapping[str, Any]) -> list[dict[str, str]]:
    """What is sent to the generator."""
    said = (
        f"Write {task['count']} different ways to ask this question. Style “{task['style']['name']}”: "
        f"{task['style']['description']}\n"
        "Do not repeat the question itself, nor anything under `avoid`.\n\n"
    )
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": said + json.dumps(task, ensure_ascii=False, indent=1)},
    ]


def fault_of(text: object, pair: Pair, style: Style) -> Fault | None:
    """Why this phrasing of the pair's question, asked for in this style, is left out; None = it is good."""
    if not isinstance(text, str):
        return Fault("shape", "it is not text")
    if not key_of(text):
        return Fault("empty")
    if is_refusal(text):
        return Fault("refusal")
    if len(text) > max(LENGTH_FREE, LONGER * len(pair.question)):
        return Fault("too-long", f"{len(text)} characters for {len(pair.question)}")
    departed = drift(text, names=pair.names, seed=pair.question, known=pair.answer)
    if departed is not None:
        return Fault(departed.code, departed.detail)
    return _not_a_question(text, pair) or _wrong_language(text, pair) or _style_missed(text, pair, style)


def _not_a_question(text: str, pair: Pair) -> Fault | None:
    length = len(key_of(text))
    if length > 12 and held_in(text, pair.answer) > TOLD > held_in(text, pair.question):
        return Fault("is-answer")
    shared = words_of(text) & words_of(pair.question)
    if not pair.names and not shared and likeness(text, pair.question) < ON_TOPIC:
        return Fault("off-topic")
    return None


def _wrong_language(text: str, pair: Pair) -> Fault | None:
    """Names and English words apart, Japanese stays Japanese and English gets no kana."""
    apart = text
    for mention in mentions(text, pair.names):
        apart = apart.casefold().replace(mention.spelling.casefold(), "")
    found, wanted = scripts_of(apart), pair.language
    spaceless = found["kanji"] + found["hiragana"] + found["katakana"] + found["hangul"]
    if wanted == "latin" and spaceless:
        return Fault("wrong-language", "it has characters of another script")
    if wanted == "ja" and found["latin"] and not spaceless and " " in apart.strip():
        return Fault("wrong-language", "it has no Japanese but names")
    return None


def _style_missed(text: str, pair: Pair, style: Style) -> Fault | None:
    shown = ways_of(text, pair.names)
    if style.needs and not shown.intersection(style.needs):
        return Fault("style-missed", f"it is not {' or '.join(style.needs)}")
    if "short-name" in style.needs and "full-name" in shown:
        return Fault("style-missed", "it has the full name")
    return None


def repeats(text: str, others: Sequence[str], *, near: bool) -> Fault | None:
    """Whether it says what one of the others says; with `near`, likeness is no fault."""
    key = key_of(text)
    for other in others:
        if key_of(other) == key:
            return Fault("duplicate", other)
    if near:
        return None
    for other in others:
        if likeness(text, other) >= NEAR:
            return Fault("near-duplicate", other)
    return None


@dataclass(frozen=True, slots=True)
class Paraphrases:
    """The kind of generation that says questions in other words."""

    pairs: Sequence[Pair]
    styles: Sequence[Style]
    wanted: int
    system: str | None
    with_seeds: bool
    prompt_version: str = PROMPT_VERSION

    @property
    def subjects(self) -> int:
        return len(self.pairs)

    def label(self, subject: int) -> str:
        return self.pairs[subject].question

    def styles_of(self, subject: int) -> list[Style]:
        pair = self.pairs[subject]
        fitting = [style for style in self.styles if style.fits(pair.language, pair.names)]
        return [style for style in fitting if "name-only" not in style.needs or self._is_only_one(subject)]

    def _is_only_one(self, subject: int) -> bool:
        """Whether no other pair names the same things, so that a name alone asks for one answer only."""
        names = {name.full for name in self.pairs[subject].names}
        others = (pair for at, pair in enumerate(self.pairs) if at != subject)
        return not any(names == {name.full for name in pair.names} for pair in others)

    def units(self) -> list[Unit]:
        return [
            Unit(subject, style.name, count)
            for subject in range(len(self.pairs))
            for style, count in shares(self.styles_of(subject), self.wanted)
        ]

    def more(self, subject: int, missing: int) -> list[Unit]:
        open_ended = [style for style in self.styles_of(subject) if style.most is None]
        return [Unit(subject, style.name, count) for style, count in shares(open_ended, missing)]

    def messages(self, unit: Unit, kept: Sequence[Kept]) -> list[dict[str, str]]:
        avoid = [one.text for one in kept if one.subject == unit.subject]
        return messages_of(asked(self.pairs[unit.subject], self._style(unit), unit.count, avoid=avoid))

    def read(self, unit: Unit, answer: str, finish_reason: str | None, kept: Sequence[Kept]) -> list[Item]:
        heard = read_items(answer, MEMBER, finish_reason=finish_reason)
        found = [Item(answer[:TEXT_SHOWN], fault=Fault(heard.problem))] if heard.problem else []
        pair, style = self.pairs[unit.subject], self._style(unit)
        own = [pair.question, *(one.text for one in kept if one.subject == unit.subject)]
        foreign = {key_of(one.text) for one in kept if one.subject != unit.subject}
        foreign |= {key_of(other.question) for at, other in enumerate(self.pairs) if at != unit.subject}
        for text in heard.items:
            fault = fault_of(text, pair, style) or repeats(text, own, near=style.near)
            if fault is None and key_of(text) in foreign:
                fault = Fault("ambiguous")
            if fault is None and "name-only" in ways_of(text, pair.names) and not self._is_only_one(unit.subject):
                fault = Fault("ambiguous", "another pair is about the same name")
            if fault is None:
                own.append(text)
                found.append(Item(text, chat_row(text, pair.answer, self.system)))
            else:
                found.append(Item(shown(text), fault=fault))
        return found

    def seeds(self) -> list[tuple[int, dict[str, Any]]]:
        if not self.with_seeds:
            return []
        return [(at, chat_row(pair.question, pair.answer, self.system)) for at, pair in enumerate(self.pairs)]

    def _style(self, unit: Unit) -> Style:
        return next(style for style in self.styles if style.name == unit.style)
