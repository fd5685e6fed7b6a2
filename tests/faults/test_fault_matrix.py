"""The fault matrix holds together: every row that can happen has a test, and every test names rows there are."""

import ast
from pathlib import Path

import pytest
from fault_matrix import Row, read_proofs, read_rows, record, result_of

from app.kit.failpoints import NAMES

ROWS = read_rows()


def test_the_rows_are_numbered_from_1_to_49() -> None:
    assert [row.number for row in ROWS] == list(range(1, 50))


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.not_applicable is None], ids=lambda row: f"row-{row.number}"
)
def test_every_fault_that_can_happen_is_made_to_happen_by_a_test(row: Row) -> None:
    assert any(row.number in proof.rows for proof in read_proofs()), row.fault


def test_a_test_names_only_rows_that_there_are_and_can_happen() -> None:
    possible = {row.number for row in ROWS if row.not_applicable is None}
    strange = {proof.test: proof.rows for proof in read_proofs() if not possible.issuperset(proof.rows)}
    assert not strange


def test_a_run_is_counted_by_test_whatever_its_parameters(tmp_path: Path) -> None:
    (proof, *_) = read_proofs()
    file, _, function = proof.test.partition("::")
    place = file.removesuffix(".py").replace("/", ".")
    report = tmp_path / "junit.xml"
    report.write_text(
        f"""<testsuites><testsuite timestamp="2026-11-21T12:00:00">
        <testcase classname="{place}" name="{function}[a]"/>
        <testcase classname="{place}" name="{function}[b]"><failure/></testcase>
        <testcase classname="tests.unit.elsewhere" name="{function}"/>
        </testsuite></testsuites>"""
    )
    assert record(report) == {"date": "2026-11-21", "tests": {proof.test: {"failed": 1, "passed": 1}}}


def test_a_result_says_what_has_not_run() -> None:
    assert result_of(["a", "b"], {"a": {"passed": 3, "skipped": 1}}) == "3 passed, 1 skipped, 1 not yet run"


def test_every_failpoint_is_hit_by_a_test_that_kills() -> None:
    """By its name, or by that of its room in a call of `failpoints_of`."""
    rooms, names = set(), set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints_of":
                rooms |= {ast.literal_eval(argument) for argument in node.args}
            if isinstance(node, ast.Constant) and node.value in NAMES:
                names.add(node.value)
    assert {name for name in NAMES if name not in names and name.partition(".")[0] not in rooms} == set()
