"""Stored credentials: bound to their row, sealed anew under load, and no start without the keys that rows need."""

import base64
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from installation import installed
from servers import Project, make_project
from sqlalchemy import text
from typer.testing import CliRunner

from app.bootstrap import SettingMissing, missing_keys, open_workbench, refuse_missing_keys
from app.cli import words
from app.cli.diagnosis import diagnose
from app.cli.main import app as command_line
from app.cli.rotation import rotate
from app.connections.schemas import ConnectionCreate, ConnectionPatch
from app.connections.service import ConnectionService
from app.kit.sealed import keys_in_use, sealed_tables
from app.kit.secrets import UnreadableSecret, Vault
from app.settings import Settings
from app.tables import Base
from app.workbench import Workbench

ENDPOINT = "https://contoso.openai.azure.com"


def connect(bench: Workbench, project: Project, name: str, secret: str) -> str:
    new = ConnectionCreate(
        name=name,
        endpoint=ENDPOINT,
        auth="api_key",
        api_key=secret,
        arm_token=f"arm-{secret}",
        subscription_id="s",
        resource_group="r",
        account="a",
    )
    return ConnectionService(bench).create(project.id, new).id


def secrets_of(bench: Workbench, project: Project, name: str) -> tuple[str | None, str | None]:
    service = ConnectionService(bench)
    target = service.target(service.get(project.id, name))
    return target.api_key, target.arm_token


@contextmanager
def with_keys(settings: Settings, *keys: str) -> Iterator[Workbench]:
    """The same database, with these keys, newest first."""
    changed = Settings(
        _env_file=None,
        database_url=settings.database_url,
        data_dir=settings.data_dir,
        environment="test",
        secret_keys=",".join(keys),
    )
    with open_workbench(changed) as bench:
        yield bench


@pytest.fixture
def keys() -> tuple[str, str]:
    """An old one and a new one."""
    return Vault.new_key(), Vault.new_key()


# ── sealing ─────────────────────────────────────────────────────────────────


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_a_secret_opens_for_its_own_row_only(secret: str, row: str, other: str) -> None:
    vault = Vault([Vault.new_key()])
    try:
        sealed = vault.seal(secret, row_id=row)
    except UnicodeEncodeError:
        return  # half a surrogate pair; requests that hold one are refused
    assert vault.open(sealed, row_id=row) == secret
    if other != row:
        with pytest.raises(UnreadableSecret):
            vault.open(sealed, row_id=other)


def test_one_changed_bit_anywhere_is_noticed() -> None:
    vault = Vault([Vault.new_key()])
    sealed = vault.seal("secret", row_id="con_1")
    for place in range(len(sealed)):
        broken = bytearray(sealed)
        broken[place] ^= 1
        with pytest.raises(UnreadableSecret):
            vault.open(bytes(broken), row_id="con_1")
    for length in range(len(sealed)):
        with pytest.raises(UnreadableSecret):
            vault.open(sealed[:length], row_id="con_1")


def test_the_same_secret_is_never_sealed_to_the_same_bytes() -> None:
    vault = Vault([Vault.new_key()])
    assert len({vault.seal("secret", row_id="con_1") for _ in range(200)}) == 200


@pytest.mark.parametrize("wrong", ["", "nonsense", base64.b64encode(b"short").decode(), "AAAA" * 11 + "A"])
def test_what_is_no_key_is_refused_when_it_is_read(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"key|base64|padding|Incorrect"):
        Vault([wrong])


# ── swapping ────────────────────────────────────────────────────────────────


def test_ciphertexts_swapped_between_rows_projects_and_columns_do_not_open(
    bench: Workbench, project: Project, second_project: Project
) -> None:
    connect(bench, project, "one", "of-one")
    connect(bench, project, "two", "of-two")
    connect(bench, second_project, "theirs", "of-theirs")
    swap = text(
        "UPDATE connections c SET api_key_sealed = o.api_key_sealed FROM connections o "
        "WHERE c.name = :into AND o.name = :from"
    )
    kept = {name: secrets_of(bench, project, name) for name in ("one", "two")}
    for into, origin, holder in (("one", "two", project), ("theirs", "one", second_project)):
        with bench.sessions() as session:
            session.execute(swap, {"into": into, "from": origin})
            session.flush()
            session.commit()
        with pytest.raises(UnreadableSecret):
            secrets_of(bench, holder, into)
    assert secrets_of(bench, project, "two") == kept["two"]


# ── rotating ────────────────────────────────────────────────────────────────


def test_every_sealed_column_of_the_tables_is_found_in_the_database(bench: Workbench) -> None:
    with bench.read() as session:
        found = {(table.name, name) for table, names in sealed_tables(session) for name in names}
    known = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if column.name.endswith("_sealed")
    }
    assert found == known
    assert len(found) >= 4


def test_after_a_rotation_the_old_key_can_go(settings: Settings, keys: tuple[str, str]) -> None:
    old, new = keys
    with with_keys(settings, old) as bench:
        project = make_project(bench, "first")
        for number in range(7):
            connect(bench, project, f"c{number}", f"secret-{number}")
    with with_keys(settings, new, old) as bench:
        connect(bench, project, "fresh", "sealed-with-the-new-key")
        done = rotate(bench, batch=3)
        assert (done.resealed, done.total, done.unreadable) == (14, 16, ())
        again = rotate(bench, batch=3)
        assert (again.resealed, again.total) == (0, 16), "nothing is done twice"
    with with_keys(settings, new) as bench:
        assert missing_keys(bench) is None
        for number in range(7):
            assert secrets_of(bench, project, f"c{number}") == (f"secret-{number}", f"arm-secret-{number}")
    with with_keys(settings, old) as bench, pytest.raises(UnreadableSecret):
        secrets_of(bench, project, "c0")


def test_a_rotation_that_was_broken_off_goes_on_where_it_was(settings: Settings, keys: tuple[str, str]) -> None:
    old, new = keys
    with with_keys(settings, old) as bench:
        project = make_project(bench, "first")
        for number in range(6):
            connect(bench, project, f"c{number}", f"secret-{number}")
    with with_keys(settings, new, old) as bench:
        committed = 0

        class Stopped(Exception):
            pass

        def stop_in_the_middle(*arguments: Any) -> bool:
            nonlocal committed
            committed += 1
            if committed == 3:
                raise Stopped
            return bench.record_deed(*arguments)

        with pytest.raises(Stopped):
            rotate(replace(bench, record_deed=stop_in_the_middle), batch=2)
        with bench.read() as session:
            used = keys_in_use(session)
        assert used[bench.vault.newest] == 8, "two batches of two rows with two secrets each"
        assert rotate(bench, batch=2).resealed == 4


def test_a_rotation_under_load_loses_no_secret_that_is_stored_meanwhile(
    settings: Settings, keys: tuple[str, str]
) -> None:
    old, new = keys
    with with_keys(settings, old) as bench:
        project = make_project(bench, "first")
        for number in range(20):
            connect(bench, project, f"c{number}", "old-secret")
    with with_keys(settings, new, old) as bench:
        service = ConnectionService(bench)
        begun = threading.Barrier(2)
        failures: list[BaseException] = []

        def replace_them() -> None:
            begun.wait(10)
            try:
                for number in reversed(range(20)):
                    service.change(project.id, f"c{number}", ConnectionPatch(api_key=f"new-secret-{number}"))
                    assert secrets_of(bench, project, f"c{number}")[0] == f"new-secret-{number}"
            except BaseException as error:  # noqa: BLE001  handed to the test's own thread
                failures.append(error)

        other = threading.Thread(target=replace_them)
        other.start()
        begun.wait(10)
        done = rotate(bench, batch=1)
        other.join(60)
        assert failures == []
        assert done.unreadable == ()
    with with_keys(settings, new) as bench:
        for number in range(20):
            assert secrets_of(bench, project, f"c{number}") == (f"new-secret-{number}", "arm-old-secret")


def test_a_secret_that_no_key_opens_is_named_and_left_alone(settings: Settings, keys: tuple[str, str]) -> None:
    old, new = keys
    with with_keys(settings, old) as bench:
        project = make_project(bench, "first")
        lost = connect(bench, project, "lost", "x")
    with with_keys(settings, new) as bench:
        connect(bench, project, "fine", "y")
        done = rotate(bench, batch=10)
        assert set(done.unreadable) == {
            f"connections.api_key_sealed {lost}",
            f"connections.arm_token_sealed {lost}",
        }
        assert done.resealed == 0


# ── starting without a key ──────────────────────────────────────────────────


def test_without_a_key_that_rows_need_nothing_starts_and_the_doctor_says_so(
    settings: Settings, keys: tuple[str, str]
) -> None:
    old, new = keys
    with with_keys(settings, old) as bench:
        connect(bench, make_project(bench, "first"), "c", "x")
        old_id = bench.vault.newest.hex()
        refuse_missing_keys(bench)
    with with_keys(settings, new) as bench, pytest.raises(SettingMissing) as told:
        refuse_missing_keys(bench)
    assert "2 stored secrets" in str(told.value)
    assert old_id in str(told.value)
    assert "KITAE_SECRET_KEYS" in str(told.value)
    wrong = settings.model_copy(update={"secret_keys": Settings(_env_file=None, secret_keys=new).secret_keys})
    checks = {check.name: check for check in diagnose(wrong)}
    assert checks["secrets"].verdict == "failed"
    assert old_id in checks["secrets"].detail


@pytest.fixture
def kitae(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `kitae …` with these secret keys on this test's database."""
    assert settings.database_url is not None
    monkeypatch.setenv("KITAE_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("KITAE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("KITAE_LOG_LEVEL", "ERROR")

    def run(secret_keys: str, *arguments: str) -> Any:
        monkeypatch.setenv("KITAE_SECRET_KEYS", secret_keys)
        words.word_console.cache_clear()  # each run has a stderr of its own
        return CliRunner().invoke(command_line, list(arguments))

    return run


def test_the_command_counts_and_is_recorded_as_somebodys_deed(
    kitae: Callable[..., Any], settings: Settings, keys: tuple[str, str]
) -> None:
    old, new = keys
    with with_keys(settings, old) as bench:
        connect(bench, make_project(bench, "first"), "c", "x")
    told = kitae(f"{new},{old}", "secrets", "rotate", "--json")
    assert told.exit_code == 0, told.output
    assert '"resealed": 2' in told.stdout
    assert new not in told.output
    assert old not in told.output
    assert kitae(new, "secrets", "rotate").exit_code == 0
    assert kitae(old, "secrets", "rotate").exit_code == 4, "secrets that this key does not open"
    with with_keys(settings, new) as bench, bench.read() as session:
        row = session.execute(text("SELECT * FROM audit_events WHERE change = 'secrets.resealed'")).one()
    assert (row.actor_kind, row.operation, row.detail["secrets"]) == ("cli", "kitae secrets rotate", 2)
    fresh = kitae(new, "secrets", "new-key")
    assert Vault([fresh.stdout.strip()])


@pytest.mark.e2e
def test_the_processes_refuse_in_words(
    database_url: str, redis_url: str, tmp_path: Path, keys: tuple[str, str]
) -> None:
    old, new = keys
    settings = Settings(_env_file=None, database_url=database_url, data_dir=tmp_path / "data", secret_keys=old)
    with open_workbench(settings) as bench:
        connect(bench, make_project(bench, "first"), "c", "x")
    with installed(database_url, redis_url, tmp_path, secret_keys=new) as kitae:
        for command in ("api", "worker"):
            assert kitae.start(command).wait(60) == 2, command
        log = kitae.log.read_text()
    assert log.count("2 stored secrets are sealed with a key that is not in KITAE_SECRET_KEYS") == 2
    assert "Traceback" not in log
