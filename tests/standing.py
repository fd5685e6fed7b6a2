"""A whole installation at work for fault tests: API, worker and beat as processes, each line to a server spoilable."""

import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from crew import Crew
from lives import Emulator, Life, quick, until
from nursery import Child, Nursery
from servers import Project, make_project
from sqlalchemy.engine import make_url
from tcp_proxy import Line, proxied

from app.bootstrap import open_workbench
from app.settings import Settings
from app.workbench import Workbench

PATIENCE_SECONDS: Final = 90.0
ENDS: Final = {"succeeded", "failed", "cancelled"}


@dataclass
class Standing:
    """The installation, seen by its operator and by a user of it."""

    crew: Crew
    bench: Workbench
    azure: Emulator
    life: Life
    project: Project
    redis_url: str
    training: str
    connection: str
    processes: dict[str, Child] = field(default_factory=dict)
    url: str = ""
    jobs: list[str] = field(default_factory=list)
    _http: httpx2.Client | None = None

    def start(self, *names: str, **given: Any) -> None:
        """Processes by name: api, worker, beat."""
        for name in names or ("api", "worker", "beat"):
            if name == "api":
                self.processes["api"], self.url = self.crew.start_api(**{"redis_url": self.redis_url, **given})
                self._http = httpx2.Client(base_url=self.url, headers=self.project.headers, timeout=60)
            else:
                self.processes[name] = self.crew.start(name, **{"redis_url": self.redis_url, **given})

    def stop(self, *names: str, number: int = signal.SIGTERM) -> dict[str, int]:
        """Send a signal to processes and wait for their codes."""
        chosen = {name: self.processes.pop(name) for name in names or list(self.processes)}
        for child in chosen.values():
            child.send_signal(number)
        return {name: child.wait(60) for name, child in chosen.items()}

    @property
    def http(self) -> httpx2.Client:
        assert self._http is not None
        return self._http

    def wanted(self, name: str = "") -> dict[str, Any]:
        """The body of a request for a job."""
        return {
            "connection": self.connection,
            "model": "gpt-4.1-mini",
            "training": self.training,
            "hyperparameters": {"n_epochs": 1},
            **({"suffix": name} if name else {}),
        }

    def ask_for_job(self) -> str:
        """As a careful client: the same request with the same key until it is answered; the job's id."""
        key = uuid.uuid4().hex

        def send() -> str | None:
            try:
                answer = self.http.post("/v1/jobs", json=self.wanted(), headers={"Idempotency-Key": key})
            except httpx2.TransportError:
                return None
            if answer.status_code in {409, 503}:
                assert answer.headers["Retry-After"]
                return None
            assert answer.is_success, answer.text
            return str(answer.json()["id"])

        job = until(send, seconds=PATIENCE_SECONDS)
        self.jobs.append(job)
        return job

    def ended(self, *jobs: str) -> None:
        """Wait until each of these, or of all that were asked for, has succeeded; and Azure has one of each."""
        for job in jobs or self.jobs:

            def look(job: str = job) -> Any:
                row = self.life.read(job)
                assert row.parked_reason is None, (row.parked_reason, row.last_error)
                return row if row.status in ENDS else None

            row = until(look, seconds=PATIENCE_SECONDS)
            assert row.status == "succeeded", (row.error, row.last_error)
        assert_one_each(self.azure, jobs or self.jobs)

    def mutations(self) -> int:
        """How often anything was changed, or was to be changed, at Azure."""
        log = json.loads(httpx2.get(f"{self.azure.url}/_emulator/requests").content)
        return sum(1 for entry in log if entry["method"] != "GET")


def assert_one_each(azure: Emulator, jobs: list[str] | tuple[str, ...]) -> None:
    """Azure has exactly one job for each of ours."""
    keys = [job["metadata"].get("op_key") for job in azure.state()["jobs"]]
    assert {job: keys.count(job) for job in jobs} == dict.fromkeys(jobs, 1)


@contextmanager
def standing(
    nursery: Nursery,
    database_url: str,
    redis_url: str,
    emulator_url: str,
    directory: Path,
    **changes: Any,
) -> Iterator[Standing]:
    """An installation without a process yet; what it starts ends with the context."""
    azure = Emulator(emulator_url)
    azure.reset()
    settings = quick(
        Settings(_env_file=None, database_url=database_url, data_dir=directory / "data", environment="test"),
        emulator_url,
        **{
            "settle_seconds": 1.0,
            "lease_seconds": 2.0,
            "tick_seconds": 0.2,
            "redispatch_seconds": 0.5,
            "key_cache_seconds": 0.0,
            "api_threads": 8,
            "worker_threads": 4,
            **changes,
        },
    )
    with ExitStack() as stack:
        bench = stack.enter_context(open_workbench(settings))
        project = make_project(bench, "standing")
        life = Life.begin(bench, project.id, emulator_url)
        connection = life.connect()
        training, _ = life.example(lines=12)
        made = Standing(
            Crew(nursery, settings, directory), bench, azure, life, project, redis_url, training, connection
        )
        try:
            yield made
        finally:
            for child in made.processes.values():
                child.kill()
            azure.faults()


@contextmanager
def line_to(url: str) -> Iterator[tuple[Line, str]]:
    """A spoilable line to the server of a URL, and the URL through it. A PostgreSQL may be on a Unix socket."""
    if url.startswith("postgres"):
        parsed = make_url(url)
        directory = parsed.query.get("host")
        path = f"{directory}/.s.PGSQL.{parsed.port or 5432}" if directory else None
        with proxied(parsed.host or "", parsed.port or 5432, path=path) as line:
            through = parsed.set(
                host="127.0.0.1", port=line.port, query={"sslmode": "disable", "gssencmode": "disable"}
            )
            yield line, through.render_as_string(hide_password=False)
        return
    address = urlsplit(url)
    with proxied(address.hostname or "", address.port or 6379) as line:
        yield line, url.replace(f":{address.port}", f":{line.port}")
