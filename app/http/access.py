"""Who is asking, as types: an endpoint names the right it needs and gets the caller. It knows no table."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from app.http import deeds, rates
from app.http.problems import Unauthenticated
from app.kit.caller import SCOPES, Caller, Operator
from app.kit.errors import Forbidden

CheckSecret = Callable[[str], Caller | Operator | None]
"""Asks the database; None for a key that is unknown, revoked or expired."""

MOST_KEYS: Final = 10_000
"""Keys kept in one process; 2 MB at most."""


class KeyRing:
    """Checked keys, believed for a few seconds, so that most requests need no query for their key.

    Args:
        seconds: how long; a revoked key may live so long in other processes.
    """

    def __init__(self, check: CheckSecret, *, seconds: float) -> None:
        self._check = check
        self._seconds = seconds
        self._known: dict[bytes, tuple[float, Caller | Operator]] = {}

    async def holder(self, secret: str) -> Caller | Operator | None:
        name = _name(secret)
        found = self._known.get(name)
        if found is not None and found[0] > time.monotonic():
            return found[1]
        holder = await run_in_threadpool(self._check, secret)
        if holder is None:
            self._known.pop(name, None)
            return None
        if len(self._known) >= MOST_KEYS:
            self._known.clear()
        self._known[name] = (time.monotonic() + self._seconds, holder)
        return holder

    def knew(self, secret: str) -> bool:
        """Whether the key was good lately, so that others' wrong keys do not lock its holder out."""
        return _name(secret) in self._known

    def forget(self) -> None:
        """Ask anew for every key, after one was revoked here."""
        self._known.clear()


def _name(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


_bearer = HTTPBearer(
    auto_error=False, scheme_name="bearer", bearerFormat="ftk_live_…", description="An API key of a project."
)
_header = APIKeyHeader(
    auto_error=False, name="api-key", scheme_name="apiKey", description="The same key, as Azure's SDKs send it."
)
BearerKey = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
HeaderKey = Annotated[str | None, Security(_header)]


def key_ring(request: Request) -> KeyRing:
    ring: KeyRing = request.app.state.key_ring
    return ring


def secret_in(request: Request) -> str | None:
    """The key a request carries: `Authorization: Bearer` first, else `api-key`."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        return credential.strip()
    return request.headers.get("api-key")


async def authenticate(request: Request) -> Caller | Operator:
    """The holder of the request's key. Raises `Unauthenticated` (401), `TooMany` (429) after many wrong keys."""
    secret = secret_in(request)
    if not secret:
        raise Unauthenticated(
            "This needs an API key.", code="key_missing", hint="Send `Authorization: Bearer ftk_live_…`."
        )
    ring = key_ring(request)
    if not ring.knew(secret):
        rates.refuse_guessing(request)
    holder = await ring.holder(secret)
    if holder is None:
        rates.count_wrong_key(request)
        raise Unauthenticated(
            "The API key is unknown, revoked or expired.",
            code="key_invalid",
            hint="Check that it was copied whole; it starts with ftk_live_ and has 55 characters.",
        )
    structlog.contextvars.bind_contextvars(key_id=holder.key_id)
    if isinstance(holder, Caller):
        structlog.contextvars.bind_contextvars(project_id=holder.project_id)
    return holder


async def _any_key(request: Request, _bearer: BearerKey, _header: HeaderKey) -> Caller | Operator:
    holder = await authenticate(request)
    operation = str(getattr(request.scope.get("route"), "operation_id", None) or "")
    request.state.holder = holder
    rates.admit(request, holder, operation)
    deeds.begin(request, holder, operation)
    return holder


def require(scope: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets only keys of a project with this scope pass: 401 without a key, 403 without it."""
    if scope not in SCOPES:
        raise ValueError(f"{scope!r} is not a scope")

    async def checked(holder: Annotated[Caller | Operator, Depends(_any_key)]) -> Caller:
        if isinstance(holder, Operator):
            raise Forbidden(
                "An operator's key belongs to no project.",
                code="project_key_required",
                hint="Make a key for the project with POST /v1/api-keys and use that one.",
            )
        if not holder.may(scope):
            raise Forbidden(
                f"This key lacks the scope {scope}.",
                code="scope_missing",
                hint=f"It has: {', '.join(sorted(holder.scopes)) or 'none'}.",
            )
        return holder

    return checked


async def administrator(holder: Annotated[Caller | Operator, Depends(_any_key)]) -> Caller | Operator:
    """An operator, or a key of a project with the scope `admin`."""
    if not holder.may("admin"):
        raise Forbidden("This key lacks the scope admin.", code="scope_missing")
    return holder


async def operator(holder: Annotated[Caller | Operator, Depends(_any_key)]) -> Operator:
    """An operator only."""
    if not isinstance(holder, Operator) or not holder.may("admin"):
        raise Forbidden(
            "Only an operator's key may do this.",
            code="operator_key_required",
            hint="Use the key in KITAE_ADMIN_KEY.",
        )
    return holder


async def auditor(holder: Annotated[Caller | Operator, Depends(_any_key)]) -> Caller | Operator:
    """A key of a project with the scope `audit:read`, or an operator."""
    if not holder.may("audit:read" if isinstance(holder, Caller) else "admin"):
        raise Forbidden("This key lacks the scope audit:read.", code="scope_missing")
    return holder


AnyKey = Annotated[Caller | Operator, Depends(_any_key)]
Auditor = Annotated[Caller | Operator, Depends(auditor)]
Administrator = Annotated[Caller | Operator, Depends(administrator)]
OperatorOnly = Annotated[Operator, Depends(operator)]
ReadDatasets = Annotated[Caller, Depends(require("datasets:read"))]
WriteDatasets = Annotated[Caller, Depends(require("datasets:write"))]
ReadJobs = Annotated[Caller, Depends(require("jobs:read"))]
WriteJobs = Annotated[Caller, Depends(require("jobs:write"))]
ReadDeployments = Annotated[Caller, Depends(require("deployments:read"))]
WriteDeployments = Annotated[Caller, Depends(require("deployments:write"))]
ReadConnections = Annotated[Caller, Depends(require("connections:read"))]
WriteConnections = Annotated[Caller, Depends(require("connections:write"))]
ReadCosts = Annotated[Caller, Depends(require("costs:read"))]
WriteCosts = Annotated[Caller, Depends(require("costs:write"))]
ReadEvents = Annotated[Caller, Depends(require("events:read"))]
