"""Everything the emulator's resources hold, and how it outlives restarts; it knows neither HTTP nor what is due.

The caller holds `lock` around every look and every change.
"""

import threading
from dataclasses import asdict, dataclass, replace
from typing import Any

from emulator.clock import Clock, Segment
from emulator.generator import Shares
from emulator.prices import PRICES, Prices
from emulator.rates import Windows
from emulator.retirement import Retirements
from emulator.schedule import INSTANT, Pace
from emulator.settings import Settings
from emulator.signing import is_secret
from emulator.state import (
    TERMINAL,
    Checkpoint,
    CheckpointCopy,
    Delivery,
    Deployment,
    Event,
    File,
    Job,
    Operation,
    Record,
    Recording,
    Row,
    Upload,
    WebhookEndpoint,
)
from emulator.store import Store
from emulator.wire import new_id


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one resource may hold.

    Source: Microsoft Learn, openai/quotas-limits, 2026-02-17. `capacity` is thousands of tokens per minute for each
    SKU and base model; it depends on the subscription, so the default is only a plausible one. `arm_reads` and
    `arm_writes` are calls of the control plane a minute, `chat_rate_percent` how much of a deployment's rate limits
    is enforced; 0 limits nothing.
    """

    running_jobs: int = 3
    running_developer_jobs: int = 5
    queued_jobs: int = 20
    jobs: int = 100
    files: int = 100
    file_bytes: int = 1024**3
    deployments: int = 10
    capacity: int = 1000
    arm_reads: int = 0
    arm_writes: int = 0
    chat_rate_percent: int = 0
    rft_usd: int = 5000


Safety = dict[str, dict[str, list[str]]]
"""For `data` and `model`: harm type → words in the training file for which that is refused."""


class Ledger:
    """What exists."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.state)
        self.lock = threading.RLock()
        self.default_pace = Pace().changed(dict(settings.pace))
        self.accounts = tuple(name.strip() for name in settings.accounts.split(",") if name.strip())
        self._changed: dict[tuple[str, str], Record] = {}
        self.start_empty()
        self._load()

    def start_empty(self) -> None:
        """Forget everything but the settings.

        `active` holds the jobs that may still move by themselves: all that time has to look at. `given_up` names
        jobs whose training nobody waits for any more.
        """
        self.clock = Clock(self.settings.clock, self.settings.speed)
        self.pace = self.default_pace
        self.limits = Limits()
        self.quota: dict[str, int] = {}
        self.windows = Windows()
        self.retirements = Retirements()
        self.prices: Prices = PRICES
        self.charges: dict[str, dict[str, Any]] = {}
        self.safety: Safety = {"data": {}, "model": {}}
        self.generator = Shares()
        self.endpoints = _first_endpoints(self.settings.webhooks)
        self.deliveries: dict[str, Delivery] = {}
        self.copies: dict[str, CheckpointCopy] = {}
        self.files: dict[str, File] = {}
        self.uploads: dict[str, Upload] = {}
        self.jobs: dict[str, Job] = {}
        self.active: dict[str, Job] = {}
        self.pending_files: dict[str, File] = {}
        self.deployments: dict[str, Deployment] = {}
        self.removed: dict[str, Deployment] = {}
        self.operations: dict[str, Operation] = {}
        self.events: dict[str, list[Event]] = {}
        self.recordings: dict[str, Recording] = {}
        self.place_freed_v: dict[tuple[str, bool], float] = {}
        self.given_up: set[str] = set()

    def _load(self) -> None:
        for key, body in self.store.all("lever"):
            self._load_lever(key, body)
        self.files = {key: File.of(body) for key, body in self.store.all("file")}
        self.endpoints |= {key: WebhookEndpoint.of(body) for key, body in self.store.all("endpoint")}
        self.deliveries = {key: Delivery.of(body) for key, body in self.store.all("delivery")}
        self.copies = {key: CheckpointCopy.of(body) for key, body in self.store.all("copy")}
        self.pending_files = {key: file for key, file in self.files.items() if file.phase == "pending"}
        self.uploads = {key: Upload.of(body) for key, body in self.store.all("upload")}
        self.jobs = {key: Job.of(body) for key, body in self.store.all("job")}
        self.active = {key: job for key, job in self.jobs.items() if job.phase not in TERMINAL and not job.planted}
        self.deployments = {key: Deployment.of(body) for key, body in self.store.all("deployment")}
        self.removed = {key: Deployment.of(body) for key, body in self.store.all("removed")}
        self.operations = {key: Operation.of(body) for key, body in self.store.all("operation")}
        self.charges = dict(self.store.all("charge"))
        for key, body in self.store.all("recording"):
            recording = Recording(**body)
            recording.rows = [Row(*row) for row in self.store.journal("row", key)]
            self.recordings[key] = recording
        for key in self.jobs:
            self.events[key] = [Event(**event) for event in self.store.journal("event", key)]
        self.save_levers()
        self.store.commit()

    def _load_lever(self, key: str, body: Any) -> None:
        match key:
            case "clock":
                segments = [Segment(*segment) for segment in body["segments"]]
                self.clock = Clock(body["mode"], body["speed"], segments)
            case "pace":
                self.pace = Pace(**body)
            case "limits":
                self.limits = Limits(**body)
            case "quota":
                self.quota = body
            case "retirements":
                self.retirements = Retirements(body)
            case "prices":
                self.prices = body
            case "safety":
                self.safety = body
            case "generator":
                self.generator = Shares(**body)

    def save_levers(self) -> None:
        clock = self.clock
        segments = [(segment.virtual, segment.wall, segment.speed) for segment in clock.segments]
        self.store.put("lever", "clock", {"mode": clock.mode, "speed": clock.speed, "segments": segments})
        self.store.put("lever", "pace", self.pace.document())
        self.store.put("lever", "limits", asdict(self.limits))
        self.store.put("lever", "quota", self.quota)
        self.store.put("lever", "retirements", self.retirements.set_by_lever)
        self.store.put("lever", "prices", self.prices)
        self.store.put("lever", "safety", self.safety)
        self.store.put("lever", "generator", asdict(self.generator))

    def stamp(self, virtual: float) -> int:
        """The unix second an answer shows for a virtual time."""
        return int(virtual if self.settings.timestamps == "virtual" else self.clock.wall(virtual))

    def stage_pace(self) -> Pace:
        """The pace in force: an instant clock waits for nothing but the learner."""
        return INSTANT if self.clock.mode == "instant" else self.pace

    # Keeping

    def touch(self, kind: str, record: Record) -> None:
        self._changed[kind, record.id] = record

    def drop(self, kind: str, record: Record) -> None:
        self._changed.pop((kind, record.id), None)
        self.store.remove(kind, record.id)

    def write(self) -> None:
        for (kind, key), record in self._changed.items():
            self.store.put(kind, key, record.document())
        self._changed.clear()
        self.store.commit()

    def forget_all(self) -> None:
        """Forget everything, on disk as well."""
        self._changed.clear()
        self.store.clear()
        self.start_empty()
        self.save_levers()
        self.store.commit()

    def save_recording(self, job_id: str) -> None:
        self.store.put("recording", job_id, self.recordings[job_id].document())

    # Jobs and their models

    def say(
        self, job: Job, at_v: float, message: str, *, level: str = "info", data: dict[str, float] | None = None
    ) -> None:
        """Write a line into the job's log."""
        events = self.events[job.id]
        event = Event(
            new_id("ftevent-"), self.stamp(at_v), level, message, "message" if data is None else "metrics", data
        )
        events.append(event)
        self.store.append("event", job.id, len(events), asdict(event))

    def billed_tokens(self, job: Job) -> int:
        """Tokens charged so far: the published share for an unfinished job, none for a failed one.

        Nor for reinforcement, which is charged by the hour (`Job.spent_usd`).

        Source: Microsoft Learn, fine-tuning cost management, 2026-03-19: cancelled jobs pay up to their last work.
        """
        recording = self.recordings[job.id]
        if job.phase == "failed" or job.is_native or not recording.total_steps:
            return 0
        if job.trained_tokens is not None:
            return job.trained_tokens
        return round(recording.epoch_tokens * recording.n_epochs * job.published / recording.total_steps)

    def copy_status(self, copy: CheckpointCopy) -> str:
        """Source of the words: CopiedAccountDetails of the v1 specification, 2026-02-02."""
        if self.clock.now() < copy.begun_v + self.stage_pace().provision:
            return "InProgress"
        return "Failed" if copy.fails else "Completed"

    def find_model(self, account: str, name: str) -> tuple[Job, Checkpoint] | None:
        """The job and checkpoint a tuned model's name, a checkpoint's name or a checkpoint's id stand for.

        Checkpoints of other resources count once they have been copied to this one.
        """
        whole, _, step = name.partition(":ckpt-step-")
        mine = [copy for copy in self.copies.values() if copy.account == account]
        copied = {copy.checkpoint for copy in mine if self.copy_status(copy) == "Completed"}
        for job in self.jobs.values():
            here = job.account == account
            reachable = [checkpoint for checkpoint in job.checkpoints if here or checkpoint.id in copied]
            if not reachable:
                continue
            if job.tuned_name == name and job.phase == "succeeded" and reachable[-1] is job.checkpoints[-1]:
                return job, job.checkpoints[-1]
            for checkpoint in reachable:
                if checkpoint.id == name or (job.tuned_name == whole and str(checkpoint.step) == step):
                    return job, checkpoint
        return None

    # Deployments

    def end_operation(self, deployment: Deployment, at_v: float, error: dict[str, str] | None = None) -> None:
        """The write under way is through, or failed with this error."""
        operation = self.operations.get(deployment.operation)
        if operation and operation.ended_at is None:
            operation.status = "Failed" if error else "Succeeded"
            operation.ended_at, operation.error = self.stamp(at_v), error
            self.touch("operation", operation)

    def remove_deployment(self, deployment: Deployment, at_v: float, because: str) -> None:
        """Take a deployment away; what it cost is remembered, and its quota comes back a little later."""
        if deployment.phase != "deleting":
            self.end_operation(deployment, at_v, {"code": "Canceled", "message": f"The deployment was {because}."})
        deployment.phase, deployment.removed_because, deployment.removed_v = "removed", because, at_v
        if deployment.hosted_from_v is not None:
            deployment.hosted_to_v = at_v
        del self.deployments[deployment.id]
        self.drop("deployment", deployment)
        kept = replace(deployment, id=new_id("removed-"))
        self.removed[kept.id] = kept
        self.touch("removed", kept)


def _first_endpoints(given: str) -> dict[str, WebhookEndpoint]:
    """The endpoints a setting names: `URL#whsec_secret`, comma-separated. They hear of every end of a job."""
    found: dict[str, WebhookEndpoint] = {}
    for number, part in enumerate(part.strip() for part in given.split(",") if part.strip()):
        url, _, secret = part.rpartition("#")
        if not url or not is_secret(secret):
            raise RuntimeError(f"EMULATOR_WEBHOOKS: {part.split('#')[0]} must be followed by # and a whsec_ secret")
        kinds = [f"fine_tuning.job.{end}" for end in TERMINAL]
        name = f"we_start{number}"
        found[name] = WebhookEndpoint("", name, name, url, kinds, secret, 0, everywhere=True)
    return found


def model_blob(job_id: str, step: int) -> str:
    """Where the model after that step rests in the store."""
    return f"{job_id}.model-{step}"
