"""Which item of a batch was in work at a moment, as far as its output told.

A batch that drives its items itself prints ``[9/52] interview_09.mp3`` and asks the model at once. Its log is read a
moment later, and later still while nobody looks: by then the exchange has begun. So what counts is when the line was
written, not when it was read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque

KEPT = 32
"""Items of a run that are remembered: an exchange is named when it begins, or soon after."""
RUNS_KEPT = 64


class ItemCourse:
    """The newest items of runs, each with the moment from which on it was in work. Moments: ns since the epoch."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, deque[tuple[int, str | None]]] = OrderedDict()

    def tell(self, run: str, item: str | None, at_ns: int) -> bool:
        """Take in that ``item`` is in work since ``at_ns``; whether that is news."""
        known = self._told.setdefault(run, deque(maxlen=KEPT))
        self._told.move_to_end(run)
        while len(self._told) > RUNS_KEPT:
            self._told.popitem(last=False)
        if known and (known[-1][1] == item or known[-1][0] > at_ns):
            return False
        known.append((at_ns, item))
        return True

    def item_at(self, run: str, moment_ns: int) -> str | None:
        """The item that was in work; of moments before the first that is known, that first one."""
        known = self._told.get(run)
        if not known:
            return None
        return known[max(0, bisect_right(known, moment_ns, key=lambda told: told[0]) - 1)][1]
