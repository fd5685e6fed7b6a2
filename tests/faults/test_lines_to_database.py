"""The line between our processes and PostgreSQL: dead, slow, jittering, reset."""

import os
import socket
from pathlib import Path
from typing import Any

import psycopg
import pytest
from crew import NOWHERE
from invariants_hold import assert_invariants
from lives import until
from nursery import Nursery
from servers import Postgres
from standing import line_to, standing
from tcp_proxy import Spoiled

from app.kit.db import make_engine

pytestmark = pytest.mark.fault


@pytest.mark.row(18)
def test_a_line_to_the_database_that_goes_dead_is_given_up_by_the_kernel_in_time(postgres: Postgres) -> None:
    with postgres.database() as database_url, line_to(database_url) as (_line, through):
        engine = make_engine(through, pool_size=1)
        with engine.connect() as connection:
            raw: Any = connection.connection.dbapi_connection
            peer = socket_of(raw)
            assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            peer.close()
        engine.dispose()


def socket_of(connection: psycopg.Connection[Any]) -> socket.socket:
    return socket.socket(fileno=os.dup(connection.pgconn.socket))


@pytest.mark.row(18)
def test_a_slow_and_jittering_line_to_the_database_only_makes_it_slow(
    postgres: Postgres, nursery: Nursery, emulator_url: str, tmp_path: Path
) -> None:
    with (
        postgres.database() as database_url,
        line_to(database_url) as (line, through),
        standing(nursery, database_url, NOWHERE, emulator_url, tmp_path) as made,
    ):
        line.up = Spoiled(latency_seconds=0.002, jitter_seconds=0.004)
        line.down = Spoiled(latency_seconds=0.002, jitter_seconds=0.004)
        job = made.life.job(made.connection, made.training)
        worker = made.crew.begin(database_url=through)
        until(
            lambda: True if made.life.read(job).status in {"queued", "running", "collecting", "succeeded"} else None
        )
        line.cut(reset=True)
        worker.wait(90)
        line.heal()
        made.crew.finish(database_url=through)
        made.ended(job)
        assert_invariants(made.bench, emulator_url)
