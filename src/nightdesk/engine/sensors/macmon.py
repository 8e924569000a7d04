"""macmon as a child process: measurements of Apple chips without root."""

from __future__ import annotations

import shutil

from nightdesk.core.sensors.macmon import MacmonReader
from nightdesk.engine.sensors.powermetrics import last_line
from nightdesk.engine.sensors.program import Failure, Limits, Program

_MS = 1_000_000
INSTALL = "Install macmon: brew install macmon"


def macmon_source(program: str, interval_ms: int, limits: Limits | None = None) -> Program:
    """The macmon source, started once and read line by line.

    Chip details are asked for first; versions before 0.6.1 refuse that option and are started again without it.
    """
    details = ["--soc-info"]

    def argv() -> list[str]:
        return [program, "pipe", "-s", "0", "-i", str(max(100, interval_ms)), *details]

    def explain(complaint: str, code: int | None) -> Failure:
        if details and "--soc-info" in complaint:
            details.clear()
            return Failure("This macmon is older than 0.6.1.", "It is started again without chip details.")
        if "no such file" in complaint.lower():
            return Failure("macmon was not found on the search path.", INSTALL, True)
        said = last_line(complaint)
        ended = "macmon ended" if code is None else f"macmon ended with status {code}"
        return Failure(f"{ended}{f': {said}' if said else ''}.", "It will be started again.")

    return Program("macmon", argv, lambda: MacmonReader(interval_ms * _MS), explain, limits)


def find_macmon() -> str | None:
    """The path of macmon on the search path."""
    return shutil.which("macmon")
