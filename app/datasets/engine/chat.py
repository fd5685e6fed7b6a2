"""The rules of a supervised chat example, and its token count.

Must not know where a row came from.

Source: Azure OpenAI fine-tuning REST include and fine-tuning-functions, 2026-02-11 (keys, roles, tools);
fine-tuning vision, 2025-03-05 (images); fine-tuning tutorial, 2026 (token count).
"""

from __future__ import annotations

import binascii
import json
import re
from array import array
from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from app.datasets.engine import tokens
from app.datasets.engine.findings import Findings
from app.datasets.engine.json_rows import escaped
from app.datasets.engine.kinds import CHAT_KEYS
from app.datasets.engine.report import Profile, TokenStats
from app.datasets.engine.schemas import defect_of, misfit_of
from app.datasets.engine.tallies import Tally

TOKENS_PER_MESSAGE = 3
TOKENS_PER_NAME = 1
TOKENS_PER_EXAMPLE = 3
TOKENS_PER_IMAGE_LOW = 85
"""An image with detail "low". Source: fine-tuning vision, 2025-03-05."""
TOKENS_PER_IMAGE = 765
"""An image of 1024 by 1024 pixels with detail "high": a guess for images whose size we do not see.
Source: OpenAI vision guide, 2025 (85 + 4 tiles of 170)."""

SYSTEM_PROMPTS_MAX = 10_000
"""Distinct system prompts told apart; beyond it the count stops."""

_ROLE_KEYS = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset({"role", "content", "name", "weight", "tool_calls", "function_call", "refusal"}),
    "tool": frozenset({"role", "content", "name", "tool_call_id"}),
    "function": frozenset({"role", "content", "name"}),
}
MESSAGE_KEYS = frozenset().union(*_ROLE_KEYS.values())
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_IMAGE_URL = re.compile(r"https?://\S+\Z|data:image/(?P<kind>jpe?g|png|webp);base64,", re.IGNORECASE)
_IMAGE_STARTS = {"jpg": b"\xff\xd8\xff", "jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n", "webp": b"RIFF"}
_BASE64_START = 16
"""Characters of Base64 that tell what an image is."""
_DETAILS = frozenset({"low", "high", "auto"})


@dataclass(slots=True)
class _Conversation:
    """What was seen of a list of messages."""

    roles: list[str] = field(default_factory=list)
    """One a message, "" where it has none that is known."""
    weights: list[int] = field(default_factory=list)
    """One for each of the assistant's."""
    images: int = 0


class ChatRules:
    """Checks example after example and keeps the sums."""

    def __init__(self, profile: Profile, findings: Findings) -> None:
        self._findings = findings
        self._limits = profile.limits
        self._tokenizer = profile.tokenizer
        self._counter = tokens.counter(profile.tokenizer)
        self._count = self._counter.one
        self._role_tokens = {role: self._count(role) for role in _ROLE_KEYS}
        self._line = 0
        self._at = ""
        self._text_tokens = 0
        self._trained = 0
        self._by_role: Counter[str] = Counter()
        self._per_example = array("Q")
        self._messages: Counter[int] = Counter()
        self._roles: Counter[str] = Counter()
        self._features: Counter[str] = Counter()
        self._system_prompts: set[int] = set()
        self._last_tools: Any = None
        self._last_tools_tokens = 0
        self._last_tools_names: frozenset[str] = frozenset()
        self._last_tools_detail: tuple[str, str] | None = None
        self._last_tools_schemas: dict[str, Any] = {}
        """Function -> the schema of its parameters."""

    def examine(self, line: int, row: dict[str, Any]) -> None:
        """Checks one example; `row["messages"]` is a list that is not empty."""
        self._begin(line)
        declared = self._keys_and_tools(row, CHAT_KEYS) if len(row) > 1 else None
        seen = self._read(row["messages"], declared)
        self._order(seen.roles, seen.weights)
        self._sum(seen, has_tools="tools" in row or "functions" in row)

    def _begin(self, line: int) -> None:
        self._line = line
        self._text_tokens = TOKENS_PER_EXAMPLE

    def _read(self, messages: list[Any], declared: frozenset[str] | None, at: str = "/messages") -> _Conversation:
        """Checks message by message and counts them.

        Args:
            declared: names of the functions that may be called; None = no tools are declared.
            at: RFC 6901 pointer to the list.
        """
        self._at = at
        self._text_tokens += TOKENS_PER_MESSAGE * len(messages)
        seen = _Conversation()
        calls = False
        for index, message in enumerate(messages):
            if type(message) is not dict:
                self._add("message-shape", f"message {index + 1} is {_kind(message)}", f"{at}/{index}")
                seen.roles.append("")
                continue
            role = message.get("role")
            if type(role) is not str or role not in _ROLE_KEYS:
                said = "no role" if role is None else f"the role {_short(role)}"
                self._add("unknown-role", f"message {index + 1} has {said}", f"{at}/{index}/role")
                seen.roles.append("")
                continue
            seen.roles.append(role)
            self._roles[role] += 1
            weight = 1
            if len(message) != 2 or "content" not in message:
                weight = self._message_keys(message, role, index)
                calls = calls or role == "tool" or "tool_calls" in message
            content = message.get("content")
            if type(content) is str and content:
                spent = self._count(content)
                if role == "assistant" and weight and (content[0].isspace() or content[-1].isspace()):
                    self._add("answer-outer-whitespace", pointer=f"{at}/{index}/content")
            else:
                spent, images = self._content(message, content, role, index)
                seen.images += images
            if role == "assistant":
                seen.weights.append(weight)
                if "tool_calls" in message or "function_call" in message:
                    spent += self._calls(message, index, declared)
                if weight:
                    self._trained += spent
            elif role in {"system", "developer"} and len(self._system_prompts) < SYSTEM_PROMPTS_MAX:
                self._system_prompts.add(hash(str(content)))
            self._by_role[role] += spent
            self._text_tokens += spent + self._role_tokens[role]
        if calls:
            self._pair_calls(messages)
        return seen

    def take_plain(self, first_line: int, tally: Tally) -> None:
        """Adds plain examples; of what they may be found guilty, only two things are left.

        Args:
            first_line: number of the line that is the tally's place 0.
        """
        fixed = [
            TOKENS_PER_EXAMPLE + TOKENS_PER_MESSAGE * len(order) + sum(self._role_tokens[role] for role in order)
            for order in tally.orders
        ]
        per_example = np.array(fixed, dtype=np.int64)[tally.order_of] + tally.tokens
        self._per_example.frombytes(per_example.astype(np.uint64).tobytes())
        self._by_role.update(tally.tokens_by_role)
        self._trained += tally.tokens_by_role.get("assistant", 0)
        for order, count in zip(tally.orders, np.bincount(tally.order_of).tolist(), strict=True):
            self._messages[len(order)] += count
            for role in order:
                self._roles[role] += count
            if "system" in order or "developer" in order:
                self._features["with_system"] += count
            if order.count("user") > 1:
                self._features["with_several_turns"] += count
        if len(self._system_prompts) < SYSTEM_PROMPTS_MAX:
            self._system_prompts.update(map(hash, tally.prompts))
        limit = self._limits.tokens_per_example
        if limit is not None:
            for at in np.flatnonzero(per_example > limit).tolist():
                self._line = first_line + int(tally.places[at])
                self._too_long(int(per_example[at]), limit)
        for place, index in tally.spaced:
            self._line = first_line + place
            self._add("answer-outer-whitespace", pointer=f"/messages/{index}/content")

    def _too_long(self, count: int, limit: int) -> None:
        self._add("over-long-example", f"{count:,} tokens, the limit is {limit:,}")

    @staticmethod
    def is_sound(order: tuple[str, ...]) -> bool:
        """Whether no rule objects to messages of these roles, each of them taught, in this order."""
        unheard = Findings()
        rules = ChatRules(Profile("estimate"), unheard)
        rules._order(list(order), [1] * order.count("assistant"))
        return not unheard

    def token_stats(self) -> TokenStats:
        """What the examples so far add up to."""
        estimated = []
        if self._tokenizer == "estimate":
            estimated.append(
                f"all text: {tokens.BYTES_PER_TOKEN_ESTIMATE} UTF-8 bytes taken as one token, because this"
                " model's tokenizer is not published for offline use"
            )
        if self._features["with_tools"]:
            estimated.append("tools and calls: counted as their JSON; Azure rewrites them before it counts")
        if self._features["with_images"]:
            estimated.append(f"images: {TOKENS_PER_IMAGE_LOW} tokens each at low detail, else {TOKENS_PER_IMAGE}")
        stats = {
            "trained": self._trained,
            "by_role": dict(self._by_role),
            "over_limit": self._findings.lines_of("over-long-example"),
            "estimated": tuple(estimated),
        }
        if not self._per_example:
            return TokenStats(tokenizer=self._tokenizer, estimated=tuple(estimated))
        counts = np.frombuffer(self._per_example, dtype=np.uint64)
        quantiles = np.quantile(counts, (0.5, 0.95), method="inverted_cdf")
        return TokenStats(
            tokenizer=self._tokenizer,
            total=int(counts.sum()),
            per_example_min=int(counts.min()),
            per_example_p50=int(quantiles[0]),
            per_example_p95=int(quantiles[1]),
            per_example_max=int(counts.max()),
            **stats,  # type: ignore[arg-type]
        )

    def stats(self) -> dict[str, Any]:
        """Counts that describe the examples; JSON values only."""
        count = self._messages.total()
        sizes = sorted(self._messages)
        return {
            "messages_total": sum(size * n for size, n in self._messages.items()),
            "messages_per_example_min": sizes[0] if count else 0,
            "messages_per_example_mean": round(sum(s * n for s, n in self._messages.items()) / count, 2)
            if count
            else 0,
            "messages_per_example_max": sizes[-1] if count else 0,
            "roles": dict(self._roles),
            "system_prompts_distinct": len(self._system_prompts),
            "with_system": self._features["with_system"],
            "with_tools": self._features["with_tools"],
            "with_images": self._features["with_images"],
            "with_several_turns": self._features["with_several_turns"],
        }

    def _add(self, code: str, detail: str = "", pointer: str | None = None) -> None:
        self._findings.add(code, self._line, detail, pointer=pointer)

    def _sum(self, seen: _Conversation, *, has_tools: bool) -> None:
        roles, images = seen.roles, seen.images
        limit = self._limits.tokens_per_example
        if limit is not None and self._text_tokens > limit:
            self._too_long(self._text_tokens, limit)
        self._per_example.append(self._text_tokens)
        self._messages[len(roles)] += 1
        features = self._features
        if "system" in roles or "developer" in roles:
            features["with_system"] += 1
        if roles.count("user") > 1:
            features["with_several_turns"] += 1
        if has_tools:
            features["with_tools"] += 1
        if images:
            features["with_images"] += 1
            if images > self._limits.images_per_example:
                self._add("too-many-images", f"{images} images, the limit is {self._limits.images_per_example}")

    def _order(self, roles: list[str], weights: list[int]) -> None:
        if roles[-1] != "assistant":
            if "assistant" not in roles:
                self._add("no-assistant", pointer="/messages")
            else:
                last = roles[-1] or "unknown"
                self._add("last-message-not-assistant", f"it ends with {last}", f"/messages/{len(roles) - 1}")
        if "user" not in roles:
            self._add("no-user", pointer="/messages")
        if weights and not any(weights):
            self._add("nothing-trained", pointer="/messages")
        if len(roles) > 2:
            previous = "system"
            for index, role in enumerate(roles):
                if role == "assistant" == previous:
                    self._add("consecutive-assistant", f"message {index + 1}", f"/messages/{index}")
                elif role in {"system", "developer"} and previous not in {"system", "developer"}:
                    self._add("system-not-first", f"message {index + 1}", f"/messages/{index}")
                previous = role

    def _message_keys(self, message: dict[str, Any], role: str, index: int) -> int:
        """Checks what stands beside role and content; returns the weight (1 where it is not given)."""
        at = f"{self._at}/{index}"
        for key in message.keys() - _ROLE_KEYS[role]:
            if key == "weight":
                self._add("weight-not-assistant", f"message {index + 1}, {role}", f"{at}/weight")
            elif key in MESSAGE_KEYS:
                self._add("misplaced-message-key", f"{key} on a {role} message", f"{at}/{key}")
            else:
                self._add("unknown-message-key", f"{_short(key)} in message {index + 1}", f"{at}/{escaped(key)}")
        name = message.get("name")
        if name is not None:
            if type(name) is str:
                self._text_tokens += self._count(name) + TOKENS_PER_NAME
            else:
                self._add("name-shape", f"message {index + 1}: {_kind(name)}", f"{at}/name")
        weight = message.get("weight")
        if role != "assistant" or weight is None:
            return 1
        if type(weight) is not int or weight not in {0, 1}:
            self._add("weight-value", f"message {index + 1}: {_short(weight)}", f"{at}/weight")
            return 1
        return weight

    def _content(self, message: dict[str, Any], content: Any, role: str, index: int) -> tuple[int, int]:
        """Checks content that is not a plain text; returns its tokens and its images."""
        at = f"{self._at}/{index}/content"
        if type(content) is list and content:
            return self._parts(content, role, index)
        if content is None or content in ("", []):
            calls = role == "assistant" and (message.get("tool_calls") or message.get("function_call"))
            refusal = message.get("refusal")
            if role == "assistant" and type(refusal) is str and refusal:
                return self._count(refusal), 0
            if not calls and not (role in {"tool", "function"} and content == ""):
                said = "no content" if "content" not in message else "null" if content is None else "empty"
                self._add("empty-content", f"message {index + 1} ({role}): {said}", at)
            return 0, 0
        self._add("content-shape", f"message {index + 1} ({role}): {_kind(content)}", at)
        return 0, 0

    def _parts(self, parts: list[Any], role: str, index: int) -> tuple[int, int]:
        spent = images = 0
        for number, part in enumerate(parts):
            at = f"{self._at}/{index}/content/{number}"
            kind = part.get("type") if type(part) is dict else None
            if kind == "text" and type(part.get("text")) is str:
                spent += self._count(part["text"])
            elif kind == "image_url":
                images += 1
                spent += self._image(part.get("image_url"), role, at)
            elif kind == "refusal" and role == "assistant" and type(part.get("refusal")) is str:
                spent += self._count(part["refusal"])
            else:
                said = "a text part without text" if kind == "text" else _short(kind) if kind else "no type"
                self._add("unknown-content-part", f"message {index + 1} ({role}): {said}", at)
        return spent, images

    def _image(self, image: Any, role: str, at: str) -> int:
        if role != "user":
            self._add("image-not-from-user", f"in a {role} message", at)
        url = image.get("url") if type(image) is dict else None
        match = _IMAGE_URL.match(url) if isinstance(url, str) else None
        if match is None or url is None:
            self._add("image-url", _short(url)[:60] if url else "no address", f"{at}/image_url")
        elif match["kind"]:
            self._image_data(url[match.end() :], match["kind"].lower(), f"{at}/image_url/url")
        elif url[:5].lower() == "http:":
            self._add("image-over-http", url[:60], f"{at}/image_url/url")
        detail = image.get("detail", "auto") if type(image) is dict else "auto"
        if type(detail) is not str or detail not in _DETAILS:
            self._add("image-detail", _short(detail)[:60], f"{at}/image_url/detail")
        return TOKENS_PER_IMAGE_LOW if detail == "low" else TOKENS_PER_IMAGE

    def _image_data(self, base64: str, kind: str, at: str) -> None:
        size = len(base64) * 3 // 4
        if size > self._limits.image_bytes_max:
            self._add("image-too-large", f"{size:,} bytes, the limit is {self._limits.image_bytes_max:,}", at)
        try:
            start = binascii.a2b_base64(base64[:_BASE64_START], strict_mode=True)
        except ValueError:
            self._add("image-data", "it is not Base64", at)
            return
        if not start.startswith(_IMAGE_STARTS[kind]):
            self._add("image-data", f"it does not begin like a {kind.upper()}", at)

    def _calls(self, message: dict[str, Any], index: int, declared: frozenset[str] | None) -> int:
        """Checks an assistant's calls; returns their tokens."""
        spent = 0
        at = f"{self._at}/{index}"
        if "function_call" in message:
            spent += self._function(message["function_call"], f"{at}/function_call", declared)
        calls = message.get("tool_calls")
        if calls is None:
            return spent
        if type(calls) is not list or not calls:
            said = "an empty list" if calls == [] else _kind(calls)
            self._add("tool-calls-shape", f"message {index + 1}: {said}", f"{at}/tool_calls")
            return spent
        for number, call in enumerate(calls):
            here = f"{at}/tool_calls/{number}"
            if type(call) is not dict:
                self._add("tool-calls-shape", f"message {index + 1}: a call is {_kind(call)}", here)
                continue
            if call.get("type") != "function" or type(call.get("id")) is not str or not call["id"]:
                self._add("tool-calls-shape", f"message {index + 1}: a call needs an id and type function", here)
            spent += self._function(call.get("function"), f"{here}/function", declared)
        return spent

    def _function(self, function: Any, at: str, declared: frozenset[str] | None) -> int:
        if type(function) is not dict or type(function.get("name")) is not str:
            self._add("tool-calls-shape", "a call without a function name", at)
            return 0
        name, arguments = function["name"], function.get("arguments")
        if declared is not None and name not in declared:
            self._add("tool-not-declared", _short(name), at)
        if type(arguments) is not str:
            self._add("arguments-not-json", f"{_short(name)}: {_kind(arguments)}, not a string", f"{at}/arguments")
            return self._count(name)
        try:
            given = orjson.loads(arguments)
        except orjson.JSONDecodeError as error:
            self._add("arguments-not-json", f"{_short(name)}: column {error.colno}", f"{at}/arguments")
        else:
            misfit = misfit_of(given, self._last_tools_schemas.get(name)) if declared is not None else None
            if misfit is not None:
                self._add("arguments-unfit", f"{_short(name)}: {misfit}", f"{at}/arguments")
        return self._count(name) + self._count(arguments)

    def _pair_calls(self, messages: list[Any]) -> None:
        """Every tool message answers a call before it; every call but the last message's is answered."""
        waiting: dict[str, int] = {}
        for index, message in enumerate(messages):
            if type(message) is not dict:
                continue
            at = f"{self._at}/{index}"
            if message.get("role") == "tool":
                call = message.get("tool_call_id")
                if type(call) is not str or waiting.pop(call, None) is None:
                    said = "no tool_call_id" if call is None else f"no open call {_short(call)}"
                    self._add("tool-reply-without-call", f"message {index + 1}: {said}", at)
                continue
            for call, asked in waiting.items():
                self._add("call-without-tool-reply", f"message {asked + 1}: {_short(call)}", f"{self._at}/{asked}")
            calls = message.get("tool_calls")
            waiting = (
                {
                    call["id"]: index
                    for call in calls
                    if type(call) is dict and type(call.get("id")) is str and call["id"]
                }
                if type(calls) is list
                else {}
            )
        # Calls of the last message are what the example teaches; they need no answer.

    def _unknown_keys(self, row: dict[str, Any], allowed: AbstractSet[str], at: str = "") -> None:
        for key in sorted(row.keys() - allowed):
            self._add("unknown-key", _short(key), f"{at}/{escaped(key)}")

    def _keys_and_tools(
        self, row: dict[str, Any], allowed: AbstractSet[str], at: str = ""
    ) -> frozenset[str] | None:
        """Checks what stands beside the messages; returns the declared function names, None without tools.

        Args:
            at: RFC 6901 pointer to the object.
        """
        self._unknown_keys(row, allowed, at)
        if type(row.get("parallel_tool_calls", False)) is not bool:
            self._add("parallel-tool-calls-shape", _kind(row["parallel_tool_calls"]), f"{at}/parallel_tool_calls")
        tools = row.get("tools", row.get("functions"))
        if tools is None and "tools" not in row:
            return None
        if self._last_tools is None or tools != self._last_tools:
            self._last_tools = tools
            self._last_tools_tokens = self._count(orjson.dumps(tools).decode())
            self._last_tools_names, self._last_tools_detail = _declared(tools, bare="tools" not in row)
            self._last_tools_schemas = _schemas(tools, bare="tools" not in row)
        self._text_tokens += self._last_tools_tokens
        if self._last_tools_detail is not None:
            detail, pointer = self._last_tools_detail
            self._add("tools-shape", detail, at + pointer)
        for name, schema in self._last_tools_schemas.items():
            defect = defect_of(schema)
            if defect is not None:
                self._add(
                    "tools-schema", f"{name}: {defect[0]}", at + ("/tools" if "tools" in row else "/functions")
                )
                break
        return self._last_tools_names


def _declared(tools: Any, *, bare: bool) -> tuple[frozenset[str], tuple[str, str] | None]:
    """The function names a list of tools declares, and the first thing wrong with it (detail, pointer)."""
    root = "/functions" if bare else "/tools"
    if type(tools) is not list:
        return frozenset(), (f"{_kind(tools)}, not a list", root)
    names = set()
    wrong: tuple[str, str] | None = None
    for index, tool in enumerate(tools):
        at = f"{root}/{index}"
        function = tool if bare else tool.get("function") if type(tool) is dict else None
        if type(tool) is not dict or (not bare and tool.get("type") != "function") or type(function) is not dict:
            wrong = wrong or (f'tool {index + 1} is not {{"type": "function", "function": {{…}}}}', at)
            continue
        name = function.get("name")
        if type(name) is not str or not _FUNCTION_NAME.match(name):
            wrong = wrong or (f"tool {index + 1} has no usable name (letters, digits, _ and -, up to 64)", at)
            continue
        names.add(name)
        if type(function.get("parameters", {})) is not dict:
            wrong = wrong or (f"the parameters of {name} are not a JSON schema object", f"{at}/function/parameters")
    return frozenset(names), wrong


def _schemas(tools: Any, *, bare: bool) -> dict[str, Any]:
    """Function -> the schema of its parameters, of those that are well formed enough to have one."""
    every = tools if type(tools) is list else []
    functions = [tool if bare else tool.get("function") for tool in every if type(tool) is dict]
    return {
        function["name"]: function["parameters"]
        for function in functions
        if type(function) is dict and type(function.get("name")) is str and type(function.get("parameters")) is dict
    }


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "missing or null"}
    return words.get(type(value), "a number")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"
