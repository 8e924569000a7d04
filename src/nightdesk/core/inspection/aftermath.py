"""Whether a server stopped working after its client had left: FIN seen is not idle.

Evidence, the strongest first: the processor time of the server and its runners, and the moment until which the
server keeps the model (Ollama sets it anew when a request lets go of the model). Neither tells anything while other
requests are in work there.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from nightdesk.model.units import format_duration, format_percent

BUSY = 0.2
"""Share of one core that a server at work shows at least; with less, its processor time proves nothing."""
QUIET = 0.15
"""Share of what it used before: below it the server is idle."""
CALM = 0.05
"""Share of a core that an idle server may use."""


class Look(NamedTuple):
    """The server at one moment."""

    at_ns: int
    cpu_ratio: float | None = None
    """Share of one core since the look before, of the server and all its children."""
    kept_until: str | None = None
    """What ``/api/ps`` says of the model: its time, ``gone``, or None where that is not known."""
    holds_connection: bool | None = None
    """The server has not closed its side of the connection."""


class Finding(NamedTuple):
    """``stopped`` is None where it can't be told."""

    stopped: bool | None
    words: str
    """The end of a sentence that begins with "the server"."""
    final: bool = False
    """Further looks would change nothing."""


def judge(before: Look, closed_ns: int, looks: list[Look], others: int) -> Finding:
    """What the looks since ``closed_ns`` say; ``others`` requests are in work on the same server."""
    if others:
        requests = "another request is" if others == 1 else f"{others} other requests are"
        return Finding(None, f"can't be told to have stopped: {requests} in work there", final=True)
    found = _by_cpu(before, closed_ns, looks) or _by_model(before, closed_ns, looks)
    if found is not None:
        return found
    return Finding(None, f"can't be told to have stopped: {_why(before, looks)}")


def _by_cpu(before: Look, closed_ns: int, looks: list[Look]) -> Finding | None:
    if before.cpu_ratio is None or before.cpu_ratio < BUSY:
        return None
    limit = max(CALM, before.cpu_ratio * QUIET)
    for first, second in pairwise(looks):
        if all(look.cpu_ratio is not None and look.cpu_ratio <= limit for look in (first, second)):
            return _idle(first, closed_ns)
    last = looks[-1] if looks else None
    if last is not None and last.cpu_ratio is not None and last.cpu_ratio > limit:
        used = format_percent(last.cpu_ratio)
        return Finding(
            False,
            f"is still working after {format_duration(last.at_ns - closed_ns)} ({used} of a core)",
        )
    return None


def _by_model(before: Look, closed_ns: int, looks: list[Look]) -> Finding | None:
    for look in looks:
        if before.kept_until and look.kept_until and look.kept_until != before.kept_until:
            return _idle(look, closed_ns)
    return None


def _idle(look: Look, closed_ns: int) -> Finding:
    return Finding(True, f"is idle again after {format_duration(look.at_ns - closed_ns)}", final=True)


def _why(before: Look, looks: list[Look]) -> str:
    last = looks[-1] if looks else before
    if last.holds_connection:
        return "it has not closed its side of the connection"
    if before.cpu_ratio is None:
        return "its process can't be seen"
    closed = "it closed the connection, but " if last.holds_connection is False else ""
    return f"{closed}it used too little of the processor for that to say anything"
