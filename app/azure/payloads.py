"""Reads Azure's JSON into the port's values without ever failing on a field that is odd, null or absent.

It makes no calls. What cannot be read in a field becomes None; the object itself is kept verbatim in `raw`.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from app.azure.port import (
    Graded,
    RemoteCheckpoint,
    RemoteCopy,
    RemoteDeployment,
    RemoteFile,
    RemoteJob,
    RemoteJobEvent,
    RemoteOperation,
    Usage,
)

Json = Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL's text and jsonb refuse."""
_LEVELS: Final = {"warn": "warning", "warning": "warning", "info": "info", "error": "error"}
"""Source: dated spec says `warning`, v1 OpenAPI (2026-02-02) says `warn`."""


class UnreadableAnswerError(ValueError):
    """The answer is not what the call promises: not JSON, not an object, no id, no list."""


def decode(body: bytes) -> Any:
    """JSON as Python values that a database can hold: no NaN, no infinity, no NUL, no lone surrogate.

    Raises:
        UnreadableAnswerError: not JSON, or nested deeper than Python reads.
    """
    try:
        parsed = json.loads(body.decode("utf-8-sig", "replace"), parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise UnreadableAnswerError("The answer is not JSON.") from None
    return storable(parsed) if _may_be_unstorable(body) else parsed


def decode_object(body: bytes) -> dict[str, Any]:
    """As `decode`, for an answer that must be an object."""
    parsed = decode(body)
    if not isinstance(parsed, dict):
        raise UnreadableAnswerError("The answer is not a JSON object.")
    return parsed


def storable(value: Any) -> Any:
    """The value with characters replaced that PostgreSQL refuses."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


def items_of(page: Json, key: str = "data") -> list[dict[str, Any]]:
    """The objects of one page of a list.

    Raises:
        UnreadableAnswerError: there is no list, or something in it is not an object.
    """
    found = page.get(key)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UnreadableAnswerError(f"The answer has no list of objects in `{key}`.")
    return found


def file_from(raw: Json) -> RemoteFile:
    """Raises `UnreadableAnswerError` without an id."""
    return RemoteFile(
        remote_id=required_id(raw),
        status=_text(raw.get("status")) or "",
        filename=_text(raw.get("filename")),
        bytes=_count(raw.get("bytes")),
        created_at=moment(raw.get("created_at")),
        raw=raw,
    )


def uploaded_file_from(raw: Json) -> RemoteFile:
    """The file inside a completed upload. Raises `UnreadableAnswerError` when there is none."""
    return file_from(_object(raw.get("file")))


def job_from(raw: Json) -> RemoteJob:
    """One fine-tuning job of either back end.

    SFT and DPO jobs carry `suffix`; RFT jobs come in OpenAI's own shape with `user_provided_suffix`, an
    empty `error` object and hyperparameters only inside `method`.
    Source: outputs in Microsoft's fine-tuning notebooks, 2025-05 to 2026-01.

    Raises:
        UnreadableAnswerError: without an id.
    """
    files = raw.get("result_files")
    return RemoteJob(
        remote_id=required_id(raw),
        status=_text(raw.get("status")) or "",
        model=_text(raw.get("model")),
        fine_tuned_model=_text(raw.get("fine_tuned_model")),
        training_file=_text(raw.get("training_file")),
        suffix=_text(raw.get("suffix")) or _text(raw.get("user_provided_suffix")),
        seed=_integer(raw.get("seed")),
        metadata={str(k): v for k, v in _object(raw.get("metadata")).items() if isinstance(v, str)},
        hyperparameters=_hyperparameters(raw),
        trained_tokens=_count(raw.get("trained_tokens")),
        result_files=tuple(f for f in files if isinstance(f, str) and f) if isinstance(files, list) else (),
        error=_error(raw.get("error")),
        created_at=moment(raw.get("created_at")),
        finished_at=moment(raw.get("finished_at")),
        estimated_finish_at=moment(raw.get("estimated_finish")),
        raw=raw,
    )


def graded_from(raw: Json, *, latency_seconds: float) -> Graded:
    """What a grader made of one answer. Source: RunGraderResponse of the v1 OpenAPI, 2026-02-02."""
    metadata = _object(raw.get("metadata"))
    flags = _object(metadata.get("errors"))
    errors = {
        name: _text(flags.get(f"{name}_details")) or _text(flags.get(f"{name}_type")) or ""
        for name, flag in flags.items()
        if flag is True
    }
    scores = _object(raw.get("sub_rewards")) or _object(metadata.get("scores"))
    used = _object(raw.get("model_grader_token_usage_per_model"))
    tokens = {str(model): count for model, value in used.items() if (count := _count(value)) is not None}
    if not tokens and (whole := _count(metadata.get("token_usage"))):
        tokens = {_text(metadata.get("sampled_model_name")) or "": whole}
    return Graded(
        reward=_real(raw.get("reward")),
        errors=errors,
        scores={str(name): score for name, value in scores.items() if (score := _real(value)) is not None},
        tokens=tokens,
        latency_seconds=latency_seconds,
        raw=raw,
    )


def event_from(raw: Json) -> RemoteJobEvent:
    """One job event; an event without an id gets one made of its time and words, stable across reads."""
    message = _text(raw.get("message")) or ""
    level = (_text(raw.get("level")) or "info").lower()
    created_at = moment(raw.get("created_at")) or _EPOCH
    return RemoteJobEvent(
        remote_id=_text(raw.get("id")) or _derived_id(created_at, message),
        created_at=created_at,
        level=_LEVELS.get(level, level),
        type=_text(raw.get("type")) or "message",
        message=message,
        data=_object(raw.get("data")),
    )


def checkpoint_from(raw: Json) -> RemoteCheckpoint:
    """Raises `UnreadableAnswerError` without an id or a model name."""
    metrics = _object(raw.get("metrics"))
    step = _integer(raw.get("step_number"))
    model_name = _text(raw.get("fine_tuned_model_checkpoint"))
    if not model_name:
        raise UnreadableAnswerError("A checkpoint has no model name.")
    return RemoteCheckpoint(
        remote_id=required_id(raw),
        step=(_integer(metrics.get("step")) if step is None else step) or 0,
        model_name=model_name,
        metrics={str(k): v for k, v in ((k, _real(v)) for k, v in metrics.items()) if v is not None},
        created_at=moment(raw.get("created_at")),
    )


def copies_from(raw: Json) -> list[RemoteCopy]:
    """Raises `UnreadableAnswerError` without a list, or where a copy does not say whereto."""
    found = []
    for item in items_of(raw, "copiedAccountDetails"):
        destination = _text(item.get("destinationResourceId"))
        if not destination:
            raise UnreadableAnswerError("A copy does not say where it goes.")
        found.append(
            RemoteCopy(
                destination_id=destination,
                region=_text(item.get("region")),
                status=_text(item.get("status")) or "InProgress",
            )
        )
    return found


def deployment_from(
    raw: Json, *, operation_url: str | None = None, retry_after_seconds: float | None = None
) -> RemoteDeployment:
    """One ARM deployment. Raises `UnreadableAnswerError` without a name."""
    properties, sku = _object(raw.get("properties")), _object(raw.get("sku"))
    name = _text(raw.get("name"))
    if not name:
        raise UnreadableAnswerError("A deployment has no name.")
    return RemoteDeployment(
        name=name,
        provisioning_state=_text(properties.get("provisioningState")) or "",
        model_name=_text(_object(properties.get("model")).get("name")),
        sku_name=_text(sku.get("name")),
        capacity=_count(sku.get("capacity")),
        tags={str(k): v for k, v in _object(raw.get("tags")).items() if isinstance(v, str)},
        operation_url=operation_url,
        retry_after_seconds=retry_after_seconds,
        raw=raw,
    )


def operation_from(raw: Json, *, retry_after_seconds: float | None) -> RemoteOperation:
    """An Azure-AsyncOperation, or the resource itself where ARM answers with that.

    Source: Azure REST API guidelines, long-running operations; `status` ends in Succeeded, Failed, Canceled.
    """
    properties = _object(raw.get("properties"))
    status = _text(raw.get("status")) or _text(properties.get("provisioningState")) or ""
    return RemoteOperation(status=status, error=_error(raw.get("error")), retry_after_seconds=retry_after_seconds)


def tuned_capacity_from(raw: dict[str, Any]) -> tuple[str | None, float | None]:
    """(SKU, what is left to deploy of fine-tunes) of one line of a model's capacity."""
    said = raw.get("properties")
    properties = said if isinstance(said, dict) else {}
    sku, left = properties.get("skuName"), properties.get("availableFinetuneCapacity")
    return (sku if isinstance(sku, str) else None), float(left) if isinstance(left, int | float) else None


def usage_from(raw: Json) -> Usage | None:
    """One line of quota, None when it has no name or no numbers."""
    name = raw.get("name")
    text = _text(name) or _text(_object(name).get("value"))
    current, limit = _real(raw.get("currentValue")), _real(raw.get("limit"))
    if not text or current is None or limit is None:
        return None
    return Usage(name=text, current=current, limit=limit, unit=_text(raw.get("unit")))


def is_oldest_first(events: Sequence[RemoteJobEvent]) -> bool:
    """True when these events run forward in time, against Azure's habit of newest first.

    Source: v1 answers are newest first; the example in the authoring spec 2024-10-21 runs forward.
    """
    return bool(events) and events[0].created_at < events[-1].created_at


def oldest_first(events: Sequence[RemoteJobEvent]) -> list[RemoteJobEvent]:
    """Events in the order of time; those of one second keep Azure's order."""
    in_order = list(events)
    if not is_oldest_first(in_order):
        in_order.reverse()
    in_order.sort(key=lambda event: event.created_at)
    return in_order


def moment(value: Any) -> datetime | None:
    """Unix seconds (also as text) or ISO 8601 as aware UTC; None for 0, negatives and the unreadable."""
    if isinstance(value, str) and not re.fullmatch(r"\d{1,12}(?:\.\d*)?", value):
        try:
            parsed = datetime.fromisoformat(value)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    seconds = _real(float(value) if isinstance(value, str) else value)
    if seconds is None or seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def required_id(raw: Json) -> str:
    """The object's id. Raises `UnreadableAnswerError` when it has none."""
    found = _text(raw.get("id"))
    if not found:
        raise UnreadableAnswerError("The answer has no id.")
    return found


def _hyperparameters(raw: Json) -> Mapping[str, Any]:
    top = _object(raw.get("hyperparameters"))
    if top:
        return top
    method = _object(raw.get("method"))
    return _object(_object(method.get(str(method.get("type")))).get("hyperparameters"))


def _error(value: Any) -> Mapping[str, Any] | None:
    """None for null, `{}` and an object whose fields are all null, which all mean that nothing is wrong."""
    if isinstance(value, str) and value:
        return {"message": value}
    found = _object(value)
    return found if any(item not in (None, "", {}, []) for item in found.values()) else None


def _derived_id(created_at: datetime, message: str) -> str:
    digest = hashlib.sha256(f"{created_at.timestamp()}|{message}".encode()).hexdigest()
    return f"ftevent-derived-{digest[:32]}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _real(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None


def _integer(value: Any) -> int | None:
    real = _real(value)
    return int(value) if real is not None and real.is_integer() else None


def _count(value: Any) -> int | None:
    whole = _integer(value)
    return whole if whole is not None and whole >= 0 else None


def _no_constant(_: str) -> None:
    """NaN and Infinity are not JSON; some servers write them for a metric that has no value."""


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _may_be_unstorable(body: bytes) -> bool:
    return b"\\u0000" in body or b"\\ud" in body or b"\\uD" in body
