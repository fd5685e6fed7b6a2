"""Asks a server over many connections for a few seconds, each sending its next request when the last is answered.

    python benchmarks/load.py HOST PORT < plan.json

The plan is {"targets": [path and query, …], "headers": {…}, "connections": 16, "seconds": 3}; targets are taken in
turn. Prints one JSON object: requests, statuses, seconds, and the latencies' p50 and p99 in milliseconds.
"""

import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httptools
import orjson
import uvloop


class Caller(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float], statuses: Counter[int]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._statuses = statuses
        self._sent_at = 0.0
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._statuses[self._parser.get_status_code()] += 1
        if not self._transport.is_closing():
            self._ask()


async def load(host: str, port: int, plan: dict[str, object]) -> dict[str, object]:
    targets, headers = plan["targets"], plan["headers"]
    assert isinstance(targets, list)
    assert isinstance(headers, dict)
    head = "".join(f"{name}: {value}\r\n" for name, value in {"host": f"{host}:{port}", **headers}.items())
    requests = itertools.cycle([f"GET {target} HTTP/1.1\r\n{head}\r\n".encode() for target in targets])
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    calls = [
        await loop.create_connection(lambda: Caller(requests, latencies, statuses), host, port)
        for _ in range(int(str(plan["connections"])))
    ]
    await asyncio.sleep(float(str(plan["seconds"])))
    seconds = time.perf_counter() - began
    for transport, _ in calls:
        transport.abort()
    latencies.sort()
    return {
        "requests": len(latencies),
        "statuses": {str(status): count for status, count in statuses.items()},
        "seconds": seconds,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }


if __name__ == "__main__":
    found = uvloop.run(load(sys.argv[1], int(sys.argv[2]), orjson.loads(sys.stdin.buffer.read())))
    sys.stdout.buffer.write(orjson.dumps(found) + b"\n")
