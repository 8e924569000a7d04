"""Finds the process that listens on a model server's port. It is looked for once, and again when it is gone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from nightdesk.engine.processes.table import command_text, read_argv, read_entry
from nightdesk.model.process import ProcessRef

LINUX = sys.platform.startswith("linux")
_LISTENS = "0A"
_LSOF_SECONDS = 3.0
_PATIENCE = 64
"""Questions about a port whose process can't be found that are answered without looking again."""


class Servers:
    """Remembers the process of each server address."""

    def __init__(self) -> None:
        self._known: dict[str, ProcessRef] = {}
        self._unknown: dict[str, int] = {}

    def find(self, address: str) -> ProcessRef | None:
        """The process that listens on ``127.0.0.1:11434``; None where that can't be known."""
        process = self._known.get(address)
        if process is not None and _is_alive(process):
            return process
        self._known.pop(address, None)
        left = self._unknown.get(address, 0)
        if left:
            self._unknown[address] = left - 1
            return None
        process = _describe(listening_pid(int(address.rpartition(":")[2])))
        if process is None:
            self._unknown[address] = _PATIENCE
        else:
            self._known[address] = process
        return process


def _is_alive(process: ProcessRef) -> bool:
    entry = read_entry(process.pid)
    return entry is not None and entry.started_ns == process.started_ns


def _describe(pid: int | None) -> ProcessRef | None:
    entry = read_entry(pid) if pid else None
    if pid is None or entry is None:
        return None
    command = command_text(read_argv(pid), entry.name)
    return ProcessRef(pid=pid, started_ns=entry.started_ns, name=entry.name, command=command)


def listening_pid(port: int) -> int | None:
    """The oldest process that holds the listening socket of a local port; None where none may be seen."""
    if LINUX:
        targets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
        return _oldest_holder(targets) if targets else None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fp"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_LSOF_SECONDS, check=False)
        pids = [int(line[1:]) for line in answer.stdout.splitlines() if line.startswith("p")]
        return min(pids, default=None)
    return None


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                    found.add(words[9])
    return found


def _oldest_holder(targets: set[str]) -> int | None:
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()):
        if _holds_one(f"/proc/{pid}/fd", targets):
            return pid
    return None


def _holds_one(folder: str, targets: set[str]) -> bool:
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - many thousand links at once
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{name}") in targets:  # noqa: PTH115 - likewise
                    return True
    return False
