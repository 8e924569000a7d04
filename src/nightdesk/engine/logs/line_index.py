"""Where lines start in a file of any size: how many lines lie before each block, 8 bytes for each 256 KB."""

from __future__ import annotations

import os
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable

BLOCK = 262_144
_BREATH = 32
"""Blocks after which other threads get their turn."""


class LineIndex:
    """Counts line feeds, block by block. Whole blocks are counted once; the last, growing one when asked."""

    def __init__(self) -> None:
        self._before = array("Q", [0])

    @property
    def indexed_bytes(self) -> int:
        """How far whole blocks are counted."""
        return (len(self._before) - 1) * BLOCK

    def covers(self, size: int) -> bool:
        """Whether all whole blocks of a file of this size are counted."""
        return self.indexed_bytes >= size // BLOCK * BLOCK

    def extend(self, descriptor: int, size: int, stopped: Callable[[], bool]) -> None:
        """Count what is not counted yet; returns early when ``stopped`` says so. Raises OSError."""
        while not self.covers(size) and not stopped():
            for _ in range(_BREATH):
                if self.covers(size) or not self._count(descriptor):
                    break
            else:
                time.sleep(0)
                continue
            break

    def _count(self, descriptor: int) -> bool:
        data = os.pread(descriptor, BLOCK, self.indexed_bytes)
        if len(data) == BLOCK:
            self._before.append(self._before[-1] + data.count(b"\n"))
        return len(data) == BLOCK

    def lines(self, descriptor: int, size: int) -> int:
        """Lines of what is counted and of the block behind it, an unfinished last one among them. Raises OSError."""
        rest = os.pread(descriptor, min(BLOCK, max(size - self.indexed_bytes, 0)), self.indexed_bytes)
        open_line = bool(rest) and not rest.endswith(b"\n")
        return self._before[-1] + rest.count(b"\n") + open_line

    def number_at(self, descriptor: int, offset: int) -> int | None:
        """The number, from 1, of the line that holds the byte at ``offset``; None where nothing is counted yet."""
        block = offset // BLOCK
        if block >= len(self._before):
            return None
        head = os.pread(descriptor, offset - block * BLOCK, block * BLOCK)
        return self._before[block] + head.count(b"\n") + 1

    def offset_of(self, descriptor: int, number: int) -> int | None:
        """Where line ``number`` (from 1) starts; None where that lies behind what is counted."""
        feeds = number - 1
        if feeds <= 0:
            return 0
        block = bisect_left(self._before, feeds) - 1
        data = os.pread(descriptor, BLOCK, block * BLOCK)
        left, at = feeds - self._before[block], -1
        for _ in range(left):
            at = data.find(b"\n", at + 1)
            if at < 0:
                return None
        return block * BLOCK + at + 1
