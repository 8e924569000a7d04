"""Who listens on which TCP port. Looked up again only when the listening sockets of the system are others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from nightdesk.engine.processes.table import LINUX, thread_folder

_LISTENS = "0A"
_PAUSE_S = 2.5
"""The system's list of sockets is not read more often."""
_TRIES = 3
"""A socket whose holder was not found (another user's) is searched so often, and then again only after a while."""
_LATER = 100


class PortWatch:
    """Ports by process. Sockets of other users stay unknown without root."""

    def __init__(self) -> None:
        self._looked_s = 0.0
        self._ports: dict[int, tuple[int, ...]] = {}
        self._holders: dict[str, int] = {}
        self._tries: dict[str, int] = {}

    def hurry(self) -> None:
        """The next look is a real one."""
        self._looked_s = 0.0

    def look(self, pids: Iterable[int], ours: Iterable[int] = ()) -> Mapping[int, tuple[int, ...]]:
        """The listening ports of each process that has some. ``ours`` are asked where there is no list for all."""
        now_s = time.monotonic()
        if not self._looked_s or now_s - self._looked_s >= _PAUSE_S:
            self._looked_s = now_s
            self._ports = self._linux(pids) if LINUX else _asked_ports(ours)
        return self._ports

    def _linux(self, pids: Iterable[int]) -> dict[int, tuple[int, ...]]:
        listening = listening_sockets()
        self._holders = {
            inode: pid for inode, pid in self._holders.items() if inode in listening and _holds(pid, inode)
        }
        self._tries = {inode: tries for inode, tries in self._tries.items() if inode in listening}
        if wanted := {inode for inode in listening if inode not in self._holders and self._is_due(inode)}:
            self._search(wanted, pids)
        ports: dict[int, set[int]] = {}
        for inode, pid in self._holders.items():
            ports.setdefault(pid, set()).add(listening[inode])
        return {pid: tuple(sorted(found)) for pid, found in ports.items()}

    def _is_due(self, inode: str) -> bool:
        tries = self._tries[inode] = self._tries.get(inode, 0) + 1
        return tries <= _TRIES or tries % _LATER == 0

    def _search(self, wanted: set[str], pids: Iterable[int]) -> None:
        """The oldest holder counts: children often inherit the socket of the server that started them."""
        for pid in sorted(pids):
            if not wanted:
                return
            for inode in _sockets_of(pid) & wanted:
                self._holders[inode] = pid
                wanted.discard(inode)


def listening_sockets() -> dict[str, int]:
    """Inode → port of each listening TCP socket of this network namespace."""
    found = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTENS:
                found[words[9]] = int(words[1].rpartition(":")[2], 16)
    return found


def _sockets_of(pid: int) -> set[str]:
    """Inodes of the sockets that a process holds; empty where it is gone or may not be looked into."""
    found = _sockets_in(f"/proc/{pid}/fd")
    if not found and (folder := thread_folder(pid)):
        return _sockets_in(f"{folder}/fd")
    return found


def _sockets_in(folder: str) -> set[str]:
    found = set()
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - many thousand links at once
            try:
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - likewise
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found


def _holds(pid: int, inode: str) -> bool:
    return inode in _sockets_of(pid)


def _asked_ports(pids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    import psutil

    found = {}
    for pid in pids:
        try:
            sockets = psutil.Process(pid).net_connections(kind="tcp")
        except (psutil.Error, OSError):
            continue
        if ports := {each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN}:
            found[pid] = tuple(sorted(ports))
    return found
