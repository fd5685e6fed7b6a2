"""Prometheus text: how requests went in this process, and what the rooms count in the database at scrape time."""

import time
from collections.abc import Iterable, Sequence

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.kit.measures import Measure

log = structlog.get_logger("kitae.http")


def request_seconds(registry: CollectorRegistry) -> Histogram:
    """Seconds from the first byte of a request to the last of its answer, by method, route and status."""
    return Histogram(
        "kitae_http_request_seconds",
        "Seconds from the first byte of a request to the last of its answer.",
        ("method", "route", "status"),
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
        registry=registry,
    )


class DatabaseCollector(Collector):
    """Runs every measure's SQL when Prometheus asks: what is counted belongs to the database, not to a process."""

    def __init__(self, sessions: sessionmaker[Session], measures: Sequence[Measure]) -> None:
        self._sessions = sessions
        self._measures = measures

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: asked for at registration, when the database may not be there yet."""
        return ()

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """One family a measure; `kitae_database_up` says whether the others could be read."""
        began = time.perf_counter()
        families, up = self._read()
        yield from families
        yield GaugeMetricFamily("kitae_database_up", "1 when the database answered this scrape.", value=up)
        yield GaugeMetricFamily(
            "kitae_database_scrape_seconds", "Seconds this scrape's SQL took.", value=time.perf_counter() - began
        )

    def _read(self) -> tuple[list[GaugeMetricFamily], int]:
        families = []
        try:
            with self._sessions() as session:
                session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
                for measure in self._measures:
                    family = GaugeMetricFamily(measure.name, measure.meaning, labels=measure.labels)
                    for row in session.execute(text(measure.sql)):
                        *labels, value = row
                        family.add_metric([str(label) for label in labels], float(value))
                    families.append(family)
        except SQLAlchemyError as error:
            log.warning("metrics.scrape_failed", error=str(error)[:300])
            return [], 0
        return families, 1


def render(registry: CollectorRegistry) -> bytes:
    """The service's numbers and then the process's: memory, CPU, nudges that were lost."""
    return generate_latest(registry) + generate_latest(REGISTRY)
