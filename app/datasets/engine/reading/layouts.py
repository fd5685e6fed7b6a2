"""Makes chat examples, preference pairs and reinforcement examples of rows in other layouts.

Must not know what kind of file a row came from.

Source: OpenAI legacy fine-tuning guide, 2023 (white space around completions); LLaMA-Factory data/README.md, 2025
(Alpaca, ShareGPT, pairs); TRL dataset formats, 2025 (prompt, chosen, rejected).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as AbstractMapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from app.datasets.engine.kinds import CHAT_KEYS, KINDS, kind_of
from app.datasets.engine.reading.conversations import (
    Message,
    history_of,
    messages_of,
    parsed,
    text_of,
    tools_of,
    transcript_of,
)
from app.datasets.engine.reading.how import Mapping, Part
from app.datasets.engine.report import Method

Row = dict[str, Any]

NATIVE: Final = frozenset({"chat", "reinforcement"})
ON_REQUEST: Final = frozenset({"evaluation", "prompt-flow", "batch-request"})
"""Kinds that are not training data as they stand; read when the caller says so."""
TALKS: Final = ("conversations", "conversation", "dialog", "dialogue")
_PAIR_KEYS: Final = frozenset({"input", "preferred_output", "non_preferred_output"})

_NAMES: Final[dict[Part, frozenset[str]]] = {
    "user": frozenset(
        [
            "question",
            "prompt",
            "user",
            "input",
            "instruction",
            "human",
            "problem",
            "user_message",
            "質問",
            "問い",
            "問題",
            "入力",
            "ユーザー",
            "指示",
        ]
    ),
    "assistant": frozenset(
        [
            "answer",
            "completion",
            "assistant",
            "output",
            "response",
            "expectedresponse",
            "expected_response",
            "assistant_message",
            "reply",
            "回答",
            "答え",
            "応答",
            "出力",
            "返答",
            "アシスタント",
        ]
    ),
    "system": frozenset(["system", "system_prompt", "system_message", "システム"]),
}
"""Names of columns that say what they are."""


def is_pair(row: Row) -> bool:
    """Whether a row is a preference pair as Azure writes it."""
    return "preferred_output" in row or "non_preferred_output" in row


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of one file are read."""

    name: str
    """One of `kinds.KINDS`."""
    in_words: str
    """A sentence without its full stop: which member is what."""
    convert: Callable[[Row], Row | None]
    """The example a row becomes; None for one that is left as it is."""
    left_out: tuple[str, ...] = ()
    """Columns that become nothing."""


def layout_of(
    rows: Sequence[Row], *, mapping: Mapping | None, wanted: str | None, method: Method | None, is_table: bool
) -> Layout | None:
    """How rows like these are read; None when they are examples already, or nothing that is read.

    Args:
        rows: the first ones.
        mapping: what the caller said each column is.
        wanted: the layout the caller named.
        method: what a model will be trained by, where that is known.
        is_table: rows of columns, in which lists and objects may stand as JSON text.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if mapping is not None:
        return _mapped(mapping, keys, method)
    kinds = [kind_in(row, is_table=is_table) for row in rows]
    kind = wanted if wanted in KINDS else max(kinds, key=kinds.count, default="unknown")
    if kind == "unknown":
        return _by_names(rows, keys, method)
    if kind in NATIVE and all(map(_in_other_words, rows)):
        return _mapped(Mapping((("messages", "messages"), *_optional(keys))), keys, method)
    if kind in NATIVE or (kind == "preference" and any(map(is_pair, rows))):
        return _native(kind, keys, method) if is_table or wanted == "chat" else None
    reader = _READERS.get(kind)
    if reader is None or (kind in ON_REQUEST and wanted != kind):
        return None
    of_kind = rows if wanted == kind else [row for row, one in zip(rows, kinds, strict=True) if one == kind]
    ends = _ends_of(of_kind) if kind == "prompt-completion" else {}

    def said_in(row: Row) -> Said | None:
        if wanted != kind and kind_in(row, is_table=is_table) != kind:
            return None
        try:
            return reader(_without_ends(row, ends))
        except KeyError:  # the caller named a layout that this row does not have
            return None

    def convert(row: Row) -> Row | None:
        said = said_in(row)
        return None if said is None else said.as_row(row, method)

    words = f"{KINDS[kind].words}: {_SAID[kind]}"
    if ends:
        told = ", ".join(f"{end.strip()!r} at the end of each {name}" for name, end in ends.items())
        words = f"{words}; without {told}"
    used = {key for row in of_kind if (said := said_in(row)) for key in said.used}
    keys = list(dict.fromkeys(key for row in of_kind for key in row)) if used and method != "reinforcement" else []
    return Layout(kind, words, convert, tuple(key for key in keys if key not in used))


def kind_in(row: Row, *, is_table: bool) -> str:
    """The kind of a row; in a table, lists and objects may stand as JSON text."""
    if is_table and ("messages" in row or is_pair(row)):
        row = {key: parsed(value) for key, value in row.items()}
    return kind_of(row)


# ── what a row says ─────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Said:
    """What was asked and answered in one row."""

    asked: list[Message]
    answer: str | list[Any] | None = None
    """None: `asked` ends with it, or there is none."""
    answer_key: str = ""
    system: str = ""
    tools: tuple[Any, ...] = ()
    pair: tuple[list[Message], list[Message]] | None = None
    """The better and the worse answer."""
    kept: tuple[str, ...] | None = None
    """Members that stay beside the messages; None: all that are not used, for reinforcement only."""
    used: AbstractSet[str] = frozenset()
    """Members that the messages were made of."""

    def as_row(self, row: Row, method: Method | None) -> Row:
        messages = list(self.asked)
        if self.system and not (messages and messages[0].get("role") in {"system", "developer"}):
            messages.insert(0, {"role": "system", "content": self.system})
        declared = {"tools": list(self.tools)} if self.tools else {}
        if self.pair is not None:
            better, worse = self.pair
            return {
                "input": {"messages": messages, **declared},
                "preferred_output": better,
                "non_preferred_output": worse,
            }
        kept = {name: found(row, name) for name in self.kept or ()}
        if method == "reinforcement":
            if self.kept is None:
                kept = {key: value for key, value in row.items() if key not in self.used and key not in CHAT_KEYS}
            if self.answer is not None:
                kept = {self.answer_key: self.answer, **kept}
            return {"messages": messages, **declared, **kept}
        if self.answer is not None:
            messages.append({"role": "assistant", "content": self.answer})
        return {"messages": messages, **declared, **kept}


def found(row: Row, name: str) -> Any:
    """The member of that name, or what a path such as `body.messages` leads to."""
    if name in row:
        return row[name]
    value: Any = row
    for step in name.split("."):
        value = parsed(value)
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


def _joined(pieces: Iterable[Any]) -> Any:
    texts = [text_of(piece) for piece in pieces]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(text if isinstance(text, str) else str(text) for text in texts if text)


def _user(*pieces: Any) -> list[Message]:
    return [{"role": "user", "content": _joined(pieces)}]


_SYSTEM: Final = ("system", "system_prompt")


def _system(row: Row) -> str:
    value = next((row[key] for key in _SYSTEM if key in row), None)
    return value if isinstance(value, str) else ""


# ── readers of known layouts ────────────────────────────────────────────────

_SEPARATORS: Final = {
    "prompt": ("###", "===", "-->", "->"),
    "completion": (" END", "\nEND", "###", "===", "<|endoftext|>"),
}
"""What the older models needed to see where a prompt, or a completion, ends; chat has messages for that.
Source: OpenAI legacy fine-tuning guide, 2023."""


def _ends_of(rows: Sequence[Row]) -> dict[str, str]:
    """Member -> the separator that it ends with in all of the rows."""
    found: dict[str, str] = {}
    for name, separators in _SEPARATORS.items():
        texts = [value.rstrip() if isinstance(value := row.get(name), str) else "" for row in rows]
        if end := next((one for one in separators if all(text.endswith(one) for text in texts)), None):
            found[name] = end
    return found


def _without_ends(row: Row, ends: AbstractMapping[str, str]) -> Row:
    cut = {
        name: text.rstrip().removesuffix(end).rstrip()
        for name, end in ends.items()
        if isinstance(text := row.get(name), str) and text.rstrip().endswith(end)
    }
    return row | cut if cut else row


def _prompt_completion(row: Row) -> Said | None:
    used = frozenset({"prompt", "completion", "tools", *_SYSTEM})
    prompt, completion = parsed_messages(row["prompt"]), parsed_messages(row["completion"])
    if prompt is not None and completion is not None:
        return Said(prompt + completion, system=_system(row), tools=tuple(tools_of(row.get("tools"))), used=used)
    asked = prompt if prompt is not None else _user(row["prompt"])
    answer = text_of(row["completion"])
    if isinstance(answer, str):
        answer = answer.strip()  # the older models wanted a space before it and a stop sequence behind it
    return Said(asked, answer, "completion", system=_system(row), used=used)


def parsed_messages(value: Any) -> list[Message] | None:
    """Messages, when the value is a list of them and no text."""
    turns = parsed(value)
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        return None
    return messages_of(turns)


def _question_answer(row: Row) -> Said | None:
    lower = {key.lower(): key for key in row}
    question = lower["question"]
    answer = next((lower[name] for name in ("answer", "expectedresponse", "response") if name in lower), None)
    if answer is None:
        return None
    return Said(
        [*history_of(row.get("history")), *_user(row[question])],
        text_of(row[answer]),
        answer,
        system=_system(row),
        used=frozenset({question, answer, "history", *_SYSTEM}),
    )


def _alpaca(row: Row) -> Said | None:
    asked = [*history_of(row.get("history")), *_user(row["instruction"], row.get("input"))]
    used = frozenset({"instruction", "input", "output", "history", *_SYSTEM})
    return Said(asked, text_of(row["output"]), "output", system=_system(row), used=used)


def _self_instruct(row: Row) -> Said | None:
    instances = row["instances"]
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], dict):
        return None  # one row cannot become several examples
    one = instances[0]
    asked = _user(row["instruction"], one.get("input"))
    return Said(asked, text_of(one.get("output")), "output", used=frozenset({"instruction", "instances"}))


def _sharegpt(row: Row) -> Said | None:
    talk = next((key for key in TALKS if key in row), None)
    messages = messages_of(row[talk]) if talk else None
    if messages is None:
        return None
    used = frozenset({*TALKS, "tools", *_SYSTEM})
    return Said(messages, system=_system(row), tools=tuple(tools_of(row.get("tools"))), used=used)


def _preference(row: Row) -> Said | None:
    better, worse = _answers(row.get("chosen")), _answers(row.get("rejected"))
    if better is None or worse is None:
        return None
    asked = _asked_of_pair(row)
    shared = _shared(better, worse)
    if asked is None:
        asked = better[:shared]
        better, worse = better[shared:], worse[shared:]
    elif better[: len(asked)] == asked and worse[: len(asked)] == asked:
        better, worse = better[len(asked) :], worse[len(asked) :]
    if not asked or not better or not worse:
        return None
    return Said(
        asked,
        pair=(better, worse),
        system=_system(row),
        tools=tuple(tools_of(row.get("tools"))),
        used=frozenset({"chosen", "rejected", "tools", *_ASKED_OF_PAIR, *_SYSTEM}),
    )


_ASKED_OF_PAIR: Final = frozenset(
    {*TALKS, "messages", "prompt", "question", "input", "query", "instruction", "history"}
)


def _asked_of_pair(row: Row) -> list[Message] | None:
    for key in ("prompt", *TALKS, "messages"):
        if (messages := parsed_messages(row.get(key))) is not None:
            return messages
    history = history_of(row.get("history"))
    if "instruction" in row:
        return history + _user(row["instruction"], row.get("input"))
    for key in ("prompt", "question", "input", "query"):
        if isinstance(row.get(key), str):
            return transcript_of(row[key]) or history + _user(row[key])
    return None


def _answers(value: Any) -> list[Message] | None:
    value = parsed(value)
    if isinstance(value, str):
        return transcript_of(value) or [{"role": "assistant", "content": value}]
    return messages_of(value)


def _shared(one: list[Message], other: list[Message]) -> int:
    """How many messages both begin with."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _evaluation(row: Row) -> Said | None:
    lower = {key.lower(): key for key in row}
    query, response = lower.get("query"), lower.get("response")
    if query is None or response is None:
        return None
    asked = parsed_messages(row[query]) or _user(row[query])
    return Said(asked, text_of(row[response]), response, used=frozenset({query, response}))


def _prompt_flow(row: Row) -> Said | None:
    messages: list[Message] = []
    for turn in parsed(row.get("history", row.get("chat_history"))) or []:
        if not isinstance(turn, dict):
            return None
        if isinstance(turn.get("inputs"), dict) and isinstance(turn.get("outputs"), dict):
            asked, answered = (next(iter(turn[side].values()), "") for side in ("inputs", "outputs"))
            messages += [
                {"role": "user", "content": text_of(asked)},
                {"role": "assistant", "content": text_of(answered)},
            ]
        else:
            messages += messages_of([turn]) or []
    answer = row.get("answer", row.get("ground_truth"))
    if answer is not None and "question" in row:
        messages += [*_user(row["question"]), {"role": "assistant", "content": text_of(answer)}]
    return Said(messages, used=frozenset({"history", "chat_history", "question", "answer", "ground_truth"}))


def _batch_request(row: Row) -> Said | None:
    body = parsed(row.get("body"))
    messages = messages_of(body.get("messages")) if isinstance(body, dict) else None
    if messages is None:
        return None
    return Said(messages, tools=tuple(tools_of(body.get("tools"))), used=frozenset({"body", "method", "url"}))


_READERS: Final[dict[str, Callable[[Row], Said | None]]] = {
    "prompt-completion": _prompt_completion,
    "question-answer": _question_answer,
    "alpaca": _alpaca,
    "self-instruct": _self_instruct,
    "sharegpt": _sharegpt,
    "preference": _preference,
    "evaluation": _evaluation,
    "prompt-flow": _prompt_flow,
    "batch-request": _batch_request,
}
_SAID: Final = {
    "prompt-completion": "the prompt is asked, the completion without outer white space is the answer",
    "question-answer": "the question is asked, the answer is the answer",
    "alpaca": "instruction and input are asked, output is the answer",
    "self-instruct": "instruction and input are asked, the output of the one instance is the answer",
    "sharegpt": "each turn is a message",
    "preference": "chosen is the better answer, rejected the worse",
    "evaluation": "the query is asked, the response is the answer",
    "prompt-flow": "the history is the conversation; a question without an answer is left out",
    "batch-request": "the messages of each body are the conversation",
}


# ── rows of chat in tables, rows by their names, rows by a mapping ──────────


def _native(kind: str, keys: Sequence[str], method: Method | None) -> Layout:
    """Examples in columns: lists may stand as JSON text, and columns that Azure does not know are left out."""
    allowed = _PAIR_KEYS if kind == "preference" else CHAT_KEYS
    keeps_all = kind == "reinforcement" or method == "reinforcement"

    def convert(row: Row) -> Row | None:
        made = {key: parsed(row[key]) for key in row if key in allowed}
        if "messages" in made:
            made["messages"] = messages_of(made["messages"]) or made["messages"]
        if "tools" in made:
            made["tools"] = tools_of(made["tools"])
        made = {key: value for key, value in made.items() if value not in (None, "", [])}
        if keeps_all:
            made |= {key: value for key, value in row.items() if key not in allowed}
        return made

    left_out = () if keeps_all else tuple(key for key in keys if key not in allowed)
    return Layout(kind, f"{KINDS[kind].words} in columns", convert, left_out)


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _by_names(rows: Sequence[Row], keys: Sequence[str], method: Method | None) -> Layout | None:
    """Columns whose names say what they are, when each part has exactly one."""
    if any(parsed_messages(row.get("prompt")) for row in rows):
        return _prompts(keys)
    if talk := next((key for key in TALKS if any(messages_of(row.get(key)) for row in rows)), None):
        return _mapped(Mapping(((talk, "messages"), *_optional(keys))), keys, method)
    parts = {part: [key for key in keys if _plain(key) in names] for part, names in _NAMES.items()}
    answers_needed = 0 if method == "reinforcement" else 1
    if len(parts["user"]) != 1 or len(parts["assistant"]) not in {answers_needed, 1} or len(parts["system"]) > 1:
        return None
    if not all(isinstance(row.get(parts["user"][0]), str | int | float | type(None)) for row in rows):
        return None
    pairs: list[tuple[str, Part]] = [(key, part) for part, names in parts.items() for key in names]
    if method == "reinforcement":
        taken = {key for key, _ in pairs}
        pairs += [(key, "kept") for key in keys if key not in taken]
    return _mapped(Mapping(tuple(pairs)), keys, method)


def _in_other_words(row: Row) -> bool:
    """Whether `messages` holds turns of another layout: none says user or assistant as chat does."""
    turns = parsed(row.get("messages"))
    if not isinstance(turns, list) or not turns or messages_of(turns) is None:
        return False
    roles = [turn.get("role") for turn in turns]
    return not {"user", "assistant"} & set(map(str, roles)) and any(
        made["role"] in {"user", "assistant"} for made in messages_of(turns) or ()
    )


def _optional(keys: Sequence[str]) -> list[tuple[str, Part]]:
    known: tuple[tuple[str, Part], ...] = (("system", "system"), ("tools", "tools"))
    return [(key, part) for key, part in known if key in keys]


def _prompts(keys: Sequence[str]) -> Layout:
    """Prompts as messages, with members for a grader beside them."""

    def convert(row: Row) -> Row | None:
        messages = parsed_messages(row.get("prompt"))
        if messages is None:
            return None
        return {"messages": messages, **{key: value for key, value in row.items() if key != "prompt"}}

    others = ", ".join(key for key in keys if key != "prompt")[:200]
    words = f"prompts as messages, with members for a grader beside them ({others})"
    return Layout("reinforcement", words, convert)


def _mapped(mapping: Mapping, keys: Sequence[str], method: Method | None) -> Layout:
    columns: dict[Part, list[str]] = {}
    for column, part in mapping.parts:
        columns.setdefault(part, []).append(column)
    named = {column for column, _ in mapping.parts}
    words = {"role_key": mapping.role_key, "content_key": mapping.content_key, "roles": dict(mapping.roles)}

    def turns(value: Any) -> list[Message] | None:
        return messages_of(value, **words)  # type: ignore[arg-type]  # one of each

    def pair(row: Row) -> tuple[list[Message], list[Message]] | None:
        sides = [found(row, columns[side][0]) for side in ("chosen", "rejected")]
        answers = [
            [{"role": "assistant", "content": side}]
            if isinstance(side, str) and turns(side) is None
            else turns(side)
            for side in sides
        ]
        return (answers[0], answers[1]) if answers[0] and answers[1] else None

    def convert(row: Row) -> Row | None:
        asked: list[Message] = []
        for column in columns.get("history", ()):
            asked += history_of(found(row, column))
        for column in columns.get("messages", ()):
            talk = turns(found(row, column))
            if talk is None:
                return None
            asked += talk
        if "user" in columns:
            asked.append({"role": "user", "content": _joined(found(row, name) for name in columns["user"])})
        tools = tuple(tool for name in columns.get("tools", ()) for tool in tools_of(found(row, name)))
        answered = columns.get("assistant", [])
        both = pair(row) if {"chosen", "rejected"} <= columns.keys() else None
        if both is None and {"chosen", "rejected"} <= columns.keys():
            return None
        said = Said(
            asked,
            _joined(found(row, name) for name in answered) if answered and both is None else None,
            answered[0] if answered else "",
            system=str(_joined(found(row, name) for name in columns.get("system", ()))),
            tools=tools,
            pair=both,
            kept=tuple(columns.get("kept", ())),
        )
        return said.as_row(row, method)

    told = "; ".join(f"{', '.join(names)} → {part}" for part, names in columns.items() if part != "ignored")
    ignored = columns.get("ignored", [])
    left_out = (*ignored, *(key for key in keys if key not in named and not _leads(named, key)))
    kind = "preference" if {"chosen", "rejected"} <= columns.keys() else "question-answer"
    if "messages" in columns:
        kind = "sharegpt"
    return Layout(kind, f"rows read by their columns: {told}", convert, tuple(left_out))


def _leads(paths: AbstractSet[str], key: str) -> bool:
    return any(path.startswith(f"{key}.") for path in paths)


def missing_columns(mapping: Mapping, rows: Sequence[Row]) -> list[str]:
    """Columns of a mapping that no row has."""
    return [
        column
        for column, part in mapping.parts
        if part != "ignored" and not any(column in row or found(row, column) is not None for row in rows)
    ]
