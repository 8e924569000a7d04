"""The part of a log file that the viewer holds: windows in order, older ones put before, newer ones behind.

Pure: it says what to ask for next and takes the answers. Memory is bounded by :data:`LINES_KEPT`.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

from nightdesk.model.logs import LogFile, LogWindow

WINDOW_BYTES = 65_536
LEAST_BYTES = 2_048
LINES_KEPT = 5_000
LINES_A_WINDOW = 2_048
LINE_CHARS = 8_192
"""Characters of a line that are kept for display."""


class Request(NamedTuple):
    """A window to ask for. Without ``start`` and ``end``: the end of the file."""

    log: str
    start: int | None = None
    end: int | None = None
    max_bytes: int = WINDOW_BYTES
    alone: bool = False
    """What comes takes the place of all that is held."""


class LogBuffer:
    """Windows of one log file without a hole between them."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.generation: int | None = None
        self.size_bytes = 0
        self.lines: list[str] = []
        self.offsets: list[int] = []
        """Byte offset of each line held."""
        self.files: list[int] = []
        """Number of each line's file, in a view of several; else empty."""
        self.origins: list[int] = []
        """Where each line begins in its file, in a view of several; else empty."""
        self._numbers: list[int | None] = []
        """Number of the first line of each window held, where it is known."""
        self._windows: list[tuple[int, int, int]] = []
        """(start, end, number of lines) of each window held."""
        self._unfinished: int | None = None
        """Offset of the last line held, while that has no end yet."""
        self._bytes = WINDOW_BYTES

    @property
    def _columns(self) -> tuple[list[str], list[int], list[int], list[int]]:
        return self.lines, self.offsets, self.files, self.origins

    @property
    def start(self) -> int:
        """Byte offset of the first line held."""
        return self._windows[0][0] if self._windows else 0

    @property
    def end(self) -> int:
        """Byte offset behind the last line held."""
        return self._windows[-1][1] if self._windows else 0

    @property
    def has_older(self) -> bool:
        """There are lines before the first one held."""
        return bool(self._windows) and self.start > 0

    @property
    def may_hold_more(self) -> bool:
        """There are older lines and room for them."""
        return self.has_older and len(self.lines) < LINES_KEPT - LINES_A_WINDOW

    @property
    def has_newer(self) -> bool:
        """There are lines behind the last one held."""
        return self.end < self.size_bytes

    def is_behind(self, file: LogFile) -> bool:
        """The file has changed since the newest window."""
        return (file.generation, file.size_bytes) != (self.generation, self.size_bytes)

    def tail(self) -> Request:
        """The end of the file."""
        return Request(self.log, max_bytes=self._bytes)

    def head(self) -> Request:
        """The beginning of the file."""
        return Request(self.log, start=0, max_bytes=self._bytes)

    def jump(self, offset: int) -> Request:
        """What lies from a line start on, wherever that is."""
        return Request(self.log, start=offset, max_bytes=self._bytes, alone=True)

    def number(self, index: int) -> int | None:
        """The number, from 1, of a line held; None where the lines before it are not counted."""
        first = 0
        for (_, _, count), number in zip(self._windows, self._numbers, strict=True):
            if index < first + count:
                return None if number is None else number + index - first
            first += count
        return None

    def index_of(self, offset: int) -> int | None:
        """Which line held begins at ``offset``."""
        at = bisect_left(self.offsets, offset)
        return at if at < len(self.offsets) and self.offsets[at] == offset else None

    def older(self) -> Request | None:
        """What lies before the first line held."""
        return Request(self.log, end=self.start, max_bytes=self._bytes) if self.has_older else None

    def newer(self) -> Request | None:
        """What lies behind the last line held; with that line, while it may grow."""
        if not self.has_newer:
            return None
        start = self.end if self._unfinished is None else self._unfinished
        return Request(self.log, start=start, max_bytes=self._bytes)

    def take(self, asked: Request, window: LogWindow) -> int | Request:
        """Take an answer in. Lines that are new at the top (negative: gone), or what to ask instead."""
        if len(window.lines) > LINES_A_WINDOW and self._bytes > LEAST_BYTES:
            self._bytes = max(LEAST_BYTES, self._bytes // 4)
            return asked._replace(max_bytes=self._bytes)
        other = self.generation not in (None, window.generation)
        self.generation, self.size_bytes = window.generation, window.size_bytes
        if other and not self._is_tail(asked):
            return self.tail()
        if asked.alone or self._is_tail(asked) or (asked.start == 0 and self.start > 0):
            return self.take_alone(window)
        return self._take_older(window) if asked.end is not None else self._take_newer(window)

    @staticmethod
    def _is_tail(asked: Request) -> bool:
        return asked.start is None and asked.end is None

    def take_alone(self, window: LogWindow) -> int:
        """Hold this window and nothing else. No line is new at its top."""
        self.generation, self.size_bytes = window.generation, window.size_bytes
        self._windows, self._numbers = [], []
        for held in self._columns:
            held.clear()
        self._put(window, at=0)
        return 0

    def _take_older(self, window: LogWindow) -> int:
        if window.end != self.start or not window.lines:
            return 0
        self._put(window, at=0)
        self._trim_newest()
        return len(window.lines)

    def _take_newer(self, window: LogWindow) -> int:
        if not self._windows or not window.lines or window.end <= self.end:
            return 0
        if window.start == self._unfinished:
            self._drop_last_line()
        if window.start != self.end:
            return 0
        self._put(window, at=len(self._windows))
        return -self._trim_oldest()

    def _drop_last_line(self) -> None:
        start, _, count = self._windows.pop()
        number = self._numbers.pop()
        for held in self._columns:
            del held[-1:]
        if count > 1:
            self._windows.append((start, self._unfinished or start, count - 1))
            self._numbers.append(number)
        elif not self._windows:
            self._windows.append((start, start, 0))
            self._numbers.append(number)

    def _put(self, window: LogWindow, at: int) -> None:
        cut = [line[:LINE_CHARS] for line in window.lines]
        place = 0 if at == 0 else len(self.lines)
        self.lines[place:place] = cut
        self.offsets[place:place] = _starts(window)
        if len(window.files) == len(cut) == len(window.origins):
            self.files[place:place] = window.files
            self.origins[place:place] = window.origins
        self._numbers.insert(at, window.first_line)
        self._windows.insert(at, (window.start, window.end, len(cut)))
        if at == len(self._windows) - 1:
            self._unfinished = window.unfinished

    def _trim_newest(self) -> None:
        while len(self.lines) > LINES_KEPT and len(self._windows) > 1:
            _, _, count = self._windows.pop()
            self._numbers.pop()
            for held in self._columns:
                del held[len(held) - min(count, len(held)) :]
            self._unfinished = None

    def _trim_oldest(self) -> int:
        gone = 0
        while len(self.lines) > LINES_KEPT and len(self._windows) > 1:
            _, _, count = self._windows.pop(0)
            self._numbers.pop(0)
            for held in self._columns:
                del held[:count]
            gone += count
        return gone


def _starts(window: LogWindow) -> list[int]:
    """Where each line begins; an engine that does not say so gives them the beginning of the window."""
    starts = window.starts if len(window.starts) == len(window.lines) else (0,) * len(window.lines)
    return [window.start + start for start in starts]
