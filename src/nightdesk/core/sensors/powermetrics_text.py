"""Reads what ``powermetrics`` prints for people (macOS 11 and later, Apple chips): bytes in, samples out.

Only for recordings: a text sample is complete when the next one begins, so that live use would lag by one interval.
An excerpt without the heading of its sample is read as well; its time and its length are then unknown, that is 0.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from nightdesk.core.sensors.apple import (
    INTEL,
    NO_PROCESSOR,
    AppleCounters,
    CoreTimes,
    build_sample,
    capacity,
    clamp,
    ratio_of,
)
from nightdesk.model.sample import CpuTier, Sample

MAX_LINE_BYTES: Final = 65_536
MOST_CLUSTERS, MOST_CORES, MOST_SECTIONS = 64, 1024, 64
"""Beyond all chips: a sample that never ends must not eat memory."""
_NS: Final = 1_000_000_000
_HEADER: Final = re.compile(
    r"\*\*\* Sampled system activity \(\w{3} (\w{3}) +(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4}) ([+-]\d\d)(\d\d)\)"
    r" \((\d{1,9})(?:\.(\d{1,3}))?ms elapsed\) \*\*\*"
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECTION: Final = re.compile(r"\*\*\*\*? (.+?) \*\*\*\*?$")
_CLUSTER: Final = re.compile(r"(\w{1,24}-Cluster) (.+?): +(.*)$")
_CORE: Final = re.compile(r"CPU (\d{1,4}) (frequency|(?:idle|down|active) residency): +(.*)$", re.IGNORECASE)
_STATE: Final = re.compile(r"(\d{1,6}) MHz: *(\d{0,3}(?:\.\d{1,6})?)%")
MOST_STATES: Final = 64
_POWER: Final = re.compile(
    r"(CPU|GPU|ANE|Package|Combined|Clusters Total) Power(?: \(.*\))?: +(-?\d{1,9}(?:\.\d{1,6})?) mW$"
)
_GPU: Final = re.compile(r"GPU (?:HW )?(active frequency|active residency|idle residency): +(.*)$")
_EXCERPT: Final = re.compile(r"\*{4} (?:Processor|GPU) usage \*{4}|\w{1,24}-Cluster |(?:CPU|GPU|ANE) Power: ")
"""Lines with which an excerpt may begin."""
_PRESSURE: Final = re.compile(r"Current pressure level: +(\w{1,40})$")
_NUMBER: Final = re.compile(r"\d{0,12}\.?\d{1,6}")


class PowermetricsTextReader:
    """Cuts the text at the headings of its samples; call :meth:`end` for the last one."""

    def __init__(self) -> None:
        self.dropped = 0
        """Headings of samples that could not be read."""
        self.oversized = 0
        """Lines longer than :data:`MAX_LINE_BYTES`."""
        self._buffer = b""
        self._block: _Block | None = None
        self._passing = False
        """Within a block about another span of time."""

    @property
    def buffered(self) -> int:
        """Bytes held for a line that has not ended yet."""
        return len(self._buffer)

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples that are complete now; ``at_ns`` None takes the time stamp of each heading."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE_BYTES:
            self.oversized += 1
            self._buffer = b""
        samples: list[Sample] = []
        for line in lines:
            samples += self._line(line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip(), at_ns)
        return samples

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """The sample that the end of the text completes."""
        rest, self._buffer = self._buffer, b""
        samples = self._line(rest.decode("utf-8", "replace").rstrip(), at_ns)
        return samples + self._finish()

    def _line(self, line: str, at_ns: int | None) -> list[Sample]:
        if line.startswith("*** ") and "system activity" in line:
            return self._heading(line, at_ns)
        if self._passing or not line:
            return []
        finished: list[Sample] = []
        if _EXCERPT.match(line) and (self._block is None or self._block.repeats(line)):
            finished = self._finish()
            self._block = _Block(at_ns or 0, 0, headed=False)
        if self._block is not None:
            self._block.read(line)
        return finished

    def _heading(self, line: str, at_ns: int | None) -> list[Sample]:
        if self._block is not None and not self._block.headed:
            # What stood before the first heading was the end of a sample that is cut off.
            self._block, self.dropped = None, self.dropped + 1
        finished = self._finish()
        # "Summary" and "Lifetime" headings begin blocks about another span of time: nothing is kept of those.
        if "Sampled" in line:
            self._block = _begin(line, at_ns)
            self.dropped += self._block is None
        self._passing = self._block is None
        return finished

    def _finish(self) -> list[Sample]:
        block, self._block = self._block, None
        return [] if block is None else [block.sample()]


@dataclass(slots=True)
class _Cluster:
    name: str
    freq_hz: float | None = None
    active: float | None = None
    scaled: dict[str, float] = field(default_factory=dict)
    """By core: the share of its capacity that was used."""
    shares: dict[str, dict[str, float]] = field(default_factory=dict)
    """By core: its shares of time (``idle residency``, ``down residency``, ``active residency``), as far as told."""

    def times(self) -> list[CoreTimes]:
        return [CoreTimes(_busy(shares)) for shares in self.shares.values()]

    def tier(self) -> CpuTier:
        return CpuTier(
            name=self.name,
            ratio=ratio_of(self.times()),
            scaled_ratio=ratio_of([CoreTimes(share) for share in self.scaled.values()]),
            freq_hz=self.freq_hz,
            cores=len(self.shares),
        )


def _states(text: str) -> list[tuple[float, float]]:
    """``20.5% (600 MHz: .46% 912 MHz:  20%)`` as pairs of clock and share of time."""
    return [(float(clock), float(share or 0) / 100) for clock, share in _STATE.findall(text)[:MOST_STATES]]


def _busy(shares: Mapping[str, float]) -> float | None:
    """Idle time and time without power count down from 1; an excerpt may have the rest alone."""
    idle = shares.get("idle residency")
    if idle is None:
        return clamp(shares.get("active residency"))
    return clamp(1.0 - idle - shares.get("down residency", 0.0))


@dataclass(slots=True)
class _Block:
    """One sample while its lines come in."""

    at_ns: int
    elapsed_ns: int
    headed: bool = True
    section: str = ""
    intel: bool = False
    clusters: list[_Cluster] = field(default_factory=list)
    watts: dict[str, float] = field(default_factory=dict)
    gpu: dict[str, float] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    headings: set[str] = field(default_factory=set)
    thermal: str | None = None

    def repeats(self, line: str) -> bool:
        """True for what an excerpt has had already: its next sample begins there."""
        if self.headed:
            return False
        cluster = _CLUSTER.fullmatch(line)
        earlier = [each.name for each in self.clusters[:-1]]
        return cluster[1] in earlier if cluster else line.strip("* ").lower() in self.headings

    def read(self, line: str) -> None:
        """Takes what ``line`` says; lines of task tables and other sections are not looked at."""
        heading = _SECTION.fullmatch(line)
        if heading:
            self.section = heading[1].lower()
            if len(self.headings) < MOST_SECTIONS:
                self.headings.add(self.section)
                self.seen.add(self.section)
        elif not self.headed and not self.section:
            self._excerpt(line)
        elif self.section == "processor usage":
            if not self._processor(line):
                self._power(line)
        elif self.section == "gpu usage":
            if not self._graphics(line):
                self._power(line)
        elif self.section == "thermal pressure" and (found := _PRESSURE.fullmatch(line)):
            self.thermal = found[1]

    def _excerpt(self, line: str) -> None:
        """A line of an excerpt without headings of sections: it tells by itself where it belongs."""
        if self._graphics(line):
            self.seen.add("gpu usage")
        elif self._processor(line) or self._power(line):
            self.seen.add("processor usage")
        elif found := _PRESSURE.fullmatch(line):
            self.thermal = found[1]

    def _processor(self, line: str) -> bool:
        if found := _CLUSTER.fullmatch(line):
            if found[2] != "Power":
                self._cluster(*found.groups())
            return True
        if (found := _CORE.fullmatch(line)) and self.clusters:
            cluster, value = self.clusters[-1], _scaled(found[3], 0.01)
            if len(cluster.shares) >= MOST_CORES and found[1] not in cluster.shares:
                return True
            shares = cluster.shares.setdefault(found[1], {})
            if value is not None:
                shares[found[2].lower()] = value
            if (scaled := capacity(_states(found[3]))) is not None:
                cluster.scaled[found[1]] = scaled
            return True
        return False

    def _cluster(self, name: str, what: str, value: str) -> None:
        if not self.clusters or self.clusters[-1].name != name:
            if len(self.clusters) >= MOST_CLUSTERS:
                return
            self.clusters.append(_Cluster(name))
        if what.endswith("active frequency"):
            self.clusters[-1].freq_hz = _scaled(value, 1e6)
        elif what.endswith("active residency"):
            self.clusters[-1].active = _scaled(value, 0.01)

    def _graphics(self, line: str) -> bool:
        found = _GPU.fullmatch(line)
        value = _scaled(found[2], 1.0) if found else None
        if found and value is not None:
            self.gpu[found[1]] = value
            if (scaled := capacity(_states(found[2]))) is not None:
                self.gpu["capacity"] = scaled
        return found is not None

    def _power(self, line: str) -> bool:
        self.intel = self.intel or line.startswith("Intel energy model")
        found = _POWER.fullmatch(line)
        if found:
            # The GPU's power is printed in two sections, sampled at different moments: the first goes with the others.
            self.watts.setdefault(found[1], float(found[2]) / 1000)
        return found is not None

    def sample(self) -> Sample:
        """The finished sample."""
        idle, mhz = self.gpu.get("idle residency"), self.gpu.get("active frequency")
        active = self.gpu.get("active residency") if idle is None else 100 - idle
        counters = AppleCounters(
            elapsed_ns=self.elapsed_ns,
            has_processor="processor usage" in self.seen and not self.intel,
            no_processor=INTEL if self.intel else NO_PROCESSOR,
            has_gpu="gpu usage" in self.seen,
            tiers=tuple(cluster.tier() for cluster in self.clusters),
            cores=tuple(core for cluster in self.clusters for core in cluster.times()),
            cpu_w=self.watts.get("CPU", self.watts.get("Clusters Total")),
            gpu_w=self.watts.get("GPU"),
            ane_w=self.watts.get("ANE"),
            package_w=self.watts.get("Combined", self.watts.get("Package")),
            clusters=tuple(cluster.active for cluster in self.clusters),
            gpu_active=None if active is None else clamp(active / 100),
            gpu_scaled=self.gpu.get("capacity"),
            scaled_from_states=True,
            gpu_hz=None if mhz is None else mhz * 1e6,
            thermal=self.thermal,
        )
        return build_sample(counters, source="powermetrics", at_ns=self.at_ns)


def _begin(line: str, at_ns: int | None) -> _Block | None:
    found = _HEADER.fullmatch(line)
    if not found:
        return None
    elapsed_ns = int(found[9]) * 1_000_000 + int((found[10] or "0").ljust(3, "0")) * 1000
    stamp_ns = _stamp_ns(found)
    return None if stamp_ns is None else _Block(stamp_ns if at_ns is None else at_ns, elapsed_ns)


def _stamp_ns(found: re.Match[str]) -> int | None:
    month, day, hour, minute, second, year, offset_h, offset_m = found.groups()[:8]
    try:
        local = datetime.datetime(
            int(year),
            _MONTHS.index(month) + 1,
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=datetime.UTC,
        )
        minutes = int(offset_h) * 60 + (-1 if offset_h.startswith("-") else 1) * int(offset_m)
        seconds = int((local - datetime.timedelta(minutes=minutes)).timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds * _NS if 0 < seconds < 2**63 // _NS else 0


def _scaled(text: str, factor: float) -> float | None:
    found = _NUMBER.match(text)
    return float(found[0]) * factor if found else None
