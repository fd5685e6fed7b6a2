"""Cases to be asked and examples to be shown, read from rows of a dataset. Pure.

It must not know who is asked or what an answer is worth. A case is what stands before the last answer; an example
is shown to a model only where it is no near duplicate of the case.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from app.datasets.engine.near import SIMILARITY, normalised, pieces

POOL_MAX: Final = 1000
"""Examples that are compared with each case. A larger training set is sampled."""

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question with what a good answer is measured by."""

    messages: tuple[Message, ...]
    """Up to the answer, which is not among them."""
    reference: str | None
    """The answer that the row has."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The row's own members beside its messages."""
    line: int | None = None

    @property
    def question(self) -> str:
        """The last thing that the person says."""
        return next((text_of(one) for one in reversed(self.messages) if one.get("role") == "user"), "")

    @property
    def item(self) -> dict[str, Any]:
        """What a grader sees as `item`."""
        known: dict[str, Any] = {"question": self.question}
        if self.reference is not None:
            known["reference"] = self.reference
        return {**known, **self.fields}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Case":
        return cls(**{**stored, "messages": tuple(stored["messages"])})


def text_of(message: Message) -> str:
    """Its text; of parts, those that are text."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""


def case_in(line: bytes, number: int) -> Case | None:
    """The case of a row of any method; None where it has no question, or its answer is no text."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(row, dict):
        return None
    if isinstance(row.get("input"), dict):  # preference training: the preferred answer is the reference
        messages, answers = row["input"].get("messages"), row.get("preferred_output")
        said = [*messages, *answers] if isinstance(messages, list) and isinstance(answers, list) else []
        fields: dict[str, Any] = {}
    else:
        said = row["messages"] if isinstance(row.get("messages"), list) else []
        fields = {key: value for key, value in row.items() if key not in {"messages", "tools", "functions"}}
    said = [one for one in said if isinstance(one, dict)]
    reference = None
    if said and said[-1].get("role") == "assistant":
        reference = text_of(said[-1]) or None
        if reference is None:
            return None
        said = said[:-1]
    shown = tuple({"role": one.get("role"), "content": one.get("content")} for one in said)
    case = Case(messages=shown, reference=reference, fields=fields, line=number)
    has_tools = any(one.get("role") not in {"system", "developer", "user", "assistant"} for one in said)
    if not case.question or has_tools or any(one["content"] is None for one in shown):
        return None
    return case


def sample(lines: Iterable[bytes], *, count: int, seed: int) -> tuple[list[Case], int]:
    """So many cases, drawn evenly, in the order of their lines; and how many rows cannot be asked.

    The same lines, count and seed give the same cases.
    """
    draw = random.Random(seed)
    drawn: list[Case] = []
    seen = left_out = 0
    for number, line in enumerate(lines, 1):
        case = case_in(line, number)
        if case is None:
            left_out += bool(line.strip())
            continue
        seen += 1
        if len(drawn) < count:
            drawn.append(case)
        elif (place := draw.randrange(seen)) < count:
            drawn[place] = case
    return sorted(drawn, key=lambda case: case.line or 0), left_out


# ── examples ────────────────────────────────────────────────────────────────


def shots(
    cases: Sequence[Case], pool: Sequence[Case], *, count: int, nearest: bool, seed: int
) -> list[tuple[int, ...]]:
    """For each case the examples of the pool to be shown, the most alike last, where a model heeds it most.

    An example whose question is a near duplicate of the case's is never shown: it would tell the answer.

    Args:
        nearest: those that ask most alike; otherwise the same few for all, drawn by the seed.
    """
    order = list(range(len(pool)))
    random.Random(seed).shuffle(order)
    alike = list(_likeness(cases, pool))
    chosen = []
    for likeness in alike:
        ranked = sorted(order, key=lambda one: -likeness[one]) if nearest else order
        found = [one for one in ranked if likeness[one] < SIMILARITY][:count]
        chosen.append(tuple(reversed(found)))
    return chosen


def _likeness(cases: Sequence[Case], pool: Sequence[Case]) -> Iterator[NDArray[np.float64]]:
    """For each case, how alike each example's question is: the share of pieces of four characters in common."""
    parts = [pieces(normalised(example.question)) for example in pool]
    sizes = np.array([len(one) for one in parts], dtype=np.int64)
    if not parts:
        yield from (np.zeros(0) for _ in cases)
        return
    hashes = np.concatenate(parts)
    owners = np.repeat(np.arange(len(parts)), sizes)
    for case in cases:
        own = pieces(normalised(case.question))
        shared = np.bincount(owners[np.isin(hashes, own)], minlength=len(parts))
        yield shared / np.maximum(1, sizes + len(own) - shared)
