"""The relay: not a byte changed, whatever passes; exchanges all the same."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from tests.support.capture import PATIENCE, Capture, ask, capturing, model_server, start_client

STREAMS = 240


class RawServer:
    """Answers what a connection's first 8 bytes ask for: that many random bytes of that seed, after all input."""

    def __init__(self) -> None:
        self.received: dict[int, str] = {}
        self.resets: list[str] = []
        self.sockets = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self.sockets.getsockname()[1])

    def serve(self) -> None:
        with ThreadPoolExecutor(16) as pool:
            while True:
                try:
                    client, _ = self.sockets.accept()
                except OSError:
                    return
                pool.submit(self._answer, client)

    def _answer(self, client: socket.socket) -> None:
        with client:
            client.settimeout(PATIENCE)
            try:
                data = b"".join(iter(lambda: client.recv(65_536), b""))
            except ConnectionResetError:
                self.resets.append("client")
                return
            seed, size = struct.unpack("!II", data[:8])
            if size == 0xFFFFFFFF:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            self.received[seed] = hashlib.sha256(data).hexdigest()
            send_in_pieces(client, random_bytes(seed, size), seed)


def random_bytes(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def send_in_pieces(out: socket.socket, data: bytes, seed: int) -> None:
    pick = random.Random(seed)
    while data:
        size = pick.choice((1, 100, 1460, 9_000, 65_536, 400_000, len(data)))
        out.sendall(data[:size])
        data = data[size:]


@contextmanager
def raw_server() -> Iterator[RawServer]:
    server = RawServer()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.sockets.shutdown(socket.SHUT_RDWR)
        server.sockets.close()
        thread.join(PATIENCE)


@contextmanager
def relaying(port: int, *argv: str) -> Iterator[tuple[Capture, int]]:
    with capturing("--source", "relay", "--ports", str(port), *argv) as capture:
        address = capture.live().relay or ""
        yield capture, int(address.rpartition(":")[2])


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def exchange_bytes(port: int, seed: int, head: bytes) -> tuple[str, bytes]:
    """What was sent (as a hash) and what came back. Half closes, as only a byte stream that is kept apart allows."""
    pick = random.Random(seed)
    sent = head + random_bytes(seed + 1, int(10 ** pick.uniform(0, 5.5)))
    with connected(port) as out:
        send_in_pieces(out, sent, seed)
        out.shutdown(socket.SHUT_WR)
        return hashlib.sha256(sent).hexdigest(), b"".join(iter(lambda: out.recv(65_536), b""))


def test_hundreds_of_random_streams_pass_unchanged_in_both_directions() -> None:
    sizes = {seed: int(10 ** random.Random(seed).uniform(0, 6)) - 1 for seed in range(STREAMS)}
    with raw_server() as server, relaying(server.port) as (capture, port):
        with ThreadPoolExecutor(8) as pool:
            heads = {seed: struct.pack("!II", seed, size) for seed, size in sizes.items()}
            results = dict(
                zip(sizes, pool.map(lambda s: exchange_bytes(port, s, heads[s]), sizes), strict=True)
            )
        assert capture.process.poll() is None
    assert {seed: sent for seed, (sent, _) in results.items()} == server.received
    wrong = [seed for seed, (_, got) in results.items() if got != random_bytes(seed, sizes[seed])]
    assert wrong == []


def _is_calm(relay: psutil.Process) -> bool | None:
    """True once the relay works no more: all buffers on the way are full."""
    before = relay.cpu_times()
    time.sleep(0.3)
    after = relay.cpu_times()
    return after.user + after.system - before.user - before.system < 0.05 or None


def test_a_slow_reader_gets_everything_and_the_relay_stays_small() -> None:
    size = 24_000_000
    with raw_server() as server, relaying(server.port) as (capture, port), connected(port) as out:
        relay = psutil.Process(capture.process.pid)
        before = relay.memory_info().rss
        out.sendall(struct.pack("!II", 5, size))
        out.shutdown(socket.SHUT_WR)
        got = bytearray(out.recv(1000))
        capture.until(lambda: _is_calm(relay), "calm")
        grown = relay.memory_info().rss - before
        while piece := out.recv(1 << 20):
            got += piece
    assert bytes(got) == random_bytes(5, size)
    assert grown < size // 2


def test_a_reset_by_the_server_reaches_the_client() -> None:
    with raw_server() as server, relaying(server.port) as (_, port), connected(port) as out:
        out.sendall(struct.pack("!II", 1, 0xFFFFFFFF))
        out.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError):
            out.recv(10)


def test_a_reset_by_the_client_reaches_the_server() -> None:
    with raw_server() as server, relaying(server.port) as (capture, port):
        out = connected(port)
        out.sendall(b"12345678")
        # The bytes have come through once the server's end of the relay is open.
        relay = psutil.Process(capture.process.pid)
        capture.until(
            lambda: any(c.raddr and c.raddr[1] == server.port for c in relay.net_connections()) or None, "way"
        )
        out.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        out.close()
        capture.until(lambda: server.resets or None, "reset")
    assert server.resets == ["client"]


def test_a_server_that_is_not_there_resets_the_client() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with relaying(port) as (_, relay), connected(relay) as out, pytest.raises(ConnectionResetError):
        out.recv(10)


def test_the_relay_listens_on_loopback_only() -> None:
    with relaying(9) as (capture, port):
        listening = [c for c in psutil.Process(capture.process.pid).net_connections() if c.status == "LISTEN"]
    assert [tuple(c.laddr) for c in listening] == [("127.0.0.1", port)]


def test_each_port_has_its_relay_and_all_are_named() -> None:
    with capturing("--source", "relay", "--ports", "9,10") as capture:
        status = capture.live()
        listening = [c for c in psutil.Process(capture.process.pid).net_connections() if c.status == "LISTEN"]
    assert len(listening) == 2
    for connection in listening:
        assert f"127.0.0.1:{connection.laddr[1]} → " in (status.message or "")


def test_exchanges_through_the_relay_run_end_and_name_their_client() -> None:
    with model_server() as server, relaying(server.port) as (capture, port):
        server.go_on.clear()
        with start_client(port, "/api/generate", NIGHTDESK_RUN="r-3", NIGHTDESK_ITEM="x.mp3") as client:
            running = capture.exchange("/api/generate", "running")
            server.go_on.set()
            said, _ = client.communicate(timeout=PATIENCE)
        ended = capture.exchange("/api/generate", "complete")
    assert ended.id == running.id
    assert ended.text == said == server.text
    assert ended.process is not None and ended.process.pid == client.pid
    assert (ended.run, ended.item) == ("r-3", "x.mp3")
    assert ended.server_addr == f"127.0.0.1:{server.port}"


def test_a_kept_connection_carries_several_exchanges() -> None:
    with model_server() as server, relaying(server.port) as (capture, port):
        ask(port, "/one", "/two", "/three")
        third = capture.exchange("/three", "complete")
    assert third.position == 3


def test_a_wished_port_that_is_taken_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        capture = Capture("--source", "relay", "--ports", "9", "--relay-port", str(port))
        assert capture.end() == 1
    assert f"The relay can't listen on 127.0.0.1:{port}" in (capture.statuses()[-1].message or "")
