"""The fault matrix: which test proves which row, and how the last recorded run went.

    python tests/fault_matrix.py record JUNIT.xml …     keep the result of a run in tests/faults/results.json

`docs/generate.py` writes the page from what stands here.
"""

import ast
import json
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
TESTS: Final = ROOT / "tests"
MATRIX: Final = TESTS / "faults" / "matrix.toml"
RESULTS: Final = TESTS / "faults" / "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault."""

    number: int
    fault: str
    where: str
    outcome: str
    not_applicable: str | None = None
    """Why it cannot happen here."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A test function, as `tests/faults/test_x.py::test_y`, and the rows it proves."""

    test: str
    rows: tuple[int, ...]


def read_rows() -> list[Row]:
    return [Row(**row) for row in tomllib.loads(MATRIX.read_text(encoding="utf-8"))["row"]]


def read_proofs() -> list[Proof]:
    """Every test that carries `@pytest.mark.row(N, …)`, or stands in a file whose `pytestmark` does.

    The files are parsed, not imported, so that the page can be written without starting anything.
    """
    return [proof for path in sorted(TESTS.rglob("test_*.py")) for proof in _proofs_in(path)]


def _proofs_in(path: Path) -> Iterator[Proof]:
    name = path.relative_to(ROOT).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    of_file = [
        number
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        for number in _rows_in(node.value)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            found = {*of_file, *(number for mark in node.decorator_list for number in _rows_in(mark))}
            if found:
                yield Proof(f"{name}::{node.name}", tuple(sorted(found)))


def _rows_in(mark: ast.expr) -> Iterator[int]:
    """The numbers in every `pytest.mark.row(…)` below an expression."""
    for node in ast.walk(mark):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.row":
            yield from (ast.literal_eval(argument) for argument in node.args)


# --- results ---------------------------------------------------------------------------------------------------


def record(*reports: Path) -> dict[str, Any]:
    """What a run said of the tests that prove rows, by test; kept in the repository with its date.

    Of a test that several reports name, the last one counts.
    """
    ran: dict[str, Counter[str]] = {}
    day = ""
    for report in reports:
        day, of_report = _read(report)
        ran |= of_report
    return {"date": day, "tests": {test: dict(sorted(ran[test].items())) for test in sorted(ran)}}


def _read(junit: Path) -> tuple[str, dict[str, Counter[str]]]:
    wanted = {proof.test for proof in read_proofs()}
    ran: dict[str, Counter[str]] = {}
    began = ""
    for suite in ET.parse(junit).getroot().iter("testsuite"):  # noqa: S314  pytest wrote it a moment ago
        began = began or suite.get("timestamp", "")
        for case in suite.iter("testcase"):
            file = case.get("classname", "").replace(".", "/") + ".py"
            test = f"{file}::{case.get('name', '').partition('[')[0]}"
            if test in wanted:
                ran.setdefault(test, Counter())[_outcome(case)] += 1
    return (began or datetime.now(UTC).isoformat())[:10], ran


def _outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def read_results() -> dict[str, Any]:
    return dict(json.loads(RESULTS.read_text(encoding="utf-8"))) if RESULTS.exists() else {"date": "", "tests": {}}


def result_of(tests: Sequence[str], ran: dict[str, dict[str, int]]) -> str:
    """In words: how many cases of these tests passed in the recorded run."""
    total: Counter[str] = Counter()
    for test in tests:
        total.update(ran.get(test, {"not yet run": 1}))
    return ", ".join(
        f"{total[word]} {word}" for word in ("passed", "failed", "skipped", "not yet run") if total[word]
    )


def render_markdown() -> str:
    """The page of the matrix."""
    results, proofs = read_results(), read_proofs()
    lines = [
        "# Fault matrix",
        "",
        "What may go wrong, what must hold afterwards, and which test breaks it on purpose to see whether it does.",
        "Every test runs against real processes or services: PostgreSQL, Redis, HTTP to the emulator.",
        f"Results are those of the last recorded run, {results['date'] or 'none yet'} (`make fault-matrix`).",
        "",
        "| # | fault | what must hold | tests | result |",
        "|---|---|---|---|---|",
    ]
    for row in read_rows():
        tests = [proof.test for proof in proofs if row.number in proof.rows]
        named = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests)
        if row.not_applicable:
            named, result = f"cannot happen: {row.not_applicable}", ""
        else:
            result = result_of(tests, results["tests"])
        lines.append(f"| {row.number} | {row.fault} | {row.outcome} | {named} | {result} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] != "record":
        sys.exit(__doc__)
    RESULTS.write_text(json.dumps(record(*map(Path, sys.argv[2:])), indent=1) + "\n", encoding="utf-8")
    print(f"{RESULTS.relative_to(ROOT)} written")
