"""Apple's powermetrics as a child process, as root or through the one command line that sudo permits."""

from __future__ import annotations

import os

from nightdesk.core.privileged import POWERMETRICS_ARGV, SUDO
from nightdesk.core.sensors.powermetrics import PowermetricsReader
from nightdesk.engine.sensors.program import Failure, Limits, Program

_REMEDY = (
    "Allow this one command line with sudoers.d.example, or install macmon (no root): brew install macmon"
)


def powermetrics_source(
    *,
    sudo: str = SUDO[0],
    program: str = POWERMETRICS_ARGV[0],
    root: bool | None = None,
    limits: Limits | None = None,
) -> Program:
    """The powermetrics source. ``sudo`` and ``program`` say where the two programs lie; the arguments never change.

    ``root`` None asks the system who runs this.
    """
    as_root = os.geteuid() == 0 if root is None else root
    direct = (program, *POWERMETRICS_ARGV[1:])
    argv = direct if as_root else (sudo, *SUDO[1:], *direct)
    return Program("powermetrics", lambda: argv, PowermetricsReader, explain_powermetrics, limits)


def explain_powermetrics(complaint: str, code: int | None) -> Failure:
    """Why powermetrics ended, from what it and sudo wrote to standard error and its exit status."""
    text = complaint.lower()
    if "a password is required" in text or "not allowed to" in text or "not in the sudoers" in text:
        return Failure("powermetrics needs root, and sudo asks for a password.", _REMEDY, True)
    if "superuser" in text:
        return Failure("powermetrics needs root.", _REMEDY, True)
    if "unrecognized sampler" in text:
        return Failure(
            f"This powermetrics does not know a sampler that Nightdesk asks for: {last_line(complaint)}.",
            "Install macmon instead: brew install macmon",
            True,
        )
    if "command not found" in text or "no such file" in text:
        return Failure(
            "powermetrics was not found; it is part of macOS.", 'On Linux use source = "auto".', True
        )
    said = last_line(complaint)
    return Failure(
        f"powermetrics ended{_status(code)}{f': {said}' if said else ''}.", "It will be started again."
    )


def last_line(complaint: str) -> str:
    """The last line with words in it, without its full stop, at most 200 characters."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return lines[-1].rstrip(".")[:200] if lines else ""


def _status(code: int | None) -> str:
    if code is None:
        return ""
    return f" by signal {-code}" if code < 0 else f" with status {code}"
