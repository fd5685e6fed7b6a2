"""Questions and answers from documents: chunks, what is asked about each, and what is kept of it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from app.generation.craft.answers import is_refusal, read_items
from app.generation.craft.facts import Name, guess_names, mentions, numbers_of
from app.generation.craft.kinds import TEXT_SHOWN, Item, Kept, Unit, chat_row, shown
from app.generation.craft.paraphrases import repeats
from app.generation.craft.scripts import held_in, key_of, language_of, words_of
from app.generation.craft.styles import MARGIN
from app.generation.craft.verdicts import Fault

PROMPT_VERSION: Final = "documents-1"
MEMBER: Final = "pairs"
AT_ONCE: Final = 8
"""Pairs that one request asks for at most."""
GROUNDED: Final = 0.45
"""So much of an answer's pairs of characters must stand in its chunk."""
AVOIDED_MAX: Final = 20
CountTokens = Callable[[str], int]

_HEADING: Final = re.compile(r"^(#{1,6})\s+(?=\S)")
_OF_THE_TEXT: Final = re.compile(
    r"\b(?:(?:the|this) (?:text|passage|document|excerpt|section|paragraph|article)|according to (?:the|this)|"
    r"mentioned above)\b|(?:この|その|上の|上記の|本)(?:文書|文章|テキスト|記事|資料|節|段落)|上記|本文",
    re.IGNORECASE,
)
_SYSTEM: Final = (
    "You write training data. You are given a passage of a document, and write questions that people who do "
    "not have the passage may ask, with answers that the passage gives. Say nothing that the passage does not"
    " say; copy names and numbers exactly; never speak of the passage itself. Write in the language of the "
    'passage. Answer with JSON only: {"pairs": [{"question": "…", "answer": "…"}]}.'
)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document that is asked about on its own."""

    document: str
    headings: tuple[str, ...]
    """From the outermost to the one it stands under."""
    number: int
    """In the document, from 1."""
    text: str


def chunks_of(document: str, text: str, *, tokens_max: int, overlap_tokens: int, count: CountTokens) -> list[Chunk]:
    """The document in pieces of at most `tokens_max`, never across a heading.

    A piece begins with the last paragraphs or sentences of the piece before it, `overlap_tokens` at most, when both
    stand under one heading. A single sentence that is too long is cut.
    """
    chunks: list[Chunk] = []
    for headings, body in _sections(text):
        for piece in _pieces(body, tokens_max, overlap_tokens, count):
            chunks.append(Chunk(document, headings, len(chunks) + 1, piece))
    return chunks


def _sections(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Headings above, and the lines under them. Lines of code that begin with # are no headings."""
    above: list[tuple[int, str]] = []
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        heading = None if fenced else _HEADING.match(line)
        if heading is None:
            lines.append(line)
            continue
        if "".join(lines).strip():
            yield tuple(title for _, title in above), "\n".join(lines)
        lines = []
        level, title = len(heading[1]), line[heading.end() :].rstrip()
        title = title.rstrip("#").rstrip() or title
        above = [*((depth, told) for depth, told in above if depth < level), (level, title)]
    if "".join(lines).strip():
        yield tuple(title for _, title in above), "\n".join(lines)


_SENTENCE_END: Final = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+|\n{2,}")


def _pieces(body: str, tokens_max: int, overlap_tokens: int, count: CountTokens) -> Iterator[str]:
    sentences = [
        part
        for sentence in _SENTENCE_END.split(body)
        if sentence.strip()
        for part in _cut(sentence, tokens_max, count)
    ]
    piece: list[str] = []
    size, fresh = 0, False
    for sentence in sentences:
        tokens = count(sentence)
        if fresh and size + tokens > tokens_max:
            yield _joined(piece)
            piece = _tail(piece, min(overlap_tokens, tokens_max - tokens), count)
            size, fresh = sum(map(count, piece)), False
        piece.append(sentence)
        size, fresh = size + tokens, True
    if fresh:
        yield _joined(piece)


def _joined(sentences: Sequence[str]) -> str:
    joined = " ".join(sentence.strip() for sentence in sentences)
    paragraphs = re.split(r"\n(?=[^\S\n]*\n)", joined)
    return "\n\n".join(paragraph.strip() for paragraph in paragraphs if paragraph.strip())


def _tail(piece: Sequence[str], tokens: int, count: CountTokens) -> list[str]:
    kept: list[str] = []
    for sentence in reversed(piece):
        tokens -= count(sentence)
        if tokens < 0:
            break
        kept.insert(0, sentence)
    return kept


def _cut(sentence: str, tokens_max: int, count: CountTokens) -> list[str]:
    """Halves of halves, until each fits."""
    if count(sentence) <= tokens_max or len(sentence) < 2:
        return [sentence]
    middle = len(sentence) // 2
    return [*_cut(sentence[:middle], tokens_max, count), *_cut(sentence[middle:], tokens_max, count)]


def _is_foreign(text: str, told: str) -> bool:
    """Whether it is written in another language than the passage; its words, codes and numbers are no language."""
    wanted, found = language_of(told), language_of(text)
    if found == wanted or key_of(text) in key_of(told):
        return False
    if found == "latin":
        return len(words_of(text) - words_of(told)) > 1
    if wanted == "latin":
        return not words_of(text) <= words_of(told)
    return (wanted, found) != ("ja", "zh")


def fault_of(item: object, chunk: Chunk) -> Fault | None:
    """Why a pair that was made from this chunk is left out."""
    if not isinstance(item, Mapping):
        return Fault("shape", "it is not an object")
    question, answer = item.get("question"), item.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str):
        return Fault("shape", "it needs `question` and `answer` as texts")
    if not key_of(question) or not key_of(answer):
        return Fault("empty")
    if is_refusal(question) or is_refusal(answer):
        return Fault("refusal")
    if _OF_THE_TEXT.search(question):
        return Fault("refers-to-text")
    told = f"{' '.join(chunk.headings)}\n{chunk.text}"
    if any(_is_foreign(text, told) for text in (question, answer)):
        return Fault("wrong-language")
    for part, text in (("answer", answer), ("question", question)):
        new = numbers_of(text) - numbers_of(told)
        if new:
            return Fault("not-in-document", f"the {part} has {', '.join(sorted(new))}")
        for name in guess_names(text):
            parts_told = name.has_short and all(mentions(told, [Name(one)]) for one in name.short)
            if not parts_told and not mentions(told, [name]):
                return Fault("not-in-document", f"the {part} names {name.full!r}")
    if held_in(answer, f"{told}\n{question}") < GROUNDED:
        return Fault("not-in-document", "most of the answer's words are not there")
    return None


@dataclass(frozen=True, slots=True)
class Documents:
    """The kind of generation that asks about documents."""

    chunks: Sequence[Chunk]
    wanted: int
    system: str | None
    prompt_version: str = PROMPT_VERSION

    @property
    def subjects(self) -> int:
        return len(self.chunks)

    def label(self, subject: int) -> str:
        chunk = self.chunks[subject]
        return " › ".join([f"{chunk.document} #{chunk.number}", *chunk.headings])

    def units(self) -> list[Unit]:
        return [unit for subject in range(len(self.chunks)) for unit in self.more(subject, self.wanted)]

    def more(self, subject: int, missing: int) -> list[Unit]:
        left, units = ceil(missing * MARGIN), []
        while left > 0:
            units.append(Unit(subject, "", min(left, AT_ONCE)))
            left -= AT_ONCE
        return units

    def messages(self, unit: Unit, kept: Sequence[Kept]) -> list[dict[str, str]]:
        chunk = self.chunks[unit.subject]
        task = {
            "task": "questions",
            "document": chunk.document,
            "headings": list(chunk.headings),
            "passage": chunk.text,
            "count": unit.count,
            "avoid": [one.text for one in kept if one.subject == unit.subject][-AVOIDED_MAX:],
        }
        said = f"Write {unit.count} questions with answers. Do not repeat questions under `avoid`.\n\n"
        return [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": said + json.dumps(task, ensure_ascii=False, indent=1)},
        ]

    def read(self, unit: Unit, answer: str, finish_reason: str | None, kept: Sequence[Kept]) -> list[Item]:
        heard = read_items(answer, MEMBER, finish_reason=finish_reason)
        found = [Item(answer[:TEXT_SHOWN], fault=Fault(heard.problem))] if heard.problem else []
        asked = [one.text for one in kept]
        for item in heard.items:
            fault = fault_of(item, self.chunks[unit.subject])
            if fault is None:
                fault = repeats(item["question"], asked, near=False)
            if fault is None:
                asked.append(item["question"])
                found.append(Item(item["question"], chat_row(item["question"], item["answer"], self.system)))
            else:
                text = item["question"] if fault.code != "shape" else shown(item)
                found.append(Item(shown(text), fault=fault))
        return found

    def seeds(self) -> list[tuple[int, dict[str, Any]]]:
        return []
