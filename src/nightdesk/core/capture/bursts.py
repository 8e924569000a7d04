"""Frames that lie in one piece of memory: the form in which many are handed on without copying each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby
from mmap import mmap
from operator import itemgetter
from typing import TypeAlias

Frame: TypeAlias = tuple[int, int, bytes]
"""Link type, time in nanoseconds since the epoch, bytes of the frame."""

PADDING = bytes(64)
"""Stands behind the last frame, so that headers can be read before their length is known."""


@dataclass(slots=True)
class Burst:
    """Frames of one link type in ``data``, and ``PADDING`` or more behind the beginning of the last."""

    link_type: int
    data: bytes | mmap
    times: list[int]
    """In nanoseconds since the epoch, one for each frame, as of the following."""
    starts: list[int]
    stops: list[int]

    def frames(self) -> list[Frame]:
        """The same, each frame for itself."""
        places = zip(self.times, self.starts, self.stops, strict=True)
        return [(self.link_type, at_ns, self.data[start:stop]) for at_ns, start, stop in places]


def bursts_of(frames: Iterable[Frame]) -> Iterator[Burst]:
    """Frames as bursts, in the same order."""
    for link_type, group in groupby(frames, itemgetter(0)):
        alike = list(group)
        pieces = [frame for _, _, frame in alike]
        stops = list(accumulate(map(len, pieces)))
        times = [at_ns for _, at_ns, _ in alike]
        yield Burst(link_type, b"".join([*pieces, PADDING]), times, [0, *stops[:-1]], stops)
