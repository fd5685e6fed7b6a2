"""The laptop mode: database, emulator, worker and API on this machine, in one go, ended in one go.

It knows how the parts are started, no rule of any of them.
"""

import fcntl
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self

from pydantic import SecretStr

from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.cli.children import child, first_line, never_ran
from app.cli.desk import on_this_machine
from app.cli.door import LAPTOP_FILE
from app.cli.exits import Told
from app.cli.postgres import embedded_postgres
from app.cli.schema import migrate
from app.connections.schemas import ConnectionCreate
from app.connections.service import ConnectionService
from app.connections.tables import Connection
from app.http.server import make_server
from app.kit import named
from app.kit.errors import NotFound
from app.kit.logging import set_up_logging
from app.kit.pagination import Page
from app.main import create_app
from app.settings import Settings
from app.workbench import SendNudge, Workbench
from worker.embedded import embedded_worker

PROJECT: Final = "default"
CONNECTION: Final = "emulator"
EMULATOR_KEY: Final = "emulator"
"""Any key that is not empty opens it."""
EMULATOR_LINE: Final = "emulator listening on "

QUIET: Final[dict[str, Any]] = {"log_level": "WARNING", "log_json": False}
"""A terminal is read by a person; an environment variable brings the full log back."""

EMULATED: Final[dict[str, Any]] = {
    "tick_seconds": 0.3,
    "watch_starting_seconds": 0.5,
    "watch_running_seconds": 0.7,
    "file_poll_seconds": 0.3,
    "deployment_poll_seconds": 0.5,
    "quota_release_seconds": 1.0,
    "settle_seconds": 5.0,
}
"""The emulator is on this machine and lives faster than Azure, so it is asked more often."""


class Stopped(BaseException):
    """Somebody asked us to end: Ctrl-C, or SIGTERM."""


@dataclass(frozen=True, slots=True)
class Running:
    """A laptop instance, as its file tells it to clients and to the next start."""

    url: str
    key: str
    project: str
    process: int
    emulator: str | None = None
    """The emulator's URL; its port stays the same over restarts, because the connection names it."""
    connection: str | None = None


Ready = Callable[[Running], None]


def run(
    *, data_dir: Path, host: str, port: int, emulator: bool, emulator_environment: dict[str, str], on_ready: Ready
) -> None:
    """Serve until Ctrl-C or SIGTERM; everything that was started has ended when this returns.

    Raises:
        Told: the port is taken, another instance runs in this directory, or a part did not start.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    with _signals_end_us(), ExitStack() as parts:
        try:
            parts.enter_context(_only_one(data_dir))
            listener = parts.enter_context(_listen(host, port))
            settings = _settings(QUIET | {"data_dir": data_dir, "host": host, "port": listener.getsockname()[1]})
            set_up_logging(level=settings.log_level, as_json=settings.log_json)
            logging.getLogger("kombu.connection").setLevel("ERROR")  # it misses a host in memory://, which has none
            stand_in = parts.enter_context(_Emulator(data_dir, emulator_environment)) if emulator else None
            if settings.database_url is None:
                url = parts.enter_context(embedded_postgres(data_dir / "postgres", log=data_dir / "postgres.log"))
                settings = settings.model_copy(update={"database_url": SecretStr(url)})
            migrate(settings)
            running = _first_steps(settings, data_dir)
            if stand_in is not None and _wants_emulator(settings, running.project):
                origin = stand_in.origin()
                settings = _with_emulator(settings, origin)
                running = replace(running, emulator=origin, connection=_connect(settings, running.project, origin))
            elif stand_in is not None:
                stand_in.end()
            _serve(settings, running, listener, on_ready)
        except Stopped:
            pass
        finally:
            _ignore_signals()


def _serve(settings: Settings, running: Running, listener: socket.socket, on_ready: Ready) -> None:
    """The API in this thread, the worker in others."""
    with ExitStack() as stack:

        def open_bench(send_nudge: SendNudge) -> Workbench:
            size = settings.worker_threads + settings.api_threads // 2
            return stack.enter_context(open_workbench(settings, send_nudge=send_nudge, pool_size=size))

        bench = stack.enter_context(embedded_worker(settings, open_bench))
        server = make_server(create_app(settings, bench), host=settings.host, port=settings.port)
        listener.listen(2048)  # from here on callers are let in; the server picks them up in a moment
        _keep(settings.data_dir, running)
        on_ready(running)
        server.run(sockets=[listener])


# ── settings ────────────────────────────────────────────────────────────────


def _settings(wishes: dict[str, Any]) -> Settings:
    """Our wishes where neither the environment nor `.env` says otherwise; the directory and port are not wishes."""
    fixed = {name: value for name, value in wishes.items() if name in {"data_dir", "host", "port"}}
    chosen = Settings().model_fields_set
    return Settings(**fixed, **{name: wishes[name] for name in wishes.keys() - fixed.keys() - chosen})


def _with_emulator(settings: Settings, origin: str) -> Settings:
    chosen = Settings().model_fields_set
    wishes = {name: value for name, value in EMULATED.items() if name not in chosen}
    return settings.model_copy(update=wishes | {"allowed_origins": settings.allowed_origins | {origin}})


# ── one instance a directory, one listener a port ───────────────────────────


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """The kernel gives the lock back when its holder dies, however it dies."""
    with (data_dir / "laptop.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            where = _kept(data_dir).get("url", "an unknown URL")
            raise Told(
                f"Kitae runs in {data_dir} already, at {where}.",
                hint="Use that one, stop it, or choose another directory with --data-dir.",
            ) from error
        yield


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise Told(
                f"I cannot listen on {host}:{port}: {error.strerror}.",
                hint="Choose another port with --port; 0 takes a free one.",
            ) from error
        yield listener


@contextmanager
def _signals_end_us() -> Iterator[None]:
    """SIGINT and SIGTERM unwind the whole stack, in every phase; the server has its own way in between."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """While everything ends, which takes seconds at most, a second Ctrl-C must not leave a part behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


# ── the emulator ────────────────────────────────────────────────────────────


class _Emulator:
    """The emulator as a child, on its port of last time. It starts at once, while the database starts too."""

    def __init__(self, data_dir: Path, environment: dict[str, str]) -> None:
        self._state = data_dir / "emulator"
        self._log = data_dir / "emulator.log"
        self._environment = {**os.environ, **environment}
        self._port = _port_of(_kept(data_dir).get("emulator"))
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self._process = self._start(self._port)
        return self

    def __exit__(self, *_error: object) -> None:
        self.end()

    def _start(self, port: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "emulator", "--port", str(port), "--state", str(self._state)]
        starting = child(command, log=self._log, environment=self._environment, read_stdout=True)
        return self._running.enter_context(starting)

    def origin(self) -> str:
        """Its URL, once it answers; on another port than last time when that is taken. Raises `Told`."""
        found = first_line(self._process, EMULATOR_LINE)
        if found is None and self._port:
            self._process = self._start(0)
            found = first_line(self._process, EMULATOR_LINE)
        if found is None:
            raise never_ran("The emulator", self._log)
        return found

    def end(self) -> None:
        self._running.close()


def _port_of(url: object) -> int:
    return urllib.parse.urlsplit(url).port or 0 if isinstance(url, str) else 0


def _wants_emulator(settings: Settings, project: str) -> bool:
    """Unless somebody has connected a real resource and put the emulator's connection away."""
    with open_workbench(settings, pool_size=1) as bench:
        page = Page(limit=50, after=None, before=None, descending=True)
        names = {connection.name for connection in ConnectionService(bench).page(project, page).rows}
    return not names or CONNECTION in names


def _connect(settings: Settings, project: str, origin: str) -> str:
    """The connection to the emulator: made once, pointed anew where the emulator's old port was taken."""
    with open_workbench(settings, pool_size=1) as bench:
        connections = ConnectionService(bench)
        try:
            known = connections.get(project, CONNECTION)
        except NotFound:
            wanted = ConnectionCreate(
                name=CONNECTION,
                endpoint=origin,
                region="swedencentral",
                api_style="v1",
                auth="api_key",
                api_key=SecretStr(EMULATOR_KEY),
                arm_endpoint=origin,
                arm_token=SecretStr(EMULATOR_KEY),
                subscription_id="00000000-0000-0000-0000-000000000000",
                resource_group="laptop",
                account="emulator",
            )
            with on_this_machine("up"):
                return connections.create(project, wanted).id
        if known.endpoint != origin:
            with bench.begin() as work:  # not a verb of the room: for real resources an address never changes
                named.change(work.session, Connection, known.id, {"endpoint": origin, "arm_endpoint": origin})
        return known.id


# ── what is kept between two starts ─────────────────────────────────────────


def _first_steps(settings: Settings, data_dir: Path) -> Running:
    """The project, and the key of last time as long as it still opens it."""
    kept = _kept(data_dir)
    with open_workbench(settings, pool_size=2) as bench:
        access = AccessService(bench)
        holder = access.check(str(kept.get("key", "")))
        if holder is not None and getattr(holder, "project_id", None):
            project, key = str(getattr(holder, "project_id", "")), str(kept["key"])
        else:
            with on_this_machine("up"):
                made, key = access.bootstrap_project(PROJECT)
            project = made.id
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Running(url=f"http://{host}:{settings.port}", key=key, project=project, process=os.getpid())


def _kept(data_dir: Path) -> dict[str, Any]:
    try:
        kept = json.loads((data_dir / LAPTOP_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(data_dir: Path, running: Running) -> None:
    """Written whole or not at all, and readable only by its owner: it holds a key."""
    emulator = running.emulator or _kept(data_dir).get("emulator")
    draft = data_dir / f".{LAPTOP_FILE}.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(replace(running, emulator=emulator)), file, indent=2)
    draft.replace(data_dir / LAPTOP_FILE)
