"""`kitae datasets check` and `convert` on files that are not JSON Lines, as a person types them."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
TABLE: Final = "質問,回答,話題\n" + "".join(f"{n}+{n}は?,{2 * n},算数\n" for n in range(11)) + ",空,算数\n"


def kitae(*arguments: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", "datasets", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_table_is_told_with_the_rows_of_the_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_bytes(TABLE.encode("cp932"))
    done = kitae("check", "sums.csv", "--encoding", "cp932", directory=tmp_path)
    assert done.returncode == 1
    assert "a table in text" in done.stdout
    assert "line 12 (row 13 of the file)" in done.stdout
    told = json.loads(kitae("check", "sums.csv", "--encoding", "cp932", "--json", directory=tmp_path).stdout)
    (file,) = told["files"]
    assert (file["detected"], file["verdict"], file["reading"]["encoding"]) == ("csv", "fixable", "cp932")
    assert {"other-encoding", "needs-conversion", "empty-content"} <= {
        finding["code"] for finding in file["findings"]
    }


def test_what_is_converted_is_ready_as_it_lies_there(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_text(TABLE.rsplit("\n", 2)[0] + "\n", encoding="utf-8")
    (tmp_path / "columns.json").write_text(
        '{"質問": "user", "回答": "assistant", "話題": "system"}', encoding="utf-8"
    )
    done = kitae("convert", "sums.csv", "-o", "out.jsonl", "--mapping", "columns.json", "--bom", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "out.jsonl").read_bytes()
    assert written.startswith(b"\xef\xbb\xbf{")
    first = json.loads(written.splitlines()[0].decode("utf-8-sig"))
    assert [message["role"] for message in first["messages"]] == ["system", "user", "assistant"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["columns.json", "out.jsonl", "sums.csv"]


def test_an_option_that_means_nothing_is_refused_in_words_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_text(TABLE, encoding="utf-8")
    done = kitae("convert", "sums.csv", "-o", "out.jsonl", "--mapping", "質問=asker", directory=tmp_path)
    assert done.returncode == 2
    assert "asker" in done.stderr
    over = kitae("convert", "sums.csv", "-o", "sums.csv", directory=tmp_path)
    assert (over.returncode, (tmp_path / "sums.csv").read_text(encoding="utf-8")) == (2, TABLE)
    assert not (tmp_path / "out.jsonl").exists()


def test_what_is_there_is_not_written_over_unless_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_text("question,answer\n" + "1+1?,2\n" * 11, encoding="utf-8")
    (tmp_path / "out.jsonl").write_text("precious", encoding="utf-8")
    for command in ("convert", "fix"):
        done = kitae(command, "sums.csv", "-o", "out.jsonl", directory=tmp_path)
        assert (done.returncode, "--force" in done.stderr) == (2, True), command
        assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == "precious"
    done = kitae("convert", "sums.csv", "-o", "out.jsonl", "--force", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "out.jsonl is ready" in done.stdout, "what was written is told by its own name"
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 11


def test_a_check_says_nothing_twice_and_names_the_command_that_mends(tmp_path: Path) -> None:
    (tmp_path / "sums.csv").write_bytes(TABLE.encode("cp932"))
    said = ("--encoding", "cp932", "--mapping", "質問=user,回答=assistant")
    told = kitae("check", "sums.csv", *said, directory=tmp_path).stdout
    assert told.count("a table in text") == 1
    (command,) = [line.strip() for line in told.splitlines() if "→ kitae datasets fix" in line]
    words = shlex.split(command.removeprefix("→ kitae datasets "))
    done = kitae(*words, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "sums.jsonl").read_bytes().splitlines()) == 11, "the row without a question is left out"


@pytest.mark.parametrize(
    ("operations", "told"),
    [
        ('[{"type": "fux"}]', "There is no 'fux'; there are fix, drop, keep"),
        ('{"type": "drop"}', "a drop needs lines, a code or conditions"),
        ('{"type": "fix", "codes": ["typo"]}', "'typo' is nothing that can be fixed"),
        ("fix", "not JSON"),
        ('["fix"]', "no list of JSON objects"),
    ],
)
def test_operations_that_mean_nothing_are_refused_in_words(tmp_path: Path, operations: str, told: str) -> None:
    (tmp_path / "sums.csv").write_text("question,answer\n1+1?,2\n", encoding="utf-8")
    done = kitae("transform", "sums.csv", "-o", "out.jsonl", "--operations", operations, directory=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Input tag" not in done.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_what_is_said_of_a_file_is_refused_for_a_version(tmp_path: Path) -> None:
    done = kitae("fix", "travel@1", "--encoding", "cp932", directory=tmp_path)
    assert done.returncode == 2
    assert "files on this machine" in done.stderr
