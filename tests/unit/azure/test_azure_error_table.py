"""Every refusal of Azure in our words, and how long it asks to wait."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.azure.mapping import (
    REMOTE_TEXT_CHARS,
    CallKind,
    error_from_answer,
    error_from_garbage,
    error_from_silence,
    retry_after_seconds,
)
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

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
QUOTA_TEXT = (
    "This operation require 240 new capacity in quota Tokens Per Minute (thousands) - GPT-4, which is bigger "
    "than the current available capacity 0. The current quota usage is 240 and the quota limit is 240 for quota X."
)


def told(
    status: int, body: object, kind: CallKind = CallKind.READ, headers: dict[str, str] | None = None
) -> AzureError:
    import json

    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_from_answer(kind=kind, what="doing it", status=status, headers=headers or {}, body=raw, now=NOW)


def error(code: str, message: str = "words", **more: object) -> dict[str, object]:
    return {"error": {"code": code, "message": message, **more}}


TABLE = [
    (400, error("InsufficientQuota", QUOTA_TEXT), CallKind.CONTROL, Refused, "azure_insufficient_quota"),
    (400, error("InvalidTemplateDeployment", "see details", details=[{"code": "InsufficientQuota", "message": QUOTA_TEXT}]), CallKind.CONTROL, Refused, "azure_insufficient_quota"),
    (400, error("ServiceModelDeprecated", "The model 'Format:OpenAI,Name:gpt-35-turbo-16k,Version:0613' has been deprecated since 04/30/2025 00:00:00."), CallKind.CONTROL, Refused, "azure_model_retired"),
    (400, error("DeploymentModelNotSupported", "Creating account deployment is not supported by the model 'text-davinci-003'."), CallKind.CONTROL, Refused, "azure_model_not_deployable"),
    (409, error("RequestConflict", "Another operation is being performed on the parent resource '/subscriptions/x'. Please try again later."), CallKind.CONTROL, Busy, "azure_busy"),
    (409, error("Conflict", "something else"), CallKind.CONTROL, Busy, "azure_busy"),
    (409, error("RequestConflict"), CallKind.READ, Busy, "azure_busy"),
    (409, error("ScopeLocked"), CallKind.CONTROL, Refused, "azure_resource_locked"),
    (403, error("AuthorizationFailed"), CallKind.CONTROL, Unauthorised, "azure_forbidden"),
    (401, error("PermissionDenied"), CallKind.READ, Unauthorised, "azure_forbidden"),
    (401, error("401", "Access denied due to invalid subscription key or wrong API endpoint."), CallKind.READ, Unauthorised, "azure_unauthorised"),
    (404, error("ParentResourceNotFound"), CallKind.CONTROL, NotThere, "azure_resource_not_found"),
    (404, error("DeploymentNotFound", "The API deployment for this resource does not exist."), CallKind.READ, NotThere, "azure_deployment_not_found"),
    (404, {"error": {"code": "404", "message": "The API deployment for this resource does not exist. If you created it recently, wait."}}, CallKind.READ, NotThere, "azure_deployment_not_found"),
    (404, error("DeploymentNotReady"), CallKind.READ, Unavailable, "azure_deployment_not_ready"),
    (503, error("DeploymentNotReady"), CallKind.READ, Unavailable, "azure_deployment_not_ready"),
    (404, error("404", "Resource not found"), CallKind.READ, NotThere, "azure_not_found"),
    (400, error("invalidPayload", "The specified base model does not support fine-tuning."), CallKind.CREATE, Refused, "azure_model_not_trainable"),
    (400, error("invalidPayload", "outer", innererror={"code": "jsonlValidationFailed"}), CallKind.CREATE, Refused, "azure_file_rejected"),
    (400, error("x", "outer", inner_error={"code": "content_filter"}), CallKind.READ, Refused, "azure_content_filtered"),
    (400, error("content_filter", "The response was filtered", innererror={"code": "ResponsibleAIPolicyViolation"}), CallKind.READ, Refused, "azure_content_filtered"),
    (400, error("bad", "The provided training data failed RAI checks for harm types: [violence]. Please fix the data."), CallKind.CREATE, Refused, "azure_training_data_refused"),
    (400, error("invalidPayload", "The file 'file-1' is not ready: file has not been processed yet"), CallKind.CREATE, Refused, "azure_file_not_processed"),
    (400, error("BadRequest", "api-version query parameter is not allowed"), CallKind.READ, Refused, "azure_api_version_unsupported"),
    (403, error("quotaExceeded", "too many files"), CallKind.CREATE, Refused, "azure_quota_exceeded"),
    (409, error("unexpectedEntityState", "job is succeeded"), CallKind.READ, Refused, "azure_state_conflict"),
    (410, b"", CallKind.READ, Refused, "azure_model_retired"),
    (413, b"<html>too large</html>", CallKind.CREATE, Refused, "azure_too_large"),
    (423, error("DeploymentPaused"), CallKind.READ, Refused, "azure_deployment_paused"),
    (429, error("429", "slow"), CallKind.CREATE, Throttled, "azure_throttled"),
    (431, b"", CallKind.READ, Refused, "azure_headers_too_large"),
    (418, b"", CallKind.READ, Refused, "azure_rejected"),
    (302, b"", CallKind.READ, Refused, "azure_unexpected_redirect"),
    (408, b"", CallKind.READ, Unavailable, "azure_timeout"),
    (500, b"", CallKind.CONTROL, Unavailable, "azure_internal_error"),
    (504, b"upstream", CallKind.READ, Unavailable, "azure_unavailable"),
    (599, b"", CallKind.READ, Unavailable, "azure_unavailable"),
    (500, error("invalidPayload", "The specified base model does not support fine-tuning."), CallKind.CREATE, OutcomeUnknown, "azure_model_not_trainable"),
    (409, error("conflict"), CallKind.CREATE, OutcomeUnknown, "azure_state_conflict"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "expected", "code"), TABLE)
def test_azures_answer_has_our_class_our_code_and_a_hint(
    status: int, body: object, kind: CallKind, expected: type[AzureError], code: str
):
    found = told(status, body, kind)
    assert (type(found), found.code) == (expected, code)
    assert found.hint.endswith(".")
    assert str(status) in found.message
    assert found.http_status == status


@pytest.mark.parametrize("kind", [CallKind.READ, CallKind.CONTROL])
def test_a_404_that_is_a_page_of_some_gateway_says_nothing_of_what_is_there(kind: CallKind):
    found = told(404, b"<html><head><title>404 Not Found</title></head></html>", kind)
    assert (type(found), found.code, found.http_status) == (Unavailable, "azure_unreadable_answer", 404)
    assert type(told(404, b"", kind)) is NotThere
    assert type(told(404, {"statusCode": 404, "message": "Resource not found"}, kind)) is NotThere


def test_the_quota_hint_says_azures_own_numbers():
    hint = told(400, error("InsufficientQuota", QUOTA_TEXT), CallKind.CONTROL).hint
    assert hint.startswith("240 thousand tokens per minute were asked for, 0 are free, 240 of 240 are in use.")


@pytest.mark.parametrize(
    ("body", "remote"),
    [
        (b'{"error":{"code":"a","message":"b"}}', {"error": {"code": "a", "message": "b"}}),
        (b'{"error":"just words"}', {"error": "just words"}),
        (b'{"statusCode":401,"message":"gateway"}', {"statusCode": 401, "message": "gateway"}),
        (b"plain words", {"text": "plain words"}),
        (b"", {}),
        (b'["list"]', {"text": '["list"]'}),
        (b"\xff\xfe\x00bad", {"text": "\ufffd\ufffd\ufffdbad"}),
        (b'{"error":{"message":"nul \\u0000 and \\ud800"}}', {"error": {"message": "nul \ufffd and \ufffd"}}),
        (b'{"a":NaN}', {"a": None}),
        (b"x" * 9000, {"text": "x" * REMOTE_TEXT_CHARS}),
        (b"[" * 20_000, {"text": "[" * REMOTE_TEXT_CHARS}),
    ],
)
def test_azures_answer_is_kept_verbatim_as_far_as_a_database_can_hold_it(body: bytes, remote: dict[str, object]):
    assert told(400, body).remote == remote


def test_a_page_of_html_is_told_in_its_words():
    page = b"<html><head><style>a{}</style><script>alert(1)</script></head><body><h1>502</h1> Bad&nbsp;Gateway</body></html>"
    assert told(502, page).message == "Azure answered 502 to doing it: 502 Bad Gateway"


@given(st.binary(max_size=400), st.integers(300, 599), st.sampled_from(CallKind))
def test_no_body_and_no_status_escapes_the_table(body: bytes, status: int, kind: CallKind):
    found = told(status, body, kind)
    assert isinstance(found, AzureError)
    assert found.code.startswith("azure_")
    if kind is CallKind.CREATE and status >= 500:
        assert isinstance(found, OutcomeUnknown)
    if status == 429:
        assert isinstance(found, Throttled)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "code", "message", "details", "innererror", "inner_error"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from([400, 404, 409, 500]),
)
def test_no_shape_of_json_escapes_the_table(body: object, status: int):
    assert isinstance(told(status, body), AzureError)


@pytest.mark.parametrize(
    ("cause", "kind", "expected", "code"),
    [
        (httpx2.ConnectError("refused"), CallKind.CREATE, Unavailable, "azure_unreachable"),
        (httpx2.ConnectTimeout("slow"), CallKind.CREATE, Unavailable, "azure_unreachable"),
        (httpx2.PoolTimeout("busy"), CallKind.CREATE, Unavailable, "azure_unreachable"),
        (httpx2.ReadTimeout("slow"), CallKind.CREATE, OutcomeUnknown, "azure_timeout"),
        (httpx2.WriteTimeout("slow"), CallKind.CREATE, OutcomeUnknown, "azure_timeout"),
        (httpx2.ReadError("reset"), CallKind.CREATE, OutcomeUnknown, "azure_no_answer"),
        (httpx2.WriteError("reset"), CallKind.CREATE, OutcomeUnknown, "azure_no_answer"),
        (httpx2.RemoteProtocolError("junk"), CallKind.CREATE, OutcomeUnknown, "azure_no_answer"),
        (None, CallKind.CREATE, OutcomeUnknown, "azure_no_answer"),
        (httpx2.ReadTimeout("slow"), CallKind.READ, Unavailable, "azure_timeout"),
        (httpx2.ReadError("reset"), CallKind.CONTROL, Unavailable, "azure_no_answer"),
    ],
)
def test_a_silence_leaves_a_create_in_doubt_unless_nothing_was_sent(
    cause: Exception | None, kind: CallKind, expected: type[AzureError], code: str
):
    found = error_from_silence(kind=kind, what="doing it", cause=cause)
    assert (type(found), found.code) == (expected, code)


def test_an_unreadable_success_is_as_doubtful_as_none():
    assert isinstance(error_from_garbage(kind=CallKind.CREATE, what="x", status=200, body=b"?"), OutcomeUnknown)
    assert isinstance(error_from_garbage(kind=CallKind.READ, what="x", status=200, body=b"?"), Unavailable)


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "1"}, "", 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 9),
        ({"x-ms-retry-after-ms": "2500"}, "", 2.5),
        ({"retry-after": "38"}, "retry after 5 seconds", 38),
        ({"retry-after": " 7 "}, "", 7),
        ({"retry-after": "0.25"}, "", 0.25),
        ({"retry-after": "86400"}, "", 86400),
        ({"retry-after": "-5"}, "", 0),
        ({"retry-after-ms": "-5"}, "", 0),
        ({"retry-after": "Sat, 21 Nov 2026 12:02:00 GMT"}, "", 120),
        ({"retry-after": "Sat, 21 Nov 2026 11:00:00 GMT"}, "", 0),
        ({"retry-after": "Sat, 21 Nov 2026 12:02:00 GMT", "date": "Sat, 21 Nov 2026 12:01:30 GMT"}, "", 30),
        ({}, "Please retry after 38 seconds. Please go here", 38),
        ({}, "Try again in 86400 seconds.", 86400),
        ({}, "Please retry after 2 minutes", 120),
        ({}, "Please wait 1 hour", 3600),
        ({}, "Try again in 500 milliseconds", 0.5),
        ({}, "retry after 20s", 20),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": ""}, "", None),
        ({"retry-after": "1e400"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "٣"}, "", None),
        ({"retry-after": "Sat, 99 Nov 2026 12:02:00 GMT"}, "", None),
        ({}, "This model's maximum context is 65536 tokens", None),
        ({}, "", None),
    ],
)
def test_the_wait_azure_asks_for_is_read_from_where_it_stands(
    headers: dict[str, str], message: str, seconds: float | None
):
    assert retry_after_seconds(headers, message, now=NOW) == seconds


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=60))
def test_a_wait_is_never_negative_never_infinite_and_nothing_breaks_it(value: str, date: str, message: str):
    found = retry_after_seconds({"retry-after": value, "date": date}, message, now=NOW)
    assert found is None or (found >= 0 and math.isfinite(found))


@given(st.integers(0, 10**9))
def test_whole_seconds_come_back_as_they_are_however_long(seconds: int):
    assert retry_after_seconds({"retry-after": str(seconds)}, now=NOW) == seconds


@given(st.integers(0, 10**7), st.integers(-(10**6), 10**6))
def test_a_date_is_measured_by_azures_clock_whatever_ours_says(ahead: int, our_error: int):
    headers = {
        "retry-after": format_datetime(NOW + timedelta(seconds=ahead), usegmt=True),
        "date": format_datetime(NOW, usegmt=True),
    }
    assert retry_after_seconds(headers, now=NOW + timedelta(seconds=our_error)) == ahead
