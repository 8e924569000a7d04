"""Frames that lie in one piece of memory: the form in which many are handed on without copying each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

Frame: TypeAlias = tuple[int, int, bytes]
"""Link type, time in nanoseconds since the epoch, bytes of the frame."""


@dataclass(slots=True)
class Burst:
    """Frames of one link type in ``data``."""

    link_type: int
    data: bytes
    places: Iterable[tuple[int, int, int]]
    """Of each frame: time (ns since the epoch), where it starts, where it stops. Can be gone through once."""

    def frames(self) -> list[Frame]:
        """The same, each frame for itself."""
        link_type, data = self.link_type, self.data
        return [(link_type, at_ns, data[start:stop]) for at_ns, start, stop in self.places]


def bursts_of(frames: Iterable[Frame]) -> Iterator[Burst]:
    """Frames as bursts, in the same order."""
    for link_type, group in groupby(frames, itemgetter(0)):
        alike = list(group)
        yield Burst(link_type, b"".join([frame for _, _, frame in alike]), _laid_out(alike))


def _laid_out(frames: list[Frame]) -> Iterator[tuple[int, int, int]]:
    stop = 0
    for _, at_ns, frame in frames:
        start = stop
        stop += len(frame)
        yield at_ns, start, stop
