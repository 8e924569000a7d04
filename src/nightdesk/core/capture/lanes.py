"""One direction of a TCP connection: what is due, what waits behind a hole, and arithmetic on sequence numbers."""

from __future__ import annotations

from bisect import bisect_left
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightdesk.core.capture.streams import Flow

MASK = 0xFFFFFFFF
HALF = 0x80000000

AHEAD_LIMIT = 64 << 20
"""A segment further ahead belongs to another life of the port."""


def distance(seq: int, base: int) -> int:
    """``seq - base`` on the circle of sequence numbers: negative when it lies behind."""
    ahead = (seq - base) & MASK
    return ahead - (MASK + 1) if ahead >= HALF else ahead


RECENT_BYTES = 4096
"""Bytes of each lane that are kept to compare copies with: those that come again mostly are the newest."""


class Lane:
    """One direction. ``next`` is the sequence number that is due, -1 while unknown."""

    __slots__ = (
        "acked",
        "due_ack",
        "fin",
        "first",
        "flow",
        "is_calm",
        "is_server",
        "next",
        "peer",
        "pending",
        "pending_bytes",
        "ready",
        "recent",
        "times",
    )

    def __init__(self, flow: Flow, is_server: bool) -> None:
        self.flow = flow
        self.is_server = is_server
        self.peer: Lane = self
        self.next = -1
        self.first = -1
        """Where ``next`` began."""
        self.is_calm = False
        """Nothing unusual is going on in this direction."""
        self.due_ack = -1
        """A server's next segment that acknowledges this needs no further look; -1 where each needs one."""
        self.ready: list[bytes] = []
        self.times: list[int] = []
        self.pending: list[tuple[int, bytes, int, int]] = []
        """Distance from ``base`` is the sort key: (seq unwrapped, payload, at_ns, ack), disjoint, ascending."""
        self.pending_bytes = 0
        self.recent = b""
        """The newest bytes that were handed on, to compare copies with."""
        self.fin: tuple[int, int, int] | None = None
        """Sequence number behind the last byte, acknowledgement, time."""
        self.acked = -1
        """Highest acknowledgement by the peer that lies beyond ``next``."""

    def insert(self, seq: int, payload: bytes, at_ns: int, ack: int) -> bool:
        """Keeps the parts of a segment that are new. True where an old part is not what it was the first time."""
        ahead = distance(seq, self.next)
        is_other = False
        if ahead < 0:
            # One byte below what is due is a probe; what it carries means nothing.
            is_other = len(payload) > 1 and not self._is_known(payload, -ahead)
            payload = payload[-ahead:]
            ahead = 0
        if not payload or ahead > AHEAD_LIMIT:
            return is_other
        start, stop = self.next + ahead, self.next + ahead + len(payload)
        pending = self.pending
        index = bisect_left(pending, start, key=itemgetter(0))
        if index and pending[index - 1][0] + len(pending[index - 1][1]) > start:
            index -= 1
        while start < stop:
            if index < len(pending) and pending[index][0] <= start:
                mine = payload[len(payload) - (stop - start) :]
                is_other |= not _agree(mine, pending[index][1][start - pending[index][0] :])
                start = max(start, pending[index][0] + len(pending[index][1]))
                index += 1
                continue
            end = min(stop, pending[index][0]) if index < len(pending) else stop
            piece = payload[len(payload) - (stop - start) : len(payload) - (stop - end)]
            pending.insert(index, (start, piece, at_ns, ack))
            self.pending_bytes += len(piece)
            start, index = end, index + 1
        return is_other

    def _is_known(self, payload: bytes, back: int) -> bool:
        """Whether bytes from ``back`` before the next one are what was handed on, as far as that is still known."""
        recent = self.recent
        return _agree(payload[max(0, back - len(recent)) : back], recent[max(0, len(recent) - back) :])

    def beyond(self, ack: int) -> int:
        """Acknowledged bytes that are still to be delivered. The FIN counts as one: that is no byte."""
        beyond = distance(ack, self.next)
        return beyond - 1 if self.fin is not None and ack == (self.fin[0] + 1) & MASK else beyond

    def rebase(self) -> None:
        """Keys are unwrapped relative to ``next``, which has just passed zero."""
        self.pending[:] = [(start - (MASK + 1), data, at, ack) for start, data, at, ack in self.pending]


def _agree(one: bytes, other: bytes) -> bool:
    """Whether both are alike as far as the shorter reaches."""
    size = min(len(one), len(other))
    return one[:size] == other[:size]
