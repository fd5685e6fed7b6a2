"""Quick tests: whether a text holds a pattern, and in one pass which of many texts hold which of many patterns.

Must not know what the patterns are for.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import SchemaValidator, core_schema

HAS_HYPERSCAN: Final = importlib.util.find_spec("hyperscan") is not None
"""False where it has no wheel for the platform: each pattern is then searched for by itself, to the same end."""
HITS_MAX: Final = 50_000
"""In one scan, which tells of each by a call; where there are more, it is quicker to search text by text."""
SCANNED_BYTES_MIN: Final = 128 * 1024
"""Of texts worth a scan: the first takes a sixth of a second before it begins."""

Search = Callable[[str | bytes], bool]
"""Of a text, or its UTF-8."""


def searching(pattern: str) -> Search:
    """Whether a text holds `pattern`, in time proportional to its length, whatever it is.

    Written as regular expressions of Rust: no look-around, no back reference; many times as fast as Python's where
    they begin with one of a few literals.
    """
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")).isinstance_python


class Gate(NamedTuple):
    """A quick test."""

    may_hold: Search
    pattern: str


def gate(pattern: str) -> Gate:
    """The test whether a text holds a pattern, as `searching` takes it, that looks at nothing around its match.

    White space beyond ASCII is spelt out in it.
    """
    return Gate(searching(pattern), pattern)


class Scan:
    """Looks for all patterns at once: as quick for thirty as for one."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Takes patterns of gates."""
        self._patterns = patterns
        self._building = threading.Lock()
        self._database: Any = None
        self._is_able = HAS_HYPERSCAN
        self._own = threading.local()

    def __call__(self, joined: bytes, ends: NDArray[np.intp]) -> list[list[int]] | None:
        """For each pattern the texts, counted from 0, that may hold it: all that do, and seldom another.

        Args:
            joined: the texts in UTF-8, one byte between two.
            ends: where in it each text ends.

        Returns:
            None where it cannot be told in one pass.
        """
        found: list[tuple[int, int]] = []
        take = found.append

        def hit(pattern: int, _from: int, end: int, _flags: int, _context: object) -> bool:
            take((pattern, end))
            return len(found) > HITS_MAX

        if not self._is_able or len(joined) < SCANNED_BYTES_MIN or not self._scan(joined, hit):
            return None
        texts = np.searchsorted(ends, [end - 1 for _, end in found]).tolist()
        holding: list[set[int]] = [set() for _ in self._patterns]
        for (pattern, _), text in zip(found, texts, strict=True):
            holding[pattern].add(text)
        return [sorted(some) for some in holding]

    def _scan(self, joined: bytes, hit: Callable[[int, int, int, int, object], bool]) -> bool:
        import hyperscan  # optional: see HAS_HYPERSCAN

        try:
            database = self._build(hyperscan)
            scratch = getattr(self._own, "scratch", None)
            if scratch is None:  # each thread needs one of its own
                scratch = self._own.scratch = hyperscan.Scratch(database)
            database.scan(joined, match_event_handler=hit, scratch=scratch)
        except hyperscan.ScanTerminated:
            return False
        except hyperscan.error:  # such as a processor that it does not support
            self._is_able = False
            return False
        return True

    def _build(self, hyperscan: Any) -> Any:
        with self._building:
            if self._database is None:
                database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
                plain = hyperscan.HS_FLAG_UTF8 | hyperscan.HS_FLAG_DOTALL
                expressions = [one.encode() for one in self._patterns]
                count = len(expressions)
                database.compile(expressions=expressions, ids=list(range(count)), flags=[plain] * count)
                self._database = database
            return self._database
