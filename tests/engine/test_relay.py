"""The relay: not a byte changed, whatever passes; exchanges all the same."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from nightdesk.model.exchange import ExchangeGrew, ExchangeSeen
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


BLOCK = random.Random(9).randbytes(1 << 20)
MANY_STREAMS = 10_000
AT_ONCE = 24


class Plan:
    """One stream of many: what passes in which direction, in which cuts, and how it ends."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed)
        self.up, self.down = (self._part(pick) for _ in range(2))
        self.end = pick.choice(("client closes its half", "server closes", "client resets", "server resets"))
        self.seed = seed
        self.at_server, self.at_client = bytearray(), bytearray()

    def _part(self, pick: random.Random) -> bytes:
        size = int(10 ** pick.uniform(0, 3.3 if pick.random() < 0.99 else 5.5))
        begin = pick.randrange(len(BLOCK) - size)
        return BLOCK[begin : begin + size]

    async def send(self, writer: asyncio.StreamWriter, data: bytes, side: str) -> None:
        """In random cuts; a reset comes after some part."""
        pick = random.Random(f"{self.seed} {side}")
        limit = pick.randrange(len(data) + 1) if self.end == f"{side} resets" else len(data)
        place = 0
        while place < limit:
            size = min(pick.choice((1, 100, 1460, 9_000, 70_000)), limit - place)
            writer.write(data[place : place + size])
            place += size
            await (writer.drain() if pick.random() < 0.7 else asyncio.sleep(0))
        if self.end == f"{side} resets":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        elif side == "server" or self.end == "client closes its half":
            writer.write_eof()

    def check(self) -> str | None:
        """What went wrong."""
        parts = ((self.up, self.at_server, "up"), (self.down, self.at_client, "down"))
        for sent, got, way in parts:
            if not sent.startswith(got) or (len(got) != len(sent) and not self.end.endswith("resets")):
                return f"{self.seed} {self.end}: {way} {len(got)} of {len(sent)}"
        return None


RESET = struct.pack("ii", 1, 0)


async def _both(plan: Plan, side: str, writer: asyncio.StreamWriter, reading: Awaitable[None]) -> None:
    """Send and read at the same time, until both are done or the connection is reset."""
    data = plan.up if side == "client" else plan.down
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(plan.send(writer, data, side))
            tasks.create_task(_until_reset(reading))
    except* OSError:
        pass
    finally:
        writer.close()


async def _until_reset(reading: Awaitable[None]) -> None:
    with contextlib.suppress(OSError):
        await reading


async def _pass_many(open_relay: Callable[[int], int]) -> list[str]:
    """Streams through the relay that ``open_relay`` puts before a port; returns what went wrong."""
    plans = {seed: Plan(seed) for seed in range(MANY_STREAMS)}
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            plan = plans[int.from_bytes(await reader.readexactly(4), "big")]
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return
        wanted = len(plan.up) if plan.end == "server closes" else None
        await _both(plan, "server", writer, _collect_some(reader, plan.at_server, wanted))

    async def ask(port: int, plan: Plan, places: asyncio.Semaphore) -> None:
        async with places:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(plan.seed.to_bytes(4, "big"))
            await _both(plan, "client", writer, _collect_some(reader, plan.at_client, None))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = await asyncio.to_thread(open_relay, server.sockets[0].getsockname()[1])
    places = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(ask(port, plan, places) for plan in plans.values()))
    server.close()
    await asyncio.wait_for(asyncio.gather(*(task for task in serving if task)), PATIENCE)
    # Transports close in the next rounds of the loop.
    await asyncio.sleep(0.1)
    return [fault for plan in plans.values() if (fault := plan.check())]


async def _collect_some(reader: asyncio.StreamReader, into: bytearray, wanted: int | None) -> None:
    while wanted is None or len(into) < wanted:
        piece = await reader.read(1 << 16)
        if not piece:
            return
        into += piece


def test_ten_thousand_random_streams_pass_unchanged_however_they_end() -> None:
    with contextlib.ExitStack() as open_things:

        def open_relay(port: int) -> int:
            capture, relay = open_things.enter_context(relaying(port))
            found.append(capture)
            return relay

        found: list[Capture] = []
        faults = asyncio.run(_pass_many(open_relay))
        assert found[0].process.poll() is None
    assert faults == []


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


@pytest.mark.parametrize(("reads_on", "state"), [(False, "aborted"), (True, "failed")])
def test_an_error_is_a_failure_only_for_a_client_that_is_still_there_to_read_it(
    reads_on: bool, state: str
) -> None:
    body = b'{"model":"m","prompt":"p"}'
    request = b"POST /api/generate HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    error = b'{"error":"context canceled"}'
    answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: %d\r\n\r\n%s" % (len(error), error)

    def serve(listening: socket.socket) -> None:
        taken, _ = listening.accept()
        with taken:
            while taken.recv(65_536):
                pass
            taken.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve, args=(listening,))
        server.start()
        with relaying(listening.getsockname()[1]) as (capture, port):
            with connected(port) as client:
                client.sendall(request)
                capture.exchange("/api/generate", "running")
                if reads_on:
                    client.shutdown(socket.SHUT_WR)
                    assert b"".join(iter(lambda: client.recv(65_536), b"")) == answer
            ended = capture.exchange("/api/generate", state)
        server.join(PATIENCE)
    assert (ended.aborted_by, ended.error) == ((None, "context canceled") if reads_on else ("client", None))


def test_a_cancelled_exchange_ends_for_the_client_for_the_server_and_on_the_record() -> None:
    with model_server() as server, relaying(server.port) as (capture, port):
        server.go_on.clear()
        with start_client(port, "/api/generate") as client:
            running = capture.exchange("/api/generate", "running")
            half = len(server.words) // 2
            capture.until(lambda: _grown(capture, running.id) == "".join(server.words[:half]) or None, "half")
            say(capture, {"cancel": running.id})
            ended = capture.exchange("/api/generate", "aborted")
            client.communicate(timeout=PATIENCE)
        assert client.returncode != 0
        server.go_on.set()
        assert ask(port, "/after")[1] == server.text
        assert capture.exchange("/after", "complete").state == "complete"
    assert ended.id == running.id
    assert ended.text == "".join(server.words[:half])
    assert ended.aborted_by == "client"
    assert "Ended from Nightdesk" in (ended.note or "")


def test_an_exchange_that_is_not_there_can_not_be_cancelled_and_that_is_said() -> None:
    with relaying(9) as (capture, _):
        say(capture, {"cancel": 77})
        say(capture, {"cancel": "x"}, {"other": 1}, "nothing")
        said = capture.until(
            lambda: next((s.message for s in capture.statuses() if "Exchange 77" in (s.message or "")), None),
            "answer",
        )
    assert "Exchange 77 does not run through the relay (any more); nothing was closed." in said.splitlines()


def say(capture: Capture, *commands: object) -> None:
    """Tell the capture process, as the engine does."""
    assert capture.process.stdin
    for command in commands:
        capture.process.stdin.write(json.dumps(command).encode() + b"\n")
    capture.process.stdin.flush()


def _grown(capture: Capture, number: int) -> str:
    """The text as somebody who follows the lines has it."""
    text = ""
    for line in list(capture.lines):
        if isinstance(line, ExchangeSeen) and line.exchange.id == number:
            text = line.exchange.text
        elif isinstance(line, ExchangeGrew) and line.id == number:
            text += line.text
    return text
