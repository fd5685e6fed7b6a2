"""The one door without a key: only signed messages come through, once, and junk never answers 500."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from lives import Emulator, Life, quick
from processes import serve
from servers import Project, make_project
from sqlalchemy import text

from app.bootstrap import open_workbench
from app.main import create_app
from app.settings import Settings
from app.triggers.schemas import TriggerCreate
from app.triggers.service import TriggerService
from app.workbench import Workbench

FOREIGN_SECRET = "whsec_" + base64.b64encode(b"x" * 32).decode()


def signed(secret: str, body: bytes, *, message_id: str = "msg_1", age_seconds: int = 0) -> dict[str, str]:
    stamp = int(time.time()) - age_seconds
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(stamp),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def news(remote_id: str, event_type: str = "fine_tuning.job.succeeded") -> bytes:
    return json.dumps({"id": "evt_1", "type": event_type, "created_at": 1, "data": {"id": remote_id}}).encode()


class Hook:
    """A trigger on a running service, seen from a sender."""

    def __init__(self, client: httpx2.Client, owner: Project, bench: Workbench, connection: str) -> None:
        self.client, self.owner, self.bench, self.connection = client, owner, bench, connection
        made = self.ask("POST", "/v1/triggers", json={"name": "news", "connection": connection})
        assert made.status_code == 201, made.text
        self.id, self.secret, self.path = (made.json()[name] for name in ("id", "secret", "path"))

    def ask(self, method: str, url: str, **more: Any) -> httpx2.Response:
        return self.client.request(method, url, headers=self.owner.headers, **more)

    def send(self, body: bytes, headers: dict[str, Any]) -> httpx2.Response:
        return self.client.post(self.path, content=body, headers=headers)

    def receipts(self) -> int:
        with self.bench.read() as session:
            return session.execute(text("SELECT count(*) FROM trigger_receipts")).scalar_one()


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    with open_workbench(quick(settings, emulator_url)) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "hooks").id, emulator_url)


@pytest.fixture
def hook(life: Life, settings: Settings) -> Iterator[Hook]:
    owner = make_project(life.bench, "sender")
    connection = Life.begin(life.bench, owner.id, life.emulator_url).connect(name="azure")
    with serve(create_app(settings, life.bench)) as url, httpx2.Client(base_url=url, timeout=60) as client:
        yield Hook(client, owner, life.bench, connection)


@pytest.mark.row(42)
def test_a_signed_message_is_taken_once_and_repeated_ones_do_nothing(hook: Hook) -> None:
    body = news("ftjob-1")
    headers = signed(hook.secret, body)
    assert hook.send(body, headers).json() == {"status": "accepted"}
    again = hook.send(body, headers)
    assert (again.status_code, again.json()) == (202, {"status": "repeated"})
    other = news("ftjob-2")
    reused = hook.send(other, signed(hook.secret, other))
    assert (reused.status_code, reused.json()["code"]) == (409, "message_id_reused")
    assert hook.receipts() == 1
    assert hook.ask("GET", f"/v1/triggers/{hook.id}").json()["received_at"] is not None


@pytest.mark.row(42)
def test_a_wrong_secret_an_old_message_and_a_changed_body_answer_401(hook: Hook) -> None:
    body = news("ftjob-1")
    for headers, sent in (
        (signed(FOREIGN_SECRET, body), body),
        (signed(hook.secret, body, age_seconds=3600), body),
        (signed(hook.secret, body), body.replace(b"ftjob-1", b"ftjob-9")),
        ({}, body),
    ):
        answer = hook.send(sent, headers)
        assert answer.status_code == 401, answer.text
        assert answer.json()["code"] == "signature_invalid"
    assert hook.receipts() == 0


JUNK_HEADERS: tuple[dict[str, Any], ...] = (
    {"webhook-signature": b"v1,\xff\xfe\xfd"},
    {"webhook-signature": "nocomma"},
    {"webhook-signature": "v1," + "A" * 10_000},
    {"webhook-signature": "v1,!!!not-base64!!!"},
    {"webhook-signature": " ".join(["v1,AAAA"] * 2_000)},
    {"webhook-timestamp": "NaN"},
    {"webhook-timestamp": "-1"},
    {"webhook-timestamp": "9" * 400},
    {"webhook-timestamp": "1e9"},
    {"webhook-id": b"\xe2\x82\xac"},
    {"webhook-id": "x" * 5_000},
    {"webhook-id": "'; DROP TABLE triggers; --"},
)


@pytest.mark.row(42)
@pytest.mark.parametrize("junk", JUNK_HEADERS, ids=range(len(JUNK_HEADERS)))
def test_junk_in_the_headers_answers_401_or_400_and_never_500(junk: dict[str, Any], hook: Hook) -> None:
    for body in (news("ftjob-1"), b"", b"\xff\xfe\x00", b"{" * 1_000):
        answer = hook.send(body, {**signed(hook.secret, body), **junk})
        assert answer.status_code in {400, 401}, (junk, answer.status_code, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert hook.receipts() == 0


SIGNED_JUNK: tuple[bytes, ...] = (
    b"",
    b"\xff\xfe\x00",
    b"[]",
    b"null",
    b'"text"',
    b"[" * 100_000,
    b'{"type":1}',
    b'{"type":""}',
    b'{"type":"\\u0000"}',
    b'{"type":"' + b"x" * 201 + b'"}',
    b'{"type":"\\ud800"}',
    b'{"type":"a","type":',
)


@pytest.mark.row(42)
@pytest.mark.parametrize("body", SIGNED_JUNK, ids=range(len(SIGNED_JUNK)))
def test_signed_junk_answers_422(body: bytes, hook: Hook) -> None:
    answer = hook.send(body, signed(hook.secret, body))
    assert (answer.status_code, answer.json()["code"]) == (422, "message_malformed")
    assert hook.receipts() == 0


@pytest.mark.row(42)
def test_a_signed_message_about_something_else_is_ignored(hook: Hook) -> None:
    for number, body in enumerate(
        (
            news("ftjob-1", "response.completed"),
            news("ftjob-1", "fine_tuning.job.").replace(b'"ftjob-1"', b"7"),
            b'{"type":"fine_tuning.job.succeeded"}',
            b'{"type":"fine_tuning.job.succeeded","data":[]}',
        )
    ):
        answer = hook.send(body, signed(hook.secret, body, message_id=f"msg_{number}"))
        assert (answer.status_code, answer.json()) == (202, {"status": "ignored"})


@pytest.mark.row(42)
def test_ten_megabytes_answer_413_and_an_unknown_address_404(hook: Hook) -> None:
    body = b"x" * 10_000_000
    assert hook.send(body, {}).status_code == 413
    body = b"x" * 300_000
    assert hook.send(body, signed(hook.secret, body)).status_code == 413
    for path in ("/hooks/trg_01kz8q7v1efn9s0a2b3c4d5e6f", "/hooks/nothing", "/hooks/%00", "/hooks/" + "x" * 3_000):
        assert hook.client.post(path, content=b"{}").status_code in {400, 404}


@pytest.mark.row(42)
def test_after_a_rotation_the_old_secret_holds_for_a_day_and_archiving_ends_it_all(hook: Hook) -> None:
    rotated = hook.ask("POST", f"/v1/triggers/{hook.id}/rotate-secret", json={})
    assert rotated.status_code == 200, rotated.text
    new = rotated.json()["secret"]
    assert new != hook.secret
    body = news("ftjob-1")
    assert hook.send(body, signed(hook.secret, body, message_id="old")).status_code == 202
    assert hook.send(body, signed(new, body, message_id="new")).status_code == 202
    with hook.bench.begin() as work:
        work.session.execute(text("UPDATE triggers SET previous_until = now() - interval '1 second'"))
    assert hook.send(body, signed(hook.secret, body, message_id="late")).status_code == 401
    assert hook.send(body, signed(new, body, message_id="later")).status_code == 202
    assert hook.ask("DELETE", f"/v1/triggers/{hook.id}").status_code == 204
    assert hook.send(body, signed(new, body, message_id="last")).status_code == 404


def test_the_secret_is_shown_once_and_rests_encrypted(hook: Hook) -> None:
    for answer in (hook.ask("GET", "/v1/triggers"), hook.ask("GET", f"/v1/triggers/{hook.id}")):
        assert answer.status_code == 200
        assert hook.secret not in answer.text
        assert "secret" not in answer.text
    with hook.bench.read() as session:
        rows = session.execute(text("SELECT encode(secret_sealed, 'escape') FROM triggers")).scalars().all()
    assert all(hook.secret.removeprefix("whsec_") not in row for row in rows)


@pytest.mark.parametrize("secret", ["short", "whsec_", "whsec_" + "A" * 200, "whsec_***", "sk-123"])
def test_a_malformed_secret_of_the_senders_is_refused_in_words_and_not_echoed(secret: str, hook: Hook) -> None:
    answer = hook.ask("POST", "/v1/triggers", json={"name": "x", "connection": hook.connection, "secret": secret})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/secret")
    assert secret not in answer.text or len(secret) < 7


def test_a_message_brings_the_look_at_its_job_forward_and_is_believed_for_nothing(life: Life) -> None:
    """The message says succeeded while Azure says running: the row goes by Azure."""
    connection = life.connect()
    training, _ = life.example(lines=12)
    job_id = life.job(connection, training)
    job = life.drive(job_id, until_status={"queued", "running", "collecting", "succeeded"})
    far_away = text("UPDATE jobs SET next_check_at = now() + interval '1 hour', status = 'running' WHERE id = :id")
    with life.bench.begin() as work:
        work.session.execute(far_away, {"id": job_id})
        work.session.execute(text("UPDATE connections SET next_check_at = now() + interval '1 hour'"))
    triggers = TriggerService(life.bench)
    trigger, secret = triggers.create(life.caller.project_id, TriggerCreate(name="n", connection=connection))
    body = news(str(job.remote_id), "fine_tuning.job.failed")
    assert triggers.receive(trigger.id, signed(secret, body), body) == "accepted"
    with life.bench.read() as session:
        due = session.execute(
            text("SELECT next_check_at <= clock_timestamp(), status FROM jobs WHERE id = :id"), {"id": job_id}
        ).one()
        watched = session.execute(text("SELECT next_check_at <= clock_timestamp() FROM connections")).scalar_one()
    assert tuple(due) == (True, "running")
    assert watched is True
    assert life.drive(job_id, until_status={"succeeded", "failed"}).status == "succeeded"
