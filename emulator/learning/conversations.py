"""From chat messages to turns: what was heard, and the answer to it; knows nothing of models."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from emulator.learning.tokens import END_OF_TURN, count_tokens, encode

PROMPT_TOKENS = 512
"""A longer prompt is cut to its last tokens: a tiny model gains nothing from more."""
EARLIER_CHARACTERS = 300
"""How much of the turns before the question still counts as part of it."""
_PROMPT_CHARACTERS = 12_000
_TOKENS_PER_MESSAGE = 4  # 3 and the word of the role. Source: OpenAI cookbook, "How to count tokens with tiktoken"
_TOKENS_PER_REPLY = 3  # every reply is primed with the assistant's role. Same source.


@dataclass(frozen=True, slots=True)
class Turn:
    """One place where the assistant speaks. ``answer`` ends in END_OF_TURN; it is empty while unanswered."""

    system: str
    prompt: str
    system_ids: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    answer: tuple[int, ...]


@lru_cache(maxsize=64)
def _system_ids(system: str) -> tuple[int, ...]:
    return tuple(encode(system)[:PROMPT_TOKENS])


@lru_cache(maxsize=4096)
def _counted(text: str) -> int:
    return count_tokens(text)


def message_text(message: Mapping[str, Any]) -> str:
    """What a message says: its text, its text parts, else its refusal, else its tool calls as JSON."""
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(
            part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        )
    if isinstance(content, str) and content:
        return content
    for name in ("tool_calls", "function_call"):
        if message.get(name):
            return json.dumps(message[name], ensure_ascii=False, separators=(",", ":"))
    return str(message.get("refusal") or "")


def turn_to_answer(messages: Sequence[Mapping[str, Any]], answer: str | None = None) -> Turn:
    """The turn that follows these messages: the words since the assistant last spoke, and a little before them."""
    system = "\n".join(message_text(m) for m in messages if m.get("role") in ("system", "developer"))
    spoken = [m for m in messages if m.get("role") not in ("system", "developer")]
    last = max((at for at, m in enumerate(spoken) if m.get("role") == "assistant"), default=-1)
    asked = "\n".join(message_text(m) for m in spoken[last + 1 :])
    earlier = "\n".join(message_text(m)[-EARLIER_CHARACTERS:] for m in spoken[max(0, last - 1) : last + 1])
    prompt = "\n".join(part for part in (earlier[-EARLIER_CHARACTERS:], asked) if part)[-_PROMPT_CHARACTERS:]
    return Turn(
        system=system,
        prompt=prompt,
        system_ids=_system_ids(system[:_PROMPT_CHARACTERS]),
        prompt_ids=tuple(encode(prompt)[-PROMPT_TOKENS:]),
        answer=() if answer is None else (*encode(answer), END_OF_TURN),
    )


def answered_turns(examples: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """Every assistant message of the examples that is to be learned: all but those with ``weight`` 0."""
    turns = []
    for example in examples:
        messages = example.get("messages") or []
        for at, message in enumerate(messages):
            if message.get("role") == "assistant" and message.get("weight", 1) != 0:
                turns.append(turn_to_answer(messages[:at], message_text(message)))
    return turns


def preference_turns(examples: Iterable[Mapping[str, Any]]) -> list[tuple[Turn, Turn]]:
    """The preferred and the rejected answer to each prompt of a preference file."""
    turns = []
    for example in examples:
        asked = example["input"]["messages"]
        preferred, rejected = (
            "\n".join(message_text(m) for m in example[name] if m.get("role") == "assistant")
            for name in ("preferred_output", "non_preferred_output")
        )
        turns.append((turn_to_answer(asked, preferred), turn_to_answer(asked, rejected)))
    return turns


def asked_turns(examples: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """The unanswered turn each example ends in."""
    return [turn_to_answer(example["messages"]) for example in examples]


def prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """What the messages count as when a reply is asked for."""
    return sum(_counted(message_text(m)) + _TOKENS_PER_MESSAGE for m in messages) + _TOKENS_PER_REPLY


def file_tokens(examples: Iterable[Mapping[str, Any]]) -> int:
    """What one epoch over the examples is billed as: every message and tool definition, learned or not."""
    total = 0
    for example in examples:
        asked = example.get("input") or example
        total += prompt_tokens(asked.get("messages") or [])
        for name in ("preferred_output", "non_preferred_output"):
            total += prompt_tokens(example[name]) if example.get(name) else 0
        if asked.get("tools"):
            total += _counted(json.dumps(asked["tools"], ensure_ascii=False, separators=(",", ":")))
    return total
