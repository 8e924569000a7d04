"""Lines of a log put together to records: a line with what belongs to it, and when it was written.

A record is a line with its continuation: indented lines, blank ones, tracebacks. A record that tells no time has that
of the one before; time never runs backwards within a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nightdesk.core.logs.formats import read_log_line, undyed
from nightdesk.core.logs.times import time_of
from nightdesk.core.logs.tracebacks import BEGIN, CHAINED

LINES_MOST = 200
"""Lines of one record; what goes on is a record of its own."""
_HEAD = 80
_BEGIN = BEGIN.encode()
_ZONE = re.compile(r"\s?(?:Z|UTC|GMT|[+-]\d)")
_CHAIN = tuple(text.encode() for text in CHAINED)


class Record(NamedTuple):
    """A line and what belongs to it. Ordered by time, then by file, then by place: nothing is ever equal."""

    at_ns: int
    source: int
    """Which file: those of equal time stand in this order."""
    start: int
    """Byte offset of its first line in its file."""
    lines: tuple[bytes, ...]
    """Without line ends."""
    goes_on: bool = False
    """It belongs to the record before it, which was told already."""


class Strand:
    """The records of one file, from lines fed in order. Holds one record."""

    def __init__(self, until_ns: int = 0) -> None:
        """``until_ns``, when the file was last written, gives the day to times without one."""
        self._last_ns: int | None = None
        self.until_ns = until_ns
        """To be set again when the file has grown."""
        self._held: list[bytes] = []
        self._start = 0
        self._at_ns = 0
        self._goes_on = False
        self._in_traceback = False
        self._stamps: dict[str, int | None] = {}

    def feed(self, source: int, lines: Iterable[tuple[int, bytes]]) -> Iterator[Record]:
        """The records that are known to be over with these lines, given as (byte offset, line)."""
        for start, line in lines:
            if self._belongs(line) and (self._held or self._last_ns is not None):
                if self._held and len(self._held) < LINES_MOST:
                    self._held.append(line)
                    continue
                yield from self.finish(source)
                self._begin(start, line, goes_on=True)
            else:
                yield from self.finish(source)
                self._begin(start, line, goes_on=False)

    def finish(self, source: int) -> Iterator[Record]:
        """The record that is held: nothing may follow it for a while."""
        if self._held:
            yield Record(self._at_ns, source, self._start, tuple(self._held), self._goes_on)
            self._held = []

    def leap(self, line: bytes) -> None:
        """Lines were left out up to this one, of which only the time counts."""
        self._held, self._in_traceback = [], False
        self._at(line)

    def _begin(self, start: int, line: bytes, *, goes_on: bool) -> None:
        self._held, self._start, self._goes_on = [line], start, goes_on
        self._at_ns = (self._last_ns or 0) if goes_on else self._at(line)

    def _belongs(self, line: bytes) -> bool:
        if self._in_traceback:
            self._in_traceback = not line.strip() or line[:1] in b" \t"
            return True
        if line.startswith(_BEGIN):
            self._in_traceback = True
            return True
        return not line.strip() or line[:1] in b" \t" or line.startswith(_CHAIN)

    def _at(self, line: bytes) -> int:
        found = self._stamp(line)
        if found is not None:
            self._last_ns = found if self._last_ns is None else max(self._last_ns, found)
        return self._last_ns if self._last_ns is not None else 0

    def _stamp(self, line: bytes) -> int | None:
        head = line[:_HEAD]
        if head[:1] == b"{":
            return read_log_line(line.decode("utf-8", "replace"), self._last_ns, None, self.until_ns).at_ns
        if b":" not in head and not head[:1].isdigit() and b"=1" not in head:
            return None
        text = head.decode("utf-8", "replace")
        if text[4:5] == "-" and text[13:14] == ":" and (quick := self._quick(text)) is not None:
            return quick
        return time_of(undyed(text), self._last_ns, None, self.until_ns)

    def _quick(self, text: str) -> int | None:
        """``2026-01-01 02:03:04,567`` in front, without a zone: each second is read once."""
        front, rest = text[:19], text[19:]
        digits = rest[1:10]
        count = next((at for at, sign in enumerate(digits) if not sign.isdigit()), len(digits))
        if rest[:1] not in (".", ",", " ") or _ZONE.match(rest[1 + count if count else 0 :]):
            return None
        if front not in self._stamps:
            if len(self._stamps) > 64:
                self._stamps.clear()
            self._stamps[front] = time_of(front)
        base = self._stamps[front]
        if base is None or rest[:1] == " ":
            return base
        return base + int(digits[:count].ljust(9, "0") or 0)
