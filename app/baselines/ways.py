"""Ways to ask a base model without training it: what each sends for a case. Pure; it must not know who answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.baselines.cases import Case, Message, text_of

WayType = Literal["zero_shot", "prompt", "few_shot", "retrieval"]

_SYSTEM: Final = frozenset({"system", "developer"})
RETRIEVAL_ORDER: Final = (
    "Answer from the passages below where they hold the answer, in the language of the question. "
    "Do not mention the passages."
)
PASSAGE_CHARACTERS: Final = 4000
"""Of one passage; a longer one is cut, so that what a request may cost can be told before it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to ask every case."""

    name: str
    type: WayType
    system: str | None = None
    """Takes the place of the case's own; None keeps that."""
    shots: tuple[tuple[int, ...], ...] = ()
    """For each case, places in the pool of the examples to be shown."""
    search_index: str | None = None
    """Id of the index that is searched."""
    passages: int = 0
    """Most passages that are put before the model."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Way":
        return cls(**{**stored, "shots": tuple(tuple(one) for one in stored["shots"])})


def messages(
    way: Way, place: int, case: Case, pool: Sequence[Case], passages: Sequence[Mapping[str, Any]] = ()
) -> list[Message]:
    """What is sent.

    Args:
        place: the case's, which says which examples it gets.
        passages: found for this case; `{"text": …, "title": …}`.
    """
    system = way.system if way.system is not None else _system_of(case)
    if way.type == "retrieval":
        system = "\n\n".join(part for part in (system, RETRIEVAL_ORDER, _listed(passages)) if part)
    sent: list[Message] = [{"role": "system", "content": system}] if system else []
    if way.shots:
        for one in way.shots[place]:
            sent += _said(pool[one])
            sent.append({"role": "assistant", "content": pool[one].reference})
    return sent + _said(case)


def _system_of(case: Case) -> str:
    return "\n\n".join(text_of(one) for one in case.messages if one.get("role") in _SYSTEM)


def _said(case: Case) -> list[Message]:
    return [one for one in case.messages if one.get("role") not in _SYSTEM]


def _listed(passages: Sequence[Mapping[str, Any]]) -> str:
    return "\n\n".join(
        f"[{number}] {passage['title']}\n{passage['text']}".replace("] \n", "]\n")
        for number, passage in enumerate(passages, 1)
    )
