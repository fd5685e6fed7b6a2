"""The client of Kitae's HTTP API: typed, synchronous, usable as a library; the command line is built on it.

It knows nothing of the service's inside: only the schemas that cross the wire.
"""

import hashlib
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Self, TypeVar

import httpx2
import orjson
from pydantic import BaseModel, SecretStr, ValidationError

from app.access.schemas import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyRead,
    InstallationPut,
    InstallationRead,
    ProjectCreate,
    ProjectPatch,
    ProjectRead,
)
from app.adoptions.schemas import AdoptionRead, AdoptRemoteJob, RemoteJobList
from app.baselines.schemas import BaselineAnswerRead, BaselineCreate, BaselineEstimate, BaselineRead
from app.calibrations.schemas import (
    Calibration,
    CalibrationCreate,
    GraderCheck,
    GraderRead,
    HyperparameterList,
    HyperparameterRead,
)
from app.connections.schemas import (
    ConnectionCheck,
    ConnectionCreate,
    ConnectionPatch,
    ConnectionRead,
    Quota,
    RemoteModels,
)
from app.costs.schemas import BudgetPut, BudgetRead, CostSummary, DatasetEstimate
from app.datasets.schemas import (
    Changes,
    CompareRequest,
    Comparison,
    DatasetCreate,
    DatasetRead,
    EstimateRequest,
    FetchedSource,
    FetchRead,
    FindingList,
    FindingRead,
    HuggingFaceSource,
    Preview,
    RowLineage,
    Stats,
    TransformRead,
    UploadCreate,
    UploadRead,
    VersionCreate,
    VersionRead,
)
from app.deployments.schemas import (
    ChatRead,
    ChatRequest,
    ComparisonCreate,
    ComparisonDetail,
    ComparisonRead,
    DeploymentCreate,
    DeploymentPatch,
    DeploymentRead,
)
from app.events.schemas import EventRead
from app.exports.schemas import ImportRead, RunDetail, RunRead
from app.generation.schemas import (
    Coverage,
    GenerationCreate,
    GenerationEstimate,
    GenerationRead,
    GenerationRowRead,
)
from app.jobs.schemas import (
    AnalysisRead,
    CheckpointList,
    JobComparison,
    JobCreate,
    JobEventRead,
    JobPlan,
    JobPoints,
    JobProgress,
    JobRead,
    JobResume,
    Metrics,
)
from app.jobs.watchdog import WatchPolicy
from app.kit.wire import RequestModel
from app.models.schemas import (
    BaseModelList,
    BaseModelRead,
    ModelCopyCreate,
    ModelCopyList,
    ModelCopyRead,
    ModelDetail,
    ModelRead,
)
from app.retrieval.schemas import SearchIndexCheck, SearchIndexCreate, SearchIndexRead, SearchRequest
from app.studies.schemas import StudyCreate, StudyPlan, StudyRead
from app.upkeep.schemas import Retirement, RetirementList, StrayAdopt, StrayRead, SweepRead

PAGE_ITEMS: Final = 100
"""Items asked for at once when a whole list is walked; the API answers at most 200."""
UPLOAD_CHUNK_BYTES: Final = 256 * 1024
ATTEMPTS: Final = 4
"""Tries of a request that may be repeated safely."""
PATIENCE_SECONDS: Final = 30.0
"""A longer Retry-After is the caller's to wait for, not ours."""
JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"
EVENT_STREAM: Final = "text/event-stream"

M = TypeVar("M", bound=BaseModel)
Progress = Callable[[int, int], None]
"""Called with (bytes sent, bytes in all)."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong in a request, and where."""

    code: str
    detail: str
    place: str
    """JSON pointer into the body, or the name of a parameter or header; "" when it is about the whole."""


class ApiProblem(Exception):
    """The service refused; it said why (RFC 9457).

    Attributes:
        status: HTTP status.
        code: stable word to match on.
        detail: what happened, for people.
        hint: what to do about it, or "".
        errors: field by field, where that makes sense.
        remote: Azure's answer verbatim, where it was Azure that refused.
    """

    def __init__(
        self, document: Mapping[str, Any], *, status: int, retry_after_seconds: float | None = None
    ) -> None:
        self.status = status
        self.code = str(document["code"])
        self.detail = str(document["detail"])
        super().__init__(self.detail)
        self.hint = str(document.get("hint") or "")
        self.errors = [_field_problem(item) for item in document.get("errors") or []]
        self.request_id = str(document.get("request_id") or "")
        self.remote: Any = document.get("remote")
        self.retry_after_seconds = retry_after_seconds


class Unreachable(Exception):
    """No answer came from the service, or none that it could have given."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"Kitae does not answer at {url}: {reason}")
        self.url = url


class Client:
    """Kitae over HTTP.

    Requests that cannot do anything twice (reads, deletes, uploads, and POSTs with an Idempotency-Key, which every
    POST that spends gets) are repeated when the connection breaks or the service asks to come back shortly.

    Raises:
        ApiProblem: from every method, when the service refuses.
        Unreachable: from every method, when no answer comes.
    """

    def __init__(self, base_url: str, key: str, *, timeout_seconds: float = 60.0) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.base_url,
            headers={"Authorization": f"Bearer {key}", "Accept": JSON, "User-Agent": "kitae-client"},
            timeout=httpx2.Timeout(timeout_seconds, connect=5.0),
            trust_env=not _is_local(self.base_url),
        )
        self.installation = Installation(self)
        self.projects = Projects(self)
        self.keys = Keys(self)
        self.connections = Connections(self)
        self.adoptions = Adoptions(self)
        self.strays = Strays(self)
        self.datasets = Datasets(self)
        self.jobs = Jobs(self)
        self.models = Models(self)
        self.exports = Exports(self)
        self.deployments = Deployments(self)
        self.comparisons = Comparisons(self)
        self.generations = Generations(self)
        self.graders = Graders(self)
        self.baselines = Baselines(self)
        self.search_indexes = SearchIndexes(self)
        self.studies = Studies(self)
        self.costs = Costs(self)
        self.events = Events(self)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ── requests; also for routes that have no method here ──────────────────

    def send(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> httpx2.Response:
        """One request and its answer, repeated where that is safe."""
        headers = {}
        if body is not None:
            headers["Content-Type"] = JSON
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        content = orjson.dumps(_plain(body)) if body is not None else None
        given = {name: value for name, value in (params or {}).items() if value is not None}
        repeatable = method != "POST" or idempotency_key is not None

        def once() -> httpx2.Response:
            return self._http.request(method, path, content=content, params=given, headers=headers)

        return self._until_answered(once, repeatable=repeatable)

    def one(self, as_: type[M], method: str, path: str, **request: Any) -> M:
        """One request whose answer is one thing."""
        return self.parse(as_, self.send(method, path, **request))

    def pages(
        self, as_: type[M], path: str, *, limit: int | None = None, **params: str | int | None
    ) -> Iterator[M]:
        """All items of a list, page by page; at most `limit`."""
        after: str | None = None
        left = limit
        while left is None or left > 0:
            size = PAGE_ITEMS if left is None else min(PAGE_ITEMS, left)
            answer = self.send("GET", path, params={**params, "limit": size, "after": after})
            page = orjson.loads(answer.content)
            for item in page["data"]:
                yield as_.model_validate(item)
            after = page["last_id"]
            if not page["has_more"] or after is None:
                return
            if left is not None:
                left -= size

    @contextmanager
    def streaming(
        self, method: str, path: str, *, body: BaseModel | None = None, last_event_id: str | None = None
    ) -> Iterator[Iterator[httpx2.ServerSentEvent]]:
        """A stream of Server-Sent Events; a silence of a minute, three pings of the service, breaks it."""
        headers = {"Accept": EVENT_STREAM}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        if body is not None:
            headers["Content-Type"] = JSON
        content = orjson.dumps(_plain(body)) if body is not None else None
        patience = httpx2.Timeout(60.0, connect=5.0)
        with self._http.stream(method, path, content=content, headers=headers, timeout=patience) as answer:
            if not answer.is_success:
                answer.read()
                raise self._problem(answer)
            yield iter(httpx2.EventSource(answer))

    def parse(self, as_: type[M], answer: httpx2.Response) -> M:
        """Raises `Unreachable` when the answer is none that Kitae gives: something else listens there."""
        try:
            return as_.model_validate_json(answer.content)
        except ValidationError as error:
            raise Unreachable(
                self.base_url, f"the answer is not Kitae's ({error.error_count()} mismatches)"
            ) from error

    def _until_answered(self, once: Callable[[], httpx2.Response], *, repeatable: bool) -> httpx2.Response:
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or not repeatable
            try:
                answer = once()
            except httpx2.ConnectError as error:
                raise Unreachable(self.base_url, str(error)) from error
            except httpx2.TransportError as error:
                if last:
                    raise Unreachable(self.base_url, str(error) or type(error).__name__) from error
                time.sleep(0.2 * 2**attempt)
                continue
            if answer.is_success:
                return answer
            problem = self._problem(answer)
            wait = problem.retry_after_seconds
            again = answer.status_code in {429, 503} or problem.code == "idempotency_in_progress"
            if last or not again or wait is None or wait > PATIENCE_SECONDS:
                raise problem
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _problem(self, answer: httpx2.Response) -> ApiProblem:
        text = answer.headers.get("Retry-After", "")
        wait = float(text) if text.isdigit() else None
        try:
            return ApiProblem(orjson.loads(answer.content), status=answer.status_code, retry_after_seconds=wait)
        except (ValueError, KeyError, TypeError) as error:
            reason = f"HTTP {answer.status_code} without a problem document; is this Kitae?"
            raise Unreachable(self.base_url, reason) from error


class Room:
    """Part of the API that belongs together."""

    def __init__(self, client: Client) -> None:
        self._client = client


class Installation(Room):
    """`/v1/installation`; only with an operator's key."""

    def get(self) -> InstallationRead:
        return self._client.one(InstallationRead, "GET", "/v1/installation")

    def halt(self, reason: str) -> InstallationRead:
        """Nothing that costs money is begun from now on, in any project."""
        return self._put(InstallationPut(halted=True, reason=reason))

    def unhalt(self) -> InstallationRead:
        return self._put(InstallationPut(halted=False))

    def _put(self, wanted: InstallationPut) -> InstallationRead:
        return self._client.one(InstallationRead, "PUT", "/v1/installation", body=wanted)


class Projects(Room):
    """`/v1/projects`."""

    def create(self, name: str) -> ProjectRead:
        """Only with an operator's key."""
        return self._client.one(ProjectRead, "POST", "/v1/projects", body=ProjectCreate(name=name))

    def list(self) -> Iterator[ProjectRead]:
        return self._client.pages(ProjectRead, "/v1/projects")

    def get(self, project: str) -> ProjectRead:
        return self._client.one(ProjectRead, "GET", f"/v1/projects/{_part(project)}")

    def change(self, project: str, change: ProjectPatch) -> ProjectRead:
        return self._client.one(ProjectRead, "PATCH", f"/v1/projects/{_part(project)}", body=change)

    def archive(self, project: str) -> None:
        self._client.send("DELETE", f"/v1/projects/{_part(project)}")


class Keys(Room):
    """`/v1/api-keys`."""

    def create(self, new: ApiKeyCreate) -> ApiKeyCreated:
        """The answer's `secret` is shown only here."""
        return self._client.one(ApiKeyCreated, "POST", "/v1/api-keys", body=new)

    def list(self) -> Iterator[ApiKeyRead]:
        return self._client.pages(ApiKeyRead, "/v1/api-keys")

    def revoke(self, key_id: str) -> None:
        self._client.send("DELETE", f"/v1/api-keys/{_part(key_id)}")


class Connections(Room):
    """`/v1/connections`: Azure OpenAI resources."""

    def create(self, new: ConnectionCreate) -> ConnectionRead:
        return self._client.one(ConnectionRead, "POST", "/v1/connections", body=new)

    def list(self) -> Iterator[ConnectionRead]:
        return self._client.pages(ConnectionRead, "/v1/connections")

    def get(self, connection: str) -> ConnectionRead:
        return self._client.one(ConnectionRead, "GET", f"/v1/connections/{_part(connection)}")

    def change(self, connection: str, change: ConnectionPatch) -> ConnectionRead:
        return self._client.one(ConnectionRead, "PATCH", f"/v1/connections/{_part(connection)}", body=change)

    def archive(self, connection: str) -> None:
        self._client.send("DELETE", f"/v1/connections/{_part(connection)}")

    def check(self, connection: str) -> ConnectionCheck:
        """What the resource lets us do; nothing is made there."""
        return self._client.one(ConnectionCheck, "POST", f"/v1/connections/{_part(connection)}/check")

    def sweep(self, connection: str) -> SweepRead:
        """How the last sweep went."""
        return self._client.one(SweepRead, "GET", f"/v1/connections/{_part(connection)}/sweep")

    def sweep_now(self, connection: str) -> SweepRead:
        """Ask for a sweep; `sweep` shows its report once a worker has done it."""
        return self._client.one(
            SweepRead, "POST", f"/v1/connections/{_part(connection)}/sweep", idempotency_key=new_key()
        )

    def quota(self, connection: str) -> Quota:
        return self._client.one(Quota, "GET", f"/v1/connections/{_part(connection)}/quota")

    def remote_models(self, connection: str) -> RemoteModels:
        """Azure's own list, live and verbatim."""
        return self._client.one(RemoteModels, "GET", f"/v1/connections/{_part(connection)}/models")


class Adoptions(Room):
    """`/v1/adoptions`: jobs that others made at Azure, and how they come in."""

    def there(self, connection: str, *, limit: int = 20, after: str | None = None) -> RemoteJobList:
        """One page of Azure's own list, live."""
        path = f"/v1/connections/{_part(connection)}/remote-jobs"
        return self._client.one(RemoteJobList, "GET", path, params={"limit": limit, "after": after})

    def adopt(self, connection: str, remote_job: str, wanted: AdoptRemoteJob) -> AdoptionRead:
        """A worker brings it in; `get` shows how far it is."""
        path = f"/v1/connections/{_part(connection)}/remote-jobs/{_part(remote_job)}/adopt"
        return self._client.one(AdoptionRead, "POST", path, body=wanted, idempotency_key=new_key())

    def list(self, *, limit: int | None = None, **filters: str | None) -> Iterator[AdoptionRead]:
        """Newest first."""
        return self._client.pages(AdoptionRead, "/v1/adoptions", limit=limit, **filters)

    def get(self, adoption: str) -> AdoptionRead:
        return self._client.one(AdoptionRead, "GET", f"/v1/adoptions/{_part(adoption)}")


class Strays(Room):
    """`/v1/strays`: what Azure has of ours without a row."""

    def list(self, *, limit: int | None = None, **filters: str | None) -> Iterator[StrayRead]:
        """Newest first."""
        return self._client.pages(StrayRead, "/v1/strays", limit=limit, **filters)

    def get(self, stray: str) -> StrayRead:
        return self._client.one(StrayRead, "GET", f"/v1/strays/{_part(stray)}")

    def adopt(self, stray: str, wanted: StrayAdopt) -> StrayRead:
        """Its money is reserved."""
        path = f"/v1/strays/{_part(stray)}/adopt"
        return self._client.one(StrayRead, "POST", path, body=wanted, idempotency_key=new_key())

    def remove(self, stray: str) -> StrayRead:
        """It is `removed` once Azure says so."""
        return self._client.one(StrayRead, "POST", f"/v1/strays/{_part(stray)}/remove", idempotency_key=new_key())

    def ignore(self, stray: str) -> StrayRead:
        return self._client.one(StrayRead, "POST", f"/v1/strays/{_part(stray)}/ignore", idempotency_key=new_key())


class Datasets(Room):
    """`/v1/datasets`. A version is named `travel@3`, or `travel` for its newest ready one (else its newest)."""

    def create(self, new: DatasetCreate) -> DatasetRead:
        return self._client.one(DatasetRead, "POST", "/v1/datasets", body=new)

    def list(self) -> Iterator[DatasetRead]:
        return self._client.pages(DatasetRead, "/v1/datasets")

    def get(self, dataset: str) -> DatasetRead:
        return self._client.one(DatasetRead, "GET", f"/v1/datasets/{_part(dataset)}")

    def archive(self, dataset: str) -> None:
        self._client.send("DELETE", f"/v1/datasets/{_part(dataset)}")

    def upload(
        self,
        dataset: str,
        file: Path,
        *,
        model: str | None = None,
        how: Mapping[str, str | None] | None = None,
        on_progress: Progress | None = None,
    ) -> VersionRead:
        """Stream a file; the answer is a version that is being checked. The same bytes again answer the same one.

        Args:
            model: base model whose limits and tokenizer the check uses.
            how: what is known of a file that is not JSON Lines: format, mapping, encoding, sheet.
        """
        said = {"model": model, **(how or {})}
        params = {"filename": _safe_name(file.name)} | {name: value for name, value in said.items() if value}
        total = file.stat().st_size

        def once() -> httpx2.Response:
            with file.open("rb") as content:
                return self._client._http.request(  # noqa: SLF001  one module
                    "PUT",
                    f"/v1/datasets/{_part(dataset)}/content",
                    params=params,
                    content=_chunks(content, total, on_progress),
                    headers={"Content-Type": "application/jsonl", "Content-Length": str(total)},
                )

        answer = self._client._until_answered(once, repeatable=True)  # noqa: SLF001  one module
        return self._client.parse(VersionRead, answer)

    def upload_in_parts(
        self,
        dataset: str,
        file: Path,
        *,
        model: str | None = None,
        how: Mapping[str, str | None] | None = None,
        on_progress: Progress | None = None,
        on_read: Progress | None = None,
    ) -> VersionRead:
        """Upload a file so that it may break off: the same call again, from any process, sends what is missing.

        The service keeps the parts for a day. Every part goes with its SHA-256, and so does the whole.

        Args:
            model: base model whose limits and tokenizer the check uses.
            how: what is known of a file that is not JSON Lines: format, mapping, encoding, sheet.
            on_read: told how far the file has been read for its SHA-256, which is what it is known by.
        """
        total = file.stat().st_size
        new = UploadCreate(
            bytes=total, sha256=_sha256_of(file, on_read), filename=_safe_name(file.name), model=model, resume=True
        )
        path = f"/v1/datasets/{_part(dataset)}/uploads"
        begun = self._client.one(UploadRead, "POST", path, body=new, idempotency_key=new_key())
        there = {part.number: part for part in begun.parts}
        sent = 0
        with file.open("rb") as content:
            number = 0
            while part := content.read(begun.part_bytes):
                number += 1
                digest = hashlib.sha256(part).hexdigest()
                known = there.get(number)
                if known is None or known.sha256 != digest:
                    self._put_part(f"{path}/{begun.id}/parts/{number}", part, digest)
                sent += len(part)
                if on_progress is not None:
                    on_progress(sent, total)
        said = {name: value for name, value in (how or {}).items() if value}
        return self._client.one(
            VersionRead, "POST", f"{path}/{begun.id}/complete", body=said, idempotency_key=new_key()
        )

    def _put_part(self, path: str, part: bytes, digest: str) -> None:
        def once() -> httpx2.Response:
            return self._client._http.request(  # noqa: SLF001  one module
                "PUT", path, params={"sha256": digest}, content=part, headers={"Content-Type": OCTETS}
            )

        self._client._until_answered(once, repeatable=True)  # noqa: SLF001  one module

    def fetch(
        self,
        dataset: str,
        source: FetchedSource,
        *,
        filename: str | None = None,
        model: str | None = None,
        how: Mapping[str, str | None] | None = None,
    ) -> FetchRead:
        """Have a worker bring a source; the answer's `version` is there once it is `fetched`.

        Args:
            how: what is known of a file that is not JSON Lines: format, mapping, encoding, sheet.
        """
        asked = VersionCreate(source=source, filename=filename, model=model)
        wanted = {**asked.model_dump(mode="json", exclude_none=True), **(how or {})}
        wanted = {name: value for name, value in wanted.items() if value}
        if isinstance(source, HuggingFaceSource) and source.token is not None:
            wanted["source"]["token"] = source.token.get_secret_value()
        path = f"/v1/datasets/{_part(dataset)}/versions"
        return self._client.one(FetchRead, "POST", path, body=wanted, idempotency_key=new_key())

    def get_fetch(self, dataset: str, fetch: str) -> FetchRead:
        return self._client.one(FetchRead, "GET", f"/v1/datasets/{_part(dataset)}/fetches/{_part(fetch)}")

    def fetches(self, dataset: str, *, limit: int | None = None) -> Iterator[FetchRead]:
        """Newest first."""
        return self._client.pages(FetchRead, f"/v1/datasets/{_part(dataset)}/fetches", limit=limit)

    def cancel_fetch(self, dataset: str, fetch: str) -> None:
        self._client.send("DELETE", f"/v1/datasets/{_part(dataset)}/fetches/{_part(fetch)}")

    def retry_fetch(self, dataset: str, fetch: str) -> FetchRead:
        """Have a parked one looked at again. Raises `ApiProblem` (`not_parked`)."""
        path = f"/v1/datasets/{_part(dataset)}/fetches/{_part(fetch)}/retry"
        return self._client.one(FetchRead, "POST", path, idempotency_key=new_key())

    def versions(self, dataset: str, *, limit: int | None = None) -> Iterator[VersionRead]:
        """Newest first."""
        return self._client.pages(VersionRead, f"/v1/datasets/{_part(dataset)}/versions", limit=limit)

    def version(self, ref: str) -> VersionRead:
        """Raises `ApiProblem` (`version_not_found`), as the service would."""
        dataset, _, number = ref.partition("@")
        if number:
            return self._client.one(VersionRead, "GET", _version_path(dataset, number))
        newest: VersionRead | None = None
        for version in self.versions(dataset):
            if version.status == "ready":
                return version
            newest = newest or version
        return newest or self._client.one(VersionRead, "GET", _version_path(dataset, "1"))

    def findings(self, ref: str, *, severity: str | None = None, code: str | None = None) -> "list_[FindingRead]":
        params = {"severity": severity, "code": code}
        return self._client.one(FindingList, "GET", self._path(ref) + "/findings", params=params).data

    def preview(self, ref: str, *, rows: int = 3) -> Preview:
        return self._client.one(Preview, "GET", self._path(ref) + "/preview", params={"rows": rows})

    def stats(self, ref: str) -> Stats:
        return self._client.one(Stats, "GET", self._path(ref) + "/stats")

    def content(self, ref: str) -> bytes:
        """The cleaned content, whole, in memory."""
        return self._client.send("GET", self._path(ref) + "/content").content

    def transform(self, ref: str, operations: "list_[dict[str, Any]]", *, into: str | None = None) -> TransformRead:
        """Have a version changed; the answer runs, `transform_of` tells when it has ended."""
        body: dict[str, Any] = {"operations": operations} | ({"into": into} if into is not None else {})
        path = self._path(ref) + "/transform"
        return self._client.one(TransformRead, "POST", path, body=body, idempotency_key=new_key())

    def transform_of(self, dataset: str, transform: str) -> TransformRead:
        path = f"/v1/datasets/{_part(dataset)}/transforms/{_part(transform)}"
        return self._client.one(TransformRead, "GET", path)

    def cancel_transform(self, dataset: str, transform: str) -> None:
        self._client.send("DELETE", f"/v1/datasets/{_part(dataset)}/transforms/{_part(transform)}")

    def changes(self, ref: str, since: str, *, skip: int = 0, limit: int = 50) -> Changes:
        """What changed, row by row, since another version (a number of the same dataset, or a version)."""
        params = {"since": since, "skip": skip, "limit": limit}
        return self._client.one(Changes, "GET", self._path(ref) + "/changes", params=params)

    def lineage(self, ref: str, row: int) -> RowLineage:
        """Where a row came from, back to what was uploaded."""
        return self._client.one(RowLineage, "GET", self._path(ref) + "/lineage", params={"row": row})

    def estimate(self, ref: str, wanted: EstimateRequest) -> DatasetEstimate:
        return self._client.one(DatasetEstimate, "POST", self._path(ref) + "/estimate", body=wanted)

    def coverage(self, ref: str) -> Coverage:
        """Which ways of asking a version has and lacks."""
        return self._client.one(Coverage, "GET", self._path(ref) + "/coverage")

    def compare(self, training: str, validation: str) -> Comparison:
        """What two versions share."""
        wanted = CompareRequest(training=training, validation=validation)
        return self._client.one(Comparison, "POST", "/v1/datasets/compare", body=wanted)

    def _path(self, ref: str) -> str:
        dataset, _, number = ref.partition("@")
        if not number:
            found = self.version(ref)
            dataset, number = found.dataset, str(found.number)
        return _version_path(dataset, number)


class Jobs(Room):
    """`/v1/jobs`: fine-tuning jobs."""

    def plan(self, wanted: JobCreate) -> JobPlan:
        """What would be sent, every check, the cost. Makes nothing."""
        body = wanted.model_copy(update={"dry_run": True})
        return self._client.one(JobPlan, "POST", "/v1/jobs", body=body, idempotency_key=new_key())

    def create(self, wanted: JobCreate, *, idempotency_key: str | None = None) -> JobRead:
        """Spends money."""
        return self._client.one(
            JobRead, "POST", "/v1/jobs", body=wanted, idempotency_key=idempotency_key or new_key()
        )

    def list(
        self, *, status: str | None = None, connection: str | None = None, limit: int | None = None
    ) -> Iterator[JobRead]:
        """Newest first."""
        return self._client.pages(JobRead, "/v1/jobs", limit=limit, status=status, connection=connection)

    def get(self, job: str) -> JobRead:
        return self._client.one(JobRead, "GET", f"/v1/jobs/{_part(job)}")

    def act(self, job: str, verb: Literal["cancel", "pause", "retry"]) -> JobRead:
        return self._client.one(JobRead, "POST", f"/v1/jobs/{_part(job)}/{verb}", idempotency_key=new_key())

    def events(self, job: str, *, limit: int | None = None) -> Iterator[EventRead]:
        """Our log of the job, newest first."""
        return self._client.pages(EventRead, f"/v1/jobs/{_part(job)}/events", limit=limit)

    def remote_events(self, job: str, *, limit: int | None = None) -> Iterator[JobEventRead]:
        """Azure's own job events, newest first."""
        return self._client.pages(JobEventRead, f"/v1/jobs/{_part(job)}/remote-events", limit=limit)

    def checkpoints(self, job: str) -> CheckpointList:
        """All there ever were, with the best one and what can be deployed now."""
        return self._client.one(CheckpointList, "GET", f"/v1/jobs/{_part(job)}/checkpoints")

    def resume(self, job: str, wanted: JobResume | None = None) -> JobRead:
        """Lets a paused training go on; one that was paused for its cost only with what more it may cost."""
        path = f"/v1/jobs/{_part(job)}/resume"
        return self._client.one(JobRead, "POST", path, body=wanted, idempotency_key=new_key())

    def set_watch(self, job: str, policy: WatchPolicy) -> JobRead:
        """What the watch-dog looks out for from now on."""
        return self._client.one(JobRead, "PUT", f"/v1/jobs/{_part(job)}/watch", body=policy)

    def progress(self, job: str) -> JobProgress:
        return self._client.one(JobProgress, "GET", f"/v1/jobs/{_part(job)}/progress")

    def follow(self, job: str) -> Iterator[JobPoints | JobProgress]:
        """The curve from its first point on and how far the job is, as it happens, over broken connections too;
        until it has ended.
        """
        path, after = f"/v1/jobs/{_part(job)}/metrics", None
        while True:
            try:
                with self._client.streaming("GET", path, last_event_id=after) as messages:
                    for message in messages:
                        if message.event == "end":
                            return
                        if message.event == "points":
                            yield JobPoints.model_validate_json(message.data)
                            after = message.id
                        elif message.event == "progress":
                            yield JobProgress.model_validate_json(message.data)
            except httpx2.ConnectError as error:
                raise Unreachable(self._client.base_url, str(error)) from error
            except httpx2.TransportError:
                pass  # a cut stream is taken up again behind the last points
            time.sleep(0.5)

    def metrics(self, job: str) -> Metrics:
        return self._client.one(Metrics, "GET", f"/v1/jobs/{_part(job)}/metrics")

    def results_csv(self, job: str) -> bytes:
        return self._client.send("GET", f"/v1/jobs/{_part(job)}/results.csv").content

    def analysis(self, job: str) -> AnalysisRead:
        return self._client.one(AnalysisRead, "GET", f"/v1/jobs/{_part(job)}/analysis")

    def chart_svg(self, job: str) -> bytes:
        return self._client.send("GET", f"/v1/jobs/{_part(job)}/chart.svg").content

    def report_html(self, job: str) -> bytes:
        """A page that stands alone."""
        return self._client.send("GET", f"/v1/jobs/{_part(job)}/report.html").content

    def compare(self, jobs: Sequence[str], *, points: int | None = None) -> JobComparison:
        """In what two to ten jobs differ, with their curves over the same steps."""
        params = {"job": list(jobs)} | ({"points": points} if points is not None else {})
        return self._client.one(JobComparison, "GET", "/v1/jobs/compare", params=params)

    def compare_svg(self, jobs: Sequence[str]) -> bytes:
        return self._client.send("GET", "/v1/jobs/compare.svg", params={"job": list(jobs)}).content


class Models(Room):
    """`/v1/models` and `/v1/base-models`."""

    def list(self, *, job: str | None = None, limit: int | None = None) -> Iterator[ModelRead]:
        """Final models and deployable checkpoints, newest first."""
        return self._client.pages(ModelRead, "/v1/models", limit=limit, job=job)

    def get(self, model: str) -> ModelDetail:
        """With its lineage."""
        return self._client.one(ModelDetail, "GET", f"/v1/models/{_part(model)}")

    def copy(self, model: str, connection: str, *, idempotency_key: str | None = None) -> ModelCopyRead:
        """To another resource; a checkpoint's id is taken as well."""
        return self._client.one(
            ModelCopyRead,
            "POST",
            f"/v1/models/{_part(model)}/copy",
            body=ModelCopyCreate(connection=connection),
            idempotency_key=idempotency_key or new_key(),
        )

    def copies(self, model: str) -> "list_[ModelCopyRead]":
        """Where it was copied to."""
        return self._client.one(ModelCopyList, "GET", f"/v1/models/{_part(model)}/copies").data

    def retirements(self, *, within_days: int = 365) -> "list_[Retirement]":
        """What ends when, with what to train instead."""
        params = {"within_days": within_days}
        return self._client.one(RetirementList, "GET", "/v1/retirements", params=params).data

    def base_models(self, *, connection: str | None = None) -> BaseModelList:
        """With a connection, merged with what ARM last said of that resource."""
        return self._client.one(BaseModelList, "GET", "/v1/base-models", params={"connection": connection})

    def base_model(self, name: str, *, connection: str | None = None) -> BaseModelRead:
        """By id or alias."""
        params = {"connection": connection}
        return self._client.one(BaseModelRead, "GET", f"/v1/base-models/{_part(name)}", params=params)


class Exports(Room):
    """Cards, bundles and `/v1/runs`."""

    def card(self, model: str, *, html: bool = False) -> bytes:
        """The card of a model, or of an imported run."""
        room = "runs" if model.startswith("run_") else "models"
        return self._client.send("GET", f"/v1/{room}/{_part(model)}/card.{'html' if html else 'md'}").content

    def pack(self, model: str, to: Path, *, content: bool = False) -> int:
        """Write the bundle of a model, or of an imported run; its bytes. The file is whole or not there."""
        room = "runs" if model.startswith("run_") else "models"
        partial = to.with_name(to.name + ".part")
        with self._client._http.stream(  # noqa: SLF001  one module
            "GET", f"/v1/{room}/{_part(model)}/bundle.zip", params={"content": str(content).lower()}
        ) as answer:
            if not answer.is_success:
                answer.read()
                raise self._client._problem(answer)  # noqa: SLF001  one module
            with partial.open("wb") as file:
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        partial.replace(to)
        return to.stat().st_size

    def bring(self, bundle: Path) -> ImportRead:
        """Bring in the runs of a bundle. Again is no mistake."""
        total = bundle.stat().st_size

        def once() -> httpx2.Response:
            with bundle.open("rb") as content:
                return self._client._http.request(  # noqa: SLF001  one module
                    "POST",
                    "/v1/bundles",
                    content=_chunks(content, total, None),
                    headers={"Content-Type": "application/zip", "Content-Length": str(total)},
                )

        return self._client.parse(ImportRead, self._client._until_answered(once, repeatable=True))  # noqa: SLF001

    def runs(self, *, limit: int | None = None) -> Iterator[RunRead]:
        """Imported runs, the newest first."""
        return self._client.pages(RunRead, "/v1/runs", limit=limit)

    def run(self, run: str) -> RunDetail:
        return self._client.one(RunDetail, "GET", f"/v1/runs/{_part(run)}")


class Deployments(Room):
    """`/v1/deployments`: models made callable for a time."""

    def create(self, new: DeploymentCreate, *, idempotency_key: str | None = None) -> DeploymentRead:
        """Spends money while it stands."""
        return self._client.one(
            DeploymentRead, "POST", "/v1/deployments", body=new, idempotency_key=idempotency_key or new_key()
        )

    def list(self, *, limit: int | None = None, **filters: str | None) -> Iterator[DeploymentRead]:
        """Newest first."""
        return self._client.pages(DeploymentRead, "/v1/deployments", limit=limit, **filters)

    def get(self, deployment: str) -> DeploymentRead:
        return self._client.one(DeploymentRead, "GET", f"/v1/deployments/{_part(deployment)}")

    def change(self, deployment: str, change: DeploymentPatch) -> DeploymentRead:
        return self._client.one(DeploymentRead, "PATCH", f"/v1/deployments/{_part(deployment)}", body=change)

    def delete(self, deployment: str) -> DeploymentRead:
        """It is `deleted` once Azure no longer has it."""
        self._client.send("DELETE", f"/v1/deployments/{_part(deployment)}")
        return self.get(deployment)

    def chat(self, deployment: str, question: ChatRequest) -> ChatRead:
        """One answer, whole."""
        return self._client.one(
            ChatRead,
            "POST",
            f"/v1/deployments/{_part(deployment)}/chat",
            body=question.model_copy(update={"stream": False}),
        )

    def chat_stream(self, deployment: str, question: ChatRequest) -> Iterator[str]:
        """The answer's pieces of text, as they come."""
        body = question.model_copy(update={"stream": True})
        path = f"/v1/deployments/{_part(deployment)}/chat"
        with self._client.streaming("POST", path, body=body) as messages:
            for message in messages:
                if message.data and message.data != "[DONE]":
                    chunk = orjson.loads(message.data)
                    yield from (choice.get("delta", {}).get("content") or "" for choice in chunk.get("choices", []))


class Comparisons(Room):
    """`/v1/comparisons`: the same prompts put to several deployments."""

    def create(self, new: ComparisonCreate) -> ComparisonDetail:
        answer = self._client.send("POST", "/v1/comparisons", body=new, idempotency_key=new_key())
        return self.get(self._client.parse(ComparisonRead, answer).id)

    def list(self, *, limit: int | None = None) -> Iterator[ComparisonRead]:
        return self._client.pages(ComparisonRead, "/v1/comparisons", limit=limit)

    def get(self, comparison: str) -> ComparisonDetail:
        """With every answer that there is."""
        return self._client.one(ComparisonDetail, "GET", f"/v1/comparisons/{_part(comparison)}")


class Graders(Room):
    """`/v1/graders` and `/v1/hyperparameters`: what a method needs, before anything is trained by it."""

    def validate(self, wanted: GraderCheck) -> GraderRead:
        """Costs nothing."""
        return self._client.one(GraderRead, "POST", "/v1/graders/validate", body=wanted)

    def calibrate(self, wanted: CalibrationCreate) -> Calibration:
        """Grades up to 50 answers, which costs what they cost."""
        return self._client.one(Calibration, "POST", "/v1/graders/calibrate", body=wanted)

    def hyperparameters(
        self, *, method: str | None = None, model: str | None = None
    ) -> "list_[HyperparameterRead]":
        params = {"method": method, "model": model}
        return self._client.one(HyperparameterList, "GET", "/v1/hyperparameters", params=params).data


class Generations(Room):
    """`/v1/generations`, and `generate` of a dataset: training rows made by a deployed model."""

    def estimate(self, dataset: str, new: GenerationCreate) -> GenerationEstimate:
        """What it would ask and may cost; nothing is made."""
        body = new.model_copy(update={"dry_run": True})
        return self._client.one(GenerationEstimate, "POST", f"/v1/datasets/{_part(dataset)}/generate", body=body)

    def create(self, dataset: str, new: GenerationCreate) -> GenerationRead:
        path = f"/v1/datasets/{_part(dataset)}/generate"
        return self._client.one(GenerationRead, "POST", path, body=new, idempotency_key=new_key())

    def list(self, *, limit: int | None = None) -> Iterator[GenerationRead]:
        return self._client.pages(GenerationRead, "/v1/generations", limit=limit)

    def get(self, generation: str) -> GenerationRead:
        return self._client.one(GenerationRead, "GET", f"/v1/generations/{_part(generation)}")

    def rows(
        self, generation: str, *, kept: bool | None = None, reason: str | None = None, limit: int | None = None
    ) -> Iterator[GenerationRowRead]:
        """Newest first."""
        path = f"/v1/generations/{_part(generation)}/rows"
        wanted = None if kept is None else str(kept).lower()
        return self._client.pages(GenerationRowRead, path, limit=limit, kept=wanted, reason=reason)

    def cancel(self, generation: str) -> GenerationRead:
        path = f"/v1/generations/{_part(generation)}/cancel"
        return self._client.one(GenerationRead, "POST", path, idempotency_key=new_key())

    def retry(self, generation: str) -> GenerationRead:
        path = f"/v1/generations/{_part(generation)}/retry"
        return self._client.one(GenerationRead, "POST", path, idempotency_key=new_key())


class Baselines(Room):
    """`/v1/baselines`: what a base model reaches without training."""

    def estimate(self, new: BaselineCreate) -> BaselineEstimate:
        """What it would ask and may cost; nothing is made."""
        body = new.model_copy(update={"dry_run": True})
        return self._client.one(BaselineEstimate, "POST", "/v1/baselines", body=body)

    def create(self, new: BaselineCreate) -> BaselineRead:
        return self._client.one(BaselineRead, "POST", "/v1/baselines", body=new, idempotency_key=new_key())

    def list(self, *, limit: int | None = None) -> Iterator[BaselineRead]:
        return self._client.pages(BaselineRead, "/v1/baselines", limit=limit)

    def get(self, baseline: str) -> BaselineRead:
        return self._client.one(BaselineRead, "GET", f"/v1/baselines/{_part(baseline)}")

    def answers(
        self, baseline: str, *, way: str | None = None, limit: int | None = None
    ) -> Iterator[BaselineAnswerRead]:
        """Newest first."""
        path = f"/v1/baselines/{_part(baseline)}/answers"
        return self._client.pages(BaselineAnswerRead, path, limit=limit, way=way)

    def cancel(self, baseline: str) -> BaselineRead:
        path = f"/v1/baselines/{_part(baseline)}/cancel"
        return self._client.one(BaselineRead, "POST", path, idempotency_key=new_key())

    def retry(self, baseline: str) -> BaselineRead:
        path = f"/v1/baselines/{_part(baseline)}/retry"
        return self._client.one(BaselineRead, "POST", path, idempotency_key=new_key())


class SearchIndexes(Room):
    """`/v1/search-indexes`: indexes of Azure AI Search that a baseline may search."""

    def create(self, new: SearchIndexCreate) -> SearchIndexRead:
        return self._client.one(SearchIndexRead, "POST", "/v1/search-indexes", body=new)

    def list(self, *, limit: int | None = None) -> Iterator[SearchIndexRead]:
        return self._client.pages(SearchIndexRead, "/v1/search-indexes", limit=limit)

    def get(self, index: str) -> SearchIndexRead:
        return self._client.one(SearchIndexRead, "GET", f"/v1/search-indexes/{_part(index)}")

    def check(self, index: str, wanted: SearchRequest) -> SearchIndexCheck:
        path = f"/v1/search-indexes/{_part(index)}/check"
        return self._client.one(SearchIndexCheck, "POST", path, body=wanted)

    def archive(self, index: str) -> None:
        self._client.send("DELETE", f"/v1/search-indexes/{_part(index)}")


class Studies(Room):
    """`/v1/studies`: variations of one training within one budget."""

    def plan(self, new: StudyCreate) -> StudyPlan:
        """What would be trained and may be spent; nothing is made."""
        return self._client.one(StudyPlan, "POST", "/v1/studies", body=new.model_copy(update={"dry_run": True}))

    def create(self, new: StudyCreate) -> StudyRead:
        return self._client.one(StudyRead, "POST", "/v1/studies", body=new, idempotency_key=new_key())

    def list(self, *, limit: int | None = None) -> Iterator[StudyRead]:
        return self._client.pages(StudyRead, "/v1/studies", limit=limit)

    def get(self, study: str) -> StudyRead:
        return self._client.one(StudyRead, "GET", f"/v1/studies/{_part(study)}")

    def cancel(self, study: str) -> StudyRead:
        path = f"/v1/studies/{_part(study)}/cancel"
        return self._client.one(StudyRead, "POST", path, idempotency_key=new_key())

    def retry(self, study: str) -> StudyRead:
        path = f"/v1/studies/{_part(study)}/retry"
        return self._client.one(StudyRead, "POST", path, idempotency_key=new_key())


class Costs(Room):
    """`/v1/costs` and `/v1/budgets`."""

    def summary(self, *, group_by: str | None = None) -> CostSummary:
        return self._client.one(CostSummary, "GET", "/v1/costs", params={"group_by": group_by})

    def budget(self) -> BudgetRead:
        return self._client.one(BudgetRead, "GET", "/v1/budgets")

    def set_budget(self, caps: BudgetPut) -> BudgetRead:
        return self._client.one(BudgetRead, "PUT", "/v1/budgets", body=caps)


class Events(Room):
    """`/v1/events`: the log of what happened."""

    def list(self, *, limit: int | None = None, **filters: str | None) -> Iterator[EventRead]:
        """Newest first."""
        return self._client.pages(EventRead, "/v1/events", limit=limit, **filters)

    def follow(self, *, job: str | None = None, after: str | None = None) -> Iterator[EventRead]:
        """Events as they happen, none twice and none left out, over broken connections too. Never ends by itself.

        Args:
            job: only this job's, from its first one on; without it, the project's, from now on.
            after: go on behind this event.
        """
        path = f"/v1/jobs/{_part(job)}/events" if job else "/v1/events"
        while True:
            try:
                with self._client.streaming("GET", path, last_event_id=after) as events:
                    for message in events:
                        if message.data:
                            event = EventRead.model_validate_json(message.data)
                            after = event.id
                            yield event
            except httpx2.ConnectError as error:
                raise Unreachable(self._client.base_url, str(error)) from error
            except httpx2.TransportError:
                pass  # a cut stream is taken up again behind the last event
            time.sleep(0.5)


list_ = list
"""The built-in, for annotations inside classes that have a method of this name."""


def new_key() -> str:
    """A fresh Idempotency-Key: keep it, and the same request sent again is the same deed."""
    return str(uuid.uuid4())


def _field_problem(item: Mapping[str, Any]) -> FieldProblem:
    place = item.get("pointer") or item.get("parameter") or item.get("header") or ""
    return FieldProblem(code=str(item.get("code", "")), detail=str(item.get("detail", "")), place=str(place))


def _plain(body: BaseModel | Mapping[str, Any]) -> Any:
    """A request as JSON values: only what was set, secrets opened, amounts as text."""
    if isinstance(body, RequestModel):
        return _json(body.model_dump(exclude_unset=True))
    return _json(body.model_dump() if isinstance(body, BaseModel) else body)


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _part(text: str) -> str:
    """Text as one segment of a path."""
    return urllib.parse.quote(text, safe="@") or "-"


def _version_path(dataset: str, number: str) -> str:
    return f"/v1/datasets/{_part(dataset)}/versions/{_part(number)}"


def _safe_name(name: str) -> str:
    """A file's name without what the service refuses in it."""
    return "".join(character for character in name if character.isprintable())[:200]


def _sha256_of(file: Path, on_read: Progress | None) -> str:
    digest, total, read = hashlib.sha256(), file.stat().st_size, 0
    with file.open("rb") as content:
        while chunk := content.read(UPLOAD_CHUNK_BYTES):
            digest.update(chunk)
            read += len(chunk)
            if on_read is not None:
                on_read(read, total)
    return digest.hexdigest()


def _chunks(file: BinaryIO, total: int, on_progress: Progress | None) -> Iterator[bytes]:
    sent = 0
    while chunk := file.read(UPLOAD_CHUNK_BYTES):
        yield chunk
        sent += len(chunk)
        if on_progress is not None:
            on_progress(sent, total)


def _is_local(url: str) -> bool:
    """Proxies from the environment must not stand between a person and their own machine."""
    return httpx2.URL(url).host in {"127.0.0.1", "localhost", "::1"}
