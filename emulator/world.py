"""All resources of the emulator in one place: what happened so far, and the one function that lets time pass.

Every public answer is read from here after `moment` has applied everything that was due, in the order of virtual
time; so an answer depends on the recordings, the schedule and the clock only. It knows nothing of HTTP.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

from emulator import examples, schedule
from emulator.clock import Clock, Segment
from emulator.schedule import INSTANT, Pace
from emulator.settings import ClockMode, Settings
from emulator.state import (
    ON_MACHINE,
    TERMINAL,
    Checkpoint,
    Deployment,
    Event,
    File,
    Job,
    Operation,
    Record,
    Recording,
    Row,
)
from emulator.store import Store
from emulator.training import Broken, EpochDone, Finished, Measured, Message, Prepared, Task, Training, Warned
from emulator.wire import new_id

CHECKPOINTS_KEPT = 3
"""Source: Microsoft Learn, openai/includes/fine-tuning-rest, 2026-10-05: the last three can be deployed."""

FEW_STEPS = 30
"""Up to this many steps every one gets a metrics event; above, the first and every tenth, as on Azure."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one resource may hold.

    Source: Microsoft Learn, openai/quotas-limits, 2026-02-17. `capacity` is thousands of tokens per minute for each
    SKU and base model; it depends on the subscription, so the default is only a plausible one.
    """

    running_jobs: int = 3
    running_developer_jobs: int = 5
    queued_jobs: int = 20
    jobs: int = 100
    files: int = 100
    deployments: int = 10
    capacity: int = 1000


class World:
    """What exists, guarded by one lock. Use `with world.moment() as now_v:` around every look and every change."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store(settings.state)
        self.lock = threading.RLock()
        self.learned = threading.Condition(self.lock)
        self.default_pace = Pace().changed(dict(settings.pace))
        self.accounts = tuple(name.strip() for name in settings.accounts.split(",") if name.strip())
        self._changed: dict[tuple[str, str], Record] = {}
        self._start_empty()
        self._load()
        self._unchecked: queue.Queue[Task] = queue.Queue()
        self.training: Training | None = None

    def _start_empty(self) -> None:
        self.clock = Clock(self.settings.clock, self.settings.speed)
        self.pace = self.default_pace
        self.limits = Limits()
        self.quota: dict[str, int] = {}
        self.files: dict[str, File] = {}
        self.jobs: dict[str, Job] = {}
        self.deployments: dict[str, Deployment] = {}
        self.removed: dict[str, Deployment] = {}
        self.operations: dict[str, Operation] = {}
        self.events: dict[str, list[Event]] = {}
        self.recordings: dict[str, Recording] = {}
        self._place_freed_v: dict[tuple[str, bool], float] = {}
        self._open_rows: dict[str, Row] = {}

    # Starting and ending

    def _load(self) -> None:
        for key, body in self.store.all("lever"):
            self._load_lever(key, body)
        self.files = {key: File.of(body) for key, body in self.store.all("file")}
        self.jobs = {key: Job.of(body) for key, body in self.store.all("job")}
        self.deployments = {key: Deployment.of(body) for key, body in self.store.all("deployment")}
        self.removed = {key: Deployment.of(body) for key, body in self.store.all("removed")}
        self.operations = {key: Operation.of(body) for key, body in self.store.all("operation")}
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

    def save_levers(self) -> None:
        clock = self.clock
        segments = [(segment.virtual, segment.wall, segment.speed) for segment in clock.segments]
        self.store.put("lever", "clock", {"mode": clock.mode, "speed": clock.speed, "segments": segments})
        self.store.put("lever", "pace", self.pace.document())
        self.store.put("lever", "limits", asdict(self.limits))
        self.store.put("lever", "quota", self.quota)

    def start(self) -> None:
        """Start the training processes and take up again every training that was not finished."""
        cache = self.settings.cache.expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        self.training = Training(self.settings.workers, cache, self._hear)
        threading.Thread(target=self._check_files, name="file-checks", daemon=True).start()
        for job in sorted(self.jobs.values(), key=lambda job: job.order):
            if job.phase not in TERMINAL and self.recordings[job.id].finished_v is None:
                self._unchecked.put(self.task_of(job))

    def close(self) -> None:
        if self.training:
            self.training.close()
        with self.lock:
            self._write()
            self.store.close()

    def reset(self) -> None:
        """Forget everything but the settings the emulator was started with."""
        with self.lock:
            for job in self.jobs.values():
                self.stop_training(job)
            self._changed.clear()
            self.store.clear()
            self._start_empty()
            self.save_levers()
            self.store.commit()

    # Time

    @contextmanager
    def moment(self) -> Iterator[float]:
        """Hold the world still at the present virtual time, with everything due applied; keep what is changed."""
        with self.lock:
            now_v = self.clock.now()
            self._settle(now_v)
            try:
                yield now_v
            finally:
                self._write()

    def stamp(self, virtual: float) -> int:
        """The unix second an answer shows for a virtual time."""
        return int(virtual if self.settings.timestamps == "virtual" else self.clock.wall(virtual))

    def stage_pace(self) -> Pace:
        return INSTANT if self.clock.mode == "instant" else self.pace

    def set_clock(self, mode: ClockMode, speed: float) -> None:
        with self.moment():
            self.clock.set(mode, speed)
            self.save_levers()

    def advance(self, seconds: float) -> bool:
        """Jump forward; a manual clock first waits until everything submitted has been learned.

        Returns: whether the learner was done in time (`learner_wait_seconds`).
        """
        with self.lock:
            done = self.clock.mode != "manual" or self.learned.wait_for(
                self._all_learned, self.settings.learner_wait_seconds
            )
        with self.moment():
            self.clock.advance(seconds)
            self.save_levers()
        with self.moment():
            return done

    def _all_learned(self) -> bool:
        active = (job.id for job in self.jobs.values() if job.phase not in TERMINAL)
        return all(self.recordings[job_id].finished_v is not None for job_id in active)

    def _settle(self, now_v: float) -> None:
        while True:
            due = [move for move in self._next_moves() if move[0] <= now_v]
            if not due:
                return
            at_v, _, record = min(due, key=lambda move: move[:2])
            match record:
                case File():
                    self._process_file(record)
                case Job():
                    self._move_job(record, at_v, now_v)
                case Deployment():
                    self._move_deployment(record, at_v)

    def _next_moves(self) -> Iterator[tuple[float, int, Record]]:
        """What comes next for everything that is on its way: when, its place among equals, and the record."""
        pace = self.stage_pace()
        for file in self.files.values():
            file_due = schedule.file_due(file, pace)
            if file_due is not None:
                yield file_due, 0, file
        for job in self.jobs.values():
            job_due = self._job_due(job, pace)
            if job_due is not None:
                yield job_due, job.order, job
        for deployment in self.deployments.values():
            deployment_due = schedule.deployment_due(deployment, pace)
            if deployment_due is not None:
                yield deployment_due, 0, deployment

    # Keeping

    def touch(self, kind: str, record: Record) -> None:
        self._changed[kind, record.id] = record

    def drop(self, kind: str, record: Record) -> None:
        self._changed.pop((kind, record.id), None)
        self.store.remove(kind, record.id)

    def _write(self) -> None:
        for (kind, key), record in self._changed.items():
            self.store.put(kind, key, record.document())
        self._changed.clear()
        self.store.commit()

    # Files

    def _process_file(self, file: File) -> None:
        file.phase = "error" if file.status_details else "processed"
        self.touch("file", file)

    # Jobs

    def add_job(self, job: Job) -> None:
        """Take a new job in and let the learner begin; its files keep their bytes even if they are deleted."""
        self.jobs[job.id] = job
        self.events[job.id] = []
        self.recordings[job.id] = Recording()
        for role, file_id in (("training", job.training_file), ("validation", job.validation_file)):
            if file_id:
                self.store.link_blob(self.files[file_id].blob, f"{job.id}.{role}")
        if job.parent:
            self.store.link_blob(job.parent, f"{job.id}.parent")
        self.say(job, job.created_v, "Job enqueued. Waiting for jobs ahead to complete.")
        self.touch("job", job)
        self._save_recording(job.id)
        self._unchecked.put(self.task_of(job))

    def task_of(self, job: Job) -> Task:
        """What the learner is asked. Its own multiplier of 1.0 stands for the model's default one."""
        epochs, batch = job.asked.get("n_epochs"), job.asked.get("batch_size")
        multiplier = job.asked.get("learning_rate_multiplier", job.default_multiplier)
        return Task(
            id=job.id,
            training=self.store.blob(f"{job.id}.training"),
            validation=self.store.blob(f"{job.id}.validation") if job.validation_file else None,
            parent=self.store.blob(f"{job.id}.parent") if job.parent else None,
            n_epochs=None if epochs is None else int(epochs),
            batch_size=None if batch is None else int(batch),
            learning_rate_multiplier=multiplier / job.default_multiplier,
            seed=job.seed,
        )

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

    def stop_training(self, job: Job) -> None:
        if self.training:
            self.training.stop(job.id)

    def end_job(self, job: Job, phase: str, at_v: float, error: dict[str, str] | None = None) -> None:
        """Bring a job to a terminal phase, free its place and write its results down."""
        if job.phase in ON_MACHINE:
            self._place_freed_v[job.account, job.is_developer] = at_v
        if phase != "succeeded":
            self.stop_training(job)
        if job.result_file and job.result_file in self.files:
            content = results_csv(self.recordings[job.id].rows[: job.published])
            file = self.files[job.result_file]
            file.blob, file.size_bytes = file.id, len(content)
            self.store.write_blob(file.blob, content)
            self.touch("file", file)
        job.phase, job.hold, job.entered_v, job.error = phase, "", at_v, error  # type: ignore[assignment]
        job.finished_at = self.stamp(at_v)
        for role in ("training", "validation", "parent"):
            self.store.drop_blob(f"{job.id}.{role}")
        self.touch("job", job)
        self.learned.notify_all()

    def fail_job(self, job: Job, at_v: float, error: dict[str, str]) -> None:
        self.say(job, at_v, error["message"], level="error")
        self.end_job(job, "failed", at_v, error)

    def billed_tokens(self, job: Job) -> int:
        """Tokens charged so far: nothing for a failed job, the published share of the training otherwise."""
        recording = self.recordings[job.id]
        if job.phase == "failed" or not recording.rows or recording.finished_v is None:
            return 0
        return round(recording.billed_tokens * job.published / len(recording.rows))

    def _job_due(self, job: Job, pace: Pace) -> float | None:
        due = schedule.job_due(job, self.recordings[job.id], pace)
        if due is None or job.phase != "queued":
            return due
        places = self.limits.running_developer_jobs if job.is_developer else self.limits.running_jobs
        same = (other for other in self.jobs.values() if other.account == job.account)
        taken = sum(other.phase in ON_MACHINE for other in same if other.is_developer == job.is_developer)
        if taken >= places:
            return None
        return max(due, self._place_freed_v.get((job.account, job.is_developer), due))

    def _move_job(self, job: Job, at_v: float, now_v: float) -> None:
        """Apply what is due for a job at `at_v`; training publishes every step due until `now_v` at once."""
        self.touch("job", job)
        if job.hold:
            self._move_hold(job, at_v)
            return
        recording = self.recordings[job.id]
        match job.phase:
            case "enqueued":
                job.phase, job.entered_v = "preprocessing", at_v
                self.say(job, at_v, "Preprocessing running for file training file.")
            case "preprocessing":
                self._finish_preprocessing(job, recording, at_v)
            case "queued":
                job.phase, job.entered_v = "starting", at_v
                for message in ("Job started.", "Data Import started.", "Finetuning started."):
                    self.say(job, at_v, message)
                self.say(job, at_v, "Job queued, waiting for GPUs.")
            case "starting":
                self._begin_training(job, recording, at_v)
            case "training":
                self._train(job, recording, at_v, now_v)
            case "evaluating":
                self._finish(job, recording, at_v)

    def _move_hold(self, job: Job, at_v: float) -> None:
        job.hold, job.entered_v = ("paused" if job.hold == "pausing" else ""), at_v
        job.last_step_v = max(job.last_step_v, at_v)
        self.say(job, at_v, "Job paused." if job.hold else "Job resumed.")

    def _finish_preprocessing(self, job: Job, recording: Recording, at_v: float) -> None:
        if recording.problem:
            self.fail_job(job, at_v, recording.problem)
            return
        if harms := job.fate.get("data_refused"):
            names = ", ".join(map(str, harms))
            message = (
                f"The provided training data failed RAI checks for harm types: [{names}]."
                " Please fix the data and try again."
            )
            self.fail_job(job, at_v, {"code": "contentFilter", "message": message, "param": "training_file"})
            return
        job.phase, job.entered_v = "queued", at_v
        self.say(job, at_v, "Preprocessing completed for file training file.")
        if job.validation_file:
            self.say(job, at_v, "Preprocessing completed for file validation file.")

    def _begin_training(self, job: Job, recording: Recording, at_v: float) -> None:
        job.phase, job.entered_v, job.last_step_v = "training", at_v, at_v
        job.hyperparameters_known = recording.n_epochs > 0
        result = File(
            job.account,
            new_id("file-"),
            "results.csv",
            "fine-tune-results",
            0,
            self.stamp(at_v),
            at_v,
            phase="processed",
            job=job.id,
        )
        self.files[result.id] = result
        self.touch("file", result)
        job.result_file = result.id
        self.say(job, at_v, "Training started.")
        self.say(job, at_v, f"Created results file: {result.id}")
        for notice in recording.notices:
            self.say(job, at_v, notice, level="warn")

    def _train(self, job: Job, recording: Recording, at_v: float, now_v: float) -> None:
        due: float | None = at_v
        while due is not None and due <= now_v and job.phase == "training" and not job.hold:
            if job.published == len(recording.rows):
                self._end_training(job, recording, due)
                return
            job.published += 1
            job.last_step_v = due
            self._publish(job, recording, recording.rows[job.published - 1], due)
            due = schedule.job_due(job, recording, self.stage_pace())

    def _publish(self, job: Job, recording: Recording, row: Row, at_v: float) -> None:
        if row.step == 1 or row.step % 10 == 0 or recording.total_steps <= FEW_STEPS:
            loss = number(row.train_loss)
            self.say(job, at_v, f"Step {row.step}: training loss={loss}", data=metrics(row))
        if row.step in recording.epochs:
            checkpoint = Checkpoint(new_id("ftchkpt-"), self.stamp(at_v), row.step, metrics(row))
            job.checkpoints.append(checkpoint)
            for old in job.checkpoints[:-CHECKPOINTS_KEPT]:
                self.store.drop_blob(model_blob(job.id, old.step))
            del job.checkpoints[:-CHECKPOINTS_KEPT]
        if row.step == job.fate.get("fail_at_step"):
            message = "The job failed due to an internal error."
            self.fail_job(job, at_v, {"code": "internalFailure", "message": message})

    def _end_training(self, job: Job, recording: Recording, at_v: float) -> None:
        if recording.problem:
            self.fail_job(job, at_v, recording.problem)
            return
        job.phase, job.entered_v = "evaluating", at_v
        self.say(job, at_v, "Job succeeded.")

    def _finish(self, job: Job, recording: Recording, at_v: float) -> None:
        if harms := job.fate.get("model_refused"):
            message = (
                "This model is unable to be deployed. Model evaluation identified that this fine tuned model scores"
                f" above acceptable thresholds for [{', '.join(map(str, harms))}]."
                " Please review your training data set and resubmit the job."
            )
            self.fail_job(job, at_v, {"code": "contentFilter", "message": message, "param": "training_file"})
            return
        job.fine_tuned_model = job.tuned_name
        job.trained_tokens = recording.billed_tokens
        self.say(job, at_v, "Model Evaluation Passed.")
        self.say(job, at_v, f"Completed results file: {job.result_file}")
        self.say(job, at_v, f"Training tokens billed: {recording.billed_tokens}")
        self.end_job(job, "succeeded", at_v)

    # Models

    def find_model(self, account: str, name: str) -> tuple[Job, Checkpoint] | None:
        """The job and checkpoint a tuned model's name, a checkpoint's name or a checkpoint's id stand for."""
        whole, _, step = name.partition(":ckpt-step-")
        for job in self.jobs.values():
            if job.account != account or not job.checkpoints:
                continue
            if job.tuned_name == name and job.phase == "succeeded":
                return job, job.checkpoints[-1]
            for checkpoint in job.checkpoints:
                if checkpoint.id == name or (job.tuned_name == whole and str(checkpoint.step) == step):
                    return job, checkpoint
        return None

    # Deployments

    def _move_deployment(self, deployment: Deployment, at_v: float) -> None:
        self.touch("deployment", deployment)
        match deployment.phase:
            case "creating" if deployment.fate.get("provision_fails"):
                deployment.phase, deployment.entered_v = "failed", at_v
                message = "The deployment failed because of an internal error. Please try again later."
                self._end_operation(deployment, at_v, {"code": "InternalServerError", "message": message})
            case "creating":
                deployment.phase, deployment.entered_v, deployment.hosted_from_v = "warming", at_v, at_v
                self._end_operation(deployment, at_v)
            case "deleting":
                self.remove_deployment(deployment, at_v, "deleted")
                self._end_operation(deployment, at_v)
            case _ if schedule.is_removal_due(deployment, at_v):
                self.remove_deployment(deployment, at_v, "removed by Azure")
            case "warming":
                deployment.phase, deployment.entered_v = "ready", at_v

    def remove_deployment(self, deployment: Deployment, at_v: float, because: str) -> None:
        """Take a deployment away; what it cost is remembered."""
        deployment.phase, deployment.removed_because = "removed", because
        if deployment.hosted_from_v is not None:
            deployment.hosted_to_v = at_v
        del self.deployments[deployment.id]
        self.drop("deployment", deployment)
        kept = replace(deployment, id=new_id("removed-"))
        self.removed[kept.id] = kept
        self.touch("removed", kept)

    def _end_operation(self, deployment: Deployment, at_v: float, error: dict[str, str] | None = None) -> None:
        operation = self.operations.get(deployment.operation)
        if operation:
            operation.status = "Failed" if error else "Succeeded"
            operation.ended_at, operation.error = self.stamp(at_v), error
            self.touch("operation", operation)

    # What the learner says

    def _check_files(self) -> None:
        """The life of the thread that reads the files of new jobs and passes sound ones on to the learner."""
        while True:
            task = self._unchecked.get()
            problem = None
            for path, param, least in (
                (task.training, "training_file", examples.LEAST_EXAMPLES),
                (task.validation, "validation_file", 1),
            ):
                if path and problem is None:
                    problem = _file_problem(path, param, least)
            with self.lock:
                recording = self.recordings.get(task.id)
                if recording is None or self.jobs[task.id].phase in TERMINAL:  # given up meanwhile
                    continue
                now_v = self.clock.now()
                if recording.checked_v is None:
                    recording.checked_v = now_v
                if problem:
                    recording.problem, recording.finished_v = problem, now_v
                self._save_recording(task.id)
                self.store.commit()
                self.learned.notify_all()
                if problem is None and self.training:
                    self.training.submit(task)

    def _hear(self, job_id: str, messages: list[Message]) -> None:
        """Take in what the learner measured. A training done again after a restart repeats what is known already."""
        with self.lock:
            recording = self.recordings.get(job_id)
            if recording is None:
                return
            now_v = self.clock.now()
            for message in messages:
                self._record(job_id, recording, message, now_v)
            job = self.jobs[job_id]
            if job.phase == "cancelled" and job.published and recording.finished_v is not None:
                job.trained_tokens = self.billed_tokens(job)
                self.touch("job", job)
            self._save_recording(job_id)
            self._write()
            self.learned.notify_all()

    def _record(self, job_id: str, recording: Recording, message: Message, now_v: float) -> None:
        match message:
            case Prepared(n_epochs, batch_size):
                recording.n_epochs, recording.batch_size = n_epochs, batch_size
            case Measured(values, total_steps):
                recording.total_steps = total_steps
                if recording.prepared_v is None:
                    recording.prepared_v = now_v
                self._close_row(job_id, recording)
                self._open_rows[job_id] = Row(*values, arrival_v=now_v)
            case EpochDone(_, step, model):
                if step not in recording.epochs:
                    recording.epochs.append(step)
                    self.store.write_blob(model_blob(job_id, step), model)
                self._close_row(job_id, recording)
            case Warned(text):
                if text not in recording.notices:
                    recording.notices.append(text)
            case Finished(billed_tokens):
                self._close_row(job_id, recording)
                recording.billed_tokens, recording.finished_v = billed_tokens, now_v
            case Broken(text):
                self._close_row(job_id, recording)
                text = f"The job failed due to an internal error. {text}"
                recording.problem, recording.finished_v = {"code": "internalFailure", "message": text}, now_v

    def _close_row(self, job_id: str, recording: Recording) -> None:
        """Record the last step once it is known whether it ended an epoch; so a checkpoint is never overlooked."""
        row = self._open_rows.pop(job_id, None)
        if row and row.step == len(recording.rows) + 1:
            recording.rows.append(row)
            self.store.append("row", job_id, row.step, astuple(row))

    def _save_recording(self, job_id: str) -> None:
        self.store.put("recording", job_id, self.recordings[job_id].document())


def _file_problem(path: Any, param: str, least: int) -> dict[str, str] | None:
    role = param.removesuffix("_file")
    try:
        examples.check(path, least)
    except examples.BadFile as bad:
        message = f"Validation of the {role} file failed. {bad.message}"
        return {"code": bad.code, "message": message, "param": param}
    except OSError:  # deleted together with its job
        return {"code": "notFound", "message": f"The {role} file could not be read.", "param": param}
    return None


def model_blob(job_id: str, step: int) -> str:
    return f"{job_id}.model-{step}"


def number(value: float) -> str:
    """A number as Azure's events write it: shortest form, `E-06` for exponents."""
    return repr(float(value)).upper().removesuffix(".0")


def metrics(row: Row) -> dict[str, float]:
    """The metrics of a step under Azure's names; what was not measured is absent."""
    values = {
        "step": row.step,
        "train_loss": row.train_loss,
        "train_mean_token_accuracy": row.train_accuracy,
        "valid_loss": row.valid_loss,
        "valid_mean_token_accuracy": row.valid_accuracy,
        "full_valid_loss": row.full_valid_loss,
        "full_valid_mean_token_accuracy": row.full_valid_accuracy,
    }
    return {name: value for name, value in values.items() if value is not None}


CSV_HEADER = (
    "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,full_valid_loss,"
    "full_valid_mean_token_accuracy"
)
"""Source: results file read by Microsoft's Image_FT_Chart_Analysis notebook, 2025-05 (the documentation writes
`validation_mean_token_accuracy`)."""


def results_csv(rows: list[Row]) -> bytes:
    """The results file after these steps."""
    lines = [CSV_HEADER]
    for row in rows:
        known = metrics(row)
        lines.append(",".join(str(known.get(name, "")) for name in CSV_HEADER.split(",")))
    return ("\n".join(lines) + "\n").encode()
