"""Turns what the sources give into the lines that the capture process prints."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from nightdesk.core.capture.bursts import Burst
from nightdesk.core.capture.exchanges import Assembler, CaptureEvent, ConnectionOpened
from nightdesk.engine.capture.lives import Owner
from nightdesk.engine.capture.owners import Owners
from nightdesk.model.exchange import CaptureStatus, Exchange, ExchangeGrew, ExchangeSeen, capture_encoder
from nightdesk.model.process import ProcessRef

OWN_AGENT = "nightdesk/"
"""Requests of the engine itself begin their User-Agent like this; nobody wants to see them."""
HOLD_SECONDS = 0.5
"""The first lines of a connection wait this long for the name of its process, usually one or two milliseconds."""
NAMELESS = 4096
"""Connections of which it is remembered why their process is unknown."""


@dataclass(slots=True)
class _Waiting:
    """A new connection whose process is being looked up."""

    until: float
    events: list[ExchangeSeen | ExchangeGrew] = field(default_factory=list)


class Recorder:
    """Owns the assembler and the output. All methods belong to one thread."""

    def __init__(self, assembler: Assembler, owners: Owners, output: int = 1) -> None:
        self.assembler = assembler
        self.owners = owners
        self.troubled = ""
        """One sentence about connections whose recording ended by a fault."""
        self._output = output
        self._lines: list[bytes] = []
        self._ours: set[int] = set()
        self._waiting: dict[int, _Waiting] = {}
        self._held: dict[int, int] = {}
        self._servers: dict[str, ProcessRef] = {}
        self._nameless: dict[int, str] = {}

    def packets(self, bursts: Iterable[Burst]) -> None:
        """Record bursts of packets."""
        self.take(self.assembler.feed_bursts(bursts))

    def take(self, events: Iterable[CaptureEvent]) -> None:
        """Keep the lines of these events for the next flush, and ask who opened new connections."""
        for event in events:
            match event:
                case ConnectionOpened():
                    self._waiting[event.connection] = _Waiting(time.monotonic() + HOLD_SECONDS)
                    self.owners.ask(event.connection, event.client_addr, event.server_addr)
                case ExchangeSeen():
                    if waiting := self._waiting.get(event.exchange.connection):
                        waiting.events.append(event)
                        self._held[event.exchange.id] = event.exchange.connection
                    else:
                        self._print(event)
                case ExchangeGrew():
                    if event.id in self._held:
                        self._waiting[self._held[event.id]].events.append(event)
                    else:
                        self._print(event)

    def absorb(self) -> None:
        """Put the owners found since the last call to their exchanges."""
        for connection, owner, address, server, reason in self.owners.answers():
            if server is not None:
                self._servers[address] = server
            if reason:
                self._note(connection, reason)
            updates: list[CaptureEvent] = []
            if owner:
                updates = self.assembler.attribute(connection, owner.process, owner.run, owner.item)
            if connection in self._waiting:
                self._release(connection, owner)
            # Also then: they hold the text that had come since the last report.
            self.take(updates)

    def tick(self) -> None:
        """Let out what is due by time."""
        self.absorb()
        self.take(self.assembler.tick(time.time_ns()))
        now = time.monotonic()
        for connection in [c for c, waiting in self._waiting.items() if waiting.until <= now]:
            self._release(connection, None)

    def status(self, status: CaptureStatus) -> None:
        """Print a state line at once."""
        self._lines.append(capture_encoder.encode(status))
        self.flush()

    def flush(self) -> None:
        """Write all kept lines. Raises BrokenPipeError when nobody reads them."""
        if not self._lines:
            return
        waiting = memoryview(b"\n".join([*self._lines, b""]))
        self._lines.clear()
        while waiting:
            waiting = waiting[os.write(self._output, waiting) :]

    def finish(self) -> None:
        """End all exchanges that are still open, and print them."""
        self.absorb()
        for connection in list(self._waiting):
            self._release(connection, None)
        self.take(self.assembler.finish(time.time_ns()))
        self.flush()

    def _release(self, connection: int, owner: Owner | None) -> None:
        """Print what a connection held back, with its owner."""
        for event in self._waiting.pop(connection).events:
            if isinstance(event, ExchangeSeen):
                self._held.pop(event.exchange.id, None)
                self._print(_named(event, owner) if owner else event)
            else:
                self._print(event)

    def _print(self, event: ExchangeSeen | ExchangeGrew) -> None:
        if isinstance(event, ExchangeSeen):
            is_ours = _is_ours(event.exchange)
            self._remember(event.exchange, is_ours)
            if server := self._servers.get(event.exchange.server_addr):
                event = ExchangeSeen(exchange=msgspec.structs.replace(event.exchange, server_process=server))
            if reason := self._nameless.get(event.exchange.connection):
                event = _explained(event, reason)
        else:
            is_ours = event.id in self._ours
        if not is_ours:
            self._lines.append(capture_encoder.encode(event))

    def _note(self, connection: int, reason: str) -> None:
        """Keep why nobody knows the client of a connection."""
        self._nameless[connection] = reason
        if len(self._nameless) > NAMELESS:
            del self._nameless[next(iter(self._nameless))]

    def _remember(self, exchange: Exchange, is_ours: bool) -> None:
        if is_ours and exchange.state == "running":
            self._ours.add(exchange.id)
        else:
            self._ours.discard(exchange.id)


def _named(event: ExchangeSeen, owner: Owner) -> ExchangeSeen:
    exchange = msgspec.structs.replace(event.exchange, process=owner.process, run=owner.run, item=owner.item)
    return ExchangeSeen(exchange=exchange)


def _explained(event: ExchangeSeen, reason: str) -> ExchangeSeen:
    unknown = {**event.exchange.unknown, "process": reason}
    return ExchangeSeen(exchange=msgspec.structs.replace(event.exchange, unknown=unknown))


def _is_ours(exchange: Exchange) -> bool:
    if exchange.request_headers:
        agent = next((v for k, v in exchange.request_headers if k.lower() == "user-agent"), "")
        return agent.startswith(OWN_AGENT)
    # Where no headers are recorded, the process tells: the engine is our parent.
    return exchange.process is not None and exchange.process.pid == os.getppid()
