"""Turns examples of one training method into those of another, where that has a meaning.

Must not know how examples are checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from app.datasets.engine.changes.fields import MISSING, FieldName, is_from, print_of, prompt_of, text_in, value_at
from app.datasets.engine.changes.repairs import REFERENCE
from app.datasets.engine.changes.rows import Kept, Origin, Row
from app.datasets.engine.changes.steps import CLOSED, CannotChange, Step
from app.datasets.engine.json_rows import parse, write
from app.datasets.engine.kinds import kind_of
from app.datasets.engine.report import Method

VersionRef = Annotated[str, Field(min_length=1, max_length=200, examples=["travel-worse@1"])]
_TOOLS: Final = ("tools", "parallel_tool_calls")
Value = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Convert:
    """Make the rows examples of another method; those that cannot be are left out and counted.

    - to `supervised`: of a pair, the prompt with the preferred answer; of a graded example, the prompt with its
      reference as the answer.
    - to `dpo`: the answer is the preferred one; the worse one comes from a member of the row (`worse_field`) or
      from another version that answers the same prompts (`worse`).
    - to `reinforcement`: the prompt, with the last answer's text as the member `reference`.
    """

    to: Method
    worse: Annotated[
        VersionRef | None, Field(description="To dpo: a version with worse answers to the same prompts.")
    ] = None
    worse_field: Annotated[
        FieldName | None, Field(description="To dpo: where a row has its worse answer, a text or messages.")
    ] = None
    reference: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
            description="The member with the answer that a grader compares with, made or read.",
        ),
    ] = REFERENCE
    type: Literal["convert"] = "convert"

    __pydantic_config__: ClassVar = CLOSED

    def __post_init__(self) -> None:
        if self.to == "dpo" and (self.worse is None) == (self.worse_field is None):
            raise ValueError(
                "pairs need worse answers, which nobody can make up: "
                "name a version that has them (worse), or a field (worse_field)"
            )
        if self.to != "dpo" and (self.worse is not None or self.worse_field is not None):
            raise ValueError("only pairs (dpo) have worse answers")

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """Raises `CannotChange` (`nothing_to_convert`): they are such examples already."""
        if step.profile.method == self.to:
            raise CannotChange("nothing_to_convert", f"The rows are {self.to} examples already.")
        worse = self._worse_answers(step)
        for row in rows:
            value = parse(row.line)
            if value is None:
                step.did["no example"] += 1
                continue
            made, more = self._converted(value, worse)
            if made is None:
                step.did["without what it takes"] += 1
            else:
                yield row.changed(write(made), step.bit, *more)

    def _converted(
        self, value: Value, worse: dict[bytes, tuple[list[Any], Origin]]
    ) -> tuple[Value | None, list[Origin]]:
        plain = self._as_supervised(value)
        match self.to:
            case "supervised":
                return plain, []
            case "reinforcement":
                return self._as_reinforcement(plain), []
            case _:
                return self._as_pair(plain, value, worse)

    def _as_supervised(self, value: Value) -> Value | None:
        """The conversation with its answer, and the tools."""
        kind = kind_of(value)
        if kind == "preference":
            asked, answer = value.get("input"), value.get("preferred_output")
            if type(asked) is not dict or type(asked.get("messages")) is not list or type(answer) is not list:
                return None
            return _with_tools({"messages": [*asked["messages"], *answer]}, asked)
        messages = value.get("messages")
        if type(messages) is not list or not messages:
            return None
        if is_from(messages[-1], "assistant"):
            return _with_tools({"messages": messages}, value)
        reference = value.get(self.reference)
        if type(reference) is not str or not reference:
            return None
        return _with_tools({"messages": [*messages, {"role": "assistant", "content": reference}]}, value)

    def _as_reinforcement(self, plain: Value | None) -> Value | None:
        if plain is None:
            return None
        messages = plain["messages"]
        answer = text_in(messages[-1].get("content")) if is_from(messages[-1], "assistant") else ""
        if not answer or len(messages) < 2 or not is_from(messages[-2], "user"):
            return None
        return _with_tools({"messages": messages[:-1]}, plain) | {self.reference: answer}

    def _as_pair(
        self, plain: Value | None, value: Value, worse: dict[bytes, tuple[list[Any], Origin]]
    ) -> tuple[Value | None, list[Origin]]:
        if plain is None or not is_from(plain["messages"][-1], "assistant"):
            return None, []
        prompt, better = plain["messages"][:-1], _answer(plain["messages"][-1])
        more: list[Origin] = []
        if self.worse_field is not None:
            rejected = _as_messages(value_at(value, self.worse_field))
        else:
            found = worse.get(print_of(prompt))
            rejected = found[0] if found else None
            more = [found[1]] if found else []
        if rejected is None or print_of(rejected) == print_of([better]):
            return None, []
        pair = {"input": _with_tools({"messages": prompt}, plain), "preferred_output": [better]}
        return pair | {"non_preferred_output": rejected}, more

    def _worse_answers(self, step: Step) -> dict[bytes, tuple[list[Any], Origin]]:
        """Of the other version: prompt -> its first answer. Memory grows with its answers."""
        if self.worse is None:
            return {}
        answers: dict[bytes, tuple[list[Any], Origin]] = {}
        for row in step.other(self.worse):
            value = parse(row.line)
            plain = self._as_supervised(value) if value is not None else None
            if plain is None or not is_from(plain["messages"][-1], "assistant"):
                continue
            key = print_of(prompt_of(plain))
            answers.setdefault(key, ([_answer(plain["messages"][-1])], row.origins[0]))
        return answers


def _with_tools(value: Value, source: Value) -> Value:
    return value | {name: source[name] for name in _TOOLS if name in source}


def _answer(message: Value) -> Value:
    """An answer as one of a pair: everything of it is taught, so it has no weight."""
    return {key: item for key, item in message.items() if key != "weight"}


def _as_messages(found: Any) -> list[Any] | None:
    if found is MISSING:
        return None
    if isinstance(found, str) and found:
        return [{"role": "assistant", "content": found}]
    if isinstance(found, dict):
        return [_answer(found)]
    return found if isinstance(found, list) and found else None


@dataclass(frozen=True, slots=True)
class Merge:
    """Add the rows of other versions behind those of this one, in the order in which they are named."""

    versions: Annotated[tuple[VersionRef, ...], Field(min_length=1, max_length=20)]
    type: Literal["merge"] = "merge"

    __pydantic_config__: ClassVar = CLOSED

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        yield from rows
        for name in self.versions:
            yield from step.other(name)


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a member of the rows another name, such as the reference answer that a grader reads."""

    member: Annotated[str, Field(min_length=1, max_length=200)]
    to: Annotated[str, Field(min_length=1, max_length=200)]
    type: Literal["rename"] = "rename"

    __pydantic_config__: ClassVar = CLOSED

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """A row that has the new name already stays as it is."""
        for row in rows:
            value = parse(row.line)
            if value is None or self.member not in value or self.to in value:
                step.did["as they were"] += 1
                yield row
                continue
            renamed = {self.to if key == self.member else key: item for key, item in value.items()}
            yield step.change(row, write(renamed))
