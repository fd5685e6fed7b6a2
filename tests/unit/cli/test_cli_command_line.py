"""The command as a process: what goes to stdout and stderr, and with which code it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from app.cli.reference import render_cli_markdown
from app.upkeep.invariants import INVARIANTS

ROOT = Path(__file__).resolve().parents[3]
TRAVEL = ROOT / "examples" / "travel"


def kitae(*arguments: str, directory: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KITAE_")}
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        cwd=directory,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_good_file_is_ready_offline_and_exits_with_0(tmp_path: Path) -> None:
    done = kitae("datasets", "check", str(TRAVEL / "train.jsonl"), directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "140" in done.stdout
    assert "ready for gpt-4.1-mini" in done.stdout


def test_a_rejected_file_names_its_lines_and_exits_with_1(tmp_path: Path) -> None:
    lines = (TRAVEL / "train.jsonl").read_text(encoding="utf-8").splitlines()[:12]
    lines[4] = lines[4][:-3]
    bad = tmp_path / "bad.jsonl"
    bad.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = kitae("datasets", "check", str(bad), directory=tmp_path)
    assert done.returncode == 1
    assert "line 5" in done.stdout
    assert "→" in done.stdout, "a finding says what to do"
    assert "Traceback" not in done.stderr


def test_an_estimate_of_a_file_shows_every_model_by_cost_offline(tmp_path: Path) -> None:
    done = kitae(
        "datasets", "estimate", str(TRAVEL / "train.jsonl"), "--calls-per-month", "1000", directory=tmp_path
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.index("gpt-4.1-nano"), done.stdout.index("gpt-4o-2024-08-06")
    assert first < last, "the cheapest stands first"
    assert "unverified" in done.stdout
    assert "1,224.00" in done.stdout, "hosting is shown"
    assert "rows begin with the same" in done.stdout


def test_an_estimate_of_a_table_is_json_on_request(tmp_path: Path) -> None:
    table = tmp_path / "questions.csv"
    table.write_text("question,answer\n" + "".join(f"What is {n} + {n}?,{n + n}\n" for n in range(12)))
    asked = ("datasets", "estimate", str(table), "--model", "gpt-4.1", "--epochs", "2", "--json")
    done = kitae(*asked, directory=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["subject"], found["examples"], found["epochs"]["expected"]) == ("questions.csv", 12, 2)
    assert {offer["model"] for offer in found["offers"]} == {"gpt-4.1-2025-04-14"}


def test_json_on_stdout_is_one_value_and_nothing_else(tmp_path: Path) -> None:
    done = kitae(
        "datasets",
        "check",
        str(TRAVEL / "train.jsonl"),
        "--validation",
        str(TRAVEL / "validation.jsonl"),
        "--json",
        directory=tmp_path,
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told.keys() == {"files", "leakage"}
    training, validation = told["files"]
    assert training.keys() == {"path", "detected", "verdict", "examples", "tokens", "findings", "reading"}
    assert (training["path"], training["detected"], training["examples"]) == (
        str(TRAVEL / "train.jsonl"),
        "chat",
        140,
    )
    assert validation["verdict"] == "ready"
    assert told["leakage"] == {"exact": 0, "near": 0, "pairs": []}


def test_several_files_are_checked_each_by_the_rules_of_its_own_method(tmp_path: Path) -> None:
    answer = [{"role": "assistant", "content": "yes"}]
    pairs = [
        {
            "input": {"messages": [{"role": "user", "content": f"{n}?"}]},
            "preferred_output": answer,
            "non_preferred_output": answer if n == 3 else [{"role": "assistant", "content": "no"}],
        }
        for n in range(1, 13)
    ]
    graded = [{"messages": [{"role": "user", "content": f"{n}?"}], "answer": n} for n in range(1, 13)]
    for name, rows in (("pairs.jsonl", pairs), ("graded.jsonl", graded)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    grader = {"type": "string_check", "input": "{{sample.output_text}}", "reference": "{{item.solution}}"}
    (tmp_path / "grader.json").write_text(json.dumps(grader))
    done = kitae(
        "datasets", "check", "pairs.jsonl", "graded.jsonl", "--grader", "grader.json", "--json", directory=tmp_path
    )
    assert done.returncode == 1
    files = json.loads(done.stdout)["files"]
    assert [(file["detected"], file["verdict"]) for file in files] == [
        ("preference", "fixable"),
        ("reinforcement", "rejected"),
    ]
    found = {finding["code"]: finding["lines"] for file in files for finding in file["findings"]}
    assert found == {"same-preference": [[3, 3]], "grader-field-missing": [[1, 12]]}


def test_a_file_of_another_method_than_the_one_named_is_of_the_wrong_kind(tmp_path: Path) -> None:
    file = str(TRAVEL / "train.jsonl")
    done = kitae("datasets", "check", file, "--method", "dpo", "--json", directory=tmp_path)
    assert done.returncode == 1
    (finding,) = json.loads(done.stdout)["files"][0]["findings"]
    assert (finding["code"], finding["severity"], finding["lines"]) == ("wrong-kind", "error", [[1, 140]])


def test_leaked_examples_are_named_by_their_lines_in_both_files(tmp_path: Path) -> None:
    lines = (TRAVEL / "train.jsonl").read_text(encoding="utf-8").splitlines()
    (tmp_path / "valid.jsonl").write_text("\n".join([lines[6], "", lines[8], *lines[20:30]]), encoding="utf-8")
    (tmp_path / "train.jsonl").write_text("\n".join(lines[:20]) + "\n", encoding="utf-8")
    arguments = ("datasets", "check", "train.jsonl", "--validation", "valid.jsonl")
    leakage = json.loads(kitae(*arguments, "--json", directory=tmp_path).stdout)["leakage"]
    assert leakage["exact"] == 2
    (pair,) = leakage["pairs"]
    assert (pair["training"], pair["validation"]) == ("train.jsonl", "valid.jsonl")
    assert pair["lines"] == [[1, 1], [3, 3]], "an empty line does not move the ones after it"
    assert pair["training_lines"] == [[7, 7], [9, 9]]
    assert "2 validation examples stand word for word" in kitae(*arguments, directory=tmp_path).stdout


@pytest.mark.parametrize(
    ("content", "more"), [("{", ()), ("[]", ()), ("{}", ("--method", "dpo"))], ids=["torn", "list", "dpo"]
)
def test_a_grader_that_cannot_be_used_is_a_usage_error(tmp_path: Path, content: str, more: tuple[str, ...]) -> None:
    (tmp_path / "grader.json").write_text(content)
    done = kitae(
        "datasets", "check", str(TRAVEL / "train.jsonl"), "--grader", "grader.json", *more, directory=tmp_path
    )
    assert done.returncode == 2
    assert "hint:" in done.stderr
    assert done.stdout == ""


def test_a_file_whose_name_is_no_text_is_checked_like_any_other(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    (tmp_path / name).write_bytes((TRAVEL / "train.jsonl").read_bytes())
    done = kitae("datasets", "check", name, "--json", directory=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["path"].endswith(".jsonl")
    assert kitae("datasets", "check", name, directory=tmp_path).returncode == 0


def test_an_unknown_model_is_a_usage_error_with_a_hint(tmp_path: Path) -> None:
    done = kitae("datasets", "check", str(TRAVEL / "train.jsonl"), "--model", "gpt-9", directory=tmp_path)
    assert done.returncode == 2
    assert "hint:" in done.stderr
    assert done.stdout == ""


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    assert kitae("datasets", "check", "nowhere.jsonl", directory=tmp_path).returncode == 2


def test_without_a_service_commands_say_how_to_get_one_and_exit_with_3(tmp_path: Path) -> None:
    done = kitae("jobs", "list", directory=tmp_path)
    assert done.returncode == 3
    assert "kitae up" in done.stderr
    assert done.stdout == ""


def test_a_service_that_does_not_answer_exits_with_3(tmp_path: Path) -> None:
    done = kitae("jobs", "list", directory=tmp_path, KITAE_URL="http://127.0.0.1:9", KITAE_API_KEY="x")
    assert done.returncode == 3
    assert "http://127.0.0.1:9" in done.stderr


def test_a_laptop_file_that_is_broken_is_no_address(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "laptop.json").write_text('{"url": ')
    assert kitae("jobs", "list", directory=tmp_path).returncode == 3


def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    done = kitae("migrate", directory=tmp_path, KITAE_PORT="ninety")
    assert done.returncode == 2
    assert "KITAE_PORT" in done.stderr


def test_a_process_without_its_settings_says_which_is_missing(tmp_path: Path) -> None:
    done = kitae("migrate", directory=tmp_path)
    assert done.returncode == 2
    assert "KITAE_DATABASE_URL" in done.stderr


def test_doctor_fails_when_the_queue_does_not_answer(tmp_path: Path) -> None:
    done = kitae("doctor", "--json", directory=tmp_path, KITAE_REDIS_URL="redis://127.0.0.1:9/0")
    verdicts = {item["name"]: item["verdict"] for item in json.loads(done.stdout)}
    assert done.returncode == 1
    assert verdicts == {"storage": "ok", "queue": "failed", "database": "skipped"}


def test_doctor_is_content_with_what_works(tmp_path: Path, database_url: str, redis_url: str) -> None:
    done = kitae("doctor", "--json", directory=tmp_path, KITAE_REDIS_URL=redis_url, KITAE_DATABASE_URL=database_url)
    verdicts = {item["name"]: item["verdict"] for item in json.loads(done.stdout)}
    invariants = {f"invariant {invariant.name}": "ok" for invariant in INVARIANTS}
    assert verdicts == invariants | {
        "storage": "ok",
        "queue": "ok",
        "database": "ok",
        "migrations": "ok",
        "secrets": "ok",
        "spending": "ok",
        "connections": "skipped",
    }
    assert done.returncode == 0


def test_doctor_names_a_broken_invariant_and_a_halt_and_says_what_to_do(tmp_path: Path, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO projects (id, name) VALUES ('prj_1', 'one')")
        connection.execute(
            "INSERT INTO comparisons (id, project_id, status, candidates, prompts) "
            "VALUES ('cmp_lost', 'prj_1', 'running', '[]', '[]')"
        )
        connection.execute("UPDATE installation SET halted = true, halted_reason = 'a stolen key'")
    done = kitae("doctor", "--json", directory=tmp_path, KITAE_DATABASE_URL=database_url)
    found = {item["name"]: item for item in json.loads(done.stdout)}
    assert found["invariant care_goes_on"]["verdict"] == "failed"
    assert "cmp_lost" in found["invariant care_goes_on"]["detail"]
    assert "What to do" in found["invariant care_goes_on"]["detail"]
    assert (found["spending"]["verdict"], "a stolen key" in found["spending"]["detail"]) == ("warning", True)
    assert done.returncode == 1


def test_settings_that_contradict_each_other_are_refused_in_words(tmp_path: Path) -> None:
    done = kitae("doctor", directory=tmp_path, KITAE_LEASE_SECONDS="30", KITAE_SETTLE_SECONDS="5")
    assert done.returncode == 2
    assert "KITAE_LEASE_SECONDS (30) must be at least KITAE_REQUEST_TIMEOUT_SECONDS (60) plus 10" in done.stderr
    assert "KITAE_SETTLE_SECONDS (5)" in done.stderr
    for_a_test = {"KITAE_LEASE_SECONDS": "2", "KITAE_SETTLE_SECONDS": "1", "KITAE_ENVIRONMENT": "test"}
    assert kitae("doctor", directory=tmp_path, **for_a_test).returncode == 0


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys, app.cli.main\n"
        "heavy = {'fastapi', 'sqlalchemy', 'httpx2', 'pydantic', 'celery', 'openai', 'numpy', 'rich.console'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["datasets upload", "jobs create", "deployments chat", "compare", "demo", "up"])
def test_the_reference_has_every_command_with_its_options(command: str) -> None:
    page = render_cli_markdown()
    assert f"# kitae {command}\n" in page
    assert f"$ kitae {command} [OPTIONS]" in page


def test_coverage_of_a_table_says_which_ways_of_asking_are_missing_offline(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("question,answer\nWho is Mary Smith?,A pilot.\nwho's Mary Smith?,A pilot.\n", encoding="utf-8")
    done = kitae("datasets", "coverage", str(table), "--json", directory=tmp_path)
    (fact,) = json.loads(done.stdout)["facts"]
    assert fact["questions"] == 2
    assert "keywords" in fact["missing"]
