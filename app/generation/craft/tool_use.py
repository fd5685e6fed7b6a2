"""Conversations that call an operation: what is asked, and what is kept of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from app.generation.craft.answers import is_refusal, read_items
from app.generation.craft.facts import numbers_of
from app.generation.craft.kinds import TEXT_SHOWN, Item, Kept, Unit, shown
from app.generation.craft.operations import Operation, violations
from app.generation.craft.paraphrases import repeats
from app.generation.craft.scripts import key_of
from app.generation.craft.styles import MARGIN
from app.generation.craft.verdicts import Fault

PROMPT_VERSION: Final = "tool-use-1"
MEMBER: Final = "conversations"
AT_ONCE: Final = 5
"""Conversations that one request asks for at most; each is long."""
AVOIDED_MAX: Final = 20
CALL_ID: Final = "call_1"
"""Every row has one call. Its id only ties the reply to it."""

_SYSTEM: Final = (
    "You write training data for a model that calls functions. You are given one function, and write "
    "conversations: a request of a user that can only be met by calling it, the arguments of the call, what "
    "the function returns, and the assistant's final answer, which rests on that alone. The user's words give"
    ' every argument. Arguments fit the schema. Answer with JSON only: {"conversations": [{"question": "…", '
    '"arguments": {…}, "result": …, "answer": "…"}]}.'
)


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """The kind of generation that calls operations. Each row carries all of them as tools."""

    operations: Sequence[Operation]
    wanted: int
    language: str
    system: str | None
    prompt_version: str = PROMPT_VERSION

    @property
    def subjects(self) -> int:
        return len(self.operations)

    def label(self, subject: int) -> str:
        return self.operations[subject].name

    def units(self) -> list[Unit]:
        return [unit for subject in range(len(self.operations)) for unit in self.more(subject, self.wanted)]

    def more(self, subject: int, missing: int) -> list[Unit]:
        left, units = ceil(missing * MARGIN), []
        while left > 0:
            units.append(Unit(subject, "", min(left, AT_ONCE)))
            left -= AT_ONCE
        return units

    def messages(self, unit: Unit, kept: Sequence[Kept]) -> list[dict[str, str]]:
        operation = self.operations[unit.subject]
        task = {
            "task": "tool_use",
            "language": self.language,
            "function": operation.tool["function"],
            "count": unit.count,
            "avoid": [one.text for one in kept if one.subject == unit.subject][-AVOIDED_MAX:],
        }
        said = (
            f"Write {unit.count} conversations in {self.language}. Let the arguments differ. Do not repeat "
            "requests under `avoid`.\n\n"
        )
        return [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": said + json.dumps(task, ensure_ascii=False, indent=1)},
        ]

    def read(self, unit: Unit, answer: str, finish_reason: str | None, kept: Sequence[Kept]) -> list[Item]:
        heard = read_items(answer, MEMBER, finish_reason=finish_reason)
        found = [Item(answer[:TEXT_SHOWN], fault=Fault(heard.problem))] if heard.problem else []
        asked = [one.text for one in kept]
        operation = self.operations[unit.subject]
        for item in heard.items:
            fault = fault_of(item, operation)
            if fault is None:
                fault = repeats(item["question"], asked, near=False)
            if fault is None:
                asked.append(item["question"])
                found.append(Item(item["question"], self._row(operation, item)))
            else:
                found.append(Item(shown(item["question"] if fault.code != "shape" else item), fault=fault))
        return found

    def _row(self, operation: Operation, item: Mapping[str, Any]) -> dict[str, Any]:
        result = item["result"]
        call = {
            "id": CALL_ID,
            "type": "function",
            "function": {
                "name": operation.name,
                "arguments": json.dumps(item["arguments"], ensure_ascii=False),
            },
        }
        first = [{"role": "system", "content": self.system}] if self.system else []
        return {
            "messages": [
                *first,
                {"role": "user", "content": item["question"]},
                {"role": "assistant", "tool_calls": [call]},
                {
                    "role": "tool",
                    "tool_call_id": CALL_ID,
                    "content": result if isinstance(result, str) else json.dumps(result, ensure_ascii=False),
                },
                {"role": "assistant", "content": item["answer"]},
            ],
            "tools": [one.tool for one in self.operations],
        }

    def seeds(self) -> list[tuple[int, dict[str, Any]]]:
        return []


def fault_of(item: object, operation: Operation) -> Fault | None:
    """Why a conversation that should call this operation is left out."""
    if not isinstance(item, Mapping):
        return Fault("shape", "it is not an object")
    question, answer, arguments = item.get("question"), item.get("answer"), item.get("arguments")
    if not isinstance(question, str) or not isinstance(answer, str) or "result" not in item:
        return Fault("shape", "it needs `question`, `arguments`, `result` and `answer`")
    if not key_of(question) or not key_of(answer):
        return Fault("empty")
    if is_refusal(answer) or is_refusal(question):
        return Fault("refusal")
    if not isinstance(arguments, Mapping):
        return Fault("arguments-invalid", "the arguments are no object")
    wrong = next(violations(arguments, operation.parameters), None)
    if wrong is not None:
        return Fault("arguments-invalid", wrong)
    made_up = next(_not_given(arguments, operation.parameters, question), None)
    if made_up is not None:
        return Fault("argument-not-asked", made_up)
    return None


def _not_given(value: Any, schema: Mapping[str, Any], question: str, name: str = "") -> Iterator[str]:
    """Values that nobody said: free texts and numbers that the question does not have.

    Enumerations, dates and flags may be said in other words, so they are believed.
    """
    if "enum" in schema or "const" in schema or "format" in schema or isinstance(value, bool):
        return
    if isinstance(value, Mapping):
        for member, one in value.items():
            yield from _not_given(one, schema.get("properties", {}).get(member, {}), question, str(member))
    elif isinstance(value, list):
        for one in value:
            yield from _not_given(one, schema.get("items", {}), question, name)
    elif isinstance(value, int | float):
        if (
            value != schema.get("default")
            and f"{value:g}" not in numbers_of(question)
            and str(value) not in question
        ):
            yield f"{name}: {value:g}"
    elif isinstance(value, str) and key_of(value) not in key_of(question) and value != schema.get("default"):
        yield f"{name}: {value[:80]!r}"
