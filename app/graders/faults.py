"""What is wrong with a grader, where, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    pointer: str
    """RFC 6901, into whatever holds the grader: `/grader/operation`."""
    code: str
    """Stable word for programs: `grader-type`, `grader-reference`, …"""
    detail: str


class GraderFault(ValueError):
    """A grader that cannot be used; `faults` names everything that was found, in the order of the grader."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)
