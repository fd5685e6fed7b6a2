"""Counts tokens offline with the model's own tokenizer, built from rank files shipped beside this module.

Must not know what a message is; see `chat` for the counting rule of a conversation.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tiktoken
from numpy.typing import NDArray

HAS_GIGATOKEN = importlib.util.find_spec("gigatoken") is not None
"""False where it has no wheel for the platform: tiktoken counts the same there, several times slower."""

Encoding = Literal["o200k_base", "cl100k_base"]
Count = Callable[[str], int]
CountMany = Callable[[list[str] | list[bytes]], NDArray[np.int64]]
"""Tokens of each of some texts, as they are or in UTF-8, none of them longer than GUARDED_CHARACTERS."""

BYTES_PER_TOKEN_ESTIMATE = 4
"""UTF-8 bytes in one token where the tokenizer is not shipped (Ministral, Llama, Qwen). Against
o200k_base it is within about 20 % on English, code and Japanese text."""

RANKS_SHA256 = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
"""SHA-256 of the unzipped rank files. Source: tiktoken `openai_public.py`, 0.14."""

_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_PATTERNS = {
    "o200k_base": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
}
"""How a text is cut before merging. Source: tiktoken `openai_public.py`, 0.14."""

_GIGATOKEN_PRETOKENIZERS = {"o200k_base": "o200k", "cl100k_base": "gpt4"}

GUARDED_CHARACTERS = 100_000
"""Texts longer than this are searched for runs of one kind (spaces, letters, signs). Such a run reaches the
merge step as one piece, where a megabyte takes seconds and tiktoken raises; it is cut, and the count may be
off by a token per cut. Every text up to this length is counted exactly."""
RUN_CHARACTERS_MAX = 4096
_RUN = rf"{{{RUN_CHARACTERS_MAX},}}"
_LONG_RUN = re.compile(rf"\s{_RUN}|[^\W\d_]{_RUN}|[^\w\s]{_RUN}|_{_RUN}")

_building = threading.Lock()


class RanksDamagedError(RuntimeError):
    """A shipped rank file is not the published one; counting with it would be silently wrong."""


def ranks(encoding: Encoding) -> bytes:
    """The published rank file of `encoding`, unzipped and verified.

    Raises:
        RanksDamagedError: its SHA-256 is another.
    """
    packed = resources.files(__package__).joinpath("ranks", f"{encoding}.tiktoken.gz").read_bytes()
    raw = gzip.decompress(packed)
    if hashlib.sha256(raw).hexdigest() != RANKS_SHA256[encoding]:
        raise RanksDamagedError(f"The rank file of {encoding} is damaged; install the package again.")
    return raw


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts tokens of texts; special tokens count as plain text."""

    one: Count
    many: CountMany
    """One call for many texts costs a third less than as many calls."""


def counter(tokenizer: str) -> Counter:
    """The counter of a tokenizer.

    Built once per process and shared by its threads; the first call costs about half a second and 60 MB.
    `estimate` needs neither.
    """
    if tokenizer == "estimate":
        return Counter(estimate, _each(estimate))
    with _building:
        return _build(tokenizer)


def _each(count: Count) -> CountMany:
    def count_many(texts: list[str] | list[bytes]) -> NDArray[np.int64]:
        read = (text if isinstance(text, str) else text.decode() for text in texts)
        return np.fromiter(map(count, read), dtype=np.int64, count=len(texts))

    return count_many


def estimate(text: str) -> int:
    """UTF-8 bytes over BYTES_PER_TOKEN_ESTIMATE, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN_ESTIMATE)


@cache
def _build(tokenizer: str) -> Counter:
    if tokenizer not in RANKS_SHA256:
        raise ValueError(f"{tokenizer!r} is no tokenizer we ship; use o200k_base, cl100k_base or estimate.")
    encoding: Encoding = "cl100k_base" if tokenizer == "cl100k_base" else "o200k_base"
    return with_gigatoken(encoding) if HAS_GIGATOKEN else with_tiktoken(encoding)


def with_gigatoken(encoding: Encoding) -> Counter:
    """Counts with gigatoken; its cache of pieces grows to about 150 MB and then stays.

    The same counts as tiktoken on every text of characters assigned up to Unicode 16; the two disagree by a
    token on some that Unicode 17 (2025) added, where their tables of letters and marks differ.
    """
    import gigatoken  # optional: see HAS_GIGATOKEN

    with tempfile.TemporaryDirectory(prefix="kitae-ranks-") as folder:  # it loads from a path only
        path = Path(folder, f"{encoding}.tiktoken")
        path.write_bytes(ranks(encoding))
        backend = gigatoken.Tokenizer.from_tiktoken(
            path, pretokenizer=_GIGATOKEN_PRETOKENIZERS[encoding], special_tokens={}
        ).backend
    counting = _Gigatoken(backend)
    return Counter(counting.one, counting.many)


class _Gigatoken:
    """Its encoder counts batches side by side, but raises where a single text meets a batch; so one waits."""

    def __init__(self, backend: Any) -> None:
        self._encode = backend.encode
        self._encode_batch = backend.encode_batch
        self._batches = 0
        """That are being counted at the moment."""
        self._turn = threading.Condition()

    def one(self, text: str) -> int:
        pieces = [text] if len(text) <= GUARDED_CHARACTERS else _without_long_runs(text)
        with self._turn:
            while self._batches:
                self._turn.wait()
            return sum([int(self._encode(piece).shape[0]) for piece in pieces])

    def many(self, texts: list[str] | list[bytes]) -> NDArray[np.int64]:
        if not texts:
            return np.zeros(0, dtype=np.int64)
        with self._turn:
            self._batches += 1
        try:
            ends: NDArray[np.int64] = self._encode_batch(texts, parallel=False).layout.offsets.data
        finally:
            with self._turn:
                self._batches -= 1
                self._turn.notify_all()
        return np.diff(ends)


def reference(encoding: Encoding) -> tiktoken.Encoding:
    """The tokenizer as its publisher wrote it, without special tokens."""
    merges = {}
    for line in ranks(encoding).splitlines():
        token, rank = line.split()
        merges[base64.b64decode(token)] = int(rank)
    return tiktoken.Encoding(encoding, pat_str=_PATTERNS[encoding], mergeable_ranks=merges, special_tokens={})


def with_tiktoken(encoding: Encoding) -> Counter:
    """Counts with tiktoken: the reference, and the fallback where gigatoken has no wheel."""
    encode = reference(encoding).encode_ordinary

    def count(text: str) -> int:
        if len(text) > GUARDED_CHARACTERS:
            return sum(len(encode(piece)) for piece in _without_long_runs(text))
        return len(encode(text))

    return Counter(count, _each(count))


def _without_long_runs(text: str) -> list[str]:
    pieces = []
    start = 0
    for run in _LONG_RUN.finditer(text):
        for cut in range(run.start() + RUN_CHARACTERS_MAX, run.end(), RUN_CHARACTERS_MAX):
            pieces.append(text[start:cut])
            start = cut
    pieces.append(text[start:])
    return pieces
