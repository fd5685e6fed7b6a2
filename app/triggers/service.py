"""Addresses for news from outside. A message brings a look forward and is believed for no more."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from pydantic import SecretStr

from app.connections.service import ConnectionService
from app.jobs.service import JobService
from app.kit import named
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Forbidden, Invalid, NotFound
from app.kit.ids import is_id, new_id
from app.kit.markers import CheckMarker, any_marker
from app.kit.pagination import Page, Slice
from app.triggers import repository
from app.triggers.schemas import TriggerCreate
from app.triggers.signatures import NotSigned, new_secret, verify
from app.triggers.tables import Receipt, Trigger
from app.workbench import Workbench

log = structlog.get_logger("kitae.triggers")

OVERLAP_SECONDS: Final = 86_400.0
"""How long the old secret holds after a rotation: a day, for whoever has to change it by hand at the sender's."""
RECEIPT_DAYS: Final = 7
"""How long a message is remembered. Senders give up after 3 to 4 days. Source: Standard Webhooks 1.0.0, retries."""
FORGET_AT_ONCE: Final = 100
"""Old receipts that one message throws away, so that no message has to pay for all of them."""
JOB_ENDED: Final = "fine_tuning.job."
"""Beginning of the types that name a job. Source: Azure OpenAI webhooks, Microsoft Learn, 2026-05-13."""


class TriggerService:
    """The triggers of a project, and the messages that come to them."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def create(self, project_id: str, wanted: TriggerCreate) -> tuple[Trigger, str]:
        """The trigger, and its secret this once. Raises `Conflict` (`name_taken`), `NotFound` (connection)."""
        connection = ConnectionService(self._bench).get(project_id, wanted.connection)
        trigger_id, secret = new_id("trg"), _secret(wanted.secret)
        trigger = Trigger(
            id=trigger_id,
            project_id=project_id,
            name=wanted.name,
            scheme=wanted.scheme,
            action=wanted.action,
            connection_id=connection.id,
            secret_sealed=self._bench.vault.seal(secret, row_id=trigger_id),
        )
        with self._bench.begin() as work:
            if named.find(work.session, Trigger, project_id, wanted.name):
                raise Conflict(f"A trigger named {wanted.name!r} exists already.", code="name_taken")
            repository.add(work.session, trigger)
            work.announce("trigger.created", project_id=project_id, subject_id=trigger_id, name=wanted.name)
        return trigger, secret

    def get(self, project_id: str, ref: str) -> Trigger:
        """By id or name. Raises `NotFound`."""
        with self._bench.read() as session:
            trigger = named.find(session, Trigger, project_id, ref)
        if trigger is None:
            raise NotFound(f"There is no trigger {ref!r} in this project.", code="trigger_not_found")
        return trigger

    def page(self, project_id: str, wanted: Page) -> Slice[Trigger]:
        with self._bench.read() as session:
            return named.page(session, Trigger, project_id, wanted)

    def rotate(
        self, project_id: str, ref: str, given: SecretStr | None, *, check: CheckMarker = any_marker
    ) -> tuple[Trigger, str]:
        """A new secret, shown this once; the old one holds for a day more."""
        trigger = self.get(project_id, ref)
        secret = _secret(given)
        sealed = self._bench.vault.seal(secret, row_id=trigger.id)
        with self._bench.begin() as work:
            check(named.lock_marker(work.session, Trigger, trigger.id))
            repository.replace_secret(work.session, trigger.id, sealed, overlap_seconds=OVERLAP_SECONDS)
            work.announce("trigger.secret_rotated", project_id=project_id, subject_id=trigger.id)
        return self.get(project_id, trigger.id), secret

    def archive(self, project_id: str, ref: str, *, check: CheckMarker = any_marker) -> None:
        """From now on its address answers 404."""
        trigger = self.get(project_id, ref)
        with self._bench.begin() as work:
            check(named.lock_marker(work.session, Trigger, trigger.id))
            named.change(work.session, Trigger, trigger.id, {"archived_at": utc_now()})
            work.announce("trigger.archived", project_id=project_id, subject_id=trigger.id)

    # ── messages ────────────────────────────────────────────────────────────

    def receive(self, trigger_id: str, headers: Mapping[str, str], body: bytes) -> str:
        """Take a message: `accepted`, `repeated` or `ignored`.

        Args:
            headers: names in lower case, values as they came.

        Raises:
            NotFound: no such address.
            Forbidden: the signature does not hold (`signature_invalid`); doors answer 401.
            Invalid: signed, and yet no JSON object with a type.
            Conflict: another body under the id of an earlier message (`message_id_reused`).
        """
        trigger, secrets = self._open(trigger_id)
        try:
            signed = verify(headers, body, secrets, now=utc_now().timestamp())
        except NotSigned as error:
            log.warning("trigger.refused", id=trigger.id, reason=str(error))
            raise Forbidden(str(error), code="signature_invalid") from error
        event_type, remote_id = _news(signed.body)
        receipt = Receipt(
            trigger_id=trigger.id,
            message_id=signed.message_id,
            body_sha256=hashlib.sha256(body).hexdigest(),
            event_type=event_type,
        )
        with self._bench.begin() as work:
            before = repository.take(work.session, receipt)
            if before is not None:
                if before != receipt.body_sha256:
                    raise Conflict("An earlier message had this id and other bytes.", code="message_id_reused")
                return "repeated"
            repository.forget_older(work.session, trigger.id, days=RECEIPT_DAYS, limit=FORGET_AT_ONCE)
            if remote_id is None:
                return "ignored"
            JobService(self._bench).hasten(work, trigger.connection_id, remote_id)
            ConnectionService.watch_in(work, trigger.connection_id, 0.0)
            work.nudge("jobs.watch", trigger.connection_id)
        log.info("trigger.received", id=trigger.id, event_type=event_type, remote_id=remote_id)
        return "accepted"

    def _open(self, trigger_id: str) -> tuple[Trigger, list[str]]:
        """The trigger and the secrets that hold now."""
        trigger = None
        if is_id(trigger_id, "trg"):
            with self._bench.read() as session:
                trigger = repository.find_open(session, trigger_id)
                both = trigger is not None and repository.is_previous_valid(session, trigger)
        if trigger is None:
            raise NotFound("There is no such address.", code="trigger_not_found")
        sealed = [trigger.secret_sealed, trigger.previous_secret_sealed if both else None]
        return trigger, [self._bench.vault.open(item, row_id=trigger.id) for item in sealed if item is not None]


def _secret(given: SecretStr | None) -> str:
    return given.get_secret_value() if given is not None else new_secret()


def _news(body: bytes) -> tuple[str, str | None]:
    """Type of the message, and Azure's id of the job that it is about; only the id is of interest."""
    try:
        message: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        message = None
    event_type = message.get("type") if isinstance(message, dict) else None
    if not isinstance(event_type, str) or not 0 < len(event_type) <= 200 or "\x00" in event_type:
        detail = "A message is a JSON object whose member `type` is text of at most 200 characters."
        raise Invalid(
            detail, code="message_malformed", errors=[FieldError(pointer="/type", detail=detail, code="missing")]
        )
    data = message.get("data")
    named = data.get("id") if isinstance(data, dict) else None
    is_ours = event_type.startswith(JOB_ENDED) and isinstance(named, str) and 0 < len(named) <= 100
    return event_type, named.replace("\x00", "") if is_ours and isinstance(named, str) else None
