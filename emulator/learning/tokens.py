"""Text to o200k_base token ids and back, offline; knows nothing of models."""

import base64
import gzip
import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import tiktoken

from emulator.learning.arrays import Flags, Ints

N_TOKENS = 200_019
"""Ids of o200k_base, special tokens included."""
_RANKS = 199_998  # ids that stand for bytes; the next one is unused
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


@dataclass(frozen=True, slots=True)
class Edges:
    """How tokens begin and end, (N_TOKENS,) each, by letters (or marks, digits) of scripts that space their words.

    ``goes_on``: begins with one, ``open_ended``: ends with one; ``splits``: begins in the middle of a character;
    ``capital``: begins with a capital letter, after a space or without.
    """

    goes_on: Flags
    open_ended: Flags
    splits: Flags
    capital: Flags


@cache
def edges() -> Edges:
    """The edges of all tokens, worked out once (half a second)."""
    found = np.zeros((4, N_TOKENS), bool)
    for token in range(_RANKS):
        piece = encoding().decode_single_token_bytes(token)
        text = piece.decode("utf-8", "replace")
        found[0, token], found[1, token] = _spaced(text[0]), _spaced(text[-1])
        found[2, token] = 0x80 <= piece[0] < 0xC0  # a continuation byte of UTF-8
        found[3, token] = text.removeprefix(" ")[:1].isupper()
    return Edges(*found)


@cache
def _spaced(character: str) -> bool:
    """Whether it is a letter, mark or digit of a script that puts spaces between words.

    Those are Unicode's blocks before Thai, and the additions to Latin and Greek.
    """
    place = ord(character)
    return (place < 0x0E00 or 0x1E00 <= place < 0x2000) and unicodedata.category(character)[0] in "LMN"


def within_word(before: Ints, token: Ints) -> Flags:
    """Whether tokens go on with the word, or the character, of the tokens before them."""
    edge = edges()
    within: Flags = (edge.goes_on[token] & edge.open_ended[before]) | edge.splits[token]
    return within


@lru_cache(maxsize=65_536)
def spaced_otherwise(word: tuple[int, ...]) -> tuple[int, ...]:
    """The ids of a word without the space before it, or with one when it had none; none at all for other tokens."""
    text = decode(word)
    bare = text.removeprefix(" ")
    if not (bare[:1].isalpha() and _spaced(bare[0])):
        return ()
    return tuple(encode(bare if bare != text else " " + text))


def count_tokens(text: str) -> int:
    """How many o200k_base tokens the text has."""
    return len(encode(text))
