"""What a signal to processes did, in one sentence with figures."""

from __future__ import annotations

from nightdesk.model.process import SignalReport, StopAllReport
from nightdesk.model.units import format_bytes

_DONE = {"pause": "paused", "resume": "resumed"}


def told(report: SignalReport) -> str:
    """``7 ended, 1 had to be killed, 0 left, 21.3 GB back.`` and what is to be said of each that is left."""
    if report.action in _DONE:
        return f"{many(len(report.signalled), 'process', 'processes')} {_DONE[report.action]}."
    killed = len(report.killed)
    ended = len(report.gone) - killed
    parts = []
    if report.action == "kill":
        parts.append(f"{killed} killed")
        parts += [f"{ended} ended by themselves" if ended > 1 else "1 ended by itself"] if ended else []
    else:
        parts.append(f"{ended} ended")
        parts += [f"{killed} had to be killed"] if killed else []
    parts.append(f"{len(report.left)} left")
    if report.freed_bytes:
        parts.append(f"{format_bytes(report.freed_bytes)} back")
    return ", ".join(parts) + "." + _left(report)


def _left(report: SignalReport) -> str:
    if not report.left:
        return ""
    names = ", ".join(f"{member.name} ({member.key.pid})" for member in report.left)
    return f" Still there: {names}."


def told_all(report: StopAllReport) -> str:
    """What became of runs, processes and models."""
    ended = len(report.runs) - len(report.still)
    words = [f"{many(ended, 'run')} stopped: {told(report.processes)}"]
    if report.still:
        words.append(f"Not ended: {', '.join(report.still)}.")
    return " ".join(filter(None, (*words, report.models, *report.processes.refused)))


def joined(action: str, reports: list[SignalReport]) -> SignalReport:
    """Several reports as one; each process counts once."""
    freed = [report.freed_bytes for report in reports if report.freed_bytes is not None]
    return SignalReport(
        action=action,
        signalled=tuple(dict.fromkeys(key for report in reports for key in report.signalled)),
        gone=tuple(dict.fromkeys(key for report in reports for key in report.gone)),
        left=tuple({member.key: member for report in reports for member in report.left}.values()),
        refused=tuple(dict.fromkeys(said for report in reports for said in report.refused)),
        killed=tuple(dict.fromkeys(key for report in reports for key in report.killed)),
        freed_bytes=sum(freed) if freed else None,
    )


def many(count: int, noun: str, plural: str = "") -> str:
    """``1 run``, ``2 runs``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
