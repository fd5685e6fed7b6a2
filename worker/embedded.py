"""The laptop mode's worker: the same tasks in threads of this process, with an in-memory queue and no Redis."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from app.settings import Settings
from app.workbench import SendNudge, Workbench
from worker.celery_app import add_tasks, beat_through, keep_our_logging, make_celery, nudge_through

log = structlog.get_logger("kitae.worker")

STOP_SECONDS: Final = 10.0


@contextmanager
def embedded_worker(settings: Settings, open_bench: Callable[[SendNudge], Workbench]) -> Iterator[Workbench]:
    """Run worker threads and the tick inside this process until the context ends.

    Args:
        open_bench: builds the workbench from the function that sends nudges.
    """
    keep_our_logging()
    celery = make_celery("memory://")
    celery.set_default()
    send = nudge_through(celery)
    bench = open_bench(send)
    add_tasks(celery, bench, settings)
    worker: Any = celery.WorkController(
        pool="threads",
        concurrency=settings.worker_threads,
        queues=["kitae"],
        hostname="embedded@local",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    stop = threading.Event()

    beat = beat_through(celery, settings)

    def beat_on() -> None:
        while not stop.wait(settings.tick_seconds):
            beat()

    threads = [
        threading.Thread(target=worker.start, name="kitae-worker", daemon=True),
        threading.Thread(target=beat_on, name="kitae-beat", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield bench
    finally:
        stop.set()
        worker.stop()
        for thread in threads:
            thread.join(STOP_SECONDS)
