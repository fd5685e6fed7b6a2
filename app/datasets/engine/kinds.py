"""Recognises what a file or a row is from its first bytes or its keys.

Must not judge whether it is well formed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """What rows of one layout are, and how they become chat examples."""

    words: str
    remedy: str


_TO_CHAT = "Write each row as a conversation: {} as the user message, {} as the assistant message."
_EXPORT = "Choose the training data, exported as JSON Lines."

KINDS = {
    "chat": Kind("chat examples", ""),
    "reinforcement": Kind(
        "reinforcement fine-tuning examples",
        "Make it a dataset for reinforcement fine-tuning, or end each conversation with the assistant's answer.",
    ),
    "preference": Kind(
        "preference pairs (DPO)",
        "Make it a dataset for preference optimization, or keep the input with the preferred answer as messages.",
    ),
    "batch-request": Kind(
        "requests for the Batch API",
        "Take the messages out of each body and add the assistant's answer.",
    ),
    "prompt-completion": Kind(
        "prompt and completion pairs of the older models", _TO_CHAT.format("the prompt", "the completion")
    ),
    "results-csv": Kind("results of a training job (results.csv)", _EXPORT),
    "csv": Kind("lines of a table (CSV)", _TO_CHAT.format("one column", "another column")),
    "prompt-flow": Kind(
        "prompt-flow chat histories", 'Rename history to messages and the role "agent" to "assistant".'
    ),
    "sharegpt": Kind(
        "ShareGPT conversations",
        "Rename conversations to messages, from/value to role/content, human/gpt to user/assistant.",
    ),
    "alpaca": Kind("Alpaca instructions", _TO_CHAT.format("instruction and input", "output")),
    "self-instruct": Kind("self-instruct seed tasks", _TO_CHAT.format("instruction and input", "output")),
    "question-answer": Kind("question and answer pairs", _TO_CHAT.format("the question", "the answer")),
    "evaluation": Kind("evaluation rows (query and response)", _TO_CHAT.format("the query", "the response")),
    "batch-output": Kind(
        "answers of the Batch API", "Put the messages of each request and the answer to it together in one row."
    ),
    "evaluation-item": Kind("items of an evaluation", "Take the members out of each item, and add what is asked."),
    "evaluation-result": Kind("results of an evaluation run", _EXPORT),
    "agent-trace": Kind("traces of an agent", "Export the conversations, as messages with their tool calls."),
    "grader": Kind("a grader, not data", "Give it with --grader, or as the grader of a reinforcement job."),
    "api-answer": Kind("an answer of the service's API, not data", _EXPORT),
    "xlsx": Kind("rows of a workbook", _TO_CHAT.format("one column", "another column")),
    "parquet": Kind("rows of a Parquet file", _TO_CHAT.format("one column", "another column")),
    "binary": Kind("binary data", _EXPORT),
    "unknown": Kind("rows of no layout we know", "Put the conversation of each row under the key messages."),
}
"""Format word -> what such rows are."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a RIFF file (WEBP, WAV or AVI)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "gzip data; unpack it first"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"BZh", "bzip2 data; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd data; unpack it first"),
    (b"\xfd7zXZ\x00", "xz data; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xd0\xcf\x11\xe0", "an older Office document"),
    (b"\x7fELF", "a program"),
)

_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_SAMPLE_BYTES = 1024
_ZEROS_SHARE = 0.8
"""Of every other byte, in UTF-16 text of a Latin script."""

RESULT_COLUMNS = frozenset({"train_loss", "training_loss"})
"""One of these beside `step`: the rows are results of a training job."""
_HEADER_CELL = re.compile(r'"?[\w .()/-]{1,64}"?\Z')


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file known from its head, with the finding that says so."""

    kind: str
    code: str
    message: str


def recognise_file(head: bytes, *, whole: bool) -> Recognised | None:
    """What a file is that is not JSON Lines, from its first bytes; None when it may be.

    Args:
        head: the beginning, or all of the file when `whole`.
        whole: nothing follows `head`.
    """
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return Recognised("binary", "not-text", f"The file is {_office(head) or name}, not text.")
    if (encoding := marked_encoding(head)) is not None:
        return Recognised("unknown", "utf-16", f"The file is {encoding.upper()} text; Azure reads UTF-8.")
    if looks_utf_16(head) is not None:
        return Recognised("unknown", "utf-16", "The file is UTF-16 text without a mark; Azure reads UTF-8.")
    start = head.lstrip()
    if start[:1] not in {b"{", b"["} and b"\0" in head:
        return Recognised("binary", "not-text", "The file holds binary data, not text.")
    if start.startswith(b"["):
        return _array(start, whole=whole)
    return None if start.startswith(b"{") else _table(start)


def kind_of(row: dict[str, Any]) -> str:
    """The format word of one row, from its keys."""
    keys = row.keys()
    if "messages" in keys:
        return "reinforcement" if _asks_for_reinforcement(row) else "chat"
    if "preferred_output" in keys or "non_preferred_output" in keys or {"chosen", "rejected"} <= keys:
        return "preference"
    if "custom_id" in keys and {"body", "url", "method"} & keys:
        return "batch-request"
    if {"prompt", "completion"} <= keys:
        return "prompt-completion"
    if "conversations" in keys:
        return "sharegpt"
    if ("history" in keys or "chat_history" in keys) and not {"instruction", "output"} <= keys:
        return "prompt-flow"
    if "instruction" in keys:
        return "self-instruct" if "instances" in keys else "alpaca" if "output" in keys else "unknown"
    if (named := _named_otherwise(row)) is not None:
        return named
    lower = {key.lower() for key in keys}
    if "question" in lower and lower & {"answer", "expectedresponse", "response"}:
        return "question-answer"
    if "query" in lower and "response" in lower:
        return "evaluation"
    return "unknown"


_GRADERS = frozenset(
    {"string_check", "text_similarity", "score_model", "label_model", "python", "multi", "endpoint"}
)
_TRACE_KEYS = (
    {"trace_id", "span_id"},
    {"traceId", "spanId"},
    {"trace_id", "spans"},
    {"resourceSpans"},
    {"run_type", "inputs"},
    {"thread_id", "run_id", "steps"},
)
_RESULT_KEYS = {"sample", "results", "grades", "scores", "outputs", "run_id"}


def _named_otherwise(row: dict[str, Any]) -> str | None:
    """What is no training data and known by its keys."""
    keys = row.keys()
    if "custom_id" in keys and "response" in keys:
        return "batch-output"
    if type(row.get("item")) is dict:
        return "evaluation-result" if keys & _RESULT_KEYS else "evaluation-item"
    if any(trace <= keys for trace in _TRACE_KEYS):
        return "agent-trace"
    if type(row.get("type")) is str and row["type"] in _GRADERS and keys & {"name", "grader", "graders"}:
        return "grader"
    kind = row.get("object")
    if type(kind) is str and (kind.startswith("fine_tuning.") or kind in {"file", "upload", "event", "list"}):
        return "api-answer"
    return None


CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions", "function_call"})


def _asks_for_reinforcement(row: dict[str, Any]) -> bool:
    """Ends with the user, has no assistant, and carries further keys.

    Source: how-to reinforcement fine-tuning, 2026-03-19.
    """
    messages = row["messages"]
    if not isinstance(messages, list) or not messages or row.keys() <= CHAT_KEYS:
        return False
    roles = [message.get("role") for message in messages if isinstance(message, dict)]
    return bool(roles) and roles[-1] == "user" and "assistant" not in roles


def _office(head: bytes) -> str | None:
    if head.startswith(b"PK") and (b"xl/" in head or b"[Content_Types].xml" in head):
        return "an Excel workbook (or another Office document); export it as CSV or JSON Lines"
    return None


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a byte-order mark says, other than UTF-8."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def looks_utf_16(head: bytes) -> str | None:
    """Which UTF-16 a text without a mark looks like."""
    sample = head[:_SAMPLE_BYTES]
    half = len(sample) // 2
    if half < 2:
        return None
    high, low = sample[0::2].count(0), sample[1::2].count(0)
    if max(high, low) <= _ZEROS_SHARE * half or min(high, low) > half // 10:
        return None
    return "utf-16-le" if low > high else "utf-16-be"


def _array(start: bytes, *, whole: bool) -> Recognised | None:
    text = start.decode("utf-8", "replace")
    inside = text[1:].lstrip()
    if not inside.startswith("{"):
        return None
    try:
        first, _ = json.JSONDecoder().raw_decode(inside)
    except json.JSONDecodeError:
        if whole:
            return None
        first = {}
    except RecursionError:
        return None
    kind = kind_of(first)
    what = "" if kind == "unknown" else f" of {KINDS[kind].words}"
    return Recognised(kind, "json-array", f"The file is one JSON array{what}, not JSON Lines.")


def _table(start: bytes) -> Recognised | None:
    first = start.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    separator = max(",;\t", key=first.count)
    cells = first.split(separator)
    if len(cells) < 2 or not all(_HEADER_CELL.match(cell.strip()) for cell in cells):
        return None
    second = start.split(b"\n", 2)[1:2]
    if second and second[0].strip() and separator.encode() not in second[0]:
        return None
    names = {cell.strip().strip('"') for cell in cells}
    if "step" in names and names & RESULT_COLUMNS:
        return Recognised(
            "results-csv", "wrong-kind", f"The rows are {KINDS['results-csv'].words}, not training data."
        )
    columns = ", ".join(cells[:8])
    return Recognised("csv", "wrong-kind", f"The rows are {KINDS['csv'].words} with the columns {columns}.")
