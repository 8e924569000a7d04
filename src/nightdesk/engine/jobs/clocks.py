"""Notices that the machine slept, or that its clock was set: then the time of day went on, and nothing ran."""

from __future__ import annotations

import time
from collections.abc import Callable

SMALL_NS = 2 * 10**9
"""The two clocks drift apart by less than this without anything having happened."""


class Clocks:
    """The time of day beside a clock that stands still while the machine sleeps."""

    def __init__(self, now_ns: Callable[[], int], steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now = now_ns
        self._steady = steady_ns
        self._apart = now_ns() - steady_ns()

    def jump_ns(self) -> int:
        """How much further than time the clock went since the last jump; below 0 where it was set back, 0 for none."""
        apart = self._now() - self._steady()
        jump = apart - self._apart
        if abs(jump) < SMALL_NS:
            return 0
        self._apart = apart
        return jump
