"""The one table that turns Azure's refusals and silences into the port's errors, with a hint for people.

It knows neither clients nor URLs: it is given a status, headers and a body, or an exception of httpx2.
"""

import html
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

import httpx2

from app.azure import payloads
from app.azure.port import (
    AzureError,
    Busy,
    NotThere,
    OutcomeUnknown,
    Refused,
    Throttled,
    Unauthorised,
    Unavailable,
)
from app.kit.safe_http import BlockedAddress, ResponseTooLarge

REMOTE_TEXT_CHARS: Final = 4000
"""As much of an answer that is not JSON as an error keeps."""


class CallKind(StrEnum):
    """What a call would have done; decides what its failure means."""

    READ = "read"
    """May be asked again: a read, or a write that is idempotent (cancel, delete, chat)."""
    CREATE = "create"
    """Makes something that Azure has no idempotency for: a file or a job."""
    CONTROL = "control"
    """A call to ARM; writes there are idempotent by name."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What one of Azure's codes or phrases means in our words."""

    code: str
    hint: str
    error: type[AzureError] | None = None
    """Overrules the class that the HTTP status gives; never used to soften an unknown outcome."""


_NOT_TRAINABLE = _Meaning(
    "azure_model_not_trainable",
    "Azure gives this answer for four different reasons: the training type was left out or is not offered for "
    "the model, the region does not train it, the model is retired, or a deployment name was given instead of "
    "a model id. Choose a model and training type from the catalogue that the resource's region offers.",
    Refused,
)
_QUOTA = _Meaning(
    "azure_insufficient_quota",
    "The region's quota for this model and deployment type is used up. Lower the capacity, delete a "
    "deployment (the quota returns 15-20 s later), or ask for more quota in the portal. Soft-deleted "
    "accounts count until they are purged.",
    Refused,
)
_RETIRED = _Meaning(
    "azure_model_retired",
    "Azure has retired this model. Train or deploy its successor; the catalogue shows the dates.",
    Refused,
)
_NOT_DEPLOYABLE = _Meaning(
    "azure_model_not_deployable",
    "Azure does not deploy this model with this deployment type. Choose another deployment type or model "
    "from the catalogue.",
    Refused,
)
_NO_DEPLOYMENT = _Meaning(
    "azure_deployment_not_found",
    "The resource has no deployment of this name, or it is too young: Azure may need some minutes after "
    "ARM reports success. If it stays so for more than ten minutes, delete and recreate it.",
    NotThere,
)
_NOT_READY = _Meaning(
    "azure_deployment_not_ready",
    "The deployment is still warming up. Wait; if it stays so for more than ten minutes, delete and recreate it.",
    Unavailable,
)
_FILTERED = _Meaning(
    "azure_content_filtered",
    "Azure's content filter refused the prompt. Change the text, or ask for a modified filter in the portal.",
    Refused,
)
_UNSAFE_DATA = _Meaning(
    "azure_training_data_refused",
    "Azure's safety check refused the training data; nothing was billed. Correct the examples of the named "
    "kind and make a new dataset version.",
    Refused,
)
_FILE_NOT_READY = _Meaning(
    "azure_file_not_processed",
    "Azure has not finished reading the file. Wait until its status is `processed`, then create the job.",
    Refused,
)
_BAD_DATA = _Meaning(
    "azure_file_rejected",
    "Azure does not accept the file's content. The dataset's report names the line; correct it and upload "
    "a new version.",
    Refused,
)
_BUSY = _Meaning(
    "azure_busy",
    "Another write on the same account is under way; Azure does one at a time. It is tried again.",
)
_BAD_VERSION = _Meaning(
    "azure_api_version_unsupported",
    "The resource does not know this api-version. Use api style `v1`, or the dated version 2024-10-21 or "
    "2025-04-01-preview.",
    Refused,
)
_LOCKED = _Meaning(
    "azure_resource_locked",
    "A management lock on the resource forbids this. Remove the lock in the portal, then try again.",
    Refused,
)
_NO_ACCOUNT = _Meaning(
    "azure_resource_not_found",
    "The account does not exist in this resource group. Check the connection's ARM ids.",
    NotThere,
)

_CODES: Final[Mapping[str, _Meaning]] = {
    "insufficientquota": _QUOTA,
    "quotaexceeded": _Meaning(
        "azure_quota_exceeded",
        "A limit of the resource is reached: files (100, 1 GB), jobs (100; 20 queued; 3 running, 5 of the "
        "Developer tier) or deployments (10 fine-tuned). Delete what is not needed or wait for running jobs.",
        Refused,
    ),
    "deploymentmodelnotsupported": _NOT_DEPLOYABLE,
    "invalidresourceproperties": _NOT_DEPLOYABLE,
    "servicemodeldeprecated": _RETIRED,
    "modeldeprecated": _RETIRED,
    "deploymentnotfound": _NO_DEPLOYMENT,
    "deploymentnotready": _NOT_READY,
    "content_filter": _FILTERED,
    "contentfilter": _FILTERED,
    "responsibleaipolicyviolation": _FILTERED,
    "jsonlvalidationfailed": _BAD_DATA,
    "fileimportfailed": _BAD_DATA,
    "requestconflict": _BUSY,
    "anotheroperationinprogress": _BUSY,
    "operationinprogress": _BUSY,
    "scopelocked": _LOCKED,
    "authorizationfailed": _Meaning(
        "azure_forbidden",
        "The identity lacks a role. Training needs `Foundry User` or `Cognitive Services OpenAI "
        "Contributor` on the resource; deploying needs Microsoft.CognitiveServices/accounts/deployments/"
        "write, which `Foundry Owner` has. A new role needs some minutes to take effect.",
        Unauthorised,
    ),
    "permissiondenied": _Meaning(
        "azure_forbidden",
        "The identity may reach the resource but lacks the data action. Assign `Foundry User` or "
        "`Cognitive Services OpenAI Contributor` on the resource; it takes some minutes to work.",
        Unauthorised,
    ),
    "expiredauthenticationtoken": _Meaning(
        "azure_unauthorised",
        "The Entra token has expired. Sign the identity in again.",
        Unauthorised,
    ),
    "resourcegroupnotfound": _Meaning(
        "azure_resource_not_found",
        "The resource group does not exist in this subscription. Check the connection's ARM ids.",
        NotThere,
    ),
    "subscriptionnotfound": _Meaning(
        "azure_resource_not_found",
        "The subscription does not exist or the identity cannot see it. Check the connection's ARM ids.",
        NotThere,
    ),
    "parentresourcenotfound": _NO_ACCOUNT,
}
"""Azure's codes in lower case, wherever they stand in the body.

Source: Azure OpenAI authoring spec 2024-10-21 (`ErrorCode`); Microsoft Learn, Azure OpenAI quotas and
fine-tuning pages, 2026-10; ARM answers seen in public issue threads 2023-2026.
"""

_PHRASES: Final[tuple[tuple[re.Pattern[str], _Meaning], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"does not support fine-?tuning", _NOT_TRAINABLE),
        (r"failed RAI checks", _UNSAFE_DATA),
        (r"unable to be deployed\. Model evaluation", _UNSAFE_DATA),
        (r"has been (?:deprecated|retired)", _RETIRED),
        (r"bigger than the current available capacity", _QUOTA),
        (r"Another operation is being performed on the parent resource", _BUSY),
        (r"api[- ]version.{0,40}(?:not allowed|not supported|unsupported|invalid)", _BAD_VERSION),
        (
            r"(?:file|blob).{0,80}not (?:been |yet )*(?:ready|processed|in a? ?(?:terminal|valid) state)",
            _FILE_NOT_READY,
        ),
        (r"API deployment for this resource does not exist", _NO_DEPLOYMENT),
        (r"not supported by the model", _NOT_DEPLOYABLE),
        (r"Microsoft\.CognitiveServices/accounts/[^/']+' under resource group", _NO_ACCOUNT),
    )
)
"""Tried on the message when no code in the body is known, in this order. Source: as for the codes."""

_STATUSES: Final[Mapping[int, _Meaning]] = {
    400: _Meaning("azure_rejected", "Azure refused the request; its own words say what it did not like."),
    401: _Meaning(
        "azure_unauthorised",
        "Azure does not accept the credential. Check that the key belongs to this endpoint, or that the "
        "identity has a role on the resource; keys may also be switched off on the resource.",
    ),
    403: _Meaning(
        "azure_forbidden",
        "The credential is known but may not do this: a role is missing, the resource's firewall does not "
        "admit this network, or public access is off.",
    ),
    404: _Meaning(
        "azure_not_found",
        "Azure does not know it. If it was just created, it may only need a moment; otherwise check the "
        "endpoint, the api style and the name.",
    ),
    408: _Meaning("azure_timeout", "Azure gave up waiting. It is tried again."),
    409: _Meaning("azure_state_conflict", "What was asked does not fit the present state at Azure."),
    410: _RETIRED,
    411: _Meaning("azure_rejected", "Something between us and Azure wants another form of upload."),
    413: _Meaning("azure_too_large", "The file or request is larger than Azure takes (512 MB in one piece)."),
    422: _Meaning("azure_rejected", "Azure understood the request but refuses its content."),
    423: _Meaning("azure_deployment_paused", "The deployment is paused at Azure. Resume it, then ask again."),
    429: _Meaning("azure_throttled", "Azure asked to slow down. It is tried again when Azure allows it."),
    431: _Meaning(
        "azure_headers_too_large", "Azure accepts at most ten custom headers; a proxy may be adding some."
    ),
    499: _Meaning("azure_timeout", "The connection ended before Azure had answered."),
    500: _Meaning(
        "azure_internal_error",
        "Azure failed without saying why. For a deployment this is also the answer to a wrong model format "
        "(`OpenAI`, `Microsoft`, `Mistral AI`, `Meta`, `Alibaba`).",
    ),
    503: _Meaning("azure_unavailable", "Azure is overloaded or down. It is tried again."),
}

_REDIRECTS: Final = frozenset({301, 302, 307, 308})
"""The request was not handled there; 300, 303 and 304 leave a create in doubt."""
_DOUBTFUL_4XX: Final = frozenset({408, 409, 425, 499})
"""4xx after which a create may still have happened; every other 4xx but 429 is a definite no.
Source: the creation protocol; 409 is retried as passing by the openai SDK itself."""

_OUTCOME_HINT: Final = (
    "Azure's answer was lost, so it may or may not exist. It is looked for at Azure before anything is "
    "created again."
)


def error_from_answer(
    *,
    kind: CallKind,
    what: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime | None = None,
    secrets: Iterable[str] = (),
) -> AzureError:
    """The port's error for an answer that is not a success.

    Args:
        kind: what the call would have done.
        what: the call in words, for the message: "creating the job".
        status: HTTP status, 300-599.
        headers: the answer's headers; looked up in any case.
        body: the answer's body: JSON of any of Azure's shapes, plain text, HTML or nothing.
        now: for a Retry-After date when the answer has no Date header.
        secrets: texts that must not appear in the error, should Azure or a proxy echo them.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    remote = _remote(body, secrets)
    if status == 404 and kind is not CallKind.CREATE and remote.keys() == {"text"}:
        # Azure says "not there" in JSON; a page of some gateway must not bury what is there and costs money
        return error_from_garbage(kind=kind, what=what, status=status, body=body, secrets=secrets)
    codes, message = _read(remote)
    meaning = _meaning(status, codes, message)
    wait = retry_after_seconds(lowered, message, now=now or datetime.now(UTC))
    error_class, code, hint = _classify(kind, status, meaning)
    hint = _with_numbers(hint, code, message)
    said = f": {_short(message)}" if message else ""
    text = f"Azure answered {status} to {what}{said}"
    return error_class(text, code=code, hint=hint, http_status=status, remote=remote, retry_after_seconds=wait)


def error_from_silence(*, kind: CallKind, what: str, cause: BaseException | None) -> AzureError:
    """The port's error when no whole answer came.

    Args:
        kind: what the call would have done.
        what: the call in words.
        cause: the exception of httpx2, None when the SDK did not say.
    """
    if isinstance(cause, BlockedAddress):
        return Refused(
            f"The address was not called for {what}: {cause}",
            code="azure_address_blocked",
            hint="Correct the endpoint, or let the operator allow this origin (private endpoint, gateway).",
        )
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
        # Nothing was sent, so even a create is certain not to have happened.
        return Unavailable(
            f"Azure could not be reached for {what}: {_reason(cause)}",
            code="azure_unreachable",
            hint="Check the endpoint's name and this machine's way to the network. It is tried again.",
        )
    text, code = f"No answer from Azure to {what}: {_reason(cause)}", "azure_no_answer"
    if isinstance(cause, httpx2.TimeoutException):
        code = "azure_timeout"
    if isinstance(cause, ResponseTooLarge):
        code = "azure_answer_too_large"
    if kind is CallKind.CREATE:
        return OutcomeUnknown(text, code=code, hint=_OUTCOME_HINT)
    return Unavailable(text, code=code, hint="It is tried again.")


def error_from_garbage(
    *, kind: CallKind, what: str, status: int, body: bytes, secrets: Iterable[str] = ()
) -> AzureError:
    """The port's error for an answer that cannot be Azure's: not JSON, not an object, no id."""
    error_class = OutcomeUnknown if kind is CallKind.CREATE else Unavailable
    hint = (
        _OUTCOME_HINT
        if kind is CallKind.CREATE
        else "Check that the endpoint is Azure's and no proxy answers in its place. It is tried again."
    )
    return error_class(
        f"Azure's answer to {what} could not be read",
        code="azure_unreadable_answer",
        hint=hint,
        http_status=status,
        remote=_remote(body, secrets),
    )


def retry_after_seconds(headers: Mapping[str, str], message: str = "", *, now: datetime) -> float | None:
    """How long Azure asks to wait, never negative, uncapped; None when it does not say.

    Reads `retry-after-ms`, `x-ms-retry-after-ms` and `retry-after`, this one as seconds or as an HTTP date
    (measured from the answer's own `date` where there is one, so that our clock does not matter); where they
    differ the longest counts, so that nothing is asked earlier than any of them says. Without them, "retry after
    N seconds" in the message. What cannot be read counts as absent.

    Args:
        headers: names in lower case.
        message: Azure's words.
        now: our clock, aware.
    """
    said = [_number(headers.get(name)) for name in ("retry-after-ms", "x-ms-retry-after-ms")]
    waits = [milliseconds / 1000 for milliseconds in said if milliseconds is not None]
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        waits.append(seconds)
    until = _http_date(value)
    if until is not None:
        waits.append((until - (_http_date(headers.get("date")) or now)).total_seconds())
    if waits:
        return max(0.0, *waits)
    found = _WAIT_WORDS.search(message)
    if found is None:
        return None
    factor = {"s": 1, "m": 60, "h": 3600}[(found["unit"] or "s")[0].lower()]
    spoken = _number(found["number"])
    if (found["unit"] or "").lower().startswith(("ms", "milli")):
        return None if spoken is None else spoken / 1000
    return None if spoken is None else spoken * factor


_WAIT_WORDS: Final = re.compile(
    r"(?:retry|try again|wait)(?: after| in| for)?\s+(?P<number>\d{1,9}(?:\.\d{1,9})?)\s*"
    r"(?P<unit>milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h)?\b",
    re.IGNORECASE,
)


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The text without any of the secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[credential removed]")
    return text


def _classify(kind: CallKind, status: int, meaning: _Meaning) -> tuple[type[AzureError], str, str]:
    """Class, code and hint; the status decides about doubt, the meaning about the words."""
    if kind is CallKind.CREATE and (status >= 500 or status in _DOUBTFUL_4XX or status in {300, 303, 304}):
        return OutcomeUnknown, meaning.code, _OUTCOME_HINT
    if status == 429:
        return Throttled, meaning.code, meaning.hint
    if meaning is _BUSY or (kind is CallKind.CONTROL and status == 409 and meaning.error is None):
        return Busy, _BUSY.code, _BUSY.hint
    if meaning.error is not None:
        return meaning.error, meaning.code, meaning.hint
    if status in {401, 403}:
        return Unauthorised, meaning.code, meaning.hint
    if status == 404:
        return NotThere, meaning.code, meaning.hint
    if status >= 500 or status in {408, 425, 499}:
        return Unavailable, meaning.code, meaning.hint
    return Refused, meaning.code, meaning.hint


def _meaning(status: int, codes: list[str], message: str) -> _Meaning:
    for code in codes:
        known = _CODES.get(code.lower())
        if known is not None:
            return known
    for pattern, meaning in _PHRASES:
        if pattern.search(message):
            return meaning
    if 300 <= status < 400:
        return _Meaning(
            "azure_unexpected_redirect",
            "The endpoint sends callers elsewhere; redirects are not followed, so that the credential stays "
            "where it belongs. Enter the resource's own endpoint.",
        )
    return _STATUSES.get(status) or _STATUSES[503 if status >= 502 else 500 if status == 500 else 400]


def _remote(body: bytes, secrets: Iterable[str]) -> dict[str, Any]:
    text = scrubbed(body[: 16 * REMOTE_TEXT_CHARS].decode("utf-8", "replace"), secrets)
    try:
        parsed = payloads.decode(text.encode())
    except payloads.UnreadableAnswerError:
        parsed = None
    if isinstance(parsed, dict) and len(text) <= 4 * REMOTE_TEXT_CHARS:
        return parsed
    cut = text[:REMOTE_TEXT_CHARS]
    return {"text": payloads.storable(cut)} if cut.strip() else {}


def _read(remote: Mapping[str, Any]) -> tuple[list[str], str]:
    """Every code in the body, the innermost first, and the first message."""
    if "text" in remote and len(remote) == 1:
        return [], _plain(str(remote["text"]))
    codes: list[str] = []
    messages: list[str] = []
    _walk(remote.get("error", remote), codes, messages, depth=0)
    codes.reverse()
    return codes, messages[0] if messages else ""


def _walk(node: Any, codes: list[str], messages: list[str], *, depth: int) -> None:
    if isinstance(node, str):
        messages.append(node)
        return
    if not isinstance(node, dict) or depth > 8:
        return
    codes.extend(node[key] for key in ("code", "statusCode") if isinstance(node.get(key), str))
    for key in ("message", "Message", "detail", "title"):
        if isinstance(node.get(key), str) and node[key]:
            messages.append(node[key])
            break
    for key in ("innererror", "inner_error", "innerError"):
        _walk(node.get(key), codes, messages, depth=depth + 1)
    details = node.get("details")
    for detail in details if isinstance(details, list) else ():
        _walk(detail, codes, messages, depth=depth + 1)


def _plain(text: str) -> str:
    """What a person would read of a page of HTML, in one line."""
    without_scripts = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|\Z)", " ", text)
    return " ".join(html.unescape(re.sub(r"<[^>]{0,2000}>", " ", without_scripts)).split())


def _with_numbers(hint: str, code: str, message: str) -> str:
    """Adds Azure's own figures to the quota hint. Source: ARM `InsufficientQuota` text, seen 2024-2026."""
    if code != "azure_insufficient_quota":
        return hint
    wanted = re.search(r"requires? (\d+) new capacity", message)
    free = re.search(r"available capacity (\d+)", message)
    used = re.search(r"quota usage is (\d+) and the quota limit is (\d+)", message)
    figures = []
    if wanted:
        figures.append(f"{wanted[1]} thousand tokens per minute were asked for")
    if free:
        figures.append(f"{free[1]} are free")
    if used:
        figures.append(f"{used[1]} of {used[2]} are in use")
    return f"{', '.join(figures)}. {hint}" if figures else hint


def _short(message: str, limit: int = 600) -> str:
    return message if len(message) <= limit else f"{message[:limit]}…"


def _reason(cause: BaseException | None) -> str:
    """Why there was no answer; the exceptions' texts name hosts and reasons, never headers."""
    if cause is None:
        return "the connection failed"
    return str(cause) or type(cause).__name__


def _number(text: str | None) -> float | None:
    if text is None or len(text) > 32 or not re.fullmatch(r"\s*[+-]?[0-9]+(?:\.[0-9]*)?\s*", text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _http_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
