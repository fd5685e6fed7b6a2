"""What the connections room counts for Prometheus."""

from typing import Final

from app.kit.measures import Measure

_CLASSES: Final = (("read", "reads"), ("write", "writes"))


def _of_each(select: str) -> str:
    return " UNION ALL ".join(select.format(traffic=traffic, plural=plural) for traffic, plural in _CLASSES)


MEASURES: Final = (
    Measure(
        name="kitae_circuits_open",
        meaning="Connections whose calls of this class rest because Azure did not answer.",
        labels=("traffic",),
        sql=_of_each(
            "SELECT '{traffic}', count(*) FROM connections "
            "WHERE {plural}_open_since IS NOT NULL AND archived_at IS NULL"
        ),
    ),
    Measure(
        name="kitae_circuit_open_seconds",
        meaning="How long the longest open circuit of this class has been open; 0 = none is.",
        labels=("traffic",),
        sql=_of_each(
            "SELECT '{traffic}', coalesce(extract(epoch FROM now() - min({plural}_open_since)), 0) "
            "FROM connections WHERE archived_at IS NULL"
        ),
    ),
    Measure(
        name="kitae_gates_closed",
        meaning="Connections whose calls of this class wait, because Azure said so or did not answer.",
        labels=("traffic",),
        sql=_of_each(
            "SELECT '{traffic}', count(*) FROM connections "
            "WHERE {plural}_closed_until > now() AND archived_at IS NULL"
        ),
    ),
)
