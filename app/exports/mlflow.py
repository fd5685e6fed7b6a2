"""A run as MLflow's tracking server takes it: parameters, metrics by step, tags, the card as its note. Pure.

Source: MLflow REST API 2.0 (runs/create, runs/log-batch, runs/update, runs/search), docs of 2026: a batch holds at
most 1,000 metrics, 100 parameters and 100 tags, 1,000 things in all; names of letters, digits and `_ - . / space`.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from app.exports.card import Card
from app.exports.record import Record, RunFacts

METRICS_A_BATCH: Final = 1000
PARAMETERS_MAX: Final = 100
PARAMETER_CHARACTERS: Final = 500
"""What every server since 1.28 keeps of a value; newer ones keep more."""
TAG_CHARACTERS: Final = 5000
MARK: Final = "kitae.run"
"""Tag by which a run is found again, so that sending it twice makes one."""
_STATUS: Final = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}
_ODD: Final = re.compile(r"[^A-Za-z0-9_\-. /]+")


@dataclass(frozen=True, slots=True)
class Sending:
    """What is to be sent of one run."""

    mark: str
    create: dict[str, Any]
    """Body of runs/create, without the experiment."""
    batches: list[dict[str, Any]]
    """Bodies of runs/log-batch, without the run's id. Sending one again changes nothing."""
    update: dict[str, Any]
    """Body of runs/update, without the run's id."""


def sending_of(record: Record) -> Sending:
    """Raises `RecordRefused`."""
    facts = record.facts()
    mark = f"{facts.origin}:{facts.id}"
    began = _milliseconds(facts.created_at)
    tags = {
        MARK: mark,
        "mlflow.note.content": Card(record).markdown()[:TAG_CHARACTERS],
        "mlflow.source.name": facts.made_by or facts.origin,
        "kitae.remote_model": (facts.model or {}).get("remote_name"),
        "kitae.status": facts.status,
    }
    parameters = [
        {"key": _name(name), "value": str(value)[:PARAMETER_CHARACTERS]}
        for name, value in _parameters(facts).items()
        if value is not None
    ]
    metrics = list(_metrics(record, began))
    batches: list[dict[str, Any]] = [{"params": parameters[:PARAMETERS_MAX]}] if parameters else []
    batches += [{"metrics": metrics[at : at + METRICS_A_BATCH]} for at in range(0, len(metrics), METRICS_A_BATCH)]
    return Sending(
        mark=mark,
        create={
            "run_name": facts.name,
            "start_time": began,
            "tags": [{"key": key, "value": str(value)} for key, value in tags.items() if value],
        },
        batches=batches,
        update={"status": _STATUS.get(facts.status, "RUNNING"), "end_time": _milliseconds(facts.finished_at)},
    )


def _parameters(facts: RunFacts) -> dict[str, Any]:
    told: dict[str, Any] = {
        "base_model": facts.base_model,
        "method": facts.method,
        "training_type": facts.training_type,
        "seed": facts.seed,
        "trained_tokens": facts.trained_tokens,
        "cost_usd": facts.cost_usd,
    }
    told |= {name: value for name, value in facts.hyperparameters.items() if not isinstance(value, dict | list)}
    told |= {f"used.{name}": value for name, value in facts.used_hyperparameters.items()}
    for role, data in facts.data.items():
        if data is not None:
            told[f"{role}.version"] = f"{data.dataset}@{data.number}"
            told[f"{role}.sha256"] = data.content_sha256 or data.sha256
            told[f"{role}.examples"] = data.examples
    return told


def _metrics(record: Record, began: int) -> Iterator[dict[str, Any]]:
    """The time of a metric is the run's begin: it is part of what makes two the same, so it must not change."""
    curve = record.curve()
    for point in curve.points:
        for name in curve.columns:
            value = point.values.get(name)
            if value is not None and math.isfinite(value):
                yield {"key": _name(name), "value": value, "timestamp": began, "step": point.step}


def _name(text: str) -> str:
    return _ODD.sub("_", text)[:250] or "_"


def _milliseconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp() * 1000)
