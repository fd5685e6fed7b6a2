"""Opens the way to the service for user commands, and turns what goes wrong into words and an exit code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.cli.exits import Exit, Told

if TYPE_CHECKING:
    from app.client import ApiProblem, Client

LAPTOP_FILE: Final = "laptop.json"
"""In the data directory: how to reach the instance that `kitae up` runs there."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service is and with which key to ask."""

    url: str
    key: str


def address() -> Address:
    """From KITAE_URL and KITAE_API_KEY, else from what `kitae up` left in the data directory. Raises `Told`."""
    url, key = os.environ.get("KITAE_URL"), os.environ.get("KITAE_API_KEY")
    kept = _laptop() if not (url and key) else {}
    if not url and not kept:
        raise Told(
            "I do not know where Kitae is.",
            hint="Start one here with `kitae up`, or set KITAE_URL and KITAE_API_KEY.",
            code=Exit.UNREACHABLE,
        )
    url = url or kept["url"]
    if not key and kept.get("url", "").rstrip("/") == url.rstrip("/"):
        key = kept["key"]
    if not key:
        raise Told(f"There is no API key for {url}.", hint="Set KITAE_API_KEY.")
    return Address(url, key)


def _laptop() -> dict[str, str]:
    path = Path(os.environ.get("KITAE_DATA_DIR", "var")) / LAPTOP_FILE
    try:
        kept = json.loads(path.read_text())
        return {"url": str(kept["url"]), "key": str(kept["key"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def connect() -> Client:
    """A client for the service that the environment names. Raises `Told`."""
    from app.client import Client

    found = address()
    return Client(found.url, found.key)


def explain(error: Exception) -> Exit | None:
    """Tell a person about an error that a command may meet; None for one that is a fault of ours."""
    from pydantic import ValidationError

    from app.cli import words
    from app.client import ApiProblem, Unreachable
    from app.kit.wire import in_words

    if isinstance(error, Told):
        words.error(error.reason, hint=error.hint)
        return error.code
    if isinstance(error, ApiProblem):
        _explain_problem(error)
        return Exit.PROBLEM
    if isinstance(error, Unreachable):
        words.error(
            str(error), hint="Is it running? `kitae up` starts one on this machine; KITAE_URL names another."
        )
        return Exit.UNREACHABLE
    if isinstance(error, ValidationError):
        words.error("This cannot be asked:")
        for item in error.errors(include_url=False, include_input=False):
            place = ".".join(str(part) for part in item["loc"])
            told = in_words(item)
            words.say(f"  {place}: {told}" if place else f"  {told}")
        return Exit.USAGE
    return None


def _explain_problem(problem: ApiProblem) -> None:
    from app.cli import words

    words.error(problem.detail)
    for item in problem.errors:
        if item.detail != problem.detail:
            words.say(f"  {item.place}: {item.detail}" if item.place else f"  {item.detail}")
    if problem.hint:
        words.say(f"hint: {problem.hint}", style="cyan")
    if problem.remote:
        words.say(f"  Azure: {json.dumps(problem.remote, ensure_ascii=False)[:600]}", style="dim")
    request = f", {problem.request_id}" if problem.request_id else ""
    words.say(f"  ({problem.status} {problem.code}{request})", style="dim")
