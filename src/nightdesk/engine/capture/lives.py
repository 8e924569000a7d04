"""What a process is and to which run it belongs, also when it is gone before anybody could ask.

On Linux the kernel tells root of each process that begins (the proc connector); its command and markers are read at
once and remembered. Where it does not tell, only processes that still live can be described.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections import OrderedDict
from typing import NamedTuple

from nightdesk.core.markers import DESK, ITEM, parse_environment, run_in
from nightdesk.engine.capture.kernel_filter import attach, birth_filter
from nightdesk.engine.processes.table import Entry, command_text, read_argv, read_entry
from nightdesk.model.process import ProcessRef

LINUX = sys.platform.startswith("linux")
_CONNECTOR = 11
_PROCESSES = 1
_MESSAGE_DONE = 3
_BIRTH = struct.Struct("=36xI12xIIII")
_FORK, _EXEC = 1, 2

_REMEMBERED = 4096
"""Processes; half a kilobyte each."""
_A_SECOND = 100
"""New processes and programs that are read in a second: a build that starts thousands must not cost a processor."""
_BUFFER = 1 << 20
_DEEPEST = 64
_ENVIRONMENT_BYTES = 1 << 18


class Owner(NamedTuple):
    """Who is behind a connection."""

    process: ProcessRef | None
    """None where it was gone too soon: its run may be known all the same."""
    run: str | None
    item: str | None


class Birth(NamedTuple):
    """A process began, or began another program."""

    what: int
    pid: int
    parent: int
    """0 where the kernel does not say."""


class Life(NamedTuple):
    """A process as it was when it was read."""

    entry: Entry
    argv: tuple[str, ...]
    run: str | None
    item: str | None
    """Of its own environment."""
    is_named: bool = True
    """False where it began another program, and nobody knows which."""


class Lives:
    """Describes processes. All methods belong to one thread."""

    def __init__(self, births: socket.socket | None = None) -> None:
        self._births = births
        self._known: OrderedDict[int, Life] = OrderedDict()
        self._second = 0.0
        self._left = _A_SECOND

    @property
    def hears(self) -> bool:
        """Whether the kernel tells of new processes at all."""
        return self._births is not None

    def waits_on(self) -> socket.socket | None:
        """Readable when a process began; None where nobody tells, and while too many begin."""
        return self._births if self._left or time.monotonic() - self._second >= 1 else None

    def hear(self) -> None:
        """Read the processes that began since the last call; the newest of them where they are too many."""
        births = self._pending()
        if not births:
            return
        if (now := time.monotonic()) - self._second >= 1:
            self._second, self._left = now, _A_SECOND
        # Of two events of a process the second counts; it comes from the same process with another program.
        latest = {birth.pid: at for at, birth in enumerate(births)}
        chosen = sorted(latest.values())
        for at in chosen[: -self._left or None]:
            self._known.pop(births[at].pid, None)
        for at in chosen[len(chosen) - self._left :] if self._left else ():
            self._begin(births[at])
        self._left -= min(self._left, len(chosen))

    def owner(self, pid: int) -> Owner | None:
        """Name, command, run and item of a process that lives or is remembered; None if it is not."""
        life = _read(pid)
        self.hear()
        life = _joined(life, self._known.get(pid))
        if life is None:
            return None
        run, item = self._run_of(life)
        entry = life.entry
        if not life.is_named:
            return Owner(None, run, item)
        command = command_text(life.argv, entry.name)
        return Owner(
            ProcessRef(pid=pid, started_ns=entry.started_ns, name=entry.name, command=command), run, item
        )

    def close(self) -> None:
        """Hear no more."""
        if self._births:
            self._births.close()
            self._births = None

    def _pending(self) -> list[Birth]:
        births: list[Birth] = []
        while self._births:
            try:
                births.append(_birth(self._births.recv(256)))
            except BlockingIOError:
                break
            except OSError:
                # There were more than the buffer holds. What is lost is lost; what was heard before may be stale.
                self._known.clear()
        return births

    def _begin(self, birth: Birth) -> None:
        known = self._known.pop(birth.pid, None)
        life = _forked(birth) if birth.what == _FORK else _begun(birth.pid, known)
        if life is None:
            return
        self._known[birth.pid] = life
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _run_of(self, life: Life) -> tuple[str | None, str | None]:
        """Run and item of a process, or of its nearest ancestor that has them."""
        for _ in range(_DEEPEST):
            if life.run:
                return life.run, life.item
            parent = life.entry.ppid
            above = _joined(_read(parent), self._known.get(parent)) if parent > 1 else None
            if above is None or above.entry.started_ns > life.entry.started_ns:
                # A number that was given out again is no ancestor.
                break
            life = above
        return None, None


def listen_for_births() -> socket.socket | None:
    """A socket that hears of each new process; None where the system does not tell us."""
    if not LINUX:
        return None
    try:
        listening = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _CONNECTOR)
    except OSError:
        return None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        listening.bind((0, _PROCESSES))
        attach(listening, birth_filter())
        wish = struct.pack("=IIIIHHI", _PROCESSES, 1, 0, 0, 4, 0, 1)
        listening.send(struct.pack("=IHHII", 16 + len(wish), _MESSAGE_DONE, 0, 0, 0) + wish)
        listening.setblocking(False)
    except OSError:
        listening.close()
        return None
    return listening


def _birth(message: bytes) -> Birth:
    what, _, second, _, child = _BIRTH.unpack_from(message.ljust(_BIRTH.size, b"\0"))
    return Birth(what, child, second) if what == _FORK else Birth(what, second, 0)


def _forked(birth: Birth) -> Life | None:
    """A copy of its parent: it has its environment, too, which is read where it is asked for."""
    argv, entry = read_argv(birth.pid), read_entry(birth.pid)
    return Life(entry._replace(ppid=birth.parent), argv, None, None) if entry else None


def _begun(pid: int, known: Life | None) -> Life | None:
    """A process that began another program; ``known`` is what it was before."""
    life = _read(pid)
    if life is None:
        return known._replace(argv=(), is_named=False) if known else None
    if known and known.entry.started_ns == life.entry.started_ns:
        # A parent that ended meanwhile is an ancestor all the same.
        return life._replace(entry=life.entry._replace(ppid=known.entry.ppid))
    return life


def _read(pid: int) -> Life | None:
    """The process as it is now; without command and markers where it is just ending."""
    # In the order in which they vanish with the process.
    argv, (run, item) = read_argv(pid), read_run(pid)
    entry = read_entry(pid)
    return Life(entry, argv, run, item) if entry else None


def _joined(life: Life | None, known: Life | None) -> Life | None:
    """What is seen now, completed by what is remembered of the same process."""
    if life is None or known is None:
        return life or known
    if life.entry.started_ns != known.entry.started_ns:
        return life
    entry = life.entry._replace(ppid=known.entry.ppid)
    run, item = (life.run, life.item) if life.run else (known.run, known.item)
    return Life(entry, life.argv or known.argv, run, item)


def read_run(pid: int) -> tuple[str | None, str | None]:
    """Run and item from the environment with which a process was started; None where it may not be read."""
    variables = _linux_environment(pid) if LINUX else _portable_environment(pid)
    run = run_in(variables, os.environ.get(DESK))
    return run, (variables.get(ITEM) or None) if run else None


def _linux_environment(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:  # noqa: PTH123 - hot path
            raw = file.read(_ENVIRONMENT_BYTES) or b""
    except OSError:
        return {}
    return parse_environment(raw)


def _portable_environment(pid: int) -> dict[str, str]:
    import psutil

    try:
        return dict(psutil.Process(pid).environ())
    except (psutil.Error, OSError):
        return {}
