"""A project with an emulated Azure: what the tests of jobs and files begin with."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2

import examples
from app.connections.schemas import ConnectionCreate
from app.connections.service import ConnectionService
from app.datasets.schemas import DatasetCreate
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.jobs.schemas import JobCreate
from app.jobs.service import JobService
from app.jobs.steps import JobSteps
from app.jobs.tables import Job
from app.jobs.watch import ConnectionWatch
from app.kit.caller import Caller
from app.settings import Settings
from app.workbench import Workbench

PATIENCE_SECONDS = 60.0
LEVER_SECONDS = 120.0
"""For an answer of the emulator's levers: it may be training, on a machine that does other things too."""


def quick(settings: Settings, emulator_url: str, **changes: Any) -> Settings:
    """The settings with short intervals and the emulator allowed."""
    return settings.model_copy(
        update={
            "allowed_origins": frozenset({emulator_url}),
            "settle_seconds": 1.0,
            "lease_seconds": 5.0,
            "watch_starting_seconds": 0.1,
            "watch_running_seconds": 0.1,
            "file_poll_seconds": 0.05,
            "deployment_poll_seconds": 0.1,
            "tick_seconds": 0.1,
            "redispatch_seconds": 1.0,
            **changes,
        }
    )


T = TypeVar("T")


def until(look: Callable[[], T | None], *, seconds: float = PATIENCE_SECONDS) -> T:
    """What `look` answers once it answers something; fails when its patience is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


@dataclass
class Emulator:
    """The levers of the emulated Azure, as a test uses them."""

    url: str

    def __post_init__(self) -> None:
        self._http = httpx2.Client(base_url=f"{self.url}/_emulator", timeout=LEVER_SECONDS)

    def reset(self) -> None:
        self._http.post("/reset").raise_for_status()

    def state(self) -> dict[str, Any]:
        return dict(self._http.get("/state").raise_for_status().json())

    def bill(self) -> dict[str, Any]:
        """What everything has cost so far, line by line."""
        return dict(self._http.get("/billing").raise_for_status().json())

    def faults(self, *rules: dict[str, Any]) -> None:
        """Rules in force from now on; none = calm."""
        self._http.put("/faults", json=list(rules)).raise_for_status()

    def strike(self, operation: str, *, times: int = 1, **do: Any) -> None:
        """The next calls of this operation go wrong like this."""
        self.faults({"match": {"operation": operation}, "when": {"first_n": times}, "do": do})

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """The calls of this operation since the last reset."""
        log = self._http.get("/requests").raise_for_status().json()
        return [entry for entry in log if entry["operation"] == operation]

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._http.post(path, json=body).raise_for_status().json())

    def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self._http.put(path, json=body).raise_for_status().json())


@dataclass
class Life:
    """Services of one project and what they work with."""

    bench: Workbench
    caller: Caller
    emulator_url: str

    @classmethod
    def begin(cls, bench: Workbench, project_id: str, emulator_url: str, *, key_id: str = "key_test") -> "Life":
        caller = Caller(project_id=project_id, key_id=key_id, scopes=frozenset({"*"}))
        return cls(bench, caller, emulator_url)

    def connect(self, *, style: str = "v1", name: str = "emulator", account: str = "") -> str:
        """A connection to the emulator.

        Args:
            account: `west` for its second resource.
        """
        new = ConnectionCreate(
            name=name,
            endpoint=f"{self.emulator_url}/{account}".rstrip("/"),
            region="swedencentral",
            api_style=style,
            auth="api_key",
            api_key="emulator-key",
            arm_endpoint=self.emulator_url,
            arm_token="emulator-token",
            subscription_id="sub",
            resource_group="rg",
            account=account or "acct",
        )
        return ConnectionService(self.bench).create(self.caller.project_id, new).id

    def dataset(
        self, name: str, content: bytes, *, method: Literal["supervised", "dpo", "reinforcement"] = "supervised"
    ) -> DatasetVersion:
        """A checked version with this content."""
        service = DatasetService(self.bench)
        service.create(self.caller.project_id, DatasetCreate(name=name, method=method))
        with service.receive() as upload:
            upload.write(content)
        version, _ = service.add_version(
            self.caller.project_id, name, upload, original_name=f"{name}.jsonl", base_model=None
        )
        service.check(version.id)
        return service.version(self.caller.project_id, version.id)

    def dataset_unchecked(self, name: str, *, lines: int) -> str:
        """A version that a worker has still to check; its id."""
        service = DatasetService(self.bench)
        service.create(self.caller.project_id, DatasetCreate(name=name))
        with service.receive() as upload:
            upload.write(head(examples.load("travel").training, lines))
        return service.add_version(
            self.caller.project_id, name, upload, original_name="train.jsonl", base_model=None
        )[0].id

    def version(self, ref: str) -> DatasetVersion:
        return DatasetService(self.bench).version(self.caller.project_id, ref)

    def example(self, *, lines: int = 20) -> tuple[str, str]:
        """Small training and validation versions of a shipped example; their refs."""
        example = examples.load("travel")
        self.dataset("travel", head(example.training, lines))
        self.dataset("travel-validation", head(example.validation, 10))
        return "travel@1", "travel-validation@1"

    def job(self, connection: str, training: str, validation: str | None = None, **fields: Any) -> str:
        wanted = JobCreate(
            connection=connection,
            model="gpt-4.1-mini",
            training=training,
            validation=validation,
            hyperparameters={"n_epochs": 2},
            **fields,
        )
        return JobService(self.bench).create(self.caller, wanted)

    def read(self, job_id: str) -> Job:
        return JobService(self.bench).job(self.caller.project_id, job_id)

    def drive(self, job_id: str, *, until_status: set[str], seconds: float = PATIENCE_SECONDS) -> Job:
        """Take the steps that workers would, until the job is in one of these."""
        steps, watch = JobSteps(self.bench), ConnectionWatch(self.bench)

        def look() -> Job | None:
            steps.advance(job_id)
            job = self.read(job_id)
            watch.watch(job.connection_id)
            job = self.read(job_id)
            return job if job.status in until_status or job.parked_reason else None

        return until(look, seconds=seconds)

    def tidy(self, job_id: str) -> None:
        """Take the steps that remain after the end."""
        steps = JobSteps(self.bench)

        def look() -> bool | None:
            steps.advance(job_id)
            return True if self.read(job_id).next_check_at is None else None

        until(look)


def head(path: Path, lines: int) -> bytes:
    with path.open("rb") as file:
        return b"".join(line for line, _ in zip(file, range(lines), strict=False))
