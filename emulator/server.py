"""Puts the emulator together and serves it over HTTP; holds no rule of Azure."""

import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from emulator import (
    arm,
    chat,
    copies,
    deployments,
    files,
    grading,
    imports,
    jobs,
    levers,
    models,
    offers,
    portal,
    uploads,
    webhooks,
)
from emulator.faults import Faults
from emulator.gate import CuttableProtocol, Gate, RequestLog
from emulator.settings import Settings
from emulator.wire import Refusal, form_of, refuse
from emulator.world import World

DATA_PLANES = ("/openai/v1", "/openai", "/api/projects/{project}/openai/v1")
"""Where the data plane stands: the v1 form, the dated form, and v1 below a Foundry project."""


def create_app(settings: Settings) -> FastAPI:
    """The whole emulator as one application.

    Under a server other than `serve` everything works but the faults that cut connections.
    """
    world = World(settings)
    faults, log = Faults(), RequestLog(settings.log_requests)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        world.start()
        imports.take_up(world)
        app.state.voice.warm()
        postman = webhooks.Postman(world)
        postman.start()
        yield
        postman.close()
        world.close()

    app = FastAPI(title="Azure OpenAI emulator", lifespan=life, openapi_url=None, redirect_slashes=False)
    app.state.world, app.state.faults, app.state.log = world, faults, log
    app.state.voice = chat.Voice(settings.cache.expanduser())
    for prefix in DATA_PLANES:
        for room in (files, imports, uploads, jobs, copies, grading, models, chat, webhooks):
            app.include_router(room.router, prefix=prefix)
    for room in (arm, deployments, offers, levers, portal):
        app.include_router(room.router)
    app.include_router(webhooks.levers)
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Gate, faults=faults, log=log, accounts=world.accounts)
    return app


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101  registered for Refusal only
    return refuse(form_of(request.url.path), error)


async def _on_http(request: Request, error: Exception) -> Response:
    """A path or method nobody serves."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    words = {404: "Resource not found", 405: "The method is not allowed for the requested URL."}
    return refuse(form_of(request.url.path), Refusal(status, str(status), words.get(status, "Bad request")))


async def _on_invalid(request: Request, error: Exception) -> Response:
    return refuse(form_of(request.url.path), Refusal(400, "invalidPayload", f"The request is not valid: {error}"))


async def _on_fault(request: Request, _error: Exception) -> Response:
    """A fault of the emulator itself; the server logs it."""
    message = "The emulator failed on this request. Its log says why."
    return refuse(form_of(request.url.path), Refusal(500, "internalFailure", message))


_HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    Refusal: _on_refusal,
    HTTPException: _on_http,
    RequestValidationError: _on_invalid,
    Exception: _on_fault,
}


class _Server(uvicorn.Server):
    """uvicorn, announcing on stdout where it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            sys.stdout.write(f"emulator listening on http://{host}:{port}\n")
            sys.stdout.flush()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; training processes end with it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    config = uvicorn.Config(
        create_app(settings),
        http=CuttableProtocol,
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, server.handle_exit)
    with listener:
        server.run(sockets=[listener])
