"""The whole life with real processes and nothing between them but sockets: API, worker, beat, PostgreSQL, Redis and
an emulated Azure whose clock runs; then a worker is killed, Redis emptied, and everything told to stop.
"""

import json
import signal
import subprocess
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from emulator_process import Emulator, emulator_process
from installation import Installation, end, installed
from lives import head, until
from redis import Redis
from servers import Postgres

import examples
from app.access.schemas import ApiKeyCreate
from app.access.secrets import new_secret
from app.client import Client
from app.connections.schemas import ConnectionCreate
from app.datasets.schemas import DatasetCreate
from app.deployments.schemas import ChatRequest, ComparisonCreate, DeploymentCreate
from app.jobs.schemas import JobCreate, JobRead

pytestmark = pytest.mark.e2e

STOP_SECONDS: Final = 10.0
SPEED: Final = "150"
"""A training then runs for about eight seconds, in which things can be broken."""
QUICK: Final = {
    "settle_seconds": 1,
    "lease_seconds": 4,
    "tick_seconds": 0.2,
    "redispatch_seconds": 1,
    "watch_starting_seconds": 0.2,
    "watch_running_seconds": 0.2,
    "file_poll_seconds": 0.1,
    "deployment_poll_seconds": 0.2,
    "quota_release_seconds": 0.2,
    "key_cache_seconds": 0,
}


@dataclass
class Running:
    """An installation at work, and a client of a project in it."""

    kitae: Installation
    azure: Emulator
    redis_url: str
    client: Client
    secret: str
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self) -> None:
        self.processes["worker"] = self.kitae.start("worker")
        self.processes["beat"] = self.kitae.start("beat")
        self.processes["api"] = self.kitae.start_api()

    def job(self, suffix: str) -> str:
        """A job on the example's data; its id."""
        new = JobCreate(
            connection="emulator",
            model="gpt-4.1-mini",
            training="travel",
            validation="travel-validation",
            hyperparameters={"n_epochs": 2},
            suffix=suffix,
        )
        return self.client.jobs.create(new).id

    def reaches(self, job: str, *statuses: str, seconds: float = 60) -> JobRead:
        def look() -> JobRead | None:
            found = self.client.jobs.get(job)
            assert found.parked_reason is None, found.last_error
            assert found.status in statuses or found.status not in {"failed", "cancelled"}, found.error
            return found if found.status in statuses else None

        return until(look, seconds=seconds)

    def remote_jobs(self, suffix: str) -> list[dict[str, Any]]:
        """Azure's jobs of ours with this suffix."""
        listed = self.azure.http.get("/openai/v1/fine_tuning/jobs", params={"limit": 100}).json()["data"]
        return [job for job in listed if job["suffix"] == suffix]


def furnish(client: Client, url: str, directory: Path) -> None:
    """What every job of these tests needs, so that none depends on another: a connection and checked data."""
    client.connections.create(
        ConnectionCreate(
            name="emulator",
            endpoint=url,
            region="swedencentral",
            auth="api_key",
            api_key="local",
            arm_endpoint=url,
            arm_token="local",
            subscription_id="sub",
            resource_group="rg",
            account="acct",
        )
    )
    assert client.connections.check("emulator").ok
    example = examples.load("travel")
    for name, path in (("travel", example.training), ("travel-validation", example.validation)):
        client.datasets.create(DatasetCreate(name=name))
        file = directory / f"{name}.jsonl"
        file.write_bytes(head(path, 30))
        client.datasets.upload(name, file)
        until(lambda name=name: True if client.datasets.version(name).status == "ready" else None)


@pytest.fixture(scope="module")
def running(postgres: Postgres, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    operator = new_secret().secret
    with Redis.from_url(redis_server) as redis:
        redis.flushall()
    with (
        postgres.database() as database_url,
        emulator_process(clock="real", speed=SPEED) as azure,
        installed(
            database_url,
            redis_server,
            tmp_path_factory.mktemp("installation"),
            emulator_url=azure.url,
            admin_key=operator,
            **QUICK,
        ) as kitae,
    ):
        kitae.run("migrate")
        begun = Running(kitae, azure, redis_server, Client(kitae.url, operator), operator)
        begun.start()
        with Client(kitae.url, operator) as asked:
            project = asked.projects.create("life")
            new = ApiKeyCreate(name="life", scopes=["*"], project=project.id)
            begun.secret = asked.keys.create(new).secret
        with Client(kitae.url, begun.secret) as begun.client:
            furnish(begun.client, azure.url, tmp_path_factory.mktemp("data"))
            yield begun


def events_of(running: Running, job: str, *, after: str | None = None) -> Generator[dict[str, Any], None, None]:
    """The job's events from an open stream."""
    headers = {"Authorization": f"Bearer {running.secret}", "Accept": "text/event-stream"}
    if after:
        headers["Last-Event-ID"] = after
    url = f"{running.kitae.url}/v1/jobs/{job}/events"
    with httpx2.stream("GET", url, headers=headers, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def test_a_life_from_upload_to_deletion(running: Running) -> None:
    client = running.client
    job = running.job("life")
    seen: list[dict[str, Any]] = []
    broken = 0
    while not seen or seen[-1]["type"] != "job.succeeded":  # the stream is cut after every third event
        stream = events_of(running, job, after=seen[-1]["id"] if seen else None)
        for event in stream:
            seen.append(event)
            if event["type"] == "job.succeeded" or len(seen) % 3 == 0:
                break
        stream.close()
        broken += 1
    assert broken > 1
    kept = [event.id for event in client.events.list(subject=job, order="asc")]
    assert [event["id"] for event in seen] == kept[: len(seen)]
    ended = running.reaches(job, "succeeded")
    assert len(running.remote_jobs("life")) == 1
    assert client.jobs.metrics(job).series["train_loss"]

    model = until(lambda: next((found for found in client.models.list(job=job) if found.kind == "final"), None))
    assert model.remote_name == ended.fine_tuned_model
    for name, ref in (("tuned", model.id), ("base", "gpt-4.1-mini")):
        new = DeploymentCreate(connection="emulator", model=ref, name=name, ttl_seconds=3600)
        client.deployments.create(new)
    for name in ("tuned", "base"):
        until(lambda name=name: True if client.deployments.get(name).status == "ready" else None)
    question = ChatRequest(messages=[{"role": "user", "content": "Where is Kyoto?"}], max_tokens=8)
    assert client.deployments.chat("tuned", question).text
    assert "".join(client.deployments.chat_stream("tuned", question))
    asked = ComparisonCreate(
        candidates=[{"deployment": "tuned"}, {"deployment": "base"}], prompts=["Where is Kyoto?"], max_tokens=8
    )
    comparison = client.comparisons.create(asked).id
    until(lambda: True if client.comparisons.get(comparison).status == "succeeded" else None)
    (row,) = client.comparisons.get(comparison).rows
    assert all(answer and answer.text for answer in row.answers)
    for name in ("tuned", "base"):
        client.deployments.delete(name)
    for deployment in list(client.deployments.list()):
        until(lambda gone=deployment.id: True if client.deployments.get(gone).status == "deleted" else None)
    state = running.azure.lever("GET", "state")
    assert state["deployments"] == []
    assert [file for file in state["files"] if file["purpose"] == "fine-tune"] == []


def test_a_worker_killed_in_the_middle_of_a_training_is_replaced_and_the_job_ends_once(running: Running) -> None:
    job = running.job("killed")
    running.reaches(job, "running")
    worker = running.processes["worker"]
    worker.kill()
    assert worker.wait(5) == -signal.SIGKILL
    assert running.client.jobs.get(job).status == "running"
    running.processes["worker"] = running.kitae.start("worker")
    running.reaches(job, "succeeded")
    assert len(running.remote_jobs("killed")) == 1


def test_redis_emptied_in_the_middle_delays_at_most(running: Running) -> None:
    job = running.job("flushed")
    with Redis.from_url(running.redis_url) as redis:
        for status in ("queued", "running"):
            running.reaches(job, status, "running", "succeeded")
            assert redis.flushall()
    running.reaches(job, "succeeded")
    assert len(running.remote_jobs("flushed")) == 1


def test_sigterm_ends_every_process_with_0_in_time_and_the_next_ones_go_on(running: Running) -> None:
    """Last in this file: it stops what the other tests work with."""
    job = running.job("stopped")
    running.reaches(job, "running")
    stream = events_of(running, job)
    assert next(stream)["type"].startswith("job.")
    took = {name: end(process, seconds=STOP_SECONDS) for name, process in running.processes.items()}
    assert [event for event in stream if event["type"] == "job.failed"] == []  # an open stream is ended, too
    print({name: round(seconds, 1) for name, seconds in took.items()})
    assert running.kitae.left_over() == []
    running.start()
    running.reaches(job, "succeeded")
    assert len(running.remote_jobs("stopped")) == 1
    events = [event.type for event in running.client.events.list(subject=job)]
    assert events.count("job.succeeded") == 1
    assert "Traceback" not in running.kitae.log.read_text()
