"""Structured logs: one JSON object a line, secrets blanked by key and by value, one set-up for every process."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog

_SECRET_KEYS: Final = (
    "authorization",
    "api_key",
    "api-key",
    "secret",
    "token_value",
    "password",
    "ciphertext",
)
_SECRET_VALUES: Final = re.compile(
    r"ftk_(?:live|test)_[0-9A-Za-z]{8,}|Bearer\s+[^\s\"']+|(?<=sig=)[^&\s]+|\bsk-[A-Za-z0-9_-]{16,}"
)


_live: dict[str, None] = {}
"""Secrets that this process holds, the newest last."""
_MOST_LIVE: Final = 1000
_SHORTEST_LIVE: Final = 8
"""A shorter text may stand in a log for other reasons."""


def never_log(secret: str) -> None:
    """Blank this text in every line from now on, whatever it looks like and whoever echoes it."""
    if len(secret) < _SHORTEST_LIVE or secret in _live:
        return
    if len(_live) >= _MOST_LIVE:
        _live.pop(next(iter(_live)), None)
    _live[secret] = None


def redact(text: str) -> str:
    """The text without our secrets, and without what looks like a key, a bearer token or a SAS signature."""
    for secret in tuple(_live):
        if secret in text:
            text = text.replace(secret, "***")
    return _SECRET_VALUES.sub("***", text)


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:
    if any(word in key.lower() for word in _SECRET_KEYS):
        return "***"
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _redacted(str(name), item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(key, item) for item in value]
    return value


def set_up_logging(*, level: str = "INFO", as_json: bool = True) -> None:
    """Send structlog's and the standard library's records to stderr in one shape.

    httpx2 logs every URL, query included, at INFO: it is kept at WARNING.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: list[Any] = (
        [
            structlog.processors.format_exc_info,
            _redact_event,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
        if as_json
        else [
            structlog.processors.format_exc_info,
            _redact_event,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery", "celery.task", "celery.worker"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    for noisy in ("httpx2", "httpcore2", "openai", "azure", "kombu", "celery", "amqp"):
        logging.getLogger(noisy).setLevel("WARNING")
