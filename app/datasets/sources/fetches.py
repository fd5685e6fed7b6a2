"""Fetches: a version that a worker brings from somewhere else. Asked for here, taken step by step in `steps`."""

from typing import Any, Final
from urllib.parse import urlsplit

import orjson
from pydantic import TypeAdapter

from app.azure.port import AuthKind
from app.connections.service import ConnectionService
from app.datasets.engine.reading import How
from app.datasets.schemas import AzureBlobSource, FetchedSource, FetchRead, HuggingFaceSource, UrlSource
from app.datasets.service import DatasetService, with_how
from app.datasets.sources import repository
from app.datasets.sources.hub import HubPlace
from app.datasets.sources.places import (
    Place,
    SignedBlob,
    SourceRefused,
    WebPlace,
    name_in,
    own_blob,
    without_secrets,
)
from app.datasets.states import FETCH_LAW, FetchStatus
from app.datasets.tables import DatasetFetch
from app.kit import care
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.logging import never_log
from app.kit.pagination import Page, Slice
from app.workbench import Workbench

URL_NOT_ALLOWED: Final = "url_not_allowed"
ALLOWED_HINT: Final = (
    "Sources must be on the public internet, by https. An operator can allow others by naming their origins in "
    "KITAE_SOURCE_ORIGINS."
)
_SOURCE: TypeAdapter[FetchedSource] = TypeAdapter(FetchedSource)


class FetchService:
    """Fetches of a project's datasets."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._datasets = DatasetService(bench)

    def begin(
        self,
        project_id: str,
        ref: str,
        source: FetchedSource,
        *,
        filename: str | None,
        model: str | None,
        how: How | None = None,
    ) -> FetchRead:
        """Have a source brought. What can be refused without asking it is refused at once.

        Args:
            how: what the caller says of a file that is not JSON Lines.

        Raises:
            Invalid: a URL that this service may not call, or a source it may not read.
            NotFound: no such dataset or connection.
            Conflict: the project has too many fetches under way (`too_many_fetches`).
        """
        base_model = self._datasets.known_model(model)
        self._refuse_hopeless(project_id, source)  # before the dataset is missed: nobody names one for nothing
        dataset = self._datasets.get(project_id, ref)
        fetch_id = new_id("fet")
        row = DatasetFetch(
            id=fetch_id,
            project_id=project_id,
            dataset_id=dataset.id,
            status=FetchStatus.FETCHING,
            source=shown(source),
            lineage=with_how({}, how),
            source_sealed=self._bench.vault.seal(_whole(source), row_id=fetch_id),
            original_name=filename or _name_of(source),
            base_model=base_model,
            next_check_at=care.in_seconds(0),
        )
        with self._bench.begin() as work:
            most = self._bench.policy.fetches_per_project_max
            if repository.under_way(work.session, project_id) >= most:
                raise Conflict(
                    f"The project has {most} fetches under way, as many as it may.",
                    code="too_many_fetches",
                    hint="Wait for one to end, or cancel it.",
                )
            repository.add(work.session, row)
            work.announce(
                "dataset.fetch.fetching",
                project_id=project_id,
                subject_id=row.id,
                dataset=dataset.name,
                source=row.source,
            )
            work.nudge("datasets.fetch", row.id)
        return self.describe(row)

    def get(self, project_id: str, ref: str, fetch_id: str) -> FetchRead:
        return self.describe(self._find(project_id, ref, fetch_id))

    def page(self, project_id: str, ref: str, wanted: Page) -> Slice[FetchRead]:
        dataset = self._datasets.get(project_id, ref)
        with self._bench.read() as session:
            found = repository.page(session, dataset.id, wanted)
        return Slice([self.describe(row) for row in found.rows], found.has_more)

    def cancel(self, project_id: str, ref: str, fetch_id: str) -> None:
        """Give it up; again is no mistake. Raises `Conflict` when it has ended otherwise."""
        row = self._find(project_id, ref, fetch_id)
        if row.status == FetchStatus.CANCELLED:
            return
        FETCH_LAW.check(FetchStatus(row.status), FetchStatus.CANCELLED)
        with self._bench.begin() as work:
            if not repository.stop(work.session, row.id, {"status": FetchStatus.CANCELLED}):
                raise Conflict("The fetch has ended meanwhile.", code="fetch_ended", hint="Look at it again.")
            work.announce(
                "dataset.fetch.cancelled",
                project_id=project_id,
                subject_id=row.id,
                **{"from": FetchStatus.FETCHING, "to": FetchStatus.CANCELLED},
            )
            work.nudge("datasets.fetch", row.id)  # to clear away what has arrived

    def retry(self, project_id: str, ref: str, fetch_id: str) -> FetchRead:
        """Look again at a parked one. Raises `Conflict` (`not_parked`)."""
        row = self._find(project_id, ref, fetch_id)
        with self._bench.begin() as work:
            if not repository.unpark(work.session, row.id):
                raise Conflict("The fetch is not parked.", code="not_parked", hint="Look at its status.")
            work.announce("dataset.fetch.retry_requested", project_id=project_id, subject_id=row.id)
            work.nudge("datasets.fetch", row.id)
        return self.get(project_id, ref, fetch_id)

    def place_of(self, row: DatasetFetch) -> Place:
        """The source, with its secrets opened. Raises `SourceRefused` where it may not be read any more."""
        assert row.source_sealed is not None  # noqa: S101  forgotten only when a fetch has ended
        source = _SOURCE.validate_json(self._bench.vault.open(row.source_sealed, row_id=row.id))
        _hide(source)
        policy = self._bench.policy
        if isinstance(source, UrlSource):
            return WebPlace(source.url, source.sha256)
        if isinstance(source, HuggingFaceSource):
            token = source.token.get_secret_value() if source.token else None
            return HubPlace(
                self._bench.web,
                policy.hub_url,
                source.dataset,
                source.config,
                source.split,
                source.revision,
                token,
            )
        if source.url is not None:
            return SignedBlob(source.url, source.sha256)
        return self._own_blob(row.project_id, source)

    def _own_blob(self, project_id: str, source: AzureBlobSource) -> Place:
        connection = ConnectionService(self._bench).get(project_id, source.connection or "")
        if connection.auth != AuthKind.ENTRA:
            raise SourceRefused(
                f"The connection {connection.name!r} signs in with a key, which opens no storage.",
                code="connection_without_entra",
                hint="Name a connection with auth `entra`, or send the blob's URL with a SAS.",
            )
        return own_blob(
            self._bench.policy,
            self._bench.azure,
            account=source.account or "",
            container=source.container or "",
            blob=source.blob or "",
            sha256=source.sha256,
        )

    def _refuse_hopeless(self, project_id: str, source: FetchedSource) -> None:
        if isinstance(source, HuggingFaceSource):
            return
        if source.url is None:
            try:
                self._own_blob(project_id, source)
            except SourceRefused as refused:
                field = FieldError(pointer="/source", detail=refused.message, code=refused.code)
                raise Invalid(refused.message, code=refused.code, hint=refused.hint, errors=[field]) from None
            return
        _hide(source)
        try:
            self._bench.web.check(source.url)
        except ValueError as error:
            detail = f"This URL may not be called: {error}"
            field = FieldError(pointer="/source/url", detail=detail, code=URL_NOT_ALLOWED)
            raise Invalid(detail, code=URL_NOT_ALLOWED, hint=ALLOWED_HINT, errors=[field]) from None

    def _find(self, project_id: str, ref: str, fetch_id: str) -> DatasetFetch:
        dataset = self._datasets.get(project_id, ref)
        with self._bench.read() as session:
            row = repository.find(session, dataset.id, fetch_id)
        if row is None:
            raise NotFound(f"There is no fetch {fetch_id!r} of this dataset.", code="fetch_not_found")
        return row

    def describe(self, row: DatasetFetch) -> FetchRead:
        """The fetch as callers see it."""
        number = self._datasets.version(row.project_id, row.version_id).number if row.version_id else None
        files = (row.plan or {}).get("files")
        return FetchRead(
            id=row.id,
            dataset=row.dataset_id,
            status=row.status,
            source=row.source,
            filename=row.original_name,
            model=row.base_model,
            received_bytes=row.received_bytes,
            total_bytes=row.total_bytes,
            files=None if files is None else len(files),
            files_received=sum(1 for file in files or () if file["whole"]),
            version=row.version_id,
            version_number=number,
            error=row.error,
            last_error=row.last_error if row.status == FetchStatus.FETCHING else None,
            parked_reason=row.parked_reason,
            created_at=row.created_at,
            ended_at=row.ended_at,
        )


def pieces_of(row: DatasetFetch) -> list[str]:
    """Storage keys of what is here of a fetch."""
    return [str(piece["key"]) for file in (row.plan or {}).get("files", ()) for piece in file["pieces"]]


def shown(source: FetchedSource) -> dict[str, Any]:
    """The source without its secrets."""
    told = source.model_dump(mode="json", exclude_none=True, exclude={"token"})
    if "url" in told:
        told["url"] = without_secrets(told["url"])
    return told


def _whole(source: FetchedSource) -> str:
    """The source with its secrets, to be sealed."""
    told = source.model_dump(mode="json", exclude_none=True, exclude={"token"})
    if isinstance(source, HuggingFaceSource) and source.token is not None:
        told["token"] = source.token.get_secret_value()
    return orjson.dumps(told).decode()


def _hide(source: FetchedSource) -> None:
    """Blank its secrets in every log line of this process from now on."""
    if isinstance(source, HuggingFaceSource):
        secrets = [source.token.get_secret_value()] if source.token else []
    else:
        query = urlsplit(source.url or "").query
        secrets = [query, *(part.partition("=")[2] for part in query.split("&") if len(part) > 24)]
    for secret in secrets:
        never_log(secret)


def _name_of(source: FetchedSource) -> str:
    if isinstance(source, HuggingFaceSource):
        return f"{source.dataset.rpartition('/')[2]}-{source.split}.parquet"
    return name_in(source.url) if source.url is not None else name_in(f"/{source.blob}")
