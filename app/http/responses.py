"""Answers as JSON: orjson, UTC with Z, money as text, ETag and 304."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

from app.http.etags import content_etag, is_known

_OPTIONS: Final = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_UUID


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def to_json(body: Any) -> bytes:
    """JSON bytes; Decimals become text without exponent, times RFC 3339 in UTC with `Z`."""
    return orjson.dumps(body, default=_encode, option=_OPTIONS)


def as_attachment(name: str) -> str:
    """Content-Disposition that makes a browser save the answer under this name instead of showing it.

    Source: RFC 6266 with RFC 8187 (`filename*`); the plain `filename` is for readers that do not know it.
    """
    clean = "".join(character for character in name if character.isprintable() and character not in "/\\")
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", clean)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"


def answer(
    request: Request,
    body: BaseModel | Mapping[str, Any],
    *,
    status: int = 200,
    etag: str | None = None,
    location: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A JSON answer. A GET gets an ETag, and 304 without a body when the caller already has it.

    Args:
        body: a schema, or a mapping row that has the schema's members already.
        etag: from `etag_of(marker)`; None = the hash of the body.
        location: path of what was made or is under way (201, 202).
    """
    content = to_json(body)
    all_headers = dict(headers or {})
    if location is not None:
        all_headers["Location"] = location
    if etag is None and request.method == "GET" and status == 200:
        etag = content_etag(content)
    all_headers["Cache-Control"] = "no-store"  # a client may keep what it knows the ETag of; no cache may
    if etag is not None:
        all_headers["ETag"] = etag
        if is_known(request, etag):
            return Response(status_code=304, headers=all_headers)
    return Response(content, status, all_headers, "application/json")
