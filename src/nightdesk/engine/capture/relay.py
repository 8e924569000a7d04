"""A TCP relay in front of each model server, for systems on which no packets can be had.

Bytes are forwarded first and recorded afterwards; nothing is changed, held back or added. Half-closed connections stay
half closed, resets are passed on, and a slow reader slows its writer down. A fault in the recording ends the recording
of that connection only. The relay listens on the loopback address and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import struct
import sys
import time
from itertools import groupby
from operator import itemgetter
from typing import Literal

from nightdesk.engine.capture.ending import Ending
from nightdesk.engine.capture.recorder import Recorder
from nightdesk.model.errors import CaptureError
from nightdesk.model.exchange import CaptureStatus

Direction = Literal["request", "response"]

HOST = "127.0.0.1"
CANCELLED = "Ended from Nightdesk: the relay closed the connection."
NOT_HERE = "Exchange {} does not run through the relay (any more); nothing was closed."
SERVER_HOSTS = ("127.0.0.1", "::1")
"""Where the model server is looked for, in this order."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset."""
JOURNAL_SECONDS = 0.02
"""Much longer than a small request takes, too short to be seen on the screen."""
JOURNAL_BYTES = 1 << 20
TICK_SECONDS = 0.1
STATUS_SECONDS = 5.0


class Connection:
    """One client, its connection to the server, and the copy for the recorder."""

    def __init__(self, number: int, port: int, journal: Journal) -> None:
        self.number = number
        self.port = port
        self.recorder: Recorder | None = journal.recorder
        self._journal = journal
        self._addresses = ("", "")

    def begin(self, client: socket.socket) -> None:
        """Take note of both ends: the client is looked up while it surely lives."""
        peer, here = client.getpeername(), client.getsockname()
        self._addresses = (f"{peer[0]}:{peer[1]}", f"{HOST}:{self.port}")
        if self.recorder:
            self.recorder.owners.foresee(self._addresses[0], f"{here[0]}:{here[1]}", self._addresses[1])

    def record(self, direction: Direction, data: bytes) -> None:
        """Note a copy of what has been forwarded."""
        if self.recorder:
            self._journal.add(self, direction, data)

    def ended(self, direction: Direction) -> None:
        """Note that no more will come in this direction."""
        if self.recorder:
            self._journal.add(self, direction, b"")

    def write_down(self, direction: Direction, times: list[int], pieces: list[bytes]) -> None:
        """Record what was noted; no bytes mean the end of the direction."""
        recorder = self.recorder
        if recorder is None:
            return
        assembler = recorder.assembler
        try:
            if pieces[0]:
                recorder.take(assembler.feed_pieces(self.number, *self._addresses, direction, times, pieces))
            else:
                recorder.take(assembler.close_bytes(self.number, direction, times[0]))
        except Exception:  # noqa: BLE001 - whatever the recording stumbles over, the user's traffic goes on
            self.recorder = None
            recorder.troubled = (
                f"Recording of connection {self.number} ended by a fault; it is still relayed."
            )


class Journal:
    """What was forwarded and is still to be recorded, so that no client waits for the recording."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._entries: list[tuple[Connection, Direction, bool, int, bytes]] = []
        self._size = 0

    def add(self, connection: Connection, direction: Direction, data: bytes) -> None:
        """Note bytes, or an end. They are recorded a moment later, or now if that would be too much to keep."""
        if not self._entries:
            asyncio.get_running_loop().call_later(JOURNAL_SECONDS, self.write_down)
        self._entries.append((connection, direction, bool(data), time.time_ns(), data))
        self._size += len(data)
        if self._size > JOURNAL_BYTES:
            self.write_down()

    def write_down(self) -> None:
        """Record everything noted so far, in its order."""
        entries, self._entries, self._size = self._entries, [], 0
        for (connection, direction, _), group in groupby(entries, itemgetter(0, 1, 2)):
            alike = list(group)
            times, pieces = [entry[3] for entry in alike], [entry[4] for entry in alike]
            connection.write_down(direction, times, pieces)


class Side(asyncio.Protocol):
    """One of the two ends of a connection. What it hears goes to ``peer``."""

    def __init__(self, connection: Connection, direction: Direction) -> None:
        self.connection = connection
        self.direction: Direction = direction
        self.transport: asyncio.Transport | None = None
        self.peer: Side | None = None
        self._has_ended = False
        self._has_left = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to this end."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Forward, then record. What nobody is there to read any more is no part of the exchange."""
        peer = self.peer
        if peer and peer.transport:
            peer.transport.write(data)
            if peer.has_left():
                return
        self.connection.record(self.direction, data)

    def has_left(self) -> bool:
        """Whether this end, which had closed its side, refused what was sent to it: it does not read either."""
        if self._has_ended and not self._has_left and self.transport:
            end = self.transport.get_extra_info("socket")
            # On the loopback interface the refusal is there as soon as the bytes are sent.
            self._has_left = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
        return self._has_left

    def eof_received(self) -> bool:
        """Pass the end of this direction on; the other direction stays open."""
        self._has_ended = True
        peer = self.peer
        if peer and peer.transport:
            if peer._has_ended:
                peer.transport.close()
                if self.transport:
                    self.transport.close()
            else:
                peer.transport.write_eof()
        self.connection.ended(self.direction)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end the way this one was closed."""
        self.transport = None
        peer = self.peer
        if peer and peer.transport:
            if exc is not None:
                peer.reset()
            else:
                peer.transport.close()
        if not self._has_ended:
            self._has_ended = True
            self.connection.ended(self.direction)

    def pause_writing(self) -> None:
        """Stop reading from the other end: this one is slow."""
        if self.peer and self.peer.transport:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other end again."""
        if self.peer and self.peer.transport:
            self.peer.transport.resume_reading()

    def reset(self) -> None:
        """Break the connection off, as the other side did."""
        if self.transport:
            with contextlib.suppress(OSError):
                self.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET
                )
            self.transport.abort()


class ClientSide(Side):
    """The client's end: opens the way to the server before it reads."""

    def __init__(
        self, connection: Connection, tasks: asyncio.TaskGroup, opened: dict[int, ClientSide]
    ) -> None:
        super().__init__(connection, "request")
        self._tasks = tasks
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, but read nothing until the server is reached."""
        super().connection_made(transport)
        assert self.transport
        self.transport.pause_reading()
        try:
            self.connection.begin(transport.get_extra_info("socket"))
        except OSError:
            # It was gone before it was taken.
            self.transport.abort()
            return
        self._opened[self.connection.number] = self
        self._tasks.create_task(self._reach(), name=f"relay.{self.connection.number}")

    def connection_lost(self, exc: Exception | None) -> None:
        """As for both ends; then it can't be cancelled any more."""
        self._opened.pop(self.connection.number, None)
        super().connection_lost(exc)

    def cancel(self) -> None:
        """Break off both ends. The client is noted first: for the server it is the client that left."""
        if not self._has_ended:
            self._has_ended = True
            self.connection.ended("request")
        self.reset()
        if self.peer:
            self.peer.reset()

    async def _reach(self) -> None:
        server = Side(self.connection, "response")
        server.peer = self
        for host in SERVER_HOSTS:
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().create_connection(lambda: server, host, self.connection.port)
                break
        if server.transport is None or self.transport is None:
            # The server refuses, or the client has left meanwhile.
            self.reset()
            server.reset()
            return
        self.peer = server
        self.transport.resume_reading()


class Relays:
    """All relays of this process: one for each port."""

    def __init__(self, ports: tuple[int, ...], first_port: int, recorder: Recorder) -> None:
        self.ports = ports
        self.addresses: list[str] = []
        self.connections = 0
        self._first_port = first_port
        self._recorder = recorder
        self._opened: dict[int, ClientSide] = {}
        self.journal = Journal(recorder)

    async def listen(self, tasks: asyncio.TaskGroup) -> list[asyncio.Server]:
        """Open the listening sockets. Raises CaptureError where the wished port is taken."""
        servers: list[asyncio.Server] = []
        for position, port in enumerate(self.ports):
            wished = 0 if position else self._first_port
            server = await self._open(wished, port, tasks)
            own = server.sockets[0].getsockname()
            self.addresses.append(f"{own[0]}:{own[1]}")
            servers.append(server)
        return servers

    async def _open(self, wished: int, port: int, tasks: asyncio.TaskGroup) -> asyncio.Server:
        def accept() -> ClientSide:
            self.connections += 1
            return ClientSide(Connection(self.connections, port, self.journal), tasks, self._opened)

        try:
            return await asyncio.get_running_loop().create_server(accept, HOST, wished)
        except OSError as fault:
            raise CaptureError(
                f"The relay can't listen on {HOST}:{wished}: {fault.strerror}.",
                "Set relay_port under [capture] to a free port, or to 0.",
            ) from fault

    def cancel(self, exchange: int) -> bool:
        """Close the connection of a running exchange, on both sides; False where it is none of ours."""
        self.journal.write_down()
        number = self._recorder.assembler.relayed(exchange, CANCELLED)
        client = self._opened.get(number) if isinstance(number, int) else None
        if client is None:
            return False
        client.cancel()
        return True

    def status(self, lacks: str) -> CaptureStatus:
        """The state line. Its counter counts connections, as there are no packets."""
        pairs = ", ".join(f"{a} → {p}" for a, p in zip(self.addresses, self.ports, strict=True))
        opened = (
            f"Only what is sent through the relay is seen ({pairs}). Jobs of this desk go through it; "
            f"for other scripts set OLLAMA_HOST={self.addresses[0]}."
        )
        words = [opened, self._recorder.troubled, lacks]
        return CaptureStatus(
            state="live",
            source="relay",
            interface=HOST,
            ports=self.ports,
            packets=self.connections,
            dropped=0,
            message="\n".join(word for word in words if word),
            relay=self.addresses[0],
        )


def run_relays(
    ports: tuple[int, ...], first_port: int, lacks: str, recorder: Recorder, ending: Ending
) -> None:
    """Relay until told to end; connections that are still open are then closed."""
    # They can wait on standard input whatever it is, unlike epoll; only poll knows more than 1,024 descriptors.
    selector = selectors.PollSelector if sys.platform == "linux" else selectors.SelectSelector
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector())) as runner:
        runner.run(_relay(Relays(ports, first_port, recorder), lacks, recorder, ending))


async def _relay(relays: Relays, lacks: str, recorder: Recorder, ending: Ending) -> None:
    try:
        async with asyncio.TaskGroup() as tasks:
            servers = await relays.listen(tasks)
            try:
                await _report(relays, lacks, recorder, ending)
            finally:
                for server in servers:
                    server.close()
                relays.journal.write_down()
    except BaseExceptionGroup as group:
        # The first fault is the reason; it is what the user reads.
        raise group.exceptions[0] from group


async def _report(relays: Relays, lacks: str, recorder: Recorder, ending: Ending) -> None:
    """Print what was recorded, and the state now and then, until the end."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def look(ready: int) -> None:
        ending.look([ready])
        for exchange in ending.cancelled():
            if not relays.cancel(exchange):
                recorder.status(relays.status(NOT_HERE.format(exchange)))
        recorder.absorb()
        recorder.flush()
        if ending.asked:
            over.set()

    for descriptor in ending.wait_on:
        loop.add_reader(descriptor, look, descriptor)
    report_at = 0.0
    while not over.is_set():
        if loop.time() >= report_at:
            recorder.status(relays.status(lacks))
            report_at = loop.time() + STATUS_SECONDS
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), TICK_SECONDS)
        recorder.tick()
        recorder.flush()
