"""Content hashes of examples: repeated examples, conflicting answers, and leaks between two files.

Must not know what an example looks like; it is given hashes.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from app.datasets.engine.findings import Findings
from app.datasets.engine.report import Finding

_PLAIN_KEYS = {"role", "content"}
_BETWEEN = b"\x1d"
_SEPARATORS = re.compile("[\x1d\x1e]")
_digest = xxhash.xxh3_128_digest
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


def prints_of_plain(line: int, order: tuple[str, ...], texts: list[str]) -> Prints:
    """Of a row that is nothing but messages of a role and a text without control characters."""
    hashing = xxhash.xxh3_128(_plain_bytes(order[:-1], texts[:-1]))
    prompt = hashing.digest()
    hashing.update(_BETWEEN + _plain_bytes(order[-1:], texts[-1:]))
    conversation = hashing.digest()
    return Prints(line, conversation, prompt if order[-1] == "assistant" else conversation, conversation)


def prints_of(line: int, messages: list[Any], further: bytes) -> Prints:
    """Of any row with messages.

    Args:
        further: what stands beside the messages, as bytes; empty where nothing does.
    """
    head, last = _message_bytes(messages[:-1]), _message_bytes(messages[-1:])
    conversation = _digest(head + _BETWEEN + last)
    example = _digest(head + _BETWEEN + last + _BETWEEN + further) if further else conversation
    answered = type(messages[-1]) is dict and messages[-1].get("role") == "assistant"
    asked = head + _BETWEEN + _BETWEEN + further if further else head
    return Prints(line, conversation, _digest(asked) if answered else example, example)


def prints_of_row(line: int, row: bytes) -> Prints:
    """Of a row without messages, written in one way."""
    print_ = _digest(row)
    return Prints(line, print_, print_, print_)


def _message_bytes(messages: list[Any]) -> bytes:
    """Equal messages give equal bytes, whatever the order of their keys."""
    if all(type(m) is dict and m.keys() == _PLAIN_KEYS for m in messages):
        order = tuple([m["role"] for m in messages])
        texts = [m["content"] for m in messages]
        if all(type(text) is str and not _SEPARATORS.search(text) for text in (*order, *texts)):
            return _plain_bytes(order, texts)
    return _BETWEEN + orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)


def _plain_bytes(order: tuple[str, ...], texts: list[str]) -> bytes:
    return "\x1e".join([*order, *texts]).encode("utf-8", "surrogatepass")


class Fingerprints:
    """The hashes of one file's examples; 40 bytes for each, and about 80 more while they are compared."""

    def __init__(self) -> None:
        self._prompts = bytearray()
        self._examples = bytearray()
        self._lines = array("Q")

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, prints: Iterable[Prints]) -> None:
        """Takes those of further lines, in the order of the lines."""
        for print_ in prints:
            self._prompts += print_.prompt
            self._examples += print_.example
            self._lines.append(print_.line)

    def report(self, findings: Findings) -> None:
        """Adds `exact-duplicate` and `conflicting-answer`; call once, at the end."""
        if len(self._lines) < 2:
            return
        lines = np.frombuffer(self._lines, dtype=np.uint64)
        first_same = _first_of_equal(bytes(self._examples))
        repeats = np.flatnonzero(first_same != np.arange(len(lines)))
        for at in repeats.tolist():
            findings.add("exact-duplicate", int(lines[at]), f"as line {int(lines[first_same[at]]):,}")
        first_asked = _first_of_equal(bytes(self._prompts))
        conflicts = np.flatnonzero(first_same != first_same[first_asked])
        for at in conflicts.tolist():
            findings.add("conflicting-answer", int(lines[at]), f"asked in line {int(lines[first_asked[at]]):,}")


def shared_examples(training_fingerprints: BinaryIO, validation_fingerprints: BinaryIO) -> list[tuple[int, int]]:
    """Positions, counted from 0, of each validation example that stands in the training file: (there, here).

    Of equal training examples the first; in the order of the validation file.
    """
    training = training_fingerprints.read()
    validation = validation_fingerprints.read()
    if not training or not validation:
        return []
    count = len(training) // FINGERPRINT_BYTES
    first = _first_of_equal(training + validation)[count:]
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


def _first_of_equal(hashes: bytes) -> NDArray[np.intp]:
    """For each 16-byte hash, the position of the first equal one."""
    halves = np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    group_first = order[np.flatnonzero(starts)]
    first = np.empty(len(order), dtype=np.intp)
    first[order] = group_first[np.cumsum(starts) - 1]
    return first
