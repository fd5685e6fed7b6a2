"""Writes conversations in other words (ShareGPT turns, pairs of a history, transcripts) as chat messages.

Must not know which member of a row holds them.

Source: LLaMA-Factory data/README.md, 2025 (roles, tools, observations); FastChat, 2024 (human, gpt).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping as AbstractMapping
from typing import Any, Final

import orjson

Message = dict[str, Any]

CALL: Final = "function_call"
"""Not a role of chat: a turn that calls a function."""
ROLES: Final = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "function": "function",
    "function_call": CALL,
    "tool_call": CALL,
    "ユーザー": "user",
    "アシスタント": "assistant",
    "システム": "system",
}
"""What other layouts call a speaker -> role of a chat message."""
_ROLE_KEYS: Final = ("role", "from", "speaker")
_CONTENT_KEYS: Final = ("content", "value", "text")
_TRANSCRIPT: Final = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):[ \t]?")


def text_of(value: Any) -> Any:
    """What a message says: a text as it is, parts as they are, anything else written out."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and value and all(isinstance(part, dict) and "type" in part for part in value):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def parsed(value: Any) -> Any:
    """A list or object that stands in a cell as JSON text; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in {"[", "{"}:
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def tools_of(value: Any) -> list[Any]:
    """Tools as chat examples declare them; functions without their wrapping get it."""
    value = parsed(value)
    found = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    return [
        {"type": "function", "function": tool} if isinstance(tool, dict) and "function" not in tool else tool
        for tool in map(parsed, found)
    ]


def messages_of(
    value: Any,
    *,
    role_key: str | None = None,
    content_key: str | None = None,
    roles: AbstractMapping[str, str] | None = None,
) -> list[Message] | None:
    """A list of turns as messages; None when `value` is no such list.

    Calls get ids in the order of their turns, and replies without one answer them in that order.
    """
    turns = parsed(value)
    if isinstance(turns, dict):
        turns = [turns]
    if not isinstance(turns, list) or not turns:
        return None
    words = ROLES | dict(roles or {})
    role_keys = (role_key,) if role_key else _ROLE_KEYS
    content_keys = (content_key,) if content_key else _CONTENT_KEYS
    thread = _Thread()
    for turn in turns:
        if not isinstance(turn, dict):
            return None
        key = next((key for key in role_keys if isinstance(turn.get(key), str)), None)
        if key is None:
            return None
        content = next((turn[name] for name in content_keys if name in turn), None)
        role = words.get(turn[key]) or words.get(turn[key].lower()) or turn[key]
        thread.take(role, content, turn if key == "role" else {})
    return thread.messages


class _Thread:
    """Messages as they are written, with the calls that wait for a reply."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._waiting: list[str] = []
        self._calls = 0

    def take(self, role: str, content: Any, native: Message) -> None:
        """`native` is a turn that is a chat message already, with all its members."""
        if role == CALL:
            self._call(content)
        elif role == "tool" and "tool_call_id" not in native:
            self._reply(content)
        elif native:
            kept = {key: item for key, item in native.items() if item is not None or key == "content"}
            if isinstance(kept.get("tool_calls"), list) and "content" in kept and kept["content"] is None:
                del kept["content"]
            self.messages.append({**kept, "role": role})
            self._waiting += [
                call["id"]
                for call in native.get("tool_calls") or []
                if isinstance(call, dict) and isinstance(call.get("id"), str)
            ]
        else:
            self.messages.append({"role": role, "content": text_of(content)})

    def _call(self, content: Any) -> None:
        found = parsed(content)
        calls = [call for call in (found if isinstance(found, list) else [found]) if isinstance(call, dict)]
        named = [call.get("function", call) for call in calls]
        if not named or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in named):
            self.messages.append({"role": "assistant", "content": text_of(content)})
            return
        made: list[Message] = []
        for call in named:
            self._calls += 1
            arguments = call.get("arguments", {})
            made.append(
                {
                    "id": f"call_{self._calls}",
                    "type": "function",
                    "function": {
                        "name": call["name"],
                        "arguments": arguments if isinstance(arguments, str) else text_of(arguments),
                    },
                }
            )
        self._waiting = [str(call["id"]) for call in made]
        self.messages.append({"role": "assistant", "tool_calls": made})

    def _reply(self, content: Any) -> None:
        found = parsed(content)
        several = isinstance(found, list) and len(found) == len(self._waiting) > 1
        for reply in found if several else [content]:
            called = self._waiting.pop(0) if self._waiting else ""
            self.messages.append({"role": "tool", "tool_call_id": called, "content": text_of(reply)})


def history_of(value: Any) -> list[Message]:
    """Earlier turns: pairs of question and answer, or messages."""
    turns = parsed(value)
    if not isinstance(turns, list):
        return []
    if turns and all(isinstance(turn, list | tuple) and len(turn) == 2 for turn in turns):
        return [
            {"role": role, "content": text_of(said)}
            for turn in turns
            for role, said in (("user", turn[0]), ("assistant", turn[1]))
        ]
    return messages_of(turns) or []


def transcript_of(value: Any) -> list[Message] | None:
    """A text of the kind of `Human: … Assistant: …` as messages."""
    if not isinstance(value, str) or not _TRANSCRIPT.match(value):
        return None
    pieces = _TRANSCRIPT.split(value)[1:]
    return [
        {"role": "user" if who == "Human" else "assistant", "content": said.strip()}
        for who, said in zip(pieces[0::2], pieces[1::2], strict=True)
    ]
