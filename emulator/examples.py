"""Reads fine-tuning files and finds what Azure would find wrong with them; it must not know of jobs or the wire."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from emulator.catalogue import Method

LEAST_EXAMPLES = 10
"""Source: Microsoft Learn, openai/includes/fine-tuning-rest, 2026-10-05: jobs do not proceed below ten."""

ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class BadFile(Exception):
    """A fine-tuning file Azure refuses.

    `code` is one of the data plane's error codes: `jsonlValidationFailed` when a line cannot be read as JSON,
    `invalidPayload` when its content is wrong. Source: ErrorCode of the 2024-10-21 specification; which of the two
    a job reports in which case is not published.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def read(path: Path, least: int, method: Method = "supervised") -> Iterator[dict[str, Any]]:
    """The examples of a file, one by one, each checked.

    Raises:
        BadFile: at the first wrong line, or at the end when there are fewer than `least` examples.
    """
    count = 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip(b"\xef\xbb\xbf \t\r\n"):
                yield _example(line, number, method)
                count += 1
    if count < least:
        message = f"The file contains {count} examples; at least {least} are required."
        raise BadFile("invalidPayload", message)


def check(path: Path, least: int, method: Method = "supervised") -> int:
    """How many examples the file has.

    Raises:
        BadFile: as `read` does.
    """
    return sum(1 for _ in read(path, least, method))


def words_found(path: Path, words: Mapping[str, list[str]]) -> list[str]:
    """The names under which one of their words stands in the file, in whatever case."""
    if not words:
        return []
    text = path.read_text("utf-8", "replace").casefold()
    return [name for name, listed in words.items() if any(word.casefold() in text for word in listed)]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _example(line: bytes, number: int, method: Method) -> dict[str, Any]:
    try:
        example = json.loads(line.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadFile("jsonlValidationFailed", f"Invalid JSON in line {number}: {error}") from error
    problem = _PROBLEMS[method](example)
    if problem:
        raise BadFile("invalidPayload", f"Invalid example in line {number}: {problem}")
    return dict(example)


def _supervised_problem(example: object) -> str:
    """What is wrong with one example, or nothing. Source: Microsoft Learn, fine-tuning data formats, 2026."""
    if not isinstance(example, dict):
        return "it must be a JSON object."
    if "prompt" in example and "completion" in example:
        return "the prompt/completion format is for completion models; chat models need a 'messages' list."
    if problem := _messages_problem(example, "messages"):
        return problem
    roles = [message["role"] for message in example["messages"]]
    if "user" not in roles:
        return "it must have at least one message with role 'user'."
    if "assistant" not in roles:
        return "it must have at least one message with role 'assistant'."
    if roles[-1] != "assistant":
        return "the last message must have role 'assistant'."
    return ""


def _messages_problem(holder: Mapping[str, Any], name: str) -> str:
    messages = holder.get(name)
    if not isinstance(messages, list) or not messages:
        return f"it must have a non-empty list '{name}'."
    for position, message in enumerate(messages):
        problem = _message_problem(message)
        if problem:
            return f"{name}[{position}] {problem}"
    return ""


def _preference_problem(example: object) -> str:
    """Source: Microsoft Learn, direct preference optimisation, 2026-03-20."""
    if not isinstance(example, dict) or not isinstance(example.get("input"), dict):
        return "it must be a JSON object with an object 'input'."
    if problem := _messages_problem(example["input"], "messages"):
        return problem
    for name in ("preferred_output", "non_preferred_output"):
        if problem := _messages_problem(example, name):
            return problem
        roles = [message["role"] for message in example[name]]
        if "assistant" not in roles or not set(roles) <= {"assistant", "tool"}:
            return f"'{name}' must have at least one message with role 'assistant', and else role 'tool' only."
    return ""


def _reward_problem(example: object) -> str:
    """Source: Microsoft Learn, reinforcement fine-tuning, 2026-03-19."""
    if not isinstance(example, dict):
        return "it must be a JSON object."
    if problem := _messages_problem(example, "messages"):
        return problem
    return "" if example["messages"][-1]["role"] == "user" else "the last message must have role 'user'."


_PROBLEMS: dict[Method, Callable[[object], str]] = {
    "supervised": _supervised_problem,
    "dpo": _preference_problem,
    "reinforcement": _reward_problem,
}


def _message_problem(message: object) -> str:
    if not isinstance(message, dict):
        return "must be a JSON object."
    role = message.get("role")
    if role not in ROLES:
        return f"has the role {json.dumps(role)[:60]}; the roles are {', '.join(ROLES)}."
    weight = message.get("weight")
    if weight is not None and (role != "assistant" or isinstance(weight, bool) or weight not in {0, 1}):
        return "has a 'weight'; only assistant messages may have one, 0 or 1."
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        return "has role 'tool' and needs a 'tool_call_id'."
    return _content_problem(message, role)


def _content_problem(message: Mapping[str, Any], role: str) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return ""
    if content is None:
        calls = message.get("tool_calls") or message.get("function_call")
        return "" if role == "assistant" and calls else "has no 'content'."
    if isinstance(content, list) and content and all(isinstance(part, dict) and "type" in part for part in content):
        return ""
    return "has a 'content' that is neither text nor a list of parts."


def text_of(content: object) -> str:
    """The text of a message's content, whichever way it is written."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""
