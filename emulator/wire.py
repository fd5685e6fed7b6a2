"""Azure's manners on the wire: URL forms, error bodies, authentication, JSON in and out.

It knows nothing of files, jobs or deployments.
"""

import json
import secrets
import string
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

Form = Literal["v1", "dated", "arm", "lever"]

DATED_VERSIONS = ("2024-10-21", "2025-04-01-preview")
"""Versions of the dated form that are spoken.

Source: Azure REST API specs, AzureOpenAI/authoring stable/2024-10-21 and preview/2025-04-01-preview.
"""

PREVIEW = "2025-04-01-preview"

JSON_LIMIT_BYTES = 16 * 1024 * 1024
"""Largest JSON request body; larger ones are refused with 413."""


class Refusal(Exception):
    """An answer of Azure that is an error; its body is written in the form of the URL that was asked."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = headers or {}


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which of Azure's forms the caller speaks, with the version for those that have one."""

    form: Form
    version: str = ""

    @property
    def is_v1(self) -> bool:
        return self.form == "v1"


def form_of(path: str) -> Form:
    """The form a path is written in; unknown paths count as the dated data plane, as Azure's gateway does."""
    if path.startswith("/_emulator"):
        return "lever"
    if path.startswith("/subscriptions"):
        return "arm"
    if "/openai/v1/" in path + "/":
        return "v1"
    return "dated"


def error_body(form: Form, refusal: Refusal) -> dict[str, Any]:
    """The body of an error.

    Source: 2024-10-21 `ErrorResponse` (innererror), v1 `AzureErrorResponse` (type, param, inner_error), ARM common
    types `ErrorResponse` (code, message, target).
    """
    error: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    invalid = refusal.code == "invalidPayload"
    if form == "v1":
        if refusal.param:
            error["param"] = refusal.param
        error["type"] = "error"
        if invalid:
            error["inner_error"] = {"code": "invalidPayload"}
    elif form == "arm":
        if refusal.param:
            error["target"] = refusal.param
    else:
        if refusal.param:
            error["target"] = refusal.param
        if invalid:
            error["innererror"] = {"code": "invalidPayload"}
    return {"error": error}


def encode(body: object) -> bytes:
    """JSON bytes; text that is no valid Unicode (a lone surrogate) is escaped instead of failing."""
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()


def answer(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(body), status, headers, media_type="application/json")


def refuse(form: Form, refusal: Refusal) -> Response:
    """The answer for a refusal; one without a code has no body, as some of Azure's have not."""
    if not refusal.code:
        return Response(status_code=refusal.status, headers=refusal.headers)
    return answer(error_body(form, refusal), refusal.status, refusal.headers)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


async def read_json(request: Request) -> Any:
    """The JSON body of a request.

    Raises:
        Refusal: 400 for anything that is not JSON, 413 for more than `JSON_LIMIT_BYTES`.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > JSON_LIMIT_BYTES:
                raise Refusal(413, "invalidPayload", f"The request body is larger than {JSON_LIMIT_BYTES} bytes.")
    except ClientDisconnect as gone:
        raise Refusal(400, "invalidPayload", "The request body was not sent completely.") from gone
    try:
        return json.loads(bytes(body).decode("utf-8-sig"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "invalidPayload", f"The request body is not valid JSON: {error}") from error


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request."""
    body = await read_json(request)
    if not isinstance(body, dict):
        raise Refusal(400, "invalidPayload", "The request body must be a JSON object.")
    return body


async def read_optional_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request, or an empty one when there is no body."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return {}
    return await read_object(request)


def credentials(request: Request) -> tuple[str, str]:
    """The api-key and the bearer token a request carries; empty where absent."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return request.headers.get("api-key", ""), token.strip() if scheme.lower() == "bearer" else ""


DENIED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an"
    " active subscription and use a correct regional API endpoint for your resource."
)
"""Source: body of a data-plane 401, widely quoted in public issues (2023-2026)."""


def check_data_plane(request: Request, key: str | None, bearer: str | None) -> None:
    """Refuse with 401 unless the request carries an accepted key or token.

    The v1 form is called with `OpenAI(api_key=…)`, which sends the key as a bearer token; so a key counts in either
    header.
    """
    given_key, given_bearer = credentials(request)
    if key is None and bearer is None:
        accepted = bool(given_key or given_bearer)
    else:
        accepted = bool((key and key in {given_key, given_bearer}) or (bearer and bearer == given_bearer))
    if not accepted:
        raise Refusal(401, "401", DENIED)


def check_arm(request: Request, bearer: str | None) -> None:
    """Refuse with ARM's 401 unless the request carries an accepted bearer token."""
    _, given = credentials(request)
    if not given:
        message = "Authentication failed. The 'Authorization' header is missing."
        raise Refusal(401, "AuthenticationFailed", message)
    if bearer is not None and given != bearer:
        raise Refusal(401, "InvalidAuthenticationToken", "The access token is invalid.")


def dialect_of(request: Request) -> Dialect:
    """The dialect of a data-plane request.

    Raises:
        Refusal: 404 for a dated URL without a known api-version; 400 for a v1 URL with a dated one.

    Source: v1 specification (api-version is optional, `v1` or `preview`); Microsoft's fine-tuning notes (08/2026):
    `AzureOpenAI` pointed at a /v1 URL gets "api-version not allowed".
    """
    version = request.query_params.get("api-version")
    if form_of(request.url.path) == "v1":
        if version not in {None, "v1", "preview"}:
            raise Refusal(400, "BadRequest", "api-version query parameter is not allowed when using /v1 path")
        return Dialect("v1", "v1")
    if version not in DATED_VERSIONS:
        raise Refusal(404, "404", "Resource not found")
    return Dialect("dated", version)


def whole_number(text: str | None, name: str, default: int, least: int, most: int) -> int:
    """An integer of the query string.

    Raises:
        Refusal: 400 when it is no integer between `least` and `most`.
    """
    if text is None:
        return default
    try:
        number = int(text[:20])
    except ValueError as error:
        message = f"The value '{text[:50]}' of '{name}' is not an integer."
        raise Refusal(400, "invalidPayload", message, param=name) from error
    if not least <= number <= most:
        message = f"The value of '{name}' must be between {least} and {most}."
        raise Refusal(400, "invalidPayload", message, param=name)
    return number


_LETTERS = string.ascii_letters + string.digits


def native_id(prefix: str, size: int) -> str:
    """A fresh identifier in OpenAI's form, such as `ftjob-` and 24 letters and digits."""
    return prefix + "".join(secrets.choice(_LETTERS) for _ in range(size))


def new_id(prefix: str) -> str:
    """A fresh identifier in Azure's form, such as `ftjob-` and 32 hexadecimal digits."""
    return f"{prefix}{uuid.uuid4().hex}"
