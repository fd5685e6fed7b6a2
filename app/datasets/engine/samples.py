"""Takes unseen questions with their reference answers from a file, for comparing models.

Must not judge the file; rows that are no chat examples are passed over.
"""

from __future__ import annotations

import random
from itertools import chain, pairwise
from typing import Any

import orjson

from app.datasets.engine.lines import Source, TooLong, chunks_of, line_batches
from app.datasets.engine.report import Limits

CANDIDATES_PER_SAMPLE = 16
"""Rows kept while reading, for each one asked for: enough to spread them evenly over a file of any length."""

Prompt = tuple[list[dict[str, Any]], str]
"""The messages without the last answer, and that answer."""


def sample_prompts(source: Source, count: int, seed: int) -> list[Prompt]:
    """Up to `count` questions, spread evenly over the file, each asked once; the same for the same seed.

    Every k-th question is kept while reading, and k doubles whenever too many have gathered; at the end one
    is drawn from each of `count` equal stretches. Rows whose last answer is not a text are passed over.
    """
    if count < 1:
        return []
    kept: list[Prompt] = []
    seen: set[bytes] = set()
    step, position = 1, 0
    for line in chain.from_iterable(line_batches(chunks_of(source), Limits().line_bytes_max)):
        prompt = None if isinstance(line, TooLong) else _prompt(line)
        if prompt is None:
            continue
        position += 1
        if (position - 1) % step:
            continue
        question = orjson.dumps(prompt[0])
        if question in seen:
            continue
        seen.add(question)
        kept.append(prompt)
        if len(kept) >= 2 * CANDIDATES_PER_SAMPLE * count:
            kept = kept[::2]
            seen = {orjson.dumps(messages) for messages, _ in kept}
            step *= 2
    chance = random.Random(seed)
    if len(kept) <= count:
        return kept
    bounds = [len(kept) * n // count for n in range(count + 1)]
    return [kept[chance.randrange(start, end)] for start, end in pairwise(bounds)]


def _prompt(line: bytes) -> Prompt | None:
    try:
        row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    messages = row.get("messages") if isinstance(row, dict) else None
    if not isinstance(messages, list) or len(messages) < 2 or not all(isinstance(m, dict) for m in messages):
        return None
    answer = messages[-1].get("content")
    if messages[-1].get("role") != "assistant" or not isinstance(answer, str) or not answer.strip():
        return None
    return messages[:-1], answer
