"""The proxy that spoils connections does what it says, and nothing to those it does not."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from lives import until
from tcp_proxy import Line, Spoiled, proxied


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that says everything back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)
        over = threading.Event()

        def answer(peer: socket.socket) -> None:
            with peer:
                try:
                    while piece := peer.recv(65_536):
                        peer.sendall(piece)
                except OSError:
                    return

        def serve() -> None:
            while not over.is_set():
                try:
                    peer, _ = listener.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=answer, args=(peer,), daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.fixture
def line(echo: int) -> Iterator[Line]:
    with proxied("127.0.0.1", echo) as opened:
        yield opened


@pytest.fixture
def peer(line: Line) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as opened:
        yield opened


def connect_and_read(line: Line) -> bytes:
    with socket.create_connection(("127.0.0.1", line.port), timeout=10) as peer:
        return peer.recv(1)


def exactly(peer: socket.socket, count: int) -> bytes:
    held = b""
    while len(held) < count and (piece := peer.recv(count - len(held))):
        held += piece
    return held


def test_an_unspoiled_line_changes_nothing(line: Line, peer: socket.socket) -> None:
    sent = bytes(range(256)) * 4_000
    writing = threading.Thread(target=peer.sendall, args=(sent,))
    writing.start()
    assert exactly(peer, len(sent)) == sent
    writing.join()
    until(lambda: True if line.passed_up == line.passed_down == len(sent) else None)


def test_latency_and_jitter_delay_each_way(line: Line, peer: socket.socket) -> None:
    line.up = Spoiled(latency_seconds=0.1)
    line.down = Spoiled(latency_seconds=0.1, jitter_seconds=0.01)
    began = time.monotonic()
    peer.sendall(b"x")
    assert exactly(peer, 1) == b"x"
    assert time.monotonic() - began >= 0.2


def test_a_rate_is_kept(line: Line, peer: socket.socket) -> None:
    line.down = Spoiled(bytes_per_second=100)
    began = time.monotonic()
    peer.sendall(b"x" * 30)
    assert len(exactly(peer, 30)) == 30
    assert time.monotonic() - began >= 0.29


def test_a_black_hole_takes_everything_and_gives_it_back_when_it_heals(line: Line, peer: socket.socket) -> None:
    line.down = Spoiled(blackhole=True)
    peer.sendall(b"hello")
    peer.settimeout(0.2)
    with pytest.raises(TimeoutError):
        peer.recv(1)
    line.heal()
    peer.settimeout(10)
    assert exactly(peer, 5) == b"hello"


def test_a_cut_comes_after_exactly_so_many_bytes(line: Line, peer: socket.socket) -> None:
    line.down = Spoiled(cut_after=7)
    peer.sendall(b"0123456789")
    assert exactly(peer, 10) == b"0123456"


@pytest.mark.parametrize("after", [0, 3])
def test_a_reset_is_no_orderly_end(line: Line, peer: socket.socket, after: int) -> None:
    line.up = Spoiled(reset_after=after)
    peer.sendall(b"0123456789")
    with pytest.raises(ConnectionResetError):
        exactly(peer, 10)
    assert line.passed_up == after


def test_one_bit_is_turned_over(line: Line, peer: socket.socket) -> None:
    line.up = Spoiled(flip_at=2)
    peer.sendall(b"aaaa")
    assert exactly(peer, 4) == b"aa`a"


def test_open_connections_can_be_cut_and_new_ones_refused(line: Line, peer: socket.socket) -> None:
    peer.sendall(b"x")
    assert exactly(peer, 1) == b"x"
    assert line.cut() == 1
    assert peer.recv(1) == b""
    line.refuse = True
    with pytest.raises(ConnectionResetError):
        connect_and_read(line)
    until(lambda: True if line.open_connections == 0 else None)
