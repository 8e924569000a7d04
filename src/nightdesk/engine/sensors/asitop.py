"""The file that a running asitop lets powermetrics write: read passively, new bytes only.

The file lies under a name that anybody can guess, in a folder where anybody can write: it is opened without following
links, and only a plain file of root or of this user is believed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from nightdesk.core.sensors.powermetrics import PowermetricsReader
from nightdesk.engine.sensors.source import State
from nightdesk.model.sample import Sample

PREFIX = "asitop_powermetrics"
_NS = 1_000_000_000
_STEP_NS = _NS // 2
_SILENT_NS = 15 * _NS
_PAUSE_NS = 10 * _NS
_CHUNK = 262_144
_MOST_A_STEP = 4_000_000
ABSENT = "No file of a running asitop was found in {folder}. Start asitop, or use another source."
FOREIGN = "{path} belongs to somebody else and is not trusted. Remove it, or use another source."
SILENT = "asitop's file {path} no longer grows. Start asitop again."


class AsitopFile:
    """Follows the newest file of asitop from its end on."""

    name = "asitop"

    def __init__(self, folder: Path = Path("/tmp"), owners: Iterable[int] | None = None) -> None:  # noqa: S108 - asitop's own place
        self.folder = folder
        self._owners = frozenset((0, os.geteuid()) if owners is None else owners)
        self._handle: int | None = None
        self._path: Path | None = None
        self._offset = 0
        self._reader = PowermetricsReader()
        self._heard_ns = 0
        self._due_ns = 0
        self._failures = 0
        self.state: State = "starting"
        self.problem: str | None = None

    @property
    def hopeless(self) -> bool:
        """True when there is no such file, or it stands still."""
        return self._failures > 0

    @property
    def files(self) -> tuple[int, ...]:
        """None: the end of a file can't be waited for."""
        return ()

    @property
    def wakes_ns(self) -> int:
        """When the next look is due."""
        return self._due_ns

    def step(self, now_ns: int, at_ns: int) -> list[Sample]:
        """Samples of what was written since the last call."""
        if now_ns < self._due_ns:
            return []
        self._due_ns = now_ns + _STEP_NS
        newest = newest_file(self.folder, self._owners)
        if self._handle is None or newest != self._path:
            self._open(newest, now_ns)
        if self._handle is None:
            return []
        samples = self._read(self._handle, at_ns)
        if samples:
            self._heard_ns, self._failures = now_ns, 0
            self.state, self.problem = "live", None
        elif now_ns - self._heard_ns >= _SILENT_NS:
            self._fail(SILENT.format(path=self._path), now_ns)
        return samples

    def close(self) -> None:
        """Lets the file go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self, path: Path | None, now_ns: int) -> None:
        self.close()
        self._path = path
        if path is None:
            self._fail(ABSENT.format(folder=self.folder), now_ns)
            return
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as fault:
            self._fail(f"asitop's file {path} can't be read: {fault.strerror}.", now_ns)
            return
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in self._owners:
            os.close(handle)
            self._fail(FOREIGN.format(path=path), now_ns)
            return
        self._handle, self._offset, self._heard_ns = handle, found.st_size, now_ns
        self._reader = PowermetricsReader()

    def _read(self, handle: int, at_ns: int) -> list[Sample]:
        size = os.fstat(handle).st_size
        # Cut short, or so far ahead that most of it is old: go on at the end.
        if size < self._offset or size - self._offset > _MOST_A_STEP:
            self._offset, self._reader = size, PowermetricsReader()
        samples: list[Sample] = []
        while data := os.pread(handle, _CHUNK, self._offset):
            self._offset += len(data)
            samples += self._reader.feed(data, at_ns)
        return samples

    def _fail(self, problem: str, now_ns: int) -> None:
        self.close()
        self.state, self.problem = "failed", problem
        self._failures += 1
        self._due_ns = now_ns + _PAUSE_NS


def newest_file(folder: Path, owners: Iterable[int] | None = None) -> Path | None:
    """The file of asitop that was changed last; those of ``owners`` come first, whatever strangers put beside them."""
    try:
        found = [path for path in folder.iterdir() if path.name.startswith(PREFIX)]
    except OSError:
        return None
    ranked = [(rank, path) for path in found if (rank := _rank(path, owners)) is not None]
    return max(ranked)[1] if ranked else None


def _rank(path: Path, owners: Iterable[int] | None) -> tuple[bool, int] | None:
    try:
        seen = path.lstat()
    except OSError:
        return None
    believed = owners is None or (stat.S_ISREG(seen.st_mode) and seen.st_uid in owners)
    return believed, seen.st_mtime_ns
