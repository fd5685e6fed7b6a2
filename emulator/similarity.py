"""How alike two texts are, 0 to 1, by the metrics of `text_similarity` graders; it knows nothing of graders.

Words are runs of letters and digits without regard to case. METEOR counts exact matches only: it knows no synonyms.
"""

import math
import re
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher
from functools import partial
from typing import Final

_WORD = re.compile(r"\w+")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _grams(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def _shared(left: Counter[tuple[str, ...]], right: Counter[tuple[str, ...]]) -> int:
    return (left & right).total()


def _f1(shared: float, left: float, right: float) -> float:
    return 2 * shared / (left + right) if left + right else 0.0


def fuzzy_match(text: str, reference: str) -> float:
    return SequenceMatcher(None, text, reference, autojunk=False).ratio()


def bleu(text: str, reference: str) -> float:
    """Geometric mean of the precisions of 1- to 4-grams (add-one above 1), with the brevity penalty."""
    said, wanted = _words(text), _words(reference)
    if not said or not wanted or not _shared(_grams(said, 1), _grams(wanted, 1)):
        return 0.0
    total = 0.0
    for size in range(1, 5):
        mine = _grams(said, size)
        extra = int(size > 1)
        total += math.log((_shared(mine, _grams(wanted, size)) + extra) / (mine.total() + extra))
    return min(1.0, math.exp(1 - len(wanted) / len(said))) * math.exp(total / 4)


def gleu(text: str, reference: str) -> float:
    """The smaller of precision and recall over all 1- to 4-grams."""
    said, wanted = _words(text), _words(reference)
    shared = sum(_shared(_grams(said, size), _grams(wanted, size)) for size in range(1, 5))
    mine, theirs = (sum(_grams(words, size).total() for size in range(1, 5)) for words in (said, wanted))
    return min(shared / mine, shared / theirs) if mine and theirs else 0.0


def meteor(text: str, reference: str) -> float:
    """Mean of precision and recall, recall counting nine times, less what scattered matches cost."""
    said, wanted = _words(text), _words(reference)
    blocks = [
        block for block in SequenceMatcher(None, said, wanted, autojunk=False).get_matching_blocks() if block.size
    ]
    shared = sum(block.size for block in blocks)
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(wanted)
    scattered = 0.5 * ((len(blocks) - 1) / shared) ** 3
    return 10 * precision * recall / (recall + 9 * precision) * (1 - scattered)


def rouge_n(size: int, text: str, reference: str) -> float:
    """F1 of the n-grams."""
    mine, theirs = _grams(_words(text), size), _grams(_words(reference), size)
    return _f1(_shared(mine, theirs), mine.total(), theirs.total())


def rouge_l(text: str, reference: str) -> float:
    """F1 of the longest common subsequence of words."""
    said, wanted = _words(text), _words(reference)
    row = [0] * (len(wanted) + 1)
    for word in said:
        before, row = row, [0]
        for place, other in enumerate(wanted):
            row.append(before[place] + 1 if word == other else max(before[place + 1], row[place]))
    return _f1(row[-1], len(said), len(wanted))


METRICS: Final[dict[str, Callable[[str, str], float]]] = {
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    "rouge_1": partial(rouge_n, 1),
    "rouge_2": partial(rouge_n, 2),
    "rouge_3": partial(rouge_n, 3),
    "rouge_4": partial(rouge_n, 4),
    "rouge_5": partial(rouge_n, 5),
    "rouge_l": rouge_l,
}
"""Source of the names: GraderTextSimilarity of the v1 specification, 2026-02-02."""
