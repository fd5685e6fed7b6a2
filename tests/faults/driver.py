"""A worker without a queue, for tests that kill it: finds due rows and takes their steps in this process.

    python tests/faults/driver.py SECONDS

The settings come from the environment; `KITAE_FAILPOINT` arms a failpoint. Prints `idle` when nothing is due any
more and exits 0; prints `busy` and exits 3 when time is over.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sqlalchemy import select

from app.bootstrap import open_workbench
from app.settings import Settings
from app.workbench import Workbench
from worker.reactions import react
from worker.tasks import CARED
from worker.tick import tick


def waiting(bench: Workbench) -> bool:
    """Whether any row still wants care, now or later."""
    with bench.read() as session:
        return any(
            session.scalar(
                select(cared.table.id)
                .where(cared.table.next_check_at.is_not(None), cared.table.parked_reason.is_(None))
                .limit(1)
            )
            for cared in CARED.values()
        )


def main(seconds: float) -> int:
    settings = Settings(_env_file=None)
    with open_workbench(settings) as bench:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            tick(
                bench,
                lambda task, row_id: CARED[task].take_steps(bench, row_id),
                redispatch_seconds=settings.redispatch_seconds,
            )
            passed = react(bench)
            if not passed and not waiting(bench):
                print("idle", flush=True)
                return 0
            time.sleep(0.05)
    print("busy", flush=True)
    return 3


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
