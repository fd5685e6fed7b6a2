"""What Azure says of a resource, kept with its time: read by a worker, shown and planned with by everybody else.

It knows no job and no table but its own room's.
"""

from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import func

from app.azure.catalogue.live import LiveModels, is_of, is_worth_keeping, parse_models
from app.azure.catalogue.placement import Counts, Place
from app.azure.port import AzureError, AzureTarget, ControlPlane, RemoteFile, RemoteJob
from app.connections import repository
from app.connections.gates import Traffic
from app.connections.service import ConnectionService
from app.connections.tables import Connection, ResourceFacts
from app.kit.db import storable
from app.workbench import Workbench, describe

log = structlog.get_logger("kitae.connections")

_DEVELOPER = "developertier"
_WAITING = frozenset({"pending", "validating_files", "queued"})
_RUNNING = frozenset({"running", "pausing", "resuming"})


class ResourceService:
    """What is known of the resources of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)

    # ── learning, by a worker ───────────────────────────────────────────────

    def learn_models(self, connection: Connection, target: AzureTarget) -> None:
        """Ask ARM for its models, if that was not done for long. What it answers is kept, also that it does not."""
        if not target.account:
            return
        with self._bench.read() as session:
            age = repository.models_asked_seconds(session, connection.id)
        if age is not None and age < self._bench.policy.catalogue_seconds:
            return
        values: dict[str, Any] = {"models_asked_at": func.clock_timestamp()}
        try:
            with self._connections.control(target, Traffic.READ) as arm:
                items = arm.list_models()
                kept = [item for item in items if is_worth_keeping(item, self._bench.catalogue.base_models())]
                capacity = self._capacity(arm, kept)
        except AzureError as error:
            log.warning("catalogue.not_read", connection=connection.id, error=error.message)
            values["models_error"] = storable(describe(error))
        else:
            values |= {
                "models": storable([dict(item) for item in kept]),
                "capacity": capacity,
                "models_read_at": func.clock_timestamp(),
                "models_error": None,
            }
        with self._bench.begin() as work:
            repository.put_facts(work.session, connection.id, connection.project_id, values)

    def _capacity(self, arm: ControlPlane, items: Sequence[Any]) -> dict[str, dict[str, float]]:
        """What is left to deploy of each base model's fine-tunes, where ARM says it."""
        found = {}
        listed = parse_models(items)
        for base in self._bench.catalogue.base_models():
            model = next((model for model in listed if is_of(model, base)), None)
            if model is None or model.format is None:
                continue
            left = arm.tuned_capacity(model_format=model.format, name=model.name, version=model.version)
            if left:
                found[base.id] = dict(left)
        return found

    def count(
        self, connection: Connection, files: Sequence[RemoteFile] | None, jobs: Sequence[RemoteJob] | None
    ) -> None:
        """Keep how much is on the resource; None = that part could not be listed."""
        values: dict[str, Any] = dict.fromkeys(
            ("files", "file_bytes", "jobs", "jobs_running", "jobs_running_developer", "jobs_queued")
        )
        if files is not None:
            values |= {"files": len(files), "file_bytes": sum(file.bytes or 0 for file in files)}
        if jobs is not None:
            running = [job for job in jobs if job.status in _RUNNING]
            developer = sum(str(job.raw.get("trainingType", "")).lower() == _DEVELOPER for job in running)
            values |= {
                "jobs": len(jobs),
                "jobs_running": len(running) - developer,
                "jobs_running_developer": developer,
                "jobs_queued": sum(job.status in _WAITING for job in jobs),
            }
        with self._bench.begin() as work:
            repository.put_facts(
                work.session, connection.id, connection.project_id, values | {"counted_at": func.clock_timestamp()}
            )

    # ── reading ─────────────────────────────────────────────────────────────

    def places(self, project_id: str) -> dict[str, Place]:
        """Every resource of the project by its connection's id."""
        with self._bench.read() as session:
            rows = repository.facts_of_project(session, project_id)
        return {connection.id: _place(connection, facts) for connection, facts in rows}

    def live(self, connection_id: str) -> LiveModels | None:
        """ARM's models of one resource; None = never read."""
        with self._bench.read() as session:
            return live_of(repository.facts_of(session, connection_id))

    def facts(self, connection_id: str) -> ResourceFacts | None:
        with self._bench.read() as session:
            return repository.facts_of(session, connection_id)


def live_of(facts: ResourceFacts | None) -> LiveModels | None:
    """What was kept of ARM's list, as values."""
    if facts is None or facts.models is None or facts.models_read_at is None:
        return None
    return LiveModels(models=parse_models(facts.models), read_at=facts.models_read_at)


def _place(connection: Connection, facts: ResourceFacts | None) -> Place:
    counts = None
    if facts is not None and facts.counted_at is not None:
        counts = Counts(
            files=facts.files,
            file_bytes=facts.file_bytes,
            jobs=facts.jobs,
            jobs_running=facts.jobs_running,
            jobs_running_developer=facts.jobs_running_developer,
            jobs_queued=facts.jobs_queued,
            counted_at=facts.counted_at,
        )
    return Place(
        name=connection.name,
        resource=connection.endpoint.lower(),
        region=connection.region,
        live=live_of(facts),
        capacity=(facts.capacity if facts is not None else None) or {},
        counts=counts,
    )
