"""What a command does to the database itself, and not through the API, is recorded as done at this desk."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from app.kit.deeds import Deed, doing
from app.workbench import INSTALLATION


@contextmanager
def on_this_machine(command: str) -> Iterator[None]:
    """Changes inside are this account's, by `kitae COMMAND`."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        account = f"uid {os.getuid()}"
    deed = Deed(
        actor_kind="cli",
        actor_id=f"{account}@{socket.gethostname()}",
        operation=f"kitae {command}",
        chain=INSTALLATION,
    )
    with doing(deed):
        yield
