"""Asks the system whether runs survive a log-out, and whether it can be kept awake. For ``nightdesk doctor``."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from nightdesk.core.logout import Finding, judge, judge_mac
from nightdesk.engine.awake import SYSTEMD, why_not

ASK_SECONDS = 5.0
LINGER = ("loginctl", "show-user", "{uid}", "-p", "Linger", "--value")
KILLS = (
    "busctl",
    "get-property",
    "org.freedesktop.login1",
    "/org/freedesktop/login1",
    "org.freedesktop.login1.Manager",
    "KillUserProcesses",
)
_INHIBIT = ("systemd-inhibit", "--what=sleep:idle", "--who=nightdesk", "--why=nightdesk doctor")
TRY_AWAKE = {"linux": (*_INHIBIT, "--mode=block", "true"), "darwin": ("caffeinate", "-i", "true")}


async def check_logout(engine_pid: int | None) -> Finding:
    """Whether the engine with that number (None: one that would be started here) and its runs survive a log-out."""
    if sys.platform == "darwin":
        return judge_mac("SSH_CONNECTION" in os.environ)
    if not has_systemd():
        return Finding("ok", "Runs go on after log-out: systemd-logind does not run here.")
    uid = str(os.getuid())
    linger, kills = await asyncio.gather(
        _asked(tuple(part.format(uid=uid) for part in LINGER)), _asked(KILLS)
    )
    return judge(
        _cgroup(engine_pid or os.getpid()),
        lingers={"yes": True, "no": False}.get(linger or ""),
        kills={"b true": True, "b false": False}.get(kills or ""),
    )


async def check_awake(wanted: bool) -> Finding:
    """Whether the machine can be kept from falling asleep, by trying."""
    if not wanted:
        return Finding("note", "The machine may fall asleep while runs go on: [desk] keep_awake is off.")
    argv = TRY_AWAKE.get("darwin" if sys.platform == "darwin" else "linux", ())
    if reason := why_not(argv):
        return Finding("note", reason)
    if await _asked(argv) is None:
        said = f"{argv[0]} may not keep the machine awake here: over ssh, systems often refuse it."
        return Finding("note", said, "sudo systemctl mask sleep.target suspend.target")
    return Finding("ok", f"{argv[0]} keeps the machine awake while runs go on")


def has_systemd() -> bool:
    """Whether systemd began this system."""
    return SYSTEMD.is_dir() and shutil.which("loginctl") is not None


def _cgroup(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


async def _asked(argv: tuple[str, ...]) -> str | None:
    """What a program says; None where it is missing, fails, or takes too long."""
    if shutil.which(argv[0]) is None:
        return None
    child = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(ASK_SECONDS):
            said, _ = await child.communicate()
    except TimeoutError:
        child.kill()
        await child.wait()
        return None
    return said.decode("utf-8", "replace").strip() if child.returncode == 0 else None
