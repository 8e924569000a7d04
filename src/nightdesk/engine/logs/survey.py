"""A whole file at a glance: its errors, its items, its levels over time, and where a moment lies in it."""

from __future__ import annotations

import os
import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import islice

from nightdesk.core.logs.formats import read_log_line
from nightdesk.core.logs.item_times import ItemTimes
from nightdesk.core.logs.levels import Level, may_matter
from nightdesk.core.logs.lines import shown_line
from nightdesk.core.logs.tracebacks import GROUPS_MOST, LogError, TracebackReader, levels_of
from nightdesk.engine.logs.scan import blocks
from nightdesk.engine.logs.window import Lines, read_lines
from nightdesk.model.logs import LogBin, LogErrorGroup, LogItem

STEP_SECONDS = 0.25
SAMPLE = 16_384
"""Bytes of a stretch that are read; where stretches are longer, the counts are those of samples."""
STRETCH_LEAST = 512
BINS = 120
ITEMS_MOST = 5_000
_COUNT = re.compile(rb"[0-9][ \t]*/[ \t]*[0-9]|[0-9] (?:out )?of [0-9]")
"""What every line has that counts items."""
_PROBE = 16_384


class ErrorScan:
    """The errors of one file, found step by step; the file may grow meanwhile."""

    def __init__(self) -> None:
        self.scanned = 0
        self._groups: dict[str, LogErrorGroup] = {}
        self._reader = TracebackReader()
        self._offsets: list[int] = []

    @property
    def groups(self) -> tuple[LogErrorGroup, ...]:
        """What was found so far."""
        return tuple(sorted(self._groups.values(), key=lambda group: group.first))

    def extend(self, descriptor: int, size: int) -> bool:
        """Go on for a quarter of a second at most; whether the end is reached. Raises OSError."""
        until = time.monotonic() + STEP_SECONDS
        self._reader.until_ns = os.fstat(descriptor).st_mtime_ns
        for _, base, block, cut in blocks(descriptor, self.scanned, size):
            self._take(base, block[:cut])
            self.scanned = base + cut
            if time.monotonic() > until:
                return self.scanned >= size
        self._end()
        return True

    def _take(self, base: int, block: bytes) -> None:
        if not may_matter(block):
            self._end()
            return
        at = base
        for raw in block.split(b"\n")[:-1]:
            self._offsets.append(at)
            for error in self._reader.feed(shown_line(raw)):
                self._note(error)
            at += len(raw) + 1

    def _end(self) -> None:
        for error in self._reader.finish():
            self._note(error)
        self._reader, self._offsets = TracebackReader(self._reader.until_ns), []

    def _note(self, error: LogError) -> None:
        key = error.likeness if error.likeness in self._groups or len(self._groups) < GROUPS_MOST else ""
        at = self._offsets[error.line]
        known = self._groups.get(key)
        self._groups[key] = LogErrorGroup(
            times=known.times + 1 if known else 1,
            cause=known.cause if known else error.cause,
            where=known.where if known else error.where,
            first=known.first if known else at,
            last=at,
            first_ns=known.first_ns if known else error.at_ns,
            last_ns=error.at_ns,
            lines=known.lines if known else error.lines,
        )


class ItemScan:
    """How long the items of one file took, found step by step; the file may grow meanwhile."""

    def __init__(self) -> None:
        self.scanned = 0
        self.left_out = 0
        self._items: deque[LogItem] = deque(maxlen=ITEMS_MOST)
        self._times = ItemTimes()
        self._near_ns: int | None = None

    @property
    def items(self) -> tuple[LogItem, ...]:
        """What was found so far."""
        return tuple(self._items)

    def extend(self, descriptor: int, size: int) -> bool:
        """Go on for a quarter of a second at most; whether the end is reached. Raises OSError."""
        until, written_ns = time.monotonic() + STEP_SECONDS, os.fstat(descriptor).st_mtime_ns
        for _, base, block, cut in blocks(descriptor, self.scanned, size):
            at = 0
            while (found := _COUNT.search(block, at, cut)) is not None:
                start = block.rfind(b"\n", 0, found.start()) + 1
                end = block.find(b"\n", found.end() - 1, cut)
                at = end + 1 if end >= 0 else cut
                self._take(shown_line(block[start : max(at - 1, start)]), base + start, written_ns)
            self.scanned = base + cut
            if time.monotonic() > until:
                return self.scanned >= size
        return True

    def _take(self, text: str, at: int, written_ns: int) -> None:
        told = read_log_line(text, self._near_ns, None, written_ns).at_ns
        self._near_ns = told if told is not None else self._near_ns
        for item in self._times.feed(text, self._near_ns, at):
            self.left_out += len(self._items) == ITEMS_MOST
            self._items.append(LogItem(**item._asdict()))


def levels(descriptor: int, size: int) -> tuple[tuple[LogBin, ...], bool]:
    """How many lines of each level there are in stretches of equal length, and whether only parts were read.

    A traceback is one error.
    """
    stretch = max(size // BINS, STRETCH_LEAST)
    is_sampled = stretch > SAMPLE
    parts = []
    start = 0
    while start < size:
        parts.append(read_lines(descriptor, size, start, min(start + stretch, size), SAMPLE))
        # A line that lies across the end of a stretch is counted with the next one.
        start = max(parts[-1].end, start + (stretch if is_sampled else 1))
    # Samples do not touch each other; else a traceback may lie across several stretches.
    runs = [part.lines for part in parts] if is_sampled else [[line for part in parts for line in part.lines]]
    told = (level for run in runs for level in levels_of(run))
    times = _times(parts, os.fstat(descriptor).st_mtime_ns)
    bins = (_bin(part, at_ns, told) for part, at_ns in zip(parts, times, strict=True))
    return tuple(bins), is_sampled


def _bin(part: Lines, at_ns: int | None, told: Iterator[Level]) -> LogBin:
    counts = Counter(islice(told, len(part.lines)))
    errors, warnings = counts["error"], counts["warning"]
    others = len(part.lines) - errors - warnings
    return LogBin(start=part.start, at_ns=at_ns, errors=errors, warnings=warnings, others=others)


def _times(parts: Iterable[Lines], until_ns: int) -> Iterator[int | None]:
    """The first time that is told in each part."""
    near: int | None = None
    for part in parts:
        told = (read_log_line(line[:4096], near, None, until_ns).at_ns for line in part.lines)
        at_ns = next((each for each in told if each is not None), None)
        near = at_ns if at_ns is not None else near
        yield at_ns


def offset_at(descriptor: int, size: int, at_ns: int) -> int | None:
    """Where the first line that was written at ``at_ns`` or later begins; None where no line tells a time.

    Halves the file, so lines should be in the order of time. Raises OSError.
    """
    low, high = 0, size
    until_ns = os.fstat(descriptor).st_mtime_ns
    told = False
    while high - low > _PROBE:
        middle = (low + high) // 2
        found = first_time(descriptor, size, middle, high, at_ns)
        if found is None:
            high = middle
            continue
        told = True
        low, high = (low, middle) if found[1] >= at_ns else (found[0], high)
    lines = read_lines(descriptor, size, low, None, _PROBE * 4)
    for place, line in zip(lines.starts, lines.lines, strict=True):
        moment = read_log_line(line[:4096], at_ns, None, until_ns).at_ns
        told = told or moment is not None
        if moment is not None and moment >= at_ns:
            return lines.start + place
    return min(high, size) if told else None


def first_time(descriptor: int, size: int, start: int, end: int, near_ns: int) -> tuple[int, int] | None:
    """The first line from ``start`` on that tells its time: (where it begins, when it was written)."""
    at = start
    until_ns = os.fstat(descriptor).st_mtime_ns
    while at < end:
        found = read_lines(descriptor, size, at, None, _PROBE)
        for place, line in zip(found.starts, found.lines, strict=True):
            if (moment := read_log_line(line[:4096], near_ns, None, until_ns).at_ns) is not None:
                return found.start + place, moment
        if found.end <= at:
            return None
        at = found.end
    return None
