"""Named places where a test may kill, pause or fail the process; free when none is armed.

`KITAE_FAILPOINT=jobs.create.sent:kill` arms one for the next time it is passed. `kill` is SIGKILL to ourselves,
`pause:SECONDS` sleeps, `raise` raises `FailpointHit`, `die` raises `FailpointDeath`. `name:kill@3` waits for the
third pass.
"""

import os
import signal
import threading
import time
from typing import Final

ENVIRONMENT_VARIABLE: Final = "KITAE_FAILPOINT"

NAMES: Final = frozenset(
    {
        "datasets.check.claimed",
        "datasets.check.checked",
        "transforms.claimed",
        "transforms.made",
        "transforms.recorded",
        "uploads.complete.assembled",
        "uploads.complete.recorded",
        "fetches.piece.recorded",
        "fetches.version.recorded",
        "files.part.recorded",
        "adoptions.job.read",
        "adoptions.file.downloaded",
        "adoptions.file.recorded",
        "adoptions.job.recorded",
        "jobs.files.intent",
        "jobs.files.uploaded",
        "jobs.files.recorded",
        "jobs.create.claimed",
        "jobs.create.intent",
        "jobs.create.sent",
        "jobs.create.recorded",
        "jobs.create.refused",
        "jobs.resolve.listed",
        "jobs.fence.deleted",
        "jobs.watch.listed",
        "jobs.watch.read",
        "jobs.watchdog.fired",
        "jobs.collect.read",
        "jobs.tidy.deleted",
        "reactions.applied",
        "models.register.registered",
        "copies.intent",
        "copies.sent",
        "copies.recorded",
        "deployments.put.intent",
        "deployments.put.sent",
        "deployments.put.recorded",
        "deployments.warm.probed",
        "deployments.delete.sent",
        "deployments.delete.recorded",
        "comparisons.answer.recorded",
        "generations.unit.sent",
        "generations.unit.recorded",
        "generations.version.written",
        "generations.version.recorded",
        "studies.trial.begun",
        "studies.trial.evaluating",
        "studies.trial.recorded",
        "baselines.answer.sent",
        "baselines.answer.recorded",
        "baselines.grade.sent",
        "baselines.grade.recorded",
        "upkeep.sweep.listed",
        "upkeep.sweep.recorded",
        "upkeep.stray.sent",
        "upkeep.stray.recorded",
        "upkeep.janitor.deleted",
    }
)
"""Every failpoint there is. A name outside this list is refused, and a test proves that each one is passed."""


class FailpointHit(RuntimeError):
    """Raised by an armed failpoint of the kind `raise`."""


class FailpointDeath(BaseException):
    """Raised by an armed failpoint of the kind `die`. No handler catches it, so it ends a step as `kill` would, in
    a test whose own process must live on.
    """


_lock = threading.Lock()
_passes: dict[str, int] = {}


def failpoint(name: str) -> None:
    """Do here what `KITAE_FAILPOINT` says, if it says this name."""
    armed = os.environ.get(ENVIRONMENT_VARIABLE)
    if not armed:
        return
    if name not in NAMES:
        raise ValueError(f"{name!r} is not a failpoint; add it to app.kit.failpoints.NAMES")
    wanted, _, action = armed.partition(":")
    if wanted != name:
        return
    action, _, nth = action.partition("@")
    with _lock:
        _passes[name] = _passes.get(name, 0) + 1
        if _passes[name] != int(nth or 1):
            return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.startswith("pause"):
        time.sleep(float(action.partition(":")[2] or 1))
    elif action == "raise":
        raise FailpointHit(name)
    elif action == "die":
        raise FailpointDeath(name)
