"""Leftovers in our own storage that no row names: found, told, thrown away once old. It never asks Azure."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import structlog
from sqlalchemy import func
from sqlalchemy.orm import Session

from app.datasets.states import VersionStatus
from app.datasets.uploads import UploadService
from app.kit import care
from app.kit.care import Claim
from app.kit.failpoints import failpoint
from app.storage.port import StoredObject
from app.upkeep import repository
from app.upkeep.retirements import RetirementService
from app.upkeep.tables import Janitor
from app.workbench import Workbench

log = structlog.get_logger("kitae.upkeep")

BATCH: Final = 500
"""Objects whose rows are looked for with one query a kind."""
ROUNDS_MAX: Final = 100
"""Batches of expired upload parts that one round deletes; the next round takes the rest."""


@dataclass(slots=True)
class Round:
    """What one look through the storage found."""

    objects: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    """Why → how many."""
    removed_bytes: int = 0
    young: int = 0
    """Leftovers that are not old enough yet."""
    unrecognised: int = 0
    """Objects under keys that no room of ours makes; they are left alone."""

    def report(self) -> dict[str, Any]:
        return {
            "objects": self.objects,
            "removed": dict(self.removed),
            "removed_bytes": self.removed_bytes,
            "young": self.young,
            "unrecognised": self.unrecognised,
        }


class JanitorSteps:
    """Looks through the storage now and then. One at a time, by the claim of its one row."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy

    def clean(self, janitor_id: str) -> None:
        """Once through everything."""
        self._bench.tend(Janitor, janitor_id, self._step, noun="janitor")

    def _step(self, held: Claim) -> None:
        done = Round()
        self._expired_uploads(held, done)
        for batch in _batches(self._bench.storage.objects()):
            self._look_at(held, batch, done)
        if done.removed:
            log.info("janitor.cleaned", **done.report())
        RetirementService(self._bench).tell()
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=self._policy.janitor_seconds * random.uniform(0.9, 1.1),
                cleaned_at=func.clock_timestamp(),
                report=done.report(),
            )

    def _expired_uploads(self, held: Claim, done: Round) -> None:
        uploads = UploadService(self._bench)
        for _ in range(ROUNDS_MAX):
            removed = uploads.sweep()
            if not removed:
                return
            log.info("janitor.expired_parts_deleted", parts=removed)
            self._count(held, done, "part of an expired upload", removed, 0)

    def _look_at(self, held: Claim, batch: Sequence[StoredObject], done: Round) -> None:
        done.objects += len(batch)
        with self._bench.read() as session:
            reasons = leftovers(session, batch)
        for item in batch:
            reason = reasons.get(item.key)
            if reason is None:
                continue
            if reason == UNRECOGNISED:
                done.unrecognised += 1
            elif item.age_seconds < self._policy.leftover_seconds:
                done.young += 1
            else:
                self._delete(held, item, reason, done)
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)

    def _delete(self, held: Claim, item: StoredObject, reason: str, done: Round) -> None:
        self._bench.storage.delete(item.key)
        log.info(
            "janitor.deleted", key=item.key, bytes=item.bytes, age_seconds=round(item.age_seconds), reason=reason
        )
        failpoint("upkeep.janitor.deleted")
        self._count(held, done, reason, 1, item.bytes)

    def _count(self, held: Claim, done: Round, reason: str, objects: int, size: int) -> None:
        done.removed[reason] = done.removed.get(reason, 0) + objects
        done.removed_bytes += size
        with self._bench.begin() as work:
            repository.count_removed(work.session, held, objects=objects, size=size)


UNRECOGNISED: Final = "unrecognised"


def leftovers(session: Session, batch: Sequence[StoredObject]) -> dict[str, str]:
    """Key → why it is a leftover, for those of the batch that are."""
    places = {item.key: item.key.split("/") for item in batch}
    versions = repository.known_versions(session, _ids(places.values(), "datasets"))
    owners = {
        "jobs": ("of no job", repository.known_jobs(session, _ids(places.values(), "jobs"))),
        "runs": ("of no imported run", repository.known_runs(session, _ids(places.values(), "runs"))),
        "fetches": (
            "of a fetch that has ended",
            repository.known_fetches(session, _ids(places.values(), "fetches")),
        ),
    }
    parts = repository.known_parts(session, _ids(places.values(), "uploads"))
    checked = {VersionStatus.READY, VersionStatus.REJECTED}
    found: dict[str, str] = {}
    for item in batch:
        match places[item.key]:
            case _ if item.is_partial:
                found[item.key] = "unfinished write"
            case ["datasets", version, name]:
                if version not in versions:
                    found[item.key] = "of no dataset version"
                elif name == "raw" and versions[version] in checked:
                    found[item.key] = "raw bytes of a checked version"
            case [kind, owner, *_] if kind in owners:
                reason, known = owners[kind]
                if owner not in known:
                    found[item.key] = reason
            case ["uploads", part]:
                if part not in parts:
                    found[item.key] = "of no upload"
            case _:
                found[item.key] = UNRECOGNISED
    return found


def _ids(places: Iterable[list[str]], kind: str) -> set[str]:
    return {place[1] for place in places if len(place) > 1 and place[0] == kind}


def _batches(objects: Iterator[StoredObject]) -> Iterator[list[StoredObject]]:
    while batch := list(islice(objects, BATCH)):
        yield batch
