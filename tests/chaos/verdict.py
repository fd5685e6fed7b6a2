"""Whether anything was lost, paid twice or forgotten: the database, the emulator's state and its bill, compared.

The three sides do not know each other; a thing is right only when all of them say so.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from population import ENDED, Database, Population

CARED: Final = ("dataset_versions", "jobs", "connections", "deployments", "comparisons")
TRAINED: Final = frozenset({"succeeded"})
MICRO_USD: Final = 1e-6


@dataclass
class Verdict:
    """The counts. Each list names what is wrong; all empty is the only good end."""

    jobs_accepted: int = 0
    deployments_accepted: int = 0
    jobs_by_end: Counter[str] = field(default_factory=Counter)
    deployments_by_end: Counter[str] = field(default_factory=Counter)
    remote_jobs: int = 0
    lost: list[str] = field(default_factory=list)
    paid_twice: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    wrong_bills: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    broken_invariants: list[str] = field(default_factory=list)
    duplicates_stopped: int = 0
    """Second remote jobs of one op_key that were cancelled before they trained."""
    attempts: int = 0
    """Jobs that needed more than one training file, because a POST was given up for lost."""

    @property
    def problems(self) -> list[str]:
        return [
            f"{name}: {line}"
            for name, lines in (
                ("lost", self.lost),
                ("paid twice", self.paid_twice),
                ("forgotten", self.forgotten),
                ("wrong bill", self.wrong_bills),
                ("stuck", self.stuck),
                ("broken invariant", self.broken_invariants),
            )
            for line in lines
        ]


def left_to_do(database: Database) -> list[str]:
    """Rows that still want care, or that nobody will look at again though they are not at their end."""
    found = []
    for table in CARED:
        rows = database.rows(
            f"SELECT * FROM {table} WHERE next_check_at IS NOT NULL OR parked_reason IS NOT NULL"  # noqa: S608  ours
            " OR lease_owner IS NOT NULL"
        )
        found += [
            f"{table} {row['id']} {row.get('status', '')} parked={row['parked_reason']!r}"
            f" fails={row['fail_count']} error={str(row['last_error'])[:200]}"
            for row in rows
        ]
    strays = database.rows("SELECT kind, remote_id, status, note FROM strays WHERE status IN ('open', 'removing')")
    found += [f"stray {row['kind']} {row['remote_id']} is {row['status']}: {row['note']}" for row in strays]
    for table in ("jobs", "deployments"):
        rows = database.rows(f"SELECT id, status FROM {table} WHERE next_check_at IS NULL")  # noqa: S608  ours
        found += [
            f"{table} {row['id']} rests while {row['status']}"
            for row in rows
            if row["status"] not in ENDED | {"failed"}
        ]
    return found


def left_at_azure(state: Mapping[str, Any]) -> list[str]:
    """What would go on costing money or room at Azure after every life has ended."""
    files = [f"file {file['filename']}" for file in state["files"] if file["purpose"] == "fine-tune"]
    deployments = [f"deployment {item['name']} ({item['phase']})" for item in state["deployments"]]
    jobs = [
        f"remote job {job['id']} is {job['phase']}"
        for job in state["jobs"]
        if job["phase"] not in {"succeeded", "failed", "cancelled"}
    ]
    return [*files, *deployments, *jobs]


def judge(population: Population, database: Database, state: Mapping[str, Any], bill: Mapping[str, Any]) -> Verdict:
    """Compare the three sides once everything is at rest."""
    verdict = Verdict(jobs_accepted=len(population.jobs), deployments_accepted=len(population.deployments))
    jobs = {row["id"]: row for row in database.rows("SELECT * FROM jobs")}
    deployments = {row["id"]: row for row in database.rows("SELECT * FROM deployments")}
    billed = {line["id"]: int(line["trained_tokens"]) for line in bill["jobs"]}
    remote = _by_owner(state["jobs"], jobs)
    verdict.remote_jobs = len(state["jobs"])
    verdict.lost += [f"accepted {noun} has no row" for noun in (population.jobs.keys() - jobs.keys())]
    verdict.lost += [f"accepted {noun} has no row" for noun in (population.deployments.keys() - deployments.keys())]
    for job_id, job in jobs.items():
        verdict.jobs_by_end[job["status"]] += 1
        verdict.attempts += job["attempt"] > 1
        _judge_job(verdict, job, population.jobs.get(job_id), remote.pop(job_id, []), billed)
    verdict.forgotten += [f"remote jobs of nobody: {found}" for found in remote.values()]
    _judge_ledger(verdict, database, jobs)
    _judge_deployments(verdict, deployments, state)
    verdict.forgotten += left_at_azure(state)
    verdict.stuck += left_to_do(database)
    return verdict


def _by_owner(
    remote_jobs: Sequence[Mapping[str, Any]], jobs: Mapping[str, Any]
) -> dict[str, list[Mapping[str, Any]]]:
    """Remote jobs by the row they belong to: by metadata, or by the suffix where there is none."""
    tails = {job_id[-10:]: job_id for job_id in jobs}
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for remote in remote_jobs:
        key = (remote["metadata"] or {}).get("op_key") or tails.get(str(remote["suffix"] or "")[-10:])
        found[key or f"unknown: {remote['id']}"].append(remote)
    return found


def _judge_job(
    verdict: Verdict,
    job: Mapping[str, Any],
    kind: str | None,
    remote: Sequence[Mapping[str, Any]],
    billed: Mapping[str, int],
) -> None:
    name = f"{job['id']} ({kind or 'answer lost'}) is {job['status']}"
    ours = next((item for item in remote if item["id"] == job["remote_id"]), None)
    trained = [item for item in remote if item["phase"] == "succeeded" or billed.get(item["id"], 0) > 0]
    if len(trained) > 1:
        verdict.paid_twice.append(f"{name}: {[(item['id'], item['phase']) for item in trained]}")
    verdict.duplicates_stopped += sum(
        item is not ours and item not in trained and ours is not None for item in remote
    )
    match job["status"]:
        case "succeeded":
            if ours is None or ours["phase"] != "succeeded":
                verdict.lost.append(f"{name}, at Azure {job['remote_id']} is {ours and ours['phase']}")
        case "cancelled":
            if trained and (ours is None or ours["phase"] != "cancelled"):
                verdict.lost.append(f"{name}, at Azure {[(item['id'], item['phase']) for item in trained]}")
            if kind != "cancelled" and job["cancel_requested_at"] is None:
                verdict.lost.append(f"{name}, and nobody wished it")
        case _:
            verdict.lost.append(f"{name}: {job['error'] or job['parked_reason']}")
    if ours is not None:
        tokens = billed.get(ours["id"], 0)
        if job["status"] == "succeeded" and tokens != job["trained_tokens"]:
            verdict.wrong_bills.append(f"{name}: billed {tokens} tokens, in the row {job['trained_tokens']}")


def _judge_ledger(verdict: Verdict, database: Database, jobs: Mapping[str, Any]) -> None:
    """Every reservation was given back, and what was settled is what the row says it cost."""
    lines = database.rows("SELECT subject_id, kind, sum(amount_usd) AS usd FROM ledger GROUP BY 1, 2")
    money: dict[str, dict[str, float]] = defaultdict(dict)
    for line in lines:
        money[line["subject_id"]][line["kind"]] = float(line["usd"])
    for subject, sums in money.items():
        if abs(sums.get("reserve", 0.0) - sums.get("release", 0.0)) > MICRO_USD:
            verdict.wrong_bills.append(f"{subject}: reserved and released differ: {sums}")
        job = jobs.get(subject)
        if (
            job
            and job["cost_usd"] is not None
            and abs(sums.get("settle", 0.0) - float(job["cost_usd"])) > MICRO_USD
        ):
            verdict.wrong_bills.append(f"{subject}: settled {sums.get('settle')}, cost {job['cost_usd']}")


def _judge_deployments(
    verdict: Verdict, deployments: Mapping[str, Mapping[str, Any]], state: Mapping[str, Any]
) -> None:
    made = Counter(item["name"] for item in [*state["removed_deployments"], *state["deployments"]])
    for row in deployments.values():
        verdict.deployments_by_end[row["status"]] += 1
        if row["status"] not in {"deleted", "expired"}:
            verdict.lost.append(f"{row['id']} is {row['status']}: {row['error'] or row['parked_reason']}")
        if made[row["name"]] > 1 and not row["recreated"]:
            verdict.paid_twice.append(f"{row['id']} {row['name']} was made {made[row['name']]} times at Azure")
