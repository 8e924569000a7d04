"""nvidia-smi as one long-lived child process, for machines where the Python part for NVIDIA cards is missing."""

from __future__ import annotations

from nightdesk.core.sensors.nvidia_smi import smi_sample
from nightdesk.core.sensors.recordings import ReportReader
from nightdesk.engine.sensors.powermetrics import last_line
from nightdesk.engine.sensors.program import Failure, Limits, Program

_MS = 1_000_000
SHORTEST_S = 2
"""A report takes the driver 20 to 200 ms."""
_DRIVER = "Install the NVIDIA driver, or restart the machine if it was just updated."


def nvidia_smi_source(program: str, interval_ms: int, limits: Limits | None = None) -> Program:
    """The nvidia-smi source: it is started once and prints a report every two seconds or slower."""
    seconds = max(SHORTEST_S, round(interval_ms / 1000))
    silent = limits or Limits(silent_ns=max(30, 10 * seconds) * 10**9)
    argv = (program, "-q", "-x", "-l", str(seconds))

    def reader() -> ReportReader:
        return ReportReader(smi_sample, b"</nvidia_smi_log>", seconds * 1000 * _MS)

    return Program("nvidia-smi", lambda: argv, reader, explain_nvidia_smi, silent)


def explain_nvidia_smi(complaint: str, code: int | None) -> Failure:
    """Why nvidia-smi ended. It writes its complaints to standard output as well, where nothing keeps them."""
    text = complaint.lower()
    if "no such file" in text:
        return Failure("nvidia-smi was not found on the search path.", _DRIVER, True)
    if "version mismatch" in text or code == 18:
        return Failure("Driver and library have different versions, as after an update.", _DRIVER, True)
    if "couldn't communicate" in text or code == 9:
        return Failure("nvidia-smi can't reach the NVIDIA driver.", _DRIVER, True)
    if code == 15 or "gpu is lost" in text:
        return Failure("The GPU is lost: it fell off the bus or crashed.", "Restart the machine.")
    said = last_line(complaint)
    ended = "nvidia-smi ended" if code is None else f"nvidia-smi ended with status {code}"
    return Failure(f"{ended}{f': {said}' if said else ''}.", "It will be started again.")
