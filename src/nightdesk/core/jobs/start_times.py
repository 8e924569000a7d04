"""When a run is to start: what a person types, and how it is told."""

from __future__ import annotations

from datetime import datetime

from nightdesk.model.errors import UsageError
from nightdesk.model.job import Run

DAY_NS = 86_400 * 10**9
STARTS = "Starts "
"""Begins the reason of a run that waits for its time."""
HINT = "Write a time (23:30), a span (2h, 1h30m), or a day with a time (2026-11-22T01:00)."


def read_start_ns(text: str, now_ns: int) -> int:
    """The moment that ``text`` means, in local time: the next 23:30, in 2 hours, on that day.

    Raises UsageError where it says none, or one that has passed.
    """
    from nightdesk.core.moments import read_moment

    moment = read_moment(text.strip())
    if moment is None or moment.days_ago is not None:
        raise UsageError(f"{text} is no time to start at.", HINT)
    if moment.ago_ns is not None:
        return now_ns + moment.ago_ns
    at_ns = moment.at_ns(now_ns)
    if moment.day is None:
        passed = datetime.fromtimestamp(at_ns / 1e9)
        return at_ns if at_ns > now_ns else int(_next_day(passed).timestamp()) * 10**9
    if at_ns <= now_ns:
        raise UsageError(f"{text} has passed.", HINT)
    return at_ns


def _next_day(moment: datetime) -> datetime:
    """The same clock time a day later, also where clocks change meanwhile."""
    return datetime.fromordinal(moment.toordinal() + 1).replace(
        hour=moment.hour, minute=moment.minute, second=moment.second
    )


def start_words(at_ns: int, now_ns: int) -> str:
    """``at 23:30``; with its day where that is more than a day away."""
    moment = datetime.fromtimestamp(at_ns / 1e9)
    if abs(at_ns - now_ns) < DAY_NS:
        return f"at {moment:%H:%M}"
    return f"on {moment:%Y-%m-%d} at {moment:%H:%M}"


def waiting_words(run: Run, now_ns: int) -> str:
    """Why a run waits, and when it will probably start, where that is known."""
    reason = run.reason or "Waits."
    if run.expected_ns is None or reason.startswith(STARTS):
        return reason
    return f"{reason} Probably starts {start_words(max(run.expected_ns, now_ns), now_ns)}."
