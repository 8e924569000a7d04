"""Starts the engine of a desk when none answers, and waits until it does."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nightdesk.client.desk import LOCK_NAME, STATE_NAME, Desk
from nightdesk.core.markers import MARKERS
from nightdesk.model.errors import NightdeskError

if TYPE_CHECKING:
    from nightdesk.client.engine import Engine

START_SECONDS = 20.0
"""A cold start on a slow disk takes about 3 s; beyond this something is wrong."""
POLL_SECONDS = 0.02


def is_answering(path: Path) -> bool:
    """True when somebody accepts connections on the socket. A stale socket file is not somebody."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(1.0)
        probe.connect(str(path))
    except OSError:
        return False
    else:
        return True
    finally:
        probe.close()


def has_ended(folder: Path, path: Path) -> bool:
    """Whether no engine of ``folder`` is left: its socket ``path`` is closed, and the lock free that it holds last."""
    if is_answering(path):
        return False
    try:
        with (folder / STATE_NAME / LOCK_NAME).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # gone with its folder, or not ours to open: the socket tells all there is to know
    return True


def ensure_engine(desk: Desk, flags: tuple[str, ...] = ()) -> Engine:
    """A client of the desk's engine, which is started where none answers.

    ``flags`` (``capture.source=relay``) win over file and environment, and only matter for a new engine.
    Blocks for up to :data:`START_SECONDS`. Raises NightdeskError with the reason why it did not start.
    """
    from nightdesk.client.engine import Engine

    if not is_answering(desk.socket):
        start_engine(desk, flags)
    return Engine(desk.socket)


def start_engine(desk: Desk, flags: tuple[str, ...] = ()) -> None:
    """Start the engine in a session of its own, and return when it answers: no terminal takes it along.

    When another engine of the desk is quicker, that one is it. Raises NightdeskError with the reason of a failure.
    """
    make_folders(desk)
    command = [sys.executable, "-m", "nightdesk.engine", "--detach", "--folder", str(desk.folder)]
    if desk.config_path:
        command += ["--config", str(desk.config_path)]
    for flag in flags:
        command += ["--set", flag]
    command += ["--temporary"] if desk.is_temporary else []
    status, said = _run_starter(desk, command)
    if status != 0 or not _answers_soon(desk.socket):
        raise NightdeskError(
            f"The engine of {desk.folder} did not start: {said or 'it said nothing.'}",
            f"Its log is {desk.engine_log}.",
        )


def _run_starter(desk: Desk, command: list[str]) -> tuple[int, str]:
    """Exit status and the last words of the starter. Its words come by a pipe: the desk's disk may be full."""
    output = desk.state / "engine.out"
    try:
        with output.open("wb") as file:
            starter = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
                cwd=desk.folder,
                # The kernel shows for ever what a process was started with: within a job it would pass for one of it.
                env={name: value for name, value in os.environ.items() if name not in MARKERS},
            )
    except OSError as fault:
        raise NightdeskError(
            f"The engine of {desk.folder} can't be started: {fault.filename or output}: {fault.strerror}.",
            "Check the rights and the free space there.",
        ) from fault
    with starter:
        try:
            words, _ = starter.communicate(timeout=START_SECONDS)
        except subprocess.TimeoutExpired:
            starter.kill()
            return -1, f"it did not answer within {START_SECONDS:.0f} s."
    said = (words or output.read_bytes()).decode(errors="replace").strip().splitlines()
    return starter.returncode, said[-1] if said else ""


def _answers_soon(path: Path) -> bool:
    """An engine that was started by somebody else at the same moment may still be on its way."""
    limit = time.monotonic() + START_SECONDS
    while not is_answering(path):
        if time.monotonic() > limit:
            return False
        time.sleep(POLL_SECONDS)
    return True


def make_folders(desk: Desk) -> None:
    """Make the folders that the engine needs. One that the user chose for the socket keeps its rights."""
    make_private(desk.state)
    if os.environ.get("NIGHTDESK_SOCKET"):
        _make(desk.socket.parent)
    else:
        make_private(desk.socket.parent)


def make_private(folder: Path) -> None:
    """Make sure that ``folder`` exists, is ours and is closed to others. Raises NightdeskError where it is not."""
    _make(folder)
    try:
        owner = folder.stat().st_uid
        if owner == os.getuid() and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as fault:
        raise NightdeskError(
            f"The folder {folder} can't be used: {fault.strerror}.", "Check its rights."
        ) from fault
    if owner != os.getuid():
        raise NightdeskError(
            f"The folder {folder} belongs to somebody else (user {owner}).",
            "Remove it, or set NIGHTDESK_SOCKET to a path of your own.",
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as fault:
        raise NightdeskError(
            f"The folder {folder} can't be made: {fault.strerror}.",
            "Check its parent's owner and free space.",
        ) from fault
