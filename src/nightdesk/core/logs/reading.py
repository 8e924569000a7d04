"""What one log line says about progress, before it is believed."""

from __future__ import annotations

from typing import Literal, NamedTuple

SECOND = 1_000_000_000
ITEM_LIMIT = 200
Source = Literal["counter", "tqdm", "percent", "position", "pattern"]


class Reading(NamedTuple):
    """What one line says."""

    source: Source
    series: str
    """Lines of one series count the same thing."""
    done: float
    total: float | None
    unit: str
    item: str | None = None
    rate: float | None = None
    left_ns: int | None = None
    sure: bool = True
    began: float | None = None
    """The printed number, where ``done`` is one less."""


def clock_ns(text: str) -> int | None:
    """``02:05``, ``1:02:05`` or ``1 day, 1:02:05`` as nanoseconds."""
    days, _, clock = text.rpartition(", ")
    parts = clock.strip().split(":")
    if not all(part.isdecimal() for part in parts) or not 2 <= len(parts) <= 3:
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    number = days.split(" ")[0]
    return (seconds + (int(number) * 86_400 if number.isdecimal() else 0)) * SECOND


def of_percent(
    value: float, series: str, item: str | None, *, sure: bool = True, left_ns: int | None = None
) -> Reading | None:
    """A share in percent; None above 100."""
    if value > 100:
        return None
    return Reading("percent", series, value, 100, "%", item, None, left_ns, sure=sure)
