"""Personal data and secrets: numbers that their issuers publish as examples, and things that only look like them."""

import json
from typing import Any

import pytest

from app.datasets.engine.private import Redactor, find, is_iban, is_my_number, luhn

FOUND: list[tuple[str, str, str]] = [
    # RFC 2606: example domains
    ("mail taro.yamada@example.co.jp, now", "EMAIL", "taro.yamada@example.co.jp"),
    # Ofcom's and the ministry's numbers for drama and documents; NANP 555-01xx
    ("+44 20 7946 0958", "PHONE", "+44 20 7946 0958"),
    ("Phone: 020 7946 0958", "PHONE", "020 7946 0958"),
    ("call (415) 555-0123 today", "PHONE", "(415) 555-0123"),
    ("tel 090-1234-5678です", "PHONE", "090-1234-5678"),
    ("携帯は０９０－１２３４－５６７８", "PHONE", "０９０－１２３４－５６７８"),
    ("03（1234）5678まで", "PHONE", "03（1234）5678"),
    ("+819012345678", "PHONE", "+819012345678"),
    ("電話番号は0312345678", "PHONE", "0312345678"),
    # Test cards of the networks, as payment services publish them
    ("card 4111 1111 1111 1111 ok", "CARD", "4111 1111 1111 1111"),
    ("4242424242424242", "CARD", "4242424242424242"),
    ("3782 822463 10005", "CARD", "3782 822463 10005"),
    ("3530111333300000", "CARD", "3530111333300000"),
    # SWIFT IBAN registry
    ("GB82 WEST 1234 5698 7654 32 and", "IBAN", "GB82 WEST 1234 5698 7654 32"),
    ("DE89370400440532013000", "IBAN", "DE89370400440532013000"),
    ("NO9386011117947", "IBAN", "NO9386011117947"),
    # 総務省令第85号: 12345678901 has the check digit 8
    ("マイナンバーは123456789018です", "MY_NUMBER", "123456789018"),
    ("個人番号 1234-5678-9018", "MY_NUMBER", "1234-5678-9018"),
    # SSA: printed in wallets of 1938, never valid since
    ("078-05-1120", "SSN", "078-05-1120"),
    # RFC 5737
    ("server 203.0.113.7:8080", "IP_ADDRESS", "203.0.113.7"),
    ("2001:4860:4860::8888", "IP_ADDRESS", "2001:4860:4860::8888"),
    # AWS and Azurite documentation, RFC 7519 as jwt.io shows it
    ("AKIAIOSFODNN7EXAMPLE", "AWS_KEY", "AKIAIOSFODNN7EXAMPLE"),
    (
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SECRET",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ),
    (
        "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;",
        "AZURE_KEY",
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    ),
    ("api-key: 0123456789abcdef0123456789abcdef", "AZURE_KEY", "0123456789abcdef0123456789abcdef"),
    (
        "https://a.blob.core.windows.net/c?sv=2022-11-02&sig=39Up9JzHkxhUIhFEjEH9594DJxe7w6cIRCg0V6lCGSo%3D",
        "SAS_SIGNATURE",
        "39Up9JzHkxhUIhFEjEH9594DJxe7w6cIRCg0V6lCGSo%3D",
    ),
    ("ghp_" + "aB3dE5fG7h" * 3 + "123456", "GITHUB_TOKEN", "ghp_" + "aB3dE5fG7h" * 3 + "123456"),
    ("sk-proj-" + "aB3dE5fG7h" * 4, "API_KEY", "sk-proj-" + "aB3dE5fG7h" * 4),
    ("sk-" + "aB3dE5fG7h" * 4 + "12345678", "API_KEY", "sk-" + "aB3dE5fG7h" * 4 + "12345678"),
    (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
        "JWT",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    ),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "PRIVATE_KEY",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ),
    ("postgresql://app:hunter22@db/x", "PASSWORD", "hunter22"),
    ("Server=tcp:x.database.windows.net;User ID=a;Password=Pa55w0rd!;", "PASSWORD", "Pa55w0rd!"),
]

NOT_FOUND = [
    "icon@2x.png",
    "git@github.com:owner/name.git",
    "version 8.8.8.8",
    "http://127.0.0.1:8080 and 10.0.0.1:22",
    "2024-01-01 12:00:00, 10, 20, 30, 40",
    "4111 1111 1111 1112",
    "0.4111111111111111",
    "id-4111111111111111",
    "1234567890123",
    "order 0901234567",
    "called with index 2147483647",
    "linux mobile device 07010841551 python",
    "123456789018",
    "1234 5678 9018",
    "マイナンバーは123456789012です",
    "GB82 WEST 1234 5698 7654 33",
    "000-12-3456 and 666-12-3456 and 912-34-5678",
    "postgresql://user:password@db/x",
    "https://user:${PASSWORD}@host/",
    "sk-learn-is-not-a-key-but-scikit-learn",
    "api_key: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "eyJub3QiOiJhIHRva2VuIn0",
]


@pytest.mark.parametrize(("text", "kind", "it"), FOUND, ids=[row[0][:30] for row in FOUND])
def test_a_published_example_is_found_where_it_stands(text: str, kind: str, it: str) -> None:
    assert [(hit.kind, text[hit.start : hit.end]) for hit in find(text)] == [(kind, it)]


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_only_looks_private_is_not_found(text: str) -> None:
    assert not find(text)


@pytest.mark.parametrize(("text", "kind", "it"), FOUND, ids=[row[0][:30] for row in FOUND])
def test_what_is_told_of_a_hit_does_not_give_it_away(text: str, kind: str, it: str) -> None:
    (hit,) = find(text)
    assert it not in hit.shown
    assert hit.code != "secret" or it[:4] not in hit.shown


def test_one_wrong_digit_fails_every_checksum() -> None:
    assert luhn("4242424242424242")
    assert not luhn("4242424242424241")
    assert is_iban("DE89 3704 0044 0532 0130 00")
    assert not is_iban("DE88 3704 0044 0532 0130 00")
    assert is_my_number("123456789018")
    assert not any(is_my_number(f"12345678901{digit}") for digit in range(10) if digit != 8)


def test_the_same_value_gets_the_same_mark_in_every_row_however_it_is_spelt() -> None:
    redactor = Redactor()
    rows = [
        {"messages": [{"role": "user", "content": text}]}
        for text in ("ask a@b.co", "A@B.co or c@d.org", "4111 1111 1111 1111", "4111111111111111")
    ]
    marked = [redactor.redact(row)[0]["messages"][0]["content"] for row in rows]
    assert marked == ["ask [EMAIL_1]", "[EMAIL_1] or [EMAIL_2]", "[CARD_1]", "[CARD_1]"]


def test_arguments_of_a_call_stay_json_text() -> None:
    arguments = '{"to": "a@b.co", "card": 4111111111111111, "note": "\\u0061@b.co", "n": 3}'
    row = {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}]}
    redacted, found = Redactor().redact(row)
    function = redacted["messages"][0]["tool_calls"][0]["function"]
    assert json.loads(function["arguments"]) == {"to": "[EMAIL_1]", "card": "[CARD_1]", "note": "[EMAIL_1]", "n": 3}
    assert {located.pointer for located in found} == {"/messages/0/tool_calls/0/function/arguments"}


def test_a_row_without_private_data_is_handed_back_as_it_is() -> None:
    row: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "n": [1, None, True]}
    redacted, found = Redactor().redact(row)
    assert redacted is row
    assert not found


def test_only_the_findings_that_were_chosen_are_redacted() -> None:
    row = {"messages": [{"role": "user", "content": "a@b.co, 4111111111111111"}]}
    redacted, _ = Redactor(frozenset({"pii-card"})).redact(row)
    assert redacted["messages"][0]["content"] == "a@b.co, [CARD_1]"


def test_an_image_given_as_data_is_left_alone() -> None:
    url = "data:image/png;base64,AKIAIOSFODNN7EXAMPLE"
    row = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
    assert Redactor().redact(row)[0] is row
