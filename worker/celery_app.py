"""The Celery application: how nudges travel. A row needs nothing of this to be safe, only to be quick."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog
from celery import Celery
from celery.signals import setup_logging
from kombu.exceptions import OperationalError
from prometheus_client import Counter

from app.bootstrap import SettingMissing, open_workbench, refuse_missing_keys
from app.settings import Settings
from app.workbench import SendNudge, Workbench
from worker.reactions import react
from worker.tasks import CARED, TICK
from worker.tick import tick

log = structlog.get_logger("kitae.worker")

PUBLISH_SECONDS: Final = 0.2
"""How long a request may wait for the broker: a nudge that is lost costs a tick."""
MEMORY_POLL_SECONDS: Final = 0.05
"""The in-process queue of the laptop mode is looked at so often; left to itself kombu looks once a second."""
lost_nudges = Counter("kitae_nudges_lost_total", "Nudges that could not be sent; the tick does their work")


def make_celery(broker_url: str) -> Celery:
    """An application without results, ETA or retries: the database holds all of that."""
    celery = Celery("kitae", broker=broker_url, set_as_current=False)
    celery.conf.update(
        task_default_queue="kitae",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=2,
        timezone="UTC",
        broker_transport_options=(
            {"polling_interval": MEMORY_POLL_SECONDS}
            if broker_url.startswith("memory")
            else {
                "visibility_timeout": 300,
                "unacked_restore_interval": 5,
                "unacked_restore_throttle": 1,
                "socket_timeout": 5,
                "socket_connect_timeout": 2,
                "socket_keepalive": True,
                "health_check_interval": 15,
            }
        ),
    )
    return celery


def nudge_through(celery: Celery) -> SendNudge:
    """Send task messages; a broker that is away is counted and forgotten, because the tick will do the work."""

    def send(task: str, row_id: str) -> None:
        try:
            celery.send_task(task, args=[row_id], retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            lost_nudges.inc()
            log.warning("nudge.lost", task=task, error=str(error)[:200])

    return send


def add_tasks(celery: Celery, bench: Workbench, settings: Settings) -> None:
    """Give every task name its function."""
    send = nudge_through(celery)

    def register(name: str, run: Any) -> None:
        celery.task(name=name, ignore_result=True)(run)

    for name, cared in CARED.items():

        def take(row_id: str, *, _take: Any = cared.take_steps) -> None:
            _take(bench, row_id)

        register(name, take)

    def run_tick() -> None:
        tick(bench, send, redispatch_seconds=settings.redispatch_seconds)
        react(bench)

    register(TICK, run_tick)


def beat_through(celery: Celery, settings: Settings) -> Callable[[], None]:
    """Send the tick. One that waited longer than three of them is dropped, so that they never pile up."""

    def beat() -> None:
        try:
            celery.send_task(TICK, retry=False, ignore_result=True, expires=settings.tick_seconds * 3)
        except (OperationalError, OSError) as error:
            lost_nudges.inc()
            log.warning("tick.lost", error=str(error)[:200])

    return beat


def _broker(settings: Settings) -> str:
    if settings.redis_url is None:
        raise SettingMissing(
            "KITAE_REDIS_URL is not set. Name a Redis server, or use `kitae up`, which needs none."
        )
    return settings.redis_url.get_secret_value()


@contextlib.contextmanager
def api_nudges(settings: Settings) -> Iterator[SendNudge]:
    """For the API process: send nudges through Redis, never waiting long for it."""
    celery = make_celery(_broker(settings))
    celery.conf.broker_transport_options |= {
        "socket_timeout": PUBLISH_SECONDS,
        "socket_connect_timeout": PUBLISH_SECONDS,
        "max_retries": 0,
    }
    try:
        yield nudge_through(celery)
    finally:
        celery.close()


def run_worker(settings: Settings) -> None:
    """A worker process: threads that take steps until SIGTERM, which lets the current ones end."""
    keep_our_logging()
    celery = make_celery(_broker(settings))
    with open_workbench(settings, send_nudge=nudge_through(celery), pool_size=settings.worker_threads + 2) as bench:
        refuse_missing_keys(bench)
        add_tasks(celery, bench, settings)
        celery.set_default()
        worker = celery.Worker(
            pool="threads",
            concurrency=settings.worker_threads,
            queues=["kitae"],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
            loglevel=settings.log_level,
        )
        log.info("worker.started", threads=settings.worker_threads)
        worker.start()
        log.info("worker.stopped", code=worker.exitcode or 0)
    if worker.exitcode:  # it gave up, for instance on a Redis that takes no writes: the supervisor must see that
        sys.exit(worker.exitcode)


def run_beat(settings: Settings) -> None:
    """The beat process: sends the tick until SIGTERM. Two of them are harmless."""
    keep_our_logging()
    celery = make_celery(_broker(settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    beat = beat_through(celery, settings)
    log.info("beat.started", tick_seconds=settings.tick_seconds)
    while not stop.wait(settings.tick_seconds):
        beat()
    log.info("beat.stopped")


def keep_our_logging() -> None:
    """Celery sets up logging unless somebody answers that it is done; it is."""
    setup_logging.connect(_logging_is_set_up, weak=False)


def _logging_is_set_up(**_kwargs: object) -> None:
    """To be asked is enough."""
