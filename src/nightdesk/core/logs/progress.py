"""Reads from log lines how far a batch is: counters, tqdm bars, percentages.

A known form counts at first sight. Anything else that looks like ``12/52`` must be seen growing, because dates, ratios,
fractions in paths and scores look alike.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import UTC, datetime
from itertools import pairwise
from math import sqrt
from statistics import mean, median, stdev

from nightdesk.core.logs.media_progress import MediaReader, Position
from nightdesk.core.logs.progress_forms import may_tell, of_patterns, read_progress
from nightdesk.core.logs.reading import SECOND, Reading
from nightdesk.model.logs import Progress

_LINE_LIMIT = 2000
"""Characters of a line that are looked at."""
_RECENT = 12
"""Steps from which the rate is taken."""
_RANGE_STEPS = 3
"""Steps that must be known before a range is told."""
_FOUR_OF_FIVE = 1.28
"""Standard deviations on either side that hold four fifths of a normal distribution."""
_SIGHTINGS = 3
"""How often an unknown form must be seen growing."""

_RANK = {"pattern": 3, "counter": 2, "tqdm": 1, "percent": 0, "position": 0}

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
_STAMP = re.compile(
    r"\[?(?P<day>\d{4}-\d\d-\d\d)[ T](?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<part>\d{1,9}))?(?:Z|[+-]\d\d:?\d\d)?\]?"
)


class ProgressReader:
    """Follows the progress of one log. Feed it lines in order; it keeps a few numbers, never lines."""

    def __init__(self, patterns: tuple[re.Pattern[str], ...] = ()) -> None:
        """``patterns`` are the user's, with groups ``done`` and, where there are any, ``total`` and ``item``."""
        self._patterns = patterns
        self._media = MediaReader()
        self._fell: str | None = None
        self._current: Reading | None = None
        self._progress: Progress | None = None
        self._steps: deque[tuple[int, float, bool]] = deque(maxlen=_RECENT)
        self._seen: dict[str, tuple[float, int]] = {}
        self._rival = ""
        self._rival_ends = 0

    @property
    def progress(self) -> Progress | None:
        """The newest progress."""
        return self._progress

    def feed(self, line: str, at_ns: int) -> Progress | None:
        """The progress after this line; None where the line says nothing new about it.

        ``at_ns`` is when the line came. Where lines bear time stamps, the rate is taken from those.
        """
        if not self._patterns and not may_tell(line):
            return None
        text = _ANSI.sub("", line[:_LINE_LIMIT])
        reading = (
            of_patterns(text, self._patterns) or _of_position(self._media.feed(text)) or read_progress(text)
        )
        if reading is None or not self._believed(reading) or not self._leads(reading):
            return None
        stamp = _stamp(text)
        self._note(reading, at_ns if stamp is None else stamp, stamp is not None)
        self._progress = self._built(reading, at_ns)
        return self._progress

    def _believed(self, reading: Reading) -> bool:
        if reading.sure:
            return True
        shown = reading.done if reading.began is None else reading.began
        last, times = self._seen.pop(reading.series, (-1.0, 0))
        if len(self._seen) >= 64:
            self._seen.pop(next(iter(self._seen)))
        times = times + 1 if shown > last else times if shown == last else 1
        self._seen[reading.series] = (shown, times)
        return times >= _SIGHTINGS

    def _leads(self, reading: Reading) -> bool:
        """Whether this line counts the whole and not a part of it, such as the bar of one file inside a batch."""
        current = self._current
        if (
            current is None
            or reading.series == current.series
            or _over(current)
            or _follows(current, reading)
        ):
            self._rival_ends = 0
            return True
        if _RANK[reading.source] > _RANK[current.source]:
            return True
        if _RANK[reading.source] < _RANK[current.source]:
            return False
        if current.total is None and reading.total is not None:
            return True
        if reading.series != self._rival:
            self._rival, self._rival_ends = reading.series, 0
        self._rival_ends += _over(reading)
        return self._rival_ends > 1

    def _note(self, reading: Reading, at_ns: int, stamped: bool) -> None:
        current = self._current
        same = current is not None and current.series == reading.series and reading.done >= current.done
        again = current is not None and current.series == reading.series
        self._fell = _fall(self._progress, reading, self._fell, again=again)
        if not same:
            self._steps.clear()
        if not self._steps or self._steps[-1][1] != reading.done:
            self._steps.append((at_ns, reading.done, stamped))
        if same and current is not None and reading.item is None and reading.done == current.done:
            reading = reading._replace(item=current.item)
        self._current = reading

    def _built(self, reading: Reading, at_ns: int) -> Progress:
        assert self._current is not None
        rate = reading.rate if reading.source == "tqdm" or reading.rate is not None else self._rate()
        left = reading.left_ns
        if left is None and rate and reading.total is not None:
            left = int(max(reading.total - reading.done, 0) / rate * SECOND)
        low, high = self._range(reading, left)
        return Progress(
            eta_low_ns=low,
            eta_high_ns=high,
            note=self._fell,
            done=reading.done,
            total=reading.total,
            unit=reading.unit,
            item=self._current.item,
            rate_per_s=rate,
            eta_ns=left,
            at_ns=at_ns,
            source=reading.source,
        )

    def _rate(self) -> float | None:
        """Units a second: the median over the last steps, so that one long pause does not spoil it."""
        spans = self._spans()
        return SECOND / median(spans) if spans else None

    def _spans(self) -> list[float]:
        """Nanoseconds a unit took, of the newest steps."""
        return [
            (later[0] - sooner[0]) / (later[1] - sooner[1])
            for sooner, later in pairwise(self._steps)
            if later[0] > sooner[0] and later[1] > sooner[1] and later[2] == sooner[2]
        ]

    def _range(self, reading: Reading, left: int | None) -> tuple[int | None, int | None]:
        """Between what the time left lies in about four of five nights, if the units to come vary as the newest did."""
        spans = self._spans()
        if left is None or reading.total is None or len(spans) < _RANGE_STEPS:
            return None, None
        units = max(reading.total - reading.done, 0)
        middle, spread = mean(spans), stdev(spans)
        width = _FOUR_OF_FIVE * spread * sqrt(units + units * units / len(spans))
        low, high = max(units * middle - width, 0.0), units * middle + width
        return int(min(low, left)), int(max(high, left))


def _follows(current: Reading, reading: Reading) -> bool:
    """One recording after the other: where the one before ended, its positions may not tell."""
    return all(each.source == "position" and each.unit != "%" for each in (current, reading))


def _fall(before: Progress | None, reading: Reading, told: str | None, *, again: bool) -> str | None:
    """Why less is done than was told before; None where it is not less. What was said stays while that is so."""
    if before is None or before.total is None or reading.total is None:
        return None
    was, now = before.done / before.total, reading.done / reading.total
    if now < was:
        counted = f"{before.done:g} of {before.total:g}"
        return (
            f"the count began again after {counted}"
            if again
            else f"another count than before, which was at {counted}"
        )
    return told if told is not None and now < 1 else None


def _of_position(position: Position | None) -> Reading | None:
    if position is None:
        return None
    left = None if position.left_s is None else int(position.left_s * SECOND)
    return Reading(
        "position",
        position.series,
        position.done,
        position.total,
        position.unit,
        position.item,
        position.rate,
        left,
    )


def _over(reading: Reading) -> bool:
    shown = reading.done if reading.began is None else reading.began
    return reading.total is not None and shown >= reading.total


def _stamp(text: str) -> int | None:
    """The line's own time stamp, in nanoseconds since the epoch as if it were UTC: only differences are used."""
    match = _STAMP.search(text[:60])
    if match is None:
        return None
    try:
        when = datetime.strptime(f"{match['day']} {match['clock']}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(when.timestamp()) * SECOND + int((match["part"] or "0").ljust(9, "0"))
