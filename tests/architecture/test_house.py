"""The rules of the house that no linter knows: which files a room has, how long a function may be, what is where."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from app.kit import failpoints

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("app", "worker", "emulator")

FILES_OF_A_ROOM: Final = frozenset(
    {
        "__init__.py",
        "states.py",
        "tables.py",
        "schemas.py",
        "repository.py",
        "service.py",
        "steps.py",
        "endpoints.py",
        "measures.py",
    }
)
"""What every room may have; a file that would be empty is absent."""
MORE_OF_A_ROOM: Final = {
    "access": {"secrets.py"},
    "audit": {"chain.py", "log.py"},
    "connections": {"gates.py", "resources.py"},
    "costs": {"estimates.py"},
    "events": {"log.py"},
    "datasets": {
        "estimates.py",
        "files.py",
        "uploads.py",
        "upload_endpoints.py",
        "transforms.py",
        "transform_endpoints.py",
        "engine",
        "sources",
    },
    "jobs": {
        "adoption.py",
        "analysis",
        "checkpoints.py",
        "course.py",
        "goals.py",
        "grading.py",
        "hours.py",
        "hyperparameters.py",
        "live.py",
        "marks.py",
        "methods.py",
        "plan.py",
        "progress.py",
        "training_types.py",
        "understanding.py",
        "understanding_endpoints.py",
        "untrained.py",
        "watch.py",
        "watchdog.py",
    },
    "models": {"copies.py", "retirement.py"},
    "baselines": {"cases.py", "verdict.py", "ways.py"},
    "generation": {"craft", "material.py"},
    "calibrations": {"verdict.py"},
    "retrieval": set[str](),
    "studies": {"evaluating.py", "variations.py", "verdict.py"},
    "adoptions": set[str](),
    "exports": {"bundle.py", "card.py", "mlflow.py", "openai_history.py", "openai_shape.py", "record.py"},
    "deployments": {"adoption.py", "asked.py", "asking.py", "comparisons.py", "inference.py"},
    "upkeep": {
        "invariant_queries.py",
        "invariants.py",
        "janitor.py",
        "marks.py",
        "reaper.py",
        "remote_invariants.py",
        "retirements.py",
    },
    "triggers": {"signatures.py"},
}
"""Room → what it has besides, each under a name that says what it is."""

NOTHING_NAMES: Final = frozenset(
    {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "base"}
)
"""Names that tell nobody what is inside."""
NAMED_NOTHING_YET_MEANT: Final = {"emulator/learning/base.py": "the base model, as opposed to a tuned one"}

LINES_OF_A_FUNCTION: Final = 90
LONGER_FUNCTIONS: Final[dict[str, str]] = {}
"""`path::name` → why it is one piece."""

LAZY_IMPORTS: Final = {
    "app/azure/credentials.py": "azure.identity takes a second to import and most connections use a key",
    "app/datasets/sources/shards.py": "duckdb takes 69 MB that only a source of several parquet files needs",
    "app/datasets/engine/reading/packed.py": "only who unpacks zstd loads it",
    "app/datasets/engine/reading/parquet.py": "duckdb takes 69 MB that only a Parquet file needs",
    "app/datasets/engine/reading/workbooks.py": "only who reads a workbook loads calamine",
    "app/datasets/engine/scanning.py": "hyperscan has no wheel for every platform; pattern by pattern is the same, slower",
    "app/datasets/engine/tokens.py": "gigatoken has no wheel for every platform; tiktoken does the same, slower",
    "emulator/__main__.py": "only the process that serves needs a web framework, its children do not",
    "emulator/chat.py": "numpy and the learner load with the first question",
    "emulator/training.py": "the learner runs in a child process; the server never loads it",
}
"""Files that may import inside a function. Commands (`app/cli`) may, so that `kitae --help` is quick."""

BROAD_EXCEPTS_ELSEWHERE: Final = {
    "app/workbench.py::_take_step": "whatever a step raises is written into its row and looked at again",
}
"""Broad excepts whose reason stands in the function's docstring instead of beside them."""

NOW_OUTSIDE_THE_CLOCK: Final = {
    "app/azure/catalogue/catalogue.py": "prices and retirements are looked up by today's date",
    "app/azure/control_plane.py": "Retry-After may be a date",
    "app/azure/mapping.py": "Retry-After may be a date",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*packages: str) -> Iterator[tuple[str, Path]]:
    for package in packages or PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


@cache
def tracked() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return tuple(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file())


def complain(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


# --- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", MORE_OF_A_ROOM)
def test_a_room_has_the_files_that_rooms_have(room: str) -> None:
    there = {
        path.name
        for path in (ROOT / "app" / room).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    complain([f"app/{room}/{name}" for name in sorted(there - FILES_OF_A_ROOM - MORE_OF_A_ROOM[room])])


def test_no_file_is_named_after_nothing() -> None:
    found = [
        name
        for name, path in sources(*PACKAGES, "migrations", "tests", "benchmarks", "examples", "docs")
        if path.stem in NOTHING_NAMES or path.parent.name in NOTHING_NAMES
    ]
    complain([name for name in found if name not in NAMED_NOTHING_YET_MEANT])


def test_every_module_says_what_it_is_for() -> None:
    complain([name for name, path in sources() if not ast.get_docstring(tree(path))])


def test_no_committed_file_names_a_machine_or_a_registry() -> None:
    machine = re.compile(
        "|".join(
            (
                r"(?<![\w.$}/-])/" + r"(?:work|root)/\w",
                r"(?<![\w.$}/-])/" + r"home/(?!kitae\b)\w+",
                r"(?<![\w.$}/-])/" + r"tmp/kitae",
                r"pypi\." + r"org",
                r"files\.python" + r"hosted",
                r"registry\.npm" + r"js",
                r"--(?:extra-)?index" + r"-url",
            )
        )
    )
    skipped = ("app/web/static/vendor/", "tests/data/")
    found = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(skipped):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures and compressed vocabularies
        found += [
            f"{name}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(text.splitlines(), 1)
            if machine.search(line)
        ]
    complain(found)


# --- functions -------------------------------------------------------------------------------------------------


def test_no_function_is_longer_than_two_screens() -> None:
    found = []
    for name, path in sources():
        for function in functions(path):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > LINES_OF_A_FUNCTION and f"{name}::{function.name}" not in LONGER_FUNCTIONS:
                found.append(f"{name}:{function.lineno} {function.name} has {lines} lines")
    complain(found)


def test_imports_stand_at_the_top_but_for_the_listed_ones() -> None:
    found = []
    for name, path in sources():
        if name in LAZY_IMPORTS or name.startswith("app/cli/"):
            continue
        found += [
            f"{name}:{node.lineno} in {function.name}"
            for function in functions(path)
            for node in ast.walk(function)
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
    complain(found)


def test_every_listed_lazy_import_is_still_one() -> None:
    unused = [
        name
        for name in LAZY_IMPORTS
        if not any(
            isinstance(node, ast.Import | ast.ImportFrom)
            for function in functions(ROOT / name)
            for node in ast.walk(function)
        )
    ]
    complain(unused)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        one is None or (isinstance(one, ast.Name) and one.id in {"Exception", "BaseException"}) for one in caught
    )


def test_a_broad_except_has_its_reason_beside_it_or_raises_on() -> None:
    found = []
    for name, path in sources():
        lines = path.read_text(encoding="utf-8").splitlines()
        for function in functions(path):
            for node in ast.walk(function):
                if not isinstance(node, ast.ExceptHandler) or not _is_broad(node):
                    continue
                raises_on = any(isinstance(part, ast.Raise) and part.exc is None for part in ast.walk(node))
                beside = lines[node.lineno - 1] + lines[node.lineno]
                has_reason = len(re.sub(r"noqa: [A-Z0-9]+", "", beside.partition("#")[2]).strip()) > 10
                if not raises_on and not has_reason and f"{name}::{function.name}" not in BROAD_EXCEPTS_ELSEWHERE:
                    found.append(f"{name}:{node.lineno} in {function.name}")
    complain(found)


# --- the domain ------------------------------------------------------------------------------------------------


def _calls(node: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            if isinstance(call.func, ast.Attribute):
                yield call.func.attr, call
            elif isinstance(call.func, ast.Name):
                yield call.func.id, call


def test_every_failpoint_is_passed_at_exactly_one_place() -> None:
    passed = Counter(
        call.args[0].value
        for _, path in sources("app", "worker")
        for called, call in _calls(tree(path))
        if called == "failpoint" and call.args and isinstance(call.args[0], ast.Constant)
    )
    assert passed == Counter(failpoints.NAMES), "each name of app.kit.failpoints.NAMES is passed once, and no other"


def test_the_wire_is_never_used_inside_a_transaction() -> None:
    found = []
    for name, path in sources("app", "worker"):
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.With):
                continue
            opened = {called for item in node.items for called, _ in _calls(item.context_expr)}
            if "begin" not in opened:
                continue
            if opened & {"data", "control"}:
                found.append(f"{name}:{node.lineno} opens both")
            inside = {called for statement in node.body for called, _ in _calls(statement)}
            found += [f"{name}:{node.lineno} calls {called}" for called in inside & {"data", "control"}]
    complain(found)


def test_a_status_moves_only_where_the_law_is_asked() -> None:
    writers = {"finish", "write", "change", "values"}
    found = []
    for name, path in sources("app"):
        if name.startswith("app/http/"):
            continue  # there a status is HTTP's
        for function in functions(path):
            asks = any(
                called == "check" and "LAW" in ast.unparse(call.func).upper() for called, call in _calls(function)
            )
            found += [
                f"{name}:{call.lineno} in {function.name}"
                for called, call in _calls(function)
                if called in writers and not asks and any(keyword.arg == "status" for keyword in call.keywords)
            ]
            found += [
                f"{name}:{node.lineno} in {function.name}"
                for node in ast.walk(function)
                if isinstance(node, ast.Assign)
                and any(ast.unparse(target).endswith(".status") for target in node.targets)
                and name != "app/client.py"
            ]
    complain(found)


def test_now_is_asked_of_the_clock() -> None:
    found = [
        f"{name}:{call.lineno}"
        for name, path in sources("app", "worker")
        if name != "app/kit/clock.py" and not name.startswith("app/cli/") and name not in NOW_OUTSIDE_THE_CLOCK
        for _, call in _calls(tree(path))
        if ast.unparse(call.func) in {"datetime.now", "datetime.utcnow", "date.today", "datetime.today"}
    ]
    complain(found)


def test_no_test_replaces_what_it_tests() -> None:
    pattern = re.compile(
        r"^\s*(?:from|import) unittest" + r"\.mock|^\s*from unittest import mock" + r"", re.MULTILINE
    )
    complain([name for name, path in sources("tests") if pattern.search(path.read_text(encoding="utf-8"))])
