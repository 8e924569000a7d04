"""Keeps the machine from falling asleep while runs go on: a child that holds the system's own lock for it.

``systemd-inhibit`` on Linux, ``caffeinate`` on a Mac. The child ends with the last run, with the engine, and also when
the engine is killed: one reads a pipe of the engine, the other watches its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds until the next try after the lock was refused."""
END_SECONDS = 3.0
SYSTEMD = Path("/run/systemd/system")
"""There where systemd began the system."""
SAID_MOST = 300
HELD = b"held"

Tell = Callable[[str, str, "str | None"], None]
"""State, label and message, as of a source."""


def awake_argv(platform: str, pid: int) -> list[str]:
    """The command that keeps the machine awake for the engine with this number; empty where there is none."""
    if platform == "darwin":
        return ["caffeinate", "-i", "-w", str(pid)]
    if platform.startswith("linux"):
        held = f"echo {HELD.decode()}; exec cat"
        why = "--why=Runs of Nightdesk go on"
        return [
            "systemd-inhibit",
            "--what=sleep:idle",
            "--who=nightdesk",
            why,
            "--mode=block",
            "sh",
            "-c",
            held,
        ]
    return []


def why_not(argv: Sequence[str]) -> str | None:
    """Why nothing here can keep the machine awake; None where the program is there."""
    if not argv:
        return "No program is known that keeps this system awake."
    if shutil.which(argv[0]) is None:
        return f"{argv[0]} is not here to keep the machine awake."
    if argv[0] == "systemd-inhibit" and not SYSTEMD.is_dir():
        return "systemd does not run here: nothing that Nightdesk knows puts this machine to sleep."
    return None


class Awake:
    """Holds the lock while ``wanted()``; :meth:`look` says that it may have changed."""

    def __init__(self, wanted: Callable[[], bool], tell: Tell, platform: str = sys.platform) -> None:
        self._platform = platform
        self._wanted = wanted
        self._tell = tell
        self._changed = asyncio.Event()

    def look(self) -> None:
        """Runs have begun or ended, or the configuration is another."""
        self._changed.set()

    async def run(self) -> None:
        """Work until cancelled; the child has ended then."""
        argv = awake_argv(self._platform, os.getpid())
        pause = FIRST_PAUSE
        while True:
            await self._until(wanted=True)
            if reason := why_not(argv):
                self._tell("off", "", reason)
                await self._until(wanted=False)
                continue
            refusal = await self._hold(argv)
            if refusal is None:
                self._tell("off", "", None)
                pause = FIRST_PAUSE
                continue
            self._tell("degraded", argv[0], f"The machine may fall asleep while runs go on: {refusal}")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._until(wanted=False)
                    self._tell("off", "", None)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _until(self, *, wanted: bool) -> None:
        while bool(self._wanted()) is not wanted:
            self._changed.clear()
            await self._changed.wait()

    async def _hold(self, argv: list[str]) -> str | None:
        """Hold the lock while it is wanted; why it could not be held, None where it was to the end."""
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as fault:
            return f"{argv[0]} can't be started: {fault.strerror}."
        try:
            async with asyncio.TaskGroup() as tasks:
                over = tasks.create_task(self._until(wanted=False))
                ended = tasks.create_task(self._watch(child, argv[0]))
                done, rest = await asyncio.wait((over, ended), return_when=asyncio.FIRST_COMPLETED)
                for task in rest:
                    task.cancel()
            return ended.result() if ended in done and over not in done else None
        finally:
            await _end(child)

    async def _watch(self, child: asyncio.subprocess.Process, name: str) -> str:
        """Tell that the lock is held; why it is no longer, once the child has ended."""
        assert child.stdout
        assert child.stderr
        if name == "caffeinate" or (await child.stdout.readline()).strip() == HELD:
            self._tell("live", name, None)
        said = (await child.stderr.read()).decode("utf-8", "replace").strip().splitlines()
        status = await child.wait()
        return f"{said[-1][:SAID_MOST] if said else f'{name} ended with status {status}'}."


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.stdin:
        child.stdin.close()
    with suppress(ProcessLookupError):
        if child.returncode is None:
            child.terminate()
    try:
        async with asyncio.timeout(END_SECONDS):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
