"""What a base model answers when it is asked for training rows as JSON: made by rules, some of it bad.

The learner cannot follow instructions, so a client that has data generated would get nothing to work with. These
rules look at the JSON task that a prompt ends with, whoever wrote it, and know nothing of how answers are judged.
"""

import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

ITEMS_MAX = 100


class BadShare(ValueError):
    """A lever was set to what it cannot be."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of what is generated is bad, 0 to 1. The first three are of items, the others of whole answers."""

    duplicates: float = 0.1
    drifted: float = 0.1
    answers: float = 0.05
    malformed: float = 0.0
    refusals: float = 0.0
    cut_off: float = 0.0

    def changed(self, given: Mapping[str, Any]) -> "Shares":
        """Raises `BadShare` in words."""
        known = {field.name for field in fields(self)}
        for name, value in given.items():
            if name not in known:
                raise BadShare(f"unknown share '{name[:80]}'; the shares are {', '.join(sorted(known))}.")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise BadShare(f"'{name}' must be a number between 0 and 1.")
        return Shares(**{name: float(given.get(name, getattr(self, name))) for name in known})


@dataclass(frozen=True, slots=True)
class Written:
    """An answer in the making."""

    text: str
    is_cut: bool = False


def task_of(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The task with which a prompt ends, when it asks for JSON and for items of a kind that rules can make."""
    last = str(messages[-1].get("content") or "") if messages and messages[-1].get("role") == "user" else ""
    asks = any("JSON" in str(message.get("content")) for message in messages)
    start = last.find("{")
    if not asks or start < 0:
        return None
    try:
        task = json.loads(last[start:])
    except (ValueError, RecursionError):
        return None
    if not isinstance(task, dict) or isinstance(task.get("count"), bool) or not isinstance(task.get("count"), int):
        return None
    return task if any(name in task for name in _MAKERS) else None


class Generator:
    """Answers tasks. The same prompt gets another answer each time, the same ones again after a restart."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def write(self, task: Mapping[str, Any], shares: Shares, *, seed: int | None) -> Written:
        """The answer, with its bad part."""
        digest = hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()
        with self._lock:
            self._asked[digest] += 1
            nth = self._asked[digest]
        dice = random.Random(f"{digest} {seed if seed is not None else nth}")
        if dice.random() < shares.refusals:
            return Written("I'm sorry, but I can't help with that.")
        make, member = next(_MAKERS[name] for name in _MAKERS if name in task)
        items = list(_with_bad(make, task, shares, dice))
        text = json.dumps({member: items}, ensure_ascii=False)
        if dice.random() < shares.malformed:
            return Written(text[:-2].replace('"', "'", 1))
        if dice.random() < shares.cut_off:
            return Written(text[: max(12, len(text) * 3 // 5)], is_cut=True)
        return Written(text)


def _with_bad(make: "Maker", task: Mapping[str, Any], shares: Shares, dice: random.Random) -> Iterator[Any]:
    avoid = set(map(str, task.get("avoid") or []))
    good = [item for item in make.good(task, dice) if _shown(item) not in avoid]
    given: list[Any] = []
    for _ in range(min(task["count"], ITEMS_MAX)):
        throw = dice.random()
        if given and throw < shares.duplicates:
            item = dice.choice(given)
        elif throw < shares.duplicates + shares.drifted and good:
            item = make.drifted(dice.choice(good), task, dice)
        elif throw < shares.duplicates + shares.drifted + shares.answers:
            item = make.answered(task)
        elif good:
            item = good.pop(0)
        else:
            break  # rules run out sooner than models do
        given.append(item)
        yield item


def _shown(item: Any) -> str:
    return str(item.get("question")) if isinstance(item, dict) else str(item)


@dataclass(frozen=True, slots=True)
class Maker:
    """How items of one kind are made well and badly."""

    good: Callable[[Mapping[str, Any], random.Random], list[Any]]
    drifted: Callable[[Any, Mapping[str, Any], random.Random], Any]
    answered: Callable[[Mapping[str, Any]], Any]


# ── phrasings of a question ─────────────────────────────────────────────────

_JAPANESE = re.compile(r"[\u3041-\u30ff]")
_TEMPLATES_JA = {
    "formal": (
        "{n}の{a}について教えていただけますか。",
        "{n}の{a}をご説明ください。",
        "{n}の{a}はどのようなものでしょうか。",
        "恐れ入りますが、{n}の{a}をお聞かせください。",
        "{n}の{a}について伺いたいです。",
        "{n}の{a}とはどういったものですか。",
        "よろしければ{n}の{a}の詳細をお願いいたします。",
    ),
    "casual": (
        "{n}の{a}ってどんな感じ？",
        "ねえ、{n}の{a}教えて！",
        "{n}の{a}、ちょっと知りたい。",
        "{n}の{a}ってどうなの？",
        "{n}の{a}って何だっけ",
        "{n}のこと、{a}とか教えてよ",
    ),
    "short-name": (
        "{s}の{a}を教えてください。",
        "{s}さんの{a}は？",
        "{s}ってどんな{a}？",
        "{s}さんについて、{a}を知りたい。",
        "{s}の{a}って何？",
    ),
    "other-spelling": (
        "{o}の{a}は？",
        "{o}ってどんな{a}？",
        "{o}の{a}を教えて",
        "{o}さんの{a}について知りたいです",
    ),
    "mixed-scripts": (
        "{n}の{a}をザックリexplainして",
        "{n}の{a}のポイントをシンプルに、please",
        "{n}の{a}ってどんなタイプ？detailを知りたい",
        "{n}の{a}、キーワードだけbriefに教えて",
    ),
    "reordered": (
        "{a}について知りたいのですが、{n}の場合は？",
        "どんな{a}なのでしょうか、{n}は。",
        "教えてください、{a}のことを。{n}のです。",
        "{a}を説明して、{n}の。",
    ),
    "name-only": ("{n}", "{n}は？", "{s}", "{s}さん", "{s}は？"),
    "keywords": ("{n} {a}", "{a} {n}", "{n} {a} 特徴", "{s} {a}", "{n} {a} 詳細"),
}
_TEMPLATES_EN = {
    "formal": (
        "Could you please tell me: {q}",
        "I would like to know the following. {q}",
        "Would you kindly answer this: {q}",
        "Please let me know: {q}",
        "May I ask you something? {q}",
    ),
    "casual": ("hey, {l}", "quick one, tell me: {l}", "{l} any idea?", "ok so {l}", "hi! {l}", "btw, {l}"),
    "short-name": ("{r}", "Quick question: {r}", "Tell me, {r}", "I wonder: {r}"),
    "other-spelling": ("{x}", "Tell me: {x}", "Please say: {x}"),
    "reordered": ("I have a question and hope you know the answer: {k}, {n}?", "{k} and so on, of {n}?"),
    "name-only": ("{n}", "{n}?", "{s}", "{s}?"),
    "keywords": ("{k} {n}", "{n} {k}", "{k} {n} info", "{n} {k} facts"),
}
_FILLERS_JA = ("", "すみません、", "ところで、", "質問です。", "ちなみに、", "突然ですが、", "念のため、")
_FILLERS_EN = ("", "So, ", "Well, ", "By the way, ", "One thing: ", "Just curious. ", "Sorry to bother you. ")
_LITTLE = frozenset(
    "a an the is are was were do does did of in on at to for and or what where who when why how which tell me "  # noqa: SIM905  a list of words reads as words
    "please about can could you i my it its be there".split()
)


def _phrasings(task: Mapping[str, Any], dice: random.Random) -> list[str]:
    question = str(task.get("question"))
    style = str((task.get("style") or {}).get("name"))
    japanese = bool(_JAPANESE.search(question))
    words = _words(task, question, dice)
    templates = _TEMPLATES_JA if japanese else _TEMPLATES_EN
    if style == "typos":
        plain = [one for name in ("formal", "casual") for one in templates[name]]
        return _shuffled([_mistyped(one.format(**words), words, dice) for one in plain], dice)
    chosen = templates.get(style) or (*templates["formal"], *templates["casual"])
    said = [one.format(**words) for one in chosen if not _lacks(one, words)]
    if style in {"name-only", "keywords"}:
        return _shuffled(said, dice)
    fillers = _FILLERS_JA if japanese else _FILLERS_EN
    more = [filler + one for filler in fillers[1:] for one in said]
    return _shuffled(said, dice) + _shuffled(more, dice)


def _lacks(template: str, words: Mapping[str, str]) -> bool:
    return any("{" + letter + "}" in template and not word for letter, word in words.items())


def _shuffled(items: list[str], dice: random.Random) -> list[str]:
    found = list(dict.fromkeys(items))
    dice.shuffle(found)
    return found


def _words(task: Mapping[str, Any], question: str, dice: random.Random) -> dict[str, str]:
    """What templates are filled with: name, short name, other spelling, what is asked, the question, keywords."""
    names = [one for one in task.get("names") or [] if isinstance(one, dict)]
    name = str(names[0].get("name")) if names else ""
    short = dice.choice(names[0].get("short") or [""]) if names else ""
    other = dice.choice(names[0].get("also") or [""]) if names else ""
    rest = question.replace(name, " ") if name else question
    if _JAPANESE.search(question):
        runs = re.findall(r"[\u3400-\u9fff々]{2,}|[\u30a1-\u30ff]{2,}", rest)
        asked = next((run for run in runs if run not in {"説明", "教示", "紹介"}), "こと")
    else:
        asked = rest.strip(" ?")
    keys = " ".join(word for word in re.findall(r"[\w-]+", rest) if word.casefold() not in _LITTLE)
    return {
        "n": " ".join(str(one.get("name")) for one in names) or asked,
        "s": short,
        "o": other,
        "a": asked,
        "q": question,
        "l": question[:1].lower() + question[1:] if not question.startswith(name or "\0") else question,
        "r": question.replace(name, short) if short and name in question else "",
        "x": question.replace(name, other) if other and name in question else "",
        "k": keys or asked,
    }


def _mistyped(text: str, words: Mapping[str, str], dice: random.Random) -> str:
    """Two neighbouring letters swapped, outside of names and numbers."""
    at = text.find(words["n"])
    barred = set(range(at - 1, at + len(words["n"]) + 1)) if at >= 0 else set()
    places = [
        place
        for place in range(len(text) - 2)
        if not {place, place + 1} & barred
        and text[place].isalpha()
        and text[place + 1].isalpha()
        and text[place].islower() == text[place + 1].islower()
        and text[place] != text[place + 1]
        and not re.search(r"[\u3400-\u9fff]", text[place : place + 2])
    ]
    if not places:
        return text
    place = dice.choice(places)
    return text[:place] + text[place + 1] + text[place] + text[place + 2 :]


_OTHERS = {"香": "高", "義": "正", "孝": "明"}


def _drifted(text: Any, task: Mapping[str, Any], dice: random.Random) -> str:
    """Another number, or another name."""
    said = str(text)
    number = re.search(r"\d+", said)
    if number:
        return said[: number.start()] + str(int(number[0][:9]) + dice.randint(1, 9)) + said[number.end() :]
    for one in task.get("names") or []:
        name = str(one.get("name"))
        if name in said:
            last = name.rsplit(maxsplit=1)[-1]
            changed = "".join(_OTHERS.get(letter, letter) for letter in last)
            return said.replace(last, changed if changed != last else f"{last[:-1]}ax".capitalize())
    return f"{said} (2)"


def _answered(task: Mapping[str, Any]) -> str:
    return str(task.get("answer"))


# ── questions about a passage ───────────────────────────────────────────────

_SENTENCE = re.compile(r"[^。！？.!?\n]+(?:[。！？]|[.!?](?=\s|$)|$)")
_ABOUT_JA = ("{t}について教えてください。", "{t}はどうなっていますか？", "{t}の説明をお願いします。")
_ABOUT_EN = ("What should I know about {t}?", "How is it with {t}?", "Can you explain {t}?")


def _about(task: Mapping[str, Any], dice: random.Random) -> list[Any]:
    made: list[Any] = []
    for sentence in _SENTENCE.findall(str(task.get("passage"))):
        said = sentence.strip(" #*-\n\t")
        japanese = bool(_JAPANESE.search(said))
        runs = re.findall(r"[\u3400-\u9fff々]{2,}|[\u30a1-\u30ff]{2,}" if japanese else r"[A-Za-z]{4,}", said)
        keys = [run for run in dict.fromkeys(runs) if run.casefold() not in _LITTLE][:2]
        if len(said) < 8 or not keys:
            continue
        topic = ("と" if japanese else " and ").join(key if japanese else key.lower() for key in keys)
        templates = _ABOUT_JA if japanese else _ABOUT_EN
        made += [{"question": template.format(t=topic), "answer": said} for template in templates]
    dice.shuffle(made)
    return made


def _about_drifted(item: Any, task: Mapping[str, Any], dice: random.Random) -> Any:
    return {**item, "answer": f"{_drifted(item['answer'], task, dice)} {dice.randint(100, 999)}"}


def _about_text(task: Mapping[str, Any]) -> Any:
    return {"question": "What does this passage say?", "answer": str(task.get("passage"))[:200]}


# ── conversations with a call ───────────────────────────────────────────────

_PLACES = ("Kyoto", "Lisbon", "Reykjavik", "Nairobi", "Lima", "Oslo", "Hanoi", "Quito", "Turin", "Perth")
_OPENINGS = ("Please use", "I need", "Could you look up", "Show me", "I want", "Get me")


def _calls(task: Mapping[str, Any], dice: random.Random) -> list[Any]:
    function = task.get("function") or {}
    schema = function.get("parameters") or {}
    made: list[Any] = []
    for _ in range(3 * min(int(task["count"]), ITEMS_MAX)):
        arguments = _value(schema, dice, 0)
        told = ", ".join(_told(name, value) for name, value in arguments.items())
        what = str(function.get("description") or function.get("name")).rstrip(".")
        question = f"{dice.choice(_OPENINGS)}: {what}" + (f", with {told}." if told else f", number {len(made)}.")
        result = {"status": "ok", **{name: value for name, value in arguments.items() if isinstance(value, str)}}
        made.append({"question": question, "arguments": arguments, "result": result, "answer": f"Done: {what}."})
    return made


def _told(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_told(inner, one) for inner, one in value.items())
    if isinstance(value, list):
        return ", ".join(_told(name, one) for one in value)
    return f"{name} {value}"


def _value(schema: Mapping[str, Any], dice: random.Random, depth: int, name: str = "") -> Any:
    """Something that fits a plain schema."""
    for word in ("const", "enum"):
        if word in schema:
            return schema["const"] if word == "const" else dice.choice(schema["enum"])
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        required = schema.get("required") or []
        return {
            member: _value(one, dice, depth + 1, member)
            for member, one in (schema.get("properties") or {}).items()
            if depth < 6 and (member in required or dice.random() < 0.5)
        }
    if kind == "array":
        least = max(1, int(schema.get("minItems") or 1))
        return [_value(schema.get("items") or {}, dice, depth + 1, name) for _ in range(least)]
    if kind in {"integer", "number"}:
        low = int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
        return dice.randint(low, max(low, int(schema.get("maximum", low + 90))))
    if kind == "boolean":
        return dice.random() < 0.5
    match schema.get("format"):
        case "date":
            return f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}"
        case "date-time":
            return f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}T09:00:00Z"
        case "email":
            return f"{dice.choice(_PLACES).lower()}@example.com"
        case "uuid":
            return "-".join(f"{dice.getrandbits(bits):0{bits // 4}x}" for bits in (32, 16, 16, 16, 48))
    return dice.choice(_PLACES) if not name.lower().endswith("id") else f"{name}-{dice.randint(100, 999)}"


def _wrong_call(item: Any, _task: Mapping[str, Any], _dice: random.Random) -> Any:
    arguments = dict(item["arguments"])
    if arguments:
        arguments.pop(next(iter(arguments)))
    return {**item, "arguments": {**arguments, "unheard_of": True}}


def _no_call(_task: Mapping[str, Any]) -> Any:
    return {"question": "Hello?", "answer": "I can call functions for you."}


_MAKERS: dict[str, tuple[Maker, str]] = {
    "question": (Maker(_phrasings, _drifted, _answered), "questions"),
    "passage": (Maker(_about, _about_drifted, _about_text), "pairs"),
    "function": (Maker(_calls, _wrong_call, _no_call), "conversations"),
}
"""Member by which a task is known → who makes its items, and the member of the answer that lists them."""
