"""Kitae as an operator runs it: one process each for the API, workers and beat, with settings from the environment."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from processes import free_port, running
from servers import ROOT

START_SECONDS = 60.0


@dataclass
class Installation:
    """The settings that its processes share, and the processes."""

    database_url: str
    redis_url: str
    directory: Path
    emulator_url: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _stack: ExitStack = field(default_factory=ExitStack)
    _started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What all processes wrote to stderr."""
        return self.directory / "log"

    def run(self, command: str) -> None:
        """`kitae COMMAND` until it ends with code 0."""
        assert self.start(command).wait(START_SECONDS) == 0, self.log.read_text()[-3000:]

    def start(self, command: str) -> "subprocess.Popen[bytes]":
        """`kitae COMMAND` as a process of its own."""
        given = {
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "data_dir": self.data_dir,
            "allowed_origins": self.emulator_url,
            "port": self.port,
            "environment": "test",
            **self.settings,
        }
        environment = {f"KITAE_{name.upper()}": str(value) for name, value in given.items()}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "app.cli.main", command],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(process)
        return self._stack.enter_context(running(process))

    def start_api(self) -> "subprocess.Popen[bytes]":
        """The API, once it answers."""
        process = self.start("api")
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return process
            except httpx2.TransportError:
                assert process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.05)

    def left_over(self) -> list[str]:
        """Commands of processes that were begun by ours and outlived them: each has its own session, so they show."""
        sessions = {process.pid for process in self._started}
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                session = int((directory / "stat").read_text().rpartition(")")[2].split()[3])
                command = (directory / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # ended meanwhile
            if session in sessions and command:
                found.append(command)
        return found


@contextmanager
def installed(database_url: str, redis_url: str, directory: Path, **settings: Any) -> Iterator[Installation]:
    """An installation whose processes end with the context."""
    emulator_url = settings.pop("emulator_url", "")
    made = Installation(database_url, redis_url, directory, emulator_url, settings)
    with made._stack:
        yield made


def end(process: "subprocess.Popen[bytes]", *, seconds: float) -> float:
    """SIGTERM; how long it took to end with code 0."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(seconds)
    assert code == 0, code
    return time.monotonic() - began


def resident_bytes(pid: int, *, peak: bool = False) -> int:
    """Memory of a process that is in RAM; with `peak` the most it ever was."""
    name = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name} for {pid}")
