"""Every verb of projects and keys. It knows no request; a door tells it who is asking."""

from typing import Any, Final

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.orm import Session

from app.access import repository, secrets
from app.access.schemas import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyRead,
    InstallationPut,
    InstallationRead,
    ProjectPatch,
    ProjectRead,
)
from app.kit.caller import Caller, Operator, covers
from app.kit.errors import Conflict, FieldError, Forbidden, Invalid, NotFound, Unready
from app.kit.ids import new_id
from app.kit.markers import CheckMarker, any_marker, marker
from app.kit.pagination import Page, Slice
from app.workbench import INSTALLATION, Policy, Workbench

log = structlog.get_logger("kitae.access")

HALTED_RETRY_SECONDS: Final = 60
"""When a client may ask again; a person has to end a halt."""
OPERATOR_KEY_NAME: Final = "operator key of the settings"


def refuse_if_paused(session: Session, project_id: str, *, policy: Policy) -> None:
    """For every verb that begins something that costs money, in the transaction that begins it.

    Raises:
        Unready: the whole installation is halted (`installation_halted`).
        Conflict: somebody has thrown the project's kill switch (`project_paused`).
    """
    halted, paused = repository.switches(session, project_id)
    if halted or policy.halted:
        raise Unready(
            "This installation is halted: nothing that costs money is begun.",
            code="installation_halted",
            hint="What runs is still watched, cancelled and deleted. The operator ends the halt with `kitae unhalt`"
            + (" and without KITAE_HALTED." if policy.halted else "."),
            retry_after_seconds=HALTED_RETRY_SECONDS,
        )
    if paused:
        raise Conflict(
            "This project is paused: nothing that costs money is begun.",
            code="project_paused",
            hint="An administrator lifts it with PATCH /v1/projects/{id} and `paused: false`.",
        )


class AccessService:
    """Projects, keys, and the question who a secret belongs to."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    # projects

    def create_project(self, name: str) -> ProjectRead:
        """Raises `Conflict` (`name_taken`)."""
        with self._bench.begin() as work:
            row = repository.insert_project(work.session, project_id=new_id("prj"), name=name)
            if row is None:
                raise _name_taken(name)
            work.announce("project.created", project_id=row["id"], subject_id=row["id"], name=name)
        return _project(row)

    def list_projects(self, holder: Caller | Operator, page: Page) -> Slice[ProjectRead]:
        """All that are not archived, for a key of a project only its own."""
        only = holder.project_id if isinstance(holder, Caller) else None
        with self._bench.read() as session:
            found = repository.list_projects(session, page, only=only)
        return Slice([_project(row) for row in found.rows], found.has_more)

    def get_project(self, holder: Caller | Operator, reference: str) -> ProjectRead:
        """By id or name. Raises `NotFound`, also for a project that is not the key's."""
        with self._bench.read() as session:
            return _project(_visible(session, holder, reference))

    def patch_project(
        self,
        holder: Caller | Operator,
        reference: str,
        change: ProjectPatch,
        check: CheckMarker = any_marker,
    ) -> ProjectRead:
        """Raises `NotFound`, `Conflict` (`name_taken`) and what `check` raises."""
        with self._bench.begin() as work:
            row = _visible(work.session, holder, reference, lock=True)
            check(project_marker(_project(row)))
            values: dict[str, Any] = {
                name: value for name, value in change.model_dump(exclude_unset=True).items() if value is not None
            }
            if "name" in values and repository.name_is_taken(work.session, values["name"], by_other_than=row["id"]):
                raise _name_taken(values["name"])
            if not values:
                return _project(row)
            changed = repository.update_project(work.session, row["id"], **values)
            if changed["paused"] != row["paused"]:
                word = "paused" if changed["paused"] else "resumed"
                work.announce(f"project.{word}", project_id=row["id"], subject_id=row["id"], key_id=holder.key_id)
            if changed["name"] != row["name"]:
                names = {"was": row["name"], "name": changed["name"]}
                work.note("project.renamed", project_id=row["id"], subject_id=row["id"], **names)
        return _project(changed)

    def archive_project(self, holder: Operator, reference: str, check: CheckMarker = any_marker) -> ProjectRead:
        """Its keys stop working; its rows, and the care for what still runs at Azure, stay."""
        with self._bench.begin() as work:
            row = _visible(work.session, holder, reference, lock=True)
            check(project_marker(_project(row)))
            if row["archived_at"] is not None:
                return _project(row)
            archived = repository.archive_project(work.session, row["id"])
            work.announce("project.archived", project_id=row["id"], subject_id=row["id"], key_id=holder.key_id)
        return _project(archived)

    # keys

    def create_key(self, holder: Caller | Operator, new: ApiKeyCreate) -> ApiKeyCreated:
        """A key that may do no more than the one it is made with.

        Raises:
            Invalid: an operator named no project, or `expires_at` has passed.
            Forbidden: it would have a scope or a spend cap that its maker lacks.
            NotFound: the project.
        """
        if isinstance(holder, Operator) and new.project is None:
            raise _wrong("/project", "project_missing", "An operator's key must say for which project.")
        if isinstance(holder, Caller):
            _refuse_more_rights(holder, new)
        with self._bench.begin() as work:
            own = holder.project_id if isinstance(holder, Caller) else ""
            project = _visible(work.session, holder, new.project or own)
            if project["archived_at"] is not None:
                raise Conflict("The project is archived.", code="project_archived")
            fresh = secrets.new_secret()
            row = repository.insert_key(
                work.session,
                id=new_id("key"),
                project_id=project["id"],
                name=new.name,
                public_id=fresh.public_id,
                sha256=fresh.sha256,
                last4=fresh.last4,
                scopes=new.scopes,
                spend_cap_usd=new.spend_cap_usd,
                expires_at=new.expires_at,
            )
            if row["expires_at"] is not None and row["expires_at"] <= row["created_at"]:
                raise _wrong("/expires_at", "expires_in_the_past", "The key would have expired already.")
            work.announce(
                "api_key.created", project_id=project["id"], subject_id=row["id"], by_key_id=holder.key_id
            )
        return ApiKeyCreated(**_key(row).model_dump(), secret=fresh.secret)

    def list_keys(self, holder: Caller | Operator, page: Page) -> Slice[ApiKeyRead]:
        """Keys of the caller's project, revoked ones too; an operator sees all."""
        project_id = holder.project_id if isinstance(holder, Caller) else None
        with self._bench.read() as session:
            found = repository.list_keys(session, page, project_id=project_id)
        return Slice([_key(row) for row in found.rows], found.has_more)

    def revoke_key(self, holder: Caller | Operator, key_id: str) -> None:
        """From now on it opens nothing; other processes may believe it for `key_cache_seconds`.

        Raises:
            NotFound: no such key in the caller's project.
        """
        project_id = holder.project_id if isinstance(holder, Caller) else None
        with self._bench.begin() as work:
            row = repository.find_key(work.session, key_id, project_id=project_id)
            if row is None:
                raise NotFound(f"There is no API key {key_id}.", code="api_key_not_found")
            repository.revoke_key(work.session, key_id)
            if row["revoked_at"] is not None:
                return
            if row["project_id"] is not None:
                work.announce(
                    "api_key.revoked", project_id=row["project_id"], subject_id=key_id, by_key_id=holder.key_id
                )
            else:
                work.note("operator_key.revoked", project_id=INSTALLATION, subject_id=key_id)

    def is_paused(self, project_id: str) -> bool:
        """Either kill switch, for steps to read before they begin what costs money: what is accepted waits."""
        with self._bench.read() as session:
            return self._bench.policy.halted or any(repository.switches(session, project_id))

    # the installation

    def installation(self) -> InstallationRead:
        with self._bench.read() as session:
            return self._installation(repository.read_installation(session))

    def set_halted(self, holder: Operator, wanted: InstallationPut) -> InstallationRead:
        """The kill switch over every project. It stops nothing that runs: cancelling and deleting go on."""
        reason = wanted.reason if wanted.halted else None
        with self._bench.begin() as work:
            row = repository.set_halted(work.session, halted=wanted.halted, reason=reason, key_id=holder.key_id)
            work.note(
                "installation.halted" if wanted.halted else "installation.unhalted",
                project_id=INSTALLATION,
                subject_id=INSTALLATION,
                reason=reason,
            )
        log.warning("installation.switched", halted=wanted.halted, reason=reason, key_id=holder.key_id)
        return self._installation(row)

    def say_halt(self) -> str | None:
        """One line for whoever asks whether the service can work, without the reason; None while it may spend."""
        found = self.installation()
        return "halted: nothing that costs money is begun" if found.halted else None

    def _installation(self, row: RowMapping | None) -> InstallationRead:
        halted = row is not None and row["halted"]
        return InstallationRead(
            environment=self._bench.policy.environment,
            halted=halted or self._bench.policy.halted,
            halted_by_setting=self._bench.policy.halted,
            reason=row["halted_reason"] if row is not None else None,
            halted_at=row["halted_at"] if row is not None else None,
            changed_by_key_id=row["changed_by_key_id"] if row is not None else None,
        )

    def check(self, secret: str) -> Caller | Operator | None:
        """Whose key this is; None when it is malformed, unknown, revoked, expired or its project archived."""
        if not secrets.is_well_formed(secret):
            return None
        with self._bench.read() as session:
            row = repository.find_by_hash(session, secrets.fingerprint(secret))
            if row is None:
                return None
            if not row["used_lately"]:
                repository.note_use(session, row["id"])
        if row["project_id"] is None:
            return Operator(key_id=row["id"], scopes=frozenset(row["scopes"]))
        return _caller(row)

    def caller(self, project_id: str, key_id: str) -> Caller | None:
        """Whoever began something that goes on without them; None once their key opens nothing any more."""
        with self._bench.read() as session:
            row = repository.find_opening(session, project_id, key_id)
        return None if row is None else _caller(row)

    # first steps of an installation

    def ensure_operator_key(self, secret: str) -> None:
        """Store the hash of the settings' operator key; an older one from the settings stops working.

        Raises:
            ValueError: the secret is no key; make one with `app.access.secrets.new_secret`.
        """
        if not secrets.is_well_formed(secret):
            raise ValueError("KITAE_ADMIN_KEY is not an API key: it needs the form ftk_live_… with its checksum")
        known = secrets.NewSecret(secret)
        with self._bench.begin() as work:
            for revoked in repository.revoke_operator_keys_but(
                work.session, sha256=known.sha256, name=OPERATOR_KEY_NAME
            ):
                work.note("operator_key.revoked", project_id=INSTALLATION, subject_id=revoked)
            key_id = new_id("key")
            fresh = repository.insert_key_once(
                work.session,
                id=key_id,
                project_id=None,
                name=OPERATOR_KEY_NAME,
                public_id=known.public_id,
                sha256=known.sha256,
                last4=known.last4,
                scopes=["admin"],
            )
            if fresh:
                work.note("operator_key.stored", project_id=INSTALLATION, subject_id=key_id)

    def bootstrap_project(self, name: str) -> tuple[ProjectRead, str]:
        """The project of this name, made if need be, and a fresh key of it that may do everything."""
        with self._bench.read() as session:
            found = repository.find_project(session, name)
        project = _project(found) if found is not None else self.create_project(name)
        operator = Operator(key_id="bootstrap", scopes=frozenset({"admin"}))
        key = self.create_key(operator, ApiKeyCreate(name="first key", scopes=["*"], project=project.id))
        return project, key.secret


def project_marker(project: ProjectRead) -> str:
    return marker(project.id, project.updated_at)


def _visible(session: Session, holder: Caller | Operator, reference: str, *, lock: bool = False) -> RowMapping:
    row = repository.find_project(session, reference, lock=lock)
    if row is None or (isinstance(holder, Caller) and row["id"] != holder.project_id):
        raise NotFound(f"There is no project {reference}.", code="project_not_found")
    return row


def _refuse_more_rights(holder: Caller, new: ApiKeyCreate) -> None:
    lacking = [scope for scope in new.scopes if not _may_grant(holder, scope)]
    if lacking:
        raise Forbidden(
            f"This key lacks {', '.join(lacking)} and cannot give it away.",
            code="scope_missing",
            hint="Make the key with one that has these scopes, or with an operator's key.",
        )
    if holder.spend_cap_usd is not None and (new.spend_cap_usd is None or new.spend_cap_usd > holder.spend_cap_usd):
        raise Forbidden(
            f"This key may spend {holder.spend_cap_usd:f} USD and cannot give away more.",
            code="spend_cap_exceeded",
            hint="Set spend_cap_usd to that or less.",
        )


def _may_grant(holder: Caller, scope: str) -> bool:
    if scope == "*":
        return "*" in holder.scopes
    if scope.endswith(":*"):
        return covers(holder.scopes, scope)
    return holder.may(scope)


def _wrong(pointer: str, code: str, detail: str) -> Invalid:
    return Invalid(detail, code=code, errors=[FieldError(pointer=pointer, code=code, detail=detail)])


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is a project named {name} already.", code="name_taken", hint="Choose another name.")


def _caller(row: RowMapping) -> Caller:
    return Caller(
        project_id=row["project_id"],
        key_id=row["id"],
        scopes=frozenset(row["scopes"]),
        spend_cap_usd=row["spend_cap_usd"],
    )


def _project(row: RowMapping) -> ProjectRead:
    return ProjectRead(**row)


def _key(row: RowMapping) -> ApiKeyRead:
    return ApiKeyRead(
        id=row["id"],
        project_id=row["project_id"],
        name=row["name"],
        hint=f"ftk_live_{row['public_id']}…{row['last4']}",
        scopes=list(row["scopes"]),
        spend_cap_usd=row["spend_cap_usd"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
