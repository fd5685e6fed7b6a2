"""Signatures of messages from outside: true ones hold, everything else is refused and nothing raises."""

import base64
import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai import OpenAI

from app.triggers.signatures import MOST_SIGNATURES, NotSigned, new_secret, verify

DATA = Path(__file__).resolve().parents[2] / "data" / "webhooks"
NOW = 1_800_000_000.0
BODY = b'{"type":"fine_tuning.job.succeeded","data":{"id":"ftjob-1"}}'


def signature(secret: str, message_id: str, stamp: int, body: bytes) -> str:
    """Written out once more, from the specification's text."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def headers(secret: str, *, message_id: str = "msg_1", stamp: int = int(NOW), body: bytes = BODY) -> dict[str, str]:
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": signature(secret, message_id, stamp, body),
    }


def test_a_message_that_openai_has_signed_holds() -> None:
    vector: dict[str, Any] = orjson.loads((DATA / "signed.response-completed.json").read_bytes())
    body = vector["payload"].encode()
    signed = verify(vector["headers"], body, [vector["secret"]], now=vector["now"])
    assert signed.message_id == vector["headers"]["webhook-id"]
    with pytest.raises(NotSigned, match="No signature"):
        verify(vector["headers"], body + b" ", [vector["secret"]], now=vector["now"])


def test_what_we_accept_the_sdk_accepts_too() -> None:
    secret = new_secret()
    given_headers = headers(secret, body=BODY)
    assert verify(given_headers, BODY, [secret], now=NOW).message_id == "msg_1"
    client = OpenAI(api_key="k", webhook_secret=secret)
    client.webhooks.verify_signature(BODY, given_headers, tolerance=10**10)


def test_during_a_rotation_either_secret_holds_and_a_third_does_not() -> None:
    old, new, other = new_secret(), new_secret(), new_secret()
    for signer in (old, new):
        assert verify(headers(signer), BODY, [new, old], now=NOW)
    with pytest.raises(NotSigned):
        verify(headers(other), BODY, [new, old], now=NOW)
    both = headers(old) | {
        "webhook-signature": f"{headers(other)['webhook-signature']} {headers(old)['webhook-signature']}"
    }
    assert verify(both, BODY, [old], now=NOW)


@pytest.mark.parametrize("seconds", [-301, 301, -86_400, 10**9])
def test_a_message_from_another_time_is_refused_with_the_difference(seconds: int) -> None:
    secret = new_secret()
    with pytest.raises(NotSigned, match=re.escape(f"{seconds:+d} s")):
        verify(headers(secret, stamp=int(NOW) + seconds), BODY, [secret], now=NOW)


@pytest.mark.parametrize("seconds", [-299, 299])
def test_five_minutes_either_way_are_allowed(seconds: int) -> None:
    secret = new_secret()
    assert verify(headers(secret, stamp=int(NOW) + seconds), BODY, [secret], now=NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_missing_header_is_named(name: str) -> None:
    secret = new_secret()
    given_headers = headers(secret)
    del given_headers[name]
    with pytest.raises(NotSigned, match=name):
        verify(given_headers, BODY, [secret], now=NOW)


def test_ten_thousand_signatures_are_not_compared() -> None:
    secret = new_secret()
    given_headers = headers(secret)
    given_headers["webhook-signature"] = " ".join([given_headers["webhook-signature"]] * (MOST_SIGNATURES + 1))
    with pytest.raises(NotSigned, match="more than 10"):
        verify(given_headers, BODY, [secret], now=NOW)


@given(
    message_id=st.text(max_size=300),
    stamp=st.one_of(st.text(max_size=30), st.integers().map(str)),
    given_signature=st.text(max_size=400),
    body=st.binary(max_size=400),
    secret=st.text(max_size=100),
)
@example("msg", str(int(NOW)), "v1,\xff\xfe", b"\xff\xfe", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
@example("msg", "٣" * 10, "v1", b"", "")
@example("msg", str(int(NOW)), "nocomma", b"", "whsec_!!!")
@example("msg", str(int(NOW)), "\ud800", b"", "\ud800")
def test_junk_is_refused_and_raises_nothing_else(
    message_id: str, stamp: str, given_signature: str, body: bytes, secret: str
) -> None:
    junk = {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": given_signature}
    with pytest.raises(NotSigned):
        verify(junk, body, [secret], now=NOW)
