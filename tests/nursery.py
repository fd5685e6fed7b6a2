"""Real processes of the service, started in a moment: forked from one that has imported everything already.

What a fault test costs would otherwise be the import of the service, a second or two for each process it kills.
A child has its own pid, session, environment, limits and log, and ends like any process of an operator's.

    with nursery() as made:
        worker = made.start(["worker"], environment, log=path)    # as `kitae worker`
        worker.kill()

Run as a program, it is the process that forks; with arguments, it is such a child itself: `nursery.py drive 60`.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
DRIVE: Final = "drive"
"""Instead of a command of `kitae`: take every step that is due without a queue, until nothing is."""


@dataclass
class Child:
    """A forked process; the members of `subprocess.Popen` that tests use."""

    pid: int
    log: Path
    _ask: Any
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._ask({"poll": self.pid})["code"]
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """The exit code, or minus the signal that ended it. Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + timeout
        while True:
            code = self.poll()
            if code is not None:
                return code
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def said(self) -> str:
        """What it wrote to stdout and stderr."""
        return self.log.read_text(errors="replace")


@dataclass
class Nursery:
    """The parent of all children. They end with it."""

    _process: "subprocess.Popen[str]"
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _children: list[Child] = field(default_factory=list)

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: Path,
        limits: Mapping[str, int] | None = None,
    ) -> Child:
        """`kitae COMMAND`, or `drive SECONDS`.

        Args:
            environment: KITAE_… variables; the child sees no others of that name.
            limits: name in `resource` → soft limit, such as `RLIMIT_AS`.
        """
        wanted = {
            "command": list(command),
            "environment": dict(environment),
            "log": str(log),
            "limits": dict(limits or {}),
        }
        child = Child(self._ask({"start": wanted})["pid"], log, self._ask)
        self._children.append(child)
        return child

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, "the nursery has ended"
        return dict(json.loads(answer))


@contextmanager
def nursery(**variables: str) -> Iterator[Nursery]:
    """A nursery whose children are killed at the end.

    Args:
        variables: of the environment of it and all its children, such as `LD_PRELOAD`.
    """
    process = subprocess.Popen(
        [sys.executable, __file__],
        cwd=ROOT,
        env={
            **os.environ,
            "OPENBLAS_NUM_THREADS": "1",
            **variables,
        },  # a library with threads of its own does not survive a fork
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    made = Nursery(process)
    try:
        yield made
    finally:
        for child in made._children:
            child.kill()
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


# --- the process that forks ------------------------------------------------------------------------------------


def _serve() -> None:
    """Read requests from stdin until it closes."""
    for name in (
        "app.cli.main",
        "app.cli.schema",
        "app.main",
        "celery.concurrency.thread",
        "uvicorn",
        "worker.celery_app",
    ):
        importlib.import_module(name)  # so that no child has to

    codes: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: dict[str, int | None] = {"pid": _fork(**request["start"])}
        else:
            answer = {"code": _code(request["poll"], codes)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _code(pid: int, codes: dict[int, int]) -> int | None:
    if pid not in codes:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            return None
        codes[pid] = os.waitstatus_to_exitcode(status)
    return codes[pid]


def _fork(command: list[str], environment: dict[str, str], log: str, limits: dict[str, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):  # a shell in the background ignores them
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        _become(environment, log, limits)
        code = _run(command)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  the last door of the process: told in its log, ends with a code
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _become(environment: dict[str, str], log: str, limits: dict[str, int]) -> None:
    """A process of its own in everything but its memory's history."""
    import random
    import resource

    os.setsid()
    for name in [name for name in os.environ if name.startswith("KITAE_") and not name.startswith("KITAE_TEST_")]:
        del os.environ[name]
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (handle, 1), (handle, 2)):
        os.dup2(source, target)
    random.seed()
    for name, soft in limits.items():
        number = getattr(resource, name)
        resource.setrlimit(number, (soft, resource.getrlimit(number)[1]))


def _run(command: list[str]) -> int:
    if command[0] == DRIVE:
        return _drive(float(command[1]))
    from app.cli.main import main

    sys.argv = ["kitae", *command]
    main()
    return 0


def _drive(seconds: float) -> int:
    """Be a worker without a queue. 0 when nothing is due any more, 3 when time is over.

    One that is to be killed at a failpoint does not leave before it got there, be it only the next sweep.
    """
    from app.bootstrap import open_workbench
    from app.kit.failpoints import ENVIRONMENT_VARIABLE
    from app.kit.logging import set_up_logging
    from app.settings import Settings
    from worker.reactions import react
    from worker.tasks import CARED
    from worker.tick import tick

    armed = os.environ.get(ENVIRONMENT_VARIABLE, "").endswith(":kill")
    settings = Settings(_env_file=None)
    set_up_logging(level=settings.log_level, as_json=settings.log_json)
    with open_workbench(settings) as bench:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            tick(
                bench,
                lambda task, row_id: CARED[task].take_steps(bench, row_id),
                redispatch_seconds=settings.redispatch_seconds,
            )
            if not react(bench) and not armed and not _wants_care(bench):
                return 0
            time.sleep(0.05)
    return 3


def _wants_care(bench: Any) -> bool:
    """Whether any row still wants care, now or later."""
    from sqlalchemy import select

    from worker.tasks import CARED

    with bench.read() as session:
        return any(
            session.scalar(
                select(cared.table.id)
                .where(cared.table.next_check_at.is_not(None), cared.table.parked_reason.is_(None))
                .limit(1)
            )
            for cared in CARED.values()
            if not cared.perpetual
        )


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]) if sys.argv[1:] else _serve())
