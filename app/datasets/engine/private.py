"""Finds personal data and secrets in texts, and puts marks in their place.

Must not know a file, a line or what a message is. A pattern is followed by a check wherever one exists (check
digits, known prefixes, the words before it): who is told of private data in every second row looks at none.
What is found is likely, never certain; what is not found may be there.

Source: RFC 5321 §4.5.3.1 (e-mail); ITU-T E.164 2010, ATIS-0300055 (NANP), 電気通信番号規則 2019 (telephone);
ISO/IEC 7812-1 annex B (Luhn); SWIFT IBAN registry, ISO 7064 (MOD 97-10); 総務省令第85号 2014, art. 5 (個人番号);
SSA POMS RM 10201.035 (SSN); RFC 7519 (JWT); RFC 7468 (keys); GitHub, supported secret scanning patterns, 2025;
Microsoft Learn, storage connection strings, account SAS, 2025.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from app.datasets.engine.json_rows import escaped
from app.datasets.engine.scanning import Gate, Search, gate, searching


@dataclass(frozen=True, slots=True)
class Hit:
    """One place in a text."""

    code: str
    """The finding it makes; see `codes`."""
    kind: str
    """What it is, as its mark is named: EMAIL, PHONE, CARD, …"""
    start: int
    end: int
    """Characters of the text, the end not included."""
    shown: str
    """What may be told of it: the kind in words and a few characters, never the whole."""


@dataclass(frozen=True, slots=True)
class _Sort:
    """One sort of private data."""

    code: str
    kind: str
    words: str
    pattern: re.Pattern[str]
    """What is private is the group "it", or all of it."""
    is_sound: Callable[[re.Match[str]], bool] = lambda _: True
    shown_characters: int = 4
    may_match: Search = lambda _: True
    """Quicker than `pattern`, and true of every text that it matches in."""


# -- checks --------------------------------------------------------------------------------------------------


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of ISO/IEC 7812-1."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


_IBAN_LENGTHS: Final = {
    int(length): countries.split()
    for length, countries in (
        line.split(": ")
        for line in (
            "15: NO",
            "16: BE",
            "18: DK FI FO GL NL",
            "19: MK SI",
            "20: AT BA EE KZ LT LU XK",
            "21: CH HR LI LV",
            "22: BG BH CR DE GB GE IE ME RS VA",
            "23: AE GI IL IQ OM TL",
            "24: AD CZ ES MD PK RO SA SE SK TN VG",
            "25: LY PT ST",
            "26: IS TR",
            "27: FR GR IT MC MR SM",
            "28: AL AZ BY CY DO GT HU LB NI PL SV",
            "29: BR EG PS QA UA",
            "30: JO KW MU",
            "31: MT SC",
            "32: LC",
        )
    )
}
"""Characters of an account number -> countries. Source: SWIFT IBAN registry, read 2026-11-21."""


def is_iban(text: str) -> bool:
    """Whether `text`, spaces aside, has its country's length and leaves 1 when divided by 97 (ISO 7064)."""
    plain = text.replace(" ", "")
    if plain[:2] not in _IBAN_LENGTHS.get(len(plain), ()):
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def is_my_number(digits: str) -> bool:
    """Whether the last of 12 digits is the check digit of a Japanese individual number."""
    total = sum(int(digit) * (n + 1 if n <= 6 else n - 5) for n, digit in enumerate(reversed(digits[:-1]), 1))
    rest = total % 11
    return int(digits[-1]) == (0 if rest <= 1 else 11 - rest)


_CARD_NETWORKS: Final = re.compile(
    r"4(?:\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14}"
)
"""Visa, Mastercard, American Express, JCB, Diners Club, Discover, UnionPay."""


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())


def _is_card(match: re.Match[str]) -> bool:
    digits = _digits(match.group())
    return bool(_CARD_NETWORKS.fullmatch(digits)) and len(set(digits)) > 1 and luhn(digits)


def _is_my_number(match: re.Match[str]) -> bool:
    """Twelve digits are nothing yet; words before them, or Japanese around groups of four, make them one."""
    if not is_my_number(_digits(match["it"])):
        return False
    before = match.string[max(0, match.start("it") - 40) : match.start("it")]
    if re.search(r"マイナンバー|個人番号|[Mm]y ?[Nn]umber", before):
        return True
    grouped = not match["it"].isdigit()
    around = match.string[max(0, match.start("it") - 200) : match.end("it") + 200]
    return grouped and _KANA.search(around) is not None


_CALLING_CODES: Final = re.compile(
    r"1|7|2[07]|2[1234568]\d|29[0179]|3[0123469]|3[578]\d|4[013456789]|42[013]|5[12345678]|5[09]\d|6[0123456]|6[789]\d"
    r"|8[1246]|8[058]\d|9[0123458]|9[679]\d"
)
_CALLED: Final = re.compile(
    r"(?:(?:電話|携帯|連絡先|[TＴ][EＥ][LＬ])(?:番号)?[はが:： ]{0,3}"
    r"|\b(?:[Tt]el|TEL|[Tt]elephone|[Pp]hone|[Mm]obile|[Cc]ell|[Ff]ax|FAX|[Cc]all|[Tt]ext)\b"
    r"(?: (?:[Nn]umber|[Nn]o|me|us|him|her|them|at|on|is)\b){0,3}[.:;=\"' ]{0,4})\Z"
)
"""What stands before the number of a telephone."""


def _is_foreign_phone(match: re.Match[str]) -> bool:
    digits = _digits(match["it"])
    fewest, most = (10, 13) if match["it"][1:].isdigit() else (8, 15)
    return fewest <= len(digits) <= most and _CALLING_CODES.match(digits) is not None


def _is_japanese_phone(match: re.Match[str]) -> bool:
    digits = _digits(match["it"])
    if len(digits) == 11:
        known = digits[1:3] in {"50", "60", "70", "80", "90"} or digits.startswith("0800")
    else:
        known = len(digits) == 10 and digits[1] != "0"
    if not known or not match["it"].isdigit():
        return known
    start, end = match.span("it")
    near = match.string[max(0, start - 20) : end + 20]
    return _is_called(match) or (len(digits) == 11 and (near == match["it"] or _KANA.search(near) is not None))


_KANA: Final = re.compile("[ぁ-んァ-ヶ]")


def _is_called(match: re.Match[str]) -> bool:
    """A word such as "Tel" or 電話 stands before it."""
    start = match.start("it")
    return 9 <= len(_digits(match["it"])) <= 15 and (
        _CALLED.search(match.string, max(0, start - 24), start) is not None
    )


_HOST: Final = re.compile(
    r"(?:\b(?:ips?|ipv[46]|host|hostname|server|client|addr|address|peer|from)\b\W{0,4}(?:is )?|://"
    r"|IPアドレス\W{0,4}は?\W{0,4})\Z",
    re.IGNORECASE,
)


_PORT_OR_PREFIX: Final = re.compile(r":\d{2,5}\b|/\d{1,2}\b")
_EXAMPLES: Final = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))
"""Nobody's, but written where somebody's would stand. Source: RFC 5737."""


def _is_address(match: re.Match[str]) -> bool:
    """Public, and called an address: versions look alike, and private ranges are everybody's."""
    try:
        address = ipaddress.ip_address(match["it"])
    except ValueError:
        return False
    if address.is_multicast or not (address.is_global or any(address in net for net in _EXAMPLES)):
        return False
    if address.version == 6:
        return match["it"].count(":") >= 3
    start = match.start("it")
    before = _HOST.search(match.string, max(0, start - 24), start)
    return before is not None or _PORT_OR_PREFIX.match(match.string, match.end("it")) is not None


_FILES: Final = frozenset(
    {"png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "js", "ts", "py", "rb", "go", "rs", "css", "html", "json"}
    | {"xml", "yml", "yaml", "txt", "md", "pdf", "zip", "gz", "so", "dll", "exe", "java", "service", "local"}
)
"""Ends of file names that look like the end of a domain, as in icon@2x.png."""
_NOBODY: Final = frozenset({"git", "hg", "svn"})


def _is_email(match: re.Match[str]) -> bool:
    name, domain = match.group().rsplit("@", 1)
    return name.lower() not in _NOBODY and ".." not in name and domain.rsplit(".", 1)[1].lower() not in _FILES


def _is_token(match: re.Match[str]) -> bool:
    """The head of a JSON web token is a JSON object that names an algorithm."""
    head = match.group().split(".", 1)[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error):
        return False
    return isinstance(decoded, dict) and "alg" in decoded


def _is_varied(match: re.Match[str]) -> bool:
    """Neither xxxx nor <your key>: a secret uses many characters."""
    text = match["it"] if "it" in match.re.groupindex else match.group()
    return len(set(text)) >= 8


_SENT: Final = re.compile(
    r"\*+|x+|X+|\.+|\$?\{.*|<.*|%.*|\$.*|\[.*|(?i:(?:your[-_ ]?)?(?:password|passwd|pass|pwd|secret|key))"
)


def _is_password(match: re.Match[str]) -> bool:
    return _SENT.fullmatch(match["it"]) is None


# -- the list ------------------------------------------------------------------------------------------------

_DASH: Final = r"\-‐‑–−ー－"
_NOT_BEFORE_DIGITS: Final = r"(?<![A-Za-z0-9_.+/=#-])"
_NOT_AFTER_DIGITS: Final = r"(?![A-Za-z0-9_/=-]|[.,]\d)"
_NOT_BEFORE: Final = r"(?<![\w.+/=#-])"
_NOT_AFTER: Final = r"(?![\w/=-]|[.,]\d)"
"""A number is not a part of a longer one, of a word, a path or a decimal fraction."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Sorts that share a quick test, which is never False where one of them is found."""

    gate: Gate
    sorts: tuple[_Sort, ...]
    in_a_line: re.Pattern[str] | None = None
    """Stands in every line that has something; only these are searched."""


def _secret(kind: str, words: str, pattern: str, is_sound: Callable[[re.Match[str]], bool] = _is_varied) -> _Sort:
    return _Sort("secret", kind, words, re.compile(pattern), is_sound, shown_characters=0)


def _phone(
    pattern: str, is_sound: Callable[[re.Match[str]], bool] = lambda _: True, *, may_match: Search = lambda _: True
) -> _Sort:
    return _Sort("pii-phone", "PHONE", "a telephone number", re.compile(pattern), is_sound, may_match=may_match)


_IS: Final = r"[\"']?\s{0,3}[:=,]\s{0,3}[\"']?"
"""Between the name of a value and the value."""
_SPACE: Final = r"[\s\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
"""For gates: not every engine takes those beyond ASCII for white space."""
_IS_GATE: Final = _IS.replace(r"\s", _SPACE)
_NINE_DIGITS: Final = rf"[0-9](?:[() .{_DASH}（）]{{0,2}}[0-9]){{8}}"
_IN_A_LINE_OF_DIGITS: Final = re.compile(_NINE_DIGITS)
_GROUPS: Final = (
    _Group(
        gate(
            "PRIVATE KEY|AKIA[A-Z2-7]{16}|ASIA[A-Z2-7]{16}|github_pat_|AccountKey=|AccessKey="
            "|JQQJ99|AIza|k_live_|eyJ"
        ),
        (
            _secret(
                "PRIVATE_KEY",
                "a private key",
                r"-----BEGIN (?:[A-Z0-9]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"
                r"[^-]{0,16000}(?:-----END [A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?-----)?",
                lambda _: True,
            ),
            _secret("AWS_KEY", "an AWS access key id", r"\bA[KS]IA[A-Z2-7]{16}\b"),
            _secret("GITHUB_TOKEN", "a GitHub token", r"\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b"),
            _secret("AZURE_KEY", "the key of a storage account", r"AccountKey=(?P<it>[A-Za-z0-9+/]{86}==)"),
            _secret("AZURE_KEY", "a shared access key", r"SharedAccessKey=(?P<it>[A-Za-z0-9+/]{43}=)"),
            _secret(
                "AZURE_KEY", "an Azure key", r"(?<![A-Za-z0-9])[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}(?![A-Za-z0-9])"
            ),
            _secret("API_KEY", "a Google key", r"(?<![A-Za-z0-9_-])AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
            _secret("API_KEY", "a Stripe key", r"\b[rs]k_live_[A-Za-z0-9]{16,250}\b"),
            _secret(
                "JWT",
                "a JSON web token",
                r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,2000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{16,2000}",
                _is_token,
            ),
        ),
    ),
    _Group(
        gate(
            "gh[pousr]_[A-Za-z0-9]{36}|npm_[A-Za-z0-9]{36}|hf_[A-Za-z]{34}|sk-(?:proj|svcacct|admin|ant|or-v1)-"
            "|sk-[A-Za-z0-9]{32}|xox[abeprs]-"
        ),
        (
            _secret("GITHUB_TOKEN", "a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,251}\b"),
            _secret(
                "API_KEY",
                "an OpenAI or Anthropic key",
                r"(?<![A-Za-z0-9_-])sk-(?:(?:proj|svcacct|admin|ant|or-v1)-[A-Za-z0-9_-]{20,300}|[A-Za-z0-9]{32,64})"
                r"(?![A-Za-z0-9_-])",
            ),
            _secret("SLACK_TOKEN", "a Slack token", r"\bxox[abeprs]-[0-9A-Za-z-]{20,250}\b"),
            _secret("API_KEY", "a Hugging Face token", r"\bhf_[A-Za-z]{34}\b"),
            _secret("API_KEY", "an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ),
    ),
    _Group(
        gate("sig=[A-Za-z0-9%+/]{40}"),
        (
            _secret(
                "SAS_SIGNATURE",
                "the signature of a shared access link",
                r"[?&;]sig=(?P<it>[A-Za-z0-9%+/]{43,120}={0,1})",
            ),
        ),
    ),
    _Group(
        gate("[0-9]Q~[A-Za-z0-9_~.-]{31}"),
        (
            _secret(
                "CLIENT_SECRET",
                "a client secret of Entra ID",
                r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~-])",
            ),
        ),
    ),
    _Group(
        gate(rf"(?:api_key|api-key|apikey|API_KEY|Api-Key|apiKey|ubscription-Key){_IS_GATE}[0-9a-f]{{32}}"),
        (
            _secret(
                "AZURE_KEY",
                "an Azure key",
                r"(?:api_key|api-key|apikey|API_KEY|Api-Key|apiKey|ubscription-Key)"
                rf"{_IS}(?P<it>[0-9a-f]{{32}})(?![0-9a-fA-F])",
            ),
        ),
    ),
    _Group(
        gate(rf"(?:ccess_key|ccessKey|ACCESS_KEY){_IS_GATE}[A-Za-z0-9/+]{{40}}|assword=|ASSWORD=|PWD=|Pwd=|pwd="),
        (
            _secret(
                "AWS_SECRET",
                "an AWS secret access key",
                r"(?:[sS]ecret_?[aA]ccess_?[kK]ey|SECRET_ACCESS_KEY)"
                rf"{_IS}(?P<it>[A-Za-z0-9/+]{{40}})(?![A-Za-z0-9/+=])",
            ),
            _secret(
                "PASSWORD",
                "a password in a connection string",
                r"(?i:(?:server|data source|host|user id|uid)=[^;\n]{1,200};(?:[^;\n]{1,200};){0,8}?\s?"
                r"(?:password|pwd)=)"
                r"(?P<it>[^;\s\"']{4,128})",
                _is_password,
            ),
        ),
    ),
    _Group(
        gate(r"://[^/\s:@]{1,64}:[^/\s:@]{3,128}@"),
        (
            _secret(
                "PASSWORD",
                "a password in an address",
                r"[a-z]://[^/\s:@\"'<>]{1,64}:(?P<it>[^/\s:@\"'<>]{3,128})@[A-Za-z0-9\[]",
                _is_password,
            ),
        ),
    ),
    _Group(
        gate(r"[A-Za-z0-9_+%-]@[A-Za-z0-9-]+\.[A-Za-z]"),
        (
            _Sort(
                "pii-email",
                "EMAIL",
                "an e-mail address",
                re.compile(
                    r"(?<![A-Za-z0-9._%+/@-])[A-Za-z0-9_](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_+-])?"
                    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9@-])"
                ),
                _is_email,
                shown_characters=1,
            ),
        ),
        in_a_line=re.compile("@"),
    ),
    _Group(
        gate(_NINE_DIGITS),
        (
            _Sort(
                "pii-card",
                "CARD",
                "a payment card number",
                re.compile(
                    _NOT_BEFORE + r"(?P<it>\d{4}([ -])\d{4}\2\d{4}\2\d{4}(?:\2\d{3})?"
                    r"|\d{4}([ -])\d{6}\3\d{4,5}|\d{14,19})" + _NOT_AFTER
                ),
                _is_card,
                may_match=searching(r"\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}|\d{4}[ -]\d{6}[ -]\d{4}|\d{14}"),
            ),
            _Sort(
                "pii-iban",
                "IBAN",
                "a bank account number (IBAN)",
                re.compile(
                    r"\b(?:"
                    + "|".join(
                        rf"(?:{'|'.join(countries)})\d\d(?: ?[A-Z0-9]){{{length - 4}}}"
                        for length, countries in _IBAN_LENGTHS.items()
                    )
                    + r")\b"
                ),
                lambda match: is_iban(match.group()),
                may_match=searching(r"[A-Z]{2}\d\d(?: ?[A-Z0-9]){11}"),
            ),
            _Sort(
                "pii-my-number",
                "MY_NUMBER",
                "a Japanese individual number (マイナンバー)",
                re.compile(_NOT_BEFORE_DIGITS + r"(?P<it>\d{4}([ -]?)\d{4}\2\d{4})" + _NOT_AFTER_DIGITS),
                _is_my_number,
                shown_characters=0,
                may_match=searching(r"\d{4}[ -]?\d{4}[ -]?\d{4}"),
            ),
            _Sort(
                "pii-ssn",
                "SSN",
                "a US social security number",
                re.compile(_NOT_BEFORE + r"(?P<it>(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4})" + _NOT_AFTER),
                shown_characters=0,
                may_match=searching(r"\d{3}-\d{2}-\d{4}"),
            ),
            _phone(
                r"(?<![\w+.)\]])(?P<it>\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4})"
                r"(?![\w%]|[.,]\d)",
                _is_foreign_phone,
                may_match=searching(r"\+[1-9]"),
            ),
            _phone(
                rf"{_NOT_BEFORE_DIGITS}(?P<it>(?:\(0\d{{1,4}}\)[ {_DASH}]?|（0\d{{1,4}}）|0\d{{1,4}}[{_DASH}(（])"
                rf"\d{{1,4}}[{_DASH})）]\d{{4}}"
                rf"|0[5-9]0 \d{{4}} \d{{4}}|0[5-9]0\d{{8}}|0\d{{9}}){_NOT_AFTER_DIGITS}",
                _is_japanese_phone,
                may_match=searching(rf"[{_DASH})）]\d{{4}}|0[5-9]0 \d{{4}} |0\d{{9}}"),
            ),
            _phone(
                _NOT_BEFORE
                + r"(?P<it>(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-.])[2-9]\d{2}[-.]\d{4})"
                + _NOT_AFTER,
                may_match=searching(r"[2-9]\d{2}[-.]\d{4}"),
            ),
            _phone(
                _NOT_BEFORE_DIGITS + r"(?P<it>\(?\d{2,5}\)?[ -]?\d{2,4}[ -]?\d{3,4})" + _NOT_AFTER_DIGITS,
                _is_called,
                may_match=searching(
                    r"電話|携帯|連絡先|[TＴ][EＥ][LＬ]"
                    r"|\b(?:[Tt]el|[Tt]elephone|[Pp]hone|[Mm]obile|[Cc]ell|[Ff]ax|FAX|[Cc]all|[Tt]ext)\b"
                ),
            ),
        ),
        in_a_line=_IN_A_LINE_OF_DIGITS,
    ),
    _Group(
        gate(r"\.(?:0|1|2|3|4|5|6|7|8|9)[0-9]{0,2}\.[0-9]{1,3}\.[0-9]"),
        (
            _Sort(
                "pii-ip-address",
                "IP_ADDRESS",
                "an IP address",
                re.compile(r"(?<![\w.-])(?P<it>(?:\d{1,3}\.){3}\d{1,3})(?![\w-]|\.\d)"),
                _is_address,
            ),
        ),
        in_a_line=re.compile(r"\.\d{1,3}\.\d"),
    ),
    _Group(
        gate(r"[23][0-9a-fA-F]{3}:[0-9a-fA-F]{1,4}:[0-9a-fA-F:]"),
        (
            _Sort(
                "pii-ip-address",
                "IP_ADDRESS",
                "an IP address",
                re.compile(r"(?<![\w:.])(?P<it>[23][0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w:])"),
                _is_address,
            ),
        ),
    ),
)
"""Surer ones first: of two that overlap, the earlier is taken."""

CODES: Final = tuple(dict.fromkeys(sort.code for group in _GROUPS for sort in group.sorts))
"""The findings that can be redacted."""
KINDS: Final = tuple(dict.fromkeys(sort.kind for group in _GROUPS for sort in group.sorts))
"""The names of the marks."""

_WIDE: Final = str.maketrans("０１２３４５６７８９＋＠", "0123456789+@")
WIDE: Final = gate("[０-９]")
"""Digits as wide as kanji."""
_LONE: Final = re.compile("[\ud800-\udfff]")
GATES: Final[tuple[Gate, ...]] = tuple([group.gate for group in _GROUPS])
"""Where none of these is true, nor `WIDE`, nothing is found. Quick."""
NINE_DIGITS: Final = next(group.gate for group in _GROUPS if group.in_a_line is _IN_A_LINE_OF_DIGITS)
"""The one of them that takes longest; it is never true where `digit_places` has none."""
_DIGITS_TOGETHER: Final = 9
_DIGITS_APART_MAX: Final = 1 + 2 * 3
"""Bytes from one of nine digits to the next: at most two characters stand between them."""


def digit_places(utf8: bytes) -> NDArray[np.intp]:
    """Where in a long text, counted in bytes, nine digits may stand together: the place of the last of them."""
    codes = np.frombuffer(utf8, dtype=np.uint8)
    places = np.flatnonzero((codes - np.uint8(ord("0"))) < np.uint8(10))
    first, last = places[: 1 - _DIGITS_TOGETHER], places[_DIGITS_TOGETHER - 1 :]
    return last[last - first <= (_DIGITS_TOGETHER - 1) * _DIGITS_APART_MAX]


def find(text: str) -> Sequence[Hit]:
    """What looks private in `text`, in order and without overlaps."""
    if not text.isascii() and _LONE.search(text):  # of bytes that are no text; places stay, here and below
        text = _LONE.sub("\ufffd", text)
    if WIDE.may_hold(text):
        text = text.translate(_WIDE)
    hits: list[Hit] = []
    for group in _GROUPS:
        if group.gate.may_hold(text):
            within, together = [(0, len(text))], text
            if group.in_a_line is not None:
                within = list(_lines_of(group.in_a_line, text))
                together = "\n".join([text[first:stop] for first, stop in within])
            sorts = [sort for sort in group.sorts if sort.may_match(together)]
            for first, stop in within:
                for sort in sorts:
                    if sort.may_match(text[first:stop]):
                        hits += [hit for hit in _of_sort(sort, text, first, stop) if not _overlaps(hit, hits)]
    return sorted(hits, key=attrgetter("start"))


def _lines_of(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Where the lines begin and end that it stands in."""
    stop = -1
    while match := pattern.search(text, stop + 1):
        first = text.rfind("\n", 0, match.start()) + 1
        stop = text.find("\n", match.end())
        if stop < 0:
            stop = len(text)
        yield first, stop


def _of_sort(sort: _Sort, text: str, first: int, stop: int) -> Iterator[Hit]:
    group = "it" if "it" in sort.pattern.groupindex else 0
    for match in sort.pattern.finditer(text, first, stop):
        if sort.is_sound(match):
            start, end = match.span(group)
            beginning = text[start : start + sort.shown_characters]
            yield Hit(sort.code, sort.kind, start, end, f"{sort.words} {beginning}…" if beginning else sort.words)


def _overlaps(hit: Hit, others: Sequence[Hit]) -> bool:
    return any(hit.start < other.end and other.start < hit.end for other in others)


# -- redaction -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Located:
    """A hit, and the text of the row that it stands in."""

    pointer: str
    """RFC 6901; for a text inside a JSON text, that of the outer one."""
    hit: Hit


class Redactor:
    """Puts marks such as [EMAIL_1] in the place of what is private; the same value gets the same mark every time.

    One for all rows of a new version, in their order. It remembers 24 bytes for each different value.
    """

    def __init__(self, codes: AbstractSet[str] = frozenset(CODES)) -> None:
        """Args:
        codes: which findings are redacted.
        """
        self._codes = codes
        self._known: dict[bytes, int] = {}
        self._counts: Counter[str] = Counter()

    def redact(self, row: dict[str, Any]) -> tuple[dict[str, Any], Sequence[Located]]:
        """The row with marks, and what they stand for; the very same row where nothing was found.

        Keys, order and JSON texts inside texts (such as the arguments of a call) keep their structure; a number
        inside one becomes a text. Images given as data stay as they are.
        """
        found: list[Located] = []
        redacted: dict[str, Any] = self._value(row, "", found)
        return (redacted, found) if found else (row, ())

    def redact_text(self, text: str) -> str:
        """One text with marks."""
        marked: str = self._text(text, "", [])
        return marked

    def _value(self, value: Any, pointer: str, found: list[Located]) -> Any:
        if isinstance(value, str):
            return self._text(value, pointer, found)
        if isinstance(value, dict):
            return {
                self._text(key, pointer, found): self._value(item, f"{pointer}/{escaped(key)}", found)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._value(item, f"{pointer}/{index}", found) for index, item in enumerate(value)]
        return value

    def _text(self, text: str, pointer: str, found: list[Located]) -> str:
        if text.startswith("data:"):
            return text
        if text[:1] in {"{", "["}:
            return self._json_text(text, pointer, found)
        return self._marked(text, pointer, found)

    def _json_text(self, text: str, pointer: str, found: list[Located]) -> str:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return self._marked(text, pointer, found)
        before = len(found)
        try:
            redacted = self._inside(value, pointer, found)
        except RecursionError:
            del found[before:]
            return self._marked(text, pointer, found)
        if len(found) == before:
            return text
        separators = (", ", ": ") if '": ' in text else (",", ":")
        return json.dumps(redacted, ensure_ascii=False, separators=separators)

    def _inside(self, value: Any, pointer: str, found: list[Located]) -> Any:
        """The same for a value of a JSON text, where a number may be private, too."""
        if isinstance(value, dict):
            return {
                self._marked(key, pointer, found): self._inside(item, pointer, found) for key, item in value.items()
            }
        if isinstance(value, list):
            return [self._inside(item, pointer, found) for item in value]
        if isinstance(value, str):
            return self._text(value, pointer, found)
        if type(value) is int:
            marked = self._marked(str(value), pointer, found)
            return value if marked == str(value) else marked
        return value

    def _marked(self, text: str, pointer: str, found: list[Located]) -> str:
        pieces, end = [], 0
        for hit in find(text):
            if hit.code in self._codes:
                pieces += [text[end : hit.start], self._mark(hit.kind, text[hit.start : hit.end])]
                end = hit.end
                found.append(Located(pointer, hit))
        return "".join([*pieces, text[end:]]) if pieces else text

    def _mark(self, kind: str, value: str) -> str:
        digits = "".join(character for character in value if character.isalnum()).lower()
        key = xxhash.xxh3_128_digest(f"{kind} {digits if kind in _SPELT_FREELY else value.lower()}".encode())
        number = self._known.get(key)
        if number is None:
            self._counts[kind] += 1
            number = self._known[key] = self._counts[kind]
        return f"[{kind}_{number}]"


_SPELT_FREELY: Final = frozenset({"CARD", "IBAN", "MY_NUMBER", "SSN", "PHONE"})
"""With and without blanks and hyphens, it is the same value."""
