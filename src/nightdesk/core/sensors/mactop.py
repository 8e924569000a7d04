"""Reads the JSON of ``mactop --headless``: one object a line, or an array of them. Bytes in, samples out.

Its shares are percentages, where macmon gives ratios. The meaning of its two sums of power changed between versions:
the package is computed from its parts here, and what the whole machine draws stands beside it.
"""

from __future__ import annotations

import re
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

NO_THERMAL: Final = "This mactop does not report the thermal pressure."
_NS: Final = 1_000_000_000
_TIER: Final = re.compile(r"([a-z])_cluster_active")
"""Chips have two or three kinds of cores, and each has a letter: a new one needs no new version of this."""
_CALM: Final = {"normal": "Nominal"}
"""Its words come from the Cocoa thermal state; the calm one is called as powermetrics calls it."""


class MactopReader(ObjectReader):
    """``interval_ns`` is the length of the first sample, which the objects do not say."""

    def feed(self, data: bytes, at_ns: int | None = None) -> list[Sample]:
        """Samples of the objects that end within ``data``; ``at_ns`` None takes each one's own time stamp."""
        samples = [self._sample(text, at_ns) for text in self._cutter.feed(data)]
        return [sample for sample in samples if sample is not None]

    def end(self, at_ns: int | None = None) -> list[Sample]:
        """Nothing more."""
        self._cutter.end()
        return []

    def _sample(self, text: bytes, at_ns: int | None) -> Sample | None:
        root = decoded(text)
        if not isinstance(root, dict) or not isinstance(root.get("soc_metrics"), dict):
            self._unread += 1
            return None
        time_ns = stamp_ns(root) if at_ns is None else at_ns
        return _read(root, root["soc_metrics"], self._length(time_ns), time_ns)


def _read(root: dict[str, Any], soc: dict[str, Any], elapsed_ns: int, at_ns: int) -> Sample:
    info, memory = _dict(root, "system_info"), _dict(root, "memory")
    cores = tuple(CoreTimes(_ratio(each)) for each in _list(root, "core_usages")[:1024])
    total = _ratio(root.get("cpu_usage"))
    mhz = finite(soc.get("gpu_freq_mhz"))
    active = soc.get("gpu_active")
    chip = info.get("name")
    thermal = root.get("thermal_state")
    counters = AppleCounters(
        elapsed_ns=elapsed_ns,
        tiers=_tiers(soc, info),
        cores=cores or ((CoreTimes(total),) if total is not None else ()),
        cpu_w=finite(soc.get("cpu_power")),
        gpu_w=finite(soc.get("gpu_power")),
        ane_w=finite(soc.get("ane_power")),
        ane_active=_ratio(soc.get("ane_active")) or None,
        gpu_name=f"{chip} GPU" if isinstance(chip, str) and chip else "Apple GPU",
        gpu_active=_ratio(root.get("gpu_usage") if active is None else active),
        gpu_hz=None if mhz is None else mhz * 1e6,
        gpu_temperature_c=_warm(soc.get("gpu_temp"), root.get("gpu_temp")),
        thermal=_CALM.get(thermal.lower(), thermal) if isinstance(thermal, str) and thermal else None,
        no_thermal=NO_THERMAL,
        memory_used_bytes=_bytes(memory, "used"),
        memory_total_bytes=_bytes(memory, "total"),
        swap_used_bytes=_bytes(memory, "swap_used"),
        fans=read_fans(root),
        system_w=finite(soc.get("system_power")) or None,
    )
    return build_sample(counters, source="mactop", at_ns=at_ns)


def _tiers(soc: dict[str, Any], info: dict[str, Any]) -> tuple[CpuTier, ...]:
    """The kinds of cores in the order of the object. It names also kinds that the chip lacks: those have no cores."""
    letters = [found[1] for key in soc if (found := _TIER.fullmatch(key))]
    counts = {letter: max(0, int(finite(info.get(f"{letter}_core_count")) or 0)) for letter in letters}
    there = [letter for letter in letters if counts[letter] or not any(counts.values())]
    return tuple(_tier(soc, letter, counts[letter]) for letter in there)


def _tier(soc: dict[str, Any], letter: str, cores: int) -> CpuTier:
    mhz = finite(soc.get(f"{letter}_cluster_freq_mhz"))
    return CpuTier(
        name=letter.upper(),
        ratio=_ratio(soc.get(f"{letter}_cluster_active")),
        freq_hz=None if mhz is None else mhz * 1e6,
        cores=cores,
    )


def _ratio(percent: Any) -> float | None:
    value = finite(percent)
    return None if value is None else clamp(value / 100)


def _warm(*values: Any) -> float | None:
    """Degrees Celsius; 0 means that no sensor answered."""
    return next((heat for value in values if (heat := finite(value)) is not None and heat > 0), None)


def _dict(root: dict[str, Any], key: str) -> dict[str, Any]:
    value = root.get(key)
    return value if isinstance(value, dict) else {}


def _list(root: dict[str, Any], key: str) -> list[Any]:
    value = root.get(key)
    return value if isinstance(value, list) else []


def _bytes(memory: dict[str, Any], key: str) -> int | None:
    value = finite(memory.get(key))
    return None if value is None or value < 0 else int(value)
