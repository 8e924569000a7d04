"""Sends recorded requests again, and puts what comes back into the book of exchanges.

Only to a configured model server on the loopback address, one request after another for each server. The bytes of
both directions go through the same core as captured ones. The capture leaves these connections out, because their
User-Agent is Nightdesk's; a replay has no job, no run and no item, and names the exchange it repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from nightdesk import __version__
from nightdesk.core.capture.exchanges import Assembler, CaptureEvent
from nightdesk.core.inspection.replays import (
    body_for,
    check_request,
    headers_for,
    recorded_body,
    request_bytes,
)
from nightdesk.engine.traffic import TrafficBook
from nightdesk.model.config import CaptureSection
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.exchange import Exchange, ExchangeGrew, ExchangeSeen
from nightdesk.model.inspection import OfferedModel, Replay, ReplayRequest

logger = logging.getLogger(__name__)

AGENT = f"nightdesk/{__version__}"
MODELS_MOST = 32
WAITING_MOST = 64
"""Replays that may wait for their turn."""
CONNECT_SECONDS = 5.0
TICK_SECONDS = 0.1
"""Text that came is shown at least this often."""
ANSWER_SECONDS = 3.0
LIST_LIMIT = 4_000_000
READ_BYTES = 65_536


@dataclass(slots=True)
class _Sending:
    """One replay, waiting or in work."""

    number: int
    """Below 0: how the book knows it."""
    id: int
    original: Exchange
    address: str
    data: bytes
    note: str | None
    task: asyncio.Task[None] | None = None
    is_cancelled: bool = False


class Replays:
    """All replays of this engine. Used from the event loop; :meth:`run` sends them."""

    def __init__(
        self,
        book: TrafficBook,
        capture: Callable[[], CaptureSection],
        record_of: Callable[[str], str],
    ) -> None:
        self._book = book
        self._capture = capture
        self._record_of = record_of
        self._numbers = itertools.count(1)
        self._known: dict[int, _Sending] = {}
        self._queue: asyncio.Queue[_Sending] = asyncio.Queue()
        self._turns: dict[str, asyncio.Lock] = {}

    async def run(self) -> None:
        """Send what is asked for until cancelled; then close what is open."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                sending = await self._queue.get()
                if sending.id in self._known:
                    sending.task = tasks.create_task(self._take_turn(sending), name=f"replay.{sending.id}")

    def begin(self, original: Exchange, request: ReplayRequest) -> Replay:
        """Queue the replays; returns their ids at once. Raises UsageError for what can't be sent again."""
        check_request(original)
        self.check_server(original.server_addr)
        if len(request.models) > MODELS_MOST:
            raise UsageError(
                f"{len(request.models)} models at once are too many; {MODELS_MOST} is the limit."
            )
        if len(self._known) + max(1, len(request.models)) > WAITING_MOST:
            raise UsageError(
                f"{len(self._known)} replays are waiting already.", "Wait for them, or cancel some."
            )
        recorded = recorded_body(original) if request.body is None else None
        bodies = [body_for(recorded, request.body, model) for model in request.models or (None,)]
        sendings, masked = [], list[str]()
        for body in bodies:
            headers, masked = headers_for(original, len(body), AGENT, original.server_addr)
            assert original.path
            sendings.append(self._admit(original, request_bytes(original.path, headers, body), masked))
        return Replay(of=original.id, exchanges=tuple(s.id for s in sendings), left_out=tuple(masked))

    def check_server(self, address: str) -> None:
        """Raises UsageError unless ``address`` is a model server of this desk on the loopback address."""
        host, port = _split(address)
        try:
            is_here = ipaddress.ip_address(host).is_loopback
        except ValueError:
            is_here = False
        if not is_here or port not in self._capture().ports:
            ports = ", ".join(map(str, self._capture().ports))
            raise UsageError(
                f"Nothing is sent to {address}: it is not a model server of this desk.",
                f"Replays go to this machine's ports {ports} only ([capture] ports).",
            )

    def is_ours(self, exchange_id: int) -> bool:
        """A replay that waits or is in work."""
        return exchange_id in self._known

    def cancel(self, exchange_id: int) -> bool:
        """Close the connection of a replay, or take it out of the queue; False where there is none."""
        sending = self._known.get(exchange_id)
        if sending is None:
            return False
        sending.is_cancelled = True
        if sending.task is None:
            self._forget(sending)
        else:
            sending.task.cancel()
        return True

    async def models(self, address: str) -> tuple[OfferedModel, ...]:
        """What the server can answer with, by name. Raises NightdeskError where it does not tell."""
        self.check_server(address)
        return await asyncio.to_thread(_offered, address)

    def _admit(self, original: Exchange, data: bytes, masked: list[str]) -> _Sending:
        number = -next(self._numbers)
        note = f"Sent without {' and '.join(masked)}: only the mask was recorded." if masked else None
        sending = _Sending(number, self._book.reserve(number), original, original.server_addr, data, note)
        self._known[sending.id] = sending
        self._queue.put_nowait(sending)
        return sending

    def _forget(self, sending: _Sending) -> None:
        self._known.pop(sending.id, None)

    async def _take_turn(self, sending: _Sending) -> None:
        turn = self._turns.setdefault(sending.address, asyncio.Lock())
        try:
            async with turn:
                await _Wire(sending, self._assembler(sending), self._book).send()
        except asyncio.CancelledError:
            # By the user: the others go on. By the end of the engine: so does the cancellation.
            if not sending.is_cancelled:
                raise
        except Exception:
            # A fault of one replay must not end the others.
            logger.exception("replay %d failed", sending.id)
        finally:
            self._forget(sending)

    def _assembler(self, sending: _Sending) -> Assembler:
        capture = self._capture()
        record = self._record_of(sending.original.job or "")
        kept: Any = record if record in ("full", "metadata", "none") else "full"
        return Assembler(
            frozenset({_split(sending.address)[1]}), max_body_bytes=capture.max_body_bytes, record=kept
        )


class _Wire:
    """The connection of one replay: bytes out, bytes in, and a copy of both for the record."""

    def __init__(self, sending: _Sending, assembler: Assembler, book: TrafficBook) -> None:
        self._sending = sending
        self._assembler = assembler
        self._book = book
        self._client = "127.0.0.1:0"
        self._has_ended = False
        self._error: str | None = None

    async def send(self) -> None:
        """Send, and read until the server closes. A fault of the connection becomes the exchange's error."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(*_split(self._sending.address))
            self._client = _address(writer.get_extra_info("sockname"))
            self._heard("request", self._sending.data)
            writer.write(self._sending.data)
            await writer.drain()
            await self._read(reader)
        except (OSError, TimeoutError) as fault:
            self._fail(fault)
        finally:
            if writer is not None:
                writer.transport.abort()
            self._end()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while not self._has_ended:
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    data = await reader.read(READ_BYTES)
            except TimeoutError:
                self._tell(self._assembler.tick(time.time_ns()))
                continue
            if not data:
                self._close("response")
                return
            self._heard("response", data)

    def _heard(self, direction: Any, data: bytes) -> None:
        now = time.time_ns()
        self._tell(
            self._assembler.feed_pieces(1, self._client, self._sending.address, direction, [now], [data])
        )

    def _close(self, direction: Any) -> None:
        self._tell(self._assembler.close_bytes(1, direction, time.time_ns()))

    def _end(self) -> None:
        """The client's side leaves: whatever is still open ends here."""
        if not self._has_ended:
            self._close("request")
            self._close("response")
            self._tell(self._assembler.finish(time.time_ns()))

    def _fail(self, fault: BaseException) -> None:
        """The server was not reached, or broke the connection: said in the exchange."""
        why = "no answer in time" if isinstance(fault, TimeoutError) else _words(fault)
        if not self._has_ended and self._client == "127.0.0.1:0":
            self._heard("request", self._sending.data)
        self._error = f"{self._sending.address} can't be reached: {why}."
        self._close("response")

    def _tell(self, events: list[CaptureEvent]) -> None:
        for event in events:
            if isinstance(event, ExchangeSeen):
                self._book.take(ExchangeSeen(exchange=self._marked(event.exchange)))
                self._has_ended = event.exchange.ended_ns is not None
            elif isinstance(event, ExchangeGrew):
                self._book.take(msgspec.structs.replace(event, id=self._sending.number))

    def _marked(self, exchange: Exchange) -> Exchange:
        sending = self._sending
        notes = [note for note in (sending.note, exchange.note) if note]
        marked = msgspec.structs.replace(
            exchange,
            id=sending.number,
            replay_of=sending.original.id,
            note=" ".join(notes) or None,
            unknown={**exchange.unknown, "process": "Sent by Nightdesk itself."},
        )
        if self._error is None or exchange.ended_ns is None or exchange.status is not None:
            return marked
        return msgspec.structs.replace(marked, state="failed", aborted_by=None, error=self._error)


def _words(fault: BaseException) -> str:
    reason = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
    return "nobody listens" if isinstance(fault, ConnectionRefusedError) else reason or type(fault).__name__


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port) if port.isdecimal() else 0


def _address(name: tuple[Any, ...]) -> str:
    return f"[{name[0]}]:{name[1]}" if ":" in str(name[0]) else f"{name[0]}:{name[1]}"


# The models of a server. Blocking.


class _Named(msgspec.Struct):
    name: str | None = None
    id: str | None = None
    size: int | None = None


class _Tags(msgspec.Struct):
    models: list[_Named] | None = None
    data: list[_Named] | None = None


def _offered(address: str) -> tuple[OfferedModel, ...]:
    server = http.client.HTTPConnection(*_split(address), timeout=ANSWER_SECONDS)
    try:
        listed = _ask(server, "/api/tags") or _ask(server, "/v1/models")
        loaded = {entry.name for entry in _ask(server, "/api/ps") or ()}
    except (OSError, http.client.HTTPException) as fault:
        raise NightdeskError(
            f"{address} does not tell its models: {_words(fault)}.", "Is the model server running?"
        ) from fault
    finally:
        with contextlib.suppress(OSError):
            server.close()
    names = [(entry.name or entry.id or "", entry.size) for entry in listed or ()]
    return tuple(
        OfferedModel(name=name, size_bytes=size, loaded=name in loaded)
        for name, size in sorted(names)
        if name
    )


def _ask(server: http.client.HTTPConnection, path: str) -> list[_Named] | None:
    """The entries of a list; None where the server has no such page."""
    server.request("GET", path, headers={"User-Agent": AGENT, "Connection": "keep-alive"})
    with server.getresponse() as answer:
        body = answer.read(LIST_LIMIT)
    if answer.status != 200:
        return None
    try:
        said = msgspec.json.decode(body, type=_Tags)
    except msgspec.DecodeError:
        return None
    return said.models or said.data or []
