"""One log as a source of records: its rotated files from the oldest on, then the file itself, across rotations."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from nightdesk.core.logs.records import Record, Strand
from nightdesk.engine.logs.decoded import HEAD, Spool, kind_of
from nightdesk.engine.logs.scan import blocks

ROTATED_MOST = 50
Skips: TypeAlias = Callable[[int, int, int, bytes, int], bool]
_ROTATED = re.compile(r"[.-](?:\d+|\d{4}-?\d\d-?\d\d(?:[T_.-]?\d[\d:-]*)?|old|bak)(?:\.gz)?")


class Place(NamedTuple):
    """A file among those of a view."""

    number: int
    path: Path


class Source:
    """Gives the records of one log that are new since it was asked before. Blocking; one thread at a time."""

    def __init__(self, live: Place, rotated: tuple[Place, ...], start: int = 0) -> None:
        """``rotated`` are read first, in this order; of the live file only what begins at ``start`` or behind it."""
        self.live = live
        self._rotated = list(rotated)
        self._strand = Strand(_modified_ns(live.path))
        self._descriptor = -1
        self._identity: tuple[int, int] | None = None
        self._spool: Spool | None = None
        self._at = start

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def records(self, skips: Skips) -> Iterator[Record]:
        """What is new. ``skips`` (file, descriptor, base, block, bytes of it): nothing of a block is wanted."""
        while self._rotated:
            place = self._rotated.pop(0)
            yield from self._whole(place, skips)
        if self._was_replaced():
            yield from self._read(self.live.number, skips, to_its_end=True)
            self.close()
            self._identity, self._spool, self._at = None, None, 0
        if self._open():
            yield from self._read(self.live.number, skips)
        yield from self._strand.finish(self.live.number)

    def _was_replaced(self) -> bool:
        if self._identity is None or self._descriptor < 0:
            return False
        try:
            status = self.live.path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != self._identity

    def _open(self) -> bool:
        if self._descriptor >= 0:
            return True
        try:
            self._descriptor = os.open(self.live.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        status = os.fstat(self._descriptor)
        self._identity = (status.st_dev, status.st_ino)
        return True

    def _whole(self, place: Place, skips: Skips) -> Iterator[Record]:
        """A rotated file from its beginning to its end."""
        try:
            descriptor = os.open(place.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        kept = (self._descriptor, self._spool, self._at)
        self._descriptor, self._spool, self._at = descriptor, None, 0
        try:
            yield from self._read(place.number, skips, to_its_end=True)
            yield from self._strand.finish(place.number)
        finally:
            os.close(descriptor)
            self._descriptor, self._spool, self._at = kept

    def _read(self, number: int, skips: Skips, *, to_its_end: bool = False) -> Iterator[Record]:
        descriptor, size = self._text()
        self._strand.until_ns = os.fstat(self._descriptor).st_mtime_ns
        if size < self._at:
            self._at = 0
        for _, base, block, cut in blocks(descriptor, self._at, size):
            self._at = base + cut
            if skips(number, descriptor, base, block, cut):
                last = block.rfind(b"\n", 0, cut - 1) + 1
                self._strand.leap(block[last : cut - 1])
                continue
            yield from self._strand.feed(number, _lines(base, block, cut))
        if to_its_end and size > self._at:
            rest = os.pread(descriptor, size - self._at, self._at)
            self._at = size
            yield from self._strand.feed(number, [(size - len(rest), rest)])

    def _text(self) -> tuple[int, int]:
        """A descriptor of the text, and its size."""
        size = os.fstat(self._descriptor).st_size
        if self._spool is None:
            kind = kind_of(os.pread(self._descriptor, HEAD, 0))
            if kind == "plain":
                return self._descriptor, size
            self._spool = Spool(kind)
        self._spool.extend(self._descriptor, size)
        return self._spool.descriptor, self._spool.size


def _lines(base: int, block: bytes, cut: int) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < cut:
        end = block.find(b"\n", at, cut)
        end = cut if end < 0 else end
        yield base + at, block[at:end]
        at = end + 1


def rotated_files(live: Path) -> list[Path]:
    """Files beside a log that rotation made of it, the oldest first: ``app.log.2.gz``, ``app.log.1``."""
    try:
        names = [
            entry
            for entry in os.scandir(live.parent)
            if entry.name.startswith(live.name)
            and _ROTATED.fullmatch(entry.name[len(live.name) :])
            and entry.is_file()
        ]
    except OSError:
        return []
    newest = sorted(names, key=lambda entry: -entry.stat().st_mtime_ns)[:ROTATED_MOST]
    return [Path(entry.path) for entry in reversed(newest)]


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
