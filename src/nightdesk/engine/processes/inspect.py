"""Looks into one process: files, sockets, folder, markers, what it waits for. All of it blocks, for some milliseconds.

What this user may not see is named with the reason, and never shown as empty.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from nightdesk.core.foreign import safe_line
from nightdesk.core.markers import parse_environment
from nightdesk.core.processes.waits import waits_for
from nightdesk.engine.processes.signals import tree_of
from nightdesk.engine.processes.table import LINUX, read_entry, read_place
from nightdesk.model.errors import UsageError
from nightdesk.model.inspected import OpenFile, OpenSocket, ProcessDetail, ProcessHistory
from nightdesk.model.process import ProcessRow

FILES_MOST = 200
SOCKETS_MOST = 200
_PATH_MOST = 1024

T = TypeVar("T")


def inspect(row: ProcessRow, history: ProcessHistory, now_ns: int) -> ProcessDetail:
    """Everything that this user may know of the process. Raises UsageError where it is gone."""
    look = _Look(row)
    sockets = look.sockets()
    files = look.files()
    detail = ProcessDetail(
        row=row,
        at_ns=now_ns,
        parent=_name_of(row.ppid),
        program=look.ask("program", lambda process: str(process.exe() or "")) or None,
        folder=look.ask("folder", lambda process: str(process.cwd() or "")) or None,
        markers=look.markers(),
        waits_for=look.waits(),
        files=files[:FILES_MOST] if files is not None else (),
        files_total=None if files is None else len(files),
        sockets=sockets[:SOCKETS_MOST] if sockets is not None else (),
        sockets_total=None if sockets is None else len(sockets),
        children=tree_of(row.key)[1:],
        swap_bytes=look.swap(),
        read_bytes=look.moved("read_bytes"),
        written_bytes=look.moved("write_bytes"),
        history=history,
        unknown=look.unknown,
    )
    look.check()
    return detail


class _Look:
    """Asks psutil one thing after the other and notes what could not be told, and why."""

    def __init__(self, row: ProcessRow) -> None:
        import psutil

        self.row = row
        self.unknown: dict[str, str] = {}
        self._faults = (psutil.Error, OSError)
        self._denied = (psutil.AccessDenied, PermissionError)
        self.check()
        self._process: Any = psutil.Process(row.key.pid)

    def check(self) -> None:
        """Raises UsageError where the number is another process's by now, so that nothing of it is shown."""
        entry = read_entry(self.row.key.pid)
        if entry is None or entry.started_ns != self.row.key.started_ns:
            raise UsageError(f"Process {self.row.key.pid} is gone, or its number was used again.")

    def ask(self, field: str, question: Callable[[Any], T]) -> T | None:
        """The answer; None where there is none, with the reason in :attr:`unknown`."""
        try:
            return question(self._process)
        except self._denied:
            self.unknown[field] = _denied(self.row.user)
        except self._faults as fault:
            self.unknown[field] = f"The system does not tell: {type(fault).__name__}."
        return None

    def files(self) -> tuple[OpenFile, ...] | None:
        """Regular files; what they are now and not when they were opened."""
        found = self.ask("files", lambda process: process.open_files())
        if found is None:
            return None
        return tuple(
            OpenFile(
                descriptor=each.fd if each.fd >= 0 else None,
                path=safe_line(each.path, _PATH_MOST),
                size_bytes=_size(each.path),
            )
            for each in found
        )

    def sockets(self) -> tuple[OpenSocket, ...] | None:
        """TCP and UDP, listening ones first."""
        found = self.ask("sockets", lambda process: process.net_connections(kind="inet"))
        if found is None:
            return None
        sockets = [
            OpenSocket(
                kind="tcp" if each.type == 1 else "udp",
                local=_address(each.laddr),
                remote=_address(each.raddr) if each.raddr else None,
                state=None if each.status == "NONE" else str(each.status),
            )
            for each in found
        ]
        return tuple(sorted(sockets, key=lambda each: (each.state != "LISTEN", each.kind, each.local)))

    def markers(self) -> dict[str, str]:
        """What the environment says of desk, run and item; no other variable leaves the engine."""
        if LINUX:
            raw = self.ask("markers", lambda _: Path(f"/proc/{self.row.key.pid}/environ").read_bytes())
            found = parse_environment(raw or b"")
        else:
            found = self.ask("markers", lambda process: dict(process.environ())) or {}
        return {name: safe_line(value) for name, value in found.items() if name.startswith("NIGHTDESK_")}

    def waits(self) -> str | None:
        """In words; None with a reason where the system does not tell."""
        place = read_place(self.row.key.pid) if LINUX and self.row.state not in "RTZ" else ""
        entry = read_entry(self.row.key.pid)
        words = waits_for(entry.state if entry else self.row.state, place)
        if words is None:
            self.unknown["waits_for"] = self._why_no_place()
        return words

    def _why_no_place(self) -> str:
        if not LINUX:
            return "This system does not tell what a process sleeps on; the stacks of a Python process do."
        if os.geteuid() != 0:
            return (
                "The kernel tells only root what a process sleeps on; the stacks of a Python process do, too."
            )
        return "It was not asleep in the kernel at this moment."

    def swap(self) -> int | None:
        """What of its memory is swapped out; Linux only, where it needs no further right."""
        if not LINUX:
            return None
        raw = self.ask("swap_bytes", lambda _: Path(f"/proc/{self.row.key.pid}/status").read_bytes())
        for line in (raw or b"").splitlines():
            if line.startswith(b"VmSwap:"):
                return int(line.split()[1]) * 1024
        return None

    def moved(self, name: str) -> int | None:
        """Bytes read from or written to disks."""
        if not hasattr(self._process, "io_counters"):
            self.unknown[name] = "This system does not count it for each process."
            return None
        counters = self.ask(name, lambda process: process.io_counters())
        return None if counters is None else int(getattr(counters, name))


def _denied(user: str) -> str:
    if os.geteuid() == 0:
        return "The system keeps this even from root."
    who = user if user == "root" else f"{user} or root"
    return f"It belongs to {user}: only {who} may see this."


def _name_of(pid: int) -> str | None:
    entry = read_entry(pid)
    return safe_line(entry.name, 64) if entry else None


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except (OSError, ValueError):
        return None


def _address(address: Any) -> str:
    if not address:
        return ""
    host = str(address.ip)
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
