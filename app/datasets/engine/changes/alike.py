"""Leaves rows out that are like others: the same, nearly the same, or the same prompt with another answer.

Must not know how likeness of texts is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from app.datasets.engine import near
from app.datasets.engine.changes.fields import print_of, prompt_of
from app.datasets.engine.changes.rows import Kept, Row
from app.datasets.engine.changes.steps import CLOSED, Step
from app.datasets.engine.fingerprints import first_of_equal
from app.datasets.engine.json_rows import parse
from app.datasets.engine.sketches import Sketches

AT_ONCE: Final = 1_000
"""Texts sketched in one go."""
Groups = NDArray[np.int64]
"""For each row, the position of the first row of its group."""


@dataclass(frozen=True, slots=True)
class Dedupe:
    """Of rows that are alike keep the first, the last or none.

    `exact`: the same example, whatever the order of its keys. `near`: almost the same words. `conflicting`: the
    same prompt with different answers; of these every row with the kept answer stays.
    """

    of: Literal["exact", "near", "conflicting"] = "exact"
    keep: Literal["first", "last", "none"] = "first"
    similarity: Annotated[
        float, Field(ge=0.5, le=1, description="For near: which share of their pieces both texts must have.")
    ] = near.SIMILARITY
    type: Literal["dedupe"] = "dedupe"

    __pydantic_config__: ClassVar = CLOSED

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """Lines that are no JSON objects are like no other."""
        stay = self._staying(rows)
        step.did["alike"] = int(np.count_nonzero(~stay))
        for row, stays in zip(rows, stay.tolist(), strict=True):
            if stays:
                yield row

    def _staying(self, rows: Kept) -> NDArray[np.bool_]:
        match self.of:
            case "near":
                return self._near(rows)
            case "exact":
                return self._one_of_each(equal_examples(rows))
            case _:
                return self._one_answer_each(equal_prompts(rows), equal_examples(rows))

    def _near(self, rows: Kept) -> NDArray[np.bool_]:
        """Groups are told without their first line; read from behind, without their last."""
        stay = np.ones(len(rows), dtype=bool)
        if self.keep in {"first", "none"}:
            stay[_after_another(rows.lines, self.similarity)] = False
        if self.keep in {"last", "none"}:
            stay[len(rows) - 1 - _after_another(lambda: _backwards(rows), self.similarity)] = False
        return stay

    def _one_of_each(self, groups: Groups) -> NDArray[np.bool_]:
        positions = np.arange(len(groups))
        if self.keep == "first":
            return np.equal(groups, positions)
        if self.keep == "none":
            alone: NDArray[np.bool_] = np.bincount(groups, minlength=len(groups))[groups] == 1
            return alone
        return np.equal(_last_of_each(groups)[groups], positions)

    def _one_answer_each(self, prompts: Groups, examples: Groups) -> NDArray[np.bool_]:
        disputed = np.zeros(len(prompts), dtype=bool)
        disputed[prompts[examples != examples[prompts]]] = True
        if self.keep == "none":
            return ~disputed[prompts]
        leading = prompts if self.keep == "first" else _last_of_each(prompts)[prompts]
        kept: NDArray[np.bool_] = ~disputed[prompts] | (examples == examples[leading])
        return kept


def _backwards(rows: Kept) -> Iterator[bytes]:
    return (rows.at(position).line for position in range(len(rows) - 1, -1, -1))


def _after_another(reread: near.Reread, similarity: float) -> NDArray[np.int64]:
    """Positions of lines that are much like an earlier one, or like one that is."""
    sketches, count = Sketches(), 0
    numbers: list[int] = []
    texts: list[bytes] = []
    for count, line in enumerate(reread(), 1):
        value = parse(line)
        if value is None:
            continue
        numbers.append(count)
        texts.append(near.text_of(value).encode("utf-8", "surrogatepass"))
        if len(numbers) == AT_ONCE:
            sketches.add(numbers, texts)
            numbers, texts = [], []
    if numbers:
        sketches.add(numbers, texts)
    found = near.near_duplicates(sketches, reread, lines=count, threshold=similarity)
    return np.array(list(found.mates), dtype=np.int64) - 1


def _last_of_each(groups: Groups) -> Groups:
    last = np.zeros(len(groups), dtype=np.int64)
    last[groups] = np.arange(len(groups))
    return last


def equal_examples(rows: Kept) -> Groups:
    """Rows that say the same in every member."""
    return _groups(print_of(value) if (value := parse(line)) is not None else None for line in rows.lines())


def equal_prompts(rows: Kept) -> Groups:
    """Rows of which the same is asked, with the same tools."""

    def prints() -> Iterator[bytes | None]:
        for line in rows.lines():
            value = parse(line)
            asked = prompt_of(value) if value is not None else None
            if value is None or asked is None:
                yield None
                continue
            inner = value.get("input")
            tools = (inner if type(inner) is dict else value).get("tools")
            yield print_of([asked, tools])

    return _groups(prints())


def _groups(prints: Iterator[bytes | None]) -> Groups:
    """Of 16-byte prints; a row without one is alone."""
    packed = bytearray()
    for position, one in enumerate(prints):
        packed += one if one is not None else position.to_bytes(16, "big")
    return first_of_equal(bytes(packed)).astype(np.int64)
