"""Credentials that were given to a connection: where they go in a whole life, and that they go nowhere else."""

import base64
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
import psycopg
import pytest
import structlog
from furnished import CONNECTION, DEPLOYMENT
from installation import installed
from lives import Emulator, Life, quick, until
from redis import Redis
from servers import Postgres, make_project
from sqlalchemy import LargeBinary, text
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

import examples
from app.access.secrets import new_secret
from app.bootstrap import open_workbench
from app.connections.schemas import ConnectionCreate
from app.connections.service import ConnectionService
from app.deployments.steps import DeploymentSteps
from app.kit.logging import set_up_logging
from app.kit.secrets import UnreadableSecret, Vault
from app.main import create_app
from app.settings import Settings
from app.tables import Base
from app.workbench import Workbench

CANARIES: Final = {
    "api_key": "canary-key-7d1f0c6b9a",
    "arm_token": "canary-token-c0ffee4242",
    "second_key": "canary-second-55aa33cc11",
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged at DEBUG, libraries included, as an operator's collector would see it."""
    written = io.StringIO()
    set_up_logging(level="DEBUG")
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    quiet = [name for name in ("httpx2", "httpcore2", "openai", "azure", "sqlalchemy") if logging.getLogger(name)]
    levels = {name: logging.getLogger(name).level for name in quiet}
    yield written
    logging.getLogger().handlers.remove(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    set_up_logging(level="INFO")
    logging.getLogger().handlers.clear()
    structlog.contextvars.clear_contextvars()


def everywhere(haystack: str | bytes) -> list[str]:
    """Names of the canaries in it."""
    content = haystack.encode("utf-8", "surrogatepass") if isinstance(haystack, str) else haystack
    return [name for name, secret in CANARIES.items() if secret.encode() in content]


def stored(bench: Workbench) -> Iterator[tuple[str, bytes]]:
    """(table.column, content) of every column, bytes as they lie there, anything else as text."""
    with bench.read() as session:
        for table in Base.metadata.sorted_tables:
            for column in table.columns:
                for value in session.scalars(text(f"SELECT {column.name} FROM {table.name}")):  # noqa: S608  our own names
                    content = (
                        bytes(value) if isinstance(column.type, LargeBinary) and value else str(value).encode()
                    )
                    yield f"{table.name}.{column.name}", content


def life_of_a_job(client: TestClient, life: Life) -> list[str]:
    """Connection, check, job, deployment, chat, trouble at Azure; every answer's body and headers."""
    answers: list[str] = []

    def ask(method: str, path: str, body: Any = None) -> Any:
        answer = client.request(method, path, json=body)
        answers.append(f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        return answer

    new = {
        "name": CONNECTION,
        "endpoint": life.emulator_url,
        "auth": "api_key",
        "api_key": CANARIES["api_key"],
        "arm_endpoint": life.emulator_url,
        "arm_token": CANARIES["arm_token"],
        "subscription_id": "sub",
        "resource_group": "rg",
        "account": "acct",
    }
    assert ask("POST", "/v1/connections", new).status_code == 201
    # refused requests that carry a secret, too
    assert ask("POST", "/v1/connections", new).status_code == 409
    assert ask("POST", "/v1/connections", new | {"name": "b", "region": "!"}).status_code == 422
    assert (
        ask("POST", "/v1/connections", new | {"name": "c", "api_key": CANARIES["api_key"] + "\n"}).status_code
        == 422
    )
    assert ask("POST", "/v1/connections", new | {"name": "d", "surplus": CANARIES["api_key"]}).status_code == 422
    assert ask("PATCH", f"/v1/connections/{CONNECTION}", {"api_key": [CANARIES["api_key"]]}).status_code == 422
    training, validation = life.example(lines=12)
    wanted = {"connection": CONNECTION, "model": "gpt-4.1-mini", "training": training, "validation": validation}
    job = ask("POST", "/v1/jobs", wanted | {"hyperparameters": {"n_epochs": 1}}).json()["id"]
    azure = Emulator(life.emulator_url)
    azure.strike("files.upload", status=500, message="Something broke.")
    assert life.drive(job, until_status={"succeeded", "failed"}).status == "succeeded"
    life.tidy(job)
    made = ask(
        "POST",
        "/v1/deployments",
        {"connection": CONNECTION, "model": "gpt-4.1-mini", "name": DEPLOYMENT, "ttl_seconds": 600},
    ).json()["id"]
    steps = DeploymentSteps(life.bench)

    def ready() -> bool | None:
        steps.advance(made)
        return ask("GET", f"/v1/deployments/{made}").json()["status"] == "ready" or None

    until(ready)
    question = {"messages": [{"role": "user", "content": "Where is Kyoto?"}], "max_tokens": 4}
    for stream in (False, True):
        ask("POST", f"/v1/deployments/{made}/chat", question | {"stream": stream})
    for operation in ("chat", "models.list"):
        azure.strike(operation, times=3, status=401, code="401", message="Access denied due to invalid key.")
        ask("POST", f"/v1/deployments/{made}/chat", question)
        ask("GET", f"/v1/connections/{CONNECTION}/models")
        ask("POST", f"/v1/connections/{CONNECTION}/check")
    azure.faults()
    ask("PATCH", f"/v1/connections/{CONNECTION}", {"api_key": CANARIES["second_key"]})
    ask("POST", f"/v1/connections/{CONNECTION}/check")
    for path in ("jobs", "deployments", "connections", "events", "models", "api-keys", "costs", "projects"):
        ask("GET", f"/v1/{path}")
    for part in ("", "/events", "/remote-events", "/metrics", "/analysis", "/checkpoints", "/results.csv"):
        ask("GET", f"/v1/jobs/{job}{part}")
    for path in ("/metrics", "/readyz", "/openapi.json", f"/v1/connections/{CONNECTION}/quota"):
        ask("GET", path)
    ask("DELETE", f"/v1/connections/{CONNECTION}")
    return answers


@pytest.mark.e2e
def test_a_connections_credentials_are_in_no_answer_log_row_or_file(
    postgres: Postgres, emulator_url: str, tmp_path: Path, log: io.StringIO
) -> None:
    azure = Emulator(emulator_url)
    azure.reset()
    with postgres.database() as url:
        data_dir = tmp_path / "data"
        settings = quick(
            Settings(_env_file=None, database_url=url, data_dir=data_dir, environment="test"), emulator_url
        )
        with open_workbench(settings) as bench:
            project = make_project(bench, "canaries")
            life = Life.begin(bench, project.id, emulator_url)
            with TestClient(create_app(settings, bench), headers=project.headers) as client:
                answers = life_of_a_job(client, life)
            rows = list(stored(bench))
    assert [answer for answer in answers if everywhere(answer)] == []
    lines = log.getvalue()
    assert lines.count("\n") > 30
    assert [line for line in lines.splitlines() if everywhere(line) or project.secret in line] == []
    assert any(orjson.loads(line)["level"] == "debug" for line in lines.splitlines()), "DEBUG was on"
    assert len(rows) > 500
    assert [where for where, content in rows if everywhere(content) or project.secret.encode() in content] == []
    assert any(where == "connections.api_key_sealed" and len(content) > 40 for where, content in rows)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if everywhere(path.read_bytes())] == []
    assert (data_dir / "secret.key").stat().st_mode & 0o077 == 0


def test_what_holds_a_credential_does_not_print_it(bench: Workbench, settings: Settings) -> None:
    project = make_project(bench, "quiet")
    service = ConnectionService(bench)
    new = ConnectionCreate(
        name="c",
        endpoint="https://contoso.openai.azure.com",
        auth="api_key",
        api_key=CANARIES["api_key"],
        arm_token=CANARIES["arm_token"],
        subscription_id="sub",
        resource_group="rg",
        account="acct",
    )
    row = service.create(project.id, new)
    target = service.target(row)
    assert target.api_key == CANARIES["api_key"]
    assert target.arm_token == CANARIES["arm_token"]
    planes = (bench.azure.data_plane(target), bench.azure.control_plane(target))
    for holder in (new, row, target, *planes, service, bench, bench.vault, bench.azure, settings):
        for shown in (repr(holder), str(holder), f"{holder}"):
            assert everywhere(shown) == [], type(holder)
    assert everywhere(new.model_dump_json()) == []


def test_ciphertext_moved_to_another_connection_does_not_open(bench: Workbench) -> None:
    first, second = make_project(bench, "one"), make_project(bench, "two")
    service = ConnectionService(bench)
    endpoint = "https://contoso.openai.azure.com"
    rich = service.create(
        first.id, ConnectionCreate(name="c", endpoint=endpoint, auth="api_key", api_key=CANARIES["api_key"])
    )
    thief = service.create(second.id, ConnectionCreate(name="c", endpoint=endpoint, auth="api_key", api_key="own"))
    with bench.begin() as work:
        work.session.execute(
            text(
                "UPDATE connections SET api_key_sealed = (SELECT api_key_sealed FROM connections WHERE id = :rich)"
                " WHERE id = :thief"
            ),
            {"rich": rich.id, "thief": thief.id},
        )
    with pytest.raises(UnreadableSecret):
        service.target(service.get(second.id, "c"))


# ── a whole installation ────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Canaries:
    """Every secret there is in an installation, each unlike any other."""

    admin_key: str
    vault_key: str
    database_password: str
    azure_key: str
    arm_token: str
    webhook: str

    def found_in(self, content: bytes, *, more: Sequence[str] = ()) -> list[str]:
        """Names of those that stand in it: as they are, or in base64."""
        known = {name: getattr(self, name) for name in self.__slots__} | {text: text for text in more}
        return [
            name
            for name, secret in known.items()
            if secret.encode() in content or base64.b64encode(secret.encode()).rstrip(b"=") in content
        ]


def dump_of(redis_url: str) -> bytes:
    """Everything Redis holds at this moment."""
    with Redis.from_url(redis_url) as redis:
        return b"\n".join(key + b" " + (redis.dump(key) or b"") for key in redis.scan_iter())


@pytest.mark.e2e
def test_no_secret_of_an_installation_is_in_a_log_a_dump_an_answer_or_a_file(
    postgres: Postgres, redis_url: str, emulator_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes at DEBUG, a life with errors, Azure saying the credential back; then everything is searched."""
    canaries = Canaries(
        admin_key=new_secret().secret,
        vault_key=Vault.new_key(),
        database_password="canary-password-4f1d",
        azure_key="canary-azure-key-91ba77",
        arm_token="canary-arm-token-c3d4",
        webhook="whsec_" + base64.b64encode(b"canary-webhook-secret-of-32-byte").decode(),
    )
    azure = Emulator(emulator_url)
    azure.reset()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    answers: list[bytes] = []
    with postgres.database() as plain:
        url = make_url(plain).set(password=canaries.database_password).render_as_string(hide_password=False)
        settings = {
            "emulator_url": emulator_url,
            "admin_key": canaries.admin_key,
            "secret_keys": canaries.vault_key,
            "log_level": "DEBUG",
            "settle_seconds": 1,
            "tick_seconds": 0.2,
            "redispatch_seconds": 1,
            "watch_starting_seconds": 0.2,
            "watch_running_seconds": 0.2,
            "file_poll_seconds": 0.1,
        }
        with installed(url, redis_url, tmp_path, **settings) as kitae:
            kitae.run("migrate")
            kitae.start_api()
            kitae.start("worker")
            kitae.start("beat")
            with httpx2.Client(base_url=kitae.url, timeout=30) as client:
                secret = _life_with_errors(client, canaries, azure, emulator_url, redis_url, answers)
            dumped = dump_of(redis_url)
        with Database(plain) as opened:
            rows = list(opened)
        log = kitae.log.read_bytes()
    mine = [secret]
    assert log.count(b"\n") > 50
    assert b'"level": "debug"' in log, "DEBUG was on"
    assert [line for line in log.splitlines() if canaries.found_in(line, more=mine)] == []
    shown_once = [answer for answer in answers if canaries.found_in(answer, more=mine)]
    assert len(shown_once) == 2, "the new key's and the trigger's secret, each in the answer that made it"
    assert len(rows) > 300
    assert [where for where, content in rows if canaries.found_in(content, more=mine)] == []
    assert not canaries.found_in(dumped, more=mine)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != kitae.log]
    assert [path for path in files if canaries.found_in(path.read_bytes(), more=mine)] == []
    assert list(temporary.rglob("*")) == [], "nothing is left in the temporary directory"


class Database:
    """(table.column, content) of every value in a database, whatever tables it has."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> Iterator[tuple[str, bytes]]:
        self._connection = psycopg.connect(self._url)
        return self._values()

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _values(self) -> Iterator[tuple[str, bytes]]:
        columns = self._connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
        for table, column in columns:
            for (value,) in self._connection.execute(f'SELECT "{column}" FROM "{table}"'.encode()):  # noqa: S608  names from the catalogue
                content = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                yield f"{table}.{column}", content


def _life_with_errors(
    client: httpx2.Client,
    canaries: Canaries,
    azure: Emulator,
    emulator_url: str,
    redis_url: str,
    answers: list[bytes],
) -> str:
    """Ask for everything that could go wrong with a secret; the secret of the key that was made."""
    headers = {"Authorization": f"Bearer {canaries.admin_key}"}

    def ask(method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = client.request(method, path, json=body, headers=headers, **more)
        answers.append(repr(answer.headers.raw).encode() + answer.content)
        return answer

    assert ask("POST", "/v1/projects", {"name": "canaries"}).status_code == 201
    made = ask("POST", "/v1/api-keys", {"name": "k", "scopes": ["*"], "project": "canaries"}).json()
    headers["Authorization"] = f"Bearer {made['secret']}"
    new = {
        "name": CONNECTION,
        "endpoint": emulator_url,
        "auth": "api_key",
        "api_key": canaries.azure_key,
        "arm_endpoint": emulator_url,
        "arm_token": canaries.arm_token,
        "subscription_id": "sub",
        "resource_group": "rg",
        "account": "acct",
    }
    assert ask("POST", "/v1/connections", new).status_code == 201
    ask(
        "POST",
        "/v1/connections",
        new | {"name": "x", "endpoint": f"https://{canaries.azure_key}@x.openai.azure.com"},
    )
    ask("POST", "/v1/triggers", {"name": "t", "connection": CONNECTION, "secret": canaries.webhook})
    ask("GET", "/v1/triggers")
    said = f"Access denied for key {canaries.azure_key}."
    said_by_arm = f"Access denied for Bearer {canaries.arm_token}."
    for operation in ("files.list", "jobs.list", "models.list", "deployments.list", "usages.list"):
        words = said_by_arm if operation in {"deployments.list", "usages.list"} else said
        azure.strike(operation, times=2, status=401, code="401", message=words)
        ask("POST", f"/v1/connections/{CONNECTION}/check")
        ask("GET", f"/v1/connections/{CONNECTION}/models")
        ask("GET", f"/v1/connections/{CONNECTION}/quota")
    azure.faults()
    ask("POST", "/v1/datasets", {"name": "d"})
    example = b"".join(examples.load("travel").training.read_bytes().splitlines(keepends=True)[:12])
    answer = client.put("/v1/datasets/d/content", content=example, headers=headers)
    assert answer.status_code == 202, answer.text
    until(lambda: True if ask("GET", "/v1/datasets/d/versions/1").json()["status"] == "ready" else None)
    azure.strike("files.upload", times=2, status=500, code="500", message=said)
    wanted = {
        "connection": CONNECTION,
        "model": "gpt-4.1-mini",
        "training": "d@1",
        "hyperparameters": {"n_epochs": 1},
    }
    job = ask("POST", "/v1/jobs", wanted).json()["id"]

    def ended() -> bool | None:
        assert not canaries.found_in(dump_of(redis_url), more=[made["secret"]])
        return True if ask("GET", f"/v1/jobs/{job}").json()["status"] in {"succeeded", "failed"} else None

    until(ended)
    for path in (
        "/v1/events",
        "/v1/audit-events",
        f"/v1/jobs/{job}/remote-events",
        "/metrics",
        "/readyz",
        "/v1/jobs",
    ):
        ask("GET", path)
    ask("GET", f"/v1/{canaries.azure_key[:5]}/nowhere")
    ask("GET", "/v1/jobs", None, params={"after": "x"})
    ask("DELETE", f"/v1/connections/{CONNECTION}")
    return str(made["secret"])
