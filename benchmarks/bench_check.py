"""Checks a large chat file and says how fast: MB/s, peak memory, and against a loop of json and tiktoken.

    python benchmarks/bench_check.py [--mb 200] [--text DIRECTORY] [--file FILE.jsonl] [--tokenizer o200k_base]

Without --file the file is built from real text: the sources and docstrings of the Python library, or the
files of --text. The loop is what fine-tuning guides show: read every line with json, look at the keys, count
with tiktoken; it runs over the first tenth of the file, because it needs a minute for the whole.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

from app.datasets.engine import Limits, Profile, check
from app.datasets.engine.report import Tokenizer
from app.datasets.engine.tokens import with_tiktoken

MEGABYTE = 1_000_000


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        path = arguments.file or build(Path(folder, "chat.jsonl"), arguments.mb, arguments.text)
        size = path.stat().st_size
        print(f"{size / MEGABYTE:,.0f} MB, tokenizer {arguments.tokenizer}, {os.cpu_count()} cores")
        ours = run(_check, path, arguments.tokenizer)
        loop = run(_loop, path, arguments.tokenizer)
    print(f"{'':12}{'MB/s':>8}{'MB/cpu s':>10}{'peak MB':>9}{'examples':>10}{'tokens':>13}")
    for name, got in (("check", ours), ("loop", loop)):
        print(
            f"{name:12}{got['wall']:8.1f}{got['cpu']:10.1f}{got['peak']:9.0f}{got['examples']:10,}"
            f"{got['tokens']:13,}"
        )
    wall, cpu = ours["wall"] / loop["wall"], ours["cpu"] / loop["cpu"]
    print(f"check is {wall:.1f} times as fast ({cpu:.1f} by CPU time); verdict {ours['verdict']}")


def run(work: Any, path: Path, tokenizer: str) -> dict[str, Any]:
    """Runs `work` in a process of its own, so that its peak memory is its own."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_measure, args=(there, work, path, tokenizer))
    process.start()
    got: dict[str, Any] = here.recv()
    process.join()
    return got


def _measure(answer: Connection, work: Any, path: Path, tokenizer: str) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    got = work(path, tokenizer)
    megabytes = got.pop("bytes") / MEGABYTE
    got["wall"] = megabytes / (time.perf_counter() - wall)
    got["cpu"] = megabytes / (time.process_time() - cpu)
    got["peak"] = _peak_megabytes()
    answer.send(got)


def _peak_megabytes() -> float:
    status = Path("/proc/self/status")  # getrusage would answer the peak of the parent, too
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def _check(path: Path, tokenizer: Tokenizer) -> dict[str, Any]:
    profile = Profile(tokenizer, Limits(tokens_per_example=65_536, file_bytes_max=2**33))
    with path.open("rb") as source:
        report = check(source, profile)
    return {
        "bytes": report.bytes,
        "examples": report.examples,
        "tokens": report.tokens.total,
        "verdict": report.verdict + "".join(f", {f.code} {f.count:,}" for f in report.findings),
    }


def _loop(path: Path, tokenizer: str) -> dict[str, Any]:
    count = with_tiktoken("cl100k_base" if tokenizer == "cl100k_base" else "o200k_base")
    errors: dict[str, int] = {}
    tokens = read = examples = 0
    with path.open(encoding="utf-8") as source:
        rows = []
        for line in source:
            read += len(line.encode())
            rows.append(json.loads(line))
            if read > path.stat().st_size / 10:
                break
    for row in rows:
        messages = row.get("messages")
        if not messages:
            errors["missing_messages"] = errors.get("missing_messages", 0) + 1
            continue
        examples += 1
        tokens += 3
        for message in messages:
            if "role" not in message or "content" not in message:
                errors["missing_key"] = errors.get("missing_key", 0) + 1
            if message.get("role") not in {"system", "user", "assistant", "tool"}:
                errors["unrecognized_role"] = errors.get("unrecognized_role", 0) + 1
            tokens += 3 + sum(count(value) for value in message.values() if isinstance(value, str))
        if not any(message.get("role") == "assistant" for message in messages):
            errors["no_assistant"] = errors.get("no_assistant", 0) + 1
    return {"bytes": read, "examples": examples, "tokens": tokens}


def build(path: Path, megabytes: int, folder: Path | None) -> Path:
    """Writes a chat file of about that size; the same each time for the same texts."""
    chance = random.Random(7)
    texts = list(_texts(folder or Path(sysconfig.get_path("stdlib"))))
    chance.shuffle(texts)
    written = 0
    with path.open("w", encoding="utf-8") as target:
        while written < megabytes * MEGABYTE:
            messages = [{"role": "system", "content": "You explain code and text."}]
            for role in ("user", "assistant") * chance.choice((1, 1, 1, 2, 3)):
                text = chance.choice(texts)
                start = chance.randrange(max(1, len(text) - 200))
                messages.append(
                    {"role": role, "content": text[start : start + chance.randrange(80, 2400)].strip() or "-"}
                )
            written += target.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    return path


def _texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.suffix in {".py", ".txt", ".md", ".rst", ".jsonl"} and "lib2to3" not in path.parts:
            text = path.read_text(encoding="utf-8", errors="ignore").replace("\0", "")
            if len(text) > 400:
                yield text


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description="How fast is the check of a dataset?")
    parser.add_argument("--mb", type=int, default=200, help="size of the file to build, in MB")
    parser.add_argument("--text", type=Path, help="a folder of text files to build it from")
    parser.add_argument("--file", type=Path, help="check this file instead")
    parser.add_argument("--tokenizer", default="o200k_base", choices=("o200k_base", "cl100k_base"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
