"""Follows log files: those that match the desk's patterns and those of its runs."""

from __future__ import annotations

import asyncio
import glob
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nightdesk.core.logs.progress_forms import compiled_patterns
from nightdesk.engine.logs.tail import Tail, log_id
from nightdesk.engine.logs.window import read_lines
from nightdesk.model.desk import Change, LogChanged, LogGone
from nightdesk.model.errors import NightdeskError
from nightdesk.model.logs import LogFile, LogWindow, Progress

RESCAN_NS = 3_000_000_000
"""How often the patterns are looked at again, for files and folders that nothing told us about."""
_STEP_MS = 50
_LEISURE_NS = 1_000_000_000
"""From this pace on nobody waits for a line, and a look at each file's status is cheaper than hearing of each write."""
_MAX_FILES = 200
"""Files of the patterns that are followed at once; the newest count."""
_KEEP_GONE_NS = 600_000_000_000
_SETTLE_S = 0.2
"""After a watch began everything is looked at once more: what changed just before it is not told."""

Publish = Callable[[Change], None]
OnProgress = Callable[[str, Progress, int | None], None]


class LogFollower:
    """Follows files as long as :meth:`run` runs. Calls back on the event loop's thread."""

    def __init__(
        self, patterns: Iterable[str], base: Path, publish: Publish, on_progress: OnProgress | None = None
    ) -> None:
        """``patterns`` are globs below ``base``. ``on_progress`` gets a run's id, its progress, and after when
        that was written.
        """
        self._forms: tuple[re.Pattern[str], ...] = ()
        self._patterns = tuple(patterns)
        self._endings = _endings(self._patterns)
        self._base = base
        self._publish = publish
        self._on_progress = on_progress
        self._tails: dict[str, Tail] = {}
        self._shown: dict[str, LogFile] = {}
        self._empty: tuple[str, ...] = ()
        self._dirty: set[str] = set()
        self._folders: frozenset[str] = frozenset()
        self._missing: frozenset[str] = frozenset()
        self._by_path: dict[str, str] = {}
        self._refit = False
        self._polling = False
        self._turn = asyncio.Event()
        self._wake = asyncio.Event()
        self._busy = threading.Lock()
        self._scanned_ns = 0
        self._pace_ns = 250_000_000

    def set_pace(self, pace_ns: int) -> None:
        """Least time between two looks at the same file. Longer while nobody watches saves work."""
        if pace_ns != self._pace_ns:
            self._pace_ns = pace_ns
            self._refit = True
            self._turn.set()

    def files(self) -> tuple[LogFile, ...]:
        """All followed files, the one that changed last first."""
        return tuple(sorted(self._shown.values(), key=lambda log: (-log.modified_ns, log.path)))

    def empty_patterns(self) -> tuple[str, ...]:
        """Patterns that match no file at the moment."""
        return self._empty

    def set_forms(self, forms: Iterable[str]) -> None:
        """Reads progress by these patterns of the user first, in files that are followed from now on."""
        try:
            self._forms = compiled_patterns(forms)
        except ValueError:
            self._forms = ()

    def set_patterns(self, patterns: Iterable[str]) -> None:
        """Follows other patterns from the next look on; files that only matched old ones are let go."""
        self._patterns = tuple(patterns)
        self._endings = _endings(self._patterns)
        self._scanned_ns = 0
        self._turn.set()

    def add_run_log(self, run_id: str, path: Path, started_ns: int | None = None) -> LogFile:
        """Follows the log of a run, which need not exist yet; returns it as it is now."""
        path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links, the id is the path's
        known = self._tails.get(log_id(path))
        if known is None:
            known = self._tails[log_id(path)] = Tail(path, "run", run_id, started_ns, self._forms)
            self._check([known.id])
        known.origin, known.run = "run", run_id
        self._place()
        self._show(known)
        return known.view()

    def remove(self, log: str) -> None:
        """Lets a file go by its id."""
        if self._tails.pop(log, None) is not None:
            self._shown.pop(log, None)
            self._dirty.discard(log)
            self._place()
            self._publish(LogGone(id=log))

    def window(
        self, log: str, *, start: int | None = None, end: int | None = None, max_bytes: int = 65_536
    ) -> LogWindow:
        """Whole lines forwards from ``start``, or backwards from ``end`` (the end of the file where None). Blocks.

        Only files that are followed can be read. Raises NightdeskError where ``log`` is none of them or can't be read.
        """
        with self.opened(log) as (descriptor, generation):
            size = os.fstat(descriptor).st_size
            found = read_lines(descriptor, size, start, end, max_bytes)
        return LogWindow(
            id=log,
            generation=generation,
            start=found.start,
            end=found.end,
            size_bytes=size,
            unfinished=found.unfinished,
            lines=found.lines,
            starts=found.starts,
        )

    @contextmanager
    def opened(self, log: str) -> Iterator[tuple[int, int]]:
        """A descriptor of a followed file, and its generation. Raises NightdeskError, also for errors of reading."""
        tail = self._tails.get(log)
        if tail is None:
            raise NightdeskError(
                f"No log file with the id {log[:40]!r} is followed.", "nightdesk logs lists them."
            )
        try:
            descriptor = tail.open_text()
            try:
                yield descriptor, tail.view().generation
            finally:
                os.close(descriptor)
        except OSError as fault:
            raise NightdeskError(
                f"The log {tail.view().name} can't be read: {fault.strerror or fault}."
            ) from fault

    async def run(self) -> None:
        """Follows until it is cancelled."""
        await self._rescan()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_all())
            tasks.create_task(self._pace())

    async def _watch_all(self) -> None:
        """Keeps a watching thread on the right folders and looks at the patterns from time to time."""
        while True:
            self._refit = False
            stop = threading.Event()
            if self._folders and not self._is_polling:
                work = (self._folders, stop, asyncio.get_running_loop())
                threading.Thread(target=self._watch, args=work, name="log-watch", daemon=True).start()
            try:
                await asyncio.sleep(_SETTLE_S)
                self._turn.clear()
                await self._rescan()
                while not self._refit:
                    await self._turn_of(self._pace_ns / 1e9 if self._is_polling else RESCAN_NS / 1e9)
            finally:
                stop.set()

    @property
    def _is_polling(self) -> bool:
        return self._polling or self._pace_ns >= _LEISURE_NS

    async def _turn_of(self, seconds: float) -> None:
        await _wait(self._turn, seconds)
        self._turn.clear()
        if self._is_polling:
            self._show_all(await asyncio.to_thread(self._check_changed, list(self._tails.values())))
        if time.monotonic_ns() - self._scanned_ns >= RESCAN_NS:
            await self._rescan()

    def _watch(self, folders: Iterable[str], stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        """Runs in a thread of its own, which spares two changes of thread for each batch of events."""
        from watchfiles import watch

        changes = watch(
            *folders,
            watch_filter=lambda _, path: path in self._by_path or self._may_match(path),
            recursive=False,
            step=_STEP_MS,
            debounce=_STEP_MS,
            raise_interrupt=False,
            stop_event=stop,
        )
        try:
            for batch in changes:
                self._take({path for _, path in batch}, stop, loop)
        except (OSError, RuntimeError):
            if not stop.is_set():
                self._polling = self._refit = True
                loop.call_soon_threadsafe(self._turn.set)

    def _take(self, paths: Iterable[str], stop: threading.Event, loop: asyncio.AbstractEventLoop) -> None:
        """Looks at the changed files that are due; the others and the publishing are left to the loop."""
        by_path, now_ns = self._by_path, time.time_ns()
        logs = {by_path[path] for path in paths if path in by_path}
        due = [log for log in logs if now_ns - self._checked_ns(log) >= self._pace_ns]
        tails = self._check(due)
        if not stop.is_set():
            loop.call_soon_threadsafe(self._taken, tails, logs.difference(due), len(logs))

    def _taken(self, tails: Iterable[Tail], later: set[str], known: int) -> None:
        self._show_all(tails)
        if later:
            self._dirty |= later
            self._wake.set()
        if not known:
            self._turn.set()

    def _may_match(self, path: str) -> bool:
        """Whether a new file may belong to a pattern: then the patterns are looked at soon."""
        if path in self._missing or path.endswith(self._endings):
            self._scanned_ns = min(self._scanned_ns, time.monotonic_ns() - RESCAN_NS)
            return True
        return False

    async def _pace(self) -> None:
        """Looks at changed files, each at most once in ``pace_ns``."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                now_ns = time.time_ns()
                due = [log for log in self._dirty if now_ns - self._checked_ns(log) >= self._pace_ns]
                if not due:
                    await asyncio.sleep(self._pause_s(now_ns))
                    continue
                self._dirty.difference_update(due)
                self._show_all(await asyncio.to_thread(self._check, due))

    def _checked_ns(self, log: str) -> int:
        tail = self._tails.get(log)
        return min(tail.checked_ns, time.time_ns()) if tail else 0

    def _pause_s(self, now_ns: int) -> float:
        """Until the first file is due, at least a step: several files then share one look."""
        first = min(self._checked_ns(log) for log in self._dirty)
        return max((first + self._pace_ns - now_ns) / 1e9, _STEP_MS / 1000)

    def _check(self, logs: Iterable[str]) -> list[Tail]:
        """Looks at these files; blocks, in any thread."""
        tails = [tail for log in logs if (tail := self._tails.get(log)) is not None]
        with self._busy:
            for tail in tails:
                tail.check(time.time_ns())
        return tails

    def _check_changed(self, tails: Iterable[Tail]) -> list[Tail]:
        """Looks at those of these files whose status differs from what we saw last; blocks."""
        return self._check([tail.id for tail in tails if tail.differs()])

    def _show_all(self, tails: Iterable[Tail]) -> None:
        for tail in tails:
            if self._tails.get(tail.id) is tail:
                self._show(tail)

    def _show(self, tail: Tail) -> None:
        """Publishes a file that differs from what was last published."""
        view = tail.view()
        if self._shown.get(tail.id) == view:
            return
        self._shown[tail.id] = view
        self._publish(LogChanged(log=view))
        if tail.progressed and tail.run is not None and view.progress is not None and self._on_progress:
            self._on_progress(tail.run, view.progress, tail.after_ns)

    async def _rescan(self) -> None:
        """Looks for files of the patterns, lets go of those that are gone for long, checks what we may have missed."""
        self._scanned_ns = time.monotonic_ns()
        found, empty = await asyncio.to_thread(_matching, self._patterns, self._base)
        self._empty = empty
        for path in found:
            if log_id(path) not in self._tails:
                self._tails[log_id(path)] = Tail(path, "watch", None, None, self._forms)
        kept = {log_id(path) for path in found}
        self._show_all(await asyncio.to_thread(self._check_changed, list(self._tails.values())))
        now_ns = time.time_ns()
        for log, tail in list(self._tails.items()):
            if tail.origin == "watch" and log not in kept and self._may_go(tail, now_ns):
                self.remove(log)
        self._place()

    def _may_go(self, tail: Tail, now_ns: int) -> bool:
        return tail.gone_ns is None or now_ns - tail.gone_ns >= _KEEP_GONE_NS

    def _place(self) -> None:
        """Which folders to watch; a change makes the watcher begin anew."""
        if self._is_polling:
            self._folders = frozenset()
            return
        self._by_path = {os.path.realpath(tail.path): log for log, tail in self._tails.items()}
        parents = {os.path.dirname(path) for path in self._by_path}  # noqa: PTH120 - texts, not paths, are compared
        parents |= {os.path.realpath(_folder_of(pattern, self._base)) for pattern in self._patterns}
        folders = frozenset(folder for folder in parents if os.path.isdir(folder))  # noqa: PTH112 - as above
        self._missing = frozenset(parents - folders)
        if folders != self._folders:
            self._folders = folders
            self._refit = True
            self._turn.set()


def _full(pattern: str, base: Path) -> str:
    return os.path.normpath(base / Path(pattern).expanduser())


def _endings(patterns: Iterable[str]) -> tuple[str, ...]:
    """How names end that the patterns can match: what follows the last ``*``."""
    return tuple({pattern.rpartition("*")[2].rpartition("?")[2].rpartition("]")[2] for pattern in patterns})


def _folder_of(pattern: str, base: Path) -> str:
    return os.path.dirname(_full(pattern, base))  # noqa: PTH120 - a glob is no path


def _matching(patterns: Iterable[str], base: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The newest files of all patterns, and the patterns without any."""
    found: dict[str, int] = {}
    empty = []
    for pattern in patterns:
        names = glob.glob(_full(pattern, base), recursive=True)  # noqa: PTH207 - "~" and absolute patterns are allowed
        times = {name: modified for name in names if (modified := _modified_ns(name)) is not None}
        found.update(times)
        if not times:
            empty.append(pattern)
    newest = sorted(found, key=lambda name: -found[name])[:_MAX_FILES]
    return [Path(name) for name in newest], tuple(empty)


def _modified_ns(name: str) -> int | None:
    """When a regular file changed; None for anything else."""
    try:
        status = os.stat(name)  # noqa: PTH116 - thousands of names
    except OSError:
        return None
    return status.st_mtime_ns if (status.st_mode & 0o170000) == 0o100000 else None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
