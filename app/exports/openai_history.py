"""A fine-tuning job of OpenAI's own service as a record. Pure: the objects were read by somebody else.

Source: OpenAI API reference, fine-tuning and files, 2026; OpenAI hands results files out in base64
(`app.jobs.analysis.parse_results` reads both). Its fine-tuning ends on 2027-01-06.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from app.azure.payloads import checkpoint_from, event_from, job_from, oldest_first
from app.azure.port import RemoteCheckpoint, RemoteJob
from app.exports.record import ROLES, RUN, DataFacts, Record, RunFacts, document, lines_of, moment, number
from app.jobs import analysis

_METHODS: Final = frozenset({"supervised", "dpo", "reinforcement"})


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """One file as OpenAI had it: what was trained on."""

    id: str
    filename: str
    bytes: int
    sha256: str
    lines: int
    """That are not blank."""


def record_of(
    job: Mapping[str, Any],
    *,
    events: Sequence[Mapping[str, Any]],
    checkpoints: Sequence[Mapping[str, Any]],
    results: bytes | None,
    files: Mapping[str, HistoryFile],
) -> Record:
    """The record of one job.

    Args:
        job: OpenAI's object, verbatim; so are events and checkpoints.
        results: its results file, as it was handed out.
        files: by OpenAI's id, those whose content could be read.

    Raises:
        UnreadableAnswerError: an object has no id.
    """
    found = job_from(dict(job))
    told = oldest_first([event_from(dict(event)) for event in events])
    kept = sorted((checkpoint_from(dict(item)) for item in checkpoints), key=lambda item: item.step)
    text = _plain(results) if results is not None else None
    curve = _curve(text, told)
    facts = _facts(found, {role: _file_of(found, role, files) for role in ROLES})
    documents = {
        RUN: document(facts),
        "remote.json": document(dict(job)),
        "events.jsonl": lines_of(
            {
                "id": event.remote_id,
                "created_at": moment(event.created_at),
                "level": event.level,
                "type": event.type,
                "message": event.message,
                "data": dict(event.data),
            }
            for event in told
        ),
        "points.jsonl": lines_of(
            {"step": point.step, **{name: number(value) for name, value in point.values.items()}}
            for point in curve.points
        ),
        "checkpoints.json": document(
            [
                {
                    "id": item.remote_id,
                    "step": item.step,
                    "model_name": item.model_name,
                    "metrics": dict(item.metrics),
                    "created_at": moment(item.created_at),
                }
                for item in kept
            ]
        ),
    }
    if text is not None:
        documents["results.csv"] = text
    if curve.points:
        documents["analysis.json"] = document(_judged(found, facts, curve, kept))
    return Record(documents)


def _plain(content: bytes) -> bytes:
    """A results file without the base64 that OpenAI puts around it."""
    if content.lstrip()[:4].lower() == b"step":
        return content
    try:
        opened = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        return content
    return opened if opened.lstrip()[:4].lower() == b"step" else content


def _curve(text: bytes | None, events: Sequence[Any]) -> analysis.Results:
    """From the results file, else from the metrics events."""
    if text is not None:
        try:
            return analysis.parse_results(text)
        except analysis.ResultsError:
            pass  # what the events tell is better than nothing; the file travels along as it is
    return analysis.results_from_events(dict(event.data) for event in events if "step" in event.data)


def _file_of(found: RemoteJob, role: str, files: Mapping[str, HistoryFile]) -> HistoryFile | None:
    named = found.training_file if role == "training" else found.raw.get("validation_file")
    return files.get(str(named)) if named else None


def _facts(found: RemoteJob, data: Mapping[str, HistoryFile | None]) -> RunFacts:
    said = found.raw.get("method")
    method = said.get("type") if isinstance(said, dict) else None
    return RunFacts.model_validate(
        {
            "origin": "openai",
            "id": found.remote_id,
            "name": found.suffix or (found.fine_tuned_model or found.remote_id)[-60:],
            "status": found.status,
            "base_model": found.model or "unknown",
            "method": method if method in _METHODS else "supervised",
            "model": {"name": found.suffix, "remote_name": found.fine_tuned_model, "kind": "final"}
            if found.fine_tuned_model
            else None,
            "job": {"remote_id": found.remote_id, "metadata": dict(found.metadata), "error": found.error},
            "used_hyperparameters": {
                name: value for name, value in found.hyperparameters.items() if value not in (None, "auto", -1)
            },
            "suffix": found.suffix,
            "seed": found.seed,
            "trained_tokens": found.trained_tokens,
            "created_at": found.created_at,
            "finished_at": found.finished_at,
            "data": {role: _data(file) for role, file in data.items()},
        }
    )


def _data(file: HistoryFile | None) -> DataFacts | None:
    if file is None:
        return None
    return DataFacts(
        dataset=PurePosixPath(file.filename).stem[:64] or file.id,
        number=1,
        sha256=file.sha256,
        content_sha256=file.sha256,
        content_bytes=file.bytes,
        examples=file.lines,
        lineage={"source": "openai_file", "file": file.id, "filename": file.filename},
    )


def _judged(
    found: RemoteJob, facts: RunFacts, curve: analysis.Results, checkpoints: Sequence[RemoteCheckpoint]
) -> dict[str, Any]:
    used = facts.used_hyperparameters

    def known(name: str) -> Any:
        value = used.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    training = facts.data.get("training")
    return analysis.analyse(
        curve,
        examples=training.examples if training else None,
        n_epochs=known("n_epochs"),
        batch_size=known("batch_size"),
        learning_rate_multiplier=known("learning_rate_multiplier"),
        has_validation=bool(found.raw.get("validation_file")),
        checkpoints=[
            analysis.CheckpointPoint(
                step=item.step, full_valid_loss=item.metrics.get("full_valid_loss"), id=item.remote_id
            )
            for item in checkpoints
        ],
    ).to_json()


def file_of(file_id: str, filename: str, content: bytes) -> HistoryFile:
    """What is known of a file whose bytes are here."""
    return HistoryFile(
        id=file_id,
        filename=filename,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        lines=sum(1 for line in content.splitlines() if line.strip()),
    )
