"""Checks a large chat file and holds its speed against the limit: counting the tokens of the same texts alone.

    python benchmarks/bench_datasets.py [--mb 200] [--file FILE.jsonl] [--tokenizer o200k_base] [--rounds 3]

Without --file the file is built from real text, each piece of it used once: sources, stubs, documentation and notes
of the Python library and of the packages that are installed, and the shipped examples. Every way runs in a process
of its own, over a file that the system has just written or read; of several rounds the quickest is shown.
The cookbook is the loop that fine-tuning guides show: read every line with json, look at the keys, count with
tiktoken. It runs over the first tenth of the file, because it needs a minute for the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, Final

import orjson

from app.datasets.engine import Limits, Profile, check, tokens
from app.datasets.engine.report import Tokenizer

MEGABYTE: Final = 1_000_000
PIECE_CHARACTERS: Final = 1_500
"""Of real text in one message."""
TEXTS_IN_A_CALL: Final = 2_048
SUFFIXES: Final = {".py", ".pyi", ".md", ".rst", ".txt"}
EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"

Way = Callable[[Path, Tokenizer], "tuple[Callable[[], dict[str, Any]], int]"]
"""Prepares; returns what is timed, and the bytes of the file that it goes through."""


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-datasets-") as folder:
        path = arguments.file or build(Path(folder, "chat.jsonl"), arguments.mb)
        size = path.stat().st_size
        print(
            f"{size / MEGABYTE:,.0f} MB, tokenizer {arguments.tokenizer}, {os.cpu_count()} cores, "
            f"load average {os.getloadavg()[0]:.1f}, the quickest of {arguments.rounds}"
        )
        ways: dict[str, Way] = {
            "tokens alone, 1 thread": partial(_tokens, threads=1),
            "check, 1 thread": partial(_check, threads=1),
            "tokens alone, 2 threads": partial(_tokens, threads=2),
            "check, 2 threads": partial(_check, threads=2),
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
    ratios = {threads: _against(got, f"check, {threads}", f"tokens alone, {threads}") for threads in _THREADS}
    print(f"{'':26}{'MB/s':>8}{'MB/cpu s':>10}{'peak MB':>9}{'of the limit':>14}{'× cookbook':>12}")
    for name, one in got.items():
        threads = next((text for text in _THREADS if name == f"check, {text}"), None)
        share = f"{ratios[threads][0]:14.2f}" if threads else f"{'':14}"
        times = "" if name == "cookbook" else f"{one['wall'] / cookbook['wall']:12.1f}"
        print(f"{name:26}{one['wall']:8.1f}{one['cpu']:10.1f}{one['peak']:9.0f}{share}{times}")
    one, two = got["check, 1 thread"], got["check, 2 threads"]
    print(f"{one['examples']:,} examples, {one['text_tokens']:,} tokens of text; {one['verdict']}")
    print(f"limits: 0.80 of tokens alone on as many threads; 10 × cookbook; 200 MB; 2 threads {_TWICE:.1f} × 1")
    print(f"2 threads are {two['wall'] / one['wall']:.2f} × 1 (tokens alone: {_speed_up(got):.2f} ×)")
    print(
        f"by CPU time: {ratios['1 thread'][1]:.2f} of tokens alone, {one['cpu'] / cookbook['cpu']:.1f} × cookbook"
    )
    print(f"ratio_to_limit={min(ratio for ratio, _ in ratios.values()):.2f}")
    print(f"times_cookbook={one['wall'] / cookbook['wall']:.1f}")


_THREADS: Final = ("1 thread", "2 threads")
_TWICE: Final = 1.8
"""What "nearly twice as fast" is held to mean."""


def _against(got: dict[str, dict[str, Any]], ours: str, limit: str) -> tuple[float, float]:
    """Wall and CPU speed as shares of the limit's."""
    return got[ours]["wall"] / got[limit]["wall"], got[ours]["cpu"] / got[limit]["cpu"]


def _speed_up(got: dict[str, dict[str, Any]]) -> float:
    alone: float = got["tokens alone, 2 threads"]["wall"] / got["tokens alone, 1 thread"]["wall"]
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
    wall, cpu = time.perf_counter(), time.process_time()
    got = work()
    got["wall"] = size / MEGABYTE / (time.perf_counter() - wall)
    got["cpu"] = size / MEGABYTE / (time.process_time() - cpu)
    got["peak"] = _peak_megabytes()
    answer.send(got)


def _peak_megabytes() -> float:
    status = Path("/proc/self/status")  # getrusage would answer the peak of the parent, too
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def _tokens(path: Path, tokenizer: Tokenizer, *, threads: int) -> tuple[Callable[[], dict[str, Any]], int]:
    """The limit: nothing but counting, of texts that are all in memory before the clock starts."""
    with path.open("rb") as source:
        texts = [message["content"] for line in source for message in orjson.loads(line)["messages"]]
    calls = [texts[start : start + TEXTS_IN_A_CALL] for start in range(0, len(texts), TEXTS_IN_A_CALL)]
    count = _warm(tokenizer)

    def work() -> dict[str, Any]:
        if threads == 1:
            return {"text_tokens": sum(int(count(call).sum()) for call in calls)}
        with ThreadPoolExecutor(threads) as pool:
            return {"text_tokens": sum(int(counts.sum()) for counts in pool.map(count, calls))}

    return work, path.stat().st_size


def _check(path: Path, tokenizer: Tokenizer, *, threads: int) -> tuple[Callable[[], dict[str, Any]], int]:
    profile = Profile(tokenizer, Limits(tokens_per_example=65_536, file_bytes_max=2**33))
    _warm(tokenizer)

    def work() -> dict[str, Any]:
        with path.open("rb") as source:
            report = check(source, profile, threads=threads)
        return {
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
    count = tokens.with_tiktoken("cl100k_base" if tokenizer == "cl100k_base" else "o200k_base").one
    size = 0
    rows = 0
    with path.open("rb") as source:
        for line in source:
            size += len(line)
            rows += 1
            if size > path.stat().st_size / 10:
                break
    return partial(_loop, path, rows, count), size


def _loop(path: Path, rows: int, count: Callable[[str], int]) -> dict[str, Any]:
    errors: dict[str, int] = {}
    total = 0
    with path.open(encoding="utf-8") as source:
        examples = [json.loads(line) for line in islice(source, rows)]
    for example in examples:
        messages = example.get("messages")
        if not messages:
            errors["missing_messages"] = errors.get("missing_messages", 0) + 1
            continue
        total += 3
        for message in messages:
            if "role" not in message or "content" not in message:
                errors["missing_key"] = errors.get("missing_key", 0) + 1
            if message.get("role") not in {"system", "user", "assistant", "tool"}:
                errors["unrecognized_role"] = errors.get("unrecognized_role", 0) + 1
            total += 3 + sum(count(value) for value in message.values() if isinstance(value, str))
        if not any(message.get("role") == "assistant" for message in messages):
            errors["no_assistant"] = errors.get("no_assistant", 0) + 1
    return {"examples": len(examples), "tokens": total}


def build(path: Path, megabytes: int) -> Path:
    """Writes a chat file of about that size, or of all the text there is; the same for the same texts."""
    pieces = _pieces()
    written = 0
    with path.open("w", encoding="utf-8") as target:
        for asked, answer in zip(pieces, pieces, strict=False):
            messages = [
                {"role": "system", "content": "You continue code and text."},
                {"role": "user", "content": asked},
                {"role": "assistant", "content": answer},
            ]
            line = json.dumps({"messages": messages}, ensure_ascii=False) + "\n"
            target.write(line)
            written += len(line.encode())
            if written >= megabytes * MEGABYTE:
                break
    return path


def _pieces() -> Iterator[str]:
    """Pieces of real text, no two the same."""
    seen: set[int] = set()
    for path in _text_files():
        text = path.read_text(encoding="utf-8", errors="ignore").replace("\0", "")
        for start in range(0, len(text), PIECE_CHARACTERS):
            piece = text[start : start + PIECE_CHARACTERS].strip()
            if len(piece) > PIECE_CHARACTERS / 2 and hash(piece) not in seen:
                seen.add(hash(piece))
                yield piece


def _text_files() -> list[Path]:
    """Mixed, so that every part of the file is like every other."""
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")} | {EXAMPLES}
    files = sorted({path for folder in folders for path in folder.rglob("*") if path.suffix in SUFFIXES})
    random.Random(7).shuffle(files)
    return [path for path in files if path.is_file()]


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description="How fast is the check of a dataset?")
    parser.add_argument("--mb", type=int, default=200, help="size of the file to build, in MB")
    parser.add_argument("--file", type=Path, help="check this file instead")
    parser.add_argument("--tokenizer", default="o200k_base", choices=("o200k_base", "cl100k_base"))
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
