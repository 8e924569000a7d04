"""Views of several logs in one: merged by time, only the wanted lines, each with the file it comes from.

A view is a file without a name that grows while it is asked for; windows, searches and errors work on it as on any log.
Nobody asks: nothing is done. Blocks; called in threads.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import os
import tempfile
import threading
import time
import weakref
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.query import LogQuery, read_log_query
from nightdesk.core.logs.records import Record
from nightdesk.engine.logs.choice import Choice, Spans
from nightdesk.engine.logs.scan import compiled
from nightdesk.engine.logs.sources import Place, Source, rotated_files
from nightdesk.engine.logs.survey import first_time
from nightdesk.engine.logs.tail import log_id
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.logs import LogFile, LogView, LogViewFile

VIEWS_MOST = 4
FILES_MOST = 60
BUDGET = 32 << 20
"""Bytes of logs that are merged where no line is left out: the newest."""
STEP_SECONDS = 0.25
SIZE_MOST = 256 << 20
"""Bytes of a view; then it ends and says so."""
ItemSpans = Mapping[str, Spans]
"""Of a log by its id: when the wanted items were in work."""


class View:
    """One view. Ask it while its lock is held."""

    def __init__(
        self, name: str, text: str, query: LogQuery, files: tuple[LogFile, ...], spans: ItemSpans
    ) -> None:
        self.id, self._text, self._query = name, text, query
        self.lock = threading.Lock()
        self._file = tempfile.TemporaryFile(prefix="nightdesk-view-")  # noqa: SIM115 - lives as long as the view
        weakref.finalize(self, self._file.close)
        self._places: list[Place] = []
        self._files: list[LogViewFile] = []
        self._paths = {file.path for file in files}
        whole = query.chooses_lines or query.since_ns is not None
        self._since_ns = query.since_ns if whole else _begin_of_budget(files)
        self._sources = [self._source(file) for file in files]
        of_files = {number: spans[file.id] for number, file in enumerate(self._files) if file.id in spans}
        self._choice = Choice(query._replace(since_ns=self._since_ns), of_files)
        self._starts, self._numbers, self._origins = array("Q"), array("H"), array("q")
        self._round: Iterator[Record] | None = None
        self._complete = False
        self._reached_ns = 0
        self.size = 0

    def close(self) -> None:
        """Let its files go."""
        for source in self._sources:
            source.close()
        self._file.close()

    @property
    def descriptor(self) -> int:
        """For reading with an offset."""
        return self._file.fileno()

    def told(self) -> LogView:
        """As a viewer sees it."""
        return LogView(
            id=self.id,
            query=self._text,
            files=tuple(self._files),
            size_bytes=self.size,
            since_ns=self._since_ns,
            complete=self._complete,
            full=self.size >= SIZE_MOST,
            reached_ns=self._reached_ns or None,
        )

    def marks(self, start: int, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of ``count`` lines from an offset on: the numbers of their files, and where they begin in them."""
        first = bisect_left(self._starts, start)
        return tuple(self._numbers[first : first + count]), tuple(self._origins[first : first + count])

    def extend(self) -> None:
        """Take in what is new, for a quarter of a second at most. Raises OSError."""
        until = time.monotonic() + STEP_SECONDS
        if self._round is None:
            self._round = heapq.merge(*(source.records(self._choice.skips) for source in self._sources))
        for count, record in enumerate(self._round):
            self._take(record)
            if self.size >= SIZE_MOST or (count % 64 == 63 and time.monotonic() > until):
                break
        else:
            self._round, self._complete = None, True
        self._file.flush()

    def _take(self, record: Record) -> None:
        self._reached_ns = record.at_ns or self._reached_ns
        if not self._choice.takes(record):
            return
        at = record.start
        for line in record.lines:
            self._starts.append(self.size)
            self._numbers.append(record.source)
            self._origins.append(at)
            at += len(line) + 1
            self.size += len(line) + 1
            self._file.write(line + b"\n")

    def _source(self, file: LogFile) -> Source:
        return Source(Path(file.path), lambda path: self._place(path, file.run), self._since_ns, self._paths)

    def _place(self, path: Path, run: str | None) -> Place:
        place = Place(len(self._places), path)
        self._places.append(place)
        name = safe_line(path.name, 200)
        self._files.append(LogViewFile(id=log_id(path), name=name, path=str(path), run=run))
        return place


class LogViews:
    """The views that are in use. ``spans_of`` (file, items) says when items were in work, where that is known."""

    def __init__(
        self,
        files: Callable[[], tuple[LogFile, ...]],
        job_of: Callable[[str], str | None] = lambda run: None,
        spans_of: Callable[[LogFile, tuple[str, ...]], Spans | None] = lambda file, items: None,
    ) -> None:
        """``job_of`` gives the job of a run."""
        self._files = files
        self._job_of = job_of
        self._spans_of = spans_of
        self._views: dict[str, View] = {}
        self._newest: dict[str, str] = {}
        self._serials = itertools.count(1)
        self._lock = threading.Lock()

    def __contains__(self, name: str) -> bool:
        return name in self._views

    def view(self, text: str) -> LogView:
        """The view that ``text`` asks for, and how far it is; asking again goes on. Raises UsageError."""
        query = read_log_query(text, time.time_ns())
        if query.pattern:
            compiled(query.pattern)
        files = self._wanted(query)
        names = " ".join(file.id for file in files)
        key = hashlib.sha256(f"{text}\0{names}".encode()).hexdigest()[:12]
        with self._lock:
            view = self._views.pop(self._newest.get(key, ""), None)
            if view is None:
                # A view that is made anew has another id: nothing that is known of the old one holds for it.
                self._newest[key] = f"view-{key}-{next(self._serials)}"
                view = View(self._newest[key], text, query, files, self._spans(query, files))
            self._views[view.id] = view
            while len(self._views) > VIEWS_MOST:
                old = self._views.pop(next(iter(self._views)))
                self._newest = {key: name for key, name in self._newest.items() if name != old.id}
                with old.lock:
                    old.close()
        with view.lock:
            view.extend()
            return view.told()

    @contextmanager
    def opened(self, name: str) -> Iterator[tuple[int, int]]:
        """A descriptor of a view, and its generation, which never changes."""
        view = self._known(name)
        with view.lock:
            descriptor = os.dup(view.descriptor)
        try:
            yield descriptor, 0
        finally:
            os.close(descriptor)

    def marks(self, name: str, start: int, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Of lines of a view: the numbers of their files, and where they begin in them."""
        view = self._known(name)
        with view.lock:
            return view.marks(start, count)

    def _known(self, name: str) -> View:
        with self._lock:
            view = self._views.get(name)
        if view is None:
            raise NightdeskError("This view of logs is no longer kept.", "Ask for it again.")
        return view

    def _wanted(self, query: LogQuery) -> tuple[LogFile, ...]:
        files = [file for file in self._files() if file.state != "failed" and self._is_wanted(file, query)]
        if not files:
            raise UsageError("No followed log fits this choice.", "nightdesk logs lists them.")
        return tuple(sorted(files[:FILES_MOST], key=lambda file: file.path))

    def _is_wanted(self, file: LogFile, query: LogQuery) -> bool:
        if query.files and not any(word in (file.name.casefold(), file.id) for word in query.files):
            exact = {each.name.casefold() for each in self._files()} | {each.id for each in self._files()}
            words = [word for word in query.files if word not in exact]
            if not any(word in file.name.casefold() for word in words):
                return False
        if query.runs and file.run not in query.runs:
            return False
        job = self._job_of(file.run) if query.jobs and file.run is not None else None
        return not query.jobs or (job is not None and job.casefold() in query.jobs)

    def _spans(self, query: LogQuery, files: tuple[LogFile, ...]) -> ItemSpans:
        if not query.items:
            return {}
        found = {file.id: self._spans_of(file, query.items) for file in files}
        return {name: spans for name, spans in found.items() if spans is not None}


def _begin_of_budget(files: tuple[LogFile, ...]) -> int | None:
    """From when on the newest lines of all files fit into the budget; None where all lines do."""
    paths = [Path(file.path) for file in files]
    rotated = [path for live in paths for path in rotated_files(live)]
    sizes = {path: _size(path) for path in paths}
    # Text is compressed to about a tenth.
    old = sum(_size(path) * (10 if path.suffix == ".gz" else 1) for path in rotated)
    if sum(sizes.values()) + old <= BUDGET:
        return None
    share = BUDGET // max(len(sizes), 1)
    times = [_time_at(path, size - share) for path, size in sizes.items() if size > share]
    return max((at for at in times if at is not None), default=None)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _time_at(path: Path, offset: int) -> int | None:
    """When the first line behind an offset was written."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            found = first_time(file.fileno(), status.st_size, offset, status.st_size, status.st_mtime_ns)
    except OSError:
        return None
    return found[1] if found is not None else None
