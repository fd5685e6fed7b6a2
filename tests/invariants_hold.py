"""What must be true after every test that breaks something: the invariants, also against the emulator's own view."""

from itertools import islice
from typing import Any

import httpx2

from app.upkeep.invariants import check_invariants
from app.upkeep.remote_invariants import RemoteView, SeenDeployment, SeenJob, check_against_remote
from app.workbench import Workbench


def assert_invariants(bench: Workbench, emulator_url: str | None = None) -> None:
    """Fail naming every invariant that does not hold, with its first violations.

    Args:
        emulator_url: also compare with what the emulator has and has charged: at most one live job per op_key,
            every confirmed row is there or recorded as gone, nothing charged beyond what was reserved or settled.
            Only when no worker is at work, and only when the emulator serves no other database.
    """
    findings = [*check_invariants(bench)]
    if emulator_url is not None:
        findings += check_against_remote(bench, seen_at(emulator_url))
    broken = [
        f"{finding.invariant.name}: {finding.invariant.promise}\n"
        + "\n".join(f"    {violation.subject_id}: {violation.detail}" for violation in finding.violations)
        for finding in findings
        if finding.violations
    ]
    broken += [
        f"a write that was never finished lies in the storage: {item.key}"
        for item in islice(bench.storage.objects(), 10_000)
        if item.is_partial and item.age_seconds > bench.policy.leftover_seconds
    ]
    assert not broken, "\n" + "\n".join(broken)


def seen_at(emulator_url: str) -> RemoteView:
    """What the emulator has, and what it has charged for training.

    Hosting hours are left out: the emulator's clock jumps, so an hour there may be a second here.
    """
    with httpx2.Client(base_url=f"{emulator_url}/_emulator", timeout=30) as http:
        state: dict[str, Any] = http.get("/state").raise_for_status().json()
        bill: dict[str, Any] = http.get("/billing").raise_for_status().json()
    tokens = {line["id"]: line["trained_tokens"] for line in bill["jobs"]}
    return RemoteView(
        jobs=[
            SeenJob(
                remote_id=job["id"],
                op_key=(job["metadata"] or {}).get("op_key"),
                is_live=job["phase"] not in {"failed", "cancelled"},
                trained_tokens=tokens.get(job["id"], 0),
            )
            for job in state["jobs"]
        ],
        deployments=[
            SeenDeployment(name=item["name"], op_key=(item["tags"] or {}).get("op_key"), is_there=True)
            for item in state["deployments"]
        ],
    )
