"""Checks a large chat file and holds its speed against the limit: counting the tokens of the same texts alone.

    python benchmarks/bench_datasets.py [--mb 200] [--text talk|programs] [--file FILE.jsonl] [--rounds 3]

Without --file the file is built from text that is on every machine with Kitae. It is put together as people's chat
files are: a question and an answer, or up to four of each; questions short, answers longer, of very different
lengths; in four examples of five one of the system prompts of the shipped examples before them.

talk: sentences that people wrote for people: docstrings, comments and documentation of the Python library and of
the installed packages, and in a tenth of the examples the Japanese of the shipped examples. Lines of code, tables
and markup are left out. They are drawn at random, all of them once before any comes again: about 30 MB, so that in
200 MB a sentence stands several times (a Japanese one many times), each time among others; no line is there twice.
This is what chat files are like, but for the sense.
programs: whole sources as they are, each line used once. Harder for the rules than talk (placeholders, addresses
and numbers have to be looked at).

Every way runs in a process of its own, over a file that the system has just written or read; of several rounds the
quickest is shown. The limit, "tokens alone", counts texts that wait in memory, parsed: it reads and parses nothing.
On two cores it has two processes, each with half of the texts, as the check has; two threads of one process are no
quicker than one. The clock of the check runs while its second process begins, that of the limit when both wait.
The check is all of it: SHA-256, rules, private data, exact tokens, exact and near duplicates.
The cookbook does what OpenAI's notebook "Data preparation and analysis for chat model fine-tuning" does: json for
every line, a look at keys, roles and contents, tiktoken for every value and for the answers once more, quantiles.
It runs over the first tenth of the file, because it needs minutes for the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any, Final

import orjson

from app.datasets.engine import Limits, Profile, check, tokens
from app.datasets.engine.report import Tokenizer

MEGABYTE: Final = 1_000_000
QUESTION_CHARACTERS: Final = 300
ANSWER_CHARACTERS: Final = 1_200
"""Of real text in one message, at the median; a twentieth have four times as many, and a twentieth a quarter."""
SPREAD: Final = 0.85
TURNS: Final = (1, 1, 1, 1, 2, 2, 3, 4)
"""Questions in an example; each as likely as the next."""
PROMPTED: Final = 0.8
"""Share of the examples that begin with a system prompt."""
JAPANESE: Final = 0.1
"""Share of the examples."""
PARAGRAPHS: Final = 0.15
"""Share of the sentences that end one."""
SENTENCE_MIN: Final = 40
SENTENCE_MAX: Final = 1_000
PROSE: Final = 0.9
"""Share of letters and blanks in a sentence."""
TEXTS_IN_A_CALL: Final = 2_048
FILES_OPEN: Final = 50
SUFFIXES: Final = {".py", ".pyi", ".md", ".rst", ".txt"}
EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"

Way = Callable[[Path, Tokenizer], "tuple[Callable[[], dict[str, Any]], int]"]
"""Prepares; returns what is timed, and the bytes of the file that it goes through."""


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-datasets-") as folder:
        path = arguments.file or build(Path(folder, "chat.jsonl"), arguments.mb, arguments.text)
        size = path.stat().st_size
        print(
            f"{size / MEGABYTE:,.0f} MB of {arguments.file or arguments.text}, tokenizer {arguments.tokenizer}, "
            f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}, the quickest of {arguments.rounds}"
        )
        ways: dict[str, Way] = {
            f"{what}, {words}": partial(way, processes=processes)
            for processes, words in enumerate(_PROCESSES, 1)
            for what, way in (("tokens alone", _tokens), ("check", _check))
        }
        ways |= {
            "cookbook": _cookbook,
        }
        rounds = [
            {name: run(way, path, arguments.tokenizer) for name, way in ways.items()}
            for _ in range(arguments.rounds)
        ]
    got = {name: _best([one[name] for one in rounds]) for name in ways}
    _agree(got)
    _print(got)


def _best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    best = max(runs, key=lambda one: one["wall"])
    return best | {"cpu": max(one["cpu"] for one in runs), "peak": max(one["peak"] for one in runs)}


def _agree(got: dict[str, dict[str, Any]]) -> None:
    """A check that counted other tokens would not have done the same work."""
    counts = {one["text_tokens"] for name, one in got.items() if name != "cookbook"}
    if len(counts) != 1:
        raise SystemExit(f"they counted differently: {counts}")


def _print(got: dict[str, dict[str, Any]]) -> None:
    cookbook = got["cookbook"]
    ratios = {words: _against(got, f"check, {words}", f"tokens alone, {words}") for words in _PROCESSES}
    print(f"{'':26}{'MB/s':>8}{'MB/cpu s':>10}{'peak MB':>9}{'of the limit':>14}{'× cookbook':>12}")
    for name, one in got.items():
        words = next((words for words in _PROCESSES if name == f"check, {words}"), None)
        share = f"{ratios[words][0]:14.2f}" if words else f"{'':14}"
        times = "" if name == "cookbook" else f"{one['wall'] / cookbook['wall']:12.1f}"
        print(f"{name:26}{one['wall']:8.1f}{one['cpu']:10.1f}{one['peak']:9.0f}{share}{times}")
    one, two = (got[f"check, {words}"] for words in _PROCESSES)
    print(f"{one['examples']:,} examples, {one['text_tokens']:,} tokens of text; {one['verdict']}")
    print(
        f"limits: 0.80 of tokens alone on as many cores; 10 × cookbook; 200 MB a process; 2 cores {_TWICE:.1f} × 1"
    )
    print(f"{one['after']:.0%} of it comes after the last byte: search for near duplicates (limit 10%), quantiles")
    print(f"2 processes are {two['wall'] / one['wall']:.2f} × 1 (tokens alone: {_speed_up(got):.2f} ×)")
    print(
        f"by CPU time: {ratios['1 process'][1]:.2f} of tokens alone, {one['cpu'] / cookbook['cpu']:.1f} × cookbook"
    )
    print(f"ratio_to_limit={min(ratio for ratio, _ in ratios.values()):.2f}")
    print(f"times_cookbook={one['wall'] / cookbook['wall']:.1f}")


_PROCESSES: Final = ("1 process", "2 processes")
_TWICE: Final = 1.8
"""What "nearly twice as fast" is held to mean."""


def _against(got: dict[str, dict[str, Any]], ours: str, limit: str) -> tuple[float, float]:
    """Wall and CPU speed as shares of the limit's."""
    return got[ours]["wall"] / got[limit]["wall"], got[ours]["cpu"] / got[limit]["cpu"]


def _speed_up(got: dict[str, dict[str, Any]]) -> float:
    alone: float = got["tokens alone, 2 processes"]["wall"] / got["tokens alone, 1 process"]["wall"]
    return alone


def run(way: Way, path: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    """Runs one way in a process of its own, so that its peak memory is its own."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_measure, args=(there, way, path, tokenizer))
    process.start()
    there.close()
    got: dict[str, Any] = here.recv()
    process.join()
    return got


def _measure(answer: Connection, way: Way, path: Path, tokenizer: Tokenizer) -> None:
    work, size = way(path, tokenizer)
    wall, cpu = time.perf_counter(), _cpu_seconds()
    got = work()
    got["wall"] = size / MEGABYTE / got.get("seconds", time.perf_counter() - wall)
    got["cpu"] = size / MEGABYTE / got.get("cpu_seconds", _cpu_seconds() - cpu)
    got["peak"] = max(_peak_megabytes(), getrusage(RUSAGE_CHILDREN).ru_maxrss / 1024, got.get("peak", 0))
    answer.send(got)


def _cpu_seconds() -> float:
    """Of this process, and of those that it has started and that have ended."""
    children = getrusage(RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_megabytes() -> float:
    status = Path("/proc/self/status")  # getrusage would answer the peak of the parent, too
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def _tokens(path: Path, tokenizer: Tokenizer, *, processes: int) -> tuple[Callable[[], dict[str, Any]], int]:
    """The limit: nothing but counting, of texts that are all in memory before the clock starts."""
    size = path.stat().st_size
    if processes == 1:
        return partial(_counted, *_counting(path, tokenizer, share=0, shares=1)), size
    context = get_context("spawn")
    connections = []
    for share in range(processes):
        here, there = context.Pipe()
        arguments = (there, path, tokenizer, share, processes)
        context.Process(target=_count_share, args=arguments, daemon=True).start()
        connections.append(here)
    for here in connections:
        here.recv()  # it has its texts in memory

    def work() -> dict[str, Any]:
        started = time.perf_counter()
        for here in connections:
            here.send(None)
        got = [here.recv() for here in connections]
        return {
            "seconds": time.perf_counter() - started,
            "text_tokens": sum(one["text_tokens"] for one in got),
            "cpu_seconds": sum(one["cpu_seconds"] for one in got),
            "peak": max(one["peak"] for one in got),
        }

    return work, size


def _counting(
    path: Path, tokenizer: Tokenizer, *, share: int, shares: int
) -> tuple[tokens.CountMany, list[list[str]]]:
    """The counter, and the texts in calls of some thousand: every so-and-so-many-th call."""
    texts, calls, number = list[str](), [], count()
    with path.open("rb") as source:
        for line in source:
            texts += [message["content"] for message in orjson.loads(line)["messages"]]
            if len(texts) >= TEXTS_IN_A_CALL:
                calls += [texts] * (next(number) % shares == share)
                texts = []
    calls += [texts] * (next(number) % shares == share)
    return _warm(tokenizer), calls


def _counted(count_many: tokens.CountMany, calls: list[list[str]]) -> dict[str, Any]:
    return {"text_tokens": sum(int(count_many(call).sum()) for call in calls)}


def _count_share(answer: Connection, path: Path, tokenizer: Tokenizer, share: int, shares: int) -> None:
    work = _counting(path, tokenizer, share=share, shares=shares)
    answer.send(None)
    answer.recv()
    started = time.process_time()
    got = _counted(*work)
    answer.send(got | {"cpu_seconds": time.process_time() - started, "peak": _peak_megabytes()})


def _check(path: Path, tokenizer: Tokenizer, *, processes: int) -> tuple[Callable[[], dict[str, Any]], int]:
    profile = Profile(tokenizer, Limits(tokens_per_example=65_536, file_bytes_max=2**33))
    _warm(tokenizer)

    def work() -> dict[str, Any]:
        started = time.perf_counter()
        read_at = [started]

        def progress(_: int) -> None:
            read_at[-1] = time.perf_counter()

        with path.open("rb") as source:
            report = check(source, profile, processes=processes, on_progress=progress)
        ended = time.perf_counter()
        return {
            "after": (ended - read_at[-1]) / (ended - started),
            "examples": report.examples,
            "text_tokens": sum(report.tokens.by_role.values()),
            "verdict": report.verdict + "".join(f", {f.code} {f.count:,}" for f in report.findings),
        }

    return work, path.stat().st_size


def _warm(tokenizer: Tokenizer) -> tokens.CountMany:
    """The counter, built and used once: what a process does a single time is not what is measured."""
    counter = tokens.counter(tokenizer)
    counter.many(["Hello."])
    return counter.many


def _cookbook(path: Path, tokenizer: Tokenizer) -> tuple[Callable[[], dict[str, Any]], int]:
    encoding = tokens.reference("cl100k_base" if tokenizer == "cl100k_base" else "o200k_base")

    def count(text: str) -> int:
        return len(encoding.encode(text, disallowed_special=()))

    size = 0
    rows = 0
    with path.open("rb") as source:
        for line in source:
            size += len(line)
            rows += 1
            if size > path.stat().st_size / 10:
                break
    return partial(_notebook, path, rows, count), size


def _notebook(path: Path, rows: int, count: Callable[[str], int]) -> dict[str, Any]:
    with path.open(encoding="utf-8") as source:
        examples = [json.loads(line) for line in islice(source, rows)]
    errors: Counter[str] = Counter()
    for example in examples:
        errors.update(_format_errors(example))
    without = Counter(
        role for role in ("system", "user") for one in examples if all(m["role"] != role for m in one["messages"])
    )
    sizes = [len(example["messages"]) for example in examples]
    totals = [_tokens_of(example["messages"], count) for example in examples]
    answers = [_answer_tokens(example["messages"], count) for example in examples]
    return {
        "examples": len(examples),
        "tokens": sum(totals),
        "errors": dict(errors) | {f"without {role}": n for role, n in without.items()},
        "distributions": [
            [min(values), max(values), statistics.mean(values), statistics.median(values), *_tenths(values)]
            for values in (sizes, totals, answers)
        ],
    }


def _format_errors(example: Any) -> Iterator[str]:
    if not isinstance(example, dict):
        yield "data_type"
        return
    messages = example.get("messages")
    if not messages:
        yield "missing_messages_list"
        return
    for message in messages:
        if "role" not in message or "content" not in message:
            yield "message_missing_key"
        if any(key not in {"role", "content", "name", "function_call", "weight"} for key in message):
            yield "message_unrecognized_key"
        if message.get("role") not in {"system", "user", "assistant", "function"}:
            yield "unrecognized_role"
        content = message.get("content")
        if (not content and not message.get("function_call")) or not isinstance(content, str):
            yield "missing_content"
    if not any(message.get("role") == "assistant" for message in messages):
        yield "example_missing_assistant_message"


def _tokens_of(messages: list[dict[str, Any]], count: Callable[[str], int]) -> int:
    return 3 + sum(3 + sum(count(value) for value in message.values()) for message in messages)


def _answer_tokens(messages: list[dict[str, Any]], count: Callable[[str], int]) -> int:
    return sum(count(message["content"]) for message in messages if message["role"] == "assistant")


def _tenths(values: list[int]) -> tuple[float, float]:
    tenths = statistics.quantiles(values, n=10)
    return tenths[0], tenths[-1]


def build(path: Path, megabytes: int, text: str) -> Path:
    """Writes a chat file of about that size, or of all the text there is; the same for the same texts."""
    chance = random.Random(11)
    prompts = [_system_prompt(file) for file in sorted(EXAMPLES.glob("*/train.jsonl"))]
    pieces = _Sentences(chance) if text == "talk" else _Pieces(chance)
    written = 0
    with path.open("w", encoding="utf-8") as target:
        while written < megabytes * MEGABYTE:
            prompt = chance.choice(prompts) if chance.random() < PROMPTED else None
            messages = [] if prompt is None else [{"role": "system", "content": prompt}]
            pieces.begin()
            for _ in range(chance.choice(TURNS)):
                for role, size in (("user", QUESTION_CHARACTERS), ("assistant", ANSWER_CHARACTERS)):
                    piece = pieces.next(round(size * chance.lognormvariate(0, SPREAD)))
                    if piece is None:
                        return path
                    messages.append({"role": role, "content": piece})
            line = json.dumps({"messages": messages}, ensure_ascii=False) + "\n"
            target.write(line)
            written += len(line.encode())
    return path


def _system_prompt(examples: Path) -> str:
    with examples.open(encoding="utf-8") as source:
        prompt: str = json.loads(source.readline())["messages"][0]["content"]
    return prompt


class _Sentences:
    """Sentences that people wrote for people, in an order that changes each time they are all used up."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        english = dict.fromkeys(sentence for path in _text_files() for sentence in _prose(path))
        japanese = dict.fromkeys(
            sentence for path in sorted(EXAMPLES.glob("*/train.jsonl")) for sentence in _japanese(path)
        )
        self._english, self._japanese = _Deck(list(english), chance), _Deck(list(japanese), chance)
        self._deck = self._english

    def begin(self) -> None:
        """Another example, which keeps to one language."""
        self._deck = self._japanese if self._chance.random() < JAPANESE else self._english

    def next(self, characters: int) -> str | None:
        """About so many characters, whole sentences; in paragraphs of some."""
        wanted = characters // 3 if self._deck is self._japanese else characters
        between = "" if self._deck is self._japanese else " "
        pieces: list[str] = []
        while sum(map(len, pieces)) < wanted:
            pieces += [self._deck.draw(), "\n\n" if self._chance.random() < PARAGRAPHS else between]
        return "".join(pieces).strip() or self._deck.draw()


class _Deck:
    """Is drawn from, and shuffled when it is used up."""

    def __init__(self, cards: list[str], chance: random.Random) -> None:
        self._cards, self._chance, self._left = cards, chance, 0

    def draw(self) -> str:
        if not self._left:
            self._chance.shuffle(self._cards)
            self._left = len(self._cards)
        self._left -= 1
        return self._cards[self._left]


_DOCSTRING: Final = re.compile(r'"""(.*?)"""', re.DOTALL)
_COMMENT: Final = re.compile(r"(?:^[ \t]*#.*\n){2,}", re.MULTILINE)
_PARAGRAPH: Final = re.compile(r"\n\s*\n")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def _prose(path: Path) -> Iterator[str]:
    """The sentences of a file in which nearly all characters are letters and blanks."""
    text = path.read_text(encoding="utf-8", errors="ignore")
    paragraphs = [text]
    if path.suffix in {".py", ".pyi"}:
        comments = [re.sub(r"^[ \t]*#+ ?", "", block, flags=re.MULTILINE) for block in _COMMENT.findall(text)]
        paragraphs = [*_DOCSTRING.findall(text), *comments]
    for paragraph in paragraphs:
        for part in _PARAGRAPH.split(paragraph):
            for sentence in _SENTENCE.split(" ".join(part.split())):
                letters = sum(map(str.isalpha, sentence)) + sentence.count(" ")
                if SENTENCE_MIN <= len(sentence) <= SENTENCE_MAX and letters >= PROSE * len(sentence):
                    yield sentence


def _japanese(examples: Path) -> Iterator[str]:
    with examples.open(encoding="utf-8") as source:
        for line in source:
            for message in json.loads(line)["messages"]:
                for sentence in re.split(r"(?<=[。！？])\s*", message["content"]):
                    if re.search("[ぁ-ん]", sentence):
                        yield sentence


class _Pieces:
    """Pieces of real text, no two the same, each from another file than the one before it."""

    def __init__(self, chance: random.Random) -> None:
        self._files = iter(_text_files())
        self._open: list[str] = []
        """What is left of a few files."""
        self._chance = chance
        self._seen: set[int] = set()

    def begin(self) -> None:
        """Another example; nothing depends on it."""

    def next(self, characters: int) -> str | None:
        """About so many characters, whole lines; None when there is no more text."""
        while self._fill():
            at = self._chance.randrange(len(self._open))
            text = self._open[at]
            end = text.find("\n", characters) + 1 or len(text)
            self._open[at] = text[end:]
            if not self._open[at]:
                del self._open[at]
            piece = text[:end].strip()
            if piece and hash(piece) not in self._seen:
                self._seen.add(hash(piece))
                return piece
        return None

    def _fill(self) -> bool:
        while len(self._open) < FILES_OPEN and (path := next(self._files, None)) is not None:
            if text := path.read_text(encoding="utf-8", errors="ignore").replace("\0", "").strip():
                self._open.append(text)
        return bool(self._open)


def _text_files() -> list[Path]:
    """Mixed, so that every part of the file is like every other."""
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}
    files = sorted({path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES})
    random.Random(7).shuffle(files)
    return [path for path in files if path.is_file()]


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description="How fast is the check of a dataset?")
    parser.add_argument("--mb", type=int, default=200, help="size of the file to build, in MB")
    parser.add_argument("--text", default="talk", choices=("talk", "programs"), help="what it is built from")
    parser.add_argument("--file", type=Path, help="check this file instead")
    parser.add_argument("--tokenizer", default="o200k_base", choices=("o200k_base", "cl100k_base"))
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
