"""One log as a source of records: its rotated files from the oldest on, then the file itself, across rotations."""

from __future__ import annotations

import gzip
import os
import re
import stat
import zlib
from collections import deque
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from nightdesk.core.logs.records import Record, Strand
from nightdesk.engine.logs.decoded import HEAD, Spool, kind_of
from nightdesk.engine.logs.scan import blocks
from nightdesk.engine.logs.survey import offset_at

ROTATED_MOST = 50
_HEAD = 256
"""Bytes at the beginning of a log by which its compressed form is known."""
_PRINT = 4_096
"""The same, of a file whose size is known, too."""
_TRIES = 100
"""Looks at a folder in which files are being moved."""
Identity: TypeAlias = tuple[int, int]
Skips: TypeAlias = Callable[[int, int, int, bytes, int], bool]
_ROTATED = re.compile(r"[.-](?:\d+|\d{4}-?\d\d-?\d\d(?:[T_.-]?\d[\d:-]*)?|old|bak)(?:\.gz)?")


class Place(NamedTuple):
    """A file among those of a view."""

    number: int
    path: Path


class Rotated(NamedTuple):
    """A rotated file as it was when it was found; it may be moved or compressed before it is read."""

    place: Place
    identity: Identity
    modified_ns: int


class Source:
    """Gives the records of one log that are new since it was asked before. Blocking; one thread at a time."""

    def __init__(
        self,
        live: Path,
        place_of: Callable[[Path], Place],
        begin_ns: int | None = None,
        others: Container[str] = (),
    ) -> None:
        """Of the log and its rotated files what was written from ``begin_ns`` on; None: all of it.

        ``place_of`` numbers the files, in the order in which they are read. ``others`` are logs of their own.
        """
        self._path = live
        self._place_of = place_of
        self._others = others
        self._strand = Strand(_modified_ns(live))
        self._descriptor = -1
        self._identity: Identity | None = None
        self._spool: Spool | None = None
        self._open()
        self._rotated = self._older(begin_ns or 0)
        self._behind_ns = max((each.modified_ns for each in self._rotated), default=(begin_ns or 0) - 1)
        """When the newest of what was read, or is about to be, was last written."""
        self._head = b""
        """Of the file that was replaced."""
        self._prints: deque[tuple[int, int]] = deque(maxlen=4 * ROTATED_MOST)
        """Size and beginning (its hash) of each file that was read to its end."""
        self.live = place_of(live)
        self._at = offset_of(live, begin_ns) if begin_ns is not None and not self._rotated else 0

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def records(self, skips: Skips) -> Iterator[Record]:
        """What is new. ``skips`` (file, descriptor, base, block, bytes of it): nothing of a block is wanted."""
        yield from self._of_rotated(skips)
        if self._was_replaced():
            yield from self._read(self.live.number, skips, to_its_end=True)
            self._is_news()
            self._behind_ns = os.fstat(self._descriptor).st_mtime_ns
            self._head = os.pread(self._descriptor, _HEAD, 0)
            self.close()
            self._identity, self._spool, self._at = None, None, 0
        if self._descriptor < 0 and self._open():
            self._rotated = self._older(self._behind_ns + 1, self._head)
            yield from self._of_rotated(skips)
        if self._descriptor >= 0:
            yield from self._read(self.live.number, skips)
        yield from self._strand.finish(self.live.number)

    def _was_replaced(self) -> bool:
        if self._identity is None or self._descriptor < 0:
            return False
        try:
            status = self._path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != self._identity

    def _open(self) -> bool:
        descriptor = _opened(self._path)
        if descriptor is None:
            return False
        self._descriptor = descriptor
        self._identity = _identity(os.fstat(descriptor))
        return True

    def _older(self, begin_ns: int, head: bytes = b"") -> list[Rotated]:
        """Rotated files that were written from ``begin_ns`` on and are older than the open file, the oldest first.

        A compressed file mostly keeps the time of what it was made of. One that begins with ``head`` was read already.
        """
        found = rotated_statuses(self._path)
        newest_ns = self._left_ns()
        return [
            Rotated(self._place_of(path), identity, modified_ns)
            for path, (identity, modified_ns) in found.items()
            if identity != self._identity and begin_ns <= modified_ns <= newest_ns
            if str(path) not in self._others and not (head and _begins_with(path, head))
        ]

    def _left_ns(self) -> int:
        """When the open file was written last, if it was rotated meanwhile: what is younger comes behind it."""
        if self._descriptor < 0 or not self._was_replaced():
            return 1 << 63
        status = os.fstat(self._descriptor)
        # Where it was compressed already, a file of its time is its own compressed form.
        return status.st_mtime_ns - (status.st_nlink == 0)

    def _of_rotated(self, skips: Skips) -> Iterator[Record]:
        while self._rotated:
            rotated = self._rotated.pop(0)
            descriptor = _found_again(self._path, rotated)
            if descriptor is None:
                continue
            kept = (self._descriptor, self._spool, self._at)
            # What is still to be read through the open file comes with that.
            held = self._print() if self._was_replaced() else None
            self._descriptor, self._spool, self._at = descriptor, None, 0
            try:
                if self._print() != held and self._is_news():
                    yield from self._read(rotated.place.number, skips, to_its_end=True)
                    yield from self._strand.finish(rotated.place.number)
            finally:
                os.close(descriptor)
                self._descriptor, self._spool, self._at = kept

    def _is_news(self) -> bool:
        """Whether the open file's text, which is not written any more, was not read before under another name.

        Who compresses a file anew gives it a new number and a new time: only what is in it tells which one it is.
        """
        found = self._print()
        is_news = not found[0] or found not in self._prints
        self._prints.append(found)
        return is_news

    def _print(self) -> tuple[int, int]:
        descriptor, size = self._text()
        return size, hash(os.pread(descriptor, _PRINT, 0))

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
    return list(rotated_statuses(live))


def rotated_statuses(live: Path) -> dict[Path, tuple[Identity, int]]:
    """Those files, the oldest first, with what each of them is and when it was last written.

    Looked at twice, and again while they are being moved.
    """
    found = _statuses(live)
    for _ in range(_TRIES):
        before, found = found, _statuses(live)
        if before == found:
            break
    return found


def _statuses(live: Path) -> dict[Path, tuple[Identity, int]]:
    try:
        entries = [
            entry
            for entry in os.scandir(live.parent)
            if entry.name.startswith(live.name) and _ROTATED.fullmatch(entry.name[len(live.name) :])
        ]
    except OSError:
        return {}
    names = {entry.name for entry in entries}
    # While a file is being compressed both are there; the compressed one is not whole yet.
    whole = [entry for entry in entries if entry.name.removesuffix(".gz") not in names - {entry.name}]
    found = {Path(entry.path): known for entry in whole if (known := _status(entry.path)) is not None}
    newest = sorted(found.items(), key=lambda each: -each[1][1])[:ROTATED_MOST]
    return dict(reversed(newest))


def _status(path: str) -> tuple[Identity, int] | None:
    """What a regular file is; None for anything else and for what vanished meanwhile."""
    try:
        status = os.stat(path)  # noqa: PTH116 - one of many
    except OSError:
        return None
    return (_identity(status), status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _found_again(live: Path, rotated: Rotated) -> int | None:
    """A descriptor of a rotated file, wherever it was moved to, and if only its compressed form is left, of that.

    Numbers of files that are gone are used again: the time counts first. It differs only where somebody still writes.
    """
    path: Path | None = rotated.place.path
    for _ in range(_TRIES):
        descriptor = _opened(path) if path is not None else None
        if descriptor is not None:
            if os.fstat(descriptor).st_mtime_ns == rotated.modified_ns:
                return descriptor
            os.close(descriptor)
        known = rotated_statuses(live)
        path = next((each for each, (_, at_ns) in known.items() if at_ns == rotated.modified_ns), None)
        if path is None:
            moved = (each for each, (identity, _) in known.items() if identity == rotated.identity)
            return _opened(next(moved, rotated.place.path))
    return None


def _begins_with(path: Path, head: bytes) -> bool:
    """Whether a compressed file holds a text that begins so."""
    if path.suffix != ".gz":
        return False
    try:
        with gzip.open(path) as file:
            return file.read(len(head)) == head
    except (OSError, EOFError, zlib.error):
        return False


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def offset_of(path: Path, at_ns: int) -> int:
    """Where the first line begins that was written at a moment or later; 0 where no line tells a time."""
    try:
        with path.open("rb") as file:
            return offset_at(file.fileno(), os.fstat(file.fileno()).st_size, at_ns) or 0
    except OSError:
        return 0


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
