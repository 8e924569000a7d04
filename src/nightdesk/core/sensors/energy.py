"""Integrates power to energy over the true length of each sample, and shares it out among what ran.

A sample tells of the time that ends with it. Each moment of that time is shared equally among those that ran then.
The machine's use when idle is learned while nothing runs, and subtracted when somebody asks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

import msgspec

from nightdesk.model.energy import Bill, Energy
from nightdesk.model.sample import Sample

NS: Final = 1_000_000_000
LONGEST_SAMPLE_NS: Final = 120 * NS
"""A longer one slept with the machine: nobody knows what ran meanwhile."""
LEAST_IDLE: Final = 10
"""So many samples without work are needed to know what idle is."""
_IDLE_KEPT: Final = 300
_K = TypeVar("_K")


class Span(NamedTuple):
    """A stretch of time in ns; ``end_ns`` None goes on."""

    start_ns: int
    end_ns: int | None = None


class Power(NamedTuple):
    """Power of the measured parts together, with the names of those; of several alike, how many they are."""

    watts: float
    parts: tuple[str, ...]


def power_of(sample: Sample) -> Power | None:
    """All that is measured, without counting anything twice; None where nothing is."""
    cpu_w = sample.cpu.power_w if sample.cpu else None
    known = [] if cpu_w is None else [("CPU", cpu_w)]
    known += [(device.name, device.power_w) for device in sample.devices if device.power_w is not None]
    if not known and sample.package_power_w is not None:
        known = [("package", sample.package_power_w)]
    if not known:
        return None
    alike = Counter(name for name, _ in known)
    parts = (name if count == 1 else f"{count} x {name}" for name, count in alike.items())
    return Power(sum(watts for _, watts in known), tuple(parts))


def window_of(sample: Sample) -> Span | None:
    """The time that ``sample`` tells of; None for one that can't be trusted."""
    if not 0 < sample.elapsed_ns <= LONGEST_SAMPLE_NS:
        return None
    return Span(sample.at_ns - sample.elapsed_ns, sample.at_ns)


def after(sample: Sample, counted_ns: int) -> Sample:
    """``sample`` without the time until ``counted_ns``, which is counted; a clock set back takes nothing off."""
    overlap_ns = counted_ns - (sample.at_ns - sample.elapsed_ns)
    if counted_ns > sample.at_ns or overlap_ns <= 0:
        return sample
    return msgspec.structs.replace(sample, elapsed_ns=sample.elapsed_ns - overlap_ns)


class Share(NamedTuple):
    """One one's part of a window, in ns: ``own`` is its share, ``present`` the time in which it ran."""

    own: float
    present: int
    shared: int


def divide(window: Span, spans: Mapping[_K, Span]) -> dict[_K, Share]:
    """The shares of ``window``: each moment is split equally among those that run then."""
    end = window.end_ns or window.start_ns
    cut = {key: _within(span, window.start_ns, end) for key, span in spans.items()}
    live = {key: span for key, span in cut.items() if span is not None}
    edges = sorted({edge for span in live.values() for edge in span})
    shares = dict.fromkeys(live, Share(0.0, 0, 0))
    for start, stop in pairwise(edges):
        there = [key for key, (begin, finish) in live.items() if begin <= start and finish >= stop]
        for key in there:
            length, before = stop - start, shares[key]
            shared = length if len(there) > 1 else 0
            shares[key] = Share(
                before.own + length / len(there), before.present + length, before.shared + shared
            )
    return shares


def _within(span: Span, start_ns: int, end_ns: int) -> tuple[int, int] | None:
    begin, finish = max(span.start_ns, start_ns), end_ns if span.end_ns is None else min(span.end_ns, end_ns)
    return (begin, finish) if finish > begin else None


class Tally(msgspec.Struct, omit_defaults=True):
    """What has come together for one; all times in ns."""

    gross_j: float = 0.0
    own_ns: float = 0.0
    measured_ns: int = 0
    shared_ns: int = 0
    watt_ns: float = 0.0
    peak_w: float = 0.0
    gpu_ns: int = 0
    gpu_ratio_ns: float = 0.0
    gpu_peak: float = 0.0
    idle_j: float = 0.0
    """What idling took in its own share of time, as far as that was known then."""
    idle_ns: float = 0.0
    """The part of ``own_ns`` in which it was known."""

    def add(self, watts: float, gpu: float | None, share: Share, idle_w: float | None = None) -> None:
        """One share of one sample; ``idle_w``: what the parts measured in it use idle, where that is known already."""
        if idle_w is not None:
            self.idle_j += idle_w * share.own / NS
            self.idle_ns += share.own
        self.gross_j += watts * share.own / NS
        self.own_ns += share.own
        self.measured_ns += share.present
        self.shared_ns += share.shared
        self.watt_ns += watts * share.present
        self.peak_w = max(self.peak_w, watts)
        if gpu is not None:
            self.gpu_ns += share.present
            self.gpu_ratio_ns += gpu * share.present
            self.gpu_peak = max(self.gpu_peak, gpu)

    def idle(self, idle_w: float | None) -> float | None:
        """The mean idle use over its own time; ``idle_w`` stands for what was not known then. None while unknown."""
        rest_ns = self.own_ns - self.idle_ns
        if not self.own_ns or (rest_ns > 0.001 * self.own_ns and idle_w is None):
            return idle_w
        return (self.idle_j * NS + (idle_w or 0.0) * rest_ns) / self.own_ns

    def energy(self, idle_w: float | None) -> Energy:
        """The sums, with the idle use of its own share of time taken off."""
        idle_w = self.idle(idle_w)
        net = None if idle_w is None else max(0.0, self.gross_j - idle_w * self.own_ns / NS)
        return Energy(
            gross_j=self.gross_j,
            energy_j=net,
            measured_ns=self.measured_ns,
            shared_ns=self.shared_ns,
            mean_w=self.watt_ns / self.measured_ns if self.measured_ns else None,
            peak_w=self.peak_w if self.measured_ns else None,
            gpu_mean_ratio=self.gpu_ratio_ns / self.gpu_ns if self.gpu_ns else None,
            gpu_peak_ratio=self.gpu_peak if self.gpu_ns else None,
        )


def gpu_ratio(sample: Sample) -> float | None:
    """The busiest GPU's share of time; scaled by clock where only that is told."""
    found = [
        device.active_ratio if device.active_ratio is not None else device.scaled_ratio
        for device in sample.devices
        if device.kind == "gpu"
    ]
    return max((ratio for ratio in found if ratio is not None), default=None)


class IdlePower:
    """Learns what the machine uses when nothing of the desk runs: the median of such samples."""

    def __init__(self, known_w: float | None = None) -> None:
        self._before = known_w
        self._seen: deque[float] = deque(maxlen=_IDLE_KEPT)

    def take(self, watts: float) -> None:
        """The power of a sample in which nothing ran."""
        self._seen.append(watts)

    @property
    def watts(self) -> float | None:
        """The idle use; one from before counts until enough was seen now."""
        from statistics import median  # not needed at the start of a viewer

        return median(self._seen) if len(self._seen) >= LEAST_IDLE else self._before


def add_sample(
    sample: Sample,
    spans: Mapping[_K, Span],
    tallies: dict[_K, Tally],
    most: int,
    idle_w: float | None = None,
) -> dict[_K, Share]:
    """Adds ``sample`` to the tally of each of ``spans``; beyond ``most`` tallies the oldest are forgotten."""
    window, power = window_of(sample), power_of(sample)
    if window is None or power is None:
        return {}
    shares = divide(window, spans)
    gpu = gpu_ratio(sample)
    for key, share in shares.items():
        tallies.setdefault(key, Tally()).add(power.watts, gpu, share, idle_w)
    _forget(tallies, most)
    return shares


def add_items(
    sample: Sample,
    run: Share,
    items: Mapping[_K, Span],
    tallies: dict[_K, Tally],
    most: int,
    idle_w: float | None = None,
) -> None:
    """Shares out what a run had of ``sample`` among its items in work then."""
    window, power = window_of(sample), power_of(sample)
    if window is None or power is None or not run.present:
        return
    gpu = gpu_ratio(sample)
    for key, share in divide(window, items).items():
        own = share.own * run.own / run.present
        tallies.setdefault(key, Tally()).add(power.watts, gpu, share._replace(own=own), idle_w)
    _forget(tallies, most)


def _forget(tallies: dict[_K, Tally], most: int) -> None:
    while len(tallies) > most:
        del tallies[next(iter(tallies))]


def bill(energy: Energy, price_per_kwh: float | None, currency: str) -> Bill:
    """What ``energy`` costs: all that was used, because idle is paid for as well."""
    watt_hours = energy.gross_j / 3600
    if price_per_kwh is None:
        return Bill(watt_hours=watt_hours)
    return Bill(watt_hours=watt_hours, price=watt_hours / 1000 * price_per_kwh, currency=currency)


def tokens_per_joule(tokens: int | None, energy: Energy) -> float | None:
    """Reply tokens by the energy above idle; None where either is not known."""
    joules = energy.energy_j
    return tokens / joules if tokens and joules else None


def basis(parts: Iterable[str], idle_w: float | None) -> str:
    """What the numbers rest on, in one sentence."""
    named = ", ".join(parts)
    if not named:
        return "Nothing here reports its power: no energy is known."
    off = (
        f"idle use of {idle_w:.1f} W taken off"
        if idle_w is not None
        else "idle use not known yet, nothing taken off"
    )
    return f"Measured: {named}; {off}; each moment shared equally among what ran."
