"""Follows one log file: growth, truncation, replacement, deletion; progress, errors and the last line."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Literal

from nightdesk.core.foreign import safe_line
from nightdesk.core.logs.lines import LineSplitter
from nightdesk.core.logs.progress import ProgressReader
from nightdesk.core.logs.progress_forms import may_tell
from nightdesk.engine.logs.decoded import HEAD, Kind, Spool, kind_of, may_become
from nightdesk.model.logs import LogFile

HISTORY = 262_144
"""Bytes before the end that are read when a file is first seen."""
_BLOCK = 262_144
_CATCH_UP = 4 << 20
"""Bytes that are read at once; what a file gained beyond that is skipped except for its end."""
_PARSED = 16_384
"""Bytes at the end of a burst that are split into lines: of a thousand lines a second only the newest tell."""
_CANDIDATES = 40
"""Lines of a burst that are looked at for progress."""
_ALIKE = 3
"""Lines of a burst that are read of those that differ in digits only: an unknown form must be seen growing."""
_FINGERPRINT = 64
_LATE_NS = 10 * 10**9
"""A growing file is read at most this late."""
_BEGUN = 4_096
"""Bytes of a line without its end that are kept, to see whether it tells of an error once it has ended."""
_LAST_LINE = 500
_ERROR_HINTS = (b"ERROR", b"CRITICAL", b"FATAL", b"Traceback", b"=error", b"PANIC")
_ERROR = re.compile(
    rb"^(?:Traceback \(most recent call last\)|(?:.{0,200}?[ \t\[(|:=\"'-])?"
    rb"(?:ERROR|CRITICAL|FATAL|PANIC|(?<=level=)error)(?=[ \t\r\])|:\"',-]|$))",
    re.MULTILINE,
)


@functools.lru_cache(1024)
def log_id(path: Path) -> str:
    """The stable id of a log file."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


class Tail:
    """One followed file. Blocking; used by one thread at a time."""

    def __init__(
        self,
        path: Path,
        origin: Literal["watch", "run"],
        run: str | None,
        started_ns: int | None,
        forms: tuple[re.Pattern[str], ...] = (),
    ) -> None:
        """``forms`` are the user's own patterns of progress lines."""
        self._forms = forms
        self.path = path
        self.id = log_id(path)
        self.origin = origin
        self.run = run
        self._started_ns = started_ns
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._before = b""
        self._begun = b""
        self._generation = 0
        self._size = 0
        """Bytes of its text."""
        self._source_size = 0
        self._modified_ns = 0
        self._errors = 0
        self._last_line = ""
        self._state: Literal["live", "gone", "failed"] = "live"
        self._message: str | None = None
        self._splitter = LineSplitter()
        self._reader = ProgressReader(self._forms)
        self._kind: Kind = "plain"
        self._spool: Spool | None = None
        """The text of a file that is not plain; of a compressed one only once somebody reads it."""
        self.checked_ns = 0
        self.gone_ns: int | None = None
        self.progressed = False
        self.after_ns: int | None = None
        """What was last read was written after this moment, by the clock of the file's folder."""

    def view(self) -> LogFile:
        """The file as a viewer sees it."""
        return LogFile(
            id=self.id,
            path=os.fsencode(self.path).decode("utf-8", "replace"),
            name=safe_line(self.path.name, 200),
            origin=self.origin,
            run=self.run,
            size_bytes=self._size,
            modified_ns=self._modified_ns,
            started_ns=self._started_ns,
            state=self._state,
            message=self._message,
            generation=self._generation,
            progress=self._reader.progress,
            last_line=self._last_line,
            errors=self._errors,
        )

    def open(self) -> int:
        """A descriptor of the file. Raises OSError. Never blocks, also where the path is a pipe."""
        return os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)

    def open_text(self) -> int:
        """A descriptor of its text. Raises OSError. A compressed file is taken apart when first asked for."""
        descriptor = self.open()
        if self._kind == "plain":
            return descriptor
        try:
            spool = self._spool = self._spool or Spool(self._kind)
            spool.extend(descriptor, os.fstat(descriptor).st_size)
            return os.dup(spool.descriptor)
        finally:
            os.close(descriptor)

    def differs(self) -> bool:
        """Whether the file changed since the last look, by its status only."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return self._state != "gone"
        except OSError:
            return self._state != "failed"
        seen = (self._identity, self._source_size, self._modified_ns)
        return (
            seen != ((status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns)
            or self._state != "live"
            or (self._spool is not None and self._spool.size != self._size)
        )

    def check(self, now_ns: int) -> None:
        """Looks at the file and takes in what is new."""
        self.checked_ns = now_ns
        self.progressed = False
        try:
            descriptor = self.open()
        except FileNotFoundError:
            self._lost("gone", None, now_ns)
            return
        except OSError as fault:
            self._lost("failed", _reason(self.path, fault), now_ns)
            return
        try:
            self._look(descriptor, now_ns)
        except OSError as fault:
            self._lost("failed", _reason(self.path, fault), now_ns)
        finally:
            os.close(descriptor)

    def _lost(self, state: Literal["gone", "failed"], message: str | None, now_ns: int) -> None:
        if self._state != state:
            self.gone_ns = now_ns
        self._state, self._message = state, message

    def _look(self, descriptor: int, now_ns: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self._lost("failed", f"{safe_line(str(self.path))} is not a file that can be followed.", now_ns)
            return
        identity = (status.st_dev, status.st_ino)
        came_back = self._state != "live" and self._identity is not None
        if self._identity is None:
            self._offset = 0
        elif came_back or identity != self._identity or self._was_cut(descriptor, status.st_size):
            self._begin_again()
        fresh = self._offset == 0
        self._identity = identity
        self._state, self._message, self.gone_ns = "live", None, None
        self.after_ns = None if fresh else self._modified_ns
        self._source_size, self._modified_ns = status.st_size, status.st_mtime_ns
        at_ns = status.st_mtime_ns if fresh else _written_ns(status.st_mtime_ns, now_ns)
        if fresh and status.st_size:
            head = os.pread(descriptor, HEAD, 0)
            if may_become(head):
                return
            self._kind = kind_of(head)
        if self._kind != "plain":
            self._take_decoded(descriptor, status, at_ns)
            return
        self._size = status.st_size
        if status.st_size > self._offset:
            self._read(descriptor, status.st_size, at_ns)

    def _take_decoded(self, descriptor: int, status: os.stat_result, at_ns: int) -> None:
        """UTF-16 is followed like any other text; a compressed file is left alone until somebody reads it."""
        if self._kind == "utf-16":
            self._spool = self._spool or Spool(self._kind)
        if self._spool is None:
            self._size = status.st_size
            self._last_line = "(compressed)"
            return
        self._spool.extend(descriptor, status.st_size)
        self._size = self._spool.size
        if self._kind == "utf-16" and self._size > self._offset:
            self._read(self._spool.descriptor, self._size, at_ns)

    def _was_cut(self, descriptor: int, size: int) -> bool:
        """Whether the file shrank, or was emptied and has already grown past the old offset with other content."""
        if self._kind != "plain":
            return size < self._source_size or bool(self._spool and self._spool.is_of_another(descriptor))
        if size < self._offset:
            return True
        before = self._before
        return bool(before) and os.pread(descriptor, len(before), self._offset - len(before)) != before

    def _begin_again(self) -> None:
        self._kind, self._spool = "plain", None
        self._generation += 1
        self._offset = 0
        self._before = self._begun = b""
        self._errors = 0
        self._last_line = ""
        self._splitter = LineSplitter()
        self._reader = ProgressReader(self._forms)

    def _read(self, descriptor: int, size: int, at_ns: int) -> None:
        if self._offset == 0 and size > HISTORY:
            self._skip_to(size - HISTORY)
        elif size - self._offset > _CATCH_UP:
            self._skip_to(size - _BLOCK)
        while self._offset < size:
            block = os.pread(descriptor, min(_BLOCK, size - self._offset), self._offset)
            if not block:
                break
            self._offset += len(block)
            self._before = (
                block[-_FINGERPRINT:]
                if len(block) >= _FINGERPRINT
                else (self._before + block)[-_FINGERPRINT:]
            )
            self._take(block, at_ns)

    def _skip_to(self, offset: int) -> None:
        self._offset = offset
        self._before = self._begun = b""
        self._splitter = LineSplitter()

    def _take(self, block: bytes, at_ns: int) -> None:
        self._count_errors(block)
        if len(block) > _PARSED:
            self._splitter = LineSplitter()
            block = block[-_PARSED:]
            block = block[block.find(b"\n") + 1 :] if b"\n" in block else block
        lines = self._splitter.feed(_thinned(block))
        if pending := self._splitter.pending:
            lines.append(pending)
        for line in lines[-_CANDIDATES:] if self._forms else _candidates(lines):
            self.progressed = self._reader.feed(line, at_ns) is not None or self.progressed
        newest = next((line for line in reversed(lines) if line and not line.isspace()), None)
        if newest is not None:
            self._last_line = safe_line(newest.strip(), _LAST_LINE)

    def _count_errors(self, block: bytes) -> None:
        """A line counts once it has ended, however it came."""
        cut = block.rfind(b"\n") + 1
        ended = self._begun + block[:cut] if self._begun else block
        self._begun = block[cut:][:_BEGUN] if cut else (self._begun + block)[:_BEGUN]
        if cut and any(hint in ended for hint in _ERROR_HINTS):
            self._errors += _errors_in(ended, len(ended) - len(block) + cut)


def _errors_in(lines: bytes, stop: int) -> int:
    """How many errors whole lines tell of. One that is logged with its traceback is one error."""
    errors, told = 0, -1
    for found in _ERROR.finditer(lines, 0, stop):
        is_told = found.start() == told and found[0].startswith(b"Traceback")
        errors += not is_told
        told = lines.find(b"\n", found.end(), stop) + 1
    return errors


def _written_ns(modified_ns: int, now_ns: int) -> int:
    """When what was just read was written. The clock of a network folder may differ: then when it was read."""
    return modified_ns if 0 <= now_ns - modified_ns <= _LATE_NS else now_ns


def _thinned(block: bytes) -> bytes:
    """The block with only the newest few of the lines that differ in nothing but digits.

    Of a thousand counts in a burst the last ones say it all, and a rare line between them is found all the same. Its
    first piece ends a line that began before, and its last one has not ended: both stay.
    """
    first, *pieces = block.split(b"\n")
    if len(pieces) <= _ALIKE:
        return block
    shapes = block.translate(None, b"0123456789").split(b"\n")
    seen: dict[bytes, int] = {}
    kept = [pieces.pop()]
    for piece, shape in zip(reversed(pieces), reversed(shapes[1:-1]), strict=True):
        times = seen.get(shape, 0)
        if times < _ALIKE:
            seen[shape] = times + 1
            kept.append(piece)
    return b"\n".join((first, *reversed(kept)))


def _candidates(lines: list[str]) -> list[str]:
    """The newest lines that could tell of progress, oldest first."""
    found: list[str] = []
    for line in reversed(lines):
        if may_tell(line):
            found.append(line)
            if len(found) == _CANDIDATES:
                break
    return found[::-1]


def _reason(path: Path, fault: OSError) -> str:
    name = safe_line(str(path))
    if isinstance(fault, PermissionError):
        return f"No right to read {name}: chmod or the group of its folder can give it."
    return f"{name} can't be read: {fault.strerror or fault}."
