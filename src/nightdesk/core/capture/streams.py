"""Puts TCP segments back in order, one flow at a time, and says what is missing.

A lane is one direction of a flow. Segments of a lane leave it in order, each byte once; the first copy of a byte wins.
Three rules make the result independent of the order in which the capture delivered packets:

* A server segment waits until the client bytes that it acknowledges were delivered (or given up), because the server
  had read them when it answered.
* A hole is given up when the peer has acknowledged it and time and segments have passed, without acknowledgement
  after ``RETRANSMIT_NS``, or when the flow ends. Time is the packets' own.
* A flow that begins without SYN collects some segments before its first byte is chosen.

What a server sends after the client left (its FIN in the middle of a reply, or an RST) is dropped: nobody read it.
"""

from __future__ import annotations

from typing import Protocol

from nightdesk.core.capture.lanes import AHEAD_LIMIT, HALF, MASK, RECENT_BYTES, Lane, distance
from nightdesk.core.capture.packets import ACK, FIN, RST, SYN, Segment

REORDER_NS = 200_000_000
REORDER_SEGMENTS = 32
"""A missing segment that was acknowledged is given up after this time and this many later segments of the flow:
captures deliver packets of several queues out of order by milliseconds and by a few packets."""
PATIENCE_NS = 10_000_000_000
"""The same for a flow with fewer segments, for the first byte of a flow without SYN, and for the end of a flow after
an RST or a client's FIN. It is long because the time is that of packets: when nothing comes, nothing is shown late."""
RETRANSMIT_NS = 13_000_000_000
"""A segment that nobody acknowledged comes again after 0.2 to 1 s, then after twice that."""
HURRY_NS = 9_800_000_000
"""What a live capture takes off these spans, because its clock goes on between packets."""
SETTLE_SEGMENTS = 16
"""Segments of a flow without SYN among which its first bytes are looked for."""
PENDING_BYTES = 4 << 20
"""Bytes of one lane that wait behind a hole; the largest default receive window of Linux is 6 MB."""
PENDING_SEGMENTS = 4096
SEGMENT_BYTES = 256
"""What a waiting segment costs beside its payload: segments of one byte must not fill the memory uncounted."""
LATE_SYN_BYTES = 1 << 20
"""Bytes before the first that was seen within which a late SYN still belongs to the same connection."""
NEVER = 1 << 63


class Sink(Protocol):
    """Takes what a flow delivers, in order."""

    def request_data(self, data: bytes, at_ns: int, acked: int) -> None:
        """Bytes of the client; ``acked`` is the place in the server's stream up to which it had read."""

    def request_gap(self, size: int, at_ns: int) -> None:
        """The client sent ``size`` bytes that the capture missed."""

    def response_data(self, pieces: list[bytes], times: list[int], place: int) -> None:
        """Bytes of the server, ``place`` is the sequence number of the first."""

    def response_gap(self, size: int, at_ns: int, place: int) -> None:
        """The server sent ``size`` bytes that the capture missed."""

    def conflict(self) -> None:
        """A packet came again with other bytes; the first ones were taken."""

    def begins_inside(self) -> None:
        """The capture did not see the connection's beginning."""

    def client_left(self, at_ns: int) -> None:
        """The client closed its side, or reset the connection."""

    def client_gone(self) -> None:
        """The client left and did not come back to read: an answer that had begun is over."""

    def server_left(self, at_ns: int) -> None:
        """The server closed or reset."""

    def has_answer(self) -> bool:
        """The response in work has begun."""


class Flow:
    """A TCP connection under observation."""

    __slots__ = (
        "_has_client_left", "_has_server_left", "client", "deadline", "early", "hole_ns", "is_closed",
        "is_settled", "last_ns", "late",
        "late_bytes", "left_place", "reset", "saw_syn", "seen", "server", "sink",
    )  # fmt: skip

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.client = Lane(self, is_server=False)
        self.server = Lane(self, is_server=True)
        self.client.peer, self.server.peer = self.server, self.client
        self.early: list[tuple[bool, Segment, int]] = []
        self.is_settled = False
        self.saw_syn = False
        self.hole_ns = 0
        """When the oldest open hole was noticed; 0 for none."""
        self.seen = 0
        """Segments since then."""
        self.late: list[tuple[bytes | int, int, int]] = []
        """What the server sent to a client that had left, or how much of that is missing; time and place."""
        self.late_bytes = 0
        self.left_place: int | None = None
        self.reset: tuple[bool, int] | None = None
        """Whether the server sent the RST, and when."""
        self._has_client_left = False
        self._has_server_left = False
        self.is_closed = False
        self.deadline = NEVER
        self.last_ns = 0

    def take(self, lane: Lane, segment: Segment, at_ns: int) -> None:
        """Any segment; the assembler handles the simplest ones itself."""
        self.last_ns = max(self.last_ns, at_ns)
        if self.is_closed:
            return
        if segment.flags & SYN:
            self._take_syn(lane, segment)
        if not self.is_settled:
            self._collect(lane, segment, at_ns)
            return
        self.seen += 1
        self._accept(lane, segment, at_ns)
        self._advance(at_ns)

    def begins_anew(self, lane: Lane, segment: Segment) -> bool:
        """Whether a SYN belongs to a new connection on the same ports."""
        if segment.flags & (SYN | RST) != SYN or lane.next < 0:
            return False
        # A SYN that comes late, or twice, fits the place where the lane began.
        return self.is_closed or not 0 <= distance(lane.first, (segment.seq + 1) & MASK) <= self._slack

    @property
    def _slack(self) -> int:
        return 0 if self.saw_syn else LATE_SYN_BYTES

    def _take_syn(self, lane: Lane, segment: Segment) -> None:
        if lane.next < 0:
            lane.next = lane.first = (segment.seq + 1) & MASK
            self.saw_syn = True

    def _collect(self, lane: Lane, segment: Segment, at_ns: int) -> None:
        if not self.early:
            self.deadline = at_ns + PATIENCE_NS
        self.early.append((lane.is_server, segment, at_ns))
        if (self.client.next >= 0 and self.server.next >= 0) or len(self.early) >= SETTLE_SEGMENTS:
            self.settle(at_ns)

    def settle(self, at_ns: int) -> None:
        """Chooses where each direction begins, then takes what was collected."""
        if self.is_settled:
            return
        self.is_settled = True
        self.deadline = NEVER
        if not self.saw_syn:
            self.sink.begins_inside()
        early, self.early = self.early, []
        for lane in (self.client, self.server):
            if lane.next < 0:
                lane.next = lane.first = self._first_place(lane, early)
        for is_server, segment, seen_ns in early:
            if segment.flags & RST:
                # It ends what came before, and that must have been delivered.
                self._advance(seen_ns)
            self._accept(self.server if is_server else self.client, segment, seen_ns)
        self._advance(at_ns)

    def _first_place(self, lane: Lane, early: list[tuple[bool, Segment, int]]) -> int:
        """The lowest place that is known to be due; -1 where nothing tells it."""
        own = [segment for is_server, segment, _ in early if is_server == lane.is_server]
        acks = [s.ack for is_server, s, _ in early if is_server != lane.is_server and s.flags & ACK]
        said = [
            s.ack for is_server, s, _ in early if is_server != lane.is_server and s.payload and s.flags & ACK
        ]
        places = [segment.seq for segment in own if segment.payload or segment.flags & FIN]
        if self.saw_syn:
            places += acks
        elif places or (said and not lane.is_server):
            # Who asks has read all there was: the answer begins there, seen or not. Who answers, likewise.
            places += said
        elif not places:
            # An empty segment tells what comes next; a keep-alive probe lies one below.
            empty = [segment.seq for segment in own if not segment.flags & RST]
            if empty:
                return max(empty, key=lambda place: distance(place, empty[0]))
            places = [] if lane.is_server else acks
        return min(places, key=lambda place: distance(place, places[0])) if places else -1

    def _accept(self, lane: Lane, segment: Segment, at_ns: int) -> None:
        flags, payload, seq = segment.flags, segment.payload, segment.seq
        if flags & ACK and not flags & RST:
            self._acknowledge(lane.peer, segment.ack, at_ns)
        if flags & RST:
            self._take_reset(lane, segment, at_ns)
            return
        if flags & SYN:
            seq = (seq + 1) & MASK
        if lane.next < 0 and (payload or flags & FIN):
            lane.next = lane.first = seq
        if flags & FIN and lane.fin is None and abs(distance(seq, lane.next)) < AHEAD_LIMIT:
            lane.fin = ((seq + len(payload)) & MASK, segment.ack, at_ns)
        if payload and not lane.is_server and self.server.next < 0 and flags & ACK:
            # Who asks has read all there was: the answer begins here.
            self.server.next = self.server.first = segment.ack
        if payload:
            self.flush()
            if lane.insert(seq, payload, at_ns, segment.ack):
                self.sink.conflict()

    def _acknowledge(self, lane: Lane, ack: int, at_ns: int) -> None:
        if lane.next < 0:
            return
        beyond = lane.beyond(ack)
        if 0 < beyond < AHEAD_LIMIT and (lane.acked < 0 or distance(ack, lane.acked) > 0):
            lane.acked = ack
            if not self.hole_ns:
                self.hole_ns = at_ns

    def _advance(self, at_ns: int) -> None:
        """Delivers everything that is in order, and notices holes and ends."""
        # The server first: what it answered was asked before the client's next segment.
        self._see_client_end()
        while self._drain(self.server) or self._drain(self.client):
            self._see_client_end()
        self._see_ends()
        if self.client.pending or self.server.pending or self.client.acked >= 0 or self.server.acked >= 0:
            if not self.hole_ns:
                self.hole_ns = at_ns
            self._limit(at_ns)
        else:
            self.hole_ns = 0
            self.seen = 0
        is_plain = not self.is_closed and self.left_place is None and self.reset is None
        for lane in (self.client, self.server):
            lane.is_calm = is_plain and not lane.pending and lane.acked < 0 and lane.fin is None
        self.server.due_ack = self.client.next if self.server.is_calm else -1

    def _drain(self, lane: Lane) -> bool:
        pending, moved = lane.pending, 0
        client = self.client
        while moved < len(pending):
            start, payload, at_ns, ack = pending[moved]
            if start != lane.next:
                break
            if lane.is_server and client.acked >= 0 and client.beyond(ack) > 0:
                break
            if moved and not lane.is_server:
                break
            moved += 1
            self._deliver(lane, payload, at_ns, ack)
            if start + len(payload) > MASK:
                lane.rebase()
        if moved:
            del pending[:moved]
            lane.pending_bytes = sum(len(item[1]) for item in pending)
            if pending or lane.acked >= 0:
                # What is missing now is another hole.
                self.hole_ns = self.seen = 0
        if lane.acked >= 0 and lane.beyond(lane.acked) <= 0:
            lane.acked = -1
        return moved > 0

    def _deliver(self, lane: Lane, payload: bytes, at_ns: int, ack: int) -> None:
        place = lane.next
        is_late = lane.is_server and self.left_place is not None and distance(place, self.left_place) >= 0
        if is_late or not lane.is_server:
            # Before ``next`` moves on: the place of what is ready is counted back from there.
            self.flush()
        lane.next = (place + len(payload)) & MASK
        if not lane.is_server:
            lane.recent = payload[-RECENT_BYTES:]
            self.sink.request_data(payload, at_ns, ack)
        elif is_late:
            self._deliver_late(payload, at_ns, place)
        else:
            lane.ready.append(payload)
            lane.times.append(at_ns)

    def _deliver_late(self, payload: bytes, at_ns: int, place: int) -> None:
        if self.reset is not None or (self.sink.has_answer() and not self.late):
            return
        self.late.append((payload, at_ns, place))
        self.late_bytes += len(payload)
        self.deadline = min(self.deadline, at_ns + PATIENCE_NS)
        if self.late_bytes > PENDING_BYTES or len(self.late) > PENDING_SEGMENTS:
            # So much is sent only to somebody who reads it.
            self._release_late()

    def flush(self) -> None:
        """Hands the server's bytes on."""
        lane = self.server
        if lane.ready:
            pieces, times = lane.ready, lane.times
            lane.ready, lane.times = [], []
            lane.recent = pieces[-1][-RECENT_BYTES:]
            self.sink.response_data(pieces, times, (lane.next - sum(map(len, pieces))) & MASK)

    def _see_client_end(self) -> None:
        """What the server sent when it knew of the end must find it noted."""
        client = self.client
        if client.fin is not None and self.left_place is None and client.next == client.fin[0]:
            self.flush()
            self.left_place = client.fin[1]
            self._client_leaves(client.fin[2])

    def _see_ends(self) -> None:
        self._see_client_end()
        server = self.server
        if (
            server.fin is not None
            and server.next == server.fin[0]
            and not (self._has_server_left or self.late)
        ):
            self.flush()
            self._server_leaves(server.fin[2])
        self.is_closed = self._has_client_left and self._has_server_left

    def _client_leaves(self, at_ns: int) -> None:
        if not self._has_client_left:
            self._has_client_left = True
            self.deadline = min(self.deadline, at_ns + PATIENCE_NS)
            self.sink.client_left(at_ns)

    def _server_leaves(self, at_ns: int) -> None:
        if not self._has_server_left:
            self._has_server_left = True
            self.sink.server_left(at_ns)

    def _release_late(self) -> None:
        """The client was reading after all."""
        late = self._take_late()
        if late and self.reset is None:
            self.left_place = (late[-1][2] + HALF // 2) & MASK
            for payload, at_ns, place in late:
                if isinstance(payload, int):
                    self.sink.response_gap(payload, at_ns, place)
                else:
                    self.sink.response_data([payload], [at_ns], place)

    def _take_late(self) -> list[tuple[bytes | int, int, int]]:
        late, self.late, self.late_bytes = self.late, [], 0
        return late

    def _take_reset(self, lane: Lane, segment: Segment, at_ns: int) -> None:
        """Packets that were sent before may still come: the end waits a little."""
        if self.reset is not None:
            return
        self.reset = (lane.is_server, at_ns)
        if not lane.is_server:
            if self.left_place is None:
                self.left_place = segment.ack if segment.flags & ACK else self.server.next
            self._take_late()
        self.deadline = at_ns + PATIENCE_NS

    def _limit(self, at_ns: int) -> None:
        for lane in (self.client, self.server):
            if lane.pending_bytes > PENDING_BYTES or len(lane.pending) > PENDING_SEGMENTS:
                self._give_up_hole(at_ns)
                return

    @property
    def waiting_bytes(self) -> int:
        """Memory of the segments that wait for others."""
        client, server = self.client, self.server
        count = len(self.early) + len(self.late) + len(client.pending) + len(server.pending)
        held = sum(len(segment.payload) for _, segment, _ in self.early) + self.late_bytes
        return held + client.pending_bytes + server.pending_bytes + count * SEGMENT_BYTES

    @property
    def waits_since_ns(self) -> int:
        """When the oldest of them began to wait, about."""
        return self.hole_ns or self.last_ns

    def give_up(self, at_ns: int) -> None:
        """Waits no longer: what is missing before segments that are here is a gap."""
        self.settle(at_ns)
        self._give_up_all(at_ns)
        self._release_late()
        self.flush()

    def forget_segments(self) -> None:
        """The flow is over: what still waits belongs to nothing."""
        self.early, self.client.pending, self.server.pending = [], [], []
        self.client.pending_bytes = self.server.pending_bytes = 0
        self._take_late()

    def due_ns(self) -> int:
        """When :meth:`expire` must be called next."""
        if not self.hole_ns:
            return self.deadline
        wait = RETRANSMIT_NS
        if self.client.acked >= 0 or self.server.acked >= 0:
            wait = REORDER_NS if self.seen >= REORDER_SEGMENTS else PATIENCE_NS
        return min(self.deadline, self.hole_ns + wait)

    def expire(self, now_ns: int) -> None:
        """Does what is due by time."""
        if not self.is_settled:
            if now_ns >= self.deadline:
                self.settle(now_ns)
            return
        if now_ns >= self.deadline:
            self.deadline = NEVER
            if self.reset is not None:
                self.end(now_ns)
                return
            self._release_late()
            self._see_ends()
            if self._has_client_left:
                self._give_up_all(now_ns)
                self.flush()
                self.sink.client_gone()
        if self.hole_ns and now_ns >= self.due_ns() < self.deadline:
            self._give_up_hole(now_ns)

    def _give_up_hole(self, at_ns: int) -> None:
        """Declares the earlier of the two lanes' first holes missing."""
        lanes = (self.server, self.client) if self._is_server_first() else (self.client, self.server)
        for lane in lanes:
            size = self._hole_of(lane)
            if size == 1 and not lane.pending and lane.fin is None:
                # The only number behind the last byte: a FIN that the capture missed.
                read = lane.peer.acked if lane.peer.acked >= 0 else lane.peer.next
                lane.fin, lane.acked = (lane.next, read, at_ns), -1
                break
            if size > 0:
                self._skip(lane, size, at_ns)
                break
        self.hole_ns = 0
        self.seen = 0
        self._advance(at_ns)

    def _is_server_first(self) -> bool:
        """What the server sent behind its hole does not depend on what is missing of the client."""
        client, server = self.client, self.server
        if server.pending:
            return client.acked < 0 or client.beyond(server.pending[0][3]) <= 0
        return bool(client.pending) and distance(client.pending[0][3], server.next) > 0

    def _give_up_all(self, at_ns: int) -> None:
        for _ in range(2 * PENDING_SEGMENTS):
            if not (self._hole_of(self.client) > 0 or self._hole_of(self.server) > 0 or self.client.pending):
                break
            self._give_up_hole(at_ns)

    def _hole_of(self, lane: Lane) -> int:
        """Bytes that are missing next. A client's hole ends where the server answered: the rest came later."""
        if lane.next < 0:
            return 0
        if lane.pending:
            size = lane.pending[0][0] - lane.next
        else:
            size = lane.beyond(lane.acked) if lane.acked >= 0 else 0
        if not lane.is_server and self.server.pending:
            answered = distance(self.server.pending[0][3], lane.next)
            return answered if 0 < answered < size else size
        return size

    def _skip(self, lane: Lane, size: int, at_ns: int) -> None:
        self.flush()
        place = lane.next
        lane.next = (place + size) & MASK
        lane.recent = b""
        if lane.next < place:
            lane.rebase()
        if lane.is_server:
            self._miss(size, at_ns, place)
        else:
            self.sink.request_gap(size, at_ns)
        if lane.acked >= 0 and lane.beyond(lane.acked) <= 0:
            lane.acked = -1

    def _miss(self, size: int, at_ns: int, place: int) -> None:
        """A gap in what the server sent. What it sent to a client that had left is missed by nobody."""
        read = size if self.left_place is None else min(size, max(0, distance(self.left_place, place)))
        if read:
            self.sink.response_gap(read, at_ns, place)
        if read < size and not (self.reset is not None or (self.sink.has_answer() and not self.late)):
            self.late.append((size - read, at_ns, (place + read) & MASK))
            self.deadline = min(self.deadline, at_ns + PATIENCE_NS)

    def end(self, now_ns: int) -> None:
        """Nothing more comes: delivers what can be delivered and tells the sink who left."""
        if not self.is_settled:
            self.settle(now_ns)
        self._give_up_all(now_ns)
        if not self.sink.has_answer():
            self._release_late()
        self._take_late()
        self._see_ends()
        self.flush()
        if self.reset is not None:
            (self._server_leaves if self.reset[0] else self._client_leaves)(self.reset[1])
        self.is_closed = True
        self.client.is_calm = self.server.is_calm = False
        self.server.due_ack = -1
        self.deadline = NEVER
        self.hole_ns = 0
