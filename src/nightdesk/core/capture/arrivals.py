"""When the bytes of a stream came: the times of packets for parts of messages, and the gaps between fragments."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from functools import partial
from itertools import accumulate, pairwise
from operator import add, sub

from nightdesk.core.capture.http1 import Body

GAPS = 20_000
"""Fragments of one exchange whose times are kept: more than the longest replies have, and 160 kB at most."""


class Arrival:
    """Neighbouring pieces of a stream, each with the time of its packet."""

    __slots__ = ("_ends", "_pieces", "_skipped", "_times")

    def __init__(self, pieces: list[bytes], times: list[int]) -> None:
        self._pieces, self._times = pieces, times
        self._ends: list[int] | None = None
        self._skipped = 0

    @property
    def is_one(self) -> bool:
        """All came at the same time."""
        return len(self._times) == 1

    @property
    def ends(self) -> list[int]:
        """Offset of the end of each piece."""
        if self._ends is None:
            self._ends = list(accumulate(map(len, self._pieces), initial=-self._skipped))[1:]
        return self._ends

    def skip(self, size: int) -> None:
        """From now on offsets are counted from ``size`` bytes behind the beginning."""
        self._skipped, self._ends = size, None

    def at(self, offset: int) -> int:
        """Time of the piece that holds the byte before ``offset``."""
        return self._times[self._piece(offset)] if len(self._times) > 1 else self._times[0]

    def latest(self, offset: int) -> int:
        """Time of the newest of the pieces up to that one: captures deliver packets out of order."""
        return max(self._times[: self._piece(offset) + 1]) if len(self._times) > 1 else self._times[0]

    def parts(self, body: Body) -> tuple[list[bytes], list[int]]:
        """A body as parts that came at one time each: its chunks, or what of it lay in each piece."""
        if body.chunks is not None:
            return self._chunks(body.at, body.chunks)
        start = body.at - len(body.data)
        first, last = self._piece(start + 1), self._piece(body.at)
        cuts = [0, *(end - start for end in self.ends[first:last]), len(body.data)]
        return [body.data[a:b] for a, b in pairwise(cuts)], self._times[first : last + 1]

    def _piece(self, offset: int) -> int:
        return min(bisect_left(self.ends, offset), len(self._times) - 1)

    def _chunks(self, stop: int, chunks: list[bytes]) -> tuple[list[bytes], list[int]]:
        bodies = chunks[1::2]
        behind = list(accumulate(map(len, chunks)))[1::2]
        count = len(bodies)
        # Behind each size and each chunk is a line end. Usually each chunk has a packet of its own.
        if list(map(sub, self.ends, behind)) == list(range(4, 4 * count + 4, 4)):
            return bodies, self._times[:count]
        # The last line end is not waited for.
        first = stop - behind[-1] - 4 * count + 2
        ends = map(add, behind, range(first, stop, 4))
        return bodies, list(map(self._times.__getitem__, map(partial(bisect_left, self.ends), ends)))


class Pace:
    """The gaps between the fragments of one exchange, kept compactly."""

    __slots__ = ("_gaps", "_last_ns", "why")

    def __init__(self, started_ns: int) -> None:
        self._last_ns = started_ns
        self._gaps = array("Q")
        self.why: str | None = None
        """Why some or all gaps are unknown."""

    @property
    def held_bytes(self) -> int:
        """Memory of the gaps."""
        return len(self._gaps) * self._gaps.itemsize

    def add(self, times: list[int]) -> None:
        """Times of the next fragments; one that lies before an earlier one counts as that."""
        if self.why is not None or not times:
            return
        room = GAPS - len(self._gaps)
        if len(times) > room:
            self.why = f"Only the first {GAPS} fragments are timed."
            times = times[:room]
        gaps = list(map(sub, times, [self._last_ns, *times[:-1]]))
        if min(gaps, default=0) < 0:
            times = list(accumulate(times, max, initial=self._last_ns))
            gaps = list(map(sub, times[1:], times))
        self._gaps.fromlist(gaps)
        self._last_ns = times[-1] if times else self._last_ns

    def drop(self, why: str) -> None:
        """Forgets all, and says why."""
        self._gaps, self.why = array("Q"), why

    def gaps(self) -> tuple[int, ...]:
        """Nanoseconds before each fragment, oldest first."""
        return tuple(self._gaps)
