"""What one can do with deployments: make, extend, delete, retry, chat."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from sqlalchemy import func

from app.access.service import refuse_if_paused
from app.azure.catalogue.catalogue import BaseModel
from app.azure.port import AzureTarget, NotThere, Refused
from app.connections.service import ConnectionService
from app.connections.tables import Connection
from app.costs.service import CostService
from app.deployments import repository
from app.deployments.asking import Answerer
from app.deployments.inference import Question, ask, ask_stream
from app.deployments.schemas import (
    LIFE_SECONDS_MAX,
    ChatMessage,
    ChatRead,
    ChatRequest,
    DeploymentCreate,
    DeploymentPatch,
    DeploymentRead,
)
from app.deployments.states import DEPLOYMENT_LAW, DeploymentStatus
from app.deployments.tables import Deployment
from app.kit.caller import Caller
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import is_id, new_id
from app.kit.markers import CheckMarker, any_marker
from app.kit.pagination import Page, Slice
from app.models.copies import CopyService
from app.models.service import ModelService, short_name
from app.models.states import CopyStatus
from app.models.tables import Model
from app.workbench import UnitOfWork, Workbench

DEFAULT_CAPACITY: Final = 100
"""Thousands of tokens per minute. At a capacity of 1 a tuned model takes about one request a minute.

Source: Microsoft's azure-skills, fine-tuning platform gotchas #6, 2026-08-20 (100 or more for evaluation).
"""
DEVELOPER: Final = "DeveloperTier"
TUNED_VERSION: Final = "1"
"""Of every fine-tuned model. Source: Microsoft Learn, deploy fine-tuned models, 2026-02-11."""
NAME_CHARACTERS: Final = 64
"""Of a deployment's name. Source: Microsoft's azure-skills, deployment reference, 2026-08-20."""
USED_SECONDS: Final = 60.0
"""How exactly `last_used_at` is kept; a busy chat must not write a row each time."""
WARMING_RETRY_SECONDS: Final = 15
"""When to ask a deployment again that is being made or warmed; warming takes minutes."""
_CENT_PARTS: Final = Decimal("0.0001")
_DATED: Final = re.compile(r"(?P<name>.+)-(?P<version>\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """What is to be deployed, and where."""

    connection: Connection
    model: Model | None
    base: BaseModel
    format: str
    remote_model: str
    version: str
    slug: str


class DeploymentService:
    """The deployments of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._models = ModelService(bench)
        self._costs = CostService(bench)

    # ── making ──────────────────────────────────────────────────────────────

    def create(
        self, caller: Caller, wanted: DeploymentCreate, *, reservation_id: str | None = None
    ) -> DeploymentRead:
        """Accept a deployment: its hosting is reserved until its end, a worker will make it at Azure.

        Args:
            reservation_id: of an idempotent request; the same one again answers the deployment it made.

        Raises:
            Invalid: Azure does not deploy this model like this, or the end is wrong.
            NotFound: no such model or connection.
            Conflict: the name is taken, the project is paused, the resource is full, or a cap forbids it.
        """
        if reservation_id is not None:
            with self._bench.read() as session:
                made = repository.find_reserved(session, reservation_id)
            if made is not None:
                return read(made)
        choice = self._choose(caller.project_id, wanted)
        sku = self._sku(choice, wanted.sku)
        expires_at = self._end(sku, wanted)
        hourly = Decimal(0)
        if choice.model is not None and sku != DEVELOPER:
            found = self._costs.hourly_hosting(base_model=choice.base.id, sku=sku)
            hourly = found  # type: ignore[assignment]  # None = not known, and kept as such
        deployment_id = new_id("dep")
        name = wanted.name or _name_for(choice, deployment_id)
        reserve = hosting_usd(hourly, (expires_at - utc_now()).total_seconds()) or Decimal(0)
        with self._bench.begin() as work:
            refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
            self._costs.reserve(
                work,
                caller,
                subject_id=deployment_id,
                category="hosting",
                amount_usd=reserve,
                note=f"{choice.slug}, {sku}, until {expires_at:%Y-%m-%d %H:%M} UTC",
            )
            # the project's budget row is locked from here on, so what is looked up now stays true
            self._refuse_full(work.session, choice)
            self._refuse_too_many(work, caller.project_id)
            if repository.is_name_taken(work.session, choice.connection.id, name):
                raise Conflict(
                    f"A deployment named {name!r} exists already on this resource.",
                    code="name_taken",
                    hint="Choose another name, or delete that deployment first.",
                )
            deployment = Deployment(
                id=deployment_id,
                project_id=caller.project_id,
                connection_id=choice.connection.id,
                key_id=caller.key_id,
                reservation_id=reservation_id,
                model_id=choice.model.id if choice.model else None,
                base_model=choice.base.id,
                remote_model=choice.remote_model,
                model_format=choice.format,
                model_version=choice.version,
                name=name,
                sku=sku,
                capacity=wanted.capacity or DEFAULT_CAPACITY,
                hourly_usd=hourly,
                reserved_usd=reserve,
                status=DeploymentStatus.CREATING,
                expires_at=expires_at,
                on_removal=wanted.on_removal,
                next_check_at=func.clock_timestamp(),
            )
            repository.add(work.session, deployment)
            work.announce(
                "deployment.creating",
                project_id=caller.project_id,
                subject_id=deployment_id,
                name=name,
                model=choice.remote_model,
                sku=sku,
                expires_at=expires_at.isoformat(),
                reserved_usd=f"{reserve:.4f}",
            )
            work.nudge("deployments.advance", deployment_id)
        return read(deployment)

    def _choose(self, project_id: str, wanted: DeploymentCreate) -> _Choice:
        model = self._model(project_id, wanted.model)
        base = self._bench.catalogue.find(model.base_model if model else wanted.model)
        if base is None:
            raise _invalid(
                "/model",
                "unknown_model",
                f"{wanted.model!r} is neither a model of this project nor a base model in the catalogue.",
                hint="GET /v1/models and GET /v1/base-models list what there is.",
            )
        connection = self._connection(project_id, wanted, model)
        if base.format is None:
            raise _invalid(
                "/model",
                "model_format_unknown",
                f"How Azure calls the format of {base.id} is not known, so it cannot be deployed.",
                hint="An operator can add `format` to the model in the catalogue file.",
            )
        if model is not None:
            remote, version, slug = model.remote_name, TUNED_VERSION, model.name
        else:
            (remote, version), slug = _arm_name(base), short_name(base.id)
        return _Choice(
            connection=connection,
            model=model,
            base=base,
            format=base.format,
            remote_model=remote,
            version=version,
            slug=slug,
        )

    def _model(self, project_id: str, ref: str) -> Model | None:
        """A model of the project, one of its checkpoints included; None = it may be a base model."""
        if is_id(ref, "ckp"):
            return self._models.resolve(project_id, ref)
        return self._models.find(project_id, ref)

    def _connection(self, project_id: str, wanted: DeploymentCreate, model: Model | None) -> Connection:
        if wanted.connection is None and model is None:
            raise _invalid("/connection", "missing", "A base model needs the connection it is to be deployed on.")
        connection = self._connections.get(project_id, wanted.connection or model.connection_id)  # type: ignore[union-attr]
        if model is not None and connection.id != model.connection_id:
            copy = CopyService(self._bench).to(model, connection.id)
            if copy is None or copy.status is not CopyStatus.READY:
                state = "" if copy is None else f" Its copy there is {copy.status}."
                raise _invalid(
                    "/connection",
                    "model_on_other_connection",
                    f"The model {model.name!r} is held by another resource than {connection.name!r}.{state}",
                    hint="Leave `connection` out to deploy it where it was trained, or copy it first: "
                    "POST /v1/models/{model}/copy.",
                )
        if not connection.account:
            raise _invalid(
                "/connection",
                "arm_not_configured",
                f"The connection {connection.name!r} names no ARM account, so nothing can be deployed through it.",
                hint="Give it subscription_id, resource_group and account.",
            )
        return connection

    @staticmethod
    def _sku(choice: _Choice, wanted: str | None) -> str:
        offered = choice.base.deployment_skus
        if not offered:
            raise _invalid(
                "/model",
                "model_not_deployable",
                f"{choice.base.id} is deployed on managed compute only, which this service does not do.",
            )
        if wanted is not None and wanted not in offered:
            raise _invalid(
                "/sku",
                "sku_not_offered",
                f"{choice.base.id} is not deployed as {wanted}; it is as {', '.join(offered)}.",
            )
        if wanted == DEVELOPER and choice.model is None:
            raise _invalid("/sku", "sku_not_offered", f"{DEVELOPER} is for fine-tuned models only.")
        if wanted is not None:
            return wanted
        preferred = (DEVELOPER,) if choice.model is not None else ()
        return next((sku for sku in (*preferred, "GlobalStandard", "Standard") if sku in offered), offered[0])

    def _end(self, sku: str, wanted: DeploymentCreate) -> datetime:
        """When it is deleted. Azure itself removes DeveloperTier deployments after a day."""
        longest = self.longest_seconds(sku)
        default = min(self._bench.policy.deployment_ttl_seconds, longest)
        expires_at = asked_end(wanted.expires_at, wanted.ttl_seconds, longest_seconds=longest, sku=sku)
        return expires_at or utc_now() + timedelta(seconds=default)

    def longest_seconds(self, sku: str) -> float:
        """How long a deployment of this sku may live from its making on."""
        if sku == DEVELOPER:
            return self._bench.catalogue.limits.developer_deployment_hours * 3600.0
        return float(LIFE_SECONDS_MAX)

    def _refuse_full(self, session: Any, choice: _Choice) -> None:
        most = self._bench.catalogue.limits.tuned_deployments_per_resource
        if choice.model is not None and repository.count_tuned(session, choice.connection.id) >= most:
            raise Conflict(
                f"The resource {choice.connection.name!r} holds {most} tuned deployments, as many as Azure allows.",
                code="too_many_deployments",
                hint="Delete one that is not needed.",
            )

    def _refuse_too_many(self, work: UnitOfWork, project_id: str) -> None:
        most = self._costs.lock(work, project_id).deployments_max
        if most is not None and repository.count_living(work.session, project_id) >= most:
            raise Conflict(
                f"The project has {most} living deployments, as many as it may have.",
                code="too_many_deployments",
                hint="Delete one that is not needed, or raise deployments_max.",
            )

    # ── wishes ──────────────────────────────────────────────────────────────

    def change(
        self, caller: Caller, ref: str, wanted: DeploymentPatch, *, check: CheckMarker = any_marker
    ) -> DeploymentRead:
        """Another end, another capacity. A longer life is reserved; Azure takes a new capacity once it is ready.

        Raises:
            Conflict: it is gone or going, or a cap forbids the longer life.
            Stale: `check` was given another state than the row's.
        """
        with self._bench.begin() as work:
            deployment = repository.find(work.session, caller.project_id, ref, lock=True)
            if deployment is None:
                raise no_such(ref)
            check(marker_of(read(deployment)))
            status = DeploymentStatus(deployment.status)
            if status in DEPLOYMENT_LAW.terminal or status is DeploymentStatus.DELETING:
                raise Conflict(f"The deployment is {status}, so it cannot be changed.", code="deployment_ended")
            if deployment.delete_requested_at is not None:
                raise Conflict("The deployment is about to be deleted.", code="deployment_ended")
            values: dict[str, Any] = {}
            longest = float(LIFE_SECONDS_MAX)
            if deployment.sku == DEVELOPER:
                hours = self._bench.catalogue.limits.developer_deployment_hours
                longest = hours * 3600.0 - (utc_now() - deployment.created_at).total_seconds()
            expires_at = asked_end(
                wanted.expires_at, wanted.ttl_seconds, longest_seconds=longest, sku=deployment.sku
            )
            if expires_at is not None:
                values["expires_at"] = expires_at
                began = deployment.hosting_started_at or deployment.created_at
                seconds = deployment.hosted_seconds + (expires_at - began).total_seconds()
                extra = (hosting_usd(deployment.hourly_usd, seconds) or Decimal(0)) - deployment.reserved_usd
                if extra > 0:
                    refuse_if_paused(work.session, caller.project_id, policy=self._bench.policy)
                    note = f"until {expires_at:%Y-%m-%d %H:%M} UTC"
                    self._costs.reserve(
                        work,
                        caller,
                        subject_id=deployment.id,
                        category="hosting",
                        amount_usd=extra,
                        note=note,
                    )
                    values["reserved_usd"] = deployment.reserved_usd + extra
            if wanted.on_removal is not None:
                values["on_removal"] = wanted.on_removal
            if wanted.capacity is not None or expires_at is not None:
                values["capacity_wanted"] = wanted.capacity or deployment.capacity_wanted or deployment.capacity
            repository.ask(work.session, deployment.id, values)
            work.announce(
                "deployment.change_requested",
                project_id=caller.project_id,
                subject_id=deployment.id,
                **wanted.model_dump(mode="json", exclude_none=True),
            )
            work.nudge("deployments.advance", deployment.id)
        return self.get(caller.project_id, deployment.id)

    def delete(self, project_id: str, ref: str, *, check: CheckMarker = any_marker) -> DeploymentRead:
        """Wish it gone; possible at any moment, also while it is being made. Twice is as good as once.

        Raises:
            Stale: `check` was given another state than the row's.
        """
        with self._bench.begin() as work:
            deployment = repository.find(work.session, project_id, ref, lock=True)
            if deployment is None:
                raise no_such(ref)
            check(marker_of(read(deployment)))
            if deployment.status not in DEPLOYMENT_LAW.terminal:
                first = deployment.delete_requested_at is None
                asked = {"delete_requested_at": func.clock_timestamp()} if first else {}
                repository.ask(work.session, deployment.id, asked)
                if first:
                    work.announce("deployment.delete_requested", project_id=project_id, subject_id=deployment.id)
                work.nudge("deployments.advance", deployment.id)
        return self.get(project_id, deployment.id)

    def retry(self, project_id: str, ref: str) -> DeploymentRead:
        """Look again at a parked deployment. Raises `Conflict` (`not_parked`)."""
        with self._bench.begin() as work:
            deployment = repository.find(work.session, project_id, ref, lock=True)
            if deployment is None:
                raise no_such(ref)
            if deployment.parked_reason is None:
                raise Conflict("The deployment is not parked; it is being looked after.", code="not_parked")
            repository.ask(work.session, deployment.id, {})
            work.announce("deployment.retry_requested", project_id=project_id, subject_id=deployment.id)
            work.nudge("deployments.advance", deployment.id)
        return self.get(project_id, deployment.id)

    @staticmethod
    def look_again(work: UnitOfWork, deployment_id: str) -> None:
        """Have it looked at now, parked or not: somebody saw that Azure has it otherwise than its row."""
        repository.ask(work.session, deployment_id, {})
        work.nudge("deployments.advance", deployment_id)

    def wake_costly(self) -> int:
        """For a periodic task: take up parked deployments whose money must stop. Returns how many.

        Parking ends the care of a row, but a deployment past its end must not cost until somebody notices.
        """
        with self._bench.begin() as work:
            woken = repository.wake_costly(work.session)
            for deployment_id in woken:
                work.nudge("deployments.advance", deployment_id)
        return len(woken)

    # ── reading ─────────────────────────────────────────────────────────────

    def get(self, project_id: str, ref: str) -> DeploymentRead:
        """By id or name; never a call to Azure. Raises `NotFound`."""
        return read(self._row(project_id, ref))

    def _row(self, project_id: str, ref: str) -> Deployment:
        with self._bench.read() as session:
            deployment = repository.find(session, project_id, ref)
        if deployment is None:
            raise no_such(ref)
        return deployment

    def ready(self, project_id: str, ref: str) -> DeploymentRead:
        """The deployment, noted as used, for whoever is about to ask it. Raises `Conflict` unless it answers."""
        deployment = self._row(project_id, ref)
        refuse_unless_ready(deployment)
        with self._bench.begin() as work:
            repository.touch_used(work.session, deployment.id, at_most_every_seconds=USED_SECONDS)
        return read(deployment)

    def answerer(
        self, project_id: str, ref: str, *, connection: str | None, base: str | None, pointer: str
    ) -> Answerer:
        """Who is asked: a ready deployment of the project or, with a connection, one at Azure by its name there.

        Args:
            base: with a connection: the base model that it runs, by which it is priced.
            pointer: where that stands in the request.

        Raises:
            NotFound: no such deployment or connection.
            Conflict: it is not ready.
            Invalid: `base` is not in the catalogue (`unknown_model`).
        """
        if connection is None:
            found = self.ready(project_id, ref)
            known = self._bench.catalogue.find(found.base_model)
            assert known is not None  # noqa: S101  it was deployed from the catalogue
            return Answerer(
                connection_id=found.connection,
                deployment_id=found.id,
                name=found.name,
                base=known,
                remote_model=found.remote_model,
                sku=found.sku,
                is_tuned=found.model is not None,
            )
        at = self._connections.get(project_id, connection)
        named = self._bench.catalogue.find(base or "")
        if named is None:
            detail = "Name the base model that the deployment runs, so that it can be priced."
            raise Invalid(
                detail,
                code="unknown_model",
                hint="GET /v1/base-models lists what there is.",
                errors=[FieldError(pointer=pointer, detail=detail, code="unknown_model")],
            )
        return Answerer(
            connection_id=at.id,
            deployment_id=None,
            name=ref,
            base=named,
            remote_model=named.id,
            sku="GlobalStandard",
        )

    def page(
        self, project_id: str, wanted: Page, *, status: str | None = None, model: str | None = None
    ) -> Slice[DeploymentRead]:
        model_id = self._models.get(project_id, model).id if model else None
        with self._bench.read() as session:
            found = repository.page(session, project_id, wanted, status=status, model_id=model_id)
        return Slice([read(row) for row in found.rows], found.has_more)

    def running_hosting_usd(self, project_id: str) -> Decimal:
        """Hosting that has accrued on deployments that still run; not yet settled."""
        with self._bench.read() as session:
            return repository.running_usd(session, project_id).quantize(_CENT_PARTS, ROUND_UP)

    # ── chat ────────────────────────────────────────────────────────────────

    def chat(self, project_id: str, ref: str, asked: ChatRequest) -> ChatRead:
        """One answer.

        Raises:
            Conflict: it is not ready (`deployment_not_ready`, with when to ask again) or gone.
            Unready: the installation is halted (`installation_halted`).
            Invalid: Azure's content filter refused the prompt (`content_filtered`).
            AzureError: Azure did not answer.
        """
        deployment, target = self._ready(project_id, ref)
        with self._telling(deployment):
            answer = ask(self._connections, target, deployment.name, _question(asked))
        return ChatRead(
            deployment=deployment.id,
            text=answer.text,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            latency_seconds=round(answer.latency_seconds, 3),
            cost_usd=self._costs.inference_cost(
                base_model=deployment.base_model,
                sku=deployment.sku,
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
            ),
            remote=dict(answer.raw),
        )

    @contextmanager
    def chat_stream(self, project_id: str, ref: str, asked: ChatRequest) -> Iterator[Iterator[Mapping[str, Any]]]:
        """Azure's chunks verbatim. Entering asks, and raises what `chat` raises; leaving ends the answer."""
        deployment, target = self._ready(project_id, ref)
        with (
            self._telling(deployment),
            ask_stream(self._connections, target, deployment.name, _question(asked)) as chunks,
        ):
            yield chunks

    def _ready(self, project_id: str, ref: str) -> tuple[Deployment, AzureTarget]:
        deployment = self._row(project_id, ref)
        refuse_unless_ready(deployment)
        with self._bench.begin() as work:
            refuse_if_paused(work.session, project_id, policy=self._bench.policy)
            repository.touch_used(work.session, deployment.id, at_most_every_seconds=USED_SECONDS)
        return deployment, self._connections.target_of(deployment.connection_id)

    @contextmanager
    def _telling(self, deployment: Deployment) -> Iterator[None]:
        """Azure's refusals in words for whoever chats."""
        try:
            yield
        except NotThere as error:
            with self._bench.begin() as work:
                repository.ask(work.session, deployment.id, {})
                work.nudge("deployments.advance", deployment.id)
            raise Conflict(
                f"Azure does not know the deployment {deployment.name!r} at the moment. It is being looked at.",
                code="deployment_not_there",
                hint="Read the deployment again: it may have been removed at Azure.",
                retry_after_seconds=WARMING_RETRY_SECONDS,
            ) from error
        except Refused as error:
            if error.code == "azure_content_filtered":
                raise Invalid(error.message, code="content_filtered", hint=error.hint) from error
            raise


# ── values ──────────────────────────────────────────────────────────────────


def hosting_usd(hourly: Decimal | None, seconds: float) -> Decimal | None:
    """What so many seconds of hosting cost, by started minutes; None when no price is known."""
    if hourly is None:
        return None
    minutes = -(-max(0.0, seconds) // 60)
    return (hourly * Decimal(int(minutes)) / 60).quantize(_CENT_PARTS, ROUND_UP)


def read(row: Deployment) -> DeploymentRead:
    """The row as callers see it."""
    return DeploymentRead(
        connection=row.connection_id,
        model=row.model_id,
        **{
            name: getattr(row, name)
            for name in DeploymentRead.model_fields
            if name not in {"object", "connection", "model"}
        },
    )


def marker_of(shown: DeploymentRead) -> str:
    """Names one state of a deployment; everything that is shown of it counts."""
    return f"{shown.id}-{hashlib.sha256(shown.model_dump_json().encode()).hexdigest()[:16]}"


def refuse_unless_ready(deployment: Deployment) -> None:
    """Raise `Conflict` (`deployment_not_ready`) with what state it is in and whether asking again may help."""
    status = DeploymentStatus(deployment.status)
    if status is DeploymentStatus.READY:
        return
    coming = status in {DeploymentStatus.CREATING, DeploymentStatus.WARMING}
    raise Conflict(
        f"The deployment {deployment.name!r} is {status}.",
        code="deployment_not_ready",
        hint="Ask again when its status is `ready`; Azure may take some minutes to warm it up."
        if coming
        else "It is no more. Deploy the model again.",
        retry_after_seconds=WARMING_RETRY_SECONDS if coming else None,
    )


def asked_end(
    expires_at: datetime | None, ttl_seconds: int | None, *, longest_seconds: float, sku: str
) -> datetime | None:
    """The end a caller asked for, or None when it asked for none."""
    if expires_at is None and ttl_seconds is None:
        return None
    if expires_at is not None and ttl_seconds is not None:
        raise _invalid("/ttl_seconds", "two_ends", "Give `expires_at` or `ttl_seconds`, not both.")
    pointer = "/ttl_seconds" if expires_at is None else "/expires_at"
    end = expires_at or utc_now() + timedelta(seconds=ttl_seconds or 0)
    left = (end - utc_now()).total_seconds()
    if left <= 0:
        raise _invalid(pointer, "end_in_the_past", "The deployment would end before it begins.")
    if left > longest_seconds + 1:
        hint = f"Azure removes {DEVELOPER} deployments after a day; choose another sku." if sku == DEVELOPER else ""
        detail = f"A {sku} deployment may live {max(0.0, longest_seconds) / 3600:.1f} hours from now at most."
        raise _invalid(pointer, "life_too_long", detail, hint=hint)
    return end


def _arm_name(base: BaseModel) -> tuple[str, str]:
    """Name and version by which ARM knows a base model: `gpt-4.1`, `2025-04-14`.

    Source: ARM models list as in the Azure REST API examples, 2024-10-01. Open models carry version 1 there.
    """
    dated = _DATED.fullmatch(base.id)
    return (dated["name"], dated["version"]) if dated else (base.id, "1")


def _name_for(choice: _Choice, deployment_id: str) -> str:
    head, tail = ("ft" if choice.model else "base"), deployment_id[-8:]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", choice.slug).strip("-")
    return f"{head}-{slug[: NAME_CHARACTERS - len(head) - len(tail) - 2].strip('-')}-{tail}"


def _question(asked: ChatRequest) -> Question:
    return Question(
        messages=[_message(message) for message in asked.messages],
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        seed=asked.seed,
    )


def _message(message: ChatMessage) -> dict[str, Any]:
    return message.model_dump(exclude_none=True)


def _invalid(pointer: str, code: str, detail: str, *, hint: str = "") -> Invalid:
    return Invalid(detail, code=code, hint=hint, errors=[FieldError(pointer=pointer, detail=detail, code=code)])


def no_such(ref: str) -> NotFound:
    return NotFound(f"There is no deployment {ref!r} in this project.", code="deployment_not_found")
