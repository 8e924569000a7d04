"""Which records of which file are wanted: by level, words, a pattern, time, and the items in work at the time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from nightdesk.core.logs.formats import level_of
from nightdesk.core.logs.levels import ERROR_HINTS, WARNING_HINTS, may_matter
from nightdesk.core.logs.progress import ProgressReader
from nightdesk.core.logs.query import LogQuery
from nightdesk.core.logs.records import Record
from nightdesk.engine.logs.scan import Batch, scan_pattern, text_matcher

Spans = Sequence[tuple[int, int]]
"""When something was in work: from, until."""
KEPT = 4 << 20
"""Bytes behind which a record can't reach."""
_LEVELS = {"error": ("error",), "warning": ("error", "warning")}


class Choice:
    """Asked about blocks and records of files in the order of each file."""

    def __init__(self, query: LogQuery, spans: Mapping[int, Spans]) -> None:
        """``spans``: of a file by its number, when the wanted items were in work. Others are read from the lines."""
        self._query = query
        self._spans = spans
        self._words = tuple(word.encode() for word in query.words)
        longest = max(query.words, key=len, default="")
        self._matcher = text_matcher(longest) if longest else None
        self._levels = _LEVELS.get(query.least, ())
        self._hints = ERROR_HINTS + (WARNING_HINTS if query.least == "warning" else ())
        self._taken: dict[int, bool] = {}
        self._progress: dict[int, ProgressReader] = {}
        self._hits: dict[int, _Hits] = {}

    def skips(self, number: int, descriptor: int, base: int, block: bytes, cut: int) -> bool:
        """Whether nothing of the whole lines at the beginning of a block can be wanted. Raises OSError."""
        if self._query.pattern:
            hits = self._hits.setdefault(number, _Hits(self._query.pattern))
            if not hits.within(descriptor, base, base + cut):
                return True
        if self._matcher is not None and next(self._matcher(block, cut), None) is None:
            return True
        return bool(self._levels) and not may_matter(block, self._hints)

    def takes(self, record: Record) -> bool:
        """Whether a record is wanted. What goes on with one is treated like that."""
        if record.goes_on and record.source in self._taken:
            return self._taken[record.source]
        taken = self._is_wanted(record)
        self._taken[record.source] = taken
        return taken

    def _is_wanted(self, record: Record) -> bool:
        query = self._query
        if query.since_ns is not None and record.at_ns < query.since_ns:
            return False
        if query.until_ns is not None and record.at_ns > query.until_ns:
            return False
        return (
            (not query.items or self._is_of_item(record))
            and (not query.pattern or self._hits[record.source].has(record))
            and self._holds_words(record)
            and (not self._levels or any(level_of(_text(line)) in self._levels for line in record.lines))
        )

    def _holds_words(self, record: Record) -> bool:
        if not self._words:
            return True
        text = b"\n".join(record.lines)
        folded = text.lower() if text.isascii() else text.decode("utf-8", "replace").casefold().encode()
        return all(word in folded for word in self._words)

    def _is_of_item(self, record: Record) -> bool:
        spans = self._spans.get(record.source)
        if spans is not None:
            return any(since <= record.at_ns <= until for since, until in spans)
        reader = self._progress.setdefault(record.source, ProgressReader())
        line = _text(record.lines[0])
        reader.feed(line, record.at_ns)
        item = reader.progress.item if reader.progress is not None else None
        told = f"{item or ''}\n{line}".casefold()
        return any(wanted in told for wanted in self._query.items)


class _Hits:
    """Where the lines of one file begin that match a pattern. The pattern runs in a process of its own."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._found: deque[int] = deque()
        self._scan: Iterator[Batch] | None = None
        self._begun = self._scanned = 0

    def within(self, descriptor: int, start: int, stop: int) -> bool:
        """Whether a line between two offsets matches. Raises OSError."""
        if self._scan is None or start < self._begun:
            self._begun = start
            self._scan, self._scanned = self._begin(descriptor, start), start
        while self._scanned < stop:
            batch = next(self._scan, None)
            if batch is None:
                self._scan = self._begin(descriptor, self._scanned)
                batch = next(self._scan, None)
                if batch is None:
                    break
            self._scanned = batch[0]
            self._found += batch[1]
        while self._found and self._found[0] < start - KEPT:
            self._found.popleft()
        return any(start <= at < stop for at in self._near(stop))

    def _begin(self, descriptor: int, start: int) -> Iterator[Batch]:
        return scan_pattern(descriptor, start, os.fstat(descriptor).st_size, self._pattern)

    def has(self, record: Record) -> bool:
        """Whether one of its lines matches."""
        stop = record.start + sum(len(line) + 1 for line in record.lines)
        return any(record.start <= at < stop for at in self._near(stop))

    def _near(self, stop: int) -> Iterator[int]:
        for at in self._found:
            if at >= stop:
                return
            yield at


def _text(line: bytes) -> str:
    return line[:4096].decode("utf-8", "replace")
