"""A template process: imports everything once, then forks an API, workers and beats: the real ones.

    python tests/chaos/zygote.py < requests > answers

Starting a worker costs more than a second of CPU, nearly all of it imports; a fork of this process has them. It
holds no thread, no connection and no engine, so a fork inherits nothing that two processes could share. The first
line of stdin is the settings, as JSON. Then `{"role": "worker"}` is answered `{"started": pid}`,
`{"signal": 9, "pid": pid}` is sent on if that process is still ours and answered `{"signalled": pid}`, and
`{"ended": pid, "code": n}` is told whenever one ends (negative: by that signal). The end of stdin is the end of
everything.
"""

import gc
import importlib
import json
import os
import random
import selectors
import signal
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.bootstrap import open_workbench  # noqa: E402
from app.http.server import make_server  # noqa: E402
from app.kit.logging import set_up_logging  # noqa: E402  only now can it be found
from app.main import create_app  # noqa: E402
from app.settings import Settings  # noqa: E402
from worker.celery_app import api_nudges, run_beat, run_worker  # noqa: E402

WANTED_LATER: Final = (
    "billiard.pool",
    "celery.app.amqp",
    "celery.app.control",
    "celery.app.events",
    "celery.app.log",
    "celery.apps.worker",
    "celery.backends.base",
    "celery.concurrency.thread",
    "celery.events",
    "celery.worker",
    "celery.worker.autoscale",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.worker.consumer.delayed_delivery",
    "celery.worker.strategy",
    "celery.fixups.django",
    "celery.loaders.app",
    "encodings.idna",
    "kombu.transport.redis",
    "openai.resources",
    "psycopg",
    "redis",
    "sqlalchemy.dialects.postgresql.psycopg",
)
"""What the libraries import only when a process of theirs starts."""


def run_api(settings: Settings) -> None:
    """As `kitae api`."""
    with (
        api_nudges(settings) as send_nudge,
        open_workbench(settings, send_nudge=send_nudge, pool_size=settings.api_threads // 2) as bench,
    ):
        make_server(create_app(settings, bench), host=settings.host, port=settings.port).run()


ROLES: Final = {"api": run_api, "worker": run_worker, "beat": run_beat}


class Zygote:
    """The template; everything here runs in its only thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: set[int] = set()
        self._woken, waker = os.pipe()
        for end in (self._woken, waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler is needed for the wake-up to be written
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the end of stdin."""
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            self._tell(ready=os.getpid())
            waiting = b""
            while True:
                for key, _ in selector.select():
                    if key.fd == self._woken:
                        os.read(self._woken, 4096)
                        continue
                    read = os.read(0, 65536)
                    if not read:
                        return
                    waiting += read
                *lines, waiting = waiting.split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
                self._reap()

    def _tell(self, **fact: int) -> None:
        os.write(1, json.dumps(fact).encode() + b"\n")

    def _obey(self, request: dict[str, Any]) -> None:
        if "role" in request:
            self._fork(request["role"])
            return
        if request["pid"] in self._children:  # not yet waited for, so the id is still its own
            os.kill(request["pid"], request["signal"])
        self._tell(signalled=request["pid"])

    def _fork(self, role: str) -> None:
        pid = os.fork()
        if pid == 0:
            become(role, self._settings)
        self._children.add(pid)
        self._tell(started=pid)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._children.discard(pid)
            self._tell(ended=pid, code=os.waitstatus_to_exitcode(status))

    def end_all(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)


def become(role: str, settings: Settings) -> NoReturn:
    """In the fork: be an ordinary process of this role until it ends."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.setpgid(0, 0)
    random.seed()
    code = 0
    try:
        ROLES[role](settings)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001  the door of a process
        sys.excepthook(*sys.exc_info())
        code = 70
    sys.stderr.flush()
    os._exit(code)


def read_settings(line: str) -> Settings:
    """Settings with the times of a test, which may be shorter than an installation is allowed."""
    values: dict[str, Any] = json.loads(line)
    base = Settings(
        _env_file=None,
        database_url=values.pop("database_url"),
        redis_url=values.pop("redis_url"),
        allowed_origins=frozenset({values.pop("allowed_origin")}),
        data_dir=Path(values.pop("data_dir")),
    )
    return base.model_copy(update=values)


def main() -> None:
    settings = read_settings(sys.stdin.buffer.raw.readline().decode())  # type: ignore[union-attr]  # never buffered
    set_up_logging(level=settings.log_level)
    for name in WANTED_LATER:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the fork does not touch, and so does not copy, what is here
    zygote = Zygote(settings)
    try:
        zygote.serve()
    except BrokenPipeError:
        pass  # nobody hears us any more
    finally:
        zygote.end_all()


if __name__ == "__main__":
    main()
