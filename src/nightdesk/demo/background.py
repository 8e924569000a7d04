"""The demo's model server as a process of its own, which outlives the viewer but not the demo.

A mark file in the demo's folder holds its address. The server ends when the mark goes away, or when for
:data:`IDLE_S` no engine of that desk has answered and nobody has asked anything. So nobody has to signal a process by
a number that may belong to somebody else by now.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nightdesk import __version__
from nightdesk.client.desk import socket_path
from nightdesk.client.launch import is_answering
from nightdesk.model.errors import NightdeskError

if TYPE_CHECKING:
    from nightdesk.demo.server import ModelServer

MARK_NAME = ".demo-server.json"
OWN_AGENT = {"User-Agent": f"nightdesk/{__version__}"}
"""The capture leaves our own requests out."""
WORKER_MARK = Path("state") / "whisper_worker.pid"
IDLE_S = 300.0
LOOK_S = 1.0
END_S = 10.0


_started: list[subprocess.Popen[str]] = []
"""Kept, because a process object that is forgotten while its process lives makes Python warn."""


class Mark(msgspec.Struct, frozen=True):
    """What the mark file holds."""

    address: str
    pid: int


def read_mark(folder: Path) -> Mark | None:
    """The mark in ``folder``, None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / MARK_NAME).read_bytes(), type=Mark)
    except (OSError, msgspec.DecodeError):
        return None


def running_server(folder: Path) -> Mark | None:
    """The mark of the server that belongs to ``folder``, None where none answers."""
    mark = read_mark(folder)
    return mark if mark and _answers(mark.address) else None


def start_server(folder: Path, port: int, speed: float) -> str:
    """The address of a new server for ``folder``: a process in a session of its own.

    Raises NightdeskError with what the server said where it did not start.
    """
    log = folder / "logs" / "server.log"
    for place in (folder, log.parent):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    options = ["--port", str(port), "--speed", f"{speed:g}", "--log", str(log), "--belongs-to", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "nightdesk.cli.main", "demo", "--server-only", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd=folder,
        text=True,
    )
    _started.append(process)
    assert process.stdout is not None
    with process.stdout as output:
        said = output.readline().strip()
    if said.startswith("http://"):
        _wait_for(lambda: read_mark(folder) is not None)
        return said
    process.wait(END_S)
    raise NightdeskError(said.removeprefix("nightdesk: ") or "The demo's model server ended without a word.")


def stop_server(folder: Path) -> bool:
    """Asks the server of ``folder`` and the forgotten worker to end, and waits for the server.

    False where none was running. Raises NightdeskError where it goes on.
    """
    mark = running_server(folder)
    for name in (WORKER_MARK, MARK_NAME):
        (folder / name).unlink(missing_ok=True)
    if mark is None:
        return False
    if not _wait_for(lambda: not _answers(mark.address)):
        raise NightdeskError(f"The demo's model server (pid {mark.pid}) was asked to end and goes on.")
    return True


def _wait_for(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + END_S
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def _answers(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(f"{address}/api/version", headers=OWN_AGENT), timeout=2):  # noqa: S310 - ours
            return True
    except (OSError, ValueError, http.client.HTTPException):
        return False


async def until_unwanted(folder: Path, server: ModelServer) -> None:
    """Writes the mark of ``folder`` and returns when the server has nobody left to serve."""
    mark = Mark(server.address, os.getpid())
    _write_mark(folder, mark)
    socket = socket_path(folder, os.environ)
    wanted_at = time.monotonic()
    while read_mark(folder) == mark and time.monotonic() - wanted_at < IDLE_S:
        await asyncio.sleep(LOOK_S)
        if server.idle_s < IDLE_S or await asyncio.to_thread(is_answering, socket):
            wanted_at = time.monotonic()
    if read_mark(folder) == mark:
        (folder / MARK_NAME).unlink(missing_ok=True)


def _write_mark(folder: Path, mark: Mark) -> None:
    draft = folder / f"{MARK_NAME}.part"
    draft.write_bytes(msgspec.json.encode(mark))
    draft.replace(folder / MARK_NAME)
