"""Finds in texts what spoils a training though Azure takes it: garbled characters, texts that were never finished
or filled in, refusals, private data, and words that Azure's own screening may object to.

Must not know a file or other rows. Every rule has a quick test for many texts at once and a sure one for each text
that is left; a finding is a reason to look, so a rule that is often wrong is no rule.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.datasets.engine import private
from app.datasets.engine.json_rows import escaped
from app.datasets.engine.scanning import Gate, Scan, gate, searching

Oddity = tuple[str, str]
"""Code of the finding, and what exactly."""
Rule = Callable[[str], Iterator[Oddity]]

_TOOLS: Final = frozenset({"tools", "functions"})
"""What is declared there are examples of values, not data about somebody."""

_DATA: Final = "data:"
"""Begins an image or the like, in which nothing is looked for."""

# -- garbled texts -------------------------------------------------------------------------------------------

_CP1252: Final = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
"""Where Windows-1252 has letters, ISO 8859-1 has control characters: bytes 80 to 9F."""
_FOREIGN: Final = re.compile(f"[\u0080-\u00ff{_CP1252}]{{2,}}")
_SJIS_AS_UTF8: Final = re.compile("[縺繧繝]")
_GARBLED: Final = (
    re.compile("(?:[‚ƒ][\u0021-\u00ff" + _CP1252 + "]){4}"),
    re.compile("(?:[､･][ｱ-ﾟ]){3}"),  # EUC-JP read as Shift_JIS
    re.compile("(?:[¤¥][\u00a1-\u00fe]){4}"),  # EUC-JP read as ISO 8859-1
    re.compile("锟斤拷"),  # replacement characters read as GBK
    re.compile("[\u0080-\u0084\u0086-\u009f]{1,20}"),  # Windows-1252 or Shift_JIS read as ISO 8859-1
)
_GARBLED_MIN: Final = 3
"""Kanji that stand for a byte of kana; one alone may be meant."""


def mended(text: str) -> str:
    """`text` with its UTF-8 bytes put together again that were read as Windows-1252 or ISO 8859-1, even twice.

    Only runs of characters that are UTF-8 to the last byte are changed.
    """
    for _ in range(3):
        again = _FOREIGN.sub(_mended_run, text)
        if again == text:
            break
        text = again
    return text


def _mended_run(run: re.Match[str]) -> str:
    text = run.group()
    try:
        raw = b"".join([_byte(character) for character in text])
        read = raw.decode()
    except UnicodeError:
        return text
    return read if _was_garbled(run, read) else text


def _byte(character: str) -> bytes:
    return bytes([ord(character)]) if ord(character) < 0x100 else character.encode("cp1252")


def _was_garbled(run: re.Match[str], read: str) -> bool:
    """Not by chance: a quotation mark after a capital, or a square behind an Å, can make one character, too."""
    if len(read) > 1:
        return True
    first = run.group()[0]
    before, after = run.string[run.start() - 1 : run.start()], run.string[run.end() : run.end() + 1]
    return first in "ÂÃâ" and (after.islower() or not before.isupper())


def _mojibake(text: str) -> Iterator[Oddity]:
    for run in _FOREIGN.finditer(text):
        if (read := _mended_run(run)) != run.group():
            yield "mojibake", f"{run.group()[:20]} was {read[:20]}"
            return
    if len(_SJIS_AS_UTF8.findall(text)) >= _GARBLED_MIN:
        yield "mojibake", f"{_around(text, _SJIS_AS_UTF8)} is UTF-8 read as Shift_JIS"
        return
    for pattern in _GARBLED:
        if pattern.search(text):
            yield "mojibake", repr(_around(text, pattern))[1:-1]
            return


def _replacement(text: str) -> Iterator[Oddity]:
    if "\ufffd" in text:
        yield "replacement-char", f"{text.count(chr(0xFFFD))} of them"


def _around(text: str, pattern: re.Pattern[str]) -> str:
    match = pattern.search(text)
    start = match.start() if match else 0
    return text[start : start + 20]


# -- texts that were never filled in -------------------------------------------------------------------------

_FIELDS: Final = (
    "name|first_?name|last_?name|full_?name|user|user_?name|customer|customer_?name|company|company_?name|product"
    "|product_?name|question|answer|context|query|topic|language|email|phone|address|city|country|date|order_?id"
    "|order_?number|title|instruction|document|text|input|output|user_?input|user_?query|user_?question"
)
_UNFILLED: Final = re.compile(
    rf"(?<![${{\\\w])\{{(?:{_FIELDS})\}}(?!\}})"
    r"|<(?:INSERT|ENTER|YOUR|FILL)[ _-][A-Z_ -]{2,40}>|\[(?:INSERT|ENTER|FILL)[ _-][^\]\n]{2,40}\]"
)
_CODE: Final = re.compile(
    r"```|</|/>|=>|->|::|\$\{|;\s*$|\bdef \w|\bimport \w|\bprintf?\(|\.format\(|\bf[\"']|\breturn\b|[=(]\s*[\"']"
    r"|\bconst \w|\\[a-z]+\b|\bSELECT\b|\bstrftime\b|\{\w+\}/|/\{\w+\}|[\w)]\[|== ",
    re.MULTILINE,
)
"""Texts with this talk about programs, where such names are meant."""
_NOT_WRITTEN: Final = re.compile(r"\s*(?:TODO|TBD|FIXME|PLACEHOLDER|[Ll]orem ipsum[\w ,.]{0,40})[.:!]?\s*")
_NOT_WRITTEN_MAX: Final = 60
"""Characters of an answer that may be such a word alone."""


def _unfilled(text: str) -> Iterator[Oddity]:
    match = _UNFILLED.search(text)
    if match and not _CODE.search(text):
        yield "template-placeholder", match.group()


def _not_written(answer: str) -> Iterator[Oddity]:
    if _NOT_WRITTEN.fullmatch(answer):
        yield "template-placeholder", f"the answer is {answer.strip()}"


# -- answers -------------------------------------------------------------------------------------------------

_REFUSAL: Final = re.compile(
    r"as an? (?:ai|artificial intelligence|large)(?: \w+){0,2}(?: model| assistant)?,? "
    r"i(?: do not| don|'m| am|’m| can(?:not|'t|’t))"
    r"|i(?: am|['’]m) (?:sorry|afraid)[,.]? (?:but )?"
    r"i(?: can(?:not|'t|’t)| am (?:not able|unable)|['’]m (?:not able|unable))"
    r"|i (?:can(?:not|'t|’t)|am unable to|am not able to) (?:assist|help|comply|fulfill|answer|provide)"
    r"|i (?:must|have to) (?:decline|refuse)"
    r"|(?:申し訳(?:ありません|ございません)|すみません|恐れ入ります)が?[、。]?"
    r".{0,40}(?:お答え|回答|お手伝い|対応|提供)(?:は|を|に)?(?:いた)?(?:できません|しかねます|できかねます)"
    r"|(?:私は)?(?:AI|人工知能|大?規模?言語モデル)(?:アシスタント)?(?:なので|ですので|であるため|として)",
    re.IGNORECASE,
)
REFUSAL_CHARACTERS: Final = 120
"""A refusal says so at once."""


def _refusal(answer: str) -> Iterator[Oddity]:
    if match := _REFUSAL.search(answer[:REFUSAL_CHARACTERS]):
        yield "refusal-answer", match.group()[:60]


_FENCE: Final = re.compile(r"^[ \t]*(?:>[ \t]?)*```", re.MULTILINE)
_CUT_MIN: Final = 80
_CUT_LINE_MIN: Final = 40
"""Characters of an answer, and of its last line, from which on it should end in a sentence: greetings are short."""
_CUT: Final = re.compile(
    r"[a-z,] (?:the|an|of|and|or|their|its|your|our|which|because|than|if)\Z|[a-z],\Z"
    r"|[ぁ-ん一-龠]、\Z|[ぁ-んァ-ヶ一-龠]を\Z"
)


def _cut(answer: str) -> Iterator[Oddity]:
    end = answer.rstrip()
    last_line = end[end.rfind("\n") + 1 :]
    if "```" in end and len(_FENCE.findall(end)) % 2:
        yield "truncated-answer", "a block of code is opened and never closed"
    elif len(end) >= _CUT_MIN and len(last_line) >= _CUT_LINE_MIN and _CUT.search(end):
        yield "truncated-answer", f"it ends in … {end[-20:]}"


# -- what Azure's screening may object to --------------------------------------------------------------------

HARM_WORDS: Final = {
    "hate_fairness": (
        r"[Hh]eil [Hh]itler|[Ss]ieg [Hh]eil|gas the [Jj]ews"
        r"|\b(?:kill|exterminate|deport) all (?:the )?"
        r"(?:[Jj]ews|[Mm]uslims|[Cc]hristians|blacks|whites|gays|immigrants)\b"
        r"|\bsubhumans\b|\bnigg(?:er|a)s?\b|\bfaggots?\b|在日は死|朝鮮人は(?:帰れ|死ね)"
    ),
    "self_harm": (
        r"\b(?:kill|cut|cutting|hang|hanging|killing) myself\b|\bcommit suicide\b|自殺(?:したい|の?方法|する方法)"
        r"|リストカットし|首を吊り"
    ),
    "sexual": r"\b(?:child|hardcore|incest) porn|\bblow ?jobs?\b|\bcumshots?\b|児童ポルノ|フェラチオ",
    "violence": (
        r"\b(?:make|build) a (?:pipe ?)?bomb\b|(?:['’]|\bwi)ll (?:kill|murder) you\b"
        r"|\bbehead(?:ing)? (?:him|her|them)\b"
        r"|\bhow to (?:kill|poison|murder) (?:someone|somebody|a person|my)\b|爆弾の作り方|殺してやる|ぶっ殺す"
    ),
}
"""Category of Azure's screening -> what such texts often say. A few plain phrases, put together on 2026-11-21; they
are no classifier: most of what Azure refuses says none of them, and a text that says one may be quite proper.

Source of the categories: Azure OpenAI, safety evaluation of fine-tuning, "harm types", 2026.
"""
_HARM: Final = re.compile("|".join(f"(?P<{kind}>{words})" for kind, words in HARM_WORDS.items()))


_may_harm: Final = searching(_HARM.pattern.replace(r"\b", ""))


def _harm(text: str) -> Iterator[Oddity]:
    if _may_harm(text) and (match := _HARM.search(text)):
        yield "content-safety", f"{match.lastgroup}: {match.group()[:40]}"


# -- private data --------------------------------------------------------------------------------------------


def _private(text: str) -> Iterator[Oddity]:
    told = set()
    for hit in private.find(text):
        if hit.code not in told:
            told.add(hit.code)
            yield hit.code, hit.shown


# -- all together --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Check:
    gate: Gate
    """Never False where the rule finds something."""
    rule: Rule
    of_answers: bool = False
    """Asked of answers alone."""
    beyond_ascii: bool = False
    """Finds nothing in a text in ASCII."""


_CHECKS: Final = (
    *[_Check(one, _private) for one in private.GATES],
    _Check(private.WIDE, _private, beyond_ascii=True),
    _Check(gate("Ã|Â|â€|ã|Ð|Ñ|Ø|Ù"), _mojibake, beyond_ascii=True),
    _Check(gate("縺|繧|繝|锟"), _mojibake, beyond_ascii=True),
    _Check(gate("‚|ƒ|､|･|¤|¥"), _mojibake, beyond_ascii=True),
    _Check(gate("[\u0080\u0081\u0082\u0083\u0091\u0092\u0093\u0094\u0096]"), _mojibake, beyond_ascii=True),
    _Check(gate("\ufffd"), _replacement, beyond_ascii=True),
    _Check(gate(rf"\{{(?:{_FIELDS})\}}|<INSERT|\[INSERT|<YOUR|<ENTER|\[ENTER|\[FILL"), _unfilled),
    _Check(
        gate("myself|suicide|自殺|リストカット|首を吊|児童ポルノ|フェラチオ|爆弾の作り方|殺してやる|ぶっ殺す"),
        _harm,
    ),
    _Check(
        gate(
            "eil Hitler|eil hitler|eg [Hh]eil|gas the|(?:kill|minate|port) all |subhumans|nigg|faggot"
            "|在日は死|朝鮮人は"
        ),
        _harm,
    ),
    _Check(
        gate(" porn|blow ?job|cumshot|bomb|ll kill you|ll murder you|how to (?:kill|poison|murder) |behead"),
        _harm,
    ),
    _Check(gate("```"), _cut, of_answers=True),
    _Check(
        gate(
            "[Aa]s (?:an AI|an ai|a large|an artificial)"
            "|I (?:can't|can’t|cannot|am unable|am not able|must|have to)"
            "|I['’]m (?:unable|not able)|かねます|できません|言語モデル|人工知能|AI(?:アシ|なの|です|であ|とし)"
        ),
        _refusal,
        of_answers=True,
    ),
)
BETWEEN: Final = "\x1e"
"""Stands between texts that are looked at together; no rule finds anything across it."""
_TAIL_CHARACTERS: Final = 16
_TOGETHER: Final = 16
"""Texts tested together in search of one: few enough to stay in the processor's cache from test to test. A test
costs half a microsecond, whatever it is of, and then little a kilobyte."""
_OF_DIGITS: Final = next(check for check in _CHECKS if check.gate is private.NINE_DIGITS)
_OF_BLOCKS: Final = tuple([check for check in _CHECKS if check is not _OF_DIGITS])
_OF_NARROW_BLOCKS: Final = tuple([check for check in _OF_BLOCKS if not check.beyond_ascii])
_scan_all: Final = Scan([check.gate.pattern for check in _OF_BLOCKS])
_ENDS: Final = frozenset(".!?。！？`)」』")
"""An answer that ends in one of these does not end in the middle."""
_LAST_OF_ENDS: Final = np.array([ord(end) for end in sorted(_ENDS) if end.isascii()], dtype=np.uint8)
"""A last byte that tells it at once."""
_ends_in_the_middle: Final = searching(
    r"(?: (?:the|an|of|and|or|their|its|your|our|which|because|than|if)|[a-zぁ-ん一-龠][,、]|を)\s*"
    rf"(?:{BETWEEN}|\z)"
)


def odd_messages(
    joined: bytes, ends: NDArray[np.intp], texts: Sequence[str], answers: Sequence[int]
) -> dict[int, list[Oddity]]:
    """What is odd in which of many texts, as `oddities` tells it of a row of them. Quick where little is.

    Args:
        joined: all of `texts` in UTF-8.
        ends: where in it each text ends.
        answers: which of them are answers.
    """
    asked: dict[int, list[Rule]] = defaultdict(list)
    digits = np.searchsorted(private.digit_places(joined), ends)
    for at in np.flatnonzero(np.diff(digits, prepend=0)).tolist():
        if _OF_DIGITS.gate.may_hold(texts[at]):
            asked[at].append(_OF_DIGITS.rule)
    for at, rule in _in_all(joined, ends, texts, frozenset(answers)):
        asked[at].append(rule)
    last = np.frombuffer(joined, dtype=np.uint8)[ends[list(answers)] - 1]
    maybe = np.array(answers, dtype=np.intp)[~np.isin(last, _LAST_OF_ENDS)].tolist()
    cut = [at for at in maybe if texts[at][-1:] not in _ENDS]
    if _ends_in_the_middle(BETWEEN.join([texts[at][-_TAIL_CHARACTERS:] for at in cut])):
        for at in cut:
            if _ends_in_the_middle(texts[at][-_TAIL_CHARACTERS:]):
                asked[at].append(_cut)
    for at in cut:
        if len(texts[at]) <= _NOT_WRITTEN_MAX:
            asked[at].append(_not_written)
    found = {at: list(_of_text(texts[at], rules)) for at, rules in asked.items()}
    return {at: oddities for at, oddities in found.items() if oddities}


def _in_all(
    joined: bytes, ends: NDArray[np.intp], texts: Sequence[str], answers: frozenset[int]
) -> Iterator[tuple[int, Rule]]:
    """Which of the texts has to be asked what: in one pass over all, or else a few texts at a time."""
    every = range(len(texts))
    found = _scan_all(joined, ends)
    if found is not None:
        for check, some in zip(_OF_BLOCKS, found, strict=True):
            for at in some:
                if (at in answers or not check.of_answers) and check.gate.may_hold(texts[at]):
                    yield at, check.rule
    elif joined.isascii():
        yield from _in_blocks(texts, every, answers, _OF_NARROW_BLOCKS)
    else:  # one wide character makes all of a text wide, which is turned into UTF-8 before it is searched
        narrow = list(compress(every, map(str.isascii, texts)))
        yield from _in_blocks(texts, narrow, answers, _OF_NARROW_BLOCKS)
        yield from _in_blocks(texts, sorted(set(every).difference(narrow)), answers, _OF_BLOCKS)


def _in_blocks(
    texts: Sequence[str], part: Sequence[int], answers: frozenset[int], checks: Sequence[_Check]
) -> Iterator[tuple[int, Rule]]:
    """Which of that part of the texts has to be asked what."""
    for first in range(0, len(part), _TOGETHER):
        block = part[first : first + _TOGETHER]
        together = BETWEEN.join([texts[at] for at in block])
        for check in [check for check in checks if check.gate.may_hold(together)]:
            for at in answers.intersection(block) if check.of_answers else block:
                if check.gate.may_hold(texts[at]):
                    yield at, check.rule


def _of_text(text: str, rules: Iterable[Rule]) -> Iterator[Oddity]:
    """What these rules find in it, each code once."""
    if text.startswith(_DATA):
        return
    told: set[str] = set()
    for rule in dict.fromkeys(rules):
        for code, detail in rule(text):
            if code not in told:
                told.add(code)
                yield code, detail


def oddities(row: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Each (code, detail, RFC 6901 pointer) of a row, in the order of the texts; not what it declares as tools."""
    answers = set(_answers(row))
    texts = [(pointer, text) for pointer, text in _texts(row) if not text.startswith(_DATA)]
    together = BETWEEN.join([text for _, text in texts])
    checks = [check for check in _CHECKS if check.gate.may_hold(together)]
    for pointer, text in texts:
        for code, detail in _of_text(text, _rules(text, checks, is_answer=pointer in answers)):
            yield code, detail, pointer


def _rules(text: str, checks: Sequence[_Check], *, is_answer: bool) -> list[Rule]:
    """Those that may find something; `checks` are the ones left to ask."""
    rules = [check.rule for check in checks if (is_answer or not check.of_answers) and check.gate.may_hold(text)]
    if is_answer and _ends_in_the_middle(text[-_TAIL_CHARACTERS:]):
        rules.append(_cut)
    if is_answer and len(text) <= _NOT_WRITTEN_MAX and text[-1:] not in _ENDS:
        rules.append(_not_written)
    return rules


def _texts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in row.items():
        if key == "input" and isinstance(value, dict):
            for inner, item in value.items():
                if inner not in _TOOLS:
                    yield from _strings(item, f"/input/{escaped(inner)}")
        elif key not in _TOOLS:
            yield from _strings(value, f"/{escaped(key)}")


def _strings(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every text in `value`, without the keys."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, f"{pointer}/{escaped(key)}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{pointer}/{index}")


def _answers(row: dict[str, Any]) -> Iterator[str]:
    """Pointers to the last answers, as texts."""
    for name in ("messages", "preferred_output"):
        messages = row.get(name)
        if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
            last = messages[-1]
            if last.get("role") == "assistant" and isinstance(last.get("content"), str):
                yield f"/{name}/{len(messages) - 1}/content"
