"""Where the threads of a Python process stand, as py-spy tells it, for which it stops for some milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from nightdesk.engine.processes.signals import is_alive
from nightdesk.model.base import ProcessKey
from nightdesk.model.errors import NightdeskError, UsageError
from nightdesk.model.inspected import Stacks

LIMIT_SECONDS = 15.0
TEXT_MOST = 400_000
INSTALL = f"{sys.executable} -m pip install py-spy"


def find_py_spy() -> str | None:
    """Its path: beside this Python, else on the PATH; None where it is not installed."""
    beside = Path(sys.executable).parent / "py-spy"
    if beside.is_file() and os.access(beside, os.X_OK):
        return str(beside)
    return shutil.which("py-spy")


def stacks_argv(program: str, pid: int) -> list[str]:
    """The command that prints the stacks of ``pid``."""
    return [program, "dump", "--pid", str(pid)]


async def read_stacks(key: ProcessKey) -> Stacks:
    """The stacks of all threads. Raises NightdeskError with the remedy where they can't be had."""
    if not is_alive(key):
        raise UsageError(f"Process {key.pid} is gone, or its number was used again.")
    program = find_py_spy()
    if program is None:
        raise NightdeskError(
            f"The stacks of process {key.pid} can't be read: py-spy is not installed.",
            f"Install it: {INSTALL}",
        )
    began = time.time_ns()
    status, said, complaint = await _output(stacks_argv(program, key.pid))
    if not is_alive(key):
        raise UsageError(f"Process {key.pid} ended while its stacks were read.")
    if status != 0:
        raise _explained(key.pid, complaint or said)
    ended = time.time_ns()
    return Stacks(key=key, at_ns=began, took_ns=ended - began, text=said[:TEXT_MOST])


async def _output(argv: list[str]) -> tuple[int, str, str]:
    """Status and both outputs of a program that is given :data:`LIMIT_SECONDS`."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            said, complaint = await child.communicate()
    except TimeoutError:
        raise NightdeskError(
            f"py-spy did not answer within {LIMIT_SECONDS:.0f} s.",
            "A process that waits for a disk or a driver can't be looked into; try again.",
        ) from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return child.returncode or 0, said.decode("utf-8", "replace"), complaint.decode("utf-8", "replace")


def _explained(pid: int, complaint: str) -> NightdeskError:
    """The error of py-spy with what helps against it."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    reason = lines[0].removeprefix("Error: ") if lines else "py-spy gave no reason"
    lowered = complaint.lower()
    if "permission denied" in lowered or "operation not permitted" in lowered or "requires root" in lowered:
        remedy = (
            f"Reading another process needs root here: sudo py-spy dump --pid {pid}. "
            "On Linux, kernel.yama.ptrace_scope = 0 allows it for your own processes."
        )
        return NightdeskError(f"The stacks of process {pid} can't be read: {reason}.", remedy)
    if "python" in lowered and ("find" in lowered or "version" in lowered):
        return NightdeskError(
            f"The stacks of process {pid} can't be read: it seems to be no Python program ({reason}).",
            "Choose the Python process of the tree.",
        )
    return NightdeskError(f"The stacks of process {pid} can't be read: {reason}.", "Try again.")
