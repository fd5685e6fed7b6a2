"""The server process: uvicorn, told to end open streams when it is told to stop."""

import threading
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI, Request

GRACE_SECONDS: Final = 20
"""How long requests under way may take after SIGTERM; orchestrators kill after 30."""
KEEP_ALIVE_SECONDS: Final = 65
"""Longer than the 60 s after which common load balancers drop an idle connection, so that they close first."""


class Stopping:
    """Whether the process was told to stop. Streams look at it between two looks at the log."""

    def __init__(self) -> None:
        self._told = threading.Event()

    def tell(self) -> None:
        self._told.set()

    def __bool__(self) -> bool:
        return self._told.is_set()


def stopping(request: Request) -> Stopping:
    told: Stopping = request.app.state.stopping
    return told


class Server(uvicorn.Server):
    """uvicorn waits for open streams for ever; here the first signal also ends them."""

    def __init__(self, config: uvicorn.Config, told: Stopping) -> None:
        super().__init__(config)
        self._told = told

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the signal handler."""
        self._told.tell()
        super().handle_exit(sig, frame)


def make_server(app: FastAPI, *, host: str, port: int) -> Server:
    """A server for this app; `run()` blocks until SIGTERM or SIGINT. Logging stays as the process set it up."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )
    return Server(config, app.state.stopping)
