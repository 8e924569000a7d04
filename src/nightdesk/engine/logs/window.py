"""Reads some whole lines of a log file by byte offset, whatever its size and however long its lines are."""

from __future__ import annotations

import os
from typing import NamedTuple

from nightdesk.core.logs.lines import LINE_LIMIT, shown_line, whole_lines

_BLOCK = 1 << 18
MAX_WINDOW = 4 << 20


class Lines(NamedTuple):
    """Whole lines between two offsets. ``unfinished`` is the offset of a last line that has no end yet."""

    start: int
    end: int
    unfinished: int | None
    lines: tuple[str, ...]
    starts: tuple[int, ...] = ()
    """Where each line begins, counted from ``start``."""


def read_lines(descriptor: int, size: int, start: int | None, end: int | None, max_bytes: int) -> Lines:
    """Forwards from ``start``, or backwards from ``end`` (the end of the file where None).

    About ``max_bytes`` bytes, but always one line where there is one. An offset inside a line moves to the next
    line for ``start`` and to the line's beginning for ``end``. Raises OSError.
    """
    max_bytes = min(max(max_bytes, 1), MAX_WINDOW)
    if start is not None:
        return _forwards(descriptor, size, start, end, max_bytes)
    return _backwards(descriptor, size, size if end is None else end, max_bytes)


def _forwards(descriptor: int, size: int, start: int, end: int | None, max_bytes: int) -> Lines:
    start = _line_after(descriptor, min(max(start, 0), size), size)
    stop = min(size if end is None else max(end, start), start + max_bytes, size)
    if stop < size and not _is_line_start(descriptor, stop):
        before = _line_start(descriptor, stop, start)
        stop = before if before > start else _line_after(descriptor, stop, size)
    return _between(descriptor, start, stop)


def _backwards(descriptor: int, size: int, end: int, max_bytes: int) -> Lines:
    end = min(max(end, 0), size)
    if end < size and not _is_line_start(descriptor, end):
        end = _line_start(descriptor, end, 0)
    start = max(end - max_bytes, 0)
    if not _is_line_start(descriptor, start):
        after = _line_after(descriptor, start, end)
        start = after if after < end else _line_start(descriptor, max(end - 1, 0), 0)
    return _between(descriptor, start, end)


def _between(descriptor: int, start: int, end: int) -> Lines:
    """The lines from one line start to another, or to the end of the file."""
    if end - start > MAX_WINDOW:
        ended = os.pread(descriptor, 1, end - 1) == b"\n"
        long = (_long_line(descriptor, start, end - ended),)
        return Lines(start, end, None if ended else start, long, (0,))
    block = os.pread(descriptor, end - start, start)
    found = list(whole_lines(block, start))
    unfinished = None
    if block and not block.endswith(b"\n"):
        unfinished = found[-2][0] if len(found) > 1 else start
    starts = (0, *(after - start for after, _ in found[:-1])) if found else ()
    return Lines(start, start + len(block), unfinished, tuple(shown_line(raw) for _, raw in found), starts)


def _long_line(descriptor: int, start: int, end: int) -> str:
    """A line of megabytes: its last frame where carriage returns overwrite it, else its beginning."""
    tail = os.pread(descriptor, LINE_LIMIT, end - LINE_LIMIT)
    if b"\r" in tail:
        return shown_line(tail[tail.find(b"\r") :])
    kept = os.pread(descriptor, LINE_LIMIT, start).decode("utf-8", "ignore")
    return f"{kept}… ({end - start - len(kept.encode()):,} bytes hidden)"


def _is_line_start(descriptor: int, at: int) -> bool:
    return at == 0 or os.pread(descriptor, 1, at - 1) == b"\n"


def _line_after(descriptor: int, at: int, limit: int) -> int:
    """``at`` where a line starts there, else the start of the next line, at most ``limit``."""
    if _is_line_start(descriptor, at):
        return at
    while at < limit and (block := os.pread(descriptor, min(_BLOCK, limit - at), at)):
        found = block.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(block)
    return limit


def _line_start(descriptor: int, at: int, floor: int) -> int:
    """Where the line that holds the byte before ``at`` starts, at least ``floor``."""
    while at > floor:
        begin = max(at - _BLOCK, floor)
        found = os.pread(descriptor, at - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        at = begin
    return floor
