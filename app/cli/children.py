"""Child processes of the laptop mode: they end with us, also when we are killed. It knows no service."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.cli.exits import Told

PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""
STOP_SECONDS: Final = 8.0
"""How long a child may take to end before it is killed."""

_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@contextmanager
def child(
    command: Sequence[str],
    *,
    log: Path,
    stop_with: signal.Signals = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    read_stdout: bool = False,
    directory: Path | None = None,
    stop_seconds: float = STOP_SECONDS,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process until the context ends. Start it from the main thread: its life is tied to that thread's.

    It gets a session of its own, so that Ctrl-C in the terminal reaches us first and we end things in order. On
    Linux the kernel sends it `stop_with` when we die; elsewhere the next start takes care of what was left.

    Args:
        log: file for its stderr, and for its stdout where nobody reads that.
        user: account to run as, when we are root.
    """

    def tie() -> None:
        if _libc is not None:
            _libc.prctl(PR_SET_PDEATHSIG, int(stop_with))
            if os.getppid() != parent:
                os._exit(1)

    parent = os.getpid()
    with log.open("ab") as errors:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if read_stdout else errors,
            stderr=errors,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            preexec_fn=tie,  # noqa: PLW1509  no thread of ours is running yet, and there is no other way to say it
            user=user,
            group=user,
            extra_groups=[] if user else None,
            cwd="/" if user else directory,
        )
    try:
        yield process
    finally:
        stop(process, stop_with, seconds=stop_seconds)
        if process.stdout is not None:
            process.stdout.close()


def stop(
    process: "subprocess.Popen[bytes]",
    with_signal: signal.Signals = signal.SIGTERM,
    *,
    seconds: float = STOP_SECONDS,
) -> None:
    """Ask it to end, wait, and kill it if it does not."""
    if process.poll() is not None:
        return
    process.send_signal(with_signal)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_words(log: Path, *, lines: int = 8) -> str:
    """The end of a log, for telling why something did not start."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def first_line(process: "subprocess.Popen[bytes]", marker: str) -> str | None:
    """What follows `marker` in the first line of its stdout that has it; None when it ends before."""
    for line in process.stdout or ():
        _, found, rest = line.decode(errors="replace").partition(marker)
        if found:
            return rest.strip()
    return None


def never_ran(what: str, log: Path) -> Told:
    """For a child that ended before it was ready."""
    words = last_words(log)
    return Told(f"{what} did not start." + (f" Its last words:\n{words}" if words else ""), hint=f"See {log}.")
