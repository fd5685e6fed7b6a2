"""The record of deeds: what leaves a record, that it is part of the change, and that touching it shows."""

import datetime as dt
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from servers import Postgres, Project, make_project
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.access.schemas import ApiKeyCreate
from app.access.secrets import new_secret
from app.access.service import AccessService
from app.audit.chain import Flaw, canonical, link
from app.audit.log import _small
from app.audit.service import AuditService
from app.bootstrap import open_workbench
from app.cli.desk import on_this_machine
from app.cli.main import app as command_line
from app.datasets.service import DatasetService
from app.kit.caller import Caller, Operator
from app.kit.db import storable
from app.kit.deeds import Deed, doing
from app.kit.pagination import Page
from app.settings import Settings
from app.workbench import INSTALLATION, Workbench

GOOD = b'{"messages":[{"role":"user","content":"Hello?"},{"role":"assistant","content":"Good morning."}]}\n'


def records(client: TestClient | httpx2.Client, **only: Any) -> list[dict[str, Any]]:
    """Newest first."""
    answer = client.get("/v1/audit-events", params={"limit": 200, **only})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def deed(chain: str, number: int = 0) -> Deed:
    return Deed(actor_kind="key", actor_id=f"key_{number}", operation="test", chain=chain)


def write(bench: Workbench, project: Project, number: int = 0) -> None:
    """One change with one record."""
    with doing(deed(project.id, number)), bench.begin() as work:
        work.note("thing.changed", project_id=project.id, subject_id=f"thing_{number}", number=number)


def broken(bench: Workbench, chain: str, **more: Any) -> Flaw | None:
    (checked,) = AuditService(bench).check(chain=chain, **more)
    return checked.flaw


def tamper(url: str, statement: str, *values: object) -> None:
    """As somebody who owns the database: the trigger is no hindrance."""
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE audit_events DISABLE TRIGGER ALL")
        connection.execute(statement.encode(), values)
        connection.execute("ALTER TABLE audit_events ENABLE TRIGGER ALL")


# ── what a record says ──────────────────────────────────────────────────────


def test_a_change_is_recorded_with_who_what_and_from_where(client: TestClient, project: Project) -> None:
    headers = {"User-Agent": "probe/1 " + "x" * 500, "X-Request-Id": "asked-by-me"}
    made = client.post("/v1/datasets", json={"name": "letters"}, headers=headers).json()
    (record, *_) = records(client)
    assert record["change"] == "dataset.created"
    assert record["operation"] == "createDataset"
    assert record["subject_id"] == made["id"]
    assert record["actor_kind"] == "key"
    assert record["actor_id"] == client.get("/v1/api-keys").json()["data"][0]["id"]
    assert record["chain"] == project.id
    assert record["request_id"] == "asked-by-me"
    assert record["address"] == "testclient"
    assert record["agent"] == ("probe/1 " + "x" * 500)[:200]
    assert record["outcome"] == "done"
    assert record["detail"] == {"name": "letters"}


def test_a_change_that_is_rolled_back_leaves_no_record(bench: Workbench, project: Project) -> None:
    before = AuditService(bench).heads()

    def fail() -> None:
        with doing(deed(project.id)), bench.begin() as work:
            work.note("thing.changed", project_id=project.id, subject_id="thing_1")
            work.session.execute(text("SELECT 1 / 0"))

    with pytest.raises(DBAPIError):
        fail()
    assert AuditService(bench).heads() == before
    assert broken(bench, project.id) is None


def test_a_change_whose_record_cannot_be_written_does_not_happen(
    client: TestClient, bench: Workbench, project: Project, settings: Settings
) -> None:
    with bench.begin() as work:
        work.session.execute(text("ALTER TABLE audit_events ADD CONSTRAINT full_disk CHECK (number < 0) NOT VALID"))
    with TestClient(client.app, headers=project.headers, raise_server_exceptions=False) as quiet:
        assert quiet.post("/v1/datasets", json={"name": "letters"}).status_code == 500
        assert quiet.get("/v1/datasets").json()["data"] == []


def letters(client: TestClient, bench: Workbench) -> None:
    """A dataset with a checked version."""
    client.post("/v1/datasets", json={"name": "letters"})
    made = client.put("/v1/datasets/letters/content", content=GOOD)
    DatasetService(bench).check(made.json()["id"])


def test_reading_training_rows_is_recorded_before_they_are_sent(client: TestClient, bench: Workbench) -> None:
    letters(client, bench)
    for part, operation in (("preview", "previewVersion"), ("content", "getContent")):
        answer = client.get(f"/v1/datasets/letters/versions/1/{part}")
        assert answer.status_code == 200
        record = records(client)[0]
        assert (record["operation"], record["outcome"]) == (operation, "done")
        assert record["subject_id"] == "letters/1"
        assert "Good morning" not in json.dumps(record)
    before = len(records(client))
    client.get("/v1/datasets/letters/versions/1/stats")
    client.get("/v1/datasets/letters")
    assert len(records(client)) == before


def test_rows_that_cannot_be_recorded_as_read_are_not_sent(client: TestClient, bench: Workbench) -> None:
    letters(client, bench)
    with bench.begin() as work:
        work.session.execute(text("ALTER TABLE audit_events ADD CONSTRAINT full_disk CHECK (number < 0) NOT VALID"))
    answer = client.get("/v1/datasets/letters/versions/1/content")
    assert answer.status_code == 503
    assert answer.json()["code"] == "audit_unavailable"
    assert answer.headers["retry-after"]
    assert b"Good morning" not in answer.content


def test_a_refusal_is_recorded_and_a_body_that_cannot_be_read_is_not(
    client: TestClient, bench: Workbench, project: Project
) -> None:
    weak = client.post("/v1/api-keys", json={"name": "k", "scopes": ["jobs:read", "audit:read"]}).json()["secret"]
    with TestClient(client.app, headers={"Authorization": f"Bearer {weak}"}) as other:
        assert other.post("/v1/datasets", json={"name": "letters"}).status_code == 403
        assert other.delete("/v1/datasets/nobodys").status_code == 403
        newest = records(other)
    assert [(one["operation"], one["outcome"], one["detail"]) for one in newest[:2]] == [
        ("archiveDataset", "refused", {"status": 403}),
        ("createDataset", "refused", {"status": 403}),
    ]
    assert newest[0]["subject_id"] == "nobodys"
    before = len(records(client))
    assert client.post("/v1/datasets", json={"name": 7}).status_code == 422
    assert client.post("/v1/datasets", content=b"{").status_code in {400, 422}
    assert len(records(client)) == before


def test_a_flood_of_refusals_does_not_fill_the_record(client: TestClient) -> None:
    for _ in range(180):
        client.delete("/v1/datasets/nobodys")
    assert 100 < len(records(client, outcome="refused")) < 150


def test_what_a_worker_decides_about_money_is_the_workers_deed(bench: Workbench, project: Project) -> None:
    with bench.begin() as work:
        work.announce("deployment.deleting", project_id=project.id, subject_id="dep_1", reason="expired")
        work.announce("job.progress", project_id=project.id, subject_id="job_1", step=3)
    caller = Caller(project_id=project.id, key_id="key_1", scopes=frozenset({"*"}))
    found = AuditService(bench).page(caller, Page(limit=1), only={}).rows[0]
    assert (found.actor_kind, found.actor_id, found.change) == ("worker", bench.owner, "deployment.deleting")
    assert found.detail == {"reason": "expired"}


def test_an_operator_reads_the_installations_chain_and_no_projects(client: TestClient, bench: Workbench) -> None:
    secret, second = new_secret().secret, new_secret().secret
    for each in (secret, second, second):
        AccessService(bench).ensure_operator_key(each)
    with TestClient(client.app, headers={"Authorization": f"Bearer {second}"}) as operator:
        found = records(operator)
        assert [one["change"] for one in found] == [
            "operator_key.stored",
            "operator_key.revoked",
            "operator_key.stored",
        ]
        made = operator.post("/v1/projects", json={"name": "another"}).json()
        assert {one["chain"] for one in records(operator)} == {INSTALLATION}
        assert broken(bench, made["id"]) is None


def test_quotes_and_nested_things_stay_out_of_the_detail(bench: Workbench, project: Project) -> None:
    with bench.begin() as work:
        work.announce(
            "job.failed",
            project_id=project.id,
            subject_id="job_1",
            error={"message": "the row says canary"},
            remote="canary",
            message="canary",
            nested={"canary": 1},
            long="y" * 1000,
            many=[{"canary": 1}, *range(100)],
            number=5,
            hostile="a\x00b\ud800",
        )
    with bench.read() as session:
        row = session.execute(text("SELECT * FROM audit_events WHERE change = 'job.failed'")).one()
    assert "canary" not in str(row)
    assert row.detail["long"] == "y" * 100
    assert len(row.detail["many"]) == 20
    assert row.detail["number"] == 5
    assert broken(bench, project.id) is None


# ── touching it ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET operation = 'x'",
        "UPDATE audit_events SET operation = operation WHERE false",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "TRUNCATE audit_events, audit_heads CASCADE",
    ],
)
def test_the_database_refuses_to_change_a_record(statement: str, bench: Workbench, project: Project) -> None:
    with pytest.raises(DBAPIError, match="can only grow"), bench.begin() as work:
        work.session.execute(text(statement))
    assert broken(bench, project.id) is None


EDITS = {
    "another actor": "UPDATE audit_events SET actor_id = 'key_innocent' WHERE chain = %s AND number = 7",
    "another outcome": "UPDATE audit_events SET outcome = 'refused' WHERE chain = %s AND number = 7",
    "another time": "UPDATE audit_events SET at = at + interval '1 microsecond' WHERE chain = %s AND number = 7",
    "another detail": "UPDATE audit_events SET detail = '{\"number\": 8}' WHERE chain = %s AND number = 7",
    "another subject": "UPDATE audit_events SET subject_id = NULL WHERE chain = %s AND number = 7",
    "another address": "UPDATE audit_events SET address = '127.0.0.1' WHERE chain = %s AND number = 7",
    "another id": "UPDATE audit_events SET id = 'aud_x' WHERE chain = %s AND number = 7",
    "another hash": "UPDATE audit_events SET hash = repeat('a', 64) WHERE chain = %s AND number = 7",
    "gone": "DELETE FROM audit_events WHERE chain = %s AND number = 7",
    "moved behind": "UPDATE audit_events SET number = 99 WHERE chain = %s AND number = 7",
}


@dataclass(frozen=True)
class Book:
    """A database whose records are touched; each test has a project of its own in it."""

    bench: Workbench
    url: str


@pytest.fixture(scope="module")
def book(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    with postgres.database() as url:
        settings = Settings(_env_file=None, database_url=url, data_dir=tmp_path_factory.mktemp("book"))
        with open_workbench(settings) as bench:
            yield Book(bench, url)


@pytest.fixture
def filled(book: Book, request: pytest.FixtureRequest) -> Project:
    project = make_project(book.bench, f"p{abs(hash(request.node.name))}")
    for number in range(20):
        write(book.bench, project, number)
    assert broken(book.bench, project.id) is None
    return project


@pytest.mark.parametrize("name", EDITS)
def test_a_record_that_was_touched_is_named(name: str, book: Book, filled: Project) -> None:
    tamper(book.url, EDITS[name], filled.id)
    found = broken(book.bench, filled.id)
    assert found is not None
    assert found.number == 7, found
    assert "7" in found.what


def test_a_record_put_in_between_is_named(book: Book, filled: Project) -> None:
    tamper(
        book.url,
        "INSERT INTO audit_events SELECT chain, 0, 'aud_more', at, actor_kind, actor_id, operation, change, "
        "subject_id, outcome, request_id, address, agent, detail, hash FROM audit_events "
        "WHERE chain = %s AND number = 7",
        filled.id,
    )
    found = broken(book.bench, filled.id)
    assert found is not None
    assert found.number == 1


def test_a_chain_that_lost_its_end_is_found_by_the_head_and_by_a_witness(book: Book, filled: Project) -> None:
    url = book.url
    witness = {head.chain: head for head in AuditService(book.bench).heads()}
    last = witness[filled.id].number
    tamper(url, "DELETE FROM audit_events WHERE chain = %s AND number > 10", filled.id)
    found = broken(book.bench, filled.id)
    assert found is not None
    assert (found.number, found.record_id) == (11, None)
    tamper(  # whoever cuts it off cleverly moves the head back too
        url,
        "UPDATE audit_heads SET number = 10, "
        "hash = (SELECT hash FROM audit_events e WHERE e.chain = audit_heads.chain AND number = 10) WHERE chain = %s",
        filled.id,
    )
    assert broken(book.bench, filled.id) is None, "which is why heads are kept elsewhere"
    told = broken(book.bench, filled.id, witnesses=witness)
    assert told is not None
    assert str(last) in told.what
    write(book.bench, filled, 99)
    again = broken(book.bench, filled.id, witnesses=witness)
    assert again is not None


def test_a_chain_rewritten_from_the_middle_is_found_by_a_witness(book: Book, filled: Project) -> None:
    witness = {head.chain: head for head in AuditService(book.bench).heads()}
    with psycopg.connect(book.url, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("ALTER TABLE audit_events DISABLE TRIGGER ALL")
        rows = connection.execute(
            "SELECT * FROM audit_events WHERE chain = %s ORDER BY number", (filled.id,)
        ).fetchall()
        before = rows[4]["hash"]
        for row in rows[5:]:
            row["actor_id"] = "key_innocent"
            before = link(before, row)
            connection.execute(
                "UPDATE audit_events SET actor_id = 'key_innocent', hash = %s WHERE id = %s", (before, row["id"])
            )
        connection.execute("UPDATE audit_heads SET hash = %s WHERE chain = %s", (before, filled.id))
    assert broken(book.bench, filled.id) is None
    told = broken(book.bench, filled.id, witnesses=witness)
    assert told is not None
    assert "another than the one written down" in told.what


def test_a_chain_that_was_thrown_away_whole_is_missed(book: Book, filled: Project) -> None:
    url = book.url
    tamper(url, "DELETE FROM audit_events WHERE chain = %s", filled.id)
    found = broken(book.bench, filled.id)
    assert found is not None
    assert found.number == 1


def test_many_writers_at_once_make_one_chain_without_a_gap(bench: Workbench, project: Project) -> None:
    other = make_project(bench, "other")
    start = threading.Barrier(8)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        start.wait(10)
        try:
            for turn in range(15):
                # two chains in one transaction, named in either order: nobody may wait for whoever waits for them
                first, second = (project, other) if (number + turn) % 2 else (other, project)
                with doing(deed(project.id, number)), bench.begin() as unit:
                    unit.note("thing.changed", project_id=first.id, subject_id=f"t{number}")
                    unit.note("thing.changed", project_id=second.id, subject_id=f"t{number}")
        except BaseException as error:  # noqa: BLE001  handed to the test's own thread
            failures.append(error)

    before = {head.chain: head.number for head in AuditService(bench).heads()}
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    after = {head.chain: head.number for head in AuditService(bench).heads()}
    for chain in (project.id, other.id):
        assert after[chain] - before[chain] == 8 * 15
        assert broken(bench, chain) is None


# ── the command ─────────────────────────────────────────────────────────────


@pytest.fixture
def kitae(book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `kitae …` on the book's database."""
    monkeypatch.setenv("KITAE_DATABASE_URL", book.url)
    monkeypatch.setenv("KITAE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KITAE_LOG_LEVEL", "ERROR")
    return lambda *words: CliRunner().invoke(command_line, list(words))


def test_the_command_says_sound_and_then_names_the_record(
    kitae: Callable[..., Any], book: Book, filled: Project, tmp_path: Path
) -> None:
    heads = kitae("audit", "head")
    assert heads.exit_code == 0, heads.output
    kept = tmp_path / "heads.json"
    kept.write_text(heads.stdout)
    sound = kitae("audit", "verify", "--against", str(kept), "--json")
    assert sound.exit_code in {0, 4}, "other tests touch chains of the same book"
    verdicts = {one["chain"]: one["sound"] for one in json.loads(sound.stdout)}
    assert verdicts[filled.id]
    tamper(book.url, EDITS["another actor"], filled.id)
    told = kitae("audit", "verify", "--project", filled.id, "--json")
    assert told.exit_code == 4
    (only,) = json.loads(told.stdout)
    assert only["first_bad"]["number"] == 7
    assert only["first_bad"]["id"].startswith("aud_")
    words = kitae("audit", "verify")
    assert words.exit_code == 4
    assert "record 7 was changed" in words.stdout


def test_the_command_refuses_what_is_no_list_of_heads(
    kitae: Callable[..., Any], project: Project, tmp_path: Path
) -> None:
    (tmp_path / "x.json").write_text('{"chain": 1}')
    assert kitae("audit", "verify", "--against", str(tmp_path / "x.json")).exit_code != 0
    assert kitae("audit", "verify", "--project", "nobodys").exit_code != 0


# ── the bytes that are hashed ───────────────────────────────────────────────


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=8),
        st.one_of(
            st.text(max_size=120), st.integers(-(1 << 70), 1 << 70), st.booleans(), st.lists(st.text(max_size=9))
        ),
        max_size=5,
    )
)
def test_whatever_a_detail_holds_reads_back_to_the_same_bytes(detail: dict[str, Any]) -> None:
    """What jsonb would give back: parsed from JSON text with its members in another order."""
    kept = storable(_small(detail))
    at = dt.datetime(2026, 11, 21, 9, 30, 0, 5, tzinfo=dt.UTC)
    names = ("chain", "id", "actor_kind", "actor_id", "operation", "change", "subject_id", "outcome", "request_id")
    record: dict[str, Any] = dict.fromkeys((*names, "address", "agent"), "x") | {
        "number": 1,
        "at": at,
        "detail": kept,
    }
    again = json.loads(json.dumps(dict(reversed(kept.items()))))
    elsewhere = dt.timezone(dt.timedelta(hours=9))
    assert canonical(record) == canonical(record | {"detail": again, "at": at.astimezone(elsewhere)})


def test_a_key_made_by_a_command_is_the_commands_deed(bench: Workbench, project: Project) -> None:
    operator = Operator(key_id="bootstrap", scopes=frozenset({"admin"}))
    with on_this_machine("up"):
        AccessService(bench).create_key(operator, ApiKeyCreate(name="k", scopes=["*"], project=project.id))
    with bench.read() as session:
        row = session.execute(text("SELECT * FROM audit_events ORDER BY at DESC LIMIT 1")).one()
    assert (row.actor_kind, row.operation, row.change) == ("cli", "kitae up", "api_key.created")
    assert "@" in row.actor_id
