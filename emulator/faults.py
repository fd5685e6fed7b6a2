"""Faults on request: rules that say which calls go wrong, how often and in what way; it must not know the nouns."""

import random
import re
import threading
from dataclasses import dataclass, field
from typing import Any

OPERATIONS: dict[str, tuple[str, str]] = {
    "files.upload": ("POST", r"/files$"),
    "files.list": ("GET", r"/files$"),
    "files.get": ("GET", r"/files/[^/]+$"),
    "files.content": ("GET", r"/files/[^/]+/content$"),
    "files.delete": ("DELETE", r"/files/[^/]+$"),
    "uploads.start": ("POST", r"/uploads$"),
    "uploads.part": ("POST", r"/uploads/[^/]+/parts$"),
    "uploads.complete": ("POST", r"/uploads/[^/]+/complete$"),
    "uploads.cancel": ("POST", r"/uploads/[^/]+/cancel$"),
    "jobs.create": ("POST", r"/fine_tuning/jobs$"),
    "jobs.list": ("GET", r"/fine_tuning/jobs$"),
    "jobs.get": ("GET", r"/fine_tuning/jobs/[^/]+$"),
    "jobs.delete": ("DELETE", r"/fine_tuning/jobs/[^/]+$"),
    "jobs.cancel": ("POST", r"/fine_tuning/jobs/[^/]+/cancel$"),
    "jobs.pause": ("POST", r"/fine_tuning/jobs/[^/]+/pause$"),
    "jobs.resume": ("POST", r"/fine_tuning/jobs/[^/]+/resume$"),
    "jobs.events": ("GET", r"/fine_tuning/jobs/[^/]+/events$"),
    "jobs.checkpoints": ("GET", r"/fine_tuning/jobs/[^/]+/checkpoints$"),
    "models.list": ("GET", r"/openai/(v1/)?models$"),
    "models.get": ("GET", r"/openai/(v1/)?models/[^/]+$"),
    "chat": ("POST", r"/chat/completions$"),
    "deployments.put": ("PUT", r"/deployments/[^/]+$"),
    "deployments.get": ("GET", r"/deployments/[^/]+$"),
    "deployments.list": ("GET", r"/deployments$"),
    "deployments.patch": ("PATCH", r"/deployments/[^/]+$"),
    "deployments.delete": ("DELETE", r"/deployments/[^/]+$"),
    "deployments.pause": ("POST", r"/deployments/[^/]+/pause$"),
    "deployments.resume": ("POST", r"/deployments/[^/]+/resume$"),
    "operations.get": ("GET", r"/operationStatuses/[^/]+$"),
    "usages.list": ("GET", r"/usages$"),
}
"""Names of calls for rules and for the request log: method and end of the path."""

_COMPILED = {name: (method, re.compile(path)) for name, (method, path) in OPERATIONS.items()}

_MATCH = ("operation", "method", "path")
_WHEN = ("first_n", "after_n", "every_nth", "probability", "seed")
_DO = (
    "status",
    "code",
    "message",
    "body",
    "headers",
    "delay_seconds",
    "drop_before",
    "drop_after",
    "garbage",
    "truncate_bytes",
    "list_lag_seconds",
    "fate",
)
_FATES: dict[str, type] = {
    "extra_queue_seconds": float,
    "stall_at_step": int,
    "fail_at_step": int,
    "data_refused": list,
    "model_refused": list,
    "provision_fails": bool,
    "extra_warm_up_seconds": float,
    "file_error": str,
}
"""What may be in store for a job, a deployment or a file, and the kind of its value."""


def operation_of(method: str, path: str) -> str:
    """The name of a call; empty for one that has none."""
    for name, (known_method, pattern) in _COMPILED.items():
        if method == known_method and pattern.search(path):
            return name
    return ""


class BadRule(ValueError):
    """A fault rule that cannot be read; the message says where."""


@dataclass(slots=True)
class Rule:
    """`match` and `when` decide, `do` says what happens; `seen` counts matching calls, `hit` those struck."""

    match: dict[str, Any]
    when: dict[str, Any]
    do: dict[str, Any]
    seen: int = 0
    hit: int = 0
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def strikes(self, method: str, path: str, operation: str) -> bool:
        """Whether this call is struck; counts it when it matches."""
        match = self.match
        if "operation" in match and match["operation"] != operation:
            return False
        if "method" in match and match["method"].upper() != method:
            return False
        if "path" in match and not re.search(match["path"], path):
            return False
        self.seen += 1
        when = self.when
        skipped = when.get("after_n", 0)
        place = self.seen - skipped
        struck = (
            place > 0
            and place <= when.get("first_n", place)
            and place % when.get("every_nth", 1) == 0
            and self.draw.random() < when.get("probability", 1.1)
        )
        self.hit += int(struck)
        return bool(struck)

    def shown(self) -> dict[str, Any]:
        return {"match": self.match, "when": self.when, "do": self.do, "seen": self.seen, "hit": self.hit}


class Faults:
    """The rules in force; the first that strikes decides a call."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def set(self, rules: object) -> None:
        """Replace all rules.

        Raises:
            BadRule: a rule cannot be read; none is changed.
        """
        if not isinstance(rules, list) or len(rules) > 100:
            raise BadRule("send a list of up to 100 rules")
        read = [_read(rule, f"rule {number}") for number, rule in enumerate(rules)]
        with self._lock:
            self._rules = read

    def plan(self, method: str, path: str, operation: str) -> dict[str, Any]:
        """What shall happen to a call; empty when nothing shall."""
        with self._lock:
            for rule in self._rules:
                if rule.strikes(method, path, operation):
                    return rule.do
        return {}

    def shown(self) -> list[dict[str, Any]]:
        with self._lock:
            return [rule.shown() for rule in self._rules]


def _part(rule: dict[str, Any], name: str, known: tuple[str, ...], where: str) -> dict[str, Any]:
    part = rule.get(name, {})
    if not isinstance(part, dict):
        raise BadRule(f"{where}: '{name}' must be an object")
    for key in part:
        if key not in known:
            raise BadRule(f"{where}: '{name}.{key}' is unknown; known are {', '.join(known)}")
    return part


def _amount(part: dict[str, Any], name: str, least: float, most: float, where: str) -> None:
    value = part.get(name, least)
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadRule(f"{where}: '{name}' must be a number between {least:g} and {most:g}")


def _check_fate(fate: dict[str, Any], where: str) -> None:
    for name, value in fate.items():
        kind = _FATES[name]
        if kind in {int, float}:
            _amount(fate, name, 0, 1e9, where)
            if kind is int and not isinstance(value, int):
                raise BadRule(f"{where}: 'fate.{name}' must be a whole number")
        elif not isinstance(value, kind):
            raise BadRule(f"{where}: 'fate.{name}' must be a {kind.__name__}")


def _read(rule: object, where: str) -> Rule:
    if not isinstance(rule, dict) or set(rule) - {"match", "when", "do"} or not rule.get("do"):
        raise BadRule(f"{where}: must be an object with 'do' and perhaps 'match' and 'when'")
    match, when = _part(rule, "match", _MATCH, where), _part(rule, "when", _WHEN, where)
    do = _part(rule, "do", _DO, where)
    if not all(isinstance(value, str) for value in match.values()):
        raise BadRule(f"{where}: the members of 'match' must be strings")
    if match.get("operation", "chat") not in OPERATIONS:
        raise BadRule(f"{where}: no operation '{match['operation']}'; there are {', '.join(OPERATIONS)}")
    try:
        re.compile(match.get("path", ""))
    except re.error as error:
        raise BadRule(f"{where}: 'match.path' is no regular expression: {error}") from error
    for name in ("first_n", "every_nth"):
        _amount(when, name, 1, 1e9, where)
    _amount(when, "after_n", 0, 1e9, where)
    _amount(when, "probability", 0, 1, where)
    for name, least, most in (
        ("delay_seconds", 0, 3600),
        ("list_lag_seconds", 0, 1e9),
        ("truncate_bytes", 0, 1e9),
        ("status", 200, 599),
    ):
        _amount(do, name, least, most, where)
    headers = do.get("headers", {})
    if not isinstance(headers, dict) or not all(
        isinstance(value, str) and (name + value).isascii() and (name + value).isprintable()
        for name, value in headers.items()
    ):
        raise BadRule(f"{where}: 'headers' must map names to printable ASCII strings")
    _check_fate(_part(do, "fate", tuple(_FATES), where), where)
    return Rule(match, when, do, draw=random.Random(str(when.get("seed", 0))))
