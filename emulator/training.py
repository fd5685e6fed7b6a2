"""Training beside the server: processes that learn as fast as they can, and threads that carry what they measured.

It knows jobs only as tasks; what becomes public, and when, is not its matter.
"""

import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from emulator import examples


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """The files were read and automatic hyperparameters chosen; `epoch_tokens` is what one epoch is billed as."""

    n_epochs: int
    batch_size: int
    epoch_tokens: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One step; the fields of `learning.StepRow` in its order."""

    row: tuple[int, float, float, float | None, float | None, float | None, float | None]
    total_steps: int


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
    from emulator.learning import Hyperparameters, StepRow, auto_batch_size, auto_epochs
    from emulator.learning.conversations import file_tokens

    def should_stop() -> bool:
        return connection.poll(0) and connection.recv() == "stop"

    def on_step(row: StepRow, total_steps: int) -> None:
        values = (
            row.step,
            row.train_loss,
            row.train_accuracy,
            row.valid_loss,
            row.valid_accuracy,
            row.full_valid_loss,
            row.full_valid_accuracy,
        )
        connection.send(Measured(values, total_steps))

    try:
        training = list(examples.read(task.training, examples.LEAST_EXAMPLES))
        validation = list(examples.read(task.validation, 1)) if task.validation else None
        hyperparameters = Hyperparameters(
            n_epochs=task.n_epochs or auto_epochs(len(training)),
            batch_size=task.batch_size or auto_batch_size(len(training)),
            learning_rate_multiplier=task.learning_rate_multiplier,
            seed=task.seed,
        )
        connection.send(Prepared(hyperparameters.n_epochs, hyperparameters.batch_size, file_tokens(training)))
        billed_tokens = learner.fit(
            training,
            validation,
            hyperparameters,
            parent=task.parent.read_bytes() if task.parent else None,
            on_step=on_step,
            on_epoch=lambda epoch, step, model: connection.send(EpochDone(epoch, step, model)),
            should_stop=should_stop,
            on_warning=lambda message: connection.send(Warned(message)),
        )
    except (EOFError, BrokenPipeError):
        raise
    except ValueError as error:  # a sound file from which nothing can be learned
        connection.send(Broken("invalidPayload", str(error)))
    except Exception as error:  # noqa: BLE001  the door of a process: one broken task must not end the others
        connection.send(Broken("internalFailure", f"{type(error).__name__}: {error}"))
    else:
        connection.send(Finished(billed_tokens))
