"""Errors of a log: tracebacks folded to their cause, other error lines, grouped by likeness.

A Python traceback begins with ``Traceback``, or with the error line right before, and ends with its first line that is
not indented; chained ones are one error whose cause is the last. Any other error line is an error of one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.formats import level_of
from nightdesk.core.logs.levels import Level
from nightdesk.core.logs.times import time_of

CAUSE_MOST = 300
LINES_MOST = 2_000
"""Lines of one traceback; what goes on is a new error."""
GROUPS_MOST = 500
BEGIN = "Traceback (most recent call last):"
_GROUP_BEGIN = re.compile(
    r"^(?P<lead>[\s|+]*)(?:\w+ )*(?:Exception Group )?Traceback \(most recent call last\):"
)
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_GROUP_CAUSE = re.compile(r"^\s*\|\s(?P<text>[A-Za-z_][\w.]*: .+)")
_FRAME = re.compile(r'^\s+File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<name>.+))?')
_DYE = re.compile("\x1b\\[[0-9;:]*[A-Za-z]")
_VARYING = re.compile(
    r"0x[0-9a-fA-F]+|'[^']{0,200}'|\"[^\"]{0,200}\"|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b"
    r"|(?:[\w.~-]*/){1,20}[\w.-]+|\d+(?:[.,:]\d+)*"
)
_FRONT = re.compile(
    r"^[\s\[(]*(?:time=)?\"?(?:\d{4}[-/]\d\d[-/]\d\d(?:[T ]| - ))?\d\d:\d\d:\d\d(?:[.,]\d+)?"
    r"(?:Z|[+-]\d\d:?\d\d)?[\])\"]*[\s|:-]*"
)


class LogError(NamedTuple):
    """One error of a log."""

    line: int
    """Index of its first line among the lines fed."""
    lines: int
    cause: str
    """The line that says what went wrong, made safe."""
    where: str
    """``file:line in name`` of the innermost frame of the user's own code; empty where unknown."""
    likeness: str
    """Equal for errors that differ in numbers, names and paths only."""
    at_ns: int | None


class TracebackReader:
    """Finds errors in lines fed in order. Holds a few strings, never lines."""

    def __init__(self, until_ns: int | None = None) -> None:
        """``until_ns``, when the log was last written, gives the day to times without one."""
        self._line = -1
        self.until_ns = until_ns
        """To be set again when the log has grown."""
        self._now_ns: int | None = None
        self._began: int | None = None
        self._cause = ""
        self._where = ""
        self._own = self._is_group = False
        self._held: LogError | None = None
        """An error to which the next lines may belong: a chained traceback, or the traceback of an error line."""
        self._chained = False

    def feed(self, line: str) -> Iterator[LogError]:
        """Errors that are known to be over with this line."""
        self._line += 1
        text = _DYE.sub("", line) if "\x1b" in line else line
        if self._began is not None:
            if self._takes(text):
                return
            if not self._is_group:
                self._close(text.strip(), self._line + 1)
                return
            self._close(self._cause, self._line)
        if BEGIN in text and _GROUP_BEGIN.match(text):
            yield from self._begin(text)
        elif self._held is None or not self._waits(text):
            yield from self._let_go()
            self._look(text)

    def finish(self) -> Iterator[LogError]:
        """What is left at the end of the log."""
        if self._began is not None:
            self._close(self._cause or "a traceback without its end", self._line + 1)
        yield from self._let_go()

    def _begin(self, text: str) -> Iterator[LogError]:
        held, begin = self._held, self._line
        if held is not None and (self._chained or (held.lines == 1 and held.line == begin - 1)):
            begin, self._held = held.line, None
        yield from self._let_go()
        self._began, self._cause, self._where, self._own = begin, "", "", False
        self._is_group = "Group" in text

    def _takes(self, text: str) -> bool:
        """Whether the traceback goes on with this line."""
        assert self._began is not None
        if self._line - self._began > LINES_MOST:
            return False
        if (frame := _FRAME.match(text.replace("|", " "))) is not None:
            self._note(frame)
        elif self._is_group and not self._cause and (cause := _GROUP_CAUSE.match(text)):
            self._cause = cause["text"]
        return text[:1] in (" ", "\t") or not text.strip()

    def _note(self, frame: re.Match[str]) -> None:
        own = "site-packages" not in frame["file"] and "/lib/python" not in frame["file"]
        if own or not self._own:
            name = f" in {frame['name']}" if frame["name"] else ""
            self._where, self._own = f"{frame['file']}:{frame['line']}{name}", own

    def _close(self, cause: str, end: int) -> None:
        assert self._began is not None
        place = _VARYING.sub("#", self._where.rpartition("/")[2])
        self._held = LogError(
            self._began,
            end - self._began,
            safe_line(cause, CAUSE_MOST),
            safe_line(self._where, CAUSE_MOST),
            f"{likeness(cause)} {place}",
            self._now_ns,
        )
        self._began, self._chained = None, False

    def _waits(self, text: str) -> bool:
        """Whether the held error may go on behind this line: blanks and the sentence of a chain do not end it."""
        assert self._held is not None
        if text.strip() in CHAINED:
            self._chained = True
            return True
        behind = self._line - self._held.line - self._held.lines
        return self._held.lines > 1 and not text.strip() and behind < 4

    def _let_go(self) -> Iterator[LogError]:
        if self._held is not None:
            yield self._held
        self._held, self._chained = None, False

    def _look(self, text: str) -> None:
        stamp = time_of(text, self._now_ns, None, self.until_ns) if ":" in text[:80] else None
        self._now_ns = stamp if stamp is not None else self._now_ns
        if level_of(text) == "error":
            body = _FRONT.sub("", text).strip()
            self._held = LogError(
                self._line, 1, safe_line(body, CAUSE_MOST), "", likeness(body), self._now_ns
            )


class Fold(NamedTuple):
    """A traceback among lines."""

    start: int
    stop: int
    """Behind its last line."""
    cause: str
    where: str


def tracebacks_of(lines: Sequence[str]) -> Iterator[Fold]:
    """The tracebacks among lines, in order. Lines without any cost next to nothing."""
    at = 0
    while at < len(lines):
        if BEGIN not in lines[at] or (fold := _traceback_at(lines, at)) is None:
            at += 1
            continue
        yield fold
        at = fold.stop


def levels_of(lines: Sequence[str]) -> list[Level]:
    """The level of each line. A traceback counts once: in its first line, or in the error that announces it."""
    levels = [level_of(line) for line in lines]
    stop = 0
    for fold in tracebacks_of(lines):
        is_announced = fold.start > stop and levels[fold.start - 1] == "error"
        own = fold.start if is_announced else fold.start + 1
        levels[own : fold.stop] = [""] * (fold.stop - own)
        stop = fold.stop
    return levels


def _traceback_at(lines: Sequence[str], at: int) -> Fold | None:
    reader = TracebackReader()
    for line in lines[at : at + LINES_MOST]:
        if (error := next(reader.feed(line), None)) is not None:
            break
    else:
        error = next(reader.finish(), None)
    if error is None or error.lines < 3:
        return None
    return Fold(at + error.line, at + error.line + error.lines, error.cause, error.where)


def likeness(text: str) -> str:
    """The text without what differs from one time to the next: numbers, quoted names, paths, addresses."""
    return _VARYING.sub("#", _FRONT.sub("", text).strip())[:200]


class ErrorGroup(NamedTuple):
    """Errors that are alike, with the places of the first and of the last."""

    times: int
    first: LogError
    last: LogError


def grouped(errors: Iterator[LogError] | list[LogError]) -> tuple[ErrorGroup, ...]:
    """The errors by likeness, the group that began first at the front. At most 500 groups; the rest is one."""
    groups: dict[str, ErrorGroup] = {}
    for error in errors:
        key = error.likeness if error.likeness in groups or len(groups) < GROUPS_MOST else ""
        known = groups.get(key)
        groups[key] = (
            ErrorGroup(known.times + 1, known.first, error) if known else ErrorGroup(1, error, error)
        )
    return tuple(sorted(groups.values(), key=lambda group: group.first.line))
