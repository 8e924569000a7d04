"""Whether the room on the disk lasts for what the logs of the runs become. Looks in, a warning out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from nightdesk.model.units import format_bytes, format_duration

KEPT = 16
SETTLED_NS = 60 * 10**9
"""A rate is told from looks that are so far apart."""
HOURS_NS = 12 * 3600 * 10**9
"""A night: who fills the disk within it is told of."""
LEAST_BYTES = 10**9
LARGE_BYTES = 10 * 10**9
"""A log that nobody will read to its end."""
ADVICE = "Pause or stop it, or let it print less; a log may also be emptied while its run goes on (: > FILE)."


@dataclass(frozen=True, slots=True)
class Log:
    """A log of a run that goes on."""

    job: str
    size: int


@dataclass(frozen=True, slots=True)
class Warned:
    """What is wrong with the room on the disk."""

    label: str
    """For a header."""
    message: str


@dataclass(frozen=True, slots=True)
class _Look:
    at_ns: int
    grown: Counter[str]
    """Job → bytes that its logs gained since the look before."""


class RoomWatch:
    """Remembers the last looks at the disk."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque(maxlen=KEPT)
        self._sizes: dict[str, int] = {}

    def look(self, at_ns: int, free: int, logs: Mapping[str, Log]) -> Warned | None:
        """What is wrong, if anything. ``logs``: path → log of a run that goes on; ``free``: bytes on their disk."""
        grown: Counter[str] = Counter()
        for path, log in logs.items():
            grown[log.job] += max(0, log.size - self._sizes.get(path, log.size))
        self._sizes = {path: log.size for path, log in logs.items()}
        self._looks.append(_Look(at_ns, grown))
        return self._filling(free, {log.job for log in logs.values()}) or _scarce(free) or _large(logs)

    def _filling(self, free: int, jobs: set[str]) -> Warned | None:
        span_ns = self._looks[-1].at_ns - self._looks[0].at_ns
        if span_ns < SETTLED_NS:
            return None
        grown = sum((look.grown for look in list(self._looks)[1:]), Counter[str]())
        grown = Counter({job: size for job, size in grown.items() if job in jobs})
        total = sum(grown.values())
        if not total or (left_ns := free * span_ns // total) > HOURS_NS:
            return None
        job, most = grown.most_common(1)[0]
        rate = format_bytes(most * 3600 * 10**9 // span_ns)
        left = format_duration(left_ns)
        said = f"Logs fill the disk in about {left}: that of {job} grows by {rate} an hour"
        return Warned(f"disk full in {left}", f"{said}, {format_bytes(free)} are free. {ADVICE}")


def _scarce(free: int) -> Warned | None:
    if free >= LEAST_BYTES:
        return None
    said = format_bytes(free)
    advice = "When nothing is left, no attempt is started and recording stops until there is room."
    return Warned(f"{said} of disk left", f"Only {said} are free on the disk of the desk. {advice}")


def _large(logs: Mapping[str, Log]) -> Warned | None:
    largest = max(logs.values(), key=lambda log: log.size, default=None)
    if largest is None or largest.size < LARGE_BYTES:
        return None
    said = format_bytes(largest.size)
    return Warned(f"log of {said}", f"The log of {largest.job} has {said}. {ADVICE}")
