"""Questions about followed files that windows alone can't answer: line numbers and searches.

Blocks; called in threads. What it knows of a file is dropped when the file is replaced or cut.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from nightdesk.engine.logs.follow import LogFollower
from nightdesk.engine.logs.line_index import LineIndex
from nightdesk.engine.logs.scan import TEXT_MOST, compiled, pattern_matcher, text_matcher
from nightdesk.engine.logs.searches import Search
from nightdesk.engine.logs.survey import ErrorScan, ItemScan, levels, offset_at
from nightdesk.engine.logs.views import LogViews
from nightdesk.engine.logs.window import Lines, read_lines
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.logs import LogErrors, LogIndex, LogItems, LogLevels, LogSearch, LogView, LogWindow

SEARCHES_MOST = 3
"""Searches of one file that are kept; an older one is stopped."""
FILES_MOST = 32
LINE_SECONDS = 10.0
"""How long a question for a line waits for the index to come so far."""


class Opened(NamedTuple):
    """A followed file at this moment."""

    descriptor: int
    size: int
    generation: int


class _Known:
    """What was found out about one file so far."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.index = LineIndex()
        self.searches: dict[tuple[str, bool], Search] = {}
        self.errors = ErrorScan()
        self.items = ItemScan()
        self.surveying = threading.Lock()
        self.indexing = threading.Lock()
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True
        for search in self.searches.values():
            search.cancel()


class LogReader:
    """Answers about the files of one follower. Threads may ask at the same time."""

    def __init__(self, logs: LogFollower, views: LogViews | None = None) -> None:
        self._logs = logs
        self._views = views if views is not None else LogViews(logs.files)
        self._known: dict[str, _Known] = {}
        self._lock = threading.Lock()

    def window(
        self, log: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65_536
    ) -> LogWindow:
        """As the follower's, with the number of its first line once that is counted."""
        with self._opened(log) as (file, known):
            found = read_lines(file.descriptor, file.size, start, end, max_bytes)
            self._index_later(log, known, file.size)
            return self._told(log, file, known, found)

    def view(self, text: str) -> LogView:
        """Several logs in one, and how far it is; asking again goes on. Raises UsageError."""
        return self._views.view(text)

    def index(self, log: str) -> LogIndex:
        """How many lines the file has, as far as they are counted."""
        with self._opened(log) as (file, known):
            self._index_later(log, known, file.size)
            return LogIndex(
                id=log,
                generation=file.generation,
                lines=known.index.lines(file.descriptor, file.size),
                complete=known.index.covers(file.size),
                indexed_bytes=known.index.indexed_bytes,
                size_bytes=file.size,
            )

    def line(self, log: str, number: int, max_bytes: int = 65_536) -> LogWindow:
        """Lines from line ``number`` (from 1) on; the last line where there are fewer."""
        with self._opened(log) as (file, known):
            until = time.monotonic() + LINE_SECONDS
            while (offset := known.index.offset_of(file.descriptor, number)) is None:
                with known.indexing:
                    known.index.extend(file.descriptor, file.size, lambda: time.monotonic() > until)
                if known.index.covers(file.size):
                    offset = known.index.offset_of(file.descriptor, number)
                    break
                if time.monotonic() > until:
                    raise NightdeskError(f"Line {number:,} is not reached yet: the lines are being counted.")
            found = (
                read_lines(file.descriptor, file.size, offset, None, max_bytes)
                if offset is not None
                else None
            )
            if found is None or not found.lines:
                found = read_lines(file.descriptor, file.size, None, None, 1)
            return self._told(log, file, known, found)

    def search(self, log: str, text: str, *, regex: bool = False, at: int = -1) -> LogSearch:
        """How many lines hold ``text`` and which are next to the line that starts at ``at`` (-1: before the first).

        Begins the search, or goes on with it up to the file's end of now. Raises UsageError for a broken pattern.
        """
        if not text or len(text) > TEXT_MOST or "\0" in text:
            raise UsageError(f"A search needs 1 to {TEXT_MOST} characters of text.")
        matcher = pattern_matcher(compiled(text)) if regex else text_matcher(text)
        with self._opened(log) as (file, known):
            with self._lock:
                search = known.searches.pop((text, regex), None) or Search(text, regex, matcher)
                known.searches[text, regex] = search
                while len(known.searches) > SEARCHES_MOST:
                    known.searches.pop(next(iter(known.searches))).cancel()
            return search.ask(file.descriptor, file.size, at)

    def errors(self, log: str) -> LogErrors:
        """The errors of a file, alike ones put together. An answer that is not complete goes on when asked again."""
        with self._opened(log) as (file, known), known.surveying:
            complete = known.errors.extend(file.descriptor, file.size)
            return LogErrors(
                id=log,
                generation=file.generation,
                groups=known.errors.groups,
                scanned_bytes=known.errors.scanned,
                size_bytes=file.size,
                complete=complete,
            )

    def items(self, log: str) -> LogItems:
        """How long the items took that a file tells of. An answer that is not complete goes on when asked again."""
        with self._opened(log) as (file, known), known.surveying:
            complete = known.items.extend(file.descriptor, file.size)
            return LogItems(
                id=log,
                generation=file.generation,
                items=known.items.items,
                left_out=known.items.left_out,
                scanned_bytes=known.items.scanned,
                size_bytes=file.size,
                complete=complete,
            )

    def levels(self, log: str) -> LogLevels:
        """How many errors, warnings and other lines there are, from the file's beginning to its end."""
        with self._opened(log) as (file, _):
            bins, sampled = levels(file.descriptor, file.size)
            return LogLevels(
                id=log, generation=file.generation, bins=bins, size_bytes=file.size, sampled=sampled
            )

    def moment(self, log: str, at_ns: int, max_bytes: int = 65_536) -> LogWindow:
        """Lines from the first one on that was written at ``at_ns`` or later. Raises UsageError without times."""
        with self._opened(log) as (file, known):
            offset = offset_at(file.descriptor, file.size, at_ns)
            if offset is None:
                raise UsageError("No line of this file says when it was written.")
            found = read_lines(file.descriptor, file.size, offset, None, max_bytes)
            if not found.lines:
                found = read_lines(file.descriptor, file.size, None, None, 1)
            return self._told(log, file, known, found)

    # Files

    def _told(self, log: str, file: Opened, known: _Known, found: Lines) -> LogWindow:
        first = known.index.number_at(file.descriptor, found.start)
        marks = self._views.marks(log, found.start, len(found.lines)) if log in self._views else ((), ())
        return LogWindow(
            id=log,
            generation=file.generation,
            size_bytes=file.size,
            first_line=first,
            files=marks[0],
            origins=marks[1],
            **found._asdict(),
        )

    @contextmanager
    def _opened(self, log: str) -> Iterator[tuple[Opened, _Known]]:
        with self._open(log) as (descriptor, generation):
            file = Opened(descriptor, os.fstat(descriptor).st_size, generation)
            with self._lock:
                known = self._known.pop(log, None)
                if known is not None and (
                    known.generation != generation or known.index.indexed_bytes > file.size
                ):
                    known.drop()
                    known = None
                self._known[log] = known = known or _Known(generation)
                while len(self._known) > FILES_MOST:
                    self._known.pop(next(iter(self._known))).drop()
            try:
                yield file, known
            except OSError as fault:
                raise NightdeskError(f"The log can't be read: {fault.strerror or fault}.") from fault

    def _open(self, log: str) -> AbstractContextManager[tuple[int, int]]:
        return self._views.opened(log) if log in self._views else self._logs.opened(log)

    def _index_later(self, log: str, known: _Known, size: int) -> None:
        if known.index.covers(size) or known.indexing.locked():
            return
        threading.Thread(target=self._index, args=(log, known, size), name="log-index", daemon=True).start()

    def _index(self, log: str, known: _Known, size: int) -> None:
        if not known.indexing.acquire(blocking=False):
            return
        try:
            with self._open(log) as (descriptor, generation):
                if generation == known.generation:
                    known.index.extend(descriptor, size, _flag(known))
        except (NightdeskError, OSError):
            return
        finally:
            known.indexing.release()


def _flag(known: _Known) -> Callable[[], bool]:
    return lambda: known.dropped
