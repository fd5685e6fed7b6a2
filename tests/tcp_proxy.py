"""A TCP proxy on this machine that spoils what passes through it, as a network would.

    with proxied("127.0.0.1", 5432) as line:
        connect("127.0.0.1", line.port)
        line.down = Spoiled(bytes_per_second=10)  # from now on; `up` is what the client sends
        line.cut()                                # every connection ends at once

It knows no protocol. Where it splits bytes and what it does to them depends on the order of its settings only.
"""

import contextlib
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

PIECE_BYTES: Final = 65_536
POLL_SECONDS: Final = 0.02
"""How soon a held connection notices that it may go on, or that the proxy closes."""
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with 0 seconds: closing sends RST instead of FIN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoiled:
    """What happens to the bytes of one direction of each connection. As it stands, nothing."""

    latency_seconds: float = 0.0
    """Every piece waits so long."""
    jitter_seconds: float = 0.0
    """Up to so much more, by chance."""
    bytes_per_second: float | None = None
    blackhole: bool = False
    """Bytes are taken and never passed on; the connection stays open."""
    cut_after: int | None = None
    """The connection is closed (FIN, both ways) once so many bytes have passed."""
    reset_after: int | None = None
    """The connection is reset (RST, both ways) once so many bytes have passed; 0 = before the first."""
    flip_at: int | None = None
    """One bit of the byte at this place is turned over."""


class Ended(Exception):
    """The spoiling says that the connection ends here."""


@dataclass
class Line:
    """A proxied address. Its settings may be changed at any time and hold for open connections, too."""

    host: str
    port: int
    up: Spoiled = field(default_factory=Spoiled)
    """From the client to the server."""
    down: Spoiled = field(default_factory=Spoiled)
    """From the server to the client."""
    refuse: bool = False
    """New connections are reset as soon as they are made."""
    accepted: int = 0
    passed_up: int = 0
    passed_down: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    _pairs: "set[Pair]" = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closing: threading.Event = field(default_factory=threading.Event)

    @property
    def open_connections(self) -> int:
        return len(self._pairs)

    def heal(self) -> None:
        """Everything passes as it is."""
        self.up = self.down = Spoiled()
        self.refuse = False

    def cut(self, *, reset: bool = False) -> int:
        """End every open connection; how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            pair.end(reset=reset)
        return len(pairs)


class Pair:
    """One connection and its continuation to the server."""

    def __init__(self, line: Line, client: socket.socket, server: socket.socket) -> None:
        self._line = line
        self.client = client
        self.server = server
        self._passed = {"up": 0, "down": 0}
        self._over = threading.Event()

    def run(self) -> None:
        """Carry bytes until both sides have closed, or the line ends the connection."""
        threads = [
            threading.Thread(target=self._carry, args=arguments, daemon=True)
            for arguments in (("up", self.client, self.server), ("down", self.server, self.client))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.end()

    def end(self, *, reset: bool = False) -> None:
        self._over.set()
        for end in (self.client, self.server):
            if reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            else:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _carry(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := self._receive(source):
                while piece:
                    room = self._room(way)
                    self._pass_on(way, piece[:room], sink)
                    piece = piece[room:]
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        except Ended as how:
            self.end(reset=str(how) == "reset")
        except (OSError, ValueError):
            self.end()  # the other side has gone, or somebody cut the line

    def _rule(self, way: str) -> Spoiled:
        return self._line.up if way == "up" else self._line.down

    def _room(self, way: str) -> int:
        """How much passes at once: up to the place where something happens, a tenth of a second's worth."""
        rule, room = self._rule(way), PIECE_BYTES
        for limit in (rule.cut_after, rule.reset_after):
            if limit is not None:
                room = min(room, limit - self._passed[way])
        if rule.bytes_per_second is not None:
            room = min(room, max(1, int(rule.bytes_per_second / 10)))
        return max(1, room)

    def _receive(self, source: socket.socket) -> bytes:
        while not self._over.is_set() and not self._line._closing.is_set():
            if select.select([source], [], [], POLL_SECONDS)[0]:
                return source.recv(PIECE_BYTES)
        return b""

    def _pass_on(self, way: str, piece: bytes, sink: socket.socket) -> None:
        rule = self._rule(way)
        self._end_where_it_says(rule, way)
        pause = rule.latency_seconds + self._line.chance.uniform(0, rule.jitter_seconds)
        if rule.bytes_per_second is not None:
            pause += len(piece) / rule.bytes_per_second
        self._wait(pause)
        while self._rule(way).blackhole:
            self._wait(POLL_SECONDS)
        if rule.flip_at is not None and 0 <= rule.flip_at - self._passed[way] < len(piece):
            at = rule.flip_at - self._passed[way]
            piece = piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
        sink.sendall(piece)
        self._passed[way] += len(piece)
        if way == "up":
            self._line.passed_up += len(piece)
        else:
            self._line.passed_down += len(piece)
        self._end_where_it_says(rule, way)

    def _end_where_it_says(self, rule: Spoiled, way: str) -> None:
        for limit, how in ((rule.cut_after, "cut"), (rule.reset_after, "reset")):
            if limit is not None and self._passed[way] >= limit:
                raise Ended(how)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if self._over.wait(min(left, POLL_SECONDS)) or self._line._closing.is_set():
                raise OSError("the line was cut")


@contextmanager
def proxied(host: str, port: int = 0, *, path: str | None = None) -> Iterator[Line]:
    """A line to this server, on a free port of 127.0.0.1.

    Args:
        path: of a Unix socket, instead of host and port.
    """

    def reach() -> socket.socket:
        if path is None:
            return socket.create_connection((host, port), timeout=5)
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
        return server

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        listener.settimeout(POLL_SECONDS)
        line = Line("127.0.0.1", int(listener.getsockname()[1]))
        accepting = threading.Thread(target=_accept, args=(line, listener, reach), daemon=True)
        accepting.start()
        try:
            yield line
        finally:
            line._closing.set()
            line.cut()
            accepting.join()


def _accept(line: Line, listener: socket.socket, reach: Callable[[], socket.socket]) -> None:
    while not line._closing.is_set():
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        line.accepted += 1
        try:
            if line.refuse:
                raise ConnectionRefusedError
            server = reach()
        except OSError:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            continue
        client.settimeout(None)
        server.settimeout(None)
        pair = Pair(line, client, server)
        threading.Thread(target=_keep, args=(line, pair), daemon=True).start()


def _keep(line: Line, pair: Pair) -> None:
    with line._lock:
        line._pairs.add(pair)
    try:
        pair.run()
    finally:
        with line._lock:
            line._pairs.discard(pair)
