"""What a request for a fine-tuning job asks for, read and checked; it must not know what the resource holds."""

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

from emulator import graders
from emulator.catalogue import BaseModel, Method
from emulator.wire import Dialect, Refusal

NOT_SUPPORTED = "The specified base model does not support fine-tuning."
"""Source: body of a 400, public issues of 2023-10 and 2026-03."""

_TRAINING_TYPES = {"standard": "standard", "globalstandard": "globalStandard", "developertier": "developerTier"}
_SUFFIX = re.compile(r"[A-Za-z0-9_-]{1,40}")

_PLAIN: Final = ("n_epochs", "batch_size", "learning_rate_multiplier")
HYPERPARAMETERS: Final[dict[Method, tuple[str, ...]]] = {
    "supervised": _PLAIN,
    "dpo": (*_PLAIN, "beta", "l2_multiplier"),
    "reinforcement": (*_PLAIN, "compute_multiplier", "eval_interval", "eval_samples"),
}
"""Source: v1 specification, 2026-02-02; `l2_multiplier`: Microsoft's fine-tuning notes, 2026-08 only."""

_MOST: Final = {
    "n_epochs": 100,
    "batch_size": 256,
    "learning_rate_multiplier": 100.0,
    "beta": 100.0,
    "l2_multiplier": 100.0,
    "compute_multiplier": 10.0,
    "eval_interval": 1000,
    "eval_samples": 100,
}
"""No range is published; these keep a laptop from drowning. A whole number allows whole numbers only."""

REASONING_EFFORTS: Final = ("default", "low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request, checked by itself. `hyperparameters`: those not left to Azure; `method`: as it was given."""

    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    integrations: list[Any] | None
    metadata: dict[str, str] | None
    method: dict[str, Any] | None
    kind: Method
    hyperparameters: dict[str, float]


def invalid(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, "invalidPayload", message, param=param)


def read(body: dict[str, Any], dialect: Dialect) -> Wanted:
    """What is asked for.

    Raises:
        Refusal: 400 with what is wrong.
    """
    model, training_file = (
        str(_text(body, "model", required=True)),
        str(_text(body, "training_file", required=True)),
    )
    validation_file, suffix = _text(body, "validation_file"), _text(body, "suffix")
    if suffix is not None and not _SUFFIX.fullmatch(suffix):
        raise invalid("The field 'suffix' may have up to 40 characters (a-z, A-Z, 0-9, - and _).", "suffix")
    seed = body.get("seed")
    if seed is None:
        seed = secrets.randbelow(2**31)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise invalid("The field 'seed' must be an integer between 0 and 2147483647.", "seed")
    integrations = body.get("integrations")
    if integrations is not None and not isinstance(integrations, list):
        raise invalid("The field 'integrations' must be a list.", "integrations")
    method, kind = _method(body)
    asked = _hyperparameters(body.get("hyperparameters"), "hyperparameters", kind)
    if method:
        inner = method.get(kind) or {}
        asked |= _hyperparameters(inner.get("hyperparameters"), f"method.{kind}.hyperparameters", kind)
    if kind == "reinforcement":
        _check_reinforcement(method or {}, validation_file)
    return Wanted(
        model,
        training_file,
        validation_file,
        suffix,
        seed,
        integrations,
        _metadata(body, dialect),
        method,
        kind,
        asked,
    )


def _check_reinforcement(method: dict[str, Any], validation_file: str | None) -> None:
    """Source: Microsoft Learn, reinforcement fine-tuning, 2026-03-19: one grader, and a validation file."""
    inner = method.get("reinforcement") or {}
    try:
        graders.check(inner.get("grader"), "method.reinforcement.grader")
    except graders.BadGrader as bad:
        raise invalid(str(bad), "method") from bad
    effort = (inner.get("hyperparameters") or {}).get("reasoning_effort", "default")
    if effort not in REASONING_EFFORTS:
        message = f"The field 'reasoning_effort' must be one of {', '.join(REASONING_EFFORTS)}."
        raise invalid(message, "reasoning_effort")
    if validation_file is None:
        raise invalid("The field 'validation_file' is required for the method 'reinforcement'.", "validation_file")


def _text(body: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = body.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value:
        raise invalid(f"The field '{name}' must be a non-empty string.", name)
    return value


def _hyperparameters(given: object, where: str, kind: Method) -> dict[str, float]:
    """The hyperparameters that are not left to Azure."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid(f"The field '{where}' must be an object.", where)
    asked: dict[str, float] = {}
    for name in HYPERPARAMETERS[kind]:
        value = given.get(name)
        if value is None or value in ("auto", -1):
            continue
        kinds = int if isinstance(_MOST[name], int) else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value <= _MOST[name]:
            raise invalid(f"The field '{where}.{name}' must be 'auto' or a number up to {_MOST[name]}.", name)
        asked[name] = value
    return asked


def _method(body: dict[str, Any]) -> tuple[dict[str, Any] | None, Method]:
    """The method as given, and its type."""
    method = body.get("method")
    if method is None:
        return None, "supervised"
    kinds: tuple[Method, ...] = ("supervised", "dpo", "reinforcement")
    kind = next((kind for kind in kinds if isinstance(method, dict) and method.get("type") == kind), None)
    if kind is None:
        raise invalid("The field 'method.type' must be 'supervised', 'dpo' or 'reinforcement'.", "method")
    inner = method.get(kind)
    if inner is not None and not isinstance(inner, dict):
        raise invalid(f"The field 'method.{kind}' must be an object.", "method")
    return method, kind


def _metadata(body: dict[str, Any], dialect: Dialect) -> dict[str, str] | None:
    """The metadata; the dated form has none and ignores it. Source: FineTuningJobCreation of both versions."""
    metadata = body.get("metadata")
    if metadata is None or dialect.form == "dated":
        return None
    strings = isinstance(metadata, dict) and all(
        isinstance(key, str) and isinstance(value, str) and len(key) <= 64 and len(value) <= 512
        for key, value in metadata.items()
    )
    if not strings or len(metadata) > 16:
        message = (
            "The field 'metadata' must have at most 16 strings, keys up to 64 and values up to 512 characters."
        )
        raise invalid(message, "metadata")
    return dict(metadata)


def training_type(body: dict[str, Any], base: BaseModel) -> str | None:
    """The training type in the spelling of answers. In no official schema; case does not matter in practice.

    Source: Microsoft's fine-tuning notebooks (2025-12) and REST page (2026-10-05); litellm sends the number 1.
    """
    given = body.get("trainingType")
    if given is None:
        if base.is_openai:
            return None
        raise invalid(NOT_SUPPORTED, "trainingType")
    spelled = "standard" if given == 1 and not isinstance(given, bool) else given
    found = _TRAINING_TYPES.get(spelled.lower()) if isinstance(spelled, str) else None
    if found is None:
        raise invalid("The field 'trainingType' must be Standard, GlobalStandard or developerTier.", "trainingType")
    if found not in base.training_types:
        raise invalid(f"The model '{base.name}' does not support the training type '{found}'.", "trainingType")
    return found
