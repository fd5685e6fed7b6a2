"""The tick: finds rows that are due and sends one task for each. Two ticks at once are harmless."""

from collections.abc import Callable
from typing import Final

from app.calibrations.service import CalibrationService
from app.connections.gates import Gates
from app.deployments.service import DeploymentService
from app.jobs.service import JobService
from app.kit import care
from app.upkeep.invariants import check_now_and_then
from app.upkeep.service import UpkeepService
from app.workbench import Workbench
from worker.tasks import CARED

BATCH: Final = 200
"""Rows of one kind that a tick sends at most; the next tick takes the rest."""


def tick(bench: Workbench, send: Callable[[str, str], None], *, redispatch_seconds: float) -> int:
    """Send what is due, parked rows whose money must stop included; returns how many."""
    DeploymentService(bench).wake_costly()
    UpkeepService(bench).ensure()
    Gates(bench).tell_outages()
    check_now_and_then(bench)
    JobService(bench).wake_costly()
    CalibrationService(bench).settle_abandoned()
    sent = 0
    for task, cared in CARED.items():
        with bench.begin() as work:
            due = care.due(work.session, cared.table, limit=BATCH, redispatch_seconds=redispatch_seconds)
        for row_id in due:
            send(task, row_id)
        sent += len(due)
    return sent
