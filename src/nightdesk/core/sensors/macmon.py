"""Reads the JSON of ``macmon pipe`` (all versions since 0.4), one object a line or laid out for people.

Its usage values came in two kinds over time: the share of busy time, and that share weighted by clock frequency.
They are kept apart; an old version that gives only the weighted one leaves the plain one unknown.
"""

from __future__ import annotations

from typing import Any, Final

from nightdesk.core.sensors.apple import (
    AppleCounters,
    CoreTimes,
    build_sample,
    clamp,
    finite,
    read_fans,
    stamp_ns,
)
from nightdesk.core.sensors.objects import ObjectReader, decoded
from nightdesk.model.sample import CpuTier, Sample

NO_THERMAL: Final = "macmon does not report the thermal pressure."
_SLOTS: Final = (("ecpu", "E"), ("pcpu", "P"))
_MARKS: Final = ("gpu_power", "cpu_power", "memory", "temp")
"""Each version has at least one of these."""


class MacmonReader(ObjectReader):
    """``interval_ns`` is the length of the first sample, which the objects do not say."""

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples of the objects that end within ``data``; ``at_ns`` None takes each one's own time stamp."""
        samples = [self._sample(text, at_ns) for text in self._cutter.feed(data)]
        return [sample for sample in samples if sample is not None]

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """Nothing more: an object that the end cuts off is dropped and counted."""
        self._cutter.end()
        return []

    def _sample(self, text: bytes, at_ns: int | None) -> Sample | None:
        root = decoded(text)
        if not isinstance(root, dict) or not any(key in root for key in _MARKS):
            self._unread += 1
            return None
        time_ns = at_ns if at_ns is not None else stamp_ns(root)
        return _sample(root, self._length(time_ns), time_ns)


def _sample(root: dict[str, Any], elapsed_ns: int, at_ns: int) -> Sample:
    soc = _dict(root, "soc")
    tiers = tuple(_tier(root, soc, slot, letter) for slot, letter in _SLOTS if _has(root, slot))
    counters = AppleCounters(
        elapsed_ns=elapsed_ns,
        tiers=tiers,
        cores=tuple(core for slot, _ in _SLOTS for core in _cores(root, slot)),
        cpu_active=clamp(finite(root.get("cpu_active_ratio"))),
        cpu_w=finite(root.get("cpu_power")),
        gpu_w=finite(root.get("gpu_power")),
        ane_w=finite(root.get("ane_power")),
        package_w=finite(root.get("all_power")),
        gpu_name=_gpu_name(soc),
        gpu_active=clamp(finite(root.get("gpu_active_ratio"))),
        gpu_scaled=_scaled(root, "gpu"),
        gpu_hz=_freq_hz(root, "gpu"),
        gpu_temperature_c=_temperature(root),
        no_thermal=NO_THERMAL,
        memory_used_bytes=_bytes(root, "ram_usage"),
        memory_total_bytes=_bytes(root, "ram_total"),
        swap_used_bytes=_bytes(root, "swap_usage"),
        fans=read_fans(root),
        system_w=finite(root.get("sys_power")) or None,
    )
    return build_sample(counters, source="macmon", at_ns=at_ns)


def _dict(root: dict[str, Any], key: str) -> dict[str, Any]:
    value = root.get(key)
    return value if isinstance(value, dict) else {}


def _has(root: dict[str, Any], slot: str) -> bool:
    return any(key.startswith(f"{slot}_") for key in root)


def _tier(root: dict[str, Any], soc: dict[str, Any], slot: str, letter: str) -> CpuTier:
    # On M5 the slots hold other kinds of cores than their names say: only the label tells.
    label = soc.get(f"{slot}_label")
    count = finite(soc.get(f"{slot}_cores")) or len(_listed(root, slot))
    return CpuTier(
        name=label if isinstance(label, str) and label else letter,
        ratio=clamp(finite(root.get(f"{slot}_active_ratio"))),
        scaled_ratio=_scaled(root, slot),
        freq_hz=_freq_hz(root, slot),
        cores=max(0, int(count)),
    )


def _listed(root: dict[str, Any], slot: str) -> list[float | None]:
    """The busy share of each core of ``slot``, where a version tells cores apart at all."""
    cores = root.get(f"{slot}_cores")
    if isinstance(cores, list):
        return [clamp(finite(core.get("active_ratio"))) for core in cores if isinstance(core, dict)][:1024]
    shares = root.get(f"{slot}_core_active_ratios")
    return [clamp(finite(share)) for share in shares[:1024]] if isinstance(shares, list) else []


def _cores(root: dict[str, Any], slot: str) -> list[CoreTimes]:
    """The cores of ``slot``; a tier without a list of its cores counts as one of them for each that it should have."""
    if listed := _listed(root, slot):
        return [CoreTimes(share) for share in listed]
    ratio = clamp(finite(root.get(f"{slot}_active_ratio")))
    count = finite(_dict(root, "soc").get(f"{slot}_cores")) or 0
    return [CoreTimes(ratio)] * min(1024, int(max(0, count)))


def _pair(root: dict[str, Any], part: str, index: int) -> float | None:
    """``[MHz, ratio]`` of versions before 0.8."""
    pair = root.get(f"{part}_usage")
    return finite(pair[index]) if isinstance(pair, list) and len(pair) > index else None


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _scaled(root: dict[str, Any], part: str) -> float | None:
    named = (finite(root.get(f"{part}_{word}_ratio")) for word in ("scaled", "usage"))
    return clamp(_first(*named, _pair(root, part, 1)))


def _freq_hz(root: dict[str, Any], part: str) -> float | None:
    mhz = _first(finite(root.get(f"{part}_freq_mhz")), _pair(root, part, 0))
    return None if mhz is None else mhz * 1e6


def _temperature(root: dict[str, Any]) -> float | None:
    """Degrees Celsius; 0 means that no sensor answered, and old versions gave negative nonsense."""
    value = finite(_dict(root, "temp").get("gpu_temp_avg"))
    return value if value is not None and value > 0 else None


def _bytes(root: dict[str, Any], key: str) -> int | None:
    value = finite(_dict(root, "memory").get(key))
    return None if value is None or value < 0 else int(value)


def _gpu_name(soc: dict[str, Any]) -> str:
    chip = soc.get("chip_name")
    return f"{chip} GPU" if isinstance(chip, str) and chip else "Apple GPU"
