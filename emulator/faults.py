"""Faults on request: rules that say which calls go wrong, how often and in what way; it must not know the nouns."""

import json
import random
import re
import threading
from dataclasses import dataclass, field
from typing import Any

OPERATIONS: dict[str, tuple[str, str]] = {
    "files.upload": ("POST", r"/files$"),
    "files.import": ("POST", r"/files/import$"),
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
    "checkpoints.copy": ("POST", r"/checkpoints/[^/]+/copy$"),
    "checkpoints.copies": ("GET", r"/checkpoints/[^/]+/copy$"),
    "webhooks.create": ("POST", r"/dashboard/webhook_endpoints$"),
    "graders.run": ("POST", r"/graders/run$"),
    "graders.validate": ("POST", r"/graders/validate$"),
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
    "operations.result": ("GET", r"/operationResults/[^/]+$"),
    "usages.list": ("GET", r"/usages$"),
    "skus.list": ("GET", r"/deployments/[^/]+/skus$"),
    "capacities.list": ("GET", r"/modelCapacities$"),
    "arm_models.list": ("GET", r"^/subscriptions/.*/models$"),
    "account.get": ("GET", r"/accounts/[^/]+$"),
    "keys.list": ("POST", r"/accounts/[^/]+/listKeys$"),
}
"""Names of calls for rules and for the request log: method and end of the path."""

_COMPILED: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
for _name, (_method, _path) in OPERATIONS.items():
    _COMPILED.setdefault(_method, []).append((_name, re.compile(_path)))

_MATCH = ("operation", "method", "path")
_WHEN = ("first_n", "after_n", "every_nth", "share", "probability", "seed")
_DO = (
    "status",
    "code",
    "message",
    "body",
    "headers",
    "after_acting",
    "delay_seconds",
    "drop_before",
    "drop_after",
    "reset_before",
    "reset_after",
    "hang_before",
    "hang_after",
    "garbage",
    "change",
    "leave_out",
    "truncate_bytes",
    "length_off_by",
    "bytes_per_second",
    "list_lag_seconds",
    "list_order",
    "page_shift",
    "fate",
)
_FLAGS = (
    "after_acting",
    "drop_before",
    "drop_after",
    "reset_before",
    "reset_after",
    "hang_before",
    "hang_after",
)
GARBAGE = ("html", "half_json", "wrong_types", "empty")
"""What may stand where JSON is expected; `true` means `html`."""

_FATES: dict[str, type] = {
    "extra_queue_seconds": float,
    "stall_at_step": int,
    "fail_at_step": int,
    "data_refused": list,
    "model_refused": list,
    "import_fails": bool,
    "needs_files": bool,
    "provision_fails": bool,
    "extra_provision_seconds": float,
    "extra_warm_up_seconds": float,
    "never_warms": bool,
    "get_404_seconds": float,
    "operation_404_after_seconds": float,
    "extra_update_seconds": float,
    "update_fails": bool,
    "extra_delete_seconds": float,
    "delete_fails": bool,
    "file_error": str,
}
"""What may be in store for a job, a deployment or a file, and the kind of its value."""


def operation_of(method: str, path: str) -> str:
    """The name of a call; empty for one that has none."""
    for name, pattern in _COMPILED.get(method, ()):
        if pattern.search(path):
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

    def matches(self, method: str, path: str, operation: str) -> bool:
        match = self.match
        if "operation" in match and match["operation"] != operation:
            return False
        if "method" in match and match["method"].upper() != method:
            return False
        return "path" not in match or re.search(match["path"], path) is not None

    def is_its_turn(self) -> bool:
        """Count one more matching call, and say whether the rule is for it (its share of chance apart)."""
        self.seen += 1
        when = self.when
        place = self.seen - when.get("after_n", 0)
        return bool(
            place > 0
            and place <= when.get("first_n", place)
            and place % when.get("every_nth", 1) == 0
            and self.draw.random() < when.get("probability", 1.1)
        )

    def shown(self) -> dict[str, Any]:
        return {"match": self.match, "when": self.when, "do": self.do, "seen": self.seen, "hit": self.hit}


class Faults:
    """The rules in force; the first that strikes decides a call.

    Rules with a `share` have one draw among them for each call: 0.15, 0.1 and 0.1 strike 15, 10 and 10 of a hundred
    calls, and never two of them one call. Each operation draws from a generator of its own, so that a run repeats
    itself even when calls of different operations overtake each other.
    """

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._seed = "0"
        self._draws: dict[str, random.Random] = {}
        self._lock = threading.Lock()

    def set(self, given: object) -> None:
        """Replace all rules: a list of them, or an object with `rules` and the `seed` of their shares.

        Raises:
            BadRule: a rule cannot be read; none is changed.
        """
        seed, rules = (given.get("seed", 0), given.get("rules")) if isinstance(given, dict) else (0, given)
        if isinstance(given, dict) and set(given) - {"seed", "rules"}:
            raise BadRule("send a list of rules, or an object with 'rules' and 'seed'")
        if not isinstance(rules, list) or len(rules) > _MOST_RULES:
            raise BadRule(f"send a list of up to {_MOST_RULES} rules")
        if isinstance(seed, bool) or not isinstance(seed, int | str):
            raise BadRule("'seed' must be an integer or a string")
        read = [_read(rule, f"rule {number}") for number, rule in enumerate(rules)]
        _check_shares(read)
        with self._lock:
            self._rules, self._seed, self._draws = read, str(seed), {}

    def plan(self, method: str, path: str, operation: str) -> dict[str, Any]:
        """What shall happen to a call; empty when nothing shall."""
        if not self._rules:
            return {}
        with self._lock:
            drawn, reached = None, 0.0
            for rule in self._rules:
                if not rule.matches(method, path, operation):
                    continue
                struck = rule.is_its_turn()
                if "share" in rule.when:
                    drawn = self._draw(operation) if drawn is None else drawn
                    struck = struck and reached <= drawn < reached + rule.when["share"]
                    reached += rule.when["share"]
                if struck:
                    rule.hit += 1
                    return rule.do
        return {}

    def _draw(self, operation: str) -> float:
        if operation not in self._draws:
            self._draws[operation] = random.Random(f"{self._seed}/{operation}")
        return self._draws[operation].random()

    def shown(self) -> list[dict[str, Any]]:
        with self._lock:
            return [rule.shown() for rule in self._rules]


_MOST_RULES = 100


def _check_shares(rules: list[Rule]) -> None:
    whole: dict[str, float] = {}
    for number, rule in enumerate(rules):
        same = json.dumps(rule.match, sort_keys=True)
        whole[same] = whole.get(same, 0.0) + rule.when.get("share", 0.0)
        if whole[same] > 1 + 1e-9:
            raise BadRule(f"rule {number}: the shares of rules with the same 'match' sum up to more than 1")


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


def _check_do(do: dict[str, Any], where: str) -> None:
    for name, least, most in (
        ("delay_seconds", 0, 3600),
        ("list_lag_seconds", 0, 1e9),
        ("page_shift", -1000, 1000),
        ("truncate_bytes", 0, 1e9),
        ("length_off_by", -1e9, 1e9),
        ("bytes_per_second", 0.01, 1e9),
        ("status", 200, 599),
    ):
        _amount(do, name, least, most, where)
    for name in _FLAGS:
        if not isinstance(do.get(name, False), bool):
            raise BadRule(f"{where}: '{name}' must be true or false")
    if do.get("after_acting") and "status" not in do:
        raise BadRule(f"{where}: 'after_acting' goes with a 'status'")
    if not isinstance(do.get("garbage", True), bool) and do["garbage"] not in GARBAGE:
        raise BadRule(f"{where}: 'garbage' must be true or one of {', '.join(GARBAGE)}")
    if not isinstance(do.get("change", {}), dict):
        raise BadRule(f"{where}: 'change' must map members of the answer to values")
    left_out = do.get("leave_out", [])
    if not isinstance(left_out, list) or not all(isinstance(name, str) for name in left_out):
        raise BadRule(f"{where}: 'leave_out' must be a list of members of the answer")
    if do.get("list_order", "reversed") not in ("reversed", "shuffled"):
        raise BadRule(f"{where}: 'list_order' must be reversed or shuffled")
    headers = do.get("headers", {})
    if not isinstance(headers, dict) or not all(
        isinstance(value, str) and (name + value).isascii() and (name + value).isprintable()
        for name, value in headers.items()
    ):
        raise BadRule(f"{where}: 'headers' must map names to printable ASCII strings")
    _check_fate(_part(do, "fate", tuple(_FATES), where), where)


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
    _amount(when, "share", 0, 1, where)
    _amount(when, "probability", 0, 1, where)
    _check_do(do, where)
    return Rule(match, when, do, draw=random.Random(str(when.get("seed", 0))))
