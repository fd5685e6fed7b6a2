"""Training beside the server: processes that learn as fast as they can, and threads that carry what they measured.

It knows jobs only as tasks; what becomes public, and when, is not its matter.
"""

import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from emulator import examples, graders
from emulator.catalogue import Method
from emulator.results import LOSSES


@dataclass(frozen=True, slots=True)
class Task:
    """One training: files, hyperparameters (None = auto) and the seed that makes it repeatable."""

    id: str
    training: Path
    validation: Path | None
    parent: Path | None
    n_epochs: int | None
    batch_size: int | None
    learning_rate_multiplier: float
    seed: int
    method: Method = "supervised"
    beta: float | None = None
    grader: Mapping[str, Any] = field(default_factory=dict)
    compute_multiplier: float = 1.0
    eval_interval: int | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The files were read and automatic hyperparameters chosen; `epoch_tokens` is what one epoch is billed as."""

    n_epochs: int
    batch_size: int
    epoch_tokens: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One step: what was measured, under Azure's names, and the tokens that graders took."""

    step: int
    values: dict[str, float]
    total_steps: int
    grader_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EpochDone:
    epoch: int
    step: int
    model: bytes


@dataclass(frozen=True, slots=True)
class Warned:
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    billed_tokens: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Training ended without a model: because of the file (`invalidPayload`) or by a fault of the emulator."""

    code: str
    message: str


Message = Prepared | Measured | EpochDone | Warned | Finished | Broken
Listener = Callable[[str, list[Message]], None]


class Training:
    """A fixed number of processes, each with a thread that feeds it and hands on what it says.

    `listener(task_id, messages)` is called from those threads, in order for each task.
    """

    def __init__(self, workers: int, cache: Path, listener: Listener) -> None:
        self._cache, self._listener = cache, listener
        self._tasks: queue.Queue[Task | None] = queue.Queue()
        self._unwanted: set[str] = set()
        self._processes: list[Any] = []
        self._closing = threading.Event()
        for number in range(workers):
            threading.Thread(target=self._feed, name=f"training-{number}", daemon=True).start()

    def submit(self, task: Task) -> None:
        self._unwanted.discard(task.id)
        self._tasks.put(task)

    def stop(self, task_id: str) -> None:
        """Give up a task at its next step, or before it begins."""
        self._unwanted.add(task_id)

    def close(self) -> None:
        """End every process at once."""
        self._closing.set()
        for process in self._processes:
            process.kill()

    def _start(self) -> tuple[Any, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._cache), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        return process, ours

    def _feed(self) -> None:
        process, connection = self._start()
        while not self._closing.is_set():
            task = self._tasks.get()
            if task is None:
                return
            if task.id in self._unwanted:
                continue
            try:
                self._follow(task, connection)
            except (EOFError, OSError):  # the process died
                if self._closing.is_set():
                    return
                process.kill()
                self._processes.remove(process)
                self._listener(task.id, [Broken("internalFailure", "The training process ended unexpectedly.")])
                process, connection = self._start()

    def _follow(self, task: Task, connection: Connection) -> None:
        connection.send(task)
        stopped = False
        while True:
            if not stopped and task.id in self._unwanted:
                connection.send("stop")
                stopped = True
            if not connection.poll(0.1):
                continue
            messages: list[Message] = [connection.recv()]
            while not _is_last(messages[-1]) and connection.poll(0):
                messages.append(connection.recv())
            self._listener(task.id, messages)
            if _is_last(messages[-1]):
                return


def _is_last(message: Message) -> bool:
    return isinstance(message, Finished | Broken)


def serve(connection: Connection, cache: Path) -> None:
    """The life of a training process: build the learner once, then train task after task until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from emulator.learning import Learner

    try:
        learner = Learner(cache)
        while True:
            task = connection.recv()
            if isinstance(task, Task):
                _train(learner, task, connection)
    except (EOFError, OSError):  # the server is gone
        return


def _train(learner: Any, task: Task, connection: Connection) -> None:
    def should_stop() -> bool:
        return connection.poll(0) and connection.recv() == "stop"

    try:
        training = list(examples.read(task.training, examples.LEAST_EXAMPLES, task.method))
        validation = list(examples.read(task.validation, 1, task.method)) if task.validation else None
        lesson = Lesson(learner, task, training, validation, connection.send, should_stop)
        billed_tokens = lesson.give()
    except (EOFError, BrokenPipeError):
        raise
    except ValueError as error:  # a sound file from which nothing can be learned
        connection.send(Broken("invalidPayload", str(error)))
    except Exception as error:  # noqa: BLE001  the door of a process: one broken task must not end the others
        connection.send(Broken("internalFailure", f"{type(error).__name__}: {error}"))
    else:
        connection.send(Finished(billed_tokens))


@dataclass(frozen=True, slots=True)
class Lesson:
    """One task on its way through the learner; `send` takes what is measured."""

    learner: Any
    task: Task
    training: list[dict[str, Any]]
    validation: list[dict[str, Any]] | None
    send: Callable[[Message], None]
    should_stop: Callable[[], bool]

    def give(self) -> int:
        """Train.

        Returns: the tokens that are billed; none for reinforcement, which is billed by the hour.
        """
        from emulator.learning import Hyperparameters, auto_batch_size, auto_epochs
        from emulator.learning.conversations import file_tokens

        task = self.task
        hyperparameters = Hyperparameters(
            n_epochs=task.n_epochs or auto_epochs(len(self.training)),
            batch_size=task.batch_size or auto_batch_size(len(self.training)),
            learning_rate_multiplier=task.learning_rate_multiplier,
            seed=task.seed,
        )
        self.send(Prepared(hyperparameters.n_epochs, hyperparameters.batch_size, file_tokens(self.training)))
        parent = task.parent.read_bytes() if task.parent else None
        if task.method == "reinforcement":
            self._reward(hyperparameters, parent)
            return 0
        given: dict[str, Any] = {
            "parent": parent,
            "on_step": self._on_step,
            "on_epoch": self._on_epoch,
            "should_stop": self.should_stop,
            "on_warning": lambda message: self.send(Warned(message)),
        }
        if task.method == "dpo":
            beta = DEFAULT_BETA if task.beta is None else task.beta
            return int(self.learner.fit_preferences(self.training, self.validation, hyperparameters, beta, **given))
        return int(self.learner.fit(self.training, self.validation, hyperparameters, **given))

    def _on_epoch(self, epoch: int, step: int, model: bytes) -> None:
        self.send(EpochDone(epoch, step, model))

    def _on_step(self, row: Any, total_steps: int) -> None:
        measured = (
            row.train_loss,
            row.train_accuracy,
            row.valid_loss,
            row.valid_accuracy,
            row.full_valid_loss,
            row.full_valid_accuracy,
        )
        values = {name: value for name, value in zip(LOSSES, measured, strict=True) if value is not None}
        self.send(Measured(row.step, values, total_steps))

    def _reward(self, hyperparameters: Any, parent: bytes | None) -> None:
        """Train by what the job's grader says of sampled answers."""
        from emulator.learning import Rehearsal

        validation = self.validation or []
        jury = Jury(self.task.grader, self._ask)
        group = max(2, round(4 * self.task.compute_multiplier))

        def on_step(row: Any, total_steps: int) -> None:
            values = {
                "train_mean_reward": row.mean_reward,
                "completion_tokens_mean": row.completion_tokens,
                "reasoning_tokens_mean": 0.0,
                **jury.errors(),
            }
            if row.valid_mean_reward is not None:
                values["full_valid_mean_reward"] = row.valid_mean_reward
            self.send(Measured(row.step, values, total_steps, jury.tokens))
            jury.clear()

        self.learner.fit_rewards(
            self.training,
            validation,
            hyperparameters,
            Rehearsal(proposals(self.training), group, eval_interval=self.task.eval_interval),
            grade=lambda number, text: jury.reward(self.training[number], text),
            grade_validation=lambda number, text: jury.reward(validation[number], text),
            parent=parent,
            on_step=on_step,
            on_epoch=self._on_epoch,
            should_stop=self.should_stop,
        )

    def _ask(self, _model: str, messages: list[dict[str, Any]]) -> tuple[str, int]:
        """A judge is the base model, whatever its name."""
        reply = self.learner.reply(None, messages, max_tokens=64)
        return reply.text, reply.prompt_tokens + reply.completion_tokens


@dataclass(slots=True)
class Jury:
    """A grader at work, counting since the last `clear` what it could not grade."""

    grader: Mapping[str, Any]
    ask: graders.Asker
    tokens: int = 0
    graded: int = 0
    unresponsive: int = 0
    unparsed: int = 0
    other: int = 0

    def reward(self, item: Mapping[str, Any], text: str) -> float:
        """The reward of an answer. Every member of the example is the grader's `item`."""
        found = graders.grade(self.grader, text, item, self.ask)
        self.graded += 1
        self.tokens += sum(found.tokens.values())
        self.unparsed += "sample_parse_error" in found.errors
        self.other += bool(set(found.errors) - {"sample_parse_error"})
        self.unresponsive += bool(found.errors)
        return found.reward

    def errors(self) -> dict[str, float]:
        return {
            "mean_unresponsive_rewards": self.unresponsive / max(1, self.graded),
            "train_sample_parse_error_count": float(self.unparsed),
            "train_other_error_count": float(self.other),
        }

    def clear(self) -> None:
        self.tokens = self.graded = self.unresponsive = self.unparsed = self.other = 0


PROPOSAL_CHARACTERS = 80


def proposals(training: list[dict[str, Any]]) -> list[str]:
    """Short strings and numbers of the examples' own members, as answers worth trying."""
    found: dict[str, None] = {}
    for example in training:
        for name, value in example.items():
            plain = isinstance(value, str | int | float) and not isinstance(value, bool)
            if name != "messages" and plain and 0 < len(str(value)) <= PROPOSAL_CHARACTERS:
                found[str(value)] = None
    return list(found)


DEFAULT_BETA = 0.1
"""Source: Microsoft's fine-tuning notes, methods, 2026-08."""
