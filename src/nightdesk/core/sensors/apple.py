"""What the sources of an Apple chip have in common: which counters there are, and how they become a sample."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from nightdesk.model.sample import CPU_HIDDEN, Cpu, CpuTier, Device, Fan, Sample

ANE_FULL_W: Final = 8.0
"""Assumed power of a fully busy Neural Engine: no counter of its activity exists, a ratio can only be estimated."""
BUSY_RATIO: Final = 0.01
"""A core that was active for longer than this has used energy; a counter that says 0 is hidden, not idle."""
_LIMIT: Final = 1e18
_NS: Final = 1_000_000_000

NO_PROCESSOR: Final = "The processor section is missing; it needs the cpu_power sampler."
INTEL: Final = "This is an Intel Mac: its packages and C-states are not read, only Apple's chips are."
NO_GPU: Final = "The gpu section is missing; it needs the gpu_power sampler."
NO_COUNTER: Final = "This sample has no such counter."
NO_CORES: Final = "This sample does not say how many cores a tier has."
NO_THERMAL: Final = "The thermal pressure is missing; it needs the thermal sampler."
SHARED_MEMORY: Final = "The GPU shares the machine's memory; its part is not reported here."
NO_TEMPERATURE: Final = "This source reports no GPU temperature."
ONLY_SCALED: Final = "This source weights busy time by clock frequency; see scaled_ratio."


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """One core. ``active`` is its share of busy time, None where unknown."""

    active: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppleCounters:
    """Everything that one reading says, in base units; None is unknown."""

    elapsed_ns: int
    has_processor: bool = True
    no_processor: str = NO_PROCESSOR
    has_gpu: bool = True
    tiers: tuple[CpuTier, ...] = ()
    cores: tuple[CoreTimes, ...] = ()
    cpu_active: float | None = None
    """The mean over all cores, where a source gives it itself."""
    clusters: tuple[float | None, ...] = ()
    """Share of time in which any core of a cluster ran: no measure of load, only a sign that something worked."""
    cpu_w: float | None = None
    gpu_w: float | None = None
    ane_w: float | None = None
    ane_active: float | None = None
    """Share of time in which the Neural Engine was switched on: an estimate of its load, like that from its power."""
    package_w: float | None = None
    gpu_name: str = "Apple GPU"
    gpu_active: float | None = None
    gpu_scaled: float | None = None
    gpu_hz: float | None = None
    gpu_temperature_c: float | None = None
    thermal: str | None = None
    no_thermal: str = NO_THERMAL
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    swap_used_bytes: int | None = None
    fans: tuple[Fan, ...] = ()
    system_w: float | None = None
    scaled_from_states: bool = False
    """Shares of capacity were computed from the time at each clock."""
    from_energy: bool = False
    """Powers were computed from energy and time, because no power is given."""


def finite(value: Any) -> float | None:
    """``value`` as a number that arithmetic can trust, or None: text, truth values, NaN and beyond 1e18 are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -_LIMIT < value < _LIMIT or math.isnan(value):
        return None
    return float(value)


def clamp(ratio: float | None) -> float | None:
    """``ratio`` within 0 to 1. Power is never clamped, ratios always are."""
    return None if ratio is None else min(1.0, max(0.0, ratio))


def ratio_of(cores: Sequence[CoreTimes]) -> float | None:
    """Mean busy share of the cores whose share is known."""
    known = [core.active for core in cores if core.active is not None]
    return sum(known) / len(known) if known else None


def capacity(states: Sequence[tuple[float, float]]) -> float | None:
    """The share of its capacity that was used: the share of time at each clock, weighted by that clock.

    ``states`` are pairs of clock and share of all time; idle time is in none of them.
    """
    highest = max((clock for clock, _ in states), default=0.0)
    return clamp(sum(clock * share for clock, share in states) / highest) if highest > 0 else None


def stamp_ns(root: dict[str, Any]) -> int:
    """The ``timestamp`` of an object (ISO 8601, or seconds) in ns since the epoch, 0 where there is none."""
    text = root.get("timestamp")
    seconds = finite(text)
    if seconds is not None:
        return int(seconds) * _NS if 0 < seconds < 2**63 // _NS else 0
    if not isinstance(text, str):
        return 0
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        since = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    except (ValueError, OverflowError):
        return 0
    stamp = (since.days * 86_400 + since.seconds) * _NS + since.microseconds * 1000
    return stamp if 0 < stamp < 2**63 else 0


def read_fans(root: dict[str, Any]) -> tuple[Fan, ...]:
    """The ``fans`` of an object of mactop or macmon."""
    found = []
    listed = root.get("fans")
    for index, fan in enumerate(listed[:64] if isinstance(listed, list) else ()):
        rpm = finite(fan.get("rpm")) if isinstance(fan, dict) else None
        if rpm is not None:
            name = fan.get("name")
            most = finite(fan.get("max_rpm"))
            found.append(Fan(name=str(name or f"fan {index}"), rpm=rpm, max_rpm=most or None))
    return tuple(found)


def build_sample(counters: AppleCounters, *, source: str, at_ns: int) -> Sample:
    """The sample of one reading; what is missing gets its reason under ``unknown``."""
    hidden = _cpu_is_hidden(counters)
    unknown: dict[str, str] = {}
    cpu = _cpu(counters, hidden, unknown)
    devices = _devices(counters, hidden, unknown)
    package_w = None if hidden else _package_w(counters)
    if package_w is None:
        unknown["package_power_w"] = CPU_HIDDEN if hidden else NO_COUNTER
    if not all(tier.cores for tier in counters.tiers):
        unknown["cpu.tiers.cores"] = NO_CORES
    if counters.thermal is None:
        unknown["thermal"] = counters.no_thermal
    return Sample(
        at_ns=at_ns,
        elapsed_ns=counters.elapsed_ns,
        source=source,
        cpu=cpu,
        devices=devices,
        package_power_w=package_w,
        thermal=counters.thermal,
        memory_used_bytes=counters.memory_used_bytes,
        memory_total_bytes=counters.memory_total_bytes,
        swap_used_bytes=counters.swap_used_bytes,
        fans=counters.fans,
        system_power_w=counters.system_w,
        derived=_derived(counters, package_w),
        unknown=unknown,
    )


def _derived(counters: AppleCounters, package_w: float | None) -> tuple[str, ...]:
    names = ["cpu.power_w"] if counters.from_energy and counters.cpu_w is not None else []
    if package_w is not None and (counters.from_energy or counters.package_w is None):
        names.append("package_power_w")
    if counters.scaled_from_states and any(tier.scaled_ratio is not None for tier in counters.tiers):
        names.append("cpu.tiers.scaled_ratio")
    return tuple(names)


def _cpu_is_hidden(counters: AppleCounters) -> bool:
    busy = any(core.active is not None and core.active > BUSY_RATIO for core in counters.cores)
    busy = busy or any((tier.scaled_ratio or 0) > BUSY_RATIO for tier in counters.tiers)
    busy = busy or (counters.cpu_active or 0) > BUSY_RATIO
    if _share(counters) is None:
        # Not beside known cores: on some chips the cluster's share is stuck at 1.
        busy = busy or any((active or 0) > BUSY_RATIO for active in counters.clusters)
    return counters.cpu_w == 0 and busy


def _share(counters: AppleCounters) -> float | None:
    return counters.cpu_active if counters.cpu_active is not None else ratio_of(counters.cores)


def _cpu(counters: AppleCounters, hidden: bool, unknown: dict[str, str]) -> Cpu | None:
    if not counters.has_processor:
        unknown["cpu"] = counters.no_processor
        return None
    ratio = _share(counters)
    if ratio is None:
        scaled = any(tier.scaled_ratio is not None for tier in counters.tiers)
        unknown["cpu.ratio"] = ONLY_SCALED if scaled else NO_COUNTER
    power_w = None if hidden else counters.cpu_w
    if power_w is None:
        unknown["cpu.power_w"] = CPU_HIDDEN if hidden else NO_COUNTER
    return Cpu(ratio=ratio, power_w=power_w, tiers=counters.tiers)


def _devices(counters: AppleCounters, hidden: bool, unknown: dict[str, str]) -> tuple[Device, ...]:
    devices: list[Device] = []
    if counters.has_gpu or counters.gpu_w is not None:
        devices.append(_gpu(counters))
    else:
        unknown["devices.gpu"] = NO_GPU
    if counters.has_processor:
        devices.append(_ane(counters, hidden))
    else:
        unknown["devices.ane"] = counters.no_processor
    if not devices:
        unknown["devices"] = "This sample has neither a processor nor a gpu section."
    return tuple(devices)


def _gpu(counters: AppleCounters) -> Device:
    reasons = {"memory_used_bytes": SHARED_MEMORY}
    if counters.gpu_active is None:
        reasons["active_ratio"] = ONLY_SCALED if counters.gpu_scaled is not None else NO_COUNTER
    if counters.gpu_w is None:
        reasons["power_w"] = NO_COUNTER
    if counters.gpu_hz is None:
        reasons["freq_hz"] = NO_COUNTER
    if counters.gpu_temperature_c is None:
        reasons["temperature_c"] = NO_TEMPERATURE
    return Device(
        id="gpu",
        kind="gpu",
        name=counters.gpu_name,
        active_ratio=counters.gpu_active,
        scaled_ratio=counters.gpu_scaled,
        power_w=counters.gpu_w,
        freq_hz=counters.gpu_hz,
        temperature_c=counters.gpu_temperature_c,
        shares_memory=True,
        derived=_gpu_derived(counters),
        unknown=reasons,
    )


def _gpu_derived(counters: AppleCounters) -> tuple[str, ...]:
    computed = {
        "power_w": counters.from_energy and counters.gpu_w is not None,
        "scaled_ratio": counters.scaled_from_states and counters.gpu_scaled is not None,
    }
    return tuple(name for name, true in computed.items() if true)


def _ane(counters: AppleCounters, hidden: bool) -> Device:
    """The Neural Engine: its power, and a ratio that is an estimate, at best against :data:`ANE_FULL_W`."""
    # The counters of CPU and Neural Engine are hidden together, so that a 0 beside a hidden one says nothing.
    unsure = hidden and counters.ane_w == 0
    power_w = None if unsure else counters.ane_w
    reason = CPU_HIDDEN if unsure else NO_COUNTER
    ratio = counters.ane_active
    if ratio is None and power_w is not None:
        ratio = clamp(power_w / ANE_FULL_W)
    unknown = {"power_w": reason} if power_w is None else {}
    return Device(
        id="ane",
        kind="ane",
        name="Apple Neural Engine",
        active_ratio=ratio,
        power_w=power_w,
        estimated=() if ratio is None else ("active_ratio",),
        derived=("power_w",) if counters.from_energy and power_w is not None else (),
        unknown=unknown if ratio is not None else unknown | {"active_ratio": reason},
    )


def _package_w(counters: AppleCounters) -> float | None:
    if counters.package_w is not None:
        return counters.package_w
    parts = (counters.cpu_w, counters.gpu_w, counters.ane_w)
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
