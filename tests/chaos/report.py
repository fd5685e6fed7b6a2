"""What a chaos run found: as JSON, as text for people, and as a part of docs/reliability.md."""

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

BEGIN: Final = "<!-- chaos: {name} -->"
END: Final = "<!-- end -->"
RULE_OF_THREE: Final = 3.0
"""None in n trials: with 95 % confidence the true rate is below 3/n (Hanley and Lippman-Hand, JAMA 1983)."""


@dataclass(frozen=True)
class Machine:
    """What it ran on."""

    cpu: str
    cores: int
    memory_gb: int

    @classmethod
    def this(cls, cores: int) -> "Machine":
        cpu = next(
            (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
            platform.processor() or "?",
        )
        kilobytes = next(
            (int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0
        )
        return cls(cpu, cores, round(kilobytes / 1024 / 1024))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def quantile(values: list[float], share: float) -> float | None:
    """The nearest-rank quantile; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def text(report: Mapping[str, Any]) -> str:
    """The report for people."""
    plan, machine, did, verdict = report["plan"], report["machine"], report["did"], report["verdict"]
    lines = [
        (
            f"seed {plan['seed']}, {plan['workers']} workers, {plan['faults']:.0%} of the replies faulty, "
            f"{plan['in_flight']} lives at a time; commit {report['commit']}, {report['finished_at']}"
        ),
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']} GB; "
        + ", ".join(f"{name} {version}" for name, version in report["versions"].items())
        + f"; load average {report['load_average']:.1f}",
        "",
        (
            f"{report['seconds']:.0f} s of trouble at {report['kills_per_second']:.1f} kills/s and {did['claims']:,} claims, "
            f"then {report['quiesce_seconds']:.0f} s until all was at rest"
        ),
        "CPU seconds: " + ", ".join(f"{name} {spent:,.0f}" for name, spent in report["cpu_seconds"].items()),
        f"kill -9          {did['kills']:>7,}   of workers; {did['holding']:,} hit a worker that held a row"
        + (f", {did['unsampled']:,} fell while PostgreSQL was away" if did["unsampled"] else ""),
        f"kill -9          {did['beats_killed']:>7,}   of the beat",
        (
            f"SIGSTOP, SIGCONT {did['pauses']:>7,}   of workers, longer than the lease; {did['pauses_holding']:,} held a"
            f" row, {did['taken_over']:,} rows were taken over meanwhile"
        ),
        (
            f"PostgreSQL       {did['restarts']:>7,}   crashes (pg_ctl -m immediate restart), away"
            f" {did['away_seconds']:.1f} s in all"
        ),
        f"Redis FLUSHALL   {did['flushes']:>7,}",
        f"faulty replies   {sum(report['faults'].values()):>7,}   of {report['requests']:,} requests to Azure: "
        + ", ".join(f"{name} {count:,}" for name, count in sorted(report["faults"].items(), key=_larger)),
    ]
    if did["kills"]:
        lines += [
            "",
            (
                f"kill to next claim of each row the victim held: p50 {_seconds(report['recovery']['p50'])}, "
                f"p99 {_seconds(report['recovery']['p99'])}, most {_seconds(report['recovery']['max'])} "
                f"({report['recovery']['count']:,} rows; the lease is {plan['lease_seconds']} s; "
                f"{did.get('late', 0)} later than two minutes, not in these)"
            ),
            "",
            "where the kills landed (rows held by the killed worker)",
            *_table(did["places"]),
        ]
    if did["pause_places"]:
        lines += ["", "where the pauses landed", *_table(did["pause_places"])]
    lines += [
        "",
        f"jobs accepted        {verdict['jobs_accepted']:>7,}   {_counts(verdict['jobs_by_end'])}",
        f"deployments accepted {verdict['deployments_accepted']:>7,}   {_counts(verdict['deployments_by_end'])}",
        (
            f"remote jobs          {verdict['remote_jobs']:>7,}   {verdict['duplicates_stopped']:,} second ones stopped"
            f" before they trained; {verdict['attempts']:,} jobs took a new training file after a lost POST,"
            f" {report['refused_late']:,} late POSTs refused because their file was gone"
        ),
        (
            f"API requests asked again until they were answered {sum(report['api_unanswered'].values()):,}, "
            f"given up after two minutes {len(report['given_up'])}"
        ),
        f"chats                {sum(report['chats'].values()):>7,}   {_counts(report['chats'])}",
        "",
        f"lost       {len(verdict['lost']):>5}{_bound(verdict['lost'], report['trials'])}",
        f"paid twice {len(verdict['paid_twice']):>5}{_bound(verdict['paid_twice'], report['trials'])}",
        f"forgotten  {len(verdict['forgotten']):>5}{_bound(verdict['forgotten'], report['trials'])}",
        f"stuck      {len(verdict['stuck']):>5}",
        f"wrong bill {len(verdict['wrong_bills']):>5}",
        (
            f"broken invariants {len(verdict['broken_invariants'])}, "
            f"processes that ended by themselves {len(did['ended_by_themselves'])}, "
            f"requests refused wrongly {len(report['refusals'])}"
        ),
        "",
        "verdict: " + ("nothing lost, nothing paid twice, nothing forgotten" if report["good"] else "BROKEN"),
    ]
    return "\n".join(lines + [f"  {problem}" for problem in report["problems"][:50]])


def _larger(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=_larger))


def _table(counts: Mapping[str, int]) -> list[str]:
    total = sum(counts.values()) or 1
    return [f"  {count:>7,}  {count / total:>6.1%}  {name}" for name, count in sorted(counts.items(), key=_larger)]


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f} s"


def _bound(found: list[str], trials: int) -> str:
    if found or not trials:
        return ""
    return f"   (in {trials:,} kills and pauses: below {RULE_OF_THREE / trials:.3%} each, 95 % bound)"


def put_into_page(page: Path, name: str, report: Mapping[str, Any]) -> None:
    """Replace what stands between the page's markers of this name with the report.

    Raises:
        ValueError: the page has no such markers.
    """
    begin = BEGIN.format(name=name)
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page} has no part {begin!r} … {END!r}")
    command = " ".join(f"{key}={value}" for key, value in report["command"].items())
    body = f"\n\n`make chaos {command}`\n\n```text\n{text(report)}\n```\n\n"
    page.write_text(before + begin + body + END + after)


def load(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))
