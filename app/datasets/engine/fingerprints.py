"""Content hashes of examples: repeated examples, conflicting answers, and leaks between two files.

Must not know what an example looks like; it is given hashes.
"""

from __future__ import annotations

from array import array
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.datasets.engine.findings import Findings
from app.datasets.engine.report import Finding

FINGERPRINT_BYTES = 16
"""Half of a SHA-256: two different examples share it with probability 10^-26 in a file of a million."""


class Fingerprints:
    """The hashes of one file's examples; 40 bytes for each, and about 80 more while they are compared."""

    def __init__(self) -> None:
        self._prompts = bytearray()
        self._examples = bytearray()
        self._lines = array("Q")

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: int, prompt: bytes, example: bytes) -> None:
        """Takes 16 bytes each: of everything but the answer, and of the whole example."""
        self._prompts += prompt
        self._examples += example
        self._lines.append(line)

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


def leakage(training_fingerprints: BinaryIO, validation_fingerprints: BinaryIO) -> Finding | None:
    """Validation examples that stand word for word in the training file.

    Args:
        training_fingerprints, validation_fingerprints: hashes of the conversations alone, so that an id or
            a note beside them hides nothing: what `check` wrote for files that it found ready,
            where the n-th fingerprint is that of line n.

    Returns:
        None when there is none; else a warning whose lines are those of the validation file.
    """
    training = training_fingerprints.read()
    validation = validation_fingerprints.read()
    if not training or not validation:
        return None
    count = len(training) // FINGERPRINT_BYTES
    first = _first_of_equal(training + validation)[count:]
    leaked = (np.flatnonzero(first < count) + 1).tolist()
    if not leaked:
        return None
    findings = Findings()
    for line in leaked:
        findings.add("leakage", line, f"stands in the training file as line {int(first[line - 1]) + 1:,}")
    total = len(validation) // FINGERPRINT_BYTES
    share = f"{len(leaked):,} of {total:,} validation examples stand in the training file"
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
