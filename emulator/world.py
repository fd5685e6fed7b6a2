"""All resources of the emulator in one place: what happened so far, and the one function that lets time pass.

Every public answer is read from here after `moment` has applied everything that was due, in the order of virtual
time; so an answer depends on the recordings, the schedule and the clock only. It knows nothing of HTTP.
"""

import queue
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

from emulator import examples, lives, schedule
from emulator.catalogue import Method
from emulator.ledger import Ledger, Safety, model_blob
from emulator.schedule import Pace
from emulator.settings import ClockMode, Settings
from emulator.state import ON_MACHINE, TERMINAL, Deployment, File, Job, Record, Recording, Row
from emulator.training import Broken, EpochDone, Finished, Measured, Message, Prepared, Task, Training, Warned


class World(Ledger):
    """What exists, and its time. Use `with world.moment() as now_v:` around every look and every change."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.learned = threading.Condition(self.lock)
        self.training: Training | None = None
        self._unchecked: queue.Queue[Task] = queue.Queue()
        self._open_rows: dict[str, Row] = {}
        self._closed = False

    # Starting and ending

    def start(self) -> None:
        """Start the training processes and take up again every training that was not finished."""
        cache = self.settings.cache.expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        self.training = Training(self.settings.workers, cache, self._hear)
        threading.Thread(target=self._check_files, name="file-checks", daemon=True).start()
        self._take_up_trainings()

    def _take_up_trainings(self) -> None:
        for job in self.active.values():
            if self.recordings[job.id].finished_v is None:
                self._unchecked.put(self.task_of(job))

    def close(self) -> None:
        if self.training:
            self.training.close()
        with self.lock:
            self._closed = True
            self.write()
            self.store.close()

    def reset(self) -> None:
        """Forget everything but the settings the emulator was started with."""
        with self.lock:
            self.given_up.update(self.jobs)
            self._stop_trainings()
            self.forget_all()
            self.learned.notify_all()

    def keep_as(self, name: str) -> None:
        """Keep everything, its time included, as it is now under a name."""
        with self.moment() as now_v:
            self.store.put("lever", "kept_v", now_v)
            self.write()
            self.store.keep_as(name)

    def bring_back(self, name: str) -> None:
        """Be as when that name was kept; trainings that were under way then begin again.

        Raises:
            KeyError: there is no such name.
        """
        with self.lock:
            self.store.bring_back(name)
            self.given_up.update(self.jobs)
            self._stop_trainings()
            self._changed.clear()
            self._open_rows.clear()
            self.start_empty()
            self._load()
            self.clock.resume_at(dict(self.store.all("lever"))["kept_v"])
            self.save_levers()
            self.store.commit()
            self._take_up_trainings()
            self.learned.notify_all()

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
                self.write()
                self._stop_trainings()

    def _stop_trainings(self) -> None:
        if self.given_up:
            for job_id in self.given_up:
                if self.training:
                    self.training.stop(job_id)
            self.given_up.clear()
            self.learned.notify_all()

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
        return all(self.recordings[job_id].finished_v is not None for job_id in self.active)

    def _settle(self, now_v: float) -> None:
        while True:
            due = [move for move in self._next_moves() if move[0] <= now_v]
            if not due:
                return
            at_v, _, record = min(due, key=lambda move: move[:2])
            match record:
                case File():
                    lives.process_file(self, record)
                case Job():
                    lives.move_job(self, record, at_v, now_v)
                case Deployment():
                    lives.move_deployment(self, record, at_v)

    def _next_moves(self) -> Iterator[tuple[float, int, Record]]:
        """What comes next for everything that is on its way: when, its place among equals, and the record.

        It costs nothing for what has come to rest: ten thousand jobs that are over slow no request down.
        """
        pace = self.stage_pace()
        for file in self.pending_files.values():
            file_due = schedule.file_due(file, pace)
            if file_due is not None:
                yield file_due, 0, file
        running = Counter(
            (job.account, job.is_developer) for job in self.active.values() if job.phase in ON_MACHINE
        )
        for job in self.active.values():
            job_due = self._job_due(job, pace, running)
            if job_due is not None:
                yield job_due, job.order, job
        for deployment in self.deployments.values():
            deployment_due = schedule.deployment_due(deployment, pace)
            if deployment_due is not None:
                yield deployment_due, 0, deployment

    # New jobs

    def add_job(self, job: Job) -> None:
        """Take a new job in and let the learner begin; its files keep their bytes even if they are deleted."""
        self.jobs[job.id] = self.active[job.id] = job
        self.events[job.id] = []
        self.recordings[job.id] = Recording()
        for role, file_id in (("training", job.training_file), ("validation", job.validation_file)):
            if file_id:
                self.store.link_blob(self.files[file_id].blob, f"{job.id}.{role}")
        if job.parent:
            self.store.link_blob(job.parent, f"{job.id}.parent")
        self.say(job, job.created_v, "Job enqueued. Waiting for jobs ahead to complete.")
        self.touch("job", job)
        self.save_recording(job.id)
        self._unchecked.put(self.task_of(job))

    def task_of(self, job: Job) -> Task:
        """What the learner is asked. Its own multiplier of 1.0 stands for the model's default one."""
        whole = {name: int(value) for name, value in job.asked.items() if float(value).is_integer()}
        inner = (job.method or {}).get(job.method_type) or {}
        multiplier = job.asked.get("learning_rate_multiplier", job.default_multiplier)
        return Task(
            id=job.id,
            training=self.store.blob(f"{job.id}.training"),
            validation=self.store.blob(f"{job.id}.validation") if job.validation_file else None,
            parent=self.store.blob(f"{job.id}.parent") if job.parent else None,
            n_epochs=whole.get("n_epochs"),
            batch_size=whole.get("batch_size"),
            learning_rate_multiplier=multiplier / job.default_multiplier,
            seed=job.seed,
            method=job.method_type,
            beta=job.asked.get("beta"),
            grader=inner.get("grader") or {},
            compute_multiplier=job.asked.get("compute_multiplier", 1.0),
            eval_interval=whole.get("eval_interval"),
        )

    def _job_due(self, job: Job, pace: Pace, running: Mapping[tuple[str, bool], int]) -> float | None:
        """As `schedule.job_due`; but a queued job must also find a free place, and takes it once one is freed."""
        due = schedule.job_due(job, self.recordings[job.id], pace)
        if due is None or job.phase != "queued":
            return due
        kind = (job.account, job.is_developer)
        places = self.limits.running_developer_jobs if job.is_developer else self.limits.running_jobs
        return None if running[kind] >= places else max(due, self.place_freed_v.get(kind, due))

    # What the learner says

    def _check_files(self) -> None:
        """The life of the thread that reads the files of new jobs and passes sound ones on to the learner."""
        while True:
            task = self._unchecked.get()
            problem: dict[str, str] | None = None
            data_harms, model_harms = _harms(task.training, self.safety)
            for path, param, least in (
                (task.training, "training_file", examples.LEAST_EXAMPLES),
                (task.validation, "validation_file", 1),
            ):
                if path and problem is None:
                    problem = _file_problem(path, param, least, task.method)
            with self.lock:
                recording = self.recordings.get(task.id)
                if self._closed:
                    return
                if recording is None or self.jobs[task.id].phase in TERMINAL:  # given up meanwhile
                    continue
                now_v = self.clock.now()
                if recording.checked_v is None:
                    recording.checked_v = now_v
                    recording.data_harms, recording.model_harms = data_harms, model_harms
                if problem:
                    recording.problem, recording.finished_v = problem, now_v
                self.save_recording(task.id)
                self.store.commit()
                self.learned.notify_all()
                if problem is None and self.training:
                    self.training.submit(task)

    def _hear(self, job_id: str, messages: list[Message]) -> None:
        """Take in what the learner measured; a training done again after a restart repeats what is known."""
        with self.lock:
            recording = self.recordings.get(job_id)
            if recording is None or self._closed:
                return
            now_v = self.clock.now()
            for message in messages:
                self._record(job_id, recording, message, now_v)
            self.save_recording(job_id)
            self.write()
            self.learned.notify_all()

    def _record(self, job_id: str, recording: Recording, message: Message, now_v: float) -> None:
        match message:
            case Prepared(n_epochs, batch_size, epoch_tokens):
                recording.n_epochs, recording.batch_size = n_epochs, batch_size
                recording.epoch_tokens = epoch_tokens
            case Measured(step, values, total_steps, grader_tokens):
                recording.total_steps = total_steps
                if recording.prepared_v is None:
                    recording.prepared_v = now_v
                self._close_row(job_id, recording)
                self._open_rows[job_id] = Row(step, values, now_v, grader_tokens)
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
            case Broken(code, text):
                self._close_row(job_id, recording)
                whose = (
                    "The job failed due to an internal error." if code == "internalFailure" else "Training failed."
                )
                recording.problem, recording.finished_v = {"code": code, "message": f"{whose} {text}"}, now_v

    def _close_row(self, job_id: str, recording: Recording) -> None:
        """Record the last step once it is known whether it ended an epoch; so a checkpoint is never overlooked."""
        row = self._open_rows.pop(job_id, None)
        if row and row.step == len(recording.rows) + 1:
            recording.rows.append(row)
            self.store.append("row", job_id, row.step, astuple(row))


def _harms(training: Path, safety: Safety) -> tuple[list[str], list[str]]:
    """For which harm types the data, and a model trained on it, will be refused."""
    try:
        return (
            examples.words_found(training, safety["data"]),
            examples.words_found(training, safety["model"]),
        )
    except OSError:  # deleted together with its job
        return [], []


def _file_problem(path: Path, param: str, least: int, method: Method) -> dict[str, str] | None:
    role = param.removesuffix("_file")
    try:
        examples.check(path, least, method)
    except examples.BadFile as bad:
        message = f"Validation of the {role} file failed. {bad.message}"
        return {"code": bad.code, "message": message, "param": param}
    except OSError:  # deleted together with its job
        return {"code": "notFound", "message": f"The {role} file could not be read.", "param": param}
    return None
