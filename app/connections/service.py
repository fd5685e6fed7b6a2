"""What one can do with a connection: keep it, try it, and call Azure through its gates."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.azure.port import (
    ApiStyle,
    AuthKind,
    AzureError,
    AzureTarget,
    ControlPlane,
    DataPlane,
    NotThere,
    Usage,
)
from app.connections import repository
from app.connections.gates import Gates, Traffic
from app.connections.schemas import CheckResult, ConnectionCheck, ConnectionCreate, ConnectionPatch
from app.connections.tables import Connection
from app.kit import named
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.markers import CheckMarker, any_marker
from app.kit.pagination import Page, Slice
from app.workbench import UnitOfWork, Workbench

__all__ = ["ConnectionService", "Traffic"]


class ConnectionService:
    """The connections of a project, and the one way to Azure for every room."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._gates = Gates(bench)

    def create(self, project_id: str, wanted: ConnectionCreate) -> Connection:
        """Keep a connection; nothing is called. Raises `Conflict` (`name_taken`), `Invalid` (endpoint)."""
        connection_id = new_id("con")
        key, token = wanted.api_key, wanted.arm_token
        vault = self._bench.vault
        connection = Connection(
            id=connection_id,
            project_id=project_id,
            name=wanted.name,
            endpoint=self._reachable(wanted.endpoint, "/endpoint"),
            region=wanted.region,
            api_style=wanted.api_style,
            api_version=wanted.api_version,
            auth=wanted.auth,
            api_key_sealed=vault.seal(key.get_secret_value(), row_id=connection_id) if key else None,
            entra_scope=wanted.entra_scope,
            arm_endpoint=self._reachable(wanted.arm_endpoint, "/arm_endpoint"),
            arm_api_version=wanted.arm_api_version,
            arm_token_sealed=vault.seal(token.get_secret_value(), row_id=connection_id) if token else None,
            subscription_id=wanted.subscription_id,
            resource_group=wanted.resource_group,
            account=wanted.account,
        )
        with self._bench.begin() as work:
            if named.find(work.session, Connection, project_id, wanted.name):
                raise Conflict(f"A connection named {wanted.name!r} exists already.", code="name_taken")
            repository.add(work.session, connection)
            work.session.refresh(connection)
            work.announce("connection.created", project_id=project_id, subject_id=connection_id, name=wanted.name)
        return connection

    def _reachable(self, url: str, pointer: str) -> str:
        try:
            return self._bench.check_url(url)
        except ValueError as error:
            field = FieldError(pointer=pointer, detail=str(error), code="url_not_allowed")
            raise Invalid(f"This URL may not be called: {error}", code="url_not_allowed", errors=[field]) from error

    def get(self, project_id: str, ref: str) -> Connection:
        """By id or name. Raises `NotFound`."""
        with self._bench.read() as session:
            connection = named.find(session, Connection, project_id, ref)
        if connection is None:
            raise NotFound(f"There is no connection {ref!r} in this project.", code="connection_not_found")
        return connection

    def page(self, project_id: str, wanted: Page) -> Slice[Connection]:
        with self._bench.read() as session:
            return named.page(session, Connection, project_id, wanted)

    def change(
        self, project_id: str, ref: str, wanted: ConnectionPatch, *, check: CheckMarker = any_marker
    ) -> Connection:
        """Raises `Stale` when `check` was given another state than the row's."""
        connection = self.get(project_id, ref)
        given = wanted.model_dump(exclude_unset=True)
        if connection.auth == AuthKind.API_KEY and "api_key" in given and wanted.api_key is None:
            detail = "The connection authenticates with a key, so its key can be replaced but not taken away."
            field_error = FieldError(pointer="/api_key", detail=detail, code="key_needed")
            raise Invalid(detail, code="key_needed", errors=[field_error])
        values: dict[str, Any] = {key: given[key] for key in ("region", "entra_scope") if key in given}
        for field, column in (("api_key", "api_key_sealed"), ("arm_token", "arm_token_sealed")):
            if field in given:
                secret = getattr(wanted, field)
                values[column] = (
                    self._bench.vault.seal(secret.get_secret_value(), row_id=connection.id) if secret else None
                )
        with self._bench.begin() as work:
            check(named.lock_marker(work.session, Connection, connection.id))
            named.change(work.session, Connection, connection.id, values)
            if {"api_key", "entra_scope"} & given.keys():
                self.watch_in(work, connection.id, 0.0)  # jobs that the old credential could not see
            work.announce(
                "connection.changed", project_id=project_id, subject_id=connection.id, fields=sorted(given)
            )
        return self.get(project_id, connection.id)

    def archive(self, project_id: str, ref: str, *, check: CheckMarker = any_marker) -> None:
        """Hide the connection. What already runs through it is still cared for."""
        connection = self.get(project_id, ref)
        with self._bench.begin() as work:
            check(named.lock_marker(work.session, Connection, connection.id))
            named.change(work.session, Connection, connection.id, {"archived_at": utc_now()})
            work.announce("connection.archived", project_id=project_id, subject_id=connection.id)

    # ── the way to Azure ────────────────────────────────────────────────────

    def target(self, connection: Connection) -> AzureTarget:
        """The connection with its secrets opened. Never log it."""

        def unseal(sealed: bytes | None) -> str | None:
            return self._bench.vault.open(sealed, row_id=connection.id) if sealed else None

        return AzureTarget(
            connection_id=connection.id,
            endpoint=connection.endpoint,
            api_style=ApiStyle(connection.api_style),
            api_version=connection.api_version,
            auth=AuthKind(connection.auth),
            api_key=unseal(connection.api_key_sealed),
            entra_scope=connection.entra_scope,
            arm_endpoint=connection.arm_endpoint,
            arm_api_version=connection.arm_api_version,
            arm_token=unseal(connection.arm_token_sealed),
            subscription_id=connection.subscription_id,
            resource_group=connection.resource_group,
            account=connection.account,
            region=connection.region,
        )

    def target_of(self, connection_id: str) -> AzureTarget:
        """For steps, whose row names its connection."""
        with self._bench.read() as session:
            connection = repository.get_unscoped(session, connection_id)
        if connection is None:
            raise NotFound(f"There is no connection {connection_id}.", code="connection_not_found")
        return self.target(connection)

    @contextmanager
    def data(self, target: AzureTarget, traffic: Traffic) -> Iterator[DataPlane]:
        """The data plane, through the gate of this class of traffic.

        Raises:
            Throttled: the gate is shut; `retry_after_seconds` tells for how long.
        """
        with self._gates.passing(target.connection_id, traffic):
            yield self._bench.azure.data_plane(target)

    @contextmanager
    def control(self, target: AzureTarget, traffic: Traffic) -> Iterator[ControlPlane]:
        """The control plane, through the same gates. Raises `Throttled`, `Invalid` (`arm_not_configured`)."""
        if not target.account:
            raise Invalid(
                "This connection names no ARM account, so it cannot make deployments.",
                code="arm_not_configured",
                hint="Give it subscription_id, resource_group and account.",
            )
        with self._gates.passing(target.connection_id, traffic):
            yield self._bench.azure.control_plane(target)

    @staticmethod
    def watch_in(work: UnitOfWork, connection_id: str, seconds: float) -> None:
        """Have the connection's jobs looked at within so many seconds."""
        repository.watch_in(work.session, connection_id, seconds)

    def take_account(self, target: AzureTarget, holder: str, *, seconds: float) -> bool:
        """Take the account's one write for so long; False when another row holds it."""
        with self._bench.begin() as work:
            return repository.take_account(work.session, target.account_key, holder, seconds=seconds)

    def free_account(self, target: AzureTarget, holder: str) -> None:
        with self._bench.begin() as work:
            repository.free_account(work.session, target.account_key, holder)

    # ── looking at the resource ─────────────────────────────────────────────

    def check(self, project_id: str, ref: str) -> ConnectionCheck:
        """Reach both planes with calls that change nothing, and say what is missing and how to mend it."""
        connection = self.get(project_id, ref)
        target = self.target(connection)
        results = [
            self._try("data_plane.files", lambda: self._count_files(target)),
            self._try("data_plane.jobs", lambda: self._count_jobs(target)),
            self._try("data_plane.models", lambda: self._count_models(target)),
        ]
        if target.account:
            results += [
                self._try("control_plane.deployments", lambda: self._count_deployments(target)),
                self._try("control_plane.usages", lambda: self._count_usages(target)),
            ]
        else:
            results.append(
                CheckResult(
                    name="control_plane.deployments",
                    verdict="skipped",
                    detail="The connection names no ARM account.",
                    hint="Give subscription_id, resource_group and account to deploy models through it.",
                )
            )
        outcome = ConnectionCheck(
            connection=connection.id,
            ok=all(result.verdict in ("ok", "skipped") for result in results),
            checked_at=utc_now(),
            results=results,
        )
        with self._bench.begin() as work:
            named.change(work.session, Connection, connection.id, {"last_check": outcome.model_dump(mode="json")})
            work.note("connection.checked", project_id=project_id, subject_id=connection.id, ok=outcome.ok)
        return outcome

    @staticmethod
    def _try(name: str, call: Any) -> CheckResult:
        try:
            return CheckResult(name=name, verdict="ok", detail=call())
        except NotThere as error:
            hint = error.hint or "Check the endpoint, the api style and the ARM ids."
            return CheckResult(name=name, verdict="failed", detail=error.message, hint=hint)
        except AzureError as error:
            return CheckResult(name=name, verdict="failed", detail=error.message, hint=error.hint)

    def _count_files(self, target: AzureTarget) -> str:
        with self.data(target, Traffic.READ) as azure:
            count = sum(1 for _ in azure.list_files(purpose="fine-tune"))
        return f"{count} fine-tuning files"

    def _count_jobs(self, target: AzureTarget) -> str:
        with self.data(target, Traffic.READ) as azure:
            first = next(iter(azure.list_jobs(page_size=20)), ())
        return f"{len(first)} jobs on the first page"

    def _count_models(self, target: AzureTarget) -> str:
        with self.data(target, Traffic.READ) as azure:
            return f"{len(azure.list_models())} models"

    def _count_deployments(self, target: AzureTarget) -> str:
        with self.control(target, Traffic.READ) as arm:
            return f"{len(arm.list_deployments())} deployments"

    def _count_usages(self, target: AzureTarget) -> str:
        with self.control(target, Traffic.READ) as arm:
            return f"{len(arm.list_usages())} quota lines"

    def remote_models(self, project_id: str, ref: str) -> list[Any]:
        """Azure's own list of models, verbatim."""
        target = self.target(self.get(project_id, ref))
        with self.data(target, Traffic.READ) as azure:
            return list(azure.list_models())

    def quota(self, project_id: str, ref: str) -> list[Usage]:
        """What is used and what is left, per model and SKU."""
        target = self.target(self.get(project_id, ref))
        with self.control(target, Traffic.READ) as arm:
            return arm.list_usages()
