"""Points in time as people say them: ``2h`` ago, ``03:12``, ``2026-11-21``, ``2026-11-21T03:12``, ``yesterday``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

UNIT_NS = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}
_PART = r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)"
_SPAN = re.compile(rf"(?:{_PART})+")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
_LONGEST_NS = 10_000 * UNIT_NS["d"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, possibly relative. One of the fields is set; ``day`` and ``clock`` may be set together."""

    ago_ns: int | None = None
    day: date | None = None
    days_ago: int | None = None
    clock: time | None = None

    def at_ns(self, now_ns: int, *, is_end: bool = False) -> int:
        """Nanoseconds since the epoch, in local time. A day without a time is its begin, or its end with ``is_end``;
        a time without a day is the newest such time that has passed.
        """
        if self.ago_ns is not None:
            return now_ns - self.ago_ns
        today = datetime.fromtimestamp(now_ns / 1e9).date()
        day = self.day or today - timedelta(days=self.days_ago or 0)
        if self.clock is None:
            return _ns(datetime.combine(day + timedelta(days=is_end), time())) - is_end
        at_ns = _ns(datetime.combine(day, self.clock))
        if self.day is None and self.days_ago is None and at_ns > now_ns:
            return _ns(datetime.combine(day - timedelta(days=1), self.clock))
        return at_ns


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


def read_moment(text: str) -> Moment | None:
    """The moment that ``text`` says; None where it says none."""
    lowered = text.lower()
    ago_ns = read_span_ns(lowered)
    if ago_ns is not None and not lowered.isdecimal():
        return Moment(ago_ns=ago_ns)
    if lowered in ("today", "yesterday"):
        return Moment(days_ago=("today", "yesterday").index(lowered))
    if clock := _read_clock(lowered):
        return Moment(clock=clock)
    day, _, rest = lowered.replace("t", " ").partition(" ")
    try:
        read = date.fromisoformat(day)
    except ValueError:
        return None
    clock = _read_clock(rest)
    return (
        None if (rest and clock is None) or not 1971 <= read.year <= 9000 else Moment(day=read, clock=clock)
    )


def _read_clock(text: str) -> time | None:
    match = _CLOCK.fullmatch(text)
    return time(int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def read_span_ns(text: str) -> int | None:
    """A length of time: ``30s``, ``1h30m``, ``250ms``; a bare number is seconds. None where it is none."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        text += "s"
    if not _SPAN.fullmatch(text):
        return None
    spans = [float(number) * UNIT_NS[unit] for number, unit in re.findall(_PART, text)]
    return int(min(sum(spans), _LONGEST_NS))
