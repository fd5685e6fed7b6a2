"""Text to o200k_base token ids and back, offline; knows nothing of models."""

import base64
import gzip
import hashlib
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

import tiktoken

N_TOKENS = 200_019
"""Ids of o200k_base, special tokens included."""
END_OF_TURN = 199_999
"""The id that closes an answer (``<|endoftext|>``)."""

_VOCABULARY = Path(__file__).parent / "data" / "o200k_base.tiktoken.gz"
_VOCABULARY_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"

# The splitting rule that belongs to the ranks. Source: tiktoken 0.12, tiktoken_ext/openai_public.py (MIT).
_CASES = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"
_LOWER = r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_PATTERN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_CASES}]*[{_LOWER}]+{_SUFFIX}",
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_CASES}]+[{_LOWER}]*{_SUFFIX}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

# tiktoken's pattern engine gives up on very long runs of one kind ("stack overflow"); such runs are cut here.
_RUN = 4_000
_LONG_RUN = re.compile(rf"\s{{{_RUN}}}|\S{{{_RUN}}}")


@cache
def encoding() -> tiktoken.Encoding:
    """o200k_base, loaded once (about half a second)."""
    return load_encoding()


def load_encoding(file: Path = _VOCABULARY) -> tiktoken.Encoding:
    """o200k_base from its ranks.

    Raises:
        ValueError: the file is not the o200k_base the models were made for.
    """
    ranks = gzip.decompress(file.read_bytes())
    found = hashlib.sha256(ranks).hexdigest()
    if found != _VOCABULARY_SHA256:
        raise ValueError(f"{file.name}: sha256 is {found}, expected {_VOCABULARY_SHA256}; restore the file")
    pairs = (line.split() for line in ranks.splitlines() if line)
    return tiktoken.Encoding(
        name="o200k_base",
        pat_str=_PATTERN,
        mergeable_ranks={base64.b64decode(piece): int(rank) for piece, rank in pairs},
        special_tokens={"<|endoftext|>": END_OF_TURN, "<|endofprompt|>": 200_018},
    )


def encode(text: str) -> list[int]:
    """Ids of the text; special tokens in it are ordinary text. Runs of over 4,000 characters are cut first."""
    ids: list[int] = []
    start = 0
    for run in _LONG_RUN.finditer(text) if len(text) >= _RUN else ():
        ids += encoding().encode_ordinary(text[start : run.end()])
        start = run.end()
    return ids + encoding().encode_ordinary(text[start:])


def decode(ids: Sequence[int]) -> str:
    """Text of the ids; bytes that are no UTF-8 become U+FFFD, special tokens nothing."""
    return encoding().decode([token for token in ids if token < END_OF_TURN])


@lru_cache(maxsize=65_536)
def spacing(token: int) -> str:
    """How a token stands to the one before: it ``opens`` a spaced word, is ``inside`` a word, or is ``other``."""
    piece = encoding().decode_single_token_bytes(token) if token < END_OF_TURN else b""
    if piece[:1] == b" " and _in_word(piece[1:2]):
        return "opens"
    return "inside" if _in_word(piece[:1]) else "other"


def _in_word(first: bytes) -> bool:
    return first.isalnum() or first >= b"\x80"


@lru_cache(maxsize=65_536)
def without_space(word: tuple[int, ...]) -> tuple[int, ...]:
    """The ids of a word that opens with a space when it stands without it, as after a quotation mark."""
    return tuple(encode(decode(word)[1:]))


def count_tokens(text: str) -> int:
    """How many o200k_base tokens the text has."""
    return len(encode(text))
