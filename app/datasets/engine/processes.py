"""Has other processes take a share of the batches of a file; the outcome is the same, whoever takes which.

Must not know what is told of a batch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ctypes import c_char
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

from app.datasets.engine.glance import IsSound
from app.datasets.engine.lines import Lines
from app.datasets.engine.report import Tokenizer
from app.datasets.engine.tallies import Tally, Tallying

PROCESSES_MAX: Final = 4
"""That help one another with a file; what one of them does for all would keep more waiting."""
WORTH_BYTES: Final = 48_000_000
"""Of a file from which on a second process is worth its beginning: a second, where it cannot be forked."""
SLOTS: Final = 2
"""Batches given to a process at a time: one that it looks at, one for then."""
SLOT_BYTES: Final = 4 * 1024 * 1024
"""A larger batch, with a very long line in it, stays here."""
WAITING_MAX: Final = 3 * SLOTS
"""Batches held for each other process until those before them are told."""
ENDING_SECONDS: Final = 5.0


def processes_for(size: int) -> int:
    """How many should check a file of so many bytes, where one person waits for it on a machine of their own."""
    if size < WORTH_BYTES:
        return 1
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(PROCESSES_MAX, cores)


class Asked(NamedTuple):
    """How a batch is to be told, as `Tallying.tally` takes it."""

    skip: int
    with_answers: bool


@dataclass(slots=True)
class _Batch:
    lines: Lines
    asked: Asked | None
    tally: Tally | None = None
    taker: Helper | None = None
    """Who looks at it at the moment, if somebody else does."""


class Helper:
    """Another process, which ends with this one at the latest. If it dies, its share is done here."""

    def __init__(self, tallying: Tallying) -> None:
        self._tallying = tallying
        forks = may_fork()
        context = get_context("fork") if forks else get_context("spawn")
        memory = context.RawArray(c_char, SLOTS * SLOT_BYTES)
        self._memory = memoryview(memory).cast("B")
        self._free = list(range(SLOTS))
        self._taken: deque[tuple[_Batch, int]] = deque()
        self._connection, there = context.Pipe()
        self._is_there = True
        self._is_ready = False
        inherited = self._connection if forks else None
        arguments = (there, inherited, memory, tallying.tokenizer, tallying.is_sound)
        self._process = context.Process(target=_help, args=arguments, daemon=True, name="kitae-check")
        self._process.start()
        there.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def is_there(self) -> bool:
        """It is not known to have died."""
        return self._is_there

    @property
    def has_room(self) -> bool:
        """It has begun, and could take a batch."""
        return self._is_ready and bool(self._free)

    def takes(self, batch: _Batch) -> bool:
        """Whether it takes the batch now: it has begun, and has room for it."""
        raw = batch.lines.raw
        while self._is_there and (self._taken or not self._is_ready) and self._connection.poll():
            self.receive()
        if not self.has_room or not 0 < len(raw) <= SLOT_BYTES:
            return False
        start = self._free.pop() * SLOT_BYTES
        self._memory[start : start + len(raw)] = raw
        batch.taker = self
        self._taken.append((batch, start // SLOT_BYTES))
        with suppress(OSError):  # it has died, as the next to wait for it will learn
            self._connection.send((start, len(raw), batch.lines.ends, batch.lines.line_bytes_max, batch.asked))
        return True

    def receive(self) -> None:
        """Waits for what it says next."""
        try:
            said = self._connection.recv()
        except (EOFError, OSError):
            self._is_there = self._is_ready = False
            while self._taken:
                batch, _ = self._taken.popleft()
                batch.tally, batch.taker = _tallied(batch, self._tallying), None
            return
        if said is None:
            self._is_ready = True
            return
        batch, slot = self._taken.popleft()
        batch.tally, batch.taker = said, None
        self._free.append(slot)

    def close(self) -> None:
        """Ends it; what it has taken is not waited for."""
        self._connection.close()
        self._process.terminate()
        self._process.join(ENDING_SECONDS)


@contextmanager
def helping(tallying: Tallying, count: int) -> Iterator[Sequence[Helper]]:
    """So many other processes; they tell what `tallying` would."""
    with ExitStack() as stack:
        helpers = []
        for _ in range(count):
            helpers.append(Helper(tallying))
            stack.callback(helpers[-1].close)
        yield helpers


def in_order(
    batches: Iterable[Lines], tallying: Tallying, helpers: Sequence[Helper], ask: Callable[[], Asked | None]
) -> Iterator[tuple[Lines, Tally | None]]:
    """Each batch with what is told of it, in their order.

    Args:
        ask: how the batch that comes next is to be told; None = not at all.
    """
    waiting: deque[_Batch] = deque()
    for lines in batches:
        batch = _Batch(lines, ask())
        if not any(helper.takes(batch) for helper in helpers if batch.asked is not None):
            batch.tally = _tallied(batch, tallying)
        waiting.append(batch)
        while waiting and (waiting[0].taker is None or len(waiting) > WAITING_MAX * len(helpers)):
            yield _answered(waiting.popleft())
    while waiting:
        yield _answered(waiting.popleft())


def _tallied(batch: _Batch, tallying: Tallying) -> Tally | None:
    if batch.asked is None:
        return None
    return tallying.tally(batch.lines, skip=batch.asked.skip, with_answers=batch.asked.with_answers)


def _answered(batch: _Batch) -> tuple[Lines, Tally | None]:
    while batch.taker is not None:
        batch.taker.receive()
    return batch.lines, batch.tally


def may_fork() -> bool:
    """Whether a copy of this process can go on: no other thread holds a lock that nobody would give back.

    It has the tokenizer at once, where a new process needs a second to load it.
    """
    return sys.platform == "linux" and threading.active_count() == 1


def _help(
    connection: Connection, inherited: Connection | None, memory: Any, tokenizer: Tokenizer, is_sound: IsSound
) -> None:
    """What a helper does.

    Args:
        inherited: the other end of the line, which a fork has too, and must not keep open when its owner dies.
    """
    if inherited is not None:
        inherited.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the process that is helped ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tallying = Tallying(tokenizer, is_sound)
    content = memoryview(memory).cast("B")
    with suppress(EOFError, OSError):  # the other process has ended
        connection.send(None)
        while True:
            start, size, ends, line_bytes_max, asked = connection.recv()
            lines = Lines(bytes(content[start : start + size]), ends, line_bytes_max)
            connection.send(tallying.tally(lines, skip=asked.skip, with_answers=asked.with_answers))
