"""When a run is to start: what a person types, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from nightdesk.model.errors import UsageError
from nightdesk.model.job import Run
from nightdesk.model.units import NS, format_duration

DAY_NS = 86_400 * NS
SOON_NS = NS
STARTS = "Starts "
"""Begins the reason of a run that waits for its time."""
HINT = "Write a time (23:30), a span (2h, 1h30m), or a day with a time (2026-11-22T01:00)."


class Expected(NamedTuple):
    """When something will probably happen. The last two say how sure that is, where it is known."""

    at_ns: int
    low_ns: int | None = None
    high_ns: int | None = None

    @classmethod
    def exactly(cls, at_ns: int) -> Expected:
        """A time that is certain."""
        return cls(at_ns, at_ns, at_ns)


def latest(moments: Iterable[Expected]) -> Expected:
    """When the last of several things will probably have happened; there is at least one."""
    known = tuple(moments)
    lows = [each.low_ns for each in known if each.low_ns is not None]
    highs = [each.high_ns for each in known if each.high_ns is not None]
    at_ns = max(each.at_ns for each in known)
    if len(lows) < len(known) or len(highs) < len(known):
        return Expected(at_ns)
    return Expected(at_ns, max(lows), max(highs))


def read_start_ns(text: str, now_ns: int) -> int:
    """The moment that ``text`` means, in local time: the next 23:30, in 2 hours, on that day.

    Raises UsageError where it says none, or one that has passed.
    """
    from nightdesk.core.moments import read_moment

    moment = read_moment(text.strip())
    if moment is None or moment.days_ago is not None:
        raise UsageError(f"{text} is not a time to start at.", HINT)
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
    """Why a run waits, and when it will probably start, where that is known: the moment, and the time left."""
    reason = run.reason or "Waits."
    if run.expected_ns is None:
        return reason
    if reason.startswith(STARTS):
        return f"{reason.rstrip('.')}, {left_words(run, now_ns)}."
    verb = "Starts" if is_certain(run) else "Probably starts"
    return f"{reason} {verb} {expected_words(run, now_ns)}."


def expected_words(run: Run, now_ns: int) -> str:
    """``at 23:30, in about 12 min (9 to 16 min)``: when a run that waits will start; empty where that is not known."""
    if run.expected_ns is None:
        return ""
    between = range_words(run, now_ns)
    moment = start_words(max(run.expected_ns, now_ns), now_ns)
    return f"{moment}, {left_words(run, now_ns)}" + (f" ({between})" if between else "")


def waiting_brief(run: Run, now_ns: int) -> tuple[str, str]:
    """Time left and reason of a run that waits, for half a line; the first is empty where it is not known."""
    reason = (run.reason or "Waits").removesuffix(".")
    if run.expected_ns is None:
        return "", reason[:1].lower() + reason[1:]
    for begin in ("Waits for the ", "Waits for "):
        reason = reason.removeprefix(begin)
    between = range_words(run, now_ns)
    reason = reason.removeprefix(STARTS) + (f" ({between})" if between else "")
    return left_words(run, now_ns), reason[:1].lower() + reason[1:] if run.reason else reason


def is_certain(run: Run) -> bool:
    """The run starts at a time that is set, not at one that is estimated."""
    return run.expected_ns is not None and run.expected_low_ns == run.expected_ns == run.expected_high_ns


def left_words(run: Run, now_ns: int) -> str:
    """``in about 12 min``; ``in 9m12s`` where the time is certain, ``any moment`` once it has passed."""
    left_ns = (run.expected_ns or 0) - now_ns
    if left_ns < SOON_NS:
        return "any moment"
    if is_certain(run):
        return f"in {format_duration(left_ns // NS * NS)}"
    return f"in about {rough_words(left_ns)}"


def range_words(run: Run, now_ns: int) -> str:
    """``9 to 16 min``; empty where the time is certain, the range is not known, or both its ends read the same."""
    if run.expected_low_ns is None or run.expected_high_ns is None or is_certain(run):
        return ""
    low, high = (rough_words(max(0, end - now_ns)) for end in (run.expected_low_ns, run.expected_high_ns))
    if low == high or run.expected_high_ns <= now_ns:
        return ""
    number, _, unit = low.partition(" ")
    return f"{number if high.endswith(f' {unit}') and high.count(' ') == 1 else low} to {high}"


def rough_words(span_ns: int) -> str:
    """A length of time no more exact than an estimate is: ``40 s``, ``12 min``, ``2 h 10 min``, ``3 d``."""
    seconds = span_ns / NS
    if seconds < 95:
        return f"{max(10, round(seconds / 10) * 10)} s"
    minutes = round(seconds / 60)
    if minutes < 95:
        return f"{minutes} min"
    tens = round(minutes / 10) * 10
    if tens < 48 * 60:
        return f"{tens // 60} h" + (f" {tens % 60} min" if tens % 60 else "")
    return f"{round(minutes / 1440)} d"
