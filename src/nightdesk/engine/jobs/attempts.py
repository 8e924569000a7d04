"""Starts keepers and hears when they end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path

from nightdesk.core.markers import MARKERS
from nightdesk.engine.jobs.runs import AttemptFolder, PidRecord
from nightdesk.engine.processes.table import Entry, is_keeper, read_argv, read_entry
from nightdesk.model.base import ProcessKey

KEEPER = Path(__file__).with_name("keeper.py")
POLL_SECONDS = 0.25
"""Where the system has no process descriptors the keeper's lock is looked at this often."""
STARTING_SECONDS = 0.01
"""Between two looks for the processes of a keeper that is starting, or waits for room on the disk."""
LATE_SECONDS = 0.5
NEAR_NS = 2 * 10**9
"""The kernel tells start times by whole seconds of the boot."""
_READY, _LOCK, _ABOVE = 3, 4, 10
"""The keeper's descriptors; ours are moved above them first, so that none is overwritten."""


def spawn_keeper(folder: AttemptFolder, log: Path) -> tuple[int, int]:
    """Number of a new keeper, and a descriptor that becomes readable once its command runs or can't.

    Blocks for about a millisecond. Raises OSError where the log or the lock can't be opened.
    """
    ready, writer = os.pipe()
    opened = [writer]
    try:
        opened.append(folder.lock_for_keeper())
        opened += [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _ABOVE) for descriptor in tuple(opened)]
        keeper = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(KEEPER), str(folder.path)],
            {name: value for name, value in os.environ.items() if name not in MARKERS},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
                (os.POSIX_SPAWN_DUP2, opened[2], _READY),
                (os.POSIX_SPAWN_DUP2, opened[3], _LOCK),
            ],
        )
    except OSError:
        os.close(ready)
        raise
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return keeper, ready


async def wait_readable(descriptor: int) -> None:
    """Returns when there is something to read, or the other end is closed. Closes the descriptor."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def find_keeper(folder: AttemptFolder) -> PidRecord | None:
    """The live keeper of an attempt, once it has noted its processes; None as soon as there is none.

    A keeper notes them at once, or as soon as there is room on the disk.
    """
    pause = STARTING_SECONDS
    while folder.has_keeper():
        if record := folder.pids():
            return record
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, LATE_SECONDS)
    return None


def process_keys(record: PidRecord) -> tuple[ProcessKey, ProcessKey]:
    """Keeper and command as the process table names them; the keeper's own times where one is gone already.

    A stranger may have the number of one that is gone by now: only what began when the keeper says counts, or, where
    the clock was set since, a keeper and its child.
    """
    keeper, command = read_entry(record.keeper.pid), read_entry(record.command.pid)
    is_child = command is not None and command.ppid == record.keeper.pid
    return (
        _key(record.keeper, keeper, keeper is not None and is_keeper(read_argv(keeper.pid))),
        _key(record.command, command, is_child),
    )


def _key(noted: ProcessKey, entry: Entry | None, is_known: bool) -> ProcessKey:
    if entry is None or not (is_known or abs(entry.started_ns - noted.started_ns) < NEAR_NS):
        return noted
    return ProcessKey(pid=entry.pid, started_ns=entry.started_ns)


class KeeperWatch:
    """Calls back once when a keeper is gone: at once on Linux, after a quarter of a second elsewhere."""

    def __init__(self, pid: int, folder: AttemptFolder, on_gone: Callable[[], None]) -> None:
        self._pid = pid
        self._folder = folder
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._descriptor = _process_descriptor(pid)
        self._timer: asyncio.TimerHandle | None = None
        if self._descriptor is not None and folder.has_keeper():
            self._loop.add_reader(self._descriptor, self._gone)
        else:
            self._timer = self._loop.call_later(POLL_SECONDS, self._look)

    def close(self) -> None:
        """Stop watching. The keeper goes on."""
        if self._descriptor is not None:
            # harmless where it was never added
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._folder.has_keeper():
            self._timer = self._loop.call_later(POLL_SECONDS, self._look)
        else:
            self._gone()

    def _gone(self) -> None:
        self.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)
        self._on_gone()


def _process_descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where there is no such thing."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as fault:
        if fault.errno in (errno.ESRCH, errno.ENOSYS, errno.EPERM, errno.EMFILE):
            return None
        raise
