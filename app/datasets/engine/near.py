"""Near duplicates: examples that say the same in almost the same words, found without comparing all with all.

Must not know what is trainable, nor where the lines come from.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, NamedTuple

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from app.datasets.engine.findings import Findings
from app.datasets.engine.report import Finding
from app.datasets.engine.sketches import MEMORY_BYTES, SIDE, Candidates, Sketches, candidates

SIMILARITY: Final = 0.8
"""From which similarity two examples are near duplicates.

Similarity is the share of pieces of four characters that both have, of all that either has (Jaccard index).
At 0.8 a ninth of the text may be another, in one place; 1.0 is equal text but for what `normalised` takes away.
"""
PAIRS_MAX: Final = 20_000
"""Candidate pairs whose texts are compared (less than a millisecond each), the likeliest first."""
LENGTH_SHARE_MIN: Final = 0.5
"""Of the longer of two texts that the shorter has at least; below any similarity that is worth asking for."""
LEAK_PAIRS_MAX: Final = 5_000
"""The same between two files, while somebody waits."""
SAMPLE_LINES: Final = 64
"""Lines in which the words of a template are looked for."""
SAMPLE_MIN: Final = 10
SAMPLE_BYTES_MAX: Final = 1 << 16
"""Of the text of such a line; templates stand in short ones, too."""
HELD_BYTES: Final = 1 << 24
"""Of pieces of texts that are held to be compared again."""
TEMPLATE_SHARE: Final = 0.5
"""A piece of text in at least this share of the lines belongs to a template, and is left out of comparisons."""
_CONVERSATION_IDS: Final = ("conversation_id", "session_id", "thread_id", "dialogue_id", "dialog_id")
_UNSAID: Final = ("system", "developer")  # no set: a role may be a list
"""Roles that are left out: a prompt that all examples share makes none of them alike."""
_UNSAID_KEYS: Final = frozenset({"role", "tools", "type", "id", "tool_call_id", "weight", *_CONVERSATION_IDS})

Reread = Callable[[], Iterable[bytes]]
"""Gives the same lines again, from the first, each time it is called."""
Pieces = NDArray[np.uint32]
Lines = NDArray[np.int64]
QUICKLY_FROM_CHARACTERS: Final = 500
"""Of a text from which on the table is quicker."""
_TABLE: Final = 0x20000
"""Characters that the table may know: all of the scripts and signs in use, emoji too."""
_PAGE_BITS: Final = 8
_WHITE_SPACE, _LONGER, _JOINS = 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF
_WHITE: Final = bytes(code for code in range(128) if chr(code).isspace())
EMBEDDED_CHARACTERS: Final = 200
"""A data URL longer than this, such as an image, is told by its hash."""
NO_LINES: Final[Lines] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Mate:
    """What a line is much like."""

    line: int
    """Counted from 1."""
    similarity: float


@dataclass(slots=True)
class Near:
    """What was found alike."""

    mates: dict[int, Mate] = field(default_factory=dict)
    """Line -> a line of the same cluster, or of the other file. The first line of a cluster is not told."""
    is_all: bool = True
    """False when there were more candidates than PAIRS_MAX, so that some were not compared."""


def near_duplicates(
    sketches: Sketches, reread: Reread, *, lines: int, without: Lines = NO_LINES, threshold: float = SIMILARITY
) -> Near:
    """Lines that are much like another one of the same file; of each cluster all but the first.

    Args:
        lines: how many the file has.
        without: lines that are left out, such as exact duplicates, of which there is nothing more to say.
    """
    found = sketches.candidates(without, pairs_max=PAIRS_MAX)
    near = Near(is_all=len(found.first) < PAIRS_MAX)
    parents: dict[int, int] = {}
    mates: dict[int, Mate] = {}
    for one, other, share in _alike(found, [reread], [lines], threshold, partial(_same, parents)):
        _join(parents, one, other)
        mates.setdefault(one, Mate(other, share))
        mates.setdefault(other, Mate(one, share))
    near.mates = {line: mate for line, mate in sorted(mates.items()) if _root(parents, line) != line}
    return near


class Sketched(NamedTuple):
    """A file whose sketches were kept."""

    sketches: IO[bytes]
    reread: Reread
    lines: int
    """How many it has."""


def near_leaks(
    training: Sketched, validation: Sketched, *, without: Lines = NO_LINES, threshold: float = SIMILARITY
) -> Near:
    """Validation lines that are much like a training line.

    Args:
        without: validation lines that are left out, such as those that leak word for word.
    """
    files = [(training.sketches, NO_LINES), (validation.sketches, without)]
    found = candidates(files, pairs_max=LEAK_PAIRS_MAX)
    near = Near(is_all=len(found.first) < LEAK_PAIRS_MAX)
    rereads, sizes = [training.reread, validation.reread], [training.lines, validation.lines]
    for ours, theirs, share in _alike(found, rereads, sizes, threshold, lambda _, b: b - SIDE in near.mates):
        near.mates[theirs - SIDE] = Mate(ours, share)
    near.mates = dict(sorted(near.mates.items()))
    return near


def near_leakage(training: Sketched, validation: Sketched, *, without: Lines = NO_LINES) -> Finding | None:
    """`near_leaks` as a warning whose lines are those of the validation file; None when there is none."""
    near = near_leaks(training, validation, without=without)
    if not near.mates:
        return None
    findings = Findings()
    for line, mate in near.mates.items():
        findings.add("near-leakage", line, f"{mate.similarity:.0%} as line {mate.line:,} of the training file")
    least = "" if near.is_all else "at least "
    share = f"{least}{len(near.mates):,} of {validation.lines:,} validation examples"
    findings.add_file("near-leakage", f"{share} stand in the training file in almost the same words.".capitalize())
    return findings.as_list()[0]


def groups(reread: Reread, *, threshold: float = SIMILARITY) -> NDArray[np.int64]:
    """Which lines belong together, so that a split must not part them.

    Together are near duplicates, lines with the same prompt, and lines of the same conversation (one holds the
    beginning of the other, or both have the same id of a conversation beside the messages); and whatever is
    together with one of them. System prompts do not count.

    Args:
        reread: the JSON lines; called up to three times.

    Returns:
        For each line, also a blank or broken one, the position of the first of its group, counted from 0.
    """
    parents: dict[int, int] = {}
    sketches = Sketches()
    first: dict[bytes, int] = {}
    count = 0
    for count, line in enumerate(reread(), 1):
        row = _row(line)
        if row is None:
            continue
        text = text_of(row)
        if text:
            sketches.add([count], [text.encode("utf-8", "surrogatepass")])
            _join(parents, first.setdefault(b"t" + _digest(normalised(text)), count), count)
        for key in _own_keys(row):
            _join(parents, first.setdefault(key, count), count)
    for at, line in enumerate(reread(), 1):
        row = _row(line)
        for key in _beginnings(row) if row is not None else ():
            if key in first:
                _join(parents, first[key], at)
    found = sketches.candidates(NO_LINES, pairs_max=PAIRS_MAX)
    for one, other, _ in _alike(found, [reread], [count], threshold, partial(_same, parents)):
        _join(parents, one, other)
    return np.array([_root(parents, line) - 1 for line in range(1, count + 1)], dtype=np.int64)


# -- texts -------------------------------------------------------------------------------------------------


def text_of(row: Any) -> str:
    """What an example says, without what its system prompt says, nor its tools."""
    return "\n".join(_texts(row))


def normalised(text: str) -> str:
    """Without what two equal texts may differ in: case, width of characters, white space."""
    if text.isascii():
        return text.lower().encode().translate(None, _WHITE).decode()
    quickly = quickly_normalised(text) if len(text) >= QUICKLY_FROM_CHARACTERS else None
    return slowly_normalised(text) if quickly is None else quickly


def slowly_normalised(text: str) -> str:
    """The same for any text, character by character: thirty times as long as `quickly_normalised`."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def quickly_normalised(text: str) -> str | None:
    """The same by a table; None where a character may join with the one before it, or is a rare one."""
    codes = _codes_of(text)
    found = _forms_of(codes)
    if found is not None and (found == _LONGER).any():
        for character in map(chr, np.unique(codes[found == _LONGER]).tolist()):
            text = text.replace(character, slowly_normalised(character))
        found = _forms_of(_codes_of(text))
    if found is None or (found >= _LONGER).any():
        return None
    told: bytes = found[found != _WHITE_SPACE].tobytes()
    return told.decode("utf-32-le", "surrogatepass")


def _codes_of(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _forms_of(codes: NDArray[np.uint32]) -> NDArray[np.uint32] | None:
    """Of each character the code of its normalised form, or what it is; None with one that the table has not."""
    if int(codes.max(initial=0)) >= _TABLE:
        return None
    forms, known = _forms()
    pages = codes >> _PAGE_BITS
    if not known[pages].all():
        for page in np.unique(pages[~known[pages]]).tolist():
            start, stop = page << _PAGE_BITS, (page + 1) << _PAGE_BITS
            forms[start:stop] = [_form(code) for code in range(start, stop)]
            known[page] = True
    found: NDArray[np.uint32] = forms[codes]
    return found


@cache
def _forms() -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """The table, and which of its pages are filled in: when a text first needs them."""
    return np.zeros(_TABLE, dtype="<u4"), np.zeros(_TABLE >> _PAGE_BITS, dtype=np.bool_)


def _form(code: int) -> int:
    whole = unicodedata.normalize("NFKC", chr(code))
    form = "".join(whole.casefold().split())
    if any(unicodedata.combining(one) or ord(one) in _seconds() for one in whole):
        return _JOINS
    if len(form) > 1:
        return _LONGER
    return ord(form) if form else _WHITE_SPACE


@cache
def _seconds() -> frozenset[int]:
    """Characters that may join with the one before them though they are no marks: of Hangul and Indic scripts."""
    split = (unicodedata.decomposition(chr(code)).split() for code in range(_TABLE))
    joined = {int(parts[1], 16) for parts in split if len(parts) == 2 and parts[0][0] != "<"}
    return frozenset({*joined, *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)})


def pieces(text: str) -> Pieces:
    """The pieces of four characters of a normalised text, hashed, each once, in ascending order."""
    characters = _codes_of(text)
    hashes = np.zeros(max(1, len(characters) - 3), dtype=np.uint32)
    for at in range(min(4, len(characters))):
        hashes ^= characters[at : at + len(hashes)]
        hashes *= np.uint32(0x9E3779B1)
        hashes ^= hashes >> np.uint32(15)
    hashes.sort()
    once: Pieces = hashes[np.concatenate(([True], hashes[1:] != hashes[:-1]))]
    return once


def similarity(one: Pieces, other: Pieces) -> float:
    """Share of pieces that both have, of all that either has; 1.0 when neither has any."""
    both = np.sort(np.concatenate((one, other)))
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared) if len(both) else 1.0


def _texts(row: Any) -> Iterator[str]:
    waiting = [row]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield (
                value if len(value) < EMBEDDED_CHARACTERS or not value.startswith("data:") else _digest(value).hex()
            )
        elif isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict) and value.get("role") not in _UNSAID:
            waiting.extend([value[key] for key in reversed(value) if key not in _UNSAID_KEYS])


class _Texts:
    """Normalised texts of some lines, put aside in a file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115  lives as long as this
        self._places: dict[int, tuple[int, int]] = {}
        self.pieces = lru_cache(2)(self._pieces)
        self._template = np.zeros(0, dtype=np.uint32)
        self._longest = 0

    def take(self, reread: Reread, wanted: set[int], base: int) -> None:
        """Put the wanted lines aside; their number there is larger by `base`."""
        last = max(wanted, default=0)
        end = self._file.seek(0, 2)
        for number, line in enumerate(reread(), 1):
            if number > last:
                break
            if number in wanted and (row := _row(line)) is not None:
                text = normalised(text_of(row)).encode("utf-8", "surrogatepass")
                self._file.write(text)
                self._longest = max(self._longest, len(text))
                self._places[number + base] = (end, len(text))
                end += len(text)

    def are_of_like_size(self, one: int, other: int) -> bool:
        """Texts of very different length are not worth comparing: one has pieces enough that the other lacks."""
        shorter, longer = sorted((self._places.get(one, (0, 0))[1], self._places.get(other, (0, 0))[1]))
        return shorter >= LENGTH_SHARE_MIN * longer

    def learn_template(self, sample: Iterable[int]) -> None:
        """What most lines of the sample say is left out from now on."""
        sizes = {number: self._places[number][1] for number in sample if number in self._places}
        told = [self._pieces(number) for number, size in sizes.items() if size <= SAMPLE_BYTES_MAX]
        if len(told) < SAMPLE_MIN:
            return
        found, lines = np.unique(np.concatenate(told), return_counts=True)
        self._template = found[lines >= TEMPLATE_SHARE * len(told)]
        self.pieces.cache_clear()

    def begin(self) -> None:
        """To be called when all are put aside."""
        self.pieces = lru_cache(min(256, max(2, HELD_BYTES // (4 * self._longest + 1))))(self._pieces)

    def _pieces(self, number: int) -> Pieces:
        start, size = self._places.get(number, (0, 0))
        self._file.seek(start)
        told = pieces(self._file.read(size).decode("utf-8", "surrogatepass"))
        if not len(self._template):
            return told
        kept: Pieces = told[self._template[np.searchsorted(self._template, told) % len(self._template)] != told]
        return kept


def _alike(
    found: Candidates,
    rereads: list[Reread],
    sizes: list[int],
    threshold: float,
    is_known: Callable[[int, int], bool],
) -> Iterator[tuple[int, int, float]]:
    """The candidates that are as similar as that, by their texts."""
    if not len(found.first):
        return
    texts = _Texts()
    sample = []
    for side, (reread, size) in enumerate(zip(rereads, sizes, strict=True)):
        some = set(range(1, size + 1, max(1, size // SAMPLE_LINES)))
        numbers = np.concatenate((found.first, found.second))
        here = numbers[(numbers >= SIDE) == bool(side)] - side * SIDE
        texts.take(reread, some | set(here.tolist()), side * SIDE)
        sample += [number + side * SIDE for number in some]
    texts.begin()
    texts.learn_template(sample)
    order = np.lexsort((found.second, found.first))
    for one, other in zip(found.first[order].tolist(), found.second[order].tolist(), strict=True):
        if is_known(one, other) or not texts.are_of_like_size(one, other):
            continue
        ours, theirs = texts.pieces(one), texts.pieces(other)
        fewer, more = sorted((len(ours), len(theirs)))
        if fewer < threshold * more:
            continue
        share = similarity(ours, theirs)
        if share >= threshold:
            yield one, other, share


# -- conversations -----------------------------------------------------------------------------------------


def _own_keys(row: dict[str, Any]) -> Iterator[bytes]:
    """Equal for lines with the same prompt or of the same conversation."""
    for name in _CONVERSATION_IDS:
        if type(row.get(name)) in {str, int}:
            yield _digest(f"{name}:{row[name]}")
    said = _said(row)
    if said:
        yield b"p" + _digest_of(said[:-1] if said[-1].get("role") == "assistant" and len(said) > 1 else said)
        yield b"c" + _digest_of(said)


def _beginnings(row: dict[str, Any]) -> Iterator[bytes]:
    """The key of each conversation that this one goes on from."""
    said = _said(row)
    for at, message in enumerate(said[:-1], 1):
        if message.get("role") == "assistant":
            yield b"c" + _digest_of(said[:at])


def _said(row: dict[str, Any]) -> list[dict[str, Any]]:
    inner = row.get("input")
    messages = row.get("messages", inner.get("messages") if type(inner) is dict else None)
    if type(messages) is not list:
        return []
    return [m for m in messages if type(m) is dict and m.get("role") not in _UNSAID]


def _digest_of(messages: list[dict[str, Any]]) -> bytes:
    return _digest("\x1e".join(normalised(text_of(message)) for message in messages))


def _digest(text: str) -> bytes:
    return xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass"))


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if type(row) is dict else None


# -- clusters ----------------------------------------------------------------------------------------------


def _root(parents: dict[int, int], of: int) -> int:
    while (parent := parents.get(of, of)) != of:
        parents[of] = of = parents.get(parent, parent)
    return of


def _same(parents: dict[int, int], one: int, other: int) -> bool:
    return _root(parents, one) == _root(parents, other)


def _join(parents: dict[int, int], one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first
    parents.setdefault(one, first)
