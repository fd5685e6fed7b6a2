"""Which of the things on a resource are ours, by the marks they carry. Pure: it knows no table and asks nobody.

A deployment carries its mark in its tags, a job in its metadata, a file in its name. Where Azure keeps no metadata
(the dated api-versions) a job is known by its training file and the suffix or seed derived from its op_key.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from app.azure.port import RemoteDeployment, RemoteFile, RemoteJob
from app.datasets.files import FileMark, mark_of
from app.jobs.marks import derived_seed, derived_suffix
from app.jobs.steps import ENDED_AT_AZURE
from app.kit.ids import is_id
from app.upkeep.states import StrayKind

SERVICE: Final = "kitae"
ENDED_BADLY: Final = ENDED_AT_AZURE - {"succeeded"}
NOT_THERE: Final = frozenset({"deleted", "deleting"})
"""Words of a file that Azure still lists and no longer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """One thing at Azure that carries our mark."""

    kind: StrayKind
    remote_id: str
    op_key: str
    """Whom its mark names; for a file its whole name."""
    owner_id: str
    """The job or deployment; for a file the job it was made for."""
    status: str
    """Azure's word, verbatim."""
    is_live: bool
    """It may cost money, or holds a place."""
    tags: Mapping[str, str]
    raw: Mapping[str, Any]
    created_at: datetime | None = None
    expires_at: datetime | None = None
    """Of a deployment: the end that stands in its tags."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """One thing that is not ours. It is counted and shown, and nothing else."""

    kind: StrayKind
    remote_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Everything on one resource; None = it could not be listed."""

    files: Sequence[RemoteFile] | None = None
    jobs: Sequence[RemoteJob] | None = None
    deployments: Sequence[RemoteDeployment] | None = None


@dataclass(slots=True)
class Sorted:
    """The same, told apart."""

    marked: list[Marked] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    unmarked_jobs: list[RemoteJob] = field(default_factory=list)
    """Jobs without metadata that no file of ours names: whether a row does is not known here."""


def sort(resource: Resource, *, environment: str) -> Sorted:
    """Tell ours from foreign. What another installation on the same resource has made is foreign."""
    found = Sorted()
    names = {file.remote_id: mark for file in resource.files or () if (mark := mark_of(file.filename or ""))}
    for file in resource.files or ():
        mark = names.get(file.remote_id)
        if mark is not None and mark.environment == environment:
            found.marked.append(_file(file, mark))
        else:
            found.foreign.append(Foreign(StrayKind.FILE, file.remote_id))
    for job in resource.jobs or ():
        _sort_job(found, job, names, environment)
    for deployment in resource.deployments or ():
        if is_tagged(deployment.tags, environment):
            found.marked.append(deployment_marked(deployment))
        else:
            found.foreign.append(Foreign(StrayKind.DEPLOYMENT, deployment.name))
    return found


def is_tagged(tags: Mapping[str, str], environment: str) -> bool:
    """Whether tags or metadata say that this installation made it."""
    return tags.get("svc") == SERVICE and tags.get("env") == environment and bool(tags.get("op_key"))


def _sort_job(found: Sorted, job: RemoteJob, names: Mapping[str, FileMark], environment: str) -> None:
    if is_tagged(job.metadata, environment):
        found.marked.append(job_marked(job, job.metadata["op_key"]))
    elif job.metadata:
        found.foreign.append(Foreign(StrayKind.JOB, job.remote_id))
    else:
        mark = names.get(job.training_file or "")
        if mark is None:
            found.unmarked_jobs.append(job)
        elif mark.environment == environment and _fits(job, mark.owner_id):
            found.marked.append(job_marked(job, mark.owner_id))
        else:
            found.foreign.append(Foreign(StrayKind.JOB, job.remote_id))


def _fits(job: RemoteJob, op_key: str) -> bool:
    """Whether the suffix or the seed is the one that a job of this op_key gets: the second mark of two."""
    return (job.suffix or "").endswith(derived_suffix(op_key)) or job.seed == derived_seed(op_key)


def job_marked(job: RemoteJob, op_key: str) -> Marked:
    return Marked(
        kind=StrayKind.JOB,
        remote_id=job.remote_id,
        op_key=op_key,
        owner_id=op_key,
        status=job.status,
        is_live=job.status not in ENDED_AT_AZURE,
        tags=dict(job.metadata),
        raw=job.raw,
        created_at=job.created_at,
    )


def _file(file: RemoteFile, mark: FileMark) -> Marked:
    return Marked(
        kind=StrayKind.FILE,
        remote_id=file.remote_id,
        op_key=file.filename or "",
        owner_id=mark.owner_id,
        status=file.status,
        is_live=file.status not in NOT_THERE,
        tags={},
        raw=file.raw,
        created_at=file.created_at,
    )


def deployment_marked(deployment: RemoteDeployment) -> Marked:
    """Of one that `is_tagged`."""
    return Marked(
        kind=StrayKind.DEPLOYMENT,
        remote_id=deployment.name,
        op_key=deployment.tags["op_key"],
        owner_id=deployment.tags["op_key"],
        status=deployment.provisioning_state,
        is_live=deployment.provisioning_state != "Deleting",
        tags=dict(deployment.tags),
        raw=deployment.raw,
        expires_at=end_of(deployment.tags),
    )


def end_of(tags: Mapping[str, str]) -> datetime | None:
    """The end that stands in a deployment's tags; None when there is none, or none that can be read."""
    try:
        found = datetime.fromisoformat(tags.get("expires_at", ""))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def oldest_first(found: Iterable[Marked]) -> list[Marked]:
    return sorted(found, key=lambda item: (item.created_at is None, item.created_at, item.remote_id))


def is_adoptable(kind: StrayKind, op_key: str) -> bool:
    """Only what one of our own ids names can become that row again."""
    return (kind is StrayKind.JOB and is_id(op_key, "job")) or (
        kind is StrayKind.DEPLOYMENT and is_id(op_key, "dep")
    )
