"""mactop as a child process: measurements of Apple chips without root, where macmon is not installed."""

from __future__ import annotations

from nightdesk.core.sensors.mactop import MactopReader
from nightdesk.engine.sensors.powermetrics import last_line
from nightdesk.engine.sensors.program import Failure, Limits, Program

_MS = 1_000_000
INSTALL = "Install mactop: brew install mactop"


def mactop_source(program: str, interval_ms: int, limits: Limits | None = None) -> Program:
    """The mactop source, started once and read object by object."""

    def argv() -> list[str]:
        pace = str(max(250, interval_ms))
        return [program, "--headless", "--format", "json", "--interval", pace, "--count", "0"]

    def explain(complaint: str, code: int | None) -> Failure:
        if "no such file" in complaint.lower():
            return Failure("mactop was not found on the search path.", INSTALL, True)
        if "flag provided but not defined" in complaint or "unknown flag" in complaint:
            return Failure("This mactop is older than version 2.", "Update it: brew upgrade mactop", True)
        said = last_line(complaint)
        ended = "mactop ended" if code is None else f"mactop ended with status {code}"
        return Failure(f"{ended}{f': {said}' if said else ''}.", "It will be started again.")

    return Program("mactop", argv, lambda: MactopReader(interval_ms * _MS), explain, limits)
