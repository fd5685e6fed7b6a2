"""No answer without its record: what a key did is recorded before the caller is told how it went.

A change records itself in its own transaction (see `Workbench.begin`). What is left for this layer are calls that
changed nothing: reads of training rows, refusals, failures. It knows no room; `app.main` names the operations.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.limits import refuse
from app.http.problems import DATABASE_RETRY_SECONDS
from app.http.rates import Buckets, caller_address
from app.kit.caller import Caller, Operator
from app.kit.deeds import Deed, begin_deed
from app.workbench import INSTALLATION

log = structlog.get_logger("kitae.audit")

RecordOutcome = Callable[[Deed, str, Mapping[str, str | int]], None]

REFUSALS: Final = frozenset({403, 404, 409, 412})
"""Somebody was told no for what they are or for how things are. A body that cannot be read asks for nothing."""
REFUSALS_PER_SECOND: Final = 1.0
REFUSALS_AT_ONCE: Final = 120
"""Refusals of one key beyond this are only logged: the record can never be shortened, so it must not be flooded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRules:
    """Which operations leave a record.

    Attributes:
        reads: operations that change nothing and are recorded, because they hand out training rows.
        silent: operations by POST, PUT, … that change nothing one would want to find again.
    """

    reads: frozenset[str]
    silent: frozenset[str]

    def covers(self, method: str, operation: str) -> bool:
        if method in {"GET", "HEAD"}:
            return operation in self.reads
        return operation not in self.silent


def begin(request: Request, holder: Caller | Operator, operation: str) -> None:
    """From here on what the request changes is this key's deed."""
    rules: AuditRules = request.app.state.audit_rules
    if not rules.covers(request.method, operation):
        return
    of_project = isinstance(holder, Caller)
    named = list(request.path_params.values())
    deed = Deed(
        actor_kind="key" if of_project else "operator",
        actor_id=holder.key_id,
        operation=operation,
        chain=holder.project_id if isinstance(holder, Caller) else INSTALLATION,
        subject_id="/".join(str(name) for name in named) or None,
        request_id=request.scope.get("request_id"),
        address=caller_address(request),
        agent=request.headers.get("user-agent"),
    )
    request.state.deed = deed
    request.state.deed_is_read = operation in rules.reads
    begin_deed(deed)


class DeedsRecorded:
    """ASGI layer that looks at how a deed ended and records it if the change did not record itself."""

    def __init__(self, app: ASGIApp, *, record: RecordOutcome) -> None:
        self.app = app
        self._record = record
        self._refusals = Buckets(per_second=REFUSALS_PER_SECOND, burst=REFUSALS_AT_ONCE, now=time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        replaced = False

        async def recorded(message: Message) -> None:
            nonlocal replaced
            deed: Deed | None = state.get("deed")
            if message["type"] == "http.response.start" and deed is not None and not deed.recorded:
                read = bool(state.get("deed_is_read"))
                if not await self._note(deed, int(message["status"]), read=read):
                    replaced = True
                    await refuse(
                        scope,
                        send,
                        503,
                        "audit_unavailable",
                        "Reading this leaves a record, and the record cannot be written at the moment.",
                        "Send the same request again.",
                        retry_after_seconds=DATABASE_RETRY_SECONDS,
                    )
            if not replaced:
                await send(message)

        await self.app(scope, receive, recorded)

    async def _note(self, deed: Deed, status: int, *, read: bool) -> bool:
        """False when the answer must not go out because it could not be recorded."""
        outcome = _outcome(status, read=read)
        if outcome is None:
            return True
        if outcome == "refused" and self._refusals.take(deed.actor_id).wait_seconds > 0:
            log.warning("audit.refusal_not_recorded", operation=deed.operation, status=status)
            return True
        try:
            await run_in_threadpool(self._record, deed, outcome, {"status": status})
        except SQLAlchemyError as error:
            log.error(  # noqa: TRY400  the database is away; its traceback says no more
                "audit.not_recorded", operation=deed.operation, status=status, error=str(error)[:300]
            )
            return outcome != "done"
        return True


def _outcome(status: int, *, read: bool) -> str | None:
    if status >= 500:
        return "failed"
    if status >= 400:
        return "refused" if status in REFUSALS else None
    if not read:
        return "unchanged"
    return "done" if status != 304 else None
