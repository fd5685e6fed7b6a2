"""`kitae datasets check` and `convert` on files that are not JSON Lines, as a person types them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

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
