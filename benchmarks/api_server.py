"""The service as `kitae api` runs it, with two raw routes beside it in the same process to compare with.

    python benchmarks/api_server.py DATA_DIR   (KITAE_DATABASE_URL in the environment)

`/raw/hello` is an answer of Starlette and nothing else; `/raw/jobs/{id}` reads the columns that a job is answered
with, by psycopg without SQLAlchemy, and writes them with orjson. Neither knows keys, ids of requests, logs,
measures or ETags. Prints the port once it listens.
"""

import socket
import sys
from pathlib import Path
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.rows import AsyncRowFactory, dict_row
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.bootstrap import open_workbench
from app.http.server import make_server
from app.kit.logging import set_up_logging
from app.main import create_app
from app.settings import Settings

ROW = """
    SELECT id, connection_id, base_model, method, training_type, training_version_id, validation_version_id,
           hyperparameters, suffix, seed, metadata, status, status_changed_at, cancel_requested_at, attempt,
           remote_id, remote_status, remote_seen_at, fine_tuned_model, trained_tokens, estimated_finish_at,
           started_at, finished_at, error, parked_reason, last_error, plan #>> '{estimate,expected_usd}', cost_usd,
           created_at, updated_at
    FROM jobs WHERE id = %s
"""


class RawDriver:
    """One row by psycopg; as many connections as requests come at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[AsyncConnection[dict[str, Any]]] = []

    async def job(self, request: Request) -> Response:
        if self._idle:
            connection = self._idle.pop()
        else:
            rows: AsyncRowFactory[dict[str, Any]] = dict_row
            connection = await AsyncConnection.connect(self._url, autocommit=True, row_factory=rows)
        row = await (await connection.execute(ROW, (request.path_params["job"],))).fetchone()
        self._idle.append(connection)
        return Response(orjson.dumps(row, default=str), media_type="application/json")


async def hello(_request: Request) -> Response:
    return PlainTextResponse("hello")


def beside(service: ASGIApp, raw: ASGIApp) -> ASGIApp:
    """Both in one process: what begins with /raw goes to the one, everything else to the other."""

    async def both(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = raw if scope.get("path", "").startswith("/raw/") else service
        await chosen(scope, receive, send)

    return both


def main() -> None:
    settings = Settings(
        _env_file=None, data_dir=Path(sys.argv[1]), key_requests_per_second=100_000
    )  # one key asks it all
    set_up_logging(level=settings.log_level, as_json=settings.log_json)
    assert settings.database_url is not None
    driver = RawDriver(settings.database_url.get_secret_value())
    raw = Starlette(routes=[Route("/raw/hello", hello), Route("/raw/jobs/{job}", driver.job)])
    with (
        open_workbench(settings, pool_size=settings.api_threads // 2) as bench,
        socket.socket() as listener,
    ):
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = make_server(create_app(settings, bench), host="127.0.0.1", port=0)
        server.config.app = beside(server.config.app, raw)  # type: ignore[arg-type]  # uvicorn takes a name, too
        print(f"listening on {listener.getsockname()[1]}", flush=True)
        server.run(sockets=[listener])


if __name__ == "__main__":
    main()
