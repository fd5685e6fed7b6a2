"""Gates and circuits: whether Azure may be called through a connection now. Kept in the database for all workers.

A 429 shuts the gate of its class of calls for as long as Azure asked. A circuit opens when calls have no answer;
then one call at a time, whichever worker makes it, tries whether Azure is back. It knows no call and no plane.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

import structlog

from app.azure.port import AzureError, OutcomeUnknown, Throttled, Unavailable
from app.connections import repository
from app.workbench import Workbench

log = structlog.get_logger("kitae.connections")

OPEN_AFTER: Final = 5
"""Calls of a class without an answer, in a row, after which its circuit opens."""
OPEN_AFTER_OF_LAST: Final = repository.HISTORY_CALLS // 2
"""The same, of the last 20 calls: an Azure that answers every other call is not one to train with."""
UNTOLD_SECONDS: Final = 10.0
"""A 429 that does not say how long shuts its gate for so long."""
LEAST_SECONDS: Final = 1.0
"""A 429 that says 0 shuts its gate for so long, so that nothing turns on the spot."""
STOP_PAUSE_SECONDS: Final = 60.0
"""Cancelling and deleting is tried again at least this often, whatever Azure says: each minute may cost money."""
PROBE_LOOK_SECONDS: Final = 2.0
"""When to look again while another call tries an open circuit."""
LONG_OUTAGE_SECONDS: Final = 300.0
"""An open circuit of this age is told to the project as an event."""


class Traffic(StrEnum):
    """Classes of calls, each with its own gate."""

    READ = "read"
    WRITE = "write"
    STOP_MONEY = "stop_money"
    """Cancel and delete: no circuit and no gate of the others ever holds these back."""


class Gates:
    """The gates of every connection."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    @contextmanager
    def passing(self, connection_id: str, traffic: Traffic) -> Iterator[None]:
        """Around one call, or a few that belong together.

        Raises:
            Throttled: the gate is shut (`gate_closed`); `retry_after_seconds` tells for how long.
        """
        probes = self._enter(connection_id, traffic)
        settled = False
        try:
            yield
        except AzureError as error:
            settled = True
            self._judge(connection_id, traffic, error)
            raise
        else:
            settled = True
            self._answered(connection_id, traffic)
        finally:
            if probes and not settled:
                with self._bench.begin() as work:
                    repository.drop_probe(work.session, connection_id, traffic)

    def _enter(self, connection_id: str, traffic: Traffic) -> bool:
        """Pass, or raise `Throttled`. True when this call is the one that tries an open circuit."""
        with self._bench.read() as session:
            wait, is_open = repository.gate(session, connection_id, traffic)
        if wait > 0:
            raise _closed(traffic, wait)
        if not is_open:
            return False
        with self._bench.begin() as work:
            probes = repository.take_probe(
                work.session, connection_id, traffic, seconds=self._bench.policy.lease_seconds
            )
        if not probes:
            raise _closed(traffic, PROBE_LOOK_SECONDS)
        log.info("connection.circuit_tried", connection=connection_id, traffic=traffic)
        return True

    def _judge(self, connection_id: str, traffic: Traffic, error: AzureError) -> None:
        """What a failed call says of the connection: a refusal is an answer, silence is none."""
        silent = isinstance(error, Unavailable | OutcomeUnknown)
        if not silent:
            self._answered(connection_id, traffic)
        elif traffic is Traffic.STOP_MONEY:
            with self._bench.begin() as work:
                repository.count_stop_failure(
                    work.session, connection_id, pause_max_seconds=self._bench.policy.circuit_rest_seconds
                )
        else:
            self._silent(connection_id, traffic)
        said = error.retry_after_seconds
        if isinstance(error, Throttled) or (silent and said is not None):
            self._close(connection_id, traffic, UNTOLD_SECONDS if said is None else said)

    def _answered(self, connection_id: str, traffic: Traffic) -> None:
        with self._bench.begin() as work:
            told_since = repository.count_success(work.session, connection_id, traffic)
            if told_since is not None:
                project_id = repository.project_of(work.session, connection_id)
                work.announce(
                    "connection.reachable",
                    project_id=project_id,
                    subject_id=connection_id,
                    traffic=str(traffic),
                    unreachable_since=told_since.isoformat(),
                )

    def _silent(self, connection_id: str, traffic: Traffic) -> None:
        with self._bench.begin() as work:
            opened = repository.count_failure(
                work.session,
                connection_id,
                traffic,
                open_after=OPEN_AFTER,
                open_after_of_last=OPEN_AFTER_OF_LAST,
                rest_seconds=self._bench.policy.circuit_rest_seconds,
            )
        if opened:
            log.warning("connection.circuit_opened", connection=connection_id, traffic=traffic)

    def _close(self, connection_id: str, traffic: Traffic, said_seconds: float) -> None:
        longest = self._bench.policy.retry_after_max_seconds
        if traffic is Traffic.STOP_MONEY:
            longest = STOP_PAUSE_SECONDS
        seconds = min(max(said_seconds, LEAST_SECONDS), longest)
        log.warning(
            "connection.gate_closed",
            connection=connection_id,
            traffic=traffic,
            seconds=seconds,
            azure_said_seconds=said_seconds,
        )
        with self._bench.begin() as work:
            repository.close_for(work.session, connection_id, traffic, seconds=seconds)

    def tell_outages(self) -> int:
        """For a periodic task: an event for every circuit that has been open for long. Returns how many."""
        told = 0
        with self._bench.begin() as work:
            for traffic in (Traffic.READ, Traffic.WRITE):
                for connection_id, project_id, since in repository.long_outages(
                    work.session, traffic, seconds=LONG_OUTAGE_SECONDS
                ):
                    told += 1
                    log.error("connection.unreachable", connection=connection_id, traffic=traffic, since=since)
                    work.announce(
                        "connection.unreachable",
                        project_id=project_id,
                        subject_id=connection_id,
                        traffic=str(traffic),
                        since=since.isoformat(),
                    )
        return told


def _closed(traffic: Traffic, wait: float) -> Throttled:
    what = {Traffic.READ: "Reads", Traffic.WRITE: "Writes", Traffic.STOP_MONEY: "Cancels and deletes"}[traffic]
    return Throttled(
        f"{what} through this connection rest for {wait:.0f} s more.",
        code="gate_closed",
        hint="Azure asked to wait, or did not answer. It is tried again by itself.",
        retry_after_seconds=wait,
    )
