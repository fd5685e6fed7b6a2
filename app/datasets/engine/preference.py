"""The rules of a preference pair (DPO): one prompt, the better answer and the worse.

Must not know where a row came from.

Source: Azure OpenAI how-to direct preference optimization, 2026-03-20 (members, roles of outputs, two completions).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from app.datasets.engine.chat import ChatRules

KEYS: Final = frozenset({"input", "preferred_output", "non_preferred_output"})
INPUT_KEYS: Final = frozenset({"messages", "tools", "parallel_tool_calls"})
_OUTPUTS: Final = ("preferred_output", "non_preferred_output")
_OUTPUT_ROLES: Final = frozenset({"assistant", "tool", ""})
"""Roles that outputs may have; an unknown one has its own finding."""


class PreferenceRules(ChatRules):
    """Checks pair after pair and keeps the sums; both answers count as trained."""

    def examine(self, line: int, row: dict[str, Any]) -> None:
        self._begin(line)
        self._unknown_keys(row, KEYS)
        asked = row.get("input")
        if type(asked) is not dict or type(asked.get("messages")) is not list or not asked["messages"]:
            self._add("preference-shape", "input holds no list of messages", "/input")
            return
        declared = self._keys_and_tools(asked, INPUT_KEYS, at="/input")
        seen = self._read(asked["messages"], declared, at="/input/messages")
        if "user" not in seen.roles:
            self._add("no-user", pointer="/input/messages")
        answers = [self._output(row, name, declared) for name in _OUTPUTS]
        if None not in answers and answers[0] == answers[1]:
            self._add("same-preference", pointer="/non_preferred_output")
        self._sum(seen, has_tools="tools" in asked)

    def _output(self, row: dict[str, Any], name: str, declared: frozenset[str] | None) -> bytes | None:
        """Checks one of the two answers; returns it written in one way, None where there is none."""
        at, messages = f"/{name}", row.get(name)
        if type(messages) is not list or not messages:
            self._add("preference-shape", f"{name} is not a list of messages", at)
            return None
        seen = self._read(messages, declared, at=at)
        for index, role in enumerate(seen.roles):
            if role not in _OUTPUT_ROLES:
                self._add("preference-role", f"message {index + 1} of {name}: {role}", f"{at}/{index}/role")
        if "assistant" not in seen.roles:
            self._add("no-assistant", f"{name} holds no assistant message", at)
        return orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)
