"""The faults of a chaos run: rules for the emulator, each a kind of its own, that together strike a given share."""

from typing import Any, Final

WEIGHTS: Final[dict[str, tuple[float, dict[str, Any]]]] = {
    "connection cut before": (0.15, {"drop_before": True}),
    "answer lost": (0.22, {"drop_after": True}),
    "500": (0.12, {"status": 500}),
    "503": (0.08, {"status": 503}),
    "429": (0.10, {"status": 429, "headers": {"retry-after-ms": "100"}}),
    "garbage": (0.10, {"garbage": True}),
    "cut short": (0.09, {"truncate_bytes": 20}),
    "slow": (0.06, {"delay_seconds": 0.15}),
}
"""Kind → its part among the faults, and what it does."""
SILENCE_WEIGHT: Final = 0.08
"""Done, but answered only when the caller has given up."""
LATE_SHARE: Final = 0.02
"""Share of money-making POSTs and PUTs that arrive long after their caller has given up."""
LATE_OPERATIONS: Final = ("jobs.create", "files.upload", "deployments.put")
LISTS: Final = ("jobs.list", "files.list", "deployments.list")
LATE_SECONDS: Final = (1.5, 3.0, 5.0)


def rules(share: float, *, seed: int, timeout_seconds: float, list_lag_seconds: float) -> list[dict[str, Any]]:
    """The rules in order; the first that strikes decides, so each probability is that of what is left."""
    if share == 0:
        return lag(list_lag_seconds)
    made: list[dict[str, Any]] = []
    for operation in LATE_OPERATIONS:
        for number, late in enumerate(LATE_SECONDS):
            rule = _rule(
                LATE_SHARE / len(LATE_SECONDS) / (1 - LATE_SHARE), f"{seed}:late:{number}", {"delay_seconds": late}
            )
            made.append({**rule, "match": {"operation": operation}})
    kinds = {name: (weight, do) for name, (weight, do) in WEIGHTS.items()}
    kinds["silence"] = (SILENCE_WEIGHT, {"delay_seconds": timeout_seconds + 0.3})
    total = sum(weight for weight, _ in kinds.values())
    left = 1.0
    for name, (weight, do) in kinds.items():
        wanted = share * weight / total
        made.append(_rule(wanted / left, f"{seed}:{name}", do))
        left -= wanted
    return made + lag(list_lag_seconds)


def lag(seconds: float) -> list[dict[str, Any]]:
    """Lists never show what is younger."""
    return [{"match": {"operation": operation}, "do": {"list_lag_seconds": seconds}} for operation in LISTS]


def _rule(probability: float, seed: str, do: dict[str, Any]) -> dict[str, Any]:
    return {"when": {"probability": min(1.0, probability), "seed": seed}, "do": do}


def counted(shown: list[dict[str, Any]], timeout_seconds: float) -> dict[str, int]:
    """How often each kind struck."""
    kinds = {str(do): name for name, (_, do) in WEIGHTS.items()}
    kinds[str({"delay_seconds": timeout_seconds + 0.3})] = "silence"
    found: dict[str, int] = {}
    for rule in shown:
        if "list_lag_seconds" in rule["do"]:
            continue
        name = kinds.get(str(rule["do"]), "arrives late")
        found[name] = found.get(name, 0) + int(rule["hit"])
    return found


def requests_seen(shown: list[dict[str, Any]]) -> int:
    """How many requests the rules were asked about."""
    late = sum(int(rule["hit"]) for rule in shown if "operation" in rule["match"])
    lags = sum(int(rule["hit"]) for rule in shown if "list_lag_seconds" in rule["do"])
    first = next((int(rule["seen"]) for rule in shown if not rule["match"]), 0)
    return first + late - lags
