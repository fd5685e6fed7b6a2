"""Content hashes of examples: repeated examples, conflicting answers, and leaks between two files.

Must not know what an example looks like; it is given hashes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, BinaryIO

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from app.datasets.engine.findings import Findings
from app.datasets.engine.report import Finding

_PLAIN_KEYS = {"role", "content"}
_OTHER_WAY = b"\x1d"
_BETWEEN = "\x1e"
_digest = xxhash.xxh3_128_digest
_seed = xxhash.xxh3_64_intdigest
FINGERPRINT_BYTES = 16
"""XXH3 of 128 bits: two different examples share it with probability 10^-26 in a file of a million. Somebody who
wants to can make two that do; all they hide is their own duplicate."""


@dataclass(frozen=True, slots=True)
class Prints:
    """The hashes of one example."""

    line: int
    conversation: bytes
    """Of the messages alone."""
    prompt: bytes
    """Of everything but the answer."""
    example: bytes
    """Of the whole row."""


@dataclass(frozen=True, slots=True)
class PrintColumns:
    """The hashes of several examples, in the order of their lines; FINGERPRINT_BYTES each."""

    lines: NDArray[np.uint64]
    conversations: bytes
    prompts: bytes
    examples: bytes

    @classmethod
    def of(cls, prints: Iterable[Prints]) -> PrintColumns:
        """From those of single examples, in any order."""
        ordered = sorted(prints, key=attrgetter("line"))
        return cls(
            np.array([print_.line for print_ in ordered], dtype=np.uint64),
            b"".join([print_.conversation for print_ in ordered]),
            b"".join([print_.prompt for print_ in ordered]),
            b"".join([print_.example for print_ in ordered]),
        )

    def numbered(self, first_line: int) -> PrintColumns:
        """Of lines that were counted from 0, with their numbers in a file."""
        return replace(self, lines=self.lines + np.uint64(first_line))

    def merged(self, others: PrintColumns) -> PrintColumns:
        """Both, by their lines."""
        if not len(others.lines):
            return self
        lines = np.concatenate((self.lines, others.lines))
        order = np.argsort(lines)
        columns = (
            (self.conversations, others.conversations),
            (self.prompts, others.prompts),
            (self.examples, others.examples),
        )
        return PrintColumns(lines[order], *[_rows(ours + theirs)[order].tobytes() for ours, theirs in columns])


def prints_of_plain(
    lines: NDArray[np.uint64], orders: Sequence[tuple[str, ...]], joined: bytes, ends: NDArray[np.intp]
) -> PrintColumns:
    """Of rows that are nothing but messages of a role and a text without control characters.

    Args:
        lines: their numbers.
        orders: the roles of each row's messages.
        joined: all their texts in UTF-8, U+001E between them.
        ends: where in it each text ends.
    """
    texts = memoryview(joined)
    seeds = {order: (_order_seed(order), _order_seed(order[:-1])) for order in set(orders)}
    starts = [0, *(ends + 1).tolist()]
    conversations, prompts = bytearray(), bytearray()
    at = 0
    for order in orders:
        whole, head = seeds[order]
        start, last, at = starts[at], starts[at + len(order) - 1], at + len(order)
        conversation = _digest(texts[start : starts[at] - 1], whole)
        conversations += conversation
        answered = order[-1] == "assistant"
        prompts += _digest(texts[start : max(start, last - 1)], head) if answered else conversation
    return PrintColumns(lines, bytes(conversations), bytes(prompts), bytes(conversations))


def prints_of(line: int, messages: list[Any], further: bytes) -> Prints:
    """Of any row with messages.

    Args:
        further: what stands beside the messages, as bytes; empty where nothing does.
    """
    conversation = _messages_print(messages)
    example = _digest(conversation + further) if further else conversation
    if type(messages[-1]) is not dict or messages[-1].get("role") != "assistant":
        return Prints(line, conversation, example, example)
    asked = _messages_print(messages[:-1])
    return Prints(line, conversation, _digest(asked + _OTHER_WAY + further) if further else asked, example)


def prints_of_row(line: int, row: bytes) -> Prints:
    """Of a row without messages, written in one way."""
    print_ = _digest(row)
    return Prints(line, print_, print_, print_)


def _messages_print(messages: list[Any]) -> bytes:
    """The same for equal messages, whatever the order of their keys."""
    if all(type(m) is dict and m.keys() == _PLAIN_KEYS for m in messages):
        order = tuple([m["role"] for m in messages])
        texts = [m["content"] for m in messages]
        if all(type(text) is str and _BETWEEN not in text for text in (*order, *texts)):
            return _digest(_BETWEEN.join(texts).encode("utf-8", "surrogatepass"), _order_seed(order))
    return _digest(_OTHER_WAY + orjson.dumps(messages, option=orjson.OPT_SORT_KEYS))


def _order_seed(order: tuple[str, ...]) -> int:
    """What tells the same texts of other roles apart."""
    return _seed(_BETWEEN.join(order).encode("utf-8", "surrogatepass"))


def _rows(hashes: bytes | bytearray) -> NDArray[np.uint64]:
    return np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 2)


class Fingerprints:
    """The hashes of one file's examples; 40 bytes for each, and about 80 more while they are compared."""

    def __init__(self) -> None:
        self._prompts = bytearray()
        self._examples = bytearray()
        self._lines = array("Q")

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, prints: PrintColumns, room: int) -> int:
        """Takes those of further lines, up to `room` in all; returns how many were left out."""
        taken = max(0, min(len(prints.lines), room - len(self)))
        self._prompts += prints.prompts[: taken * FINGERPRINT_BYTES]
        self._examples += prints.examples[: taken * FINGERPRINT_BYTES]
        self._lines.frombytes(prints.lines[:taken].tobytes())
        return len(prints.lines) - taken

    def report(self, findings: Findings) -> NDArray[np.int64]:
        """Adds `exact-duplicate` and `conflicting-answer`; call once, at the end.

        Returns:
            The lines that hold an example again.
        """
        if len(self._lines) < 2:
            return np.zeros(0, dtype=np.int64)
        lines = np.frombuffer(self._lines, dtype=np.uint64)
        first_same = first_of_equal(bytes(self._examples))
        repeats = np.flatnonzero(first_same != np.arange(len(lines)))
        for at in repeats.tolist():
            findings.add("exact-duplicate", int(lines[at]), f"as line {int(lines[first_same[at]]):,}")
        first_asked = first_of_equal(bytes(self._prompts))
        conflicts = np.flatnonzero(first_same != first_same[first_asked])
        for at in conflicts.tolist():
            findings.add("conflicting-answer", int(lines[at]), f"asked in line {int(lines[first_asked[at]]):,}")
        return lines[repeats].astype(np.int64)


def shared_examples(training_fingerprints: BinaryIO, validation_fingerprints: BinaryIO) -> list[tuple[int, int]]:
    """Positions, counted from 0, of each validation example that stands in the training file: (there, here).

    Of equal training examples the first; in the order of the validation file.
    """
    training = training_fingerprints.read()
    validation = validation_fingerprints.read()
    if not training or not validation:
        return []
    count = len(training) // FINGERPRINT_BYTES
    first = first_of_equal(training + validation)[count:]
    here = np.flatnonzero(first < count)
    return list(zip(first[here].tolist(), here.tolist(), strict=True))


def leakage(training_fingerprints: BinaryIO, validation_fingerprints: BinaryIO) -> Finding | None:
    """Validation examples that stand word for word in the training file.

    Args:
        training_fingerprints, validation_fingerprints: hashes of the conversations alone, so that an id or
            a note beside them hides nothing: what `check` wrote for files that it found ready,
            where the n-th fingerprint is that of line n.

    Returns:
        None when there is none; else a warning whose lines are those of the validation file.
    """
    shared = shared_examples(training_fingerprints, validation_fingerprints)
    if not shared:
        return None
    total = validation_fingerprints.tell() // FINGERPRINT_BYTES
    findings = Findings()
    for ours, theirs in shared:
        findings.add("leakage", theirs + 1, f"stands in the training file as line {ours + 1:,}")
    share = f"{len(shared):,} of {total:,} validation examples stand in the training file"
    findings.add_file("leakage", f"{share}, so the validation loss looks better than it is.")
    return findings.as_list()[0]


def first_of_equal(hashes: bytes) -> NDArray[np.intp]:
    """For each 16-byte hash, the position of the first equal one."""
    halves = _rows(hashes)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    group_first = order[np.flatnonzero(starts)]
    first = np.empty(len(order), dtype=np.intp)
    first[order] = group_first[np.cumsum(starts) - 1]
    return first
