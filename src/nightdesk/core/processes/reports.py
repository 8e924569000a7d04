"""What a signal to processes did, in one sentence with figures."""

from __future__ import annotations

from collections.abc import Collection

from nightdesk.model.process import SignalReport, StopAllReport, TreeMember
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
    if report.device_bytes:
        parts.append(f"{format_bytes(report.device_bytes)} back on accelerators")
    return ", ".join(parts) + "." + _left(report)


def _left(report: SignalReport) -> str:
    if not report.left:
        return ""
    names = ", ".join(
        f"{member.name} ({member.key.pid})" + (f", which {member.stuck}" if member.stuck else "")
        for member in report.left
    )
    return f" Still there: {names}."


def memory_of(members: Collection[TreeMember]) -> int | None:
    """What comes back with the end of all of them; None where it is known of none.

    Shared memory counts once where the system tells each one's part, else for each.
    """
    held = (member.rss_bytes if member.share_bytes is None else member.share_bytes for member in members)
    known = [size for size in held if size is not None]
    return sum(known) if known else None


def coming_back(members: Collection[TreeMember]) -> str:
    """``1.2 GB of memory come back.``, with “up to” where what several share may have been counted for each."""
    memory = memory_of(members)
    if memory is None:
        return "An unknown amount of memory comes back."
    doubtful = len(members) > 1 and any(member.share_bytes is None for member in members)
    return f"{'Up to ' if doubtful else ''}{format_bytes(memory)} of memory come back."


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
    devices = [report.device_bytes for report in reports if report.device_bytes is not None]
    return SignalReport(
        action=action,
        signalled=tuple(dict.fromkeys(key for report in reports for key in report.signalled)),
        gone=tuple(dict.fromkeys(key for report in reports for key in report.gone)),
        left=tuple({member.key: member for report in reports for member in report.left}.values()),
        refused=tuple(dict.fromkeys(said for report in reports for said in report.refused)),
        killed=tuple(dict.fromkeys(key for report in reports for key in report.killed)),
        freed_bytes=sum(freed) if freed else None,
        device_bytes=sum(devices) if devices else None,
    )


def many(count: int, noun: str, plural: str = "") -> str:
    """``1 run``, ``2 runs``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
