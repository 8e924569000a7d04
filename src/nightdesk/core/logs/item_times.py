"""How long each item of a batch took, by the times of the lines that count them."""

from __future__ import annotations

from typing import NamedTuple

from nightdesk.core.logs.progress import ProgressReader
from nightdesk.model.logs import Progress

MORE_THAN_ONE = 50
"""Items that may have ended between two lines; a greater leap is no batch of items."""
NOT_ITEMS = frozenset({"%", "B", "s of audio", "frames", "epochs"})


class ItemTime(NamedTuple):
    """An item that ended."""

    number: int
    """From 1."""
    name: str | None
    start: int
    """Byte offset of the line that told of it first."""
    started_ns: int
    took_ns: int
    """Where several ended between two lines, the share of each."""


class ItemTimes:
    """Fed with the lines of one log in order. Holds one count."""

    def __init__(self) -> None:
        self._reader = ProgressReader()
        self._before: tuple[Progress, int, int] | None = None
        """The newest count, when it was told, and where."""

    def feed(self, text: str, at_ns: int | None, start: int) -> tuple[ItemTime, ...]:
        """The items that are known to have ended with a line that was written at ``at_ns`` and stands at ``start``."""
        progress = self._reader.feed(text, at_ns or 0)
        if progress is None or progress.unit in NOT_ITEMS:
            return ()
        before = self._before
        if at_ns is None or (before is not None and progress.done == before[0].done):
            return ()
        self._before = (progress, at_ns, start)
        return _ended(before, progress, at_ns) if before is not None else ()


def _ended(before: tuple[Progress, int, int], progress: Progress, at_ns: int) -> tuple[ItemTime, ...]:
    was, began_ns, start = before
    gained = progress.done - was.done
    if not 1 <= gained <= MORE_THAN_ONE or gained != int(gained) or at_ns < began_ns:
        return ()
    share = (at_ns - began_ns) // int(gained)
    first = int(was.done) + 1
    return tuple(
        ItemTime(first + n, was.item if n == 0 else None, start, began_ns + n * share, share)
        for n in range(int(gained))
    )
