"""Frames that lie in one piece of memory: the form in which many are handed on without copying each of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter
from typing import TypeAlias

Frame: TypeAlias = tuple[int, int, bytes]
"""Link type, time in nanoseconds since the epoch, bytes of the frame."""

PADDING = bytes(64)
"""Stands behind the last frame, so that headers can be read before their length is known."""


@dataclass(slots=True)
class Burst:
    """Frames of one link type in ``data``, each ``gap`` bytes behind the one before."""

    link_type: int
    data: bytes
    times: list[int]
    """In nanoseconds since the epoch, one for each frame."""
    starts: list[int]
    """Where each frame begins, and where the one behind the last would."""
    gap: int

    def frames(self) -> list[Frame]:
        """The same, each frame for itself."""
        data, starts, gap = self.data, self.starts, self.gap
        return [
            (self.link_type, at_ns, data[start : following - gap])
            for at_ns, start, following in zip(self.times, starts, starts[1:], strict=False)
        ]


def bursts_of(frames: Iterable[Frame]) -> Iterator[Burst]:
    """Frames as bursts, in the same order."""
    for link_type, group in groupby(frames, itemgetter(0)):
        alike = list(group)
        pieces = [frame for _, _, frame in alike]
        starts = list(accumulate(map(len, pieces), initial=0))
        yield Burst(link_type, b"".join([*pieces, PADDING]), [at_ns for _, at_ns, _ in alike], starts, 0)
