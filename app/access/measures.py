"""What the access room counts for Prometheus."""

from typing import Final

from app.kit.measures import Measure

MEASURES: Final = (
    Measure(
        name="kitae_halted",
        meaning="1 while the installation's kill switch is on: nothing that costs money is begun.",
        labels=(),
        sql="SELECT halted::int FROM installation",
    ),
)


def halted_by_setting(*, halted: bool) -> Measure:
    """The same of KITAE_HALTED, which only the process itself knows."""
    return Measure(
        name="kitae_halted_by_setting",
        meaning="1 when KITAE_HALTED is set for this api process.",
        labels=(),
        sql=f"SELECT {int(halted)}",
    )
