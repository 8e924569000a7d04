"""From frames or relayed bytes to exchanges: the whole capture core behind one class, the :class:`Assembler`.

Below it: ``packets`` (headers), ``streams`` (order), ``connections`` and ``http1`` (messages), ``drafts`` and
``dialects`` (meaning). No clock, no input, no output: time is what the packets say, or an argument.

The usual packet of a stream of tokens takes a short way: one unpacking, one dictionary look-up, one append. What
came in a burst is parsed together, at the latest when the call returns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from itertools import repeat
from typing import Literal, TypeAlias

from nightdesk.core.capture.bounds import CHECK_BYTES, bound
from nightdesk.core.capture.bursts import Burst, Frame, bursts_of
from nightdesk.core.capture.connections import Connection
from nightdesk.core.capture.drafts import DRAFT_BYTES, Draft, Record
from nightdesk.core.capture.lanes import HALF, MASK, Lane
from nightdesk.core.capture.packets import (
    ACK,
    FAST_HEADS,
    FAST_LINKS,
    PLACE,
    RST,
    SLOW_LINK,
    SYN,
    TCP,
    WHOLE,
    PacketReader,
    Segment,
    addresses_of,
    ports_of,
    reverse,
)
from nightdesk.core.capture.streams import HURRY_NS, NEVER, Flow
from nightdesk.model.exchange import ExchangeGrew, ExchangeSeen
from nightdesk.model.process import ProcessRef

OLLAMA_PORT = 11434

CONNECTIONS = 4096
"""Connections followed at a time; the idlest is given up for a new one."""
EVICTED = 64
"""Connections given up at once, so that finding them costs little for each."""
CLOSED_NS = 10_000_000_000
"""How long a closed connection is remembered, so that a late copy of a packet does not look like a new one."""
IDLE_NS = 3_600_000_000_000
"""A connection without packets and without a running exchange is forgotten after an hour."""
SILENT_NS = 6 * 3_600_000_000_000
"""A running exchange without packets is given up after six hours."""


@dataclass(frozen=True)
class ConnectionOpened:
    """The first packet of a connection: now its process can be looked up, later it may be gone."""

    client_addr: str
    server_addr: str
    connection: int
    at_ns: int


CaptureEvent: TypeAlias = ConnectionOpened | ExchangeSeen | ExchangeGrew


@dataclass(slots=True, eq=False)
class _Tracked:
    """A connection with its addresses, its process, and its TCP state (absent behind a relay)."""

    number: int
    client: str
    server: str
    key: bytes
    http: Connection = field(init=False)
    flow: Flow | None = None
    process: ProcessRef | None = None
    run: str | None = None
    item: str | None = None
    place: int = 0
    last_ns: int = 0


class Assembler:
    """Turns frames (or the bytes of a relay) into capture events.

    ``ports`` are the servers' ports; None guesses the server's side of each connection. ``grow_every_ns`` is the
    shortest time between two :class:`ExchangeGrew` of an exchange; None reports no beginnings and no growth, only
    finished exchanges, for files.
    """

    def __init__(
        self,
        ports: frozenset[int] | None,
        *,
        max_body_bytes: int = 4_000_000,
        record: Record = "full",
        grow_every_ns: int | None = 100_000_000,
    ) -> None:
        self._ports = ports
        self._limit = max_body_bytes
        self._record: Record = record
        self._grow_every_ns = grow_every_ns
        self._packets = PacketReader()
        self._lanes: dict[bytes, Lane] = {}
        self._tracked: dict[Flow, _Tracked] = {}
        self._by_number: dict[int, _Tracked] = {}
        self._relayed: dict[Hashable, _Tracked] = {}
        self._timed: dict[Flow, None] = {}
        self._due = NEVER
        self._dirty: list[Lane] = []
        self._growing: dict[int, tuple[Draft, _Tracked]] = {}
        self._closed: deque[tuple[int, Flow]] = deque()
        self._events: list[CaptureEvent] = []
        self._connections = 0
        self._exchanges = 0
        self._unchecked = 0
        self._now = 0

    # Frames.

    def feed_frame(self, link_type: int, at_ns: int, frame: bytes | memoryview) -> list[CaptureEvent]:
        """The events of one frame. Many frames at once are cheaper: :meth:`feed_frames`."""
        return self.feed_frames(((link_type, at_ns, bytes(frame)),))

    def feed_frames(self, frames: Iterable[Frame]) -> list[CaptureEvent]:
        """The events of frames (link type, time, bytes) in the order of the capture. Never raises for their content."""
        return self.feed_bursts(bursts_of(frames))

    def feed_bursts(self, bursts: Iterable[Burst]) -> list[CaptureEvent]:
        """The events of bursts in the order of the capture. Raises what ``bursts`` raises; no event is lost then."""
        at = self._now
        for burst in bursts:
            at = self._run_through(burst, at)
        return self._settle_up(at)

    def _run_through(self, burst: Burst, at: int) -> int:
        """Takes each frame; returns the time of the last. All that most packets need is done in this one loop."""
        lane_of, head_of, dirty, due = self._lanes.get, FAST_HEADS.get, self._dirty, self._due
        link, data, starts = burst.link_type, burst.data, burst.starts
        unpack, ip_at, usual, kinds = FAST_LINKS.get(link, SLOW_LINK)
        # A frame that is too short shows bytes of the next one: no length in it fits before its own end.
        heads = map(unpack, repeat(data), starts)
        for at, start, stop, (kind, total, place, protocol, key, seq, ack, flags) in zip(
            burst.times, starts, burst.stops, heads, strict=True
        ):
            if at >= due:
                self._expire(at)
                due = self._due
            if protocol == TCP and (kind == usual or kind in kinds) and (place == WHOLE or not place & PLACE):
                lane = lane_of(key)
                if lane is None:
                    if self._ports is not None and self._is_unwanted(key):
                        continue
                elif seq == lane.next and (head := head_of(flags)) and (end := start + ip_at + total) <= stop:
                    if total > head:
                        if ack == lane.due_ack:
                            size = total - head
                            ready = lane.ready
                            if not ready:
                                dirty.append(lane)
                            ready.append(data[end - size : end])
                            lane.times.append(at)
                            seq += size
                            lane.next = seq if seq <= MASK else seq & MASK
                            continue
                    elif total == head and lane.is_calm:
                        peer = lane.peer
                        if ack == peer.next or (peer.is_calm and (ack - peer.next) & MASK >= HALF):
                            continue
            segment = self._packets.read(link, data[start:stop])
            if segment is not None:
                self._take(segment, at)
                due = self._due
        return at

    def _is_unwanted(self, key: bytes) -> bool:
        source, destination = ports_of(key)
        assert self._ports is not None
        return source not in self._ports and destination not in self._ports

    def _take(self, segment: Segment, at_ns: int) -> None:
        lane = self._lanes.get(segment.key)
        if lane is not None and segment.flags & SYN and lane.flow.begins_anew(lane, segment):
            self._forget(lane.flow, at_ns)
            lane = None
        if lane is None:
            lane = self._open(segment, at_ns)
            if lane is None:
                return
        flow = lane.flow
        flow.take(lane, segment, at_ns)
        self._unchecked += len(segment.payload)
        if flow.server.ready:
            self._dirty.append(flow.server)
        self._look_after(flow, at_ns)
        if self._unchecked > CHECK_BYTES:
            self._flush_streams(at_ns)

    def _look_after(self, flow: Flow, at_ns: int) -> None:
        """Sets the timer that a flow asks for, and ends what has ended."""
        if flow.is_closed:
            tracked = self._tracked[flow]
            if tracked.last_ns >= 0:
                flow.flush()
                tracked.http.finish(at_ns)
                tracked.last_ns = -1
                flow.forget_segments()
                self._closed.append((at_ns + CLOSED_NS, flow))
            self._timed.pop(flow, None)
            return
        due = flow.due_ns()
        if due < NEVER:
            self._timed[flow] = None
            self._due = min(self._due, due)
        elif flow in self._timed:
            del self._timed[flow]

    def _expire(self, now_ns: int, hurry_ns: int = 0) -> None:
        self._due = NEVER
        for flow in list(self._timed):
            if flow.due_ns() <= now_ns + hurry_ns:
                flow.expire(now_ns + hurry_ns)
                if flow.server.ready:
                    self._dirty.append(flow.server)
            self._look_after(flow, now_ns)
        while self._closed and self._closed[0][0] <= now_ns:
            self._remove(self._closed.popleft()[1])
        if self._closed:
            self._due = min(self._due, self._closed[0][0])

    def _open(self, segment: Segment, at_ns: int) -> Lane | None:
        """A new connection, by its SYN or its first bytes. Bare acknowledgements open none."""
        if segment.flags & RST or not (segment.payload or segment.flags & SYN):
            return None
        is_server = self._comes_from_server(segment)
        if is_server is None:
            return None
        if len(self._tracked) >= CONNECTIONS:
            self._evict(at_ns)
        source, destination = addresses_of(segment.key)
        client, server = (destination, source) if is_server else (source, destination)
        tracked = self._track(client, server, segment.key, at_ns)
        flow = tracked.flow = Flow(tracked.http)
        self._tracked[flow] = tracked
        lane = flow.server if is_server else flow.client
        self._lanes[segment.key] = lane
        self._lanes[reverse(segment.key)] = lane.peer
        return lane

    def _track(self, client: str, server: str, key: bytes, at_ns: int) -> _Tracked:
        self._connections += 1
        tracked = _Tracked(self._connections, client, server, key)
        position = 0

        def begin(started_ns: int) -> Draft:
            nonlocal position
            position += 1
            self._exchanges += 1
            self._unchecked += DRAFT_BYTES
            draft = Draft(self._exchanges, tracked.number, position, self._record, self._limit, started_ns)
            draft.process, draft.run, draft.item = tracked.process, tracked.run, tracked.item
            return draft

        tracked.http = Connection(
            begin,
            lambda draft, now_ns, is_step: self._progress(tracked, draft, now_ns, is_step),
            lambda draft, now_ns: self._end(tracked, draft),
            is_guess=self._ports is None,
        )
        self._by_number[tracked.number] = tracked
        self._events.append(ConnectionOpened(client, server, tracked.number, at_ns))
        return tracked

    def _comes_from_server(self, segment: Segment) -> bool | None:
        """Whether the sender is the server; None where neither side is of interest."""
        source, destination = ports_of(segment.key)
        if self._ports is not None:
            if destination in self._ports and not (
                source in self._ports and segment.flags & SYN and segment.flags & ACK
            ):
                return False
            return True if source in self._ports else None
        if segment.flags & SYN:
            return bool(segment.flags & ACK)
        if OLLAMA_PORT in (source, destination) and source != destination:
            return source == OLLAMA_PORT
        if segment.payload.startswith(b"HTTP/1."):
            return True
        return source < destination and b" HTTP/1." not in segment.payload[:8192]

    def _forget(self, flow: Flow, at_ns: int) -> None:
        """Ends a connection and its exchanges now."""
        tracked = self._tracked.get(flow)
        if tracked is not None and tracked.last_ns >= 0:
            flow.end(at_ns)
            self._look_after(flow, at_ns)
        self._remove(flow)

    def _remove(self, flow: Flow) -> None:
        tracked = self._tracked.pop(flow, None)
        if tracked is None:
            return
        self._by_number.pop(tracked.number, None)
        self._timed.pop(flow, None)
        for key in (tracked.key, reverse(tracked.key)):
            lane = self._lanes.get(key)
            if lane is not None and lane.flow is flow:
                del self._lanes[key]

    def _evict(self, at_ns: int) -> None:
        """Makes room: first what is closed, then what was silent longest."""
        while self._closed and len(self._tracked) >= CONNECTIONS:
            self._remove(self._closed.popleft()[1])
        if len(self._tracked) < CONNECTIONS:
            return
        for flow in sorted(self._tracked, key=lambda flow: flow.last_ns)[:EVICTED]:
            for draft in self._tracked[flow].http.waiting:
                draft.note(f"Given up: more than {CONNECTIONS} connections at a time.")
            self._forget(flow, at_ns)

    # Relayed bytes.

    def feed_bytes(
        self,
        connection: Hashable,
        client_addr: str,
        server_addr: str,
        direction: Literal["request", "response"],
        at_ns: int,
        data: bytes,
    ) -> list[CaptureEvent]:
        """The events of bytes that a relay passed on; nothing of them is missing or out of order."""
        return self.feed_pieces(connection, client_addr, server_addr, direction, [at_ns], [data])

    def feed_pieces(
        self,
        connection: Hashable,
        client_addr: str,
        server_addr: str,
        direction: Literal["request", "response"],
        times: list[int],
        pieces: list[bytes],
    ) -> list[CaptureEvent]:
        """The same for some pieces of one direction, each with its time."""
        tracked = self._relayed.get(connection)
        if tracked is None:
            tracked = self._relayed[connection] = self._track(client_addr, server_addr, b"", times[0])
        tracked.last_ns = times[-1]
        size = sum(map(len, pieces))
        if direction == "response":
            tracked.http.response_data(pieces, times, tracked.place)
            tracked.place = (tracked.place + size) & MASK
        else:
            for at_ns, data in zip(times, pieces, strict=True):
                tracked.http.request_data(data, at_ns, tracked.place)
        self._unchecked += size
        return self._settle_up(times[-1])

    def close_bytes(
        self, connection: Hashable, direction: Literal["request", "response"], at_ns: int
    ) -> list[CaptureEvent]:
        """The sender of ``direction`` closed. A client that closes while it reads an answer has left."""
        tracked = self._relayed.get(connection)
        if tracked is None:
            return []
        if direction == "request":
            tracked.http.client_left(at_ns)
            if tracked.http.has_answer():
                tracked.http.client_gone()
        else:
            tracked.http.server_left(at_ns)
            tracked.http.finish(at_ns)
            self._by_number.pop(tracked.number, None)
            del self._relayed[connection]
        return self._settle_up(at_ns)

    # Time and ends.

    def tick(self, now_ns: int) -> list[CaptureEvent]:
        """What is due by time: growth, holes that nothing will fill, idle connections. Call some times a second."""
        self._expire(now_ns, HURRY_NS)
        for tracked in [t for t in self._tracked.values() if t.flow is not None]:
            flow = tracked.flow
            assert flow is not None
            silent = now_ns - flow.last_ns
            if silent > (SILENT_NS if tracked.http.waiting else IDLE_NS):
                for draft in tracked.http.waiting:
                    draft.note("Given up: no packet for six hours.")
                self._forget(flow, now_ns)
        return self._settle_up(now_ns)

    def finish(self, now_ns: int) -> list[CaptureEvent]:
        """The end of the capture: whatever is open is reported as far as it came. Packets may be later than this."""
        self._flush_streams(now_ns)
        for flow in list(self._tracked):
            self._forget(flow, max(now_ns, self._now))
        for tracked in list(self._relayed.values()):
            tracked.http.finish(now_ns)
        self._relayed.clear()
        self._by_number.clear()
        return self._settle_up(now_ns)

    def relayed(self, exchange: int, note: str) -> Hashable | None:
        """The relay's word for the connection of a running exchange, which gets this note; None where it has none."""
        for connection, tracked in self._relayed.items():
            for draft in tracked.http.waiting:
                if draft.number == exchange:
                    draft.note(note)
                    return connection
        return None

    def attribute(
        self, connection: int, process: ProcessRef | None, run: str | None, item: str | None
    ) -> list[CaptureEvent]:
        """Names the client of a connection, for its present and later exchanges."""
        tracked = self._by_number.get(connection)
        if tracked is None:
            return []
        tracked.process, tracked.run, tracked.item = process, run, item
        for draft in tracked.http.waiting:
            draft.process, draft.run, draft.item = process, run, item
            if draft.was_announced:
                self._report(tracked, draft)
        events, self._events = self._events, []
        return events

    # What the connections say.

    def _progress(self, tracked: _Tracked, draft: Draft, at_ns: int, is_step: bool) -> None:
        reply = draft.reply
        if draft.first_token_ns is None and reply.has_token:
            draft.first_token_ns = at_ns
        if self._grow_every_ns is None:
            reply.fresh_text.clear()
            reply.fresh_thinking.clear()
        elif is_step:
            draft.was_announced = True
            self._report(tracked, draft)
        elif reply.fresh_text or reply.fresh_thinking:
            self._growing[draft.number] = (draft, tracked)

    def _report(self, tracked: _Tracked, draft: Draft) -> None:
        draft.reply.fresh_text.clear()
        draft.reply.fresh_thinking.clear()
        self._growing.pop(draft.number, None)
        self._events.append(ExchangeSeen(exchange=draft.build(tracked.client, tracked.server)))

    def _end(self, tracked: _Tracked, draft: Draft) -> None:
        if draft.first_token_ns is None and draft.reply.has_token:
            draft.first_token_ns = draft.last_ns
        draft.state = draft.final_state(at_end=True)
        self._report(tracked, draft)
        draft.release()

    def _flush_streams(self, at_ns: int) -> None:
        for lane in self._dirty:
            flow = lane.flow
            if lane.times:
                flow.last_ns = max(flow.last_ns, lane.times[-1])
                self._unchecked += sum(map(len, lane.ready))
                flow.flush()
        self._dirty.clear()
        if self._unchecked > CHECK_BYTES:
            self._unchecked = 0
            everything = [*self._tracked.values(), *self._relayed.values()]
            bound(everything, at_ns, lambda flow: self._forget(flow, at_ns))

    def _settle_up(self, at_ns: int) -> list[CaptureEvent]:
        self._now = max(self._now, at_ns)
        if self._dirty or self._unchecked > CHECK_BYTES:
            self._flush_streams(at_ns)
        if self._growing:
            self._grow()
        events, self._events = self._events, []
        return events

    def _grow(self) -> None:
        """Collected text of the exchanges whose last report is old enough."""
        for number, (draft, _) in list(self._growing.items()):
            if self._now - draft.grown_ns < (self._grow_every_ns or 0):
                continue
            del self._growing[number]
            draft.grown_ns = self._now
            reply = draft.reply
            self._events.append(
                ExchangeGrew(
                    id=number,
                    at_ns=draft.last_ns,
                    fragments=reply.fragments,
                    text="".join(reply.fresh_text),
                    thinking="".join(reply.fresh_thinking),
                    first_token_ns=draft.first_token_ns,
                )
            )
            reply.fresh_text.clear()
            reply.fresh_thinking.clear()
