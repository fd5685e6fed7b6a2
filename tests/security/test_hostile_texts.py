"""Hostile JSON texts as bodies, and naughty strings in every text field: refused, or stored and returned unchanged.

Both lists are ours: made from rules, so that they are complete in what they mean to cover and can be read.
"""

import itertools
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from servers import Postgres, make_project
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.http.bodies import StrictRoute
from app.http.problems import api_routes
from app.kit.wire import RequestModel, strict_json
from app.main import create_app
from app.settings import Settings

# ── JSON texts ──────────────────────────────────────────────────────────────


def _accepted() -> Iterator[tuple[str, bytes, Any]]:
    """(name, text, what it means): RFC 8259 says that these are JSON, and they mean one thing."""
    yield from (
        ("empty object", b"{}", {}),
        ("empty array", b"[]", []),
        ("spaces of all kinds", b" \t\r\n{ \t\r\n} \t\r\n", {}),
        ("lonely text", b'"a"', "a"),
        ("lonely number", b"-0", 0),
        ("lonely true", b"true", True),
        ("lonely null", b"null", None),
        ("DEL", b'"\x7f"', "\x7f"),
        ("every escape", rb'"\"\\\/\b\f\n\r\t\u0041"', '"\\/\b\f\n\r\tA'),
        ("escaped surrogate pair", rb'"\ud834\udd1e"', "\U0001d11e"),
        ("upper-case escape", rb'"\uFFFD"', "\ufffd"),
        ("noncharacter", b'"\xef\xbf\xbf"', "\uffff"),
        ("line separator inside", b'"\xe2\x80\xa8"', "\u2028"),
        ("BOM inside", b'"\xef\xbb\xbf"', "\ufeff"),
        ("four bytes", b'"\xf0\x9f\xa6\x8a"', "\U0001f98a"),
        ("empty name", b'{"":1}', {"": 1}),
        ("names that differ by case", b'{"a":1,"A":2}', {"a": 1, "A": 2}),
        ("names that look alike", '{"é":1,"e\u0301":2}'.encode(), {"é": 1, "e\u0301": 2}),
        ("exponents", b"[1e2,1E2,1e+2,1e-2,0e1,0.1e1]", [100.0, 100.0, 100.0, 0.01, 0.0, 1.0]),
        ("minus zero", b"[-0,-0.0]", [0, -0.0]),
        ("64 levels", b"[" * 64 + b"]" * 64, None),
        ("a big whole number", b"123456789012345678901234567890", 123456789012345678901234567890),
        ("a fraction of many digits", b"0." + b"1" * 300, None),
    )


def _refused() -> Iterator[tuple[str, bytes]]:  # noqa: PLR0912  one list
    """What no strict reader takes."""
    good = [b'{"a":1}', b"[1,2]", b'"text"', b"12", b"true", b'{"a":{"b":[1]}}']
    for text in good:
        for cut in range(1, len(text)):
            if text[:cut] != b"1":  # the beginning of 12 is a number, too
                yield f"{text.decode()} cut at {cut}", text[:cut]
    for junk in (
        b",",
        b"]",
        b"}",
        b":",
        b"x",
        b"\x00",
        b"1",
        b"#",
        b"//c",
        b"/**/",
        b"\xff",
        b"\xef\xbb\xbf",
        b'"',
    ):
        yield f"object and {junk!r}", b'{"a":1}' + junk
        if junk != b"1":
            yield f"{junk!r} and object", junk + b'{"a":1}'
    for number in (
        *(
            "01",
            "-01",
            "+1",
            ".5",
            "5.",
            "1e",
            "1e+",
            "1.e1",
            "0x10",
            "1_000",
            "1,5",
            "--1",
            "- 1",
            "1 2",
            "0b1",
            "1a",
        ),
        *("NaN", "-NaN", "Infinity", "-Infinity", "+Infinity", "nan", "inf", "1/2", "１", "٣", "²", "0o7", "1e1.5"),
    ):
        yield f"number {number}", number.encode()
        if number != "1,5":
            yield f"number {number} in an array", f"[{number}]".encode()
    for word in (
        "True",
        "TRUE",
        "False",
        "None",
        "nil",
        "undefined",
        "nul",
        "truee",
        "a",
        "'a'",
        "`a`",
        "{a:1}",
        "{'a':1}",
    ):
        yield f"word {word}", word.encode()
    for inside in ("\x00", "\x01", "\x1f", "\n", "\r", "\t", "\x08"):
        yield f"bare {inside!r} in a text", f'"a{inside}b"'.encode()
    for escape in (r"\x41", r"\u", r"\u12", r"\u123g", r"\U0041", r"\'", r"\0", r"\a", "\\", r"\u 041", r"\u+041"):
        yield f"escape {escape}", f'"{escape}"'.encode()
    for raw in (
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"\x80",
        b"\xf8\x88\x80\x80\x80",
    ):
        yield f"bytes {raw.hex()} in a text", b'"' + raw + b'"'
    for twice in (
        b'{"a":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"x":{"a":1,"a":2}}',
        b'[{"a":1,"b":2,"a":3}]',
        rb'{"a":1,"\u0061":2}',
    ):
        yield f"member twice {twice.decode()}", twice
    for other in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        yield f"in {other}", '{"a":"é"}'.encode(other)
    yield from (
        ("nothing", b""),
        ("spaces", b"   "),
        ("no-break space", b'\xc2\xa0{"a":1}'),
        ("form feed", b'\x0c{"a":1}'),
        ("comma first", b"[,1]"),
        ("comma last", b"[1,]"),
        ("two commas", b"[1,,2]"),
        ("comma last in object", b'{"a":1,}'),
        ("colon missing", b'{"a" 1}'),
        ("two colons", b'{"a"::1}'),
        ("name is a number", b"{1:1}"),
        ("name is null", b"{null:1}"),
        ("name without quotes", b"{a:1}"),
        ("brackets crossed", b'{"a":[1}]'),
        ("only closing", b"]"),
        ("5,000 digits", b"9" * 5000),
        ("5,000 digits in an object", b'{"a":' + b"9" * 5000 + b"}"),
        ("100,000 brackets", b"[" * 100_000),
        ("100,000 levels", b"[" * 100_000 + b"]" * 100_000),
        ("100,000 objects", b'{"a":' * 100_000),
        ("two texts", b'"a" "b"'),
        ("lines of JSON", b'{"a":1}\n{"a":2}'),
        ("a sequence", b'\x1e{"a":1}\n'),
        ("a callback", b'f({"a":1})'),
        ("a guard", b')]}\',\n{"a":1}'),
        ("HTML", b"<html></html>"),
        ("YAML", b"a: 1\n"),
        ("a form", b"a=1&b=2"),
    )


ACCEPTED: Final = list(_accepted())
REFUSED: Final = dict(_refused())


def test_there_are_enough_hostile_json_texts() -> None:
    print(f"{len(ACCEPTED)} JSON texts to accept, {len(REFUSED)} to refuse")
    assert len(REFUSED) >= 150


@pytest.mark.parametrize(("name", "text", "meaning"), ACCEPTED, ids=[name for name, _, _ in ACCEPTED])
def test_what_is_json_is_read_as_what_it_means(name: str, text: bytes, meaning: Any) -> None:
    value = strict_json(text)
    assert value == json.loads(text)
    if meaning is not None:
        assert value == meaning


def test_what_is_no_json_is_refused_in_words() -> None:
    taken = []
    for name, text in REFUSED.items():
        try:
            taken.append((name, strict_json(text)))
        except ValueError:
            continue
    assert taken == []


# ── strings ─────────────────────────────────────────────────────────────────


def _naughty() -> Iterator[str]:
    """What breaks parsers, shells, queries, templates, logs, terminals, file systems, sorting and layout."""
    yield from (
        "",
        " ",
        "\t",
        "0",
        "-0",
        "00",
        "1e309",
        "NaN",
        "null",
        "None",
        "true",
        "undefined",
        "[]",
        "{}",
        "\\",
        "%",
    )
    yield from ("__proto__", "constructor", "prototype", "toString", "__class__", "hasOwnProperty", "self", "this")
    quotes = ["'", '"', "`", "''", "\"'", "\\'", '\\"', "‘", "»"]
    sql = [
        "{q} OR 1=1 --",
        "{q}; DROP TABLE jobs; --",
        "{q} UNION SELECT sha256 FROM api_keys --",
        "{q}||pg_sleep(5)||{q}",
    ]
    yield from (form.replace("{q}", quote) for form, quote in itertools.product(sql, quotes))
    yield from quotes
    markup = [
        "script",
        "img src=x onerror=alert(1)",
        "svg/onload=alert(1)",
        "iframe src=javascript:alert(1)",
        "style",
        "!--",
    ]
    yield from (
        f"{before}<{tag}>{after}" for tag in markup for before, after in (("", ""), ('"', '"'), ("</title>", ""))
    )
    yield from (
        "javascript:alert(1)",
        "data:text/html,<script>",
        "&lt;script&gt;",
        "&#60;script&#62;",
        "]]>",
        "<![CDATA[",
        "<?php",
    )
    yield from (
        "{{7*7}}",
        "${7*7}",
        "#{7*7}",
        "<%= 7*7 %>",
        "{% raw %}",
        "{0}",
        "{__class__}",
        "%s%s%n",
        "%(a)s",
        "$(id)",
        "`id`",
    )
    yield from (f"{joint}id" for joint in (";", "|", "||", "&", "&&", "\n", "$(", "`", ">", "<", "\\n"))
    yield from (
        "../../etc/passwd",
        "..\\..\\windows",
        "/etc/passwd",
        "C:\\con",
        "\\\\host\\share",
        "file:///etc/passwd",
        "~root",
        ".",
        "..",
    )
    yield from (
        "con",
        "nul",
        "aux",
        "com1",
        "lpt1",
        ".htaccess",
        "a/b",
        "a\\b",
        "a:b",
        "a*b",
        "a?b",
        "a.",
        "a ",
        " a",
        "-rf",
        "--help",
    )
    yield from (f"{sign}1+1" for sign in "=+-@")
    yield from ('=HYPERLINK("http://evil")', "@SUM(1)", "\t=1", "\r=1", "＝1", 'DDE("cmd")')
    yield from ("a\r\nSet-Cookie: x=1", "a\nb", "a\rb", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "a\u2029b")
    yield from (f"a{chr(code)}b" for code in (*range(32), 127, 0x80, 0x9B))
    yield from ("\x1b[31mred", "\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\x08\x08\x08")
    yield from (
        f"a{mark}b"
        for mark in "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad\u061c\u180e"
    )
    yield from (
        "\ud800",
        "\udfff",
        "\ud800\ud800",
        "a\udc00b",
        "\ufffe",
        "\uffff",
        "\U0001fffe",
        "\U0010ffff",
        "\ue000",
        "\u0378",
    )
    yield from (
        "é",
        "e\u0301",
        "ﬁ",
        "ﬃ",
        "ß",
        "ẞ",
        "İ",
        "ı",
        "K",
        "Å",
        "①②⑦",
        "²",
        "½",
        "٣",
        "१२३",
        "Ⅷ",
        "𝟛",
        "ᴮᴵᴳ",
        "Ｆｕｌｌ",
        "ＳＥＬＥＣＴ",
    )
    yield from (
        "日本語",
        "مرحبا",
        "שלום",
        "हिन्दी",
        "ไทย",
        "한국어",
        "Ελληνικά",
        "Кириллица",
        "Ünïcödé",
        "ᚠᛇᚻ",
        "𓀀",
        "🦊",
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "🇯🇵",
        "👍🏿",
        "❤️",
    )
    yield from (
        "Z̷̢͝a̸l̶g̵o̷",
        "a" + "\u0301" * 50,
        "\u0301",
        "\u20dd",
        "ᄀ" * 20,
        "﷽",
        "\u202eevil",
        "аdmin",
        "раураl",
        "ⓐⓓⓜⓘⓝ",
    )
    yield from (
        "a" * 64,
        "a" * 65,
        "a" * 100,
        "a" * 101,
        "é" * 64,
        "🦊" * 64,
        "a" * 2000,
        "a" * 2001,
        "a " * 400,
        "-" * 64,
        "." * 64,
    )
    yield from (
        "job_01m7zeyhy8fmavc4pw595mbdcx",
        "ds_01m7zeyhy8fmavc4pw595mbdcx",
        "a@1",
        "a@",
        "@1",
        "a@b@c",
        "travel@latest",
    )
    yield from (
        "http://169.254.169.254/",
        "https://localhost/",
        "user@host",
        "a,b;c|d",
        "a=b&c=d",
        "?a=b",
        "#a",
        "%00",
        "%2e%2e",
        "%0d%0a",
        "%u0041",
    )
    yield from (
        "2026-02-30",
        "1970-01-01T00:00:00Z",
        "99999999999999999999",
        "-1",
        "1.5",
        "1,000",
        "0x7f",
        "1e5",
        "٠",
        "∞",
        "−1",
    )


NAUGHTY: Final = list(dict.fromkeys(_naughty()))


def test_there_are_enough_naughty_strings() -> None:
    print(f"{len(NAUGHTY)} naughty strings")
    assert len(NAUGHTY) >= 300


def models() -> list[type[BaseModel]]:
    """Every request body there is, and what stands inside them."""

    def below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for inner in model.__subclasses__():
            yield inner
            yield from below(inner)

    return sorted(
        {model for model in below(RequestModel) if model.__module__.startswith("app.")}, key=lambda m: m.__name__
    )


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_a_text_that_a_model_takes_is_the_text_that_it_was_given(model: type[BaseModel]) -> None:
    """Every member of every body with every string: refused, or kept but for blanks around it."""
    examples = (model.model_config.get("json_schema_extra") or {}).get("examples", [{}])  # type: ignore[union-attr]
    for name, field in model.model_fields.items():
        for text in NAUGHTY:
            try:
                made = model.model_validate({**examples[0], (field.alias or name): text})
            except ValidationError:
                continue
            kept = getattr(made, name)
            if isinstance(kept, str):
                assert kept in {text, text.strip()}, (name, text, kept)
                assert "\x00" not in kept
                kept.encode()


# ── over HTTP ───────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Target:
    app: FastAPI
    client: TestClient


@pytest.fixture(scope="module")
def target(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with postgres.database() as url:
        settings = Settings(_env_file=None, database_url=url, data_dir=tmp_path_factory.mktemp("texts"))
        with open_workbench(settings) as bench:
            app = create_app(settings, bench)
            with TestClient(app, headers=make_project(bench, "first").headers) as client:
                client.post("/v1/datasets", json={"name": "d"}).raise_for_status()
                there = {"name": "c", "endpoint": "https://contoso.openai.azure.com"}
                client.post("/v1/connections", json=there).raise_for_status()
                yield Target(app, client)


@dataclass(frozen=True)
class Taker:
    """An operation that takes JSON."""

    method: str
    url: str
    example: dict[str, Any]
    texts: tuple[str, ...]
    """Members that may be a text."""


def takers(target: Target) -> list[Taker]:
    document = target.app.openapi()
    schemas = document["components"]["schemas"]
    names = {"dataset": "d", "number": "1", "connection": "c", "project": "first"}
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is None or "$ref" not in body["schema"] or operation["operationId"] == "createProject":
                continue
            schema = schemas[body["schema"]["$ref"].rpartition("/")[2]]
            url = re.sub(r"\{(\w+)\}", lambda place: names.get(place[1], "nothing"), path)
            texts = tuple(name for name, member in schema["properties"].items() if '"string"' in json.dumps(member))
            found.append(Taker(method.upper(), url, schema["examples"][0], texts))
    return found


def test_every_json_body_is_read_strictly(target: Target) -> None:
    loose = [
        route.operation_id
        for route in api_routes(target.app.router.routes)
        if route.body_field is not None and not isinstance(route, StrictRoute)
    ]
    assert loose == []


def test_no_hostile_json_text_gets_through_any_door(target: Target) -> None:
    """Each text to five operations in turn, so that every operation meets texts of every kind."""
    doors = takers(target)
    turn = itertools.cycle(doors)
    sent = 0
    for name, text in REFUSED.items():
        for _ in range(3 if len(text) < 1000 else 1):
            door = next(turn)
            answer = target.client.request(
                door.method, door.url, content=text, headers={"Content-Type": "application/json"}
            )
            assert 400 <= answer.status_code < 500, (name, door.url, answer.status_code, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert len(answer.content) < 5000
            sent += 1
    print(f"{sent} hostile JSON texts to {len(doors)} operations")


def test_a_member_that_stands_there_twice_is_named(target: Target) -> None:
    for door in takers(target):
        text = '{"name": "a", "name": "b"}'
        answer = target.client.request(
            door.method, door.url, content=text.encode(), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400, (door.url, answer.text)
        assert "'name' stands there twice" in answer.json()["detail"]


def test_no_naughty_string_in_any_text_field_breaks_anything(target: Target) -> None:
    """Strings in turn through every text field of every operation, a few hundred requests; each string several times."""
    places = [(door, member) for door in takers(target) for member in door.texts]
    turn = itertools.cycle(NAUGHTY)
    statuses: dict[int, int] = {}
    for door, member in places:
        for text in itertools.islice(turn, 2 * len(NAUGHTY) // len(places) + 1):
            body = json.dumps({**door.example, member: text}).encode()
            headers = {"Content-Type": "application/json"}
            answer = target.client.request(door.method, door.url, content=body, headers=headers)
            assert answer.status_code < 500, (door.url, member, text, answer.text)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    print(f"{sum(statuses.values())} requests to {len(places)} text fields: {dict(sorted(statuses.items()))}")
    assert sum(statuses.values()) >= 2 * len(NAUGHTY)


@pytest.mark.parametrize("member", ["description", "labels"])
def test_a_stored_text_comes_back_unchanged_or_was_refused(member: str, target: Target) -> None:
    stored = 0
    tried = NAUGHTY if member == "description" else NAUGHTY[::3]
    for text in tried:
        value = {"note": text} if member == "labels" else text
        answer = target.client.patch(
            "/v1/datasets/d",
            content=json.dumps({member: value}).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in {200, 422}, (text, answer.text)
        if answer.status_code == 200:
            kept = target.client.get("/v1/datasets/d").json()[member]
            kept = kept["note"] if member == "labels" else kept
            assert kept in {text, text.strip()}, (text, kept)
            stored += 1
    print(f"{stored} of {len(tried)} stored as {member}")
    assert stored > len(tried) / 2


@pytest.mark.parametrize("place", ["path", "query", "header"])
def test_naughty_strings_in_urls_and_headers_break_nothing(place: str, target: Target) -> None:
    for text in NAUGHTY:
        encoded = quote(text.encode("utf-8", "surrogatepass"), safe="")
        if place == "path":
            answer = target.client.get(f"/v1/datasets/{encoded}")
        elif place == "query":
            answer = target.client.get(f"/v1/audit-events?subject={encoded}&operation={encoded}&actor={encoded}")
        else:
            raw = text.encode("utf-8", "surrogatepass").translate(None, b"\r\n\x00")
            answer = target.client.get(
                "/v1/jobs", headers={b"User-Agent": raw, b"X-Request-Id": raw, b"If-None-Match": raw}
            )
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", answer.headers["x-request-id"])
        assert answer.status_code < 500, (place, text, answer.text)


def test_visible_is_what_is_seen(target: Target) -> None:
    """A name for people holds no character that nobody sees, whatever its script."""
    hidden = [
        text for text in NAUGHTY if any(unicodedata.category(letter) in {"Cc", "Cs", "Cn", "Co"} for letter in text)
    ]
    assert len(hidden) > 40
    for text in hidden:
        body = json.dumps({"name": f"k{text}k", "scopes": ["jobs:read"]}).encode()
        answer = target.client.post("/v1/api-keys", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422, (text, answer.text)
